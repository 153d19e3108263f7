"""Reading PyTorch checkpoints without PyTorch and without running any code in them.

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

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from minicnn.io import arrays
from minicnn.io.arrays import DAMAGED
from minicnn.io.pickle_values import LIMIT, RESAVE, Global, Machine, as_key
from minicnn.io.zip_file import Archive
from minicnn.names import short

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
STATE_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
"""The keys of the model's state dict in training states; the first one present is used."""
PREFIXES = ("module.", "_orig_mod.")
"""The prefixes that DataParallel and torch.compile add to every name."""


@dataclass(frozen=True)
class Storage:
    """Consecutive values in the file."""

    code: str
    key: str
    count: int


@dataclass(frozen=True)
class TensorPlace:
    """The position of a tensor's values in its storage; offset and strides count values, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_zip(archive: Archive, budget: arrays.MemoryBudget) -> dict[str, np.ndarray]:
    """{name: array} of a checkpoint in PyTorch's zip format."""
    programs = [name for name in archive.sizes if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(programs) != 1 or archive.sizes[programs[0]] > LIMIT:
        raise ValueError(f"a checkpoint has one NAME/data.pkl of at most {LIMIT >> 20} MiB, and it has "
                         f"{len(programs)}, or a larger one: {RESAVE}")
    root = programs[0].removesuffix("data.pkl")
    _check_byte_order(_content(archive, f"{root}byteorder", 16) if f"{root}byteorder" in archive.sizes else b"little")
    checkpoint = _Checkpoint(_content(archive, programs[0], LIMIT), budget.file_size)
    state = _state(checkpoint.machine.value())

    def load(storage: Storage) -> np.ndarray:
        entry = f"{root}data/{storage.key}"
        if archive.sizes.get(entry) != storage.count * arrays.itemsize(storage.code):
            raise ValueError(f"its storage {short(entry)} has {archive.sizes.get(entry, 'no')} bytes, not "
                             f"{storage.count * arrays.itemsize(storage.code)}: {DAMAGED}")
        with archive.open(entry) as stream:
            return arrays.read(stream, storage.code, storage.count, budget)

    loaded = {s.key: load(s) for s in {p.storage.key: p.storage for p in state.values()}.values()}
    return {name: _view(loaded[place.storage.key], place) for name, place in state.items()}


def read_legacy(file: IO[bytes], budget: arrays.MemoryBudget) -> dict[str, np.ndarray]:
    """{name: array} of a checkpoint in the format before PyTorch 1.6."""
    checkpoint = _Checkpoint(file.read(LIMIT), budget.file_size)
    value = checkpoint.machine.value
    if value() != MAGIC or value() != VERSION:
        raise ValueError(f"it is a pickle, but not a PyTorch checkpoint, and pickles can run code: {RESAVE}")
    system = value()
    _check_byte_order(b"big" if isinstance(system, dict) and system.get("little_endian") is False else b"little")
    state = _state(value())
    keys = value()
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys) or len(set(keys)) != len(keys):
        raise ValueError(f"its list of storages is not a list of different texts: {DAMAGED}")
    needed = {place.storage.key for place in state.values()}
    loaded, position = {}, checkpoint.machine.position
    for key in keys:
        storage = checkpoint.storages.get(key)
        if storage is None:
            raise ValueError(f"it lists a storage {short(key)} that no tensor has: {DAMAGED}")
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
        self.machine = Machine(data, size, _KNOWN, self._storage)

    def _storage(self, identity: Any) -> Storage:
        fits = isinstance(identity, tuple) and len(identity) in (5, 6) and identity[0] == "storage"
        fits = fits and identity[5:] in ((), (None,))  # PyTorch up to 0.4 had a sixth, a view of a storage
        if not fits or not isinstance(identity[1], Global) or identity[1].about is None:
            raise ValueError(f"it refers to an object that is not a storage of numbers: {RESAVE}")
        _, kind, key, _, count, *_ = identity
        if not isinstance(key, str) or type(count) is not int or not 0 <= count < 2**48:
            raise ValueError(f"it has a storage {short(key)} of {short(count)} values: {DAMAGED}")
        storage = Storage(kind.about, key, count)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"it has two different storages {short(key)}: {DAMAGED}")
        return storage


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *flags_and_hooks: Any) -> TensorPlace:
    """The place of a tensor, checked to be within its storage; gradient flags and hooks are ignored."""
    if not isinstance(storage, Storage) or type(offset) is not int or offset < 0:
        raise TypeError
    for numbers in (shape, strides):
        arrays.check_shape(numbers)
    if len(shape) != len(strides) or len(flags_and_hooks) > 3:
        raise TypeError
    count = math.prod(shape)
    end = offset + sum((n - 1) * step for n, step in zip(shape, strides)) + 1 if count else 0
    if end > storage.count or count > storage.count:  # more values than the storage has: an expanded tensor
        raise ValueError(f"it has a tensor of shape {short(shape)} beyond its storage of {storage.count} values, or "
                         f"expanded: in PyTorch, save its .contiguous() copy, or get the file again")
    return TensorPlace(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: Any, requires_grad: Any, hooks: Any) -> TensorPlace:
    """A parameter is saved as a call with its tensor."""
    if not isinstance(tensor, TensorPlace):
        raise TypeError
    return tensor


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    if not isinstance(pairs, (list, tuple)) or not all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs):
        raise TypeError
    return {as_key(key): value for key, value in pairs}


def _size(axes: Any) -> tuple[int, ...]:
    arrays.check_shape(axes)
    return tuple(axes)


def _known(calls: dict[str, Callable[..., Any]], storages: dict[str, str]) -> dict[str, Global]:
    return {name: Global(name, call) for name, call in calls.items()} | {
        f"torch.{kind}Storage": Global(f"torch.{kind}Storage", about=code) for kind, code in storages.items()
    }


_KNOWN = _known(
    {
        "collections.OrderedDict": _ordered,
        "torch._utils._rebuild_tensor": _rebuild_tensor,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils._rebuild_parameter": _rebuild_parameter,
        "torch.Size": _size,
    },
    {"Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": arrays.BFLOAT16, "Long": "<i8", "Int": "<i4",
     "Short": "<i2", "Char": "|i1", "Byte": "|u1", "Bool": "|b1"},
)  # fmt: skip


def _state(value: Any) -> dict[str, TensorPlace]:
    """{name: place} of the tensors, also where a training script nested the state dict in other dictionaries."""
    seen: dict[int, bool] = {}  # a pickle can contain one dictionary a thousand times

    def has_tensors(item: Any) -> bool:
        if id(item) not in seen:
            seen[id(item)] = isinstance(item, dict) and any(isinstance(v, TensorPlace) for v in item.values())
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
        raise ValueError(f"it holds a {kind}, not a state dict: {RESAVE}")
    state = {name: place for name, place in value.items() if isinstance(place, TensorPlace)}
    if value and not state:
        several = f"; {short(list(inner))} all hold tensors" if inner else ""
        raise ValueError(f"it holds no tensors by name, but {short(list(value))}{several}: {RESAVE}")
    for prefix in PREFIXES * 2:  # each may be nested in the other
        if state and all(isinstance(name, str) and name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): place for name, place in state.items()}
    for name in state:
        arrays.check_name(name)
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
