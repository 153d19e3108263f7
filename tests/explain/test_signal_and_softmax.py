"""The convolution of two functions against closed forms and a plain sum; the softmax against Python's math."""

import math
from fractions import Fraction

import numpy as np
import pytest

from minicnn import explain

FUNCTIONS = {"box": lambda t: 1.0 if 0 <= t <= 1 else 0.0, "ramp": lambda t: t if 0 <= t <= 1 else 0.0}


def test_the_box_and_the_ramp():
    """∫ from 0 to ½ of (½ − τ) dτ = 1/8, not ¼."""
    found = explain.conv1d()
    assert found.value == Fraction(1, 8)
    assert found.sampled == pytest.approx(0.125, abs=1e-9)
    assert found.overlap == (0, Fraction(1, 2))
    assert "1/8 = 0.125" in found.text()


@pytest.mark.parametrize("t", ["-1/2", "0", "1/3", "1/2", "1", "1.7", "2", "3"])
def test_closed_forms(t):
    """Box ∗ ramp: t²/2 up to 1, then (1 − (t − 1)²)/2 up to 2. Box ∗ box: t, then 2 − t."""
    s = Fraction(t)
    ramp = s**2 / 2 if 0 <= s <= 1 else (1 - (s - 1) ** 2) / 2 if 1 <= s <= 2 else 0
    assert explain.conv1d("box", "ramp", t).value == ramp
    assert explain.conv1d("ramp", "box", t).value == ramp, "a convolution may be read either way round"
    assert explain.conv1d("box", "box", t).value == max(0, min(s, 2 - s))


@pytest.mark.parametrize("f", FUNCTIONS)
@pytest.mark.parametrize("g", FUNCTIONS)
@pytest.mark.parametrize("t", [-0.4, 0.3, 0.5, 1.25, 1.9])
def test_against_a_plain_sum(f, g, t):
    n = 4000
    middles = [(k + 0.5) / n for k in range(n)]
    convolution = sum(FUNCTIONS[f](m) * FUNCTIONS[g](t - m) for m in middles) / n
    correlation = sum(FUNCTIONS[f](m) * FUNCTIONS[g](t + m) for m in middles) / n
    found = explain.conv1d(f, g, t, samples=n)
    assert float(found.value) == pytest.approx(convolution, abs=1e-3)
    assert float(found.correlation) == pytest.approx(correlation, abs=1e-3)
    assert found.sampled == pytest.approx(convolution, abs=1e-9)


def test_the_sliding_picture():
    """Each line: g alone before the box, the product inside both, the box alone behind."""
    frames = {frame.t: frame.picture for frame in explain.conv1d(steps=4).frames}
    assert len(frames) == 5
    assert frames[Fraction(0)].strip() == "/" * 12 + "_" * 12
    half = frames[Fraction(1, 2)]
    assert half.count("/") == 6
    assert half.count("_") == 6
    assert sum(sign in "▁▂▃▄▅▆▇█" for sign in half) == 6


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: explain.conv1d("sine"), "unknown function 'sine'"),
    (lambda: explain.conv1d(t="half"), "such as 0.5 or 1/2"),
    (lambda: explain.conv1d(t="1/0"), "such as 0.5 or 1/2"), (lambda: explain.conv1d(t=float("nan")), "such as 0.5"),
    (lambda: explain.conv1d(t=float("inf")), "such as 0.5"), (lambda: explain.conv1d(t=1e9), "from -1000 to 1000"),
    (lambda: explain.conv1d(samples=0), r"samples \(=0\)"), (lambda: explain.conv1d(steps=0), r"steps \(=0\)"),
    (lambda: explain.softmax([1.0]), "from 2 to 1000 finite numbers"),
    (lambda: explain.softmax([1.0, math.nan]), "finite numbers"),
    (lambda: explain.softmax([1, 2], label=2), r"label \(=2\) must be from 0 to 1"),
    (lambda: explain.softmax([1, 2], shift=math.inf), "shift"),
    (lambda: explain.softmax([1, 2], names=["a"]), "1 names"),
])  # fmt: skip
def test_what_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize("scores", [[2, 1, -1], [0, 0], [-3.5, 2.25, 7, 7], [30, -30]])
def test_softmax(scores):
    total = sum(math.exp(z) for z in scores)
    p = [math.exp(z) / total for z in scores]
    found = explain.softmax(scores, label=1, shift=-7)
    assert found.probabilities == pytest.approx(p)
    assert found.shifted == pytest.approx(p)
    assert found.naive == pytest.approx(p)
    assert found.loss == pytest.approx(-math.log(p[1]))
    assert found.gradient == pytest.approx([q - (k == 1) for k, q in enumerate(p)])
    assert found.powers == pytest.approx([math.exp(z - max(scores)) for z in scores])


def test_softmax_of_scores_that_overflow():
    found = explain.softmax([2000, 1999], label=1)
    assert found.probabilities == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e)])
    assert not np.isfinite(found.naive).all()
    assert "overflows" in found.text()
    far = explain.softmax([2000, 1], label=1)
    assert far.loss == 1999
    assert "10^300" in far.text()
    assert far.as_dict()["naive"] == [None, 0.0], "JSON has no NaN"
