"""One number of a net for one image: what it reads, the formula with the numbers in it, and the gradient back to it.

The op that computed the layer's output explains the number (cells.py). So this works for every layer, for blocks of
layers, and for nets of one's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.explain.cell import ELEMENTS, Cell, Part
from minicnn.explain.cells import explain
from minicnn.explain.unit_answer import Unit
from minicnn.inspect import box, units
from minicnn.nn import Buffer, Module, Parameter, watch
from minicnn.recording import watch_ops
from minicnn.tensor import Tensor, no_grad

Calls = dict[int, tuple[Any, ...]]
"""{id of a Tensor: (op, arguments, hyper-parameters, the Tensor)}"""

SINGLE = (*ELEMENTS, "batch_norm_inference")
"""Ops whose every number depends on single numbers."""

PRODUCTS = ("conv1d", "conv2d", "linear")
"""Ops whose second and third argument are weights, even if another op computed them."""


def unit(net: Module, x: Any, layer: str = "", at: tuple[int, ...] | None = None, k: int | None = None,
         classes: Sequence[str] = ()) -> Unit:
    """One number of a net for one image, explained: y = Σ w·x + b with the numbers in it, or what its op has instead.

    x (C,H,W) or (1,C,H,W), as the net takes it; for a net on vectors (F,) or (1,F).
    layer: its name, such as "features.3"; by default the first with weights.   at: (channel, row, column) or (feature,)
    of its output; by default the largest number.   k: the class whose score the gradient is of; by default the one with
    the largest.   classes: the names of the classes.

    The net runs in eval mode. ValueError where there is no such layer, unit or class.
    """
    arguments.instance("net", net, Module)
    image = np.asarray(x.numpy() if isinstance(x, Tensor) else x)
    image = image[None] if image.ndim in (1, 3) else image
    if image.ndim not in (2, 4) or len(image) != 1:
        raise ValueError(f"x must be one image (C, H, W), not {np.shape(x)}")
    if image.dtype.kind != "f":
        raise TypeError(f"x must hold floats, as the net takes them, not {image.dtype}: normalise the picture first")
    name = layer or _first_with_weights(net)
    module = units.find_layer(net, name)
    y, given, calls, call, scores = _run(net, image, module, name)
    if at is None:
        at = tuple(map(int, np.unravel_index(int(y.argmax()), y.shape[1:])))
    units.unit_index(y, at)
    cell, weights = _cell(call, y, (0, *at))
    inputs = tuple(part for part in cell.parts if part.argument not in weights)
    before = tuple(_before(calls.get(id(call[1][part.argument])), part) for part in inputs)
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
    return Unit(name, type(module).__name__, tuple(map(int, at)), y.shape[1:], float(y[(0, *at)]), cell, inputs,
                before, given, _box(net, image.shape[1:], name, at), k, called, score, gradient, image[0])


def _first_with_weights(net: Module) -> str:
    found = next((name for name, module in net.named_modules() if name and hasattr(module, "weight")), "")
    if not found:
        raise ValueError(f"the {type(net).__name__} has no layer with weights: name a layer")
    return found


def _run(net: Module, image: np.ndarray, module: Module, name: str) -> tuple[np.ndarray, bool, Calls, Any, np.ndarray]:
    """(the layer's output, whether it is its input, all calls of ops, the one of this output, the net's output)"""
    calls: Calls = {}
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
    return output.numpy(), same, calls, call, scores.numpy() if isinstance(scores, Tensor) else np.zeros(())


def _cell(call: Any, y: np.ndarray, at: tuple[int, ...]) -> tuple[Cell, set[int]]:
    """The cell, and which of the op's arguments are weights."""
    if call is None:                                       # the image itself
        return Cell("input", at, float(y[at]), "copy", (), "y = the image's value"), set()
    op, args, hyper, _ = call
    arrays = [a.numpy() if isinstance(a, Tensor) else a for a in args]
    weights = {k for k, a in enumerate(args) if isinstance(a, (Parameter, Buffer))}
    if op.__name__ in PRODUCTS:
        weights |= set(range(1, len(args)))
    return explain(op, arrays, hyper, y, at), weights


def _before(call: Any, part: Part) -> Cell | None:
    """How a single number that the op reads was computed, if by an op on single numbers: the sum before a ReLU."""
    if part.values.size > 1 or call is None or call[0].__name__ not in SINGLE:
        return None
    return _cell(call, call[3].numpy(), tuple(r.start for r in part.box))[0]


def _box(net: Module, shape: tuple[int, ...], name: str, at: tuple[int, ...]) -> tuple[list[int], list[int]] | None:
    if len(at) != 3:
        return None
    try:
        return box(net, shape, name, at[1], at[2])
    except ValueError:
        return None
