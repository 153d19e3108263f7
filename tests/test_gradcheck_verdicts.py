"""What the checker says where finite differences are hard: deep nets, several kinks, noise, random functions."""

import itertools

import numpy as np
import pytest

from minicnn import GradientError, Tensor, gradcheck, ops
from minicnn.differences import judge, noise, slope
from minicnn.gradient_check import NothingCheckedError, UnrepeatableError, check_directions
from minicnn.tensor import op

SIZES = [6, 8, 5, 5, 5, 5, 9, 4]
LABELS = np.array([3, 1])


@op
def spoilt(x, *, factor):
    return x * 1, lambda dy: dy * factor


def net(x, *parameters, factor=1.0):
    half = len(parameters) // 2
    for i in range(half):
        x = ops.linear(x, parameters[i], parameters[half + i])
        x = spoilt(ops.relu(x), factor=factor) if i < half - 1 else x
    return ops.cross_entropy(x, LABELS)


def parameters(seed, weights, biases):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(2, SIZES[0])),
            *(rng.normal(size=(o, i)) * weights for i, o in itertools.pairwise(SIZES)),
            *(rng.normal(size=o) * biases for o in SIZES[1:]))


@pytest.mark.parametrize("biases", [0.0, 0.1])
@pytest.mark.parametrize("weights", [0.05, 0.4])
def test_a_deep_net_is_no_alarm(weights, biases):
    """Gradients down to 1e-10, ReLUs within 1e-10 of their kinks: the gradients are the chain rule's (PyTorch's)."""
    given = parameters(0, weights, biases)
    report = gradcheck(net, *given)
    left_out = len(report.kinks) + len(report.unclear)
    assert report.coordinates + left_out == sum(a.size for a in given)
    assert report.coordinates > 0.9 * sum(a.size for a in given)
    assert report.worst <= 1e-6


@pytest.mark.parametrize("factor", [1 + 1e-4, 1 - 1e-4, 1.5, 0.0])
def test_a_small_error_in_a_deep_net_is_caught(factor):
    with pytest.raises(GradientError, match="net: the gradient of"):
        gradcheck(net, *parameters(1, 0.4, 0.1), factor=factor)


def test_gradients_that_drown_in_round_off_are_counted():
    report = gradcheck(lambda x: (x * 1e-13).sum() + 1.0, np.array([1.0, 2.0]))
    assert report.faint == report.coordinates == 2


def test_kinks_that_cancel_within_the_step_are_kinks():
    """|x − 1e-8| − |x + 1e-8|: slope −2 at 0, 0 on both sides; one segment of the samples holds both kinks."""
    def two(x):
        return ((x - 1e-8).abs() - (x + 1e-8).abs()).sum()

    with pytest.raises(NothingCheckedError) as caught:
        gradcheck(two, np.array([0.0]))
    assert caught.value.report.kinks == ["x[0]"]

    @op
    def wrong(x):
        return abs(x - 1e-8) - abs(x + 1e-8), lambda dy: dy * 7.0

    with pytest.raises(GradientError):
        gradcheck(wrong, np.array([0.0]))


def test_many_kinks_within_the_step():
    """Corners 1e-6 apart: too many to tell; the sawtooth's own slope is not called wrong."""
    def saw(x):
        return sum((x - 1e-6 * i).abs() for i in range(-12, 13)).sum()

    with pytest.raises(NothingCheckedError):
        gradcheck(saw, np.array([3e-7]))


def test_noise_is_measured():
    rng = np.random.default_rng(0)
    measured = noise(lambda t: np.array([np.sin(1 + t), 5.0]) + 1e-9 * rng.standard_normal(2))
    np.testing.assert_allclose(measured.terms, 1e-9, rtol=0.8)
    assert 0.3e-9 < measured.total < 4e-9


def test_a_slope_and_its_uncertainty():
    def terms(t):
        return np.array([np.exp(t), -np.cos(2 + t)])

    found = slope(terms, 1e-3, noise(terms))
    assert abs(found.value - (1 + np.sin(2))) <= found.uncertainty < 1e-9
    assert found.jumps == 0

    def corner(t):
        return np.array([3 * abs(t - 2e-4), -3 * abs(t + 2e-4), t])

    assert slope(corner, 1e-3, noise(corner)).jumps == pytest.approx(12, rel=1e-6)   # 6 each, though their sum is 0


def test_a_function_in_float32_is_judged_by_its_noise():
    def terms(t):
        return np.array([float(np.sin(np.float32(1 + t)))])

    found = noise(terms)
    assert judge(terms, np.cos(1), 1e-5, 0.5, 1e-6, found).kind != "wrong"


# ----------------------------------------------------------------------------------------- no gradient to compare with


def test_a_function_that_changes_its_argument_is_named():
    def shifts(x, w):
        w.data *= 2
        return (x * w).sum()

    with pytest.raises(UnrepeatableError, match=r"^shifts changes its argument w in place"):
        gradcheck(shifts, np.ones(2), np.ones(2))

    def shuffles(logits, labels):
        labels[0] = 1 - labels[0]
        return ops.cross_entropy(logits, labels)

    with pytest.raises(UnrepeatableError, match=r"^shuffles changes its argument labels in place"):
        gradcheck(shuffles, np.eye(2), np.array([0, 1]))


@pytest.mark.parametrize("directions", [0, 3])
def test_a_random_function_is_named(directions):
    rng = np.random.default_rng(0)

    def noisy(x):
        return x * rng.standard_normal(x.shape)

    with pytest.raises(UnrepeatableError, match=r"^noisy returns different values for the same arguments: "):
        gradcheck(noisy, np.ones(3), directions=directions)


def test_a_net_with_dropout_in_training_is_named():
    from minicnn import nn

    layers = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5)).astype("float64")
    x = Tensor(np.ones((2, 3)))
    with pytest.raises(UnrepeatableError, match=r"call eval\(\) on a net with dropout"):
        check_directions(lambda: layers(x), layers.named_parameters())
    layers.eval()
    assert check_directions(lambda: layers(x), layers.named_parameters()).worst <= 1e-6


def test_nothing_checked_is_an_error():
    @op
    def no_mask(x):
        return np.maximum(x, 0), lambda dy: dy

    with pytest.raises(NothingCheckedError, match=r"no_mask: nothing was checked: all 2 were left out \(x\[0\], x"):
        gradcheck(no_mask, np.zeros(2))
    with pytest.raises(GradientError):
        gradcheck(no_mask, np.array([0.0, -1.0]))
    with pytest.raises(NothingCheckedError, match="the arrays are empty"):
        gradcheck(ops.relu, np.ones((0, 3)))
