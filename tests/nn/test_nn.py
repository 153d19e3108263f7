"""Modules: how their members are found, saved and loaded, and that each layer computes what its definition says."""

import math

import numpy as np
import pytest

from minicnn import Tensor, models, nn, optim, reference, seed
from minicnn.gradient_check import check_directions
from minicnn.nn import Buffer, Module, Parameter, Sequential


@pytest.fixture(autouse=True)
def _same_weights():
    seed(0)


def parameter(*shape):
    return Parameter(np.arange(math.prod(shape), dtype=np.float32).reshape(shape))


# ----------------------------------------------------------------------------------------------- what belongs to a net


class Inner(Module):
    def __init__(self):
        self.weight = parameter(2)
        self.count = Buffer(np.zeros(1, np.float32))


class Outer(Module):
    """Members of every kind, among things that are none."""

    def __init__(self):
        self.second = Inner()
        self.scale = parameter(3)
        self.width = 7
        self.plain = Tensor(np.ones(2, np.float32))
        self.blocks = [Inner(), "not a member", parameter(1)]
        self.pair = (Inner(),)
        self.nothing = None

    def forward(self, x):
        return x


def test_members_are_found_by_looking_in_the_order_they_were_written():
    names = ["second.weight", "second.count", "scale", "blocks.0.weight", "blocks.0.count", "blocks.2", "pair.0.weight",
             "pair.0.count"]
    net = Outer()
    # the net's own first, then those of the modules in it
    assert sorted(net.state_dict()) == sorted(names)
    assert [n for n, _ in net.members()] == ["second", "scale", "blocks.0", "blocks.2", "pair.0"]
    assert [n for n, _ in net.named_modules()] == ["", "second", "blocks.0", "pair.0"]
    assert sorted(dict(net.named_parameters())) == sorted(n for n in names if "count" not in n)
    assert {id(p) for p in net.parameters()} == {id(net.second.weight), id(net.scale), id(net.blocks[0].weight),
                                                 id(net.blocks[2]), id(net.pair[0].weight)}


def test_an_attribute_set_later_belongs_too_and_one_deleted_no_longer():
    net = Inner()
    net.late = parameter(4)
    assert list(net.state_dict()) == ["weight", "count", "late"]
    del net.weight
    assert list(net.state_dict()) == ["count", "late"]


def test_names_are_those_of_torchs_checkpoints():
    features = Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2))
    net = Sequential({"features": features, "classifier": nn.Linear(4, 3)})
    assert list(net.state_dict()) == [
        "features.0.weight", "features.0.bias", "features.2.weight", "features.2.bias", "features.2.running_mean",
        "features.2.running_var", "classifier.weight", "classifier.bias"]  # fmt: skip


def test_a_shared_parameter_counts_once_under_its_first_name():
    a, b = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
    b.weight = a.weight
    net = Sequential(a, nn.Tanh(), b, a)
    assert list(dict(net.named_parameters())) == ["0.weight", "0.bias"]
    assert sum(p.size for p in net.parameters()) == 3 * 3 + 3
    y = net(Tensor(np.ones((2, 3), np.float32)))
    y.backward(np.ones((2, 3), np.float32))
    net.zero_grad()
    assert a.weight.grad is None


def test_training_mode_reaches_the_whole_tree():
    net = Sequential({"a": Outer(), "b": Sequential(nn.Dropout(), Sequential(nn.BatchNorm2d(2)))})
    modules = [m for _, m in net.named_modules()]
    assert len(modules) == 9
    assert all(m.training for m in modules)
    assert net.eval() is net
    assert not any(m.training for m in modules)
    assert net.train() is net
    assert all(m.training for m in modules)
    assert Outer().training, "the flag belongs to an object, not to the class"


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match=r"^Inner has no forward method$"):
        Inner()(1)


# ---------------------------------------------------------------------------------------------------------- Sequential


def test_sequential_by_number_name_and_slice():
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    net, named = Sequential(a, b, c), Sequential({"first": a, "second": b, "third": c})
    assert net[0] is a
    assert net[-1] is c
    assert net["1"] is b
    assert named["second"] is b
    assert named[1] is b
    assert len(net) == 3
    assert list(net) == [a, b, c]
    tail = named[1:]
    assert isinstance(tail, Sequential)
    assert [n for n, _ in tail.members()] == ["second", "third"]
    assert list(net[::2]) == [a, c]
    x = np.array([[-1.5, 0.25]])
    assert np.array_equal(net(Tensor(x)).data, 1 / (1 + np.exp(-np.tanh(np.maximum(x, 0)))))
    with pytest.raises(IndexError):
        net[3]
    with pytest.raises(KeyError):
        named["fourth"]


@pytest.mark.parametrize(("layers", "sentence"), [
    ((nn.ReLU(), np.tanh), "Sequential: layer 1 must be a Module, not a ufunc"),
    (([nn.ReLU(), nn.ReLU()],), "Sequential: layer 0 must be a Module, not a list"),
    (({"act": "relu"},), "Sequential: layer act must be a Module, not a str"),
    ((nn.ReLU,), "Sequential: layer 0 must be a Module, not a type"),
])  # fmt: skip
def test_sequential_refuses_what_is_no_module(layers, sentence):
    with pytest.raises(TypeError, match=f"^{sentence}$"):
        Sequential(*layers)


def test_watch_is_told_of_each_module_after_it_has_computed():
    net, seen = Sequential(nn.ReLU(), Sequential(nn.Tanh())), []
    x = Tensor(np.array([-1.0, 2.0]))
    with nn.watch(lambda module, inputs, output: seen.append((type(module).__name__, inputs, output))):
        y = net(x)
    assert [name for name, _, _ in seen] == ["ReLU", "Tanh", "Sequential", "Sequential"]
    assert seen[0][1] == (x,)
    assert seen[-1][2] is y
    net(x)
    assert len(seen) == 4, "outside the with nobody watches"


def test_repr_shows_the_tree():
    text = repr(Sequential({"conv": nn.Conv2d(1, 2, 3), "act": nn.ReLU()}))
    assert text.startswith("Sequential(\n  (conv): Conv2d(1, 2, kernel_size=3)")
    assert text.endswith("  (act): ReLU()\n)")


# ---------------------------------------------------------------------------------- every layer against its definition

X = np.random.default_rng(1).standard_normal((2, 4, 6, 5))       # all extents differ: a swapped axis shows
ROW = np.random.default_rng(2).standard_normal((3, 7))
DRAWN = np.random.default_rng(3)
SIGMA = {"logistic": lambda x: 1 / (1 + np.exp(-x))}["logistic"]


def filled(layer):
    """The layer with weights drawn from float64, so that it can be compared to many digits."""
    layer.astype("float64")
    for p in layer.parameters():
        p.data = np.random.default_rng(p.size).standard_normal(p.shape)
    return layer


def _conv(**hyper):
    layer = filled(nn.Conv2d(4, 6, (3, 2), **hyper))
    bias = None if layer.bias is None else layer.bias.data
    hyper.pop("bias", None)
    return layer, X, reference.conv2d(X, layer.weight.data, bias, **hyper)


def _conv1d(**hyper):
    layer, signal = filled(nn.Conv1d(4, 6, 3, **hyper)), X.reshape(2, 4, 30)
    return layer, signal, reference.conv1d(signal, layer.weight.data, layer.bias.data, **hyper)


def _conv_transpose(**hyper):
    layer = filled(nn.ConvTranspose2d(4, 6, (3, 2), **hyper))
    return layer, X, reference.conv_transpose2d(X, layer.weight.data, layer.bias.data, **hyper)


def _normed(make, definition, **hyper):
    layer = filled(make())
    return layer, X, definition(X, layer.weight.data, layer.bias.data, **hyper)


def _prelu(count):
    layer = filled(nn.PReLU(count))
    return layer, X, np.where(X > 0, X, X * layer.weight.data.reshape(-1, 1, 1))


def _shuffled(x, r):
    """Pixel by pixel: channel c·r² + p·r + q is pixel (p, q) of each block of map c."""
    N, C, H, W = x.shape
    y = np.zeros((N, C // r**2, H * r, W * r))
    for c, p, q in np.ndindex(C // r**2, r, r):
        for i, j in np.ndindex(H, W):
            y[:, c, r * i + p, r * j + q] = x[:, c * r**2 + p * r + q, i, j]
    return y


def _linear(bias):
    layer = filled(nn.Linear(7, 4, bias=bias))
    return layer, ROW, reference.linear(ROW, layer.weight.data, layer.bias.data if bias else None)


def _trainable():
    layer = filled(nn.TrainableAvgPool2d(4, kernel_size=(3, 2)))
    return layer, X, reference.trainable_avg_pool2d(X, layer.weight.data, layer.bias.data, kernel_size=(3, 2))


def _batch_norm(training):
    layer = filled(nn.BatchNorm2d(4, eps=1e-3)).train(training)
    mean, var = np.array([0.1, -0.2, 0.3, 0.4]), np.array([0.5, 1.0, 2.0, 0.7])
    layer.running_mean.data, layer.running_var.data = mean, var
    w, b = layer.weight.data, layer.bias.data
    expected = reference.batch_norm(X, w, b, eps=1e-3) if training else reference.batch_norm_inference(
        X, w, b, mean, var, eps=1e-3)
    return layer, X, expected


POOL = {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "ceil_mode": True}
LAYERS = {
    "AdaptiveAvgPool2d": lambda: (nn.AdaptiveAvgPool2d((4, 2)), X,
                                  reference.adaptive_avg_pool2d(X, output_size=(4, 2))),
    "AdaptiveMaxPool2d": lambda: (nn.AdaptiveMaxPool2d(3), X, reference.adaptive_max_pool2d(X, output_size=3)),
    "AvgPool2d": lambda: (nn.AvgPool2d(**POOL, count_include_pad=False), X,
                          reference.avg_pool2d(X, **POOL, count_include_pad=False)),
    "AvgPool1d": lambda: (nn.AvgPool1d(4, 3, (1, 2), count_include_pad=False), X[:, :, 0], reference.avg_pool2d(
        X[:, :, :1], kernel_size=(1, 4), stride=(1, 3), padding=(0, (1, 2)), count_include_pad=False)[:, :, 0]),
    "MaxPool1d": lambda: (nn.MaxPool1d(3, 2, "same", ceil_mode=True), X[:, 1], reference.max_pool2d(
        X[:, 1][:, :, None], kernel_size=(1, 3), stride=(1, 2), padding="same")[:, :, 0]),
    "MaxPool1d, dilated": lambda: (nn.MaxPool1d(2, dilation=2), X[:, 1], reference.max_pool2d(
        X[:, 1][:, :, None], kernel_size=(1, 2), dilation=(1, 2))[:, :, 0]),
    "AvgPool2d, dilated": lambda: (nn.AvgPool2d(2, 1, padding="same", dilation=2), X,
                                   reference.avg_pool2d(X, kernel_size=2, stride=1, padding="same", dilation=2)),
    "AvgPool2d, plain": lambda: (nn.AvgPool2d(2), X, reference.avg_pool2d(X, kernel_size=2)),
    "BatchNorm2d": lambda: _batch_norm(True),
    "BatchNorm2d, in use": lambda: _batch_norm(False),
    "BatchNorm2d, not affine": lambda: (nn.BatchNorm2d(4, affine=False).astype("float64"), X, reference.batch_norm(X)),
    "Conv1d": lambda: _conv1d(stride=2, padding=(1, 2)),
    "Conv1d, turned": lambda: _conv1d(padding="same", groups=2, dilation=2, flip=True),
    "Conv2d": lambda: _conv(stride=(2, 1), padding=(1, 2)),
    "Conv2d, asymmetric": lambda: _conv(stride=2, padding=((0, 2), (3, 1))),
    "Conv2d, same with a stride": lambda: _conv(stride=(2, 3), padding="same"),
    "Conv2d, turned": lambda: _conv(padding="same_lower", flip=True),
    "ConstantPad2d": lambda: (nn.ConstantPad2d((1, 2, 3, 0), 0.5), X,
                              reference.pad(X, padding=(1, 2, 3, 0), value=0.5)),
    "ReflectionPad2d": lambda: (nn.ReflectionPad2d((1, 2, 3, 0)), X,
                                reference.pad(X, padding=(1, 2, 3, 0), mode="reflect")),
    "ReplicationPad2d": lambda: (nn.ReplicationPad2d(2), X, reference.pad(X, padding=2, mode="replicate")),
    "ZeroPad2d": lambda: (nn.ZeroPad2d(((1, 0), (0, 2))), X, reference.pad(X, padding=((1, 0), (0, 2)))),
    "Conv2d, same": lambda: _conv(padding="same", bias=False),
    "Conv2d, groups": lambda: _conv(groups=2, dilation=(1, 2)),
    "ConvTranspose2d": lambda: _conv_transpose(stride=(2, 3), padding=(1, 0), output_padding=(1, 2)),
    "ConvTranspose2d, groups": lambda: _conv_transpose(padding=((0, 1), (2, 0)), groups=2, dilation=(1, 2)),
    "Dropout": lambda: (nn.Dropout(0.5).eval(), X, X),
    "Dropout2d": lambda: (nn.Dropout2d(0.5).eval(), X, X),
    "StochasticDepth": lambda: (nn.StochasticDepth(0.5).eval(), X, X),
    "ELU": lambda: (nn.ELU(0.4), ROW, np.where(ROW > 0, ROW, 0.4 * (np.exp(ROW) - 1))),
    "Flatten": lambda: (nn.Flatten(), X, X.reshape(2, 120)),
    "Flatten, from 2": lambda: (nn.Flatten(start_axis=2), X, X.reshape(2, 4, 30)),
    "GELU": lambda: (nn.GELU(), ROW, ROW * np.vectorize(lambda v: (1 + math.erf(v / math.sqrt(2))) / 2)(ROW)),
    "GELU, tanh": lambda: (nn.GELU(approximate="tanh"), ROW, ROW / 2 * (
        1 + np.tanh(math.sqrt(2 / math.pi) * (ROW + 0.044715 * ROW**3)))),
    "GlobalAvgPool2d": lambda: (nn.GlobalAvgPool2d(), X, reference.adaptive_avg_pool2d(X, output_size=1)[..., 0, 0]),
    "GlobalMaxPool2d": lambda: (nn.GlobalMaxPool2d(), X, reference.adaptive_max_pool2d(X, output_size=1)[..., 0, 0]),
    "GroupNorm": lambda: _normed(lambda: nn.GroupNorm(2, 4, eps=1e-3), reference.group_norm, num_groups=2, eps=1e-3),
    "GroupNorm, not affine": lambda: (nn.GroupNorm(4, 4, affine=False), X, reference.group_norm(X, num_groups=4)),
    "Hardsigmoid": lambda: (nn.Hardsigmoid(), 3 * ROW, np.clip(3 * ROW / 6 + 0.5, 0, 1)),
    "Hardswish": lambda: (nn.Hardswish(), 3 * ROW, 3 * ROW * np.clip(3 * ROW / 6 + 0.5, 0, 1)),
    "Identity": lambda: (nn.Identity(), X, X),
    "InstanceNorm2d": lambda: (nn.InstanceNorm2d(4), X, reference.instance_norm(X)),
    "InstanceNorm2d, affine": lambda: _normed(lambda: nn.InstanceNorm2d(4, eps=0.1, affine=True),
                                              reference.instance_norm, eps=0.1),
    "LPPool2d": lambda: (nn.LPPool2d(3, (3, 2), stride=2), X,
                         reference.lp_pool2d(X, norm_type=3, kernel_size=(3, 2), stride=2)),
    "LPPool2d, padded": lambda: (nn.LPPool2d(2, 2, padding=((1, 0), (0, 1)), dilation=2), X, reference.lp_pool2d(
        X, kernel_size=2, padding=((1, 0), (0, 1)), dilation=2)),
    "LayerNorm": lambda: _normed(lambda: nn.LayerNorm((6, 5), eps=0.1), reference.layer_norm,
                                 normalized_shape=(6, 5), eps=0.1),
    "LayerNorm, not affine": lambda: (nn.LayerNorm(5, elementwise_affine=False), X,
                                      reference.layer_norm(X, normalized_shape=5)),
    "LeakyReLU": lambda: (nn.LeakyReLU(0.2), ROW, np.where(ROW > 0, ROW, 0.2 * ROW)),
    "LeakyReLU, default": lambda: (nn.LeakyReLU(), ROW, np.where(ROW > 0, ROW, ROW / 100)),
    "Linear": lambda: _linear(True),
    "Linear, no bias": lambda: _linear(False),
    "LocalResponseNorm": lambda: (nn.LocalResponseNorm(3, alpha=1.2, beta=0.6, k=2, variant="paper"), X,
                                  reference.local_response_norm(X, size=3, alpha=1.2, beta=0.6, k=2, variant="paper")),
    "LocalResponseNorm, default": lambda: (nn.LocalResponseNorm(3), 20 * X,
                                           reference.local_response_norm(20 * X, size=3, alpha=1e-4, beta=0.75, k=1)),
    "LogSoftmax": lambda: (nn.LogSoftmax(axis=1), X, np.log(reference.softmax(X, axis=1))),
    "MaxPool2d": lambda: (nn.MaxPool2d(**POOL, dilation=(1, 2)), X, reference.max_pool2d(X, **POOL, dilation=(1, 2))),
    "MaxPool2d, same": lambda: (nn.MaxPool2d(3, 2, padding="same_lower"), X,
                                reference.max_pool2d(X, kernel_size=3, stride=2, padding="same_lower")),
    "MaxPool2d, overlapping": lambda: (nn.MaxPool2d(3, 1), X, reference.max_pool2d(X, kernel_size=3, stride=1)),
    "Mish": lambda: (nn.Mish(), ROW, ROW * np.tanh(np.log(1 + np.exp(ROW)))),
    "PReLU": lambda: _prelu(4),
    "PReLU, one slope": lambda: _prelu(1),
    "PixelShuffle": lambda: (nn.PixelShuffle(2), X, _shuffled(X, 2)),
    "PixelUnshuffle": lambda: (nn.PixelUnshuffle(2), _shuffled(X, 2), X),
    "ReLU": lambda: (nn.ReLU(), ROW, np.where(ROW > 0, ROW, 0)),
    "ReLU6": lambda: (nn.ReLU6(), 8 * ROW, np.minimum(np.maximum(8 * ROW, 0), 6)),
    "SELU": lambda: (nn.SELU(), ROW, 1.0507009873554805 * np.where(ROW > 0, ROW, 1.6732632423543772 * np.expm1(ROW))),
    "SiLU": lambda: (nn.SiLU(), ROW, ROW * SIGMA(ROW)),
    "Sigmoid": lambda: (nn.Sigmoid(), ROW, SIGMA(ROW)),
    "Softmax": lambda: (nn.Softmax(), ROW, reference.softmax(ROW)),
    "Softmax, axis": lambda: (nn.Softmax(axis=1), X, reference.softmax(X, axis=1)),
    "Softplus": lambda: (nn.Softplus(beta=0.7), ROW, np.log(1 + np.exp(0.7 * ROW)) / 0.7),
    "Tanh": lambda: (nn.Tanh(), ROW, (np.exp(2 * ROW) - 1) / (np.exp(2 * ROW) + 1)),
    "TrainableAvgPool2d": _trainable,
    "Upsample": lambda: (nn.Upsample(scale_factor=2), X, X.repeat(2, 2).repeat(2, 3)),
    "Upsample, to a size": lambda: (nn.Upsample((9, 7), mode="nearest-exact"), X, reference.resize(
        X, size=(9, 7), rounding="round_prefer_ceil")),
    "Upsample, bilinear": lambda: (nn.Upsample(scale_factor=(2, 1.5), mode="bilinear"), X,
                                   reference.resize(X, scale=(2, 1.5), mode="linear")),
    "Upsample, corners": lambda: (nn.Upsample(7, mode="bilinear", align_corners=True), X, reference.resize(
        X, size=7, mode="linear", coordinates="align_corners")),
}  # fmt: skip
LOSSES = {"CrossEntropyLoss", "MSELoss", "BCEWithLogitsLoss"}
MACHINERY = {"Buffer", "LoadReport", "Module", "Parameter", "Sequential", "watch"}


@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_computes_its_definition(case):
    layer, x, expected = LAYERS[case]()
    y = layer(Tensor(x))
    assert y.shape == expected.shape
    assert y.dtype == np.float64
    np.testing.assert_allclose(y.data, expected, rtol=1e-10, atol=1e-12)


def test_no_layer_is_left_out():
    assert {name.split(",")[0] for name in LAYERS} | LOSSES | MACHINERY == set(nn.__all__)
    for name in nn.__all__:
        assert hasattr(nn, name)


def test_losses_compute_their_definitions():
    labels = np.array([3, 0, 6])
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)(Tensor(ROW), Tensor(labels))
    np.testing.assert_allclose(loss.item(), reference.cross_entropy(ROW, labels, label_smoothing=0.1), rtol=1e-12)
    plain = nn.CrossEntropyLoss()(Tensor(ROW), Tensor(labels))
    np.testing.assert_allclose(plain.item(), -np.mean(np.log(reference.softmax(ROW))[[0, 1, 2], labels]), rtol=1e-12)
    weighted = nn.CrossEntropyLoss(weight=[1, 2, 3, 4, 5, 6, 7], ignore_index=0)(Tensor(ROW), Tensor(labels))
    terms = -np.log(reference.softmax(ROW))[[0, 2], [3, 6]]
    np.testing.assert_allclose(weighted.item(), (4 * terms[0] + 7 * terms[1]) / 11, rtol=1e-12)
    target = DRAWN.uniform(0, 1, ROW.shape)
    p = SIGMA(ROW)
    bce = nn.BCEWithLogitsLoss()(Tensor(ROW), Tensor(target))
    np.testing.assert_allclose(bce.item(), np.mean(-target * np.log(p) - (1 - target) * np.log(1 - p)), rtol=1e-12)
    np.testing.assert_allclose(nn.MSELoss()(Tensor(ROW), Tensor(target)).item(), ((ROW - target) ** 2).sum() / 21)


def test_stride_of_a_pool_is_its_kernel_unless_given():
    for layer in (nn.MaxPool2d((3, 2)), nn.AvgPool2d((3, 2)), nn.LPPool2d(2, (3, 2))):
        assert layer(Tensor(X)).shape == (2, 4, 2, 2)


def test_trainable_pooling_starts_as_the_average():
    y = nn.TrainableAvgPool2d(4)(Tensor(X.astype(np.float32)))
    np.testing.assert_allclose(y.data, reference.avg_pool2d(X, kernel_size=2), atol=1e-6)


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: nn.Conv2d(30, 8, 3, groups=4), "in_channels (=30) must be divisible by groups (=4)"),
    (lambda: nn.Conv2d(8, 30, 3, groups=4), "out_channels (=30) must be divisible by groups (=4)"),
    (lambda: nn.Conv2d(0, 8, 3), "in_channels (=0) must be at least 1"),
    (lambda: nn.Conv2d(3, 8, 0), "kernel_size (=0) must be at least 1"),
    (lambda: nn.Conv2d(3, 8, 3, stride=0), "stride (=0) must be at least 1"),
    (lambda: nn.Conv2d(3, 8, 3, padding=-1), "padding (=-1) must be at least 0"),
    (lambda: nn.Conv2d(3, 8, 3, groups=0), "groups (=0) must be at least 1"),
    (lambda: nn.Linear(0, 3), "in_features (=0) must be at least 1"),
    (lambda: nn.Linear(3, -1), "out_features (=-1) must be at least 1"),
    (lambda: nn.BatchNorm2d(0), "num_features (=0) must be at least 1"),
    (lambda: nn.TrainableAvgPool2d(0), "channels (=0) must be at least 1"),
    (lambda: nn.Dropout(1), "Dropout: p (=1) must be at least 0 and below 1: it is the probability that"),
    (lambda: nn.Dropout2d(-0.1), "Dropout2d: p (=-0.1) must be at least 0 and below 1"),
    (lambda: nn.StochasticDepth(float("nan")), "StochasticDepth: p (=nan) must be at least 0 and below 1"),
    (lambda: nn.StochasticDepth(0.5, mode="rows"), "StochasticDepth: mode must be 'row' or 'batch', not 'rows'"),
])  # fmt: skip
def test_a_bad_setting_is_refused_when_the_layer_is_made(make, sentence):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize("make", [
    lambda: nn.Conv2d(3.0, 8, 3), lambda: nn.Linear("3", 4), lambda: nn.BatchNorm2d(True)])  # fmt: skip
def test_a_size_must_be_an_integer(make):
    with pytest.raises(TypeError, match=r"must be an integer, not"):
        make()


def test_the_wrong_number_of_channels_is_named():
    with pytest.raises(ValueError, match=r"w has shape \(8, 3, 5, 5\), but x has 4 channels"):
        nn.Conv2d(3, 8, 5)(Tensor(X.astype(np.float32)))


# ---------------------------------------------------------------------------------------------------------- whole nets


def test_whole_net_gradients_of_lenet5(rng):
    net = models.build("lenet5").astype("float64")
    x = Tensor(rng.standard_normal((3, 1, 28, 28)), True)
    report = check_directions(lambda: net(x), {**dict(net.named_parameters()), "x": x}, directions=12)
    assert report.worst <= 1e-6
    assert report.coordinates >= 10
    assert len(report.kinks) <= 2


def test_whole_net_gradients_of_a_small_net(rng):
    net = Sequential(
        nn.Conv2d(2, 4, 3, padding="same"), nn.Tanh(), nn.LocalResponseNorm(3, alpha=1.0), nn.AvgPool2d(2),
        nn.Conv2d(4, 6, 2, groups=2), nn.SiLU(), nn.TrainableAvgPool2d(6, 2, 1), nn.LPPool2d(2, 2, 1),
        nn.Flatten(), nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 3)).astype("float64")  # fmt: skip
    x = Tensor(rng.standard_normal((2, 2, 8, 8)), True)
    loss, labels = nn.CrossEntropyLoss(0.1), Tensor(np.array([2, 0]))
    report = check_directions(lambda: loss(net(x), labels), {**dict(net.named_parameters()), "x": x}, directions=20)
    assert report.worst <= 1e-6
    assert (report.coordinates, report.kinks) == (20, [])


def grows():
    """Maps become smaller and larger again: the layers of nets that paint images."""
    return Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.GroupNorm(2, 4), nn.GELU(), nn.ConvTranspose2d(4, 6, 4, 2, 1, bias=False),
        nn.InstanceNorm2d(6, affine=True), nn.PReLU(6), nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Conv2d(6, 8, 3), nn.PixelShuffle(2), nn.ELU(), nn.Upsample(scale_factor=0.5), nn.SELU(),
        nn.PixelUnshuffle(2), nn.LayerNorm((8, 5, 5)), nn.Softplus(), nn.Conv2d(8, 3, 1), nn.Mish(), nn.Flatten(),
        nn.Linear(75, 5))  # fmt: skip


def test_whole_net_gradients_of_a_net_whose_maps_grow(rng):
    net, x = grows().astype("float64"), Tensor(rng.standard_normal((2, 3, 7, 7)), True)
    loss, labels = nn.CrossEntropyLoss(), Tensor(np.array([2, 0]))
    report = check_directions(lambda: loss(net(x), labels), {**dict(net.named_parameters()), "x": x}, directions=20)
    assert report.worst <= 1e-6
    assert (report.coordinates, report.kinks) == (20, [])


def test_the_net_whose_maps_grow_learns_one_batch():
    net, images = grows(), np.random.default_rng(5).standard_normal((6, 3, 7, 7)).astype(np.float32)
    labels, losses = Tensor(np.array([0, 1, 2, 3, 4, 0])), []
    update = optim.Adam(net.parameters(), lr=0.01)
    for _ in range(25):
        update.zero_grad()
        loss = nn.CrossEntropyLoss()(net(Tensor(images)), labels)
        loss.backward()
        update.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_a_wrong_gradient_in_a_whole_net_is_caught(rng):
    """The check above can fail: the same net with one layer whose gradient is 1 % off."""

    class Off(Module):
        def forward(self, x):
            y = nn.Tanh()(x)
            y._vjps = tuple(lambda dy, f=f: 1.01 * f(dy) for f in y._vjps)
            return y

    net = Sequential(nn.Linear(4, 5), Off(), nn.Linear(5, 3)).astype("float64")
    x = Tensor(rng.standard_normal((2, 4)))
    with pytest.raises(AssertionError, match="finite differences give"):
        check_directions(lambda: net(x), net.named_parameters(), directions=10)


def test_buffers_and_parameters_come_as_pairs_of_name_and_tensor():
    net = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2))
    assert [(name, p.shape) for name, p in net.named_parameters()] == [
        ("0.weight", (2, 1, 3, 3)), ("1.weight", (2,)), ("1.bias", (2,))]  # fmt: skip
    assert [name for name, _ in net.named_buffers()] == ["1.running_mean", "1.running_var"]
    assert all(b is getattr(net[1], name[2:]) for name, b in net.named_buffers())
