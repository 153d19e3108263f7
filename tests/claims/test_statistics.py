"""The intervals, against published quantiles, closed forms and a bootstrap over every possible sample."""

import itertools
import math

import numpy as np
import pytest

from minicnn.claims.statistics import beta_ratio, bootstrap_interval, t_distribution, t_interval, t_quantile
from tests.claims.coverage import share

# Fisher & Yates 1963, "Statistical tables", table III, as printed to three decimals in most textbooks
TABLE = {(0.975, 1): 12.706, (0.975, 2): 4.303, (0.975, 3): 3.182, (0.975, 4): 2.776, (0.975, 5): 2.571,
         (0.975, 9): 2.262, (0.975, 10): 2.228, (0.975, 19): 2.093, (0.975, 30): 2.042, (0.975, 120): 1.980,
         (0.95, 4): 2.132, (0.95, 9): 1.833, (0.995, 4): 4.604, (0.995, 9): 3.250, (0.90, 2): 1.886}  # fmt: skip


@pytest.mark.parametrize(("p", "degrees"), TABLE)
def test_the_quantiles_are_the_published_ones(p, degrees):
    assert t_quantile(p, degrees) == pytest.approx(TABLE[p, degrees], abs=5.1e-4)
    assert t_quantile(1 - p, degrees) == -t_quantile(p, degrees)


@pytest.mark.parametrize("p", [0.5001, 0.6, 0.9, 0.975, 0.9875, 0.999, 0.9999])
def test_the_quantiles_of_one_two_and_four_degrees_have_closed_forms(p):
    # Shaw 2006, "Sampling Student's t distribution", §4: ν = 1, 2, 4
    a = 4 * p * (1 - p)
    assert t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-9)
    assert t_quantile(p, 2) == pytest.approx((2 * p - 1) * math.sqrt(2 / a), rel=1e-9)
    four = 2 * math.sqrt(math.cos(math.acos(math.sqrt(a)) / 3) / math.sqrt(a) - 1)
    assert t_quantile(p, 4) == pytest.approx(four, rel=1e-6)


def test_the_quantile_is_the_inverse_of_the_distribution():
    for p, degrees in itertools.product((0.51, 0.7, 0.95, 0.9983), (1, 3, 8, 40, 500)):
        assert t_distribution(t_quantile(p, degrees), degrees) == pytest.approx(p, abs=1e-12)


def test_many_degrees_are_the_normal_distribution():
    assert t_quantile(0.975, 10**7) == pytest.approx(1.959964, abs=1e-5)


@pytest.mark.parametrize("x", [0.0, 0.01, 0.3, 0.5, 0.9, 0.999, 1.0])
def test_the_beta_ratio_has_closed_forms(x):
    assert beta_ratio(x, 1, 3) == pytest.approx(1 - (1 - x) ** 3, abs=1e-12)
    assert beta_ratio(x, 4, 1) == pytest.approx(x**4, abs=1e-12)
    assert beta_ratio(x, 0.5, 0.5) == pytest.approx(2 / math.pi * math.asin(math.sqrt(x)), abs=1e-12)
    binomial = sum(math.comb(6, k) * x**k * (1 - x) ** (6 - k) for k in range(3, 7))       # A&S 26.5.24
    assert beta_ratio(x, 3, 4) == pytest.approx(binomial, abs=1e-12)


def test_the_t_interval_of_a_published_example():
    # Student 1908, "The probable error of a mean", the hours of sleep gained, laevo − dextro: mean 1.58, s 1.23 (n − 1)
    gained = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    mean, low, high = t_interval(gained)
    assert mean == pytest.approx(1.58)
    assert (low, high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)  # as R's t.test(…, paired = TRUE) prints it


def test_the_bootstrap_is_that_over_every_possible_sample():
    """With four numbers there are 256 samples: their quantiles are known exactly, up to those of the drawn ones."""
    x = np.array([1.0, 2.0, 4.0, 9.0])
    t = []
    for chosen in itertools.product(x, repeat=4):
        spread = np.std(chosen, ddof=1)
        if spread:
            t.append((np.mean(chosen) - x.mean()) / (spread / 2))
    error = x.std(ddof=1) / 2
    mean, low, high = bootstrap_interval(x, 0.8)
    assert mean == 4.0
    assert low == pytest.approx(4 - np.quantile(t, 0.9) * error, abs=0.05 * error)
    assert high == pytest.approx(4 - np.quantile(t, 0.1) * error, abs=0.15 * error)
    assert high - mean > 1.5 * (mean - low), "the long tail of x is above, so the interval must reach further up"


def test_intervals_are_repeatable_and_need_two_numbers():
    x = [0.3, 0.1, 0.7, 0.2]
    assert bootstrap_interval(x) == bootstrap_interval(x)
    assert bootstrap_interval([2.0, 2.0]) == (2.0, 2.0, 2.0)
    for interval in (t_interval, bootstrap_interval):
        with pytest.raises(ValueError, match="at least two numbers, not 1: run more seeds"):
            interval([1.0])
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        t_quantile(1.0, 3)


def test_the_interval_covers_the_mean_of_normal_numbers():
    # 2,000 samples: the share is within 3 standard errors, √(0.95·0.05/2000), of 0.95
    assert share("normal", 5, "t", 2000) == pytest.approx(0.95, abs=0.0146)


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 10])
def test_the_bootstrap_covers_skewed_numbers_at_least_as_often_as_t(n):
    assert share("skewed", n, "bootstrap", 2000) >= share("skewed", n, "t", 2000) - 0.01
