"""What a run learns from: a dataset by name, or a folder of pictures, cut into what trains, chooses and tests."""

from __future__ import annotations

import functools
import hashlib
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import data, devices, models
from minicnn.data.folder import stratified
from minicnn.io import model_file
from minicnn.tensor import Tensor
from minicnn.train.config import Config, check_dataset, from_json

NORMALISATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # name: (mean, deviation), on the scale 0 … 1
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""What pictures went through before the nets of others: torchvision's; Caffe's (RGB minus a mean, no division);
torchvision's GoogLeNet and Inception-v3, which were trained on −1 … 1; bytes/255 as they are."""


@dataclass
class Pictures:
    """Three sets of pictures, the names of their classes, and what is done to a picture before a net sees it."""

    name: str
    train: Any
    validation: Any
    test: Any
    classes: tuple[str, ...]
    preprocessing: data.Preprocessing
    augment: str
    in_memory: bool

    def loader(self, pictures, batch_size: int, workers: int = -1, augment: str = "", **more) -> data.Loader:
        """The batches of some of the pictures; workers −1: as many as there are cores where files are to be decoded."""
        if workers < 0:
            workers = 0 if self.in_memory else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
        transform = data.Transform(self.preprocessing, augment)
        return data.Loader(pictures, batch_size, transform=transform, workers=workers, **more)

    def evaluated(self, pictures) -> data.Loader:
        """The batches of some of the pictures, in their order and unchanged; as many at a time as memory bears."""
        size = min(500, max(1, 2**22 // math.prod(self.preprocessing.shape)))
        return self.loader(pictures, size)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Tells whether a run that goes on finds the pictures that it began with: by their names and labels."""
        digest = hashlib.sha256()
        for part in (p for p in (self.train, self.validation) if p is not None):
            digest.update("\0".join(part.names).encode("utf-8", "surrogateescape"))
            digest.update(np.ascontiguousarray(part.labels, np.int64).tobytes())
        return digest.hexdigest()[:16]


def open_pictures(config: Config, preprocessing: data.Preprocessing | None = None) -> Pictures:
    """The pictures of the dataset or folder that the settings name, as the model takes them.

    The shares config.validation and config.test of each class are drawn aside with config.seed where the dataset has no
    such part; a dataset by name has test images. config.fit and .size say how a file becomes an image (size 0: as large
    as the model was made for), unless a preprocessing is given.
    """
    c = config
    if c.dataset in data.names():
        bundle = data.load(c.dataset)
        channels, *sides = bundle.train.images.shape[1:]
        train, aside = stratified(bundle.train, c.validation, c.seed, 2)
        own = data.Preprocessing(tuple(sides), bundle.mean, bundle.std, channels=channels)
        augment = "pad-crop:2" if channels == 1 else "pad-crop:4 flip"
        return Pictures(c.dataset, train, _some(aside, c.validation, c.dataset), bundle.test, tuple(bundle.classes),
                        preprocessing or own, augment, True)  # fmt: skip
    folder = data.splits(c.dataset, validation=c.validation, test=c.test, seed=c.seed)
    if preprocessing is None:
        channels, *sides = models.input_shape(c.model)
        mean, std = NORMALISATIONS["imagenet"] if channels == 3 else ((0.5,), (0.25,))
        shape = (c.size, c.size) if c.size else tuple(sides)
        resize = round(max(shape) * 256 / 224) if c.fit == "crop" else 0
        preprocessing = data.Preprocessing(shape, mean, std, channels=channels, fit=c.fit, resize=resize)
    return Pictures(folder.name, folder.train, _some(folder.validation, c.validation, c.dataset), folder.test,
                    folder.classes, preprocessing, "random-resized flip", False)  # fmt: skip


def _some(pictures, share, where):
    if pictures is None and share:
        raise ValueError(f"{where} has too few pictures to put any aside to choose the best epoch by: add some")
    return pictures


def preparer(device: str = "cpu"):
    """The function from a loader's images (N,C,H,W), float32 and normalised, to the Tensor that a model takes."""
    return lambda images: Tensor(images, device=devices.get(device).name)


SPLITS = ("test", "validation", "train")


def part_of_run(config: Path, split: str) -> tuple[str, Pictures]:
    """The pictures of a run, by its config.json, cut as they were then. ValueError where it has no such part."""
    c = from_json(config)
    about = model_file.description(config.with_name("best.safetensors"))
    pictures = open_pictures(c, about.preprocessing)
    if getattr(pictures, split) is None:
        raise ValueError(f"{c.dataset} has no pictures for {split}: choose another --split")
    return pictures.name, pictures


def whole(dataset: str, split: str, about: model_file.Description) -> tuple[str, Any]:
    """The pictures of a dataset, or all of those in a folder that is not split, with the labels that a model gives.

    ValueError where the model does not know their classes, or does not take the images.
    """
    if not dataset:
        raise ValueError("the model does not say what it learned from: name a dataset or a folder with --data")
    check_dataset(dataset)
    if dataset in data.names():
        bundle = data.load(dataset)
        chosen, classes = getattr(bundle, "train" if split == "train" else "test"), list(bundle.classes)
        if list(chosen.images.shape[1:]) != about.input or len(classes) != len(about.classes):
            raise ValueError(f"{dataset} has {len(classes)} classes of {chosen.images.shape[1:]} images, but the model "
                             f"takes {tuple(about.input)} and tells {len(about.classes)} classes apart: choose another "
                             "--data")  # fmt: skip
        return dataset, chosen
    folder = data.splits(dataset, validation=0, test=0)
    chosen = getattr(folder, split)
    if folder.test is None and folder.validation is None:  # it is not split
        chosen = folder.train
    if chosen is None:
        raise ValueError(f"{dataset} has no pictures for {split}: choose another --split")
    strange = [name for name in folder.classes if name not in about.classes]
    if strange:
        raise ValueError(f"{dataset} has the class {strange[0]!r}, which the model does not know: it knows "
                         f"{', '.join(about.classes[:10])}{', …' if len(about.classes) > 10 else ''}")  # fmt: skip
    known_as = np.array([about.classes.index(name) for name in folder.classes])
    return folder.name, replace(chosen, labels=known_as[chosen.labels])
