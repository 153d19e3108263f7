"""The definitions of the ops as plain loops: the starting point for readers, the reference for the tests.

The code is slow and simple, and imports only NumPy. Each function follows its formula term by term.
Notation: N images, C channels, H × W pixels, O filters of KH × KW taps in G groups, OH × OW outputs.
"""

import math

import numpy as np


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    """y[n,o,i,j] = b[o] + Σ_{c,p,q} w[o,c,p,q] · x[n, c, i·S + p·D − P, j·S + q·D − P]      (LeCun 1998, §II.A)

    x (N,C,H,W)   w (O,C/G,KH,KW)   b (O,)   →   y (N,O,OH,OW). Filter o sees only the channels of its own group.
    Pixels outside the image are 0. padding="same" adds D·(K − 1) pixels in total, an odd one at the bottom and right.
    """
    N, _, H, W = x.shape
    O, Cg, KH, KW = w.shape
    SH, SW = _pair(stride)
    DH, DW = _pair(dilation)
    if padding == "same":
        total_h, total_w = DH * (KH - 1), DW * (KW - 1)
        top, left = total_h // 2, total_w // 2
        bottom, right = total_h - top, total_w - left
    else:
        (top, left), (bottom, right) = _pair(padding), _pair(padding)
    OH = (H + top + bottom - DH * (KH - 1) - 1) // SH + 1
    OW = (W + left + right - DW * (KW - 1) - 1) // SW + 1
    y = np.zeros((N, O, OH, OW), x.dtype)
    for n in range(N):
        for o in range(O):
            first = o // (O // groups) * Cg                      # the first channel of this filter's group
            for i in range(OH):
                for j in range(OW):
                    total = 0.0 if b is None else b[o]
                    for c in range(Cg):
                        for p in range(KH):
                            for q in range(KW):
                                h, v = i * SH + p * DH - top, j * SW + q * DW - left
                                if 0 <= h < H and 0 <= v < W:
                                    total += w[o, c, p, q] * x[n, first + c, h, v]
                    y[n, o, i, j] = total
    return y


def max_pool2d(x, *, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """y = the largest pixel of the window."""
    return _pool(x, kernel_size, stride, padding, dilation, ceil_mode, lambda pixels, count: max(pixels))


def avg_pool2d(x, *, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """y = the mean of the window: over pixels and padding if count_include_pad, else over the pixels only."""
    return _pool(x, kernel_size, stride, padding, 1, ceil_mode,
                 lambda pixels, count: sum(pixels) / (count if count_include_pad else len(pixels)))


def lp_pool2d(x, *, norm_type=2, kernel_size, stride=None, ceil_mode=False):
    """y = (Σ |x|^p)^(1/p) over the window; p = 2 is the L2 norm."""
    return _pool(x, kernel_size, stride, 0, 1, ceil_mode,
                 lambda pixels, count: sum(abs(v) ** norm_type for v in pixels) ** (1 / norm_type))


def trainable_avg_pool2d(x, a, b, *, kernel_size=2, stride=None):
    """y[n,c] = a[c] · Σ x over the window + b[c]      (LeCun 1998, §II.B, layer S2)"""
    total = _pool(x, kernel_size, stride, 0, 1, False, lambda pixels, count: sum(pixels))
    return np.stack([a[c] * total[:, c] + b[c] for c in range(x.shape[1])], axis=1)


def _pool(x, kernel_size, stride, padding, dilation, ceil_mode, value):
    """Call value(pixels of the window, number of its taps that are inside the image or the requested padding)."""
    N, C, H, W = x.shape
    KH, KW = _pair(kernel_size)
    SH, SW = _pair(kernel_size if stride is None else stride)
    PH, PW = _pair(padding)
    DH, DW = _pair(dilation)

    def windows(size, K, S, P, D):
        """Starts of the windows. With ceil_mode the last may extend beyond the padding, but not start there."""
        room = size + 2 * P - D * (K - 1) - 1
        out = (math.ceil(room / S) if ceil_mode else room // S) + 1
        if ceil_mode and (out - 1) * S >= size + P:
            out -= 1
        return [i * S - P for i in range(out)]

    rows, columns = windows(H, KH, SH, PH, DH), windows(W, KW, SW, PW, DW)
    y = np.zeros((N, C, len(rows), len(columns)), x.dtype)
    for n in range(N):
        for c in range(C):
            for i, top in enumerate(rows):
                for j, left in enumerate(columns):
                    places = [(top + p * DH, left + q * DW) for p in range(KH) for q in range(KW)]
                    pixels = [x[n, c, h, v] for h, v in places if 0 <= h < H and 0 <= v < W]
                    count = sum(h < H + PH and v < W + PW for h, v in places)
                    y[n, c, i, j] = value(pixels, count)
    return y


def adaptive_avg_pool2d(x, *, output_size):
    """y[n,c,i,j] = mean over rows ⌊i·H/OH⌋ … ⌈(i+1)·H/OH⌉ − 1, and columns likewise."""
    return _adaptive(x, output_size, lambda window: sum(window) / len(window))


def adaptive_max_pool2d(x, *, output_size):
    """y[n,c,i,j] = maximum over rows ⌊i·H/OH⌋ … ⌈(i+1)·H/OH⌉ − 1, and columns likewise."""
    return _adaptive(x, output_size, max)


def _adaptive(x, output_size, value):
    N, C, H, W = x.shape
    OH, OW = _pair(output_size)
    y = np.zeros((N, C, OH, OW), x.dtype)
    for n in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    rows = range(i * H // OH, math.ceil((i + 1) * H / OH))
                    columns = range(j * W // OW, math.ceil((j + 1) * W / OW))
                    y[n, c, i, j] = value([x[n, c, h, v] for h in rows for v in columns])
    return y


def local_response_norm(x, *, size, alpha=1e-4, beta=0.75, k=1.0, variant="torch"):
    """y[c] = x[c] / (k + α'·Σ_{c'} x[c']²)^β over channels c − ⌊n/2⌋ … c + ⌊(n−1)/2⌋      (Krizhevsky 2012, §3.3)

    variant "paper": α' = α.   variant "torch" (and Caffe, ONNX): α' = α/n.
    """
    C = x.shape[1]
    y = np.zeros_like(x)
    for c in range(C):
        squares = 0.0
        for other in range(c - size // 2, c + (size - 1) // 2 + 1):
            if 0 <= other < C:
                squares = squares + x[:, other] ** 2
        y[:, c] = x[:, c] / (k + (alpha if variant == "paper" else alpha / size) * squares) ** beta
    return y


def batch_norm(x, gamma=None, beta=None, *, eps=1e-5):
    """y = γ·(x − μ)/√(σ² + ε) + β with each channel's own mean μ and variance σ²      (Ioffe & Szegedy 2015, alg. 1)"""
    y = np.zeros_like(x)
    for c in range(x.shape[1]):
        values = [float(v) for v in x[:, c].ravel()]
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        y[:, c] = (1 if gamma is None else gamma[c]) * (x[:, c] - mean) / math.sqrt(variance + eps)
        y[:, c] += 0 if beta is None else beta[c]
    return y


def batch_norm_inference(x, gamma, beta, mean, var, *, eps=1e-5):
    """y = γ·(x − μ)/√(σ² + ε) + β with a given mean and variance."""
    y = np.zeros_like(x)
    for c in range(x.shape[1]):
        y[:, c] = (1 if gamma is None else gamma[c]) * (x[:, c] - mean[c]) / math.sqrt(var[c] + eps)
        y[:, c] += 0 if beta is None else beta[c]
    return y


def softmax(x, *, axis=-1):
    """p[k] = e^x[k] / Σ_j e^x[j]"""
    rows = np.moveaxis(x, axis, -1)
    p = np.zeros_like(rows)
    for place in np.ndindex(rows.shape[:-1]):
        exponentials = [math.exp(v) for v in rows[place]]
        p[place] = [e / sum(exponentials) for e in exponentials]
    return np.moveaxis(p, -1, axis)


def cross_entropy(logits, labels, *, label_smoothing=0.0, weight=None):
    """The mean of −Σ_k q[n,k]·log p[n,k] over n, weighted by weight[label]; p the softmax, q = (1 − ε)·one-hot + ε/K"""
    N, K = logits.shape
    p, total, weights = softmax(logits), 0.0, 0.0
    for n in range(N):
        w = 1.0 if weight is None else weight[labels[n]]
        weights += w
        for k in range(K):
            q = (1 - label_smoothing) * (k == labels[n]) + label_smoothing / K
            total -= w * q * math.log(p[n, k])
    return np.array(total / weights)


def linear(x, w, b=None):
    """y[n,o] = Σ_i x[n,i]·w[o,i] + b[o]"""
    y = np.zeros((x.shape[0], w.shape[0]), x.dtype)
    for n in range(x.shape[0]):
        for o in range(w.shape[0]):
            y[n, o] = sum(x[n, i] * w[o, i] for i in range(x.shape[1])) + (0 if b is None else b[o])
    return y


def _pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)
