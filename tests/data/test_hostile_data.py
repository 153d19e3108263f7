"""Bad input as a user would meet it: one sentence each, and no more memory than a picture is given."""

import json
import os
import struct
import subprocess
import sys
import zlib

import PIL
import pytest
from PIL import Image

from minicnn import data
from minicnn.data import decode
from tests.data import fuzz_readers
from tests.data.pictures import noise

MIB = 2**20


def test_mutants():
    read, refused, _, sorts = fuzz_readers.run(500, seed=1)
    assert read > 40
    assert sum(refused.values()) == 500 - read
    assert len(refused) > 15
    assert set(sorts) == set(fuzz_readers.KINDS)


def test_the_sound_files_are_read(tmp_path):
    """So that each mutant is refused for its own fault; but for those of floating-point numbers, and UTF-16."""
    refused = []
    for kind, contents in fuzz_readers.seeds().items():
        for n, content in enumerate(contents):
            path = fuzz_readers.lay_out(kind, tmp_path / f"{kind}{n}", content)
            said = fuzz_readers.outcome(kind, path, content)
            if said != "read":
                refused.append((kind, said))
    if PIL.__version__.startswith("11."):                # the oldest version that is supported
        refused = [(kind, said) for kind, said in refused if "8-bit grey with alpha, which Pillow does not" not in said]
    assert [kind for kind, _ in refused] == ["picture", "picture", "folder"]
    assert "32-bit floating-point grey" in refused[0][1]
    assert "64-bit floating-point grey" in refused[1][1]
    assert "is not UTF-8 text" in refused[2][1]


def png(width, height, depth, kind, rows):
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    squeeze = zlib.compressobj(9)
    packed = b"".join(squeeze.compress(row) for row in rows) + squeeze.flush()
    content = b"\x89PNG\r\n\x1a\n"
    for tag, body in (header, (b"IDAT", packed), (b"IEND", b"")):
        content += struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
    return content


def bombs(folder):
    """Pictures of some kilobytes that are as large as can be, or larger."""
    side, wide = 8192, 7900
    made = {
        "rgba.png": png(wide, wide, 8, 6, (bytes(4 * wide + 1) for _ in range(wide))),
        "rgb-too-large.png": png(side, side, 8, 2, (bytes(3 * side + 1) for _ in range(side))),
        "grey.png": png(side, side, 8, 0, (bytes(side + 1) for _ in range(side))),
        "deep.png": png(side, side, 16, 0, (bytes(2 * side + 1) for _ in range(side))),
        "bits.png": png(side, side, 1, 0, (bytes(side // 8 + 1) for _ in range(side))),
        "bomb.png": png(50_000, 50_000, 8, 2, [bytes(1000)]),
        "text.png": png(8, 8, 8, 0, [bytes(72)])[:33] + text_chunk() + png(8, 8, 8, 0, [bytes(72)])[33:],
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    flat = Image.new("RGB", (6400, 6400), (1, 2, 3))
    flat.save(folder / "scans.jpg", progressive=True, subsampling=0, quality=30)
    flat.resize((3500, 3500)).convert("RGBA").save(folder / "alpha.webp", lossless=True, method=0)
    flat.resize((5600, 5600)).convert("RGBA").save(folder / "lzw.tiff", compression="tiff_lzw")
    return sorted(path.name for path in folder.iterdir())


def text_chunk():
    """A compressed text of 60 MB, which Pillow refuses."""
    body = b"Comment\0\0" + zlib.compress(bytes(60 * 10**6), 9)
    return struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))


MEASURE = """
import json, os, sys
from minicnn import data

def memory(which):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(which)) * 1024

prepare = data.Preprocessing((224, 224), (0.5,) * 3, (0.5,) * 3, resize=256)
prepare.read(sys.argv[1])
told = {}
for name in sys.argv[2:]:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = memory("VmRSS")
    try:
        said = prepare.read(name).shape
    except ValueError as problem:
        said = str(problem)
    told[name] = memory("VmHWM") - before, said
print(json.dumps(told))
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="memory is measured as Linux tells it")
@pytest.mark.slow
def test_no_picture_takes_more_than_300_mb(tmp_path):
    noise(64, 64).save(tmp_path / "a.png")
    (tmp_path / "large").mkdir()
    names = bombs(tmp_path / "large")
    assert sum(path.stat().st_size for path in (tmp_path / "large").iterdir()) < 4 * MIB
    done = subprocess.run([sys.executable, "-c", MEASURE, tmp_path / "a.png", *names], cwd=tmp_path / "large",
                          capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    read = {name for name, (_, said) in told.items() if said == [3, 224, 224]}
    assert read == {"alpha.webp", "bits.png", "deep.png", "grey.png", "lzw.tiff", "rgba.png", "scans.jpg"}
    assert "takes 256 MiB of memory to decode, more than the 240" in told["rgb-too-large.png"][1]
    assert "is larger than 64 megapixels" in told["bomb.png"][1]
    assert "text.png cannot be decoded (" in told["text.png"][1]
    print({name: round(taken / MIB) for name, (taken, _) in told.items()})
    assert max(taken for taken, _ in told.values()) < 300 * 10**6, told


def test_large_pictures_take_turns(tmp_path, monkeypatch):
    """Two threads that decode one large picture each would take twice the memory."""
    noise(64, 64).save(tmp_path / "a.png")
    monkeypatch.setattr(decode, "LARGE", 64 * 64 * 4 - 1)
    with decode.opened(tmp_path / "a.png"):
        assert decode._ONE_AT_A_TIME._is_owned()
    monkeypatch.setattr(decode, "LARGE", 64 * 64 * 4)
    with decode.opened(tmp_path / "a.png"):
        assert not decode._ONE_AT_A_TIME._is_owned()


def test_a_suffix_lies(tmp_path):
    """An SVG, a web page and a program, called as pictures."""
    for n, content in enumerate((b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<!DOCTYPE html>", b"%!PS\n(x) run")):
        path = tmp_path / f"{n}.png"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a picture in a format that minicnn reads"):
            data.read_image(path, 3, (8, 8))
