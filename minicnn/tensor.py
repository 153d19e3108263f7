"""The engine: a Tensor remembers which op made it, and `backward` plays that record back.

An op is a function on plain arrays that returns its value and one gradient function per argument:

    @op
    def multiply(a, b):
        return a * b, (lambda dy: dy * b, lambda dy: dy * a)

Called with Tensors it gives a Tensor, which holds the value, the op's name, its parents `a` and `b`, and the two
functions. `backward` walks from the loss to the leaves, each op before the ops that fed it, and asks for no gradient
that nobody wants. That is all of reverse-mode differentiation (Griewank & Walther 2008, ch. 3). The ops that Python's
operators and the commonest methods spell stand below the engine; every other op lives in minicnn/ops.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from numbers import Number, Real

from minicnn import devices
from minicnn.contract import Array
from minicnn.recording import no_grad, recording, watchers  # noqa: F401 - no_grad is looked for here


class Tensor:
    """An array on some device, and the record of where it came from.

    data: a NumPy or device array (shared, not copied), a number, or nested lists (Python floats become float32).
    requires_grad: whether `backward` shall leave a gradient in `.grad`, a plain array of the same shape and dtype.
    device, dtype: where to put the values and as what; by default they stay as they are.
    """

    __array_ufunc__ = None  # numpy_array + tensor then asks Tensor.__radd__ instead of building an array of objects

    grad: Array | None = None
    requires_grad = False
    aux: tuple[Array, ...] = ()  # what the op computed on the way and its layer wants: plain arrays, not in the graph
    _op, _parents, _vjps, _used = "", (), (), False

    def __init__(self, data, requires_grad: bool = False, *, device: str | None = None, dtype=None):
        if isinstance(data, Tensor):
            data = data.data
        home = devices.find(data)
        if home is None:                                           # a number, a list
            home, precise = devices.get("cpu"), hasattr(data, "dtype")
            data = home.asarray(data)
            dtype = dtype or ("float32" if data.dtype == "float64" and not precise else None)
        target = devices.get(device) if device else home
        self.data: Array = target.asarray(data if target is home else home.to_numpy(data), dtype)
        if str(self.data.dtype) not in ("float32", "float64") and self.data.dtype.kind not in "iub":
            raise TypeError(f"a Tensor holds float32, float64, integers or booleans, not {self.data.dtype}: "
                            "convert the array with .astype('float32')")
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(f"a Tensor of {self.data.dtype} can't have a gradient, only float32 and float64 can: "
                            "convert it with .astype('float32'), or leave requires_grad off")
        self.requires_grad = bool(requires_grad)

    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)
    dtype = property(lambda self: self.data.dtype)
    device = property(lambda self: devices.of(self.data).name)

    def numpy(self):
        """The values as a numpy.ndarray: shared with the Tensor on the cpu, copied from elsewhere."""
        return devices.of(self.data).to_numpy(self.data)

    def item(self) -> float:
        """The value of a Tensor of one element, as a Python number."""
        return self.data.item()

    def detach(self) -> Tensor:
        """The same array, cut off from the graph."""
        return Tensor(self.data)

    def detach_(self, requires_grad: bool = False) -> Tensor:
        """Cut this Tensor itself off: it is a leaf from now on, where a `backward` from what follows it ends."""
        self._op, self._parents, self._vjps, self.requires_grad = "", (), (), requires_grad
        return self

    def to(self, device: str) -> Tensor:
        """The same values on `device`, as a leaf."""
        return Tensor(self.data, self.requires_grad, device=device)

    def astype(self, dtype) -> Tensor:
        """The same values in another dtype, cut off from the graph."""
        return Tensor(self.data, dtype=dtype)

    def backward(self, dy: Array | None = None, rules: Mapping[str, Callable] | None = None) -> None:
        """Add the gradient of Σ dy·self to `.grad` of every leaf that requires one, then free the graph.

        dy: an array of this Tensor's shape; may be left out for a scalar, where it is 1. First order only. Gradients
        of what lies between the leaves and here are held no longer than they are needed.

        rules: {name of an op: rule}. Such an op passes rule(dy, dx) back to its first argument in place of its gradient
        dx(dy): {"relu": lambda dy, dx: dx(dy.clip(0))} is guided backpropagation.
        """
        if not self.requires_grad:
            raise RuntimeError("backward: this Tensor depends on nothing that requires a gradient, or was computed "
                               "under no_grad: start from a leaf made with Tensor(array, requires_grad=True)")
        if dy is None and self.size != 1:
            raise ValueError(f"backward: dy may be left out only for a scalar, but this Tensor has shape {self.shape}: "
                             "pass an array of that shape")
        device = devices.of(self.data)
        dy = device.xp.ones_like(self.data) if dy is None else dy.data if isinstance(dy, Tensor) else dy
        dy = device.asarray(dy, self.dtype)
        if dy.shape != self.shape:
            raise ValueError(f"backward: dy has shape {dy.shape}, but the Tensor has shape {self.shape}: "
                             "the two must be the same")
        pending = {id(self): dy if self._op else dy.copy()}
        order = _parents_first(self)
        while order:                                               # popped, so that what is done with can be freed
            node = order.pop()
            dy = pending.pop(id(node))
            if not node._op:                                       # a leaf
                node.grad = dy if node.grad is None else node.grad + dy
                continue
            given: list[Array] = []
            vjps = node._vjps
            if rules and node._op in rules:
                vjps = (functools.partial(rules[node._op], dx=vjps[0]), *vjps[1:])
            for parent, vjp in zip(node._parents, vjps):
                if not isinstance(parent, Tensor) or not parent.requires_grad:
                    continue
                dx = device.asarray(vjp(dy))
                if dx.shape != parent.shape or dx.dtype != parent.dtype:
                    raise AssertionError(f"{node._op}: gradient of shape {dx.shape} and {dx.dtype} for an argument "
                                         f"of shape {parent.shape} and {parent.dtype}")
                if id(parent) in pending:
                    dx = device.map(device.xp.add, pending[id(parent)], dx)   # not +=: it may be somebody's array
                elif not parent._op and devices.borrows(dx, (dy, parent.data, *given)):
                    dx = dx.copy()                                 # a leaf's gradient is its own
                given.append(dx)
                pending[id(parent)] = dx
            node._parents, node._vjps, node._used = (), (), True

    def __add__(self, other): return add(self, other)
    def __radd__(self, other): return add(other, self)
    def __sub__(self, other): return subtract(self, other)
    def __rsub__(self, other): return subtract(other, self)
    def __mul__(self, other): return multiply(self, other)
    def __rmul__(self, other): return multiply(other, self)
    def __truediv__(self, other): return divide(self, other)
    def __rtruediv__(self, other): return divide(other, self)
    def __matmul__(self, other): return matmul(self, other)
    def __rmatmul__(self, other): return matmul(other, self)
    def __pow__(self, exponent): return power(self, exponent=exponent)
    def __neg__(self): return negative(self)
    def __getitem__(self, index): return getitem(self, index=index)
    def __len__(self): return len(self.data)
    def __bool__(self): return bool(self.data)
    def __array__(self, dtype=None, copy=None): return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def sum(self, axis=None, keepdims=False):
        """Σ over `axis`: None for all, an integer or several."""
        return sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis=None, keepdims=False):
        """Σ / m over `axis`: None for all, an integer or several."""
        return mean(self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape):
        """The same values in another shape: `.reshape(2, -1)` or `.reshape((2, -1))`."""
        return reshape(self, shape=shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape)

    def transpose(self, *axes):
        """The axes in another order, by default reversed: `.transpose(0, 2, 1)` or `.transpose((0, 2, 1))`."""
        return transpose(self, axes=(axes[0] if isinstance(axes[0], (tuple, list)) else axes) if axes else None)

    def __repr__(self):
        place = "" if self.device == "cpu" else f", device={self.device!r}"
        return f"Tensor({self.data}, dtype={self.dtype}{place}{', requires_grad=True' if self.requires_grad else ''})"


def _parents_first(root):
    """Every node that needs a gradient, each one after its parents. No recursion: graphs are deep."""
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, parents_done = stack.pop()
        if parents_done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            if node._used:
                raise RuntimeError(f"backward: the graph behind this {node._op!r} was freed by an earlier backward: "
                                   "run the forward pass again, or add the losses up and call backward once")
            stack.append((node, True))
            stack.extend((p, False) for p in node._parents if isinstance(p, Tensor) and p.requires_grad)
    return order


def op(function=None, *, constants=()):
    """Turn `f(*arrays, **hyper) -> (y, gradients)` into an op on Tensors.

    gradients: one function dy → dx per array, in their order (for a single array, that function alone); None for the
    arguments named in `constants` (labels, masks), which may be of any dtype and get no gradient. An op may return a
    third item, a tuple of plain arrays, which becomes the Tensor's `.aux`. The bare function stays at `.__wrapped__`.
    """
    if function is None:
        return functools.partial(op, constants=constants)
    parameters = inspect.signature(function).parameters.values()
    names = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL))

    @functools.wraps(function)
    def call(*args, **hyper):
        if any(name in hyper for name in names):                   # an array given by keyword: b=bias
            args = (*args, *(hyper.pop(name, None) for name in names[len(args) :]))
        device, arrays = _unwrap(call, args, hyper)
        try:
            y, vjps, *aux = function(*arrays, **hyper)
        except AttributeError:                                     # a number or None has no shape
            wrong = next((i for i, a in enumerate(arrays) if a is None or isinstance(a, Number)), None)
            if wrong is None:
                raise
            rule = f"{names[wrong]} must be a Tensor or an array, not {arrays[wrong]}"
            raise TypeError(f"{call.__name__}: {rule}") from None
        out = object.__new__(Tensor)
        out.data = device.asarray(y)
        if aux:
            out.aux = aux[0]
        if recording.get() and any(isinstance(a, Tensor) and a.requires_grad for a in args):
            out.requires_grad, out._op = True, call.__name__
            out._parents, out._vjps = args, vjps if isinstance(vjps, tuple) else (vjps,)
        for callback in watchers.get():
            callback(call, args, hyper, out)
        return out

    call.arguments, call.constants = names, tuple(constants)
    return call


def _unwrap(call, args, hyper):
    """(the arguments' device, their bare arrays), once it is sure that they go together."""
    for key, value in hyper.items():
        if any(isinstance(v, Tensor) for v in (value if isinstance(value, (tuple, list)) else (value,))):
            raise TypeError(f"{call.__name__}: {key} is a Tensor, but hyper-parameters are plain Python values: "
                            f"pass {key}={key}.item(), or {key}={key}.data for an index")
        if isinstance(value, Number) and hasattr(value, "item"):
            hyper[key] = value.item()                              # eps=np.float64(1e-5) must not decide the dtype
    device = dtype = first = None
    arrays = []
    for i, a in enumerate(args):
        name = call.arguments[min(i, len(call.arguments) - 1)]
        a = a.data if isinstance(a, Tensor) else a
        home = devices.find(a)
        if home is None:
            if a is not None and not isinstance(a, Number):
                raise TypeError(f"{call.__name__}: {name} must be a Tensor, an array or a number, not a "
                                f"{type(a).__name__}: wrap numbers in Tensor(...), pass several Tensors one by one")
            arrays.append(a.item() if hasattr(a, "item") else a)   # a NumPy scalar must not decide the dtype
            continue
        if device not in (None, home):
            raise ValueError(f"{call.__name__}: {first} is on {device.name} but {name} is on {home.name}: "
                             f"move one of them with .to({device.name!r})")
        device, first = home, first or name
        if name not in call.constants:
            if a.dtype.kind != "f" or a.dtype.itemsize not in (4, 8):
                raise TypeError(f"{call.__name__}: {name} is {a.dtype}, but ops compute in float32 or float64: "
                                "convert it with .astype('float32')")
            if dtype is not None and dtype != a.dtype:             # not `in (None, …)`: NumPy reads None as float64
                raise TypeError(f"{call.__name__}: {first} is {dtype} but {name} is {a.dtype}: "
                                f"convert one of them with .astype('{dtype}')")
            dtype = a.dtype
        arrays.append(a)
    if device is None:
        raise TypeError(f"{call.__name__}: none of the arguments is a Tensor or an array: wrap one in Tensor(...)")
    return device, arrays


# ---------------------------------------------------------------------- what Python's operators and the methods spell


def unbroadcast(dy, like):
    """Sum dy over the axes along which `like` was broadcast: the gradient of broadcasting. → the shape of `like`"""
    shape = like.shape
    if dy.shape == shape:
        return dy
    dy = dy.sum(tuple(range(dy.ndim - len(shape))))                           # axes that `like` does not have
    return dy.sum(tuple(i for i, n in enumerate(shape) if n == 1 != dy.shape[i]), keepdims=True)


def elementwise(function, *arguments):
    """The device's `function` (its name in xp), by which each element is computed for itself."""
    device = next(device for a in arguments if (device := devices.find(a)) is not None)
    return device.map(getattr(device.xp, function), *arguments)


@op
def add(a, b):
    """y = a + b, with NumPy's broadcasting.   da = dy, db = dy, summed where broadcast"""
    return elementwise("add", a, b), (lambda dy: unbroadcast(dy, a), lambda dy: unbroadcast(dy, b))


@op
def subtract(a, b):
    """y = a − b, with NumPy's broadcasting.   da = dy, db = −dy"""
    return elementwise("subtract", a, b), (lambda dy: unbroadcast(dy, a), lambda dy: unbroadcast(-dy, b))


@op
def multiply(a, b):
    """y = a · b, element by element.   da = dy·b, db = dy·a"""
    return elementwise("multiply", a, b), (lambda dy: unbroadcast(dy * b, a), lambda dy: unbroadcast(dy * a, b))


@op
def divide(a, b):
    """y = a / b.   da = dy/b, db = −dy·y/b"""
    y = elementwise("divide", a, b)
    return y, (lambda dy: unbroadcast(dy / b, a), lambda dy: unbroadcast(-dy * y / b, b))


@op
def negative(x):
    """y = −x.   dx = −dy"""
    return -x, lambda dy: -dy


@op
def power(x, *, exponent):
    """y = x^e, e a number.   dx = dy·e·x^(e−1)"""
    if not isinstance(exponent, Real):
        raise TypeError(f"power: the exponent must be a number, not a {type(exponent).__name__}: "
                        "for b ** t with a Tensor t write exp(t * log(b))")
    return x**exponent, lambda dy: dy * exponent * x ** (exponent - 1)


@op
def matmul(a, b):
    """y = a · b, matrices in the last two axes, NumPy's broadcasting in the others.

    a (…,M,K)   b (…,K,L)   →   y (…,M,L).   da = dy · bᵀ, db = aᵀ · dy
    """
    if min(getattr(a, "ndim", 0), getattr(b, "ndim", 0)) < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul: shapes {getattr(a, 'shape', ())} and {getattr(b, 'shape', ())} do not go together: "
                         "both need at least 2 axes, (…, M, K) and (…, K, L)")
    def da(dy): return unbroadcast(dy @ b.swapaxes(-1, -2), a)                # (…, M, L) @ (…, L, K) → (…, M, K)
    def db(dy): return unbroadcast(a.swapaxes(-1, -2) @ dy, b)                # (…, K, M) @ (…, M, L) → (…, K, L)
    return a @ b, (da, db)


@op
def getitem(x, *, index):
    """y = x[index], NumPy's slices, integers and integer or boolean arrays.   dx is 0 but for dx[index] += dy"""
    device = devices.of(x)

    def dx(dy):
        dx = device.xp.zeros_like(x)
        device.add_at(dx, index, dy)
        return dx

    return x[index], dx


@op
def sum(x, *, axis=None, keepdims=False):
    """y = Σ x over `axis`: None for all, an integer, or several.   dx = dy, repeated"""
    xp, axes = devices.of(x).xp, whole_axes("sum", x, axis)
    return x.sum(axes, keepdims=keepdims), lambda dy: xp.broadcast_to(spread(dy, x, axes), x.shape)


@op
def mean(x, *, axis=None, keepdims=False):
    """y = Σ x / m over `axis`, m the number of values summed.   dx = dy / m, repeated"""
    xp, axes = devices.of(x).xp, whole_axes("mean", x, axis)
    m = math.prod(x.shape[a] for a in axes)
    return x.mean(axes, keepdims=keepdims), lambda dy: xp.broadcast_to(spread(dy, x, axes) / m, x.shape)


def whole_axes(name, x, axis):
    """`axis` as a tuple of axes from 0 up; a sentence where there is no such axis."""
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    for a in axes:
        if not -x.ndim <= a < x.ndim:
            raise ValueError(f"{name}: axis {a} is out of range for shape {x.shape}: use {-x.ndim} to {x.ndim - 1}")
    return tuple(a % x.ndim for a in axes)


def spread(dy, x, axes):
    """dy with the summed axes of x back in place, 1 long."""
    return dy.reshape([1 if i in axes else n for i, n in enumerate(x.shape)])


@op
def reshape(x, *, shape):
    """y = the same values in another shape, in the same order; one extent may be −1.   dx = dy in x's shape"""
    return x.reshape(shape), lambda dy: dy.reshape(x.shape)


@op
def transpose(x, *, axes=None):
    """y = x with its axes in the order `axes`, by default reversed.   dx = dy with the order undone"""
    order = tuple(reversed(range(x.ndim))) if axes is None else whole_axes("transpose", x, tuple(axes))
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(f"transpose: axes {axes} must name each of the {x.ndim} axes of shape {x.shape} once")
    back = tuple(order.index(i) for i in range(x.ndim))
    return x.transpose(order), lambda dy: dy.transpose(back)
