"""Small pictures and folders of them, made with Pillow alone."""

import numpy as np
from PIL import Image


def noise(height, width, seed=0, channels=3):
    """A smooth random picture: no two seeds look alike, and JPEG hardly changes it."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, channels), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def make_folder(root, counts, size=(24, 32), suffix=".png"):
    """{"cat": 5, "train/dog": 3}: the number of pictures in each folder. → root"""
    seed = 0
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            seed += 1
            noise(*size, seed).save(root / folder / f"{i:03}{suffix}")
    return root
