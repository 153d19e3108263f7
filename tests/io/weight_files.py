"""Weight files put together byte by byte, so that each can be wrong in exactly one way."""

import io
import json
import pickle
import struct
import zipfile

import numpy as np

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


def packed(entries, method=zipfile.ZIP_STORED):
    """A zip file of (name, content) pairs."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def zip_checkpoint(program, storages=(("0", bytes(24)),), method=zipfile.ZIP_STORED, order=b"little"):
    """A checkpoint in PyTorch's zip format, of a pickle and of storages' bytes."""
    return packed([("archive/data.pkl", program), ("archive/byteorder", order),
                   *((f"archive/data/{key}", content) for key, content in storages)], method)  # fmt: skip


def legacy_checkpoint(program, storages=(("0", 6, bytes(24)),), system=SYSTEM, magic=MAGIC):
    """A checkpoint in PyTorch's format before 1.6."""
    parts = [magic, pickle.dumps(system, 2), program, pickle.dumps([key for key, _, _ in storages], 2)]
    return b"".join([*parts, *(struct.pack("<q", count) + content for _, count, content in storages)])


def text(value):
    """The instruction that puts a text on the stack."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    """The instruction that puts an integer on the stack."""
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def numbers(values):
    """The instructions that put a tuple of integers on the stack."""
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(kind="torch\nFloatStorage\n", key=None, count=None, first=None):
    """The instructions for a storage; key and count are instructions."""
    return (b"(" + (first or text("storage")) + b"c" + kind.encode() + (key or text("0")) + text("cpu")
            + (count or number(6)) + b"tQ")  # fmt: skip


def tensor(place=None, offset=None, shape=(2, 3), strides=(3, 1)):
    """The instructions for a tensor."""
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + (place or storage()) + (offset or number(0)) + numbers(shape)
            + numbers(strides) + b"\x89)tR")  # fmt: skip


def state(*items):
    """The pickle of a dictionary of (name, instructions) pairs."""
    return b"\x80\x02}(" + b"".join(text(name) + value for name, value in items) + b"u."


def npy(header, values=b"", version=b"\1\0"):
    """A .npy file with that header."""
    header = header.encode()
    length = struct.pack("<H" if version == b"\1\0" else "<I", len(header))
    return b"\x93NUMPY" + version + length + header + values


def npz(header, values=b"", method=zipfile.ZIP_STORED, name="a.npy"):
    """An .npz file of one array."""
    return packed([(name, npy(header, values))], method)


def safetensors(header, values=b"", length=None):
    """A safetensors file; the header is a dictionary or its bytes."""
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(content) if length is None else length) + content + values


def entry(dtype="F32", shape=(2, 3), offsets=(0, 24)):
    """What a safetensors header says of an array."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def small_files():
    """{suffix: bytes} of a small valid file in each format, all of the same state."""
    arrays = {"conv.weight": np.arange(6, dtype="f4").reshape(2, 3), "conv.bias": np.arange(2, dtype="f8")}
    program = state(("conv.weight", tensor()), ("conv.bias", tensor(
        storage("torch\nDoubleStorage\n", text("1"), number(2)), shape=(2,), strides=(1,))))  # fmt: skip
    data = [arrays["conv.weight"].tobytes(), arrays["conv.bias"].tobytes()]
    deflated = io.BytesIO()
    np.savez_compressed(deflated, **arrays)
    stored = io.BytesIO()
    np.savez(stored, **arrays)
    return arrays, {
        "safetensors": safetensors({"conv.weight": entry(), "conv.bias": entry("F64", (2,), (24, 40))}, b"".join(data)),
        "stored.npz": stored.getvalue(),
        "deflated.npz": deflated.getvalue(),
        "zip.pt": zip_checkpoint(program, list(zip("01", data))),
        "legacy.pt": legacy_checkpoint(program, list(zip("01", (6, 2), data))),
    }
