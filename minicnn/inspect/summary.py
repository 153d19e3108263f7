"""A net, layer by layer: shapes, windows, parameters, MACs, memory and receptive fields. Nothing is computed.

The net's own forward code runs on the device "meta", whose arrays have shapes and receptive fields but no values.
"""

from __future__ import annotations

import contextlib
import math

from minicnn import meta
from minicnn.inspect.summary_table import Layer, Summary
from minicnn.nn import AvgPool1d, Buffer, Conv1d, MaxPool1d, Module, Parameter, watch
from minicnn.tensor import Tensor, no_grad


def summary(model: Module, input_shape: tuple[int, ...]) -> Summary:
    """The layers of `model` for one image of `input_shape` (C,H,W), in eval mode. Print the result, or read its rows.

        print(inspect.summary(net, (3, 32, 32)))

    ValueError names the layer that an image is too small for, and the smallest image that fits.
    Layers that compute only in training (auxiliary classifiers) come last, with their parameters and no MACs.

    A MAC is one multiplication with its addition; as is usual, those of convolutions and linear layers are counted, not
    the biases, activations and norms. FLOPs = 2·MACs; many papers and libraries print MACs and call them FLOPs.
    """
    names: dict[int, str] = {}
    for name, module in model.named_modules():
        names.setdefault(id(module), name)
    layers: list[Layer] = []
    blocks: dict[str, Layer] = {}
    seen: set[int] = set()
    peak = 0

    def fresh(module, kind):
        found = {id(t): t for _, t in module.members() if isinstance(t, kind) and id(t) not in seen}
        seen.update(found)
        return sum(t.size for t in found.values())

    def look(module, inputs, output):
        nonlocal peak
        if not isinstance(output, Tensor):
            return
        name, kind, shape = names.get(id(module), ""), type(module).__name__, tuple(output.shape[1:])
        fields = output.data.fields
        starts, sizes = zip(*(f.pixels for f in fields))
        sight = sizes, tuple(f.jump for f in fields), starts
        members = [type(m) for _, m in module.members()]
        holds, is_block = (any(issubclass(m, kind) for m in members) for kind in ((Parameter, Buffer), Module))
        if is_block:
            blocks[name] = Layer(name, kind, shape, None, None, 1, 0, 0, 0, 0, 0, *sight)
        if is_block and not holds:
            return
        size, before = output.size, inputs[0]              # the first axis has the image, or its tokens
        peak = max(peak, size + before.size)
        macs = module.macs(output.shape[1:]) * output.shape[0]
        reshaped = output.size == before.size and output.ndim != before.ndim
        looks = macs or (output.data.fields != before.data.fields and not reshaped)
        layers.append(Layer(name, kind, shape, *_window(module), fresh(module, Parameter), fresh(module, Buffer), macs,
                            size if looks else 0, size, *sight))  # fmt: skip

    with no_grad(), without_values(model):
        try:
            with watch(look):
                model(Tensor(meta.image((1, *input_shape))))
        except ValueError as problem:
            least = _least_size(model, input_shape[0])
            hint = f"; the smallest square image that this net takes is {least}×{least}" if least else ""
            raise ValueError(f"{problem}{hint}") from None
    for name, module in model.named_modules():             # auxiliary classifiers, which compute in training only
        parameters, buffers = fresh(module, Parameter), fresh(module, Buffer)
        if parameters or buffers:
            kernel, stride, groups = _window(module)
            layers.append(Layer(name, type(module).__name__, (), kernel, stride, groups, parameters, buffers, 0, 0, 0,
                                (0, 0), (0, 0), (0, 0)))  # fmt: skip
    return Summary(tuple(input_shape), tuple(layers), peak, blocks, type(model).__name__)


def box(model: Module, input_shape: tuple[int, ...], name: str, i: int, j: int) -> tuple[list[int], list[int]]:
    """The receptive field of unit (i, j) in the maps of layer or block `name`: rows [from, to), columns [from, to).

    Clipped at the edges of the image. For a layer that is used twice, its last use.
    """
    report = summary(model, input_shape)
    found = {x.name: x for x in report.layers} | report.blocks
    if name not in found or len(found[name].output) != 3:
        raise ValueError(f"{name!r} computes no maps (C, h, w) on this image, so its units have no box: choose an "
                         "earlier layer")  # fmt: skip
    layer = found[name]
    down, across = (
        [max(0, math.floor(o + n * step)), min(side, math.ceil(o + n * step + size))]
        for o, n, step, size, side in zip(layer.offset, (i, j), layer.total_stride, layer.field, input_shape[1:])
    )
    return down, across


def _least_size(model: Module, channels: int) -> int | None:
    """The side of the smallest square image that goes through, up to 512."""
    for side in range(1, 513):
        with contextlib.suppress(ValueError):
            model(Tensor(meta.image((1, channels, side, side))))
            return side
    return None


@contextlib.contextmanager
def without_values(model: Module):
    """The model in eval mode, its arrays on "meta"; both are restored afterwards."""
    tensors = [t for _, m in model.named_modules() for _, t in m.members() if isinstance(t, Tensor)]
    arrays = [(t, t.data) for t in tensors]
    try:
        for tensor, array in arrays:
            tensor.data = meta.asarray(array, "float32" if array.dtype.kind == "f" else None)
        with model.evaluating():
            yield
    finally:
        for tensor, array in arrays:
            tensor.data = array


def _window(module) -> tuple[tuple[int, int] | None, tuple[int, int] | None, int]:
    """(kernel, stride, groups) of a layer that has a window; the height of a signal's is 1."""

    def pair(name):
        value = getattr(module, name, None)
        if isinstance(value, int):
            return (1 if isinstance(module, (AvgPool1d, Conv1d, MaxPool1d)) else value), value
        return tuple(value) if value else None

    return pair("kernel_size"), pair("stride"), getattr(module, "groups", 1)
