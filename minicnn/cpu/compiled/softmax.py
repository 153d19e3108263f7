"""Softmax and cross entropy together, one row of logits at a time.

Left to NumPy: float64, labels that are not integers, no rows.
"""

import numpy as np

from minicnn.cpu import softmax as plain
from minicnn.cpu.compiled import team
from minicnn.cpu.compiled.arrays import F32, usable
from minicnn.cpu.compiled.exponential import exponential
from minicnn.cpu.compiled.kernel import kernel
from minicnn.cpu.compiled.work import first, following

ROWS = 32
"""Rows in an item."""


@kernel("void(f4[:,::1], i8[::1], f8, f4[::1], f4[:,::1], i8[::1])")
def _cross_entropy(logits, labels, smoothing, loss, p, work):
    N, K = logits.shape
    item = first(work)
    while item >= 0:
        for n in range(item * ROWS, min((item + 1) * ROWS, N)):
            z, e, largest = logits[n], p[n], logits[n, 0]
            for k in range(K):
                largest = largest if z[k] <= largest else z[k]
            total = 0.0                                            # from 1 to K
            for k in range(K):
                e[k] = exponential(z[k] - largest)
                total += e[k]
            share = np.float32(1 / total)
            for k in range(K):
                e[k] *= share
            log_total = np.log(total) + largest
            here = (1 - smoothing) * (log_total - z[labels[n]])
            if smoothing > 0:
                mean = 0.0
                for k in range(K):
                    mean += log_total - z[k]
                here += smoothing / K * mean
            loss[n] = here
        item = following(work)


@kernel("void(f4[::1], f4[:,::1], i8[::1], f8, f4[:,::1], i8[::1])")
def _dx(dy, p, labels, smoothing, dlogits, work):
    N, K = p.shape
    share, rest = np.float32(smoothing / K), np.float32(1 - smoothing)
    item = first(work)
    while item >= 0:
        for n in range(item * ROWS, min((item + 1) * ROWS, N)):
            a, out, d = p[n], dlogits[n], dy[n]
            for k in range(K):
                out[k] = (a[k] - share) * d
            out[labels[n]] = (a[labels[n]] - share - rest) * d
        item = following(work)


# ------------------------------------------------------------------------------------------------------ the primitives


def cross_entropy(logits, labels, smoothing):
    if not _able(logits, labels):
        return plain.cross_entropy(logits, labels, smoothing)
    loss, p = np.empty(len(logits), F32), np.empty(logits.shape, F32)
    team.run(_cross_entropy, -(-len(p) // ROWS), p.size * 4, usable(logits), _integers(labels), float(smoothing), loss,
             p)
    return loss, p


def cross_entropy_dx(dy, p, labels, smoothing):
    if not _able(p, labels):
        return plain.cross_entropy_dx(dy, p, labels, smoothing)
    dlogits = np.empty(p.shape, F32)
    team.run(_dx, -(-len(p) // ROWS), p.size, usable(dy), usable(p), _integers(labels), float(smoothing), dlogits)
    return dlogits


def _able(x, labels):
    return x.dtype == F32 and x.size and labels.dtype.kind in "iu"


def _integers(labels):
    return usable(labels.astype(np.int64, copy=False))
