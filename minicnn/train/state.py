"""What of a run goes into its checkpoint, and back: everything that the settings alone do not say."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from minicnn import rng
from minicnn.train import checkpoint
from minicnn.train.config import differences
from minicnn.train.loop import Progress

RECORD = {"epoch": int, "loss": float, "accuracy": float, "val_loss": float, "val_accuracy": float, "lr": float,
          "seconds": float, "best": bool}  # fmt: skip
"""What is written down about an epoch."""


def save(run: Any) -> None:
    """Where a run.Run stands, to its last.ckpt. CheckpointError, and the file stays what it was, where that fails."""
    arrays = {f"model.{name}": array for name, array in run.model.state_dict().items()}
    arrays |= {f"optimizer.{name}": array for name, array in run.optimizer.state_dict().items()}
    if run.average:
        arrays |= {f"average.{name}": array for name, array in run.average.state_dict().items()}
    checkpoint.save(run.folder / checkpoint.NAME, arrays, {
        "config": asdict(run.config),
        "pictures": run.pictures.fingerprint,
        "progress": asdict(run.progress),
        "seconds": run.seconds,
        "step": run.schedule.t,
        "averaged": run.average.t if run.average else 0,
        "random": rng.state(),
        "layers": run.layers,
        "metrics": run.metrics,
    })  # fmt: skip


def restore(run: Any) -> None:
    """Put a run.Run that was built from its settings where its last.ckpt says. ValueError says why that can't be."""
    path = run.folder / checkpoint.NAME
    arrays, values = checkpoint.load(path)
    try:
        other = differences(run.config, _of(dict, values, "config"))
        if other:
            raise ValueError(f"it belongs to another run than the config.json beside it: {other}")
        if _of(str, values, "pictures") != run.pictures.fingerprint:
            raise ValueError(f"{run.config.dataset} holds other pictures than when the run began: put them back, or "
                             "train again with --overwrite")  # fmt: skip
        progress = Progress(**{f.name: _of(float if f.name == "loss" else int, _of(dict, values, "progress"), f.name)
                               for f in fields(Progress)})  # fmt: skip
        metrics = [{**{name: _of(kind, record, name) for name, kind in RECORD.items()},
                    **({"layers": record["layers"]} if "layers" in record else {})}
                   for record in _of(list, values, "metrics")]  # fmt: skip
        step = _of(int, values, "step")
        expected = len(metrics) * run.steps_per_epoch + -(-progress.batches // run.config.accumulate)
        odd = min(asdict(progress).values()) < 0 or progress.images < progress.batches
        if odd or [record["epoch"] for record in metrics] != list(range(1, len(metrics) + 1)):
            raise ValueError(f"it contradicts itself: {progress}, after {len(metrics)} epochs")
        if step != expected or progress.batches > len(run.loader) or len(metrics) > run.config.epochs:
            raise ValueError(f"it contradicts itself: step {step} is not batch {progress.batches} of epoch "
                             f"{len(metrics) + 1}, where {run.steps_per_epoch} steps are an epoch")  # fmt: skip
        run.model.load_state_dict(checkpoint.part(arrays, "model"))
        run.optimizer.load_state_dict(checkpoint.part(arrays, "optimizer"))
        if run.average:
            run.average.load_state_dict(checkpoint.part(arrays, "average"), _of(int, values, "averaged"))
        rng.restore(_of(dict, values, "random"))
        run.progress, run.metrics, run.seconds = progress, metrics, _of(float, values, "seconds")
        run.layers = _of(list, values, "layers")
        run.schedule.go_to(step)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def _of(kind: type, values, name: str):
    """values[name], if it is there and of that kind."""
    if not isinstance(values, dict) or type(values.get(name)) is not kind:
        found = f"{json.dumps(values.get(name)):.60}" if isinstance(values, dict) else type(values).__name__
        raise ValueError(f"its entry {name!r} must be of type {kind.__name__}, not {found}: take it from a copy, or "
                         "train again with --overwrite")  # fmt: skip
    if kind is float and not np.isfinite(values[name]):
        raise ValueError(f"its entry {name!r} must be a finite number, not {values[name]}")
    return values[name]
