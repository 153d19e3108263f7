"""One training: its record, the draw of its images, and the test images, which stay sealed until the end."""

from dataclasses import replace

import numpy as np
import pytest

from minicnn import data
from minicnn.claims import images as claim_images
from minicnn.claims import training
from minicnn.claims.claim import Arm, Plan
from minicnn.claims.images import Images, SealedError
from minicnn.data import Dataset
from minicnn.nn import Flatten, Linear, ReLU, Sequential


def linear():
    return Sequential(Flatten(), Linear(784, 10))


PLAN = Plan(arms=(Arm("linear", linear),), train=200, validation=50, test=100, epochs=2, rates=(0.02,))
ARM = PLAN.arms[0]


def test_the_images_are_drawn_with_the_seed_and_are_disjoint():
    one, again, other = (Images(PLAN, ARM, seed, False) for seed in (5, 5, 6))
    assert np.array_equal(one.train.images, again.train.images)
    assert not np.array_equal(one.train.images, other.train.images)
    assert (len(one.train), len(one.validation)) == (200, 50)
    rows = {image.tobytes() for image in one.train.images}
    assert not any(image.tobytes() in rows for image in one.validation.images)
    all_of_it = {image.tobytes() for image in data.load("digits").train.images}
    assert rows < all_of_it


def test_arms_of_one_stream_share_their_images_and_others_do_not():
    usual = Images(PLAN, ARM, 5, False).train.images
    assert np.array_equal(Images(PLAN, Arm("x", linear), 5, False).train.images, usual)
    assert not np.array_equal(Images(PLAN, Arm("x", linear, stream=1), 5, False).train.images, usual)


def test_classes_are_renumbered():
    found = Images(replace(PLAN, classes=(7, 3)), ARM, 5, False)
    whole = data.load("digits")
    label = {image.tobytes(): label for image, label in zip(whole.train.images, whole.train.labels.tolist())}
    assert {(label[image.tobytes()], new) for image, new in zip(found.train.images, found.train.labels.tolist())} == {
        (7, 0), (3, 1)}  # fmt: skip
    assert found.classes == 2


def test_a_change_gets_the_same_random_numbers_for_each_split():
    def permuted(images, labels, split, rng):
        seen.append((split, rng.permutation(784).tolist()))
        return images, labels

    seen = []
    Images(PLAN, Arm("x", linear, permuted), 5, False)
    assert [name for name, _ in seen] == ["train", "test", "validation"]
    assert seen[0][1] == seen[1][1] == seen[2][1]


def test_the_test_images_are_sealed_until_the_training_is_over():
    held = Images(PLAN, ARM, 5, False)
    with pytest.raises(SealedError, match="sealed until the training is over"):
        held.test.open()
    held.test.training_is_over()
    assert np.array_equal(held.test.open().images, data.load("digits").test.images[:100])


def test_a_pilot_never_sees_them():
    held = Images(PLAN, ARM, 5, True)
    held.test.training_is_over()
    with pytest.raises(SealedError, match="may not see the test images"):
        held.test.open()


def test_a_training_opens_them_once_after_its_last_step_and_a_pilot_does_not(monkeypatch):
    told = []
    monkeypatch.setattr(claim_images.Sealed, "open", lambda self, opened=claim_images.Sealed.open:
                        told.append("test") or opened(self))  # fmt: skip
    usual = training.train_epoch
    monkeypatch.setattr(training, "train_epoch", lambda *args, **more: told.append("epoch") or usual(*args, **more))
    training.run(PLAN, ARM, 0.02, 5)
    assert told == ["epoch", "epoch", "test"]
    told.clear()
    record = training.run(PLAN, ARM, 0.02, 5, pilot=True)
    assert told == ["epoch", "epoch"]
    assert {"validation_error", "validation_loss"} <= record["values"].keys()
    assert "test_error" not in record["values"]


def test_a_net_that_peeks_is_caught():
    def peek(net, source, plan, seed, device):
        held = Images(plan, ARM, seed, False)
        held.test.open()

    with pytest.raises(SealedError):
        training.run(PLAN, Arm("x", linear, before=peek), 0.02, 5)


def test_the_record_is_what_a_loop_over_the_images_gives():
    """The errors, from a net that the test trains and evaluates by itself."""
    kept = []

    def net():
        kept.append(linear())
        return kept[-1]

    record = training.run(PLAN, Arm("x", net), 0.02, 5)
    whole = data.load("digits")
    weight, bias = (p.numpy().astype(float) for p in kept[0].parameters())

    def error(split):
        x = (split.images.reshape(len(split), 784) / 255 - whole.mean[0]) / whole.std[0]
        return 100 * np.mean((x @ weight.T + bias).argmax(1) != split.labels)

    held = Images(PLAN, ARM, 5, False)
    assert record["values"]["train_error"] == pytest.approx(error(held.train), abs=1e-4)
    assert record["values"]["test_error"] == pytest.approx(error(whole.test[:100]), abs=1e-4)
    assert record["values"]["gap"] == pytest.approx(record["values"]["test_error"] - record["values"]["train_error"])
    assert record == training.run(PLAN, Arm("x", linear), 0.02, 5), "a job is a function of its arguments"
    assert record != training.run(PLAN, Arm("x", linear), 0.02, 6) | {"seed": 5}


def test_a_training_that_diverges_counts_as_guessing():
    record = training.run(replace(PLAN, epochs=3), ARM, 1e38, 5)
    assert record["diverged"]
    assert record["values"] == {"train_error": 90.0, "test_error": 90.0, "gap": 0.0}


def test_a_net_that_guesses_to_the_end_has_diverged():
    def dead():
        net = Sequential(Flatten(), Linear(784, 10), ReLU())
        net.parameters()[1].data -= 1e6                    # no pixel brings a unit back above 0
        return net

    record = training.run(replace(PLAN, epochs=2), Arm("x", dead), 0.02, 5)
    assert record["diverged"]
    assert record["curve"] == pytest.approx([90, 90], abs=3)
    assert record["values"] == {"train_error": 90.0, "test_error": 90.0, "gap": 0.0}
    slow = training.run(replace(PLAN, epochs=1), ARM, 0.01, 5)
    assert 50 < slow["values"]["train_error"] < 80
    assert not slow["diverged"], "it learns, though slowly"


def test_no_step_is_larger_than_the_limit_allows():
    """A rate of 1000 leads far away at once; with a limit of 1, each step leads at most 1000 away."""
    def length(clip):
        kept = []
        training.run(replace(PLAN, epochs=1, clip=clip, momentum=0.0, schedule="constant"),
                     Arm("x", lambda: kept.append(linear()) or kept[-1]), 1e3, 5)  # fmt: skip
        return float(np.sqrt(sum((p.numpy() ** 2).sum() for p in kept[0].parameters())))

    steps = -(-PLAN.train // PLAN.batch_size)
    assert length(1.0) <= 1.01 * steps * 1e3 < length(0.0)


def test_the_goal_ends_the_training_and_its_time_is_between_two_epochs():
    # the mean of epoch e is the error at e − ½: 80 at 1.5 and 20 at 2.5 reach 35 at 1.5 + 45/60
    assert training.crossing([90.0, 80.0, 20.0], 35.0) == pytest.approx(1.5 + 45 / 60)
    assert training.crossing([30.0], 35.0) == 0.5
    plan = replace(PLAN, epochs=30, goal=30.0, pilot_by="epochs")
    record = training.run(plan, ARM, 0.02, 5)
    assert record["reached"]
    assert len(record["curve"]) < 30
    assert record["curve"][-1] <= 30 < record["curve"][-2]
    assert record["values"] == {"epochs": pytest.approx(training.crossing(record["curve"], 30.0))}
    late = training.run(replace(plan, epochs=1, goal=1.0), ARM, 0.0001, 5)
    assert (late["reached"], late["values"]) == (False, {"epochs": 1.0})


def test_missing_data_is_one_sentence_that_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MINICNN_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"needs mnist, which is not on this machine.*minicnn data get mnist"):
        training.run(replace(PLAN, data="mnist"), ARM, 0.02, 5)
    with pytest.raises(FileNotFoundError, match="by --data FOLDER"):
        training.run(replace(PLAN, data="folder"), ARM, 0.02, 5)
    with pytest.raises(ValueError, match="has 5,000 training images, but the plan needs 4,990 and 50"):
        training.run(replace(PLAN, train=4990), ARM, 0.02, 5)


def test_a_folder_of_pictures_is_trained_on(tmp_path):
    from tests.train.tiny import folder_of_pictures

    folder_of_pictures(tmp_path / "train", np.random.default_rng(0), per_class=12)
    folder_of_pictures(tmp_path / "val", np.random.default_rng(1), per_class=4)
    plan = Plan(arms=(Arm("x", lambda: Sequential(Flatten(), Linear(3 * 16 * 16, 2))),), data="folder", size=16,
                train=16, validation=8, epochs=1, batch_size=8)  # fmt: skip
    record = training.run(plan, plan.arms[0], 0.001, 5, folder=str(tmp_path))
    assert 0 <= record["values"]["test_error"] <= 100
    held = Images(plan, plan.arms[0], 5, False, str(tmp_path))
    held.test.training_is_over()
    assert (len(held.train), len(held.validation), len(held.test.open()), held.classes) == (16, 8, 8, 2)


def test_dataset_is_what_a_change_returns():
    part = Dataset(np.zeros((2, 1, 3, 3), np.uint8), np.array([0, 1]))
    arm = Arm("x", linear, lambda images, labels, split, rng: (images + np.uint8(7), labels[::-1].copy()))
    found = claim_images.changed(arm, part, "train", 1)
    assert found.images.max() == 7
    assert found.labels.tolist() == [1, 0]
