"""digits: 5000 + 1000 images of MNIST that are part of the package, so that no download is needed to try it.

README.md beside this file has their origin, licence and selection; make.py selected them.
"""

from __future__ import annotations

from pathlib import Path

from minicnn.data.mnist import DIGITS, read_folder
from minicnn.data.splits import Splits

FOLDER = Path(__file__).parent


def load() -> Splits:
    """Handwritten digits, (N,1,28,28): 500 of each class for training, 100 of each for test."""
    return read_folder("digits", FOLDER, "the minicnn package by installing it again",
                       DIGITS, (0.132066,), (0.309540,))
