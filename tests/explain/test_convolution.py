"""A filter on a picture, against loops written here: each product, each sum, the map, both directions of the filter."""

import numpy as np
import pytest
from PIL import Image

from minicnn import explain
from minicnn.explain import samples


def loops(x, w, stride, padding, bias, i, j):
    """(products, their sum with the bias) of one window, tap by tap."""
    C, KH, KW = w.shape
    products = np.zeros(w.shape)
    total = bias
    for c in range(C):
        for p in range(KH):
            for q in range(KW):
                row, column = i * stride + p - padding, j * stride + q - padding
                inside = 0 <= row < x.shape[1] and 0 <= column < x.shape[2]
                products[c, p, q] = x[c, row, column] * w[c, p, q] if inside else 0
                total += products[c, p, q]
    return products, total


@pytest.mark.parametrize(("channels", "stride", "padding", "bias"), [(1, 1, 0, 0.0), (1, 2, 1, 0.5), (3, 1, 2, -1.0),
                                                                     (3, 3, 0, 2.5)])  # fmt: skip
def test_every_number_of_the_map(rng, channels, stride, padding, bias):
    x, w = rng.normal(size=(channels, 9, 7)), rng.normal(size=(channels, 3, 2))
    rows, columns = (9 + 2 * padding - 3) // stride + 1, (7 + 2 * padding - 2) // stride + 1
    for i in range(rows):
        for j in range(columns):
            found = explain.conv(x, w, (i, j), stride, padding, bias)
            products, total = loops(x, w, stride, padding, bias, i, j)
            assert found.map.shape == (rows, columns)
            assert np.allclose(found.cell.products, products)
            assert found.cell.value == pytest.approx(total)
            assert found.map[i, j] == pytest.approx(total)
            assert found.cell.corner == (i * stride - padding, j * stride - padding)


def test_the_mouse():
    """The curve answers 6,600 at the mouse's back, more than anywhere else, and 0 where its lines run elsewhere."""
    found = explain.conv("mouse", "curve")
    mouse, curve = samples.PICTURES["mouse"][0], samples.FILTERS["curve"][0]
    values = {}
    for i in range(mouse.shape[0] - 6):
        for j in range(mouse.shape[1] - 6):
            values[i, j] = sum(mouse[i + p, j + q] * curve[p, q] for p in range(7) for q in range(7))
    assert found.cell.value == 6600 == max(values.values())
    assert [at for at, v in values.items() if v == 6600] == [found.cell.at]
    assert found.elsewhere is not None
    assert found.elsewhere.value == values[found.elsewhere.at] == 0
    assert found.elsewhere.window.sum() >= found.cell.window.sum() > 0
    assert "50·30 + 50·30 + 50·30 + 20·30 + 50·30 = 6,600" in found.text()
    assert sorted(found.cell.products[found.cell.products > 0]) == [600, 1500, 1500, 1500, 1500]


def test_one_filter_tells_the_two_lines_apart_by_its_sign():
    for name, sign in (("diagonal", 1), ("antidiagonal", -1)):
        found = [explain.conv(line, name, (2, 2)).cell.value for line in ("backslash", "slash")]
        assert found == [2 * sign, -2 * sign]
    for line, filter_ in (("vertical", "horizontal"), ("horizontal", "vertical")):
        assert not explain.conv(line, filter_).map[1:-1, 1:-1].any()


def test_an_edge():
    assert explain.conv("edge", "vertical").map.tolist() == [[0, 30, 30, 0]] * 4
    assert not explain.conv("edge", "horizontal").map.any()


def test_one_filter_on_a_picture_in_colour_makes_one_map(rng, tmp_path):
    """32×32×3 and 5×5×3 give 28×28 numbers, not 28×28×3."""
    pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "colour.png")
    np.save(tmp_path / "w.npy", w := rng.normal(size=(3, 5, 5)))
    found = explain.conv(tmp_path / "colour.png", tmp_path / "w.npy", (20, 3))
    assert found.map.shape == (28, 28)
    assert found.cell.value == pytest.approx(loops(pixels.transpose(2, 0, 1).astype(float), w, 1, 0, 0, 20, 3)[1])
    assert "all 3 channels are added up, so one filter makes one map" in " ".join(found.text().split())
    grey = explain.conv(tmp_path / "colour.png", "vertical")
    assert grey.picture.pixels.shape == (1, 32, 32)
    assert np.array_equal(grey.picture.pixels[0], np.asarray(Image.open(tmp_path / "colour.png").convert("L")))


def test_a_large_picture_is_reduced_and_says_so(tmp_path):
    Image.fromarray(np.full((1300, 650), 90, np.uint8)).save(tmp_path / "tall.png")
    found = explain.conv(tmp_path / "tall.png", "vertical")
    assert found.picture.pixels.shape == (1, 512, 256)
    assert (found.picture.pixels == 90).all()
    assert "1300×650 pixels, read as grey and reduced to 512×256" in " ".join(found.text().split())


@pytest.mark.parametrize(("content", "taps"), [
    ("1 0 -1\n2,0,-2\n1; 0; -1\n\n", [[1, 0, -1], [2, 0, -2], [1, 0, -1]]), ("0.5", [[0.5]]),
    ("1e3,-2\n", [[1000, -2]]),
])  # fmt: skip
def test_a_filter_from_a_file(tmp_path, content, taps):
    (tmp_path / "filter.txt").write_text(content)
    assert samples.filter_(tmp_path / "filter.txt").taps.tolist() == [taps]


@pytest.mark.parametrize(("content", "sentence"), [
    ("1 2\n3\n", "rows of 1 and 2 numbers: each row"), ("1 a\n", "is no filter"), ("", "must be numbers with the axes"),
    ("1 nan\n", "not finite"), ("1 " * 2000, "holds 2,000 numbers"), ("\x00\x01", "is no filter"),
])  # fmt: skip
def test_a_filter_that_is_none(tmp_path, content, sentence):
    (tmp_path / "filter.txt").write_text(content)
    with pytest.raises(ValueError, match=sentence) as said:
        samples.filter_(tmp_path / "filter.txt")
    assert "filter.txt" in str(said.value)


def test_other_files_that_are_no_filter(tmp_path):
    (tmp_path / "w.npy").write_bytes(b"not an array")
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.save(tmp_path / "objects.npy", np.array([None, {}], object), allow_pickle=True)
    (tmp_path / "latin").write_bytes(b"\xff\xfe1")
    for name in ("w.npy", "words.npy", "objects.npy", "latin", "missing.txt", "."):
        with pytest.raises(ValueError, match=r"holds no array|must be numbers|is no filter|there is no file"):
            samples.filter_(tmp_path / name)


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: explain.conv("mouse", "curve", (13, 0)), r"^cell \(13, 0\): the row \(=13\) must be from 0 to 12$"),
    (lambda: explain.conv("mouse", "curve", (0, 34)), r"the column \(=34\) must be from 0 to 33"),
    (lambda: explain.conv("mouse", "curve", (1,)), "must be two numbers"),
    (lambda: explain.conv("slash", np.ones((8, 8))), "window's height"),
    (lambda: explain.conv("slash", "vertical", padding=3), r"padding \(=3\) must be less than the filter's size, 3×3"),
    (lambda: explain.conv("moose", "curve"), "unknown picture 'moose': did you mean 'mouse'"),
    (lambda: explain.conv("mouse", "curv"), "unknown filter 'curv': did you mean 'curve'"),
    (lambda: explain.conv("digits:1000", "curve"), "digits:N with N from 0 to 999"),
    (lambda: explain.conv("digits:x", "curve"), "digits:N with N from 0 to 999"),
    (lambda: explain.conv("mouse", np.ones((3, 3, 3))), "has 3 channels and the picture mouse 1 channel"),
    (lambda: explain.conv(np.ones(4), "curve"), "must be numbers with the axes"),
    (lambda: explain.flip(np.ones((3, 9, 9))), "has 3 channels"),
])  # fmt: skip
def test_what_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_convolution_and_correlation(rng):
    x, w = rng.normal(size=(6, 7)), rng.normal(size=(3, 2))
    found = explain.flip(x, w, (1, 2))
    for i in range(4):
        for j in range(6):
            correlation = sum(x[i + p, j + q] * w[p, q] for p in range(3) for q in range(2))
            convolution = sum(x[i + 2 - p, j + 1 - q] * w[p, q] for p in range(3) for q in range(2))
            assert found.correlation[i, j] == pytest.approx(correlation)
            assert found.convolution[i, j] == pytest.approx(convolution)
    assert not found.equal
    assert np.array_equal(found.turned, [[w[2 - p, 1 - q] for q in range(2)] for p in range(3)])


def test_a_dot_shows_the_filter_and_a_symmetric_one_stays():
    found = explain.flip()
    assert found.convolution.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert found.correlation.tolist() == [[9, 8, 7], [6, 5, 4], [3, 2, 1]]
    even = explain.flip("mouse", np.array([[1.0, 2, 1], [0, 5, 0], [1, 2, 1]]))
    assert even.equal
    assert "Both maps are equal" in even.text()
