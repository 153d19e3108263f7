"""Every convolution algorithm against the definition, on drawn geometries; the policy; threads that change no bit."""


import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minicnn
from minicnn import Tensor
from minicnn.bench.conv import ConvRun, workspace
from minicnn.bench.suite import SUITE
from minicnn.cpu import conv, threads
from minicnn.cpu.conv import winograd
from minicnn.geometry import Conv2dGeometry
from minicnn.ops.conv import conv2d
from tests.definition import by_definition
from tests.thinned import thinned

WHAT = ("y", "dx", "dw")
TOLERANCE = dict.fromkeys(conv.ALGORITHMS, 2e-6) | {"winograd": 2e-5}


@st.composite
def layers(draw, name, images):
    """(x shape, w shape, S, P, D, G) that the algorithm called `name` supports; images: the numbers N to draw from."""
    two = lambda low, high: (draw(st.integers(low, high)), draw(st.integers(low, high)))  # noqa: E731
    K, S, D, P = two(1, 5), two(1, 3), two(1, 2), (two(0, 6), two(0, 6))
    if draw(st.booleans()):
        P = P[0]                                                   # the same on both sides
    G = draw(st.sampled_from((1, 1, 2, 3)))
    Cg, Og = two(1, 5)
    if name == "pointwise":
        K, P, G = (1, 1), (0, 0), 1
    elif name == "winograd":
        S = D = (1, 1)
        K = draw(st.sampled_from(((3, 3), (3, 3), (5, 5), (3, 5), (5, 3), (1, 3), (5, 1), (1, 7), (7, 1))))
    elif name == "depthwise":
        G, Cg, Og = draw(st.integers(2, 9)), 1, draw(st.sampled_from((1, 1, 2, 3)))
    if draw(st.booleans()):
        S = (1, 1)
    N = draw(st.sampled_from(images))
    H, W = two(1, 15)
    padded = (n + (2 * p if isinstance(p, int) else sum(p)) for n, p in zip((H, W), P))
    assume(all(n >= d * (k - 1) + 1 for n, d, k in zip(padded, D, K)))
    return (N, G * Cg, H, W), (G * Og, Cg, *K), S, P, D, G


@pytest.mark.parametrize("draws", [10, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.parametrize("images", [(0,), (1,), (2, 3, 4)], ids=["no-image", "one-image", "images"])
@pytest.mark.parametrize("name", conv.ALGORITHMS)
def test_algorithms_compute_the_definition(name, images, draws):
    """Odd sizes, padding wider than the window, no image, one image: y, dx and dw in float32 and float64."""
    algorithm = conv.ALGORITHMS[name]

    @given(layers(name, images), st.integers(0, 2**32), st.booleans(), st.sampled_from(("float32", "float64")))
    @settings(max_examples=draws)
    def check(layer, seed, channels_last, dtype):
        x_shape, w_shape, S, P, D, G = layer
        g = Conv2dGeometry.of(x_shape, w_shape, S, P, D, G)
        assert algorithm.supports(g, dtype)
        rng = np.random.default_rng(seed)
        shapes = (x_shape, w_shape, (g.N, g.O, g.OH, g.OW), (g.O,))
        x, w, dy, b = (rng.standard_normal(s).astype(dtype) for s in shapes)
        exact = by_definition(*(a.astype(float) for a in (x, w, dy)), S, P, D, G)
        size = by_definition(*(a.astype(float) ** 2 for a in (x, w, dy)), S, P, D, G)     # Σ of the terms' squares
        exact = (exact[0] + b.astype(float)[:, None, None], *exact[1:])
        if channels_last:
            x, dy = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, dy))
        before = [a.copy() for a in (x, w, b, dy)]
        with np.errstate(all="ignore"):
            got = algorithm.conv2d(x, w, b, g), algorithm.conv2d_dx(dy, w, g), algorithm.conv2d_dw(dy, x, g)
        tolerance = TOLERANCE[name] if dtype == "float32" else 1e-12
        for what, a, e, s in zip(WHAT, got, exact, size):
            assert a.shape == e.shape
            assert a.dtype == dtype
            scale = max(abs(e).max(initial=0), s.max(initial=0) ** 0.5, 1e-30)
            assert abs(a - e).max(initial=0) <= tolerance * scale, what
        for a, was in zip((x, w, b, dy), before):
            np.testing.assert_array_equal(a, was)

    check()


def test_larger_layers_are_cut_into_tiles_and_lose_nothing():
    """Sizes at which there are many tiles, chunks and blocks; against the textbook's product in float64."""
    rng = np.random.default_rng(0)
    for C, O, K, H, W, S, P, G in (
        (64, 48, 3, 67, 45, 1, 1, 1), (16, 16, 5, 61, 33, 1, 2, 2), (3, 24, 7, 75, 90, 2, 3, 1),
        (1, 6, 5, 64, 64, 1, 0, 1), (96, 96, 3, 63, 65, 2, 1, 96), (48, 32, 1, 60, 61, 1, 0, 1),
        (40, 40, 3, 90, 70, 1, 1, 40), (32, 8, 4, 66, 60, 3, 2, 4),
    ):  # fmt: skip
        x, w = (rng.standard_normal(s, np.float32) for s in ((5, C, H, W), (O, C // G, K, K)))
        g = Conv2dGeometry.of(x.shape, w.shape, S, P, 1, G)
        dy = rng.standard_normal((5, O, g.OH, g.OW), np.float32)
        x8, w8, dy8 = (a.astype(float) for a in (x, w, dy))
        textbook = conv.ALGORITHMS["im2col"]
        exact = textbook.conv2d(x8, w8, None, g), textbook.conv2d_dx(dy8, w8, g), textbook.conv2d_dw(dy8, x8, g)
        for name, algorithm in conv.ALGORITHMS.items():
            if algorithm.supports(g, x.dtype):
                with np.errstate(all="ignore"):
                    got = (algorithm.conv2d(x, w, None, g), algorithm.conv2d_dx(dy, w, g),
                           algorithm.conv2d_dw(dy, x, g))  # fmt: skip
                for what, a, e in zip(WHAT, got, exact):
                    assert abs(a - e).max() <= TOLERANCE[name] * abs(e).max(), (name, what, g)


@pytest.mark.parametrize(("m", "r"), [(2, 3), (4, 3), (2, 5), (4, 5), (2, 7), (6, 3), (1, 1)])
def test_winograds_matrices_make_a_convolution(m, r):
    """Aᵀ[(G w) ⊙ (Bᵀ d)] is Σ_k w[k]·d[i+k], for any d and w: exact in real arithmetic."""
    rng = np.random.default_rng(0)
    AT, G, BT = winograd.matrices(m, r, "float64")
    assert (AT.shape, G.shape, BT.shape) == ((m, m + r - 1), (m + r - 1, r), (m + r - 1, m + r - 1))
    for _ in range(20):
        d, w = rng.standard_normal(m + r - 1), rng.standard_normal(r)
        np.testing.assert_allclose(AT @ ((G @ w) * (BT @ d)), [w @ d[i : i + r] for i in range(m)], atol=1e-12)


def test_the_policy_takes_what_each_geometry_is_made_for():
    def chosen(C, O, K, H=28, S=1, P=None, G=1, D=1, dtype="float32", N=4):
        P = K // 2 if P is None else P
        return conv.choose(Conv2dGeometry.of((N, C, H, H), (O, C // G, K, K), S, P, D, G), dtype)

    assert chosen(64, 64, 3) == "winograd"
    assert chosen(64, 64, 3, dtype="float64") == "tiled"
    assert chosen(64, 64, 3, H=7) == "tiled"                       # 196 pixels: transforming the filters would not pay
    assert chosen(64, 64, 3, S=2) == "tiled"
    assert chosen(1, 6, 5) == "tiled"
    assert chosen(64, 32, 1) == chosen(64, 256, 1, H=7) == "pointwise"
    assert chosen(64, 64, 3, G=64) == "depthwise"
    assert chosen(64, 64, 3, S=2, G=4) == "tiled"
    assert chosen(64, 256, 3, H=7) == "tiled"
    assert chosen(64, 256, 3, H=7, N=1) == "im2col"                # 49 pixels, fewer than filters


def test_an_algorithm_can_be_asked_for(monkeypatch):
    g = Conv2dGeometry.of((8, 32, 8, 8), (32, 32, 3, 3), padding=1)
    strided = Conv2dGeometry.of((8, 32, 8, 8), (32, 32, 3, 3), stride=2)
    with minicnn.conv_algorithm("im2col"):
        assert conv.choose(g, "float32") == "im2col"
        with minicnn.conv_algorithm("auto"):
            assert conv.choose(g, "float32") == "winograd"
    with minicnn.conv_algorithm("winograd"):
        assert conv.choose(strided, "float32") == "tiled"         # what it can't do the policy does
    monkeypatch.setenv("MINICNN_CONV", "tiled")
    assert conv.choose(g, "float32") == "tiled"
    monkeypatch.setenv("MINICNN_CONV", "fft")
    with pytest.raises(ValueError, match=r"MINICNN_CONV: unknown convolution algorithm 'fft'.*Known: .*im2col"):
        conv.choose(g, "float32")
    with pytest.raises(ValueError, match="unknown convolution algorithm 'winogard': did you mean 'winograd'"):
        minicnn.conv_algorithm("winogard").__enter__()


def test_asking_for_an_algorithm_reaches_the_op(monkeypatch):
    used = []
    tiled = conv.ALGORITHMS["tiled"]
    def spy(name, real):
        return lambda *args: used.append(name) or real(*args)

    for name in ("conv2d", "conv2d_dx", "conv2d_dw"):
        monkeypatch.setattr(tiled, name, spy(name, getattr(tiled, name)))
    x, w = (Tensor(np.ones(s, np.float32), requires_grad=True) for s in ((1, 2, 6, 6), (3, 2, 3, 3)))
    with minicnn.conv_algorithm("tiled"):
        conv2d(x, w).sum().backward()
    assert {"conv2d", "conv2d_dx", "conv2d_dw"} <= set(used)


def test_every_number_of_threads_gives_the_same_bits(rng):
    layers = [((6, 24, 33, 30), w, hyper) for w, hyper in (
        ((24, 24, 3, 3), {"padding": 1}), ((24, 24, 3, 3), {"stride": 2}), ((8, 24, 1, 1), {}),
        ((24, 1, 3, 3), {"groups": 24}), ((160, 24, 3, 3), {"padding": 1}), ((24, 8, 5, 3), {"groups": 3}))]
    layers += [((1, 8, 12, 13), (600, 8, 3, 3), {}), ((2, 96, 20, 20), (192, 96, 3, 3), {"padding": 1})]
    before, runs, first = threads.num_threads(), [], {}
    for x_shape, w_shape, hyper in layers:
        x, w = rng.standard_normal(x_shape, np.float32), rng.standard_normal(w_shape, np.float32)
        g = Conv2dGeometry.of(x.shape, w.shape, **hyper)
        dy = rng.standard_normal((g.N, g.O, g.OH, g.OW), np.float32)
        runs.append((x, w, dy, g))
    try:
        for count in (1, 2, 3, 4, 1):
            threads.set_num_threads(count)
            for name, algorithm in conv.ALGORITHMS.items():
                for i, (x, w, dy, g) in enumerate(runs):
                    if not algorithm.supports(g, x.dtype):
                        continue
                    with np.errstate(all="ignore"):
                        found = [algorithm.conv2d(x, w, None, g), algorithm.conv2d_dx(dy, w, g),
                                 algorithm.conv2d_dw(dy, x, g)]  # fmt: skip
                    for a, b in zip(found, first.setdefault((name, i), found)):
                        np.testing.assert_array_equal(a, b, err_msg=f"{name} {g} {count} threads")
    finally:
        threads.set_num_threads(before)


TYPICAL = {"many small images", "ResNet conv5_x", "ResNet-50 squeeze", "AlexNet conv1", "AlexNet conv2", "LeNet-5 C1",
           "Inception 1×7", "ResNeXt 3×3", "depthwise, deep", "stride two"}
"""One layer of each kind: large and small maps, 1×1, large and long filters, groups, depthwise, strided."""


@pytest.mark.parametrize("case", thinned(SUITE, lambda case: case.name in TYPICAL), ids=lambda case: case.name)
def test_the_policys_choice_keeps_to_its_workspace(case):
    before = threads.num_threads()
    try:
        with minicnn.cpu_path("numpy"):
            run = ConvRun(case)
            filters = run.w.nbytes
            for count in (1, 2):
                threads.set_num_threads(count)
                for what, call in run.calls().items():
                    threads.drop_scratch()
                    assert workspace(call)["workspace_bytes"] <= count * (20e6 + filters) + 4 * filters, (what, count)
    finally:
        threads.set_num_threads(before)
