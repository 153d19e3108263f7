"""A net's state as a safetensors file, and the report of a state that does not fit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minicnn import atomic


@dataclass(frozen=True)
class LoadReport:
    """The arrays that did not fit when a state was loaded."""

    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]

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
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}: check the name and the folder")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as problem:
        raise ValueError(f"{path} is no complete safetensors file ({problem}): io.weights.load_into reads NumPy's and "
                         "PyTorch's formats") from None
    except (TypeError, AttributeError) as problem:  # a type that NumPy lacks, such as bfloat16
        raise ValueError(f"{path} holds arrays of a type that NumPy lacks ({problem}): io.weights.load_into reads "
                         "16-bit floats") from None
