"""A net's state as a safetensors file, and the report of a state that does not fit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minicnn import atomic
from minicnn.files import arrays, safetensors_file


@dataclass(frozen=True)
class LoadReport:
    """The arrays that did not fit when a state was loaded."""

    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]
    prefix: str = ""
    """What was taken off the names in the file."""

    @property
    def ok(self) -> bool:
        """Whether all arrays fitted."""
        return not (self.missing or self.unexpected or self.misshapen)

    def __str__(self) -> str:
        parts = []
        for what, names in (("missing", self.missing), ("unexpected", self.unexpected), ("misshapen", self.misshapen)):
            if names:
                more = f", … ({len(names)} in all)" if len(names) > 5 else ""
                parts.append(f"{what}: {', '.join(names[:5])}{more}")
        return "; ".join(parts) or "everything fits"


def compare(mine: Mapping[str, tuple[int, ...]], theirs: Mapping[str, tuple[int, ...]], prefix: str = "") -> LoadReport:
    """The report for a net's {name: shape} and those of a state; PyTorch's batch counters are ignored."""
    found = {name: shape for name, shape in theirs.items() if not name.endswith("num_batches_tracked")}
    return LoadReport(
        missing=[name for name in mine if name not in found],
        unexpected=[name for name in found if name not in mine],
        misshapen=[f"{name} is {found[name]}, must be {shape}" for name, shape in mine.items()
                   if name in found and found[name] != shape],
        prefix=prefix,
    )


def write_state(path: str | os.PathLike[str], state: Mapping[str, np.ndarray],
                metadata: dict[str, str] | None = None) -> None:
    """Write {name: array} and metadata {string: string} to a safetensors file, atomically."""
    from safetensors.numpy import save  # not at the top: `import minicnn` needs only NumPy

    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} in: make it first")
    atomic.write(path, save({name: np.ascontiguousarray(array) for name, array in state.items()}, metadata))


def read_state(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a safetensors file. ValueError if the file is of another format or damaged."""
    with _named(path), open(path, "rb") as file:
        return safetensors_file.read(file, arrays.MemoryBudget(os.fstat(file.fileno()).st_size))


def read_shapes(path: str | os.PathLike[str]) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """The shapes and the metadata of a safetensors file, whose arrays are not read. Errors as `read_state`."""
    with _named(path):
        return safetensors_file.shapes(path)


@contextlib.contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}: check the name and the folder")
    try:
        yield
    except ValueError as problem:
        raise ValueError(f"{path} is no complete safetensors file ({problem}): io.weights.load_into reads NumPy's and "
                         "PyTorch's formats") from None
