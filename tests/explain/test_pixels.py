"""A picture as a matrix: what Pillow reads, quantising against a loop, and the bytes."""

import numpy as np
import pytest
from PIL import Image

from minicnn import explain
from minicnn.explain.pixels import quantise


def test_a_picture_in_colour(rng, tmp_path):
    pixels = rng.integers(0, 256, (21, 34, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = explain.pixels(tmp_path / "a.png", (3, 5, 4, 2))
    assert (found.height, found.width, found.channels, found.dtype) == (21, 34, ("red", "green", "blue"), "uint8")
    assert (found.format, found.file_bits, found.file_bytes) == ("PNG", 8, (tmp_path / "a.png").stat().st_size)
    assert np.array_equal(found.values, pixels[3:7, 5:7])
    for c in range(3):
        assert found.least[c] == min(pixels[:, :, c].ravel().tolist())
        assert found.most[c] == max(pixels[:, :, c].ravel().tolist())
        assert found.mean[c] == pytest.approx(sum(pixels[:, :, c].ravel().tolist()) / (21 * 34))
    r, g, b = pixels[3, 5].tolist()
    text = " ".join(found.text().split())
    assert "H × W × C = 21 × 34 × 3 = 2,142 numbers" in text
    assert f"(3, 5) is red {r}, green {g}, blue {b}" in text
    alone = explain.pixels(tmp_path / "a.png", (3, 5, 4, 2), channel="green").text()
    assert "The green channel alone" in alone
    assert "\nred\n" not in alone


@pytest.mark.parametrize("bits", range(1, 9))
def test_fewer_bits(bits):
    """The nearest of 2^bits levels from 0 to 255."""
    levels = [k * 255 / (2**bits - 1) for k in range(2**bits)]
    values = np.arange(256, dtype=np.uint8)
    found = quantise(values, bits)
    for v, q in zip(range(256), found.tolist()):
        nearest = min(abs(v - level) for level in levels)
        assert min(abs(q - level) for level in levels) <= 0.5, "it is a level, rounded to an integer"
        assert abs(v - q) <= nearest + 0.5
    assert len(set(found.tolist())) == 2**bits
    assert found[0] == 0
    assert found[255] == 255


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_what_is_lost_and_the_bytes(rng, bits):
    pixels = rng.integers(0, 256, (5, 7), np.uint8)
    found = explain.pixels(pixels, bits=bits)
    for depth in found.depths:
        error = [abs(int(v) - int(q)) for v, q in zip(pixels.ravel(), quantise(pixels, depth.bits).ravel())]
        assert depth.levels == 2**depth.bits
        assert depth.bytes == -(-35 * depth.bits // 8)
        assert depth.mean_error == pytest.approx(sum(error) / 35)
        assert depth.largest_error == max(error)
    assert found.depths[7].bytes == 35
    assert found.depths[7].mean_error == 0
    assert np.array_equal(found.quantised[:, :, 0], quantise(pixels, bits))
    assert (f"With {bits} bit" in found.text()) == (bits < 8)


def test_other_kinds_of_files(tmp_path):
    sixteen = np.linspace(0, 65535, 48).astype(np.uint16).reshape(6, 8)
    Image.fromarray(sixteen).save(tmp_path / "deep.png")
    found = explain.pixels(tmp_path / "deep.png")
    assert (found.file_bits, found.channels) == (16, ("grey",))
    assert np.abs(found.image[0].astype(float) - sixteen / 257).max() <= 0.5
    Image.fromarray(np.eye(9, dtype=bool)).save(tmp_path / "two.png")
    found = explain.pixels(tmp_path / "two.png")
    assert found.file_bits == 1
    assert np.array_equal(found.image[0], 255 * np.eye(9))
    Image.fromarray(np.zeros((4, 4, 4), np.uint8), "RGBA").save(tmp_path / "clear.png")
    found = explain.pixels(tmp_path / "clear.png")
    assert (found.image == 255).all()
    assert "drawn on white" in found.text()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).convert("P").save(tmp_path / "palette.gif")
    assert "palette" in explain.pixels(tmp_path / "palette.gif").text()


def test_a_digit():
    found = explain.pixels("digits:0")
    assert found.image.shape == (1, 28, 28)
    assert found.image[0, 8, 9] == 254, "as the tour says"
    assert "a handwritten 7" in found.text()


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: explain.pixels("digits:0", (28, 0, 1, 1)), r"crop: the row \(=28\) must be from 0 to 27"),
    (lambda: explain.pixels("digits:0", (20, 0, 9, 1)), r"crop: rows \(=9\) must be from 1 to 8"),
    (lambda: explain.pixels("digits:0", (1, 2, 3)), "must be four numbers"),
    (lambda: explain.pixels("digits:0", bits=0), r"bits \(=0\) must be from 1 to 8"),
    (lambda: explain.pixels("digits:0", channel="red"), "is grey: it has one channel, not a red one"),
    (lambda: explain.pixels(np.zeros((3, 4, 4), np.uint8), channel="rad"), "did you mean 'red'"),
    (lambda: explain.pixels(np.zeros((4, 4))), "array uint8"), (lambda: explain.pixels("no.png"), "there is no file"),
])  # fmt: skip
def test_what_is_refused(call, sentence):
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        call()
