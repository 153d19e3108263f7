"""Adam and AdamW."""

from typing import Any

import numpy as np

from minicnn import devices
from minicnn.nn import Parameter
from minicnn.optim.optimizer import Optimizer, Params


class Adam(Optimizer):
    """m ← β₁·m + (1 − β₁)·g;   v ← β₂·v + (1 − β₂)·g²;   θ ← θ − lr·m̂/(√v̂ + ε),   m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ)

    weight_decay λ is added to the gradient, g ← g + λ·θ (in AdamW it is not).   Kingma & Ba 2014, algorithm 1
    """

    decoupled = False

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0.0):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        for given in (group["betas"] for group in self.param_groups):
            if len(given) != 2 or not all(0 <= b < 1 for b in given):
                raise ValueError(f"{type(self).__name__}: betas {given} must be two numbers of at least 0 and below 1")
        self.steps: dict[int, int] = {}

    def update(self, p: Parameter, **settings: Any) -> None:
        """One step of one parameter."""
        beta1, beta2 = settings.pop("betas")
        t = self.steps[id(p)] = self.steps.get(id(p), 0) + 1
        m, v = self.slots(p, 2)
        devices.of(p.data).adam_update(p.data, p.grad, m, v, beta1=beta1, beta2=beta2, **settings,
                                       decoupled=self.decoupled, step=t)  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Also "3.steps": the number of steps of parameter 3."""
        numbered = enumerate(p for group in self.param_groups for p in group["params"])
        steps = {f"{i}.steps": np.array(self.steps[id(p)]) for i, p in numbered if id(p) in self.steps}
        return {**super().state_dict(), **steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`; ValueError if it belongs to other parameters or another kind of optimiser."""
        steps = {name.removesuffix(".steps"): count for name, count in state.items() if name.endswith(".steps")}
        super().load_state_dict({name: array for name, array in state.items() if not name.endswith(".steps")})
        params = [p for group in self.param_groups for p in group["params"]]
        if steps.keys() != {str(i) for i, p in enumerate(params) if id(p) in self.state} or not all(
            count.shape == () and count.dtype.kind == "i" and count > 0 for count in steps.values()
        ):
            raise ValueError("the optimiser's state has step counts and arrays for different parameters")
        self.steps = {id(params[int(i)]): int(count) for i, count in steps.items()}


class AdamW(Adam):
    """Adam with decoupled weight decay: θ ← (1 − lr·λ)·θ first, and no λ in the gradient.   Loshchilov & Hutter 2017"""

    decoupled = True

    def __init__(self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0.01):
        super().__init__(params, lr, betas, eps, weight_decay)
