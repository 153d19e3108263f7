"""Training: the loop, the run and its folder, on a few images so that it is quick."""

import json
import math
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest

from minicnn import Tensor, data, models, nn, optim, rng, seed
from minicnn.data import Batches
from minicnn.data.augment import PadCrop, shifted
from minicnn.environment import environment
from minicnn.io import model_file
from minicnn.ops.softmax import cross_entropy
from minicnn.train import Config, Evaluation, NonFiniteLossError, Run, evaluate, plots, progress, train_epoch
from minicnn.train.loop import first_nonfinite
from tests.train.tiny import DIGITS, TINY


@pytest.fixture
def tiny(monkeypatch):
    """`data.load` gives 120 images to learn from and 40 to test on."""
    monkeypatch.setattr(data.registry, "load", lambda name: TINY)


def config(**changes):
    return Config(**{"epochs": 2, "batch_size": 16, "validation": 0.2, **changes})


def PREPARE(images):
    """The batches of this file hold bytes."""
    return Tensor(data.normalise(images, DIGITS.mean, DIGITS.std))


def one_epoch(net, optimizer, dataset=TINY.train, prepare=PREPARE, **more):
    return train_epoch(net, Batches(dataset, 16, shuffle=True), prepare, optimizer, optim.ConstantLR(optimizer), **more)


# ------------------------------------------------------------------------------------------------------------ the loop


def test_an_epoch_lowers_the_loss_and_counts_its_steps():
    seed(0)
    net = models.build("lenet5")
    optimizer, told = optim.AdamW(net.parameters(), 1e-3), []
    first = [one_epoch(net, optimizer, on_step=lambda *step: told.append(step), first_step=100)]
    first += [one_epoch(net, optimizer) for _ in range(3)]
    assert [s for s, _ in told] == list(range(100, 108))             # 120 images are 8 batches, the last one half full
    sizes = [16] * 7 + [8]
    np.testing.assert_allclose(first[0][0], sum(n * loss for n, (_, loss) in zip(sizes, told)) / 120)
    losses = [loss for loss, _ in first]
    assert losses[-1] < 0.5 * losses[0]
    assert first[-1][1] > first[0][1]


def test_filters_of_the_first_layer_learn():
    """A net whose convolutions get no gradient still learns something with its last layers: look at the first."""
    seed(0)
    net = models.build("lenet5")
    before = net.state_dict()
    optimizer = optim.SGD(net.parameters(), 0.02, momentum=0.9)
    for _ in range(15):
        one_epoch(net, optimizer)
    after = net.state_dict()
    for name in ("features.0.weight", "features.3.weight"):
        moved = np.linalg.norm(after[name] - before[name]) / np.linalg.norm(before[name])
        assert moved > 0.25, f"{name} moved by {moved:.0%}"


def test_label_smoothing_is_trained_on_and_not_evaluated_on():
    x, y = TINY.train.images[:16], TINY.train.labels[:16]
    seed(0)
    net = models.build("lenet5")
    told = []
    optimizer = optim.SGD(net.parameters(), 0.0)
    train_epoch(net, [(x, y)], PREPARE, optimizer, optim.ConstantLR(optimizer), label_smoothing=0.3,
                on_step=lambda step, loss: told.append(loss))
    logits = net(PREPARE(x))
    assert told == [cross_entropy(logits, y, label_smoothing=0.3).item()]
    assert evaluate(net, [(x, y)], PREPARE, 10).loss == pytest.approx(cross_entropy(logits, y).item(), rel=1e-6)


def test_the_schedule_goes_on_with_every_batch():
    net = models.build("lenet5")
    optimizer = optim.SGD(net.parameters(), 0.1)
    train_epoch(net, Batches(TINY.train, 16, shuffle=False), PREPARE, optimizer, optim.StepLR(optimizer, 4, gamma=0.5))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**2)


def test_evaluation_is_what_a_loop_counts():
    seed(1)
    net = models.build("lenet5")
    result = evaluate(net, Batches(TINY.test, 7, shuffle=False), PREPARE, 10)
    confusion, total = [[0] * 10 for _ in range(10)], 0.0
    for image, label in zip(TINY.test.images, TINY.test.labels):
        z = [float(v) for v in net(PREPARE(image[None])).data[0]]
        confusion[label][max(range(10), key=lambda k: z[k])] += 1
        total += math.log(sum(math.exp(v - max(z)) for v in z)) - (z[label] - max(z))
    assert result.confusion.tolist() == confusion
    assert result.loss == pytest.approx(total / 40, rel=1e-5)
    assert result.accuracy == sum(confusion[k][k] for k in range(10)) / 40
    assert not net.training


def test_evaluation_uses_the_net_as_it_is_used():
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(784, 10))
    a, b = (evaluate(net.train(), Batches(TINY.test, 10, shuffle=False), PREPARE, 10).loss for _ in range(2))
    assert a == b


def test_nothing_to_evaluate_is_said():
    with pytest.raises(ValueError, match=r"^evaluate: there are no images to evaluate on$"):
        evaluate(models.build("lenet5"), [], PREPARE, 10)


def test_worst_pairs():
    confusion = np.array([[50, 3, 0], [7, 40, 1], [0, 7, 60]])
    result = Evaluation(0.1, confusion)
    assert result.worst_pairs() == [(1, 0, 7), (2, 1, 7), (0, 1, 3)]
    assert result.worst_pairs(10) == [(1, 0, 7), (2, 1, 7), (0, 1, 3), (1, 2, 1)], "no pair that never happened"
    assert Evaluation(0.0, np.diag([3, 4])).worst_pairs() == []
    assert confusion[0, 0] == 50, "the matrix itself stays"
    assert result.accuracy == 150 / 168


# -------------------------------------------------------------------------------------------------- when it goes wrong


def test_a_poisoned_layer_is_named_with_the_step():
    net = models.build("lenet5")
    optimizer = optim.SGD(net.parameters(), 0.01)
    steps = []

    def poison(step, loss):
        steps.append(step)
        if step == 2:
            net["features"][3].weight.data[0, 0, 0, 0] = np.nan

    with pytest.raises(NonFiniteLossError) as error:
        one_epoch(net, optimizer, on_step=poison)
    assert str(error.value) == ("the loss is nan at step 3; the first layer with a non-finite output is "
                                "features.3 (Conv2d): try a smaller learning rate than 0.01, or a warm-up")
    assert steps == [0, 1, 2]
    assert np.isfinite(net["classifier"][5].weight.data).all(), "the NaN did not reach the other weights"


def test_images_that_hold_a_nan_are_named():
    def prepare(images):
        x = PREPARE(images)
        x.data[5, 0, 3, 3] = np.inf
        return x

    net = models.build("lenet5")
    before = net.state_dict()
    with pytest.raises(NonFiniteLossError, match=r"^the loss is \w+ at step 0, because the images hold a NaN or an "
                                                 r"infinity, the first in image 5 of the batch: check the data; some "
                                                 r"convolution algorithms spread it beyond its windows, but never to "
                                                 r"another image$"):
        one_epoch(net, optim.SGD(net.parameters(), 0.01), prepare=prepare)
    assert all(np.array_equal(a, before[k]) for k, a in net.state_dict().items())


def test_a_huge_learning_rate_ends_in_a_sentence():
    net = models.build("lenet5")
    with pytest.raises(NonFiniteLossError, match=r"^the loss is \w+ at step \d+; .*: try a smaller learning rate than "
                                                 r"1e\+12, or a warm-up$"):
        one_epoch(net, optim.SGD(net.parameters(), 1e12))


def test_the_first_nonfinite_layer():
    net = nn.Sequential({"a": nn.Sequential(nn.Identity(), nn.ReLU()), "b": nn.Linear(3, 3), "c": nn.ReLU()})
    x = Tensor(np.ones((1, 3), np.float32))
    assert first_nonfinite(net, x) is None
    net["b"].bias.data[1] = np.inf
    assert first_nonfinite(net, x) == "b (Linear)"
    net["b"].bias.data[1] = -np.inf                              # the ReLU behind it makes a 0 of that
    assert first_nonfinite(net, x) == "b (Linear)"
    assert first_nonfinite(nn.ReLU(), Tensor(np.array([np.nan]))) == "the model (ReLU)"


@pytest.mark.usefixtures("tiny")
def test_what_was_saved_before_stays(tmp_path):
    run = Run(config(epochs=3), tmp_path / "run")
    saved = []

    def poison(record):
        saved.append((run.folder / "best.safetensors").read_bytes())
        run.model["features"][3].weight.data[:] = np.nan

    with pytest.raises(NonFiniteLossError, match=r"at step 7; the first layer with a non-finite output is features\.3"):
        run.train(on_epoch=poison)
    assert (run.folder / "best.safetensors").read_bytes() == saved[0]
    assert len((run.folder / "metrics.jsonl").read_text().splitlines()) == 1
    assert run.test().accuracy >= 0


@pytest.mark.usefixtures("tiny")
def test_weights_spoilt_by_the_last_step_of_an_epoch_are_not_saved(tmp_path):
    """No training loss shows it, only the validation's."""
    run = Run(config(epochs=1), tmp_path / "run")
    last = run.state.steps_per_epoch - 1

    def poison(step, loss):
        if step == last:
            run.model["classifier"][5].bias.data[:] = np.nan

    with pytest.raises(NonFiniteLossError, match=r"^the validation loss is nan after epoch 1: try a smaller learning "
                                                 r"rate than 0\.002, or a warm-up$"):
        run.train(on_step=poison)
    assert not (run.folder / "best.safetensors").exists()
    assert not (run.folder / "metrics.jsonl").exists()


# ------------------------------------------------------------------------------------------------------------- the run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of 4 epochs on the tiny bundle, with the weights that each epoch ended with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data.registry, "load", lambda name: TINY)
        run = Run(config(epochs=4, lr=4e-3), tmp_path_factory.mktemp("runs") / "first")
        run.weights = []
        run.train(on_epoch=lambda record: run.weights.append(run.model.state_dict()))
        run.result = run.test()
        yield run


def test_the_folder_and_what_its_files_hold(finished):
    folder = finished.folder
    assert sorted(p.name for p in folder.iterdir()) == [
        "best.safetensors", "config.json", "env.json", "last.ckpt", "last.safetensors", "metrics.jsonl", "test.json"]
    assert json.loads((folder / "config.json").read_text()) == asdict(finished.config)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == finished.metrics
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert set(lines[0]) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds", "best"}
    test = json.loads((folder / "test.json").read_text())
    assert test == {"part": "test", "accuracy": finished.result.accuracy, "loss": finished.result.loss, "images": 40,
                    "confusion": finished.result.confusion.tolist()}
    assert sum(map(sum, test["confusion"])) == 40
    env = json.loads((folder / "env.json").read_text())
    assert env == environment()
    assert env["numpy"] == np.__version__
    assert env["device"] == "cpu"


def test_the_model_file_says_what_the_model_needs(finished):
    model, about = model_file.load(finished.folder / "best.safetensors")
    assert about.classes == list(DIGITS.classes)
    assert (about.input, about.mean, about.std) == ([1, 28, 28], list(DIGITS.mean), list(DIGITS.std))
    assert (about.model, about.options, about.trained_on) == ("lenet5", {"num_classes": 10, "in_channels": 1}, "digits")
    again = evaluate(model, Batches(TINY.test, 500, shuffle=False), PREPARE, 10)
    assert again.confusion.tolist() == finished.result.confusion.tolist()


def best_epoch(records):
    """The highest validation accuracy, of equals the lowest validation loss, of equals the first."""
    best = records[0]
    for r in records[1:]:
        if r["val_accuracy"] > best["val_accuracy"] or (
                r["val_accuracy"] == best["val_accuracy"] and r["val_loss"] < best["val_loss"]):
            best = r
    return best["epoch"]


def same_weights(state, path):
    loaded = model_file.load(path)[0].state_dict()
    return all(np.array_equal(state[k], loaded[k]) for k in state)


def test_best_is_the_epoch_with_the_best_validation_and_last_the_last(finished):
    best = best_epoch(finished.metrics)
    assert max(r["epoch"] for r in finished.metrics if r["best"]) == best
    assert same_weights(finished.weights[best - 1], finished.folder / "best.safetensors")
    assert same_weights(finished.weights[-1], finished.folder / "last.safetensors")


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(("results", "best"), [
    ([(0.5, 1.0), (0.7, 2.0), (0.6, 0.1)], 2),                   # accuracy decides, whatever the loss
    ([(0.5, 1.0), (0.5, 0.9), (0.5, 0.95)], 2),                  # of equals the lower loss
    ([(0.5, 1.0), (0.5, 1.0)], 1),                               # of equals in both the first
    ([(0.0, 9.0), (0.0, 8.0)], 2),
])  # fmt: skip
def test_ties_between_epochs(tmp_path, monkeypatch, results, best):
    run = Run(config(epochs=len(results), batch_size=100), tmp_path)
    planned = iter(results)

    def planned_result(batches):
        accuracy, loss = next(planned)
        right = round(accuracy * 10)
        return Evaluation(loss, np.array([[right, 10 - right], [0, 0]]))

    monkeypatch.setattr(run, "evaluate", planned_result)
    weights = []
    run.train(on_epoch=lambda record: weights.append(run.model.state_dict()))
    assert max(r["epoch"] for r in run.metrics if r["best"]) == best
    assert same_weights(weights[best - 1], tmp_path / "best.safetensors")


def without_time(records):
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records]


def test_config_json_is_enough_to_do_it_again(finished, tiny, tmp_path):
    stored = Config(**json.loads((finished.folder / "config.json").read_text()))
    rng.seed(99)                                                 # whatever was drawn before
    again = Run(stored, tmp_path / "again")
    again.train()
    assert without_time(again.metrics) == without_time(finished.metrics)
    for name in ("best.safetensors", "last.safetensors"):
        assert (again.folder / name).read_bytes() == (finished.folder / name).read_bytes()
    other = Run(Config(**{**asdict(stored), "seed": 1}), tmp_path / "other")
    other.train()
    assert without_time(other.metrics) != without_time(finished.metrics)


@pytest.mark.usefixtures("tiny")
def test_a_run_that_is_there_is_refused_and_left_alone(finished, tmp_path):
    folder = tmp_path / "run"
    Run(config(epochs=1), folder).train()
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(FileExistsError) as error:
        Run(config(epochs=1, seed=5), folder)
    assert str(error.value) == (f"{folder} already holds a run, which is kept: give another folder, or "
                                f"--overwrite to replace it; `minicnn train --resume {folder}` continues a "
                                "stopped run")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    for name in ("curves.png", "sample.png", "notes.txt"):
        (folder / name).write_text("old")
    run = Run(config(epochs=1, seed=5), folder, overwrite=True)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "env.json", "notes.txt", "run.lock"], (
        "nothing of the old run is left to be taken for the new one's, and nobody else's file is touched")
    run.lock.release()
    assert json.loads((folder / "config.json").read_text())["seed"] == 5


# ------------------------------------------------------------------------------------------------- shifts and pictures


def test_random_shifts_move_whole_images(rng):
    images = rng.integers(1, 256, (200, 2, 6, 5)).astype(np.uint8)      # no 0, so what came in shows
    moved = shifted(images, 2, PadCrop(2).draw(200, (6, 5), rng))
    seen = Counter()
    for image, got in zip(images, moved):
        fits = []
        for down in range(-2, 3):
            for across in range(-2, 3):
                expected = np.zeros_like(image)
                for h in range(6):
                    for w in range(5):
                        if 0 <= h - down < 6 and 0 <= w - across < 5:
                            expected[:, h, w] = image[:, h - down, w - across]
                if np.array_equal(expected, got):
                    fits.append((down, across))
        assert len(fits) == 1
        seen[fits[0]] += 1
    assert len(seen) == 25, "every shift occurs"
    assert np.array_equal(shifted(images, 0, np.zeros((200, 2), int)), images)


def test_curves_and_confusion_are_drawn(finished, tmp_path):
    from PIL import Image

    plots.curves(finished.metrics).savefig(tmp_path / "curves.png")
    plots.confusion(finished.result.confusion, list(DIGITS.classes), tmp_path / "confusion.png")
    for name, size in (("curves.png", (1320, 432)), ("confusion.png", (660, 624))):
        with Image.open(tmp_path / name) as drawn:
            drawn.load()
            assert (drawn.format, drawn.size) == ("PNG", size)


@pytest.mark.parametrize("name", ["config.json", "test.json", "sample.png", "env.json"])
def test_a_folder_with_a_file_of_such_a_name_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match=r"--overwrite to replace it; `minicnn train --resume .*` continues"):
        Run(Config(), tmp_path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(name, "mine")]


# ------------------------------------------------------------------------------------------------------ what is printed


@pytest.mark.usefixtures("tiny")
def test_runs_and_results_say_what_they_are(tmp_path):
    run = Run(config(epochs=1), tmp_path)
    run.train()
    assert repr(run) == f"<Run in {tmp_path}: lenet5 on digits, 1 of 1 epochs>"
    assert repr(Run.without_folder(config())) == "<Run without a folder: lenet5 on digits, 0 of 2 epochs>"
    assert repr(Evaluation(0.25, np.array([[3, 1], [0, 4000]]))) == (
        "<Evaluation: 99.98 % right (4,003 of 4,004 images), loss 0.2500>")


def test_progress_gives_every_item_and_says_where_it_is(monkeypatch, capsys):
    now = iter(range(0, 1000, 4))
    monkeypatch.setattr("minicnn.train.bar.time.monotonic", lambda: next(now))
    assert list(progress([5, 6, 7, 8, 9], "[red] :cat: 1")) == [5, 6, 7, 8, 9]
    out, err = capsys.readouterr()
    assert (out, err) == ("", "[red] :cat: 1: 3 of 5\n"), "after 12 seconds; not at the end"
    assert list(progress(iter([1, 2, 3, 4]))) == [1, 2, 3, 4]
    assert capsys.readouterr().err == "working: 3\n"


def test_progress_in_a_terminal_is_a_bar_that_goes_away(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert list(progress([1, 2], "epoch [red]")) == [1, 2]
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch [red]" in err
    assert "━" in err
