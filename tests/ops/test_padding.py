"""Padding as TensorFlow, ONNX and PyTorch define it: their documented formulas, and what onnxruntime computes.

PyTorch itself is compared in test_torch.py.
"""

import itertools
import math

import numpy as np
import pytest

from minicnn import Tensor, ops, reference
from minicnn.geometry import Axis, Conv2dGeometry, Pool2dGeometry, around
from minicnn.ops_table import ROWS

# -------------------------------------------------------------------------------------------------------- SAME, by rule


def tensorflow_same(size, kernel, stride):
    """(before, after), as TensorFlow's "Notes on padding" (tf.nn) computes it, for a kernel without dilation."""
    along = max(kernel - stride, 0) if size % stride == 0 else max(kernel - size % stride, 0)
    return along // 2, along - along // 2


def onnx_same(size, kernel, stride, dilation, lower):
    """(before, after), as ONNX's MaxPool says: pad_shape = (out − 1)·stride + (kernel − 1)·dilation + 1 − in."""
    out = math.ceil(size / stride)
    pad = max(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - size)
    return (pad - pad // 2, pad // 2) if lower else (pad // 2, pad - pad // 2)


SIZES = list(itertools.product(range(1, 20), range(1, 8), range(1, 6), range(1, 4)))


def test_same_is_tensorflows():
    for size, kernel, stride, dilation in SIZES:
        if dilation == 1:
            found = around("same", (size, 1), (kernel, 1), (stride, 1), (1, 1))
            assert found == (tensorflow_same(size, kernel, stride), (0, 0))


@pytest.mark.parametrize("lower", [False, True])
def test_same_is_onnxs(lower):
    for size, kernel, stride, dilation in SIZES:
        found = around("same_lower" if lower else "same", (1, size), (1, kernel), (1, stride), (1, dilation))
        assert found == ((0, 0), onnx_same(size, kernel, stride, dilation, lower))


def test_same_gives_one_window_for_each_stride():
    for size, kernel, stride, dilation in SIZES:
        for name, ceil in itertools.product(("same", "same_lower"), (False, True)):
            (before, after), _ = around(name, (size, 1), (kernel, 1), (stride, 1), (dilation, 1))
            assert Axis(size, kernel, stride, before, after, dilation, ceil).out == math.ceil(size / stride)


def test_every_spelling_of_a_padding():
    shapes = (1, 2, 9, 8), (3, 2, 3, 3)

    def found(padding):
        g = Conv2dGeometry.of(*shapes, padding=padding)
        return (g.vertical.before, g.vertical.after), (g.horizontal.before, g.horizontal.after)

    assert found(2) == found([2, 2]) == found(((2, 2), (2, 2))) == ((2, 2), (2, 2))
    assert found((1, 3)) == found(((1, 1), 3)) == ((1, 1), (3, 3))
    assert found(((1, 2), (3, 4))) == found([[1, 2], [3, 4]]) == ((1, 2), (3, 4))
    assert found((0, (3, 4))) == ((0, 0), (3, 4))
    assert found("valid") == found(0) == ((0, 0), (0, 0))
    assert found(np.int64(1)) == ((1, 1), (1, 1))


# ----------------------------------------------------------------------------------------------- onnxruntime's auto_pad

WINDOWS = [  # size, kernel, stride: onnxruntime has no auto_pad for dilated windows, nor for gaps between windows
    ((8, 9), (3, 3), (2, 2)), ((7, 10), (2, 4), (2, 3)), ((5, 6), (5, 2), (3, 2)), ((9, 7), (4, 2), (1, 1)),
    ((11, 8), (3, 4), (2, 3)),
]  # fmt: skip


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize(("auto_pad", "padding"), [("SAME_UPPER", "same"), ("SAME_LOWER", "same_lower")])
@pytest.mark.parametrize("operator", ["Conv", "MaxPool", "AveragePool", "LpPool"])
def test_what_onnxruntime_pads_by_itself(rng, operator, auto_pad, padding, window):
    onnx = pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    size, kernel, stride = window
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 3, *size), (4, 3, *kernel)))
    node = onnx.helper.make_node(operator, ["x", "w"] if operator == "Conv" else ["x"], ["y"], auto_pad=auto_pad,
                                 kernel_shape=kernel, strides=stride)  # fmt: skip
    typed = [onnx.helper.make_tensor_value_info(name, 1, None) for name in ("x", "w", "y")]
    graph = onnx.helper.make_graph([node], "one", typed[:2] if operator == "Conv" else typed[:1], typed[2:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"x": x, "w": w} if operator == "Conv" else {"x": x})[0]
    hyper = {"stride": stride, "padding": padding}
    ours = {"Conv": lambda: ops.conv2d(x, w, **hyper),
            "MaxPool": lambda: ops.max_pool2d(x, kernel_size=kernel, **hyper),
            "AveragePool": lambda: ops.avg_pool2d(x, kernel_size=kernel, **hyper, count_include_pad=False),
            "LpPool": lambda: ops.lp_pool2d(x, kernel_size=kernel, **hyper)}[operator]().numpy()  # fmt: skip
    assert ours.shape == theirs.shape == (2, ours.shape[1], *(math.ceil(n / s) for n, s in zip(size, stride)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


# ----------------------------------------------------------------------------------------- padding wins no maximum

ROOMS = [  # size, kernel, stride, padding, dilation, ceil_mode: padding beside every pixel
    ((4, 5), 2, 1, 1, 1, False), ((4, 5), 4, 3, ((3, 2), (0, 3)), 1, False), ((5, 3), 3, 2, "same", 1, False),
    ((6, 5), (3, 2), (2, 3), "same_lower", 1, True), ((5, 5), 2, 1, 1, 2, False), ((3, 3), 3, 2, 1, 1, True),
    ((1, 9), (1, 8), (1, 2), (0, 7), 1, False), ((5, 6), 3, 1, ((3, 1), (2, 3)), 2, False),
]  # fmt: skip


def pixels_of(g):
    """For each window (i, j): [(tap, row, column), …] of its taps inside the image."""
    v, h = g.vertical, g.horizontal
    for i, j in np.ndindex(g.OH, g.OW):
        places = [(p * g.KW + q, i * v.stride + p * v.dilation - v.before, j * h.stride + q * h.dilation - h.before)
                  for p in range(g.KH) for q in range(g.KW)]  # fmt: skip
        yield (i, j), [(tap, r, c) for tap, r, c in places if 0 <= r < g.H and 0 <= c < g.W]


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fill", ["-inf", "-inf and one", "equal", "zeros of both signs", "nan"])
@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_a_maximum_is_a_pixel_the_first_of_equals_and_nan_wins(rng, room, fill, dtype):
    """PyTorch's loop over the pixels inside: `if (val > max || isnan(val))`, from the first pixel on."""
    size, kernel, stride, padding, dilation, ceil = room
    x = np.full((2, 9, *size), -np.inf if fill.startswith("-inf") else -3.0, dtype)
    if fill == "-inf and one":
        x[:, :, size[0] // 2, size[1] // 2] = -7
    if fill == "zeros of both signs":
        x = np.where(rng.random(x.shape) < 0.5, -0.0, 0.0).astype(dtype)
    if fill == "nan":
        x[rng.random(x.shape) < 0.3] = np.nan
    g = Pool2dGeometry.of(x.shape, kernel, stride, padding, dilation, ceil)
    tensor = Tensor(x, requires_grad=True)
    y = ops.max_pool2d(tensor, kernel_size=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil)
    dy = rng.integers(1, 9, y.shape).astype(dtype)                 # sums without rounding
    largest, winner, dx = np.zeros(y.shape, dtype), np.zeros(y.shape, int), np.zeros_like(x)
    for (i, j), pixels in pixels_of(g):
        for n, c in np.ndindex(2, 9):
            won, row, column = pixels[0]
            for tap, r, q in pixels:
                if x[n, c, r, q] > x[n, c, row, column] or np.isnan(x[n, c, r, q]):
                    won, row, column = tap, r, q
            largest[n, c, i, j], winner[n, c, i, j] = x[n, c, row, column], won
            dx[n, c, row, column] += dy[n, c, i, j]
    np.testing.assert_array_equal(y.numpy(), largest)
    np.testing.assert_array_equal(y.aux[0], winner)
    y.backward(dy)
    np.testing.assert_array_equal(tensor.grad, dx)
    assert tensor.grad.sum() == dy.sum()                           # no gradient is lost in the padding


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "lp_pool2d"])
def test_every_padding_that_leaves_a_pixel_in_each_window(rng, name):
    """All small windows, dilated and hanging over too: computed as the loops say, or refused if one sees no pixel."""
    computed = refused = 0
    choices = itertools.product((1, 2, 5), (1, 2, 3), (1, 2), (0, 1, 2, 3), (0, 1, 2, 3), (1, 2), (False, True))
    for size, K, S, before, after, D, ceil in choices:
        axis = Axis(size, K, S, before, after, D, ceil)
        if axis.out < 1:
            continue
        hyper = {"kernel_size": (1, K), "stride": (1, S), "padding": (0, (before, after)), "dilation": (1, D),
                 "ceil_mode": ceil}  # fmt: skip
        x = rng.standard_normal((1, 2, 2, size)).astype(np.float32)
        seen = [[p for p in range(K) if 0 <= i * S + p * D - before < size] for i in range(axis.out)]
        if all(seen):
            computed += 1
            for extra in ({"count_include_pad": True}, {"count_include_pad": False}) if name == "avg_pool2d" else ({},):
                y = getattr(ops, name)(x, **hyper, **extra).numpy()
                expected = ROWS[name].definition(x.astype(float), **hyper, **extra)
                np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
        else:
            refused += 1
            first = seen.index([])
            with pytest.raises(ValueError, match=rf"makes windows of padding alone: window {first} reads "):
                getattr(ops, name)(x, **hyper)
    assert (computed, refused) == (442, 624)


# ---------------------------------------------------------------------------------------------------------- convolution


def test_a_flipped_convolution_is_the_product_of_polynomials(rng):
    """Σ_k a[k]·b[n − k], the coefficients of a product: NumPy's convolve. And a convolution commutes."""
    a, b = rng.standard_normal(7), rng.standard_normal(4)
    full = ops.conv1d(a.reshape(1, 1, 7), b.reshape(1, 1, 4), padding=3, flip=True).numpy()[0, 0]
    np.testing.assert_allclose(full, np.convolve(a, b), rtol=1e-12)
    x, w = rng.standard_normal((5, 6)), rng.standard_normal((3, 2))
    one = ops.conv2d(x[None, None], w[None, None], padding=(2, 1), flip=True).numpy()
    other = ops.conv2d(w[None, None], x[None, None], padding=(4, 5), flip=True).numpy()
    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
    rows = [np.convolve(x[i], w[p]) for i in range(5) for p in range(3)]
    expected = np.zeros((7, 7))
    for k, row in enumerate(rows):
        expected[k // 3 + k % 3] += row
    np.testing.assert_allclose(one[0, 0], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("algorithm", ["im2col", "tiled", "pointwise", "winograd", "depthwise", "direct", "auto"])
@pytest.mark.parametrize("case", [
    ((2, 16, 9, 10), (16, 16, 3, 3), 1, ((0, 3), (2, 1)), 1), ((2, 16, 9, 10), (16, 16, 3, 3), 1, ((4, 0), (0, 5)), 1),
    ((2, 16, 9, 8), (16, 1, 3, 3), 1, ((0, 3), (3, 0)), 16), ((2, 16, 9, 8), (16, 1, 3, 3), 2, "same", 16),
    ((2, 2, 9, 12), (4, 2, 5, 5), (1, 2), "same_lower", 1), ((2, 8, 7, 7), (4, 8, 1, 1), 2, ((0, 2), (1, 0)), 1),
], ids=str)  # fmt: skip
def test_each_algorithm_pads_each_side_by_its_own(rng, algorithm, case):
    import minicnn

    x_shape, w_shape, stride, padding, groups = case
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (x_shape, w_shape))
    hyper = {"stride": stride, "padding": padding, "groups": groups}
    with minicnn.conv_algorithm(algorithm):
        tx, tw = Tensor(x, True), Tensor(w, True)
        y = ops.conv2d(tx, tw, **hyper)
        dy = rng.standard_normal(y.shape).astype(np.float32)
        y.backward(dy)
    g = Conv2dGeometry.of(x_shape, w_shape, **hyper)
    around_it = np.pad(x.astype(float), [(0, 0), (0, 0), (g.vertical.before, g.vertical.after),
                                         (g.horizontal.before, g.horizontal.after)])  # fmt: skip
    dx, dw, exact = np.zeros_like(around_it), np.zeros(w_shape), np.zeros(y.shape)
    S, Cg, Og = (g.vertical.stride, g.horizontal.stride), w_shape[1], w_shape[0] // groups
    for i, j, k in itertools.product(range(g.OH), range(g.OW), range(groups)):
        rows, columns = slice(i * S[0], i * S[0] + g.KH), slice(j * S[1], j * S[1] + g.KW)
        here = (slice(None), slice(k * Cg, (k + 1) * Cg), rows, columns)
        o = slice(k * Og, (k + 1) * Og)
        exact[:, o, i, j] = np.einsum("ncpq,ocpq->no", around_it[here], w[o])
        dx[here] += np.einsum("no,ocpq->ncpq", dy[:, o, i, j], w[o])
        dw[o] += np.einsum("no,ncpq->ocpq", dy[:, o, i, j], around_it[here])
    top, left = g.vertical.before, g.horizontal.before
    inside = (..., slice(top, top + g.H), slice(left, left + g.W))
    for found, expected in ((y.numpy(), exact), (tx.grad, dx[inside]), (tw.grad, dw)):
        np.testing.assert_allclose(found, expected, rtol=0, atol=3e-5 * np.abs(expected).max())


def test_signals_are_images_of_height_one(rng):
    x, w, b = rng.standard_normal((3, 4, 15)), rng.standard_normal((6, 2, 5)), rng.standard_normal(6)
    for padding in (0, 2, (3, 1), "same", "same_lower", "valid"):
        hyper = {"stride": 2, "dilation": 2, "groups": 2}
        y = ops.conv1d(x, w, b, padding=padding, **hyper).numpy()
        np.testing.assert_allclose(y, reference.conv1d(x, w, b, padding=padding, **hyper), rtol=1e-12, atol=1e-12)


def test_pools_of_signals_have_gradients_and_their_own_sentence(rng):
    x = Tensor(rng.standard_normal((2, 3, 11)), True)
    y = ops.max_pool1d(x, kernel_size=4, stride=2, padding="same")
    y.sum().backward()
    exact = [max(range(max(0, s), min(11, s + 4)), key=lambda i: x.numpy()[0, 0, i]) for s in range(-1, 11, 2)]
    np.testing.assert_array_equal(x.grad[0, 0], np.bincount(exact, minlength=11))
    with pytest.raises(ValueError, match=r"^pooling: a signal must have 3 axes \(N, C, L\), not 4 \(shape \(1, "):
        ops.avg_pool1d(np.ones((1, 2, 3, 4)), kernel_size=2)
    with pytest.raises(TypeError, match="kernel_size must be an integer, not"):
        ops.avg_pool1d(np.ones((1, 2, 9)), kernel_size=(2, 2))


# ------------------------------------------------------------------------------------------------------------- borders


def test_borders_by_hand():
    x = np.array([[1.0, 2, 3], [4, 5, 6]])
    assert ops.pad(x, padding=((1, 0), (2, 1)), mode="reflect").numpy().tolist() == [
        [6, 5, 4, 5, 6, 5], [3, 2, 1, 2, 3, 2], [6, 5, 4, 5, 6, 5]]  # fmt: skip
    assert ops.pad(x, padding=(2, 1, 1, 0), mode="replicate").numpy().tolist() == [
        [1, 1, 1, 2, 3, 3], [1, 1, 1, 2, 3, 3], [4, 4, 4, 5, 6, 6]]  # fmt: skip
    assert ops.pad(x, padding=((0, 1), (0, 1)), value=9).numpy().tolist() == [[1, 2, 3, 9], [4, 5, 6, 9], [9] * 4]
    assert ops.pad(x, padding=1, value=-np.inf).numpy()[0].tolist() == [-np.inf] * 5


def test_the_border_must_be_smaller_than_what_is_mirrored():
    x = np.ones((1, 1, 3, 5))
    assert ops.pad(x, padding=((2, 2), (4, 4)), mode="reflect").shape == (1, 1, 7, 13)
    for padding in (((3, 0), (0, 0)), ((0, 0), (0, 5))):
        with pytest.raises(ValueError, match=r"must be smaller than the 3×5 image for mode='reflect'"):
            ops.pad(x, padding=padding, mode="reflect")
