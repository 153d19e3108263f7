"""Convolution as a matrix product (Chellapilla, Puri & Simard 2006).

Write the C·KH·KW pixels under each window as one column; then one product multiplies every filter with every window:

    y (O, L)  =  w (O, K) · cols (K, L)         K = C·KH·KW taps of a filter,  L = OH·OW windows

and the gradients are the two transposed products. The cost is memory: a pixel is copied once for each window that
contains it, KH·KW/S² times. With G groups, each group has its own product on its own C/G channels and O/G filters.
"""

import numpy as np

from minicnn.cpu.padding import crop, pad


def supports(g, dtype):
    """Every convolution."""
    return True


def im2col(x, g):
    """x (N,C,H,W) → cols (N,C,KH,KW,OH,OW): cols[n,c,p,q,i,j] is the pixel under tap (p, q) of window (i, j)."""
    padded = pad(x, g)
    cols = np.empty((g.N, g.C, g.KH, g.KW, g.OH, g.OW), x.dtype)
    for p, q, here in g.taps():
        cols[:, :, p, q] = padded[here]                                       # (N, C, OH, OW)
    return cols


def col2im(cols, g):
    """The transpose of im2col: each entry is added to the pixel that it was copied from. → (N,C,H,W)"""
    padded = np.zeros((g.N, g.C, g.vertical.padded, g.horizontal.padded), cols.dtype)
    for p, q, here in g.taps():
        padded[here] += cols[:, :, p, q]                                      # (N, C, OH, OW)
    return crop(padded, g)


def conv2d(x, w, b, g):
    """y = w · cols + b"""
    y = _filters(w, g) @ _columns(x, g)                    # (G, O/G, K) @ (N, G, K, L) → (N, G, O/G, L)
    y = y.reshape(g.N, g.O, g.OH, g.OW)                                       # (N, O, OH, OW)
    if b is not None:
        y += b.reshape(g.O, 1, 1)
    return y


def conv2d_dx(dy, w, g):
    """dx = col2im(wᵀ · dy)"""
    dcols = _filters(w, g).transpose(0, 2, 1) @ _maps(dy, g)   # (G, K, O/G) @ (N, G, O/G, L) → (N, G, K, L)
    return col2im(dcols.reshape(g.N, g.C, g.KH, g.KW, g.OH, g.OW), g)         # (N, C, H, W)


def conv2d_dw(dy, x, g):
    """dw = Σ_n dy · colsᵀ"""
    dw = _maps(dy, g) @ _columns(x, g).transpose(0, 1, 3, 2)   # (N, G, O/G, L) @ (N, G, L, K) → (N, G, O/G, K)
    return dw.sum(0).reshape(g.O, g.C // g.G, g.KH, g.KW)                     # (O, C/G, KH, KW)


def _columns(x, g):
    return im2col(x, g).reshape(g.N, g.G, g.C // g.G * g.KH * g.KW, g.OH * g.OW)         # (N, G, K, L)


def _filters(w, g):
    return w.reshape(g.G, g.O // g.G, g.C // g.G * g.KH * g.KW)                          # (G, O/G, K)


def _maps(dy, g):
    return dy.reshape(g.N, g.G, g.O // g.G, g.OH * g.OW)                                 # (N, G, O/G, L)
