"""Normalisation within each image: over its last axes, over groups of its channels, or over each channel.

All take x, γ and β (None means 1 and 0). With the mean μ and the biased variance σ² of each part of an image,

    y = γ·x̂ + β,   x̂ = (x − μ)/√(σ² + ε)
    dx = (g − mean g − x̂·mean(g·x̂))/√(σ² + ε),   g = dy·γ        dγ = Σ dy·x̂        dβ = Σ dy

The means are those of the part; the last two terms of dx come from μ and σ², which also depend on x. The sums are over
all values that γ or β is used for. No image depends on the others, so training and use are the same.
Kept for backward: x̂ and √(σ² + ε).
"""

import math
from collections.abc import Sequence

from minicnn import devices
from minicnn.device import Array
from minicnn.geometry import positive
from minicnn.op_checks import number
from minicnn.tensor import op


@op
def layer_norm(x: Array, gamma: Array | None = None, beta: Array | None = None, *,
               normalized_shape: int | Sequence[int], eps: float = 1e-5):
    """y = γ·(x − μ)/√(σ² + ε) + β,   μ and σ² of the last axes, whose sizes are `normalized_shape`

    x (…, normalized_shape)   γ, β of normalized_shape   →   y like x.   Ba et al. 2016, eq. 4
    """
    shape = tuple(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    shape = tuple(positive("layer_norm: normalized_shape", n) for n in shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(f"layer_norm: normalized_shape (={shape}) must be the sizes of the last axes of x {x.shape}")
    if any(a is not None and a.shape != shape for a in (gamma, beta)):
        raise ValueError(f"layer_norm: gamma and beta must each have shape {shape}, the normalized_shape, not "
                         f"{[a.shape for a in (gamma, beta) if a is not None]}")
    return _normalised("layer_norm", x, x.shape, len(shape), gamma, beta, shape, shape, eps)


@op
def group_norm(x: Array, gamma: Array | None = None, beta: Array | None = None, *, num_groups: int, eps: float = 1e-5):
    """y = γ·(x − μ)/√(σ² + ε) + β,   μ and σ² of the channels and pixels of a group of neighbouring channels

    x (N,C,…) in `num_groups` groups of an image   γ, β (C,)   →   y like x.   Wu & He 2018, §3
    """
    return _by_channels("group_norm", x, gamma, beta, positive("num_groups", num_groups), eps)


@op
def instance_norm(x: Array, gamma: Array | None = None, beta: Array | None = None, *, eps: float = 1e-5):
    """y = γ·(x − μ)/√(σ² + ε) + β,   μ and σ² of the pixels of one channel of one image

    x (N,C,…)   γ, β (C,)   →   y like x.   Ulyanov et al. 2016, eq. 4
    """
    return _by_channels("instance_norm", x, gamma, beta, None, eps)


def _by_channels(name, x, gamma, beta, G, eps):
    """group_norm; G = None: as many groups as channels."""
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise ValueError(f"{name}: x must have at least 2 axes (N, C, …), none of them empty, not shape {x.shape}")
    N, C, *pixels = x.shape
    G = G or C
    if C % G:
        raise ValueError(f"{name}: the {C} channels of x {x.shape} must be divisible by num_groups (={G})")
    if any(a is not None and a.shape != (C,) for a in (gamma, beta)):
        raise ValueError(f"{name}: x has {C} channels, so gamma and beta must each have shape ({C},), not "
                         f"{[a.shape for a in (gamma, beta) if a is not None]}")
    if C // G * math.prod(pixels) < 2:
        raise ValueError(f"{name}: x {x.shape} has one value in each group, and statistics need at least 2")
    each = (G, C // G, *[1] * len(pixels))
    return _normalised(name, x, (N, G, C // G, *pixels), 1 + len(pixels), gamma, beta, (C,), each, eps)


def _normalised(name, x, shape, count, gamma, beta, own, each, eps):
    """(y, its gradients) of x in `shape`, whose last `count` axes are a part.

    own, each: the shape of γ and β, and the one in which they broadcast to `shape`.
    """
    number(name, "eps", eps, least=0)
    xp, part = devices.of(x).xp, tuple(range(len(shape) - count, len(shape)))
    scale, shift = (a if a is None else a.reshape(each) for a in (gamma, beta))
    centred = x.reshape(shape)
    centred = centred - centred.mean(part, keepdims=True)
    std = xp.sqrt((centred * centred).mean(part, keepdims=True) + eps)
    xhat = centred / std
    y = xhat if scale is None else xhat * scale
    y = y if shift is None else y + shift

    def dx(dy):
        g = dy.reshape(shape) if scale is None else dy.reshape(shape) * scale
        rest = g.mean(part, keepdims=True) + xhat * (g * xhat).mean(part, keepdims=True)
        return ((g - rest) / std).reshape(x.shape)

    shared = tuple(i for i, n in enumerate((1,) * (len(shape) - len(each)) + each) if n == 1)
    def dgamma(dy): return (dy.reshape(shape) * xhat).sum(shared).reshape(own)
    def dbeta(dy): return dy.reshape(shape).sum(shared).reshape(own)

    return y.reshape(x.shape), (dx, dgamma, dbeta)
