"""A ValueError in a layer begins with the layer's name, as the outermost net that was called knows it."""

import re
import traceback

import numpy as np
import pytest

from minicnn import Tensor, models, nn
from minicnn.nn import Module, Sequential


def image(*shape):
    return Tensor(np.zeros(shape, np.float32))


def failure(net, x, kind=ValueError):
    with pytest.raises(kind) as caught:
        net(x)
    assert type(caught.value) is kind
    assert len(caught.value.args) == 1
    return str(caught.value)


class Two(Module):
    """A block with a list of layers, as a person would write one."""

    def __init__(self, *layers):
        self.stem = nn.ReLU()
        self.branches = list(layers)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.branches:
            x = layer(x)
        return x


class Own(Module):
    """A block that itself complains."""

    def __init__(self, problem):
        self.inner = nn.Identity()
        self.problem = problem

    def forward(self, x):
        raise self.problem


BARE = failure(nn.Conv2d(3, 4, 3), image(1, 2, 8, 8))


def test_a_layer_on_its_own_needs_no_name():
    assert BARE.startswith("w has shape (4, 3, 3, 3), but x has 2 channels")


@pytest.mark.parametrize(("net", "path"), [
    (lambda bad: Sequential(nn.ReLU(), bad), "1"),
    (lambda bad: Sequential({"act": nn.ReLU(), "conv": bad}), "conv"),
    (lambda bad: Sequential({"features": Sequential(nn.ReLU(), Sequential({"conv": bad}))}), "features.1.conv"),
    (lambda bad: Two(nn.ReLU(), bad), "branches.1"),
    (lambda bad: Sequential({"block": Two(Sequential(bad))}), "block.branches.0.0"),
    (lambda bad: Sequential(*[nn.ReLU()] * 11, Two(bad)), "11.branches.0"),
])  # fmt: skip
def test_the_path_is_the_one_of_named_modules(net, path):
    bad = nn.Conv2d(3, 4, 3)
    made = net(bad)
    assert failure(made, image(1, 2, 8, 8)) == f"{path} (Conv2d): {BARE}"
    assert dict(made.named_modules())[path] is bad


def test_a_layer_of_a_published_net():
    text = failure(models.build("alexnet", width=0.1, num_classes=2).eval(), image(1, 3, 40, 40))
    assert re.match(r"features\.12 \(MaxPool2d\): the window's height \(=3\) is larger than the padded input's", text)
    text = failure(models.build("resnet18", width=0.1, num_classes=2).eval(), image(1, 1, 64, 64))
    assert text.startswith("conv1 (Conv2d): w has shape (")


def test_a_shared_layer_has_its_first_name():
    shared = nn.Linear(4, 3)
    assert failure(Sequential(shared, nn.ReLU(), shared), image(1, 4)).startswith("0 (Linear): linear: x (1, 3) and ")
    twice = Sequential({"a": Two(nn.ReLU()), "b": Two(shared), "c": Two(shared)})
    assert failure(twice, image(1, 4)).startswith("c.branches.0 (Linear): "), "in the block where it failed"


def test_a_modules_own_complaint_is_named_by_those_around_it():
    own = ValueError("I want an even batch")
    assert failure(Own(own), image(1, 2)) == "I want an even batch"
    assert failure(Sequential(nn.ReLU(), Two(Own(ValueError("no")))), image(1, 2)) == "1.branches.0 (Own): no"


def test_a_layer_that_a_module_calls_but_does_not_hold():
    class Loose(Module):
        """Builds a layer on the way: nobody knows it by a name."""

        def forward(self, x):
            return nn.Linear(3, 2)(x)

    text = failure(Sequential({"loose": Loose()}), image(1, 4))
    assert text.startswith("loose (Linear): linear: x (1, 4) and w (2, 3)")
    assert text.count("(Linear): ") == 1
    text = failure(Loose(), image(1, 4))
    assert text.startswith("linear: x (1, 4)")


def test_the_name_is_put_there_once_however_deep_and_however_often():
    net = nn.Conv2d(3, 4, 3)
    for _ in range(30):
        net = Sequential(net)
    for _ in range(3):
        text = failure(net, image(1, 2, 8, 8))
        assert text == ".".join("0" * 30) + f" (Conv2d): {BARE}"


def test_what_is_caught_on_the_way_and_raised_anew_is_a_new_sentence():
    class Careful(Module):
        """Tries, and says it in its own words."""

        def __init__(self):
            self.inner = nn.Linear(3, 2)

        def forward(self, x):
            try:
                return self.inner(x)
            except ValueError as problem:
                raise ValueError(f"too careful: {problem}") from problem

    text = failure(Sequential(Careful()), image(1, 4))
    assert text.startswith("0 (Careful): too careful: linear: x (1, 4)")


def test_a_net_works_again_after_an_error():
    net = Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3))
    failure(net, image(1, 2, 8, 8))
    assert net(image(1, 3, 8, 8)).shape == (1, 4, 6, 6)


class OddError(ValueError):
    """A person's own kind of ValueError."""


def test_subclasses_stay_what_they_are():
    assert failure(Sequential(Own(OddError("odd"))), image(1, 2), OddError) == "0 (Own): odd"


@pytest.mark.parametrize("problem", [
    TypeError("a list is no tensor"), RuntimeError("odd"), IndexError("5"), KeyError("k"), MemoryError("full"),
    ZeroDivisionError("division by zero"), KeyboardInterrupt(),
], ids=lambda problem: type(problem).__name__)  # fmt: skip
def test_other_exceptions_are_let_through_untouched(problem):
    args = problem.args
    with pytest.raises(type(problem)) as caught:
        Sequential(Two(Own(problem)))(image(1, 2))
    assert caught.value is problem
    assert caught.value.args == args
    assert not vars(problem)


def test_the_traceback_still_leads_to_the_op():
    with pytest.raises(ValueError) as caught:
        Sequential(Sequential(nn.Linear(3, 2)))(image(1, 4))
    assert "linear" in traceback.extract_tb(caught.value.__traceback__)[-1].filename
    assert caught.value.__cause__ is None


def test_in_training_and_in_a_graph_too():
    net = Sequential({"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(5)}).train()
    assert failure(net, image(2, 3, 8, 8)).startswith("norm (BatchNorm2d): ")
