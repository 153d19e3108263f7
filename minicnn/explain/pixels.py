"""A picture as the matrix that it is: rows, columns, channels, the numbers of a crop, and how many bits each has."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.data import crop as crops
from minicnn.data import decode
from minicnn.explain import show
from minicnn.explain.answer import UNSAID, Answer, Panel
from minicnn.explain.samples import digit, size
from minicnn.names import short, unknown

CHANNELS = ("red", "green", "blue")
GREY = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes with one channel of light."""
BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16, "I": 32, "F": 32}


@dataclass(frozen=True)
class Depth:
    """What is left of a picture with so many bits for each number."""

    bits: int
    levels: int
    """2^bits different numbers."""
    bytes: int
    """Of all pixels, packed without compression."""
    mean_error: float
    """The mean |difference| to 8 bits."""
    largest_error: int


@dataclass(frozen=True, repr=False)
class Pixels(Answer):
    """A picture as numbers from 0 to 255, and what fewer bits would leave of them."""

    name: str
    format: str
    """Of the file, such as PNG; "" for an array."""
    file_bytes: int
    file_bits: int
    """Bits of each number in the file."""
    note: str
    height: int
    width: int
    channels: tuple[str, ...]
    """("grey",) or ("red", "green", "blue")"""
    dtype: str
    least: tuple[int, ...]
    """Of each channel."""
    most: tuple[int, ...]
    mean: tuple[float, ...]
    crop: tuple[int, int, int, int]
    """(row, column, rows, columns)"""
    values: np.ndarray
    """The crop, (rows, columns, channels) uint8."""
    bits: int
    quantised: np.ndarray
    """The same with `bits` bits, on the scale 0 … 255."""
    depths: tuple[Depth, ...]
    """1 to 8 bits."""
    channel: str
    """The channel that is shown alone, or ""."""
    image: np.ndarray = field(metadata=UNSAID)
    """The whole picture, (channels, height, width) uint8."""

    def page(self) -> list[show.Block]:
        """The shape, the crop channel by channel, the bits."""
        H, W, C = self.height, self.width, len(self.channels)
        top, left, rows, columns = self.crop
        file = f" ({self.format} file of {self.file_bytes:,} bytes, {self.file_bits} bits a number)" * bool(self.format)
        what = f"grey: H × W × C = {H} × {W} × 1" if C == 1 else f"colour: H × W × C = {H} × {W} × 3"
        blocks: list[show.Block] = [
            show.Heading(f"{self.name}{file}"),
            show.Formula(f"{what} = {H * W * C:,} numbers of type {self.dtype}, 0 … 255, a byte each"),
            *([show.Say(self.note)] if self.note else []),
            show.Table(("channel", ">least", ">most", ">mean"), tuple(
                (name, str(a), str(b), f"{mean:.1f}")
                for name, a, b, mean in zip(self.channels, self.least, self.most, self.mean))),
            show.Say(f"Rows {top} to {top + rows - 1}, columns {left} to {left + columns - 1}:"),
            self._grids(self.values),
        ]  # fmt: skip
        if C == 3:
            r, g, b = map(int, self.values[0, 0])
            blocks.append(show.Say(f"The pixel {show.place((top, left))} is red {r}, green {g}, blue {b}. A channel "
                                   f"is a "
                                   "matrix like a grey picture: the red one says how much red light each pixel has, "
                                   "and "
                                   f"nothing else. Grey is 0.299·{r} + 0.587·{g} + 0.114·{b} = "
                                   f"{0.299 * r + 0.587 * g + 0.114 * b:.1f}."))  # fmt: skip
        if self.bits != 8:
            levels = 2**self.bits
            blocks += [show.Say(f"With {self.bits} bit{'s' * (self.bits > 1)} there are {levels} levels: each number v "
                                f"becomes round(v · {levels - 1}/255), shown as that · 255/{levels - 1}:"),
                       self._grids(self.quantised)]  # fmt: skip
        lines = tuple((f"{'→ ' * (d.bits == self.bits)}{d.bits}", f"{d.levels:,}", f"{d.bytes:,}",
                       f"{d.mean_error:.2f}", str(d.largest_error)) for d in self.depths)  # fmt: skip
        blocks.append(show.Table((">bits", ">levels", ">bytes", ">mean error", ">largest error"), lines))
        index = self.channels.index(self.channel) if self.channel else None
        light = self.image[index] if index is not None else self.image.mean(0)
        title = f"The {self.channel} channel alone" if self.channel else "The picture" + " in grey" * (C == 3)
        blocks.append(show.Shades(f"{title}, {H}×{W}:", light))
        return blocks

    def _grids(self, values: np.ndarray) -> show.Block:
        first = self.crop[:2]
        shown = [(c, name) for c, name in enumerate(self.channels) if self.channel in ("", name)]
        return show.Beside(tuple(show.grid(name, values[:, :, c], (), first) for c, name in shown))

    def panels(self) -> list[Panel]:
        """The channels with the crop, and with fewer bits."""
        found = [Panel(name, values, (self.crop,)) for name, values in zip(self.channels, self.image)]
        if self.bits != 8:
            found += [Panel(f"{name}, {self.bits} bits", quantise(values, self.bits))
                      for name, values in zip(self.channels, self.image)]  # fmt: skip
        return found


def pixels(source: Any, crop: tuple[int, int, int, int] | None = None, bits: int = 8, channel: str = "") -> Pixels:
    """A picture file, "digits:7" or an array (H,W) or (C,H,W) uint8, as a matrix.

    crop: (row, column, rows, columns), by default some in the middle.   bits: 1 to 8; also the same crop with only
    2^bits levels.   channel: "red", "green" or "blue", to see it alone.

    ValueError where the crop is outside the picture, or a grey picture is asked for a channel.
    """
    bits = arguments.integer("bits", bits, 1, 8)
    name, image, about = _read(source)
    C, H, W = image.shape
    channels = ("grey",) if C == 1 else CHANNELS
    if channel and channel not in channels:
        if C == 1 and channel in CHANNELS:
            raise ValueError(f"{name} is grey: it has one channel, not a {channel} one")
        raise ValueError(unknown("channel", channel, channels))
    box = _crop(crop, H, W, 12 if C == 1 else 6)
    top, left, rows, columns = box
    values = image[:, top : top + rows, left : left + columns].transpose(1, 2, 0)
    counts = np.bincount(image.ravel(), minlength=256)
    depths = tuple(_depth(counts, b) for b in range(1, 9))
    flat = image.reshape(C, -1)
    return Pixels(name, *about, H, W, channels, str(image.dtype), tuple(map(int, flat.min(1))),
                  tuple(map(int, flat.max(1))), tuple(map(float, flat.mean(1))), box, values, bits,
                  quantise(values, bits), depths, channel, image)


def quantise(values: np.ndarray, bits: int) -> np.ndarray:
    """round(round(v·(L − 1)/255) · 255/(L − 1)) with L = 2^bits levels, for uint8 values; halves round up."""
    top = 2**bits - 1
    level = (values.astype(np.int64) * 2 * top + 255) // 510
    return ((level * 510 + top) // (2 * top)).astype(np.uint8)


def _depth(counts: np.ndarray, bits: int) -> Depth:
    """From the counts of the 256 values."""
    values = np.arange(256)
    error = np.abs(values - quantise(values, bits).astype(int))
    total = int(counts.sum())
    return Depth(bits, 2**bits, -(-total * bits // 8), float((error * counts).sum() / total),
                 int(error[counts > 0].max()))


def _read(source: Any) -> tuple[str, np.ndarray, tuple[str, int, int, str]]:
    """(name, uint8 (C,H,W), (format, bytes of the file, its bits, a note))"""
    if isinstance(source, np.ndarray):
        image = source[None] if source.ndim == 2 else source
        if image.dtype != np.uint8 or image.ndim != 3 or len(image) not in (1, 3) or not image.size:
            raise ValueError(f"a picture must be an array uint8 (H,W), (1,H,W) or (3,H,W), not {source.dtype} "
                             f"{source.shape}")
        return "the array", image, ("", image.size, 8, "")
    if str(source).partition(":")[0] == "digits":
        image, what = digit(str(source))
        return str(source), image, ("", image.size, 8, f"It is {what}.")
    with decode.opened(source) as file:
        mode, kind, clear = file.mode, file.format, file.has_transparency_data
    width, height = size(source)
    part = max(1.0, math.sqrt(width * height / decode.BIG))
    H, W = max(1, int(height / part)), max(1, int(width / part))
    image = decode.read(source, crops.whole, (H, W), channels=1 if mode in GREY else 3)
    bits = BITS.get(mode, 8)
    notes = [f"Its {bits}-bit numbers are shown on the scale of 8 bits." if bits != 8 else "",
             "Transparent pixels are drawn on white." if clear else "",
             "Its colours are a palette: each pixel is a number of a colour, here looked up." if mode == "P" else "",
             "It stores inks (CMYK), which are turned into light here." if mode == "CMYK" else "",
             f"The file has {height}×{width} pixels and is reduced to {H}×{W} here." if part > 1 else ""]  # fmt: skip
    return Path(source).name, image, (kind or "", os.path.getsize(source), bits, " ".join(filter(None, notes)))


def _crop(crop: Any, H: int, W: int, most: int) -> tuple[int, int, int, int]:
    if crop is None:
        rows, columns = min(H, 8), min(W, most)
        return (H - rows) // 2, (W - columns) // 2, rows, columns
    if not isinstance(crop, (tuple, list)) or len(crop) != 4:
        raise ValueError(f"crop {short(crop)} must be four numbers: row, column, rows, columns")
    row = arguments.integer("crop: the row", crop[0], 0, H - 1)
    column = arguments.integer("crop: the column", crop[1], 0, W - 1)
    rows = arguments.integer("crop: rows", crop[2], 1, min(H - row, 64))
    columns = arguments.integer("crop: columns", crop[3], 1, min(W - column, 64))
    return row, column, rows, columns
