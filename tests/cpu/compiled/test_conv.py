"""Compiled convolutions against the definition, on drawn geometries; special values; threads that change no bit."""

import numpy as np
import pytest

import minicnn
from minicnn.cpu import compiled
from minicnn.cpu.compiled import conv, depthwise, direct, winograd
from minicnn.geometry import Conv2dGeometry
from tests.definition import by_definition

WHAT = ("y", "dx", "dw")
TOLERANCE = {"direct": 2e-6, "depthwise": 2e-6, "winograd": 2e-5}
OUTPUTS = (1, 2, 5, 7, 8, 9, 15, 16, 17, 24, 33)


def two(rng, low, high):
    return int(rng.integers(low, high + 1)), int(rng.integers(low, high + 1))


def drawn(rng, name):
    """(x shape, w shape, S, P, D, G) of a layer that the algorithm supports"""
    while True:
        K, S, D = two(rng, 1, 5), two(rng, 1, 3), two(rng, 1, 2)
        P = (two(rng, 0, 5), two(rng, 0, 5)) if rng.random() < 0.5 else two(rng, 0, 5)
        G = int(rng.choice((1, 1, 2, 3)))
        Cg, Og = int(rng.integers(1, 20)), int(rng.choice(OUTPUTS))
        if name == "winograd":
            G, K, S, D, Cg, Og = 1, (3, 3), (1, 1), (1, 1), 8 * int(rng.integers(1, 6)), 8 * int(rng.integers(1, 6))
        elif name == "depthwise":
            G, Cg, Og = int(rng.integers(8, 45)), 1, 1
            D = D if S == (1, 1) else (1, 1)
        N, (H, W) = int(rng.integers(1, 9)), two(rng, 1, 18)
        x, w = (N, G * Cg, H, W), (G * Og, Cg, *K)
        try:
            g = Conv2dGeometry.of(x, w, S, P, D, G)
        except ValueError:                                         # the window does not fit
            continue
        if conv.ALGORITHMS[name].supports(g, np.dtype(np.float32)):
            return x, w, S, P, D, G


def layer(rng, case, channels_last=True):
    """(geometry, x, w, b, dy in float32; y + b, dx, dw by definition)"""
    x_shape, w_shape, S, P, D, G = case
    g = Conv2dGeometry.of(x_shape, w_shape, S, P, D, G)
    x, w, b, dy = (rng.standard_normal(s).astype(np.float32).astype(float)
                   for s in (x_shape, w_shape, w_shape[0], (g.N, g.O, g.OH, g.OW)))
    y, dx, dw = by_definition(x, w, dy, S, P, D, G)
    arrays = [a.astype(np.float32) for a in (x, w, b, dy)]
    if channels_last:
        arrays[0], arrays[3] = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
                                for a in (arrays[0], arrays[3]))
    return g, arrays, (y + b[:, None, None], dx, dw)


def computed(algorithm, g, x, w, b, dy, relu=False):
    return algorithm.conv2d(x, w, b, g, relu), algorithm.conv2d_dx(dy, w, g), algorithm.conv2d_dw(dy, x, g)


@pytest.mark.parametrize("draws", [12, pytest.param(3300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", conv.ALGORITHMS)
def test_every_kernel_is_the_definition(rng, name, draws):
    for k in range(draws):
        case = drawn(rng, name)
        g, arrays, exact = layer(rng, case, channels_last=k % 2 == 0)
        relu = k % 3 == 0
        values = computed(conv.ALGORITHMS[name], g, *arrays, relu)
        exact = (np.maximum(exact[0], 0), *exact[1:]) if relu else exact
        # where a long sum's terms cancel, its error is measured by their root mean square, as on the NumPy path
        terms = by_definition(*(arrays[i].astype(float) ** 2 for i in (0, 1, 3)), *case[2:])
        for what, value, right, squares in zip(WHAT, values, exact, terms):
            assert value.dtype == np.float32
            scale = max(np.abs(right).max(), squares.max() ** 0.5, 1e-30)
            assert np.abs(value - right).max() <= TOLERANCE[name] * scale, (what, case)


SHARED = {
    "direct": [((9, 16, 17, 17), (20, 16, 3, 3), (1, 1), (1, 1), (1, 1), 1),
               ((5, 3, 40, 40), (8, 3, 7, 7), (2, 2), (3, 3), (1, 1), 1)],
    "winograd": [((9, 64, 9, 9), (64, 64, 3, 3), (1, 1), (1, 1), (1, 1), 1),
                 ((3, 16, 40, 40), (16, 16, 3, 3), (1, 1), (1, 1), (1, 1), 1)],
    "depthwise": [((6, 40, 20, 20), (40, 1, 3, 3), (1, 1), (1, 1), (1, 1), 40)],
}  # fmt: skip
"""Layers with several tiles, and with several partial sums of dw."""


@pytest.mark.parametrize("name", conv.ALGORITHMS)
def test_the_number_of_threads_changes_no_bit(rng, on_threads, name):
    for case in SHARED[name] + [drawn(rng, name) for _ in range(4)]:
        g, arrays, exact = layer(rng, case)
        found = on_threads(lambda g=g, arrays=arrays: computed(conv.ALGORITHMS[name], g, *arrays))
        for value, right in zip(found, exact):
            assert np.abs(value - right).max() <= TOLERANCE[name] * np.abs(right).max()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e-40, -0.0])
def test_special_values_arrive_where_the_definition_puts_them(rng, value):
    for case in (((2, 5, 7, 7), (9, 5, 3, 3), (2, 2), (1, 1), (1, 1), 1),
                 ((2, 12, 6, 6), (12, 1, 3, 3), (1, 1), (1, 1), (1, 1), 12)):
        g, (x, w, b, dy), _ = layer(rng, case)
        x[1, 2, 3, 3], dy[0, 1, 1, 1] = value, value
        with np.errstate(invalid="ignore"):
            y, dx, dw = by_definition(*(a.astype(np.float64) for a in (x, w, dy)), *case[2:])
        found = computed(depthwise if g.G > 1 else direct, g, x, w, b, dy)
        for mine, exact in zip(found, (y + b[:, None, None], dx, dw)):
            assert (np.isnan(mine) == np.isnan(exact)).all()
            assert (np.isinf(mine) == np.isinf(exact)).all()
            finite = np.isfinite(exact)
            assert np.abs(mine[finite] - exact[finite]).max() <= 2e-5


def test_a_nan_reaches_only_the_outputs_that_read_its_pixel(rng):
    """Also in the last block of windows, where some are computed twice, and behind ReLU."""
    x, w = np.zeros((1, 3, 5, 7), np.float32), rng.standard_normal((5, 3, 1, 1)).astype(np.float32)
    x[0, 1, 2, 3] = np.nan
    y = direct.conv2d(x, w, None, Conv2dGeometry.of(x.shape, w.shape), relu=True)
    assert np.isnan(y[0, :, 2, 3]).all()
    assert np.isnan(y).sum() == 5


def test_read_only_and_strided_arrays_are_accepted(rng):
    case = ((2, 4, 6, 6), (9, 4, 3, 3), (1, 1), (1, 1), (1, 1), 1)
    g, (x, w, b, dy), exact = layer(rng, case)
    for a in (x, w, b, dy):
        a.flags.writeable = False
    views = [np.repeat(a, 2, 0)[::2] for a in (x, w, b, dy)]
    for arrays in ((x, w, b, dy), views):
        for value, right in zip(computed(direct, g, *arrays), exact):
            assert np.abs(value - right).max() <= 2e-6 * np.abs(right).max()


def test_an_empty_batch(rng):
    x, w = np.zeros((0, 8, 6, 6), np.float32), np.zeros((9, 8, 3, 3), np.float32)
    g = Conv2dGeometry.of(x.shape, w.shape, 1, 1)
    assert compiled.conv2d(x, w, None, g).shape == (0, 9, 6, 6)
    assert compiled.conv2d_dx(np.zeros((0, 9, 6, 6), np.float32), w, g).shape == x.shape
    assert not compiled.conv2d_dw(np.zeros((0, 9, 6, 6), np.float32), x, g).any()


FALLS_BACK = {
    "float64": ((2, 8, 9, 9), (8, 8, 3, 3), {}, np.float64),
    "an empty batch": ((0, 8, 9, 9), (8, 8, 3, 3), {}, np.float32),
    "large 3×3 filters": ((4, 512, 14, 14), (512, 512, 3, 3), {"padding": 1}, np.float32),
    "few pixels": ((1, 512, 1, 1), (512, 512, 1, 1), {}, np.float32),
}
KERNEL = {
    "one group": ((2, 8, 9, 9), (9, 8, 3, 3), {}, direct),
    "a stride": ((2, 32, 9, 9), (32, 32, 3, 3), {"stride": 2}, direct),
    "dilation": ((2, 32, 9, 9), (32, 32, 3, 3), {"dilation": 2}, direct),
    "groups": ((2, 8, 9, 9), (8, 4, 3, 3), {"groups": 2}, direct),
    "one channel": ((2, 1, 9, 9), (1, 1, 3, 3), {}, direct),
    "depthwise of four channels": ((2, 4, 9, 9), (4, 1, 3, 3), {"groups": 4}, direct),
    "depthwise": ((2, 9, 9, 9), (9, 1, 5, 3), {"groups": 9}, depthwise),
    "3×3": ((2, 16, 9, 9), (32, 16, 3, 3), {}, winograd),
}  # fmt: skip


@pytest.mark.parametrize("what", FALLS_BACK)
def test_what_numpy_computes(what):
    x, w, hyper, dtype = FALLS_BACK[what]
    assert conv.choose(Conv2dGeometry.of(x, w, **hyper), dtype) is None


@pytest.mark.parametrize("what", KERNEL)
def test_what_has_a_kernel(what):
    x, w, hyper, module = KERNEL[what]
    assert conv.choose(Conv2dGeometry.of(x, w, **hyper), np.float32) is module


def test_an_algorithm_that_is_asked_for_computes():
    g = Conv2dGeometry.of((2, 16, 9, 9), (32, 16, 3, 3))
    with minicnn.conv_algorithm("direct"):
        assert conv.choose(g, np.float32) is direct
    with minicnn.conv_algorithm("im2col"):
        assert conv.choose(g, np.float32) is None


@pytest.mark.parametrize("images", [1, 2, 5, 33])
def test_every_pixel_of_large_batches_of_small_maps(rng, images):
    """Tiles of several images, and a last tile with fewer."""
    case = ((images, 40, 2, 3), (24, 40, 3, 3), (1, 1), (1, 1), (1, 1), 1)
    g, arrays, exact = layer(rng, case)
    for value, right in zip(computed(direct, g, *arrays), exact):
        assert np.abs(value - right).max() <= 2e-6 * np.abs(right).max()

