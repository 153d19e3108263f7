"""Weights files: safetensors, NumPy's .npz and PyTorch checkpoints, recognised by their content.

Reading never runs code: no name in a file is imported. Every length is compared with the size of the file before it is
used, and the arrays can't take more than four times that size plus 32 MiB (arrays.FACTOR, EXTRA).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
import safetensors.numpy

from minicnn import arguments, atomic
from minicnn.io import arrays, npz, safetensors_file, torch_file, zip_file
from minicnn.names import short
from minicnn.nn.module import LoadReport, Module

_OTHER_FORMATS = {
    b"\x89HDF\r\n": "an HDF5 file, as Keras writes them",
    b"\x93NUMPY": "a single array without a name (.npy)",
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself with `git lfs pull`",
    b"<": "a web page: the download failed",
}


def load_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """{name: array} of a weights file. The format is recognised by the first bytes, not by the file's name.

    16-bit floats become float32, which holds them exactly; other types are kept. In a PyTorch checkpoint the
    state dict may be nested ("state_dict", "model", …), and the prefix "module." of DataParallel is removed; arrays
    share memory where the tensors did. FileNotFoundError where there is no such file; ValueError, one sentence, where
    the file is damaged or of another format; OSError where it can't be opened.
    """
    path = arguments.path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no weights file {path}: check the name and the folder")
    with open(path, "rb") as file:
        begin = file.read(32)
        file.seek(0)
        budget = arrays.MemoryBudget(os.fstat(file.fileno()).st_size)
        try:
            if begin[:4] in (b"PK\3\4", b"PK\5\6"):
                archive = zip_file.Archive(file)
                if any(name.endswith("/data.pkl") for name in archive.sizes):
                    return torch_file.read_zip(archive, budget)
                return npz.read(archive, budget)
            if begin[8:9] == b"{":
                return safetensors_file.read(file, budget)[0]
            if begin[:1] == b"\x80":
                return torch_file.read_legacy(file, budget)
            known = next((what for magic, what in _OTHER_FORMATS.items() if begin.startswith(magic)), "another format")
            raise ValueError(f"expected weights (safetensors, .npz, or a PyTorch checkpoint), found {known}" if begin
                             else "it is empty: get it again")
        except ValueError as problem:
            raise ValueError(f"{path}: {problem}") from None


def save_weights(path: str | os.PathLike[str], state: Mapping[str, np.ndarray]) -> None:
    """Write {name: array} to a .safetensors or .npz file atomically. ValueError for anything but real numbers."""
    path = arguments.path(path)
    if not isinstance(state, Mapping):
        raise TypeError(f"{path} can't be written: state must map names to arrays, like model.state_dict(), and "
                        f"is a {type(state).__name__}")
    ready = {}
    for name, value in state.items():
        try:
            array = np.asarray(value, order="C")
            arrays.check_name(name)
            arrays.dtype_of(array.dtype.str)
        except ValueError as problem:
            raise ValueError(f"{path} can't be written, {short(name)}: {problem}") from None
        ready[name] = array.astype(array.dtype.newbyteorder("="), copy=False)
    if path.suffix == ".npz":
        atomic.write(path, npz.content(ready))
    elif path.suffix == ".safetensors":
        atomic.write(path, safetensors.numpy.save(ready))
    else:
        raise ValueError(f"{path} must end in .safetensors or .npz, the two formats that can be written")


def load_into(model: Module, path: str | os.PathLike[str], strict: bool = True, *,
              skip: str | Sequence[str] = ()) -> LoadReport:  # fmt: skip
    """Load a weights file into a model, except the layers in `skip`, which keep their values.

        load_into(models.build("squeezenet1_1", num_classes=5), "imagenet.npz", skip="classifier.1")

    skip: names of layers or parameters, with or without a final dot; they and all below them are ignored, in the model
    and in the file.   strict: names and shapes of the rest must agree exactly, or ValueError is raised and nothing is
    changed; with strict=False what fits is loaded. The report lists what is missing, unexpected and misshapen.
    """
    arguments.instance("model", model, Module)
    if not isinstance(skip, (str, list, tuple)):
        raise TypeError(f"skip must be the name of a layer, or a list of names, not {short(skip)}")
    parts = [part.rstrip(".") for part in ([skip] if isinstance(skip, str) else skip)]
    mine, state = model.state_dict(), load_weights(path)
    for part in parts:
        if not any(below(name, part) for name in [*mine, *state]):
            raise ValueError(f"skip={part!r} is neither in this {type(model).__name__} nor in {path}: "
                             f"its layers are {', '.join(dict.fromkeys(n.split('.')[0] for n in mine))}")
    skipped = {name for name in [*mine, *state] if any(below(name, part) for part in parts)}
    state = {name: array for name, array in state.items() if name not in skipped}
    state |= {name: array for name, array in mine.items() if name in skipped}
    try:
        return model.load_state_dict(state, strict=strict)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}; skip=(\"layer\", …) leaves layers out") from None


def below(name: str, part: str) -> bool:
    """Whether `name` is that of the layer or parameter `part`, or below it."""
    return name == part or name.startswith(f"{part}.")
