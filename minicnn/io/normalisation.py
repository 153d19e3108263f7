"""Which normalisation weights were trained with: numbers of the size of 1, or Caffe's, of the size of 100.

There are no pictures of the training to try, as transfer learning has; but a classifier trained with cross entropy
tells different pictures apart by scores that differ by about 2. Fed with inputs 58 times too small its scores hardly
differ, with inputs 58 times too large they differ by hundreds. So some pictures with the statistics of photographs are
enough.
Normalisations of the same size (torchvision's, Inception's, none) can't be told apart in this way.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minicnn.data import NORMALISATIONS, normalise
from minicnn.nn import Module
from minicnn.tensor import Tensor, no_grad

USUAL_SPREAD = 2.0
"""Between pictures, the standard deviation of a trained classifier's scores: e² = 7 to 1 for or against a class."""
TOLD = 10
"""Where the spread is further from the usual one than by this factor, both ways, it tells nothing."""
PICTURES = 6


def detect(model: Module, shape: tuple[int, int, int], usual: str = "imagenet") -> tuple[str, dict[str, float]]:
    """("caffe" or `usual`, {normalisation: how much the scores of pictures differ}), for a classifier of colour images.

    model: with its weights   shape (3, H, W)   usual: the normalisation of the size of 1, taken if it fits better
    """
    pictures = photographs(PICTURES, shape[1:])
    spread: dict[str, float] = {}
    with no_grad(), model.evaluating(), np.errstate(all="ignore"):
        for name in (usual, "caffe"):
            scores = model(Tensor(normalise(pictures, *NORMALISATIONS[name]))).numpy()            # (N, K)
            scores = scores - scores.mean(1, keepdims=True)                   # a constant for all classes says nothing
            spread[name] = float(np.sqrt(scores.var(0).mean()))
    off = {name: abs(math.log(value / USUAL_SPREAD)) if 0 < value < math.inf else math.inf
           for name, value in spread.items()}
    best = min(spread, key=lambda name: off[name])
    return best if off[best] < math.log(TOLD) else usual, spread


def photographs(count: int, size: tuple[int, ...], seed: int = 0) -> Any:
    """Random pictures (count,3,H,W) uint8 with the amplitude 1/f at each frequency f, as photographs have.

    Field 1987, "Relations between the statistics of natural images and the response properties of cortical cells"; the
    channels correlate to 0.9; mean and deviation are those of ImageNet.
    """
    rng, (H, W) = np.random.default_rng(seed), size
    f = np.hypot(np.fft.fftfreq(H)[:, None], np.fft.rfftfreq(W))
    f[0, 0] = math.inf                                     # the mean is set below
    waves = rng.standard_normal((2, count, 4, *f.shape))
    noise = np.fft.irfft2((waves[0] + 1j * waves[1]) / f, (H, W))             # (count, 4, H, W)
    noise /= noise.std((2, 3), keepdims=True) + 1e-12
    colours = np.sqrt(0.9) * noise[:, :1] + np.sqrt(0.1) * noise[:, 1:]       # grey, and a little of each channel
    mean, std = (np.array(numbers)[:, None, None] for numbers in NORMALISATIONS["imagenet"])
    return np.clip(255 * (mean + std * colours), 0, 255).round().astype(np.uint8)
