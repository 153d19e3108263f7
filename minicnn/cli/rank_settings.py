"""The ranks of `minicnn train` and `minicnn transfer`, and the option that both have."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Annotated

import typer

import minicnn
from minicnn import ranks

RankWait = Annotated[
    float, typer.Option(help="Seconds that a rank waits for the others before all end; 0: for ever.", min=0)
]
"""The type of the option --rank-wait."""


@contextlib.contextmanager
def joined(wait: float) -> Iterator[ranks.Alone]:
    """The ranks that a launcher started; those of one machine share its cores."""
    with ranks.joined(wait) as team:
        if team.threads and not os.environ.get("MINICNN_NUM_THREADS", "").strip():
            minicnn.set_num_threads(team.threads)
        yield team
