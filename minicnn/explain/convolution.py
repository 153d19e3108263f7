"""One number of a convolution: window × filter = products, and their sum; and the filter turned around."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.explain import show
from minicnn.explain.answer import Answer, Panel, finite
from minicnn.explain.cell import take
from minicnn.explain.samples import Filter, Picture, filter_, picture
from minicnn.geometry import Conv2dGeometry
from minicnn.names import short
from minicnn.ops.conv import conv2d
from minicnn.tensor import Tensor, no_grad


@dataclass(frozen=True)
class Cell:
    """One number of the map: y[i,j] = Σ window · filter + bias."""

    at: tuple[int, int]
    corner: tuple[int, int]
    """The row and column of the picture that the first tap reads; negative in the padding."""
    window: np.ndarray
    """(C,KH,KW), 0 in the padding."""
    products: np.ndarray
    value: float


@dataclass(frozen=True, repr=False)
class Convolution(Answer):
    """A filter on a picture: the map, one cell of it worked out, and a cell where the same filter answers nothing."""

    picture: Picture
    filter: Filter
    stride: int
    padding: int
    bias: float
    map: np.ndarray
    """(OH,OW)"""
    cell: Cell
    elsewhere: Cell | None

    def page(self) -> list[show.Block]:
        """The windows as numbers, the sums, the map."""
        x, w, y = self.picture.pixels, self.filter.taps, self.map
        size = f"{show.shape(y.shape)} numbers, one for each window"
        if len(w) > 1:
            size += f": the products of all {len(w)} channels are added up, so one filter makes one map"
        options = "".join(f", {name} {n}" for name, n in (("stride", self.stride), ("padding", self.padding))
                          if n != (name == "stride"))  # fmt: skip
        blocks: list[show.Block] = [
            show.Heading(f"{self.picture.name} ({show.shape(x.shape)}), filter {self.filter.name} "
                         f"({show.shape(w.shape)}){options}"),
            *(show.Say(f"{what.name}: {what.about}.") for what in (self.picture, self.filter) if what.about),
            show.Formula("y[i,j] = Σ w[c,p,q] · x[c, i·S + p − P, j·S + q − P]" + " + b" * bool(self.bias)),
            *self._worked(self.cell, "The cell"),
        ]
        if self.elsewhere is not None:
            blocks += self._worked(self.elsewhere, "Where there is as much to see, but the filter does not fit: cell")
        if y.size > 1:
            blocks += [show.Say(f"The map has {size}. Largest {show.number(y.max())} at {_at(y, y.argmax())}, smallest "
                                f"{show.number(y.min())} at {_at(y, y.argmin())}."),
                       *_map(y, self.cell.at)]  # fmt: skip
            if len(x) == 1 and min(x.shape[1:]) > 7:
                blocks.append(show.Shades(f"The picture, {show.shape(x.shape[1:])}:", x[0]))
        return blocks

    def _worked(self, cell: Cell, title: str) -> list[show.Block]:
        w, channels = self.filter.taps, len(self.filter.taps)
        (top, left), (KH, KW) = cell.corner, w.shape[1:]
        outside = _outside(cell, self.picture.pixels.shape)
        rim = f"; {outside} of its taps lie in the padding, where x is 0" if outside else ""
        blocks: list[show.Block] = [show.Say(f"{title} {show.place(cell.at)} reads rows {top} to {top + KH - 1}, "
                                             f"columns "
                                             f"{left} to {left + KW - 1}{rim}:")]  # fmt: skip
        for c in range(channels):
            name = f" {c}" if channels > 1 else ""
            window, taps = show.grid(f"window{name}", cell.window[c]), show.grid(f"filter{name}", w[c])
            blocks.append(show.Beside((window, "×", taps, "=", show.grid(f"products{name}", cell.products[c]))))
        if channels > 1:
            sums = " + ".join(show.number(s) for s in cell.products.sum((1, 2)))
            tail = f" + {show.number(self.bias)}" if self.bias else ""
            return [*blocks, show.Formula(f"y = {sums}{tail} = {show.number(cell.value)}")]
        line = show.total(cell.products, w, cell.window, show.number(cell.value), self.bias)
        zeros = int((cell.products == 0).sum())
        more = f"   ({zeros} of {w.size} products are 0)" if zeros else ""
        return [*blocks, show.Formula(f"y = {line}{more}")]

    def panels(self) -> list[Panel]:
        """The picture with the window, the filter, the products, the map."""
        (top, left), (KH, KW) = self.cell.corner, self.filter.taps.shape[1:]
        return [Panel(self.picture.name, self.picture.pixels.mean(0), ((top, left, KH, KW),)),
                Panel(f"filter {self.filter.name}", self.filter.taps.sum(0)),
                Panel(f"products, their sum {show.number(self.cell.value)}", self.cell.products.sum(0)),
                Panel("map", self.map, ((*self.cell.at, 1, 1),))]  # fmt: skip


def conv(image: Any, filter: Any, cell: tuple[int, int] | None = None, stride: int = 1, padding: int = 0,
         bias: float = 0.0) -> Convolution:
    """A filter on a picture, and one number of the result worked out:   y[i,j] = Σ_{c,p,q} w[c,p,q] · x[c,i+p,j+q] + b

    image, filter: a name (samples.PICTURES, "digits:7", samples.FILTERS), a file or an array (H,W) or (C,H,W); a
    filter with 3 channels reads a file in colour, one with 1 in grey.   cell: the (row, column) of the map, by default
    that of the largest number.

    ValueError where the filter does not fit the picture or the map has no such cell.
    """
    bias, padding = finite("bias", bias), arguments.integer("padding", padding, 0)
    w = filter_(filter)
    x = picture(image, 3 if len(w.taps) == 3 else 1)
    if len(x.pixels) != len(w.taps):
        raise ValueError(f"the filter {w.name} has {_channels(w.taps)} and the picture {x.name} {_channels(x.pixels)}: "
                         "they must have equally many")
    if len(w.taps) not in (1, 3) and not isinstance(image, (np.ndarray, Picture)):
        raise ValueError(f"the filter {w.name} has {_channels(w.taps)}: for a picture file it must have 1 or 3")
    if padding >= max(w.taps.shape[1:]):
        raise ValueError(f"padding (={padding}) must be less than the filter's size, {show.shape(w.taps.shape[1:])}: "
                         "else windows read no pixel")
    g = Conv2dGeometry.of((1, *x.pixels.shape), (1, *w.taps.shape), stride, padding)
    with no_grad():
        y = conv2d(Tensor(x.pixels[None]), Tensor(w.taps[None]), stride=stride, padding=padding).numpy()[0, 0] + bias
    if cell is None:
        i, j = np.unravel_index(int(y.argmax()), y.shape)
        at = int(i), int(j)
    else:
        at = cell_of(cell, y.shape)

    def worked(i: int, j: int) -> Cell:
        return _worked(x.pixels, w.taps, (i * stride - padding, j * stride - padding), (i, j), bias)

    other = _elsewhere(x.pixels, y - bias, g, at) if cell is None else None
    return Convolution(x, w, stride, padding, bias, y, worked(*at), worked(*other) if other else None)


def _worked(x: np.ndarray, w: np.ndarray, corner: tuple[int, int], at: tuple[int, int], bias: float) -> Cell:
    C, KH, KW = w.shape
    window = take(x, (range(C), range(corner[0], corner[0] + KH), range(corner[1], corner[1] + KW)))
    products = window * w
    return Cell(at, corner, window, products, float(products.sum() + bias))


def _elsewhere(x: np.ndarray, y: np.ndarray, g: Conv2dGeometry, at: tuple[int, int]) -> tuple[int, int] | None:
    """The cell whose window holds at least as much ink as the best one's, and whose answer is nearest to 0."""
    ones = np.ones((1, len(x), g.KH, g.KW))
    stride, padding = g.vertical.stride, g.vertical.before
    with no_grad():
        ink = conv2d(Tensor(np.abs(x)[None]), Tensor(ones), stride=stride, padding=padding).numpy()[0, 0]
    enough = ink >= ink[at]
    enough[at] = False
    if not enough.any() or y[at] <= 0:
        return None
    least = np.abs(np.where(enough, y, np.inf)).min()
    if least > abs(y[at]) / 2:
        return None
    most = np.where(enough & (np.abs(y) == least), ink, -1)
    i, j = np.unravel_index(int(most.argmax()), y.shape)
    return int(i), int(j)


def cell_of(cell: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    """The cell as (row, column); ValueError where a map of this shape has none."""
    if not isinstance(cell, (tuple, list)) or len(cell) != 2:
        raise ValueError(f"the cell {short(cell)} must be two numbers, the row and the column of the map")
    i, j = (arguments.integer(f"cell {show.place(cell)}: the {name}", n, 0, size - 1)
            for name, n, size in zip(("row", "column"), cell, shape))  # fmt: skip
    return i, j


def _outside(cell: Cell, shape: tuple[int, ...]) -> int:
    """Taps in the padding, of one channel."""
    KH, KW = cell.window.shape[1:]
    rows, columns = (sum(0 <= start + p < side for p in range(k))
                     for start, k, side in zip(cell.corner, (KH, KW), shape[1:]))
    return KH * KW - rows * columns


def _channels(array: np.ndarray) -> str:
    return f"{len(array)} channel{'s' * (len(array) != 1)}"


def _at(y: np.ndarray, flat: Any) -> str:
    return show.place([int(n) for n in np.unravel_index(int(flat), y.shape)])


def _map(y: np.ndarray, at: tuple[int, int]) -> list[show.Block]:
    """The map as numbers if it is small; else as shades, and the numbers around the cell."""
    if max(y.shape) <= 10:
        return [show.grid("map", y, [at], (0, 0))]
    top, left = (max(0, min(n - 2, side - 5)) for n, side in zip(at, y.shape))
    near = show.grid(f"map around {show.place(at)}", y[top : top + 5, left : left + 5], [(at[0] - top, at[1] - left)],
                     (top, left))
    return [near, show.Shades(f"The whole map, {show.shape(y.shape)}:", y)]


# ------------------------------------------------------------------------------------------- convolution or correlation


@dataclass(frozen=True, repr=False)
class Flip(Answer):
    """The same filter as a cross-correlation, as the layers of a net have it, and as a mathematician's convolution."""

    picture: Picture
    filter: Filter
    turned: np.ndarray
    """The filter turned by 180°, (KH,KW)."""
    correlation: np.ndarray
    convolution: np.ndarray
    at: tuple[int, int]
    window: np.ndarray
    equal: bool
    """Whether both maps are the same: the filter equals itself when turned."""

    def page(self) -> list[show.Block]:
        """Both formulas, one cell of each, and both maps."""
        w, i, j = self.filter.taps[0], *self.at
        pairs = ((w, self.correlation, "cross-correlation"), (self.turned, self.convolution, "convolution"))
        blocks: list[show.Block] = [
            show.Heading(f"{self.picture.name} ({show.shape(self.picture.pixels.shape[1:])}), filter "
                         f"{self.filter.name}: "
                         "cross-correlation and convolution"),
            show.Formula("cross-correlation  y[i,j] = Σ w[p,q] · x[i+p, j+q]\n"
                         "convolution        y[i,j] = Σ w[KH−1−p,KW−1−q] · x[i+p, j+q]"),
            show.Say("A convolution turns the filter by 180° and then does the same. A convolutional layer does not "
                     "turn "
                     "it: its filter is learned, so a turned one would only be learned the other way round."),
            show.Beside((show.grid("filter", w), "turned by 180° →", show.grid("turned", self.turned))),
        ]
        for taps, y, name in pairs:
            products = self.window * taps
            blocks += [show.Say(f"The {name} at {show.place(self.at)}:"),
                       show.Beside((show.grid("window", self.window), "×",
                                    show.grid("filter" + " turned" * (name == "convolution"), taps), "=",
                                    show.grid("products", products))),
                       show.Formula(f"y = "
                                    f"{show.total(products, taps, self.window, show.number(y[i, j]))}")]  # fmt: skip
        if max(self.correlation.shape) <= 10:
            blocks.append(show.Beside(tuple(show.grid(name, y, [self.at], (0, 0)) for _, y, name in pairs)))
        same = "Both maps are equal, because this filter equals itself when it is turned." if self.equal else (
            f"The maps differ by up to {show.number(np.abs(self.correlation - self.convolution).max())}.")
        blocks.append(show.Say(same))
        if self.picture.name == "dot":
            blocks.append(show.Say("On a dot the convolution draws the filter itself, the cross-correlation draws it "
                                   "turned by 180°."))
        return blocks

    def panels(self) -> list[Panel]:
        """The picture, the filter both ways, both maps."""
        box = ((*self.at, *self.turned.shape),)
        return [Panel(self.picture.name, self.picture.pixels[0], box), Panel("filter", self.filter.taps[0]),
                Panel("turned by 180°", self.turned), Panel("cross-correlation", self.correlation),
                Panel("convolution", self.convolution)]


def flip(image: Any = "dot", filter: Any = "numbers", cell: tuple[int, int] | None = None) -> Flip:
    """A filter as it is (cross-correlation) and turned by 180° (convolution), on the same picture.

    image, filter, cell: as for `conv`; both have 1 channel.
    """
    w, x = filter_(filter), picture(image)
    for what, array in ((f"the filter {w.name}", w.taps), (f"the picture {x.name}", x.pixels)):
        if len(array) != 1:
            raise ValueError(f"{what} has {_channels(array)}: the comparison takes one")
    first, turned = (conv(x, Filter(w.name, taps, w.about), cell) for taps in (w.taps, w.taps[:, ::-1, ::-1].copy()))
    at = first.cell.at
    return Flip(x, w, turned.filter.taps[0], first.map, turned.map, at, first.cell.window[0],
                bool(np.array_equal(first.map, turned.map)))
