"""Fusion: ops that follow each other in a module are computed in one pass over memory, if there is an op for them.

    y = relu(conv2d(x, w, b))         is computed as   conv2d_relu(x, w, b)
    y = relu(batch_norm(x, γ, β) + z)                  batch_norm_add_relu(x, γ, β, z)

Inside a module's forward, conv2d, batch_norm and add check their arguments and return a Deferred: a Tensor with a shape
and gradient functions, whose values are computed when something asks for them. If the next op has a rule in RULES, it
takes the Deferred over and both are computed at once. Everything else (`.data`, another op, a changed attribute) makes
the Deferred compute itself; it then is an ordinary Tensor, with the values it would have had from the start.

When the outermost module returns, what still waits is computed: no Deferred leaves it. Ops do not wait outside modules,
under `watch`, `watch_ops` and `debug`, which look at every value, and under `minicnn.fusion(False)`. An array that is
changed in place between two ops is seen changed by the op that waits; `backward` lets nothing wait.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import devices
from minicnn.device import Array, Device
from minicnn.recording import observed, waiting
from minicnn.settings import fusion_allowed
from minicnn.tensor import Tensor, record

RULES: dict[Callable[..., Tensor], Callable[..., Tensor | None]] = {}
"""{op: a function of the op's arguments that returns the fused Tensor, or None where nothing is fused}"""


class Later:
    """The value of an op whose last pass over memory has not run yet.

    compute() → y.   compute(relu=True) → max(y, 0).   compute(add=z) → y + z, if it `adds`.
    of_relu() → the gradient functions of max(y, 0), if the op has better ones than its own after those of relu.
    """

    name = ""  # of the op

    def __init__(self, device: Device, shape: tuple[int, ...], dtype: np.dtype, compute: Callable[..., Array],
                 adds: bool = False, of_relu: Callable[[], tuple[Any, ...]] | None = None):
        self.device, self.shape, self.dtype, self.compute, self.adds = device, shape, dtype, compute, adds
        self.of_relu = of_relu


def fusable(function):
    """Under `@op`: the function returns a Later as its value, which is computed at once where ops can't wait."""

    @functools.wraps(function)
    def call(*arrays, **hyper):
        returned = function(*arrays, **hyper)
        if isinstance(returned[0], Later) and (not waiting.get() or observed()):
            return returned[0].compute(), *returned[1:]
        return returned

    return call


class Deferred(Tensor):
    """A Tensor that computes its values when they are asked for, and then is a plain Tensor."""

    _later: Later | None = None

    def _compute(self) -> Array:
        own = self.__dict__
        later = own.get("_later")
        if later is not None:                                      # else another thread was first
            own["data"] = later.compute()
            object.__setattr__(self, "__class__", Tensor)
            own.pop("_later", None)
        return own["data"]

    def _now(self) -> Any:
        return self._later or self._compute()

    data = property(_compute)
    shape = property(lambda self: self._now().shape)
    dtype = property(lambda self: self._now().dtype)
    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))
    device = property(lambda self: devices.of(self.data).name if self._later is None else self._later.device.name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._compute()
        object.__setattr__(self, name, value)

    def __reduce_ex__(self, protocol: Any) -> Any:
        self._compute()
        return Tensor.__reduce_ex__(self, protocol)

    def __repr__(self) -> str:
        self._compute()
        return Tensor.__repr__(self)

    def twin(self) -> Deferred:
        """A second Tensor of the same op, for the graph: this one can then be freed."""
        twin = object.__new__(Deferred)
        vars(twin).update(vars(self))
        return twin


class Waiting:
    """The Deferreds of one call of an outermost module."""

    def __init__(self) -> None:
        self.open = True
        self._values: dict[int, weakref.ref[Tensor]] = {}          # by id, so that the dead are overwritten in time

    def __bool__(self) -> bool:
        return self.open

    def fuse(self, op: Callable[..., Tensor], args: tuple[Any, ...]) -> Tensor | None:
        """op(*args) together with the op before it, or None."""
        rule = RULES.get(op)
        return None if rule is None or not self.open or observed() else rule(*args)

    def put(self, name: str, y: Any, parents: tuple[Any, ...], vjps: tuple[Any, ...], aux: Any = ()) -> Deferred | None:
        """The Deferred of an op that returned a Later; None if it returned an array."""
        if not isinstance(y, Later):
            return None
        y.name, y.compute = name, functools.partial(_within, contextvars.copy_context(), y.compute)
        out = record(name, None, parents, vjps, aux)
        out._later, out.__class__ = y, Deferred
        self._values[id(out)] = weakref.ref(out)
        return out

    def compute(self) -> None:
        """Compute everything that still waits."""
        while self._values:                                        # another thread may add to them
            value = self._values.popitem()[1]()
            if isinstance(value, Deferred):
                value._compute()

    def close(self) -> None:
        """Compute everything that still waits; from now on nothing does."""
        self.open = False
        self.compute()


def run(forward: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    """forward(*inputs) of an outermost module; its ops may wait for each other."""
    if observed() or not fusion_allowed():
        return forward(*inputs)
    queue = Waiting()
    token = waiting.set(queue)
    try:
        output = forward(*inputs)
        queue.close()
    except BaseException:
        with contextlib.suppress(Exception):                       # the first error is the one to report
            queue.close()
        raise
    finally:
        waiting.reset(token)
    return output


def _within(context, compute, **fused):
    """compute(**fused) under the settings (algorithm, NumPy's error state, …) with which the op was called."""
    return context.copy().run(compute, **fused)
