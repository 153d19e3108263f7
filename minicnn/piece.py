"""The piece of a batch that this process computes, where several ranks share each batch (minicnn/ranks.py).

The batch is the same for any number of ranks: `batch_size` counts the images of all of them. Rank r of k gets rows
⌊r·N/k⌋ … ⌊(r + 1)·N/k⌋ − 1, so pieces differ by one row at most. A rank that gets none (fewer rows than ranks) computes
row 0 as a stand-in, which counts for nothing: so every rank sends the same messages in each step.

Two layers need to know the piece: dropout, whose mask is the whole batch's, and batch norm, whose statistics are.
"""

from __future__ import annotations

import contextvars
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from minicnn.settings import within


class Piece(NamedTuple):
    """Rows `first` … `first + size − 1` of a batch of `whole` rows."""

    first: int
    size: int
    whole: int

    @property
    def rows(self) -> slice:
        """The rows to compute: these, or row 0 as a stand-in."""
        return slice(self.first, self.first + self.size) if self.size else slice(0, 1)


def piece(whole: int, rank: int, size: int) -> Piece:
    """The piece of rank `rank` of `size` ranks."""
    first = whole * rank // size
    return Piece(first, whole * (rank + 1) // size - first, whole)


class Shared(NamedTuple):
    """What layers ask for while a piece is computed."""

    piece: Piece
    ranks: Any
    """The ranks, on a communicator that only batch norm uses; they may have only one member."""


present: contextvars.ContextVar[Shared | None] = contextvars.ContextVar("piece", default=None)


def computing(part: Piece, ranks: Any) -> AbstractContextManager[None]:
    """Within the block modules compute this piece of a batch."""
    return within(present, Shared(part, ranks))
