"""One window of a pooling: the maximum with its winner, the average, the L2 norm, and where each sends its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.explain import show
from minicnn.explain.answer import Answer, Panel
from minicnn.explain.convolution import cell_of
from minicnn.explain.samples import Picture, picture
from minicnn.geometry import Pool2dGeometry
from minicnn.names import unknown
from minicnn.ops.pool import avg_pool2d, lp_pool2d, max_pool2d
from minicnn.tensor import Tensor

KINDS = {"max": "y = the largest x of the window", "average": "y = Σ x / m, m numbers", "l2": "y = √(Σ x²)"}
OPS: dict[str, Any] = {"max": max_pool2d, "average": avg_pool2d, "l2": lp_pool2d}


@dataclass(frozen=True)
class Pooled:
    """What one kind of pooling makes of the picture and of one window."""

    kind: str
    map: np.ndarray
    """(OH,OW)"""
    value: float
    gradient: np.ndarray
    """(KH,KW): ∂y/∂x for each number of the window; NaN in the padding."""
    line: str
    """The formula with the numbers in it."""


@dataclass(frozen=True, repr=False)
class Pooling(Answer):
    """One window of a picture, pooled in one or all of the three ways."""

    picture: Picture
    kernel: int
    stride: int
    padding: int
    at: tuple[int, int]
    corner: tuple[int, int]
    window: np.ndarray
    """(KH,KW); NaN in the padding."""
    winner: tuple[int, int]
    """The row and column of the window's largest number in the picture."""
    kinds: tuple[Pooled, ...]

    def page(self) -> list[show.Block]:
        """The window, then for each kind the formula, the gradient and the map."""
        x, K = self.picture.pixels[0], self.kernel
        (top, left), won = self.corner, (self.winner[0] - self.corner[0], self.winner[1] - self.corner[1])
        blocks: list[show.Block] = [
            show.Heading(f"{self.picture.name} ({show.shape(x.shape)}), windows of {K}×{K}, stride {self.stride}"
                         + f", padding {self.padding}" * bool(self.padding)),
            *([show.Say(f"{self.picture.name}: {self.picture.about}.")] if self.picture.about else []),
            show.Say(f"The window of cell {show.place(self.at)} reads rows {top} to {top + K - 1}, columns {left} to "
                     f"{left + K - 1}."),
        ]
        if max(x.shape) <= 10:
            inside = [(i, j) for i in range(top, top + K) for j in range(left, left + K)]
            blocks.append(show.grid("picture, the window marked", x, inside, (0, 0)))
        for kind in self.kinds:
            blocks += [show.Heading(kind.kind), show.Formula(f"{KINDS[kind.kind]}\n{kind.line}")]
            window = show.grid("window" + ", the winner marked" * (kind.kind == "max"), shown(self.window),
                               [won] if kind.kind == "max" else [])  # fmt: skip
            parts = [window, show.grid("∂y/∂x", shown(kind.gradient))]
            if max(kind.map.shape) <= 10:
                parts.append(show.grid("all windows", kind.map, [self.at]))
            blocks.append(show.Beside(tuple(parts)))
        if any(kind.kind == "max" for kind in self.kinds):
            blocks.append(show.Say(f"The maximum is the pixel {show.place(self.winner)}: all of the gradient goes "
                                   f"there "
                                   "and none to the other pixels. Of equal pixels the first in reading order wins."))
        return blocks

    def panels(self) -> list[Panel]:
        """The picture with the window, and a map of each kind."""
        box = (*self.corner, self.kernel, self.kernel)
        return [Panel(self.picture.name, self.picture.pixels[0], (box,)),
                *(Panel(kind.kind, kind.map, ((*self.at, 1, 1),)) for kind in self.kinds)]


def shown(window: np.ndarray) -> np.ndarray:
    """A window with −∞, which is shown as padding, where it is NaN."""
    return np.where(np.isnan(window), -np.inf, window)


def pool(image: Any = "numbers", kind: str = "all", kernel: int = 2, stride: int | None = None, padding: int = 0,
         cell: tuple[int, int] = (0, 0)) -> Pooling:
    """One window of a picture, pooled: "max", "average", "l2" or "all" of them.

        max  y = max x      average  y = Σ x / m      l2  y = √(Σ x²)

    image: as for `conv`, in grey.   stride: by default the kernel's size.   cell: the (row, column) of the output.
    ValueError where the windows do not fit, or there is no such cell. The average counts only pixels, not padding.
    """
    if kind not in ("all", *KINDS):
        raise ValueError(unknown("pooling", str(kind), ("all", *KINDS)))
    padding = arguments.integer("padding", padding, 0)
    kernel = arguments.integer("kernel", kernel, 1)
    x = picture(image)
    if len(x.pixels) != 1:
        raise ValueError(f"the picture {x.name} has {len(x.pixels)} channels: pooling treats each by itself, so "
                         f"give one")
    g = Pool2dGeometry.of((1, *x.pixels.shape), kernel, stride, padding)
    i, j = at = cell_of(cell, (g.OH, g.OW))
    top, left = i * g.vertical.stride - g.vertical.before, j * g.horizontal.stride - g.horizontal.before
    rim = np.pad(x.pixels[0], kernel, constant_values=np.nan)
    window = rim[top + kernel : top + 2 * kernel, left + kernel : left + 2 * kernel]
    p, q = np.unravel_index(int(np.nanargmax(window)), window.shape)
    kinds = tuple(_pooled(name, x.pixels, window, (top, left), at, {"kernel_size": kernel, "stride": stride,
                                                                     "padding": padding})
                  for name in (KINDS if kind == "all" else (kind,)))  # fmt: skip
    return Pooling(x, kernel, g.vertical.stride, padding, at, (top, left), window, (int(top + p), int(left + q)), kinds)


def _pooled(name: str, x: np.ndarray, window: np.ndarray, corner: tuple[int, int], at: tuple[int, int],
            options: dict[str, Any]) -> Pooled:  # fmt: skip
    more = {"count_include_pad": False} if name == "average" else {}
    image = Tensor(x[None], requires_grad=True)
    y = OPS[name](image, **options, **more)
    dy = np.zeros(y.shape)
    dy[(0, 0, *at)] = 1
    y.backward(dy)
    dx: Any = image.grad
    gradient = np.full(window.shape, np.nan)
    for p, q in zip(*np.nonzero(~np.isnan(window))):
        gradient[p, q] = dx[0, 0, corner[0] + p, corner[1] + q]
    pixels = [show.number(v) for v in window[~np.isnan(window)]]
    if len(pixels) > 16:
        pixels = [*pixels[:15], f"… ({len(pixels) - 15} more)"]
    value = float(y.numpy()[(0, 0, *at)])
    line = {"max": f"max({', '.join(pixels)})",
            "average": f"({' + '.join(pixels)}) / {int((~np.isnan(window)).sum())}",
            "l2": f"√({' + '.join(f'{v}²' for v in pixels)})"}[name]  # fmt: skip
    return Pooled(name, y.numpy()[0, 0], value, gradient, f"y = {line} = {show.number(value)}")
