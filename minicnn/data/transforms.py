"""From files and bytes to what a network is fed: the normalisation, the numbers that it needs, and picture files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
"""What is read. Pillow knows forty more; each is code that an unknown file could reach."""

MAX_PIXELS = 64 * 2**20
"""64 megapixels, the largest cameras; decoding takes up to about 12 bytes of memory a pixel."""


def normalise(images: Array, mean: Sequence[float], std: Sequence[float], dtype: Any = np.float32) -> Array:
    """Bytes to numbers of about mean 0 and deviation 1, channel by channel.

        y[n,c,h,w] = (x[n,c,h,w] / 255 − mean[c]) / std[c]

    images (..., C, H, W) uint8   mean, std (C,) on the 0..1 scale   →   y the same shape, of a floating `dtype`

    The images are left as they are. Images of another dtype are refused (TypeError): floats may be on the 0..1 scale
    already, and dividing them by 255 once more would go unnoticed. LeCun et al. 1998, "Efficient BackProp", §4.3.
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        found = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        raise TypeError(f"images must be a NumPy array of uint8 (0..255), not {found}")
    if not np.issubdtype(dtype, np.floating):
        raise TypeError(f"dtype must be a floating type, not {np.dtype(dtype)}")
    if images.ndim < 3:
        raise ValueError(f"images must have the axes (..., C, H, W), not {images.ndim} (shape {images.shape})")
    check_channels(images.shape[-3], mean, std)
    y = np.divide(images, 255, dtype=dtype)                       # (..., C, H, W)
    y -= np.asarray(mean, dtype)[:, None, None]                   # (C, 1, 1)
    y /= np.asarray(std, dtype)[:, None, None]                    # (C, 1, 1)
    return y


def channel_statistics(images: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of each channel on the 0..1 scale: what `Bundle` holds and `normalise` takes.

    images (N,C,H,W) uint8. The deviation divides by the number of pixels, not by one less.

        >>> channel_statistics(minicnn.data.load("digits").train.images)
    """
    values = np.arange(256) / 255
    means, stds = [], []
    for c in range(images.shape[1]):
        # How often each of the 256 values occurs says all there is to know: no float copy of a million images.
        share = np.bincount(images[:, c].ravel(), minlength=256) / images[:, c].size
        mean = share @ values
        means.append(float(mean))
        stds.append(float(np.sqrt(share @ (values - mean) ** 2)))
    return tuple(means), tuple(stds)


def check_channels(channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
    """ValueError where mean and std do not hold one usable number a channel."""
    for name, numbers in (("mean", mean), ("std", std)):
        if len(numbers) != channels:
            raise ValueError(f"{name} holds {len(numbers)} number(s), but the images have {channels} channel(s): "
                             f"give one a channel")
    for c in range(channels):
        if not (np.isfinite(mean[c]) and np.isfinite(std[c]) and std[c] > 0):
            raise ValueError(f"mean (={mean[c]}) and std (={std[c]}) of channel {c} must be finite and std above 0: "
                             f"pixels are divided by it")


def read_image(path: str | PathLike[str], channels: int, size: tuple[int, int], resize: int = 0) -> Array:
    """The picture in a file, as a network of `channels` × `size` is fed.

    channels 1 (grey: 0.299 R + 0.587 G + 0.114 B, ITU-R 601) or 3 (RGB)   size (H, W)   →   (C,H,W) uint8

    Turned as its EXIF orientation says; transparent pixels lie on white; 16-bit values are scaled to 8; an animation
    gives its first frame. Resized with an antialiased bilinear filter so that the shorter side fits, and the middle
    of the longer side is cut out. A picture of exactly `size` keeps its pixels. With `resize` the shorter side becomes
    that many pixels, and `size` is cut out of the middle: 256 and (224, 224) are ImageNet's usual pair.

    FileNotFoundError where there is no file; ValueError where it is a folder, larger than 64 megapixels, of a format
    other than PNG, JPEG, BMP, GIF, WEBP and TIFF, or damaged. Each is one sentence that names the file.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels (={channels!r}) must be 1 (grey) or 3 (RGB)")
    if not (isinstance(size, (tuple, list)) and len(size) == 2
            and all(isinstance(side, (int, np.integer)) and side >= 1 for side in size)):
        raise ValueError(f"size (={size!r}) must be (height, width), two integers of at least 1")
    H, W = size
    if resize and resize < max(H, W):
        raise ValueError(f"resize (={resize}) must be at least the larger side of size (={size}), or 0")
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a picture: name a file in it")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}: check the name and the folder")
    if not path.is_file():  # a pipe would be waited for, a device never ends
        raise ValueError(f"{path} is not a regular file: copy the picture to one")

    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        # Pillow warns of odd metadata, which does not touch the pixels, and of size, which is checked below.
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS:  # known from the header: nothing is decoded yet
                    raise Image.DecompressionBombError
                return _to_array(picture, channels, H, W, resize)
        except Image.DecompressionBombError as error:  # ours, or Pillow's own while it reads the header
            raise ValueError(f"{path} is larger than {MAX_PIXELS // 2**20} megapixels, which minicnn does not decode: "
                             f"make it smaller, or leave it out") from error
        except UnidentifiedImageError as error:
            raise ValueError(f"{path} is not a picture in a format that minicnn reads ({', '.join(FORMATS)}), or its "
                             f"beginning is damaged: convert it, or leave it out") from error
        except Exception as error:  # on damaged files Pillow raises what its decoders happen to stumble over
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"{path} cannot be decoded ({reason}): it is damaged, cut short or of a kind that Pillow "
                             f"does not convert; save it again as PNG or JPEG, or leave it out") from error


def _to_array(picture: Any, channels: int, H: int, W: int, resize: int) -> Array:
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):
        picture = _to_8_bits(picture)
    elif picture.mode in ("I", "F"):
        raise ValueError(f"its pixels are 32-bit numbers (mode {picture.mode}), which have no white")
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    picture = picture.convert("L" if channels == 1 else "RGB")
    if resize:
        # a pixel of the result is short/resize pixels wide: only what ends up in the middle is filtered
        scale = min(picture.size) / resize
        left, top = (picture.width - W * scale) / 2, (picture.height - H * scale) / 2
        box = (left, top, left + W * scale, top + H * scale)
        picture = picture.resize((W, H), Image.Resampling.BILINEAR, box=box)
    elif picture.size != (W, H):
        # fit() computes only what stays in the picture. To resize all of it and cut then gives the same, but makes a
        # strip of 1 × 60 million pixels 224 wide: many times as large as memory.
        picture = ImageOps.fit(picture, (W, H), Image.Resampling.BILINEAR)
    pixels = np.array(picture, dtype=np.uint8).reshape(H, W, channels)  # (H, W, C)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))              # (C, H, W)


def _to_8_bits(picture: Any) -> Any:
    """0..65535 to 0..255, rounded; Pillow's own conversion clips: all above 255 would be white."""
    from PIL import Image

    values = np.asarray(picture).astype(np.uint32)
    grey = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if "transparency" not in picture.info:
        return grey
    alpha = np.where(values == picture.info["transparency"], 0, 255).astype(np.uint8)
    return Image.merge("LA", (grey, Image.fromarray(alpha)))
