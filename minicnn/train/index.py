"""The index of a folder or of tar shards, read by rank 0 alone: a file server would list it for each rank."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minicnn.data import Splits
from minicnn.data.folder import Files
from minicnn.data.shards import Shards
from minicnn.ranks import Alone

PARTS = ("train", "validation", "test")


def of_rank_0(load: Callable[[], Splits], team: Alone) -> Splits:
    """load() on rank 0; on the others the same splits, whose files they must find under the same paths."""
    if team.size == 1:
        return load()
    splits = load() if team.rank == 0 else None
    told = json.loads(team.broadcast_bytes(json.dumps(_described(splits)).encode() if splits else b""))
    parts = {name: _received(about, getattr(splits, name, None), team) for name, about in told["parts"].items()}
    if splits is not None:
        return splits
    return Splits(told["name"], tuple(told["classes"]), parts["train"], parts.get("validation"), parts.get("test"),
                  augment=told["augment"], notes=tuple(told["notes"]))  # fmt: skip


def _described(splits: Splits) -> dict:
    """What JSON can store of the splits: their names and files, and not their labels and places."""
    parts = {name: part for name in PARTS if (part := getattr(splits, name)) is not None}
    return {"name": splits.name, "classes": splits.classes, "augment": splits.augment, "notes": splits.notes,
            "parts": {name: _files(part) for name, part in parts.items()}}  # fmt: skip


def _files(part: Files | Shards) -> dict:
    if isinstance(part, Shards):
        return {"names": part.names, "paths": [str(path) for path in part.paths]}
    return {"names": part.names, "root": str(part.root)}


def _received(about: dict, part: Any, team: Alone) -> Files | Shards:
    """A split on every rank.   part: the split on rank 0, None on the others"""
    names, count = tuple(about["names"]), len(about["names"])
    labels = team.broadcast(np.array(part.labels) if part is not None else np.empty(count, np.int64))
    if "root" in about:
        return Files(Path(about["root"]), names, labels)
    places = team.broadcast(np.array(part.places) if part is not None else np.empty((count, 3), np.int64))
    return Shards(tuple(map(Path, about["paths"])), names, places, labels)
