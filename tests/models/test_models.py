"""LeNet-5 against the paper's arithmetic, and the table that builds it."""

import numpy as np
import pytest

from minicnn import Tensor, data, inspect, models, nn, optim, seed
from minicnn.data import normalise
from minicnn.ops.softmax import cross_entropy

# name, kind, output for one image, parameters, multiply-adds: maps · (channels · taps + 1), outputs · products of each
LENET5 = [
    ("features.0", "Conv2d", (6, 28, 28), 6 * (1 * 25 + 1), 6 * 28 * 28 * 25),
    ("features.1", "ReLU", (6, 28, 28), 0, 0),
    ("features.2", "MaxPool2d", (6, 14, 14), 0, 0),
    ("features.3", "Conv2d", (16, 10, 10), 16 * (6 * 25 + 1), 16 * 10 * 10 * 6 * 25),
    ("features.4", "ReLU", (16, 10, 10), 0, 0),
    ("features.5", "MaxPool2d", (16, 5, 5), 0, 0),
    ("classifier.0", "Flatten", (400,), 0, 0),
    ("classifier.1", "Linear", (120,), 120 * 401, 120 * 400),
    ("classifier.2", "ReLU", (120,), 0, 0),
    ("classifier.3", "Linear", (84,), 84 * 121, 84 * 120),
    ("classifier.4", "ReLU", (84,), 0, 0),
    ("classifier.5", "Linear", (10,), 10 * 85, 10 * 84),
]


def test_lenet5_layer_by_layer():
    rows = inspect.summary(models.build("lenet5"), (1, 28, 28)).layers
    assert [(r.name, r.kind, r.output, r.parameters, r.macs) for r in rows] == LENET5


def test_lenet5_totals():
    # C5's 48,120 and F6's 10,164 parameters are printed in the paper (§II.B): our layers have its sizes.
    assert [row[3] for row in LENET5 if row[0] in ("classifier.1", "classifier.3")] == [48_120, 10_164]
    net = models.build("lenet5")
    assert sum(p.size for p in net.parameters()) == 61_706
    totals = inspect.summary(net, (1, 28, 28)).totals
    assert totals.items() >= {"parameters": 61_706, "buffers": 0, "macs": 416_520, "flops": 833_040}.items()


def test_names_and_shapes_of_the_state():
    shapes = {name: a.shape for name, a in models.build("lenet5").state_dict().items()}
    assert shapes == {
        "features.0.weight": (6, 1, 5, 5), "features.0.bias": (6,),
        "features.3.weight": (16, 6, 5, 5), "features.3.bias": (16,),
        "classifier.1.weight": (120, 400), "classifier.1.bias": (120,),
        "classifier.3.weight": (84, 120), "classifier.3.bias": (84,),
        "classifier.5.weight": (10, 84), "classifier.5.bias": (10,),
    }  # fmt: skip


def test_options():
    net = models.build("lenet5", num_classes=7, in_channels=3)
    assert net(Tensor(np.zeros((2, 3, 28, 28), np.float32))).shape == (2, 7)
    assert sum(p.size for p in net.parameters()) == 61_706 + 2 * 6 * 25 - 3 * 85


def test_each_build_draws_fresh_weights_and_the_seed_repeats_them():
    seed(3)
    first = models.build("lenet5").state_dict()
    second = models.build("lenet5").state_dict()
    seed(3)
    again = models.build("lenet5").state_dict()
    assert all(np.array_equal(first[k], again[k]) for k in first)
    assert not np.array_equal(first["features.0.weight"], second["features.0.weight"])


def test_it_takes_the_input_it_was_made_for():
    net = models.build("lenet5", num_classes=4)
    assert isinstance(net, nn.Module)
    assert net(Tensor(np.zeros((1, *models.input_shape("lenet5")), np.float32))).shape == (1, 4)


@pytest.mark.parametrize("look_up", [models.build, models.input_shape])
def test_an_unknown_model_is_told_the_nearest(look_up):
    with pytest.raises(ValueError, match=r"^unknown model 'lenet6': did you mean 'lenet5'\? Known: .*\blenet5\b"):
        look_up("lenet6")
    with pytest.raises(ValueError, match=r"^unknown model 'zzzz'\. Known: .*\blenet5\b"):
        look_up("zzzz")


def test_an_unknown_option_is_told_the_nearest():
    with pytest.raises(ValueError, match=r"^unknown option of model lenet5 'num_class': did you mean 'num_classes'\? "
                                         r"Known: in_channels, num_classes\b"):
        models.build("lenet5", num_class=10)


@pytest.mark.parametrize(("option", "sentence"), [
    ({"num_classes": 0}, r"num_classes \(=0\) must be at least 1"),
    ({"in_channels": -1}, r"in_channels \(=-1\) must be at least 1"),
])  # fmt: skip
def test_bad_options(option, sentence):
    with pytest.raises(ValueError, match=sentence):
        models.build("lenet5", **option)


@pytest.mark.slow
def test_lenet5_learns_one_batch_by_heart():
    """A net that can't learn 8 images has a wrong gradient, or a layer that is cut off."""
    seed(0)
    bundle = data.load("digits")
    chosen = [int(np.flatnonzero(bundle.train.labels == k)[0]) for k in range(8)]
    x = Tensor(normalise(bundle.train.images[chosen], bundle.mean, bundle.std))
    labels = bundle.train.labels[chosen]
    net = models.build("lenet5")
    optimizer = optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    first = None
    for _ in range(60):
        loss = cross_entropy(net(x), labels)
        first = loss.item() if first is None else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert first > 1.0
    assert cross_entropy(net(x), labels).item() < 0.05
    assert (net(x).numpy().argmax(1) == labels).all()
