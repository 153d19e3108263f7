"""The interface that every backend implements.

`Device` lists the primitives: the operations that need different code on NumPy and on a GPU. An op that can be written
once with `device.xp` (exp, sums, reshapes) needs no primitive. `cpu` implements the primitives in NumPy, `gpu` in CuPy
and CUDA, `meta` for shapes only. Notation: see geometry.py.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

from minicnn.geometry import Conv2dGeometry, Pool2dGeometry

Array = Any  # numpy.ndarray, or the same thing on another device


class Device(Protocol):
    """The primitives of a device, on its own arrays. Arguments are not changed unless the docstring says so."""

    name: str
    """"cpu", "cuda:0", ..."""

    recomputes_relu: bool
    """Whether batch_norm_sums and batch_norm_dx with relu= are quicker than relu_dx before them."""

    @property
    def xp(self) -> ModuleType | Any:
        """The array module: numpy, or a module with the same functions."""

    def asarray(self, values: Array, dtype: Any = None) -> Array:
        """`values`, an array of NumPy or of this device, as an array of this device; copied only if necessary."""

    def to_numpy(self, array: Array) -> Array:
        """The same values as a numpy.ndarray."""

    def synchronize(self) -> None:
        """Wait until the device has finished all its work; call it before reading a clock."""

    def elementwise(self, function: Callable[..., Array], *arrays: Array) -> Array:
        """function(*arrays), where each element of the result depends only on the elements at the same position.

        Therefore a device may call it on parts of the arrays, on several threads. Arguments can also be numbers. The
        result has the memory layout of the first array.
        """

    def evaluate(self, formula: Callable[..., Array], *arguments: Array | float) -> Array:
        """formula(xp, *arguments), one of minicnn/formulas.py: arrays of one shape, then numbers."""

    def relu(self, x: Array) -> Array:
        """y = max(x, 0), with the memory layout of x."""

    def relu_dx(self, dy: Array, y: Array) -> Array:
        """dx = dy where y > 0, else 0, with the memory layout of y."""

    def add(self, a: Array, b: Array) -> Array:
        """y = a + b, two arrays of one shape and dtype, with the memory layout of a."""

    def add_relu(self, a: Array, b: Array) -> Array:
        """y = max(a + b, 0), likewise."""

    def matmul(self, a: Array, b: Array, bias: Array | None = None) -> Array:
        """y = a·b + bias: a (M,K), b (K,L), bias (L,) or None → y (M,L)"""

    # convolution: x (N,C,H,W)   w (O,C/G,KH,KW)   b (O,) or None   y, dy (N,O,OH,OW)

    def conv2d(self, x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry, relu: bool = False) -> Array:
        """y[n,o,i,j] = b[o] + Σ_{c,p,q} w[o,c,p,q] · x[n, c, i·S + p·D − P, j·S + q·D − P];   relu: max(y, 0)"""

    def conv2d_dx(self, dy: Array, w: Array, geometry: Conv2dGeometry) -> Array:
        """dx[n,c,h,w] = Σ w[o,c,p,q]·dy[n,o,i,j] over all o, p, q, i, j with h = i·S + p·D − P, w = j·S + q·D − P"""

    def conv2d_dw(self, dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
        """dw[o,c,p,q] = Σ_{n,i,j} dy[n,o,i,j] · x[n, c, i·S + p·D − P, j·S + q·D − P]"""

    # pooling: x, dx (N,C,H,W)   y, dy (N,C,OH,OW)

    def max_pool2d(self, x: Array, geometry: Pool2dGeometry) -> tuple[Array, Array]:
        """(y, winner): the largest pixel of each window, and the index p·KW + q of its tap; on a tie, the first."""

    def max_pool2d_dx(self, dy: Array, winner: Array, geometry: Pool2dGeometry) -> Array:
        """Each dy is added to the dx of its window's winner."""

    def avg_pool2d(self, x: Array, geometry: Pool2dGeometry, count_include_pad: bool) -> Array:
        """The mean of each window: over pixels and padding if count_include_pad, else over the pixels only."""

    def avg_pool2d_dx(self, dy: Array, geometry: Pool2dGeometry, count_include_pad: bool) -> Array:
        """Each dy is divided evenly among the pixels of its window."""

    def lp_pool2d(self, x: Array, p: float, geometry: Pool2dGeometry) -> Array:
        """y = (Σ |x|^p)^(1/p) over each window."""

    def lp_pool2d_dx(self, dy: Array, x: Array, y: Array, p: float, geometry: Pool2dGeometry) -> Array:
        """dx = Σ dy · sign(x) · (|x| / y)^(p−1) over the windows that a pixel is in; 0 where y is 0."""

    # sums, normalisation: x, y, dy, dx (N,C,...)   the rest (C,)

    def channel_sums(self, dy: Array) -> Array:
        """Σ dy of each channel."""

    def batch_norm_stats(self, x: Array) -> tuple[Array, Array]:
        """(mean, variance) of each channel; the biased variance: divided by the number of values m, not by m − 1."""

    def batch_norm_apply(self, x: Array, mean: Array, scale: Array, shift: Array | None, *,
                         add: Array | None = None, relu: bool = False) -> Array:
        """y = (x − mean) · scale + shift + add, channel by channel; max(0, y) with relu. add: None or like x."""

    def batch_norm_sums(self, dy: Array, x: Array, mean: Array, inv_std: Array, *,
                        relu: tuple[Array, Array | None] | None = None) -> tuple[Array, Array]:
        """(Σ dy, Σ dy·x̂) of each channel, with x̂ = (x − mean)·inv_std.

        relu = (scale, shift): dy is the gradient of max(0, batch norm), and counts where batch norm is above 0.
        """

    def batch_norm_dx(self, dy: Array, x: Array, mean: Array, inv_std: Array, scale: Array, sum_dy: Array,
                      sum_dy_xhat: Array, *, relu: tuple[Array, Array | None] | None = None) -> Array:
        """dx = scale · (dy − Σdy/m − x̂·Σ(dy·x̂)/m), m the number of values in a channel. relu: as above."""

    def local_response_norm(self, x: Array, size: int, alpha: float, beta: float, k: float) -> tuple[Array, Array]:
        """(y, s): s[n,c] = k + α·Σ x[n,c']² over the `size` channels c' around c, and y = x·s^(−β)."""

    def local_response_norm_dx(self, dy: Array, x: Array, y: Array, s: Array, size: int,
                               alpha: float, beta: float) -> Array:
        """dx[c] = dy[c]·s[c]^(−β) − 2αβ·x[c]·Σ dy[c']·y[c'] / s[c'] over the channels c' whose window contains c."""

    # losses, dropout, indexing, optimizers

    def cross_entropy(self, logits: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
        """(loss, p): loss[n] = −Σ_k q[n,k]·log p[n,k], p the softmax (N,K), q = (1 − ε)·one-hot + ε/K."""

    def cross_entropy_dx(self, dy: Array, p: Array, labels: Array, smoothing: float) -> Array:
        """dlogits[n,k] = dy[n]·(p[n,k] − q[n,k])"""

    def dropout_mask(self, shape: tuple[int, ...], p: float, seed: int, draw: int, start: int = 0) -> Array:
        """Booleans, False with probability p; the same (shape, p, seed, draw, start) on every device: the same mask.

        Element i is word start + i of the draw's stream: so rows computed by several processes make one mask.
        """

    def add_at(self, target: Array, index: Any, values: Array) -> None:
        """target[index] += values, in place; values of repeated indices add up."""

    def sgd_update(self, param: Array, grad: Array, velocity: Array | None, *, lr: float, momentum: float,
                   nesterov: bool, weight_decay: float) -> None:
        """One step of optim.SGD, changing `param` and `velocity` in place."""

    def adam_update(self, param: Array, grad: Array, m: Array, v: Array, *, lr: float, beta1: float, beta2: float,
                    eps: float, weight_decay: float, decoupled: bool, step: int) -> None:
        """One step of optim.Adam (decoupled: AdamW), changing `param`, `m` and `v` in place."""
