"""Pre-activation ResNets, counted by hand: the papers print no exact numbers."""

import numpy as np
import pytest

from minicnn import Tensor, seed
from minicnn.models import preact_resnet
from minicnn.models.resnet import Bottleneck
from minicnn.nn import init
from tests.models.residual_checks import check_gradients, check_learning, counts, outputs, rows

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)
IMAGENET_BLOCKS = {  # table 1 of the first paper; 200 is the second's
    18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}  # fmt: skip


def by_hand(stem, taps, pixels, blocks, widths, expansion, classes, projections=True):
    """(parameters, multiply-adds). The stem has taps² taps; a stage works on `pixels`, then on a quarter of them."""
    parameters, macs = 3 * stem * taps**2 + 2 * stem, 3 * stem * taps**2 * (pixels if taps == 3 else 112**2)
    c = stem
    for s, (n, w) in enumerate(zip(blocks, widths)):
        if s > 0:
            pixels //= 4
        out = expansion * w
        for i in range(n):
            convolutions = c * w * 9 + w * w * 9 if expansion == 1 else c * w + w * w * 9 + w * out
            if c != out and projections:
                convolutions += c * out  # it strides too, like everything else in the unit
            norms = 2 * c + (2 * w if expansion == 1 else 2 * w + 2 * w)
            if s == i == 0:
                norms -= 2 * c  # the first unit's is the stem's
            parameters, macs, c = parameters + convolutions + norms, macs + convolutions * pixels, out
    return parameters + 2 * c + c * classes + classes, macs + c * classes


CIFAR_COUNTS = {  # name: what by_hand takes, what it must give
    "preact_resnet110": ((16, 3, 1024, (18, 18, 18), (16, 32, 64), 1, 10, False), (1_727_962, 252_887_680)),
    "preact_resnet164": ((16, 3, 1024, (18, 18, 18), (16, 32, 64), 4, 10), (1_703_258, 244_500_992)),
    "preact_resnet1001": ((16, 3, 1024, (111, 111, 111), (16, 32, 64), 4, 10), (10_327_706, 1_487_849_984)),
}
IMAGENET_COUNTS = {
    18: (11_687_720, 1_814_073_344), 34: (21_795_880, 3_663_761_408), 50: (25_549_352, 3_857_973_248),
    101: (44_541_480, 7_570_194_432), 152: (60_185_128, 11_282_415_616), 200: (64_666_152, 14_776_270_848),
}  # fmt: skip


@pytest.mark.parametrize("name", CIFAR_COUNTS)
@init.shapes_only()
def test_counts_on_cifar(name):
    sizes, expected = CIFAR_COUNTS[name]
    assert by_hand(*sizes) == expected
    assert counts(getattr(preact_resnet, name)(), CIFAR) == expected


@pytest.mark.parametrize("depth", IMAGENET_COUNTS)
@init.shapes_only()
def test_counts_on_imagenet(depth):
    expected = IMAGENET_COUNTS[depth]
    blocks, expansion = IMAGENET_BLOCKS[depth], 1 if depth < 50 else 4
    assert by_hand(64, 7, 56**2, blocks, (64, 128, 256, 512), expansion, 1000) == expected
    assert counts(getattr(preact_resnet, f"preact_resnet{depth}")(), IMAGENET) == expected


def test_against_the_counts_of_2015():
    """The convolutions are those of v1, so are the products; only the batch norms differ."""
    assert IMAGENET_COUNTS[50][1] == 3_857_973_248
    # a v1 bottleneck: w, w and 4w channels; a unit: its input, w and w; no norms on four projections; 2048 at the end
    widths = [64] * 3 + [128] * 4 + [256] * 6 + [512] * 3
    v1 = 64 + sum(6 * w for w in widths) + sum(4 * w for w in (64, 128, 256, 512))
    inputs = [256] * 2 + [256] + [512] * 3 + [512] + [1024] * 5 + [1024] + [2048] * 2  # of every unit but the first
    units = 64 + sum(inputs) + sum(2 * w for w in widths) + 2048
    assert IMAGENET_COUNTS[50][0] == 25_557_032 - 2 * v1 + 2 * units


def test_layers_of_164():
    net = preact_resnet.preact_resnet164()
    parts = ["conv1", "relu1", "layer1", "layer2", "layer3", "relu2", "avgpool", "fc"]
    assert outputs(net, CIFAR, parts) == [
        (16, 32, 32), (16, 32, 32), (64, 32, 32), (128, 16, 16), (256, 8, 8), (256, 8, 8), (256,), (10,)]  # fmt: skip
    found = rows(net, CIFAR)
    assert len(found) == 164 + 3  # depth doesn't count projections
    assert [found[f"layer2.0.{name}"][0] for name in ("conv1", "conv2", "conv3", "downsample")] == [
        (32, 16, 16), (32, 16, 16), (128, 16, 16), (128, 16, 16)]  # fmt: skip


def test_layers_on_imagenet():
    net = preact_resnet.preact_resnet50(width=1 / 16)
    parts = ["conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "fc"]
    assert outputs(net, IMAGENET, parts) == [
        (4, 112, 112), (4, 56, 56), (16, 56, 56), (32, 28, 28), (64, 14, 14), (128, 7, 7), (1000,)]  # fmt: skip


def test_names_of_the_state():
    shapes = {name: a.shape for name, a in preact_resnet.preact_resnet164().state_dict().items()}
    expected = {
        "conv1.weight": (16, 3, 3, 3), "bn1.weight": (16,), "layer1.0.conv1.weight": (16, 16, 1, 1),
        "layer1.0.downsample.weight": (64, 16, 1, 1), "layer1.1.bn1.weight": (64,), "layer2.0.bn1.running_mean": (64,),
        "layer2.0.bn2.bias": (32,), "layer3.17.conv2.weight": (64, 64, 3, 3), "bn2.running_var": (256,),
        "fc.weight": (10, 256), "fc.bias": (10,),
    }  # fmt: skip
    assert {name: shapes[name] for name in expected} == expected
    assert "layer1.0.bn1.weight" not in shapes  # in front of it stands the net's bn1


def test_a_unit_whose_branch_gives_zero_is_the_identity():
    """Not so in 2015's block, which clips the sum."""
    x = np.random.default_rng(0).standard_normal((2, 8, 5, 7)).astype(np.float32)
    basic, bottleneck = preact_resnet.PreActBlock(8, 8), preact_resnet.PreActBottleneck(8, 8)
    basic.conv2.weight.data[:] = 0
    bottleneck.conv3.weight.data[:] = 0
    for unit in (basic, bottleneck):
        assert np.array_equal(unit(Tensor(x)).numpy(), x)
    clipped = Bottleneck(8, 8)
    clipped.bn3.weight.data[:] = 0
    assert np.array_equal(clipped(Tensor(x)).numpy(), np.maximum(x, 0))


def test_where_the_shape_changes_the_shortcut_is_activated_too():
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 6)).astype(np.float32)
    unit = preact_resnet.PreActBlock(4, 8, stride=2).eval()
    unit.conv2.weight.data[:] = 0
    a = np.maximum(x / np.sqrt(np.float32(1 + 1e-5)), 0)                      # bn of a fresh net in use, then relu
    expected = np.einsum("oc,nchw->nohw", unit.downsample.weight.data[:, :, 0, 0], a[:, :, ::2, ::2])
    assert np.allclose(unit(Tensor(x)).numpy(), expected, atol=1e-5)


def test_options():
    net = preact_resnet.preact_resnet_cifar(11, num_classes=7, in_channels=1, width=0.5)
    assert net(Tensor(np.zeros((2, 1, 32, 32), np.float32))).shape == (2, 7)
    assert outputs(net, (1, 32, 32), ["conv1", "layer3"]) == [(8, 32, 32), (128, 8, 8)]


@pytest.mark.parametrize(("arguments", "sentence"), [
    ((110 + 1,), r"^depth \(=111\) must be 9n \+ 2, with n blocks in each of the 3 stages: use 110 or 119$"),
    ((111, "basic"), r"^depth \(=111\) must be 6n \+ 2, with n blocks in each of the 3 stages: use 110 or 116$"),
    ((164, "wide"), r"^unknown block 'wide'\. Known: basic, bottleneck$"),
])  # fmt: skip
def test_bad_options(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        preact_resnet.preact_resnet_cifar(*arguments)


@pytest.mark.parametrize(("name", "shape"), [
    ("preact_resnet110", (3, 3, 16, 16)), ("preact_resnet164", (3, 3, 16, 16)),
    ("preact_resnet18", (3, 3, 64, 64)), ("preact_resnet50", (3, 3, 64, 64)),
])  # fmt: skip
def test_gradients(name, shape, rng):
    seed(0)
    width = 1 / 4 if shape[2] == 16 else 1 / 16
    check_gradients(getattr(preact_resnet, name)(num_classes=5, width=width), shape, rng)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape"), [
    ("preact_resnet110", (3, 16, 16)), ("preact_resnet164", (3, 16, 16)), ("preact_resnet18", (3, 64, 64)),
    ("preact_resnet50", (3, 64, 64)), ("preact_resnet200", (3, 64, 64)),
])  # fmt: skip
def test_learns_one_batch_by_heart(name, shape, rng):
    seed(0)
    width = 1 / 2 if shape[1] == 16 else 1 / 8
    check_learning(getattr(preact_resnet, name)(num_classes=8, width=width), shape, rng)
