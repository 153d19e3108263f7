"""Ops that compute two or three ops in one pass over memory, and the rules by which modules use them.

    conv2d_relu, add_relu, batch_norm_relu, batch_norm_add, batch_norm_add_relu, and batch norm's with given statistics

A module computes relu(conv2d(x, w, b)) as conv2d_relu(x, w, b) by itself (minicnn/deferred.py). The gradients are those
of the ops that are joined: y = max(s, 0) passes ds = dy where y > 0, else 0, to the op that computed s.
"""

from collections.abc import Callable
from typing import Any

from minicnn.deferred import RULES, Deferred, Later, fusable
from minicnn.device import Array
from minicnn.geometry import Padding, Pair
from minicnn.ops.activation import relu
from minicnn.ops.arithmetic import add
from minicnn.ops.batch_norm import batch_norm, batch_norm_inference
from minicnn.ops.conv import conv2d
from minicnn.ops.memoise import memoise_by_dy
from minicnn.recording import waiting
from minicnn.tensor import Tensor, op, record


@op
def conv2d_relu(x: Array, w: Array, b: Array | None = None, *, stride: Pair = 1, padding: Padding = 0,
                dilation: Pair = 1, groups: int = 1, flip: bool = False):
    """y = max(s, 0),   s = conv2d(x, w, b).   ds = dy where y > 0, else 0; dx, dw, db as conv2d's, from ds

    Kept for backward: x, w, y.   Nair & Hinton 2010
    """
    return rectified(*_later(conv2d, x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups,
                             flip=flip))


@op
def add_relu(a: Array, b: Array):
    """y = max(a + b, 0) for arrays of one shape.   da = db = dy where y > 0, else 0.   He et al. 2015, fig. 5"""
    if a.shape != b.shape:
        raise ValueError(f"add_relu: a {a.shape} and b {b.shape} must have the same shape: use relu(add(a, b))")
    return rectified(*_later(add, a, b))


@op
def batch_norm_relu(x: Array, gamma: Array | None = None, beta: Array | None = None, *, eps: float = 1e-5):
    """y = max(s, 0),   s = batch_norm(x, γ, β).   ds = dy where y > 0, else 0; dx, dγ, dβ as batch_norm's, from ds

    `aux` is (μ, σ²).   Kept for backward: x, μ, σ², y.   Ioffe & Szegedy 2015, §3.2
    """
    return rectified(*_later(batch_norm, x, gamma, beta, eps=eps))


@op(optional=("gamma", "beta"))
@fusable
def batch_norm_add(x: Array, gamma: Array | None, beta: Array | None, z: Array, *, eps: float = 1e-5):
    """y = batch_norm(x, γ, β) + z,   z of x's shape.   dz = dy; dx, dγ, dβ as batch_norm's

    `aux` is (μ, σ²).   Kept for backward: x, μ, σ².   Sandler et al. 2018, fig. 3
    """
    return plus("batch_norm_add", x, z, *_later(batch_norm, x, gamma, beta, eps=eps))


@op(optional=("gamma", "beta"))
def batch_norm_add_relu(x: Array, gamma: Array | None, beta: Array | None, z: Array, *, eps: float = 1e-5):
    """y = max(s, 0),   s = batch_norm(x, γ, β) + z.   dz = ds = dy where y > 0, else 0; dx, dγ, dβ from ds

    `aux` is (μ, σ²).   Kept for backward: x, μ, σ², y.   He et al. 2015, fig. 5
    """
    return rectified(*_later(batch_norm_add, x, gamma, beta, z, eps=eps))


@op(optional=("gamma", "beta"))
def batch_norm_inference_relu(x: Array, gamma: Array | None, beta: Array | None, mean: Array, var: Array, *,
                              eps: float = 1e-5):
    """y = max(s, 0),   s = batch_norm_inference(x, γ, β, μ, σ²).   ds = dy where y > 0, else 0; the others from ds

    Kept for backward: x, y.   Ioffe & Szegedy 2015, §3.2
    """
    return rectified(*_later(batch_norm_inference, x, gamma, beta, mean, var, eps=eps))


@op(optional=("gamma", "beta"))
@fusable
def batch_norm_inference_add(x: Array, gamma: Array | None, beta: Array | None, mean: Array, var: Array, z: Array, *,
                             eps: float = 1e-5):
    """y = batch_norm_inference(x, γ, β, μ, σ²) + z,   z of x's shape.   dz = dy; the others as batch_norm_inference's

    Kept for backward: x.   Sandler et al. 2018, fig. 3
    """
    return plus("batch_norm_inference_add", x, z, *_later(batch_norm_inference, x, gamma, beta, mean, var, eps=eps))


@op(optional=("gamma", "beta"))
def batch_norm_inference_add_relu(x: Array, gamma: Array | None, beta: Array | None, mean: Array, var: Array, z: Array,
                                  *, eps: float = 1e-5):
    """y = max(s, 0),   s = batch_norm_inference(x, γ, β, μ, σ²) + z.   dz = ds = dy where y > 0, else 0; others from ds

    Kept for backward: x, y.   He et al. 2015, fig. 5
    """
    return rectified(*_later(batch_norm_inference_add, x, gamma, beta, mean, var, z, eps=eps))


def rectified(s: Later, vjps: tuple[Any, ...], aux: tuple[Array, ...] = ()):
    """(y = max(s, 0), the gradients of s's op from dy, aux)"""
    y = s.compute(relu=True)
    if s.of_relu is not None:
        return y, s.of_relu(), aux
    ds = memoise_by_dy(lambda dy: s.device.relu_dx(dy, y))
    return y, tuple(_through(ds, vjp) for vjp in vjps), aux


def plus(name: str, x: Array, z: Array, s: Later, vjps: tuple[Any, ...], aux: tuple[Array, ...] = ()):
    """(s + z, the gradients of s's op and of z, aux)"""
    if z.shape != x.shape:
        raise ValueError(f"{name}: z {z.shape} must have x's shape {x.shape}: use add for a z that is broadcast")
    return added(s, z), (*vjps, lambda dy: dy), aux


def added(s: Later, z: Array) -> Later:
    """s + z"""
    return Later(s.device, s.shape, s.dtype, lambda **fused: s.compute(add=z, **fused))


def _later(op, *arrays, **hyper):
    """What the function under `@op` and `@fusable` returns: its value is a Later."""
    return op.__wrapped__.__wrapped__(*arrays, **hyper)


def _through(ds, vjp):
    return lambda dy: vjp(ds(dy))


# ------------------------------------------------------------------------------------------------- the rules of modules


def _relu_after(*args: Any) -> Tensor | None:
    """relu(s) of a Deferred s"""
    s = args[0]
    later = s._later if isinstance(s, Deferred) and len(args) == 1 else None
    if later is None:
        return None
    y, vjps, _ = rectified(later, s._vjps)
    out = record(f"{later.name}_relu", y, s._parents, vjps)
    if out._op:
        out._unfused = ("relu", (s.twin(),), (lambda dy: later.device.relu_dx(dy, y),))
    return out


def _add_after(*args: Any) -> Tensor | None:
    """s + z or z + s, of a Deferred batch norm s and a Tensor z like it"""
    for s in args:
        later = s._later if isinstance(s, Deferred) and len(args) == 2 else None
        if later is None or not later.adds:
            continue
        z = args[1] if s is args[0] else args[0]
        if s is z or not isinstance(z, Tensor) or (z.shape, z.dtype, z.device) != (s.shape, s.dtype, s.device):
            continue
        missing = [None] * (len(s._vjps) - len(s._parents))        # optional arrays that were left out
        out = waiting.get().put(f"{later.name}_add", added(later, z.data), (*s._parents, *missing, z),
                                (*s._vjps, _same))  # fmt: skip
        if out._op:
            twin = s.twin()
            vars(out)["_unfused"] = ("add", tuple(twin if a is s else a for a in args), (_same, _same))
        return out
    return None


def _same(dy: Array) -> Array:
    return dy


_rules: dict[Callable[..., Tensor], Callable[..., Tensor | None]] = {relu: _relu_after, add: _add_after}
RULES.update(_rules)
