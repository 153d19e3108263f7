"""The rule of the verdict, on numbers that are made up so that the right answer is known."""

import math

import pytest

from minicnn.claims.claim import FAILS, HOLDS, UNKNOWN, Arm, Claim, Comparison, Plan
from minicnn.claims.verdict import compare, judge, together
from minicnn.nn import Flatten

SEEDS = [1, 2, 3, 4]


def records(first, second, quantity="test_error", reached=((True,) * 4, (True,) * 4)):
    """The records of two arms whose quantities are these, seed by seed."""
    return {(arm, seed): {"values": {quantity: x}, "reached": done}
            for arm, xs, dones in (("a", first, reached[0]), ("b", second, reached[1]))
            for seed, x, done in zip(SEEDS, xs, dones)}  # fmt: skip


def verdict(first, second, level=0.95, quantity="test_error", reached=((True,) * 4, (True,) * 4), **more):
    c = Comparison("a is worse", ("a", quantity), ("b", quantity), **more)
    return compare(c, records(first, second, quantity, reached), SEEDS, level)


def test_where_neither_net_has_learned_nothing_is_told():
    c = Comparison("a is worse", ("a", "test_error"), ("b", "test_error"), at_least=1.0)
    both = records([90, 90, 90, 85], [90, 90, 90, 90])
    for diverged, expected in (((1, 2, 3), UNKNOWN), ((1, 2), FAILS)):   # in three of four seeds, and in half of them
        for arm in "ab":
            for seed in SEEDS:
                both[arm, seed]["diverged"] = seed in diverged
        assert compare(c, both, SEEDS, 0.5).verdict == expected
    one = {key: record | {"diverged": key[0] == "a"} for key, record in records([90, 90, 90, 89], [5, 6, 7, 5]).items()}
    assert compare(c, one, SEEDS).verdict == HOLDS, "one that fails where the other learns is a result"


def test_the_interval_is_of_the_paired_differences():
    # d = 1, 2, 3, 4: mean 2.5, s = √(5/3), t(0.975; 3) = 3.182446
    told = verdict([11, 22, 33, 44], [10, 20, 30, 40], at_least=0.0)
    half = 3.182446 * math.sqrt(5 / 3) / 2
    assert told.values == (1, 2, 3, 4)
    assert (told.estimate, told.low, told.high) == pytest.approx((2.5, 2.5 - half, 2.5 + half), abs=1e-6)
    assert told.verdict == HOLDS


@pytest.mark.parametrize(("threshold", "expected"), [(0.4, HOLDS), (0.5, UNKNOWN), (2.5, UNKNOWN), (4.5, UNKNOWN),
                                                     (4.6, FAILS)])  # fmt: skip
def test_it_holds_on_the_claimed_side_and_fails_on_the_other(threshold, expected):
    # the interval is 2.5 ± 2.0543
    first, second = [11, 22, 33, 44], [10, 20, 30, 40]
    assert verdict(first, second, at_least=threshold).verdict == expected
    opposite = {HOLDS: FAILS, FAILS: HOLDS, UNKNOWN: UNKNOWN}[expected]
    assert verdict(first, second, at_most=threshold).verdict == opposite


def test_a_ratio_has_the_interval_of_its_logarithm():
    told = verdict([20, 40, 80, 20], [10, 10, 10, 10], at_least=2.0, ratio=True)    # log₂: 1, 2, 3, 1
    half = 3.182446 * math.sqrt(11 / 12) / 2
    assert told.estimate == pytest.approx(2**1.75)
    assert (told.low, told.high) == pytest.approx((2 ** (1.75 - half), 2 ** (1.75 + half)), rel=1e-6)
    assert told.verdict == UNKNOWN
    assert verdict([20, 40, 80, 20], [10, 10, 10, 10], at_least=1.1, ratio=True).verdict == HOLDS


@pytest.mark.parametrize(("first_reached", "second_reached", "low", "high"), [
    # (bound, at a threshold below the interval, above it): a bound supports only the verdict that it implies
    ((True, True, False, True), (True,) * 4, HOLDS, UNKNOWN),          # the first takes even longer: d is at least this
    ((True,) * 4, (True, False, True, True), UNKNOWN, FAILS),          # the second takes longer: d is at most this
    ((False, True, True, True), (True, True, True, False), UNKNOWN, UNKNOWN),
])  # fmt: skip
def test_a_training_that_did_not_reach_the_goal_is_a_bound(first_reached, second_reached, low, high):
    first, second = [20, 22, 24, 23], [10, 11, 10, 10]
    reached = (first_reached, second_reached)
    below = verdict(first, second, quantity="epochs", reached=reached, at_least=1.5, ratio=True)
    above = verdict(first, second, quantity="epochs", reached=reached, at_least=4.0, ratio=True)
    assert (below.verdict, above.verdict) == (low, high)
    for told, expected in ((below, low), (above, high)):
        assert ("did not reach the goal" in told.reason) == (expected == UNKNOWN)
    assert below.bounded == sum(not (a and b) for a, b in zip(*reached))
    # at_most turns both around
    assert verdict(first, second, quantity="epochs", reached=reached, at_most=1.5, ratio=True).verdict == {
        HOLDS: FAILS, UNKNOWN: UNKNOWN}[low]  # fmt: skip


def test_identical_numbers_and_a_single_seed_tell_nothing():
    told = verdict([5, 6, 7, 8], [5, 6, 7, 8], at_least=0.5)
    assert (told.verdict, told.estimate) == (UNKNOWN, 0)
    assert "no spread" in told.reason
    ratio = verdict([10.0, 10.2, 10.4, 30.3], [5.0, 5.1, 5.2, 15.15], at_least=3.0, ratio=True)
    assert (ratio.verdict, "no spread" in ratio.reason) == (UNKNOWN, True), "2, but for rounding"
    one = compare(Comparison("a", ("a", "test_error"), at_least=1.0), records([9] * 4, [1] * 4), [1])
    assert (one.verdict, one.estimate) == (UNKNOWN, None)


def test_a_missing_quantity_tells_nothing():
    found = records([5, 6, 7, 8], [1, 2, 2, 3])
    found["b", 3]["values"] = {}
    told = compare(Comparison("a", ("a", "test_error"), ("b", "test_error"), at_least=0.5), found, SEEDS)
    assert (told.verdict, told.estimate) == (UNKNOWN, None)


def test_all_comparisons_must_hold_and_one_can_fail_the_claim():
    assert together([HOLDS, HOLDS]) == HOLDS
    assert together([HOLDS, UNKNOWN]) == UNKNOWN
    assert together([HOLDS, UNKNOWN, FAILS]) == FAILS


def claim(*comparisons):
    plan = Plan(arms=(Arm("a", Flatten), Arm("b", Flatten)))
    return Claim("c", "", "", comparisons, plan, plan, dict.fromkeys((HOLDS, FAILS, UNKNOWN), ""), "")


def test_several_comparisons_have_wider_intervals():
    # two comparisons: level 0.975, t(0.9875; 3) = 4.176535 (R: qt(0.9875, 3))
    c = Comparison("a is worse", ("a", "test_error"), ("b", "test_error"), at_least=0.4)
    found = records([11, 22, 33, 44], [10, 20, 30, 40])
    assert judge(claim(c), found, SEEDS)[0] == HOLDS
    said, told = judge(claim(c, c), found, SEEDS)
    assert told[0].low == pytest.approx(2.5 - 4.176535 * math.sqrt(5 / 3) / 2, abs=1e-5)
    assert said == UNKNOWN


def test_a_claim_with_a_mistake_is_refused():
    c = Comparison("a is worse", ("a", "test_error"), ("b", "test_error"), at_least=0.4)
    with pytest.raises(ValueError, match="one threshold, at_least or at_most"):
        Comparison("x", ("a", "test_error"), at_least=1.0, at_most=2.0)
    with pytest.raises(ValueError, match="a threshold above 0"):
        Comparison("x", ("a", "epochs"), ("b", "epochs"), at_least=0.0, ratio=True)
    with pytest.raises(ValueError, match="unknown arm 'd'"):
        claim(Comparison("x", ("d", "test_error"), at_least=1.0))
    with pytest.raises(ValueError, match="a sentence for each of holds"):
        Claim("c", "", "", (c,), claim(c).small, claim(c).small, {HOLDS: ""}, "")
