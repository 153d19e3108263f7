"""Optimisers against their formulas in plain Python, schedules against closed forms, both against torch where it is."""

import math

import numpy as np
import pytest

from minicnn import Tensor, optim
from minicnn.nn import Linear, Parameter, Sequential

START = [0.5, -1.25, 2.0, 0.03]
GRADS = [[0.3, -0.7, 1e-3, 5.0], [-0.2, 0.4, 2e-3, -4.0], [0.9, 0.0, 0.0, 1.0], [0.1, -0.1, -5e-3, 0.5],
         [-1.5, 2.5, 1e-4, 0.0], [0.6, 0.6, -1e-3, -2.0], [0.05, -0.3, 3e-3, 0.7]]  # fmt: skip


def steps(optimizer, parameter, grads=GRADS):
    """The values of the parameter after each step with these gradients."""
    for g in grads:
        parameter.grad = np.array(g, parameter.dtype)
        optimizer.step()
        yield parameter.data.tolist()


def fresh():
    return Parameter(np.array(START))


def sgd_by_hand(lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    theta, velocity = list(START), [0.0] * 4
    for grads in GRADS:
        for i in range(4):
            g = grads[i] + weight_decay * theta[i]
            velocity[i] = momentum * velocity[i] + g
            theta[i] -= lr * (g + momentum * velocity[i] if nesterov else velocity[i])
        yield list(theta)


def adam_by_hand(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    theta, m, v = list(START), [0.0] * 4, [0.0] * 4
    for t, grads in enumerate(GRADS, 1):
        for i in range(4):
            g = grads[i]
            if decoupled:
                theta[i] -= lr * weight_decay * theta[i]
            else:
                g += weight_decay * theta[i]
            m[i] = betas[0] * m[i] + (1 - betas[0]) * g
            v[i] = betas[1] * v[i] + (1 - betas[1]) * g * g
            m_hat, v_hat = m[i] / (1 - betas[0] ** t), v[i] / (1 - betas[1] ** t)
            theta[i] -= lr * m_hat / (math.sqrt(v_hat) + eps)
        yield list(theta)


SGD = [
    {"lr": 0.1}, {"lr": 0.1, "momentum": 0.9}, {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    {"lr": 0.05, "weight_decay": 0.1}, {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.2},
    {"lr": 0.0, "momentum": 0.9},
]  # fmt: skip
ADAM = [
    {}, {"lr": 0.1}, {"lr": 0.02, "betas": (0.8, 0.95)}, {"lr": 0.02, "eps": 0.1}, {"lr": 0.05, "weight_decay": 0.3},
    {"lr": 0.05, "betas": (0.0, 0.9)},
]  # fmt: skip


@pytest.mark.parametrize("settings", SGD, ids=str)
def test_sgd_by_hand(settings):
    p = fresh()
    for got, expected in zip(steps(optim.SGD([p], **settings), p), sgd_by_hand(**settings), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-13)


@pytest.mark.parametrize("settings", ADAM, ids=str)
def test_adam_by_hand(settings):
    p = fresh()
    for got, expected in zip(steps(optim.Adam([p], **settings), p), adam_by_hand(**settings), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-13)


@pytest.mark.parametrize("settings", ADAM, ids=str)
def test_adamw_by_hand(settings):
    p = fresh()
    expected = adam_by_hand(**{"weight_decay": 0.01, **settings}, decoupled=True)       # 0.01 by default, as in torch
    for got, values in zip(steps(optim.AdamW([p], **settings), p), expected, strict=True):
        np.testing.assert_allclose(got, values, rtol=1e-13)


@pytest.mark.parametrize(("name", "settings"), [
    *(("SGD", s) for s in SGD), *(("Adam", s) for s in ADAM), *(("AdamW", s) for s in ADAM)], ids=str)  # fmt: skip
def test_against_torch(name, settings):
    torch = pytest.importorskip("torch")
    p, other = fresh(), torch.tensor(START, dtype=torch.float64, requires_grad=True)
    theirs = getattr(torch.optim, name)([other], **settings)
    for got, g in zip(steps(getattr(optim, name)([p], **settings), p), GRADS, strict=True):
        other.grad = torch.tensor(g, dtype=torch.float64)
        theirs.step()
        np.testing.assert_allclose(got, other.detach().numpy(), rtol=1e-12, atol=1e-15)


def test_adams_first_step_is_lr_long_whatever_the_gradients_size():
    p = Parameter(np.zeros(3))
    p.grad = np.array([1e-3, -5.0, 1e4])
    optim.Adam([p], lr=0.01).step()
    np.testing.assert_allclose(p.data, [-0.01, 0.01, -0.01], rtol=1e-4)


@pytest.mark.parametrize("make", [
    lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1), lambda p: optim.AdamW(p)])  # fmt: skip
def test_float32_stays_float32_and_the_array_is_changed_in_place(make):
    p = Parameter(np.array(START, np.float32))
    before = p.data
    optimizer = make([p])
    list(steps(optimizer, p))
    assert p.data is before
    assert p.dtype == np.float32
    assert {a.dtype for a in optimizer.state[id(p)]} == {np.dtype("float32")}


def test_the_gradient_is_left_as_it_was():
    p = fresh()
    optimizer = optim.SGD([p], 0.1, momentum=0.9, nesterov=True, weight_decay=0.1)
    for make in (lambda: optimizer, lambda: optim.Adam([p], weight_decay=0.1)):
        p.grad = np.array(GRADS[0])
        make().step()
        assert p.grad.tolist() == GRADS[0]


def test_groups_have_settings_of_their_own():
    slow, fast = Parameter(np.array([1.0])), Parameter(np.array([1.0]))
    groups = [{"params": [slow], "lr": 0.01}, {"params": (p for p in [fast]), "momentum": 0.0}]
    optimizer = optim.SGD(groups, lr=1.0, momentum=0.5)
    for _ in range(2):
        slow.grad = fast.grad = np.array([0.1])
        optimizer.step()
    np.testing.assert_allclose(slow.data, 1 - 0.01 * (0.1 + 0.15))
    np.testing.assert_allclose(fast.data, 1 - 1.0 * (0.1 + 0.1))
    assert [g["lr"] for g in optimizer.param_groups] == [0.01, 1.0]
    assert "momentum" not in groups[0], "the caller's own dictionaries stay as they were"


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, 0.1, 0.9, weight_decay=0.5), lambda p: optim.AdamW(p)])
def test_a_parameter_without_gradient_is_left_alone(make):
    a, b, frozen = fresh(), fresh(), fresh()
    frozen.requires_grad, frozen.grad = False, np.ones(4)
    optimizer = make([a, b, frozen])
    a.grad = np.ones(4)
    optimizer.step()
    assert (a.data != START).all()
    assert b.data.tolist() == START
    assert frozen.data.tolist() == START
    assert set(optimizer.state) == {id(a)}


def test_adam_counts_the_steps_of_each_parameter_by_itself():
    a, b = fresh(), fresh()
    optimizer = optim.Adam([a, b], lr=0.1)
    a.grad = np.array(GRADS[0])
    optimizer.step()
    b.grad, a.grad = np.array(GRADS[0]), None
    optimizer.step()
    assert b.data.tolist() == a.data.tolist(), "the bias correction of a late parameter starts with its own first step"


def test_zero_grad():
    net = Sequential(Linear(2, 3))
    optimizer = optim.SGD(net.parameters(), 0.1)
    net(Tensor(np.ones((1, 2), np.float32))).sum().backward()
    assert net[0].weight.grad is not None
    optimizer.zero_grad()
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("cls", [optim.SGD, optim.Adam, optim.AdamW])
@pytest.mark.parametrize(("params", "settings", "error", "sentence"), [
    ("one", {"lr": -0.1}, ValueError, "{}: lr (=-0.1) must be a number of at least 0"),
    ("one", {"lr": math.nan}, ValueError, "{}: lr (=nan) must be a number of at least 0"),
    ("one", {"lr": math.inf}, ValueError, "{}: lr (=inf) must be a number of at least 0"),
    ("one", {"weight_decay": -1}, ValueError, "{}: weight_decay (=-1) must be a number of at least 0"),
    ("tensor", {}, TypeError, "{}: params must be Parameters, not Tensor: pass model.parameters()"),
    ("names", {}, TypeError, "{}: params must be Parameters, not str: pass model.parameters()"),
    ("model", {}, TypeError, "{}: params must be Parameters, not Linear: pass model.parameters()"),
    ("empty", {}, ValueError, "{}: there is nothing to optimise: pass model.parameters()"),
    ("empty group", {}, ValueError, "{}: there is nothing to optimise: pass model.parameters()"),
    ("twice", {}, ValueError, "{}: a parameter is given twice: each belongs to one group"),
    ("two groups", {}, ValueError, "{}: a parameter is given twice: each belongs to one group"),
    ("unknown", {}, ValueError, "{}: unknown setting 'learning_rate' in a group: use lr, "),
    ("no params", {}, ValueError, "{}: a group needs 'params', but this one has lr: write "),
    ("group lr", {}, ValueError, "{}: lr (=-3) must be a number of at least 0"),
])  # fmt: skip
def test_bad_values(cls, params, settings, error, sentence):
    p = fresh()
    given = {
        "one": [p], "tensor": [Tensor(np.ones(2), True)], "names": {"weight": p}, "model": Sequential(Linear(2, 2)),
        "empty": [], "empty group": [{"params": []}], "twice": [p, p], "two groups": [{"params": [p]}, {"params": [p]}],
        "unknown": [{"params": [p], "learning_rate": 1}], "no params": [{"lr": 0.1}],
        "group lr": [{"params": [p], "lr": -3}],
    }[params]  # fmt: skip
    with pytest.raises(error) as caught:
        cls(given, **{"lr": 0.1, **settings})
    assert str(caught.value).startswith(sentence.format(cls.__name__))


def test_bad_values_of_sgd_alone():
    with pytest.raises(ValueError, match=r"^SGD: momentum \(=-0.5\) must be a number of at least 0$"):
        optim.SGD([fresh()], 0.1, momentum=-0.5)
    sentence = r"^SGD: nesterov needs a momentum above 0, such as momentum=0.9$"
    with pytest.raises(ValueError, match=sentence):
        optim.SGD([fresh()], 0.1, nesterov=True)
    with pytest.raises(ValueError, match=sentence):
        optim.SGD([{"params": [fresh()], "nesterov": True}], 0.1)


@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9,), (0.9, math.nan)])
def test_bad_betas(betas):
    with pytest.raises(ValueError, match=r"^Adam: betas \(.*\) must be two numbers of at least 0 and below 1$"):
        optim.Adam([fresh()], betas=betas)
    with pytest.raises(ValueError, match=r"^AdamW: betas \(.*\) must be two numbers of at least 0 and below 1$"):
        optim.AdamW([{"params": [fresh()], "betas": betas}])
    with pytest.raises(ValueError, match=r"^Adam: eps \(=-1\) must be a number of at least 0$"):
        optim.Adam([fresh()], eps=-1)


# ----------------------------------------------------------------------------------------------------------- schedules


def test_an_optimiser_without_update_says_so():
    p = fresh()
    p.grad = np.ones(4)
    with pytest.raises(NotImplementedError, match=r"^Optimizer has no update method$"):
        optim.Optimizer([p], lr=0.1).step()


# ---------------------------------------------------------------------------------------------------------- going on


MAKERS = {
    "sgd": lambda p: optim.SGD(p, 0.1), "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
    "adam": lambda p: optim.Adam(p, 0.1), "adamw": lambda p: optim.AdamW(p, 0.1),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("at", [0, 1, 4, 7])
def test_an_optimiser_goes_on_from_its_state_as_if_nothing_had_been(name, at):
    def go(optimizer, params, grads):
        for g in grads:
            params[0].grad, params[1].grad = np.array(g), np.array(g[:2]) if g[0] > 0 else None
            optimizer.step()

    whole = [fresh(), Parameter(np.array([1.0, 2.0]))]
    go(MAKERS[name](whole), whole, GRADS)
    first = [fresh(), Parameter(np.array([1.0, 2.0]))]
    optimizer = MAKERS[name](first)
    go(optimizer, first, GRADS[:at])
    state = optimizer.state_dict()
    second = [Parameter(p.data.copy()) for p in first]
    again = MAKERS[name](second)
    again.load_state_dict(state)
    go(again, second, GRADS[at:])
    for a, b in zip(whole, second):
        assert a.data.tobytes() == b.data.tobytes()
    assert all(not np.shares_memory(a, b) for a in state.values() for s in again.state.values() for b in s)


@pytest.mark.parametrize(("change", "text"), [
    (lambda s: {**s, "7.0": s["0.0"]}, "the optimiser has 1 parameters, and array '7.0' belongs to none"),
    (lambda s: {**s, "weight": s["0.0"]}, "the optimiser has 1 parameters, and array 'weight' belongs to none"),
    (lambda s: {**s, "0.1": np.zeros(3)}, "the optimiser's array 0.1 has shape (3,), but its parameter (4,)"),
    (lambda s: {k: v for k, v in s.items() if k != "0.0"}, "the optimiser's arrays of parameter 0 are incomplete"),
    (lambda s: {k: v for k, v in s.items() if k != "0.steps"},
     "the optimiser's state has step counts and arrays for different parameters"),
])  # fmt: skip
def test_a_state_of_another_optimiser(change, text):
    p = fresh()
    optimizer = optim.Adam([p])
    list(steps(optimizer, p))
    with pytest.raises(ValueError) as caught:
        optim.Adam([fresh()]).load_state_dict(change(optimizer.state_dict()))
    assert str(caught.value) == text


# --------------------------------------------------------------------------------------------------- clipping, average


def test_long_gradients_become_max_norm_long_together():
    a, b, without = Parameter(np.zeros(2, np.float32)), Parameter(np.zeros((1, 1), np.float32)), fresh()
    a.grad, b.grad = np.array([3.0, 0.0], np.float32), np.array([[-4.0]], np.float32)
    first = a.grad
    assert optim.clip_grad_norm([a, b, without], 10.0) == 5.0
    assert a.grad is first, "short enough: left alone"
    assert optim.clip_grad_norm([a, b, without], 2.5) == 5.0
    np.testing.assert_allclose(a.grad, [1.5, 0.0])
    np.testing.assert_allclose(b.grad, [[-2.0]])
    assert a.grad.dtype == np.float32
    assert first.tolist() == [3.0, 0.0], "somebody else may hold the array"
    assert without.grad is None
    a.grad = np.array([np.nan, 1.0], np.float32)
    assert math.isnan(optim.clip_grad_norm([a, b], 1.0))
    assert b.grad.tolist() == [[-2.0]]
    with pytest.raises(ValueError, match=r"^max_norm \(=0\) must be a number above 0$"):
        optim.clip_grad_norm([a], 0)


def test_the_average_of_the_weights_by_hand():
    net = Sequential(Linear(1, 1, bias=False))
    p = net[0].weight
    p.data[:] = 1.0
    ema, expected = optim.EMA(net, decay=0.5), 1.0
    for t, value in enumerate([2.0, -1.0, 4.0, 4.0, 0.5, 3.0, 2.0, 8.0, 8.0, 1.0], 1):
        p.data[:] = value
        ema.update()
        d = min(0.5, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * value
        with ema.applied():
            assert net[0].weight.data.item() == pytest.approx(expected, rel=1e-6)
        assert net[0].weight.data.item() == value
    again = optim.EMA(net, decay=0.5)
    again.load_state_dict(ema.state_dict(), ema.t)
    for e in (ema, again):
        e.update()
    assert again.average[0].tobytes() == ema.average[0].tobytes()
    for decay in (0, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"^decay \(=.*\) must be between 0 and 1, such as 0\.999$"):
            optim.EMA(net, decay)
    with pytest.raises(ValueError, match=r"^the average has 0 arrays, but the model 1 parameters$"):
        again.load_state_dict({}, 3)
    with pytest.raises(ValueError, match=r"^the average of parameter 0 has shape \(2,\), must be \(1, 1\)$"):
        again.load_state_dict({"0": np.zeros(2)}, 3)
