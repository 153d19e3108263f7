"""Weight files made to run code, to fill the memory or to hang."""

import builtins
import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.io.weight_files import (
    MAGIC,
    entry,
    legacy_checkpoint,
    npy,
    npz,
    number,
    numbers,
    packed,
    small_files,
    state,
    storage,
    tensor,
    text,
    zip_checkpoint,
)
from tests.io.weight_files import (
    safetensors as safetensors_of,
)

MIB = 2**20
MOST = 8 * MIB - 1000  # bytes of a pickle, a little less than is read at all
MARK = Path("hostile-code-ran-here")


class Runs:
    """An object whose pickle calls a function."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduced


def programs():
    """{what: pickle} of programs that must not run, or that no checkpoint needs."""
    touch = f"touch {MARK}"
    calls = {
        "os.system": Runs(os.system, touch),
        "eval": Runs(builtins.eval, f"open({str(MARK)!r}, 'w')"),
        "exec": Runs(builtins.exec, f"open({str(MARK)!r}, 'w')"),
        "open": Runs(builtins.open, str(MARK), "w"),
        "Popen": Runs(subprocess.Popen, ["touch", str(MARK)]),
        "import": Runs(builtins.__import__, "antigravity"),
        "getattr": Runs(builtins.getattr, Runs(builtins.__import__, "os"), "system"),
        "nested": Runs(builtins.list, [Runs(builtins.map, Runs(os.system, touch))]),
        "setstate": Runs(builtins.dict, {}, state={"__setstate__": Runs(os.system, touch)}),
        "loads": Runs(pickle.loads, pickle.dumps(Runs(os.system, touch))),
        "numpy load": Runs(np.load, str(MARK), None, True),
        "class": Path("x"),
    }
    made = {f"{name}, protocol {p}": pickle.dumps({"a": call}, p) for name, call in calls.items() for p in range(6)}
    shell = text(touch) + b"\x85"
    glob, ordered = b"cos\nsystem\n", b"ccollections\nOrderedDict\n"
    made |= {name: b"\x80\x02" + program + b"." for name, program in {
        "GLOBAL and REDUCE": glob + shell + b"R",
        "STACK_GLOBAL": text("os") + text("system") + b"\x93" + shell + b"R",
        "STACK_GLOBAL, two names in one": text("collections") + text("OrderedDict.__init__.__globals__") + b"\x93",
        "STACK_GLOBAL, the dot elsewhere": text("torch._utils._rebuild_tensor_v2.__globals__") + text("os") + b"\x93",
        "STACK_GLOBAL of numbers": number(1) + number(2) + b"\x93",
        "STACK_GLOBAL of a list": b"]]\x93",
        "STACK_GLOBAL of nothing": b"\x93",
        "an allowed module's other name": b"ctorch._utils\n_import_dotted_name\n" + text("os.system") + b"\x85R",
        "a storage called": b"ctorch\nFloatStorage\n)R",
        "a text called": shell[:-1] + b")R",
        "a number called": number(5) + b")R",
        "a dictionary called": b"})R",
        "OrderedDict of a name": ordered + b"(" + glob + b"tR",
        "OrderedDict of a number": ordered + number(7) + b"\x85R",
        "OrderedDict of a text": ordered + text("ab") + b"\x85R",
        "OrderedDict of triples": ordered + b"((" + b"NNN" + b"tt\x85R",
        "OrderedDict of lists as keys": ordered + b"((" + b"]N" + b"tt\x85R",
        "OrderedDict of two arguments": ordered + b")]\x86R",
        "INST": b"(" + text(touch) + b"ios\nsystem\n",
        "OBJ": b"(" + glob + text(touch) + b"o",
        "NEWOBJ": glob + shell + b"\x81",
        "NEWOBJ_EX": glob + shell + b"}\x92",
        "BUILD of a text": text("x") + b"}b",
        "BUILD of a name": ordered + b"}b",
        "BUILD of a tensor": tensor() + b"}b",
        "BUILD of nothing": b"b",
        "EXT1": b"\x82\x01", "EXT2": b"\x83\x01\x00", "EXT4": b"\x84\x01\x00\x00\x00",
        "PERSID": b"P0\n",
        "BINPERSID of a number": number(5) + b"Q",
        "BINPERSID of a text": text("storage") + b"Q",
        "BINPERSID of a list": b"]Q",
        "BINPERSID of nothing": b"Q",
        "BINPERSID of a name": glob + b"Q",
        "LONG4": b"\x8b\xff\xff\xff\x7f" + b"\x01" * 100,
        "LONG4, negative": b"\x8b\xff\xff\xff\xff",
        "LONG": b"L" + b"9" * 100_000 + b"L\n",
        "INT": b"I" + b"9" * 100_000 + b"\n",
        "BINUNICODE of 4 GB": b"X\xff\xff\xff\xffa",
        "BINUNICODE8": b"\x8d" + b"\xff" * 8,
        "BINBYTES8": b"\x8e" + b"\xff" * 8,
        "FRAME of everything": b"\x95" + b"\xff" * 8 + b"N",
        "no UTF-8": b"X\x02\x00\x00\x00\xc3\x28",
        "a name without end": b"cos" + b"x" * 1000,
        "memo never put": b"h\x05",
        "memo far away": b"}r\xff\xff\xff\xffj\xfe\xff\xff\xff",
        "a tuple without mark": b"NNt",
        "below the mark": b"N(\x85",
        "SETITEMS of three": b"}(NNNu", "SETITEMS of a list": b"](NNu", "SETITEM under a mark": b"}(Ns",
        "keys that are tuples": b"}N\x85Ns",
        "keys that are dictionaries": b"}}Ns",
        "keys that are large": b"}" + number(2**900) + b"Ns",
        "a value alone": b"N", "a list": b"]", "a name alone": ordered, "nothing": b"",
        "protocol 6": b"\x80\x06}",
    }.items()}  # fmt: skip
    return made


TENSORS = {
    "beyond the end": tensor(offset=number(1)),
    "far beyond": tensor(offset=number(2**62)),
    "over 64 bits": tensor(offset=number(2**64)),
    "before the start": tensor(offset=number(-1)),
    "a negative axis": tensor(shape=(-1, 3)),
    "a negative stride": tensor(strides=(-3, 1)),
    "larger than its storage": tensor(shape=(2, 4)),
    "a terabyte, all of one value": tensor(shape=(2**20, 2**20), strides=(0, 0)),
    "axes whose product overflows": tensor(shape=(2**32, 2**32), strides=(0, 0)),
    "strides whose sum overflows": tensor(strides=(2**63, 1)),
    "33 axes": tensor(shape=(1,) * 33, strides=(1,) * 33),
    "fewer strides than axes": tensor(strides=(3,)),
    "axes of texts": tensor().replace(numbers((2, 3)), b"(" + text("2") + text("3") + b"t"),
    "axes of bools": tensor().replace(numbers((2, 3)), b"(\x88\x88t"),
    "an empty axis and a huge one": tensor(shape=(0, 2**60), strides=(1, 1)),
    "no storage": tensor(place=b"N"),
    "a storage of another kind": tensor(storage("torch\nQUInt8Storage\n")),
    "a storage that is a module": tensor(storage("os\nsystem\n")),
    "a storage that is a function": tensor(storage("collections\nOrderedDict\n")),
    "a storage of no count": tensor(storage(count=b"N")),
    "a storage of a negative count": tensor(storage(count=number(-1))),
    "a storage of a huge count": tensor(storage(count=number(2**60))),
    "a storage of another count": tensor(storage(count=number(7))),
    "a storage with a number as key": tensor(storage(key=number(0))),
    "a storage with a path as key": tensor(storage(key=text("../../etc/passwd"))),
    "a storage that is not there": tensor(storage(key=text("9"))),
    "no storage at all": tensor(storage(first=text("module"))),
    "one storage of two types": tensor() + b"0" + tensor(storage("torch\nDoubleStorage\n")),
    "a parameter of a number": b"ctorch._utils\n_rebuild_parameter\n(K\x01\x88}tR",
    "too few arguments": b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage() + b"tR",
}

NAMES = ["", "/etc/passwd", "../a", "a/../../b", "a\\..\\b", "a\nb"]


def entries_twice():
    with pytest.warns(UserWarning, match="Duplicate"):
        return packed([("a.npy", npy("{}")), ("a.npy", npy("{}"))])


def encrypted():
    content = bytearray(small_files()[1]["stored.npz"])
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    return bytes(content)


def bzip2(method):
    return packed([("a.npy", bytes(MIB))], method)


def promised(shape, code="<f4"):
    return f"{{'descr': '{code}', 'fortran_order': False, 'shape': {shape}, }}\n"


def overlapping_zip():
    """Two entries whose directory says that they lie at the same place."""
    array = npy(promised("(6,)"), bytes(24))
    content = bytearray(packed([("a.npy", array), ("b.npy", array)]))
    second = content.rindex(b"PK\1\2")
    content[second + 42 : second + 46] = bytes(4)
    return bytes(content)


def zips():
    """{what: bytes} of bad .npz files and zip files."""
    return {
        "10 GB promised": npz(promised("(2500000000,)")),
        "an exabyte promised": npz(promised("(1000000000000000000,)")),
        "an overflow promised": npz(promised("(4294967296, 4294967296)")),
        "nothing promised, hugely": npz(promised("(0, 1000000000000000000)")),
        "33 axes": npz(promised("(" + "1, " * 33 + ")"), bytes(4)),
        "an axis of 1000 digits": npz(promised("(" + "9" * 400 + ",)")),
        "an axis in other digits": npz(promised("(\u0663,)".encode().decode("latin-1")), bytes(12)),
        "objects": packed([("a.npy", _saved(np.array([Runs(os.system, f"touch {MARK}")], dtype=object)))]),
        "structures": packed([("a.npy", _saved(np.zeros(3, [("x", "f4")])))]),
        "texts": packed([("a.npy", _saved(np.array(["abc"])))]),
        "complex": packed([("a.npy", _saved(np.zeros(3, "c8")))]),
        "dates": packed([("a.npy", _saved(np.zeros(3, "M8[s]")))]),
        "a header that is a program": npz("{'descr': __import__('os').system('touch x'), 'fortran_order': False, }"),
        "a header deeply nested": npz("(" * 60_000),
        "a header of many digits": npz(promised("(" + "1," * 299 + ")")),
        "a header of 4 GB": packed([("a.npy", b"\x93NUMPY\2\0\xff\xff\xff\xff")]),
        "version 9": packed([("a.npy", npy(promised("(1,)"), bytes(4), b"\x09\0"))]),
        "too few values": npz(promised("(6,)"), bytes(23)),
        "too many values": npz(promised("(6,)"), bytes(25)),
        "no array": packed([("readme.txt", b"hello")]),
        "twice": entries_twice(),
        "encrypted": encrypted(),
        "overlapping": overlapping_zip(),
        "bzip2": bzip2(zipfile.ZIP_BZIP2),
        "lzma": bzip2(zipfile.ZIP_LZMA),
        "a wrong checksum": small_files()[1]["stored.npz"].replace(struct.pack("<f", 5), struct.pack("<f", 4)),
        "a bomb": npz(promised("(50000000,)"), bytes(200_000_000), zipfile.ZIP_DEFLATED),
        "a bomb of many": packed([(f"{n}.npy", npy(promised("(250000,)"), bytes(MIB - 48576))) for n in range(60)],
                                 zipfile.ZIP_DEFLATED),
        "a bombed checkpoint": zip_checkpoint(state(("a", tensor(storage(count=number(50_000_000)), shape=(50_000_000,),
                                                                 strides=(1,)))), [("0", bytes(200_000_000))],
                                              zipfile.ZIP_DEFLATED),
        "a bombed pickle": zip_checkpoint(state() + bytes(20 * MIB), method=zipfile.ZIP_DEFLATED),
        "a directory of 4 GB": _with_directory(2**32 - 2),
        "a directory of 60,000": packed([(f"{n}.npy", b"") for n in range(60_000)]),
        "a directory of 25,000": packed([(f"{n}.npy", b"") for n in range(25_000)]),
        "big-endian": zip_checkpoint(state(("a", tensor())), order=b"big"),
        "two data.pkl": packed([("a/data.pkl", state()), ("b/data.pkl", state())]),
        "data.pkl far down": packed([("a/b/data.pkl", state())]),
        **{f"named {name!r}": packed([(f"{name}.npy", npy(promised("(1,)"), bytes(4)))]) for name in NAMES},
        **{f"checkpoint named {name!r}": packed([("a/data.pkl", state(("a", tensor()))), (name or "..", b"")])
           for name in NAMES},
    }  # fmt: skip


def _saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _with_directory(size):
    content = bytearray(small_files()[1]["stored.npz"])
    content[-10:-6] = struct.pack("<I", size)
    return bytes(content)


def legacies():
    """{what: bytes} of bad checkpoints in the old format, whose pickle is sound."""
    good = state(("a", tensor()))
    return {
        "big-endian": legacy_checkpoint(good, system={"little_endian": False}),
        "another magic number": legacy_checkpoint(good, magic=pickle.dumps(1, 2) + pickle.dumps(1001, 2)),
        "another version": legacy_checkpoint(good, magic=MAGIC[:-3] + b"\x01\x00."),
        "a pickle of a state": pickle.dumps({"a": [1.0, 2.0]}, 2),
        "no storages": legacy_checkpoint(good, []),
        "another storage": legacy_checkpoint(good, [("5", 6, bytes(24))]),
        "a storage twice": legacy_checkpoint(good, [("0", 6, bytes(24))] * 2),
        "keys of numbers": legacy_checkpoint(good, [(0, 6, bytes(24))]),
        "a negative count": legacy_checkpoint(good, [("0", -1, bytes(24))]),
        "another count": legacy_checkpoint(good, [("0", 7, bytes(28))]),
        "too few bytes": legacy_checkpoint(good, [("0", 6, bytes(23))]),
        "too many bytes": legacy_checkpoint(good, [("0", 6, bytes(25))]),
        "a view of a storage": legacy_checkpoint(state(("a", tensor(storage()[:-2] + b"(K\0K\0K\0ttQ")))),
    }


def headers():
    """{what: bytes} of bad safetensors files."""
    values, good = bytes(24), entry()
    whole = safetensors_of({"a": good}, values)
    twice = json.dumps({"a": good, "b": good}).replace('"b"', '"a"').encode()
    return {
        "a header of 2**63": safetensors_of({"a": good}, values, 2**63),
        "a header of all bits": safetensors_of({"a": good}, values, 2**64 - 1),
        "a header of one byte more": safetensors_of({"a": good}, values, len(whole) - 7),
        "a header too short": safetensors_of({"a": good}, values, 20),
        "a header of 3 MiB": safetensors_of(b"{" + b" " * 3 * MIB + b"}"),
        "a header of objects": safetensors_of(b'{"a": [' + b"{}," * 600_000 + b"{}]}"),
        "a header of lists": safetensors_of(b'{"a":' + b"[" * 200_000),
        "a header of digits": safetensors_of(b'{"a": ' + b"9" * 1_000_000 + b"}"),
        "a header that is a list": safetensors_of(b"{}[]"),
        "no UTF-8": safetensors_of(b'{"\xff": 1}'),
        "half a surrogate": safetensors_of({"\ud800": good}, values),
        "a key twice": safetensors_of(twice, values),
        "a key twice, within": safetensors_of(json.dumps({"a": good}).replace('"s', '"shape": 1, "s').encode(), values),
        "metadata twice": safetensors_of(b'{"__metadata__": {"x": "1", "x": "2"}}'),
        "metadata that is no text": safetensors_of({"__metadata__": {"x": 1}}),
        "metadata that is a list": safetensors_of({"__metadata__": ["x"]}),
        "overlapping": safetensors_of({"a": good, "b": good}, values),
        "overlapping a little": safetensors_of({"a": good, "b": entry(offsets=(20, 44))}, bytes(44)),
        "a hole": safetensors_of({"a": good, "b": entry(offsets=(28, 52))}, bytes(52)),
        "a hole before": safetensors_of({"a": entry(offsets=(4, 28))}, bytes(28)),
        "bytes after": safetensors_of({"a": good}, bytes(25)),
        "bytes missing": safetensors_of({"a": good}, bytes(23)),
        "offsets backwards": safetensors_of({"a": entry(offsets=(24, 0))}, values),
        "offsets below": safetensors_of({"a": entry(offsets=(-24, 0))}, values),
        "offsets beyond": safetensors_of({"a": entry(shape=(2**40, 2**7), offsets=(0, 2**49))}, values),
        "offsets of floats": safetensors_of({"a": entry(offsets=(0.0, 24.0))}, values),
        "offsets that are infinite": safetensors_of({"a": entry(offsets=(0, float("inf")))}, values),
        "offsets that are not": safetensors_of({"a": entry(offsets=(0, float("nan")))}, values),
        "three offsets": safetensors_of({"a": entry(offsets=(0, 12, 24))}, values),
        "another size": safetensors_of({"a": entry(shape=(7,))}, values),
        "another type": safetensors_of({"a": entry("F64")}, values),
        "an unknown type": safetensors_of({"a": entry("F33")}, values),
        "a type that is a list": safetensors_of({"a": entry(["F32"])}, values),
        "eight bits": safetensors_of({"a": entry("F8_E4M3", (24,))}, values),
        "a shape of bools": safetensors_of({"a": entry(shape=(True, 6))}, values),
        "a shape that is infinite": safetensors_of({"a": entry(shape=(float("inf"), 0))}, values),
        "a shape of 1e0": safetensors_of(b'{"a": {"dtype": "F32", "shape": [6e0], "data_offsets": [0, 24]}}', values),
        "a shape below": safetensors_of({"a": entry(shape=(-2, -3))}, values),
        "a shape that overflows": safetensors_of({"a": entry(shape=(2**32, 2**32), offsets=(0, 0))}),
        "nothing, hugely": safetensors_of({"a": entry(shape=(0, 2**60), offsets=(0, 0))}),
        "33 axes": safetensors_of({"a": entry(shape=(1,) * 33, offsets=(0, 4))}, bytes(4)),
        "an entry that is a number": safetensors_of({"a": 5}),
        "an entry without a type": safetensors_of({"a": {"shape": [6], "data_offsets": [0, 24]}}, values),
        "an entry with more": safetensors_of({"a": {**good, "more": 1}}, values),
        **{f"named {name!r}": safetensors_of({name: good}, values) for name in NAMES},
    }  # fmt: skip


def bombs():
    """{what: pickle} of small programs that would make much, or take long."""
    doubled = b"]" + b"".join(b"q%c(h%ch%ce" % (n, n, n) for n in range(200))
    laughs = b"]q\0" + b"".join(b"]q%c(" % (n + 1) + b"h%c" % n * 10 + b"e" for n in range(100))
    tuples = b"N" + b"q\0h\0\x86" * 5000
    pairs = b"](" + b"NN\x86" * 20_000 + b"eq\0"
    wide = b"}(" + b"".join(text(f"{n}") + b"N" for n in range(3000)) + b"uq\0"
    return {name: b"\x80\x04" + program for name, program in {
        "lists that hold themselves twice": doubled + b".",
        "a billion laughs": laughs + b".",
        "nested tuples": tuples + b".",
        "nested tuples as a key": b"}" + tuples + b"Ns.",
        "nested tuples as an identity": tuples + b"Q.",
        "nested tuples as axes": b"ctorch\nSize\n" + tuples + b"R.",
        "nested lists": b"]" * MOST,
        "nested lists, closed": b"]" * 100_000 + b"a" * 99_999 + b".",
        "dictionaries": b"}" * MOST,
        "dictionaries remembered": b"}\x94" * (MOST // 2),
        "dictionaries filled": b"}" + b"}NNs" * (MOST // 4),
        "dictionaries filled with texts": b"}\x8c\x02\xc2\xa9Ns" * (MOST // 8),
        "ordered dictionaries": b"ccollections\nOrderedDict\nq\0" + b"h\0)R" * (MOST // 4 - 10),
        "sets": b"\x8f" * MOST,
        "marks": b"(" * MOST,
        "floats": b"G12345678" * (MOST // 9),
        "large integers": (b"\x8a\xff" + b"\x7f" * 255) * (MOST // 257),
        "texts": b"\x8c\x02ab" * (MOST // 4),
        "wide texts": (b"\x8c\xf8" + "\U0001f600".encode() * 62) * (MOST // 250),
        "one wide text": text("a" * (7 * MIB) + "\U0001f600") + b".",
        "memo": b"Nr\0\0\0\1" * (MOST // 6),
        "memo, spread": b"N" + b"".join(b"r" + struct.pack("<I", n * 4093) for n in range(MIB)),
        "one list of pairs read again and again": pairs + b"ccollections\nOrderedDict\nq\1" + b"h\1h\0\x85R" * 20_000,
        "one dictionary held again and again": b"}(" + b"".join(text(f"k{n}") + b"h\0" for n in range(1)) + b"u.",
        "one dictionary held a thousand times": b"}(" + text("w") + wide + b"".join(
            text(f"k{n}") + b"h\0" for n in range(3000)) + b"u.",
        "a dictionary in itself": b"}q\0" + text("model") + b"h\0s.",
        "dictionaries in each other": b"}q\0" + text("model") + b"}q\1" + text("model") + b"h\0ss.",
        "frames": (b"\x95" + bytes(8)) * (MOST // 9),
        "names": b"ccollections\nOrderedDict\n" * 300_000,
        "tensors": storage()[:-1] + b"Qq\0" + (b"ctorch._utils\n_rebuild_tensor_v2\n(h\0" + number(0) + numbers((6,))
                   + numbers((1,)) + b"\x89)tR") * 100_000,
    }.items()}  # fmt: skip


def corpus():
    """(what, bytes) of every hostile file."""
    for kind, made in (("program", programs()), ("bomb", bombs()),
                       ("tensor", {name: state(("a", t)) for name, t in TENSORS.items()})):  # fmt: skip
        for name, program in made.items():  # compressed, a bomb is of a few kB, and allowed as little
            yield f"zip, {kind}: {name}", zip_checkpoint(program, method=zipfile.ZIP_DEFLATED)
            if len(program) < MIB // 2:
                yield f"legacy, {kind}: {name}", legacy_checkpoint(program)
                yield f"alone, {kind}: {name}", program
    for name, program in programs().items():
        yield f"zip, within a state: {name}", zip_checkpoint(b"\x80\x02}" + text("a") + program[2:-1] + b"s.")
        yield f"legacy, as magic number: {name}", legacy_checkpoint(state(("a", tensor())), magic=program)
        yield f"legacy, as system: {name}", MAGIC + program + state(("a", tensor()))
        yield f"legacy, as keys: {name}", MAGIC + pickle.dumps({}, 2) + state(("a", tensor())) + program
    for kind, made in (("zip", zips()), ("legacy", legacies()), ("safetensors", headers())):
        for name, content in made.items():
            yield f"{kind}: {name}", content
    for name, content in {
        "empty": b"", "one byte": b"\x80", "zeros": bytes(1000), "a PNG": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100), "a web page": b"<!DOCTYPE html><html></html>",
        "one array": npy("{}"),
        "gzip": gzip.compress(b"x" * 100), "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
    }.items():  # fmt: skip
        yield name, content
