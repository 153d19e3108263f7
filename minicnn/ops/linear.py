"""Matrix products."""

from minicnn import devices
from minicnn.device import Array
from minicnn.ops.axes import unbroadcast
from minicnn.tensor import op


@op
def linear(x: Array, w: Array, b: Array | None = None):
    """y = x · wᵀ + b

    x (N,I)   w (O,I)   b (O,)   →   y (N,O).   Kept for backward: x and w.
    """
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1]:
        raise ValueError(f"linear: x {x.shape} and w {w.shape} do not match: x must be (N, in_features) and "
                         "w (out_features, in_features); flatten images first")
    if b is not None and b.shape != (w.shape[0],):
        raise ValueError(f"linear: b has shape {b.shape}, but there are {w.shape[0]} outputs: "
                         f"it must be ({w.shape[0]},)")
    device = devices.of(x)
    y = device.matmul(x, w.T, b)                                              # (N, I) @ (I, O) → (N, O)

    def dx(dy): return device.matmul(dy, w)                                   # (N, O) @ (O, I) → (N, I)
    def dw(dy): return device.matmul(dy.T, x)                                 # (O, N) @ (N, I) → (O, I)
    def db(dy): return dy.sum(0)

    return y, (dx, dw, db)


@op
def matmul(a: Array, b: Array):
    """y = a · b, with matrices in the last two axes and NumPy's broadcasting of the others.

    a (…,M,K)   b (…,K,L)   →   y (…,M,L).   da = dy · bᵀ, db = aᵀ · dy
    """
    lead = [{m, n} - {1} for m, n in zip(a.shape[-3::-1], b.shape[-3::-1])]
    if min(a.ndim, b.ndim) < 2 or a.shape[-1] != b.shape[-2] or any(len(extents) > 1 for extents in lead):
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not match: "
                         "both need at least 2 axes, (…, M, K) and (…, K, L), and axes before them that broadcast")
    def da(dy): return unbroadcast(dy @ b.swapaxes(-1, -2), a)                # (…, M, L) @ (…, L, K) → (…, M, K)
    def db(dy): return unbroadcast(a.swapaxes(-1, -2) @ dy, b)                # (…, K, M) @ (…, M, L) → (…, K, L)
    return a @ b, (da, db)
