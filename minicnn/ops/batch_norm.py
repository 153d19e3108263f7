"""Batch normalisation (Ioffe & Szegedy 2015): with the statistics of the batch (training) or given ones (inference).

Both take x (N,C,…) and, for each channel, γ (C,) and β (C,); γ=None means 1, β=None means 0.
"""

from minicnn import devices
from minicnn.deferred import Later, fusable
from minicnn.device import Array
from minicnn.geometry import channels_last
from minicnn.op_checks import number
from minicnn.ops.memoise import memoise_by_dy
from minicnn.tensor import op


@op
@fusable
def batch_norm(x: Array, gamma: Array | None = None, beta: Array | None = None, *, eps: float = 1e-5):
    """y = γ·x̂ + β,   x̂ = (x − μ)/√(σ² + ε),   μ and σ² the mean and variance of x's channel over batch and pixels

        dβ = Σ dy      dγ = Σ dy·x̂      dx = γ/√(σ² + ε) · (dy − dβ/m − x̂·dγ/m)      m = values in a channel

    The last two terms of dx come from μ and σ², which also depend on x.   σ² is the biased variance: divided by m.
    `aux` is (μ, σ²).   Kept for backward: x, μ, σ² (x̂ is computed again).   Algorithm 1 and §3
    """
    check("batch_norm", eps, x, gamma, beta)
    if x.size <= x.shape[1]:
        raise ValueError(f"batch_norm: x {x.shape} has {x.size // max(x.shape[1], 1)} value(s) per channel, and "
                         "statistics need at least 2: use a larger batch, or eval() for the running statistics")
    device = devices.of(x)
    return normalised(device, x, gamma, beta, eps, *device.batch_norm_stats(x))


def normalised(device, x, gamma, beta, eps, mean, var, everywhere=None, counts=True):
    """(y later, the gradients, (mean, var)) of batch norm with the batch's mean (C,) and variance (C,).

    everywhere: turns this rank's (Σ dy, Σ dy·x̂) into those of the whole batch, where other ranks have a part of it.
    counts=False: these images are stand-ins, whose dx is 0.
    """
    inv_std = 1 / device.xp.sqrt(var + eps)
    scale = inv_std if gamma is None else gamma * inv_std

    def y(**fused): return device.batch_norm_apply(x, mean, scale, beta, **fused)

    def gradients(relu=None):
        # Σ dy (C,) and Σ dy·x̂ (C,)
        sums = memoise_by_dy(lambda dy: device.batch_norm_sums(dy, x, mean, inv_std, relu=relu))

        def dx(dy):
            both = sums(dy) if everywhere is None else everywhere(sums(dy))
            return device.batch_norm_dx(dy, x, mean, inv_std, scale, *both, relu=relu) if counts else 0 * dy

        def dgamma(dy): return sums(dy)[1]
        def dbeta(dy): return sums(dy)[0]

        return dx, dgamma, dbeta

    of_relu = (lambda: gradients((scale, beta))) if device.recomputes_relu else None
    return Later(device, x.shape, x.dtype, y, adds=True, of_relu=of_relu), gradients(), (mean, var)


@op(optional=("gamma", "beta"))
@fusable
def batch_norm_inference(x: Array, gamma: Array | None, beta: Array | None, mean: Array, var: Array, *,
                         eps: float = 1e-5):
    """y = γ·(x − μ)/√(σ² + ε) + β with a mean μ (C,) and a variance σ² (C,) that do not depend on x.

        dx = dy·γ/√(σ² + ε)   dγ = Σ dy·x̂   dβ = Σ dy   dμ = −γ/√(σ² + ε)·Σ dy   dσ² = −½·γ/(σ² + ε)·Σ dy·x̂

    For a trained net, and for frozen layers in training.   Kept for backward: x.   Algorithm 2
    """
    check("batch_norm_inference", eps, x, gamma, beta, mean, var)
    device = devices.of(x)
    inv_std = 1 / device.xp.sqrt(var + eps)
    scale = inv_std if gamma is None else gamma * inv_std
    sums = memoise_by_dy(lambda dy: device.batch_norm_sums(dy, x, mean, inv_std))    # Σ dy (C,) and Σ dy·x̂ (C,)

    def y(**fused): return device.batch_norm_apply(x, mean, scale, beta, **fused)
    def dx(dy): return dy * scale.reshape(1, -1, *[1] * (x.ndim - 2))
    def dgamma(dy): return sums(dy)[1]
    def dbeta(dy): return sums(dy)[0]
    def dmean(dy): return -scale * sums(dy)[0]
    def dvar(dy): return -0.5 * scale * inv_std * sums(dy)[1]

    return Later(device, x.shape, x.dtype, y, adds=True), (dx, dgamma, dbeta, dmean, dvar)


def check(name, eps, x, *per_channel):
    """ValueError unless x has channels, and each array of `per_channel` has one number for each of them."""
    number(name, "eps", eps, least=0)
    if x.ndim < 2:
        raise ValueError(f"{name}: x must have at least 2 axes (N, C, …), not shape {x.shape}")
    C = x.shape[1]
    if any(a is not None and a.shape != (C,) for a in per_channel):
        shapes = [getattr(a, "shape", a) for a in per_channel if a is not None]
        raise ValueError(f"{name}: x has {C} channels, so gamma, beta, mean and var must each have shape ({C},), "
                         f"not {shapes}{channels_last(x.shape, shapes[0][0] if shapes[0] else 0)}")
