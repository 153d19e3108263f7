"""TIFF files put together byte by byte from TIFF 6.0, so that every depth, polarity and byte order can be made."""

import struct
import zlib

import numpy as np

WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
UNSIGNED, SIGNED, FLOAT = 1, 2, 3


def packed(row, bits, order, kind=UNSIGNED):
    """A row of samples as bytes: the first sample in the highest bits, padded to a whole byte (TIFF 6.0, p. 17)."""
    if bits >= 8 and bits % 8 == 0:
        code = {UNSIGNED: "u", SIGNED: "i", FLOAT: "f"}[kind]
        return np.asarray(row).astype(f"{order}{code}{bits // 8}").tobytes()
    digits = "".join(format(int(value), f"0{bits}b") for value in row)
    digits += "0" * (-len(digits) % 8)
    return bytes(int(digits[i : i + 8], 2) for i in range(0, len(digits), 8))


def tiff(values, bits, photometric, *, kind=UNSIGNED, extra=(), order="<", fill=1, deflate=False, planar=1,
         colours=None, orientation=None, rows=None, more=()):
    """The bytes of a TIFF file of samples (H,W) or (H,W,S).

    order "<" or ">"; fill 2: bits of a byte reversed; planar 2: one plane after another; colours (3, 2^bits) uint16
    """
    values = np.asarray(values)
    values = values[:, :, None] if values.ndim == 2 else values
    height, width, samples = values.shape
    rows = rows or height
    planes = [values[:, :, s : s + 1] for s in range(samples)] if planar == 2 else [values]
    strips = [b"".join(packed(line.ravel(), bits, order, kind) for line in plane[top : top + rows])
              for plane in planes for top in range(0, height, rows)]  # fmt: skip
    strips = [zlib.compress(strip) for strip in strips] if deflate else strips
    if fill == 2:                                          # of the bytes as they are stored
        strips = [bytes(int(format(b, "08b")[::-1], 2) for b in strip) for strip in strips]
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * samples), 259: (3, [8 if deflate else 1]),
            262: (3, [photometric]), 266: (3, [fill]), 273: (4, None), 277: (3, [samples]), 278: (4, [rows]),
            279: (4, [len(s) for s in strips]), 284: (3, [planar]), 339: (3, [kind] * samples)}  # fmt: skip
    if extra:
        tags[338] = 3, list(extra)
    if colours is not None:
        tags[320] = 3, np.asarray(colours).ravel().tolist()
    if orientation:
        tags[274] = 3, [orientation]
    tags.update(more)
    at, offsets = 8, []
    for strip in strips:
        offsets.append(at)
        at += len(strip) + len(strip) % 2
    tags[273] = 4, offsets
    body = b"".join(strip + b"\0" * (len(strip) % 2) for strip in strips)
    directory, beside = b"", b""
    end = at + 2 + 12 * len(tags) + 4
    for tag, (form, numbers) in sorted(tags.items()):
        content = struct.pack(f"{order}{len(numbers)}{'BHI'[{1: 0, 3: 1, 4: 2}[form]]}", *numbers)
        if len(content) > 4:
            place, beside = struct.pack(f"{order}I", end + len(beside)), beside + content + b"\0" * (len(content) % 2)
        else:
            place = content.ljust(4, b"\0")
        directory += struct.pack(f"{order}HHI", tag, form, len(numbers)) + place
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, at)
    return head + body + struct.pack(f"{order}H", len(tags)) + directory + bytes(4) + beside
