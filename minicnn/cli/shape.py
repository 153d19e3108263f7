"""minicnn shape SIZE"""

from __future__ import annotations

from typing import Annotated

import typer

from minicnn.cli import console
from minicnn.geometry import Axis


def shape(
    size: Annotated[int, typer.Argument(help="Pixels along one axis of the image, W.", min=1)],
    kernel: Annotated[int, typer.Option("--kernel", "-k", help="Taps of the window, K.", min=1)] = 3,
    stride: Annotated[int, typer.Option("--stride", "-s", help="Step of the window, S.", min=1)] = 1,
    padding: Annotated[int, typer.Option("--padding", "-p", help="Pixels added on each side, P.", min=0)] = 0,
    dilation: Annotated[int, typer.Option("--dilation", "-d", help="Distance between taps, D.", min=1)] = 1,
    as_json: console.Json = False,
):
    """Compute how many windows fit on an image, by floor and by ceil, and which sizes and paddings fit evenly."""
    axis = Axis(size, kernel, stride, padding, padding, dilation)
    total = size + 2 * padding
    if axis.extent > total:
        raise ValueError(f"a window of {axis.extent} pixels does not fit on {total} (= {size} + 2·{padding}): "
                         f"it needs a padding of at least {-(-(axis.extent - size) // 2)}, or a smaller kernel")
    floor, ceil = axis.out, Axis(size, kernel, stride, padding, padding, dilation, ceil=True).out
    rest = (total - axis.extent) % stride
    if as_json:
        return console.print_json({"size": size, "kernel": kernel, "stride": stride, "padding": padding,
                                   "dilation": dilation, "exact": (total - axis.extent) / stride + 1,
                                   "floor": floor, "ceil": ceil, "unused_pixels": rest})  # fmt: skip
    formula, numbers = "(W + 2P − K)/S + 1", f"({size} + 2·{padding} − {kernel})/{stride} + 1"
    if dilation > 1:
        formula = "(W + 2P − D·(K − 1) − 1)/S + 1"
        numbers = f"({size} + 2·{padding} − {dilation}·({kernel} − 1) − 1)/{stride} + 1"
    exact = floor if not rest else (total - axis.extent) / stride + 1
    console.say(f"{formula} = {numbers} {'=' if exact == round(exact, 2) else '≈'} {round(exact, 2)}")
    if not rest:
        console.say(f"[bold]{floor}[/] windows fit exactly.")
        return None
    last = "the last pixel is" if rest == 1 else f"the last {rest} pixels are"
    padded = " with the padding" * bool(padding)
    console.say("Not an integer: the windows do not fit evenly. Rounded down (every layer's default): "
                f"[bold]{floor}[/] window{'s' * (floor != 1)}; of {total} pixels{padded} {last} in no window.")
    hanging = f"{ceil} as well, because one more would begin beyond the image"
    if ceil > floor:
        over = stride - rest
        hanging = f"{ceil} windows, the last one reaches {over} pixel{'s' * (over > 1)} past the edge"
    console.say(f"Rounded up (ceil_mode of the poolings): {hanging}.")
    console.say(_even(axis))


def _even(axis: Axis) -> str:
    """How to make the windows fit: the nearest sizes, and a padding if there is one."""
    room = axis.size + 2 * axis.before - axis.extent
    rest = room % axis.stride
    sizes = [str(size) for size in (axis.size - rest, axis.size - rest + axis.stride) if size > 0]
    paddings = [p for p in range(axis.before + 1, axis.before + axis.stride + 1)
                if (axis.size + 2 * p - axis.extent) % axis.stride == 0]  # fmt: skip
    other = f", or on {axis.size} with padding {paddings[0]}" if paddings else ""
    return f"They fit evenly on {' or '.join(sizes)} pixel{'s' * (sizes != ['1'])}{other}."
