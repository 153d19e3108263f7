"""The definitions of the ops as plain loops: the starting point for readers, the reference for the tests.

The code is slow and simple, and imports only NumPy. Each function follows its formula term by term.
Notation: N images, C channels, H × W pixels, O filters of KH × KW taps in G groups, OH × OW outputs.
"""

import math

import numpy as np


def conv2d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1, flip=False):
    """y[n,o,i,j] = b[o] + Σ_{c,p,q} w[o,c,p,q] · x[n, c, i·S + p·D − P, j·S + q·D − P]      (LeCun 1998, §II.A)

    x (N,C,H,W)   w (O,C/G,KH,KW)   b (O,)   →   y (N,O,OH,OW). Filter o sees only the channels of its own group.
    Pixels outside the image are 0.   flip: w[o,c,KH−1−p,KW−1−q] in place of w[o,c,p,q].
    """
    N, _, H, W = x.shape
    O, Cg, KH, KW = w.shape
    SH, SW = _pair(stride)
    DH, DW = _pair(dilation)
    (top, bottom), (left, right) = _around(padding, (H, W), (KH, KW), (SH, SW), (DH, DW))
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
                                    tap = w[o, c, KH - 1 - p, KW - 1 - q] if flip else w[o, c, p, q]
                                    total += tap * x[n, first + c, h, v]
                    y[n, o, i, j] = total
    return y


def conv1d(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1, flip=False):
    """y[n,o,i] = b[o] + Σ_{c,p} w[o,c,p] · x[n, c, i·S + p·D − P];   flip: w[o,c,K−1−p]

    x (N,C,L)   w (O,C/G,K)   b (O,)   →   y (N,O,OL). Values outside the signal are 0.
    """
    N, _, L = x.shape
    O, Cg, K = w.shape
    whole = padding if isinstance(padding, str) else (0, padding)
    _, (left, right) = _around(whole, (1, L), (1, K), (1, stride), (1, dilation))
    OL = (L + left + right - dilation * (K - 1) - 1) // stride + 1
    y = np.zeros((N, O, OL), x.dtype)
    for n in range(N):
        for o in range(O):
            first = o // (O // groups) * Cg
            for i in range(OL):
                total = 0.0 if b is None else b[o]
                for c in range(Cg):
                    for p in range(K):
                        l = i * stride + p * dilation - left
                        if 0 <= l < L:
                            total += w[o, c, K - 1 - p if flip else p] * x[n, first + c, l]
                y[n, o, i] = total
    return y


def conv_transpose2d(x, w, b=None, *, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """y[n,o,i,j] = b[o] + Σ w[c,o,p,q] · x[n,c,h,v] over all c, p, q, h, v with i = h·S + p·D − P, j = v·S + q·D − P

    x (N,C,H,W)   w (C,O/G,KH,KW)   b (O,)   →   y (N,O,OH,OW). What falls outside y is lost.
    """
    N, C, H, W = x.shape
    _, Og, KH, KW = w.shape
    SH, SW = _pair(stride)
    DH, DW = _pair(dilation)
    more_rows, more_columns = _pair(output_padding)
    (top, bottom), (left, right) = _around(padding, (H, W), (KH, KW), (SH, SW), (DH, DW))
    OH = (H - 1) * SH + DH * (KH - 1) + 1 - top - bottom + more_rows
    OW = (W - 1) * SW + DW * (KW - 1) + 1 - left - right + more_columns
    y = np.zeros((N, Og * groups, OH, OW), x.dtype)
    for n in range(N):
        for c in range(C):
            first = c // (C // groups) * Og                      # the first output channel of this channel's group
            for h in range(H):
                for v in range(W):
                    for o in range(Og):
                        for p in range(KH):
                            for q in range(KW):
                                i, j = h * SH + p * DH - top, v * SW + q * DW - left
                                if 0 <= i < OH and 0 <= j < OW:
                                    y[n, first + o, i, j] += w[c, o, p, q] * x[n, c, h, v]
    return y if b is None else y + b.reshape(-1, 1, 1)


def max_pool2d(x, *, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """y = the largest pixel of the window."""
    return _pool(x, kernel_size, stride, padding, dilation, ceil_mode, lambda pixels, count: max(pixels))


def avg_pool2d(x, *, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, count_include_pad=True):
    """y = the mean of the window: over pixels and padding if count_include_pad, else over the pixels only."""
    return _pool(x, kernel_size, stride, padding, dilation, ceil_mode,
                 lambda pixels, count: sum(pixels) / (count if count_include_pad else len(pixels)))


def lp_pool2d(x, *, norm_type=2, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """y = (Σ |x|^p)^(1/p) over the pixels of the window; p = 2 is the L2 norm."""
    return _pool(x, kernel_size, stride, padding, dilation, ceil_mode,
                 lambda pixels, count: sum(abs(v) ** norm_type for v in pixels) ** (1 / norm_type))


def trainable_avg_pool2d(x, a, b, *, kernel_size=2, stride=None):
    """y[n,c] = a[c] · Σ x over the window + b[c]      (LeCun 1998, §II.B, layer S2)"""
    total = _pool(x, kernel_size, stride, 0, 1, False, lambda pixels, count: sum(pixels))
    return np.stack([a[c] * total[:, c] + b[c] for c in range(x.shape[1])], axis=1)


def _pool(x, kernel_size, stride, padding, dilation, ceil_mode, value):
    """Call value(pixels of the window, number of its taps that are inside the image or the given padding)."""
    N, C, H, W = x.shape
    KH, KW = _pair(kernel_size)
    SH, SW = _pair(kernel_size if stride is None else stride)
    DH, DW = _pair(dilation)
    (top_pad, bottom_pad), (left_pad, right_pad) = _around(padding, (H, W), (KH, KW), (SH, SW), (DH, DW))

    def windows(size, K, S, before, after, D):
        """Starts of the windows. With ceil_mode the last may extend beyond the padding, but not start there."""
        room = size + before + after - D * (K - 1) - 1
        out = (math.ceil(room / S) if ceil_mode else room // S) + 1
        if ceil_mode and (out - 1) * S >= size + before:
            out -= 1
        return [i * S - before for i in range(out)]

    rows, columns = windows(H, KH, SH, top_pad, bottom_pad, DH), windows(W, KW, SW, left_pad, right_pad, DW)
    y = np.zeros((N, C, len(rows), len(columns)), x.dtype)
    for n in range(N):
        for c in range(C):
            for i, top in enumerate(rows):
                for j, left in enumerate(columns):
                    places = [(top + p * DH, left + q * DW) for p in range(KH) for q in range(KW)]
                    pixels = [x[n, c, h, v] for h, v in places if 0 <= h < H and 0 <= v < W]
                    count = sum(h < H + bottom_pad and v < W + right_pad for h, v in places)
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


def layer_norm(x, gamma=None, beta=None, *, normalized_shape, eps=1e-5):
    """y = γ·(x − μ)/√(σ² + ε) + β, μ and σ² of the last axes, whose sizes are normalized_shape      (Ba 2016, eq. 4)"""
    lead = x.shape[: x.ndim - len(_tuple(normalized_shape))]
    y = np.zeros_like(x)
    for place in np.ndindex(lead):
        y[place] = _standard(x[place], eps) * (1 if gamma is None else gamma) + (0 if beta is None else beta)
    return y


def group_norm(x, gamma=None, beta=None, *, num_groups, eps=1e-5):
    """y = γ·(x − μ)/√(σ² + ε) + β, μ and σ² of an image's group of C/G channels      (Wu & He 2018, §3)"""
    size = x.shape[1] // num_groups
    y = np.zeros_like(x)
    for n in range(len(x)):
        for g in range(num_groups):
            channels = range(g * size, (g + 1) * size)
            parts = _standard(np.stack([x[n, c] for c in channels]), eps)
            for c, part in zip(channels, parts):
                y[n, c] = part * (1 if gamma is None else gamma[c]) + (0 if beta is None else beta[c])
    return y


def instance_norm(x, gamma=None, beta=None, *, eps=1e-5):
    """y = γ·(x − μ)/√(σ² + ε) + β, μ and σ² of one channel of one image      (Ulyanov 2016, eq. 4)"""
    return group_norm(x, gamma, beta, num_groups=x.shape[1], eps=eps)


def _standard(x, eps):
    values = [float(v) for v in x.ravel()]
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / len(values)
    return (x - mean) / math.sqrt(variance + eps)


def resize(x, *, size=None, scale=None, mode="nearest", coordinates="half_pixel", rounding="round_prefer_floor"):
    """y[n,c,i,j] = x at the coordinates of (i, j): the nearest pixel, or the four around it, weighted by distance."""
    H, W = x.shape[2:]
    OH, OW = _pair(size) if scale is None else (math.floor(s * n) for s, n in zip(_pair(scale), (H, W)))
    SH, SW = (OH / H, OW / W) if scale is None else _pair(scale)

    def coordinate(i, n, out, s):
        if coordinates == "asymmetric":
            return i / s
        if coordinates == "align_corners":
            return i * (n - 1) / (out - 1) if out > 1 else 0
        if coordinates == "pytorch_half_pixel" and out == 1:
            return 0
        middle = n / 2 - out / s / 2 if coordinates == "half_pixel_symmetric" else 0
        return middle + (i + 0.5) / s - 0.5

    def nearest(c, n):
        if rounding == "floor":
            return max((p for p in range(n) if p <= c), default=0)
        if rounding == "ceil":
            return min((p for p in range(n) if p >= c), default=n - 1)
        return min(range(n), key=lambda p: (abs(c - p), p if rounding == "round_prefer_floor" else -p))

    def weight(c, p, n):
        """How much of pixel p the place c of an axis of n pixels shows."""
        return max(0, 1 - abs(min(max(c, 0), n - 1) - p)) if mode == "linear" else int(p == nearest(c, n))

    y = np.zeros((*x.shape[:2], OH, OW), x.dtype)
    for i in range(OH):
        for j in range(OW):
            for h in range(H):
                for v in range(W):
                    share = weight(coordinate(i, H, OH, SH), h, H) * weight(coordinate(j, W, OW, SW), v, W)
                    y[:, :, i, j] += share * x[:, :, h, v] if share else 0
    return y


def softmax(x, *, axis=-1):
    """p[k] = e^x[k] / Σ_j e^x[j]"""
    rows = np.moveaxis(x, axis, -1)
    p = np.zeros_like(rows)
    for place in np.ndindex(rows.shape[:-1]):
        exponentials = [math.exp(v) for v in rows[place]]
        p[place] = [e / sum(exponentials) for e in exponentials]
    return np.moveaxis(p, -1, axis)


def cross_entropy(logits, labels, *, label_smoothing=0.0, weight=None, ignore_index=None):
    """The mean of −Σ_k q[n,k]·log p[n,k] over n, weighted by Σ_k t[n,k]·weight[k]; p the softmax, q = (1 − ε)·t + ε/K

    labels (N,K): t;   (N,): class indices, t one-hot, rows with ignore_index are left out.
    """
    N, K = logits.shape
    p, total, weights = softmax(logits), 0.0, 0.0
    for n in range(N):
        if labels.ndim == 1 and labels[n] == ignore_index:
            continue
        t = labels[n] if labels.ndim == 2 else [float(k == labels[n]) for k in range(K)]
        w = 1.0 if weight is None else sum(t[k] * weight[k] for k in range(K))
        weights += w
        for k in range(K):
            q = (1 - label_smoothing) * t[k] + label_smoothing / K
            total -= w * q * math.log(p[n, k])
    return np.array(total / weights)


def pad(x, *, padding, mode="constant", value=0.0):
    """y (…, top + H + bottom, left + W + right): x and around it `value`, 0, the nearest pixel or mirrored pixels."""
    if not isinstance(padding, (tuple, list)):
        padding = (padding,) * 4
    (top, bottom), (left, right) = padding if len(padding) == 2 else (padding[2:], padding[:2])
    H, W = x.shape[-2:]
    y = np.full((*x.shape[:-2], top + H + bottom, left + W + right), value, x.dtype)

    def source(i, size):
        """The pixel that place i of an axis shows, or None."""
        if 0 <= i < size:
            return i
        if mode in ("constant", "zeros"):
            return None
        if mode == "reflect":
            return -i if i < 0 else 2 * (size - 1) - i
        return 0 if i < 0 else size - 1

    for i in range(y.shape[-2]):
        for j in range(y.shape[-1]):
            h, v = source(i - top, H), source(j - left, W)
            if h is not None and v is not None:
                y[..., i, j] = x[..., h, v]
    return y


def linear(x, w, b=None):
    """y[n,o] = Σ_i x[n,i]·w[o,i] + b[o]"""
    y = np.zeros((x.shape[0], w.shape[0]), x.dtype)
    for n in range(x.shape[0]):
        for o in range(w.shape[0]):
            y[n, o] = sum(x[n, i] * w[o, i] for i in range(x.shape[1])) + (0 if b is None else b[o])
    return y


def _around(padding, sizes, K, S, D):
    """((top, bottom), (left, right)) of a padding.

    "same": so many pixels that ⌈size/S⌉ windows fit, an odd one behind; "same_lower": an odd one in front.
    """
    if padding == "valid":
        padding = 0
    ends = []
    for axis, (size, k, s, d) in enumerate(zip(sizes, K, S, D)):
        if padding not in ("same", "same_lower"):
            side = padding[axis] if isinstance(padding, (tuple, list)) else padding
            ends.append(_pair(side))
            continue
        last = (math.ceil(size / s) - 1) * s + d * (k - 1)       # what the last tap of the last window reads
        total = max(0, last - (size - 1))
        more, less = math.ceil(total / 2), math.floor(total / 2)
        ends.append((less, more) if padding == "same" else (more, less))
    return ends


def _tuple(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)
