"""The base class of the optimisers: groups of parameters with settings, and a step over all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from minicnn import devices
from minicnn.device import Array
from minicnn.nn import Parameter
from minicnn.nn.settings_text import sizes

Params = Iterable[Parameter] | Iterable[dict[str, Any]]
"""Parameters, or groups of them with their own settings."""


class Optimizer:
    """params: Parameters, or groups `{"params": [...], "lr": 0.01}` whose settings override the optimiser's own."""

    def __init__(self, params: Params, **settings: Any):
        given: list[Any] = list(params)
        in_groups = given and all(isinstance(g, dict) for g in given)
        groups: list[dict[str, Any]] = given if in_groups else [{"params": given}]
        for g in groups:
            if "params" not in g:
                raise ValueError(f"{type(self).__name__}: a group needs 'params', but this one has {', '.join(g)}: "
                                 'write {"params": [...], "lr": 0.01}')
        self.param_groups: list[dict[str, Any]] = [{**settings, **g, "params": list(g["params"])} for g in groups]
        self.state: dict[int, list[Array]] = {}
        """The arrays that the optimiser stores for each parameter, by the parameter's id."""
        everything = [p for g in self.param_groups for p in g["params"]]
        for p in everything:
            if not isinstance(p, Parameter):
                raise TypeError(f"{type(self).__name__}: params must be Parameters, not {type(p).__name__}: "
                                "pass model.parameters()")
        if not everything:
            raise ValueError(f"{type(self).__name__}: there is nothing to optimise: pass model.parameters()")
        if len({id(p) for p in everything}) < len(everything):
            raise ValueError(f"{type(self).__name__}: a parameter is given twice: each belongs to one group")
        for g in self.param_groups:
            for key, value in g.items():
                if key not in settings and key != "params":
                    raise ValueError(f"{type(self).__name__}: unknown setting {key!r} in a group: "
                                     f"use {', '.join(settings)}")
                if key in ("lr", "eps", "weight_decay", "momentum") and not (0 <= value < math.inf):
                    raise ValueError(f"{type(self).__name__}: {key} (={value}) must be a number of at least 0")

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            settings = {k: v for k, v in group.items() if k != "params"}
            for p in group["params"]:
                if p.grad is not None and p.requires_grad:
                    self.update(p, **settings)

    def update(self, p: Parameter, **settings: Any) -> None:
        """Update one parameter; implemented by each optimiser."""
        raise NotImplementedError(f"{type(self).__name__} has no update method")

    def zero_grad(self) -> None:
        """Set the gradients to None."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def slots(self, p: Parameter, count: int) -> list[Array]:
        """The `count` arrays of p's shape that the optimiser stores for p, initially zeros."""
        if id(p) not in self.state:
            self.state[id(p)] = [devices.of(p.data).xp.zeros_like(p.data) for _ in range(count)]
        return self.state[id(p)]

    def state_dict(self) -> dict[str, Any]:
        """{"3.0": array, …}: NumPy copies of the stored arrays; "3.0" is array 0 of parameter 3.

        The settings are not included: they come from the constructor and the schedule.
        """
        numbered = enumerate(p for group in self.param_groups for p in group["params"])
        return {f"{i}.{k}": np.array(devices.of(array).to_numpy(array))
                for i, p in numbered for k, array in enumerate(self.state.get(id(p), ()))}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`; ValueError if it belongs to other parameters or another kind of optimiser."""
        params = [p for group in self.param_groups for p in group["params"]]
        found: dict[int, dict[int, Any]] = {}
        for name, array in state.items():
            number, _, slot = name.partition(".")
            if not (number.isdecimal() and slot.isdecimal() and int(number) < len(params)):
                raise ValueError(f"the optimiser has {len(params)} parameters, and array {name!r} belongs to none")
            if array.shape != params[int(number)].shape:
                raise ValueError(f"the optimiser's array {name} has shape {array.shape}, but its parameter "
                                 f"{params[int(number)].shape}")  # fmt: skip
            found.setdefault(int(number), {})[int(slot)] = array
        for i, arrays in found.items():
            if set(arrays) != set(range(len(arrays))):
                raise ValueError(f"the optimiser's arrays of parameter {i} are incomplete")
        self.state.clear()
        for i, arrays in found.items():
            for k, kept in enumerate(self.slots(params[i], len(arrays))):
                kept[...] = devices.of(kept).asarray(arrays[k], kept.dtype)

    def __repr__(self) -> str:
        kind, lines = type(self).__name__, []
        for group in self.param_groups:
            text = ", ".join(f"{key}={value!r}" for key, value in group.items() if key != "params")
            lines.append(f"{text}; {sizes(group['params'])}")
        if len(lines) == 1:
            return f"{kind}({lines[0]})"
        return f"{kind}({''.join(f'{chr(10)}  (group {i}): {line}' for i, line in enumerate(lines))}\n)"
