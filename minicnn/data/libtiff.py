"""Silence of libtiff, the library with which Pillow decodes compressed TIFF files, and of Pillow's log.

libtiff prints each error on stderr by itself, although Pillow raises it, too. Its error handler is set through the
dynamic linker; where Pillow has libtiff built in without its names, this does nothing. Pillow logs some errors, which
Python prints on stderr where a program has not set up its logs.
"""

from __future__ import annotations

import ctypes
import logging
from functools import cache


@cache
def silence() -> None:
    """Let libtiff print neither errors nor warnings in this process, and Pillow only into logs that are set up."""
    from PIL import Image

    logging.getLogger("PIL").addHandler(logging.NullHandler())
    try:
        library = ctypes.CDLL(Image.core.__file__)         # finds the names of the libraries that it is linked to
        for name in ("TIFFSetErrorHandler", "TIFFSetErrorHandlerExt", "TIFFSetWarningHandler"):
            setter = getattr(library, name)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)
    except (OSError, AttributeError):
        return
