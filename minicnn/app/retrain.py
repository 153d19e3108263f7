"""A process that trains a model on, with the pictures that it got wrong, and compares it with the one before.

    python -m minicnn.app.retrain MODEL DATA EPOCHS       `teach` starts it; lines of JSON on stdout say how far it is

A net of `minicnn transfer` gets a new head on the same body; any other net is trained for a few epochs from its
current weights, on its training pictures and the corrected ones. The result is a second model file; the one in use is
only read.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import data, models, rng
from minicnn.app.filing import Corrections
from minicnn.data import ImageFolder, Splits
from minicnn.data.dataset import Joined, Source
from minicnn.data.folder import nfc
from minicnn.io import model_file
from minicnn.io.model_file import Description
from minicnn.lock import Lock
from minicnn.names import short
from minicnn.nn import Module
from minicnn.train import body
from minicnn.train.assess import assess
from minicnn.train.config import Config
from minicnn.train.config_files import from_json
from minicnn.train.fit import fit
from minicnn.train.folder import CONFIG
from minicnn.train.source import preparer
from minicnn.train.transfer import solve_head

SHARE = 0.05
"""Corrected pictures are repeated until they are about this share of an epoch,"""
REPEATS = 20
"""but at most so often."""
SLOWER = 0.1
"""The learning rate, as a fraction of that of the run that trained the model."""
EVERY = 0.1
"""Seconds between two reports of progress."""
UNKNOWN = ("It is not known which of these pictures the old model was trained on, which favours it: name a run folder "
           "instead of its model file.")  # fmt: skip

Tell = Callable[..., None]


@dataclass
class Lesson:
    """What a model is taught with: the settings of its run, its pictures, and those that are filed.

    splits: None where the pictures are not known; `missing` then says why.   doubt: about the comparison
    """

    corrections: Corrections
    config: Config = field(default_factory=Config)
    splits: Splits | None = None
    missing: str = ""
    doubt: str = ""


def lesson(path: Path, about: Description, folder: Path | None = None) -> Lesson:
    """Find the pictures of a model.   folder: class folders to file into, instead of those of the model's run.

    FileNotFoundError where there is no such folder, ValueError where it has no pictures of the model's classes.
    """
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: --data names one with a folder for each class")
    run = path.with_name(CONFIG)
    config = from_json(run) if run.is_file() else None
    beside = Corrections.beside(path, len(about.classes))
    source = str(folder or (config.dataset if config else about.trained_on))
    if not source:
        return Lesson(beside, missing="the model file does not name its training pictures: give them with --data")
    if source not in data.names() and not Path(source).is_dir():
        return Lesson(beside, missing=f"its training pictures are not at {short(source)}: give them with --data")
    chosen = replace(config or Config(), dataset=source)
    try:
        splits = data.load(source, validation=chosen.validation, test=chosen.test, seed=chosen.seed)
        taken = _of_the_model(splits, about)
        inside = Corrections.inside(splits, about.classes) if isinstance(splits, ImageFolder) else None
    except (ValueError, OSError) as problem:
        if folder:
            raise
        return Lesson(beside, missing=str(problem))
    known = splits.in_memory or (config is not None and Path(config.dataset).resolve() == Path(source).resolve())
    return Lesson(inside if inside and inside.writable else beside, chosen, taken, doubt="" if known else UNKNOWN)


def _of_the_model(splits: Splits, about: Description) -> Splits:
    """The same pictures with the model's classes and preprocessing. ValueError where they are others."""
    known, here = [nfc(name) for name in about.classes], [nfc(name) for name in splits.classes]
    strange = [name for name in here if name not in known]
    if strange or (splits.in_memory and splits.preprocessing.inner != about.preprocessing.inner):
        raise ValueError(f"{short(splits.name)} has {len(here)} classes of {splits.preprocessing.inner} images, but "
                         f"the model has others: {short(strange[0] if strange else about.preprocessing.inner)}")
    places = np.array([known.index(name) for name in here])
    parts = {name: part and replace(part, labels=places[part.labels]) for name in ("train", "validation", "test")
             for part in [getattr(splits, name)]}  # fmt: skip
    return replace(splits.with_preprocessing(about.preprocessing), classes=tuple(about.classes), **parts)


def retrain(path: Path, folder: Path | None, epochs: int, tell: Tell) -> dict[str, Any]:
    """Train on, write the result to `result_path(path)`, and compare. → what `compared` gives, and the seconds

    tell(what, done, of) reports progress: "features", "training" or "comparing".
    """
    started = time.monotonic()
    old, about = model_file.load(path)
    given = lesson(path, about, folder)
    filed = given.corrections.pictures()
    if given.splits is None:
        raise ValueError(given.missing)
    if filed is None:
        raise ValueError("no pictures are filed, so there is nothing new to learn: correct an answer first")
    new, _ = model_file.load(path)
    splits = replace(given.splits, train=with_corrections(given, filed))
    if given.config.weights:
        train_head(new, about, splits, given.config, tell)
    else:
        train_on(new, splits, given.config, epochs, tell)
    model_file.save(result_path(path), new, about)
    found = compared(old, new, given.splits, filed, tell)
    return found | {"doubt": given.doubt, "seconds": time.monotonic() - started}


def result_path(path: Path) -> Path:
    """Where the new model of a retraining is: best.retrained.safetensors beside best.safetensors."""
    return path.with_name(f"{path.stem}.retrained{path.suffix}")


def with_corrections(given: Lesson, filed: Source) -> Joined:
    """The training pictures of the run and the filed ones, these so often that they are about SHARE of all."""
    assert given.splits is not None
    rest = given.splits.train
    if given.corrections.is_inside(rest):                          # ImageFolder has read them, too
        corrected = {given.corrections.root / name for name in filed.names}
        rest = rest.select([i for i in range(len(rest)) if rest.picture(i) not in corrected])
    times = min(REPEATS, max(1, round(SHARE * len(rest) / len(filed))))
    return Joined(rest, filed.select(np.tile(np.arange(len(filed)), times)))


def train_head(model: Module, about: Description, splits: Splits, config: Config, tell: Tell) -> None:
    """A new head on the body, as `minicnn transfer` makes it."""
    name, options = models.resolve(about.model, {"num_classes": len(about.classes), **about.options})
    blank = preparer()(np.zeros((1, *splits.preprocessing.shape), np.float32))
    with_device = replace(config, device="cpu")
    solve_head(model, body.split(model, name, options, blank), splits, with_device,
               lambda what, done, of: tell("features", done, of))


def train_on(model: Module, splits: Splits, config: Config, epochs: int, tell: Tell) -> None:
    """A few epochs from the current weights, at a tenth of the run's learning rate; the best on validation is kept."""
    rng.seed(config.seed)
    steps = epochs * -(-len(splits.train) // config.batch_size)
    augment = splits.augment if config.augment == "auto" else config.augment
    fit(model, splits, epochs=epochs, batch_size=config.batch_size, lr=SLOWER * config.lr, optimizer=config.optimizer,
        schedule="cosine", augment=augment, label_smoothing=config.label_smoothing, class_weights=config.class_weights,
        validation=0, verbose=False, on_step=lambda step, loss: tell("training", step + 1, steps))  # fmt: skip


def compared(old: Module, new: Module, splits: Splits, filed: Source, tell: Tell) -> dict[str, Any]:
    """How many held-out pictures, and how many of the corrected ones, either model gets right.

    {"held": {"part", "pictures", "old", "new", "only_old", "only_new", "left_out"}, "corrected": {the same}}; held is
    None where no pictures are held out. A held-out picture that was filed too is left out: the new model has seen it.
    """
    part = "test" if splits.test is not None else "validation"
    held, left_out = getattr(splits, part), 0
    if held is not None:
        seen = {splits.preprocessing.read(filed.picture(i)).tobytes() for i in range(len(filed))}
        kept = [i for i in range(len(held)) if splits.preprocessing.read(held.picture(i)).tobytes() not in seen]
        left_out = len(held) - len(kept)
        held = held.select(np.array(kept)) if kept else None
    counts = {}
    for done, (name, pictures) in enumerate((("held", held), ("corrected", filed))):
        tell("comparing", done, 2)
        counts[name] = None if pictures is None else {
            "part": part, "pictures": len(pictures), "left_out": left_out if name == "held" else 0,
            **_both(_right(old, splits, pictures), _right(new, splits, pictures))}  # fmt: skip
    return counts


def _right(model: Module, splits: Splits, pictures: Source) -> np.ndarray:
    """Which pictures the model gets right. (N,) bool"""
    found = assess(model, splits.evaluated(pictures), preparer(), len(splits.classes), pictures.names)
    return found.top[:, 0] == found.labels


def _both(old: np.ndarray, new: np.ndarray) -> dict[str, int]:
    return {"old": int(old.sum()), "new": int(new.sum()), "only_old": int((old & ~new).sum()),
            "only_new": int((new & ~old).sum())}  # fmt: skip


def better(found: dict[str, Any]) -> bool:
    """Whether the new model is kept: right on more held-out pictures, or on as many and on more corrected ones.

    Without held-out pictures nothing is known, and the old one stays.
    """
    held, corrected = found["held"], found["corrected"]
    return held is not None and (held["new"], corrected["new"]) > (held["old"], corrected["old"])


def main(path: str, folder: str, epochs: str) -> None:
    """The process: progress, then the result or an error, each a line of JSON."""
    if hasattr(os, "nice"):
        os.nice(10)                                                # answers to visitors come first
    last = 0.0

    def tell(what: str, done: int, of: int) -> None:
        nonlocal last
        if done in (0, of) or time.monotonic() - last >= EVERY:
            last = time.monotonic()
            say({"what": what, "done": done, "of": of})

    def say(said: dict[str, Any]) -> None:
        print(json.dumps(said), flush=True)                        # fails where the app has ended: then so do we

    try:
        with Lock(Path(path).parent, instead="stop it"):
            say({"result": retrain(Path(path), Path(folder) if folder else None, int(epochs), tell)})
    except (ValueError, ArithmeticError, RuntimeError, OSError, MemoryError) as problem:
        say({"error": " ".join(str(problem).split()) or type(problem).__name__})


if __name__ == "__main__":
    main(*sys.argv[1:])
