"""The engine: a Tensor records the op that computed it, and `backward` goes through this record in reverse.

An op is a function on plain arrays that returns its value and one gradient function per argument:

    @op
    def multiply(a, b):
        return a * b, (lambda dy: dy * b, lambda dy: dy * a)

Called with Tensors it returns a Tensor, which holds the value, the op's name, its parents `a` and `b`, and the two
gradient functions. `backward` walks from the loss to the leaves, each op before the ops that produced its arguments,
and calls only the gradient functions that are needed. That is all of reverse-mode differentiation (Griewank & Walther
2008, ch. 3). The ops themselves, and with them Python's operators on Tensors, are in minicnn/ops.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, cast, overload

import numpy as np

from minicnn import devices
from minicnn import op_checks as check
from minicnn.device import Array
from minicnn.recording import debugging, gradient_watchers, recording, waiting, watchers
from minicnn.recording import no_grad as no_grad


class Tensor:
    """An array on a device, and the record of how it was computed.

    data: a NumPy or device array (shared, not copied), a number, or nested lists (Python floats become float32).
    requires_grad: whether `backward` leaves a gradient in `.grad`, a plain array of the same shape and dtype.
    device, dtype: the device and dtype of the values; by default those of `data`.

    Do not change `.data` in place between the forward pass and `backward`: ops store no copy of the array.
    `with minicnn.debug():` finds such a change.
    """

    __hash__ = object.__hash__  # `==` compares values, so hashing by identity must be restored

    grad: Array | None = None
    requires_grad = False
    aux: tuple[Array, ...] = ()  # extra outputs of the op, for its layer: plain arrays, not in the graph
    _op, _used = "", False
    _parents: tuple[Any, ...] = ()
    _vjps: tuple[Callable | None, ...] = ()  # vector-Jacobian products: the gradient functions dy → dx
    _checksums: tuple[tuple[str, Array, int], ...] = ()
    _unfused: tuple[Any, ...] = ()  # of two ops computed as one: op, parents and gradients of the second alone

    def __init__(self, data, requires_grad: bool = False, *, device: str | None = None, dtype=None):
        if isinstance(data, Tensor):
            data = data.data
        home = devices.find(data)
        if home is None:                                           # a number, a list
            home, has_dtype = devices.get("cpu"), hasattr(data, "dtype")
            data = check.from_lists(data)
            dtype = dtype or ("float32" if data.dtype == "float64" and not has_dtype else None)
        target = devices.get(device) if device else home
        self.data: Array = check.dtype(target.asarray(data if target is home else home.to_numpy(data), dtype))
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(f"a Tensor of {self.data.dtype} can't have a gradient, only float32 and float64 can: "
                            "convert it with .astype('float32'), or leave requires_grad off")
        self.requires_grad = bool(requires_grad)

    shape: tuple[int, ...] = property(lambda self: self.data.shape)  # type: ignore[assignment]
    ndim: int = property(lambda self: self.data.ndim)  # type: ignore[assignment]
    size: int = property(lambda self: self.data.size)  # type: ignore[assignment]
    dtype: np.dtype = property(lambda self: self.data.dtype)  # type: ignore[assignment]
    device: str = property(lambda self: devices.of(self.data).name)  # type: ignore[assignment]

    def numpy(self) -> np.ndarray:
        """The values as a numpy.ndarray: shared with the Tensor on the CPU, copied from other devices."""
        return devices.of(self.data).to_numpy(self.data)

    def item(self) -> float:
        """The value of a Tensor of one element, as a Python number."""
        if self.size != 1:
            raise ValueError(f"item: only a Tensor of one element is a number, and this one has shape {self.shape}: "
                             "index it first, or reduce it with .sum() or .mean()")
        return self.numpy().item()

    def detach(self) -> Tensor:
        """A Tensor with the same array, detached from the graph."""
        return Tensor(self.data)

    def detach_(self, requires_grad: bool = False) -> Tensor:
        """Detach this Tensor itself from the graph: it becomes a leaf, where a later `backward` stops."""
        self._op, self._parents, self._vjps, self._unfused, self.requires_grad = "", (), (), (), requires_grad
        return self

    def to(self, device: str) -> Tensor:
        """The same values on `device`, with gradients; the Tensor itself if it is already there."""
        here, there = devices.of(self.data), devices.get(device)
        if here is there:
            return self
        moved = there.asarray(here.to_numpy(self.data))
        return record("to", moved, (self,), (lambda dy: here.asarray(there.to_numpy(dy)),))

    def astype(self, dtype) -> Tensor:
        """The same values in another dtype; with gradients between float32 and float64, not for integers."""
        device = devices.of(self.data)
        data = check.dtype(device.asarray(self.data, dtype))
        if data.dtype == self.dtype:
            return self
        if data.dtype.kind != "f":
            return Tensor(data)
        return record("astype", data, (self,), (lambda dy: device.asarray(dy, self.dtype),))

    def backward(self, dy: Array | None = None, rules: Mapping[str, Callable] | None = None) -> None:
        """Add the gradient of Σ dy·self to `.grad` of every leaf that requires one, then free the graph.

        dy: an array of this Tensor's shape; optional for a scalar, where it is 1. First derivatives only.

        rules: {name of an op: rule}. Such an op passes rule(dy, dx) back to its first argument in place of its gradient
        dx(dy): {"relu": lambda dy, dx: dx(dy.clip(0))} is guided backpropagation.
        """
        if not self.requires_grad:
            raise RuntimeError("backward: this Tensor depends on nothing that requires a gradient, or was computed "
                               "under no_grad: start from a leaf made with Tensor(array, requires_grad=True)")
        dy = check.direction(self, dy)
        if queue := waiting.get():
            queue.compute()                                        # before an optimiser changes weights
        pending = {id(self): dy if self._op else dy.copy()}
        order, uses = _parents_first(self, unfused=bool(rules))
        if not self._op:
            _arrived(self, pending.pop(id(self)))
        while order:                                               # popped, so that finished nodes can be freed
            node = order.pop()
            dy = pending.pop(id(node))
            if node._checksums:
                check.unchanged(node._op, node._checksums)
            passed_on: list[Array] = []
            vjps = node._vjps
            if rules and node._op in rules:
                vjps = (functools.partial(rules[node._op], dx=vjps[0]), *vjps[1:])
            for parent, vjp in zip(node._parents, vjps):
                if vjp is None or not isinstance(parent, Tensor) or not parent.requires_grad:
                    continue
                dx = check.gradient(node._op, parent, vjp(dy))
                if id(parent) in pending:
                    dx = devices.of(dx).add(pending[id(parent)], dx)          # not +=: it may be shared
                elif not parent._op and devices.borrows(dx, (dy, parent.data, *passed_on)):
                    dx = dx.copy()                                 # a leaf's gradient is its own
                passed_on.append(dx)
                pending[id(parent)] = dx
                uses[id(parent)] -= 1
                if not parent._op and not uses[id(parent)]:        # a leaf, and nothing more is added to it
                    _arrived(parent, pending.pop(id(parent)))
            node._parents, node._vjps, node._checksums, node._unfused, node._used = (), (), (), (), True

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len: a Tensor of shape () has no axis to iterate over: use .item() for its value")
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]: return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(f"bool: a Tensor of shape {self.shape} is ambiguous, neither true nor false: "
                             "compare .numpy() and use .any() or .all()")
        return bool(self.item())

    def __float__(self) -> float: return float(self.item())
    def __int__(self) -> int: return int(self.item())
    def __format__(self, spec: str) -> str: return format(self.item(), spec) if spec else str(self)
    def __array__(self, dtype=None, copy=None): return np.asarray(self.numpy(), dtype)

    def __repr__(self) -> str:
        kind = type(self).__name__
        values = (f"shape {self.shape}" if self.device == "meta" else
                  np.array2string(self.numpy(), 88, separator=", ", prefix=f"{kind}("))
        place = f", device={self.device!r}" * (self.device != "cpu") + ", requires_grad=True" * self.requires_grad
        return f"{kind}({values}, dtype={self.dtype}{place})"

    if TYPE_CHECKING:  # minicnn/ops/methods.py installs these, each from its op

        def __add__(self, other: Operand) -> Tensor: ...
        __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __add__
        __truediv__ = __rtruediv__ = __matmul__ = __rmatmul__ = __pow__ = __rpow__ = __add__
        def __getitem__(self, index: Any) -> Tensor: ...
        def __eq__(self, other: Operand) -> Array: ...
        __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__
        def abs(self) -> Tensor: ...
        __abs__ = __neg__ = exp = log = sqrt = abs
        def clip(self, low: float | None = None, high: float | None = None) -> Tensor: ...
        def sum(self, axis: Axes = None, keepdims: bool = False) -> Tensor: ...
        mean = max = min = prod = sum
        def argmax(self, axis: int | None = None) -> Array: ...
        def reshape(self, *shape: Any) -> Tensor: ...
        def transpose(self, *axes: Any) -> Tensor: ...
        def flatten(self, start_axis: int = 0) -> Tensor: ...
        def squeeze(self, axis: Axes = None) -> Tensor: ...
        @property
        def T(self) -> Tensor: ...


Operand = Tensor | Array | float  # the other operand in arithmetic with a Tensor
Axes = int | tuple[int, ...] | None  # None for all
Names = tuple[str, ...]
P = ParamSpec("P")


class Op(Protocol[P]):
    """An op: called with Tensors, arrays or numbers, it returns a Tensor."""

    __name__: str
    __wrapped__: Callable[..., Any]  # the function on plain arrays: (y, gradients) or (y, gradients, aux)
    arguments: Names  # its arrays
    constants: Names  # arrays that get no gradient
    optional: Names  # arrays that may be None
    numbers: Names  # arrays that may be plain numbers
    variadic: bool  # whether the last one is any number of arrays (*xs)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        """Compute, and record for `backward` unless under no_grad."""


@overload
def op(function: Callable[P, Any], /) -> Op[P]: ...
@overload
def op(*, constants: Names = (), optional: Names = (), numbers: Names = ()) -> Callable[[Callable[P, Any]], Op[P]]: ...
def op(function=None, /, *, constants=(), optional=(), numbers=()):
    """Turn `f(*arrays, **hyper) -> (y, gradients)` into an op on Tensors.

    gradients: a tuple with one function dy → dx per array, in order (for a single array, only that function);
    None for the arguments named in `constants` (labels, masks), which may have any dtype, get no gradient, and are
    copied to the device of the others if they are NumPy arrays; if all are constants, as in a comparison, the result
    requires none. A third item, a tuple of plain arrays, becomes the Tensor's `.aux`. An argument may be None if it has
    a default or is named in `optional`, a plain number if it is named in `numbers`. The undecorated function is
    `.__wrapped__`.
    """
    if function is None:
        return functools.partial(op, constants=constants, optional=optional, numbers=numbers)
    parameters = [p for p in inspect.signature(function).parameters.values() if p.kind <= p.VAR_POSITIONAL]
    names = tuple(p.name for p in parameters)
    defaults = {p.name: None if p.default is p.empty else p.default for p in parameters}

    @functools.wraps(function)
    def call(*args, **hyper):
        if hyper and not hyper.keys().isdisjoint(defaults):        # an array given by keyword: b=bias
            args = (*args, *(hyper.pop(name, defaults[name]) for name in names[len(args) :]))
        queue = waiting.get()                                      # ops may wait for each other (minicnn/deferred.py)
        if queue is not None and not hyper and (fused := queue.fuse(call, args)) is not None:
            return fused
        device, dtype, arrays = check.arguments(call, args, hyper)
        try:
            returned = function(*arrays, **hyper)
        except AttributeError as problem:
            check.missing(call, device, problem)
            raise
        y, vjps, aux = check.result(call, args, returned)
        if queue is not None and (later := queue.put(call.__name__, y, args, vjps, aux)) is not None:
            return later
        out = record(call.__name__, check.value(call, device, dtype, y), args if differentiable else (), vjps, aux)
        if out._op and debugging.get():
            out._checksums = check.checksums((*check.names(call, len(arrays)), "the output"), (*arrays, out.data))
        for callback in watchers.get():
            callback(call, args, hyper, out)
        return out

    made, optional = cast(Any, call), (*optional, *(p.name for p in parameters if p.default is not p.empty))
    made.arguments, made.constants, made.optional, made.numbers = names, tuple(constants), optional, tuple(numbers)
    differentiable = not {*names} <= {*constants}
    made.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    check.declaration(made)
    return call


def record(name, data, parents, vjps, aux=()):
    """A Tensor of `data`; it records its op, parents and gradient functions if a parent requires a gradient."""
    out = object.__new__(Tensor)
    out.data, out.aux = data, aux
    if recording.get():
        for p in parents:
            if isinstance(p, Tensor) and p.requires_grad:
                out.requires_grad, out._op, out._parents, out._vjps = True, name, parents, vjps
                break
    return out


def _parents_first(root, unfused):
    """(the ops' nodes that need a gradient, each one after its parents; {id: how many gradients it gets} of all nodes)

    No recursion, because graphs can be deep.
    """
    order, uses, seen, stack = [], {}, set(), [(root, False)]
    while stack:
        node, parents_done = stack.pop()
        if parents_done:
            order.append(node)
        elif node._op and id(node) not in seen:
            seen.add(id(node))
            if unfused and node._unfused:                          # a rule is for one op
                node._op, node._parents, node._vjps = node._unfused
            if node._used:
                raise RuntimeError(f"backward: the graph behind this {node._op!r} was freed by an earlier backward: "
                                   "run the forward pass again, or add the losses up and call backward once")
            stack.append((node, True))
            for p in node._parents:
                if isinstance(p, Tensor) and p.requires_grad:
                    stack.append((p, False))
                    uses[id(p)] = uses.get(id(p), 0) + 1
    return order, uses


def _arrived(leaf, dy):
    """Add dy, the sum of all that `backward` has for this leaf, to its gradient."""
    leaf.grad = dy if leaf.grad is None else leaf.grad + dy
    for callback in gradient_watchers.get():
        callback(leaf)


importlib.import_module("minicnn.ops")  # at the end, because ops need this module: `+`, `.sum()`, … of a Tensor
