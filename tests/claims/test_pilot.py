"""The pilot: the best rate on average, a grid that grows at its edge, and trainings that diverge."""

import pytest

from minicnn.claims.claim import Arm, Plan
from minicnn.claims.pilot import Pilot
from minicnn.nn import Flatten

PLAN = Plan(arms=(Arm("a", Flatten),), rates=(0.01, 0.03, 0.1), pilot_seeds=2)


def record(loss, diverged=False, **more):
    return {"diverged": diverged, "values": {"validation_error": loss}, "curve": [50.0, more.get("last", 40.0)]}


def run(losses, plan=PLAN):
    """The pilot when a rate's trainings give these losses. → (the pilot, the rates in the order of their rounds)"""
    pilot, rounds = Pilot.of(plan, plan.arms[0]), []
    while missing := pilot.missing():
        rounds.append(missing)
        for rate in missing:
            pilot.score(rate, [record(loss) if loss is not None else record(None, True) for loss in losses(rate)], plan)
    return pilot, rounds


def test_the_smallest_mean_wins():
    pilot, rounds = run({0.01: (1, 5), 0.03: (2, 3), 0.1: (2.4, 2.7)}.__getitem__)
    assert (pilot.best, pilot.at_edge, rounds) == (0.03, False, [[0.01, 0.03, 0.1]])
    assert pilot.scores == {0.01: 3, 0.03: 2.5, 0.1: pytest.approx(2.55)}


def test_the_grid_grows_beyond_a_best_rate_at_its_end_and_stops():
    pilot, rounds = run(lambda rate: (1 / rate, 1 / rate))
    assert rounds == [[0.01, 0.03, 0.1], [0.333], [1.11]]
    assert (pilot.best, pilot.at_edge) == (1.11, True), "two more rates, then the edge is reported"
    pilot, rounds = run(lambda rate: (abs(rate - 0.003),) * 2)
    assert rounds == [[0.01, 0.03, 0.1], [0.00333], [0.00111]]
    assert (pilot.best, pilot.at_edge) == (0.00333, False)


def test_a_rate_whose_training_diverged_is_the_worst():
    pilot, _ = run({0.01: (0.1, None), 0.03: (3, 3), 0.1: (4, 4)}.__getitem__)
    assert (pilot.best, pilot.scores[0.01]) == (0.03, None)


def test_a_rate_keeps_its_distance_from_those_that_fail():
    losses = {0.00111: (6, 6), 0.00333: (5, 5), 0.01: (3, 3), 0.03: (2, 2), 0.1: (0.1, None), 0.333: (9, 9)}
    pilot, rounds = run(losses.__getitem__)
    assert (pilot.best, rounds) == (0.01, [[0.01, 0.03, 0.1], [0.00333]]), "the next larger one of 0.03 fails"
    pilot, _ = run(lambda rate: (1, None))
    assert pilot.best == 0.00111, "where all fail there is nothing to keep away from"


def test_one_rate_needs_no_pilot_and_an_arm_may_have_its_own():
    plan = Plan(arms=(Arm("a", Flatten, settings={"rates": (0.5,)}),))
    pilot = Pilot.of(plan, plan.arms[0])
    assert (pilot.missing(), pilot.best, pilot.at_edge) == ([], 0.5, False)


def test_where_nobody_reaches_the_goal_the_last_error_decides():
    plan = Plan(arms=(Arm("a", Flatten),), rates=(0.01, 0.03, 0.1), goal=25.0, epochs=10, pilot_by="epochs")
    pilot = Pilot.of(plan, plan.arms[0])
    for rate, epochs, last in ((0.01, 10.0, 60.0), (0.03, 10.0, 30.0), (0.1, 10.0, 70.0)):
        pilot.score(rate, [{"diverged": False, "values": {"epochs": epochs}, "curve": [80.0, last]}], plan)
    assert pilot.best == 0.03
