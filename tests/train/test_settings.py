"""Settings from a file, their effect on the loop, and the numbers that a run writes for other programs."""

import itertools
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from minicnn import Tensor, data, models, nn, optim, seed
from minicnn.data import NORMALISATIONS, Batches, Dataset
from minicnn.data.augment import Mixed
from minicnn.ops.softmax import cross_entropy
from minicnn.train import Config, Run, build, finder, gradient_flow, tensorboard, train_epoch
from minicnn.train.config_files import from_toml, read
from tests.train.tiny import DIGITS, TINY, part


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(data.registry, "load", lambda name: TINY)


def config(**changes):
    return Config(**{"epochs": 2, "batch_size": 16, "validation": 0.2, **changes})


def prepare(images):
    return Tensor(data.normalise(images, TINY.mean, TINY.std))


# ---------------------------------------------------------------------------------------------------------------- TOML


def test_a_toml_file(tmp_path):
    (tmp_path / "run.toml").write_text('model = "resnet20"\nepochs = 3\nlr = 1\nmilestones = [1, 2]\n'
                                       'schedule = "multistep"\n[options]\nnum_classes = 10\n')
    values = from_toml(tmp_path / "run.toml")
    assert read(values) == Config(model="resnet20", epochs=3, lr=1.0, milestones=[1, 2], schedule="multistep",
                                  options={"num_classes": 10})
    assert type(read(values).lr) is float


def test_the_recipes_are_settings_and_the_page_shows_one(tmp_path):
    docs = Path(__file__).parents[2] / "docs"
    recipes = sorted((docs / "recipes").glob("*.toml"))
    assert recipes
    for path in recipes:
        assert read(from_toml(path)).dataset in data.names()
    assert f"```toml\n{recipes[0].read_text()}```" in (docs / "training.md").read_text()


@pytest.mark.parametrize(("text", "sentence"), [
    ("lr = ", "run.toml is not valid TOML ("), ("lr 1", "run.toml is not valid TOML ("),
    ("learning_rate = 1", "unknown setting 'learning_"),
    ('lr = "1"', "lr must be a value of type float, not '1'"), ("epochs = 0", "epochs (=0) must be at least 1"),
    ("shift = 2", "unknown setting 'shift'"), ("lr = nan", "lr (=nan) must be a number above 0"),
    ("tensorboard = 1", "tensorboard must be a value of type bool, not 1"),
    ("x = " + "[" * 5000, "run.toml is not valid TOML ("),
])  # fmt: skip
def test_a_toml_file_that_makes_no_sense(tmp_path, text, sentence):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(ValueError) as error:
        from_toml(tmp_path / "run.toml")
    assert str(error.value).startswith(str(tmp_path / "run.toml"))
    assert sentence in str(error.value)
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"run\.toml is not valid TOML"):
        from_toml(tmp_path / "run.toml")
    with pytest.raises(FileNotFoundError, match=r"^there is no settings file .*none\.toml: check"):
        from_toml(tmp_path / "none.toml")


# ------------------------------------------------------------------------------------------------------------ the loop


def trained(batches, **more):
    """LeNet-5 from seed 0 after these batches, one SGD step a group."""
    seed(0)
    net = models.build("lenet5")
    optimizer = optim.SGD(net.parameters(), 0.05)
    train_epoch(net, batches, prepare, optimizer, optim.ConstantLR(optimizer), **more)
    return net.state_dict()


def test_accumulated_batches_step_as_one_large_batch_would():
    x, y = TINY.train.images[:50], TINY.train.labels[:50]
    small = [(x[i : i + 16], y[i : i + 16]) for i in range(0, 50, 16)]         # 16, 16, 16, 2
    steps = []
    several = trained(small, accumulate=4, on_step=lambda *step: steps.append(step))
    whole = trained([(x, y)])
    for name, array in whole.items():
        np.testing.assert_allclose(several[name], array, rtol=1e-4, atol=1e-6, err_msg=name)
    assert len(steps) == 1
    three = trained(small, accumulate=3)
    two_steps = trained([(x[:48], y[:48]), (x[48:], y[48:])])
    for name, array in two_steps.items():
        np.testing.assert_allclose(three[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


def test_mixed_batches_have_the_loss_of_both_labels():
    x, y = TINY.train.images[:8], TINY.train.labels[:8]
    others, told = y[::-1].copy(), []
    trained([(x, y, np.arange(8), Mixed(others, 0.3))], on_step=lambda step, loss: told.append(loss))
    seed(0)
    logits = models.build("lenet5")(prepare(x))
    expected = 0.3 * cross_entropy(logits, y).item() + 0.7 * cross_entropy(logits, others).item()
    assert told == [pytest.approx(expected, rel=1e-6)]


def test_clipped_steps_are_no_longer_than_that():
    x, y = TINY.train.images[:16], TINY.train.labels[:16]
    seed(0)
    before = models.build("lenet5").state_dict()
    for clip, length in ((1e-3, 1e-3), (0.0, None)):
        after = trained([(x, y)], clip=clip)
        moved = np.sqrt(sum(((after[k].astype(float) - before[k]) ** 2).sum() for k in before))
        if length:
            assert moved == pytest.approx(0.05 * length, rel=1e-3)
        else:
            assert moved > 0.01


def test_balanced_weights_are_those_of_the_counts():
    labels = np.repeat([0, 1, 2], [6, 3, 1])
    weights = build.class_weights("balanced", labels, 3)
    assert weights == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert sum(weights[k] for k in labels) == pytest.approx(10)
    assert build.class_weights("none", labels, 3) is None


@pytest.mark.parametrize(("name", "more", "expected"), [
    ("linear", {}, [1 - t / 14 for t in range(14)]),
    ("exponential", {"gamma": 0.01}, [0.01 ** (t / 14) for t in range(14)]),
    ("multistep", {"milestones": [1], "gamma": 0.2}, [1.0] * 7 + [0.2] * 7),
])  # fmt: skip
def test_schedules_of_a_run(tmp_path, name, more, expected):
    run = Run(config(schedule=name, warmup=0.0, lr=0.01, **more), tmp_path)     # 100 images: 7 steps an epoch
    rates = []
    for _ in range(14):
        rates.append(run.state.optimizer.param_groups[0]["lr"])
        run.state.schedule.step()
    np.testing.assert_allclose(rates, np.multiply(0.01, expected))


def test_a_milestone_is_an_epoch_also_behind_a_warm_up(tmp_path):
    run = Run(config(epochs=4, schedule="multistep", milestones=[3], warmup=1.0, lr=0.01), tmp_path)
    rates = [(run.state.optimizer.param_groups[0]["lr"], run.state.schedule.step())[0] for _ in range(28)]
    assert [t for t in range(8, 28) if rates[t] < 0.9 * rates[t - 1]] == [21]


def test_early_stopping(tmp_path, monkeypatch):
    run = Run(config(epochs=20, patience=3), tmp_path)
    planned = iter([0.5, 0.6, 0.7, 0.6, 0.7, 0.5, 0.9])

    def evaluate(batches):
        right = round(next(planned) * 10)
        return type("E", (), {"accuracy": right / 10, "loss": 1.0})

    monkeypatch.setattr(run, "evaluate", evaluate)
    assert [r["best"] for r in run.train()] == [True, True, True, False, False, False]


def test_a_net_can_learn_two_batches_by_heart_and_the_same_ones_every_epoch(tmp_path):
    run = Run(config(epochs=40, overfit_batches=2, schedule="constant", warmup=0.0), tmp_path)
    assert len(run.training) == len(run.validation) == 32
    assert run.loader.transform.steps == (), "as they are"
    records = run.train()
    assert records[-1]["val_accuracy"] == 1.0


def test_the_average_is_what_is_kept(tmp_path):
    run = Run(config(ema=0.5), tmp_path)
    run.train()
    from minicnn.io import model_file

    kept = model_file.load(tmp_path / "last.safetensors")[0].parameters()
    for p, own, mean in zip(kept, run.model.parameters(), run.state.average.average):
        assert np.array_equal(p.data, mean)
        assert not np.array_equal(p.data, own.data)


# --------------------------------------------------------------------------------------------------- gradients by layer


def test_the_flow_of_gradients_by_hand(tmp_path):
    seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 26 * 26, 10))
    net[0].weight.data[1] = 0
    net[0].bias.data[:] = [0.0, -1.0, 0.0]                       # map 1 is −1 everywhere: dead
    x, y = prepare(TINY.train.images[:8]), TINY.train.labels[:8]
    cross_entropy(net(x), y).backward()
    net.train()
    first, last = gradient_flow.report(net, x)
    assert (first["layer"], first["kind"], last["layer"], last["kind"]) == ("0", "Conv2d", "3", "Linear")
    assert (first["dead"], last["dead"]) == (pytest.approx(1 / 3), None)
    own = np.sqrt((net[3].weight.grad.astype(float) ** 2).sum() + (net[3].bias.grad.astype(float) ** 2).sum())
    assert last["gradient"] == pytest.approx(own)
    assert first["weights"] == pytest.approx(np.sqrt((net[0].weight.data.astype(float) ** 2).sum() + 1))
    assert net.training, "left as it was"
    mixed = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU()).train()
    mixed[1].eval()
    before = mixed.state_dict()
    gradient_flow.report(mixed, x)
    assert [layer.training for layer in mixed] == [True, False, True], "each layer in its own mode, as it was"
    assert all(np.array_equal(array, before[name]) for name, array in mixed.state_dict().items())
    run = Run(config(gradient_flow=True), tmp_path)
    layers = [r["layers"] for r in run.train()]
    names = ["features.0", "features.3", "classifier.1", "classifier.3", "classifier.5"]
    assert [row["layer"] for row in layers[1]] == names
    assert all(row["gradient"] > 0 and row["weights"] > 0 for row in layers[1])
    assert [json.loads(line)["layers"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == layers


# ------------------------------------------------------------------------------------------------------- learning rates


def test_the_search_grows_the_rate_and_finds_where_the_loss_falls(tmp_path, monkeypatch):
    monkeypatch.setattr(data.registry, "load", lambda name: DIGITS)
    run = Run.without_folder(config(optimizer="sgd", warmup=0.0))
    search = finder.find_lr(run, low=1e-4, high=100.0, steps=61)
    assert search.rates == pytest.approx([1e-4 * 10 ** (t / 10) for t in range(len(search.rates))])
    assert len(search.rates) < 61, "the loss explodes long before a rate of 100"
    assert search.least == search.rates[int(np.argmin(search.smoothed))]
    assert search.suggestion == search.least / 10
    assert 1e-3 < search.suggestion < 0.1
    assert search.steepest < search.least
    s = 0.0
    for t, loss in enumerate(search.losses, 1):
        s = 0.9 * s + 0.1 * loss
        assert search.smoothed[t - 1] == pytest.approx(s / (1 - 0.9**t))
    finder.draw(search, tmp_path / "lr.png")
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
    by_default = finder.find_lr(run)                       # docs/training.md: a hundred steps, from 1e-6 to 1
    assert by_default.rates == pytest.approx(np.geomspace(1e-6, 1, 100)[: len(by_default.rates)])


def test_the_picture_of_the_search_has_both_curves_and_three_marks(tmp_path, monkeypatch):
    figure, kept = pytest.importorskip("matplotlib.figure"), []
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *args: kept.append(self))
    finder.draw(finder.Search([1e-3, 1e-2, 1e-1], [2.0, 1.0, 3.0], [2.0, 1.5, 1.8], 1e-2, 2e-3, 1e-3), "lr.png")
    ax = kept[0].axes[0]
    losses, smoothed, *marks = ax.lines
    assert (list(losses.get_xdata()), list(losses.get_ydata())) == ([1e-3, 1e-2, 1e-1], [2.0, 1.0, 3.0])
    assert (list(smoothed.get_xdata()), list(smoothed.get_ydata())) == ([1e-3, 1e-2, 1e-1], [2.0, 1.5, 1.8])
    assert [mark.get_xdata()[0] for mark in marks] == [2e-3, 1e-2, 1e-3]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "loss of each batch", "smoothed", "falls fastest at 0.002", "is least at 0.01", "a tenth of that: 0.001"]
    assert (ax.get_xlabel(), ax.get_xscale(), ax.get_ylim()[0]) == ("learning rate", "log", 0)


def test_a_search_that_finds_nothing():
    rates = [10.0**k for k in range(-20, 0)]
    with pytest.raises(ValueError, match=r"^the loss falls at no learning rate: check the data and"):
        finder._marks(rates, list(np.linspace(1, 4, 20)))
    least, steepest = finder._marks(rates, [3.0] * 12 + [2.8, 2.0, 1.9, 1.8, 1.85, 2, 3, 9])
    assert (least, steepest) == (1e-5, 1e-8), "the slope is taken over two steps: 3.0 to 2.0, or 2.8 to 1.9"
    with pytest.raises(ValueError, match=r"^the rates to try, 1 to 0\.1, must be above 0, the lower one first$"):
        finder.find_lr(Run.without_folder(config()), low=1.0, high=0.1)


# --------------------------------------------------------------------------------------------------------- TensorBoard


@pytest.mark.parametrize(("data_", "crc"), [
    (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E),
    (bytes(reversed(range(32))), 0x113FDB5C), (b"", 0),
])  # fmt: skip
def test_crc32c_gives_the_values_of_rfc_3720(data_, crc):
    assert tensorboard.crc32c(data_) == crc


def crc_bit_by_bit(data_):
    """Division by x³² + x²⁸ + x²⁷ + … + 1 (0x1EDC6F41), as in the RFC: bits in reverse, begun and ended with ones."""
    register = 0xFFFFFFFF
    for byte in data_:
        for bit in range(8):
            top = (register >> 31) ^ (byte >> bit & 1)
            register = (register << 1 & 0xFFFFFFFF) ^ (0x1EDC6F41 if top else 0)
    return int(f"{register ^ 0xFFFFFFFF:032b}"[::-1], 2)


def records(content):
    """The records of a TFRecord file; every checksum is checked."""
    def check(piece, stored):
        crc = crc_bit_by_bit(piece)
        rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
        assert stored == (rotated + 0xA282EAD8) % 2**32

    while content:
        (length,), (crc,) = struct.unpack("<Q", content[:8]), struct.unpack("<I", content[8:12])
        check(content[:8], crc)
        check(content[12 : 12 + length], struct.unpack("<I", content[12 + length : 16 + length])[0])
        yield content[12 : 12 + length]
        content = content[16 + length :]


def fields(message):
    """[(field, value)] of a protobuf message: varints, doubles, floats and bytes."""
    def varint():
        nonlocal message
        n = 0
        for shift in itertools.count(0, 7):
            byte, message = message[0], message[1:]
            n |= (byte & 127) << shift
            if byte < 128:
                return n

    while message:
        field, kind = divmod(varint(), 8)
        if kind == 0:
            yield field, varint()
            continue
        size = {1: 8, 5: 4}.get(kind) or varint()
        piece, message = message[:size], message[size:]
        yield field, struct.unpack("<d" if kind == 1 else "<f", piece)[0] if kind in (1, 5) else piece


def scalars(path):
    first, *rest = (dict(fields(record)) for record in records(path.read_bytes()))
    assert first[3] == b"brain.Event:2"
    for event in rest:
        assert 1.7e9 < event[1] < 1e10, "seconds since 1970"
        for field, value in fields(event[5]):
            assert field == 1
            tag, number = (dict(fields(value))[f] for f in (1, 2))
            yield event.get(2, 0), tag.decode(), number


def test_event_files_hold_every_step_and_epoch_and_a_resumed_run_begins_another(tmp_path):
    run = Run(config(tensorboard=True, checkpoint_steps=1), tmp_path)
    losses = {}
    run.train(on_step=losses.__setitem__)
    (path,) = tmp_path.glob("events.out.tfevents.*")
    found = list(scalars(path))
    assert [(step, number) for step, tag, number in found if tag == "loss/step"] == [
        (step, pytest.approx(loss, rel=1e-6)) for step, loss in losses.items()]  # fmt: skip
    for tag, name in (("loss/validation", "val_loss"), ("accuracy/training", "accuracy")):
        assert [(step, n) for step, t, n in found if t == tag] == [
            (7 * r["epoch"] - 1, pytest.approx(r[name], rel=1e-6)) for r in run.metrics]  # fmt: skip
    large = tensorboard.EventFile(tmp_path)
    assert large.path != path
    large.write(2**40 + 300, {"a": -1.5})
    assert list(scalars(large.path)) == [(2**40 + 300, "a", -1.5)]
    Run(config(epochs=1), tmp_path, overwrite=True)
    assert not list(tmp_path.glob("events*"))


def test_tensorboard_reads_them(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    tensorboard.EventFile(tmp_path).write(7, {"loss": 0.25})
    (path,) = tmp_path.iterdir()
    *_, event = EventFileLoader(str(path)).Load()
    assert event.step == 7
    assert event.summary.value[0].tag == "loss"


def test_the_normalisations_are_the_published_ones():
    assert NORMALISATIONS["imagenet"] == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    pixels = np.array([[[0, 255]]] * 3, np.uint8)
    caffe = data.normalise(pixels, *NORMALISATIONS["caffe"])
    np.testing.assert_allclose(caffe[:, 0, 0], [-123.68, -116.779, -103.939], rtol=1e-5)
    np.testing.assert_allclose(data.normalise(pixels, *NORMALISATIONS["inception"])[0, 0], [-1, 1], atol=1e-6)


def test_a_part_of_tiny_is_a_part():
    assert len(part(TINY.train, 3)) == 30
    assert isinstance(part(TINY.train, 3), Dataset)
    assert len(Batches(TINY.train, 16, shuffle=False)) == 8
