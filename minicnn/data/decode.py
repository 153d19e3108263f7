"""Decoding picture files that may be damaged or hostile: a crop of the picture, upright, at a given size.

    image = decode.read("cat.jpg", crop.whole, (224, 224), channels=3)       # (3,224,224) uint8

The header is read first, and the memory that decoding would take is compared with a limit before anything is decoded.
"""

from __future__ import annotations

import io
import math
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np

from minicnn import arguments
from minicnn.data import crop, decode_memory, libtiff, samples
from minicnn.data.crop import Box

Array = Any  # numpy.ndarray
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
"""The formats that are read. Pillow supports forty more; each would be more code that a hostile file can reach."""

SUFFIXES = (".png", ".apng", ".jpg", ".jpeg", ".jfif", ".jpe", ".jif", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff")
"""The file names of these formats."""

MAX_PIXELS = 64 * 2**20
"""64 megapixels, as the largest cameras have."""

MAX_MEMORY = 272 * 2**20
"""Bytes of memory that decoding one picture may take, apart from a few megabytes: 64 megapixels in RGB take 256 MiB."""

LARGE = 96 * 2**20
"""Pictures that take more are decoded one at a time, over all threads."""

BIG = 16 * 2**20
"""A picture of more pixels is first averaged down to about a quarter of this, strip by strip."""

STRIP = 2**20
"""Pixels of a strip."""

INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
"""Pillow's filters; all but the first average over the pixels that a smaller one replaces (antialiasing)."""

WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Packed:
    """A picture file inside another file, such as a tar: its name and its bytes."""

    name: str
    content: bytes


def read(source: Any, choose: Callable[[int, int], Box], size: tuple[int, int], *, channels: int,
         background: tuple[int, int, int] = WHITE, interpolation: str = "bilinear", draft: bool = False) -> Array:
    """A part of the picture, resized to channels × size.

    source: a path, a `Packed`, or an array (C,H,W) uint8   choose(width, height) → the part, a `Box`
    size (H, W)   channels 1 (grey: 0.299 R + 0.587 G + 0.114 B, ITU-R 601) or 3 (RGB)   →   (C,H,W) uint8

    The EXIF orientation is applied; transparent pixels are drawn on the background; 16-bit values are scaled to 8; an
    animation gives its first frame. With `draft` a JPEG file is decoded at ½, ¼ or ⅛ of its size where the part is then
    still at least as large as `size`: faster, with a nearly equal result.

    FileNotFoundError where there is no file; ValueError where it is a folder, too large, of another format, or damaged.
    Each is one sentence that names the file.
    """
    if isinstance(source, np.ndarray):
        return _resize_part(_from_array(source), choose, size, channels, background, interpolation)
    with opened(source) as file:
        width, height = samples.upright_size(file)
        box = choose(width, height)
        if file.format in ("JPEG", "MPO"):
            enough = min((box[2] - box[0]) / size[1], (box[3] - box[1]) / size[0])
            _draft(file, max(enough if draft else 1, math.sqrt(file.width * file.height / BIG) * 2))

        def scaled(w: int, h: int) -> Box:
            return box[0] * w / width, box[1] * h / height, box[2] * w / width, box[3] * h / height

        return _resize_part(file, scaled, size, channels, background, interpolation)


def decoded(source: Any) -> Array:
    """The whole picture at its own size, in colour: (3,H,W) uint8; an array is unchanged. Errors as `read`."""
    if isinstance(source, np.ndarray):
        return source
    with opened(source) as file:
        return _resize_part(file, crop.whole, samples.upright_size(file)[::-1], 3, WHITE, "bilinear")


@contextmanager
def opened(source: str | PathLike[str] | Packed) -> Iterator[Any]:
    """`with opened(path) as picture`: Pillow's picture, of which only the header is read, checked to be small enough.

    Any error inside the block, where Pillow decodes, becomes one ValueError that names the file.
    """
    from PIL import Image, UnidentifiedImageError

    name = source.name if isinstance(source, Packed) else str(source)
    picture = meaning = None
    if not isinstance(source, Packed):
        _check_file(arguments.path(source))
    libtiff.silence()
    try:
        # a stream: where Pillow is given a path it maps the file, and then ignores the orientation of some TIFF files
        with _stream(source) as file, _QUIET, Image.open(file, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:  # known from the header: nothing is decoded yet
                raise Image.DecompressionBombError
            if (memory := decode_memory.estimate(picture)) > MAX_MEMORY:
                raise _TooMuchError(f"{memory / 2**20:.0f}")
            meaning = picture.info[samples.KEY] = samples.of(picture)
            if picture.format == "TIFF":
                samples.check_strips(picture)
                samples.palette_of_bytes(picture)
            with _ONE_AT_A_TIME if memory > LARGE else nullcontext():
                yield picture
    except Image.DecompressionBombError as error:  # raised above, or by Pillow while it reads the header
        raise ValueError(f"{name} is larger than {MAX_PIXELS // 2**20} megapixels, which minicnn does not decode: "
                         f"make it smaller, or leave it out") from error
    except _TooMuchError as error:
        raise ValueError(f"{name} takes {error} MiB of memory to decode, more than the {MAX_MEMORY // 2**20} that "
                         f"minicnn gives to one picture: make it smaller, or leave it out") from None
    except PermissionError:
        raise                                              # it names the file itself
    except samples.NotReadError as error:
        raise samples.NotReadError(f"{name} has {error}: minicnn does not read such files; save it as 8-bit grey or "
                                   f"RGB, or leave it out") from None
    except UnidentifiedImageError as error:
        if kind := _kind_of_tiff(source):
            raise samples.NotReadError(f"{name} is a TIFF with {kind}, which Pillow does not decode: save it as 8-bit "
                                       f"grey or RGB, or leave it out") from None
        raise ValueError(f"{name} is not a picture in a format that minicnn reads ({', '.join(FORMATS)}), or its "
                         f"beginning is damaged: convert it, or leave it out") from error
    except Exception as error:  # on damaged files Pillow's decoders raise many kinds of errors
        reason = " ".join(str(error).split()) or type(error).__name__
        what = f" ({meaning})" if picture is not None and picture.format == "TIFF" else ""
        raise ValueError(f"{name}{what} cannot be decoded ({reason}): it is damaged, cut short or of a kind that "
                         f"Pillow can't convert; save it again as PNG or JPEG, or leave it out") from error


def _kind_of_tiff(source: Any) -> str:
    with _stream(source) as file:
        return samples.name_of_tiff(file)


def _stream(source: str | PathLike[str] | Packed) -> IO[bytes]:
    return io.BytesIO(source.content) if isinstance(source, Packed) else open(source, "rb")


class _TooMuchError(Exception):
    """The message is the memory in MiB."""


class _Quiet:
    """Ignores Pillow's warnings while any thread is inside: about metadata, which does not change the pixels, and about
    size, which is checked here. Python's filters are shared by all threads, so the last thread to leave restores them.
    """

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.filters = warnings.catch_warnings()
                self.filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.filters.__exit__(None, None, None)


_QUIET = _Quiet()
_ONE_AT_A_TIME = threading.RLock()


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a picture: name a file in it")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}: check the name and the folder")
    if not path.is_file():  # reading a pipe may wait, a device may never end
        raise ValueError(f"{path} is not a regular file: copy the picture to one")


def _draft(file: Any, scale: float) -> None:
    """Let the JPEG decoder drop the highest frequencies of each block, which gives a smaller picture."""
    for part in (8, 4, 2):
        if part <= scale:
            file.draft(None, (max(1, file.width // part), max(1, file.height // part)))
            return


def _from_array(array: Array) -> Any:
    from PIL import Image

    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[0] not in (1, 3):
        raise ValueError(f"a picture must be an array uint8 (1,H,W) or (3,H,W), not {array.dtype} {array.shape}")
    return Image.fromarray(array[0] if array.shape[0] == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))


def _resize_part(picture: Any, choose: Callable[[int, int], Box], size: tuple[int, int], channels: int,
         background: tuple[int, int, int], interpolation: str) -> Array:
    from PIL import Image, ImageOps

    picture.load()                                         # which turns some TIFF files upright
    if picture.width * picture.height > BIG:
        picture = _averaged(picture, channels, background)
    ImageOps.exif_transpose(picture, in_place=True)
    picture = _flat(picture, channels, background)
    H, W = size
    left, top, right, bottom = choose(*picture.size)
    if (left, top, right, bottom) != (0, 0, W, H) or picture.size != (W, H):
        picture = _resize(picture, (left, top, right, bottom), W, H, background,
                          Image.Resampling[interpolation.upper()])
    pixels = np.array(picture, dtype=np.uint8).reshape(H, W, channels)  # (H, W, C)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))              # (C, H, W)


def _resize(picture: Any, box: Box, W: int, H: int, background: tuple[int, int, int], filter_: Any) -> Any:
    """The box, resized to W × H. Only the part inside the picture is filtered; the rest is background."""
    from PIL import Image

    left, top, right, bottom = box
    inner = max(left, 0), max(top, 0), min(right, picture.width), min(bottom, picture.height)
    if inner == box:
        return picture.resize((W, H), filter_, box=box)
    x0, x1 = (min(max(round((x - left) / (right - left) * W), 0), W) for x in (inner[0], inner[2]))
    y0, y1 = (min(max(round((y - top) / (bottom - top) * H), 0), H) for y in (inner[1], inner[3]))
    x0, y0 = min(x0, W - 1), min(y0, H - 1)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)                           # at least one pixel
    framed = Image.new("RGB", (W, H), background).convert(picture.mode)
    framed.paste(picture.resize((x1 - x0, y1 - y0), filter_, box=inner), (x0, y0))
    return framed


def _flat(picture: Any, channels: int, background: tuple[int, int, int]) -> Any:
    """The picture with 8 bits, without transparency, in grey or RGB."""
    picture = _opaque(picture, background)
    mode = "L" if channels == 1 else "RGB"
    return picture if picture.mode == mode else picture.convert(mode)


def _opaque(picture: Any, background: tuple[int, int, int]) -> Any:
    """The picture with 8 bits, without transparency."""
    from PIL import Image

    picture = samples.known(picture)
    if not picture.has_transparency_data:
        return picture
    behind = Image.new("RGBA", picture.size, background)
    return Image.alpha_composite(behind, picture if picture.mode == "RGBA" else picture.convert("RGBA"))


def _averaged(picture: Any, channels: int, background: tuple[int, int, int]) -> Any:
    """A large picture at ½, ⅓, … of its size, converted strip by strip, so that memory holds it only once."""
    from PIL import Image

    part = math.ceil(math.sqrt(picture.width * picture.height / (BIG / 4)))
    mode = "L" if channels == 1 else "RGB"
    small = Image.new(mode, (-(-picture.width // part), -(-picture.height // part)))
    rows = part * max(1, STRIP // (picture.width * part))
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        strip = _opaque(strip, background)
        strip = strip if strip.mode == "L" else strip.convert(mode)    # grey becomes RGB when it is small
        small.paste(strip.reduce(part).convert(mode), (0, top // part))
    small.info["exif"] = picture.getexif().tobytes()       # with the orientation
    return small
