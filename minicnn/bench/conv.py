"""One convolution under the clock: which algorithms can do it, how wrong they are, what memory and time they take."""

from __future__ import annotations

import inspect
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import cpu
from minicnn.bench.suite import ConvCase
from minicnn.cpu import conv, layout, threads
from minicnn.cpu.conv import im2col
from minicnn.names import unknown
from minicnn.ops.conv import conv2d
from minicnn.tensor import Tensor

WHAT = ("forward", "dx", "dw")
POLICY = "auto"
"""The name under which the policy's own choice is measured."""


def algorithms() -> dict[str, Any]:
    """Every algorithm there is, by name."""
    return dict(conv.ALGORITHMS)


def able(case: ConvCase, dtype: Any = np.float32) -> list[str]:
    """The algorithms that can compute this convolution."""
    g = case.geometry
    return [name for name, module in algorithms().items() if module.supports(g, np.dtype(dtype))]


def chosen(case: ConvCase, what: str, dtype: Any = np.float32) -> str:
    """The algorithm that the policy takes for "forward", "dx" or "dw"."""
    choose: Callable[..., str] = conv.choose
    told = (what,) if len(inspect.signature(choose).parameters) > 2 else ()      # one policy for all three, or one each
    return choose(case.geometry, np.dtype(dtype), *told)


class ConvRun:
    """The arrays of a case, in the layout in which our own layers hand them on, and what can be done with them.

    Images of 1 or 3 channels come as a loader makes them, (N,C,H,W) in memory; all others channels last.
    """

    def __init__(self, case: ConvCase, seed: int = 0, dtype: Any = np.float32):
        self.case, self.g = case, case.geometry
        rng, g = np.random.default_rng(seed), case.geometry
        draw = [rng.standard_normal(shape, np.float32).astype(dtype, copy=False)
                for shape in (case.input, case.w_shape, (g.O,), (g.N, g.O, g.OH, g.OW))]  # fmt: skip
        x, self.w, self.b, dy = draw
        self.w /= self.w.dtype.type(np.sqrt(np.prod(case.w_shape[1:])))       # y then is about as large as x
        self.x = x if g.C in (1, 3) else layout.as_nchw(layout.to_nhwc(x))
        self.dy = layout.as_nchw(layout.to_nhwc(dy))
        self._exact: dict[str, np.ndarray] | None = None

    def calls(self, algorithm: str = POLICY) -> dict[str, Callable[[], np.ndarray]]:
        """{"forward": f, "dx": f, "dw": f} by one algorithm, or by the policy's choice."""
        if algorithm != POLICY and algorithm not in algorithms():
            raise ValueError(unknown("algorithm", algorithm, (POLICY, *algorithms())))
        how, g = (cpu if algorithm == POLICY else algorithms()[algorithm]), self.g
        calls = {"forward": lambda: how.conv2d(self.x, self.w, self.b, g),
                 "dx": lambda: how.conv2d_dx(self.dy, self.w, g),
                 "dw": lambda: how.conv2d_dw(self.dy, self.x, g)}  # fmt: skip
        return {what: _silent(call) for what, call in calls.items()}

    def whole(self) -> tuple[Any, ...]:
        """(y, dx, dw, db) as training makes them: the op on Tensors, then backward."""
        x, w, b = (Tensor(a, requires_grad=True) for a in (self.x, self.w, self.b))
        y = conv2d(x, w, b, stride=self.case.stride, padding=self.case.padding, groups=self.case.groups)
        y.backward(self.dy)
        return y.data, x.grad, w.grad, b.grad

    def exact(self) -> dict[str, np.ndarray]:
        """The three results by the textbook in float64; computed once."""
        if self._exact is None:
            x, w, b, dy = (np.ascontiguousarray(a, np.float64) for a in (self.x, self.w, self.b, self.dy))
            self._exact = {"forward": im2col.conv2d(x, w, b, self.g), "dx": im2col.conv2d_dx(dy, w, self.g),
                           "dw": im2col.conv2d_dw(dy, x, self.g)}  # fmt: skip
        return self._exact

    def errors(self, algorithm: str = POLICY) -> dict[str, float]:
        """The largest error of each result, as a share of the result's largest value in float64."""
        return {what: max_error(call(), self.exact()[what]) for what, call in self.calls(algorithm).items()}

    def forget(self) -> None:
        """Free the float64 results."""
        self._exact = None


def _silent(call: Callable) -> Callable:
    """The same, without NumPy's warnings about values that BLAS computes beside a small matrix and throws away."""
    def silent():
        with np.errstate(all="ignore"):
            return call()

    return silent


def max_error(value: np.ndarray, exact: np.ndarray) -> float:
    """max|value − exact| / max|exact|"""
    return float(np.abs(value - exact).max() / max(np.abs(exact).max(), np.finfo(np.float64).tiny))


def workspace(call: Callable[[], np.ndarray]) -> dict[str, int]:
    """What a call needs beside its arguments and its result, in bytes.

    workspace_bytes: the most that lived at once, scratch included, less the result. scratch_bytes: what the threads
    keep of it for the next call.
    """
    threads.drop_scratch()
    already = tracemalloc.is_tracing()
    if not already:
        tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    try:
        result = call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        if not already:
            tracemalloc.stop()
    return {"workspace_bytes": max(0, peak - before - result.nbytes), "scratch_bytes": threads.scratch_bytes()}
