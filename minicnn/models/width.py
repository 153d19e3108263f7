"""`width=`: the same net with more or fewer channels in every layer."""

from __future__ import annotations


def scaled(channels: int, width: float, multiple: int = 1) -> int:
    """`channels` · `width`, rounded to a multiple of `multiple` (the groups that must divide it), but not to 0."""
    if not 0 < width < float("inf"):
        raise ValueError(f"width (={width}) must be above 0: it multiplies the channels of every layer, "
                         "and 1.0 is the net as published")
    return multiple * max(1, round(channels * width / multiple))
