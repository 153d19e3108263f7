"""What every optimiser is: groups of parameters with settings, and a step over all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from minicnn import devices
from minicnn.contract import Array
from minicnn.nn import Parameter


class Optimizer:
    """params: Parameters, or groups `{"params": [...], "lr": 0.01}` whose settings override the optimiser's own."""

    def __init__(self, params: Iterable, **settings):
        given = list(params)
        in_groups = given and all(isinstance(g, dict) for g in given)
        groups: list[dict[str, Any]] = given if in_groups else [{"params": given}]
        for g in groups:
            if "params" not in g:
                raise ValueError(f"{type(self).__name__}: a group needs 'params', but this one has {', '.join(g)}: "
                                 'write {"params": [...], "lr": 0.01}')
        self.param_groups: list[dict[str, Any]] = [{**settings, **g, "params": list(g["params"])} for g in groups]
        self.state: dict[int, list[Array]] = {}
        """Arrays that an optimiser keeps for a parameter, by the parameter's id."""
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
        """Change every parameter that has a gradient."""
        for group in self.param_groups:
            settings = {k: v for k, v in group.items() if k != "params"}
            for p in group["params"]:
                if p.grad is not None and p.requires_grad:
                    self.update(p, **settings)

    def update(self, p: Parameter, **settings) -> None:
        """Change one parameter; every optimiser has its own."""
        raise NotImplementedError(f"{type(self).__name__} has no update method")

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def slots(self, p: Parameter, count: int) -> list[Array]:
        """`count` arrays like p that belong to it, zeros at first."""
        if id(p) not in self.state:
            self.state[id(p)] = [devices.of(p.data).xp.zeros_like(p.data) for _ in range(count)]
        return self.state[id(p)]
