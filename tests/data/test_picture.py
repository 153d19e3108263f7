"""The way in for pictures: values from other sources, and every refusal."""

from __future__ import annotations

import os
import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from minicnn import data


def save(tmp_path, picture, name, **options):
    picture.save(tmp_path / name, **options)
    return tmp_path / name


def rgb(height=4, width=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.webp"])
def test_a_picture_of_the_right_size_keeps_its_pixels(tmp_path, name):
    path = save(tmp_path, Image.fromarray(rgb()), name, **({"lossless": True} if name == "a.webp" else {}))
    image = data.read_image(path, 3, (4, 6))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, rgb().transpose(2, 0, 1))
    np.testing.assert_array_equal(data.read_image(str(path), 3, (4, 6)), image)


@pytest.mark.parametrize("name", ["a.jpg", "a.gif"])
def test_the_other_formats(tmp_path, name):
    path = save(tmp_path, Image.new("RGB", (6, 4), (200, 100, 50)), name)
    np.testing.assert_allclose(data.read_image(path, 3, (4, 6))[:, 1, 1].astype(int), (200, 100, 50), atol=3)


def test_grey_of_colour_is_the_luma_of_itu_r_601(tmp_path):
    path = save(tmp_path, Image.fromarray(rgb()), "a.png")
    grey = data.read_image(path, 1, (4, 6))
    assert grey.shape == (1, 4, 6)
    np.testing.assert_allclose(grey[0], rgb() @ [0.299, 0.587, 0.114], atol=1)


def test_colour_of_grey_is_three_times_the_same(tmp_path):
    path = save(tmp_path, Image.fromarray(rgb()[:, :, 0]), "a.png")
    image = data.read_image(path, 3, (4, 6))
    for c in range(3):
        np.testing.assert_array_equal(image[c], rgb()[:, :, 0])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_lie_on_white(tmp_path, mode):
    channels = {"RGBA": (10, 90, 200), "LA": (60,)}[mode]
    picture = Image.new(mode, (3, 1))
    for x, alpha in enumerate((0, 255, 51)):
        picture.putpixel((x, 0), (*channels, alpha))
    image = data.read_image(save(tmp_path, picture, "a.png"), 3, (1, 3))
    for c, value in enumerate(channels if mode == "RGBA" else channels * 3):
        np.testing.assert_allclose(image[c, 0].astype(int), [255, value, 0.2 * value + 0.8 * 255], atol=1)


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_lies_on_white(tmp_path, mode):
    picture = Image.new(mode, (2, 1), 0)
    if mode == "P":
        picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.putpixel((1, 0), {"P": 1, "L": 7, "RGB": (1, 2, 3)}[mode])
    path = save(tmp_path, picture, "a.png", transparency=(0, 0, 0) if mode == "RGB" else 0)
    image = data.read_image(path, 3, (1, 2))
    assert image[:, 0, 0].tolist() == [255, 255, 255]
    assert image[:, 0, 1].tolist() == {"P": [40, 50, 60], "L": [7, 7, 7], "RGB": [1, 2, 3]}[mode]


def test_a_palette_gives_its_colours(tmp_path):
    picture = Image.new("P", (3, 1))
    picture.putpalette([1, 2, 3, 100, 150, 200, 255, 0, 9])
    picture.putdata([2, 0, 1])
    image = data.read_image(save(tmp_path, picture, "a.png"), 3, (1, 3))
    assert image[:, 0].T.tolist() == [[255, 0, 9], [1, 2, 3], [100, 150, 200]]


def test_black_and_white_of_one_bit(tmp_path):
    picture = Image.fromarray(np.array([[True, False, True]]))
    assert data.read_image(save(tmp_path, picture, "a.png"), 1, (1, 3)).tolist() == [[[255, 0, 255]]]


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path, name):
    values = np.array([[0, 257, 25700, 32768, 65278, 65535]], np.uint16)
    path = save(tmp_path, Image.fromarray(values), name)
    assert data.read_image(path, 1, (1, 6)).tolist() == [[[0, 1, 100, 128, 254, 255]]]  # round(v / 257)


def png(width, height, depth, kind, *chunks):
    """A PNG file from its parts (RFC 2083): the signature, IHDR, the given chunks, IEND."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n"
    for tag, body in (header, *chunks, (b"IEND", b"")):
        content += struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
    return content


def test_16_bit_grey_with_a_transparent_value(file):
    row = b"\0" + struct.pack(">3H", 0x1234, 25700, 0x1235)  # filter 0, then three pixels
    path = file(png(3, 1, 16, 0, (b"tRNS", struct.pack(">H", 0x1234)), (b"IDAT", zlib.compress(row))))
    assert data.read_image(path, 1, (1, 3)).tolist() == [[[255, 100, 18]]]  # 0x1235 / 257 = 18.13


def test_16_bit_colour(file):
    row = b"\0" + struct.pack(">6H", 65535, 0, 257 * 80, 257 * 7, 257 * 200, 257)
    path = file(png(2, 1, 16, 2, (b"IDAT", zlib.compress(row))))
    assert data.read_image(path, 3, (1, 2))[:, 0].T.tolist() == [[255, 0, 80], [7, 200, 1]]


def test_32_bit_pixels_have_no_scale(tmp_path):
    path = save(tmp_path, Image.fromarray(np.ones((2, 2), np.float32)), "a.tiff")
    with pytest.raises(ValueError, match=r"a.tiff has 32-bit floating-point grey, of which the value of white"):
        data.read_image(path, 1, (2, 2))


@pytest.mark.parametrize("name", ["a.jpg", "a.tiff"])
def test_cmyk(tmp_path, name):
    # no cyan, full magenta, half yellow, no black: red 255, green 0, blue 127
    picture = Image.new("CMYK", (16, 16), (0, 255, 128, 0))
    np.testing.assert_allclose(data.read_image(save(tmp_path, picture, name), 3, (16, 16))[:, 8, 8].astype(int),
                               (255, 0, 127), atol=4)


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    path = save(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert data.read_image(path, 3, (4, 4))[:, 0, 0].tolist() == [255, 0, 0]


# where the picture's upper left, upper right and lower left corner come to lie, by the orientation's number (EXIF 2.3)
TURNED = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
          5: lambda a: a.swapaxes(0, 1), 6: lambda a: a[::-1].swapaxes(0, 1),
          7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: a[:, ::-1].swapaxes(0, 1)}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_the_exif_orientation_is_honoured(tmp_path, name, orientation):
    corners = np.array([[0, 80, 160], [40, 120, 240]], np.uint8)  # six flat blocks, all different
    stored = np.kron(corners, np.ones((16, 16), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path, Image.fromarray(stored), name, exif=exif, **({"quality": 95} if name == "a.jpg" else {}))
    upright = TURNED[orientation](stored)
    image = data.read_image(path, 1, upright.shape)
    np.testing.assert_allclose(image[0].astype(int), upright, atol=3)


@pytest.mark.parametrize(("stored", "size"), [((2, 6), (2, 2)), ((6, 2), (2, 2)), ((9, 3), (3, 3))])
def test_the_middle_of_the_longer_side_is_cut_out(tmp_path, stored, size):
    """Three flat squares in a row: what is seen is the middle one, with none of its neighbours."""
    side = min(stored)
    squares = np.array([[0, 100, 255]]) if stored[1] > stored[0] else np.array([[0], [100], [255]])
    picture = np.kron(squares, np.ones((side, side))).astype(np.uint8)
    assert picture.shape == stored
    image = data.read_image(save(tmp_path, Image.fromarray(picture), "a.png"), 1, size)
    assert image.shape == (1, *size)
    assert (image == 100).all()


def test_the_part_cut_out_is_that_of_the_whole_picture_resized(tmp_path):
    picture = np.array([[0, 0, 100, 100, 252, 252]] * 2, np.uint8)
    image = data.read_image(save(tmp_path, Image.fromarray(picture), "a.png"), 1, (4, 4))
    # new pixel i lies at (i + ½)/2 + 2 − ½ of the old: 1¾, 2¼, 2¾, 3¼; the outer two see the neighbours by a quarter
    np.testing.assert_array_equal(image[0], [[75, 100, 100, 138]] * 4)


def tents(old, new, zoom):
    """The antialiased bilinear filter as a matrix (new, old), for the middle `new` pixels of old·zoom.

    Each new pixel is a mean of old ones, weighted by a tent that is as wide as the picture shrinks.
    """
    middle = (np.arange(new) + 0.5 + (old * zoom - new) / 2) / zoom
    weights = np.maximum(0, 1 - abs(np.arange(old) + 0.5 - middle[:, None]) * min(1, zoom))
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize(("stored", "size"), [
    ((12, 36), (3, 3)), ((30, 20), (8, 8)), ((9, 9), (4, 4)), ((7, 5), (14, 6)), ((20, 10), (5, 9)), ((6, 8), (12, 16)),
])
def test_resizing_against_its_definition(tmp_path, stored, size):
    picture = rgb(*stored)
    zoom = max(size[0] / stored[0], size[1] / stored[1])
    down, across = (tents(old, new, zoom) for old, new in zip(stored, size))
    image = data.read_image(save(tmp_path, Image.fromarray(picture), "a.png"), 3, size)
    np.testing.assert_allclose(image, np.einsum("hi,wj,ijc->chw", down, across, picture), atol=1.5)


def test_making_smaller_averages_instead_of_skipping(tmp_path):
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))  # (64, 64): without antialiasing 0 or 255 remains
    image = data.read_image(save(tmp_path, Image.fromarray(stripes), "a.png"), 1, (8, 8))
    np.testing.assert_allclose(image, 127.5, atol=12)


def test_making_larger_is_bilinear(tmp_path):
    path = save(tmp_path, Image.fromarray(np.array([[0, 200], [0, 200]], np.uint8)), "a.png")
    # the middles of the four new pixels lie at −¼, ¼, ¾, 1¼ of the old ones
    np.testing.assert_allclose(data.read_image(path, 1, (4, 4))[0], [[0, 50, 150, 200]] * 4, atol=1)


def test_a_long_strip_does_not_take_memory_for_what_is_cut_off(tmp_path):
    path = save(tmp_path, Image.new("L", (1, 200_000), 77), "a.png")
    image = data.read_image(path, 1, (224, 224))  # all of it, 224 wide, would be 10 gigapixels
    assert image.shape == (1, 224, 224)
    assert (image == 77).all()


def refusal(path, channels=3, size=(8, 8)):
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        data.read_image(path, channels, size)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.webp", "a.gif", "a.tiff"])
def test_a_picture_cut_short(tmp_path, name):
    path = save(tmp_path, Image.fromarray(rgb(64, 64)), name)
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) * 6 // 10])
    sentence = refusal(path)
    assert "damaged" in sentence
    assert "leave it out" in sentence


def test_files_that_are_no_pictures(file):
    for content in (b"this is a text\n", b"", b"%PDF-1.4", bytes(1000)):
        sentence = refusal(file(content, "notes.png"))
        assert "notes.png is not a picture in a format that minicnn reads (PNG, JPEG, BMP, GIF, WEBP, TIFF)" in sentence


def test_formats_beyond_the_list_are_not_even_tried(tmp_path):
    """PPM, and a program (EPS is handed to Ghostscript): Pillow reads both, minicnn does not."""
    picture = Image.fromarray(rgb())
    for name in ("a.ppm", "a.eps", "a.tga"):
        assert "not a picture in a format" in refusal(save(tmp_path, picture, name))


@pytest.mark.parametrize("side", [50_000, 10_000, 8193], ids=["Pillow's error", "Pillow's warning", "ours alone"])
def test_a_bomb_is_refused_by_its_header(file, side):
    path = file(png(side, side, 8, 2, (b"IDAT", zlib.compress(bytes(1000)))), "bomb.png")
    tracemalloc.start()
    try:
        assert "is larger than 64 megapixels, which minicnn does not decode: make it smaller" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_exactly_64_megapixels_are_not_too_many(file):
    path = file(png(8192, 8192, 1, 0, (b"IDAT", zlib.compress(bytes(1025 * 8192)))), "large.png")
    assert (data.read_image(path, 1, (2, 2)) == 0).all()


def test_a_missing_file_a_folder_and_a_pipe(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere\.png: check the name"):
        data.read_image(tmp_path / "nowhere.png", 3, (8, 8))
    assert "is a folder, not a picture" in refusal(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        assert "is not a regular file" in refusal(tmp_path / "pipe.png")


@pytest.mark.parametrize(("channels", "size", "sentence"), [
    (2, (8, 8), r"channels \(=2\) must be 1 \(grey\) or 3 \(RGB\)"), (4, (8, 8), r"channels \(=4\) must be"),
    (3, (0, 8), r"size \(=\(0, 8\)\) must be \(height, width\)"), (3, 8, r"size \(=8\) must be"),
    (3, (8.0, 8), r"size \(=\(8.0, 8\)\) must be"), (3, (8, 8, 3), r"size \(=\(8, 8, 3\)\) must be"),
])
def test_what_a_picture_cannot_become(tmp_path, channels, size, sentence):
    path = save(tmp_path, Image.fromarray(rgb()), "a.png")
    with pytest.raises(ValueError, match=sentence):
        data.read_image(path, channels, size)


@pytest.mark.parametrize(("height", "width"), [(512, 768), (768, 512), (512, 512), (1024, 2048), (128, 320)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_is_the_shorter_side_and_the_middle_is_cut_out(tmp_path, height, width, channels):
    """As if all of the picture were resized, and 224 × 224 then cut out: here with sides that come out even."""
    picture = Image.fromarray(rgb(height, width)).convert("RGB" if channels == 3 else "L")
    image = data.read_image(save(tmp_path, picture, "a.png"), channels, (224, 224), 256)
    whole = picture.resize((width * 256 // min(height, width), height * 256 // min(height, width)), Image.BILINEAR)
    left, top = (whole.width - 224) // 2, (whole.height - 224) // 2
    wanted = np.asarray(whole.crop((left, top, left + 224, top + 224))).reshape(224, 224, channels).transpose(2, 0, 1)
    assert image.shape == (channels, 224, 224)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - wanted).max() <= 1


def test_a_picture_that_has_that_side_already_keeps_its_pixels(tmp_path):
    pixels = rgb(20, 32)
    path = save(tmp_path, Image.fromarray(pixels), "a.png")
    image = data.read_image(path, 3, (12, 16), 20)
    assert np.array_equal(image, pixels[4:16, 8:24].transpose(2, 0, 1))
    assert np.array_equal(data.read_image(path, 3, (20, 20), 20), pixels[:, 6:26].transpose(2, 0, 1))


def test_resize_to_the_size_itself_is_no_resize(tmp_path):
    path = save(tmp_path, Image.fromarray(rgb(300, 200)), "a.png")
    plain = data.read_image(path, 3, (64, 64)).astype(int)
    assert np.abs(data.read_image(path, 3, (64, 64), 64) - plain).max() <= 1
    assert not np.array_equal(data.read_image(path, 3, (64, 64), 128), plain)
    assert np.array_equal(data.read_image(path, 3, (64, 64), 0), plain)


def test_a_small_picture_grows_and_a_turned_one_is_turned_first(tmp_path):
    ramp = np.tile(np.arange(0, 250, 25, dtype=np.uint8), (10, 1))
    image = data.read_image(save(tmp_path, Image.fromarray(ramp), "a.png"), 1, (8, 8), 20)[0].astype(int)
    assert (image == image[0]).all()
    assert np.abs(image[0] - (25 * (np.arange(6, 14) + 0.5) / 2 - 12.5)).max() <= 1     # the middle 8 of 20 columns
    picture = Image.fromarray(np.repeat(np.array([[0], [100]], np.uint8), [28, 12], axis=0).repeat(20, axis=1))
    exif = Image.Exif()
    exif[0x0112] = 3                                             # upside down
    picture.save(tmp_path / "b.png", exif=exif)
    column = data.read_image(tmp_path / "b.png", 1, (20, 20), 20)[0, :, 0]                # the middle 20 of 40 rows
    assert column.tolist() == [100] * 2 + [0] * 18


def test_a_strip_is_not_laid_out_in_full(tmp_path):
    path = save(tmp_path, Image.new("L", (1, 2_000_000), 77), "strip.png")
    tracemalloc.start()
    try:
        assert (data.read_image(path, 1, (224, 224), 256) == 77).all()
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("size", "resize"), [((224, 224), 223), ((10, 30), 29), ((30, 10), 1), ((8, 8), -8)])
def test_a_side_smaller_than_what_is_cut_out(tmp_path, size, resize):
    path = save(tmp_path, Image.fromarray(rgb()), "a.png")
    with pytest.raises(ValueError, match=rf"^resize \(={resize}\) must be at least the larger side of size \(="):
        data.read_image(path, 3, size, resize)


def test_300_random_mutations_of_pictures_give_an_array_or_a_sentence(tmp_path):
    draw, refused = np.random.default_rng(2), 0
    for name in ("a.png", "a.jpg", "a.gif", "a.tiff", "a.webp", "a.bmp"):
        path = save(tmp_path, Image.fromarray(rgb(16, 16)), name)
        good = path.read_bytes()
        for _ in range(50):
            content = bytearray(good)
            for place in draw.integers(0, len(good), 3):
                content[place] = draw.integers(256)
            path.write_bytes(content)
            try:
                image = data.read_image(path, 3, (8, 8))
            except ValueError:
                refused += 1
            else:
                assert image.shape == (3, 8, 8)
    assert refused > 30
