"""Which unit of a net, and what the image has to do with it: what all feature pictures stand on.

A unit is one number in a layer's output: a class's score, or a pixel of a feature map. The net runs in eval mode, its
parameters held fixed, and `backward` starts from that unit and ends at the image, or at a layer on the way.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from minicnn.inspect.summary import Layer, summary
from minicnn.nn import Module, watch
from minicnn.settings import conv_algorithm
from minicnn.tensor import Tensor, no_grad

Rules = Mapping[str, Callable]


def find(model: Module, name: str) -> Module:
    """The layer called `name`, such as "features.3"; ValueError names the nearest where there is none."""
    known = {path: module for path, module in model.named_modules() if path}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown layer {name!r}: {hint}The net has {len(known)}, from {next(iter(known))!r} to "
                         f"{list(known)[-1]!r}; `minicnn summary` lists them")
    return known[name]


def maps(model: Module, shape: tuple[int, ...]) -> list[Layer]:
    """The layers that compute feature maps of more than one pixel from an image of `shape` (C,H,W), in order.

    Layers and not blocks; a layer that reshapes or drops stands there too. `shape` is without the batch axis.
    """
    return [x for x in summary(model, shape).layers if len(x.output) == 3 and x.output[1] * x.output[2] > 1]


def last_convolution(model: Module, shape: tuple[int, ...]) -> str:
    """The name of the last layer that multiplies and computes feature maps: where Grad-CAM looks by default."""
    found = [x.name for x in maps(model, shape) if x.macs]
    if not found:
        raise ValueError("the net has no convolution with maps of more than one pixel on this image: name a --layer")
    return found[-1]


@contextlib.contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """The model in eval mode; afterwards every layer is in the mode that it was in."""
    modes = [(m, m.training) for _, m in model.named_modules()]
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def fixed(model: Module) -> Iterator[None]:
    """The model in eval mode, its parameters constants; afterwards everything is as it was.

    Convolutions are computed by im2col, whose gradients are exactly 0 where nothing is connected: Winograd's
    transforms leave rounding there.
    """
    learned = [(p, p.requires_grad) for p in model.parameters()]
    try:
        for parameter, _ in learned:
            parameter.requires_grad = False
        with evaluating(model), conv_algorithm("im2col"):
            yield
    finally:
        for parameter, wanted in learned:
            parameter.requires_grad = wanted


def outputs(model: Module, x: np.ndarray, layers: Mapping[str, Module]) -> dict[str, np.ndarray]:
    """{name: what that layer makes of x (N,C,H,W)}, in the order of computing; of one used twice, its last use."""
    names = {id(module): name for name, module in layers.items()}
    found: dict[str, np.ndarray] = {}

    def keep(module, inputs, output):
        if id(module) in names:
            found.pop(names[id(module)], None)
            found[names[id(module)]] = output.numpy()

    with fixed(model), no_grad(), watch(keep):
        model(tensor(model, x))
    return found


def project(model: Module, x: np.ndarray, start: Callable[[np.ndarray], np.ndarray], layer: Module | None = None,
            rules: Rules | None = None) -> np.ndarray:  # fmt: skip
    """What `backward` brings to the image x (N,C,H,W) from a layer's output, by default from the scores.

    start(y): what goes back, of the shape of the output y. With 1 in one place and no rules the result is the
    gradient of that unit.   rules: what ops pass back in place of their gradients, as in Tensor.backward.
    """
    image = tensor(model, x, requires_grad=True)
    found: list[Tensor] = []

    def keep(module, inputs, output):
        if module is layer:
            found[:] = [output]

    with fixed(model), watch(keep):
        scores = model(image)
        y = scores if layer is None else _computed(found, layer)
        if y.requires_grad:
            y.backward(tensor(model, start(y.numpy())), rules)
    return np.zeros_like(x) if image.grad is None else Tensor(image.grad).numpy()


def gradient_at(model: Module, x: np.ndarray, layer: Module, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(A, ∂S_k/∂A): what `layer` puts out for x (N,C,H,W), and how each image's score of class k depends on it."""
    cut: list[Tensor] = []

    def end_here(module, inputs, output):
        if module is layer:                                # backward ends at its output, as if that were the image
            cut[:] = [output.detach_(requires_grad=True)]

    with fixed(model), watch(end_here):
        scores = model(tensor(model, x))
        A = _computed(cut, layer)
        if scores.requires_grad:
            scores.backward(tensor(model, one_hot(k)(scores.numpy())))
    return A.numpy(), np.zeros_like(A.numpy()) if A.grad is None else Tensor(A.grad).numpy()


def one_hot(*unit: int) -> Callable[[np.ndarray], np.ndarray]:
    """For `project`: 1 in that place of each image's output, (k,) of the scores or (c,i,j) of maps; 0 elsewhere."""
    def start(y):
        dy = np.zeros_like(y)
        dy[(slice(None), *unit)] = 1
        return dy

    return start


def tensor(model: Module, x: np.ndarray, requires_grad: bool = False) -> Tensor:
    """x where the model is."""
    device = next((p.device for p in model.parameters()), None)
    return Tensor(x, requires_grad, device=device)


def _computed(found: list[Tensor], layer: Module) -> Tensor:
    if not found:
        raise ValueError(f"this {type(layer).__name__} computes nothing in eval mode: choose another layer")
    return found[0]
