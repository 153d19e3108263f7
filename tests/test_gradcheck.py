"""The checker itself: it must not cry wolf, must not sleep, and must say what it saw."""

import numpy as np
import pytest

from minicnn import GradientError, Tensor, gradcheck
from minicnn.gradient_check import LARGEST, NothingCheckedError, Report, check_directions, sweep
from minicnn.ops import add
from minicnn.ops.activation import hardswish, leaky_relu, relu, relu6, tanh
from minicnn.ops.adaptive_pool import adaptive_max_pool2d, global_max_pool2d
from minicnn.ops.arithmetic import exp
from minicnn.ops.batch_norm import batch_norm
from minicnn.ops.conv import conv2d
from minicnn.ops.linear import linear
from minicnn.ops.pool import max_pool2d
from minicnn.ops.softmax import cross_entropy, softmax
from minicnn.tensor import op
from tests.thinned import thinned


@op
def cube(x):
    return x**3, lambda dy: dy * 3 * x**2


@op
def wrong_in_one_place(x, w):
    """x·w, but dw is off by 1 % at [1, 2]."""

    def dw(dy):
        dw = dy * x
        dw[1, 2] *= 1.01
        return dw

    return x * w, (lambda dy: dy * w, dw)


# -------------------------------------------------------------------------------------------------------- what it says


def test_the_report_counts_what_it_compared(rng):
    report = gradcheck(linear, rng.standard_normal((3, 4)), rng.standard_normal((5, 4)), rng.standard_normal(5))
    assert isinstance(report, Report)
    assert report.function == "linear"
    assert report.coordinates == 12 + 20 + 5
    assert report.kinks == []
    assert 0 < report.worst < 1e-8


def test_the_error_names_argument_index_and_both_numbers(rng):
    x, w = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    with pytest.raises(GradientError) as caught:
        gradcheck(wrong_in_one_place, x, w)
    error = caught.value
    assert isinstance(error, AssertionError)
    assert error.argument == "w"
    assert error.index == (1, 2)
    assert error.analytic == pytest.approx(1.01 * error.numeric, rel=1e-7)
    said = (
        f"wrong_in_one_place: the gradient of w at [1, 2] is {error.analytic:.9g}, but finite differences give "
        f"{error.numeric:.9g}: relative error "
    )
    assert str(error).startswith(said)
    assert str(error).endswith(", allowed 1e-06")


def test_the_worst_place_is_the_one_that_is_named(rng):
    @op
    def worse_and_worse(x):
        return x * 2, lambda dy: dy * 2 * (1 + np.arange(5) * 0.01)

    with pytest.raises(GradientError) as caught:
        gradcheck(worse_and_worse, rng.standard_normal(5))
    assert caught.value.index == (4,)


def test_variadic_arguments_are_numbered():
    @op
    def total(*xs):
        return xs[0] + xs[1] + xs[2], (lambda dy: dy, lambda dy: dy * 2, lambda dy: dy)

    with pytest.raises(GradientError, match=r"the gradient of xs\[1\] at \[[01]\]") as caught:
        gradcheck(total, *(np.array([1.0, 2.0]) for _ in range(3)))
    assert caught.value.argument == "xs[1]"


def test_a_nan_gradient_is_an_error():
    @op
    def poisoned(x):
        return x * 1, lambda dy: dy * np.nan

    with pytest.raises(GradientError, match="is nan, but finite differences give"):
        gradcheck(poisoned, np.array([1.0, 2.0]))
    with pytest.raises(GradientError, match="is nan"):
        gradcheck(poisoned, np.array([1.0, 2.0]), directions=2)


@pytest.mark.parametrize("factor", [1 + 1e-5, 1 - 1e-5, -1, 0, 2])
def test_a_wrong_factor_is_seen_down_to_1e_5(rng, factor):
    @op
    def scaled(x):
        return np.sin(x), lambda dy: dy * np.cos(x) * factor

    with pytest.raises(GradientError):
        gradcheck(scaled, rng.standard_normal((3, 4)))


def test_tolerance_and_seed_are_heeded(rng):
    x = rng.standard_normal((2, 3))
    assert 1e-6 < gradcheck(wrong_in_one_place, x, x + 1, tolerance=0.1).worst < 0.01
    assert gradcheck(cube, x, seed=1).worst == gradcheck(cube, x, seed=1).worst
    assert gradcheck(cube, x, seed=1).worst != gradcheck(cube, x, seed=2).worst


# --------------------------------------------------------------------------------------------------------------- kinks


@pytest.mark.parametrize("offset", [0.0, 3e-6, -3e-6, 1e-5 / 3, -1e-5 / 3, 9e-6, -9.9e-6])
def test_relu_at_its_corner_is_left_out_and_named(offset):
    x = np.array([[1.0, -2.0, 0.5, 3.0], [0.7, offset, -1.0, 2.0]])
    report = gradcheck(relu, x)
    assert report.kinks == ["x[1, 1]"]
    assert report.coordinates == 7
    assert report.worst <= 1e-6


def test_beyond_the_step_there_is_no_kink():
    report = gradcheck(relu, np.array([1.0, 1.1e-5, -1.1e-5]))
    assert report.kinks == []
    assert report.coordinates == 3


def test_max_pool_ties_are_left_out_and_named():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    x[0, 0, 1, 0] = x[0, 0, 1, 1]  # a tie in the first window; its winner is the first
    report = gradcheck(max_pool2d, x, kernel_size=2)
    assert report.kinks == ["x[0, 0, 1, 0]", "x[0, 0, 1, 1]"]
    assert report.coordinates == 14


def test_a_wrong_slope_beside_a_kink_is_still_caught():
    """A kink excuses its own coordinate and by no more than its jump."""

    @op
    def doubled(x):
        return np.maximum(x, 0), lambda dy: dy * (x > 0) * 2

    with pytest.raises(GradientError):
        gradcheck(doubled, np.array([0.0, 1.0]))

    @op
    def far_off(x):
        return np.maximum(x, 0), lambda dy: dy * ((x > 0) + 10.0 * (x == 0))

    with pytest.raises(GradientError, match=r"at \[0\]"):
        gradcheck(far_off, np.array([0.0, 1.0]))


@pytest.mark.parametrize("seed", thinned(range(200), lambda seed: seed < 10))  # each draws 12 corners
def test_no_false_alarm_among_kinks(seed):
    """Inputs that sit on kinks and ties, near them, and far; every op here is right, so nothing may be raised."""
    rng = np.random.default_rng(seed)
    corners = rng.choice([-3.0, 0.0, 3.0, 6.0], (3, 4))
    x = corners + rng.choice([0.0, 1e-7, 2e-6, -4e-6, 1e-5, -1e-5, 2e-5, 0.3], (3, 4))
    for f in (relu, relu6, leaky_relu, hardswish):
        report = gradcheck(f, x, seed=seed)
        assert report.coordinates + len(report.kinks) == 12
    images = rng.integers(0, 3, (1, 2, 5, 6)) + rng.choice([0.0, 3e-6, -8e-6, 0.2], (1, 2, 5, 6))
    gradcheck(max_pool2d, images, kernel_size=3, stride=int(rng.integers(1, 4)), padding=1, seed=seed)
    gradcheck(adaptive_max_pool2d, images, output_size=(3, 4), seed=seed)
    gradcheck(global_max_pool2d, images, seed=seed)
    gradcheck(lambda x, w: relu(conv2d(x, w)), images, rng.integers(-1, 2, (2, 2, 2, 3)) * 1.0, seed=seed)


def test_a_small_gradient_beside_large_ones_is_no_alarm():
    """exp spans ten decades here: the small slopes are judged by the round-off of the large sum."""
    assert gradcheck(exp, np.array([-12.0, -3.0, 0.0, 4.0, 10.0])).worst <= 1e-6


def test_a_gradient_that_is_zero_throughout():
    assert gradcheck(lambda x: softmax(x).sum(-1), np.random.default_rng(0).standard_normal((3, 4))).worst <= 1e-6


# ----------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("value", [1.0, -2.5, 0.0])
def test_a_constant_dy_is_refused(value):
    with pytest.raises(
        ValueError,
        match=rf"dy is constant \(={value:g}\), which hides wrong gradients: softmax and batch norm "
        "pass it with a backward of zeros; leave dy out for a random one",
    ):
        gradcheck(softmax, np.eye(3), dy=np.full((3, 3), value))
    with pytest.raises(ValueError, match="dy is constant"):
        gradcheck(softmax, np.eye(3), dy=np.full((3, 3), value), directions=3)


def test_a_constant_dy_is_fine_for_a_scalar():
    assert gradcheck(lambda x: (x * x).sum(), np.array([1.0, 2.0]), dy=np.array(1.0)).worst <= 1e-6


def test_dy_of_the_wrong_shape():
    with pytest.raises(
        ValueError, match=r"gradcheck: dy has shape \(3,\), but the output has shape \(2, 3\): they must be the same"
    ):
        gradcheck(exp, np.ones((2, 3)), dy=np.arange(3.0))


def test_a_given_dy_is_used():
    @op
    def wrong_for_the_second(x):
        return x * 1, lambda dy: dy * np.array([1.0, 7.0])

    x = np.array([1.0, 2.0])
    assert gradcheck(wrong_for_the_second, x, dy=np.array([1.0, 0.0])).worst <= 1e-6
    with pytest.raises(GradientError, match=r"at \[1\] is 14, but finite differences give 2"):
        gradcheck(wrong_for_the_second, x, dy=np.array([1.0, 2.0]))


def test_too_large_is_refused_with_the_way_out():
    x = np.ones(LARGEST + 1)
    with pytest.raises(
        ValueError,
        match=r"gradcheck: 20,001 elements would need 40,002 evaluations \(at most 20,000 elements\): "
        r"use a smaller input, or directions=10",
    ):
        gradcheck(cube, x)
    assert gradcheck(cube, x, directions=3).coordinates == 3


def test_nothing_to_check():
    with pytest.raises(ValueError, match="gradcheck: relu got no floating-point array to differentiate"):
        gradcheck(relu, np.array([1, 2]))
    with pytest.raises(ValueError, match="no floating-point array"):
        gradcheck(add, 1.0, 2.0)


# -------------------------------------------------------------------------------------------------- directions, sweep


def test_directions_pass_a_right_gradient_and_catch_a_wrong_one(rng):
    x, w = rng.standard_normal((2, 3, 8, 7)), rng.standard_normal((4, 3, 3, 2))
    report = gradcheck(conv2d, x, w, None, directions=20)
    assert report.coordinates == 20
    assert report.worst <= 1e-6
    with pytest.raises(
        GradientError, match=r"wrong_in_one_place: the gradient of all arguments together along a random direction is"
    ):
        gradcheck(wrong_in_one_place, rng.standard_normal((2, 3)), rng.standard_normal((2, 3)), directions=5)


def test_directions_leave_a_kink_out():
    with pytest.raises(NothingCheckedError, match="relu: nothing was checked: all 4 were left out") as caught:
        gradcheck(relu, np.array([0.0, 1.0, -1.0]), directions=4)
    assert caught.value.report.kinks == [f"direction {i}" for i in range(4)]


def test_check_directions_on_a_net_of_leaves(rng):
    leaves = {"w": Tensor(rng.standard_normal((4, 3)), True), "b": Tensor(rng.standard_normal(4), True)}
    x, labels = rng.standard_normal((5, 3)), np.array([0, 1, 2, 3, 0])
    before = {k: t.data.copy() for k, t in leaves.items()}

    def net():
        return cross_entropy(tanh(linear(x, leaves["w"], leaves["b"])), labels)

    assert check_directions(net, leaves, name="net").worst <= 1e-6
    for k, t in leaves.items():
        np.testing.assert_array_equal(t.data, before[k])
        assert t.grad is None
    forgotten = {"w": leaves["w"], "b": leaves["b"]}
    with pytest.raises(GradientError, match="net: the gradient of all arguments together"):
        check_directions(
            lambda: cross_entropy(linear(x, leaves["w"], leaves["b"].detach() * leaves["b"]), labels),
            forgotten,
            name="net",
        )


@pytest.mark.parametrize("f", [exp, tanh, cube], ids=lambda f: f.__name__)
def test_the_sweep_is_a_v(rng, f):
    points = dict(sweep(f, rng.standard_normal((3, 4))))
    steps = sorted(points)
    best = min(points, key=points.get)
    assert points[best] <= 1e-9
    assert 1e-7 < best < 1e-3
    assert points[steps[-1]] > 1e4 * points[best]  # too far: truncation
    assert points[steps[0]] > 1e4 * points[best]  # too near: round-off
    # on the right arm the error falls as h²: a decade of h is two decades of error
    assert points[steps[-1]] / points[min(steps, key=lambda h: abs(h - 0.01))] == pytest.approx(100, rel=0.2)


def test_the_sweep_of_a_wrong_gradient_has_a_floor():
    @op
    def off(x):
        return np.exp(x), lambda dy: dy * np.exp(x) * 1.001

    assert min(error for _, error in sweep(off, np.array([0.3, -0.4]))) > 5e-4


# ------------------------------------------------------------------------------------------------ what may be checked


def test_a_plain_function_of_tensors(rng):
    def my_loss(prediction, target):
        difference = prediction - target
        return (difference * difference).mean() + (prediction * 0.1).sum()

    report = gradcheck(my_loss, rng.standard_normal((3, 4)), rng.standard_normal((3, 4)))
    assert report.function == "my_loss"
    assert report.coordinates == 24

    def cut_off(x, scale):
        return x * scale.detach() * scale  # half of scale's gradient is lost

    with pytest.raises(GradientError, match="cut_off: the gradient of scale at"):
        gradcheck(cut_off, rng.standard_normal(3), rng.standard_normal(3))


def test_an_object_that_can_be_called(rng):
    class Affine:
        def __call__(self, x, w):
            return x * w + 1

    assert gradcheck(Affine(), rng.standard_normal(3), rng.standard_normal(3)).function == "Affine"


def test_float32_inputs_are_checked_in_float64(rng):
    seen = []

    def watched(x):
        seen.append(x.dtype)
        return tanh(x)

    x = rng.standard_normal((3, 4)).astype(np.float32)
    assert gradcheck(watched, x).worst <= 1e-8  # float32 itself would reach 1e-2
    assert set(seen) == {np.dtype(np.float64)}
    assert x.dtype == np.float32


def test_integers_and_none_are_passed_on(rng):
    labels = np.array([0, 2, 1])
    report = gradcheck(cross_entropy, rng.standard_normal((3, 4)), labels, label_smoothing=0.1)
    assert report.coordinates == 12
    assert gradcheck(batch_norm, rng.standard_normal((4, 3)), None, None).coordinates == 12
    assert gradcheck(batch_norm, rng.standard_normal((4, 3)), None, rng.standard_normal(3)).coordinates == 15


def test_the_callers_arrays_are_not_touched(rng):
    x = rng.standard_normal((3, 4))
    before = x.copy()
    gradcheck(cube, x)
    np.testing.assert_array_equal(x, before)
    x.flags.writeable = False
    gradcheck(cube, x)


def test_dy_is_not_drawn_from_the_callers_stream():
    """Inputs of default_rng(seed) and dy of the same seed would be equal, and with dy = x batch norm's dx vanishes."""
    x = np.random.default_rng(0).standard_normal((6, 3))

    @op
    def zero_batch_norm(x):
        y, _, _ = batch_norm.__wrapped__(x, eps=1e-14)  # a larger eps would give it away
        return y, lambda dy: np.zeros_like(x)

    with pytest.raises(GradientError):
        gradcheck(zero_batch_norm, x, seed=0)
