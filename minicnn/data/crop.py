"""Which part of a picture becomes an image: boxes (left, top, right, bottom) in pixels of the picture."""

from __future__ import annotations

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels of the upright picture. Pixels outside the picture are background."""


def whole(width: float, height: float) -> Box:
    """The whole picture."""
    return 0, 0, width, height


def middle(width: float, height: float, size: tuple[int, int], resize: int = 0) -> Box:
    """The part in the centre of a picture that becomes an image of `size` (H, W).

    With `resize`: as if the shorter side were resized to that many pixels and `size` then cropped from the centre.
    Without (0): the largest part with the shape of `size`.
    """
    H, W = size
    scale = min(width, height) / resize if resize else min(width / W, height / H)
    return _centred(width, height, W * scale, H * scale)


def around(width: float, height: float, size: tuple[int, int]) -> Box:
    """The smallest box with the shape of `size` (H, W) that contains the whole picture; two sides may be outside."""
    H, W = size
    scale = max(width / W, height / H)
    return _centred(width, height, W * scale, H * scale)


def _centred(width: float, height: float, w: float, h: float) -> Box:
    # Rounding must neither move a side out of the picture nor leave a small margin where the box fits exactly.
    w, h = (width if abs(w - width) < 1e-6 else w), (height if abs(h - height) < 1e-6 else h)
    left, top = (width - w) / 2, (height - h) / 2
    return left, top, left + w, top + h
