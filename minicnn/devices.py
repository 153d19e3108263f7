"""Who computes: finds the keeper of a name or of an array. The only file that knows every keeper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from minicnn import cpu, meta
from minicnn.contract import Array, Device
from minicnn.names import unknown

_keepers: dict[str, Device] = {"cpu": cpu, "meta": cast(Device, meta)}
"""The devices in use, by name. "meta" knows shapes but no values: what `inspect.summary` runs a net on."""

NAMES = ("cpu", "auto")
"""What `get` understands."""


def get(name: str) -> Device:
    """The device called `name`: "cpu", or "auto" for the fastest one that this machine has."""
    if name == "auto":
        return cpu
    if name in _keepers:
        return _keepers[name]
    if name.split(":")[0] == "cuda":
        raise ValueError(f"device {name!r} is not usable: {why_no_gpu()}. Use 'cpu' or 'auto'")
    raise ValueError(unknown("device", name, NAMES))


def find(value: Array) -> Device | None:
    """The device that an array lives on; None for what is no array: a number, a list."""
    return next((device for device in _keepers.values() if isinstance(value, device.xp.ndarray)), None)


def of(array: Array) -> Device:
    """The device that an array lives on, or a TypeError."""
    device = find(array)
    if device is None:
        raise TypeError(f"{type(array).__name__} is not an array of any device: wrap the values in a Tensor")
    return device


def borrows(array: Array, others: Sequence[Array]) -> bool:
    """Whether `array` lies in the memory of one of `others`, or fills only a part of its own, or that several times."""
    own = _owner(array)
    return own.nbytes != array.nbytes or any(own is _owner(other) for other in others)


def _owner(array: Array) -> Array:
    """The array whose memory this one is a view of: itself, where it is no view of an array (but of bytes, say)."""
    return array if find(array.base) is None else _owner(array.base)


def available() -> list[str]:
    """The names of the devices that can compute here."""
    return [name for name in _keepers if name != "meta"]


def why_no_gpu() -> str:
    """One sentence: why nothing can be computed on a GPU."""
    return "this version of minicnn computes on the CPU alone"
