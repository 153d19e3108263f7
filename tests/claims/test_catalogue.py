"""The claims that there are: each file loads, its nets fit its data at both sizes, and its words are complete."""

import re

import numpy as np
import pytest

from minicnn import inspect
from minicnn.claims import NAMES, digest, files, load
from minicnn.claims.catalogue.robustness import moved
from minicnn.claims.claim import SIZES
from minicnn.claims.engine import Experiment, Setup
from minicnn.data import registry
from minicnn.nn import init

SHAPES = {"digits": (1, 28, 28), "mnist": (1, 28, 28), "cifar-10": (3, 32, 32)}


def test_every_file_is_a_claim_and_every_claim_a_file():
    there = {path.stem.replace("_", "-") for path in files.FOLDER.glob("*.py")} - {"--init--"}
    assert there == set(NAMES)
    assert len(NAMES) >= 14
    assert [load(name).name for name in NAMES] == list(NAMES)
    assert len({digest(name) for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_its_file_is_short_and_says_first_what_is_claimed(name):
    text = files.path(name).read_text("utf-8")
    assert len(text.splitlines()) <= 100
    assert len(re.match(r'"""(.*)\n', text)[1]) > 40
    claim = load(name)
    for words in (claim.sentence, claim.source, claim.doubt, claim.shown_label, *claim.meaning.values()):
        assert words
    assert claim.sentence.endswith(".")
    for comparison in claim.comparisons:
        assert (comparison.published is None) == (comparison.published_where == "")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_its_nets_take_its_images(name, size):
    plan = load(name).plan(size)
    shape = SHAPES.get(plan.data, (3, plan.size, plan.size))
    classes = len(plan.classes) or (1000 if plan.data == "folder" else 10)
    for arm in plan.arms:
        with init.shapes_only():
            net = arm.net()
        assert inspect.summary(net, shape).rows[-1].output == (classes,), arm.name
        assert re.fullmatch(r"[a-z0-9-]+", arm.name), "it is part of a file's name"


@pytest.mark.parametrize("name", NAMES)
def test_the_small_size_fits_its_data_and_needs_no_folder(name):
    plan = load(name).small
    assert plan.data in registry.DATASETS
    available = {"digits": 5000, "cifar-10": 50000}[plan.data]
    available = available * (len(plan.classes) or 10) // 10
    assert plan.train + plan.validation <= available
    assert plan.seeds >= 4
    assert Experiment(name, Setup()).trainings <= 150
    for arm in plan.arms:
        assert all(rate >= 0 for rate in arm.settings.get("rates", plan.rates))


def test_equal_nets_have_equal_sizes():
    """What an arm must not change: the number of parameters, where the claim is about something else."""
    def sizes(name):
        return {arm.name: sum(p.size for p in arm.net().parameters()) for arm in load(name).small.arms}

    assert set(sizes("overlap-pool").values()) == {53946}
    assert set(sizes("padding-overfit").values()) == {47530}
    assert set(sizes("relu-tanh").values()) == {25594}
    both = sizes("weight-sharing")
    assert both["conv"] == both["conv-permuted"] == 61706
    assert both["dense"] == both["dense-permuted"] == 60430
    # three 3×3 layers have 27·C² weights, one 7×7 layer 49·C², C = 16; and biases, and a smaller last layer
    three = sizes("three-3x3")
    assert three["large"] - three["stack"] == (49 - 27) * 256 - 2 * 16
    assert three["large-narrow"] == 448 + 9 * 785 + 10 * (16 * 9 + 1)


def test_a_digit_is_moved_as_it_says():
    def same(found, expected):
        return np.abs(found.astype(int) - expected).max() <= 1     # Pillow rounds down: 199.99 is 199

    image = np.zeros((28, 28), np.uint8)
    image[10:14, 6:9] = 200                                # rows 10 … 13, columns 6 … 8
    assert same(moved(image), image)
    assert same(moved(image, right=4), np.roll(image, 4, axis=1))
    assert same(moved(image, turn=90), np.rot90(image, -1))
    assert same(moved(image, turn=180, right=-2), np.roll(image[::-1, ::-1], -2, axis=1))
    square = np.zeros((28, 28), np.uint8)
    square[6:22, 6:22] = 200                               # a side of 16 becomes 12, and 8
    twelve, eight = np.zeros_like(square), np.zeros_like(square)
    twelve[8:20, 8:20], eight[10:18, 10:18] = 200, 200
    assert same(moved(square, scale=0.5), eight)
    assert np.mean(np.abs(moved(square, scale=0.75).astype(int) - twelve) > 1) < 0.06, "but for the blurred edge"
