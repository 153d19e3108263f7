"""A net's work by stage, that is by the size of its maps; and small filters against one large filter."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from minicnn.inspect.summary import summary
from minicnn.inspect.summary_table import Summary
from minicnn.nn import Conv2d, ReLU, Sequential, init


@dataclass(frozen=True)
class Stage:
    """The layers whose outputs have one size.   size: (height, width); None: the linear layers.

    layers: with weights.   channels: the most of an output.   typical_macs: of the layers with windows larger than 1×1
    the most frequent number of multiply-adds (the larger of two), 0 if there is none.
    """

    size: tuple[int, int] | None
    layers: int
    channels: int
    parameters: int
    macs: int
    typical_macs: int


def stages(report: Summary) -> list[Stage]:
    """The stages of a net, in order; every parameter and multiply-add is in one of them."""
    groups: dict[tuple[int, int] | None, list] = {}
    for layer in report.layers:
        size = (layer.output[1], layer.output[2]) if len(layer.output) == 3 else None
        if layer.parameters or layer.macs:
            groups.setdefault(size, []).append(layer)
    found = []
    for size, layers in groups.items():
        windows = Counter(x.macs for x in layers if x.macs and x.kernel and max(x.kernel) > 1)
        found.append(Stage(
            size, sum(x.macs > 0 for x in layers), max((x.output[0] for x in layers if x.output), default=0),
            sum(x.parameters for x in layers), sum(x.macs for x in layers),
            max(windows, key=lambda macs: (windows[macs], macs), default=0)))  # fmt: skip
    return found


@dataclass(frozen=True)
class Stack:
    """`count` convolutions kernel × kernel in a row with a ReLU after each; C channels everywhere, no biases."""

    kernel: int
    count: int
    field: int
    parameters: int
    macs: int


def stacks(shape: tuple[int, int, int]) -> list[tuple[Stack, Stack]]:
    """(one large filter, as many 3×3 filters as have the same receptive field), for 5×5, 7×7 and 11×11.

    shape (C,H,W): the maps before and after each convolution.
    """
    return [(_stack(kernel, 1, shape), _stack(3, (kernel - 1) // 2, shape)) for kernel in (5, 7, 11)]


def _stack(kernel: int, count: int, shape: tuple[int, int, int]) -> Stack:
    C = shape[0]
    with init.shapes_only():
        convs = [Conv2d(C, C, kernel, padding=kernel // 2, bias=False) for _ in range(count)]
    report = summary(Sequential(*(layer for conv in convs for layer in (conv, ReLU()))), shape)
    totals = report.totals
    return Stack(kernel, count, report.layers[-1].field[0], totals["parameters"], totals["macs"])
