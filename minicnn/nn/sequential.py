"""Layers in sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, overload

from minicnn.nn.module import Module
from minicnn.tensor import Tensor


class Sequential(Module):
    """Applies layers in sequence: `Sequential(a, b)` names them "0" and "1", `Sequential({"conv": a})` "conv".

    net[0], net[-1] and net["conv"] are layers, net[1:] is a Sequential; net.conv is net["conv"]. Assigning to
    net[0], net["conv"] or net.conv replaces the layer under the same name.
    """

    layers: dict[str, Module]

    def __init__(self, *layers: Module | dict[str, Any]):
        given = layers[0] if len(layers) == 1 and isinstance(layers[0], dict) else None
        named: dict[Any, Any] = {str(i): x for i, x in enumerate(layers)} if given is None else given
        for name, layer in named.items():
            if not isinstance(layer, Module):
                raise TypeError(f"Sequential: layer {name} must be a Module, not a {type(layer).__name__}")
            if not isinstance(name, str) or not name or "." in name:
                raise TypeError(f"Sequential: the name {name!r} must be a string without dots: it is part of the names "
                                "in the state")
            if hasattr(type(self), name) or name == "layers":
                raise ValueError(f"Sequential: the name {name!r} is already an attribute of a {type(self).__name__}: "
                                 "choose another")
        self.layers = dict(named)

    def members(self) -> Iterator[tuple[str, Tensor | Module]]:
        """The layers under their own names, then the members of other attributes."""
        for name, member in super().members():
            yield name.removeprefix("layers."), member

    def forward(self, x: Tensor) -> Tensor:
        """Apply every layer in order."""
        for layer in self.layers.values():
            x = layer(x)
        return x

    def __getattr__(self, name: str) -> Any:
        layers = vars(self).get("layers", {})  # absent while an object is copied or unpickled
        if name in layers:
            return layers[name]
        raise AttributeError(f"this {type(self).__name__} has no layer and no attribute {name!r}: its layers are "
                             f"{', '.join(layers) or 'none'}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self).get("layers", {}):
            self[name] = value
        else:
            super().__setattr__(name, value)

    @overload
    def __getitem__(self, index: int | str) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | str | slice) -> Any:
        """The layer with this number or name; for a slice, a Sequential of these layers."""
        if isinstance(index, slice):
            return Sequential(dict(list(self.layers.items())[index]))
        return self.layers[index] if isinstance(index, str) else list(self.layers.values())[index]

    def __setitem__(self, index: int | str, layer: Module) -> None:
        """Replace the layer with this number or name."""
        name = index if isinstance(index, str) else list(self.layers)[index]
        if name not in self.layers:
            raise KeyError(f"there is no layer {name!r} to replace: the layers are {', '.join(self.layers)}")
        if not isinstance(layer, Module):
            raise TypeError(f"Sequential: layer {name} must be a Module, not a {type(layer).__name__}")
        self.layers[name] = layer

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers.values())
