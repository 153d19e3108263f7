"""Transfer learning and the search for a learning rate on two ranks, against one process."""

import json

import numpy as np
import pytest
import safetensors.numpy

from minicnn import Tensor, data, models, seed
from minicnn.io import model_file
from minicnn.ranks import Alone
from minicnn.train import Config, body, transfer
from tests.ranks.launch import launch
from tests.train.tiny import folder_of_pictures

NUMPY = {"MINICNN_CPU": "numpy"}


def verb(size, *words, cwd, **more):
    ended = launch(size, "-m", "minicnn", *map(str, words), cwd=cwd, **NUMPY, **more)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def shapes(tmp_path, rng):
    """A folder of pictures, and a net that learned others."""
    folder_of_pictures(tmp_path / "shapes", rng, per_class=12)
    seed(0)
    options = {"num_classes": 4, "width": 0.25}
    model_file.save(tmp_path / "body.safetensors", models.build("squeezenet1_1", **options),
                    model_file.Description.of("squeezenet1_1", options, ["a", "b", "c", "d"], data.Preprocessing(
                        (32, 32), (0.3, 0.3, 0.3), (0.2, 0.2, 0.2))))  # fmt: skip
    return tmp_path


@pytest.mark.slow
def test_a_head_is_solved_and_trained_further_on_three_ranks(shapes):
    """Each picture's features are those of one process, so the head is, too; then five digits of the losses."""
    options = ("shapes", "--weights", "body.safetensors", "--size", "32", "--test", "0.25", "--unfreeze", "features.12",
               "--epochs", "2", "--batch-size", "4", "--validation", "0.2", "--device", "cpu")  # fmt: skip
    found = [json.loads(verb(k, "transfer", *options, "--out", f"run{k}", "--json", cwd=shapes)) for k in (1, 3)]
    for key in ("weights", "head", "learns", "normalisation", "pictures", "features", "views", "lambda"):
        assert found[1]["head"][key] == found[0]["head"][key]
    heads = [safetensors.numpy.load_file(shapes / f"run{k}" / "head.safetensors") for k in (1, 3)]
    for name, values in heads[0].items():
        np.testing.assert_allclose(heads[1][name], values, rtol=1e-4, atol=1e-5)
    losses = [[[r["loss"], r["val_loss"]] for r in map(json.loads, lines)] for lines in
              ((shapes / f"run{k}" / "metrics.jsonl").read_text().splitlines() for k in (1, 3))]  # fmt: skip
    assert np.shape(losses) == (2, 2, 2)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5, atol=1e-6)  # one is 0.0006: a difference of logits


def test_a_rank_without_a_picture_adds_none(shapes):
    """Rank 0 of five shares four pictures; nobody adds anything here."""

    class OfFive(Alone):
        size = 5

    splits = data.load(str(shapes / "shapes"), validation=0.1, test=0.1).with_preprocessing(
        data.Preprocessing((32, 32), (0.3,) * 3, (0.2,) * 3))  # fmt: skip
    seed(0)
    net = models.build("squeezenet1_1", num_classes=4, width=0.25)
    options = {"num_classes": 4, "width": 0.25}
    head = body.split(net, "squeezenet1_1", options, Tensor(np.zeros((1, 3, 32, 32), np.float32)))
    config, few = Config(device="cpu", workers=0), splits.train.select([0, 1, 2, 3])
    found = [transfer._features(net, head, splits, few, config, "", "none", lambda *_: None, team)
             for team in (Alone(), OfFive())]  # fmt: skip
    assert found[0].shape == found[1].shape == (4, 128)
    assert found[0].any(1).all()
    assert not found[1].any()


@pytest.mark.slow
def test_a_learning_rate_is_found_by_two_ranks(tmp_path):
    """As long as the rate is small; where the loss grows again, the last digits of sums decide."""
    alone, both = (json.loads(verb(k, "train", "digits", "--find-lr", "--seed", "1", "--json", cwd=tmp_path))
                   for k in (1, 2))  # fmt: skip
    assert both["rates"][:60] == alone["rates"][:60]
    np.testing.assert_allclose(both["losses"][:60], alone["losses"][:60], rtol=1e-5)
    assert not (tmp_path / "runs").exists()
