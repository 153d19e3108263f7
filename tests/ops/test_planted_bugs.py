"""Every classic mistake, planted on purpose, is caught, and the right op passes."""

from __future__ import annotations

import numpy as np
import pytest

from minicnn import GradientError, Tensor, cpu, devices, gradcheck, ops
from minicnn.cpu.conv.im2col import im2col
from minicnn.geometry import Conv2dGeometry
from minicnn.gradient_check import NothingCheckedError
from minicnn.ops import getitem
from tests.ops.planted_bugs import (
    BETA,
    FEATURES,
    GALLERY,
    GAMMA,
    LOGITS,
    MAP,
    B,
    Bug,
    W,
    X,
    _dilated,
    _plain,
    _scatter,
    _strided,
    apart,
    normal,
    planted,
)
from tests.thinned import thinned


def test_the_gallery_is_large_and_without_doubles():
    assert len(GALLERY) >= 80
    assert len({b.name for b in GALLERY}) == len(GALLERY)


@pytest.mark.parametrize("bug", GALLERY, ids=lambda b: b.name)
def test_a_planted_bug_is_caught(bug):
    with pytest.raises(bug.caught_by) as caught:
        gradcheck(planted(bug), *bug.arrays, **bug.hyper)
    if bug.caught_by is GradientError:
        error = caught.value
        assert error.argument == bug.argument
        assert error.index is not None
        assert f"{bug.name}: the gradient of {bug.argument} at {list(error.index)}" in str(error)
        assert abs(error.analytic - error.numeric) > 1e-5 * max(abs(error.analytic), abs(error.numeric))
    else:
        assert not isinstance(caught.value, GradientError)
        assert f"{bug.name}: gradient of shape" in str(caught.value)


INPUTS = {(b.op, str(b.hyper), *map(id, b.arrays)): b for b in GALLERY}
"""One bug for each op and input: several bugs are planted on the same one, where the right op has to pass once."""


@pytest.mark.parametrize("bug", INPUTS.values(), ids=lambda b: b.name)
def test_the_right_op_passes_on_the_same_input(bug):
    report = gradcheck(bug.op, *bug.arrays, **bug.hyper)
    assert report.worst <= 1e-6
    assert not report.kinks
    assert report.coordinates == sum(
        a.size
        for i, a in enumerate(bug.arrays)
        if a is not None
        and a.dtype.kind == "f"
        and bug.op.arguments[min(i, len(bug.op.arguments) - 1)] not in bug.op.constants
    )


FIRST = {b.op: b for b in reversed(GALLERY) if b.caught_by is GradientError}


@pytest.mark.parametrize(
    "bug", thinned([b for b in GALLERY if b.caught_by is GradientError],
                   lambda b: any(b is first for first in list(FIRST.values())[::2])),           # one of every other op
    ids=lambda b: b.name)
def test_random_directions_catch_it_too(bug):
    with pytest.raises(GradientError, match="along a random direction"):
        gradcheck(planted(bug), *bug.arrays, directions=10, **bug.hyper)


# ---- primitives of the device: a bug below the ops is caught as well


@pytest.mark.parametrize(
    ("primitive", "wrong", "run"),
    [
        (
            "conv2d_dx",
            lambda right: lambda dy, w, g: right(dy, w[..., ::-1], g),
            lambda: gradcheck(ops.conv2d, X, W, B),
        ),
        (
            "conv2d_dw",
            lambda right: lambda dy, x, g: right(dy, x, g).swapaxes(2, 3),
            lambda: gradcheck(ops.conv2d, X, W, B),
        ),
        (
            "conv2d_dx",
            lambda right: lambda dy, w, g: _scatter(dy, w, g, lambda a, p: a.tap(p), accumulate=False),
            lambda: gradcheck(ops.conv2d, X, W, B),
        ),
        (
            "avg_pool2d_dx",
            lambda right: lambda dy, g, include: right(dy, g, not include),
            lambda: gradcheck(ops.avg_pool2d, MAP, kernel_size=3, stride=2, padding=1),
        ),
        (
            "batch_norm_sums",
            lambda right: lambda dy, x, mean, inv_std, **relu: right(dy, x, 0 * mean, inv_std, **relu),
            lambda: gradcheck(ops.batch_norm, FEATURES + 1, GAMMA, BETA),
        ),
        (
            "add_at",
            lambda right: lambda target, index, values: target.__setitem__(index, values),
            lambda: gradcheck(getitem, normal(4, 5), index=(np.array([0, 2, 0, 3]),)),
        ),
    ],
    ids=[
        "conv2d_dx-mirrored",
        "conv2d_dw-transposed",
        "conv2d_dx-not-accumulated",
        "avg_pool2d_dx-count",
        "batch_norm_sums-mean",
        "add_at-overwrites",
    ],
)
def test_a_wrong_primitive_is_caught(monkeypatch, both_paths, primitive, wrong, run):
    run()
    device = devices.get("cpu")
    monkeypatch.setattr(device, primitive, wrong(getattr(device, primitive)))
    with pytest.raises(GradientError):
        run()


def test_the_textbook_columns_are_what_the_gallery_is_built_on():
    """_scatter with the right taps is the right gradient, so that its variants have one bug and not two."""
    for hyper in ({}, _strided, _dilated):
        g = Conv2dGeometry.of(X.shape, W.shape, **hyper)
        dy = normal(g.N, g.O, g.OH, g.OW)
        np.testing.assert_allclose(_scatter(dy, W, g, lambda axis, p: axis.tap(p)), cpu.conv2d_dx(dy, W, g), atol=1e-12)
    assert im2col(X, _plain).shape == (3, 4, 3, 3, 4, 3)


# ---- a constant dy would hide them


@pytest.mark.parametrize(
    ("op_", "arrays"),
    [(ops.softmax, (LOGITS,)), (ops.batch_norm, (FEATURES, None, None))],
    ids=["softmax", "batch_norm"],
)
def test_a_constant_dy_hides_a_zero_backward_and_is_refused(op_, arrays):
    zero = planted(Bug("zero", op_, op_.arguments[0], arrays, lambda dy, x, *_: np.zeros_like(x)))

    def L(x):  # what a check with dy = 1 would look at, by hand
        return op_.__wrapped__(x, *arrays[1:])[0].sum()

    for index in [(0, 0, 0)[: arrays[0].ndim], (1, 2, 1)[: arrays[0].ndim]]:
        up, down = arrays[0].copy(), arrays[0].copy()
        up[index] += 1e-5
        down[index] -= 1e-5
        assert abs(L(up) - L(down)) / 2e-5 < 1e-9  # zero is "right"
    for checked in (op_, zero):
        with pytest.raises(ValueError, match=r"dy is constant \(=1\), which hides wrong gradients.*leave dy out"):
            gradcheck(checked, *arrays, dy=np.ones(op_(*arrays).shape))
    with pytest.raises(GradientError):
        gradcheck(zero, *arrays)


# ---- ties: finite differences have nothing to say there, so the rule is asserted exactly


def tied_windows(x, y_shape, windows):
    """dy = 1, 2, 3, … sent back by the rule: all of it to the first of the largest pixels of each window."""
    dx, dy = np.zeros_like(x), np.arange(1.0, np.prod(y_shape) + 1).reshape(y_shape)
    for place, pixels in windows:
        first = max(pixels, key=lambda index: x[index])  # max keeps the first of equals
        dx[first] += dy[place]
    return dy, dx


def box(n, c, rows, columns):
    return [(n, c, h, v) for h in rows for v in columns]


def _max_pool_windows(x):
    return [
        ((n, c, i, j), box(n, c, range(2 * i, 2 * i + 3), range(2 * j, 2 * j + 3)))
        for n in range(x.shape[0])
        for c in range(x.shape[1])
        for i in range(2)
        for j in range(3)
    ]


def _adaptive_windows(x):
    H, W = x.shape[2:]
    return [
        ((n, c, i, j), box(n, c, range(i * H // 2, -(-(i + 1) * H // 2)), range(j * W // 3, -(-(j + 1) * W // 3))))
        for n in range(x.shape[0])
        for c in range(x.shape[1])
        for i in range(2)
        for j in range(3)
    ]


def _global_windows(x):
    return [
        ((n, c), box(n, c, range(x.shape[2]), range(x.shape[3]))) for n in range(x.shape[0]) for c in range(x.shape[1])
    ]


def _row_windows(x):
    return [((n, c, h), [(n, c, h, v) for v in range(x.shape[3])]) for n, c, h in np.ndindex(x.shape[:3])]


TIED = [
    pytest.param(ops.max_pool2d, {"kernel_size": 3, "stride": 2}, (2, 2, 2, 3), _max_pool_windows, id="max_pool2d"),
    pytest.param(
        ops.adaptive_max_pool2d,
        {"output_size": (2, 3)},
        (2, 2, 2, 3),
        _adaptive_windows,
        id="adaptive_max_pool2d",
    ),
    pytest.param(ops.global_max_pool2d, {}, (2, 2), _global_windows, id="global_max_pool2d"),
    pytest.param(ops.max, {"axis": 3}, (2, 2, 5), _row_windows, id="max"),
]
TIED_INPUTS = {
    "all equal": np.zeros((2, 2, 5, 7)),
    "few values": np.random.default_rng(0).integers(0, 3, (2, 2, 5, 7)) * 1.0,
    "all minus infinity": np.full((2, 2, 5, 7), -np.inf),
}


def obeys_the_rule(op_, hyper, x, y_shape, windows):
    dy, expected = tied_windows(x, y_shape, windows(x))
    leaf = Tensor(x, True)
    op_(leaf, **hyper).backward(dy)
    return (leaf.grad == expected).all() and leaf.grad.sum() == dy.sum()


@pytest.mark.parametrize("values", TIED_INPUTS)
@pytest.mark.parametrize(("op_", "hyper", "y_shape", "windows"), TIED)
def test_ties_go_to_the_first(op_, hyper, y_shape, windows, values):
    assert obeys_the_rule(op_, hyper, TIED_INPUTS[values], y_shape, windows)


MISTAKES = ("to all of the largest", "to the last", "shared among them")


@pytest.mark.parametrize(("op_", "hyper", "y_shape", "windows", "mistake", "values"), [
    pytest.param(*op.values, mistake, values, id=f"{op.id}, {mistake}, {values}",
                 marks=() if (i + j + k) % 2 == 0 else pytest.mark.slow)
    for i, op in enumerate(TIED) for j, mistake in enumerate(MISTAKES)
    for k, values in enumerate(("all equal", "few values"))])     # each op and mistake, on one of two inputs in turn
def test_ties_broken_otherwise_are_caught(op_, hyper, y_shape, windows, mistake, values):
    def wrong(dy, x):
        dx = np.zeros_like(x)
        for place, pixels in windows(x):
            winners = [index for index in pixels if x[index] == max(x[i] for i in pixels)]
            for index in winners[-1:] if mistake == "to the last" else winners:
                dx[index] += dy[place] / (len(winners) if mistake.startswith("shared") else 1)
        return dx

    x = TIED_INPUTS[values]
    broken = planted(Bug("tied", op_, "x", (x,), wrong))
    assert not obeys_the_rule(broken, hyper, x, y_shape, windows)
    assert gradcheck(broken, apart(2, 2, 5, 7), **hyper).worst <= 1e-6  # without ties it is right
    try:
        report = gradcheck(broken, x, **hyper)  # with ties: kinks, left out and named
    except NothingCheckedError as nothing:
        report = nothing.report
    assert report.kinks


# ---- the engine: a gradient kept from an earlier backward


def stale_backward(kept):
    """Reverse mode as minicnn.tensor does it but for one thing: gradients stay in `kept` from one call to the next."""

    def backward(self, dy):
        order, seen = [], set()

        def visit(node):
            if id(node) not in seen:
                seen.add(id(node))
                for p in node._parents:
                    if isinstance(p, Tensor) and p.requires_grad:
                        visit(p)
                order.append(node)

        visit(self)
        kept[self] = dy
        for node in reversed(order):
            dy = kept[node]  # not pop
            if not node._op:
                node.grad = dy
            for p, vjp in zip(node._parents, node._vjps):
                if isinstance(p, Tensor) and p.requires_grad:
                    kept[p] = kept[p] + vjp(dy) if p in kept else vjp(dy)

    return backward


def accumulates(backward):
    """Two losses of the same weights, one backward each, add up to the gradient of their sum; by hand: 2·w·x² · dy."""
    x, w = np.array([1.0, 2.0, 3.0]), Tensor(np.array([0.5, -1.0, 2.0]), True)
    for dy in (np.array([1.0, 2.0, -1.0]), np.array([3.0, 0.5, 1.0])):
        product = w * x
        backward(product * product, dy)
    return np.allclose(w.grad, 2 * w.data * x**2 * np.array([4.0, 2.5, 0.0]), rtol=1e-15)


def shared_node_is_safe(backward):
    """Two losses of one inner node, a backward each: refused, or the sum of both gradients, (2·inner + 3)·c by hand."""
    w, c = Tensor(np.array([0.5, -1.0, 2.0]), True), np.array([1.0, 2.0, 3.0])
    inner = w * c
    first, second = inner * inner, inner * 3
    backward(first, np.ones(3))
    try:
        backward(second, np.ones(3))
    except RuntimeError as error:
        return "freed" in str(error)
    return np.allclose(w.grad, (2 * w.data * c + 3) * c, rtol=1e-15)


def test_accumulation_is_right_and_a_stale_gradient_shows():
    assert accumulates(Tensor.backward)
    assert shared_node_is_safe(Tensor.backward)
    assert not shared_node_is_safe(stale_backward({}))
