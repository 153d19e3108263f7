"""The state of a training run in one file, last.ckpt.

It is a safetensors file, so reading it can't run code. The arrays are

    model.<name>         weights and running statistics
    optimizer.<i>.<k>    the optimiser's state for parameter i
    average.<i>          the average of the weights, if there is one

and the metadata's entry "minicnn-checkpoint" is JSON: the settings, the progress (epoch, batch, sums), the
schedule's step, the state of the random numbers, the metrics, and a SHA-256 of all these and of the arrays. The order
of the images and their augmentation depend only on the seed, the epoch and the batch, so this is enough to resume bit
for bit.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from minicnn import atomic
from minicnn.files.arrays import CHECKED, free_memory

FORMAT = 2
"""Format 1 has no checksum, and its fingerprint of the data covers only names and labels; it can still be read."""
NAME = "last.ckpt"
KEY = "minicnn-checkpoint"


class CheckpointError(OSError):
    """A checkpoint could not be written; the message says why, and whether an earlier one exists."""


def save(path: Path, arrays: dict[str, np.ndarray], values: dict) -> None:
    """Write a checkpoint atomically. CheckpointError if that fails; the previous one is then unchanged."""
    arrays = {name: np.asarray(a, order="C") for name, a in arrays.items()}
    values = {"format": FORMAT, **values}
    text = json.dumps({**values, "checksum": checksum(arrays, values)})
    import safetensors.numpy  # not at the top: a net trains without checkpoints, too

    content = safetensors.numpy.save(arrays, {KEY: text})
    try:
        atomic.write(path, content)
    except OSError as problem:
        rest = "the previous checkpoint is intact" if path.exists() else "there is no checkpoint yet"
        raise CheckpointError(
            f"{path} can't be written ({problem.strerror or problem}), {len(content):,} bytes: free some space or "
            f"allow writing, then continue with `minicnn train --resume {path.parent}`; {rest}"
        ) from None


def checksum(arrays: dict[str, np.ndarray], values: dict) -> str:
    """SHA-256 of the values as JSON, then of each array's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(values).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def load(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """(arrays, values) of a checkpoint. ValueError, one sentence, if it is damaged, not a checkpoint, or too new."""
    if (size := path.stat().st_size) > CHECKED and size > (free := free_memory()):
        raise ValueError(f"{path} has {size / 2**30:.1f} GiB, and this machine has {free / 2**30:.1f} GiB of memory "
                         f"left: free some; {_NEW}")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            text = (file.metadata() or {}).get(KEY)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    except SafetensorError as problem:
        raise ValueError(f"{path} is not a complete checkpoint ({problem}): {_NEW}") from None
    except (TypeError, AttributeError) as problem:  # types that NumPy lacks
        raise ValueError(f"{path} holds arrays that NumPy does not support ({problem}): {_NEW}") from None
    if text is None:
        raise ValueError(f"{path} is not a checkpoint of a training run: its metadata has no entry {KEY!r}; {_NEW}")
    try:
        values = json.loads(text)
        version, stored = values["format"], values.pop("checksum", None)
        found = checksum(arrays, values) if stored is not None or version == FORMAT else None
    except (AttributeError, KeyError, TypeError, RecursionError, ValueError) as problem:
        raise ValueError(f"{path}: its metadata can't be read ({problem}): {_NEW}") from None
    if version not in (1, FORMAT):
        raise ValueError(f"{path} has format {version!r}, and this minicnn reads format {FORMAT}: update minicnn")
    if found != stored:
        raise ValueError(f"{path} is damaged: its checksum does not match its content; {_NEW}")
    return arrays, values


_NEW = "restore it from a copy, or train again with --overwrite"


def part(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `name.`, without that prefix."""
    return {key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")}
