"""Units of a net and their gradients with respect to the image: the basis of all feature visualisations.

A unit is one number in the output of a layer: the score of a class, or a pixel of a feature map. The net runs in eval
mode with constant parameters; `backward` starts at the unit and ends at the image or at a layer.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.inspect.summary import Layer, summary
from minicnn.names import short
from minicnn.nn import Module, watch
from minicnn.settings import conv_algorithm
from minicnn.tensor import Tensor, no_grad

Rules = Mapping[str, Callable[..., Any]]


def find_layer(model: Module, name: str) -> Module:
    """The layer called `name`, such as "features.3". ValueError suggests the most similar name."""
    arguments.instance("model", model, Module)
    known = {path: module for path, module in model.named_modules() if path}
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown layer {name!r}: {hint}The net has {len(known)}, from {next(iter(known))!r} to "
                         f"{list(known)[-1]!r}; `minicnn summary` lists them")
    return known[name]


def map_layers(model: Module, shape: tuple[int, ...]) -> list[Layer]:
    """The layers whose outputs are feature maps of more than one pixel, for an image of `shape` (C,H,W), in order.

    Layers and not blocks; layers such as dropout are included.
    """
    return [x for x in summary(model, shape).layers if len(x.output) == 3 and x.output[1] * x.output[2] > 1]


def last_convolution(model: Module, shape: tuple[int, ...]) -> str:
    """The name of the last layer with weights and feature maps of more than one pixel: the default for Grad-CAM."""
    found = [x.name for x in map_layers(model, shape) if x.macs]
    if not found:
        raise ValueError("the net has no convolution with maps of more than one pixel on this image: name a layer")
    return found[-1]


@contextlib.contextmanager
def constant_parameters(model: Module) -> Iterator[None]:
    """In the `with` block the model is in eval mode and its parameters need no gradients.

    Convolutions use im2col, whose gradients are exactly 0 outside the receptive field; Winograd's transforms would
    leave rounding errors there.
    """
    learned = [(p, p.requires_grad) for p in model.parameters()]
    try:
        for parameter, _ in learned:
            parameter.requires_grad = False
        with model.evaluating(), conv_algorithm("im2col"):
            yield
    finally:
        for parameter, before in learned:
            parameter.requires_grad = before


def layer_outputs(model: Module, x: np.ndarray, layers: Mapping[str, Module]) -> dict[str, np.ndarray]:
    """{name: output of that layer for x (N,C,H,W)}, in order of computation; for a layer used twice, its last use."""
    names = {id(module): name for name, module in layers.items()}
    found: dict[str, np.ndarray] = {}

    def keep(module: Module, inputs: Any, output: Any) -> None:
        if id(module) in names:
            found.pop(names[id(module)], None)
            found[names[id(module)]] = output.numpy()

    with constant_parameters(model), no_grad(), watch(keep):
        model(to_tensor(model, x))
    return found


def backpropagate_from(model: Module, x: np.ndarray, start: Callable[[np.ndarray], np.ndarray],
                       layer: Module | None = None, rules: Rules | None = None) -> np.ndarray:  # fmt: skip
    """The gradient at the image x (N,C,H,W) of backpropagation from a layer's output, by default from the scores.

    start(y): the gradient at the output y, of the same shape; `one_hot` gives the gradient of one unit.
    rules: replacements for the gradients of ops, as in Tensor.backward.
    """
    image = to_tensor(model, x, requires_grad=True)
    found: list[Tensor] = []

    def keep(module: Module, inputs: Any, output: Any) -> None:
        if module is layer:
            found[:] = [output]

    with constant_parameters(model), watch(keep):
        scores = model(image)
        y = scores if layer is None else _computed(found, layer)
        if y.requires_grad:
            y.backward(to_tensor(model, start(y.numpy())), rules)
    return np.zeros_like(x) if image.grad is None else Tensor(image.grad).numpy()


def gradient_at_layer(model: Module, x: np.ndarray, layer: Module, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(A, ∂S_k/∂A): the output of `layer` for x (N,C,H,W), and the gradient of each image's score of class k."""
    cut: list[Tensor] = []

    def end_here(module: Module, inputs: Any, output: Any) -> None:
        if module is layer:                                # a new leaf: backward ends here
            cut[:] = [output.detach_(requires_grad=True)]

    with constant_parameters(model), watch(end_here):
        scores = model(to_tensor(model, x))
        A = _computed(cut, layer)
        if scores.requires_grad:
            scores.backward(to_tensor(model, one_hot(k)(scores.numpy())))
    return A.numpy(), np.zeros_like(A.numpy()) if A.grad is None else Tensor(A.grad).numpy()


def one_hot(*unit: int) -> Callable[[np.ndarray], np.ndarray]:
    """A start for `backpropagate_from`: 1 at that unit of each image, (k,) or (c,i,j), and 0 elsewhere."""
    def start(y: np.ndarray) -> np.ndarray:
        dy = np.zeros_like(y)
        dy[unit_index(y, unit)] = 1
        return dy

    return start


def unit_index(y: np.ndarray, unit: tuple[int, ...]) -> Any:
    """The index of a unit of each image in an output y (N,K) or (N,C,h,w). ValueError where there is no such unit."""
    if not isinstance(unit, (tuple, list)) or len(unit) != y.ndim - 1:
        raise ValueError(f"the unit {short(unit)} must have one number for each axis of an output of {y.shape[1:]}")
    for number, length in zip(unit, y.shape[1:]):
        arguments.integer("class" if y.ndim == 2 else f"unit {tuple(unit)}: each number", number, 0, length - 1)
    return (slice(None), *unit)


def to_tensor(model: Module, x: np.ndarray, requires_grad: bool = False) -> Tensor:
    """x as a Tensor on the device of the model."""
    arguments.instance("model", model, Module)
    device = next((p.device for p in model.parameters()), None)
    return Tensor(x, requires_grad, device=device)


def _computed(found: list[Tensor], layer: Module) -> Tensor:
    if not found:
        raise ValueError(f"this {type(layer).__name__} computes nothing in eval mode: choose another layer")
    return found[0]
