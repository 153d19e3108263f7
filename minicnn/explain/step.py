"""One step of gradient descent: the loss, a gradient with its finite difference, the weight before and after, the loss
after.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.explain import show
from minicnn.explain.answer import Answer, Panel, finite
from minicnn.names import short, unknown
from minicnn.nn import Linear, Module, Parameter
from minicnn.ops.loss import mse_loss
from minicnn.ops.softmax import cross_entropy
from minicnn.tensor import Tensor, no_grad

MOST = 12
"""A net of at most this many weights is shown with all of them."""


@dataclass(frozen=True)
class Weight:
    """One weight in a step."""

    name: str
    index: tuple[int, ...]
    before: float
    gradient: float
    """∂L/∂w by backward."""
    difference: float
    """(L(w + h) − L(w − h)) / 2h"""
    after: float
    """w − lr · ∂L/∂w"""

    @property
    def called(self) -> str:
        """Such as "features.0.weight[0,0,2,2]"."""
        return f"{self.name}[{','.join(map(str, self.index))}]" if self.index else self.name


@dataclass(frozen=True, repr=False)
class Step(Answer):
    """A step of SGD on a net."""

    net: str
    parameters: int
    lr: float
    h: float
    weights: tuple[Weight, ...]
    loss_before: float
    norm: float
    """‖∂L/∂w‖ of all weights."""
    loss_after: float
    expected: float
    """The change that the gradient promises for a short step: −lr · ‖∂L/∂w‖²."""
    lines: tuple[str, ...]
    """The net's formula with the numbers in it, for one that is small enough."""

    def page(self) -> list[show.Block]:
        """The formulas, the weights as a table, the losses."""
        rows = tuple((w.called, *map(_digits, (w.gradient, w.difference, w.before, w.after))) for w in self.weights)
        first = self.weights[0]
        change = self.loss_after - self.loss_before
        verdict = f"{'falls' if change < 0 else 'rises' if change > 0 else 'stays'} by {_digits(abs(change))}"
        if change == 0:
            verdict = "stays as it is"
        blocks: list[show.Block] = [
            show.Heading(f"One step of gradient descent: {self.net}, {self.parameters:,} weights, lr "
                         f"{show.number(self.lr)}"),
            *([show.Formula("\n".join(self.lines))] if self.lines else []),
            show.Formula(f"loss before        L = {_digits(self.loss_before)}\n"
                         "gradient           ∂L/∂w, by backward\n"
                         f"finite difference  (L(w + h) − L(w − h)) / 2h, h = {self.h:g}\n"
                         "step               w ← w − lr · ∂L/∂w"),
            show.Table(("weight", ">∂L/∂w", ">finite difference", ">before", ">after"), rows),
            show.Formula(f"{first.called} ← {_digits(first.before)} − {show.product(self.lr, first.gradient)} = "
                         f"{_digits(first.after)}"),
        ]
        if len(self.weights) < self.parameters:
            blocks.append(show.Say(f"All {self.parameters:,} weights move in this way; the length of the whole "
                                   f"gradient is "
                                   f"‖∂L/∂w‖ = {_digits(self.norm)}."))
        blocks.append(show.Formula(f"loss after         L = {_digits(self.loss_after)}"))
        tail = ""
        if change > 0:
            tail = " The step was too long: beyond the minimum the loss rises again. Try a smaller lr."
        blocks.append(show.Say(f"The loss {verdict}; for a very short step it would fall by lr · ‖∂L/∂w‖² = "
                               f"{_digits(-self.expected)}.{tail}"))
        worst = max(self.weights, key=lambda w: abs(w.gradient - w.difference))
        if abs(worst.gradient - worst.difference) > 1e-4 * max(1e-6, abs(worst.gradient), abs(worst.difference)):
            blocks.append(show.Say(f"Gradient and difference of {worst.called} disagree: a ReLU or a maximum switches "
                                   f"between w − h and w + h."))
        return blocks

    def panels(self) -> list[Panel]:
        """The weights before and after."""
        return [Panel(name, np.array([[getattr(w, key) for w in self.weights]]))
                for name, key in (("gradient", "gradient"), ("before", "before"), ("after", "after"))]


def step(net: Module, x: Any, target: Any, weight: str = "", index: tuple[int, ...] | None = None, lr: float = 0.1,
         loss: Callable[[Tensor, Any], Tensor] | None = None, h: float = 1e-5) -> Step:
    """One step w ← w − lr · ∂L/∂w of every weight of a copy of `net`, in float64 and eval mode.

    x, target: the input (N,…) and what `loss`(output, target) takes; by default the net's own loss or cross-entropy,
    with labels (N,).   weight, index: the weight to show, such as "features.0.weight", (0, 0, 2, 2); by default the one
    with the largest gradient.   The finite difference is (L(w + h) − L(w − h)) / 2h.

    ValueError where there is no such weight, or the loss is not finite. The net itself is not changed.
    """
    arguments.instance("net", net, Module)
    for name, value in (("lr", lr), ("h", h)):
        if finite(name, value) <= 0:
            raise ValueError(f"{name} (={value}) must be above 0")
    twin = copy.deepcopy(net).astype("float64")
    known = dict(twin.named_parameters())
    if not known:
        raise ValueError(f"the {type(net).__name__} has no weights, so there is no step")
    if weight and weight not in known:
        raise ValueError(unknown("weight", weight, known))
    measure = loss or twin.loss or cross_entropy
    inputs = Tensor(np.asarray(x.numpy() if isinstance(x, Tensor) else x, np.float64))

    def total() -> Tensor:
        return measure(twin(inputs), target)

    with twin.evaluating():
        twin.zero_grad()
        before = total()
        if not np.isfinite(before.item()):
            raise ValueError(f"the loss is {before.item()} before the step: there is no gradient to follow")
        before.backward()
        gradients = {name: np.zeros(p.shape) if p.grad is None else p.grad for name, p in known.items()}
        chosen = _chosen(gradients, weight, index)
        shown = tuple(_weight(known[name], gradients[name], name, at, lr, h, total) for name, at in chosen)
        for name, parameter in known.items():
            parameter.data = parameter.data - lr * gradients[name]
        with no_grad():
            after = total().item()
    norm = float(np.sqrt(sum((g**2).sum() for g in gradients.values())))
    count = sum(g.size for g in gradients.values())
    return Step(type(net).__name__, count, float(lr), float(h), shown, before.item(), norm, after, -lr * norm**2, ())


def neuron(x: float = 1.5, target: float = 0.5, w: float = 0.8, b: float = 0.1, lr: float = 0.1) -> Step:
    """One step on the smallest net, y = w·x + b with the loss L = (y − target)²:   ∂L/∂w = 2(y − target)·x"""
    for name, value in (("x", x), ("target", target), ("w", w), ("b", b)):
        if abs(finite(name, value)) > 1e6:
            raise ValueError(f"{name} (={value}) must be from minus a million to a million")
    net = Linear(1, 1).astype("float64")
    net.weight.data, net.bias.data = np.array([[float(w)]]), np.array([float(b)])  # type: ignore[union-attr]
    made = step(net, np.array([[float(x)]]), np.array([[float(target)]]), lr=lr, loss=mse_loss)
    y = w * x + b
    n = show.number
    lines = (f"y = w·x + b = {n(w)}·{n(x)} + {n(b)} = {n(y)}",
             f"L = (y − t)² = ({n(y)} − {n(target)})² = {n((y - target) ** 2)}",
             f"∂L/∂w = 2(y − t)·x = 2·{n(y - target)}·{n(x)} = {n(2 * (y - target) * x)}",
             f"∂L/∂b = 2(y − t) = {n(2 * (y - target))}")
    names = {"weight": "w", "bias": "b"}
    weights = tuple(Weight(names[v.name], (), v.before, v.gradient, v.difference, v.after) for v in made.weights)
    return replace(made, net="a neuron", weights=weights, lines=lines)


def _chosen(gradients: dict[str, np.ndarray], weight: str, index: Any) -> list[tuple[str, tuple[int, ...]]]:
    """The (name, index) of each weight to show."""
    if not weight and index is None and sum(g.size for g in gradients.values()) <= MOST:
        return [(name, tuple(map(int, at))) for name, g in gradients.items() for at in np.ndindex(g.shape)]
    name = weight or max(gradients, key=lambda key: float(np.abs(gradients[key]).max(initial=0)))
    g = gradients[name]
    if index is None:
        return [(name, tuple(map(int, np.unravel_index(int(np.abs(g).argmax()), g.shape))))]
    if not isinstance(index, (tuple, list)) or len(index) != g.ndim:
        raise ValueError(f"the index {short(index)} must have {g.ndim} numbers, as {name} has the shape {g.shape}")
    return [(name, tuple(arguments.integer(f"index of {name}", n, 0, size - 1) for n, size in zip(index, g.shape)))]


def _weight(parameter: Parameter, gradient: np.ndarray, name: str, at: tuple[int, ...], lr: float, h: float,
            total: Callable[[], Tensor]) -> Weight:  # fmt: skip
    before = parameter.data
    losses = []
    for sign in (1, -1):
        parameter.data = before.copy()
        parameter.data[at] += sign * h
        with no_grad():
            losses.append(total().item())
    parameter.data = before
    w, g = float(before[at]), float(gradient[at])
    return Weight(name, at, w, g, (losses[0] - losses[1]) / (2 * h), w - lr * g)


def _digits(value: float) -> str:
    """Six digits: a step is small."""
    return show.number(value) if value == round(value) else f"{value:.6g}"
