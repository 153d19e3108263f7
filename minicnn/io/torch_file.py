"""Reading PyTorch checkpoints without PyTorch and without running any code in them.

What lies beside the weights (settings, optimisers, objects of any class) is never needed, so it is never refused.

Since PyTorch 1.6 a checkpoint is a zip file: NAME/data.pkl is a pickle that describes tensors in storages, and
NAME/data/0, NAME/data/1, … are the bytes of the storages. Before, and still with
`_use_new_zipfile_serialization=False`, it was five pickles (a magic number, a version, the writer's machine, the value,
the keys of the storages) and then, for each storage, a uint64 count and the bytes. A tensor in the pickle is a call,

    torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, …),    the storage being a "persistent id"
    ("storage", torch.FloatStorage, key, device, count),

which gives a `TensorPlace` here. Tensors that share a storage in PyTorch share memory here.
Source of the layout: torch/serialization.py and torch/_utils.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import IO, Any

import numpy as np

from minicnn.files import arrays
from minicnn.files.arrays import DAMAGED
from minicnn.files.pickle_values import LIMIT, RESAVE, Global, OddKey, Reader, Unknown
from minicnn.io.torch_names import KNOWN, SIZES, Storage, TensorPlace
from minicnn.io.zip_file import Archive
from minicnn.names import short

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
STATE_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
"""The keys of the model's state dict in training states; the first one present is used."""
PREFIXES = ("module.", "_orig_mod.")
"""The prefixes that DataParallel and torch.compile add to every name."""
COUNTERS = {"n_averaged"}
"""What AveragedModel has beside the net, whose names begin with "module."."""


Wanted = Callable[[str, tuple[int, ...]], bool]


def read_zip(archive: Archive, budget: arrays.MemoryBudget, wanted: Wanted) -> dict[str, np.ndarray]:
    """{name: array} of a checkpoint in PyTorch's zip format, of the arrays that are wanted(name, shape)."""
    programs = [name for name in archive.sizes if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(programs) != 1 or archive.sizes[programs[0]] > LIMIT:
        raise ValueError(f"a checkpoint has one NAME/data.pkl of at most {LIMIT >> 20} MiB, and it has "
                         f"{len(programs)}, or a larger one: {RESAVE}")
    root = programs[0].removesuffix("data.pkl")
    _check_byte_order(_content(archive, f"{root}byteorder", 16) if f"{root}byteorder" in archive.sizes else b"little")
    checkpoint = _Checkpoint(_content(archive, programs[0], LIMIT), budget.file_size)
    state = _state(checkpoint.machine.value(), wanted)

    def load(storage: Storage) -> np.ndarray:
        entry = f"{root}data/{storage.key}"
        if archive.sizes.get(entry) != storage.count * arrays.itemsize(storage.code):
            raise ValueError(f"its storage {short(entry)} has {archive.sizes.get(entry, 'no')} bytes, not "
                             f"{storage.count * arrays.itemsize(storage.code)}: {DAMAGED}")
        with archive.open(entry) as stream:
            return arrays.read(stream, storage.code, storage.count, budget)

    loaded = {s.key: load(s) for s in {p.storage.key: p.storage for p in state.values()}.values()}
    return {name: _view(loaded[place.storage.key], place) for name, place in state.items()}


def read_legacy(file: IO[bytes], budget: arrays.MemoryBudget, wanted: Wanted) -> dict[str, np.ndarray]:
    """{name: array} of a checkpoint in the format before PyTorch 1.6, of the arrays that are wanted(name, shape)."""
    checkpoint = _Checkpoint(file.read(LIMIT), budget.file_size)
    value = checkpoint.machine.value
    if value() != MAGIC or value() != VERSION:
        raise ValueError(f"it is a pickle, but not a PyTorch checkpoint, and pickles can run code: {RESAVE}")
    system = value()
    _check_byte_order(b"big" if isinstance(system, dict) and system.get("little_endian") is False else b"little")
    state = _state(value(), wanted)
    keys = value()
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys) or len(set(keys)) != len(keys):
        raise ValueError(f"its list of storages is not a list of different texts: {DAMAGED}")
    needed = {place.storage.key for place in state.values()}
    loaded, position = {}, checkpoint.machine.position
    for key in keys:
        storage = checkpoint.storages.get(key)
        if storage is None or not storage.code:
            raise ValueError(f"it lists a storage {short(key)} " + ("that no tensor has" if storage is None else
                             "of an unknown type, so that the next can't be found") + f": {DAMAGED}")
        file.seek(position)
        count = int.from_bytes(arrays.read_bytes(file, 8), "little")
        position += 8 + count * arrays.itemsize(storage.code)
        if count != storage.count or position > budget.file_size:
            raise ValueError(f"its storage {short(key)} has {count} values, not {storage.count}, or is cut off: "
                             f"{DAMAGED}")
        if key in needed:
            loaded[key] = arrays.read(file, storage.code, count, budget)
    if needed - loaded.keys() or position != budget.file_size:
        raise ValueError(f"its storages are not exactly those of its tensors: {DAMAGED}")
    return {name: _view(loaded[place.storage.key], place) for name, place in state.items()}


class _Checkpoint:
    """The machine that reads its pickles, and the storages that they refer to."""

    def __init__(self, data: bytes, size: int):
        self.storages: dict[str, Storage] = {}
        self.machine = Reader(data, size, KNOWN, self._storage)

    def _storage(self, identity: Any) -> Any:
        if isinstance(identity, tuple) and identity[:1] == ("module",):        # a class, and its source as a text
            return next((part for part in identity if isinstance(part, Unknown)), Unknown("a class"))
        storage = self._read_storage(identity)
        if self.storages.setdefault(storage.key, storage) != storage:
            return replace(storage, problem=f"it has two different storages {short(storage.key)}: {DAMAGED}")
        return storage

    def _read_storage(self, identity: Any) -> Storage:
        fits = isinstance(identity, tuple) and len(identity) in (5, 6) and identity[0] == "storage"
        fits = fits and identity[5:] in ((), (None,))  # PyTorch up to 0.4 had a sixth, a view of a storage
        if not fits:
            return Storage("", "", 0, f"it refers to an object that is not a storage of numbers: {RESAVE}")
        _, kind, key, _, count, *_ = identity
        if not isinstance(key, str) or type(count) is not int or not 0 <= count < 2**48:
            return Storage("", "", 0, f"it has a storage {short(key)} of {short(count)} values: {DAMAGED}")
        if not isinstance(kind, Global) or kind.about is None:
            name = short(getattr(kind, "name", kind))
            return Storage(SIZES.get(getattr(kind, "name", ""), ""), key, count,
                           f"it refers to {name}, which is no storage of real numbers: convert the tensor to float32")
        return Storage(kind.about, key, count)


def _state(value: Any, wanted: Wanted) -> dict[str, TensorPlace]:
    """{name: place} of the tensors, also where a training script nested the state dict in other dictionaries."""
    seen: dict[int, bool] = {}  # a pickle can contain one dictionary a thousand times

    def has_tensors(item: Any) -> bool:
        if id(item) not in seen:
            seen[id(item)] = isinstance(item, dict) and any(map(_is_array, item.values()))
        return seen[id(item)]

    for _ in range(4):
        inner = {k: v for k, v in value.items() if has_tensors(v)} if isinstance(value, dict) else {}
        chosen = [name for name in STATE_KEYS if name in inner]
        if not chosen and not has_tensors(value) and len(inner) == 1:
            chosen = list(inner)
        elif not chosen and not inner and isinstance(value, dict):
            chosen = [name for name in STATE_KEYS if isinstance(value.get(name), dict)]
        if not chosen:
            break
        value = value[chosen[0]]
    if not isinstance(value, dict):
        kind = "single tensor" if isinstance(value, TensorPlace) else type(value).__name__
        kind = f"whole {value.name}" if isinstance(value, Unknown) else kind
        raise ValueError(f"it holds a {short_name(kind)}, not a state dict: {RESAVE}")
    strange = {key: v.name for key, v in value.items() if isinstance(v, Unknown)}
    for key, name in strange.items():
        if _is_array(value[key]):
            raise ValueError(f"its array {short(key)} is made by {short(name)}, and only dense tensors of real numbers "
                             f"can be read: convert it, then save the state dict again")
    state: dict[Any, TensorPlace] = {key: place for key, place in value.items() if isinstance(place, TensorPlace)}
    if value and not state:
        several = f"; {short(list(inner))} all hold tensors" if inner else ""
        objects = "".join(f"; {short(key)} is a {short(name)}" for key, name in list(strange.items())[:3])
        raise ValueError(f"it holds no tensors by name, but {short(list(value))}{several}{objects}: {RESAVE}")
    for key, place in state.items():
        if place.problem:
            raise ValueError(f"its array {short(key)} can't be read: {place.problem}")
    state = _without_wrappers(state)
    for name in state:
        if isinstance(name, OddKey):
            raise ValueError(f"it names an array {name.said}, which can't be the name of a parameter: rename it")
        arrays.check_name(name)
    return {name: place for name, place in state.items() if wanted(name, place.shape)}


def _is_array(value: Any) -> bool:
    """Whether it is a tensor, or the placeholder of a tensor or a NumPy array that can't be read."""
    if not isinstance(value, Unknown):
        return isinstance(value, TensorPlace)
    return value.name.partition(".")[0] in ("torch", "numpy") and ("_re" in value.name or "Tensor" in value.name)


def short_name(kind: str) -> str:
    """The name of a class, at most 80 characters, with what a terminal would act on as escapes."""
    return short(kind)[1:-1]


def _without_wrappers(state: dict[Any, TensorPlace]) -> dict[Any, TensorPlace]:
    """The names without the prefixes of DataParallel and torch.compile, and without AveragedModel's counter."""
    for prefix in PREFIXES * 2:  # each may be nested in the other
        inside = {name: place for name, place in state.items() if isinstance(name, str) and name.startswith(prefix)}
        if inside and not state.keys() - inside.keys() - COUNTERS:
            state = {name.removeprefix(prefix): place for name, place in inside.items()}
    return state


def _view(values: np.ndarray, place: TensorPlace) -> np.ndarray:
    if 0 in place.shape:
        return np.empty(place.shape, values.dtype)
    width = values.itemsize
    strides = [step * width if n > 1 else 0 for n, step in zip(place.shape, place.strides)]
    return np.ndarray(place.shape, values.dtype, values, place.offset * width, strides)


def _content(archive: Archive, name: str, limit: int) -> bytes:
    if archive.sizes[name] > limit:
        raise ValueError(f"its entry {short(name)} has over {limit} bytes: {DAMAGED}")
    with archive.open(name) as stream:
        return arrays.read_bytes(stream, archive.sizes[name])


def _check_byte_order(order: bytes) -> None:
    if order.strip() != b"little":
        raise ValueError(f"its byte order is {short(order.decode('latin-1'))}, and only 'little' can be read: "
                         "save it again on a little-endian machine")
