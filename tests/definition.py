"""A convolution and its gradients by definition, for arrays too large for the loops of minicnn.reference."""

import itertools

import numpy as np


def by_definition(x, w, dy, S, P, D, G):
    """(y, dx, dw), each product of the definition added where it belongs: a loop over outputs, taps and groups.

    P: (down, across), each an integer or (before, after); dy tells the number of outputs.
    """
    P = [side if isinstance(side, int) else side[0] for side in P]
    y = np.zeros_like(dy)
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    Cg, Og = x.shape[1] // G, w.shape[0] // G
    for i, j, p, q in itertools.product(*map(range, (*y.shape[2:], *w.shape[2:]))):
        h, v = i * S[0] + p * D[0] - P[0], j * S[1] + q * D[1] - P[1]
        if not (0 <= h < x.shape[2] and 0 <= v < x.shape[3]):
            continue
        for k in range(G):
            c, o = slice(k * Cg, (k + 1) * Cg), slice(k * Og, (k + 1) * Og)
            y[:, o, i, j] += x[:, c, h, v] @ w[o, :, p, q].T
            dx[:, c, h, v] += dy[:, o, i, j] @ w[o, :, p, q]
            dw[o, :, p, q] += dy[:, o, i, j].T @ x[:, c, h, v]
    return y, dx, dw
