"""The data of a run: a dataset by name or a folder of pictures, split into training, validation and test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import data, devices, models
from minicnn.data import NORMALISATIONS, Preprocessing, Splits
from minicnn.data.folder import nfc
from minicnn.io import model_file
from minicnn.ranks import Alone
from minicnn.tensor import Tensor
from minicnn.train.config import Config, known_dataset
from minicnn.train.config_files import from_json
from minicnn.train.index import of_rank_0

SPLITS = ("test", "validation", "train")


def open_splits(config: Config, preprocessing: Preprocessing | None = None, team: Alone | None = None) -> Splits:
    """The splits of the settings' dataset or folder, with the preprocessing for their model.

    config.fit and config.size say how a picture file becomes an image (size 0: the size that the model was made for),
    unless a preprocessing is given.   team: the ranks, of which the first reads a folder's index.

    ValueError if there are too few pictures for a validation split, or none outside the training split.
    """
    c = config

    def load() -> Splits:
        return data.load(c.dataset, validation=c.validation, test=c.test, seed=c.seed)

    splits = load() if c.dataset in data.names() else of_rank_0(load, team or Alone())
    if splits.validation is None and c.validation:
        raise ValueError(f"{c.dataset} has too few pictures for a validation split: add some")
    if splits.validation is None and splits.test is None:
        raise ValueError(f"{c.dataset} keeps no picture to validate or to test: add some, or set --test above 0")
    if preprocessing is None and not splits.in_memory:
        channels, height, width = input_shape(c)
        mean, std = NORMALISATIONS["imagenet"] if channels == 3 else ((0.5,), (0.25,))
        shape = (c.size, c.size) if c.size else (height, width)
        resize = round(max(shape) * 256 / 224) if c.fit == "crop" else 0
        preprocessing = Preprocessing(shape, mean, std, channels=channels, fit=c.fit, resize=resize)
    return splits.with_preprocessing(preprocessing) if preprocessing else splits


def input_shape(config: Config) -> tuple[int, int, int]:
    """(channels, height, width) of the images that the settings' model was made for."""
    return models.input_shape(config.model, config.options.get("variant", ""), config.options)


def some_batches(split: Any, batches: int, config: Config) -> Any:
    """`batches` batches of images, drawn with the seed: always the same ones."""
    return drawn(split, batches * config.batch_size, [config.seed, 3])


def drawn(split: Any, count: int, key: list[int]) -> Any:
    """At most `count` images, drawn with the seed `key`, in their order."""
    return split.select(np.sort(np.random.default_rng(key).permutation(len(split))[:count]))


def preparer(device: str = "cpu") -> Callable[[Any], Tensor]:
    """The function from a loader's images (N,C,H,W), float32 and normalised, to the Tensor that a model takes."""
    return lambda images: Tensor(images, device=devices.get(device).name)


def split_of_run(config: Path, split: str) -> Splits:
    """The splits of a run, by its config.json, the same as when it was trained. ValueError where `split` is missing."""
    c = from_json(config)
    splits = open_splits(c, model_file.description(config.with_name("best.safetensors")).preprocessing)
    if getattr(splits, split) is None:
        raise ValueError(f"{c.dataset} has no pictures for {split}: choose another --split")
    return splits


def whole_dataset(dataset: str, split: str, about: model_file.Description) -> tuple[str, Any]:
    """A split of a dataset, or all pictures of a folder without splits, with the labels of the model `about`.

    ValueError if the model lacks one of their classes, or does not take the images.
    """
    if not dataset:
        raise ValueError("the model file does not name its training data: give a dataset or a folder with --data")
    known_dataset("dataset", dataset)
    if dataset in data.names():
        splits = data.load(dataset)
        chosen = splits.train if split == "train" else splits.test
        if chosen.images.shape[1:] != about.preprocessing.inner or len(splits.classes) != len(about.classes):
            raise ValueError(f"{dataset} has {len(splits.classes)} classes of {chosen.images.shape[1:]} images, but "
                             f"the model takes {about.preprocessing.inner} and has {len(about.classes)} "
                             "classes: choose another --data")  # fmt: skip
        return dataset, chosen
    splits = data.load(dataset, test=0)
    chosen = getattr(splits, split)
    if splits.test is None and splits.validation is None:  # the folder is not split
        chosen = splits.train
    if chosen is None:
        raise ValueError(f"{dataset} has no pictures for {split}: choose another --split")
    known = [nfc(name) for name in about.classes]
    strange = [name for name in splits.classes if nfc(name) not in known]
    if strange:
        raise ValueError(f"{dataset} has the class {strange[0]!r}, which the model does not have; it has "
                         f"{', '.join(about.classes[:10])}{', …' if len(about.classes) > 10 else ''}")  # fmt: skip
    known_as = np.array([known.index(nfc(name)) for name in splits.classes])
    return splits.name, replace(chosen, labels=known_as[chosen.labels])
