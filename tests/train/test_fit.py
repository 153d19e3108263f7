"""`fit`: one call over the loop of `minicnn train`, for nets and data of all kinds."""

import io
import re

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, data, nn, optim, seed
from minicnn.ops.softmax import cross_entropy
from minicnn.train import History, evaluate, fit, train_epoch
from tests.train.tiny import TINY

X, Y = (TINY.train.images / 255).astype(np.float32), TINY.train.labels


class Own(nn.Module):
    """A net that is in no list."""

    def __init__(self):
        self.conv, self.relu, self.out = nn.Conv2d(1, 4, 5, stride=2), nn.ReLU(), nn.Linear(4 * 12 * 12, 10)

    def forward(self, x):
        """x (N,1,28,28) → (N,10)"""
        return self.out(self.relu(self.conv(x)).reshape(len(x), -1))


def quiet(net, what, **more):
    return fit(net, what, **{"epochs": 2, "verbose": False, **more})


def test_it_is_the_loop_of_train_epoch():
    """The same weights, to the bit, as the loop written out, for batches in a given order."""
    batches = [(X[i : i + 40], Y[i : i + 40]) for i in range(0, 120, 40)]
    seed(0)
    net = Own()
    history = quiet(net, batches, optimizer="sgd", lr=0.05, epochs=3, validation=None)
    seed(0)
    plain = Own()
    optimizer = optim.SGD(plain.parameters(), 0.05, momentum=0.9)
    losses = [train_epoch(plain, batches, Tensor, optimizer, optim.ConstantLR(optimizer))[0] for _ in range(3)]
    assert history["loss"] == losses
    assert losses == sorted(losses, reverse=True), "so the last epoch is the best"
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, plain.state_dict()[name])


def test_the_best_weights_are_restored_and_the_net_is_ready_for_use():
    seed(0)
    net, weights = Own(), []
    history = quiet(net, (X, Y), epochs=5, lr=0.1, optimizer="sgd", validation=(X[:50], Y[:50]),
                    on_epoch=lambda record: weights.append(net.state_dict()))
    key = [(r["val_accuracy"], -r["val_loss"]) for r in history.records]
    best = max(range(5), key=lambda i: (key[i], -i))
    assert history.best["epoch"] == best + 1
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, weights[best][name])
    assert not net.training
    result = evaluate(net, [(X[:50], Y[:50])], Tensor, 10)
    assert (result.accuracy, result.loss) == (history.best["val_accuracy"], pytest.approx(history.best["val_loss"]))


def test_every_kind_of_data_and_the_same_seed_gives_the_same_run():
    bytes_ = TINY.train.images, TINY.train.labels
    kinds = {"splits": TINY, "dataset": TINY.train, "bytes": bytes_, "2-d bytes": (bytes_[0][:, 0], Y.astype(np.uint8)),
             "floats": (X, Y), "batches": [(X, Y)], "loader": TINY.loader(TINY.train, 40)}
    found = {}
    for name, what in kinds.items():
        for again in (False, True):
            seed(3)
            history = quiet(Own(), what, validation=0.2)
            assert found.setdefault(name, history["loss"]) == history["loss"], (name, again)
        assert ("val_loss" in history.records[0]) == (name not in ("batches", "loader"))
    assert found["dataset"] == found["bytes"] == found["2-d bytes"]
    assert len(set(map(tuple, found.values()))) == 5


def test_bytes_are_normalised_and_the_history_says_how():
    history = quiet(Own(), (TINY.train.images, Y), epochs=1)
    pixels = TINY.train.images / 255
    assert history.preprocessing.mean == (pytest.approx(pixels.mean()),)
    assert history.preprocessing.std == (pytest.approx(pixels.std()),)
    assert quiet(Own(), (X, Y), epochs=1).preprocessing is None


def test_validation_is_a_share_of_each_class_or_data_of_your_own():
    seed(0)
    seen = []
    net = Own()

    class Spy(optim.SGD):
        def step(self):
            super().step()
            seen.append(1)

    quiet(net, (X, Y), validation=0.25, batch_size=30, epochs=1, optimizer=Spy(net.parameters(), 0.01))
    assert len(seen) == 3, "90 of 120 images"
    seed(0)
    net = Own()
    held = [(X[:20], Y[:20]), (X[20:30], Y[20:30])]
    history = quiet(net, (X, Y), validation=held, epochs=1)
    logits = net(Tensor(X[:30]))
    assert history.best["val_loss"] == pytest.approx(cross_entropy(logits, Y[:30]).item(), rel=1e-5)


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_validation_split_of_the_data_is_kept(share):
    net, splits = Own(), TINY.with_validation(0.25, seed=1)
    history = quiet(net, splits, validation=share, epochs=1)
    logits = net(Tensor(data.normalise(splits.validation.images, TINY.mean, TINY.std)))
    assert history.best["val_loss"] == pytest.approx(cross_entropy(logits, splits.validation.labels).item(), rel=1e-5)


def test_balanced_classes_weigh_in_the_loss():
    labels = np.where(Y < 7, 0, Y)
    seed(0)
    net, same = Own(), Own()
    same.load_state_dict(net.state_dict())
    quiet(net, [(X, labels)], epochs=1, optimizer=optim.SGD(net.parameters(), 0.1), class_weights="balanced")
    weight = [len(labels) / (10 * max(1, (labels == k).sum())) for k in range(10)]
    cross_entropy(same(Tensor(X)), labels, weight=weight).backward()
    for name, p in same.named_parameters():
        np.testing.assert_allclose(net.state_dict()[name], p.data - 0.1 * p.grad, rtol=1e-4, atol=1e-6)


def test_ctrl_c_keeps_the_best_and_returns():
    def interrupt(record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    seed(0)
    net = Own()
    history = quiet(net, (X, Y), epochs=9, on_epoch=interrupt)
    assert (history.stopped, len(history), net.training) == (True, 2, False)
    assert repr(history).endswith("stopped by Ctrl-C")

    class Never(optim.SGD):
        def step(self):
            raise KeyboardInterrupt

    history = quiet(net, (X, Y), optimizer=Never(net.parameters(), 0.1))
    assert (history.stopped, len(history), repr(history)) == (True, 0, "stopped by Ctrl-C")
    for ask in (lambda: history.best, history.plot):
        with pytest.raises(ValueError, match=r"^no epoch was finished, so "):
            ask()


def test_what_is_seen(capsys):
    history = fit(Own(), TINY, epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2, "on a pipe one line for each epoch"
    pattern = r"^epoch +\d/2   loss \d\.\d{4}   training +[\d.]+ %   validation +[\d.]+ % +[\d.]+ s(  best)?$"
    assert all(re.match(pattern, line) for line in lines)
    assert repr(history).splitlines() == lines
    png = io.BytesIO()
    history.plot().savefig(png)
    assert png.getvalue().startswith(b"\x89PNG")
    assert isinstance(history, History)
    assert minicnn.fit is fit


def test_in_a_terminal_a_bar_shows_the_loss_of_each_step(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    fit(Own(), TINY, epochs=1)
    out = capsys.readouterr().out
    assert re.search(r"epoch 1.*━.*4/4.*loss \d\.\d{4}", out)


def test_a_schedule_falls_over_the_epochs():
    history = quiet(Own(), (X, Y), epochs=4, lr=0.01, schedule="linear", validation=0)
    assert history["lr"] == pytest.approx([0.0075, 0.005, 0.0025, 0.0])


@pytest.mark.parametrize(("what", "more", "error", "text"), [
    (5, {}, TypeError, "fit: the data must be data.load(…), (images, labels), or batches, not int"),
    ((X, Y / 2), {}, TypeError, "fit: labels must be integers from 0, one for each image, not float64 of shape (120,)"),
    ((X, Y[:9]), {}, ValueError, "fit: there are 120 images but labels of shape (9,): each image needs exactly one"),
    (iter([(X, Y)]), {}, ValueError, "fit: the batches can be iterated only once, so the second epoch would have none"),
    ([(TINY.train.images, Y)], {}, ValueError, "fit: the batches hold bytes: normalise them first (data.normalise)"),
    ((X, Y), {"augment": "flip"}, ValueError, "fit: augment (='flip') needs images as bytes, from data.load or as "),
    (TINY, {"augment": "flop"}, ValueError, "unknown augmentation 'flop': did you mean 'flip'?"),
    (TINY, {"validation": 1.5}, ValueError, "fit: validation (=1.5) must be at least 0 and below 1"),
    (TINY, {"epochs": 0}, ValueError, "fit: epochs (=0) must be an integer of at least 1"),
    (TINY, {"optimizer": "sdg"}, ValueError, "unknown optimizer 'sdg': did you mean 'sgd'?"),
    (TINY, {"schedule": "cosin"}, ValueError, "unknown schedule 'cosin': did you mean 'cosine'?"),
    ((X, Y + 8), {}, ValueError, "cross_entropy: label"),
])  # fmt: skip
def test_what_makes_no_sense_is_told_in_a_sentence(what, more, error, text):
    with pytest.raises(error) as caught:
        quiet(Own(), what, **more)
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)


def test_a_net_that_is_none_or_has_nothing_to_learn():
    with pytest.raises(TypeError, match=r"^fit: the net must be a Module, not str$"):
        fit("lenet5", data.load)
    with pytest.raises(ValueError, match=r"^fit: ReLU has no parameters to train$"):
        fit(nn.ReLU(), TINY)
