"""The memory that decoding a picture takes, estimated from its header, before anything is decoded."""

from __future__ import annotations

from typing import Any

WIDTH, HEIGHT, ROWS, TILE_COLUMNS, TILE_ROWS = 256, 257, 278, 322, 323
"""Tags of TIFF."""


def estimate(picture: Any) -> float:
    """The most bytes of memory that decoding a picture takes, estimated from its header."""
    pixels = picture.width * picture.height
    if picture.format in ("JPEG", "MPO"):
        if _one_scan(picture):
            return pixels                                  # a larger one is decoded at half its size
        layers = [(across, down) for _, across, down, _ in picture.layer]  # all coefficients stay in memory
        most = max(across for across, _ in layers) * max(down for _, down in layers)
        return 2 * pixels * sum(across * down for across, down in layers) / most
    if picture.format == "WEBP":                           # libwebp's two canvases, the bytes and the picture
        return 20 * pixels
    each = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}.get(picture.mode, 4)
    return pixels * each + (largest_strip(picture) * each if picture.format == "TIFF" else 0)


def _one_scan(picture: Any) -> bool:
    """Whether a JPEG file stores all pixels in a single scan: its first scan, just read, has all components."""
    layers = len(picture.layer)
    head = b"\xff\xda" + (6 + 2 * layers).to_bytes(2, "big") + bytes([layers])
    at = picture.fp.tell()
    picture.fp.seek(max(0, at - 8 - 2 * layers))
    found = picture.fp.read(len(head))
    picture.fp.seek(at)
    return found == head and not picture.info.get("progressive")


def largest_strip(picture: Any) -> int:
    """Pixels that libtiff unpacks at once, beside the picture: a strip, which may be all of it, or a tile."""
    if picture.info.get("compression") == "raw":
        return 0
    tags = picture.tag_v2
    rows, columns = tags.get(ROWS, tags.get(TILE_ROWS, tags[HEIGHT])), tags.get(TILE_COLUMNS, tags[WIDTH])
    return int(min(rows, tags[HEIGHT]) * min(columns, tags[WIDTH]))
