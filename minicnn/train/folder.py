"""The folder of a training run.

config.json         all settings: enough to repeat the run
last.ckpt           the checkpoint: enough to resume the run bit for bit
metrics.jsonl       one line for each epoch
best.safetensors    the model with the best validation accuracy (its weights, classes and preprocessing)
last.safetensors    the model after the last epoch
head.safetensors    transfer learning: the pretrained body with the solved head, before any training
head.json           how that head was solved
test.json           the best model's results on the test images
env.json            machine and versions

Every file is written atomically. From its first file to its last one, a run holds a lock on run.lock.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from minicnn import atomic, data
from minicnn.environment import environment
from minicnn.lock import Lock
from minicnn.train.config import Config

CONFIG, ENVIRONMENT, METRICS = "config.json", "env.json", "metrics.jsonl"
BEST, LAST, HEAD = "best.safetensors", "last.safetensors", "head.safetensors"
FILES = (
    "last.ckpt", METRICS, "test.json", BEST, LAST, "head.json", "curves.png", "confusion.png", "filters.png",
    "worst.png", "sample.png",
)  # fmt: skip
"""The files of a run, besides config.json and env.json; a new run with --overwrite first removes the old ones."""


def claim(config: Config, where: Path | None = None, overwrite: bool = False) -> tuple[Path, Lock]:
    """The folder of a new run, locked: `where`, or runs/DATA-MODEL-1, or the next free number.

    RuntimeError where another process uses it, FileExistsError where it holds a run and `overwrite` is false.
    """
    if where is not None:
        where.mkdir(parents=True, exist_ok=True)
        return where, _locked(where, overwrite)
    name = config.dataset if config.dataset in data.names() else Path(config.dataset).resolve().name
    stem = Path("runs") / f"{name}-{config.model.replace(':', '-')}"
    stem.parent.mkdir(exist_ok=True)
    for number in itertools.count(1):
        folder = Path(f"{stem}-{number}")
        with contextlib.suppress(FileExistsError, RuntimeError):  # RuntimeError: somebody gave that folder with --out
            folder.mkdir()
            return folder, _locked(folder, False)
    raise AssertionError("unreachable: the numbers are unlimited")


def _locked(folder: Path, overwrite: bool) -> Lock:
    """The lock on a folder that holds no run: what is in it can't change any more."""
    lock = Lock(folder)
    try:
        refuse(folder, overwrite)
    except BaseException:
        lock.release()
        raise
    return lock


@contextlib.contextmanager
def given_back(folder: Path, lock: Lock) -> Iterator[None]:
    """An error within the block releases the folder, and removes it if it is still empty."""
    try:
        yield
    except BaseException:
        lock.release()
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise


def refuse(folder: Path, overwrite: bool) -> None:
    """FileExistsError if the folder holds a run and `overwrite` is false."""
    # any of its files counts: a config.json or test.json may belong to another program
    if not overwrite and any((folder / name).exists() for name in (CONFIG, ENVIRONMENT, *FILES)):
        raise FileExistsError(
            f"{folder} already holds a run, which is kept: give another folder, or --overwrite to replace it; "
            f"`minicnn train --resume {folder}` continues a stopped run"
        )


def begin(folder: Path, config: Config) -> None:
    """Start a new run in the folder; remove the files of an earlier one."""
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
