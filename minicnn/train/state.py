"""The state of a run: everything that the settings do not determine. Saved to its checkpoint and restored."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import rng
from minicnn.data import Splits
from minicnn.nn import Module
from minicnn.optim import EMA, Optimizer, Schedule
from minicnn.ranks import Alone
from minicnn.train import checkpoint
from minicnn.train.config import Config
from minicnn.train.config_files import differences
from minicnn.train.loop import Progress

RECORD = {"epoch": int, "loss": float, "accuracy": float, "val_loss": float, "val_accuracy": float, "lr": float,
          "seconds": float, "best": bool}  # fmt: skip
"""The keys of an epoch's record."""


@dataclass
class State:
    """Everything that changes during training."""

    model: Module
    optimizer: Optimizer
    schedule: Schedule
    average: EMA | None
    batches: int
    """Batches in an epoch."""
    accumulate: int = 1
    progress: Progress = field(default_factory=Progress)
    metrics: list[dict] = field(default_factory=list)
    layers: list[dict] = field(default_factory=list)
    """The gradient report of this epoch, if it is switched on."""
    seconds: float = 0.0
    """Time spent on this epoch so far."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the optimiser in an epoch."""
        return -(-self.batches // self.accumulate)


def save(path: Path, state: State, config: Config, splits: Splits) -> None:
    """Write the state to a checkpoint. CheckpointError if that fails; the file is then unchanged."""
    arrays = {f"model.{name}": array for name, array in state.model.state_dict().items()}
    arrays |= {f"optimizer.{name}": array for name, array in state.optimizer.state_dict().items()}
    if state.average:
        arrays |= {f"average.{name}": array for name, array in state.average.state_dict().items()}
    checkpoint.save(path, arrays, {
        "config": asdict(config),
        "pictures": splits.fingerprint,
        "stamp": splits.stamp,
        "progress": asdict(state.progress),
        "seconds": state.seconds,
        "step": state.schedule.t,
        "averaged": state.average.t if state.average else 0,
        "random": rng.state(),
        "layers": state.layers,
        "metrics": state.metrics,
    })  # fmt: skip


def restore(path: Path, state: State, config: Config, splits: Splits, team: Alone | None = None) -> str:
    """Restore the checkpoint into a state that was built from the settings. ValueError if they do not fit together.

    team: the ranks, of which the first reads the file and compares the pictures.   Nothing changes without a file.
    → "", or a sentence about pictures that may have changed
    """
    team = team or Alone()
    arrays, values = checkpoint.load(path) if team.rank == 0 and path.exists() else ({}, {})
    arrays, values = _of_rank_0(team, arrays, values)
    if not values:
        return ""
    try:
        other = differences(config, _of(dict, values, "config"))
        if other:
            raise ValueError(f"it does not belong to the config.json in its folder: {other}")
        if team.rank == 0 and _of(str, values, "pictures") != _fingerprint(splits, values["format"]):
            raise ValueError(f"{config.dataset} has changed since the run started: restore its pictures, or "
                             "train again with --overwrite")  # fmt: skip
        progress = Progress(**{f.name: _of(float if f.name == "loss" else int, _of(dict, values, "progress"), f.name)
                               for f in fields(Progress)})  # fmt: skip
        metrics = [{**{name: _of(kind, record, name) for name, kind in RECORD.items()},
                    **({"layers": record["layers"]} if "layers" in record else {})}
                   for record in _of(list, values, "metrics")]  # fmt: skip
        step = _of(int, values, "step")
        expected = len(metrics) * state.steps_per_epoch + -(-progress.batches // state.accumulate)
        odd = min(asdict(progress).values()) < 0 or progress.images < progress.batches
        if odd or [record["epoch"] for record in metrics] != list(range(1, len(metrics) + 1)):
            raise ValueError(f"it contradicts itself: {progress}, after {len(metrics)} epochs")
        if step != expected or progress.batches > state.batches or len(metrics) > config.epochs:
            raise ValueError(f"it contradicts itself: step {step} is not batch {progress.batches} of epoch "
                             f"{len(metrics) + 1}, where {state.steps_per_epoch} steps are an epoch")  # fmt: skip
        state.model.load_state_dict(checkpoint.part(arrays, "model"))
        state.optimizer.load_state_dict(checkpoint.part(arrays, "optimizer"))
        if state.average:
            state.average.load_state_dict(checkpoint.part(arrays, "average"), _of(int, values, "averaged"))
        rng.restore(_of(dict, values, "random"))
        state.progress, state.metrics, state.seconds = progress, metrics, _of(float, values, "seconds")
        state.layers = _of(list, values, "layers")
        state.schedule.go_to(step)
        return _doubt(values.get("stamp", ""), config, splits) if team.rank == 0 else ""
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def _of_rank_0(team: Alone, arrays: dict[str, np.ndarray], values: dict) -> tuple[dict[str, np.ndarray], dict]:
    """(arrays, values) of rank 0, on every rank."""
    if team.size == 1:
        return arrays, values
    kinds = [(name, str(a.dtype), a.shape) for name, a in arrays.items()]
    kinds, values = json.loads(team.broadcast_bytes(json.dumps([kinds, values]).encode()))
    return {name: team.broadcast(np.array(arrays[name], order="C") if team.rank == 0 else np.empty(shape, dtype))
            for name, dtype, shape in kinds}, values  # fmt: skip


def _fingerprint(splits: Splits, version: int) -> str:
    return splits.names_fingerprint if version == 1 else splits.fingerprint


def _doubt(stamp: Any, config: Config, splits: Splits) -> str:
    if stamp in ("", splits.stamp):
        return ""
    return (f"the files of {config.dataset} have other times than when the run started; their names, sizes, beginnings "
            "and ends are the same, and the rest of them was not compared, because they are large")  # fmt: skip


def _of(kind: type, values, name: str):
    """values[name]. ValueError if it is missing or of another type."""
    if not isinstance(values, dict) or type(values.get(name)) is not kind:
        found = f"{json.dumps(values.get(name)):.60}" if isinstance(values, dict) else type(values).__name__
        raise ValueError(f"its entry {name!r} must be of type {kind.__name__}, not {found}: restore it from a copy, or "
                         "train again with --overwrite")  # fmt: skip
    if kind is float and not np.isfinite(values[name]):
        raise ValueError(f"its entry {name!r} must be a finite number, not {values[name]}")
    return values[name]
