"""Draws every picture of the pages whose numbers the code computes: python -m docs.figures.draw. Needs matplotlib.

A PNG file keeps what was drawn, as text: each label with its place, each line and matrix with its numbers. Fonts and
versions of matplotlib change pixels, not this text, so it tells whether a picture is still what the code draws. A
picture whose text is the same is not written again; --all writes all.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from docs.figures import blocks, compiled, learn, notebooks, tour, use

PICTURES = Path(__file__).parent.parent / "pictures"
FIGURES = (tour.FIGURES | {"compiled-block.png": compiled.block} | learn.FIGURES | blocks.FIGURES | notebooks.FIGURES
           | use.FIGURES)  # fmt: skip
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]\d+)?")


def contents(figure: Figure) -> list[str]:
    """What a figure shows, a line for each text, line, patch and matrix."""
    found = []
    for axes in figure.axes:
        for artist in axes.get_children():
            if isinstance(artist, Text):
                found.append(f"text {artist.get_text()!r} {_numbers(artist.get_position())}" * bool(artist.get_text()))
            elif isinstance(artist, Patch) and artist is not axes.patch:
                box = artist.get_path().vertices if not hasattr(artist, "get_bbox") else artist.get_bbox().get_points()
                found.append(f"patch {_numbers(artist.get_facecolor())} {_numbers(box)}")
        found += [f"line {_numbers(line.get_xydata())}" for line in axes.lines]
        found += [f"image {image.get_array().shape} {_numbers(image.get_array())}" for image in axes.images]
        ticks = axes.xaxis.get_major_formatter()
        labels = list(ticks.seq) if isinstance(ticks, FixedFormatter) else []
        found.append(f"axes {[axes.get_xlabel(), axes.get_ylabel(), *filter(None, labels)]}")
    return [line.replace("\n", " ") for line in found if line]


def _numbers(values: object) -> str:
    return " ".join(f"{number:.4g}" for number in np.ravel(np.asarray(values, float)))


def kept(picture: Path) -> list[str]:
    """What the figure in a file showed when it was drawn."""
    with Image.open(picture) as image:
        return image.info.get("Contents", "").split("\n")  # type: ignore[attr-defined]


def differences(drawn: list[str], before: list[str]) -> Iterator[str]:
    """The lines that differ: in words, or in a number by more than its last digits."""
    if len(drawn) != len(before):
        yield f"{len(drawn)} parts, before {len(before)}"
    for new, old in zip(drawn, before):
        numbers = [[float(n) for n in NUMBER.findall(line)] for line in (new, old)]
        same = NUMBER.sub("·", new) == NUMBER.sub("·", old) and np.allclose(*numbers, rtol=2e-3, atol=1e-5)
        if not same:
            yield f"{new[:200]} … before: {old[:200]}"


def save(figure: Figure, picture: Path) -> None:
    """Write a figure with its contents; 256 colours make the file small."""
    info = PngInfo()
    info.add_itxt("Contents", "\n".join(contents(figure)), zip=True)
    figure.savefig(picture)
    with Image.open(picture) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(picture, optimize=True, pnginfo=info)


def main() -> None:
    """The program."""
    for name, draw in FIGURES.items():
        figure, picture = draw(), PICTURES / name
        if "--all" in sys.argv or not picture.exists() or any(differences(contents(figure), kept(picture))):
            save(figure, picture)
            print(f"drawn: {picture}")


if __name__ == "__main__":
    main()
