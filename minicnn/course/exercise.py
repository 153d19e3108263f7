"""What an exercise is made of: a starter file, functions with their right results, checks, and kinds of mistakes."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn.tensor import Tensor

Arguments = tuple[Any, ...]
"""The positional arguments of one call."""


@dataclass(frozen=True)
class Mistake:
    """A kind of mistake that can be recognised: a function that has it returns gives(right result, *arguments).

    None where the mistake changes nothing that can be computed for these arguments.
    """

    kind: str
    hint: str
    gives: Callable[..., Any]


@dataclass(frozen=True)
class Function:
    """A function that the learner writes.

    returns: the names of what it returns.   right: (*arguments) → the right result, a tuple if there are several.
    """

    name: str
    returns: tuple[str, ...]
    right: Callable[..., Any]
    mistakes: tuple[Mistake, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Why a check failed: the kind of mistake, a hint of one or two sentences, and a call with its numbers."""

    kind: str
    hint: str = ""
    example: str = ""

    @property
    def text(self) -> str:
        """Hint and example."""
        return " ".join(filter(None, (self.hint, *self.example.splitlines())))


@dataclass(frozen=True)
class Check:
    """One point of the score: the function's results for the arguments that `cases` draws, the smallest first.

    part: which of several results it looks at; None: all.
    rule: (the arguments of all calls, their results) → a Finding or None for each call, in place of the comparison
    with the right result.   kinds: those of its findings that are typical mistakes.
    """

    name: str
    function: str
    cases: Callable[[np.random.Generator], list[Arguments]]
    part: int | None = None
    rule: Callable[[list[Arguments], list[Any]], list[Finding | None]] | None = None
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exercise:
    """A chapter of the course. It needs no other one."""

    number: int
    name: str
    title: str
    korean: str
    starter: str
    functions: tuple[Function, ...]
    checks: tuple[Check, ...]

    @property
    def file(self) -> str:
        """The name of its starter file."""
        return f"ex{self.number:02}_{self.name.replace('-', '_')}.py"

    def function(self, name: str) -> Function:
        """One of its functions."""
        return next(f for f in self.functions if f.name == name)

    def parameters(self, name: str) -> list[str]:
        """The names of a function's arguments, as in the starter file."""
        tree = ast.parse(self.starter)
        found = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
        return [a.arg for a in found.args.args]

    @property
    def kinds(self) -> list[str]:
        """The kinds of mistakes that it recognises."""
        found = [m.kind for f in self.functions for m in f.mistakes] + [k for c in self.checks for k in c.kinds]
        return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Generator:
    """An argument that is a NumPy generator with this seed."""

    seed: int


@dataclass(frozen=True)
class Folder:
    """An argument that is the path of a folder of pictures, drawn with the seed of the check + `index`."""

    index: int


def sizes(rng: np.random.Generator, count: int, low: int = 2, high: int = 7) -> list[int]:
    """`count` different integers from low to high, in random order: no two axes can be confused."""
    return [int(n) for n in rng.choice(np.arange(low, high + 1), count, replace=False)]


def gradients(op: Callable[..., Tensor], dy: np.ndarray, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The gradients of Σ dy·op(*arrays) with respect to each array, by the engine."""
    leaves = [Tensor(a, True) for a in arrays]
    op(*leaves).backward(dy)
    return tuple(np.zeros(leaf.shape) if leaf.grad is None else leaf.grad for leaf in leaves)


def changed(results: tuple, part: int, value: Any) -> tuple:
    """`results` with one of them replaced."""
    return (*results[:part], value, *results[part + 1 :])


def overwritten(dx: Callable[[np.ndarray], np.ndarray], covers: Callable[[np.ndarray], np.ndarray], dy: np.ndarray,
                backwards: bool = False) -> np.ndarray:
    """What remains of the gradient dx(dy) if each window overwrites what others have written before it.

    dy (…, OH, OW)   covers: (ones at one window) → not 0 at the pixels that this window writes.   backwards: the last
    window first.
    """
    left = np.zeros_like(dx(dy))
    places = list(np.ndindex(dy.shape[-2:]))
    for i, j in places[::-1] if backwards else places:
        one, here = np.zeros_like(dy), np.zeros_like(dy)
        one[..., i, j], here[..., i, j] = dy[..., i, j], 1
        left = np.where(covers(here) != 0, dx(one), left)
    return left
