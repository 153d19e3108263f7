"""Event files for TensorBoard, which reads them during training: `tensorboard --logdir runs`.

An event file is a sequence of records (TensorFlow's TFRecord):

    uint64 length   uint32 masked crc32c(length)   bytes   uint32 masked crc32c(bytes)          little-endian

    masked crc = (crc rotated right by 15 bits) + a282ead8₁₆

The bytes of each are an Event in protobuf: field 1 the time (double), 2 the step (int64), 3 a version (string), 5 a
Summary. Each field 1 of a Summary is a Value: field 1 its tag (string), 2 the number (float). This small part of
protobuf needs no library.   Sources: tensorflow/core/util/event.proto,
framework/summary.proto, lib/io/record_writer; crc32c: RFC 3720 (iSCSI), appendix B.4
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

_CASTAGNOLI = 0x82F63B78  # the polynomial, its bits reversed


def _table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_CASTAGNOLI if byte & 1 else 0)
        yield byte


_TABLE = tuple(_table())


def crc32c(data: bytes) -> int:
    """The checksum of iSCSI, Btrfs and TFRecord: CRC-32 with Castagnoli's polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class EventFile:
    """A new event file in a folder: `EventFile(folder).write(step, {"loss": 0.3})`. Each write is flushed."""

    def __init__(self, folder: Path):
        number = len(list(folder.glob("events.out.tfevents.*")))              # a resumed run starts another file
        self.path = folder / f"events.out.tfevents.{int(time.time()):010d}.minicnn.{number}"
        self._append(_double(1, time.time()) + _bytes(3, b"brain.Event:2"))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Write {tag: number} for a step."""
        summary = b"".join(_bytes(1, _bytes(1, tag.encode()) + _float(2, value)) for tag, value in values.items())
        self._append(_double(1, time.time()) + _varint(2, step) + _bytes(5, summary))

    def _append(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        with open(self.path, "ab") as file:
            file.write(length + _masked(length) + event + _masked(event))


def _masked(data):
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _number(n):
    """Seven bits per byte, the lowest first; the eighth bit marks that more bytes follow."""
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def _varint(field, value):
    return _number(field << 3) + _number(value)


def _double(field, value):
    return _number(field << 3 | 1) + struct.pack("<d", value)


def _bytes(field, value):
    return _number(field << 3 | 2) + _number(len(value)) + value


def _float(field, value):
    return _number(field << 3 | 5) + struct.pack("<f", value)
