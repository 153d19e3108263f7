"""One number of a net: what it reads and the sum against loops, the gradient against finite differences of the net."""

import numpy as np
import pytest

from minicnn import Tensor, explain, models, nn, no_grad, ops, seed
from minicnn.nn import Module


@pytest.fixture(scope="module")
def net():
    """Layers of several kinds one after the other, in float64."""
    seed(2)
    made = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(4), nn.Tanh(),
        nn.Conv2d(4, 3, (2, 3), dilation=(2, 1)), nn.ReLU(), nn.MaxPool2d(2, stride=1), nn.AvgPool2d(2, padding=1),
        nn.Dropout(), nn.Flatten(), nn.Linear(12, 5),
    ).astype("float64")  # fmt: skip
    rng = np.random.default_rng(3)
    norm = made[1]
    norm.running_mean.data, norm.running_var.data = rng.normal(size=4), rng.uniform(0.5, 2, size=4)
    for parameter in made.parameters():
        parameter.data = rng.normal(size=parameter.shape)
    return made


X = np.random.default_rng(4).normal(size=(2, 11, 9))
LAYERS = [str(n) for n in range(10)]


def outputs(net, x=X):
    """The output of each layer."""
    values, y = [], Tensor(x[None])
    with no_grad(), net.evaluating():
        for layer in (net[n] for n in range(10)):
            y = layer(y)
            values.append(y.numpy())
    return values


def rest_of(net, start, y, k):
    """The score of class k from the output of layer `start` on."""
    y = Tensor(y)
    with no_grad(), net.evaluating():
        for n in range(start + 1, 10):
            y = net[n](y)
    return y.numpy()[0, k]


@pytest.mark.parametrize("layer", LAYERS)
def test_the_gradient_of_each_unit(net, layer):
    values = outputs(net)
    y = values[int(layer)]
    rng = np.random.default_rng(5)
    places = np.argwhere(y[0] != 0)                        # a maximum of equal zeros has a kink
    for at in map(tuple, rng.choice(places, 4).tolist()):
        found = net.explain(X, layer, at, k=2)
        assert found.value == pytest.approx(y[(0, *at)])
        assert found.kind == type(net[int(layer)]).__name__
        up, down = y.copy(), y.copy()
        up[(0, *at)] += 1e-6
        down[(0, *at)] -= 1e-6
        slope = (rest_of(net, int(layer), up, 2) - rest_of(net, int(layer), down, 2)) / 2e-6
        assert found.gradient == pytest.approx(slope, abs=1e-6)
        assert found.score == pytest.approx(values[-1][0, 2])


@pytest.mark.parametrize("layer", [n for n in LAYERS if n not in ("7", "8")])
def test_the_gradient_back_to_what_the_unit_reads(net, layer):
    """If only this unit passed on what changes, the score would change by back · the change of a number read."""
    n = int(layer)
    given, y = ([X[None], *outputs(net)][n + i] for i in (0, 1))
    at = tuple(int(v) for v in np.random.default_rng(6).integers(y.shape[1:]))
    found = net.explain(X, layer, at, k=1)
    (part,) = found.inputs
    back = found.back(part)
    for place in np.ndindex(part.values.shape):
        where = tuple(r[i] for r, i in zip(part.box, place))
        if not all(0 <= i < size for i, size in zip(where, given.shape)):
            continue
        assert part.values[place] == pytest.approx(given[where])
        slopes = []
        for sign in (1, -1):
            moved = given.copy()
            moved[where] += sign * 1e-6
            with no_grad(), net.evaluating():
                one = y.copy()
                one[(0, *at)] = net[n](Tensor(moved)).numpy()[(0, *at)]
            slopes.append(rest_of(net, n, one, 1))
        assert back[place] == pytest.approx((slopes[0] - slopes[1]) / 2e-6, abs=1e-5)


def test_a_convolution_with_groups_and_stride(net):
    w, b = net[0].weight.numpy(), net[0].bias.numpy()
    for o, i, j in ((0, 0, 0), (3, 5, 4), (2, 2, 1)):
        found = explain.unit(net, X, "0", (o, i, j))
        total = b[o]
        for p in range(3):
            for q in range(3):
                row, column = 2 * i + p - 1, 2 * j + q - 1
                if 0 <= row < 11 and 0 <= column < 9:
                    total += w[o, 0, p, q] * X[o // 2, row, column]
        assert found.value == pytest.approx(total)
        assert found.cell.bias == b[o]
        assert found.inputs[0].products.sum() + b[o] == pytest.approx(total)
        assert found.box == ([max(0, 2 * i - 1), min(11, 2 * i + 2)], [max(0, 2 * j - 1), min(9, 2 * j + 2)])
        assert f"reads channel {o // 2}, rows {2 * i - 1} to {2 * i + 1}" in found.text()


def test_a_convolution_with_dilation(net):
    given, w = outputs(net)[2][0], net[3].weight.numpy()
    found = explain.unit(net, X, "3", (1, 2, 0))
    total = net[3].bias.numpy()[1] + sum(
        w[1, c, p, q] * given[c, 2 + 2 * p, q] for c in range(4) for p in range(2) for q in range(3))
    assert found.value == pytest.approx(total)
    assert "rows 2 to 4 in steps of 2" in found.text()


def test_a_linear_layer(net):
    given = outputs(net)[8][0]
    found = explain.unit(net, X, "9", (3,), k=3)
    assert found.value == pytest.approx(net[9].bias.numpy()[3] + sum(
        net[9].weight.numpy()[3, i] * given[i] for i in range(12)))
    assert found.gradient == 1
    assert np.allclose(found.back(found.inputs[0]), net[9].weight.numpy()[3])
    assert explain.unit(net, X, "9", (3,), k=0).gradient == 0


def test_a_winner(net):
    given = outputs(net)[4][0]
    found = explain.unit(net, X, "5")
    c, i, j = found.at
    window = given[c, i : i + 2, j : j + 2]
    assert found.value == pytest.approx(window.max()) != 0
    assert window[found.cell.winner[2:]] == window.max()


def test_a_layer_that_passes_its_input_on(net):
    found = explain.unit(net, X, "7", (1, 1, 1))
    assert found.passes_on
    assert found.cell.op == "avg_pool2d"
    assert "returns its input unchanged" in " ".join(found.text().split())


def test_the_defaults(net):
    found = explain.unit(net, X)
    y = outputs(net)[0][0]
    assert found.layer == "0"
    assert found.value == pytest.approx(y.max()) == y[found.at]
    assert found.index == outputs(net)[-1][0].argmax()


class Block(Module):
    """A residual block and a squeeze, joined: add, multiply, concat, in the code of a user."""

    def __init__(self):
        self.left, self.right = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1)
        self.act, self.gate, self.head = nn.ReLU(), nn.Identity(), nn.Linear(4, 3)

    def forward(self, x):
        """x (N,2,H,W) → (N,3)"""
        a, b = self.left(x), self.right(x)
        added = self.gate(self.act(a + b))
        joined = self.gate(ops.concat(added * b, a, axis=1))
        return self.head(ops.global_avg_pool2d(joined))


class Adding(Module):
    """The sum of two convolutions."""

    def __init__(self):
        self.left, self.right = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1)

    def forward(self, x):
        """x → left(x) + right(x)"""
        return self.left(x) + self.right(x)


def test_a_block_of_ones_own():
    seed(0)
    net = nn.Sequential(Adding(), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Linear(2, 3)).astype("float64")
    found = net.explain(X, "0", (1, 4, 5))
    with no_grad():
        left, right = (layer(Tensor(X[None])).numpy()[0, 1, 4, 5] for layer in (net[0].left, net[0].right))
    assert found.cell.op == "add"
    assert [part.values.item() for part in found.inputs] == pytest.approx([left, right])
    assert found.value == pytest.approx(left + right)
    assert [found.back(part).item() for part in found.inputs] == [found.gradient] * 2


def test_what_the_sum_before_a_relu_was(rng):
    seed(0)
    net = nn.Sequential(Adding(), nn.BatchNorm2d(2), nn.Tanh(), nn.ReLU(), nn.GlobalAvgPool2d()).astype("float64")
    found = net.explain(X, "1", (0, 2, 3))
    with no_grad():
        left, right = (layer(Tensor(X[None])).numpy()[0, 0, 2, 3] for layer in (net[0].left, net[0].right))
    assert found.before[0].op == "add"
    assert found.before[0].value == pytest.approx(left + right)
    assert net.explain(X, "2", (0, 2, 3)).before[0].op == "batch_norm_inference"
    assert net.explain(X, "3", (0, 2, 3)).before[0].value == pytest.approx(np.tanh((left + right) / np.sqrt(1 + 1e-5)))
    assert net.explain(X, "0", (0, 2, 3)).before == (None, None), "convolutions"


def test_a_net_on_vectors(rng):
    seed(0)
    net, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).astype("float64"), rng.normal(size=4)
    for given in (x, x[None]):
        found = net.explain(given, "0", (2,))
        assert found.value == pytest.approx(sum(net[0].weight.numpy()[2, i] * x[i] for i in range(4)))
        assert found.panels()[0].values.shape == (1, 4)


def test_the_last_use_of_a_layer_that_is_used_twice_and_joined_maps():
    seed(0)
    net = Block().astype("float64")
    found = net.explain(X, "gate", (2, 3, 4))
    with no_grad():
        expected = net.left(Tensor(X[None])).numpy()[0, 0, 3, 4]
    assert found.cell.op == "concat"
    assert found.value == pytest.approx(expected), "channel 2 of the joined maps is channel 0 of the second"
    assert found.inputs[0].argument == 1
    first = net.explain(X, "gate", (1, 3, 4))
    assert first.inputs[0].argument == 0


@pytest.mark.parametrize(("name", "layers"), [
    ("lenet5:1998", ()), ("squeezenet1_1", ("features.3", "features.3.expand3x3")),
    ("resnet20", ("layer1.0", "layer2.0")),
    ("mobilenet_v3_small", ("features.1", "features.1.block.1")),
])  # fmt: skip
def test_every_layer_of_some_nets(name, layers):
    """Where a number is a sum of products it is that sum; where it is copied, the copy; pages of 60 columns."""
    base, _, variant = name.partition(":")
    options = {"variant": variant} if variant else {}
    seed(0)
    net = models.build(base, **options)
    shape = models.input_shape(base, variant)
    shape = (shape[0], min(shape[1], 64), min(shape[2], 64))
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = [n for n, m in net.named_modules() if n and not any(isinstance(inner, Module) for _, inner in m.members())]
    chosen = list(layers) + found[:: max(1, len(found) // 6)]
    for layer in chosen:
        unit = net.explain(x, layer)
        if unit.cell.kind == "products":
            total = np.sum(unit.inputs[0].products, dtype=np.float64) + unit.cell.bias
            assert total == pytest.approx(unit.value, rel=1e-3, abs=1e-3)
        if unit.cell.kind == "copy" and unit.inputs:
            assert unit.inputs[0].values.item() == unit.value
        assert max(map(len, unit.text(60).splitlines())) <= 60
        assert unit.as_dict()["op"] == unit.cell.op


@pytest.mark.parametrize(("arguments", "error", "sentence"), [
    ((X, "3x"), ValueError, "unknown layer '3x'"), ((X, "0", (0, 0)), ValueError, "one number for each axis"),
    ((X, "0", (4, 0, 0)), ValueError, r"must be from 0 to 3"), ((X, "0", None, 5), ValueError, r"class \(=5\)"),
    ((X[:1], "0"), ValueError, "channels"), ((X[0], "0"), ValueError, r"one image \(C, H, W\)"),
    ((np.ones((2, 2, 11, 9)), "0"), ValueError, "one image"), ((X.astype(int), "0"), TypeError, "must hold floats"),
])  # fmt: skip
def test_what_is_refused(net, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        net.explain(*arguments)


def test_nets_without_what_it_takes():
    with pytest.raises(ValueError, match="has no layer with weights"):
        nn.Sequential(nn.ReLU()).explain(X)
    maps = nn.Sequential(nn.Conv2d(2, 1, 3)).astype("float64").explain(X)
    assert maps.gradient is None
    assert "no score to take a gradient of" in " ".join(maps.text().split())
