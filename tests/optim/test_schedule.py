"""Schedules against closed forms, and against torch where it is."""

import math

import numpy as np
import pytest

from minicnn import optim
from tests.optim.test_optim import fresh, steps


def rates(make, count, lrs=(0.4, 0.01)):
    """The learning rates of two groups, before each of `count` steps."""
    optimizer = optim.SGD([{"params": [fresh()], "lr": lr} for lr in lrs], lr=1.0)
    schedule = make(optimizer)
    for _ in range(count):
        yield [g["lr"] for g in optimizer.param_groups]
        schedule.step()


CLOSED = {
    "constant": (optim.ConstantLR, lambda t, lr: lr),
    "step": (lambda o: optim.StepLR(o, 4, gamma=0.3), lambda t, lr: lr * 0.3 ** (t // 4)),
    "milestones": (lambda o: optim.MultiStepLR(o, [9, 3, 6], gamma=0.5),
                   lambda t, lr: lr * 0.5 ** ((t >= 3) + (t >= 6) + (t >= 9))),
    "cosine": (lambda o: optim.CosineAnnealingLR(o, 10, eta_min=0.002),
               lambda t, lr: 0.002 + (lr - 0.002) * (1 + math.cos(math.pi * min(t, 10) / 10)) / 2),
    "a line": (lambda o: optim.PolynomialLR(o, 10), lambda t, lr: lr * max(0, 1 - t / 10)),
    "a polynomial": (lambda o: optim.PolynomialLR(o, 12, power=2.5), lambda t, lr: lr * max(0, 1 - t / 12) ** 2.5),
    "exponential": (lambda o: optim.ExponentialLR(o, 0.8), lambda t, lr: lr * 0.8**t),
    "one cycle": (lambda o: optim.OneCycleLR(o, 11, pct_start=4 / 11, div_factor=10, final_div_factor=100),
                  lambda t, lr: lr * (0.55 - 0.45 * math.cos(math.pi * t / 3) if t <= 3 else
                                      0.5005 + 0.4995 * math.cos(math.pi * min(t - 3, 7) / 7))),
    "warm-up": (lambda o: optim.WarmUp(optim.ConstantLR(o), 5), lambda t, lr: lr * min(1, 0.1 + 0.9 * t / 5)),
    "warm-up from 0": (lambda o: optim.WarmUp(optim.ConstantLR(o), 4, start=0.0), lambda t, lr: lr * min(1, t / 4)),
    "no warm-up": (lambda o: optim.WarmUp(optim.StepLR(o, 3), 0), lambda t, lr: lr * 0.1 ** (t // 3)),
    "warm-up, cosine": (lambda o: optim.WarmUp(optim.CosineAnnealingLR(o, 8), 3),
                        lambda t, lr: lr * (0.1 + 0.3 * t if t < 3 else
                                            (1 + math.cos(math.pi * min(t - 3, 8) / 8)) / 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSED)
def test_schedule_is_its_closed_form(name):
    make, formula = CLOSED[name]
    for t, got in enumerate(rates(make, 15)):
        np.testing.assert_allclose(got, [formula(t, 0.4), formula(t, 0.01)], rtol=1e-12, atol=1e-18, err_msg=f"t = {t}")


def test_one_cycle_is_by_default_that_of_pytorch():
    """A 25th at the start, the whole after 30 % of the steps, and 10⁻⁴ of the start at the end."""
    found = [got for got, in rates(lambda o: optim.OneCycleLR(o, 20), 20, lrs=(0.4,))]
    assert (found[0], found[5], found[-1]) == pytest.approx((0.4 / 25, 0.4, 0.4 / 25e4))


def test_the_cosine_ends_at_eta_min_and_stays():
    *_, before, last, after = rates(lambda o: optim.CosineAnnealingLR(o, 5, eta_min=1e-3), 7, lrs=(0.4,))
    assert last == after == [pytest.approx(1e-3, rel=1e-12)]
    assert before[0] > 1e-3


@pytest.mark.parametrize(("name", "hyper"), [
    ("StepLR", {"step_size": 3, "gamma": 0.5}), ("StepLR", {"step_size": 1}),
    ("MultiStepLR", {"milestones": [2, 5, 5], "gamma": 0.3}),
    ("PolynomialLR", {"total_iters": 8, "power": 1.5}), ("ExponentialLR", {"gamma": 0.7}),
    ("CosineAnnealingLR", {"T_max": 12}), ("CosineAnnealingLR", {"T_max": 12, "eta_min": 0.003})], ids=str)  # fmt: skip
def test_schedule_against_torch(name, hyper):
    torch = pytest.importorskip("torch")
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.4, 0.01)]
    theirs_optimizer = torch.optim.SGD(groups, lr=1.0)
    theirs = getattr(torch.optim.lr_scheduler, name)(theirs_optimizer, **hyper)
    for got in rates(lambda o: getattr(optim, name)(o, **hyper), 13):
        np.testing.assert_allclose(got, [g["lr"] for g in theirs_optimizer.param_groups], rtol=1e-9, atol=1e-12)
        theirs_optimizer.step()
        theirs.step()


@pytest.mark.parametrize("hyper", [{}, {"pct_start": 0.45, "div_factor": 7.0, "final_div_factor": 50.0}], ids=str)
def test_one_cycle_against_torch(hyper):
    torch = pytest.importorskip("torch")
    groups = [{"params": [torch.zeros(1, requires_grad=True)]} for _ in range(2)]
    theirs_optimizer = torch.optim.SGD(groups, lr=1.0, momentum=0.9)
    theirs = torch.optim.lr_scheduler.OneCycleLR(theirs_optimizer, [0.4, 0.01], 20, cycle_momentum=False, **hyper)
    for t, got in enumerate(rates(lambda o: optim.OneCycleLR(o, 20, **hyper), 20)):
        np.testing.assert_allclose(got, [g["lr"] for g in theirs_optimizer.param_groups], rtol=1e-9, atol=1e-12)
        theirs_optimizer.step()
        if t < 19:
            theirs.step()


def test_a_schedule_moves_the_parameter():
    """The rate reaches the update: with γ = 0 from step 2 on, nothing moves any more."""
    p = fresh()
    optimizer = optim.SGD([p], 0.5)
    schedule = optim.StepLR(optimizer, 2, gamma=0.0)
    values = []
    for got in steps(optimizer, p, [[1.0] * 4] * 4):
        values.append(got[0])
        schedule.step()
    assert values == [0.0, -0.5, -0.5, -0.5]


@pytest.mark.parametrize(("make", "error", "sentence"), [
    (lambda o: optim.StepLR(o, 0), ValueError, "step_size (=0) must be at least 1"),
    (lambda o: optim.StepLR(o, 2.5), TypeError, "step_size must be an integer, not 2.5"),
    (lambda o: optim.CosineAnnealingLR(o, 0), ValueError, "T_max (=0) must be at least 1"),
    (lambda o: optim.PolynomialLR(o, 0), ValueError, "total_iters (=0) must be at least 1"),
    (lambda o: optim.OneCycleLR(o, 0), ValueError, "total_steps (=0) must be at least 1"),
    (lambda o: optim.OneCycleLR(o, 9, pct_start=1.0), ValueError,
     "pct_start (=1.0) must be between 0 and 1: it is the fraction of the steps in which the rate rises"),
    (lambda o: optim.WarmUp(optim.ConstantLR(o), -1), ValueError, "steps (=-1) must be at least 0"),
    (lambda o: optim.Schedule(o), NotImplementedError, "Schedule has no factor method"),
])  # fmt: skip
def test_bad_schedules(make, error, sentence):
    with pytest.raises(error) as caught:
        make(optim.SGD([fresh()], 0.1))
    assert str(caught.value) == sentence
