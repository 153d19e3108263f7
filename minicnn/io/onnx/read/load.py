"""An ONNX file as a module: `io.onnx.load(path)`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import arguments, meta
from minicnn.io.onnx.read import merge
from minicnn.io.onnx.read.build import Builder, Value
from minicnn.io.onnx.read.describe import describe
from minicnn.io.onnx.read.proto import Content, Input, parse
from minicnn.io.onnx.read.table import READERS
from minicnn.models.graph import Graph
from minicnn.names import short
from minicnn.nn import init
from minicnn.tensor import Tensor

BATCHES = (2, 3)
LARGEST_FILE = 2**31
"""Bytes of a Protocol Buffers message."""


def load(path: str | os.PathLike[str], shape: Sequence[int] | None = None) -> Graph:
    """The net in an ONNX file, in eval mode: a module whose parameters are the file's initialisers.

    shape: (C,H,W) of the images, where the file leaves it open. The number of images is free, unless the file fixes it
    in a way that can't be undone. FileNotFoundError where there is no such file; ValueError, one sentence with the
    path, where it is damaged, or holds an operator that is not read: it is named, with its node.
    """
    path = arguments.path(path)
    try:
        return read(content(path), shape)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def content(path: Path) -> Content:
    """What is in the file, checked."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no ONNX file {path}: check the name and the folder")
    size = path.stat().st_size
    if size >= LARGEST_FILE:
        raise ValueError(f"it has {size:,} bytes, and an ONNX file has less than {LARGEST_FILE:,}: larger nets keep "
                         "their arrays in other files")
    return parse(path.read_bytes(), path.parent)


def read(found: Content, shape: Sequence[int] | None = None, *, shapes: Mapping[str, Sequence[int]] | None = None,
         known: Mapping[str, np.ndarray] | None = None, dtype: Any = np.float32) -> Graph:  # fmt: skip
    """The net of a parsed file.

    shape: (C,H,W) of the images of its first input.   shapes: {input: its whole shape}; then the number of images is
    not free.   known: {input: its values}, for inputs that are settings, such as the shape of a Reshape.
    """
    known = known or {}
    inputs = [i for i in found.inputs if i.name not in known]
    constants = {name: Value(name, np.asarray(array)) for name, array in known.items()}

    def built(N: int, memo: dict[int, Any]) -> tuple[Builder, list[Value]]:
        whole = {i.name: tuple(shapes[i.name]) if shapes else (N, *_image(i, shape)) for i in inputs}
        given = {name: Value(name, like=Tensor(_blank(size, dtype))) for name, size in whole.items()}
        builder = Builder(found, READERS, constants | given, N, memo, free=shapes is None)
        return builder, builder.run()

    if shapes is not None:
        builder, outputs = built(1, {})
        calls, fixed = merge.single(builder), 0
    else:
        builder, calls, outputs, fixed = _any_batch(built, inputs)
    graph, state = describe(builder.inputs, calls, outputs)
    if fixed:
        graph["batch"] = fixed
    with init.shapes_only():
        net = Graph(graph)
    for name, tensor in net.named_state():
        array = state[name]
        tensor.data = np.array(array, dtype if array.dtype.kind == "f" else np.int64)
    return net.eval()


def image_shape(found: Content, shape: Sequence[int] | None = None) -> tuple[int, ...]:
    """The shape of one image of the first input: what the file says, or `shape` where it leaves it open."""
    if not found.inputs:
        raise ValueError("its graph has no input")
    return _image(found.inputs[0], shape)


def _any_batch(built: Any, inputs: list[Input]) -> tuple[Builder, list[Any], list[Value], int]:
    """(…, the calls, the outputs, 0) for any number of images; where the file fixes it and they can't be had, for that
    number, which is the last item.
    """
    memo: dict[int, Any] = {}
    fixed = inputs[0].shape[0] if inputs and inputs[0].shape else None
    try:
        first, outputs = built(BATCHES[0], memo)
        second, others = built(BATCHES[1], memo)
        if any(a.like is not None and b.like is not None and (a.shape[:1], b.shape[:1]) != ((2,), (3,))
               for a, b in zip(outputs, others)):  # fmt: skip
            raise merge.BatchError("its output does not have one row for each image")
        return first, merge.merged(first, second), outputs, 0
    except ValueError:
        if not isinstance(fixed, int):
            raise
        only, outputs = built(fixed, {})                   # for the number of images that the file names
        return only, merge.single(only), outputs, fixed


def _image(given: Input, shape: Sequence[int] | None) -> tuple[int, ...]:
    """The shape of one image: what the file says, or what was asked for."""
    said = (given.shape or ())[1:]
    if shape is not None:
        if said and (len(said) != len(shape) or any(isinstance(n, int) and n != m for n, m in zip(said, shape))):
            raise ValueError(f"its input {short(given.name)} takes images of {_times(said)}, not of {_times(shape)}")
        return tuple(int(n) for n in shape)
    if not all(isinstance(n, int) for n in said) or given.shape is None:
        raise ValueError(f"its input {short(given.name)} leaves the size of images open ({_times(said)}): say which, "
                         "such as --input 3x224x224, or load(path, (3, 224, 224))")
    return tuple(n for n in said if isinstance(n, int))


def _times(sizes: Sequence[Any]) -> str:
    return "×".join(str(n) if isinstance(n, int) else "?" for n in sizes) or "?"


def _blank(shape: tuple[int, ...], dtype: Any) -> Any:
    return meta.image(shape).astype(dtype) if len(shape) == 4 else meta.ndarray(shape, dtype)
