"""minicnn image FILE"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minicnn.cli import console
from minicnn.cli.explain import Out, numbers, show


def image(
    file: Annotated[str, typer.Argument(help="A picture file, or digits:N for a test digit.")],
    crop: Annotated[str, typer.Option(help="ROW,COLUMN,ROWS,COLUMNS of the numbers to print; by default some in the "
                                           "middle.")] = "",
    bits: Annotated[int, typer.Option(help="Bits for each number: what is left with fewer than 8.", min=1, max=8)] = 8,
    channel: Annotated[str, typer.Option(help="red, green or blue: this channel alone.")] = "",
    out: Out = None,
    as_json: console.Json = False,
):  # fmt: skip
    """Show a picture as the matrix that it is: H × W × C, type, range, the numbers under a crop, bits and bytes."""
    from minicnn import explain

    source = file if file.partition(":")[0] == "digits" else Path(file)
    show(lambda: explain.pixels(source, numbers("--crop", crop, 4), bits, channel), as_json, out)
