"""A step of gradient descent against closed forms, and on a net against loops written here."""

import math

import numpy as np
import pytest

from minicnn import explain, models, nn, seed
from minicnn.ops.loss import mse_loss


@pytest.mark.parametrize(("x", "t", "w", "b", "lr"), [(1.5, 0.5, 0.8, 0.1, 0.1), (-2, 3, 0.25, 1, 0.01),
                                                         (0, 1, 5, 0.5, 1)])  # fmt: skip
def test_a_neuron(x, t, w, b, lr):
    found = explain.neuron(x, t, w, b, lr)
    error = w * x + b - t
    first, second = found.weights
    assert found.loss_before == pytest.approx(error**2)
    assert (first.gradient, second.gradient) == pytest.approx((2 * error * x, 2 * error))
    assert (first.difference, second.difference) == pytest.approx((2 * error * x, 2 * error), abs=1e-6)
    assert (first.before, second.before) == (w, b)
    assert (first.after, second.after) == pytest.approx((w - lr * 2 * error * x, b - lr * 2 * error))
    assert found.loss_after == pytest.approx((first.after * x + second.after - t) ** 2)
    assert found.expected == pytest.approx(-lr * ((2 * error * x) ** 2 + (2 * error) ** 2))


def net():
    """A convolution of 2 filters, ReLU, the mean of each map, a linear layer."""
    seed(1)
    return nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Linear(2, 3))


def loss_by_loops(state, x, label):
    """The cross-entropy of that net, number by number."""
    maps = []
    for o in range(2):
        total = 0.0
        for i in range(x.shape[0] - 1):
            for j in range(x.shape[1] - 1):
                y = state["0.bias"][o] + sum(state["0.weight"][o, 0, p, q] * x[i + p, j + q]
                                             for p in range(2) for q in range(2))  # fmt: skip
                total += max(y, 0)
        maps.append(total / ((x.shape[0] - 1) * (x.shape[1] - 1)))
    scores = [state["3.bias"][k] + sum(state["3.weight"][k, c] * maps[c] for c in range(2)) for k in range(3)]
    return math.log(sum(math.exp(z) for z in scores)) - scores[label]


def test_a_net(rng):
    model, x = net(), rng.normal(size=(5, 4))
    before = model.state_dict()
    state = {name: value.astype(float) for name, value in before.items()}
    found = explain.step(model, x[None, None], np.array([2]), "0.weight", (1, 0, 1, 0), lr=0.05)
    (shown,) = found.weights
    assert found.loss_before == pytest.approx(loss_by_loops(state, x, 2))

    def slope(name, at):
        losses = []
        for sign in (1, -1):
            moved = {key: value.copy() for key, value in state.items()}
            moved[name][at] += sign * 1e-6
            losses.append(loss_by_loops(moved, x, 2))
        return (losses[0] - losses[1]) / 2e-6

    slopes = {name: np.array([slope(name, at) for at in np.ndindex(v.shape)]).reshape(v.shape)
              for name, v in state.items()}  # fmt: skip
    assert shown.gradient == pytest.approx(slopes["0.weight"][1, 0, 1, 0], abs=1e-6)
    assert shown.difference == pytest.approx(shown.gradient, abs=1e-6)
    assert shown.before == pytest.approx(state["0.weight"][1, 0, 1, 0])
    assert shown.after == pytest.approx(shown.before - 0.05 * shown.gradient)
    stepped = {name: value - 0.05 * slopes[name] for name, value in state.items()}
    assert found.loss_after == pytest.approx(loss_by_loops(stepped, x, 2), abs=1e-7)
    assert found.norm == pytest.approx(math.sqrt(sum((s**2).sum() for s in slopes.values())), abs=1e-5)
    assert found.parameters == 19
    assert all(np.array_equal(before[name], value) for name, value in model.state_dict().items()), "it is not changed"


def test_the_weight_with_the_largest_gradient_by_default(rng):
    model, x = net(), rng.normal(size=(1, 1, 5, 4))
    (largest,) = explain.step(model, x, np.array([0])).weights
    every = [explain.step(model, x, np.array([0]), name, at).weights[0]
             for name, p in model.named_parameters() for at in np.ndindex(p.shape)]  # fmt: skip
    assert abs(largest.gradient) == max(abs(w.gradient) for w in every)


def test_its_own_loss_and_a_given_one(rng):
    model = nn.Linear(2, 2)
    model.loss = lambda y, target: (y * y).sum()
    x = rng.normal(size=(1, 2))
    y = x @ model.weight.numpy().astype(float).T + model.bias.numpy()
    assert explain.step(model, x, None).loss_before == pytest.approx((y**2).sum())
    assert explain.step(model, x, np.zeros((1, 2)), loss=mse_loss).loss_before == pytest.approx((y**2).mean())


def test_a_kink_is_told():
    """At w·x + b = 0 the ReLU's gradient is that of one side, the difference the mean of both."""
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    model[0].weight.data, model[0].bias.data = np.zeros((1, 1), np.float32), np.zeros(1, np.float32)
    found = explain.step(model, np.ones((1, 1)), np.ones((1, 1)), loss=mse_loss)
    assert {w.gradient for w in found.weights} == {0.0}
    assert {round(w.difference, 3) for w in found.weights} == {-1.0}
    assert "disagree: a ReLU" in found.text()


def test_a_step_that_is_too_long():
    assert "The step was too long" in explain.neuron(lr=1.0).text(200)
    assert "too long" not in explain.neuron().text()


@pytest.mark.parametrize(("options", "sentence"), [
    ({"weight": "0.weigth"}, "unknown weight '0.weigth': did you mean '0.weight'"), ({"lr": 0}, "lr"),
    ({"lr": math.nan}, "lr"), ({"h": -1}, "h"), ({"weight": "0.weight", "index": (0,)}, "must have 4 numbers"),
    ({"weight": "0.weight", "index": (0, 0, 2, 0)}, "must be from 0 to 1"), ({"target": np.array([3])}, "3"),
])  # fmt: skip
def test_what_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        explain.step(**{"net": net(), "x": np.ones((1, 1, 4, 4)), "target": np.array([0]), **options})


def test_other_things_that_are_refused():
    with pytest.raises(TypeError, match="net must be a Module"):
        explain.step(3, np.ones(1), 0)
    with pytest.raises(ValueError, match="has no weights"):
        explain.step(nn.ReLU(), np.ones((1, 2)), np.array([0]))
    with pytest.raises(ValueError, match=r"x \(=nan\)"):
        explain.neuron(x=math.nan)
    with pytest.raises(ValueError, match=r"the loss is (nan|inf) before"):
        explain.step(net(), np.full((1, 1, 4, 4), np.inf), np.array([0]))


def test_dropout_does_not_drop():
    seed(0)
    model = models.build("squeezenet1_1", num_classes=3, width=0.125)
    x = np.random.default_rng(0).normal(size=(1, 3, 64, 64))
    first, second = (explain.step(model, x, np.array([1]), lr=1e-3) for _ in range(2))
    assert first.loss_after == second.loss_after
    assert first.loss_after < first.loss_before
