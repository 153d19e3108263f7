"""Changes to training images that leave their meaning alone."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def random_shift(images: np.ndarray, pixels: int, rng: np.random.Generator) -> np.ndarray:
    """Each image moved by up to ±`pixels` rows and columns, drawn evenly; what comes in at the edge is 0.

    images (N,C,H,W) uint8 → the same shape. Simard et al. 2003, §2, found such shifts to help on MNIST.
    """
    N, _, H, W = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels)))
    windows = sliding_window_view(padded, (H, W), axis=(2, 3))                # (N, C, 2p + 1, 2p + 1, H, W)
    down, across = rng.integers(0, 2 * pixels + 1, (2, N))
    return windows[np.arange(N), :, down, across]                             # (N, C, H, W)
