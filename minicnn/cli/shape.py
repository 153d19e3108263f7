"""minicnn shape SIZE"""

from __future__ import annotations

from typing import Annotated

import typer

from minicnn.cli import console
from minicnn.geometry import LARGEST, Axis, around


def shape(
    size: Annotated[int, typer.Argument(help="Pixels along one axis of the image, W.", min=1)],
    kernel: Annotated[int, typer.Option("--kernel", "-k", help="Taps of the window, K.", min=1)] = 3,
    stride: Annotated[int, typer.Option("--stride", "-s", help="Step of the window, S.", min=1)] = 1,
    padding: Annotated[str, typer.Option("--padding", "-p", help="Pixels added on each side, P; 0,1: before and after; "
                                                                 "same, same_lower: ⌈W/S⌉ windows.")] = "0",
    dilation: Annotated[int, typer.Option("--dilation", "-d", help="Distance between taps, D.", min=1)] = 1,
    as_json: console.Json = False,
):
    """Compute how many windows fit on an image, by floor and by ceil, and which sizes and paddings fit evenly."""
    before, after = _sides(padding, size, kernel, stride, dilation)
    axis = Axis(size, kernel, stride, before, after, dilation)
    total = size + before + after
    added = f"2·{before}" if before == after else f"{before} + {after}"
    if axis.extent > total:
        raise ValueError(f"a window of {axis.extent} pixels does not fit on {total} (= {size} + {added}): "
                         f"it needs a padding of at least {-(-(axis.extent - size) // 2)}, or a smaller kernel")
    floor, ceil = axis.out, Axis(size, kernel, stride, before, after, dilation, ceil=True).out
    rest = (total - axis.extent) % stride
    if as_json:
        return console.print_json({"size": size, "kernel": kernel, "stride": stride,
                                   "padding": before if before == after else [before, after],
                                   "dilation": dilation, "exact": (total - axis.extent) / stride + 1,
                                   "floor": floor, "ceil": ceil, "unused_pixels": rest})  # fmt: skip
    if padding.startswith("same"):
        console.say(f"padding {padding}: {before} before and {after} after the {size}, for ⌈W/S⌉ = ⌈{size}/{stride}⌉ = "
                    f"{-(-size // stride)} windows.")
    sides = "2P" if before == after else "P + P'"
    formula, numbers = f"(W + {sides} − K)/S + 1", f"({size} + {added} − {kernel})/{stride} + 1"
    if dilation > 1:
        formula = f"(W + {sides} − D·(K − 1) − 1)/S + 1"
        numbers = f"({size} + {added} − {dilation}·({kernel} − 1) − 1)/{stride} + 1"
    exact = floor if not rest else (total - axis.extent) / stride + 1
    console.say(f"{formula} = {numbers} {'=' if exact == round(exact, 2) else '≈'} {round(exact, 2)}")
    if not rest:
        console.say(f"[bold]{floor}[/] windows fit exactly.")
        return None
    last = "the last pixel is" if rest == 1 else f"the last {rest} pixels are"
    padded = " with the padding" * bool(before + after)
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
    room = axis.size + axis.before + axis.after - axis.extent
    rest = room % axis.stride
    sizes = [str(size) for size in (axis.size - rest, axis.size - rest + axis.stride) if size > 0]
    paddings = [p for p in range(axis.before + 1, axis.before + axis.stride + 1)
                if axis.before == axis.after and (axis.size + 2 * p - axis.extent) % axis.stride == 0]  # fmt: skip
    other = f", or on {axis.size} with padding {paddings[0]}" if paddings else ""
    return f"They fit evenly on {' or '.join(sizes)} pixel{'s' * (sizes != ['1'])}{other}."


def _sides(text: str, size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """The pixels added before and after: of "1", "0,1", "valid", "same" or "same_lower"."""
    if text in ("same", "same_lower", "valid"):
        return around(text, (1, size), (1, kernel), (1, stride), (1, dilation))[1]
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 <= n <= LARGEST for n in numbers):
        raise typer.BadParameter(f"{text!r} is not a number of pixels from 0 on, two such as 0,1, same, same_lower or "
                                 "valid", param_hint="'--padding'")  # fmt: skip
    return numbers[0], numbers[-1]
