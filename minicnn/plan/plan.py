"""The plan of a net in use: a callable that computes the net's answers for images."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minicnn import arguments
from minicnn.cpu import path
from minicnn.names import short
from minicnn.nn import Module
from minicnn.ops.activation import relu
from minicnn.plan.fold import fold
from minicnn.plan.graph import Graph, Node, Value, resolved
from minicnn.plan.memory import Layout, place, total
from minicnn.plan.table import Row, Table
from minicnn.plan.trace import CompileError, trace
from minicnn.recording import no_grad
from minicnn.settings import within
from minicnn.tensor import Tensor

if TYPE_CHECKING:
    from minicnn.plan.addresses import Memory

KEPT_BATCHES = 8
"""The batch sizes whose steps a plan keeps."""
SELF_CHECK = 1e-3
"""The largest difference to the model's own answer, as a share of its largest value, with which a plan is returned."""


def compile(model: Module, shape: tuple[int, int, int, int]) -> Plan:
    """A plan that computes model(x) in eval mode for images x of `shape` (N,C,H,W), several times faster on the CPU.

        net = minicnn.compile(model, (32, 3, 224, 224))
        logits = net(images)                                          images (n,C,H,W) → logits (n,K), both NumPy's

    The net's own forward is traced once on random images. Batch norm becomes part of the convolution or linear layer
    before it, in float64; bias and ReLU are applied where a result is computed; dropout and reshapes vanish; joined
    maps are written in place; filters are laid out for the kernels; and intermediate results use the same memory in
    turn. `print(net.explain())` shows all of it.

    The plan is for up to N images at a time: a larger batch is computed N images at a time, a smaller one as it is. It
    has its own copy of the weights: after you change the model's, compile it again. Calls from several threads take
    turns.

    Any net of ops can be compiled. Ops without a kernel, and every op in float64 or without the package numba, are
    computed by the CPU's backend as they are in the model. ValueError names the layer and the op if a value depends
    on the images, or on their number, but not through ops alone.
    """
    arguments.instance("model", model, Module)
    if not (isinstance(shape, (tuple, list)) and len(shape) == 4):
        raise ValueError(f"shape (={short(shape)}) must be (N, C, H, W), such as (1, 3, 224, 224): at most N images")
    N, C, H, W = (arguments.integer("shape", size, 1) for size in shape)
    states = [tensor.data for _, tensor in model.named_state() if tensor.dtype.kind == "f"]
    if any(not isinstance(a, np.ndarray) for a in states):
        raise CompileError("a plan computes on the CPU: call model.to('cpu') first")
    dtypes = {a.dtype for a in states} or {np.dtype(np.float32)}
    if len(dtypes) > 1:
        raise CompileError("the model's parameters and buffers have several dtypes, float32 and float64: convert them "
                         "with model.astype('float32')")
    with np.errstate(all="ignore"):                                # random images may be outside a logarithm's domain
        graph, images, answer = trace(model, (C, H, W), dtypes.pop())
        fold(graph)
        plan = Plan(graph, (N, C, H, W), answer.dtype, type(model).__name__)
        agrees = _agrees(plan(images), answer, model, images)
    if not agrees:
        raise CompileError("the plan's answers differ from the model's: the model computes something that depends on "
                           "more than the images; if it does not, this is a bug of minicnn")
    return plan


def _agrees(found: np.ndarray, answer: np.ndarray, model: Module, images: np.ndarray) -> bool:
    """Whether the plan's answer is the model's up to rounding.

    Hundreds of layers without training can magnify rounding errors a millionfold. Then the answers for images that
    differ by rounding errors do so, too.
    """
    def differs(other):
        return np.abs(other - answer).max(initial=0)

    largest, off = np.abs(answer).max(initial=0), differs(found)
    if not np.isfinite(largest) or off <= SELF_CHECK * largest:
        return True
    with model.evaluating(), no_grad():
        return bool(off <= 100 * differs(model(Tensor(images * images.dtype.type(1 + 1e-6))).numpy()))


class Plan:
    """A compiled net: call it with images (n,C,H,W). `minicnn.compile` makes it."""

    def __init__(self, graph: Graph, shape: tuple[int, int, int, int], dtype: np.dtype, name: str):
        self.input_shape = shape
        """(N,C,H,W): N is the largest number of images that are computed at a time."""
        self.dtype, self.name = dtype, name
        self._graph, self._lock = graph, threading.Lock()
        self._batches: dict[int, _Steps] = {}
        self._path = path.chosen()
        self._compiled = dtype == np.float32 and self._path == "compiled" and _has_kernels()
        self._arena = np.empty(0, dtype)
        if self._compiled:
            from minicnn.plan.kernels import supported

            self._generic = {id(node) for node in graph.nodes if not supported(node)}
            self._layout = Layout(graph, self._generic)
            self._arena = np.zeros(place(self._layout.buffers, shape[0]) + 64, np.float32)
        self._steps(shape[0])

    @property
    def memory(self) -> int:
        """The bytes of intermediate results, for N images."""
        return self._arena.nbytes + sum(4 * b.values * self.input_shape[0] for b in self._buffers() if b.fixed)

    def __call__(self, x: Any) -> np.ndarray:
        """The model's answers for images x (n,C,H,W), n any number: a new array, with one row for each image."""
        if isinstance(x, Tensor):
            x = x.data
        if not isinstance(x, np.ndarray):
            raise TypeError(f"{self}: x must be an array of NumPy, not {short(x)}")
        N, *size = self.input_shape
        if x.ndim != 4 or x.shape[1:] != tuple(size):
            fix = f": for one image, x[None] has shape {(1, *x.shape)}" if x.shape == tuple(size) else (
                ": compile the model for this shape")
            raise ValueError(f"x has shape {x.shape}, but the plan is for images (n, {', '.join(map(str, size))}){fix}")
        if x.dtype != self.dtype:
            raise TypeError(f"x is {x.dtype}, but the plan computes in {self.dtype}: "
                            f"convert it with .astype('{self.dtype}')")
        if 0 < len(x) <= N:
            with self._lock, within(path._asked, self._path), no_grad():
                return self._steps(len(x)).run(x)
        parts = [self(x[start : start + N]) for start in range(0, len(x), N)]
        return np.concatenate(parts) if parts else np.empty((0, *self._graph.y.at(1)[1:]), self.dtype)

    def explain(self) -> Table:
        """The steps for N images as a table: print it, or read its `rows`."""
        N = self.input_shape[0]
        with self._lock:
            rows = tuple(self._steps(N).rows)
        return Table(repr(self), rows, self.memory, 4 * total(self._buffers(), N), self._compiled)

    def __repr__(self) -> str:
        how = "" if self._compiled else ", without kernels"
        return f"Plan({self.name}, {self.input_shape}, {len(self._graph.nodes)} steps{how})"

    def _buffers(self) -> list[Any]:
        return self._layout.buffers if self._compiled else []

    def _steps(self, images: int) -> _Steps:
        """What computes so many images."""
        found = self._batches.pop(images, None)
        if found is None:
            made = _Compiled(self, images) if self._compiled else _Plain(self._graph, images)
            for old in list(self._batches)[KEPT_BATCHES - 1 :]:
                del self._batches[old]
            found = made
        self._batches = {images: found, **self._batches}
        return found


class _Steps:
    """What computes a batch of one size."""

    rows: list[Row]

    def run(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class _Plain(_Steps):
    """The nodes one after the other, by the backend's ops; a value is freed once nothing reads it any more."""

    def __init__(self, graph: Graph, images: int):
        self._graph, self._images = graph, images
        last = {id(v): node for node in graph.nodes for v in node.inputs}
        self._freed = {id(node): [id(v) for v in node.inputs if last[id(v)] is node and v is not graph.y]
                       for node in graph.nodes}  # fmt: skip
        self.rows = [_row(node, images, "", 0) for node in graph.nodes]

    def run(self, x: np.ndarray) -> np.ndarray:
        values = {id(self._graph.x): x}
        for node in self._graph.nodes:
            values[id(node.y)] = evaluate(node, self._images, lambda v: values[id(v)], x.dtype)
            for value in self._freed[id(node)]:
                values.pop(value, None)
        return np.array(values[id(self._graph.y)], order="C")


class _Compiled(_Steps):
    """Programs of kernels, and between them the nodes without a kernel, in planned memory."""

    def __init__(self, plan: Plan, images: int):
        from minicnn.cpu.compiled.program import Call, Program
        from minicnn.plan.addresses import Memory
        from minicnn.plan.kernels import images_call, work

        graph = plan._graph
        memory = Memory(plan._arena, plan._layout, images)
        memory.write_constants()
        self._memory, self._y = memory, memory.view(graph.y)
        self._parts: list[Callable[[], None]] = []
        self.rows = []
        calls: list[Call] = [images_call(graph.x.at(images), memory, graph.x)]
        first: list[Program] = []

        def close():
            if calls:
                program = Program(calls.copy())
                first.append(program)
                self._parts.append(program.run)
                calls.clear()

        for node in graph.nodes:
            if id(node) in plan._generic:
                close()
                self._parts.append(_evaluated_into(node, memory))
                self.rows.append(_row(node, images, "op", _bytes(node, images)))
                continue
            made = work(node, memory)
            calls += made.calls
            self.rows.append(_row(node, images, made.name, _bytes(node, images)))
        close()
        self._program = first[0]

    def run(self, x: np.ndarray) -> np.ndarray:
        if not x.flags.aligned or any(stride < 0 or stride % 4 for stride in x.strides):
            x = x.copy()
        self._program.replace(0, 0, x.__array_interface__["data"][0])
        image, channel, row, pixel = x.strides
        self._program.set_numbers(0, 1, (image // 4, channel // 4, row // 4, pixel // 4))
        for part in self._parts:
            part()
        return np.array(self._y, order="C")


def _evaluated_into(node: Node, memory: Memory) -> Callable[[], None]:
    views = {id(v): memory.view(v) for v in (*node.inputs, node.y)}
    y, images = views[id(node.y)], memory.images

    def run():
        np.copyto(y, evaluate(node, images, lambda v: views[id(v)], y.dtype))

    return run


def evaluate(node: Node, images: int, array_of: Callable[[Value], np.ndarray], dtype: np.dtype) -> np.ndarray:
    """The node's value, computed by its op."""
    args = []
    for a in node.args:
        if isinstance(a, Value):
            a = array_of(a)
        else:
            a = resolved(a, images)
            if isinstance(a, np.ndarray) and a.dtype.kind == "f" and a.dtype != dtype:
                a = a.astype(dtype)
        args.append(a)
    hyper = {key: resolved(value, images) for key, value in node.hyper.items()}
    y = node.op(*args, **hyper)
    return (relu(y) if node.relu else y).data


def _bytes(node: Node, images: int) -> int:
    return 4 * node.y.values * images


def _row(node: Node, images: int, kernel: str, size: int) -> Row:
    return Row(node.layer, node.kind, tuple(node.folded), node.y.at(images), kernel, size)


@functools.cache
def _has_kernels() -> bool:
    """Whether a program of kernels runs here: it calls machine code in a way that a new version of numba may change."""
    try:
        from minicnn.cpu.compiled import inference
        from minicnn.cpu.compiled.program import Call, Program
        from minicnn.plan import kernels  # noqa: F401

        y = np.zeros(8, np.float32)
        Program([Call(inference.add, 1, 8, (np.ones(8, np.float32), y, y, False, 8))]).run()
        problem = None if (y == 1).all() else "a program of kernels computes wrong values"
    except Exception as error:
        problem = str(error)
    if problem:
        warnings.warn(f"minicnn.compile makes plans without kernels: {problem}", RuntimeWarning, stacklevel=4)
    return problem is None


__all__ = ["Plan", "compile"]
