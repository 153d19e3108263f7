"""The longest way through a net, its stages, and stacks of filters, against papers' tables, names and closed forms."""

import re

import pytest

from minicnn import models
from minicnn.inspect import summary
from minicnn.inspect.ilsvrc import results
from minicnn.inspect.main_path import Shortcut, main_path
from minicnn.inspect.stages import stacks, stages
from minicnn.nn import Conv2d, Linear, MaxPool2d, Module, ReLU, Sequential, init
from minicnn.ops import concat


def path_of(name):
    with init.shapes_only():
        net = models.build(name)
    return main_path(net, models.input_shape(name))


NAMED = ["vgg11", "vgg16_c", "vgg19_bn", "plain34", "resnet18", "resnet50", "resnet50:paper", "resnet152", "plain56",
         "resnet56", "preact_resnet50", "preact_resnet110", "densenet121", "densenet_bc100_12"]  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (i % 3 != 1))
                                  for i, name in enumerate(NAMED)])
def test_the_depth_is_the_number_in_the_name(name):
    assert path_of(name).depth == int(re.search(r"\d+", name)[0])


@pytest.mark.parametrize(("name", "depth"), [("lenet5", 5), ("alexnet", 8), ("zfnet", 8), ("googlenet", 22),
                                             ("mobilenet_v1", 28)])
def test_the_depth_that_the_paper_counts(name, depth):
    """Krizhevsky 2012, §3.5; Szegedy 2014, Table 1: 22 layers with parameters; Howard 2017, §3.2: 28 layers."""
    assert path_of(name).depth == depth


@pytest.mark.parametrize(("name", "sums", "projected", "resized"), [
    ("plain34", 0, 0, 0), ("resnet34", 16, 3, 3), ("resnet50", 16, 4, 4), ("resnet56", 27, 0, 2),
    ("preact_resnet34", 16, 3, 3), ("vgg19", 0, 0, 0)])
def test_shortcuts(name, sums, projected, resized):
    """He 2015, Table 1: 3 + 4 + 6 + 3 blocks; option B projects where the shape changes, option A (CIFAR) nowhere."""
    shortcuts = path_of(name).shortcuts
    assert len(shortcuts) == sums
    assert sum(s.projected for s in shortcuts) == projected
    assert sum(s.resized for s in shortcuts) == resized
    assert all(s.start < s.end for s in shortcuts)


def test_the_steps_of_vgg19_are_column_e():
    """Simonyan & Zisserman 2014, Table 1."""
    said = [str(step) for step in path_of("vgg19").steps]
    wanted = []
    for channels, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        wanted += [f"3×3 conv, {channels}"] * count + ["pool 2×2, /2"]
    assert said == [*wanted, "linear, 4096", "linear, 4096", "linear, 1000"]


class Forked(Module):
    """Two ways: two layers, and one with a branch that is summed."""

    def __init__(self):
        self.a = Sequential(Conv2d(3, 4, 3, padding=1), ReLU(), Conv2d(4, 5, 5, 2, padding=2))
        self.b = Conv2d(3, 6, 1, 2)
        self.last = Conv2d(11, 11, 3, padding=1)
        self.pool = MaxPool2d(4)
        self.fc = Linear(11, 2)

    def forward(self, x):
        y = concat(self.a(x), self.b(x), axis=1)
        y = y + self.last(y)
        return self.fc(self.pool(y).reshape((y.shape[0], 11)))


def test_a_net_of_ones_own():
    path = main_path(Forked(), (3, 8, 8))
    said = [str(s) for s in path.steps]
    assert said == ["3×3 conv, 4", "5×5 conv, 5, /2", "3×3 conv, 11", "pool 4×4, /4", "linear, 2"]
    assert path.depth == 4
    assert [s.size for s in path.steps] == [8, 4, 4, 1, 1]
    # the maps at step 2 have 5 channels on this way and 11 behind the join
    assert path.shortcuts == (Shortcut(2, 3, False, True),)


class Pooled(Module):
    """The way with more layers is the one with fewer weights."""

    def __init__(self):
        self.convs = Sequential(Conv2d(3, 4, 3, 2, padding=1), Conv2d(4, 4, 3, 2, padding=1))
        self.pools = Sequential(MaxPool2d(2), MaxPool2d(2), Conv2d(3, 5, 1))

    def forward(self, x):
        return concat(self.pools(x), self.convs(x), axis=1)


def test_the_longest_way_counts_weights():
    assert [step.channels for step in main_path(Pooled(), (3, 8, 8)).steps] == [4, 4]


# --------------------------------------------------------------------------------------------------------------- stages


@pytest.mark.parametrize("name", ["vgg16", "googlenet", "lenet5:1998", *(
    pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "densenet121", "mobilenet_v3_small"))])
def test_every_parameter_is_in_one_stage(name):
    with init.shapes_only():
        report = summary(models.build(name), models.input_shape(name))
    found = stages(report)
    assert sum(s.parameters for s in found) == report.totals["parameters"]
    assert sum(s.macs for s in found) == report.totals["macs"]
    assert len({s.size for s in found}) == len(found)


def test_the_work_of_a_filter_in_resnet34_and_vgg16():
    """9·C·C·H·W: He 2015, §3.3 doubles C when H and W are halved; VGG stops at 512."""
    for name, channels, sides in (("resnet34", (64, 128, 256, 512), (56, 28, 14, 7)),
                                  ("vgg16", (64, 128, 256, 512, 512), (224, 112, 56, 28, 14))):
        with init.shapes_only():
            found = stages(summary(models.build(name), (3, 224, 224)))
        by_size = {s.size: s for s in found}
        for c, side in zip(channels, sides):
            assert by_size[side, side].typical_macs == 9 * c * c * side * side
            assert by_size[side, side].channels == c


def test_stacks_by_their_closed_forms():
    for shape in ((64, 56, 56), (5, 12, 9)):
        C, H, W = shape
        for (large, small), k in zip(stacks(shape), (5, 7, 11), strict=True):
            assert (large.kernel, large.count, small.kernel, small.count) == (k, 1, 3, (k - 1) // 2)
            assert large.field == small.field == k
            assert large.parameters == k * k * C * C
            assert small.parameters == (k - 1) // 2 * 9 * C * C
            assert (large.macs, small.macs) == (large.parameters * H * W, small.parameters * H * W)
    assert stacks((64, 56, 56))[1][1].parameters == 110_592


# --------------------------------------------------------------------------------------------------------------- ILSVRC


def test_the_challenge():
    """Figures that several sources agree on; the winners of 2012, 2014 and 2015, and who came second in 2014."""
    found = {(r.year, r.entry.partition(":")[0], r.nets, r.extra): r for r in results()}
    assert found[2012, "SuperVision", 5, False].error == 16.4
    assert found[2012, "SuperVision", 7, True].error == 15.3
    assert (found[2014, "VGG", 7, False].error, found[2014, "VGG", 7, False].place) == (7.3, 2)
    assert (found[2014, "GoogLeNet", 7, False].error, found[2014, "GoogLeNet", 7, False].place) == (6.67, 1)
    assert (found[2015, "MSRA", 6, False].error, found[2015, "MSRA", 1, False].error) == (3.57, 4.49)
    (human,) = (r for r in results() if r.human)
    assert human.error == 5.1
    assert max(r.error for r in results() if r.year >= 2015) < human.error, "first below a person in 2015"
    assert all(r.where and r.on and 0 < r.error < 100 for r in results())
    assert all(r.model in models.names() for r in results() if r.model)
    winners = [r.year for r in results() if r.place == 1 and not r.extra]
    assert winners == sorted(set(winners)), "one a year"
