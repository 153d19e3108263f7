"""The one description of what is done to a picture, against Pillow's own operations and against the formula."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minicnn import data
from minicnn.data import crop, decode, decode_memory
from minicnn.data.transforms import ten_crop
from minicnn.io.model_file import Description
from tests.data.pictures import noise

IMAGENET = {"size": (224, 224), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "resize": 256}


def test_inceptions_normalisation_is_minus_1_to_1():
    pixels = np.array([0, 255], np.uint8)
    normal = data.normalise(np.broadcast_to(pixels, (1, 3, 1, 2)), *data.NORMALISATIONS["inception"])
    np.testing.assert_array_equal(normal, np.broadcast_to([-1, 1], (1, 3, 1, 2)))


@pytest.mark.parametrize("side", [49, 98, 103, 107])
def test_a_box_of_the_pictures_own_shape_is_all_of_it_to_the_last_bit(side):
    """side · (n / side) is not n for all n: 49 · (1 / 49) = 0.9999999999999999."""
    assert any(side * (n / side) != n for n in range(1, 500))
    for n in range(1, 500):
        for part in (crop.middle, crop.around):
            assert part(n, n, (side, side)) == (0, 0, n, n)


def values(**changes):
    return {"size": [8, 12], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], **changes}


@given(st.builds(dict, size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
                 fit=st.sampled_from(["crop", "pad", "stretch"]),
                 interpolation=st.sampled_from(decode.INTERPOLATIONS),
                 background=st.tuples(*[st.integers(0, 255)] * 3), channels=st.sampled_from([1, 3])),
       st.floats(0, 1), st.floats(0.01, 2))
def test_it_survives_json(kinds, mean, std):
    n = kinds["channels"]
    one = data.Preprocessing(mean=(mean,) * n, std=(std,) * n, **kinds)
    text = json.dumps(one.to_dict(), allow_nan=False)
    assert data.Preprocessing.from_dict(json.loads(text)) == one


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"sise": 3}, "unknown key of a preprocessing 'sise': did you mean 'size'"),
    ({"size": [0, 3]}, r"size \(=\[0, 3\]\) must be \(height, width\)"),
    ({"size": [8.0, 3]}, r"size \(="), ({"size": [True, 3]}, r"size \(="), ({"size": "88"}, r"size \(="),
    ({"size": [8, 2**15]}, "must be at most 16384 a side"),
    ({"channels": 2}, r"channels \(=2\) must be 1 \(grey\) or 3"), ({"channels": True}, r"channels \(=True\)"),
    ({"channels": 1}, r"mean has 3 number\(s\)"),
    ({"mean": [0.5, 0.5]}, r"mean has 2 number\(s\)"), ({"mean": "abc"}, r"mean \(='abc'\) must be 3 number"),
    ({"mean": [0.1, None, 0.2]}, r"mean \(=\[0.1, None, 0.2\]\) must be"), ({"std": [1, 0, 1]}, "std above 0"),
    ({"std": [1, float("nan"), 1]}, "must be finite"), ({"mean": [0, 10**400, 0]}, "must be finite"),
    ({"resize": 10}, r"resize \(=10\) must be at least the larger side"),
    ({"resize": -1}, r"resize \(=-1\) must be an integer from 0"),
    ({"resize": 12.0}, r"resize \(=12.0\) must be an integer"),
    ({"resize": 12, "fit": "pad"}, "resize .* is for fit='crop'"),
    ({"fit": "cut"}, "unknown fit 'cut'"), ({"interpolation": "cubic"}, "unknown interpolation 'cubic': did you mean"),
    ({"background": [0, 0]}, r"background \(=\[0, 0\]\) must be"), ({"background": [0, 0, 256]}, "background"),
    ({"background": [0, 0, 0.5]}, "background"),
])
def test_a_bad_value_is_one_sentence(changes, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        data.Preprocessing.from_dict(values(**changes))
    assert "\n" not in str(caught.value)


def test_what_must_be_said():
    with pytest.raises(ValueError, match="a preprocessing needs the keys mean, std"):
        data.Preprocessing.from_dict({"size": [3, 3]})
    with pytest.raises(ValueError, match="must be names and values, not list"):
        data.Preprocessing.from_dict([1])


def saved(tmp_path, image, name="a.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_reading_is_read_image(tmp_path):
    path = saved(tmp_path, noise(300, 400))
    prepare = data.Preprocessing(**IMAGENET)
    image = prepare.read(path)
    np.testing.assert_array_equal(image, data.read_image(path, 3, (224, 224), 256))
    x = prepare.normalise(image[None])
    assert x.dtype == np.float32
    expected = (image / 255 - np.reshape(IMAGENET["mean"], (3, 1, 1))) / np.reshape(IMAGENET["std"], (3, 1, 1))
    np.testing.assert_allclose(x[0], expected, atol=1e-5)
    assert prepare.shape == (3, 224, 224)


def test_an_array_a_file_and_bytes_give_the_same(tmp_path):
    image = noise(40, 60)
    path = saved(tmp_path, image)
    prepare = data.Preprocessing((16, 16), (0.5,) * 3, (0.5,) * 3)
    wanted = prepare.read(path)
    np.testing.assert_array_equal(prepare.read(np.asarray(image).transpose(2, 0, 1)), wanted)
    np.testing.assert_array_equal(prepare.read(decode.Packed("a in b", path.read_bytes())), wanted)
    with pytest.raises(ValueError, match=r"^a in b is not a picture"):
        prepare.read(decode.Packed("a in b", b"nothing"))
    with pytest.raises(ValueError, match=r"must be an array uint8 \(1,H,W\) or \(3,H,W\)"):
        prepare.read(np.zeros((4, 4, 4), np.uint8))


@pytest.mark.parametrize("interpolation", decode.INTERPOLATIONS)
def test_stretch_is_pillows_resize(tmp_path, interpolation):
    image = noise(30, 50)
    prepare = data.Preprocessing((20, 10), (0.5,) * 3, (0.5,) * 3, fit="stretch", interpolation=interpolation)
    wanted = np.asarray(image.resize((10, 20), Image.Resampling[interpolation.upper()]))
    np.testing.assert_array_equal(prepare.read(saved(tmp_path, image)), wanted.transpose(2, 0, 1))


@pytest.mark.parametrize(("height", "width", "inside"), [(40, 80, (slice(5, 15), slice(0, 20))),
                                                         (80, 40, (slice(0, 20), slice(5, 15))),
                                                         (50, 50, (slice(0, 20), slice(0, 20)))])
def test_pad_keeps_all_of_the_picture_on_the_background(tmp_path, height, width, inside):
    image = noise(height, width)
    prepare = data.Preprocessing((20, 20), (0.5,) * 3, (0.5,) * 3, fit="pad", background=(9, 200, 30))
    found = prepare.read(saved(tmp_path, image)).transpose(1, 2, 0)
    rows, columns = inside
    small = image.resize((columns.stop - columns.start, rows.stop - rows.start), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found[inside], np.asarray(small))
    outside = np.ones((20, 20), bool)
    outside[inside] = False
    assert (found[outside] == (9, 200, 30)).all()


@pytest.mark.parametrize(("height", "width"), [(1, 500), (500, 1), (3, 3)])
def test_pad_of_the_thinnest_pictures(tmp_path, height, width):
    path = saved(tmp_path, Image.new("RGB", (width, height), "red"))
    found = data.Preprocessing((20, 20), (0.5,) * 3, (0.5,) * 3, fit="pad").read(path)
    red = (found == np.reshape([255, 0, 0], (3, 1, 1))).all(0)
    assert red.sum() >= 20
    assert red.all() == (height == width)


def test_transparent_pixels_lie_on_the_background(tmp_path):
    path = saved(tmp_path, Image.new("RGBA", (4, 4), (255, 0, 0, 0)))
    prepare = data.Preprocessing((4, 4), (0.5,) * 3, (0.5,) * 3, background=(1, 2, 3))
    assert prepare.read(path)[:, 0, 0].tolist() == [1, 2, 3]


def test_draft_shrinks_the_decoding_and_hardly_the_picture(tmp_path, monkeypatch):
    path = saved(tmp_path, noise(512, 640), "a.jpg", quality=95)
    prepare = data.Preprocessing((64, 64), (0.5,) * 3, (0.5,) * 3)
    decoded = []
    fit = decode._resize_part
    monkeypatch.setattr(decode, "_resize_part", lambda image, *rest: (decoded.append(image.size), fit(image, *rest))[1])
    full, quick = prepare.read(path), prepare.read(path, draft=True)
    assert decoded == [(640, 512), (80, 64)]
    assert np.abs(full.astype(int) - quick).mean() < 2
    for side, part in ((64, 8), (65, 4), (128, 4), (129, 2), (256, 2), (257, 1)):
        data.Preprocessing((side, side), (0.5,) * 3, (0.5,) * 3).read(path, draft=True)
        assert decoded[-1] == (640 // part, 512 // part), "the smallest that is at least as large as is asked"
    # a small part of the picture needs all of its pixels
    prepare.read(path, lambda w, h: (0, 0, 100, 100), draft=True)
    assert decoded[-1] == (640, 512)


def test_a_box_of_a_turned_picture_is_in_upright_pixels(tmp_path):
    """The left half of what a person sees is red, though the file holds it as its lower or upper half."""
    upright = np.zeros((40, 64, 3), np.uint8)
    upright[:, :32] = (250, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6                                       # stored turned a quarter to the left
    upright[10:20, 40:50] = (0, 200, 100)
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    path = saved(tmp_path, stored, "a.jpg", exif=exif, quality=95)
    prepare = data.Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3)
    plain = saved(tmp_path, Image.fromarray(upright), "a.png")
    assert np.abs(prepare.read(path).astype(int) - prepare.read(plain)).max() < 40
    for draft in (False, True):
        left = prepare.read(path, lambda w, h: (0, 0, w / 2 - 2, h), draft)
        right = prepare.read(path, lambda w, h: (w / 2 + 2, 0, w, h), draft)
        assert left[0].min() > 230
        assert right[0].max() < 20


# --------------------------------------------------------------------------------------------------------- big pictures


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "I;16"])
def test_a_big_picture_is_averaged_first_and_is_the_same_picture(tmp_path, mode, monkeypatch):
    base = noise(300, 200)
    image = {"I;16": lambda: Image.fromarray(np.asarray(base.convert("L")).astype(np.uint16) * 257),
             "RGBA": lambda: Image.merge("RGBA", (*base.split(), Image.new("L", base.size, 100))),
             "P": lambda: base.quantize(64)}.get(mode, lambda: base.convert(mode))()  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = 8
    path = saved(tmp_path, image, "a.png", exif=exif)
    prepare = data.Preprocessing((20, 30), (0.5,) * 3, (0.5,) * 3)
    wanted = prepare.read(path).astype(int)
    monkeypatch.setattr(decode, "BIG", 300 * 200 - 1)
    monkeypatch.setattr(decode, "STRIP", 200 * 30)        # ten strips
    found = prepare.read(path).astype(int)
    assert not np.array_equal(found, wanted)
    assert np.abs(found - wanted).mean() < 2


def test_a_file_that_may_not_be_read_is_no_damaged_picture(tmp_path, monkeypatch):
    path = saved(tmp_path, noise(8, 8))

    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(PermissionError, match=r"Permission denied: .*a\.png"):
        data.read_image(path, 3, (8, 8))


def test_what_would_take_too_much_memory_is_refused_with_the_amount(tmp_path, monkeypatch):
    path = saved(tmp_path, noise(64, 64), "a.webp")
    monkeypatch.setattr(decode, "MAX_MEMORY", 20 * 64 * 64 - 1)
    with pytest.raises(ValueError, match=r"a.webp takes 0 MiB of memory to decode, more than the 0 that minicnn gives"):
        data.read_image(path, 3, (8, 8))
    monkeypatch.setattr(decode, "MAX_MEMORY", 20 * 64 * 64)
    assert data.read_image(path, 3, (8, 8)).shape == (3, 8, 8)


@pytest.mark.parametrize(("options", "a_pixel"), [
    ({}, 1), ({"progressive": True, "subsampling": 0}, 6), ({"progressive": True, "subsampling": 2}, 3)])
def test_a_jpeg_in_several_scans_keeps_its_coefficients(tmp_path, options, a_pixel):
    """2 bytes for each: 3 of full size, or 1 and two quarters of it."""
    path = saved(tmp_path, noise(64, 48), "a.jpg", **options)
    with decode.opened(path) as image:
        assert decode_memory.estimate(image) == a_pixel * 64 * 48
        assert np.asarray(image).shape == (64, 48, 3)     # looking at the file has not lost its place


# ------------------------------------------------------------------------------------------------------------- ten-crop


def test_ten_crop():
    image = np.arange(5 * 7).reshape(1, 1, 5, 7)
    crops = ten_crop(image, (3, 3))
    assert crops.shape == (1, 10, 1, 3, 3)
    assert crops[0, :5, 0, 0, 0].tolist() == [0, 4, 14, 18, 9]     # the upper left pixel of each, 7·row + column
    assert crops[0, 5:, 0, 0, 2].tolist() == [0, 4, 14, 18, 9]     # exchanged, it is on the right
    with pytest.raises(ValueError, match=r"size \(=\(6, 3\)\) must fit into the images of 5 × 7"):
        ten_crop(image, (6, 3))


# ---------------------------------------------------------------------------------------------------------- model files


def test_a_description_is_a_preprocessing_and_back():
    prepare = data.Preprocessing((20, 30), (0.1, 0.2, 0.3), (1.0, 2.0, 3.0), fit="pad", background=(1, 2, 3),
                                 interpolation="bicubic")
    assert Description.of("lenet5", {}, ("a", "b"), prepare).preprocessing == prepare
    old = Description("lenet5", {}, ["a"], [1, 28, 28], [0.1], [0.2], 30)
    assert old.preprocessing == data.Preprocessing((28, 28), (0.1,), (0.2,), 1, 30)
