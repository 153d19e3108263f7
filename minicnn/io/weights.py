"""Weights files: safetensors, NumPy's .npz and PyTorch checkpoints, recognised by their content, and ONNX files.

Reading never runs code: no name in a file is imported. Every length is compared with the size of the file before it is
used, and the arrays can't take more than four times that size plus 32 MiB (arrays.FACTOR, EXTRA).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import arguments, atomic
from minicnn.files import arrays, safetensors_file
from minicnn.io import npz, other_formats, torch_file, zip_file
from minicnn.io import prefix as prefixes
from minicnn.names import short
from minicnn.nn.module import Module
from minicnn.nn.state import LoadReport, compare

Wanted = Callable[[str, tuple[int, ...]], bool]
"""wanted(name, shape): whether the values of an array are read."""


def load_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """{name: array} of a weights file. The format is recognised by the first bytes, not by the file's name.

    16-bit floats become float32, which holds them exactly; other types are kept. In a PyTorch checkpoint the
    state dict may be nested ("state_dict", "model", …), and the prefix "module." of DataParallel is removed; arrays
    share memory where the tensors did. FileNotFoundError where there is no such file; ValueError, one sentence, where
    the file is damaged or of another format; OSError where it can't be opened.
    """
    return _read(path, lambda name, shape: True)


def weight_shapes(path: str | os.PathLike[str]) -> dict[str, tuple[int, ...]]:
    """{name: shape} of the arrays in a weights file, whose values are not read. Errors as `load_weights`."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, shape: tuple[int, ...]) -> bool:
        shapes[name] = shape
        return False

    _read(path, note)
    return shapes


def _read(path: str | os.PathLike[str], wanted: Wanted) -> dict[str, np.ndarray]:
    path = arguments.path(path)
    if path.is_dir():
        raise ValueError(f"{path}: expected a file of weights, found {other_formats.of_folder(path)}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no weights file {path}: check the name and the folder")
    if path.suffix.lower() == ".onnx":
        return _of_onnx(path, wanted)
    with open(path, "rb") as file:
        begin = file.read(1024)
        file.seek(0)
        budget = arrays.MemoryBudget(os.fstat(file.fileno()).st_size)
        try:
            if begin[:4] in (b"PK\3\4", b"PK\5\6"):
                return _read_zip(zip_file.Archive(file), budget, wanted)
            if begin[8:9] == b"{" and not begin.lstrip().startswith((b"{", b"[")):
                return safetensors_file.read(file, budget, wanted)[0]
            if begin[:1] == b"\x80":
                return torch_file.read_legacy(file, budget, wanted)
            raise ValueError(f"expected weights (safetensors, .npz, or a PyTorch checkpoint), found "
                             f"{other_formats.of_bytes(begin)}" if begin else "it is empty: get it again")
        except ValueError as problem:
            raise ValueError(f"{path}: {problem}") from None


def _of_onnx(path: Path, wanted: Wanted) -> dict[str, np.ndarray]:
    """The arrays of an ONNX file, under the names of the net that is read from it."""
    above = importlib.import_module("minicnn.io.onnx.read.classifier")         # when called: it is built on this file
    state = above.classifier(path, preprocess="none").net.named_state()
    return {name: tensor.numpy() for name, tensor in state if wanted(name, tensor.shape)}


def _read_zip(archive: zip_file.Archive, budget: arrays.MemoryBudget, wanted: Wanted) -> dict[str, np.ndarray]:
    if what := other_formats.of_zip(archive.sizes):
        raise ValueError(f"expected weights (.npz or a PyTorch checkpoint), found {what}")
    if any(name.endswith("/data.pkl") for name in archive.sizes):
        return torch_file.read_zip(archive, budget, wanted)
    return npz.read(archive, budget, wanted)


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
        import safetensors.numpy  # not at the top: reading needs only NumPy

        atomic.write(path, safetensors.numpy.save(ready))
    else:
        raise ValueError(f"{path} must end in .safetensors or .npz, the two formats that can be written")


def load_into(model: Module, path: str | os.PathLike[str], strict: bool = True, *,
              skip: str | Sequence[str] = (), prefix: str | None = None) -> LoadReport:  # fmt: skip
    """Load a weights file into a model, except the layers in `skip`, which keep their values.

        load_into(models.build("squeezenet1_1", num_classes=5), "imagenet.npz", skip="classifier.1")

    skip: names of layers or parameters, with or without a final dot; they and all below them are ignored, in the model
    and in the file.   prefix: "model.": only the arrays whose names begin with it are used, without it; by default a
    prefix is found by the model's own names, and taken off where a name has it.   strict: names and shapes of the rest
    must agree exactly, or ValueError is raised and nothing is changed; with strict=False what fits is loaded. The
    report lists what is missing, unexpected and misshapen, and has the prefix. Shapes are compared before values are
    read.
    """
    report, ours, skipped = _compared(model, path, skip, prefix)
    if strict and not report.ok:
        raise ValueError(f"{path}: the state does not fit this {type(model).__name__}: {report}; strict=False loads "
                         "what fits, skip=(\"layer\", …) leaves layers out, prefix=\"model.\" takes a prefix off")
    mine = {name: tensor.shape for name, tensor in model.named_state()}
    state = _read(path, lambda key, shape: key in ours and ours[key] not in skipped and mine.get(ours[key]) == shape)
    model.load_state_dict({ours[key]: array for key, array in state.items()}, strict=False)
    return report


def fit(model: Module, path: str | os.PathLike[str], *, skip: str | Sequence[str] = (),
        prefix: str | None = None) -> LoadReport:  # fmt: skip
    """The report of `load_into`, by the shapes alone: the model may have been built without values."""
    return _compared(model, path, skip, prefix)[0]


def _compared(model: Module, path: str | os.PathLike[str], skip: str | Sequence[str],
              prefix: str | None) -> tuple[LoadReport, dict[str, str], set[str]]:  # fmt: skip
    """(the report, {name in the file: name in the model}, the names that are skipped)"""
    arguments.instance("model", model, Module)
    if not isinstance(skip, (str, list, tuple)):
        raise TypeError(f"skip must be the name of a layer, or a list of names, not {short(skip)}")
    parts = [part.rstrip(".") for part in ([skip] if isinstance(skip, str) else skip)]
    mine, shapes = {name: tensor.shape for name, tensor in model.named_state()}, weight_shapes(path)
    prefix, ours = _renamed(path, model.current_names(shapes), mine, prefix)
    theirs = {name: shapes[key] for key, name in ours.items()}
    for part in parts:
        if not any(below(name, part) for name in [*mine, *theirs]):
            raise ValueError(f"skip={part!r} is neither in this {type(model).__name__} nor in {path}: "
                             f"its layers are {', '.join(dict.fromkeys(n.split('.')[0] for n in mine))}")
    skipped = {name for name in [*mine, *theirs] if any(below(name, part) for part in parts)}
    return compare({name: shape for name, shape in mine.items() if name not in skipped},
                   {name: shape for name, shape in theirs.items() if name not in skipped}, prefix), ours, skipped


def _renamed(path: str | os.PathLike[str], names: dict[str, str], mine: Mapping[str, Any],
             prefix: str | None) -> tuple[str, dict[str, str]]:
    """(the prefix, {name in the file: name in the model}). names: {name in the file: its current spelling}"""
    try:
        if prefix is not None:
            inside = prefixes.below(names.values(), prefix)
            return prefix, {name: inside[here] for name, here in names.items() if here in inside}
        prefix = prefixes.find(names.values(), mine)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
    return prefix, {name: here.removeprefix(prefix) for name, here in names.items()}


def below(name: str, part: str) -> bool:
    """Whether `name` is that of the layer or parameter `part`, or below it."""
    return name == part or name.startswith(f"{part}.")
