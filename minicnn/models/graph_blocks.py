"""Repeated parts of a graph: where a net is built of blocks, the same steps come again and again.

1. The steps are cut wherever only one value is alive: each piece, an atom, reads one value and makes one. A residual
   block without its last ReLU is an atom, an inception module, a single layer of a chain.
2. Atoms of the same structure (layers, ops and how they are connected, without channels and strides) get the same
   letter, and the run of letters that saves most when it is written once is made a block. Then the next one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

MOST_BLOCKS, LONGEST, SAVES = 8, 24, 5
"""At most so many kinds of blocks, of so many atoms; a block must save so many steps."""
FIXED = ("kernel_size", "bias", "p")
"""Settings of layers that belong to the structure; the others (channels, stride, padding, …) may differ."""


@dataclass
class Part:
    """Steps that come after each other: reads the value `source`, makes that of its last step.

    block: the number of the kind of block that it is; None for steps that are not repeated.
    """

    steps: list[dict[str, Any]]
    source: str
    block: int | None = None
    letters: tuple[str, ...] = field(default=(), repr=False)

    @property
    def result(self) -> str:
        """The name of the value that it makes."""
        return self.steps[-1]["to"]


def parts(graph: dict[str, Any]) -> list[Part]:
    """The steps of the graph, in order, as parts: blocks, and what lies between them."""
    found = [Part(a.steps, a.source, None, (_letter(a, graph),)) for a in _atoms(graph)]
    for number in range(MOST_BLOCKS):
        best = _best(found)
        if best is None:
            break
        found = _replaced(found, best, number)
    return _joined(found)


def _atoms(graph: dict[str, Any]) -> list[Part]:
    """The steps cut where one value alone is alive. Steps before the first cut of several inputs are one atom."""
    last = {name: len(graph["steps"]) for name in graph["outputs"]}
    for i, step in reversed(list(enumerate(graph["steps"]))):
        for name in _values(step, graph):
            last.setdefault(name, i)
    alive = {name for name in graph["inputs"] if name in last}
    atoms, steps, source = [], [], graph["inputs"][0] if graph["inputs"] else ""
    for i, step in enumerate(graph["steps"]):
        steps.append(step)
        alive = {name for name in {*alive, step["to"]} if last.get(name, -1) > i}
        if alive <= {step["to"]}:
            atoms.append(Part(steps, source))
            steps, source = [], step["to"]
    return [*atoms, Part(steps, source)] if steps else atoms


def _values(step: dict[str, Any], graph: dict[str, Any]) -> list[str]:
    return [a for a in step["of"] if isinstance(a, str) and a not in graph["arrays"]]


def _letter(part: Part, graph: dict[str, Any]) -> str:
    """The structure of a part as text: equal for parts that one class can compute."""
    places = {part.source: -1} | {step["to"]: i for i, step in enumerate(part.steps)}
    shown: list[Any] = []
    for step in part.steps:
        reads = [["array", len(graph["arrays"][a][0]), graph["arrays"][a][1:]] if a in graph["arrays"]
                 else places.get(a, a) if isinstance(a, str) else {"number": a} for a in step["of"]]  # fmt: skip
        if "layer" in step:
            kind, settings = graph["layers"][step["layer"]]
            held = holds_weights(kind)
            what: Any = [kind, {k: v for k, v in settings.items() if not held or k in FIXED}, "weights" * held]
        else:
            settings = step.get("with", {})
            if "N" in json.dumps(settings):                # depends on the number of images: it stays in the net
                what = [step["op"], step["to"]]
            else:
                what = [step["op"], _shape_of(settings) if step["op"] == "reshape" else settings]
        shown.append([what, reads])
    return json.dumps(shown, sort_keys=True)


def holds_weights(kind: str) -> bool:
    """Whether a kind of layer has arrays."""
    return kind.startswith(("Conv", "Linear", "BatchNorm", "PReLU", "LayerNorm", "GroupNorm", "InstanceNorm"))


def _shape_of(value: Any) -> Any:
    """The structure of settings whose numbers may differ."""
    if isinstance(value, dict):
        return {key: _shape_of(v) for key, v in value.items()}
    return [_shape_of(v) for v in value] if isinstance(value, list) else "number" if type(value) is int else value


def _best(found: list[Part]) -> tuple[str, ...] | None:
    """The run of letters that saves most steps when it is written once; of equals the shorter one, and the one that
    begins with a layer that has weights, not with an activation.
    """
    best: tuple[str, ...] | None = None
    most = SAVES - 0.1
    for length in range(1, LONGEST + 1):
        ends: dict[tuple[str, ...], tuple[int, int, int, float]] = {}   # run: (how often, its last end, steps, weight)
        for i in range(len(found) - length + 1):
            run = found[i : i + length]
            if any(p.block is not None for p in run):
                continue
            key = tuple(p.letters[0] for p in run)
            count, end, steps, begins = ends.get(key, (0, 0, sum(len(p.steps) for p in run), _begins(run)))
            if i >= end:
                ends[key] = count + 1, i + length, steps, begins
        for key, (count, _, steps, begins) in ends.items():
            if (count - 1) * steps + begins > most and steps > 1:
                best, most = key, (count - 1) * steps + begins
    return best


def _begins(run: list[Part]) -> float:
    """0 where the run begins with a single activation or pooling, which belongs to what is before it; else ½."""
    return 0.5 if len(run[0].steps) > 1 or "weights" in run[0].letters[0] else 0.0


def _replaced(found: list[Part], run: tuple[str, ...], number: int) -> list[Part]:
    """The parts with each occurrence of the run as one block."""
    made, i = [], 0
    while i < len(found):
        here = found[i : i + len(run)]
        if len(here) == len(run) and all(p.block is None and p.letters[0] == x for p, x in zip(here, run)):
            made.append(Part([s for p in here for s in p.steps], here[0].source, number, run))
            i += len(run)
        else:
            made.append(found[i])
            i += 1
    return made


def _joined(found: list[Part]) -> list[Part]:
    """The parts, with those that are no blocks and follow each other as one."""
    made: list[Part] = []
    for part in found:
        if made and part.block is None is made[-1].block:
            made[-1] = Part([*made[-1].steps, *part.steps], made[-1].source)
        else:
            made.append(part)
    return made
