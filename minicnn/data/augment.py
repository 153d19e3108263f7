"""Augmentation: random changes to training images that keep their labels.

Each step has a method draw(count, size, rng): the random numbers of a whole batch of `count` images of `size` (H, W),
drawn before any picture is read, the same number of them for every image. The other methods get the numbers of the
images that they are given. So an image of a batch does not depend on who makes it, or on what else they make.

An augmentation is written as words: `parse("random-resized flip jitter:0.4 cutout:16 mixup:0.2")`. Each word is one of
the classes below. Whatever the order of the words, they are applied in the order of these methods:

    box         the part of the picture that becomes the image      RandomResizedCrop, ScaleJitter
    bytes       images (N,C,H,W) uint8                              Flip, PadCrop
    colours     the same images on the scale 0 … 1, float32         ColourJitter, Lighting
    numbers     after normalisation, float32                        Cutout
    mix         the same images with others of their batch          Mixup
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from minicnn.data.crop import Box
from minicnn.names import short, unknown

Array = Any  # numpy.ndarray
Generator = np.random.Generator


class Mixed(NamedTuple):
    """The labels that `Mixup` mixed into a batch: the loss is λ·loss(labels) + (1 − λ)·loss(others)."""

    others: Array  # (N,) int64
    share: float   # λ


@dataclass(frozen=True)
class RandomResizedCrop:
    """A random crop with `least` … 1 of the picture's area and an aspect ratio between 3:4 and 4:3.

    Szegedy et al. 2014 (GoogLeNet), §6. The area and the logarithm of the ratio are uniform; if ten tries do not fit
    into the picture, the largest centre crop with an allowed ratio is used.
    """

    least: float = 0.08

    def __post_init__(self) -> None:
        _between("random-resized", self.least, 0, 1, above=True)

    def draw(self, count: int, size: tuple[int, int], rng: Generator) -> Array:
        """(count, 10, 4) in 0 … 1: for each try the area, the ratio and two positions."""
        return rng.random((count, 10, 4))

    def box(self, width: int, height: int, size: tuple[int, int], drawn: Array) -> Box:
        """(left, top, right, bottom) in a picture of width × height.   drawn (10, 4)"""
        for area, ratio, across, down in drawn.tolist():
            area = width * height * (self.least + (1 - self.least) * area)
            ratio = math.exp(math.log(3 / 4) + math.log(16 / 9) * ratio)
            w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
            if w <= width and h <= height:
                left, top = (width - w) * across, (height - h) * down
                return left, top, left + w, top + h
        w, h = min(width, height * 4 / 3), min(height, width * 4 / 3)
        return (width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2


@dataclass(frozen=True)
class ScaleJitter:
    """The picture's shorter side resized to `low` … `high` pixels, then the net's size cropped at a random place.

    Simonyan and Zisserman 2014 (VGG), §3.1: S from 256 … 512 for 224. With low = high this is AlexNet's method
    (Krizhevsky et al. 2012, §4.1: 256 for 224). Both must be at least the net's size.
    """

    low: int = 256
    high: int = 512

    def __post_init__(self) -> None:
        if not 1 <= self.low <= self.high:
            raise ValueError(f"scale-jitter:{self.low}:{self.high} must be two lengths in pixels, the smaller one "
                             f"first")

    def check_size(self, size: tuple[int, int]) -> None:
        """ValueError where the resized pictures would be smaller than `size`."""
        if self.low < max(size):
            raise ValueError(f"scale-jitter:{self.low}:{self.high} is below the larger side of the net's size {size}: "
                             f"its first number must be at least {max(size)}")

    def draw(self, count: int, size: tuple[int, int], rng: Generator) -> Array:
        """(count, 3) in 0 … 1: the length, and two positions."""
        return rng.random((count, 3))

    def box(self, width: int, height: int, size: tuple[int, int], drawn: Array) -> Box:
        """(left, top, right, bottom) in a picture of width × height.   drawn (3,)"""
        length, across, down = drawn.tolist()
        scale = min(width, height) / (self.low + (self.high - self.low) * length)
        w, h = size[1] * scale, size[0] * scale
        left, top = (width - w) * across, (height - h) * down
        return left, top, min(left + w, width), min(top + h, height)


@dataclass(frozen=True)
class Flip:
    """A mirror image, left to right, with probability `share`. Krizhevsky et al. 2012 (AlexNet), §4.1."""

    share: float = 0.5

    def __post_init__(self) -> None:
        _between("flip", self.share, 0, 1)

    def draw(self, count: int, size: tuple[int, int], rng: Generator) -> Array:
        """(count,) booleans: which images are mirrored."""
        return rng.random(count) < self.share

    def bytes(self, images: Array, drawn: Array) -> Array:
        """(N,C,H,W) uint8, drawn (N,) → the same shape"""
        return np.where(drawn[:, None, None, None], images[..., ::-1], images)


@dataclass(frozen=True)
class PadCrop:
    """`pixels` black rows and columns added on each side of an image, and its size cropped at a random place.

    He et al. 2015 (ResNet), §4.2: 4 for CIFAR's 32 × 32.
    """

    pixels: int = 4

    def __post_init__(self) -> None:
        if self.pixels < 1:
            raise ValueError(f"pad-crop:{self.pixels} must be at least 1 pixel")

    def draw(self, count: int, size: tuple[int, int], rng: Generator) -> Array:
        """(count, 2) from 0 … 2·pixels: the first row and column of each image in the padded one."""
        return rng.integers(0, 2 * self.pixels + 1, (2, count)).T

    def bytes(self, images: Array, drawn: Array) -> Array:
        """(N,C,H,W) uint8, drawn (N, 2) → the same shape"""
        return shifted(images, self.pixels, drawn)


def shifted(images: Array, pixels: int, corners: Array) -> Array:
    """Each image cut out of the image with `pixels` zeros on each side, from its corner (row, column) on.

    images (N,C,H,W), corners (N, 2) → the same shape as images: moved by up to ±`pixels`. Simard et al. 2003, §2, found
    such shifts to help on MNIST.
    """
    N, C, H, W = images.shape
    padded, moved = np.zeros((N, C, H + 2 * pixels, W + 2 * pixels), images.dtype), np.empty_like(images)
    padded[:, :, pixels : pixels + H, pixels : pixels + W] = images
    for i, (down, across) in enumerate(corners.tolist()):          # slices: about twice as fast as one gather for all
        moved[i] = padded[i, :, down : down + H, across : across + W]
    return moved


@dataclass(frozen=True)
class ColourJitter:
    """Brightness, contrast and saturation of each image, in this order, multiplied by random factors in 1 − s … 1 + s.

        brightness  b·x       contrast  mean + c·(x − mean), the mean of the image's grey
        saturation  grey + s·(x − grey), the grey of each pixel: 0.299 R + 0.587 G + 0.114 B

    Howard 2013, "Some improvements on deep convolutional neural network based image classification", §2.2.
    """

    strength: float = 0.4

    def __post_init__(self) -> None:
        _between("jitter", self.strength, 0, 1)

    def draw(self, count: int, size: tuple[int, int], rng: Generator) -> Array:
        """(count, 3): the factors of brightness, contrast and saturation."""
        return rng.uniform(1 - self.strength, 1 + self.strength, (3, count)).T

    def colours(self, images: Array, drawn: Array) -> Array:
        """(N,C,H,W) float32 on 0 … 1, drawn (N, 3) → the same shape, in place"""
        b, c, s = drawn.T.astype(np.float32)[..., None, None, None]           # (N, 1, 1, 1) each
        images *= b
        np.clip(images, 0, 1, images)
        mean = _grey(images).mean((1, 2, 3), keepdims=True)                   # (N, 1, 1, 1)
        images -= mean
        images *= c
        images += mean
        np.clip(images, 0, 1, images)
        grey = _grey(images)                                                  # (N, 1, H, W)
        images -= grey
        images *= s
        images += grey
        return np.clip(images, 0, 1, images)


def _grey(images: Array) -> Array:
    if images.shape[1] == 1:
        return images.copy()
    return 0.299 * images[:, 0:1] + 0.587 * images[:, 1:2] + 0.114 * images[:, 2:3]


EIGENVALUES = np.array([0.2175, 0.0188, 0.0045], np.float32)
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009],
                         [-0.5808, -0.0045, -0.8140],
                         [-0.5836, -0.6948, 0.4203]], np.float32)
"""Of the covariance of ImageNet's RGB values on 0 … 1; each column is a vector. As published with fb.resnet.torch."""


@dataclass(frozen=True)
class Lighting:
    """AlexNet's colour augmentation: each image moved along the three principal components of ImageNet's colours.

        x + Σ_i α_i·λ_i·p_i,   α_i normal with standard deviation `deviation`

    Krizhevsky et al. 2012 (AlexNet), §4.1. For RGB images only.
    """

    deviation: float = 0.1

    def __post_init__(self) -> None:
        _between("lighting", self.deviation, 0, 10)

    def draw(self, count: int, size: tuple[int, int], rng: Generator) -> Array:
        """(count, 3): what is added to the red, green and blue of each image."""
        alpha = rng.normal(0, self.deviation, (count, 3)).astype(np.float32)
        return (alpha * EIGENVALUES) @ EIGENVECTORS.T

    def colours(self, images: Array, drawn: Array) -> Array:
        """(N,3,H,W) float32 on 0 … 1, drawn (N, 3) → the same shape, in place; values may leave 0 … 1"""
        if images.shape[1] != 3:
            raise ValueError(f"lighting needs RGB images, but these have {images.shape[1]} channel(s): leave it out")
        images += drawn[:, :, None, None]                                     # (N, 3, 1, 1)
        return images


@dataclass(frozen=True)
class Cutout:
    """A random square of `side` × `side` pixels of each image set to 0, the mean; it may extend past the edge.

    DeVries and Taylor 2017, "Improved regularization of convolutional neural networks with cutout", arXiv:1708.04552.
    """

    side: int = 16

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError(f"cutout:{self.side} must be at least 1 pixel")

    def draw(self, count: int, size: tuple[int, int], rng: Generator) -> Array:
        """(count, 2): the row and the column of each square's centre."""
        return np.stack([rng.integers(0, side, count) for side in size], 1)

    def numbers(self, images: Array, drawn: Array) -> Array:
        """(N,C,H,W) float32, drawn (N, 2) → the same, in place"""
        for image, (y, x) in zip(images, drawn.tolist()):
            top, left = y - self.side // 2, x - self.side // 2
            image[:, max(top, 0) : max(top + self.side, 0), max(left, 0) : max(left + self.side, 0)] = 0
        return images


@dataclass(frozen=True)
class Mixup:
    """Each image mixed with another one of its batch: λ·x + (1 − λ)·x', with one λ from Beta(α, α) for the batch.

    Zhang, Cisse, Dauphin, Lopez-Paz 2017, "mixup: beyond empirical risk minimization", arXiv:1710.09412.
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        _between("mixup", self.alpha, 0, 100, above=True)

    def draw(self, count: int, size: tuple[int, int], rng: Generator) -> tuple[float, Array]:
        """(λ, others (count,)): image i is mixed with image others[i]."""
        return float(rng.beta(self.alpha, self.alpha)), rng.permutation(count)

    def mix(self, images: Array, others: Array, share: float) -> Array:
        """Images and those that they are mixed with, both (N,C,H,W) float32, and λ → the mixed images"""
        return np.float32(share) * images + np.float32(1 - share) * others


WORDS: dict[str, Callable[..., Any]] = {
    "random-resized": RandomResizedCrop, "scale-jitter": ScaleJitter, "flip": Flip, "pad-crop": PadCrop,
    "jitter": ColourJitter, "lighting": Lighting, "cutout": Cutout, "mixup": Mixup,
}  # fmt: skip


def parse(text: str) -> tuple[Any, ...]:
    """The augmentation for some words, such as "flip pad-crop:4 scale-jitter:256:480"; () for "" and "none".

    A word is a name, followed by numbers after colons, which have defaults. ValueError for anything else.
    """
    if not isinstance(text, str):
        raise TypeError(f"an augmentation must be words, such as 'flip pad-crop:4', not {short(text)}")
    steps: list[Any] = []
    for word in text.replace(",", " ").split():
        name, *given = word.split(":")
        if name == "none":
            continue
        if name not in WORDS:
            raise ValueError(unknown("augmentation", name, [*WORDS, "none"]))
        wanted = fields(WORDS[name])  # type: ignore[arg-type]
        if len(given) > len(wanted):
            raise ValueError(f"augmentation {word!r}: {name} takes at most {len(wanted)} number(s), not {len(given)}")
        try:
            values = [int(number) if field.type == "int" else float(number) for field, number in zip(wanted, given)]
        except ValueError:
            raise ValueError(f"augmentation {word!r}: after a colon there must be a number, as in "
                             f"{spell((WORDS[name](),))!r}") from None
        steps.append(WORDS[name](*values))
    check(steps)
    return tuple(steps)


def spell(steps: tuple[Any, ...]) -> str:
    """The words for an augmentation, with every number: the inverse of `parse`."""
    names = {made: name for name, made in WORDS.items()}
    return " ".join(":".join([names[type(step)], *(f"{getattr(step, field.name):g}" for field in fields(step))])
                    for step in steps) or "none"


def check(steps: Any) -> None:
    """ValueError for anything but steps, and if two steps choose the part of the picture, or two mix images."""
    for step in steps:
        if type(step) not in WORDS.values():
            raise ValueError(f"{short(step)} is not a step of an augmentation: use one of {', '.join(WORDS)}")
    for what, of_it in (("choose the part of the picture", [s for s in steps if hasattr(s, "box")]),
                        ("mix images", [s for s in steps if isinstance(s, Mixup)])):
        if len(of_it) > 1:
            raise ValueError(f"{spell(tuple(of_it))!r} both {what}: keep one of them")


def _between(name: str, value: float, low: float, high: float, above: bool = False) -> None:
    if not (low < value <= high if above else low <= value <= high):
        least = f"above {low}" if above else f"at least {low}"
        raise ValueError(f"{name}:{value:g} must be {least} and at most {high}")
