"""Changing a net by hand: one training step in slow motion, a finite difference, an edited weight or filter.

The image is a batch of one, and the net is in eval mode: batch norm keeps its running statistics, since those of one
image alone would make another net of it, and dropout drops nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.names import short, unknown
from minicnn.nn import Module, Parameter
from minicnn.ops.softmax import cross_entropy, softmax
from minicnn.recording import no_grad
from minicnn.tensor import Tensor

Answer = dict[str, Any]
STEP = 1e-5
"""h of a finite difference, in units of the number that it changes where that is above 1. In float64."""


def step(model: Module, x: np.ndarray, label: int, rate: float, keep: bool = False) -> Answer:
    """One step of gradient descent on one image x (C,H,W):  w ← w − rate · ∂L/∂w,  L = −log p[label], or the net's own
    loss if it has one.

    The loss and the probabilities before and after, and of each parameter the norms of its values, its gradient and its
    change, and the element with the largest gradient. With `keep` the model is changed.
    """
    rate = _finite("rate", rate)
    named = list(model.named_parameters())
    old = [p.data for _, p in named]
    with _gradients(model, x, _loss(model, label)) as (loss, scores, gradients):
        found = []
        for (name, parameter), gradient in zip(named, gradients):
            before = parameter.data
            after = (before - rate * gradient).astype(before.dtype)
            at = np.unravel_index(int(np.abs(gradient).argmax()), gradient.shape)
            parameter.data = after
            found.append({"name": name, "shape": list(before.shape), "values": _norm(before),
                          "gradient": _norm(gradient), "change": _norm(after - before),
                          "at": [int(i) for i in at], "before": float(before[at]), "slope": float(gradient[at]),
                          "after": float(after[at])})  # fmt: skip
    done = False
    try:
        with model.evaluating(), no_grad():
            answer = model(Tensor(x[None]))
            after_loss = _loss(model, label)(answer).item()
        done = keep
    finally:
        if not done:
            for (_, parameter), array in zip(named, old):
                parameter.data = array
    return {"label": label, "rate": rate, "kept": keep, "loss": loss, "loss_after": after_loss,
            "probabilities": _softmax(scores), "probabilities_after": _softmax(answer.numpy()),
            "parameters": found}  # fmt: skip


def difference(model: Module, x: np.ndarray, k: int, parameter: str, at: Any, of_loss: bool = False) -> Answer:
    """The derivative of score k, or of the loss with label k, by one weight or one number of x: backpropagated, and as
    (f(w + h) − f(w − h))/2h. In float64, so that the two agree to about eight digits.

    parameter: a name such as "conv1.weight", or "" for x (C,H,W).
    """
    target: Callable[[Tensor], Tensor] = _loss(model, k) if of_loss else lambda y: y.reshape(-1)[k]
    with _float64(model):
        wide = x.astype(np.float64)
        place = _parameter(model, parameter) if parameter else None
        array = wide if place is None else place.data
        index = _place(parameter or "the image", array.shape, at)
        names = [name for name, _ in model.named_parameters()]
        with _gradients(model, wide, target) as (value, _, gradients):
            slope = gradients[-1 if place is None else names.index(parameter)][index]
        h = STEP * max(1.0, abs(float(array[index])))
        sides = []
        for sign in (1, -1):
            moved = array.copy()
            moved[index] += sign * h
            if place is not None:
                place.data = moved
            with model.evaluating(), no_grad():
                sides.append(target(model(Tensor((moved if place is None else wide)[None]))).item())
    return {"parameter": parameter, "at": [int(i) for i in index], "value": float(array[index]), "target": value,
            "backpropagated": float(slope), "difference": (sides[0] - sides[1]) / (2 * h), "h": h,
            "plus": sides[0], "minus": sides[1]}  # fmt: skip


def set_weight(model: Module, parameter: str, at: Any, value: float) -> None:
    """Set one number of a parameter."""
    tensor = _parameter(model, parameter)
    changed = tensor.data.copy()
    changed[_place(parameter, changed.shape, at)] = _finite("value", value)
    tensor.data = changed


def scale_filter(model: Module, parameter: str, o: int, factor: float) -> None:
    """Multiply all numbers of filter o, the o-th along the first axis: 0 switches it off, −1 turns it over."""
    tensor = _parameter(model, parameter)
    changed = tensor.data.copy()
    changed[arguments.integer(f"filter of {parameter}", o, 0, len(changed) - 1)] *= _finite("factor", factor)
    tensor.data = changed


def _loss(model: Module, label: int) -> Callable[[Tensor], Tensor]:
    def loss(y: Tensor) -> Tensor:
        if y.ndim != 2:
            raise ValueError(f"the net's answer for an image has shape {y.shape[1:]}, so it has no classes to learn")
        arguments.integer("label", label, 0, y.shape[1] - 1)
        return (model.loss or cross_entropy)(y, np.array([label]))

    return loss


@contextmanager
def _gradients(model: Module, x: np.ndarray, target: Callable[[Tensor], Tensor]) -> Iterator[Any]:
    """(the target, the scores, its gradients at all parameters and, last, at x); afterwards .grad is as it was."""
    parameters = model.parameters()
    kept = [(p, p.grad, p.requires_grad) for p in parameters]
    image = Tensor(x[None], True)
    try:
        for p in parameters:
            p.grad, p.requires_grad = None, True
        with model.evaluating():
            y = model(image)
            value = target(y)
            value.backward()
        leaves = [(p.grad, p.data) for p in parameters] + [(image.grad, image.data)]
        found = [np.zeros_like(a) if g is None else g for g, a in leaves]
        yield value.item(), y.numpy(), [*found[:-1], found[-1][0]]
    finally:
        for p, grad, requires in kept:
            p.grad, p.requires_grad = grad, requires


@contextmanager
def _float64(model: Module) -> Iterator[None]:
    """The model in float64; afterwards its own arrays again."""
    arrays = [(t, t.data) for t in {id(t): t for _, t in model.named_state()}.values()]
    try:
        for t, array in arrays:
            if array.dtype.kind == "f":
                t.data = array.astype(np.float64)
        yield
    finally:
        for t, array in arrays:
            t.data = array


def _parameter(model: Module, name: Any) -> Parameter:
    found = dict(model.named_parameters())
    if name not in found:
        raise ValueError(unknown("parameter", short(name), found))
    return found[name]


def _place(name: str, shape: tuple[int, ...], at: Any) -> tuple[int, ...]:
    if not isinstance(at, (list, tuple)) or len(at) != len(shape):
        raise ValueError(f"at (={short(at)}) must be {len(shape)} integers, one for each axis of {name} {list(shape)}")
    return tuple(arguments.integer("at", i, 0, n - 1) for i, n in zip(at, shape))


def _finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= 1e6:
        raise ValueError(f"{name} (={short(value)}) must be a number from −1e6 to 1e6")
    return float(value)


def _norm(a: np.ndarray) -> float:
    return math.sqrt(float(np.square(a, dtype=np.float64).sum()))


def _softmax(scores: np.ndarray) -> np.ndarray:
    return softmax(Tensor(scores)).numpy().reshape(-1)
