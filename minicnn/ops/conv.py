"""Convolution, of images and of signals, and transposed convolution."""

from minicnn import devices
from minicnn.deferred import Later, fusable
from minicnn.device import Array
from minicnn.geometry import LARGEST, Conv2dGeometry, Padding, Pair, pair, positive, sides
from minicnn.op_checks import flag
from minicnn.tensor import op


@op
@fusable
def conv2d(x: Array, w: Array, b: Array | None = None, *, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1,
           groups: int = 1, flip: bool = False):
    """Cross-correlate images with filters, or with flip=True convolve them: the filters turned by 180°.

        y[n,o,i,j] = b[o] + Σ_{c,p,q} w[o,c,p,q] · x[n, c, i·S + p·D − P, j·S + q·D − P]
        flip:        b[o] + Σ_{c,p,q} w[o,c,KH−1−p,KW−1−q] · …, the mathematician's convolution

    x (N,C,H,W)   w (O,C/G,KH,KW)   b (O,)   →   y (N,O,OH,OW),   OH = ⌊(H + P + P' − D(KH−1) − 1)/S⌋ + 1
    stride, dilation: an integer or (down, across).
    padding: zeros around the image: an integer, (down, across), ((top, bottom), (left, right)), "valid" (none), or
    "same": OH = ⌈H/S⌉, an odd pixel at the bottom and right (TensorFlow's SAME, ONNX's SAME_UPPER); "same_lower": an
    odd pixel at the top and left.
    groups: filter o sees only the C/G channels of its own group; groups = C is the depthwise convolution.
    Kept for backward: x and w (im2col's columns are computed again, not stored).
    LeCun et al. 1998, §II.A; Chellapilla et al. 2006 (im2col); groups: Krizhevsky et al. 2012, §3.2.
    """
    flip = flag("conv2d", "flip", flip)
    g = Conv2dGeometry.of(x.shape, w.shape, stride, padding, dilation, groups, None if b is None else b.shape)
    return _convolution(x, w, b, g, flip)


@op
@fusable
def conv1d(x: Array, w: Array, b: Array | None = None, *, stride: int = 1, padding: int | tuple[int, int] | str = 0,
           dilation: int = 1, groups: int = 1, flip: bool = False):
    """conv2d of signals, images of height 1:   y[n,o,i] = b[o] + Σ_{c,p} w[o,c,p] · x[n, c, i·S + p·D − P]

    x (N,C,L)   w (O,C/G,K)   b (O,)   →   y (N,O,OL),   OL = ⌊(L + P + P' − D(K−1) − 1)/S⌋ + 1
    padding: an integer, (left, right), "valid", "same" or "same_lower", as conv2d's.   flip: w[o,c,K−1−p].
    Kept for backward: x and w.   Waibel et al. 1989 (time-delay neural networks), §II
    """
    flip = flag("conv1d", "flip", flip)
    for name, array, axes in (("x", x, "(N, C, L)"), ("w", w, "(O, C/groups, K)")):
        if array.ndim != 3:
            raise ValueError(f"conv1d: {name} must have 3 axes {axes}, not {array.ndim} (shape {array.shape})")
    (C, G), (O, C_group, K) = (x.shape[1], positive("groups", groups)), w.shape
    if C_group * G != C:
        raise ValueError(f"conv1d: x has {C} channels in {G} group(s), so w must have shape ({O}, {C}/{G}, {K}), "
                         f"not {w.shape}")
    across = {"stride": positive("stride", stride, 1, LARGEST), "dilation": positive("dilation", dilation, 1, LARGEST)}
    g = Conv2dGeometry.of((x.shape[0], C, 1, x.shape[2]), (O, C_group, 1, K), (1, across["stride"]),
                          padding if isinstance(padding, str) else (0, padding), (1, across["dilation"]), G,
                          None if b is None else b.shape)
    later, vjps = _convolution(x[:, :, None], w[:, :, None], b, g, flip)      # x (N,C,1,L), w (O,C/G,1,K)
    def y(**fused): return later.compute(**fused)[:, :, 0]                    # (N, O, OL)
    def dx(dy): return vjps[0](dy[:, :, None])[:, :, 0]
    def dw(dy): return vjps[1](dy[:, :, None])[:, :, 0]
    def db(dy): return vjps[2](dy)

    return Later(later.device, (g.N, g.O, g.OW), x.dtype, y), (dx, dw, db)


@op
def conv_transpose2d(x: Array, w: Array, b: Array | None = None, *, stride: Pair = 1, padding: Padding = 0,
                     output_padding: Pair = 0, groups: int = 1, dilation: Pair = 1):
    """Send each pixel through the filters the other way: the gradient of conv2d's x, used as a layer.

        y[n,o,i,j] = b[o] + Σ w[c,o,p,q] · x[n,c,h,v] over all c, p, q, h, v with i = h·S + p·D − P, j = v·S + q·D − P

    x (N,C,H,W)   w (C,O/G,KH,KW)   b (O,)   →   y (N,O,OH,OW),   OH = (H − 1)·S + D(KH−1) + 1 − P − P' + output_padding
    padding: pixels cut off the border: an integer, (down, across) or ((top, bottom), (left, right)).
    output_padding: rows and columns more at the bottom and right, fewer than the stride: conv2d with a stride gives
    images of several sizes the same OH × OW, and this says which of them to return to.
    dx = conv2d(dy, w), dw as conv2d's with x and dy exchanged.   Kept for backward: x and w.
    Zeiler et al. 2010 (deconvolutional networks); Long et al. 2015, §3.3; Dumoulin & Visin 2016, §4
    """
    device = devices.of(x)
    g = transposed(x.shape, w.shape, None if b is None else b.shape, stride, padding, output_padding, groups, dilation)
    y = device.conv2d_dx(x, w, g)                                             # (N, O, OH, OW)
    def dx(dy): return device.conv2d(dy, w, None, g)
    def dw(dy): return device.conv2d_dw(x, dy, g)
    def db(dy): return device.channel_sums(dy)

    return y if b is None else y + b.reshape(1, -1, 1, 1), (dx, dw, db)


def transposed(x_shape, w_shape, b_shape, stride, padding, output_padding, groups, dilation) -> Conv2dGeometry:
    """The geometry of conv_transpose2d, checked: of the convolution whose images are y and whose outputs are x."""
    for name, shape, axes in (("x", x_shape, "(N, C, H, W)"), ("w", w_shape, "(C, O/groups, KH, KW)")):
        if len(shape) != 4 or 0 in shape[1:]:
            raise ValueError(f"conv_transpose2d: {name} must have 4 axes {axes}, none of them empty, not shape {shape}")
    (N, C, *size), (C_filters, O_group, *K) = x_shape, w_shape
    G, S, D = positive("groups", groups), pair("stride", stride), pair("dilation", dilation)
    P, more, O = sides(padding), pair("output_padding", output_padding, 0), O_group * G
    if C_filters != C or C % G:
        raise ValueError(f"conv_transpose2d: x has {C} channels in {G} group(s), so w must have shape ({C}, O/{G}, KH, "
                         f"KW) and {C} be divisible by {G}, but w is {w_shape}")
    if b_shape not in (None, (O,)):
        raise ValueError(f"conv_transpose2d: b has shape {b_shape}, but there are {O} output channels: b must have "
                         f"shape ({O},)")
    if isinstance(P, str):
        raise ValueError(f"conv_transpose2d: padding must be pixels to cut off, not {P!r}, which fits several sizes "
                         "of y")
    if any(m >= s for m, s in zip(more, S)):
        raise ValueError(f"conv_transpose2d: output_padding (={more}) must be smaller than the stride (={S})")
    out = [(n - 1) * s + d * (k - 1) + 1 - sum(p) + m for n, s, d, k, p, m in zip(size, S, D, K, P, more)]
    if min(out) < 1:
        raise ValueError(f"conv_transpose2d: padding (={P}) cuts off all of y, which would have {out[0]}×{out[1]} "
                         "pixels: use less padding")
    return Conv2dGeometry.of((N, O, *out), w_shape, S, P, D, G)


def _convolution(x, w, b, g, flip):
    """The Later and the gradient functions of a convolution of geometry g."""
    device = devices.of(x)
    w = _turned(w) if flip else w
    def y(**fused): return device.conv2d(x, w, b, g, **fused)                 # (N, O, OH, OW)
    def dx(dy): return device.conv2d_dx(dy, w, g)
    def dw(dy): return _turned(device.conv2d_dw(dy, x, g)) if flip else device.conv2d_dw(dy, x, g)
    def db(dy): return device.channel_sums(dy)

    return Later(device, (g.N, g.O, g.OH, g.OW), x.dtype, y), (dx, dw, db)


def _turned(w):
    """w (O,C,KH,KW) turned by 180°"""
    return w[:, :, ::-1, ::-1].copy()
