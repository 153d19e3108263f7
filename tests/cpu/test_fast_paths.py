"""What the CPU does in chunks, on several threads and in any layout, against plain NumPy on the whole."""

import numpy as np
import pytest

from minicnn import cpu, reference
from minicnn.cpu import threads
from minicnn.geometry import Pool2dGeometry


@pytest.fixture(params=[1, 2, 3])
def count(request, monkeypatch):
    """How many threads, and chunks so small that there are several."""
    monkeypatch.setattr("minicnn.cpu.elements.CHUNK_VALUES", 10_007)
    before = threads.num_threads()
    threads.set_num_threads(request.param)
    yield request.param
    threads.set_num_threads(before)


LAYOUTS = {
    "channels first": lambda a: np.ascontiguousarray(a),
    "channels last": lambda a: np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "gaps": lambda a: np.repeat(a, 2, axis=3)[..., ::2],
    "backwards": lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
}
SHAPES = [(7, 16, 31, 29), (3, 5, 61, 67), (2, 300, 17, 13)]  # chunks that end unevenly, few and many channels


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return LAYOUTS[request.param]


def close(found, expected, tolerance=1e-12):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * (abs(expected).max() + 1))


def again(function):
    """Its result, once it is known to have the same bits each time."""
    first = function()
    for _ in range(3):
        for a, b in zip(first, function()) if isinstance(first, tuple) else [(first, function())]:
            np.testing.assert_array_equal(a, b)
    return first


@pytest.mark.parametrize("shape", SHAPES)
def test_map_is_the_function(rng, count, layout, shape):
    x, dy = layout(rng.standard_normal(shape)), rng.standard_normal(shape)
    np.testing.assert_array_equal(again(lambda: cpu.elementwise(np.maximum, x, 0.25)), np.maximum(x, 0.25))
    np.testing.assert_array_equal(cpu.elementwise(lambda x, dy: dy * (x > 0), x, dy), dy * (x > 0))
    greater = cpu.elementwise(np.greater, x, 2)
    assert greater.dtype == bool
    np.testing.assert_array_equal(greater, x > 2)
    one = np.broadcast_to(dy[:1, :1, :1, :1], shape)
    np.testing.assert_array_equal(cpu.elementwise(np.add, x, one), x + dy[0, 0, 0, 0])


def test_map_keeps_the_layout_of_the_first(rng):
    x = LAYOUTS["channels last"](rng.standard_normal(SHAPES[0]))
    assert cpu.elementwise(np.add, x, np.ascontiguousarray(x)).strides == x.strides


def test_map_broadcasts_and_passes_nan_on(rng):
    x = rng.standard_normal((4, 50, 40, 30)).astype(np.float32)
    x[1, 2, 3, 4] = np.nan
    b = rng.standard_normal((1, 50, 1, 1)).astype(np.float32)
    np.testing.assert_array_equal(cpu.elementwise(np.add, x, b), x + b)
    assert np.isnan(cpu.elementwise(np.maximum, x, 0)).sum() == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_and_channel_sums(rng, count, layout, shape):
    x, dy = layout(3 + 2 * rng.standard_normal(shape)), rng.standard_normal(shape)
    axes, C = (0, 2, 3), shape[1]
    mean, var = again(lambda: cpu.batch_norm_stats(x))
    close(mean, x.mean(axes))
    close(var, x.var(axes))
    scale, shift, inv_std = rng.standard_normal(C), rng.standard_normal(C), 1 / np.sqrt(var)
    as_image = (slice(None), None, None)
    xhat = (x - mean[as_image]) * inv_std[as_image]
    close(again(lambda: cpu.batch_norm_apply(x, mean, scale, shift)), (x - mean[as_image]) * scale[as_image]
          + shift[as_image])  # fmt: skip
    sum_dy, sum_dy_xhat = again(lambda: cpu.batch_norm_sums(dy, x, mean, inv_std))
    close(sum_dy, dy.sum(axes))
    close(sum_dy_xhat, (dy * xhat).sum(axes))
    m = x.size // C
    dx = again(lambda: cpu.batch_norm_dx(dy, x, mean, inv_std, scale, sum_dy, sum_dy_xhat))
    close(dx, scale[as_image] * (dy - sum_dy[as_image] / m - xhat * sum_dy_xhat[as_image] / m))
    close(again(lambda: cpu.channel_sums(x)), x.sum(axes))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_residual_and_relu_with_batch_norm(rng, count, layout, shape):
    x, more, dy = layout(rng.standard_normal(shape)), rng.standard_normal(shape), rng.standard_normal(shape)
    mean, scale, shift, inv_std = rng.standard_normal((4, shape[1]))
    as_image = (slice(None), None, None)
    line = (x - mean[as_image]) * scale[as_image] + shift[as_image]
    close(again(lambda: cpu.batch_norm_apply(x, mean, scale, shift, add=more)), line + more)
    close(again(lambda: cpu.batch_norm_apply(x, mean, scale, shift, add=more, relu=True)), np.maximum(line + more, 0))
    close(cpu.add_relu(x, more), np.maximum(x + more, 0))
    through, relu = dy * (line > 0), (scale, shift)
    sums = again(lambda: cpu.batch_norm_sums(dy, x, mean, inv_std, relu=relu))
    for found, expected in zip(sums, cpu.batch_norm_sums(through, x, mean, inv_std)):
        close(found, expected)
    close(again(lambda: cpu.batch_norm_dx(dy, x, mean, inv_std, scale, *sums, relu=relu)),
          cpu.batch_norm_dx(through, x, mean, inv_std, scale, *sums))  # fmt: skip


@pytest.mark.parametrize("first", [0, 1e4])
def test_the_variance_survives_a_large_mean_and_an_odd_first_image(rng, count, first):
    x = (1000 + rng.standard_normal((20, 8, 40, 40))).astype(np.float32)
    x[0] += first
    exact = x.astype(np.float64)
    mean, var = cpu.batch_norm_stats(x)
    np.testing.assert_allclose(mean, exact.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(var, exact.var((0, 2, 3)), rtol=1e-4)


POOLS = [((2, 2), None, 0, 1, False), ((3, 3), 2, 1, 1, False), ((3, 2), (2, 1), (1, 0), 1, True),
         ((2, 3), (3, 2), (1, 1), (2, 1), False), ((1, 1), 3, 0, 1, True), ((5, 4), 1, 2, 1, False)]  # fmt: skip


@pytest.mark.parametrize("pool", POOLS)
def test_pooling(rng, count, layout, pool):
    kernel_size, stride, padding, dilation, ceil_mode = pool
    hyper = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    values = np.round(3 * rng.standard_normal((3, 2, 11, 9)))  # with ties
    x = layout(values)
    g = Pool2dGeometry.of(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    y, winner = again(lambda: cpu.max_pool2d(x, g))
    np.testing.assert_array_equal(y, reference.max_pool2d(values, dilation=dilation, **hyper))
    padded = np.pad(values, ((0, 0), (0, 0), (g.vertical.before, g.vertical.padded), (g.horizontal.before,
                    g.horizontal.padded)), constant_values=-np.inf)  # fmt: skip
    taps = np.stack([padded[here] for _, _, here in g.taps()])  # (taps, N, C, OH, OW)
    np.testing.assert_array_equal(winner, taps.argmax(0))
    dy = rng.standard_normal(y.shape)
    dx, expected = again(lambda: cpu.max_pool2d_dx(dy, winner, g)), np.zeros(padded.shape)
    for t, (_, _, here) in enumerate(g.taps()):
        expected[here] += dy * (taps.argmax(0) == t)
    top, left = g.vertical.before, g.horizontal.before
    close(dx, expected[:, :, top : top + 11, left : left + 9])
    if dilation == 1:
        expected = reference.avg_pool2d(values, count_include_pad=False, **hyper)
        close(again(lambda: cpu.avg_pool2d(x, g, False)), expected)
        lhs = (cpu.avg_pool2d(x, g, True) * dy).sum()
        assert lhs == pytest.approx((x * again(lambda: cpu.avg_pool2d_dx(dy, g, True))).sum(), rel=1e-12)  # adjoint


@pytest.mark.parametrize("pool", POOLS[:3])
def test_nan_wins_its_windows(rng, pool):
    x = rng.standard_normal((2, 3, 11, 9)).astype(np.float32)
    x[1, 2, 5, 4] = np.nan
    g = Pool2dGeometry.of(x.shape, *pool)
    y, winner = cpu.max_pool2d(x, g)
    dx = cpu.max_pool2d_dx(np.ones_like(y), winner, g)
    hit = np.isnan(y).sum()
    assert hit > 0
    assert np.isnan(y[1, 2]).sum() == hit == dx[1, 2, 5, 4]


@pytest.mark.parametrize(("M", "K", "L"), [(16, 300, 400), (300, 16, 200), (1, 700, 500), (200, 90, 17), (3, 4, 5)])
def test_matmul(rng, count, M, K, L):
    a, b, bias = rng.standard_normal((M, K)), rng.standard_normal((L, K)).T, rng.standard_normal(L)
    close(again(lambda: cpu.matmul(a, b, bias)), a @ b + bias)
    close(cpu.matmul(np.asfortranarray(a), b), a @ b)
    assert cpu.matmul(a, b).flags.c_contiguous


@pytest.mark.parametrize("p", [0.1, 0.5, 0.75])
def test_masks_are_made_of_the_words_of_one_stream(count, p):
    words = np.random.Philox(key=7, counter=3 << 128).random_raw(5 * 40_001)
    np.testing.assert_array_equal(cpu.dropout_mask((5, 40_001), p, 7, 3).ravel(),
                                  (words >> 11) >= np.uint64(round(p * 2**53)))  # fmt: skip


@pytest.mark.parametrize("arrange", [np.ascontiguousarray, np.asfortranarray, lambda a: np.repeat(a, 2, 1)[:, ::2]])
def test_updates_in_chunks(rng, count, arrange):
    param, grad, first, second = (rng.standard_normal((300, 401)) for _ in range(4))
    p, v = arrange(param.copy()), arrange(first.copy())
    cpu.sgd_update(p, grad, v, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    g = grad + 0.01 * param
    velocity = 0.9 * first + g
    close(v, velocity)
    close(p, param - 0.1 * (g + 0.9 * velocity))
    second = abs(second)
    p, m, v = (arrange(a.copy()) for a in (param, first, second))
    cpu.adam_update(p, grad, m, v, lr=0.1, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.01, decoupled=True, step=2)
    m_new, v_new = 0.9 * first + 0.1 * grad, 0.99 * second + 0.01 * grad**2
    close(m, m_new)
    close(p, param * (1 - 0.001) - 0.1 * (m_new / (1 - 0.81)) / (np.sqrt(v_new / (1 - 0.99**2)) + 1e-8), 1e-10)


@pytest.mark.parametrize("beta", [0.75, 0.6])
@pytest.mark.parametrize("size", [1, 4, 5, 9])
def test_local_response_norm_in_any_layout(rng, count, layout, size, beta):
    x = rng.standard_normal((2, 7, 5, 6))
    y, _ = cpu.local_response_norm(layout(x), size, 0.7 / size, beta, 1.5)
    close(y, reference.local_response_norm(x, size=size, alpha=0.7, beta=beta, k=1.5))
