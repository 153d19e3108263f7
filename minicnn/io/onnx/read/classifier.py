"""An ONNX file as a classifier: a net and the description that a model file has, so that every command takes it.

Files of other programs do not say how pictures are prepared, nor what the classes are called. What is said in the
file's metadata (our own export writes it there) is used; else the classes are numbers, or ImageNet's where there are
1000, and the normalisation is the usual one or Caffe's, by the size of the scores (io/normalisation.py).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import meta
from minicnn.data import NORMALISATIONS, imagenet
from minicnn.io import normalisation
from minicnn.io.model_file import Description, check
from minicnn.io.onnx.read.load import content, read
from minicnn.io.onnx.read.proto import Content
from minicnn.models.graph import NAME, Graph
from minicnn.names import short
from minicnn.nn import init
from minicnn.tensor import Tensor, no_grad

IMAGENET, UINT8 = 1000, 2
AUTO = "auto"


@dataclass
class Read:
    """What was read: the net, its description, and sentences about what was assumed."""

    net: Graph
    about: Description
    said: list[str]


def classifier(path: Path, shape: Sequence[int] | None = None, labels: Sequence[str] | None = None,
               preprocess: str = AUTO) -> Read:  # fmt: skip
    """The net in an ONNX file with its description. Errors as `load`; also where it gives no row of scores.

    shape (C,H,W): where the file leaves it open.   labels: the names of its classes.   preprocess: a name of
    NORMALISATIONS, or "auto".
    """
    try:
        return _classifier(content(path), shape, labels, preprocess)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def _classifier(found: Content, shape: Sequence[int] | None, labels: Sequence[str] | None, preprocess: str) -> Read:
    if len(found.inputs) != 1:
        raise ValueError(f"it has {len(found.inputs)} inputs ({', '.join(short(i.name) for i in found.inputs[:5])}), "
                         "and a classifier of images has one: load it in Python, with minicnn.io.onnx.load")
    given = found.inputs[0]
    said: list[str] = []
    last = _channels_last(given.shape)
    if last and shape is not None:
        shape = (*shape[1:], shape[0])
    graph, state = _taken(read(found, shape), said)
    size = [int(n) for n in (shape or given.shape[1:])]  # type: ignore[index, arg-type]
    if len(size) != 3:
        raise ValueError(f"its input has shape {short(list(given.shape or ()))}, and a classifier of images takes "
                         "(N, C, H, W)")
    if last:
        graph, size = _channels_first(graph), [size[2], *size[:2]]
        said.append("its images have their channels last: a transpose in front takes ours")
    net, K = _built({**graph, "input": size}, state)
    graph = net.description
    if labels and len(labels) != K:
        raise ValueError(f"its net has {K:,} classes, and {len(labels):,} labels are given: give one for each class")
    about, how = _described(found, graph, size, K, labels)
    if about is None:
        names = list(labels) if labels else [str(i) for i in range(K)]
        if not labels and K == IMAGENET and size[0] == 3:
            names = list(imagenet.labels().values())
            said.append("classes: the names of ImageNet's 1000, in its order (--labels FILE for others)")
        options = {"graph": graph, "num_classes": K, "in_channels": size[0]}
        mean, std, resize = _normalisation(net, size, preprocess, given.type == UINT8, said)
        about = Description(NAME, options, names, size, mean, std, resize)
    elif preprocess != AUTO:
        about = replace(about, mean=list(NORMALISATIONS[preprocess][0]), std=list(NORMALISATIONS[preprocess][1]))
    said += how
    check("it", about, "export it again")
    return Read(net, about, said)


def _described(found: Content, graph: dict[str, Any], size: list[int], K: int,
               labels: Sequence[str] | None) -> tuple[Description | None, list[str]]:  # fmt: skip
    """The description in the metadata of a file that minicnn has written; None in other files."""
    try:
        text = json.loads(found.metadata["minicnn"])
        known = {f.name for f in fields(Description)}
        about = Description(**{key: value for key, value in text.items() if key in known})
        if list(about.input) != size or len(about.classes) != K:
            return None, []
        options = {"graph": graph, "num_classes": K, "in_channels": size[0]}
        if found.inputs[0].type == UINT8:                  # the graph normalises
            about = replace(about, mean=[0.0] * size[0], std=[1 / 255] * size[0])
        about = replace(about, model=NAME, options=options)
        if labels:
            about = replace(about, classes=list(labels))
        check("it", about, "")
        return about, ["classes and preprocessing: as its metadata say"]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None, []


def _normalisation(net: Graph, size: list[int], preprocess: str, pixels: bool,
                   said: list[str]) -> tuple[list[float], list[float], int]:  # fmt: skip
    """(mean, std, the shorter side of a picture before it is cut)"""
    C = size[0]
    resize = 0 if preprocess == "none" else max(max(size[1:]), round(256 * min(size[1:]) / 224))
    if pixels and preprocess == AUTO:
        said.append("normalisation: none, its input is bytes")
        return [0.0] * C, [1 / 255] * C, resize
    if preprocess == AUTO:
        preprocess = "imagenet"
        if C == 3:
            with np.errstate(all="ignore"):
                preprocess, spread = normalisation.detect(net, (3, size[1], size[2]))
            other = "imagenet" if preprocess == "caffe" else "caffe"
            said.append(f"normalisation: {preprocess}, with which the scores of pictures differ by "
                        f"{spread[preprocess]:.2g}, and with {other} by {spread[other]:.2g}; trained nets have about 2 "
                        "(--preprocess NAME for another)")
    if C not in (1, 3):
        return [0.0] * C, [1.0] * C, resize
    mean, std = NORMALISATIONS[preprocess]
    return list(mean[:C]), list(std[:C]), resize


# ----------------------------------------------------------------------------------------------------------- the graph


def _taken(net: Graph, said: list[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(the description, the state) of the net up to its scores: without a softmax at the end, with one row an image."""
    graph, state = net.description, {name: tensor.numpy() for name, tensor in net.named_state()}
    if len(graph["outputs"]) > 1:
        said.append(f"of its {len(graph['outputs'])} outputs the first is used")
    end, steps, layers = graph["outputs"][0], {step["to"]: step for step in graph["steps"]}, graph["layers"]
    while end in steps and "layer" in steps[end]:
        kind = layers[steps[end]["layer"]][0]
        if kind in ("Softmax", "LogSoftmax"):
            said.append(f"the {kind} at its end is left out: a net gives scores here, whose softmax is taken later")
        elif kind != "Flatten" or not _ends_in_softmax(steps[end]["of"][0], steps, layers):
            break
        end = steps[end]["of"][0]
    return _only({**graph, "outputs": [end]}, state)


def _ends_in_softmax(name: str, steps: dict[str, Any], layers: dict[str, Any]) -> bool:
    return name in steps and layers.get(steps[name].get("layer"), ("",))[0] in ("Softmax", "LogSoftmax")


def _only(graph: dict[str, Any], state: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Only what the outputs need."""
    needed, steps = set(graph["outputs"]), []
    for step in reversed(graph["steps"]):
        if step["to"] in needed:
            needed |= {a for a in step["of"] if isinstance(a, str)}
            steps.append(step)
    used = {step["layer"] for step in steps if "layer" in step}
    layers = {name: made for name, made in graph["layers"].items() if name in used}
    arrays = {name: made for name, made in graph["arrays"].items() if name in needed}
    kept = {name: array for name, array in state.items() if name in arrays or name.rpartition(".")[0] in layers}
    return {**graph, "steps": steps[::-1], "layers": layers, "arrays": arrays}, kept


def _channels_last(shape: Sequence[Any] | None) -> bool:
    return shape is not None and len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3)


def _channels_first(graph: dict[str, Any]) -> dict[str, Any]:
    """The graph with a transpose in front, from (N,C,H,W) to (N,H,W,C)."""
    (x,) = graph["inputs"]
    moved = {"to": "channels_last", "op": "transpose", "of": [x], "with": {"axes": [0, 2, 3, 1]}}
    steps = [{**step, "of": ["channels_last" if a == x else a for a in step["of"]]} for step in graph["steps"]]
    return {**graph, "steps": [moved, *steps]}


def _built(graph: dict[str, Any], state: dict[str, np.ndarray]) -> tuple[Graph, int]:
    """(the net, the number of its scores). Scores of shape (K, 1, 1) are flattened."""
    with init.shapes_only():
        shape = _output(Graph(graph))
        if len(shape) > 1 and shape[0] == math.prod(shape):
            end = {"to": "scores", "op": "flatten", "of": graph["outputs"]}
            graph = {**graph, "steps": [*graph["steps"], end], "outputs": ["scores"]}
            shape = shape[:1]
        net = Graph(graph)
    if len(shape) != 1:
        raise ValueError(f"its output for an image has shape {list(shape)}, and a classifier gives one row of scores: "
                         "load it in Python, with minicnn.io.onnx.load")
    for name, tensor in net.named_state():
        tensor.data = state[name]
    return net.eval(), shape[0]


def _output(net: Graph) -> tuple[int, ...]:
    """The shape of the output for one image, of a net that has shapes only."""
    with no_grad():
        return net.eval()(Tensor(meta.image((1, *net.description["input"])))).shape[1:]
