"""Matplotlib figures without pyplot, so that no window and no global state is involved. A notebook shows them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from minicnn import foreign
from minicnn.data import fonts


def figure(width: float, height: float) -> Any:
    """An empty figure of that many inches. ModuleNotFoundError says what to install where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.text import Text
    except ImportError:
        raise ModuleNotFoundError("pictures need matplotlib: install it with `pip install matplotlib`") from None

    class Shown(Figure):
        """A figure that a notebook draws also where pyplot was never imported, with fonts for all its characters."""

        def draw(self, renderer: Any) -> None:
            """Draw, with further fonts for characters that matplotlib's lacks; `NoFontWarning` names what none has."""
            texts = [text for text in self.findobj(Text) if not text.get_text().isascii()]
            chosen, missing = fonts.families("".join(text.get_text() for text in texts))
            for text in texts if chosen else ():
                text.set_fontfamily([*dict.fromkeys([*text.get_fontfamily(), fonts.OWN, *chosen])])
            fonts.tell(missing)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Glyph .* missing from")
                super().draw(renderer)

        def _repr_png_(self) -> bytes:
            import io

            self.savefig(content := io.BytesIO(), format="png")
            return content.getvalue()

    return Shown(figsize=(width, height), layout="constrained", dpi=120)


def sheet(images: np.ndarray, titles: Sequence[str], columns: int = 8) -> Any:
    """Small images with a title each. images (N,C,H,W), C 1 or 3, from 0 to 1 or uint8"""
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    fig = figure(1.2 * columns, 1.4 * rows)
    axes = fig.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, title in zip(axes.flat, images, titles):
        shown = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        ax.imshow(shown, cmap="gray", vmin=0, vmax=1 if image.dtype.kind == "f" else 255)
        ax.set_title(foreign.picture(title), fontsize=8)
    return fig
