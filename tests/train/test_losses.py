"""What a step learns from: auxiliary classifiers, losses of a net's own, mixed images, batches that make one step."""

import numpy as np
import pytest

from minicnn import Tensor, nn, optim
from minicnn.data.augment import Mixed
from minicnn.train import evaluate, train_epoch
from minicnn.train.losses import loss_of

K, F = 4, 6


def log_p(z):
    """log softmax of (N,K), in float64."""
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def closed_form(W, b, terms):
    """(loss, dW, db) of Σ_i share_i·w_i·(−log p(label_i | x_i)) over (x, label, share·w) of all images."""
    loss, dW, db = 0.0, np.zeros_like(W), np.zeros_like(b)
    for x, label, weight in terms:
        logs = log_p((W @ x + b)[None])[0]
        loss -= weight * logs[label]
        d = weight * (np.exp(logs) - np.eye(K)[label])
        dW, db = dW + np.outer(d, x), db + d
    return loss, dW, db


class Recorder(optim.SGD):
    """SGD with a rate of 0 that keeps the gradients of each step."""

    def __init__(self, net):
        super().__init__(net.parameters(), 0.0)
        self.seen = []

    def step(self):
        """Note the gradients."""
        self.seen.append([np.array(p.grad) for g in self.param_groups for p in g["params"]])


def linear(rng):
    net = nn.Linear(F, K).astype("float64")
    net.weight.data[...], net.bias.data[...] = rng.normal(0, 1, (K, F)), rng.normal(0, 1, K)
    return net


def step(net, batches, **more):
    """(gradients of the first step, its loss)"""
    recorder, losses = Recorder(net), []
    train_epoch(net, batches, Tensor, recorder, optim.ConstantLR(recorder), accumulate=len(batches),
                on_step=lambda step, loss: losses.append(loss), **more)
    (gradients,), (loss,) = recorder.seen, losses
    return gradients, loss


def check(net, batches, terms, **more):
    (dW, db), loss = step(net, batches, **more)
    expected = closed_form(net.weight.numpy(), net.bias.numpy(), terms)
    for found, wanted in zip((loss, dW, db), expected):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


# ------------------------------------------------------------------------------------------- several batches, one step


def test_weighted_batches_of_one_step_are_one_large_batch(rng):
    """The gradient of one large batch, by hand and by the loop itself, to 1e-12; batches of other sizes and classes."""
    x, y = rng.normal(0, 1, (11, F)), np.array([0, 0, 0, 0, 1, 1, 2, 3, 3, 2, 1])
    weight = [0.2, 1.0, 3.0, 7.0]
    net, w = linear(rng), np.array(weight)[y]
    pieces = [(x[i:j], y[i:j]) for i, j in ((0, 5), (5, 9), (9, 11))]
    check(net, pieces, [(x[n], y[n], w[n] / w.sum()) for n in range(11)], weight=weight)
    several, loss = step(net, pieces, weight=weight, label_smoothing=0.1)
    whole, whole_loss = step(net, [(x, y)], weight=weight, label_smoothing=0.1)
    for a, b in zip((*several, loss), (*whole, whole_loss)):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    check(net, pieces, [(x[n], y[n], 1 / 11) for n in range(11)])


def test_long_gradients_are_shortened_together_and_short_ones_stay(rng):
    x, y, net = rng.normal(0, 1, (5, F)), np.array([0, 1, 1, 3, 2]), linear(rng)
    _, dW, db = closed_form(net.weight.numpy(), net.bias.numpy(), [(x[n], y[n], 1 / 5) for n in range(5)])
    length = np.sqrt((dW**2).sum() + (db**2).sum())
    for clip, factor in ((length / 4, 1 / 4), (2 * length, 1.0)):
        found, _ = step(net, [(x, y)], clip=clip)
        for gradient, whole in zip(found, (dW, db)):
            np.testing.assert_allclose(gradient, factor * whole, rtol=1e-5)


def test_the_average_follows_after_each_step(rng):
    """It is told of the weights that the step has made, once for a step of several batches."""
    net = linear(rng)
    seen, after = [], []

    class Average:
        def update(self):
            seen.append(net.weight.numpy().copy())

    batches = [(rng.normal(0, 1, (3, F)), np.array([0, 1, 3])) for _ in range(5)]
    optimizer = optim.SGD(net.parameters(), 0.1)
    train_epoch(net, batches, Tensor, optimizer, optim.ConstantLR(optimizer), accumulate=2, average=Average(),
                on_step=lambda step, loss: after.append(net.weight.numpy().copy()))
    assert len(seen) == 3
    for told, now in zip(seen, after):
        np.testing.assert_array_equal(told, now)
    assert not np.array_equal(seen[0], seen[1])


# --------------------------------------------------------------------------------------------------------------- mixup


def mixed_terms(x, y, mixed, share, w):
    """An image of the mean over a batch, counted for both of its labels."""
    mine, others = w[y], w[mixed.others]
    return [term for n in range(len(y)) for term in (
        (x[n], y[n], share * mixed.share * mine[n] / mine.sum()),
        (x[n], mixed.others[n], share * (1 - mixed.share) * others[n] / others.sum()))]  # fmt: skip


@pytest.mark.parametrize("weight", [None, [0.2, 1.0, 3.0, 7.0]])
def test_mixed_images_have_the_loss_of_both_labels(rng, weight):
    x, y = rng.normal(0, 1, (5, F)), np.array([0, 1, 1, 3, 2])
    mixed = Mixed(np.array([2, 2, 0, 1, 3]), 0.3)
    w = np.array(weight or [1.0] * K)
    check(linear(rng), [(x, y, np.arange(5), mixed)], mixed_terms(x, y, mixed, 1.0, w), weight=weight)


@pytest.mark.parametrize("weight", [None, [0.2, 1.0, 3.0, 7.0]])
def test_mixed_batches_share_a_step_by_what_both_labels_weigh(rng, weight):
    x, y, w = rng.normal(0, 1, (7, F)), np.array([0, 1, 1, 3, 2, 3, 3]), np.array(weight or [1.0] * K)
    first, second = Mixed(np.array([2, 2, 0, 1]), 0.3), Mixed(np.array([0, 1, 0]), 0.9)
    parts = [(x[:4], y[:4], np.arange(4), first), (x[4:], y[4:], np.arange(3), second)]
    counts = [sum(m.share * w[a] + (1 - m.share) * w[b] for a, b in zip(labels, m.others)) for _, labels, _, m in parts]
    terms = [term for (images, labels, _, m), count in zip(parts, counts)
             for term in mixed_terms(images, labels, m, count / sum(counts), w)]
    check(linear(rng), parts, terms, weight=weight)


def test_mixed_images_count_as_right_by_their_first_label(rng):
    net, x = linear(rng), rng.normal(0, 1, (6, F))
    guesses = (x @ net.weight.numpy().T + net.bias.numpy()).argmax(1)
    recorder = Recorder(net)
    mixed = Mixed((guesses + 1) % K, 0.6)
    _, accuracy = train_epoch(net, [(x, guesses, np.arange(6), mixed)], Tensor, recorder, optim.ConstantLR(recorder))
    assert accuracy == 1.0


# -------------------------------------------------------------------------------------- auxiliary classifiers, own loss


class Branched(nn.Module):
    """Two linear classifiers on the same images, the second of them auxiliary."""

    aux_weights = (0.3,)

    def __init__(self, rng):
        self.main, self.aux = linear(rng), linear(rng)

    def forward(self, x):
        """x (N,F) → (N,K), in training with the auxiliary logits"""
        return (self.main(x), self.aux(x)) if self.training else self.main(x)


def test_auxiliary_logits_add_their_share_of_the_loss_in_training_alone(rng):
    net, x, y = Branched(rng), rng.normal(0, 1, (5, F)), np.array([0, 1, 1, 3, 2])
    parts = []
    for layer, share in ((net.main, 1.0), (net.aux, 0.3)):
        parts.append(closed_form(layer.weight.numpy(), layer.bias.numpy(), [(x[n], y[n], share / 5) for n in range(5)]))
    gradients, loss = step(net, [(x, y)])
    assert loss == pytest.approx(parts[0][0] + parts[1][0], rel=1e-12)
    for found, wanted in zip(gradients, (*parts[0][1:], *parts[1][1:])):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)
    result = evaluate(net, [(x, y)], Tensor, K)
    assert result.loss == pytest.approx(parts[0][0], rel=1e-12)
    assert np.trace(result.confusion) == (net.main(Tensor(x)).numpy().argmax(1) == y).sum()


def test_auxiliary_outputs_without_a_weight_are_named(rng):
    net, x, y = Branched(rng), rng.normal(0, 1, (5, F)), np.array([0, 1, 1, 3, 2])
    net.aux_weights = ()
    with pytest.raises(ValueError, match=r"^Branched returned 1 auxiliary outputs, but its aux_weights are \(\): it "):
        step(net, [(x, y)])


class Squared(nn.Module):
    """A net whose loss is ½·Σ (output − one-hot)²/N."""

    def __init__(self, rng):
        self.layer = linear(rng)

    def forward(self, x):
        """x (N,F) → (N,K)"""
        return self.layer(x)

    def loss(self, outputs, labels):
        """½·Σ (output − one-hot)²/N"""
        away = outputs - Tensor(np.eye(K)[labels])
        return (away * away).sum() * (0.5 / len(labels))


def test_a_loss_of_its_own_is_trained_and_evaluated_with(rng):
    net, x, y = Squared(rng), rng.normal(0, 1, (5, F)), np.array([0, 1, 1, 3, 2])
    away = x @ net.layer.weight.numpy().T + net.layer.bias.numpy() - np.eye(K)[y]
    (dW, db), loss = step(net, [(x[:2], y[:2]), (x[2:], y[2:])])
    assert loss == pytest.approx(0.5 * (away**2).sum() / 5, rel=1e-12)
    np.testing.assert_allclose(dW, away.T @ x / 5, rtol=1e-12)
    np.testing.assert_allclose(db, away.sum(0) / 5, rtol=1e-12)
    assert evaluate(net, [(x, y)], Tensor, K).loss == pytest.approx(loss, rel=1e-12)
    with pytest.raises(ValueError, match=r"^Squared has its own loss, which uses neither label_smoothing nor cl"):
        loss_of(net, net(Tensor(x)), y, label_smoothing=0.1)
    with pytest.raises(ValueError, match=r"^Squared has its own loss"):
        loss_of(net, net(Tensor(x)), y, weight=[1.0] * K)
