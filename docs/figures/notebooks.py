"""The picture of the notebooks' page, as a cell of a notebook draws it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.figure import Figure

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def cells(notebook: str) -> list[str]:
    """The code of a notebook, cell by cell."""
    held = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text("utf-8"))
    return ["".join(cell["source"]) for cell in held["cells"] if cell["cell_type"] == "code"]


def intervals() -> Figure:
    """Forty experiments of five seeds each, and the intervals that miss the truth: the last cell about claims."""
    code, names = cells("4-claims"), dict[str, Any]()
    pyplot.switch_backend("agg")
    for cell in (code[0], code[-1]):
        exec(compile(cell, "4-claims", "exec"), names)
    pyplot.close("all")
    figure: Figure = names["figure"]
    figure.set_dpi(110)
    return figure


FIGURES = {"notebooks-intervals.png": intervals}
