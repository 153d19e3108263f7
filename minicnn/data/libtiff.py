"""Silence of libtiff, the library with which Pillow decodes compressed TIFF files.

It prints each error on stderr by itself, although Pillow raises it, too. Its error handler is set through the dynamic
linker; where Pillow has libtiff built in without its names, this does nothing.
"""

from __future__ import annotations

import ctypes
from functools import cache


@cache
def silence() -> None:
    """Let libtiff print neither errors nor warnings in this process."""
    from PIL import Image

    try:
        library = ctypes.CDLL(Image.core.__file__)         # finds the names of the libraries that it is linked to
        for name in ("TIFFSetErrorHandler", "TIFFSetErrorHandlerExt", "TIFFSetWarningHandler"):
            setter = getattr(library, name)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)
    except (OSError, AttributeError):
        return
