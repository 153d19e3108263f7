"""The GPU's convolution algorithms, each against the definition, in both dtypes; the policy; TF32; equal bits twice."""


import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import minicnn
from minicnn import settings as asked
from minicnn.cpu import conv as cpu_conv
from minicnn.geometry import Conv2dGeometry
from minicnn.gpu import conv, kernel_file
from minicnn.gpu.conv import implicit_gemm, tensor_core, winograd
from tests.definition import by_definition
from tests.thinned import thinned

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
SHARPER = dict.fromkeys(conv.ALGORITHMS, 3e-6) | {"winograd": 2e-5, "tensor_core": 1e-5}
"""What float32 attains here: a missing term of 3xTF32 would not. (A real tensor core cuts its sums off, not rounds.)"""

LAYERS = {  # x, w, stride, padding, dilation, groups
    "plain": ((2, 3, 6, 5), (4, 3, 3, 2), 1, 0, 1, 1),
    "strided, padded": ((2, 3, 7, 5), (4, 3, 3, 2), 2, 1, 1, 1),
    "uneven strides, 2 groups": ((2, 4, 7, 5), (6, 2, 3, 2), (3, 2), (2, 1), 1, 2),
    "one row of taps": ((1, 2, 5, 8), (3, 2, 1, 7), 1, (0, 3), 1, 1),
    "dilated": ((2, 2, 8, 7), (3, 2, 3, 2), 1, 1, (2, 3), 1),
    "dilated and strided": ((1, 2, 9, 11), (3, 2, 3, 3), (2, 3), 2, (3, 2), 1),
    "pointwise": ((3, 5, 6, 5), (4, 5, 1, 1), 1, 0, 1, 1),
    "pointwise, strided": ((2, 3, 5, 4), (4, 3, 1, 1), 2, 0, 1, 1),
    "3x3": ((3, 5, 6, 7), (4, 5, 3, 3), 1, 1, 1, 1),
    "3x3, rows of 16 bytes": ((2, 3, 5, 8), (5, 3, 3, 3), 1, 1, 1, 1),
    "3x3, padded beyond the window": ((1, 3, 4, 4), (5, 3, 3, 3), 1, 4, 1, 1),
    "more filters than a tile": ((1, 5, 7, 9), (130, 5, 3, 3), 2, 1, 1, 1),
    "more taps and pixels than a tile": ((3, 17, 9, 10), (70, 17, 3, 3), 1, 1, 1, 1),
    "depthwise 3x3": ((2, 6, 8, 9), (6, 1, 3, 3), 1, 1, 1, 6),
    "depthwise 5x5": ((1, 3, 9, 7), (3, 1, 5, 5), 1, 2, 1, 3),
    "depthwise, strided": ((2, 3, 8, 9), (3, 1, 3, 3), 2, 1, 1, 3),
    "depthwise, two filters a channel": ((2, 3, 8, 9), (6, 1, 5, 3), 2, (2, 1), 1, 3),
    "depthwise 3x3, two filters a channel": ((2, 3, 7, 5), (6, 1, 3, 3), 1, 1, 1, 3),
    "each side by its own": ((2, 4, 7, 6), (6, 2, 3, 2), (2, 1), ((0, 3), (2, 1)), (1, 2), 2),
    "3x3, each side by its own": ((2, 5, 6, 7), (4, 5, 3, 3), 1, ((0, 3), (4, 1)), 1, 1),
    "depthwise 3x3, each side by its own": ((2, 3, 8, 9), (3, 1, 3, 3), 1, ((3, 0), (0, 2)), 1, 3),
    "one pixel": ((1, 1, 1, 1), (1, 1, 1, 1), 1, 0, 1, 1),
    "no image": ((0, 3, 6, 5), (4, 3, 3, 3), 1, 1, 1, 1),
}


F32 = np.dtype("float32")


def two(value):
    return value if isinstance(value, tuple) else (value, value)


def in_float64(x, w, b, dy, S, P, D, G):
    """(y, dx, dw) in float64."""
    y, dx, dw = by_definition(*(a.astype(np.float64) for a in (x, w, dy)), *map(two, (S, P, D)), G)
    return y + b.astype(np.float64)[:, None, None], dx, dw


def drawn(layer, dtype, seed=0):
    """(x, w, b, dy, geometry)"""
    x_shape, w_shape, S, P, D, G = layer
    g, rng = Conv2dGeometry.of(x_shape, w_shape, S, P, D, G), np.random.default_rng(seed)
    shapes = (x_shape, w_shape, (g.O,), (g.N, g.O, g.OH, g.OW))
    return *(rng.standard_normal(s).astype(dtype) for s in shapes), g


def computed(gpu, algorithm, x, w, b, dy, g):
    """(y, dx, dw) on the device, back as NumPy arrays."""
    x, w, b, dy = map(gpu.asarray, (x, w, b, dy))
    made = (algorithm.conv2d(gpu, x, w, b, g), algorithm.conv2d_dx(gpu, dy, w, g), algorithm.conv2d_dw(gpu, dy, x, g))
    return [gpu.to_numpy(a) for a in made]


def compare(got, exact, tolerance, dtype):
    for what, a, e in zip(("y", "dx", "dw"), got, exact):
        assert a.shape == e.shape
        assert a.dtype == dtype
        assert abs(a - e).max(initial=0) <= tolerance * abs(e).max(initial=1e-30), what


class Hopper:
    compute_capability = 90


ABLE = [(name, layer, dtype) for name, a in conv.ALGORITHMS.items() for layer in LAYERS for dtype in TOLERANCE
        if a.supports(Hopper, Conv2dGeometry.of(*LAYERS[layer]), np.dtype(dtype))]  # fmt: skip


def test_the_two_general_algorithms_do_everything():
    for name in ("im2col", "implicit_gemm"):
        assert sum(n == name for n, *_ in ABLE) == 2 * len(LAYERS)
    assert {n for n, *_ in ABLE} == set(conv.ALGORITHMS)


IN_TURN = {case for i, case in enumerate(ABLE) if (i + i // 2) % 2 == 0}  # float32 of one layer, float64 of the next


@pytest.mark.parametrize(("name", "layer", "dtype"), thinned(ABLE, lambda *case: case in IN_TURN))
def test_every_algorithm_computes_the_definition(gpu, name, layer, dtype):
    x, w, b, dy, g = drawn(LAYERS[layer], dtype)
    algorithm = conv.ALGORITHMS[name]
    if name == "tensor_core" and not algorithm.supports(gpu, g, np.dtype(dtype)):
        pytest.skip("this GPU has no tensor cores for TF32")
    exact = in_float64(x, w, b, dy, *LAYERS[layer][2:])
    got = computed(gpu, algorithm, x, w, b, dy, g)
    compare(got, exact, min(TOLERANCE[dtype], SHARPER[name]), dtype)
    without = algorithm.conv2d(gpu, gpu.asarray(x), gpu.asarray(w), None, g)
    compare([gpu.to_numpy(without)], [exact[0] - b[:, None, None]], SHARPER[name], dtype)
    with_relu = gpu.to_numpy(algorithm.conv2d(gpu, *map(gpu.asarray, (x, w, b)), g, relu=True))
    np.testing.assert_array_equal(with_relu, got[0].clip(0))


@st.composite
def layers(draw):
    pair = lambda low, high: (draw(st.integers(low, high)), draw(st.integers(low, high)))  # noqa: E731
    K, S, D, P, G = pair(1, 4), pair(1, 3), pair(1, 2), pair(0, 4), draw(st.sampled_from((1, 1, 2, 3)))
    (Cg, Og), (H, W), N = pair(1, 4), pair(1, 11), draw(st.integers(0, 3))
    assume(all(n + 2 * p >= d * (k - 1) + 1 for n, p, d, k in zip((H, W), P, D, K)))
    return (N, G * Cg, H, W), (G * Og, Cg, *K), S, P, D, G


@pytest.mark.parametrize("name", ["implicit_gemm", "depthwise"])
@given(layer=layers(), seed=st.integers(0, 2**32))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_drawn_geometries(emulated, name, layer, seed):
    """What no list of cases thought of: odd sizes, padding beyond the window, pixels that no window reads."""
    if name == "depthwise":
        (N, C, H, W), (O, _, *K), *rest, _ = layer
        layer = ((N, C, H, W), (C * (1 + O % 2), 1, *K), *rest, C)
    x, w, b, dy, g = drawn(layer, "float64", seed)
    got = computed(emulated("shuffled"), conv.ALGORITHMS[name], x, w, b, dy, g)
    compare(got, in_float64(x, w, b, dy, *layer[2:]), 1e-12, "float64")


@pytest.mark.parametrize(("name", "tile"), [
    (name, tile) for name, tiles in (("implicit_gemm", implicit_gemm.TILES[F32]), ("tensor_core", tensor_core.TILES[3]))
    for tile in tiles])  # fmt: skip
def test_every_tile_makes_the_same_result(gpu, name, tile, monkeypatch):
    """Which tile is taken depends on the GPU's size: here each is made to be."""
    layer = ((1, 3, 9, 13), (67, 3, 3, 3), 1, 1, 1, 1)
    monkeypatch.setattr(implicit_gemm, "choose_tile", lambda *args, **more: tile)
    x, w, b, dy, g = drawn(layer, "float32")
    if not conv.ALGORITHMS[name].supports(gpu, g, x.dtype):
        pytest.skip("no tensor cores")
    exact = in_float64(x, w, b, dy, *layer[2:])
    compare(computed(gpu, conv.ALGORITHMS[name], x, w, b, dy, g), exact, 3e-6, "float32")


def test_tables_are_of_their_geometry_for_any_number_of_images(emulated):
    """One backend computes different layers in turn: strides, sizes, and the same layer for another batch."""
    gpu = emulated()
    for layer in (((2, 3, 5, 4), (4, 3, 3, 3), 1, 1, 1, 1), ((2, 3, 6, 5), (4, 3, 3, 3), 2, 1, 1, 1),
                  ((1, 3, 5, 4), (4, 3, 3, 3), 1, 1, 1, 1), ((2, 3, 5, 4), (4, 3, 3, 3), 1, 0, 1, 1)):  # fmt: skip
        x, w, b, dy, g = drawn(layer, "float64")
        got = computed(gpu, implicit_gemm, x, w, b, dy, g)
        compare(got, in_float64(x, w, b, dy, *layer[2:]), 1e-12, "float64")
    tables = {id(value) for key, value in gpu.cache.items() if key[0] == "taps of y"}
    assert len(tables) == 3, "the first and the third layer share one"


@pytest.mark.parametrize("name", ["im2col", "implicit_gemm", "tensor_core"])
def test_a_sum_of_many_products_keeps_its_digits(gpu, name):
    """4608 products: a tensor core cuts its sums off, and if it added them all, the last digit and a half were lost."""
    layer = ((1, 512, 4, 4), (33, 512, 3, 3), 1, 1, 1, 1)
    x, w, b, dy, g = drawn(layer, "float32")
    if not conv.ALGORITHMS[name].supports(gpu, g, x.dtype):
        pytest.skip("no tensor cores")
    exact = in_float64(x, w, b, dy, *layer[2:])
    compare(computed(gpu, conv.ALGORITHMS[name], x, w, b, dy, g), exact, 4e-6, "float32")


def test_tile_sizes():
    """Large tiles where they fill the GPU; no tile that would be mostly empty."""
    class Gpu:
        multiprocessors = 132

    def chosen(M, N, **more):
        return implicit_gemm.choose_tile(Gpu, implicit_gemm.TILES[F32], M, N, 1, **more)

    assert chosen(256, 100352) == (128, 128)
    assert chosen(64, 100352) == (64, 128)
    assert chosen(512, 1568) == (64, 64)
    assert chosen(8, 100) == (64, 64)
    assert chosen(128, 27, splittable=True) == (64, 64)
    assert chosen(512, 4608, splittable=True) == (128, 128)


def test_dw_of_many_windows_is_summed_in_parts_in_one_order(gpu):
    """More windows than a part holds: split, and twice the same bits."""
    layer = ((5, 2, 23, 21), (3, 2, 3, 3), 1, 1, 1, 1)
    x, w, b, dy, g = drawn(layer, "float32")
    exact = in_float64(x, w, b, dy, *layer[2:])
    for name in ("im2col", "implicit_gemm", "tensor_core", "winograd"):
        algorithm = conv.ALGORITHMS[name]
        if not algorithm.supports(gpu, g, x.dtype):
            continue
        first, second = (computed(gpu, algorithm, x, w, b, dy, g) for _ in range(2))
        compare(first, exact, SHARPER[name], "float32")
        for a, c in zip(first, second):
            np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize("name", ["winograd", "im2col", "pointwise"])
def test_large_batches_go_through_in_pieces(emulated, name, monkeypatch):
    """Images whose columns or tiles do not fit the workspace are done some at a time."""
    gpu = emulated()
    monkeypatch.setattr(winograd, "CHUNK_BYTES", 40000)
    monkeypatch.setattr(conv.im2col, "CHUNK_COLUMN_BYTES", 9000)
    K = 1 if name == "pointwise" else 3
    layer = ((11, 3, 6, 7), (4, 3, K, K), 1, K // 2, 1, 1)
    x, w, b, dy, g = drawn(layer, "float64")
    if name == "winograd":
        assert len(list(winograd.chunks(g, x.dtype))) > 2
    if name == "im2col":
        assert len(conv.im2col._chunks(g, x.dtype)) > 2
    exact = in_float64(x, w, b, dy, *layer[2:])
    compare(computed(gpu, conv.ALGORITHMS[name], x, w, b, dy, g), exact, 1e-12, "float64")


# ------------------------------------------------------------------------------------------------------- who is chosen


def test_the_policy(emulated):
    def chosen(C, O, K, S=1, G=1, dtype="float32", what="y", N=64, gpu=emulated()):  # noqa: B008
        g = Conv2dGeometry.of((N, C, 28, 28), (O, C // G, K, K), S, K // 2, 1, G)
        return conv.choose(gpu, g, np.dtype(dtype), what)

    assert chosen(64, 64, 3) == "winograd"
    assert chosen(64, 64, 3, N=1) == "implicit_gemm"
    assert chosen(64, 64, 3, dtype="float64") == "implicit_gemm"
    assert chosen(64, 64, 3, S=2, G=4) == chosen(64, 64, 5) == "implicit_gemm"
    assert [chosen(64, 32, 1, what=what) for what in ("y", "dx", "dw")] == ["pointwise", "pointwise", "implicit_gemm"]
    assert chosen(64, 32, 1, S=2) == "implicit_gemm"
    assert chosen(64, 128, 3, G=64) == "depthwise"
    assert [chosen(3, 96, 11, 4, what=what) for what in ("y", "dx")] == ["implicit_gemm", "im2col"]
    with minicnn.allow_tf32():
        assert chosen(64, 64, 3) == "winograd"
        assert chosen(64, 64, 5) == "tensor_core"
        assert [chosen(3, 96, 11, 4, what=what) for what in ("y", "dx")] == ["tensor_core", "im2col"]
        old = emulated()
        old.compute_capability = 75
        assert chosen(64, 64, 5, gpu=old) == "implicit_gemm"


def test_an_algorithm_can_be_asked_for(emulated, monkeypatch):
    gpu, f32 = emulated(), np.dtype("float32")
    g = Conv2dGeometry.of((2, 4, 8, 8), (4, 4, 3, 3), padding=1)
    strided = Conv2dGeometry.of((2, 4, 8, 8), (4, 4, 3, 3), stride=2)
    assert {"auto", "direct", *conv.ALGORITHMS, *cpu_conv.ALGORITHMS} == set(asked.ALGORITHMS)
    for name in ("im2col", "winograd", "implicit_gemm"):
        with minicnn.conv_algorithm(name):
            assert conv.choose(gpu, g, f32) == name
    with minicnn.conv_algorithm("winograd"):
        assert conv.choose(gpu, strided, f32) == "implicit_gemm"   # what it can't do the policy does
    with minicnn.conv_algorithm("tiled"):
        assert conv.choose(gpu, g, f32) == "implicit_gemm"         # the CPU's
    monkeypatch.setenv("MINICNN_CONV", "im2col")
    assert conv.choose(gpu, g, f32) == "im2col"
    used = []
    monkeypatch.setattr(conv.im2col, "conv2d", lambda *arguments: used.append(arguments))
    gpu.conv2d(gpu.xp.zeros((2, 4, 8, 8), "float32"), None, None, g)
    assert used


def test_a_window_too_wide_for_the_table_of_taps_is_left_to_im2col(emulated):
    gpu = emulated()
    g = Conv2dGeometry.of((1, 1, 1, 40000), (1, 1, 1, 2), dilation=(1, 39000))
    assert not implicit_gemm.supports(gpu, g, np.dtype("float32"))
    assert conv.choose(gpu, g, np.dtype("float32")) == "depthwise"
    g = Conv2dGeometry.of((1, 2, 1, 40000), (1, 2, 1, 2), dilation=(1, 39000))
    assert conv.choose(gpu, g, np.dtype("float32")) == "im2col"


# ----------------------------------------------------------------------------------------------------------------- TF32


@pytest.mark.parametrize("name", ["tensor_core", "im2col", "pointwise"])
def test_tf32_is_off_unless_allowed(gpu, name):
    """Allowed, products lose digits, which shows; not allowed, they must not."""
    K = 1 if name == "pointwise" else 3
    layer = ((2, 40, 6, 5), (9, 40, K, K), 1, K // 2, 1, 1)
    x, w, b, dy, g = drawn(layer, "float32")
    algorithm = conv.ALGORITHMS[name]
    if not tensor_core.supports(gpu, g, x.dtype):
        pytest.skip("no tensor cores")
    exact = in_float64(x, w, b, dy, *layer[2:])
    compare(computed(gpu, algorithm, x, w, b, dy, g), exact, SHARPER[name], "float32")
    with minicnn.allow_tf32():
        got = computed(gpu, algorithm, x, w, b, dy, g)
        with minicnn.allow_tf32(False):
            compare(computed(gpu, algorithm, x, w, b, dy, g), exact, SHARPER[name], "float32")
    errors = [abs(a - e).max() / abs(e).max() for a, e in zip(got, exact)]
    least = 3e-5 if name == "tensor_core" or gpu.name == "emulated" else 0     # cuBLAS may take it or leave it
    assert all(least <= error < 1e-2 for error in errors), errors


def test_winograds_products_are_never_rounded(gpu):
    """Its transforms enlarge an error of a product up to a hundred times."""
    layer = ((2, 40, 6, 5), (9, 40, 3, 3), 1, 1, 1, 1)
    x, w, b, dy, g = drawn(layer, "float32")
    with minicnn.allow_tf32():
        got = computed(gpu, winograd, x, w, b, dy, g)
    compare(got, in_float64(x, w, b, dy, *layer[2:]), SHARPER["winograd"], "float32")


def test_how_tf32_is_asked_for(monkeypatch):
    assert not asked.tf32_allowed()
    monkeypatch.setenv("MINICNN_TF32", "1")
    assert asked.tf32_allowed()
    with minicnn.allow_tf32(False):
        assert not asked.tf32_allowed()
    monkeypatch.setenv("MINICNN_TF32", "yes")
    with pytest.raises(ValueError, match=r"MINICNN_TF32 \(='yes'\) must be 1 .* or 0"):
        asked.tf32_allowed()


def test_winograds_transforms_are_those_of_its_matrices(gpu):
    """Aᵀ[(G w Gᵀ) ⊙ (Bᵀ d B)]A on one tile, against the matrices that the cpu side constructs."""
    from minicnn.cpu.conv.winograd import matrices

    _, G, BT = matrices(4, 3, "float64")
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 1, 6, 6)), rng.standard_normal((1, 1, 3, 3))
    g = Conv2dGeometry.of(x.shape, w.shape)
    V = gpu.to_numpy(winograd.transformed_images(gpu, gpu.asarray(x), g))[:, 0, 0]
    U = gpu.to_numpy(winograd.transformed_filters(gpu, gpu.asarray(w)))[:, 0, 0]
    np.testing.assert_allclose(V.reshape(6, 6), BT @ x[0, 0] @ BT.T, atol=1e-13)
    np.testing.assert_allclose(U.reshape(6, 6), G @ w[0, 0] @ G.T, atol=1e-13)


def test_more_elements_than_a_kernel_counts_are_refused(emulated, monkeypatch):
    gpu = emulated()
    monkeypatch.setattr(kernel_file, "LARGEST", 100)
    x, w = gpu.xp.zeros((2, 3, 5, 5), "float32"), gpu.xp.zeros((4, 3, 3, 3), "float32")
    with pytest.raises(ValueError, match=r"x has 150 elements, and a kernel can count 100: use a smaller batch"):
        gpu.conv2d(x, w, None, Conv2dGeometry.of(x.shape, w.shape))
