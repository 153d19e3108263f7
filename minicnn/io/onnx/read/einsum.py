"""The reader of Einsum: sums of products, as sums, transpositions and matrix products.

The letters of "bhqd,bhkd->bhqk" name the axes. Of two arrays, a letter is

    batch        in both and wanted later              one matrix product for each of its values
    contracted   in both and not wanted any more       summed over by the product
    rows         only in the first                     columns: only in the second

and a letter in one array alone that nobody wants is summed before. A letter that one array has twice means its
diagonal. Three arrays and more are taken two at a time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from minicnn.io.onnx.read.build import Builder, Value
from minicnn.io.onnx.read.node import Node
from minicnn.names import short

TERM = re.compile(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*")
"""The letters of an array, with one ellipsis at most, which stands for all axes without a letter."""


def einsum(g: Builder, node: Node, *xs: Value) -> Value:
    """Einsum."""
    terms, wanted = _terms(node.text("equation"), [x.ndim for x in xs])
    arrays = [_diagonal(g, *_without_broadcast(g, x, term, terms, xs)) for x, term in zip(xs, terms)]
    sizes: dict[str, int] = {}
    for x, term in arrays:
        for letter, n in zip(term, x.shape):
            if sizes.setdefault(letter, n) != n:
                raise ValueError(f"the letter {letter} stands for axes of {sizes[letter]} and of {n}")
    y, letters = arrays[0]
    for i, (x, term) in enumerate(arrays[1:], 2):
        later = {*wanted, *(letter for _, other in arrays[i:] for letter in other)}
        y, letters = _product(g, y, letters, x, term, later, sizes)
    y, letters = _summed(g, y, letters, set(wanted))
    if missing := [letter for letter in wanted if letter not in letters]:
        raise ValueError(f"the result has the axis {missing[0]}, which no array has")
    return _in_order(g, y, letters, wanted)


def _terms(equation: str, ndims: Sequence[int]) -> tuple[list[str], str]:
    """(the letters of each array, those of the result); an ellipsis becomes digits, counted from the last axis."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims) or not all(TERM.fullmatch(term) for term in [*terms, right]):
        raise ValueError(f"the equation {short(equation)} does not name the axes of {len(ndims)} arrays")
    hidden = [ndim - len(term.replace("...", "")) if "..." in term else 0 for term, ndim in zip(terms, ndims)]
    most = max(hidden, default=0)
    for term, ndim, more in zip(terms, ndims, hidden):
        if more < 0 or len(term.replace("...", "")) + more != ndim or more > 8:
            raise ValueError(f"the letters {short(term)} of {short(equation)} are not those of {ndim} axes")
    digits = "".join(str(most - 1 - i) for i in range(most))
    if not arrow:                                          # NumPy's rule: in alphabetical order what is there once
        once = sorted(letter for letter in set(left) if letter.isalpha() and left.count(letter) == 1)
        right = "..." + "".join(once)
    terms = [term.replace("...", digits[most - more :]) for term, more in zip(terms, hidden)]
    wanted = right.replace("...", digits)
    if len(set(wanted)) < len(wanted):
        raise ValueError(f"the equation {short(equation)} has a letter twice in its result")
    return terms, wanted


def _without_broadcast(g: Builder, x: Value, term: str, terms: Sequence[str], xs: Sequence[Value]) -> tuple[Value, str]:
    """(x, its letters) without axes of 1 in the place of an ellipsis where another array has more there."""
    def larger(letter: str) -> bool:
        return any(other.shape[t.index(letter)] != 1 for other, t in zip(xs, terms) if letter in t)

    gone = [i for i, letter in enumerate(term) if letter.isdigit() and x.shape[i] == 1 and larger(letter)]
    if not gone:
        return x, term
    return g.call("squeeze", x, axis=tuple(gone)), "".join(t for i, t in enumerate(term) if i not in gone)


def _diagonal(g: Builder, x: Value, term: str) -> tuple[Value, str]:
    """(x, its letters) with the diagonal in the place of two axes of one letter: every n + 1st of n² elements."""
    while twice := [letter for letter in term if term.count(letter) > 1]:
        first, second = [i for i, letter in enumerate(term) if letter == twice[0]][:2]
        n = x.shape[first]
        if x.shape[second] != n:
            raise ValueError(f"the letter {twice[0]} stands for axes of {n} and of {x.shape[second]}")
        rest = [i for i in range(x.ndim) if i not in (first, second)]
        x = g.call("transpose", x, axes=(*rest, first, second)) if (first, second) != (x.ndim - 2, x.ndim - 1) else x
        x = g.call("reshape", x, shape=(*x.shape[:-2], n * n))
        x = g.call("getitem", x, index=(*[slice(None)] * len(rest), slice(None, None, n + 1)))
        term = "".join(term[i] for i in rest) + twice[0]
    return x, term


def _product(g: Builder, a: Value, of_a: str, b: Value, of_b: str, later: set[str],
             sizes: dict[str, int]) -> tuple[Value, str]:  # fmt: skip
    """(the product of two arrays, its letters)"""
    a, of_a = _summed(g, a, of_a, later | set(of_b))
    b, of_b = _summed(g, b, of_b, later | set(of_a))
    batch = "".join(letter for letter in of_a if letter in of_b and letter in later)
    inner = "".join(letter for letter in of_a if letter in of_b and letter not in later)
    rows = "".join(letter for letter in of_a if letter not in of_b)
    columns = "".join(letter for letter in of_b if letter not in of_a)
    first = _grouped(g, _in_order(g, a, of_a, batch + rows + inner), sizes, batch, rows, inner)
    second = _grouped(g, _in_order(g, b, of_b, batch + inner + columns), sizes, batch, inner, columns)
    y = g.call("matmul", first, second)
    letters = batch + rows + columns
    shape = tuple(sizes[letter] for letter in letters)
    return (y if y.shape == shape else g.call("reshape", y, shape=shape)), letters


def _grouped(g: Builder, x: Value, sizes: dict[str, int], batch: str, *groups: str) -> Value:
    """The array with one axis for each letter of the batch, and one for each of the groups."""
    shape = (*(sizes[letter] for letter in batch), *(math.prod(sizes[letter] for letter in group) for group in groups))
    return x if x.shape == shape else g.call("reshape", x, shape=shape)


def _summed(g: Builder, x: Value, letters: str, kept: set[str]) -> tuple[Value, str]:
    """(x, its letters) after the sum over all letters but those that are kept"""
    gone = tuple(i for i, letter in enumerate(letters) if letter not in kept)
    if not gone:
        return x, letters
    return g.call("sum", x, axis=gone), "".join(letter for letter in letters if letter in kept)


def _in_order(g: Builder, x: Value, letters: str, wanted: str) -> Value:
    return x if letters == wanted else g.call("transpose", x, axes=tuple(letters.index(letter) for letter in wanted))
