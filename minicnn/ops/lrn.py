"""Local response normalisation: each value is divided by the size of its neighbours in other channels."""

from minicnn import devices
from minicnn.device import Array
from minicnn.geometry import LARGEST, positive
from minicnn.op_checks import brief, number
from minicnn.tensor import op


@op
def local_response_norm(x: Array, *, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0,
                        variant: str = "torch"):
    """y[c] = x[c] · s[c]^(−β),   s[c] = k + α'·Σ x[c']²   over the `size` channels c − ⌊n/2⌋ … c + ⌊(n−1)/2⌋

        dx[c] = dy[c]·s[c]^(−β) − 2α'β·x[c]·Σ dy[c']·y[c']/s[c']      over the c' whose window contains c

    x (N,C,…)   →   y (N,C,…).   Windows are cut off at the first and the last channel.
    variant="paper": α' = α (the paper's net has k=2, n=5, α=1e-4, β=0.75).
    variant="torch": α' = α/n, as in PyTorch, Caffe and ONNX; with the paper's values α' is 5 times smaller.
    Kept for backward: x, y and s.   Krizhevsky et al. 2012, §3.3
    """
    size = positive("size", size, most=LARGEST)
    for key, value in (("alpha", alpha), ("beta", beta), ("k", k)):
        number("local_response_norm", key, value)
    if x.ndim < 2:
        raise ValueError(f"local_response_norm: x must have at least 2 axes (N, C, …), not shape {x.shape}")
    if variant not in ("torch", "paper"):
        raise ValueError(f"local_response_norm: variant must be 'torch' or 'paper', not {brief(variant)}")
    device = devices.of(x)
    alpha = alpha if variant == "paper" else alpha / size
    y, s = device.local_response_norm(x, size, alpha, beta, k)
    return y, lambda dy: device.local_response_norm_dx(dy, x, y, s, size, alpha, beta)
