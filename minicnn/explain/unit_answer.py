"""What is known about one number of a net, and its page: the formula, the window, the sum, the gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.explain import show
from minicnn.explain.answer import Answer, Panel, plain
from minicnn.explain.cell import Cell, Part

MOST_CHANNELS, MOST_INPUTS, MOST_SUMS, MOST_WINNERS = 2, 12, 12, 16


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
    before: tuple[Cell | None, ...]
    """For each input that is a single number the cell that computed it, such as the sum before a ReLU."""
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
        before = [given and {"op": given.op, "formula": given.formula, "in_numbers": given.in_numbers(),
                             "value": given.value} for given in self.before]  # fmt: skip
        found = {"layer": self.layer, "kind": self.kind, "unit": self.at, "shape": self.shape, "value": self.value,
                 "op": self.cell.op, "formula": self.cell.formula, "in_numbers": self.cell.in_numbers(),
                 "numbers": self.cell.numbers, "bias": self.cell.bias, "winner": self.cell.winner,
                 "passes_on": self.passes_on, "inputs": inputs, "before": before, "box": self.box, "class": self.index,
                 "class_name": self.name, "score": self.score, "gradient": self.gradient}  # fmt: skip
        return plain(found)

    def page(self) -> list[show.Block]:
        """The formula, the window, the sum, the gradient."""
        return page(self)

    def panels(self) -> list[Panel]:
        """The image with the receptive field; of the strongest channel the window, the factors and the products."""
        boxes: tuple[tuple[int, int, int, int], ...] = ()
        if self.box is not None:
            (top, bottom), (left, right) = self.box
            boxes = ((top, left, bottom - top, right - left),)
        pixels = self.image.mean(0) if self.image.ndim == 3 else self.image[None]
        found = [Panel("the image, and what the unit depends on", pixels, boxes)]
        for part in self.inputs[:1]:
            c = strongest(part)[0]
            for title, values in (("values", part.values), ("factors", part.factors), ("products", part.products)):
                channel = f", channel {part.box[1][c]}" if values.ndim == 4 else ""
                found.append(Panel(title + channel, matrix(values, c)))
        return found


def page(u: Unit) -> list[show.Block]:
    """The blocks of a Unit."""
    blocks: list[show.Block] = [
        show.Heading(f"{u.layer} ({u.kind}), unit {show.place(u.at)} of {show.shape(u.shape)}: {show.number(u.value)}")]
    if u.passes_on:
        blocks.append(show.Say("In eval mode this layer returns its input unchanged; the number comes from the op "
                               "before "
                               "it."))
    if u.box is not None:
        (top, bottom), (left, right) = u.box
        blocks.append(show.Say(f"It depends on rows {top} to {bottom - 1} and columns {left} to {right - 1} of the "
                               f"image."))
    cell = u.cell
    line = f"{cell.op}: {cell.formula}"
    if cell.kind == "winner" and u.inputs[0].values.size <= MOST_WINNERS:
        read = u.inputs[0].values.ravel().tolist()
        name = cell.formula.removeprefix("y = ").split()[0]
        line += f"\ny = {name}({', '.join(show.number(v) for v in read if np.isfinite(v))}) = {show.number(u.value)}"
    if cell.numbers and cell.kind == "formula":
        line += f"\ny = {cell.in_numbers()} = {show.number(u.value)}"
    for part, given in zip(u.inputs, u.before):
        if given is not None:
            letter = part.name if len(u.inputs) > 1 else "x"
            line += f"\n{letter} = {given.in_numbers()} = {show.number(given.value)}, {given.op}: {given.formula}"
    blocks.append(show.Formula(line))
    if cell.kind == "copy" and u.inputs:
        part = u.inputs[0]
        where = show.place([r.start for r in part.box][1:])
        blocks.append(show.Say(f"The number is copied from {where} of input {part.argument} ({part.name})."))
    for part in u.inputs:
        if part.values.size > 1:
            blocks += _part(u, part)
    if cell.kind == "products" and u.inputs:
        blocks.append(_sum(u))
    return [*blocks, *_gradient(u)]


def matrix(values: np.ndarray, c: int) -> np.ndarray:
    """Channel c of a window (1,C,KH,KW) as a matrix; other values as one row."""
    return values[0, c] if values.ndim == 4 else values.reshape(1, -1)


def strongest(part: Part) -> list[int]:
    """The channels of a window by the size of their sums, the largest first."""
    if part.values.ndim != 4:
        return [0]
    sums = np.abs(np.asarray(part.products, np.float64).sum((0, 2, 3)))
    return [int(c) for c in np.argsort(-sums, kind="stable")]


def _part(u: Unit, part: Part) -> list[show.Block]:
    """The window of the strongest channels as grids, or the strongest inputs as a table."""
    if part.values.ndim != 4 or part.values.shape[2] * part.values.shape[3] == 1:
        return [*_table(u, part)]
    _, channels, rows, columns = part.box
    word = "channel" if len(channels) == 1 else "channels"
    span = f"{channels[0]}" if len(channels) == 1 else f"{channels[0]} to {channels[-1]}"
    blocks: list[show.Block] = [show.Say(f"It reads {word} {span}, rows {_span(rows)}, columns {_span(columns)} of "
                                         f"{'its input' if len(u.inputs) == 1 else 'input ' + str(part.argument)}"
                                         f"{_rim(part)}.")]  # fmt: skip
    winner = u.cell.kind == "winner"
    chosen = strongest(part)[:MOST_CHANNELS]
    if len(channels) > len(chosen):
        blocks.append(show.Say(f"The {len(chosen)} channels with the largest sums, of {len(channels)}:"))
    for c in chosen:
        name = f" {channels[c]}" if len(channels) > 1 else ""
        values = part.values[0, c]                        # −∞ in the padding of a maximum
        if winner and u.cell.winner is not None:
            _, _, p, q = u.cell.winner
            grids: list[Any] = [show.grid("window, the winner marked", values, [(p, q)])]
        else:
            factor = "filter" if u.cell.op.startswith("conv") else "∂y/∂x"
            grids = [show.grid(f"window{name}", values), "×", show.grid(f"{factor}{name}", part.factors[0, c])]
            if u.cell.kind == "products":
                grids += ["=", show.grid(f"products{name}", part.products[0, c])]
        blocks.append(show.Beside(tuple(grids)))
        if u.gradient:
            blocks.append(show.grid(f"gradient back to the window{name}: ∂score/∂y · "
                                    + ("1 at the winner" if winner else "factor"), u.back(part)[0, c]))
    return blocks


def _table(u: Unit, part: Part) -> list[show.Block]:
    """The inputs with the largest products."""
    x, factors, products = (np.ravel(v) for v in (part.values, part.factors, part.products))
    order = _largest(part)
    places = [show.place([r[n] for r, n in zip(part.box, at)][1:]) for at in
              zip(*(axis.tolist() for axis in np.unravel_index(order, part.values.shape)))]  # fmt: skip
    headings, columns = ["input", ">x", ">∂y/∂x", ">product"], [x, factors, products]
    if u.gradient is not None:
        headings.append(">gradient back")
        columns.append(np.ravel(u.back(part)))
    rows = tuple((place, *(show.number(column[n]) for column in columns)) for place, n in zip(places, order))
    blocks: list[show.Block] = [show.Table(tuple(headings), rows)]
    if len(x) > len(order):
        left = products.sum(dtype=np.float64) - products[order].sum(dtype=np.float64)
        blocks.append(show.Say(f"The {len(order)} largest products of {len(x):,}; all the others together: "
                               f"{show.number(left)}."))
    return blocks


def _largest(part: Part) -> np.ndarray:
    """The places of the largest products."""
    return np.argsort(-np.abs(np.ravel(part.products)), kind="stable")[:MOST_INPUTS]


def _sum(u: Unit) -> show.Block:
    """y = the sums of the channels + b, or the sum of all products + b."""
    part = u.inputs[0]
    products = np.asarray(part.products, np.float64)
    bias = u.cell.bias or 0.0
    total = float(products.sum()) + bias
    result = show.number(total)
    if products.ndim == 4 and products.shape[1] == 1:
        return show.Formula("y = " + show.total(products, part.factors, part.values, result, bias))
    if products.ndim == 4 and products.shape[1] <= MOST_SUMS:
        terms = [show.product(s) for s in products.sum((0, 2, 3))]
        what = f"the sums of the {len(terms)} channels"
    elif products.ndim == 4:
        terms, what = [show.product(products.sum())], f"the sum of all {products.size:,} products"
    else:
        order = _largest(part)
        terms, what = [show.product(products.ravel()[n]) for n in order], "the products of the table"
        if len(order) < products.size:
            terms.append(show.product(products.sum() - products.ravel()[order].sum()))
            what += ", all the others"
    if bias:
        terms.append(show.product(bias))
        what += ", and the bias"
    return show.Formula("y = " + " + ".join(terms) + f" = {result}" * (len(terms) > 1) + f"   ({what})")


def _gradient(u: Unit) -> list[show.Block]:
    if u.gradient is None:
        return [show.Say("The net's output is not one score for each class, so there is no score to take a gradient "
                         "of.")]
    blocks: list[show.Block] = [show.Formula(f"∂score/∂y = {show.number(u.gradient)}   (the score is the net's output "
                                             f"for {u.name}, {show.number(u.score)})")]  # fmt: skip
    if not u.gradient:
        blocks.append(show.Say("Nothing flows back through this number: after it comes a ReLU that is off, or a "
                               "maximum "
                               "that another number wins, or the class does not depend on it."))
        return blocks
    single = [part for part in u.inputs if part.values.size == 1]
    if single:
        lines = [f"∂score/∂{'x' if len(u.inputs) == 1 else f'input {part.argument}'} = ∂score/∂y · ∂y/∂x = "
                 f"{show.product(u.gradient, part.factors.item())} = {show.number(self_back)}"
                 for part in single for self_back in [float(u.back(part).item())]]  # fmt: skip
        blocks.append(show.Formula("\n".join(lines)))
        if all(part.factors.item() == 0 for part in single):
            blocks.append(show.Say("The factor ∂y/∂x is 0 here: the activation is off, so nothing flows back."))
    return blocks


def _span(r: range) -> str:
    step = f" in steps of {r.step}" if r.step > 1 else ""
    return f"{r[0]} to {r[-1]}{step}" if len(r) > 1 else f"{r[0]}"


def _rim(part: Part) -> str:
    outside = sum(n < 0 for r in part.box[2:] for n in r)
    return ", of which some lie in the padding" if outside else ""
