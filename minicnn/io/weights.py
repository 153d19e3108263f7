"""Weights of any origin: safetensors, NumPy's .npz, and PyTorch's checkpoints, told apart by their content.

Reading never runs code and believes nothing: no name in a file is imported, no length is used before it is compared
with the file's size, and a file's arrays can't take more than four times its size and 32 MiB (arrays.FACTOR, FLOOR).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy

from minicnn import atomic
from minicnn.io import arrays, npz, safetensors_file, torch_file, zip_file
from minicnn.nn.module import LoadReport, Module

_OTHERS = {
    b"\x89HDF\r\n": "an HDF5 file, as Keras writes them",
    b"\x93NUMPY": "a single array without a name (.npy)",
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"version https://git-lfs": "only a pointer of Git LFS: fetch the file itself with `git lfs pull`",
    b"<": "a web page: the download failed",
}


def load_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """{name: array} of a weights file; what it is, its first bytes tell, not its name.

    16-bit floats become float32, which holds them exactly; everything else keeps its type. Of a PyTorch checkpoint that
    nests its tensors ("state_dict", "model", …) this is the inner state, without DataParallel's "module." before the
    names; its arrays share memory where the tensors did, and are views where those were. ValueError says in one
    sentence what is wrong with a file; OSError where it can't be opened.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no weights file {path}: check the name and the folder")
    with open(path, "rb") as file:
        begin = file.read(32)
        file.seek(0)
        allowance = arrays.Allowance(os.fstat(file.fileno()).st_size)
        try:
            if begin[:4] in (b"PK\3\4", b"PK\5\6"):
                archive = zip_file.Archive(file)
                if any(name.endswith("/data.pkl") for name in archive.sizes):
                    return torch_file.read_zip(archive, allowance)
                return npz.read(archive, allowance)
            if begin[8:9] == b"{":
                return safetensors_file.read(file, allowance)
            if begin[:1] == b"\x80":
                return torch_file.read_legacy(file, allowance)
            known = next((what for magic, what in _OTHERS.items() if begin.startswith(magic)), "something else")
            raise ValueError(f"expected weights (safetensors, .npz, or a PyTorch checkpoint), found {known}" if begin
                             else "it is empty: get it again")
        except ValueError as problem:
            raise ValueError(f"{path}: {problem}") from None


def save_weights(path: str | os.PathLike[str], state: Mapping[str, np.ndarray]) -> None:
    """Write {name: array} to a .safetensors or .npz file, whole or not at all. ValueError for all but real numbers."""
    path = Path(path)
    ready = {}
    for name, value in state.items():
        array = np.asarray(value, order="C")
        try:
            arrays.check_name(name)
            arrays.becomes(array.dtype.str)
        except ValueError as problem:
            raise ValueError(f"{path} can't be written, {arrays.short(name)}: {problem}") from None
        ready[name] = array.astype(array.dtype.newbyteorder("="), copy=False)
    if path.suffix == ".npz":
        atomic.write(path, npz.content(ready))
    elif path.suffix == ".safetensors":
        atomic.write(path, safetensors.numpy.save(ready))
    else:
        raise ValueError(f"{path} must end in .safetensors or .npz, the two formats that can be written")


def load_into(model: Module, path: str | os.PathLike[str], strict: bool = True, *,
              skip: str | Sequence[str] = ()) -> LoadReport:  # fmt: skip
    """Load a weights file into a model, apart from the parts in `skip`, which keep their values.

        load_into(models.build("squeezenet1_1", num_classes=5), "imagenet.npz", skip="classifier.1")

    skip: names of layers or parameters, with or without a final dot; all below them is passed over, in the model and in
    the file. strict: ValueError, and nothing is changed, unless the rest agrees exactly in names and shapes; otherwise
    what fits is loaded. The report says what is missing, unexpected and misshapen.
    """
    parts = [part.rstrip(".") for part in ([skip] if isinstance(skip, str) else skip)]

    def skipped(name):
        return any(name == part or name.startswith(f"{part}.") for part in parts)

    mine, state = model.state_dict(), load_weights(path)
    for part in parts:
        if not any(name == part or name.startswith(f"{part}.") for name in [*mine, *state]):
            raise ValueError(f"skip={part!r} names nothing, neither in this {type(model).__name__} nor in {path}: "
                             f"the parts are {', '.join(dict.fromkeys(n.split('.')[0] for n in mine))}")
    state = {name: array for name, array in state.items() if not skipped(name)}
    state |= {name: array for name, array in mine.items() if skipped(name)}
    try:
        return model.load_state_dict(state, strict=strict)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}; skip=(\"layer\", …) leaves parts out") from None
