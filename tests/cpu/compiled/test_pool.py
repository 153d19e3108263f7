"""Compiled pooling against its definition (minicnn/reference.py) in float64, and against NumPy's for special values."""

import numpy as np
import pytest

from minicnn import cpu, reference
from minicnn.cpu import compiled
from minicnn.cpu.compiled import pool
from minicnn.geometry import Pool2dGeometry
from tests.cpu.compiled.layouts import in_turns

POOLS = [  # x, kernel_size, stride, padding, dilation, ceil_mode
    ((3, 16, 12, 12), 2, None, 0, 1, False),
    ((2, 6, 11, 9), 3, 2, 1, 1, False),
    ((2, 5, 11, 9), (3, 2), (2, 1), (1, 0), 1, True),
    ((2, 19, 9, 10), (2, 3), (3, 2), (1, 1), (2, 1), False),
    ((3, 1, 7, 5), 1, 3, 0, 1, True),
    ((2, 2, 11, 9), (5, 4), 1, 2, 1, False),
    ((1, 8, 1, 1), 1, 1, 0, 1, False),
    ((2, 7, 1, 1), 3, 1, 1, 1, False),
    ((1, 40, 13, 13), 3, 2, 0, 1, False),
    ((2, 3, 8, 8), 8, 8, 0, 1, False),
    ((1, 13, 6, 7), (1, 7), (2, 7), (0, 3), 1, True),
    ((2, 9, 20, 17), 4, 3, 2, 3, True),
    ((2, 9, 6, 7), (3, 4), (2, 3), "same", 1, False),
    ((1, 5, 8, 7), (2, 3), (1, 2), "same_lower", (3, 2), True),
    ((2, 11, 4, 5), 4, (3, 1), ((3, 2), (0, 3)), 1, False),
]


def geometry(case):
    shape, kernel_size, stride, padding, dilation, ceil_mode = case
    return Pool2dGeometry.of(shape, kernel_size, stride, padding, dilation, ceil_mode)


def hyper(case):
    return dict(zip(("kernel_size", "stride", "padding", "dilation", "ceil_mode"), case[1:]))


@pytest.fixture(autouse=True)
def few_rows_an_item(monkeypatch):
    monkeypatch.setattr(pool, "ITEM_VALUES", 100)


def taps_of(x, g, fill):
    """The value that each tap reads: (taps, N, C, OH, OW)"""
    v, h = g.vertical, g.horizontal
    around = ((0, 0), (0, 0), (v.before, v.padded), (h.before, h.padded))
    padded = np.pad(x.astype(np.float64), around, constant_values=fill)
    return np.stack([padded[here] for _, _, here in g.taps()])


def scattered(contributions, g):
    """dx (N,C,H,W): the sum of contributions (taps, N, C, OH, OW)"""
    v, h = g.vertical, g.horizontal
    dx = np.zeros((g.N, g.C, v.before + v.size + v.padded, h.before + h.size + h.padded))
    for value, (_, _, here) in zip(contributions, g.taps()):
        dx[here] += value
    return dx[:, :, v.before : v.before + v.size, h.before : h.before + h.size]


@in_turns("case", POOLS)
def test_max_pooling(rng, on_threads, close, layout, case):
    g, x = geometry(case), np.round(3 * rng.standard_normal(case[0])).astype(np.float32)      # with ties
    y, winner = on_threads(lambda: compiled.max_pool2d(layout(x), g))
    taps = taps_of(x, g, -np.inf)
    np.testing.assert_array_equal(y, taps.max(0))
    np.testing.assert_array_equal(winner, taps.argmax(0))
    np.testing.assert_array_equal(y, reference.max_pool2d(x, **hyper(case)))
    assert winner.dtype == cpu.max_pool2d(x, g)[1].dtype
    dy = rng.standard_normal(y.shape).astype(np.float32)
    dx = on_threads(lambda: compiled.max_pool2d_dx(layout(dy), layout(winner), g))
    close(dx, scattered((np.arange(len(taps))[:, None, None, None, None] == winner) * dy, g))


@pytest.mark.parametrize("include", [True, False])
@in_turns("case", POOLS)
def test_average_pooling(rng, on_threads, close, layout, case, include):
    g, x = geometry(case), rng.standard_normal(case[0]).astype(np.float32)
    y = on_threads(lambda: compiled.avg_pool2d(layout(x), g, include))
    close(y, reference.avg_pool2d(x.astype(np.float64), count_include_pad=include, **hyper(case)),
          scale=np.abs(x).max())
    dy = rng.standard_normal(y.shape).astype(np.float32)
    inverse = 1 / np.outer(g.vertical.counts(include), g.horizontal.counts(include))
    dx = on_threads(lambda: compiled.avg_pool2d_dx(layout(dy), g, include))
    close(dx, scattered(np.repeat((dy * inverse)[None], g.KH * g.KW, 0), g))


@in_turns("case", POOLS)
def test_norm_pooling(rng, on_threads, close, layout, case):
    g, x = geometry(case), rng.standard_normal(case[0]).astype(np.float32)
    x[:1, :1] = 0
    y = on_threads(lambda: compiled.lp_pool2d(layout(x), 2, g))
    taps = taps_of(x, g, 0)
    norm = np.sqrt((taps**2).sum(0))
    close(y, norm)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    dx = on_threads(lambda: compiled.lp_pool2d_dx(layout(dy), layout(x), y, 2, g))
    close(dx, scattered(np.where(norm == 0, 0, dy * taps / np.where(norm == 0, 1, norm)), g))
    for p in (1, 3.5):
        close(compiled.lp_pool2d(layout(x), p, g), (np.abs(taps) ** p).sum(0) ** (1 / p))


@pytest.mark.parametrize("C", [8, 5])
@pytest.mark.parametrize("values", [(np.nan,), (np.nan, np.nan), (np.inf, np.inf), (-np.inf,) * 30, (0.0, -0.0) * 15,
                                    (1e-45, 0.0) * 15, (np.nan, np.inf, -np.inf)], ids=str)  # fmt: skip
def test_special_values_as_numpy(rng, C, values):
    x = -np.abs(rng.standard_normal((2, C, 6, 5)).astype(np.float32))
    x[1, C - 1].ravel()[1 : 1 + len(values)] = values[: x[1, 1].size - 1]
    for window in ((2, None, 0), (3, 1, 1), (3, 2, 0), ((6, 5), None, 0)):
        g = Pool2dGeometry.of(x.shape, *window)
        y, winner = compiled.max_pool2d(x, g)
        expected = cpu.max_pool2d(x, g)
        np.testing.assert_array_equal(y, expected[0])
        np.testing.assert_array_equal(winner, expected[1])
        dy = np.ones_like(y)
        np.testing.assert_array_equal(compiled.max_pool2d_dx(dy, winner, g), cpu.max_pool2d_dx(dy, winner, g))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            for include in (True, False):
                for name, a in (("avg_pool2d", x), ("avg_pool2d_dx", y)):
                    found, expected = (getattr(device, name)(a, g, include) for device in (compiled, cpu))
                    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_large_windows_float64_and_no_images_are_numpys(rng):
    x = rng.standard_normal((2, 3, 20, 20)).astype(np.float32)
    g = Pool2dGeometry.of(x.shape, 20)
    y, winner = compiled.max_pool2d(x, g)
    assert winner.dtype == np.int32
    dx = compiled.max_pool2d_dx(np.ones_like(y), winner, g)
    assert (dx.reshape(2, 3, 400).argmax(2) == winner[:, :, 0, 0]).all()
    assert compiled.avg_pool2d(x.astype(np.float64), g, True).dtype == np.float64
    g = Pool2dGeometry.of((0, 3, 4, 4), 2)
    assert compiled.max_pool2d(np.zeros((0, 3, 4, 4), np.float32), g)[0].shape == (0, 3, 2, 2)
