"""The steps of a plan as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One step of a plan."""

    layer: str
    """The layer's name in the model."""
    op: str
    folded: tuple[str, ...]
    """The other ops that are part of this step."""
    output: tuple[int, ...]
    kernel: str
    """The kernel that computes it; "op": as in the model, by the CPU's backend; "": nothing is left to compute."""
    bytes: int
    """Of its output."""


@dataclass(frozen=True, repr=False)
class Table:
    """`print(table)` shows it; `rows` are its steps."""

    title: str
    rows: tuple[Row, ...]
    memory: int
    """The bytes of the plan's memory, in which outputs follow each other."""
    unshared: int
    """The bytes of all outputs, if each had its own memory."""
    compiled: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"title": self.title, "memory": self.memory, "unshared": self.unshared,
                "rows": [vars(row) for row in self.rows]}  # fmt: skip

    def __str__(self) -> str:
        headings = ("layer", "step", "folded into it", "output", "kernel", "kB")
        lines = [headings, *(self._cells(row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines)]
        text = [self.title]
        for line in lines:
            *cells, size = (cell.ljust(width) for cell, width in zip(line, widths))
            text.append("  ".join((*cells, size.rstrip().rjust(widths[-1]))))
        return "\n".join((*text, "", self._sum()))

    __repr__ = __str__

    def _cells(self, row: Row) -> tuple[str, ...]:
        return (row.layer, row.op, ", ".join(row.folded), "×".join(map(str, row.output)), row.kernel or "–",
                f"{row.bytes / 1000:,.1f}" if row.bytes else "")

    def _sum(self) -> str:
        if not self.compiled:
            return "No kernels: every step is an op of the CPU's backend, and its result is freed after its last use."
        saved = "" if self.memory >= self.unshared else f"; {self.unshared / 1e6:,.2f} MB if each had its own"
        return f"Memory of all outputs: {self.memory / 1e6:,.2f} MB{saved}."
