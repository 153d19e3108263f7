"""One number of a net for one image: what it reads, the formula with the numbers in it, and the gradient back to it.

The op that computed the layer's output explains the number (cells.py). So this works for every layer, for blocks of
layers, and for nets of one's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.explain import show, unit_page
from minicnn.explain.answer import Answer, Panel, plain
from minicnn.explain.cell import Cell, Part
from minicnn.explain.cells import explain
from minicnn.inspect import box, units
from minicnn.nn import Buffer, Module, Parameter, watch
from minicnn.recording import watch_ops
from minicnn.tensor import Tensor, no_grad

PRODUCTS = ("conv1d", "conv2d", "linear")
"""Ops whose second and third argument are weights, even if another op computed them."""


@dataclass(frozen=True, repr=False)
class Unit(Answer):
    """One number of a layer's output."""

    layer: str
    kind: str
    """The layer's class."""
    at: tuple[int, ...]
    """(channel, row, column), or (feature,)."""
    shape: tuple[int, ...]
    """Of the layer's output, without the batch axis."""
    value: float
    """As the net computed it."""
    cell: Cell
    inputs: tuple[Part, ...]
    """Those parts of the cell that the layer's op gets from other layers, not weights."""
    passes_on: bool
    """Whether the layer returns its input, as dropout does in eval mode: then the cell is of the op before it."""
    box: tuple[list[int], list[int]] | None
    """The rows and columns of the image that the number depends on: [from, to)."""
    index: int | None
    """The class whose score the gradient is of; None for a net whose output is not (N, K)."""
    name: str
    """The class's."""
    score: float
    gradient: float | None
    """∂score/∂y"""
    image: np.ndarray
    """(C,H,W), as the net takes it."""

    def back(self, part: Part) -> np.ndarray:
        """gradient · factors: what flows back through this number to each number that it reads."""
        return (self.gradient or 0.0) * np.asarray(part.factors, np.float64)

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values, without the image, and with the gradient back to each number read."""
        inputs = [{"argument": part.argument, "name": part.name, "from": [r.start for r in part.box],
                   "values": part.values, "factors": part.factors, "products": part.products,
                   "back": None if self.gradient is None else self.back(part)} for part in self.inputs]  # fmt: skip
        found = {"layer": self.layer, "kind": self.kind, "unit": self.at, "shape": self.shape, "value": self.value,
                 "op": self.cell.op, "formula": self.cell.formula, "in_numbers": self.cell.in_numbers(),
                 "numbers": self.cell.numbers, "bias": self.cell.bias, "winner": self.cell.winner,
                 "passes_on": self.passes_on, "inputs": inputs, "box": self.box, "class": self.index,
                 "class_name": self.name, "score": self.score, "gradient": self.gradient}  # fmt: skip
        return plain(found)

    def page(self) -> list[show.Block]:
        """The formula, the window, the sum, the gradient."""
        return unit_page.page(self)

    def panels(self) -> list[Panel]:
        """The image with the receptive field; of the strongest channel the window, the factors and the products."""
        boxes: tuple[tuple[int, int, int, int], ...] = ()
        if self.box is not None:
            (top, bottom), (left, right) = self.box
            boxes = ((top, left, bottom - top, right - left),)
        found = [Panel("the image, and what the unit depends on", self.image.mean(0), boxes)]
        for part in self.inputs[:1]:
            c = unit_page.strongest(part)[0]
            for title, values in (("values", part.values), ("factors", part.factors), ("products", part.products)):
                channel = f", channel {part.box[1][c]}" if values.ndim == 4 else ""
                found.append(Panel(title + channel, unit_page.matrix(values, c)))
        return found


def unit(net: Module, x: Any, layer: str = "", at: tuple[int, ...] | None = None, k: int | None = None,
         classes: Sequence[str] = ()) -> Unit:
    """One number of a net for one image, explained: y = Σ w·x + b with the numbers in it, or what its op has instead.

    x (C,H,W) or (1,C,H,W), as the net takes it.   layer: its name, such as "features.3"; by default the first with
    weights.   at: (channel, row, column) or (feature,) of its output; by default the largest number.   k: the class
    whose score the gradient is of; by default the one with the largest.   classes: the names of the classes.

    The net runs in eval mode. ValueError where there is no such layer, unit or class.
    """
    arguments.instance("net", net, Module)
    image = np.asarray(x.numpy() if isinstance(x, Tensor) else x)
    image = image[None] if image.ndim == 3 else image
    if image.ndim != 4 or len(image) != 1:
        raise ValueError(f"x must be one image (C, H, W), not {np.shape(x)}")
    if image.dtype.kind != "f":
        raise TypeError(f"x must hold floats, as the net takes them, not {image.dtype}: normalise the picture first")
    name = layer or _first_with_weights(net)
    module = units.find_layer(net, name)
    y, given, call, scores = _run(net, image, module, name)
    if at is None:
        at = tuple(map(int, np.unravel_index(int(y.argmax()), y.shape[1:])))
    units.unit_index(y, at)
    cell, weights = _cell(call, y, at)
    inputs = tuple(part for part in cell.parts if part.argument not in weights)
    gradient, score = None, float("nan")
    if scores.ndim == 2:
        if k is None:
            k = int(scores[0].argmax())
        k = arguments.integer("class", k, 0, scores.shape[1] - 1)
        score = float(scores[0, k])
        gradient = float(units.gradient_at_layer(net, image, module, k)[1][(0, *at)])
    else:
        k = None
    called = classes[k] if k is not None and k < len(classes) else f"class {k}"
    return Unit(name, type(module).__name__, tuple(map(int, at)), y.shape[1:], float(y[(0, *at)]), cell, inputs, given,
                _box(net, image.shape[1:], name, at), k, called, score, gradient, image[0])


def _first_with_weights(net: Module) -> str:
    found = next((name for name, module in net.named_modules() if name and hasattr(module, "weight")), "")
    if not found:
        raise ValueError(f"the {type(net).__name__} has no layer with weights: name a layer")
    return found


def _run(net: Module, image: np.ndarray, module: Module, name: str) -> tuple[np.ndarray, bool, Any, np.ndarray]:
    """(the layer's output, whether it is its input, (op, arguments, hyper-parameters) of it, the net's output)"""
    calls: dict[int, tuple[Any, ...]] = {}
    found: list[Any] = []

    def keep(op: Any, args: Any, hyper: Any, y: Tensor) -> None:
        calls[id(y)] = (op, args, hyper, y)                # with y, so that no other Tensor gets its id

    def look(other: Module, inputs: Any, output: Any) -> None:
        if other is module:
            found[:] = [output, any(output is x for x in inputs), calls.get(id(output))]

    with units.constant_parameters(net), no_grad(), watch_ops(keep), watch(look):
        scores = net(units.to_tensor(net, image))
    if not found:
        raise ValueError(f"the layer {name!r} computes nothing in eval mode: choose another layer")
    output, same, call = found
    if not isinstance(output, Tensor):
        raise ValueError(f"the layer {name!r} returns a {type(output).__name__}, not one Tensor: choose a layer "
                         f"inside it")
    return output.numpy(), same, call, scores.numpy() if isinstance(scores, Tensor) else np.zeros(())


def _cell(call: Any, y: np.ndarray, at: tuple[int, ...]) -> tuple[Cell, set[int]]:
    """The cell, and which of the op's arguments are weights."""
    if call is None:                                       # the image itself
        return Cell("input", (0, *at), float(y[(0, *at)]), "copy", (), "y = the image's value"), set()
    op, args, hyper, _ = call
    arrays = [a.numpy() if isinstance(a, Tensor) else a for a in args]
    weights = {k for k, a in enumerate(args) if isinstance(a, (Parameter, Buffer))}
    if op.__name__ in PRODUCTS:
        weights |= set(range(1, len(args)))
    return explain(op, arrays, hyper, y, (0, *at)), weights


def _box(net: Module, shape: tuple[int, ...], name: str, at: tuple[int, ...]) -> tuple[list[int], list[int]] | None:
    if len(at) != 3:
        return None
    try:
        return box(net, shape, name, at[1], at[2])
    except ValueError:
        return None
