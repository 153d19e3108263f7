"""The bytes of an ONNX file as plain Python: nodes in an order in which they can be computed, and arrays.

The package onnx parses the Protocol Buffers message. All else is checked here, before anything is allocated for it: the
opset, the number of bytes of each array against its shape, external data only inside the file's own folder, values that
no node makes, nodes that wait for each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minicnn.foreign import terminal
from minicnn.io.onnx.read.node import Node
from minicnn.names import short

OLDEST = 6
"""The oldest opset that is read: ONNX 1.1 of 2018. Up to it, broadcasting was an attribute."""
MAX_NODES, MAX_NAME = 100_000, 1000

DTYPES: dict[int, tuple[str, str]] = {
    1: ("<f4", "float_data"), 2: ("<u1", "int32_data"), 3: ("<i1", "int32_data"), 4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"), 6: ("<i4", "int32_data"), 7: ("<i8", "int64_data"), 9: ("?", "int32_data"),
    10: ("<f2", "int32_data"), 11: ("<f8", "double_data"), 12: ("<u4", "uint64_data"), 13: ("<u8", "uint64_data"),
    16: ("<u2", "int32_data"),
}  # fmt: skip
"""{ONNX's number of a type: NumPy's type, the field that holds its values if they are not raw bytes}; 16: bfloat16."""
BFLOAT16, FLOAT16 = 16, 10


@dataclass
class Input:
    """An input of the graph. A size that the file leaves open is a name, or None."""

    name: str
    type: int
    shape: tuple[int | str | None, ...] | None


@dataclass
class Content:
    """What is in an ONNX file."""

    opset: int
    producer: str
    nodes: list[Node] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: list[Input] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


def parse(written: bytes, folder: Path | None) -> Content:
    """The content of an ONNX file. folder: where its external data may lie. ValueError, one sentence."""
    onnx = package()
    model = onnx.ModelProto()
    try:
        model.ParseFromString(written)
    except Exception:                                      # DecodeError, whose module depends on the version
        raise ValueError("it is damaged, or no ONNX file: get it again") from None
    if not model.graph.node and not model.graph.output:
        raise ValueError("it is no ONNX file, or holds no graph: get it again")
    opset = _opset(onnx, model)
    if model.functions:
        model = _inlined(onnx, model)
    graph = model.graph
    if len(graph.node) > MAX_NODES:
        raise ValueError(f"its graph has {len(graph.node):,} nodes, and at most {MAX_NODES:,} are read")
    content = Content(opset, terminal(model.producer_name)[:80])
    content.metadata = {p.key: p.value for p in model.metadata_props}
    reader = Arrays(folder)
    for tensor in graph.initializer:
        _new_name(tensor.name, content.arrays, "array")
        content.arrays[tensor.name] = reader.read(tensor)
    content.inputs = [_input(v) for v in graph.input if v.name not in content.arrays]
    content.outputs = [v.name for v in graph.output]
    if not content.outputs:
        raise ValueError("its graph has no output")
    nodes = [_node(n, i, opset, reader) for i, n in enumerate(graph.node)]
    content.nodes = _in_order(nodes, {*content.arrays, *(i.name for i in content.inputs)}, content.outputs)
    return content


def package() -> Any:
    """The package onnx. ModuleNotFoundError says how to install it."""
    try:
        import onnx
    except ImportError:
        raise ModuleNotFoundError("ONNX files need the package onnx: install it with `pip install onnx`") from None
    return onnx


def _opset(onnx: Any, model: Any) -> int:
    found = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    newest = onnx.defs.onnx_opset_version()
    opset = found[0] if found else 1
    if not OLDEST <= opset <= newest:
        fix = f"update the package onnx (this is {onnx.__version__})" if opset > newest else \
            "export it again with a newer program, or convert it with onnx.version_converter"
        raise ValueError(f"it has opset {opset}, and {OLDEST} to {newest} are read: {fix}")
    return opset


# ----------------------------------------------------------------------------------------------------------- functions


def _inlined(onnx: Any, model: Any) -> Any:
    """The model with the nodes of its own functions in place of their calls."""
    bodies = {(f.domain, f.name): f.node for f in model.functions}
    sizes: dict[Any, int] = {}

    def size(nodes: Iterable[Any], above: tuple[Any, ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in above or len(above) > 100:
                raise ValueError(f"its function {short(node.op_type)} calls itself")
            if key in bodies and key not in sizes:
                sizes[key] = size(bodies[key], (*above, key))
            total += sizes[key] if key in bodies else 1
            if total > MAX_NODES:
                raise ValueError(f"its functions make more than {MAX_NODES:,} nodes, which is the most that are read")
        return total

    size(model.graph.node, ())
    try:
        from onnx import inliner

        return inliner.inline_local_functions(model)
    except Exception as problem:
        raise ValueError(f"its functions can't be put in place of their calls ({short(str(problem))})") from None


# --------------------------------------------------------------------------------------------------------------- nodes


def _input(value: Any) -> Input:
    kind = value.type.tensor_type
    shape = None
    if kind.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else d.dim_param or None
                      for d in kind.shape.dim)
    return Input(value.name, kind.elem_type, shape)


def _node(proto: Any, index: int, opset: int, reader: Arrays) -> Node:
    name = terminal(proto.name or (proto.output[0] if proto.output else f"node {index}"))[:200]
    node = Node(terminal(proto.op_type)[:80], list(proto.input), list(proto.output), {}, name, opset,
                "" if proto.domain in ("", "ai.onnx") else terminal(proto.domain)[:80],
                terminal(proto.name)[:200])
    for attribute in proto.attribute:
        node.attributes[attribute.name] = _attribute(attribute, node, reader)
    return node


def _attribute(a: Any, node: Node, reader: Arrays) -> Any:
    read: dict[int, Callable[[], Any]] = {
        1: lambda: float(a.f), 2: lambda: int(a.i), 3: lambda: a.s.decode("utf-8", "replace"),
        4: lambda: reader.read(a.t), 6: lambda: list(a.floats), 7: lambda: list(a.ints),
        8: lambda: [s.decode("utf-8", "replace") for s in a.strings],
    }  # fmt: skip
    if a.type in read:
        return read[a.type]()
    if a.type == 5:
        return "a graph"                                   # of If and Loop, which are refused by their names
    raise ValueError(f"{node.where}: the attribute {short(a.name)} has a type that is not read ({a.type})")


def _new_name(name: str, known: Any, what: str) -> None:
    if name in known:
        raise ValueError(f"it makes the {what} {short(name)} twice")
    if len(name) > MAX_NAME:
        raise ValueError(f"the name of an {what} has {len(name):,} letters, and at most {MAX_NAME:,} are read")


def _in_order(nodes: list[Node], given: set[str], outputs: list[str]) -> list[Node]:
    """The nodes that the outputs need, each after those whose values it reads."""
    makers: dict[str, Node] = {}
    for node in nodes:
        for name in filter(None, node.outputs):
            if name in given:
                raise ValueError(f"{node.where} makes the value {short(name)}, which is there already")
            _new_name(name, makers, "value")
            makers[name] = node
    ordered, state = [], dict[int, str]()
    stack: list[tuple[str, Node | None, bool]] = [(name, None, False) for name in reversed(outputs)]
    while stack:
        name, reader, done = stack.pop()
        maker = makers.get(name)
        if maker is None:
            if name not in given:
                where = f"{reader.where} reads" if reader else "the graph's outputs name"
                raise ValueError(f"{where} the value {short(name)}, which no node makes and which is no input")
            continue
        if done:
            state[id(maker)] = "done"
            ordered.append(maker)
        elif state.get(id(maker)) == "open":
            raise ValueError(f"{maker.where} waits for its own value: the graph has a cycle")
        elif id(maker) not in state:
            state[id(maker)] = "open"
            stack.append((name, reader, True))
            stack += [(n, maker, False) for n in reversed(maker.inputs) if n]
    return ordered


# -------------------------------------------------------------------------------------------------------------- arrays


class Arrays:
    """Reads arrays. folder: of their external data; None: there may be none."""

    def __init__(self, folder: Path | None):
        self.folder = None if folder is None else folder.resolve()

    def read(self, tensor: Any) -> np.ndarray:
        """The values of an onnx.TensorProto; 16-bit floats as float32. ValueError where its bytes do not fit."""
        name = short(tensor.name or "a constant")
        shape = tuple(tensor.dims)
        if tensor.data_type not in DTYPES:
            raise ValueError(f"the array {name} has a type that is not read (number {tensor.data_type}): numbers of 8 "
                             "to 64 bits and booleans are")
        kind, values = DTYPES[tensor.data_type]
        if any(n < 0 for n in shape) or len(shape) > 8 or math.prod(shape) >= 2**40:
            raise ValueError(f"the array {name} has an impossible shape {short(list(shape))}")
        size = math.prod(shape) * np.dtype(kind).itemsize
        if tensor.data_location == 1:
            raw = self._external(tensor, name, size)
        elif tensor.HasField("raw_data"):
            raw = tensor.raw_data
        else:
            given = getattr(tensor, values)
            if len(given) != math.prod(shape):
                raise ValueError(f"the array {name} of shape {short(list(shape))} has {len(given):,} values")
            raw = self._packed(np.array(given), tensor.data_type, kind).tobytes()
        if len(raw) != size:
            raise ValueError(f"the array {name} of shape {short(list(shape))} has {len(raw):,} bytes, and needs "
                             f"{size:,}")
        array = np.frombuffer(raw, kind).reshape(shape)
        if tensor.data_type == BFLOAT16:
            return (array.astype(np.uint32) << 16).view(np.float32)
        return array.astype(np.float32) if tensor.data_type == FLOAT16 else array.astype(array.dtype.newbyteorder("="))

    @staticmethod
    def _packed(values: np.ndarray, type_: int, kind: str) -> np.ndarray:
        if type_ in (FLOAT16, BFLOAT16):                   # the bits, in 32-bit integers
            return values.astype(np.int64).astype(np.uint16)
        with np.errstate(all="ignore"):
            return values.astype(kind)

    def _external(self, tensor: Any, name: str, size: int) -> bytes:
        said = {e.key: e.value for e in tensor.external_data}
        place = said.get("location", "")
        if self.folder is None:
            raise ValueError(f"the array {name} lies in another file ({short(place)}), and this one was read from "
                             "memory: load it from its folder")
        if not place or "\0" in place or Path(place).is_absolute() or ".." in Path(place).parts:
            raise ValueError(f"the array {name} lies in {short(place)}, and other files are read only inside the ONNX "
                             "file's own folder")
        path = (self.folder / place).resolve()             # also where a link points
        if not path.is_relative_to(self.folder):
            raise ValueError(f"the array {name} lies in {short(place)}, which leads out of the ONNX file's own folder")
        if not path.is_file():
            raise ValueError(f"the array {name} lies in {short(place)}, which is not beside the ONNX file")
        try:
            offset, length = int(said.get("offset", 0)), int(said.get("length", size))
        except ValueError:
            raise ValueError(f"the array {name} lies at no readable place of {short(place)}") from None
        if length != size or offset < 0 or offset + length > path.stat().st_size:
            raise ValueError(f"the array {name} needs {size:,} bytes at {offset} of {short(place)}, which has "
                             f"{path.stat().st_size:,}")
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(length)
