"""From pixels to the input of a network: normalisation and its statistics, ten-crop, and reading a picture file."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np

from minicnn.data import decode
from minicnn.data.crop import middle
from minicnn.names import short

Array = Any  # numpy.ndarray


def normalise(images: Array, mean: Sequence[float], std: Sequence[float], dtype: Any = np.float32) -> Array:
    """Bytes to numbers of about mean 0 and standard deviation 1 in each channel.

        y[n,c,h,w] = (x[n,c,h,w] / 255 − mean[c]) / std[c]

    images (..., C, H, W) uint8   mean, std (C,) on the 0..1 scale   →   y the same shape, of a floating `dtype`

    The images are not changed. Images of another dtype are refused (TypeError): floats may be on the 0..1 scale
    already, and dividing them by 255 again would go unnoticed. LeCun et al. 1998, "Efficient BackProp", §4.3.
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        found = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        raise TypeError(f"images must be a NumPy array of uint8 (0..255), not {found}: pass the bytes of the pictures")
    if not np.issubdtype(dtype, np.floating):
        raise TypeError(f"dtype must be a floating type, not {np.dtype(dtype)}")
    if images.ndim < 3:
        raise ValueError(f"images must have the axes (..., C, H, W), not {images.ndim} (shape {images.shape})")
    check_channels(images.shape[-3], mean, std)
    y = np.divide(images, 255, dtype=dtype)                       # (..., C, H, W)
    y -= np.asarray(mean, dtype)[:, None, None]                   # (C, 1, 1)
    y /= np.asarray(std, dtype)[:, None, None]                    # (C, 1, 1)
    return y


def ten_crop(images: Array, size: tuple[int, int]) -> Array:
    """The four corners and the centre of each image at `size` (h, w), and the mirror images of these five.

    images (N,C,H,W)   →   (N,10,C,h,w)

    Krizhevsky et al. 2012 (AlexNet), §4.1: the prediction is the mean of the ten softmaxes; 224 of 256.
    """
    check_size(3, size, 0)
    if not isinstance(images, np.ndarray) or images.ndim != 4:
        raise ValueError(f"images must be an array with the axes (N, C, H, W), not {_shape_of(images)}")
    h, w = size
    H, W = images.shape[-2:]
    if not (1 <= h <= H and 1 <= w <= W):
        raise ValueError(f"size (={size}) must fit into the images of {H} × {W}")
    places = [(0, 0), (0, W - w), (H - h, 0), (H - h, W - w), ((H - h) // 2, (W - w) // 2)]
    five = np.stack([images[..., top : top + h, left : left + w] for top, left in places], 1)  # (N, 5, C, h, w)
    return np.concatenate([five, five[..., ::-1]], 1)                                          # (N, 10, C, h, w)


def channel_statistics(images: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of each channel on the 0..1 scale, as `normalise` takes them.

    images (N,C,H,W) uint8. The standard deviation divides by the number of pixels, not by one less.

        >>> channel_statistics(minicnn.data.load("digits").train.images)
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4 or not images.size:
        raise ValueError(f"images must be an array uint8 with the axes (N, C, H, W), not {_shape_of(images)}")
    values = np.arange(256) / 255
    means, stds = [], []
    for c in range(images.shape[1]):
        # a histogram of the 256 values is enough, and needs no float copy of all images
        share = np.bincount(images[:, c].ravel(), minlength=256) / images[:, c].size
        mean = share @ values
        means.append(float(mean))
        stds.append(float(np.sqrt(share @ (values - mean) ** 2)))
    return tuple(means), tuple(stds)


def _shape_of(images: Any) -> str:
    return f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else short(images)


def check_channels(channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
    """ValueError unless mean and std have one valid number for each channel."""
    for name, numbers in (("mean", mean), ("std", std)):
        if not isinstance(numbers, (list, tuple, np.ndarray)) or np.asarray(numbers).dtype.kind not in "fiu":
            raise ValueError(f"{name} (={short(numbers)}) must be a list of {channels} number(s), one for each channel")
        if len(numbers) != channels:
            raise ValueError(f"{name} has {len(numbers)} number(s), but the images have {channels} channel(s): "
                             f"give one for each channel")
    for c in range(channels):
        if not (np.isfinite(mean[c]) and np.isfinite(std[c]) and std[c] > 0):
            raise ValueError(f"mean (={mean[c]}) and std (={std[c]}) of channel {c} must be finite and std above 0: "
                             f"pixels are divided by it")


def read_image(path: str | PathLike[str], channels: int, size: tuple[int, int], resize: int = 0) -> Array:
    """The picture in a file as an image of `channels` × `size`.

    channels 1 (grey: 0.299 R + 0.587 G + 0.114 B, ITU-R 601) or 3 (RGB)   size (H, W)   →   (C,H,W) uint8

    The EXIF orientation is applied; transparent pixels are drawn on white; 16-bit values are scaled to 8; an animation
    gives its first frame. The picture is resized with an antialiased bilinear filter so that the shorter side fits, and
    cropped in the centre. A picture of exactly `size` keeps its pixels. With `resize` the shorter side becomes that
    many pixels before `size` is cropped from the centre: 256 and (224, 224) are usual for ImageNet.

    FileNotFoundError where there is no file; ValueError where it is a folder, larger than 64 megapixels, of a format
    other than PNG, JPEG, BMP, GIF, WEBP and TIFF, or damaged. Each is one sentence that names the file.
    """
    check_size(channels, size, resize)
    return decode.read(path, lambda width, height: middle(width, height, size, resize), size, channels=channels)


def check_size(channels: Any, size: Any, resize: Any) -> None:
    """ValueError unless an image can have that many channels and that size."""
    if channels not in (1, 3):
        raise ValueError(f"channels (={short(channels)}) must be 1 (grey) or 3 (RGB)")
    if not (isinstance(size, (tuple, list)) and len(size) == 2
            and all(isinstance(side, (int, np.integer)) and not isinstance(side, bool) and side >= 1 for side in size)):
        raise ValueError(f"size (={short(size)}) must be (height, width), two integers of at least 1")
    if not isinstance(resize, (int, np.integer)) or (resize and resize < max(size)):
        raise ValueError(f"resize (={short(resize)}) must be at least the larger side of size (={size}), or 0")
