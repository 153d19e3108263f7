"""Mutate small files of every kind that `minicnn.data` reads: `python -m tests.data.fuzz_readers [COUNT [SEED]]`.

IDX and CIFAR (plain, gzipped and as pickles), pictures of every format and many modes, tar shards, folders with a
classes.txt, and preprocessings in JSON. Each mutant must be read, or refused with a ValueError or FileNotFoundError of
one sentence that names the file, with no more than `MOST` loops of work (see tests/work.py), without a warning, and
without leaving anything behind outside of its folder.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import re
import shutil
import struct
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from minicnn import data
from minicnn.data import cifar_python, doctor, idx
from minicnn.data.cifar import read_records
from minicnn.data.samples import NotReadError
from tests.data.pictures import noise
from tests.data.tiff_files import tiff
from tests.work import loops, too_much

MOST = 200
PREPARE = data.Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3)
KINDS = ("idx", "cifar", "cifar python", "picture", "tar", "folder", "preprocessing")
WEIGHTS = (0.10, 0.06, 0.08, 0.48, 0.16, 0.06, 0.06)


def saved(image, name, **options):
    out = io.BytesIO()
    image.save(out, name, **options)
    return out.getvalue()


def pictures():
    """Sound files of every format, in many modes and compressions."""
    rgb, grey = noise(24, 20, 1), noise(24, 20, 2).convert("L")
    rgba = Image.merge("RGBA", (*rgb.split(), grey))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    frames = [rgb, noise(24, 20, 3)]
    made = [saved(rgb, "PNG"), saved(rgba, "PNG"), saved(deep, "PNG"), saved(rgb.quantize(9), "PNG", transparency=1),
            saved(grey.convert("1"), "PNG"), saved(grey, "PNG", exif=exif),
            saved(rgb, "PNG", save_all=True, append_images=frames)]  # fmt: skip
    made += [saved(rgb, "JPEG"), saved(rgb, "JPEG", progressive=True, exif=exif), saved(grey, "JPEG"),
             saved(rgb.convert("CMYK"), "JPEG"), saved(noise(64, 64, 4), "JPEG", restart_marker_blocks=2)]  # fmt: skip
    made += [saved(image, "BMP") for image in (rgb, grey, rgb.quantize(9), grey.convert("1"))]
    made += [saved(rgb, "GIF"), saved(frames[0], "GIF", save_all=True, append_images=frames), saved(rgba, "GIF")]
    made += [saved(rgb, "WEBP"), saved(rgba, "WEBP", lossless=True), saved(rgb, "WEBP", exif=exif),
             saved(frames[0], "WEBP", save_all=True, append_images=frames)]  # fmt: skip
    packed = (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    made += [saved(rgb, "TIFF", compression=kind) for kind in packed]
    made += [saved(deep, "TIFF"), saved(grey.convert("1"), "TIFF", compression="group4"), saved(rgba, "TIFF"),
             saved(rgb.convert("CMYK"), "TIFF"), saved(grey.convert("F"), "TIFF")]  # fmt: skip
    return made + tiffs(np.asarray(rgba).astype(int))


def tiffs(rgba):
    """TIFF files of the kinds that Pillow does not write."""
    grey, index = rgba[:, :, 0], rgba[:, :, 0] // 16
    colours = np.arange(48).reshape(3, 16) * 1300
    return [tiff(grey * 16, 12, 1), tiff(grey * 257, 16, 0), tiff(grey * 257, 16, 1, order=">", deflate=True),
            tiff(grey, 8, 0), tiff(index, 4, 3, colours=colours), tiff(index, 4, 3, colours=colours // 256),
            tiff(rgba[:, :, :3], 8, 2, planar=2, rows=5), tiff(rgba[:, :, :3] * 257, 16, 2, planar=2, deflate=True),
            tiff(rgba, 8, 2, extra=(1,)), tiff(rgba * 257, 16, 2, extra=(2,), deflate=True), tiff(rgba, 8, 5),
            tiff(rgba[:, :, :2], 8, 1, extra=(1,)), tiff(rgba[:, :, :3], 8, 6, deflate=True, more={530: (3, [1, 1])}),
            tiff(grey, 8, 1, orientation=6, deflate=True), tiff(grey, 64, 1, kind=3)]  # fmt: skip


def tars(shown):
    """Sound tar files: in three formats, with long names and other members."""
    made = []
    for n, kind in enumerate((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
            for i in range(3):
                key = f"{'long/' * 30 if i == 2 and n else ''}key{i}"
                parts = {".png": shown[(n + i) % len(shown)], ".cls": str(i % 2).encode(), ".json": b"{}"}
                for suffix, content in parts.items():
                    member = tarfile.TarInfo(key + suffix)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        made.append(out.getvalue())
    return made


def seeds():
    """{kind: [sound content, …]}"""
    images = struct.pack(">4B3I", 0, 0, 8, 3, 3, 4, 5) + bytes(range(60))
    records = b"".join(bytes([i]) + bytes([i * 9]) * 3072 for i in range(3))
    shown = pictures()
    described = [json.dumps(p.to_dict()).encode() for p in (
        PREPARE, data.Preprocessing((28, 28), (0.1,), (0.3,), 1, 32), data.Preprocessing(
            (9, 8), (0.5,) * 3, (0.5,) * 3, fit="pad", background=(1, 2, 3), interpolation="lanczos"))]  # fmt: skip
    photographs = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    pickled = [pickle.dumps({b"data": photographs, b"labels": [3, 9], b"filenames": ["a.png", "b.png"]}, protocol)
               for protocol in (2, 3, 4)]  # fmt: skip
    return {"idx": [images, gzip.compress(images, mtime=0)], "cifar": [records, gzip.compress(records, mtime=0)],
            "cifar python": pickled,
            "picture": shown, "tar": tars(shown), "folder": [b"a\nb\n", b"b\r\na\r\n", "a\nb".encode("utf-16")],
            "preprocessing": described}  # fmt: skip


def repaired(content):
    """The checksums of a PNG or tar file made right again, so that what was mutated is looked at."""
    content = bytearray(content)
    if content[:4] == b"\x89PNG":
        place = 8
        while place + 12 <= len(content):
            end = place + 8 + int.from_bytes(content[place : place + 4], "big")
            if end + 4 > len(content):
                break
            content[end : end + 4] = zlib.crc32(content[place + 4 : end]).to_bytes(4, "big")
            place = end + 4
    elif content[257:262] == b"ustar":
        for place in range(0, len(content) - 511, 512):
            if content[place + 257 : place + 262] == b"ustar":
                content[place + 148 : place + 156] = b" " * 8
                total = sum(content[place : place + 512])
                content[place + 148 : place + 156] = f"{total:06o}\0 ".encode()
    return bytes(content)


def mutated(rng, content, others):
    """The bytes with some flipped, cut off, put in, taken out, doubled, or taken from another file."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        place, length = int(rng.integers(len(content) + 1)), int(rng.integers(1, 64))
        if rng.random() < 0.4:                             # what is in a header matters more
            place = min(place, int(rng.integers(1, 80)))
        match rng.integers(8):
            case 0:
                del content[max(1, place) :]
            case 1:
                content[place:place] = rng.bytes(int(rng.integers(1, 9)))
            case 2:
                del content[place : place + length]
            case 3:
                other = others[rng.integers(len(others))]
                start = int(rng.integers(max(1, len(other))))
                content[place : place + length] = other[start : start + length]
            case 4:                                        # an extreme number where one may stand
                number = int(rng.choice([0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1]))
                content[place : place + 4] = number.to_bytes(4, str(rng.choice(["little", "big"])))
            case 5:
                content[place:place] = content[place : place + length] * int(rng.integers(1, 20))
            case _:
                for _ in range(rng.integers(1, 4)):
                    if content:
                        content[rng.integers(len(content))] = int(rng.choice([rng.integers(256), 0, 255, 0x30]))
    return bytes(content)


ODD = (None, True, 0, -1, 1, 2**31, 10**400, 0.5, float("nan"), float("inf"), "", "crop", "8", [], [8], [8, 8], [0, 0],
       [8, 8, 8], [0.5] * 3, [True] * 3, [None] * 3, [[8], 8], {}, {"size": 8}, "\ud800", "x" * 1000)


def confused(rng, content):
    """A preprocessing with values changed for others, with keys taken out or put in."""
    values = json.loads(content)
    for _ in range(rng.integers(1, 3)):
        key = list(values)[rng.integers(len(values))] if values else "size"
        match rng.integers(8):
            case 0:
                del values[key]
            case 1:
                values[str(rng.choice(["sizes", "", "\ud800", "mean "]))] = values.get(key)
            case 2 if isinstance(values.get(key), list) and values[key]:
                values[key][rng.integers(len(values[key]))] = ODD[rng.integers(len(ODD))]
            case _:
                values[key] = ODD[rng.integers(len(ODD))]
    return json.dumps(values).encode()


def read(kind, path, content):
    """What a user would do with the file; and check what comes out."""
    if kind == "idx":
        array = idx.read(path, rank=3)
        assert array.dtype == np.uint8
    elif kind == "cifar":
        found = read_records([path], 1, 10)
        assert found.images.shape == (len(found.labels), 3, 32, 32)
    elif kind == "cifar python":
        found = cifar_python.read([path], "labels", 10)
        assert found.images.shape == (len(found.labels), 3, 32, 32)
    elif kind == "picture":
        for channels, draft in ((3, False), (1, True)):
            prepare = PREPARE if channels == 3 else data.Preprocessing((8, 8), (0.5,), (0.5,), 1)
            image = prepare.read(path, draft=draft)
            assert image.shape == (channels, 8, 8)
            assert image.dtype == np.uint8
    elif kind == "tar":
        parts = data.load(path.parent, validation=0, test=0)
        for i in range(len(parts.train)):
            assert PREPARE.read(parts.train.picture(i)).shape == (3, 8, 8)
    elif kind == "folder":
        assert len(data.ImageFolder(path.parent, validation=0, test=0).train) == 4
    else:
        found = data.Preprocessing.from_dict(json.loads(content))
        assert data.Preprocessing.from_dict(found.to_dict()) == found


def outcome(kind, path, content):
    """"read", or the sentence; AssertionError for anything else."""
    start = time.process_time()
    refusal = None
    try:
        read(kind, path, content)
    except (ValueError, FileNotFoundError, RecursionError) as problem:
        refusal = problem
    said = "read"
    if isinstance(refusal, (UnicodeDecodeError, json.JSONDecodeError, RecursionError)):
        assert kind == "preprocessing", refusal            # that is json.loads, not ours
        said = "no JSON"
    elif refusal is not None:
        said = str(refusal)
        assert type(refusal) in (ValueError, FileNotFoundError, NotReadError), f"a {type(refusal).__name__}: {said}"
        assert "\n" not in said
        assert 20 < len(said) < 700, said
        assert kind == "preprocessing" or str(path.parent) in said, said
        said = said.replace(str(path.parent), "")
    seconds = time.process_time() - start
    assert not too_much(seconds, MOST), f"took {loops(seconds):.0f} loops"
    return said


def lay_out(kind, folder, content):
    """Put the mutant where it is read from. → its path"""
    folder.mkdir()
    if kind == "folder":
        for name in "ab":
            (folder / name).mkdir()
            for i in range(2):
                (folder / name / f"{i}.png").write_bytes(b"not opened")
    path = folder / {"tar": "x.tar", "folder": "classes.txt"}.get(kind, "mutant.png")
    path.write_bytes(content)
    return path


def run(count, seed=0):
    """(how many were read, {kind of sentence: how many}, the slowest in seconds, {kind of file: how many})."""
    rng, files = np.random.default_rng(seed), seeds()
    kinds, sorts, slowest = Counter(), Counter(), 0.0
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error")
        for n in range(count):
            kind = str(rng.choice(KINDS, p=WEIGHTS))
            content = files[kind][rng.integers(len(files[kind]))]
            if kind == "preprocessing" and rng.random() < 0.8:
                content = confused(rng, content)
            else:
                content = mutated(rng, content, files[kind])
                content = repaired(content) if rng.random() < 0.5 else content
            path = lay_out(kind, Path(place) / "here", content)
            start = time.process_time()
            try:
                said = outcome(kind, path, content)
                if kind == "picture" and rng.random() < 0.1:
                    doctor.examine(path.parent, workers=1)  # looks at anything, and refuses nothing
                assert [p.name for p in Path(place).iterdir()] == ["here"], "something was left behind"
            except BaseException:
                kept = Path(tempfile.gettempdir()) / f"{kind}-{seed}-{n}"
                kept.write_bytes(content)
                print(f"mutant {n} of seed {seed}, a {kind}, kept as {kept}:", file=sys.stderr)
                raise
            slowest = max(slowest, time.process_time() - start)
            sorts[kind] += 1
            kinds[re.sub(r"\(.*?\)|'.*?'|b\".*?\"|[0-9a-f]*[0-9][0-9a-f]*( [0-9a-f]{2})*", "…", said)[:70]] += 1
            shutil.rmtree(path.parent)
    return kinds.pop("read", 0), dict(kinds), slowest, dict(sorts)


if __name__ == "__main__":
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    begin = time.perf_counter()
    try:
        sound, refused, longest, sorts = run(total, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    except AssertionError:
        traceback.print_exc()
        sys.exit(1)
    for said, times in sorted(refused.items(), key=lambda item: -item[1])[:40]:
        print(f"{times:7} {said}")
    print(", ".join(f"{times} {kind}" for kind, times in sorts.items()))
    print(f"{total} mutants: {sound} read, {total - sound} refused in a sentence of {len(refused)} kinds, none else; "
          f"the slowest took {longest * 1000:.0f} ms, all {time.perf_counter() - begin:.0f} s")
