"""One pooled window against loops, and its gradients against finite differences."""

import numpy as np
import pytest

from minicnn import explain

RULES = {"max": max, "average": lambda v: sum(v) / len(v), "l2": lambda v: sum(n * n for n in v) ** 0.5}


def pixels(x, kernel, stride, padding, i, j):
    """The pixels of a window that lie on the picture, in reading order."""
    return [(i * stride - padding + p, j * stride - padding + q) for p in range(kernel) for q in range(kernel)
            if 0 <= i * stride - padding + p < x.shape[0] and 0 <= j * stride - padding + q < x.shape[1]]  # fmt: skip


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 1, 1), (3, 2, 0), (2, 3, 1)])
def test_each_window(rng, kernel, stride, padding):
    x = rng.normal(size=(6, 7))
    first = explain.pool(x, "all", kernel, stride, padding)
    for i, j in np.ndindex(first.kinds[0].map.shape):
        found = explain.pool(x, "all", kernel, stride, padding, (i, j))
        read = pixels(x, kernel, stride, padding, i, j)
        values = [x[at] for at in read]
        assert found.winner == read[values.index(max(values))]
        assert np.array_equal(found.window[~np.isnan(found.window)], values)
        for kind in found.kinds:
            rule = RULES[kind.kind]
            assert kind.value == pytest.approx(rule(values))
            assert kind.map[i, j] == pytest.approx(rule(values))
            gradient = kind.gradient[~np.isnan(kind.gradient)]
            for n, slope in enumerate(gradient):
                up, down = ([v + s * 1e-6 * (m == n) for m, v in enumerate(values)] for s in (1, -1))
                assert slope == pytest.approx((rule(up) - rule(down)) / 2e-6, abs=1e-6)


def test_the_windows_of_four_by_four():
    assert explain.pool(kind="max").kinds[0].map.tolist() == [[6, 8], [3, 4]]
    found = explain.pool()
    text = found.text()
    assert "max(1, 1, 5, 6) = 6" in text
    assert "(1 + 1 + 5 + 6) / 4 = 3.25" in text
    assert "√(1² + 1² + 5² + 6²) = 7.937" in text
    assert "[6]" in text, "the winner is marked by brackets, not by a colour"


def test_of_equal_pixels_the_first_wins():
    found = explain.pool(np.full((4, 4), 2.0), "max", cell=(1, 0))
    assert found.winner == (2, 0)
    assert found.kinds[0].gradient.tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: explain.pool(kind="mean"), "unknown pooling 'mean'"),
    (lambda: explain.pool(cell=(2, 0)), r"the row \(=2\) must be from 0 to 1"),
    (lambda: explain.pool(kernel=9), "larger than the padded input"),
    (lambda: explain.pool(np.ones((3, 4, 4))), "has 3 channels"),
])  # fmt: skip
def test_what_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
