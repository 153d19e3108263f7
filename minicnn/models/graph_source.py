"""A graph as readable Python: a file with a class for each repeated block and one for the net.

    source(net, "net.safetensors")      →      minicnn lab net.py::Net --weights net.safetensors

Layers without weights are written as calls of ops. The names of the weights in the file stay those of the graph; where
the code has others, a table at its end says which belong together.
"""

from __future__ import annotations

import keyword
import re
import textwrap
from typing import Any

from minicnn.models.graph import Graph
from minicnn.models.graph_blocks import Part, holds_weights, parts
from minicnn.models.graph_code import (
    SHORT,
    WIDTH,
    Body,
    Names,
    Raw,
    arguments,
    constructor,
    is_attribute,
    of_self,
    settings_of,
    uses_of,
    value_text,
    wrapped,
)


def source(net: Graph, weights: str = "net.safetensors", file: str = "net.py") -> str:
    """The Python code of a graph. weights: the file that has its arrays, file: that of the code, for the docstring."""
    graph = net.description
    found = parts(graph)
    kinds = sorted({p.block for p in found if p.block is not None})
    blocks = {kind: _Class(graph, [p for p in found if p.block == kind], f"Block{kind + 1 if len(kinds) > 1 else ''}")
              for kind in kinds}  # fmt: skip
    whole = _Net(graph, found, blocks)
    body = "\n\n\n".join([*(made.code() for made in blocks.values()), whole.code()])
    size = graph.get("input")
    shape = f", for images of {'×'.join(map(str, size))}" if size else ""
    command = f"minicnn lab {file}::Net --weights {weights}" + (
        f" --input {'x'.join(map(str, size))}" if size else "")
    head = ['"""A net that was read from an ONNX file' + shape + ".", "", f"    {command}", '"""', ""]
    imports = ["from minicnn import nn, ops"]
    if "np.zeros" in body:
        imports = ["import numpy as np", "", *imports]
    table = whole.table()
    return "\n".join([*head, *imports, "", "", body + "\n", *table])


# -------------------------------------------------------------------------------------------------------------- blocks


class _Class:
    """A class for a kind of block. What differs between its occurrences becomes arguments."""

    def __init__(self, graph: dict[str, Any], occurrences: list[Part], name: str):
        self.graph, self.occurrences, self.name = graph, occurrences, name
        self.arguments: dict[str, list[Any]] = {}
        self.attributes: list[str] = []
        self.steps = [self._with_arguments(i) for i in range(len(occurrences[0].steps))]
        self.layers, self.arrays = self._attributes()

    def _with_arguments(self, i: int) -> Any:
        """The settings of step i, an argument in place of each number that differs."""
        given = [settings_of(self.graph, part.steps[i]) for part in self.occurrences]
        keys = dict.fromkeys(key for settings in given for key in settings)
        return {key: self._common(key, [settings.get(key, _usual(key)) for settings in given]) for key in keys}

    def _common(self, key: str, values: list[Any]) -> Any:
        if all(v == values[0] for v in values):
            return values[0]
        if all(isinstance(v, list) and len(v) == len(values[0]) for v in values) and key == "shape":
            return [self._common("size", list(column)) for column in zip(*values)]
        known = next((name for name, other in self.arguments.items() if other == values), None)
        if known is None:
            base, n = {"in_channels": "channels", "in_features": "features"}.get(key, key), 1
            known = base
            while known in self.arguments:
                n += 1
                known = f"{base}{n}"
            self.arguments[known] = values
        return Raw(known)

    def _attributes(self) -> tuple[dict[int, str], dict[str, str]]:
        """({number of a step: the attribute of its layer}, {array of the first occurrence: its attribute})"""
        layers: dict[int, str] = {}
        arrays: dict[str, str] = {}
        counts: dict[str, int] = {}
        steps = self.occurrences[0].steps

        def named(base: str) -> str:
            counts[base] = counts.get(base, 0) + 1
            return f"{base}{counts[base]}"

        for i, step in enumerate(steps):
            if is_attribute(self.graph, step):
                kind = self.graph["layers"][step["layer"]][0]
                layers[i] = named(SHORT.get(kind, kind.lower()))
            for a in step["of"]:
                if a in self.graph["arrays"] and a not in arrays:
                    arrays[a] = named({"add": "shift", "multiply": "scale"}.get(step.get("op", ""), "array"))
        return layers, arrays

    def code(self) -> str:
        """The class."""
        steps = self.occurrences[0].steps
        kept = dict.fromkeys(a for i in range(len(steps)) if i not in self.layers for a in arguments(self.steps[i]))
        made = [f"self.{name} = {name}" for name in kept]
        for i, step in enumerate(steps):
            for a in step["of"]:
                if a in self.arrays and not any(line.startswith(f"self.{self.arrays[a]} ") for line in made):
                    places = [j for j, x in enumerate(step["of"]) if x == a]
                    made.append(f"self.{self.arrays[a]} = {self._array(i, places[0])}")
            if i in self.layers:
                kind = self.graph["layers"][step["layer"]][0]
                made.append(f"self.{self.layers[i]} = {constructor(kind, self.steps[i])}")
        head = f"    def __init__({', '.join(['self', *self.arguments])}):"
        init = [*wrapped([head.strip()], "    "), *wrapped(made, " " * 8), ""] if made else []
        uses = uses_of(steps, [steps[-1]["to"]])
        names = Names(uses)
        source = self.occurrences[0].source
        names.names[source] = "x"
        body = Body(self.graph, names, uses)
        for i, step in enumerate(steps):
            body.step(step, self.layers.get(i, ""), self.arrays, of_self(self.steps[i]))
        lines = wrapped(body.end([steps[-1]["to"]]), " " * 8)
        return "\n".join([f"class {self.name}(nn.Module):", *init, "    def forward(self, x):", *lines])

    def _array(self, i: int, place: int) -> str:
        shapes, kind, trained = [], "", False
        for part in self.occurrences:
            shape, kind, trained = self.graph["arrays"][part.steps[i]["of"][place]]
            shapes.append(shape)
        shape = [self._common("size", list(column)) for column in zip(*shapes)]
        return _array(shape, kind, trained)

    def call(self, number: int) -> str:
        """The constructor's call for one occurrence."""
        return f"{self.name}({', '.join(value_text(values[number]) for values in self.arguments.values())})"

    def owners(self, number: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """((layer here, layer in the file) …, (array here, array in the file) …) of one occurrence."""
        steps, first = self.occurrences[number].steps, self.occurrences[0].steps
        layers = [(name, steps[i]["layer"]) for i, name in self.layers.items()]
        arrays = {}
        for mine, theirs in zip(steps, first):
            arrays.update({self.arrays[b]: a for a, b in zip(mine["of"], theirs["of"]) if b in self.arrays})
        return layers, list(arrays.items())


def _usual(key: str) -> Any:
    return {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}.get(key)


def _array(shape: list[Any], kind: str, trained: bool) -> str:
    return f"nn.{'Parameter' if trained else 'Buffer'}(np.zeros({value_text(shape)}, np.{kind}))"


# ----------------------------------------------------------------------------------------------------------------- net


class _Net:
    """The class of the net: its own layers, and lists of blocks that follow each other."""

    def __init__(self, graph: dict[str, Any], found: list[Part], blocks: dict[int, _Class]):
        self.graph, self.blocks = graph, blocks
        self.runs = _runs(found)
        self.taken: set[str] = {"training", "loss", "aux_weights", "forward"}
        self.owners: list[tuple[str, str]] = []            # (layer or array here, in the file)
        self.made: list[str] = []
        self.layers: dict[str, str] = {}
        self.arrays: dict[str, str] = {}

    def code(self) -> str:
        """The class."""
        own = [step for run in self.runs if run[0].block is None for step in run[0].steps]
        sources = [run[0].source for run in self.runs if run[0].block is not None]
        uses = uses_of(own, [*self.graph["outputs"], *sources])
        names = Names(uses)
        body = Body(self.graph, names, uses)
        inputs = [names.bind(name) for name in self.graph["inputs"]]
        if any(_has_n(settings_of(self.graph, s)) for s in self.graph["steps"]):
            body.lines.append("N = len(x)")
        seen: dict[int, int] = {}
        lists = 0
        several = sum(run[0].block is not None for run in self.runs) > 1
        for run in self.runs:
            if run[0].block is None:
                for step in run[0].steps:
                    self._own(step, body)
                continue
            lists += 1
            attribute = self._free(f"blocks{lists}" if several else "blocks")
            calls = []
            for i, part in enumerate(run):
                assert part.block is not None
                number = seen[part.block] = seen.get(part.block, -1) + 1
                calls.append(self.blocks[part.block].call(number))
                layers, arrays = self.blocks[part.block].owners(number)
                self.owners += [(f"{attribute}.{i}.{here}", there) for here, there in [*arrays, *layers]]
            self._loop(body, names, attribute, run, calls)
        lines = wrapped(body.end(self.graph["outputs"]), " " * 8)
        init = ["    def __init__(self):", *wrapped(self.made, " " * 8), ""] if self.made else []
        forward = [f"    def forward({', '.join(['self', *inputs])}):", *lines]
        return "\n".join(["class Net(nn.Module):", *init, *forward, *self._names_method()])

    def _own(self, step: dict[str, Any], body: Body) -> None:
        """A step of the net itself."""
        for a in step["of"]:
            if a in self.graph["arrays"] and a not in self.arrays:
                self.arrays[a] = self._free(a)
                self.made.append(f"self.{self.arrays[a]} = {_array(*self.graph['arrays'][a])}")
                self.owners.append((self.arrays[a], a))
        layer = ""
        if is_attribute(self.graph, step):
            there = step["layer"]
            if there not in self.layers:
                self.layers[there] = self._free(there)
                self.made.append(f"self.{self.layers[there]} = {constructor(*self.graph['layers'][there])}")
                self.owners.append((self.layers[there], there))
            layer = self.layers[there]
        body.step(step, layer, self.arrays, settings_of(self.graph, step))

    def _loop(self, body: Body, names: Names, attribute: str, run: list[Part], calls: list[str]) -> None:
        """The list of the blocks, and the loop over them."""
        body.flush()
        self.made += _list(attribute, _counted(calls))
        x = names.read(run[0].source)
        result = run[-1].result
        y = names.bind(result, x)
        if y != x:
            body.lines.append(f"{y} = {x}")
        body.lines += [f"for block in self.{attribute}:", f"    {y} = block({y})"]

    def _free(self, name: str) -> str:
        base = re.sub(r"\W", "_", name)
        base = f"_{base}" if base[0].isdigit() or keyword.iskeyword(base) else base
        found, n = base, 1
        while found in self.taken:
            n += 1
            found = f"{base}_{n}"
        self.taken.add(found)
        return found

    def _named(self) -> list[tuple[str, str]]:
        """(here, in the file) of layers with weights and of arrays."""
        return [(here, there) for here, there in self.owners
                if there in self.graph["arrays"] or holds_weights(self.graph["layers"][there][0])]  # fmt: skip

    def _names_method(self) -> list[str]:
        if all(here == there for here, there in self._named()):
            return []
        return ["", "    def current_names(self, names):",
                '        """{name in the file of weights: name here}: of an array, or of a layer\'s."""',
                "        def here(name):",
                "            layer, dot, part = name.rpartition(\".\")",
                "            return NAMES.get(name, NAMES.get(layer, layer) + dot + part)",
                "",
                "        return {name: here(name) for name in names}"]  # fmt: skip

    def table(self) -> list[str]:
        """The names in the file and here, where they differ."""
        named = [(here, there) for here, there in self._named() if here != there]
        if not named:
            return []
        pairs = [f"{there}={here}" for here, there in named]
        rows = textwrap.wrap(" ".join(pairs), WIDTH - 4, break_long_words=False, break_on_hyphens=False)
        return ["", '# The names of layers and arrays: in the file of weights = here.',
                'NAMES = dict(pair.split("=") for pair in """', *(f"    {row}" for row in rows), '""".split())', ""]


def _runs(found: list[Part]) -> list[list[Part]]:
    """Blocks that follow each other together; other parts alone."""
    made: list[list[Part]] = []
    for part in found:
        if part.block is not None and made and made[-1][0].block is not None:
            made[-1].append(part)
        else:
            made.append([part])
    return made


def _list(attribute: str, calls: list[str]) -> list[str]:
    """self.blocks = […], in one line or with as many calls in a line as fit."""
    if len(calls) == 1 and calls[0].startswith("*["):
        return [f"self.{attribute} = {calls[0][1:]}"]
    whole = f"self.{attribute} = [{', '.join(calls)}]"
    if len(whole) <= WIDTH - 8:
        return [whole]
    rows = [""]
    for call in calls:
        if len(rows[-1]) + len(call) + 2 > WIDTH - 12:
            rows.append("")
        rows[-1] += f" {call}," if rows[-1] else f"    {call},"
    return [f"self.{attribute} = [", *rows, "]"]


def _counted(calls: list[str]) -> list[str]:
    """The calls, with three equal ones or more as *[call for _ in range(n)]."""
    found: list[str] = []
    i = 0
    while i < len(calls):
        n = next((k for k in range(i, len(calls)) if calls[k] != calls[i]), len(calls)) - i
        found += [f"*[{calls[i]} for _ in range({n})]"] if n > 2 else [calls[i]] * n
        i += n
    return found


def _has_n(value: Any) -> bool:
    if isinstance(value, dict):
        return "N" in value or any(map(_has_n, value.values()))
    return isinstance(value, list) and any(map(_has_n, value))
