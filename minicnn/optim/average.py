"""A running average of the weights during training: smoother than the weights themselves, and often better."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from minicnn import devices
from minicnn.nn import Module
from minicnn.nn.settings_text import sizes


class EMA:
    """avg ← d·avg + (1 − d)·θ after each step, d = min(decay, (1 + t)/(10 + t)), t = 1, 2, … the updates.

        average = EMA(model, 0.999)
        for ...:  ...;  optimizer.step();  average.update()
        with average.applied():  evaluate(model, ...)         # the average inside the block, the weights after it

    Without the second term of d the random initial weights would dominate the first 1/(1 − decay) steps. Buffers
    (running statistics) are averages already and are not changed.   Polyak & Juditsky 1992; Tarvainen &
    Valpola 2017; d as in TensorFlow's ExponentialMovingAverage
    """

    def __init__(self, model: Module, decay: float = 0.999):
        if not 0 < decay < 1:
            raise ValueError(f"decay (={decay}) must be between 0 and 1, such as 0.999")
        self.parameters, self.decay, self.t = model.parameters(), decay, 0
        self.average = [p.data.copy() for p in self.parameters]

    def update(self) -> None:
        """Add the current weights to the average."""
        self.t += 1
        d = min(self.decay, (1 + self.t) / (10 + self.t))
        for mean, p in zip(self.average, self.parameters):
            mean *= d
            mean += (1 - d) * p.data

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the `with` block the model's weights are the average."""
        own = [p.data for p in self.parameters]
        try:
            for p, mean in zip(self.parameters, self.average):
                p.data = mean
            yield
        finally:
            for p, data in zip(self.parameters, own):
                p.data = data

    def state_dict(self) -> dict[str, Any]:
        """{"0": array, …} in the order of the parameters; save `t` with it."""
        return {str(i): devices.of(mean).to_numpy(mean) for i, mean in enumerate(self.average)}

    def load_state_dict(self, state: dict[str, Any], t: int) -> None:
        """Restore a `state_dict`; ValueError if it belongs to another model."""
        if state.keys() != self.state_dict().keys():
            raise ValueError(f"the average has {len(state)} arrays, but the model {len(self.average)} parameters")
        for i, mean in enumerate(self.average):
            if state[str(i)].shape != mean.shape:
                raise ValueError(f"the average of parameter {i} has shape {state[str(i)].shape}, must be {mean.shape}")
        for i, mean in enumerate(self.average):
            mean[...] = devices.of(mean).asarray(state[str(i)], mean.dtype)
        self.t = t

    def __repr__(self) -> str:
        return f"EMA(decay={self.decay}, t={self.t}; {sizes(self.parameters)})"
