"""Which ops of a module are joined, and that they compute the same as one by one."""


import numpy as np
import pytest

import minicnn
from minicnn import Tensor, cpu, fusion, models, nn, no_grad, ops
from tests.fusion.nets import Block, Function, Net, both, images, same_bits, seeded


def test_a_net_of_ones_own_is_fused_and_computes_the_same_bits():
    a, b, fused, plain = both(seeded(Net), images())
    same_bits(a, b)
    assert fused == {"linear": 1, "mean": 1, "add_relu": 1, "batch_norm_add_relu": 2, "batch_norm_relu": 2, "conv2d": 4,
                     "max_pool2d": 1, "conv2d_relu": 1}  # fmt: skip
    assert plain == {"linear": 1, "mean": 1, "relu": 6, "add": 3, "batch_norm": 4, "conv2d": 5, "max_pool2d": 1}


def test_in_eval_mode_too():
    a, b, fused, _ = both(seeded(Net, train=False), images())
    same_bits(a, b)
    assert {"batch_norm_inference_relu", "batch_norm_inference_add_relu"} < set(fused)


@pytest.mark.parametrize("layer", [
    lambda: nn.Conv2d(3, 4, 3, 2, padding="same", flip=True), lambda: nn.Conv2d(3, 4, 3, padding=((0, 2), (1, 0)))])
def test_every_padding_and_turned_filters(layer):
    a, b, fused, plain = both(seeded(lambda: nn.Sequential(layer(), nn.ReLU())), images())
    same_bits(a, b)
    assert (fused, plain) == ({"conv2d_relu": 1}, {"conv2d": 1, "relu": 1})


def test_a_convolution_of_signals_and_its_relu():
    """There is no op of that name to call: a module joins whatever can wait."""
    def build():
        return nn.Sequential(nn.Conv1d(3, 8, 5, 2, padding=(3, 1)), nn.ReLU(), nn.Conv1d(8, 2, 3, flip=True))

    a, b, fused, plain = both(seeded(build), images(2, 3, 31))
    same_bits(a, b)
    assert (fused, plain) == ({"conv1d_relu": 1, "conv1d": 1}, {"conv1d": 2, "relu": 1})


@pytest.mark.parametrize("size", [(2, 4, 3, 3), (2, 16, 40, 40)], ids=["small", "chunked"])
def test_large_and_small_arrays_without_gradients(size):
    """The bits of ±0, NaN and infinities, too."""
    x = images(*size)
    x[0, 0] = np.nan
    x[1, 1, 0] = [np.inf, -np.inf, -0.0] + [0.0] * (size[3] - 3)
    C = size[1]
    bn = nn.BatchNorm2d(C).eval()
    conv = nn.Conv2d(C, C, 1, bias=False)
    conv.weight.data[...] = np.eye(C).reshape(C, C, 1, 1)
    for function in (lambda m, x: ops.relu(conv(x)), lambda m, x: ops.relu(bn(x)), lambda m, x: ops.relu(bn(x) + x),
                     lambda m, x: ops.relu(x + bn(x)), lambda m, x: ops.relu(x + x),
                     lambda m, x: x + bn(x)):  # fmt: skip
        with no_grad():
            fused = Function(function)(Tensor(x)).data
            with fusion(False):
                plain = Function(function)(Tensor(x)).data
        np.testing.assert_array_equal(fused, plain)
        assert (np.isnan(plain) | (fused.view(np.int32) == plain.view(np.int32)) | (plain == 0)).all()


ZOO = {"lenet5": (1, 28, 28), "resnet20": (3, 32, 32), "vgg11_bn": (3, 32, 32), "squeezenet1_1": (3, 48, 48),
       "mobilenet_v1": (3, 32, 32), "mobilenet_v2": (3, 32, 32), "densenet40_12": (3, 16, 16)}  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("training", [True, False])
def test_nets_of_the_zoo_in_float64(name, training):
    def build():
        minicnn.seed(0)
        options = {"width": 0.25} if name.startswith(("vgg", "mobilenet")) else {}
        return models.build(name, num_classes=10, **options).astype("float64").train(training)

    a, b, fused, plain = both(build, images(2, *ZOO[name], dtype=np.float64))
    for u, v in zip(a, b):
        assert abs(u - v).max() <= 1e-12 * abs(v).max()
    assert sum(fused.values()) < sum(plain.values())


@pytest.mark.slow
def test_googlenet_with_its_auxiliary_classifiers():
    a, b, fused, _ = both(seeded(lambda: models.build("googlenet", num_classes=4, width=0.25).astype("float64")),
                          images(2, 3, 224, 224, dtype=np.float64))
    for u, v in zip(a, b):
        assert (u is v is None) or abs(u - v).max() <= 1e-12 * abs(v).max()
    assert any(name.endswith("_relu") for name in fused)


def test_it_is_one_pass(monkeypatch):
    calls = []
    for name in ("conv2d", "batch_norm_apply", "elementwise"):
        right = getattr(cpu, name)
        monkeypatch.setattr(cpu, name, lambda *args, right=right, name=name, **fused: (
            calls.append((name, {k: v if k == "relu" else "…" for k, v in fused.items()})), right(*args, **fused))[1])
    block = Block(3)
    with no_grad():
        block(Tensor(images()))
    assert calls == [("conv2d", {}), ("batch_norm_apply", {"relu": True}), ("conv2d", {}),
                     ("batch_norm_apply", {"add": "…", "relu": True})]  # fmt: skip


def test_a_sum_of_two_batch_norms_and_a_broadcast_sum():
    def forward(net, x):
        a, b = net.layers
        return ops.relu(a(x) + b(x)) + ops.relu(a(x) + x.mean((2, 3), keepdims=True))

    make = seeded(lambda: Function(forward, nn.BatchNorm2d(3), nn.BatchNorm2d(3)))
    a, b, fused, _ = both(make, images())
    same_bits(a, b)
    assert fused["batch_norm_add_relu"] == 1
    assert fused["relu"] == 1


def test_arrays_that_are_left_out():
    a, b, fused, _ = both(lambda: Function(lambda net, x: ops.batch_norm(x * 2) + ops.relu(x)), images())
    same_bits(a, b)
    assert fused == {"batch_norm_add": 1, "multiply": 1, "relu": 1}


def test_the_same_value_on_both_sides():
    a, b, fused, plain = both(seeded(lambda: Function(lambda net, x: (y := net.layers[0](x)) + y, nn.BatchNorm2d(3))),
                              images())
    same_bits(a, b)
    assert fused == plain == {"batch_norm": 1, "add": 1}


def test_what_no_rule_joins_is_as_before():
    def forward(net, x):
        y = net.layers[0](x)
        return ops.tanh(y) + ops.relu6(net.layers[1](y)) * 2 + 1 - y[:, :1]

    a, b, fused, plain = both(seeded(lambda: Function(forward, nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))), images())
    same_bits(a, b)
    assert fused == plain
