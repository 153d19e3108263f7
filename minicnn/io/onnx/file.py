"""The ONNX file: the checked graph, with the class names and the preprocessing in its metadata."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import minicnn
from minicnn import arguments, atomic
from minicnn.io.model_file import Description, to_json
from minicnn.io.onnx.fold import fold_batch_norm
from minicnn.io.onnx.graph import Graph, Value
from minicnn.io.onnx.trace import trace
from minicnn.nn import Module

OPSET, IR_VERSION = 17, 8
"""ONNX 1.12 of June 2022: new enough for all that is needed here (Shape of one axis, HardSwish), old enough for the
runtimes of small devices."""

LIMIT = 2**31 - 2**20
"""The largest Protocol Buffers message, less some room for the nodes."""


def save(path: str | Path, model: Module, description: Description, *, preprocess: bool = False,
         fold: bool = False) -> dict[str, Any]:  # fmt: skip
    """Write `model` to `path` atomically. Returns the report of `content`, with the path as "file"."""
    path = Path(path)
    written, report = content(model, description, preprocess=preprocess, fold=fold)
    atomic.write(path, written)
    return {"file": str(path), **report}


def content(model: Module, description: Description, *, preprocess: bool = False,
            fold: bool = False) -> tuple[bytes, dict[str, Any]]:  # fmt: skip
    """(the bytes of an ONNX file, a report {opset, input, output, nodes, parameters, bytes, …}).

    preprocess: the input is "pixels" (N,C,H,W) uint8 and the graph normalises it; otherwise the input is "image"
    (N,C,H,W) float32, already normalised.   fold: batch norms are folded into the convolutions before them.
    The graph is checked by onnx.checker. ValueError names the layer that can't be exported; ModuleNotFoundError where
    the package onnx is missing.
    """
    arguments.instance("description", description, Description)
    onnx = _onnx()
    graph = trace(model, tuple(description.input))
    if graph.output.shape[1:] != (len(description.classes),):
        raise ValueError(f"the net's output for an image has shape {graph.output.shape[1:]}, but the description "
                         f"names {len(description.classes)} classes: they must agree")
    folded = fold_batch_norm(graph) if fold else 0
    if preprocess:
        _normalise_first(graph, description)
    size = sum(array.nbytes for array in graph.constants.values())
    if size > LIMIT:
        raise ValueError(f"the net's weights are {size / 1e9:.1f} GB, and an ONNX file holds 2.1 GB: export "
                         "--safetensors, which has no limit")
    proto = checked_proto(graph, description.model, dynamic_batch=True)
    proto.doc_string = _preprocessing_text(description, preprocess)
    options = {key: value for key, value in description.options.items() if key != "graph"}   # which the nodes say
    onnx.helper.set_model_props(proto, {
        "minicnn": to_json(replace(description, options=options)),
        "labels": json.dumps(description.classes, ensure_ascii=False),
        "preprocessing": proto.doc_string,
    })  # fmt: skip
    written = proto.SerializeToString(deterministic=True)
    ops: dict[str, int] = {}
    for node in graph.nodes:
        ops[node.op] = ops.get(node.op, 0) + 1
    return written, {
        "format": "onnx", "opset": OPSET, "ir_version": IR_VERSION, "checked_with": f"onnx {onnx.__version__}",
        "input": _io(proto.graph.input[0]), "output": _io(proto.graph.output[0]), "nodes": ops, "folded": folded,
        "parameters": sum(p.size for p in model.parameters()),
        "bytes": len(written),
    }  # fmt: skip


def _onnx() -> Any:
    try:
        import onnx
        import onnx.shape_inference
    except ImportError:
        raise ModuleNotFoundError("ONNX files need the package onnx: install it with `pip install onnx`") from None
    return onnx


def _normalise_first(graph: Graph, description: Description) -> None:
    """Put nodes for y = (x/255 − mean)/std, as data.normalise, before the graph."""
    front = Graph(input=Value("pixels", graph.input.shape))
    x = front.add("Cast", front.input, to=1)               # to float32
    x = front.add("Div", x, front.constant(255, np.float32))
    for op, numbers in (("Sub", description.mean), ("Div", description.std)):
        x = front.add(op, x, front.constant(np.reshape(numbers, (1, -1, 1, 1)), np.float32))
    names = dict(zip(front.constants, ("preprocess/255", "preprocess/mean", "preprocess/std")))
    outputs = ("preprocess/float", "preprocess/scaled", "preprocess/centred", graph.input.name)
    front.rename(dict(zip((node.output for node in front.nodes), outputs)) | names)
    for node in front.nodes:
        node.name = f"preprocess/{node.output.rpartition('/')[2]}"
    graph.constants = {names[name]: array for name, array in front.constants.items()} | graph.constants
    graph.nodes[:0], graph.input = front.nodes, front.input


def checked_proto(graph: Graph, name: str, *, dynamic_batch: bool) -> Any:
    """The graph as an onnx.ModelProto with the shape of every value, accepted by onnx.checker.

    dynamic_batch: the first axis of the input and the output is named N and has no fixed length.
    """
    onnx = _onnx()
    helper = onnx.helper
    floats = onnx.TensorProto.FLOAT
    input_type = onnx.TensorProto.UINT8 if graph.input.name == "pixels" else floats
    ends = [helper.make_tensor_value_info(
        value.name, elements, ["N", *value.shape[1:]] if dynamic_batch else value.shape)
        for value, elements in ((graph.input, input_type), (graph.output, floats))]  # fmt: skip
    body = helper.make_graph(
        [helper.make_node(n.op, n.inputs, [n.output], name=n.name, **n.attributes) for n in graph.nodes], name,
        ends[:1], ends[1:],
        [onnx.numpy_helper.from_array(np.asarray(a, order="C"), key) for key, a in graph.constants.items()],
    )  # fmt: skip
    proto = helper.make_model(body, producer_name="minicnn", producer_version=minicnn.__version__,
                              ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])  # fmt: skip
    proto = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _preprocessing_text(d: Description, preprocess: bool) -> str:
    C, height, width = d.input
    _, H, W = d.preprocessing.inner
    resized = f"{d.interpolation}, antialiased"
    cut = {"crop": f"resize ({resized}) as far as {H}x{W} fits in and cut that out of the middle",
           "pad": f"resize ({resized}) to fit into {H}x{W} and fill up with the colour {d.background}",
           "stretch": f"resize to {H}x{W} ({resized})"}[d.fit]  # fmt: skip
    if d.resize:
        cut = f"resize the shorter side to {d.resize} pixels ({resized}) and cut {H}x{W} out of the middle"
    if any(d.margin):
        cut += f", then add rows and columns of the colour {d.background} on all sides to {height}x{width}"
    numbers = f"y = (pixel/255 - mean)/std with mean {_numbers(d.mean)} and std {_numbers(d.std)}"
    return (f"{'grey (1 channel)' if C == 1 else 'RGB'}, transparent pixels on {d.background}; {cut}; "
            f"{'pixels 0..255 as uint8' if preprocess else numbers}; channels first: (N, {C}, {height}, {width}). "
            "Output: logits, one a label; softmax them.")


def _numbers(values: list[float]) -> str:
    return "[" + ", ".join(f"{v:.6g}" for v in values) + "]"


def _io(value: Any) -> dict[str, Any]:
    kind = value.type.tensor_type
    shape = [d.dim_param or d.dim_value for d in kind.shape.dim]
    return {"name": value.name, "type": {1: "float32", 2: "uint8"}[kind.elem_type], "shape": shape}
