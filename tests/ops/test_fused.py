"""The fused ops against the ops that they join: the same bits on the NumPy path, of values and of gradients."""

import numpy as np
import pytest

from minicnn import Tensor, cpu_path, ops
from minicnn.crossing_cases import CROSSING
from minicnn.ops_table import ROWS


def _conv(x, w, b=None, **hyper):
    return ops.relu(ops.conv2d(x, w, b, **hyper))


COMPOSED = {
    "conv2d_relu": _conv,
    "add_relu": lambda a, b: ops.relu(a + b),
    "batch_norm_relu": lambda *xs, **h: ops.relu(ops.batch_norm(*xs, **h)),
    "batch_norm_add": lambda *xs, **h: ops.batch_norm(*xs[:-1], **h) + xs[-1],
    "batch_norm_add_relu": lambda *xs, **h: ops.relu(ops.batch_norm(*xs[:-1], **h) + xs[-1]),
    "batch_norm_inference_relu": lambda *xs, **h: ops.relu(ops.batch_norm_inference(*xs, **h)),
    "batch_norm_inference_add": lambda *xs, **h: ops.batch_norm_inference(*xs[:-1], **h) + xs[-1],
    "batch_norm_inference_add_relu": lambda *xs, **h: ops.relu(ops.batch_norm_inference(*xs[:-1], **h) + xs[-1]),
}  # fmt: skip


@pytest.fixture(autouse=True)
def numpy_path():
    with cpu_path("numpy"):
        yield


def run(function, arrays, hyper):
    leaves = [a if a is None else Tensor(a, True) for a in arrays]
    y = function(*leaves, **hyper)
    y.backward(np.random.default_rng(9).standard_normal(y.shape).astype(y.dtype))
    return [y.data, *(t.grad for t in leaves if t is not None)]


def same(name, arrays, hyper):
    for a, b in zip(run(getattr(ops, name), arrays, hyper), run(COMPOSED[name], arrays, hyper)):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_all_of_them():
    joined = {name for name in ROWS if name.endswith(("_relu", "_add"))} - {"leaky_relu"}
    assert joined == set(COMPOSED)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", COMPOSED)
def test_the_same_as_the_ops_that_it_joins(name, dtype):
    for case in (*ROWS[name].cases, *CROSSING[name]):
        same(name, [a if a is None else a.astype(dtype) for a in case.inputs(4)], case.hyper)


@pytest.mark.parametrize("stored", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", ["batch_norm_add_relu", "add_relu", "batch_norm_relu"])
def test_on_all_threads(name, stored):
    """More than one chunk, in both memory layouts, as pixels of 3 channels and of 32."""
    for shape in ((5, 32, 40, 40), (30, 3, 41, 37)):
        x, z = (np.random.default_rng(i).standard_normal(shape).astype(np.float32) for i in range(2))
        if stored == "NHWC":
            x, z = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, z))
        gamma, beta = np.random.default_rng(2).standard_normal((2, shape[1])).astype(np.float32)
        arrays = {"add_relu": (x, z), "batch_norm_relu": (x, gamma, beta)}.get(name, (x, gamma, beta, z))
        for a, b in zip(run(getattr(ops, name), arrays, {}), run(COMPOSED[name], arrays, {})):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("algorithm", ["im2col", "tiled", "winograd", "pointwise", "depthwise"])
def test_after_every_algorithm_of_convolution(algorithm):
    import minicnn

    rng = np.random.default_rng(0)
    K, G = (1, 1) if algorithm == "pointwise" else (3, 16) if algorithm == "depthwise" else (3, 1)
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((3, 16, 33, 31), (16, 16 // G, K, K), (16,)))
    with minicnn.conv_algorithm(algorithm):
        same("conv2d_relu", [x, w, b], {"padding": K // 2, "groups": G})


def test_nan_and_infinity_pass_through():
    x = np.array([[np.nan, np.inf, -np.inf, 0, -1, 2]], np.float32)
    one, zero = np.ones((1, 6), np.float32), np.zeros((1, 6), np.float32)
    wanted = [[np.nan, np.inf, 0, 1, 0, 3]]
    np.testing.assert_array_equal(ops.add_relu(x, one).data, wanted)
    y = ops.batch_norm_inference_add_relu(x, None, None, zero[0], one[0], one, eps=0)
    np.testing.assert_array_equal(y.data, wanted)
    y = ops.conv2d_relu(x.reshape(6, 1, 1, 1), one[:, :1, None, None], one[0, :1])
    np.testing.assert_array_equal(y.data.reshape(1, 6), wanted)


@pytest.mark.parametrize("name", [name for name in COMPOSED if "inference" in name])
def test_no_images(name):
    arrays = [a if a is None or a.ndim < 2 else a[:0] for a in ROWS[name].cases[0].inputs(0)]
    y, *grads = run(getattr(ops, name), arrays, {})
    assert y.shape == (0, 4, 5, 2)
    assert not any(g.any() for g in grads)


def test_what_must_have_one_shape():
    x, z, c = np.ones((2, 3, 4)), np.ones((2, 3, 1)), np.ones(3)
    with pytest.raises(ValueError, match=r"^add_relu: a \(2, 3, 4\) and b \(2, 3, 1\) must have the same shape"):
        ops.add_relu(x, z)
    for name, statistics in (("batch_norm", ()), ("batch_norm_inference", (c, c))):
        for fused in (f"{name}_add", f"{name}_add_relu"):
            with pytest.raises(ValueError, match=rf"^{name}_add: z \(2, 3, 1\) must have x's shape \(2, 3, 4\)"):
                getattr(ops, fused)(x, c, c, *statistics, z)
