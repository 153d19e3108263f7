"""Bugs planted in the kernels of all layers but convolution: each is caught, by values, by memory, or as a race."""

import re

import numpy as np
import pytest

from minicnn import cpu, reference
from minicnn.geometry import Pool2dGeometry
from minicnn.gpu.kernel_file import FOLDER
from tests.thinned import thinned


def same(found, expected, gpu):
    np.testing.assert_allclose(gpu.to_numpy(found), expected, rtol=1e-4, atol=1e-5)


def numbers(*shape):
    return np.random.default_rng(5).permutation(np.linspace(-2, 2, np.prod(shape))).reshape(shape).astype(np.float32)


def max_pool(gpu, x=None, **hyper):
    x = numbers(2, 3, 7, 6) if x is None else x
    g = Pool2dGeometry.of(x.shape, **{"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, **hyper})
    y, winner = gpu.max_pool2d(gpu.asarray(x), g)
    expected = cpu.max_pool2d(x, g)
    same(y, expected[0], gpu)
    same(winner, expected[1], gpu)
    dy = numbers(*y.shape)
    same(gpu.max_pool2d_dx(gpu.asarray(dy), winner, g), cpu.max_pool2d_dx(dy, expected[1], g), gpu)


def max_pool_of_equals(gpu):
    max_pool(gpu, np.ones((1, 1, 4, 4), np.float32))


def max_pool_of_nan(gpu):
    max_pool(gpu, np.where(numbers(1, 2, 5, 6) > 1, np.float32(np.nan), numbers(1, 2, 5, 6)))


def max_pool_dilated(gpu):
    max_pool(gpu, dilation=(2, 3), stride=1)


def avg_pool(gpu):
    x = numbers(2, 3, 7, 6)
    g = Pool2dGeometry.of(x.shape, 3, (2, 1), 1, ceil_mode=True)
    for pad in (True, False):
        same(gpu.avg_pool2d(gpu.asarray(x), g, pad), cpu.avg_pool2d(x, g, pad), gpu)
        dy = numbers(2, 3, g.OH, g.OW)
        same(gpu.avg_pool2d_dx(gpu.asarray(dy), g, pad), cpu.avg_pool2d_dx(dy, g, pad), gpu)


def avg_pool_dilated(gpu):
    """By the loops of the definition, and dx as the adjoint: ⟨mean(x), dy⟩ = ⟨x, dx⟩"""
    x = numbers(2, 3, 8, 9)
    hyper = {"kernel_size": (3, 2), "stride": (2, 1), "padding": ((1, 3), (0, 2)), "dilation": (2, 3)}
    g = Pool2dGeometry.of(x.shape, **hyper)
    for pad in (True, False):
        y = reference.avg_pool2d(x.astype(float), **hyper, count_include_pad=pad)
        same(gpu.avg_pool2d(gpu.asarray(x), g, pad), y, gpu)
        dy = numbers(*y.shape)
        dx = gpu.to_numpy(gpu.avg_pool2d_dx(gpu.asarray(dy), g, pad))
        np.testing.assert_allclose((x * dx).sum(), (y * dy).sum(), rtol=1e-4)


def max_pool_of_minus_infinity(gpu):
    x = np.full((1, 2, 4, 5), -np.inf, np.float32)
    g = Pool2dGeometry.of(x.shape, 3, 2, ((2, 0), (1, 2)))
    _, winner = gpu.max_pool2d(gpu.asarray(x), g)
    same(winner[0, 0], [[7, 6, 6], [1, 0, 0]], gpu)                # the first tap on a pixel


def large_maps(gpu):
    x = numbers(1, 2, 3, 301)
    g = Pool2dGeometry.of(x.shape, 1)
    same(gpu.avg_pool2d(gpu.asarray(x), g, True), x, gpu)


def lp_pool(gpu):
    x = numbers(2, 3, 7, 6)
    x[0, 0, :3, :3] = 0
    g = Pool2dGeometry.of(x.shape, 3, 2)
    y = cpu.lp_pool2d(x, 2.5, g)
    same(gpu.lp_pool2d(gpu.asarray(x), 2.5, g), y, gpu)
    dx = gpu.lp_pool2d_dx(gpu.asarray(y), gpu.asarray(x), gpu.asarray(y), 2.5, g)
    same(dx, cpu.lp_pool2d_dx(y, x, y, 2.5, g), gpu)


def batch_norm(gpu):
    x, dy = 3 + numbers(9, 10, 5, 9), numbers(10, 9, 9, 5).reshape(9, 10, 5, 9)
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    for found, expected in zip(gpu.batch_norm_stats(gpu.asarray(x)), (mean, var)):
        same(found, expected, gpu)
    per_channel = [gpu.asarray(a) for a in (mean, var)]
    sums = gpu.batch_norm_sums(gpu.asarray(dy), gpu.asarray(x), *per_channel)
    expected = cpu.batch_norm_sums(dy, x, mean, var)
    np.testing.assert_allclose([gpu.to_numpy(s) for s in sums], expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(gpu.to_numpy(gpu.channel_sums(gpu.asarray(dy))), dy.sum((0, 2, 3)), rtol=1e-4, atol=1e-3)
    same(gpu.batch_norm_apply(gpu.asarray(x), *per_channel, None), cpu.batch_norm_apply(x, mean, var, None), gpu)
    y = gpu.batch_norm_apply(gpu.asarray(x), *per_channel, None, add=gpu.asarray(dy), relu=True)
    same(y, cpu.batch_norm_apply(x, mean, var, None, add=dy, relu=True), gpu)
    dx = gpu.batch_norm_dx(gpu.asarray(dy), gpu.asarray(x), *per_channel, per_channel[0], *sums)
    same(dx, cpu.batch_norm_dx(dy, x, mean, var, mean, *expected), gpu)


def cross_entropy(gpu):
    logits, labels = 50 * numbers(5, 45), np.array([3, 44, 0, 17, 31])
    loss, p = gpu.cross_entropy(gpu.asarray(logits), gpu.asarray(labels), 0.1)
    expected = cpu.cross_entropy(logits.astype(float), labels, 0.1)
    same(loss, expected[0], gpu)
    same(p, expected[1], gpu)
    dy = np.arange(1, 6, dtype=np.float32)
    dlogits = gpu.cross_entropy_dx(gpu.asarray(dy), p, gpu.asarray(labels), 0.1)
    same(dlogits, cpu.cross_entropy_dx(dy, expected[1], labels, 0.1), gpu)


def lrn(gpu):
    x, dy = numbers(2, 35, 3), numbers(2, 35, 3)[::-1].copy()
    x[0, 4] = 3e3
    y, s = gpu.local_response_norm(gpu.asarray(x), 4, 1.0, 0.75, 2.0)
    exact = cpu.local_response_norm(x.astype(float), 4, 1.0, 0.75, 2.0)
    same(y, exact[0], gpu)
    np.testing.assert_allclose(gpu.to_numpy(s), exact[1], rtol=1e-5)
    dx = gpu.local_response_norm_dx(gpu.asarray(dy), gpu.asarray(x), y, s, 4, 1.0, 0.75)
    same(dx, cpu.local_response_norm_dx(dy.astype(float), x.astype(float), *exact, 4, 1.0, 0.75), gpu)


def dropout(gpu):
    for size in (4, 1027):
        mask = gpu.to_numpy(gpu.dropout_mask((size,), 0.5, 2**40 + 9, 7))
        np.testing.assert_array_equal(mask, cpu.dropout_mask((size,), 0.5, 2**40 + 9, 7))


def sgd(gpu):
    for momentum, nesterov in ((0.9, True), (0.9, False), (0, False)):
        w, g, v = numbers(3, 600)
        there = gpu.asarray(w), gpu.asarray(g), gpu.asarray(v) if momentum else None
        setting = {"lr": 0.5, "momentum": momentum, "nesterov": nesterov, "weight_decay": 0.3}
        gpu.sgd_update(*there, **setting)
        cpu.sgd_update(w, g, v if momentum else None, **setting)
        same(there[0], w, gpu)
        if momentum:
            same(there[2], v, gpu)


def adam(gpu):
    w, g, m, v = numbers(4, 300)
    v = abs(v)
    there = [gpu.asarray(a) for a in (w, g, m, v)]
    setting = {"lr": 0.5, "beta1": 0.9, "beta2": 0.99, "eps": 0.1, "weight_decay": 0.3, "decoupled": False, "step": 2}
    gpu.adam_update(*there, **setting)
    cpu.adam_update(w, g, m, v, **setting)
    for found, expected in zip(there, (w, g, m, v)):
        same(found, expected, gpu)


class race:  # noqa: N801
    """Not wrong in every order of the threads: the access that is out of order must be seen."""

    def __init__(self, check):
        self.check = check


BUGS = {  # in which file: what it is, what stood there, what stands there now, what finds it
    "pool.cu": [
        ("no bound check below", "min(K, (size - start + D - 1) / D)", "K", max_pool),
        ("no bound check above", "start < 0 ? (D - 1 - start) / D : 0", "0", max_pool),
        ("taps rounded the wrong way", "(size - start + D - 1) / D", "(size - start) / D", max_pool_dilated),
        ("the last of equals wins", "v > best", "v >= best", max_pool_of_equals),
        ("a NaN is overlooked", "|| v != v", "", max_pool_of_nan),
        ("strides exchanged", "top = i / OW * SH - PH, left", "top = i / OW * SW - PH, left", max_pool),
        ("taps exchanged", "won = p * KW + q", "won = q * KH + p", max_pool),
        ("no bound on windows", "min(out - 1, (h + P) / S)", "(h + P) / S", avg_pool),
        ("a window too many", "(before + S - 1) / S", "before / S", avg_pool),
        ("dilation forgotten", "if (DH > 1 && p % DH) continue;", "", max_pool_dilated),
        ("taps of a mean counted without gaps", "- P - low, K, D, high - low)", "- P - low, K, 1, high - low)",
         avg_pool_dilated),
        ("a mean counted from the image's edge", "taps_inside(o * S - P - low,", "taps_inside(o * S - P,", avg_pool),
        ("rows behind the image not counted", "D, top, bottom) * places", "D, top, H) * places", avg_pool),
        ("padding wins over minus infinity", "won < 0 || v > best", "v > best", max_pool_of_minus_infinity),
        ("a window of zeros divides", "if (y[o] != 0) sum", "sum", lp_pool),
        ("an exponent one too high", "norm - 1)", "norm)", lp_pool),
    ],
    "reduce.cuh": [
        ("no barrier", "    __syncthreads();\n", "", race(batch_norm)),
        ("half a warp is merged", "d = 16; d > 0", "d = 8; d > 0", batch_norm),
        ("the last warp is left out", "thread < warps ?", "thread < warps - 1 ?", batch_norm),
        ("merged without the distance", "other.m2 + d * d * n * share", "other.m2", batch_norm),
    ],
    "batch_norm.cu": [
        ("the last part is left out", "(int)threadIdx.x < count ?", "(int)threadIdx.x < count - 1 ?", batch_norm),
        ("images counted twice", "n += gridDim.y * blockDim.y", "n += blockDim.y", batch_norm),
        ("the wrong stride", "((int64)n * C + blockIdx.x) * P", "((int64)blockIdx.x * N + n) * P", batch_norm),
        ("too many warps", "if (c >= C) return;", "", batch_norm),
        ("every thread writes", "if (threadIdx.x == 0 && threadIdx.y == 0) sum[", "sum[", race(batch_norm)),
        ("the image for the channel", "int c = map % C;", "int c = map / C;", batch_norm),
        ("nothing is added", "* a + b + v.add", "* a + b", batch_norm),
        ("no relu", "+ v.add, relu)", "+ v.add, false)", batch_norm),
        ("a null pointer read", "shift ? shift[c] : T(0)", "shift[c]", batch_norm),
    ],
    "maps.cuh": [
        ("pixels of a second block", "int i = blockIdx.y * blockDim.x + threadIdx.x;",
         "int i = threadIdx.x;", large_maps),
        ("streamed pixels left out", "i < end; i += AT_ONCE * step", "i + step < end; i += AT_ONCE * step", batch_norm),
        ("no bound on what is streamed", "if (i + k * step < end) take", "take", batch_norm),
    ],
    "softmax.cu": [
        ("rows beyond the last", "if (n >= N) return;", "", cross_entropy),
        ("the largest of half a row", "T other = __shfl_xor_sync(0xffffffffu, v, d);",
         "T other = __shfl_xor_sync(0xffffu, v, d);", cross_entropy),
        ("lanes left out", "v += __shfl_xor_sync(0xffffffffu, v, d);",
         "v += __shfl_xor_sync(0xffffffffu, v, d / 2);", cross_entropy),
        ("no largest taken off", "largest = warp_max(largest);", "largest = 0;", cross_entropy),
        ("classes left out", "for (int k = threadIdx.x; k < K; k += 32) {",
         "for (int k = threadIdx.x; k + 32 < K; k += 32) {", cross_entropy),
        ("no smoothing in q", "T q = smoothing / K +", "T q =", cross_entropy),
    ],
    "lrn.cu": [
        ("the last channel of a chunk", "c <= last", "c < last", lrn),
        ("a sum in single precision", "double sum = 0;", "T sum = 0;", lrn),
        ("the window not mirrored", "ratio(c + behind)", "ratio(c + ahead)", lrn),
        ("channels beyond the last", "c < 0 || c >= C ? 0.0 :", "c < 0 ? 0.0 :", lrn),
    ],
    "dropout.cu": [
        ("a round too few", "round < 10", "round < 9", dropout),
        ("the counter not counted up", "philox4x64(b + 1,", "philox4x64(b,", dropout),
        ("the draw forgotten", "philox4x64(b + 1, draw,", "philox4x64(b + 1, 0,", dropout),
        ("the last words left out", "4 * b < size", "4 * b + 4 <= size", dropout),
        ("a seed of 32 bits", "draw, seed)", "draw, (unsigned)seed)", dropout),
    ],
    "update.cu": [
        ("a velocity that is not there", "if (velocity) {", "{", sgd),
        ("no nesterov", "nesterov ? g + momentum * v : v", "v", sgd),
        ("the last weights left out", "i < (n);", "i + 1 < (n);", adam),
        ("no correction", "second * inv_correction", "second", adam),
    ],
}  # fmt: skip


CASES = [pytest.param(name, *bug, id=bug[0]) for name, bugs in BUGS.items() for bug in bugs]
KEPT = {bug[0] for bugs in BUGS.values() for bug in (bugs[0], bugs[-1], *(b for b in bugs if isinstance(b[-1], race)))}
"""Of each file: the first bug (of indices, as they are grouped), the last (of arithmetic) and every missing barrier.
Each bug compiles a file of its own."""


@pytest.mark.parametrize(("name", "what", "old", "new", "check"), thinned(CASES, lambda name, what, *_: what in KEPT))
def test_it_is_caught(name, what, old, new, check, tmp_path, emulated):
    for file in FOLDER.glob("*.cu*"):
        text = file.read_text(encoding="utf-8")
        if file.name == name:
            assert old in text
            text = text.replace(old, new)
        # one precision is enough here, and compiles in half the time
        text = re.sub(r"\w+<double[^ \n]*", "", text)
        (tmp_path / file.name).write_text(text, encoding="utf-8")
    if isinstance(check, race):
        with pytest.raises(RuntimeError, match="race"):
            check.check(emulated(trace=True, folder=tmp_path))
    else:
        with pytest.raises((AssertionError, RuntimeError)):
            check(emulated(folder=tmp_path))


CHECKS = {getattr(bug[-1], "check", bug[-1]) for bugs in BUGS.values() for bug in bugs}


@pytest.mark.parametrize("check", sorted(CHECKS, key=lambda f: f.__name__), ids=lambda f: f.__name__)
def test_without_it_all_is_well(check, gpu):
    check(gpu)
