"""What the numbers in a picture file mean: how many bits, which colours, whether 0 is black or white.

Pillow decodes some files without telling: it gives the values of a 12-bit TIFF in 16 bits, ignores that 0 is white in a
16-bit one, and takes signed numbers for unsigned. So the meaning is read from the header here, and each kind is either
converted by its own rule or refused by its own name. Sources: TIFF 6.0; PNG (ISO 15948).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLES = 256, 257, 258, 262, 277
PLANAR, COLOURS, EXTRA, FORMAT = 284, 320, 338, 339
"""Tags of TIFF."""

COLOUR = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "L*a*b*", 9: "L*a*b*",
          10: "L*a*b*", 32803: "raw camera", 32844: "LogL", 32845: "LogLuv", 34892: "raw camera"}  # fmt: skip
"""TIFF's PhotometricInterpretation: 0 and 1 are grey, with 0 as white and as black."""

KEY = "minicnn"
"""Where `decode.opened` keeps the meaning in Pillow's `picture.info`, which is copied with the picture."""

NUMBERS = {1: "", 2: "signed ", 3: "floating-point ", 4: "undefined ", 5: "complex ", 6: "complex "}
"""TIFF's SampleFormat; unsigned numbers are the usual ones."""

MODES = {"1": (1, "grey"), "L": (8, "grey"), "LA": (8, "grey with alpha"), "La": (8, "grey with alpha"),
         "I;16": (16, "grey"), "I;16L": (16, "grey"), "I;16B": (16, "grey"), "I;16N": (16, "grey"), "P": (8, "palette"),
         "PA": (8, "palette with alpha"), "RGBA": (8, "RGB with alpha"), "RGBa": (8, "RGB with alpha"),
         "RGBX": (8, "RGB")}  # fmt: skip


class NotReadError(ValueError):
    """The file is sound, but its numbers or colours are of a kind that minicnn does not read; the message names it."""


@dataclass(frozen=True)
class Samples:
    """bits of one number, its colours ("grey", "RGB with alpha", …), and whether 0 is white."""

    bits: int
    colours: str
    white_is_0: bool = False

    def __str__(self) -> str:
        return f"{self.bits}-bit {self.colours}" + (", 0 is white" if self.white_is_0 else "")


def of(picture: Any) -> Samples:
    """The meaning of the samples of Pillow's picture, whose header was read. NotReadError for an unsupported kind."""
    if picture.format == "TIFF":
        return _of_tiff(picture)
    bits, colours = MODES.get(picture.mode, (8, picture.mode))
    if picture.format == "PNG":
        raw = _raw_mode(picture)
        depth = raw.partition(";")[2].rstrip("B")
        bits = int(depth) if depth.isdecimal() else bits
        colours = "grey with alpha" if raw.startswith("LA") else colours
        if bits == 16 and colours == "RGB" and "transparency" in picture.info:
            raise NotReadError("16-bit RGB with a transparent colour (tRNS), which Pillow can't compare in 16 bits")
    return Samples(bits, colours)


def known(picture: Any) -> Any:
    """A loaded picture whose samples mean what Pillow's conversions assume: 8 bits, or 1, and 0 as black."""
    meaning = picture.info.get(KEY)
    if meaning is None:                                    # it was an array
        return picture
    if picture.mode.startswith("I;16"):
        picture = _to_8_bits(picture, meaning)
    elif "transparency" in picture.info and picture.mode in ("1", "L") and meaning.bits < 8:
        # Pillow scales the pixels to 8 bits, but not the transparent value
        value = int(picture.info["transparency"])
        picture = picture.convert("L") if picture.mode == "1" else picture
        picture.info["transparency"] = min(255, value * (255 // (2**meaning.bits - 1)))
    return picture.convert("LA") if picture.mode == "La" else picture


def _to_8_bits(picture: Any, meaning: Samples) -> Any:
    """0 … 2^bits − 1 to 0 … 255, rounded. Pillow's own conversion would clip all values above 255 to white."""
    from PIL import Image

    values = np.asarray(picture)
    made = Image.fromarray(_grey_levels(meaning.bits, meaning.white_is_0).take(values))
    if "transparency" not in picture.info:
        return made
    alpha = np.where(values == picture.info["transparency"], 0, 255).astype(np.uint8)
    return Image.merge("LA", (made, Image.fromarray(alpha)))


@functools.cache
def _grey_levels(bits: int, white_is_0: bool) -> np.ndarray:
    """(65536,) uint8: the level of each 16-bit value. Looking it up is four times as fast as computing it per pixel."""
    white = 2**bits - 1
    levels = (np.minimum(np.arange(2**16, dtype=np.uint32), white) * 255 + white // 2) // white
    return (255 - levels if white_is_0 else levels).astype(np.uint8)


def _raw_mode(picture: Any) -> str:
    """How the pixels of a PNG are stored, by Pillow's name, such as "L;2"; "" where the file has none."""
    return str(picture.tile[0][3]) if picture.tile else ""


# ---------------------------------------------------------------------------------------------------------------- TIFF


def _of_tiff(picture: Any) -> Samples:
    tags = picture.tag_v2
    meaning, form = _described(tags)
    apart, raw = tags.get(PLANAR, 1) == 2, picture.info.get("compression") == "raw"
    if form != 1:
        raise NotReadError(f"{meaning}, of which the value of white is not known")
    if meaning.bits > 16 or picture.mode in ("I", "F"):
        raise NotReadError(f"{meaning}, of which the value of white is rarely the largest number")
    if "L*a*b*" in meaning.colours or picture.mode == "LAB":
        raise NotReadError(f"{meaning} colours")
    if meaning.colours.startswith("YCbCr") and raw:        # only libtiff knows its subsampling
        raise NotReadError(f"{meaning} colours, not compressed")
    if apart and not _planes_are_read(picture, meaning, raw):
        raise NotReadError(f"{meaning} in separate planes")
    return meaning


def _planes_are_read(picture: Any, meaning: Samples, raw: bool) -> bool:
    """Whether Pillow reads this kind with PlanarConfiguration 2, each colour in a plane of its own."""
    if meaning.colours in ("RGB", "CMYK") or (meaning.colours == "RGB with alpha" and picture.mode == "RGBA"):
        return meaning.bits == 8 or not raw
    if meaning.colours in ("grey", "palette"):             # Pillow drops what its name of a raw mode says after ";"
        return not raw or (meaning.bits in (1, 8) and not meaning.white_is_0)
    return False


def _described(tags: Any) -> tuple[Samples, int]:
    """(the meaning, the SampleFormat) by the tags of a TIFF file."""
    colours = COLOUR.get(tags.get(PHOTOMETRIC, 0), "unknown")
    bits = _numbers(tags.get(BITS, 1))
    form = max(_numbers(tags.get(FORMAT, 1)))
    named = f"{NUMBERS.get(form, 'unknown ')}{colours}"
    extra = _numbers(tags.get(EXTRA, ()))
    if any(kind in (1, 2) for kind in extra):
        named += " with alpha"
    elif colours == "grey" and extra and tags.get(PHOTOMETRIC, 0) == 0:
        named += " with another channel"
    return Samples(max(bits, default=1), named, colours == "grey" and tags.get(PHOTOMETRIC, 0) == 0), form


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in value) if isinstance(value, tuple) else (int(value),)


def check_strips(picture: Any) -> None:
    """OSError where the strips or tiles of a TIFF are fewer than its pixels need; Pillow would make up the others."""
    tags = picture.tag_v2
    W, H = tags[WIDTH], tags[HEIGHT]
    planes = tags.get(SAMPLES, 1) if tags.get(PLANAR, 1) == 2 else 1
    there = sum((min(right, W) - left) * (min(bottom, H) - top) for _, (left, top, right, bottom), *_ in picture.tile)
    if picture.tile and picture.tile[0][0] == "raw" and there < W * H * planes:
        raise OSError(f"truncated: it has the data of {there:,} of {W * H * planes:,} pixels")


def palette_of_bytes(picture: Any) -> None:
    """Give a TIFF's palette its colours where the file has them as 0 … 255, not as 0 … 65535, as old programs wrote.

    Those are the palettes without a number above 255, as in libtiff.
    """
    colours = picture.tag_v2.get(COLOURS, ())
    if picture.mode in ("P", "PA") and 0 < max(colours, default=0) < 256:
        count = len(colours) // 3
        picture.putpalette([int(colours[c * count + i]) for i in range(count) for c in range(3)])


def upright_size(picture: Any) -> tuple[int, int]:
    """(width, height) after the EXIF orientation is applied; Pillow turns some TIFF files while it opens them."""
    size = (picture.tag_v2[WIDTH], picture.tag_v2[HEIGHT]) if picture.format == "TIFF" else picture.size
    return size[::-1] if picture.getexif().get(0x0112, 1) in (5, 6, 7, 8) else size


def name_of_tiff(file: Any) -> str:
    """The kind of a TIFF file that Pillow does not recognise, such as "64-bit floating-point grey"; "" for others."""
    from PIL import TiffImagePlugin

    try:
        head = file.read(8)
        if head[:4] in (b"II+\0", b"MM\0+"):               # BigTIFF
            head += file.read(8)
        elif head[:4] not in (b"II*\0", b"MM\0*"):
            return ""
        directory = TiffImagePlugin.ImageFileDirectory_v2(head)
        file.seek(directory.next)
        directory.load(file)
        meaning = _described(directory)[0]
        return f"{meaning}{' in separate planes' if directory.get(PLANAR, 1) == 2 else ''}" if BITS in directory else ""
    except Exception:  # a damaged directory can raise anything
        return ""
