"""One convolution to measure: which algorithms support it, their errors, their memory, and the calls to time."""

from __future__ import annotations

import importlib
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import cpu, devices
from minicnn.bench.suite import ConvCase
from minicnn.cpu import layout, path, threads
from minicnn.cpu.conv import im2col
from minicnn.names import unknown
from minicnn.ops.conv import conv2d
from minicnn.settings import allow_tf32, conv_algorithm
from minicnn.tensor import Tensor

FLOAT32 = np.dtype(np.float32)
WHAT = ("forward", "dx", "dw")
BOTH = "forward+backward"
"""The name of a forward pass with all gradients."""
POLICY = "auto"
"""The name of the policy's own choice."""
TF32 = "auto, TF32"
"""The policy's choice on a GPU that may round float32 products to TF32."""


def _policies(device: str) -> list[tuple[Any, tuple[Any, ...]]]:
    """[(a package with ALGORITHMS and choose, the leading arguments of their functions)]; the first chooses first."""
    if device == "cpu":
        compiled = path.chosen() == "compiled"
        return [(importlib.import_module("minicnn.cpu.compiled.conv"), ())] * compiled + [(cpu.conv, ())]
    from minicnn.gpu import conv

    return [(conv, (devices.get(device),))]


def algorithms(device: str = "cpu") -> list[str]:
    """The names of all algorithms that the device has."""
    return list(dict.fromkeys(name for package, _ in _policies(device) for name in package.ALGORITHMS))


def supported(case: ConvCase, device: str = "cpu") -> list[str]:
    """The algorithms that support this convolution."""
    return list(dict.fromkeys(
        name for package, first in _policies(device) for name, module in package.ALGORITHMS.items()
        if module.supports(*first, case.geometry, FLOAT32)))  # fmt: skip


def chosen(case: ConvCase, device: str = "cpu") -> str:
    """The algorithm that the policy chooses; "winograd of NumPy" where the compiled backend has one of that name."""
    found = ""
    for package, first in _policies(device):
        choice = package.choose(*first, case.geometry, FLOAT32)
        if isinstance(choice, str):
            return f"{choice} of NumPy" if choice in found else choice
        if choice is not None:
            return next(name for name, module in package.ALGORITHMS.items() if module is choice)
        found = ", ".join(package.ALGORITHMS)
    raise AssertionError("every device has an algorithm for every convolution")


class ConvRun:
    """The arrays of a case on a device, and what can be computed with them.

    On the CPU the arrays have the memory layout that minicnn's layers produce: images with 1 or 3 channels (N,C,H,W),
    as a loader makes them, all others channels last. `x`, `w`, `b`, `dy` are NumPy arrays; `on_device` holds the same
    four on the device.
    """

    def __init__(self, case: ConvCase, device: str = "cpu"):
        self.case, self.g, self.device, self.device_name = case, case.geometry, devices.get(device), device
        rng, g = np.random.default_rng(0), case.geometry
        self.x, self.w, self.b, self.dy = (
            rng.standard_normal(shape, np.float32)
            for shape in (case.input, case.w_shape, (g.O,), (g.N, g.O, g.OH, g.OW)))  # fmt: skip
        self.w /= np.float32(np.sqrt(np.prod(case.w_shape[1:])))              # makes y about as large as x
        if device == "cpu":
            self.x = self.x if g.C in (1, 3) else layout.as_nchw(layout.to_nhwc(self.x))
            self.dy = layout.as_nchw(layout.to_nhwc(self.dy))
        self.on_device = [self.device.asarray(a) for a in (self.x, self.w, self.b, self.dy)]
        self._exact: dict[str, np.ndarray] | None = None

    def calls(self, algorithm: str = POLICY) -> dict[str, Callable[[], Any]]:
        """{"forward": f, "dx": f, "dw": f} by one algorithm, by the policy's choice (POLICY), or by that with TF32."""
        known = (POLICY, TF32, *algorithms(self.device_name))
        if algorithm not in known:
            raise ValueError(unknown("algorithm", algorithm, known))
        (x, w, b, dy), g, device = self.on_device, self.g, self.device
        calls: dict[str, Callable] = {"forward": lambda: device.conv2d(x, w, b, g),
                                      "dx": lambda: device.conv2d_dx(dy, w, g),
                                      "dw": lambda: device.conv2d_dw(dy, x, g)}  # fmt: skip
        return {what: by(algorithm, call) for what, call in calls.items()}

    def whole(self) -> tuple[Any, ...]:
        """(y, dx, dw, db) as in training: the op on Tensors, then backward."""
        x, w, b = (Tensor(a, requires_grad=True) for a in self.on_device[:3])
        y = conv2d(x, w, b, stride=self.case.stride, padding=self.case.padding, groups=self.case.groups)
        y.backward(self.on_device[3])
        return y.data, x.grad, w.grad, b.grad

    def exact(self) -> dict[str, np.ndarray]:
        """The three results by im2col in float64; computed once."""
        if self._exact is None:
            x, w, b, dy = (np.ascontiguousarray(a, np.float64) for a in (self.x, self.w, self.b, self.dy))
            self._exact = {"forward": im2col.conv2d(x, w, b, self.g), "dx": im2col.conv2d_dx(dy, w, self.g),
                           "dw": im2col.conv2d_dw(dy, x, self.g)}  # fmt: skip
        return self._exact

    def errors(self, algorithm: str = POLICY) -> dict[str, float]:
        """The largest error of each result, as a share of the largest value of the float64 result."""
        return {what: max_error(self.device.to_numpy(call()), self.exact()[what])
                for what, call in self.calls(algorithm).items()}  # fmt: skip

    def workspace(self, call: Callable[[], Any]) -> dict[str, int | None]:
        """The bytes that a call needs besides its arguments and its result; None where they are not counted."""
        if self.device_name == "cpu" and path.chosen() == "numpy":
            return {**workspace(call)}
        return {"workspace_bytes": None}                           # CuPy's pool reuses memory, and counts no peak

    def forget(self) -> None:
        """Free the float64 results."""
        self._exact = None


def by(algorithm: str, call: Callable) -> Callable:
    """The same call, computed by one algorithm, by the policy's choice, or by that with TF32."""
    if algorithm == POLICY:
        return call

    def computed():
        with allow_tf32() if algorithm == TF32 else conv_algorithm(algorithm):
            return call()

    return computed


def max_error(value: np.ndarray, exact: np.ndarray) -> float:
    """max|value − exact| / max|exact|"""
    return float(np.abs(value - exact).max() / max(np.abs(exact).max(), np.finfo(np.float64).tiny))


def workspace(call: Callable[[], np.ndarray]) -> dict[str, int]:
    """The memory that a call on the CPU needs besides its arguments and its result, in bytes.

    Without the buffers of compiled kernels: they are not Python's.
    workspace_bytes: the peak during the call, scratch buffers included, minus the result. scratch_bytes: the part of it
    that the threads reuse in the next call.
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
