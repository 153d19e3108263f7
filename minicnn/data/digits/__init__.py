"""digits: 5000 + 1000 images of MNIST, inside the package, so that everything can be tried without a download.

README.md beside this file says whose they are, under which licence, and how they were chosen; make.py chose them.
"""

from __future__ import annotations

from pathlib import Path

from minicnn.data.mnist import DIGITS, read_folder
from minicnn.data.splits import Splits

FOLDER = Path(__file__).parent


def load() -> Splits:
    """Handwritten digits, (N,1,28,28): 500 of each class to learn from, 100 of each to measure on."""
    return read_folder("digits", FOLDER, "the minicnn package, by installing it again",
                       DIGITS, (0.132066,), (0.309540,))
