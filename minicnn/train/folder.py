"""The folder of a training run.

config.json         all settings: enough to do it again
last.ckpt           how far the run is: enough to resume it bit for bit
metrics.jsonl       one line for each epoch
best.safetensors    the model with the best validation accuracy (its weights, classes and preprocessing)
last.safetensors    the model after the last epoch
head.safetensors    where transfer learning began: the given body with the head that was solved for it
head.json           how that head was found
test.json           the best model's results on the test images
env.json            machine and versions

Every file appears whole or not at all. While a process trains, it holds the lock on run.lock.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path

from minicnn import atomic, data
from minicnn.environment import environment
from minicnn.train.config import Config

CONFIG, ENVIRONMENT, METRICS = "config.json", "env.json", "metrics.jsonl"
BEST, LAST, HEAD = "best.safetensors", "last.safetensors", "head.safetensors"
FILES = (
    "last.ckpt", METRICS, "test.json", BEST, LAST, "head.json", "curves.png", "confusion.png", "filters.png",
    "worst.png", "sample.png",
)  # fmt: skip
"""What a run leaves beside config.json and env.json; a run that replaces another removes the other's first."""


def claim(config: Config) -> Path:
    """A new folder for this process alone: runs/DATA-MODEL-1, or the next number that is free."""
    name = config.dataset if config.dataset in data.names() else Path(config.dataset).resolve().name
    stem = Path("runs") / f"{name}-{config.model.replace(':', '-')}"
    stem.parent.mkdir(exist_ok=True)
    for number in itertools.count(1):
        try:
            (folder := Path(f"{stem}-{number}")).mkdir()
            return folder
        except FileExistsError:
            continue
    raise AssertionError("numbers do not end")


def refuse(folder: Path, overwrite: bool) -> None:
    """FileExistsError where the folder holds a run, unless that may be replaced."""
    # not only a whole run: a config.json or a test.json may be somebody's own, of quite another kind
    if not overwrite and any((folder / name).exists() for name in (CONFIG, ENVIRONMENT, *FILES)):
        raise FileExistsError(
            f"{folder} holds a run already, which stays as it is: give another folder, or --overwrite to replace it; "
            f"`minicnn train --resume {folder}` goes on with one that was stopped"
        )


def begin(folder: Path, config: Config) -> None:
    """Start a new run in the folder, without what another one left there."""
    for name in FILES if config.weights else (*FILES, HEAD):
        (folder / name).unlink(missing_ok=True)
    for events in folder.glob("events.out.tfevents.*.minicnn.*"):
        events.unlink()
    sweep(folder)
    write(folder / CONFIG, asdict(config))
    write(folder / ENVIRONMENT, environment(config.device))


def sweep(folder: Path) -> None:
    """Remove the half-written files of a process that was killed."""
    atomic.sweep(folder, (CONFIG, ENVIRONMENT, HEAD, *FILES))


def write(path: Path, values) -> None:
    """A JSON document."""
    atomic.write(path, (json.dumps(values, indent=1) + "\n").encode())


def write_lines(path: Path, records: list[dict]) -> None:
    """A JSON document on each line; no file where there are none."""
    if records:
        atomic.write(path, "".join(json.dumps(record) + "\n" for record in records).encode())
