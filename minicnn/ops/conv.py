"""Convolution, of images and of signals."""

from minicnn import devices
from minicnn.deferred import Later, fusable
from minicnn.device import Array
from minicnn.geometry import LARGEST, Conv2dGeometry, Padding, Pair, positive
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
