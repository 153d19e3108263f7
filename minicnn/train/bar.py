"""Progress in a loop of one's own: a bar in a terminal or a notebook, and on a pipe a line now and then."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")

SECONDS = 10.0
"""Seconds between two lines on a pipe."""


def progress(work: Iterable[T], what: str = "working") -> Iterator[T]:
    """The items of `work`, such as batches: `for images, labels in progress(batches, "epoch 1"): …`.

    The bar and the lines are on stderr, so what the program prints stays as it is.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import track

    total = len(work) if isinstance(work, Sized) else None
    console = Console(stderr=True, emoji=False, markup=False)
    if console.is_terminal or console.is_jupyter:
        yield from track(work, escape(what), total=total, console=console, transient=True)
        return
    last = time.monotonic()
    for done, item in enumerate(work, 1):
        yield item
        if done != total and time.monotonic() - last >= SECONDS:
            last = time.monotonic()
            console.print(f"{what}: {done:,}" + (f" of {total:,}" if total else ""), soft_wrap=True)
