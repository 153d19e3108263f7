"""Preprocessing: from a picture to the input of a net. Training, evaluation, prediction and export share one
description of it, which a model file stores; training may add augmentation.

    prepare = Preprocessing((224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize=256)
    image = prepare.read("cat.jpg")           # uint8 (3,224,224), to look at
    x = prepare.normalise(image[None])        # float32 (1,3,224,224), the input of the net
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.data import augment as augmentations
from minicnn.data import crop, decode
from minicnn.data.augment import Mixed
from minicnn.data.transforms import Array, check_channels, check_size, normalise
from minicnn.names import short, unknown

NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # name: (mean, standard deviation), on the scale 0 … 1
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""How published nets normalise: torchvision's; Caffe's (RGB minus a mean, no division); torchvision's GoogLeNet and
Inception-v3, which were trained on −1 … 1; bytes/255 as they are."""

FITS = ("crop", "pad", "stretch")
MAX_SIDE = 2**14


@dataclass(frozen=True)
class Preprocessing:
    """How a picture of any size becomes an image (channels, *size), and the image the input of a net.

    size           (H, W) of the net's input
    mean, std      one number for each channel on the scale 0 … 1:  x = (bytes/255 − mean) / std
    channels       3 (RGB) or 1 (grey)
    resize         the shorter side of the picture before `size` is cropped from its centre; 0: as small as possible
    fit            "crop" crops the centre, "pad" keeps the whole picture and adds background, "stretch" keeps the whole
                   picture and changes its proportions
    interpolation  nearest, box, bilinear, hamming, bicubic or lanczos: Pillow's filters, with antialiasing
    background     (R, G, B), 0 … 255: the colour behind transparent pixels, around padded pictures and in the margin
    margin         (rows, columns) of background within `size`, half of them on each side of the picture: (4, 4) makes
                   a net for 32 × 32 take 28 × 28 pixels as they are

    ValueError, one sentence, where a value is not valid.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int = 3
    resize: int = 0
    fit: str = "crop"
    interpolation: str = "bilinear"
    background: tuple[int, int, int] = decode.WHITE
    margin: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if type(self.channels) is not int:
            raise ValueError(f"channels (={short(self.channels)}) must be 1 (grey) or 3 (RGB)")
        if type(self.resize) is not int or not 0 <= self.resize <= MAX_SIDE:
            raise ValueError(f"resize (={short(self.resize)}) must be an integer from 0 to {MAX_SIDE}")
        check_size(self.channels, self.size, self.resize)
        if max(self.size) > MAX_SIDE:
            raise ValueError(f"size (={short(self.size)}) must be at most {MAX_SIDE} a side")
        for name in ("mean", "std"):
            numbers = getattr(self, name)
            if not _numbers(numbers, (int, float, np.integer, np.floating)):
                raise ValueError(f"{name} (={short(numbers)}) must be {self.channels} number(s), one for each channel")
            object.__setattr__(self, name, tuple(float(n) if abs(n) < 1e9 else np.inf for n in numbers))
        check_channels(self.channels, self.mean, self.std)
        for name, known in (("fit", FITS), ("interpolation", decode.INTERPOLATIONS)):
            if getattr(self, name) not in known:
                raise ValueError(unknown(name, str(getattr(self, name))[:40], known))
        if self.resize and self.fit != "crop":
            raise ValueError(f"resize (={self.resize}) is for fit='crop': with fit={self.fit!r} the whole picture is "
                             f"resized to size, so leave resize at 0")
        if not (_numbers(self.background, (int,)) and len(self.background) == 3
                and all(0 <= value <= 255 for value in self.background)):
            raise ValueError(f"background (={short(self.background)}) must be (red, green, blue), three integers from "
                             f"0 to 255")
        if not (_numbers(self.margin, (int,)) and len(self.margin) == 2
                and all(0 <= m < side for m, side in zip(self.margin, self.size))):
            raise ValueError(f"margin (={short(self.margin)}) must be (rows, columns), two integers from 0 on and "
                             f"less than size (={short(self.size)})")
        for name in ("size", "background", "margin"):
            object.__setattr__(self, name, tuple(map(int, getattr(self, name))))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return (self.channels, *self.size)

    @property
    def inner(self) -> tuple[int, int, int]:
        """(C, H, W) of an image without its margin."""
        return (self.channels, self.size[0] - self.margin[0], self.size[1] - self.margin[1])

    def box(self, width: int, height: int) -> crop.Box:
        """The part of a picture of width × height that becomes the image: (left, top, right, bottom).

        It extends past the picture if background is added.
        """
        inner = self.inner[1:]
        if self.fit == "stretch":
            box = crop.whole(width, height)
        elif self.fit == "pad":
            box = crop.around(width, height, inner)
        else:
            box = crop.middle(width, height, inner, self.resize)
        if not any(self.margin):
            return box
        left, top, right, bottom = box
        across, down = (right - left) / inner[1], (bottom - top) / inner[0]    # a pixel of the image, in the picture
        rows, columns = self.margin
        return (left - columns // 2 * across, top - rows // 2 * down,
                right + (columns - columns // 2) * across, bottom + (rows - rows // 2) * down)

    def read(self, source: Any, box: Any = None, draft: bool = False) -> Array:
        """Read a picture as an image: (C,H,W) uint8, not yet normalised.

        source: a path, a `decode.Packed`, or an array (1 or 3,H,W) uint8.   box(width, height): the part to crop, by
        default `self.box`.   draft: decode JPEG files at a fraction of their size where that is enough.
        """
        return decode.read(source, box or self.box, self.size, channels=self.channels, background=self.background,
                            interpolation=self.interpolation, draft=draft)

    def normalise(self, images: Array) -> Array:
        """(…,C,H,W) uint8 → float32 of the same shape: (bytes/255 − mean) / std."""
        return normalise(images, self.mean, self.std)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The inverse of `to_dict`. ValueError for an unknown or missing key, or a value that is not valid."""
        if not isinstance(values, Mapping):
            raise ValueError(f"a preprocessing must be names and values, not {type(values).__name__}")
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                raise ValueError(unknown("key of a preprocessing", str(name)[:40], known))
        missing = [name for name in ("size", "mean", "std") if name not in values]
        if missing:
            raise ValueError(f"a preprocessing needs the keys {', '.join(missing)}")
        return cls(**values)


class Transform:
    """`Transform(preprocessing)` for evaluation, `Transform(preprocessing, "random-resized flip")` for training.

    augment: words for `augment.parse`, or its steps.   draft: decode JPEG files at a fraction of their size where that
    is enough; by default only with an augmentation, so that evaluation and prediction see exactly equal images.
    """

    makes_rows = True
    """That `rows` can be given: a loader asks before it does."""

    def __init__(self, preprocessing: Preprocessing, augment: str | Sequence[Any] = (),
                 draft: bool | None = None) -> None:
        arguments.instance("preprocessing", preprocessing, Preprocessing)
        self.preprocessing = preprocessing
        self.steps = tuple(augment) if isinstance(augment, (list, tuple)) else augmentations.parse(augment)  # type: ignore[arg-type]
        augmentations.check(self.steps)
        for step in self.steps:
            if isinstance(step, augmentations.ScaleJitter):
                step.check_size(preprocessing.size)
        self.draft = bool(self.steps) if draft is None else draft

    def __repr__(self) -> str:
        return f"Transform({self.preprocessing!r}, augment={augmentations.spell(self.steps)!r})"

    def __call__(self, pictures: Sequence[Any], labels: Array, rng: np.random.Generator,
                 rows: slice = slice(None)) -> tuple[Array, Mixed | None]:
        """Pictures (paths, `Packed`s, arrays), labels (N,) → (N,C,H,W) float32, and the mixed labels, or None.

        rows: make only these images of the batch, and the ones that they are mixed with; no other picture is read. The
        labels of `Mixed` are those of the whole batch.
        """
        count = len(labels)
        drawn = [(step, step.draw(count, self.preprocessing.size, rng)) for step in self.ordered]
        own = np.arange(count)[rows]
        for step, numbers in drawn:
            if isinstance(step, augmentations.Mixup):
                share, others = numbers
                made, where = np.unique(np.concatenate([own, others[own]]), return_inverse=True)
                images = self._images(pictures, made, drawn)
                x = step.mix(images[where[: len(own)]], images[where[len(own) :]], share)
                return x, Mixed(labels[others], share)
        return self._images(pictures, own, drawn), None

    @property
    def ordered(self) -> list[Any]:
        """The steps in the order in which they are applied."""
        return [step for method in ("box", "bytes", "colours", "numbers", "mix") for step in self.steps
                if hasattr(step, method)]

    def _images(self, pictures: Sequence[Any], made: Array, drawn: list[tuple[Any, Any]]) -> Array:
        """The images `made` of the batch, not mixed yet: (N,C,H,W) float32.   drawn: the steps and their numbers"""
        p, of = self.preprocessing, {id(step): numbers for step, numbers in drawn}
        images = self._read(pictures, made, of)                               # (N, C, H, W) uint8
        colours = [step for step in self.steps if hasattr(step, "colours")]
        if colours:
            x = np.divide(images, 255, dtype=np.float32)
            for step in colours:
                x = step.colours(x, of[id(step)][made])
            x -= np.asarray(p.mean, np.float32)[:, None, None]
            x /= np.asarray(p.std, np.float32)[:, None, None]
        else:
            x = p.normalise(images)
        for step in self.steps:
            if hasattr(step, "numbers"):
                x = step.numbers(x, of[id(step)][made])
        return x

    def _read(self, pictures: Sequence[Any], made: Array, of: dict[int, Any]) -> Array:
        """The images as bytes, before changes of colour and normalisation: (N,C,H,W) uint8."""
        p = self.preprocessing
        images = np.empty((len(made), *p.shape), np.uint8)
        parts = [step for step in self.steps if hasattr(step, "box")]
        for image, i in zip(images, made.tolist()):
            given = pictures[i]
            box = (lambda w, h, i=i: parts[0].box(w, h, p.size, of[id(parts[0])][i])) if parts else None
            fits = isinstance(given, np.ndarray) and given.shape == p.shape and not (parts or p.resize)
            image[:] = given if fits else p.read(given, box, self.draft)
        for step in self.steps:
            if hasattr(step, "bytes"):
                images = step.bytes(images, of[id(step)][made])
        return images


def _numbers(values: Any, kinds: tuple[type, ...]) -> bool:
    return (isinstance(values, (tuple, list))
            and all(isinstance(v, kinds) and not isinstance(v, bool) for v in values))
