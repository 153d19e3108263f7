"""The size of every layer's gradient, and the share of dead ReLUs.

A layer whose gradient is a thousandth of the others' hardly learns; one whose update is a tenth of its weights
oscillates. A feature map that is 0 everywhere after its ReLU, in all images, is dead: no gradient passes through it.
Glorot & Bengio 2010, §4; He et al. 2015 (PReLU), §2.2
"""

from __future__ import annotations

import math

import numpy as np

from minicnn.nn import Module, ReLU, ReLU6, watch
from minicnn.optim.clip import squared
from minicnn.tensor import Tensor, no_grad


def report(model: Module, x: Tensor) -> list[dict]:
    """One row for each layer with parameters, in order, from the gradients of the last step:

    {"layer": "features.3", "kind": "Conv2d", "gradient": ‖g‖, "weights": ‖θ‖, "dead": share of its dead maps or None}

    dead: of the first ReLU computed after the layer, for the images x (N,C,H,W), in eval mode. The model and the random
    generators do not change.
    """
    dead = _dead(model, x)
    rows = []
    for name, module in model.named_modules():
        own = [p for _, p in module.members() if isinstance(p, Tensor) and p.requires_grad]
        if own:
            gradient = math.sqrt(sum(squared(p.grad) for p in own if p.grad is not None))
            weights = math.sqrt(sum(squared(p.data) for p in own))
            rows.append({"layer": name, "kind": type(module).__name__, "gradient": gradient, "weights": weights,
                         "dead": dead.get(name)})  # fmt: skip
    return rows


def _dead(model, x) -> dict[str, float]:
    """{layer with parameters: the share of maps that the next ReLU leaves 0 everywhere}"""
    names = {id(module): name for name, module in model.named_modules()}
    found: dict[str, float] = {}
    last = ""

    def look(module, inputs, output):
        nonlocal last
        if isinstance(module, (ReLU, ReLU6)) and last:
            y = output.numpy()
            alive = (y > 0).any(tuple(a for a in range(y.ndim) if a != 1))    # (C,)
            found.setdefault(last, float(1 - np.mean(alive)))
            last = ""
        elif any(isinstance(member, Tensor) for _, member in module.members()):
            last = names[id(module)]

    with no_grad(), watch(look), model.evaluating():
        model(x)
    return found
