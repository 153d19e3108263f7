"""The settings of a run: what they make of it, and every refusal."""

import math

import numpy as np
import pytest

from minicnn import data
from minicnn.data import NORMALISATIONS, Dataset, Splits
from minicnn.io import model_file
from minicnn.train import Config, Run
from minicnn.train.source import open_splits
from tests.data.pictures import make_folder
from tests.train.tiny import TINY


@pytest.fixture
def tiny(monkeypatch):
    """`data.load` gives 120 images to learn from and 40 to test on."""
    monkeypatch.setattr(data.registry, "load", lambda name: TINY)


def config(**changes):
    return Config(**{"epochs": 2, "batch_size": 16, "validation": 0.2, **changes})


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
@pytest.mark.usefixtures("tiny")
def test_optimisers_and_schedules_of_a_run(tmp_path, name, schedule):
    run = Run(config(epochs=4, optimizer=name, schedule=schedule, lr=0.01, weight_decay=0.02, momentum=0.8, warmup=1),
              tmp_path)                                          # 100 images, 7 steps an epoch, 28 in all, 7 to warm up
    assert type(run.state.optimizer).__name__ == {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}[name]
    group = run.state.optimizer.param_groups[0]
    assert group["weight_decay"] == 0.02
    assert group.get("momentum", 0.8) == 0.8
    rates = []
    for _ in range(28):
        rates.append(group["lr"])
        run.state.schedule.step()
    np.testing.assert_allclose(rates[:7], [0.01 * (0.1 + 0.9 * t / 7) for t in range(7)])
    after = {"cosine": [(1 + math.cos(math.pi * t / 21)) / 2 for t in range(21)], "constant": [1.0] * 21,
             "step": [0.1 ** (t // 7) for t in range(21)]}[schedule]
    np.testing.assert_allclose(rates[7:], np.multiply(0.01, after))


@pytest.mark.parametrize(("changes", "error", "sentence"), [
    ({"dataset": "digit"}, ValueError, "unknown dataset 'digit': did you mean 'digits'?"),
    ({"model": "lenet"}, ValueError, "unknown model 'lenet': did you mean 'lenet5'?"),
    ({"optimizer": "SGD"}, ValueError, "unknown optimizer 'SGD': did you mean 'sgd'?"),
    ({"schedule": "cosin"}, ValueError, "unknown schedule 'cosin': did you mean 'cosine'?"),
    ({"device": "gpu"}, ValueError, "unknown device 'gpu': did you mean 'cpu'?"),
    ({"device": "cuda:0"}, ValueError, "device 'cuda:0' is not usable: "),
    ({"epochs": 0}, ValueError, "epochs (=0) must be at least 1"),
    ({"epochs": 2.5}, TypeError, "epochs must be an integer, not 2.5"),
    ({"batch_size": 0}, ValueError, "batch_size (=0) must be at least 1"),
    ({"size": -1}, ValueError, "size (=-1) must be at least 0"),
    ({"augment": "flop"}, ValueError, "unknown augmentation 'flop': did you mean 'flip'?"),
    ({"fit": "crap"}, ValueError, "unknown fit 'crap': did you mean 'crop'?"),
    ({"class_weights": "equal"}, ValueError, "unknown class_weights 'equal'. Known: balanced, none"),
    ({"schedule": "multistep"}, ValueError, "milestones (=[]) are for the schedule 'multistep', which needs them"),
    ({"milestones": [3]}, ValueError, "milestones (=[3]) are for the schedule 'multistep', which needs them; the "),
    ({"milestones": [3, 20], "schedule": "multistep"}, ValueError, "milestones (=[3, 20]) must be epochs from 1 to 19"),
    ({"milestones": [2.5], "schedule": "multistep"}, ValueError, "milestones (=[2.5]) must be epochs from 1 to 19"),
    ({"clip": -1.0}, ValueError, "clip (=-1.0) must be a number of at least 0"),
    ({"accumulate": 0}, ValueError, "accumulate (=0) must be at least 1"),
    ({"ema": 1.0}, ValueError, "ema (=1.0) must be at least 0 and below 1"),
    ({"patience": -1}, ValueError, "patience (=-1) must be at least 0"),
    ({"gamma": 0.0}, ValueError, "gamma (=0.0) must be a number above 0"),
    ({"workers": -2}, ValueError, "workers (=-2) must be at least -1"),
    ({"checkpoint_seconds": -1.0}, ValueError, "checkpoint_seconds (=-1.0) must be a number of at least 0"),
    ({"checkpoint_steps": -1}, ValueError, "checkpoint_steps (=-1) must be at least 0"),
    ({"seed": -1}, ValueError, "seed (=-1) must be at least 0"),
    ({"warmup": -0.5}, ValueError, "warmup (=-0.5) must be a number of at least 0"),
    ({"warmup": math.nan}, ValueError, "warmup (=nan) must be a number of at least 0"),
    ({"momentum": -1}, ValueError, "momentum (=-1) must be a number of at least 0"),
    ({"weight_decay": math.inf}, ValueError, "weight_decay (=inf) must be a number of at least 0"),
    ({"label_smoothing": 1.0}, ValueError, "label_smoothing (=1.0) must be at least 0 and below 1"),
    ({"validation": 0.0}, ValueError, "validation (=0.0) must be between 0 and 1: it is the share"),
    ({"validation": 1}, ValueError, "validation (=1) must be between 0 and 1"),
    ({"validation": 0.0, "weights": "a.npz", "unfreeze": "all"}, ValueError, "validation (=0.0) must be between 0 and"),
    ({"lr": 0.0}, ValueError, "lr (=0.0) must be a number above 0"),
    ({"lr": math.nan}, ValueError, "lr (=nan) must be a number above 0"),
], ids=str)  # fmt: skip
def test_every_bad_value_has_its_sentence_before_a_folder_is_made(tmp_path, changes, error, sentence):
    with pytest.raises(error) as caught:
        Run(Config(**changes), tmp_path / "run")
    assert str(caught.value).startswith(sentence)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("changes", [
    {}, {"validation": 1e-6}, {"validation": 0.0, "weights": "a.npz"},
    {"milestones": [1, 19], "schedule": "multistep"}])  # fmt: skip
def test_a_good_config_gives_itself(changes):
    c = Config(**changes)
    assert c.check() is c


def shaped(C, H, W, classes=2):
    images = np.random.default_rng(0).integers(0, 256, (20, C, H, W)).astype(np.uint8)
    half = Dataset(images, np.arange(20) % classes)
    return Splits.of_arrays("shaped", half, half, tuple(map(str, range(classes))), (0.5,) * C, (0.25,) * C)


@pytest.mark.parametrize(("fit", "size", "resize"), [("crop", 0, 256), ("crop", 56, 64), ("stretch", 0, 0),
                                                     ("pad", 56, 0)])
def test_a_crop_is_7_8_of_the_shorter_side_as_for_imagenet(tmp_path, fit, size, resize):
    make_folder(tmp_path, {"a": 4, "b": 4})
    splits = open_splits(Config(dataset=str(tmp_path), model="resnet18", fit=fit, size=size))
    assert (splits.preprocessing.size, splits.preprocessing.resize) == ((size or 224,) * 2, resize)
    assert (splits.preprocessing.mean, splits.preprocessing.std) == NORMALISATIONS["imagenet"]


def test_grey_pictures_become_numbers_from_minus_2_to_2(tmp_path):
    make_folder(tmp_path, {"a": 4, "b": 4})
    prepare = open_splits(Config(dataset=str(tmp_path), model="lenet5")).preprocessing
    assert prepare.normalise(np.array([0, 255], np.uint8).reshape(1, 1, 1, 2)).tolist() == [[[[-2, 2]]]]


def test_images_of_a_wrong_size_are_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(data.registry, "load", lambda name: shaped(1, 32, 32))
    with pytest.raises(ValueError) as error:
        Run(config(), tmp_path / "run")
    assert str(error.value).startswith("lenet5 does not take the (1, 32, 32) images of digits (")
    assert str(error.value).endswith("); lenet5 was made for (1, 28, 28): choose another model or dataset")
    assert not (tmp_path / "run").exists()


def test_colours_and_other_numbers_of_classes_are_taken_from_the_dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(data.registry, "load", lambda name: shaped(3, 28, 28, classes=5))
    run = Run(config(epochs=1, augment="none"), tmp_path / "run")
    run.train()
    assert run.test().confusion.shape == (5, 5)
    assert model_file.load(tmp_path / "run" / "best.safetensors")[1].input == [3, 28, 28]


@pytest.mark.usefixtures("tiny")
def test_a_model_of_another_number_of_classes_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"^lenet5 gives outputs of shape \(12,\), but digits has 10 classes: set "
                                         r"num_classes to that$"):
        Run(config(options={"num_classes": 12}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
