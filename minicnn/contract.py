"""The contract between the mathematics and the machine.

`Device` lists the primitives that a device must offer: what differs between NumPy and a GPU, and nothing else. An op
that can be written once on `device.xp` (exp, sums, reshapes) needs no primitive. `cpu` keeps the contract in NumPy.

Above it stands the geometry of a sliding window: where the windows lie, how many fit, and clear errors where they
do not. Notation, here and everywhere: N images, C channels, H × W pixels, O filters of KH × KW taps in G groups,
OH × OW outputs; `dy` is the gradient of the loss with respect to y.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, Protocol

Array = Any  # numpy.ndarray, or the same thing on another device


# ------------------------------------------------------------------------------------------------ geometry of a window


@dataclass(frozen=True)
class Axis:
    """One axis of a sliding window: `kernel` taps, `dilation` apart, moved by `stride` over `size` padded pixels.

        out = ⌊(size + before + after − dilation·(kernel − 1) − 1) / stride⌋ + 1

    Tap p of window i reads pixel i·stride + p·dilation − before. With `ceil` the division rounds up, but no window
    may start beyond the last pixel (PyTorch's rule), so its last taps can hang over the padding's edge.
    """

    size: int
    kernel: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1
    ceil: bool = False

    @cached_property
    def extent(self) -> int:
        """Pixels from the first tap to the last, both counted."""
        return self.dilation * (self.kernel - 1) + 1

    @cached_property
    def out(self) -> int:
        """How many windows there are."""
        room = self.size + self.before + self.after - self.extent
        if not self.ceil:
            return room // self.stride + 1
        out = -(-room // self.stride) + 1
        return out - 1 if (out - 1) * self.stride >= self.size + self.before else out

    @cached_property
    def padded(self) -> int:
        """Pixels to lay out so that every tap of every window finds one (more than asked only with `ceil`)."""
        return max(self.size + self.before + self.after, (self.out - 1) * self.stride + self.extent)

    def tap(self, p: int) -> slice:
        """Where tap p of all the windows lies on the padded axis."""
        start = p * self.dilation
        return slice(start, start + self.stride * (self.out - 1) + 1, self.stride)

    def counts(self, include_pad: bool) -> list[int]:
        """How many pixels each window averages over: of the image alone, or of the image and the asked padding."""
        low, high = (-self.before, self.size + self.after) if include_pad else (0, self.size)
        starts = range(-self.before, -self.before + self.stride * self.out, self.stride)
        return [max(1, min(s + self.kernel, high) - max(s, low)) for s in starts]


@dataclass(frozen=True)
class Window2d:
    """Where KH×KW windows stand on N×C images of H×W: one Axis down, one across."""

    N: int
    C: int
    vertical: Axis
    horizontal: Axis

    H = property(lambda self: self.vertical.size)
    W = property(lambda self: self.horizontal.size)
    KH = property(lambda self: self.vertical.kernel)
    KW = property(lambda self: self.horizontal.kernel)
    OH = property(lambda self: self.vertical.out)
    OW = property(lambda self: self.horizontal.out)

    def taps(self) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
        """Each tap (p, q) and the index that cuts, from padded images, what it reads: an (N, C, OH, OW) view."""
        for p in range(self.KH):
            for q in range(self.KW):
                yield p, q, (..., self.vertical.tap(p), self.horizontal.tap(q))


@dataclass(frozen=True)
class Conv2dGeometry(Window2d):
    """Where the windows of a convolution stand, and its O filters in G groups."""

    O: int
    G: int

    @classmethod
    def of(cls, x_shape, w_shape, stride=1, padding=0, dilation=1, groups=1, b_shape=None) -> Conv2dGeometry:
        """Check the shapes and hyper-parameters of a convolution; ValueError or TypeError says what does not fit."""
        _need_rank("conv2d", "x", x_shape, "(N, C, H, W)")
        _need_rank("conv2d", "w", w_shape, "(O, C/groups, KH, KW)")
        N, C, H, W = x_shape
        O, C_group, KH, KW = w_shape
        G = positive("groups", groups)
        if C % G:
            raise ValueError(f"in_channels (={C}) must be divisible by groups (={G})")
        if O % G:
            raise ValueError(f"out_channels (={O}) must be divisible by groups (={G})")
        if C_group != C // G:
            raise ValueError(f"w has shape {w_shape}, but x has {C} channels in {G} group(s): "
                             f"w must have shape ({O}, {C // G}, {KH}, {KW})")
        if b_shape is not None and b_shape != (O,):
            raise ValueError(f"b has shape {b_shape}, but there are {O} filters: b must have shape ({O},)")
        S, D = pair("stride", stride), pair("dilation", dilation)
        P = _conv_padding(padding, (KH, KW), S, D)
        vertical, horizontal = (Axis(n, k, s, *p, d) for n, k, s, p, d in zip((H, W), (KH, KW), S, P, D))
        _need_fit(vertical, horizontal)
        return cls(N, C, vertical, horizontal, O, G)


@dataclass(frozen=True)
class Pool2dGeometry(Window2d):
    """Where the windows of a pooling stand."""

    @classmethod
    def of(cls, x_shape, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False) -> Pool2dGeometry:
        """Check the shape and hyper-parameters of a pooling (`stride=None`: the kernel's size)."""
        _need_rank("pooling", "x", x_shape, "(N, C, H, W)")
        N, C, H, W = x_shape
        K, D = pair("kernel_size", kernel_size), pair("dilation", dilation)
        S = K if stride is None else pair("stride", stride)
        P = pair("padding", padding, least=0)
        axes = [Axis(n, k, s, p, p, d, bool(ceil_mode)) for n, k, s, p, d in zip((H, W), K, S, P, D)]
        for axis in axes:
            if 2 * axis.before > axis.extent:
                raise ValueError(f"padding (={axis.before}) must be at most half the window (={axis.extent} pixels): "
                                 f"a larger one makes windows of nothing but padding")
        _need_fit(*axes)
        return cls(N, C, *axes)


def pair(name: str, value: Any, least: int = 1) -> tuple[int, int]:
    """A hyper-parameter given as one integer or as (down, across)."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{name} must be one integer or a pair (down, across), not {value!r}")
        return positive(name, value[0], least), positive(name, value[1], least)
    return positive(name, value, least), positive(name, value, least)


def positive(name: str, value: Any, least: int = 1) -> int:
    """`value` as an int ≥ `least`, or a sentence."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value.__index__() < least:
        raise ValueError(f"{name} (={value}) must be at least {least}")
    return int(value.__index__())


def _conv_padding(padding: Any, K: tuple[int, int], S: tuple[int, int], D: tuple[int, int]) -> list[tuple[int, int]]:
    """((top, bottom), (left, right)). "same" keeps the size; where it is uneven the extra pixel goes after."""
    if padding == "same":
        if S != (1, 1):
            raise ValueError(f"padding='same' needs stride 1, not {S}: give the padding as a number")
        total = [d * (k - 1) for k, d in zip(K, D)]
        return [(t // 2, t - t // 2) for t in total]
    if padding == "valid":
        padding = 0
    if isinstance(padding, str):
        raise ValueError(f"padding must be a number, a pair, 'same' or 'valid', not {padding!r}")
    return [(p, p) for p in pair("padding", padding, least=0)]


def _need_rank(op: str, name: str, shape: tuple[int, ...], axes: str) -> None:
    if len(shape) != 4:
        fix = f": for one image, x.reshape(1, {', '.join(map(str, shape))})" if name == "x" and len(shape) == 3 else ""
        raise ValueError(f"{op}: {name} must have 4 axes {axes}, not {len(shape)} (shape {shape}){fix}")


def _need_fit(vertical: Axis, horizontal: Axis) -> None:
    for side, axis in (("height", vertical), ("width", horizontal)):
        total = axis.size + axis.before + axis.after
        if axis.out < 1:
            dilated = f" (kernel {axis.kernel}, dilation {axis.dilation})" if axis.dilation > 1 else ""
            raise ValueError(f"the window's {side} (={axis.extent}{dilated}) is larger than the padded input's "
                             f"(={total} = {axis.size} + {axis.before} + {axis.after}): use a smaller kernel, "
                             "or more padding")


# ------------------------------------------------------------------------------------------------------ the primitives


class Device(Protocol):
    """What a device must offer. Arrays are its own; nothing given is changed, except where a docstring says so."""

    name: str
    """"cpu", "cuda:0", ..."""

    @property
    def xp(self) -> ModuleType | Any:
        """The array module: numpy, or one that speaks its language."""

    def asarray(self, values: Array, dtype: Any = None) -> Array:
        """An array of this device with these values, from NumPy or from itself; no copy where none is needed."""

    def to_numpy(self, array: Array) -> Array:
        """The same values as a numpy.ndarray."""

    def synchronize(self) -> None:
        """Wait until everything asked of the device is done; what a clock needs before it is read."""

    def map(self, function: Callable[..., Array], *arrays: Array) -> Array:
        """function(*arrays), of which each element depends on the arrays' elements in the same place alone.

        That it does lets a device call it on pieces, on several threads. Numbers may stand among the arrays; the
        result lies in memory as the first array does.
        """

    def matmul(self, a: Array, b: Array, bias: Array | None = None) -> Array:
        """y = a·b + bias: a (M,K), b (K,L), bias (L,) or None → y (M,L)"""

    # convolution: x (N,C,H,W)   w (O,C/G,KH,KW)   b (O,) or None   y, dy (N,O,OH,OW)

    def conv2d(self, x: Array, w: Array, b: Array | None, geometry: Conv2dGeometry) -> Array:
        """y[n,o,i,j] = b[o] + Σ_{c,p,q} w[o,c,p,q] · x[n, c, i·S + p·D − P, j·S + q·D − P]"""

    def conv2d_dx(self, dy: Array, w: Array, geometry: Conv2dGeometry) -> Array:
        """dx[n,c,h,w]: each dy[n,o,i,j] goes back to the pixels that it was made of, weighted by w[o,c,p,q]."""

    def conv2d_dw(self, dy: Array, x: Array, geometry: Conv2dGeometry) -> Array:
        """dw[o,c,p,q] = Σ_{n,i,j} dy[n,o,i,j] · x[n, c, i·S + p·D − P, j·S + q·D − P]"""

    # pooling: x, dx (N,C,H,W)   y, dy (N,C,OH,OW)

    def max_pool2d(self, x: Array, geometry: Pool2dGeometry) -> tuple[Array, Array]:
        """(y, winner): the largest pixel of each window, and which tap it was, p·KW + q; on a tie the first one."""

    def max_pool2d_dx(self, dy: Array, winner: Array, geometry: Pool2dGeometry) -> Array:
        """dy goes to the winner of its window; a pixel that wins several windows gets the sum."""

    def avg_pool2d(self, x: Array, geometry: Pool2dGeometry, count_include_pad: bool) -> Array:
        """The mean of each window, over its pixels or over its pixels and padding."""

    def avg_pool2d_dx(self, dy: Array, geometry: Pool2dGeometry, count_include_pad: bool) -> Array:
        """dy shared evenly among the pixels of its window."""

    def lp_pool2d(self, x: Array, p: float, geometry: Pool2dGeometry) -> Array:
        """y = (Σ |x|^p)^(1/p) over each window."""

    def lp_pool2d_dx(self, dy: Array, x: Array, y: Array, p: float, geometry: Pool2dGeometry) -> Array:
        """dx = Σ dy · sign(x) · (|x| / y)^(p−1) over the windows that a pixel is in; 0 where y is 0."""

    # sums, normalisation: x, y, dy, dx (N,C,...)   the rest (C,)

    def channel_sums(self, dy: Array) -> Array:
        """Σ dy of each channel."""

    def batch_norm_stats(self, x: Array) -> tuple[Array, Array]:
        """(mean, variance) of each channel; the variance divides by the number of values, not by one less."""

    def batch_norm_apply(self, x: Array, mean: Array, scale: Array, shift: Array | None) -> Array:
        """y = (x − mean) · scale + shift, channel by channel."""

    def batch_norm_sums(self, dy: Array, x: Array, mean: Array, inv_std: Array) -> tuple[Array, Array]:
        """(Σ dy, Σ dy·x̂) of each channel, with x̂ = (x − mean)·inv_std."""

    def batch_norm_dx(self, dy: Array, x: Array, mean: Array, inv_std: Array, scale: Array,
                      sum_dy: Array, sum_dy_xhat: Array) -> Array:
        """dx = scale · (dy − Σdy/m − x̂·Σ(dy·x̂)/m), m the number of values in a channel."""

    def local_response_norm(self, x: Array, size: int, alpha: float, beta: float, k: float) -> tuple[Array, Array]:
        """(y, s): s[n,c] = k + α·Σ x[n,c']² over the `size` channels c' around c, and y = x·s^(−β)."""

    def local_response_norm_dx(self, dy: Array, x: Array, y: Array, s: Array, size: int,
                               alpha: float, beta: float) -> Array:
        """dx[c] = dy[c]·s[c]^(−β) − 2αβ·x[c]·Σ dy[c']·y[c'] / s[c'] over the channels c' whose window holds c."""

    # the rest

    def cross_entropy(self, logits: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
        """(loss, p): loss[n] = −Σ_k q[n,k]·log p[n,k], p the softmax (N,K), q = (1 − ε)·one-hot + ε/K."""

    def cross_entropy_dx(self, dy: Array, p: Array, labels: Array, smoothing: float) -> Array:
        """dlogits[n,k] = dy[n]·(p[n,k] − q[n,k])"""

    def dropout_mask(self, shape: tuple[int, ...], p: float, seed: int, draw: int) -> Array:
        """Booleans, False with probability p; the same (shape, p, seed, draw) gives the same mask on every device."""

    def add_at(self, target: Array, index: Any, values: Array) -> None:
        """target[index] += values, in place, an index that occurs twice adding twice."""

    def sgd_update(self, param: Array, grad: Array, velocity: Array | None, *, lr: float, momentum: float,
                   nesterov: bool, weight_decay: float) -> None:
        """One step of optim.SGD, changing `param` and `velocity` in place."""

    def adam_update(self, param: Array, grad: Array, m: Array, v: Array, *, lr: float, beta1: float, beta2: float,
                    eps: float, weight_decay: float, decoupled: bool, step: int) -> None:
        """One step of optim.Adam (decoupled: AdamW), changing `param`, `m` and `v` in place."""
