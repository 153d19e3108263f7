"""What the numbers in picture files mean: every depth, polarity and colour type arrives by its definition in TIFF 6.0,
PNG and JFIF, or is refused by its own name. The files are put together byte by byte.
"""

import io
import itertools
import json
import struct
import zlib

import numpy as np
import PIL
import pytest
from PIL import Image

from minicnn import data
from minicnn.data import crop, decode, decode_memory, doctor, samples
from tests.data.pictures import noise
from tests.data.test_picture import TURNED, png
from tests.data.tiff_files import (
    BLACK_IS_0,
    CMYK,
    FLOAT,
    LAB,
    PALETTE,
    RGB,
    SIGNED,
    WHITE_IS_0,
    YCBCR,
    tiff,
)

H, W = 5, 7


def numbers(bits, *shape, seed=0):
    """Random samples, with black and white among them."""
    values = np.random.default_rng(seed).integers(0, 2**bits, shape)
    values.flat[0], values.flat[1] = 0, 2**bits - 1
    return values


def read(file, content, channels, shape=(H, W), name="a.tif"):
    try:
        image = decode.read(file(content, name), crop.whole, shape, channels=channels)
    except ValueError as problem:
        if int(PIL.__version__.partition(".")[0]) < 13:    # older ones refuse more, which is right, too
            pytest.skip(str(problem))
        raise
    return image.transpose(1, 2, 0)[:, :, 0 if channels == 1 else slice(None)].astype(int)


def refusal(file, content):
    path = file(content, "a.tif")
    with pytest.raises(samples.NotReadError) as error:
        decode.read(path, crop.whole, (H, W), channels=3)
    sentence = str(error.value)
    assert sentence.startswith(f"{path} ")
    assert "\n" not in sentence
    return sentence.removeprefix(f"{path} ").partition(", which Pillow")[0].partition(":")[0]


# ---------------------------------------------------------------------------------------------------------- TIFF, grey

READ = {(bits, white, order, fill) for bits in (1, 2, 4, 8) for white in (0, 1) for order in "<>" for fill in (1, 2)}
READ |= {(12, 1, "<", 1), (16, 0, "<", 1), (16, 1, "<", 1), (16, 1, ">", 1), (16, 1, "<", 2)}
READ -= {(8, 0, order, 2) for order in "<>"}


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize(("bits", "white", "order", "fill"), sorted(READ))
def test_tiff_grey(file, bits, white, order, fill, deflate):
    """0 … 2^bits − 1 becomes 0 … 255; with PhotometricInterpretation 0 it is the other way round."""
    v = numbers(bits, H, W)
    share = v / (2**bits - 1)
    wanted = 255 * share if white == BLACK_IS_0 else 255 * (1 - share)
    found = read(file, tiff(v, bits, white, order=order, fill=fill, deflate=deflate), 1)
    np.testing.assert_allclose(found, wanted, atol=0.5 + 1e-9)


@pytest.mark.parametrize(("bits", "white", "order", "fill"), sorted(
    set(itertools.product((6, 10, 12, 14, 16), (0, 1), "<>", (1, 2))) - READ))  # fmt: skip
def test_tiff_grey_that_pillow_lacks_is_refused_by_name(file, bits, white, order, fill):
    name = refusal(file, tiff(numbers(bits, H, W), bits, white, order=order, fill=fill))
    assert name == f"is a TIFF with {bits}-bit grey" + (", 0 is white" if white == WHITE_IS_0 else "")


@pytest.mark.parametrize("white", [0, 1])
@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize(("kind", "word"), [(1, ""), (SIGNED, "signed "), (FLOAT, "floating-point ")])
def test_tiff_numbers_without_a_known_white_are_refused_by_name(file, kind, word, bits, white):
    if (kind, bits) in {(1, 8), (1, 16), (FLOAT, 8)}:
        return
    v = np.random.default_rng(0).integers(0, 100, (H, W))
    assert f"{bits}-bit {word}grey{', 0 is white' * (white == 0)}" in refusal(file, tiff(v, bits, white, kind=kind))


def test_tiff_grey_of_odd_width_in_12_bits_and_several_strips(file):
    v = numbers(12, 9, 5)
    found = read(file, tiff(v, 12, BLACK_IS_0, rows=2), 1, (9, 5))
    np.testing.assert_allclose(found, v / 4095 * 255, atol=0.51)


# -------------------------------------------------------------------------------------------------------- TIFF, colour


def over_white(colour, alpha):
    return 255 * (colour * alpha + 1 - alpha)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_colours(file, bits, deflate, order):
    most, how = 2**bits - 1, {"deflate": deflate, "order": order}
    v, a = numbers(bits, H, W, 3), numbers(bits, H, W, 1, seed=1)
    c, s, alpha = numbers(bits, H, W, 4, seed=2), v / most, a / most
    premultiplied = np.round(v * alpha).astype(int)
    together = np.concatenate
    for content, wanted, tolerance in (
        (tiff(v, bits, RGB, **how), 255 * s, 1),
        (tiff(together([v, a], 2), bits, RGB, extra=(0,), **how), 255 * s, 1),
        (tiff(together([v, a], 2), bits, RGB, extra=(2,), **how), over_white(s, alpha), 2),
        (tiff(together([premultiplied, a], 2), bits, RGB, extra=(1,), **how), over_white(s, alpha), 3),
        (tiff(c, bits, CMYK, **how), 255 * (1 - c[:, :, :3] / most) * (1 - c[:, :, 3:] / most), 2),
    ):
        np.testing.assert_allclose(read(file, content, 3), wanted, atol=tolerance)


@pytest.mark.parametrize(("bits", "deflate", "colours", "extra"), [
    (8, False, RGB, ()), (8, False, CMYK, ()), (8, False, RGB, (2,)), (8, True, RGB, ()), (8, True, RGB, (0,)),
    (8, True, RGB, (2,)), (8, True, CMYK, ()), (16, True, RGB, ()), (16, True, CMYK, ()),
])  # fmt: skip
def test_tiff_planes(file, bits, deflate, colours, extra):
    """PlanarConfiguration 2 gives the picture that 1 gives."""
    v = numbers(bits, H, W, 4 if colours == CMYK or extra else 3)
    made = [tiff(v, bits, colours, extra=extra, deflate=deflate, planar=planar, rows=2) for planar in (1, 2)]
    np.testing.assert_array_equal(read(file, made[1], 3), read(file, made[0], 3))


@pytest.mark.parametrize(("bits", "deflate", "photometric", "extra", "name"), [
    (16, False, RGB, (), "16-bit RGB"), (16, False, CMYK, (), "16-bit CMYK"),
    (16, False, BLACK_IS_0, (), "16-bit grey"),
    (8, False, WHITE_IS_0, (), "8-bit grey, 0 is white"), (8, True, BLACK_IS_0, (2,), "8-bit grey with alpha"),
    (8, True, WHITE_IS_0, (0,), "8-bit grey with another channel, 0 is white"),
])  # fmt: skip
def test_tiff_planes_that_pillow_confuses_are_refused_by_name(file, bits, deflate, photometric, extra, name):
    samples_each = {RGB: 3, CMYK: 4}.get(photometric, 1) + len(extra)
    content = tiff(numbers(bits, H, W, samples_each), bits, photometric, extra=extra, deflate=deflate, planar=2)
    assert refusal(file, content) in (f"has {name} in separate planes", f"is a TIFF with {name} in separate planes")


@pytest.mark.parametrize("deflate", [False, True])
def test_tiff_grey_with_alpha(file, deflate):
    v, a = numbers(8, H, W, 1), numbers(8, H, W, 1, seed=1)
    share, alpha = v / 255, a / 255
    for extra, values, wanted in (((2,), v, over_white(share, alpha)), ((0,), v, 255 * share),
                                  ((1,), np.round(v * alpha).astype(int), over_white(share, alpha))):  # fmt: skip
        found = read(file, tiff(np.concatenate([values, a], 2), 8, BLACK_IS_0, extra=extra, deflate=deflate), 1)
        np.testing.assert_allclose(found, wanted[:, :, 0], atol=3)


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("of_bytes", [False, True])
def test_tiff_palette(file, bits, deflate, of_bytes):
    """Colours are 0 … 65535; old programs wrote 0 … 255, which is where no number is larger."""
    i = numbers(bits, H, W)
    colours = np.random.default_rng(3).integers(0, 256 if of_bytes else 65536, (3, 2**bits))
    found = read(file, tiff(i, bits, PALETTE, colours=colours, deflate=deflate), 3)
    np.testing.assert_allclose(found, np.moveaxis(colours[:, i], 0, 2) / (1 if of_bytes else 257), atol=1)


def test_tiff_ycbcr(file):
    """R = Y + 1.402 (Cr − 128), G = Y − 0.344136 (Cb − 128) − 0.714136 (Cr − 128), B = Y + 1.772 (Cb − 128)."""
    v = np.random.default_rng(0).integers(90, 170, (8, 8, 3))
    y, b, r = v[:, :, 0], v[:, :, 1] - 128, v[:, :, 2] - 128
    wanted = np.stack([y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b], 2)
    found = read(file, tiff(v, 8, YCBCR, deflate=True, more={530: (3, [1, 1])}), 3, (8, 8))
    np.testing.assert_allclose(found, np.clip(wanted, 0, 255), atol=2)


def test_tiff_colours_that_are_refused_by_name(file):
    v = numbers(8, H, W, 3)
    assert refusal(file, tiff(v, 8, LAB)) == "has 8-bit L*a*b* colours"
    assert refusal(file, tiff(v, 8, YCBCR)) == "has 8-bit YCbCr colours, not compressed"
    assert refusal(file, tiff(v, 8, RGB, kind=SIGNED)) == "is a TIFF with 8-bit signed RGB"
    assert refusal(file, tiff(numbers(16, H, W, 2), 16, BLACK_IS_0, extra=(2,))) == (
        "is a TIFF with 16-bit grey with alpha")


@pytest.mark.parametrize(("photometric", "name"), [
    (4, "mask"), (9, "L*a*b*"), (10, "L*a*b*"), (32803, "raw camera"), (32844, "LogL"), (32845, "LogLuv"),
    (34892, "raw camera"), (7, "unknown")])  # fmt: skip
def test_the_colours_of_tiff_that_pillow_lacks_have_their_names(file, photometric, name):
    """TIFF 6.0, its supplements, DNG 1.4 and libtiff's tiff.h."""
    assert refusal(file, tiff(numbers(8, H, W, 3), 8, photometric)) == f"is a TIFF with 8-bit {name}"


@pytest.mark.parametrize(("kind", "name"), [(4, "undefined "), (5, "complex "), (6, "complex "), (7, "unknown ")])
def test_the_numbers_of_tiff_that_pillow_lacks_have_their_names(file, kind, name):
    content = tiff(numbers(16, H, W), 16, BLACK_IS_0, more={339: (3, [kind])})
    assert f"16-bit {name}grey" in refusal(file, content)


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("orientation", TURNED)
def test_tiff_is_turned_once_and_cropped_upright(file, orientation, deflate):
    v = numbers(8, 4, 6)
    upright = TURNED[orientation](v)
    content = tiff(v, 8, BLACK_IS_0, orientation=orientation, deflate=deflate)
    np.testing.assert_array_equal(read(file, content, 1, upright.shape), upright)
    top = decode.read(file(content, "a.tif"), lambda w, h: (0, 0, 4, 4), (4, 4), channels=1)[0]
    np.testing.assert_array_equal(top, upright[:4, :4])
    assert decode.decoded(file(content, "a.tif")).shape == (3, *upright.shape)


# ---------------------------------------------------------------------------------------------------------------- PNG


def rows_of(values, bits):
    """Pixels (H,W,S) as PNG stores them, most significant bit first, each row after its filter byte 0."""
    lines = []
    for line in values:
        digits = "".join(format(int(v), f"0{bits}b") for v in line.ravel())
        digits += "0" * (-len(digits) % 8)
        lines.append(b"\0" + bytes(int(digits[i : i + 8], 2) for i in range(0, len(digits), 8)))
    return zlib.compress(b"".join(lines))


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_png_grey(file, bits, transparent):
    v = numbers(bits, H, W, 1)
    clear = int(v[2, 3, 0])
    extra = [(b"tRNS", struct.pack(">H", clear))] if transparent else []
    content = png(W, H, bits, 0, *extra, (b"IDAT", rows_of(v, bits)))
    wanted = np.where(transparent & (v == clear), 255, v / (2**bits - 1) * 255)[:, :, 0]
    np.testing.assert_allclose(read(file, content, 1, name="a.png"), wanted, atol=0.51)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [False, True])
def test_png_palette(file, bits, transparent):
    v, draw = numbers(bits, H, W, 1), np.random.default_rng(4)
    colours, alphas = draw.integers(0, 256, (2**bits, 3)), draw.integers(0, 256, max(1, 2**bits - 1))
    extra = [(b"tRNS", bytes(alphas.tolist()))] if transparent else []
    content = png(W, H, bits, 3, (b"PLTE", bytes(colours.ravel().tolist())), *extra, (b"IDAT", rows_of(v, bits)))
    alpha = np.append(alphas, 255)[v] / 255 if transparent else 1.0
    found = read(file, content, 3, name="a.png")
    np.testing.assert_allclose(found, over_white(colours[v[:, :, 0]] / 255, alpha), atol=1)


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("bits", [8, 16])
def test_png_colour_and_alpha(file, kind, channels, bits):
    v = numbers(bits, H, W, channels)
    share = v / (2**bits - 1)
    wanted = 255 * share if kind == 2 else over_white(share[:, :, :-1], share[:, :, -1:])
    found = read(file, png(W, H, bits, kind, (b"IDAT", rows_of(v, bits))), 3, name="a.png")
    np.testing.assert_allclose(found, np.broadcast_to(wanted, (H, W, 3)), atol=2)


def test_png_rgb_with_a_transparent_colour(file):
    v = numbers(8, H, W, 3)
    chunk = b"tRNS", struct.pack(">3H", *v[2, 3])
    found = read(file, png(W, H, 8, 2, chunk, (b"IDAT", rows_of(v, 8))), 3, name="a.png")
    np.testing.assert_array_equal(found, np.where((v == v[2, 3]).all(2, keepdims=True), 255, v))
    content = png(W, H, 16, 2, chunk, (b"IDAT", rows_of(v, 16)))
    assert refusal(file, content).startswith("has 16-bit RGB with a transparent colour (tRNS)")


# ------------------------------------------------------------------------------------- BMP, GIF, WebP, JPEG, and names


@pytest.mark.parametrize(("mode", "name"), [
    ("1", "a.bmp"), ("L", "a.bmp"), ("P", "a.bmp"), ("RGB", "a.bmp"), ("1", "a.gif"), ("L", "a.gif"),
    ("P", "a.gif"), ("L", "a.webp"), ("RGB", "a.webp"), ("RGBA", "a.webp"),
])  # fmt: skip
def test_modes_of_other_formats(tmp_path, mode, name):
    colour = Image.fromarray(numbers(8, 6, 8, 3).astype(np.uint8))
    picture = colour.quantize(16) if mode == "P" else colour.convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(numbers(8, 6, 8, seed=1).astype(np.uint8)))
    given = np.asarray(picture.convert("RGBA")).astype(float)
    picture.save(tmp_path / name, **({"lossless": True, "exact": True} if name == "a.webp" else {}))
    found = decode.read(tmp_path / name, crop.whole, (6, 8), channels=3).transpose(1, 2, 0)
    np.testing.assert_allclose(found, over_white(given[:, :, :3] / 255, given[:, :, 3:] / 255), atol=1)


def test_bmp_with_alpha(file):
    """BITMAPV4HEADER with the masks of BGRA; rows from below."""
    v = numbers(8, 6, 8, 4)
    head = struct.pack("<IiiHHIIiiII4I", 108, 8, 6, 1, 32, 3, v.size, 0, 0, 0, 0, 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    pixels = v[::-1, :, [2, 1, 0, 3]].astype(np.uint8).tobytes()
    content = b"BM" + struct.pack("<IHHI", 122 + v.size, 0, 0, 122) + head + b"BGRs" + bytes(48) + pixels
    found = read(file, content, 3, (6, 8), "a.bmp")
    np.testing.assert_allclose(found, over_white(v[:, :, :3] / 255, v[:, :, 3:] / 255), atol=1)


@pytest.mark.parametrize("name", ["a.jfif", "a.JPE", "a.jif"])
def test_jpeg_files_under_other_names_are_in_a_folder(tmp_path, name):
    for label in "ab":
        (tmp_path / label).mkdir()
        Image.new("RGB", (8, 8), (200, 100, 50)).save(tmp_path / label / name, "JPEG")
    found = data.ImageFolder(tmp_path, validation=0, test=0)
    assert found.train.names == (f"a/{name}", f"b/{name}")
    np.testing.assert_allclose(decode.decoded(tmp_path / "a" / name)[:, 4, 4], (200, 100, 50), atol=3)


def test_a_png_of_8000_by_8000_is_read(file):
    """It is within the 64 megapixels that the sentence names; their bytes must not be a second limit."""
    row = zlib.compress((b"\0" + b"\x28\x50\xa0" * 8000) * 8000, 1)
    path = file(png(8000, 8000, 8, 2, (b"IDAT", row)), "large.png")
    image = decode.read(path, crop.whole, (4, 4), channels=3)
    assert image[:, 2, 2].tolist() == [0x28, 0x50, 0xA0]


@pytest.mark.parametrize(("compression", "mode", "tolerance"), [
    ("tiff_lzw", "RGB", 0), ("packbits", "RGB", 0), ("tiff_adobe_deflate", "RGB", 0), ("jpeg", "RGB", 30),
    ("group3", "1", 0), ("group4", "1", 0), ("tiff_lzw", "L", 0), ("tiff_lzw", "CMYK", 1), ("tiff_lzw", "I;16", 1),
])  # fmt: skip
def test_compressed_tiffs(tmp_path, compression, mode, tolerance):
    """What Pillow writes with libtiff comes back."""
    colour = noise(32, 48, 5)
    deep = np.asarray(colour.convert("L")).astype(np.uint16) * 257
    picture = Image.fromarray(deep) if mode == "I;16" else colour.convert(mode)
    picture.save(tmp_path / "a.tif", compression=compression)
    shown = colour.convert("L") if mode == "I;16" else picture
    found = decode.decoded(tmp_path / "a.tif").transpose(1, 2, 0).astype(int)
    np.testing.assert_allclose(found, np.asarray(shown.convert("RGB")), atol=tolerance)


@pytest.mark.parametrize("kind", ["16-bit, 0 is white", "12-bit", "grey with alpha", "palette"])
def test_large_pictures_are_averaged_with_the_same_meaning(file, monkeypatch, kind):
    """A flat picture, so that its average is known."""
    content, wanted = {
        "16-bit, 0 is white": (tiff(np.full((40, 60), 0x3333), 16, WHITE_IS_0), 204),
        "12-bit": (tiff(np.full((40, 60), 0x333), 12, BLACK_IS_0), 51),
        "grey with alpha": (tiff(np.tile([51, 102], (40, 60, 1)), 8, BLACK_IS_0, extra=(2,)), 255 * 0.6 + 51 * 0.4),
        "palette": (tiff(np.full((40, 60), 3), 4, PALETTE, colours=np.full((3, 16), 77 * 257)), 77),
    }[kind]  # fmt: skip
    monkeypatch.setattr(decode, "BIG", 400)
    monkeypatch.setattr(decode, "STRIP", 300)
    found = decode.read(file(content, "a.tif"), crop.whole, (4, 6), channels=1)
    np.testing.assert_allclose(found, wanted, atol=1)


@pytest.mark.parametrize(("rows", "deflate", "strip"), [(40, True, 40), (8, True, 8), (40, False, 0)])
def test_the_memory_of_a_tiff_is_its_pixels_and_a_packed_strip(file, rows, deflate, strip):
    content = tiff(numbers(8, 40, 30, 3), 8, RGB, rows=rows, deflate=deflate)
    with decode.opened(file(content, "a.tif")) as picture:  # Pillow has 4 bytes for a pixel of 3 colours
        assert decode_memory.estimate(picture) == 4 * 30 * (40 + strip)


def test_libtiff_is_silent(tmp_path, capfd):
    content = tiff(numbers(8, 40, 40), 8, BLACK_IS_0, deflate=True)
    for damage in (20, 200, 900):
        path = tmp_path / "a.tif"
        path.write_bytes(content[:damage] + b"\xff\xff\xff" + content[damage + 3 :])
        with pytest.raises(ValueError, match=r"a\.tif \(8-bit grey\) cannot be decoded"):
            decode.read(path, crop.whole, (8, 8), channels=1)
    path.write_bytes(tiff(numbers(8, 4, 4), 8, BLACK_IS_0, more={277: (3, [255])}))
    with pytest.raises(ValueError, match=r"a\.tif"):        # Pillow logs "More samples per pixel than can be decoded"
        decode.read(path, crop.whole, (8, 8), channels=1)
    assert capfd.readouterr() == ("", "")


def test_doctor_says_which_depth_and_polarity_it_saw(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "deep.tif").write_bytes(tiff(numbers(16, 40, 40), 16, WHITE_IS_0))
    (tmp_path / "a" / "twelve.tif").write_bytes(tiff(numbers(12, 40, 40), 12, BLACK_IS_0))
    (tmp_path / "a" / "float.tif").write_bytes(tiff(numbers(8, 40, 40), 64, BLACK_IS_0, kind=FLOAT))
    Image.fromarray(numbers(8, 40, 40, 3).astype(np.uint8)).save(tmp_path / "b" / "usual.png")
    from minicnn.data import doctor

    report = doctor.examine(tmp_path)
    assert report.samples() == {"12-bit grey": 1, "16-bit grey, 0 is white": 1, "8-bit RGB": 1}
    assert report.problems["not read"] == ["a/float.tif"]
    assert "64-bit floating-point grey" in json.dumps(report.as_dict())
    assert report.problems["other depth"] == ["a/deep.tif", "a/twelve.tif"]
    assert report.fatal


@pytest.mark.parametrize("mode", ["L", "I;16", "LA", "RGB"])
def test_a_tiff_without_its_last_strips_is_truncated(tmp_path, mode):
    """The height in its header is changed; Pillow alone would make up the rows that have no data."""
    pixels = np.arange(12 * 20, dtype=np.uint16).reshape(12, 20)
    image = Image.fromarray(pixels) if mode == "I;16" else Image.fromarray(pixels.astype(np.uint8)).convert(mode)
    out = io.BytesIO()
    image.save(out, "TIFF")
    content = out.getvalue()
    height = struct.pack("<HHII", 257, 4, 1, 12)                    # the tag, LONG, one, 12
    assert content.count(height) == 1
    path = tmp_path / "short.tif"
    path.write_bytes(content)
    prepare = data.Preprocessing((12, 20), (0.0,), (1.0,), 1)
    assert prepare.read(path).shape == (1, 12, 20)
    path.write_bytes(content.replace(height, struct.pack("<HHII", 257, 4, 1, 13)))
    with pytest.raises(ValueError, match=r"short\.tif .*truncated: it has the data of 240 of 260 pixels"):
        prepare.read(path)
    (tmp_path / "a").mkdir()
    path.rename(tmp_path / "a" / "short.tif")
    assert doctor.examine(tmp_path).problems["truncated"] == ["a/short.tif"]
