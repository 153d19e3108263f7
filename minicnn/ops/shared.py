"""Ops of several ranks that compute one batch together (minicnn/piece.py): each sends messages to the others.

Every rank calls them in the same order, forward and backward: a message waits for its counterparts.
"""

import numpy as np

from minicnn import devices
from minicnn.deferred import fusable
from minicnn.device import Array
from minicnn.ops.batch_norm import check, normalised
from minicnn.piece import Shared
from minicnn.ranks import Alone
from minicnn.tensor import op


@op
@fusable
def shared_batch_norm(x: Array, gamma: Array | None = None, beta: Array | None = None, *, eps: float = 1e-5,
                      shared: Shared):
    """`batch_norm` with μ and σ² of the values of all ranks: y = γ·(x − μ)/√(σ² + ε) + β

        dx = γ/√(σ² + ε) · (dy − Σdy/M − x̂·Σ(dy·x̂)/M)      Σ over all ranks, M = their values in a channel

    dγ and dβ are this rank's share; the sum of the gradients over the ranks completes them.   A rank whose images are
    stand-ins adds nothing to μ, σ² and the sums, and has dx = 0.   Messages: 2C + 1 numbers forward, 2C backward.
    `aux` is (μ, σ², M).   Merging means and variances: Chan, Golub, LeVeque 1979
    """
    check("batch_norm", eps, x, gamma, beta)
    device, C = devices.of(x), x.shape[1]
    counts = shared.piece.size > 0
    own = [device.to_numpy(a).astype(np.float64) for a in device.batch_norm_stats(x)]
    count = x.size // C if counts else 0
    mean, var, total = merged(shared.ranks.gather(np.concatenate([*own, [count]])))
    if total < 2:
        raise ValueError(f"batch_norm: the batch of all ranks has {int(total)} value(s) per channel, and statistics "
                         "need at least 2: use a larger batch, or eval() for the running statistics")

    def everywhere(sums):
        both = np.concatenate([device.to_numpy(s) for s in sums]).astype(np.float64)
        both = shared.ranks.sum(both) * (x.size // C / total)                 # batch_norm_dx divides by x.size/C
        return device.asarray(both[:C], x.dtype), device.asarray(both[C:], x.dtype)

    later, gradients, _ = normalised(device, x, gamma, beta, eps, device.asarray(mean, x.dtype),
                                     device.asarray(var, x.dtype), everywhere, counts)  # fmt: skip
    return later, gradients, (device.asarray(mean, x.dtype), device.asarray(var, x.dtype), np.array(total))


def merged(rows: Array) -> tuple[Array, Array, float]:
    """(mean (C,), variance (C,), count) of all values, from a row [mean (C), variance (C), count] for each rank."""
    C = rows.shape[1] // 2
    mean, squares, total = np.zeros(C), np.zeros(C), 0.0                      # squares: Σ (x − mean)²
    for row in rows:
        count = row[-1]
        if count == 0:
            continue
        delta, total = row[:C] - mean, total + count
        mean = mean + delta * (count / total)
        squares = squares + row[C:-1] * count + delta * delta * (count * (total - count) / total)
    return mean, squares / max(total, 1), total


@op
def gathered(x: Array, *, ranks: Alone):
    """y (N,K·C,…) = the channels of all K ranks, in their order.   x (N,C,…)

    dx = this rank's channels of Σ dy over the ranks, because every rank has computed with its own copy of y.
    """
    device, C = devices.of(x), x.shape[1]
    y = device.asarray(np.concatenate(list(ranks.gather(device.to_numpy(x))), 1))

    def dx(dy):
        whole = ranks.sum(np.array(device.to_numpy(dy), order="C"))
        return device.asarray(np.ascontiguousarray(whole[:, ranks.rank * C : (ranks.rank + 1) * C]))

    return y, dx
