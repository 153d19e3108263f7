"""Stochastic gradient descent."""

from typing import Any

from minicnn import devices
from minicnn.nn import Parameter
from minicnn.optim.optimizer import Optimizer, Params


class SGD(Optimizer):
    """g ← g + λ·θ;   v ← μ·v + g;   θ ← θ − lr·v, or with nesterov θ ← θ − lr·(g + μ·v)

    lr the learning rate, μ = momentum, λ = weight_decay.   Polyak 1964; Nesterov 1983, as in Sutskever et al. 2013, §2.
    When lr changes, AlexNet's and PyTorch's forms differ: AlexNet's v includes lr, this one (PyTorch's) does not.
    """

    def __init__(self, params: Params, lr: float, momentum: float = 0.0, weight_decay: float = 0.0,
                 nesterov: bool = False):
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
        if any(group["nesterov"] and not group["momentum"] for group in self.param_groups):
            raise ValueError("SGD: nesterov needs a momentum above 0, such as momentum=0.9")

    def update(self, p: Parameter, **settings: Any) -> None:
        """One step of one parameter."""
        velocity = self.slots(p, 1)[0] if settings["momentum"] else None
        devices.of(p.data).sgd_update(p.data, p.grad, velocity, **settings)
