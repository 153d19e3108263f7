"""Convolution."""

from minicnn import devices
from minicnn.deferred import Later, fusable
from minicnn.device import Array
from minicnn.geometry import Conv2dGeometry, Pair
from minicnn.tensor import op


@op
@fusable
def conv2d(x: Array, w: Array, b: Array | None = None, *, stride: Pair = 1, padding: Pair | str = 0, dilation: Pair = 1,
           groups: int = 1):
    """Cross-correlate images with filters (the filters are not flipped).

        y[n,o,i,j] = b[o] + Σ_{c,p,q} w[o,c,p,q] · x[n, c, i·S + p·D − P, j·S + q·D − P]

    x (N,C,H,W)   w (O,C/G,KH,KW)   b (O,)   →   y (N,O,OH,OW),   OH = ⌊(H + 2P − D(KH−1) − 1)/S⌋ + 1
    stride, padding, dilation: an integer or (down, across). padding="same" keeps the size, at stride 1.
    groups: filter o sees only the C/G channels of its own group; groups = C is the depthwise convolution.
    Kept for backward: x and w (im2col's columns are computed again, not stored).
    LeCun et al. 1998, §II.A; Chellapilla et al. 2006 (im2col); groups: Krizhevsky et al. 2012, §3.2.
    """
    device = devices.of(x)
    g = Conv2dGeometry.of(x.shape, w.shape, stride, padding, dilation, groups, None if b is None else b.shape)
    def y(**fused): return device.conv2d(x, w, b, g, **fused)                 # (N, O, OH, OW)
    def dx(dy): return device.conv2d_dx(dy, w, g)
    def dw(dy): return device.conv2d_dw(dy, x, g)
    def db(dy): return device.channel_sums(dy)

    return Later(device, (g.N, g.O, g.OH, g.OW), x.dtype, y), (dx, dw, db)
