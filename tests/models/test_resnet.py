"""ResNet for ImageNet against table 1 of the paper and torchvision's published counts."""

import numpy as np
import pytest

from minicnn import Tensor, seed
from minicnn.models import resnet
from minicnn.nn import init
from tests.models.residual_checks import check_gradients, check_learning, counts, outputs, rows

IMAGE = (3, 224, 224)

# parameters, multiply-adds of variant "torchvision" and of variant "paper"
COUNTS = {
    "resnet18": (11_689_512, 1_814_073_344, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256, 3_857_973_248),
    "resnet101": (44_549_160, 7_801_405_440, 7_570_194_432),
    "resnet152": (60_192_808, 11_513_626_624, 11_282_415_616),
}


@pytest.mark.parametrize("variant", ["torchvision", "paper"])
@pytest.mark.parametrize("name", COUNTS)
@init.shapes_only()
def test_counts(name, variant):
    parameters, torchvision, paper = COUNTS[name]
    net = getattr(resnet, name)(variant=variant)
    assert counts(net, IMAGE) == (parameters, torchvision if variant == "torchvision" else paper)


@pytest.fixture(scope="module")
def resnet50():
    return resnet.resnet50()


def test_sizes_of_table_1(resnet50):
    parts = ["conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc"]
    assert outputs(resnet50, IMAGE, parts) == [
        (64, 112, 112), (64, 56, 56), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7), (2048,), (1000,)
    ]  # fmt: skip


def test_the_first_bottlenecks_layer_by_layer(resnet50):
    found = rows(resnet50, IMAGE)
    P1, P2 = 56 * 56, 28 * 28
    assert [found[f"layer1.0.{name}"] for name in ("conv1", "conv2", "conv3", "downsample.0")] == [
        ((64, 56, 56), 64 * 64, 64 * 64 * P1),
        ((64, 56, 56), 64 * 64 * 9, 64 * 64 * 9 * P1),
        ((256, 56, 56), 64 * 256, 64 * 256 * P1),
        ((256, 56, 56), 64 * 256, 64 * 256 * P1),
    ]
    assert [found[f"layer2.0.{name}"] for name in ("conv1", "conv2", "conv3", "downsample.0")] == [
        ((128, 56, 56), 256 * 128, 256 * 128 * P1),  # v1.5: the 3×3 strides
        ((128, 28, 28), 128 * 128 * 9, 128 * 128 * 9 * P2),
        ((512, 28, 28), 128 * 512, 128 * 512 * P2),
        ((512, 28, 28), 256 * 512, 256 * 512 * P2),
    ]
    assert found["conv1"] == ((64, 112, 112), 9_408, 118_013_952)
    assert found["fc"] == ((1000,), 2_049_000, 2_048_000)


def test_the_paper_strides_in_the_first_1x1():
    found = rows(resnet.resnet50(variant="paper", width=1 / 16), IMAGE)
    shapes = [found[f"layer2.0.conv{i}"][0] for i in (1, 2, 3)]
    assert shapes == [(8, 28, 28), (8, 28, 28), (32, 28, 28)]


def test_names_and_shapes_of_the_state(resnet50):
    shapes = {name: a.shape for name, a in resnet50.state_dict().items()}
    assert len(shapes) == 267  # torchvision's 320 less its 53 num_batches_tracked
    assert list(shapes)[:6] == [
        "conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var", "layer1.0.conv1.weight",
    ]  # fmt: skip
    assert list(shapes)[-2:] == ["fc.weight", "fc.bias"]
    expected = {
        "conv1.weight": (64, 3, 7, 7), "bn1.running_var": (64,),
        "layer1.0.conv1.weight": (64, 64, 1, 1), "layer1.0.bn1.weight": (64,),
        "layer1.0.conv2.weight": (64, 64, 3, 3), "layer1.0.conv3.weight": (256, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1), "layer1.0.downsample.1.running_mean": (256,),
        "layer2.3.bn3.bias": (512,), "layer3.5.conv1.weight": (256, 1024, 1, 1),
        "layer4.2.conv3.weight": (2048, 512, 1, 1), "fc.weight": (1000, 2048), "fc.bias": (1000,),
    }  # fmt: skip
    assert {name: shapes[name] for name in expected} == expected
    assert not [name for name in shapes if "bias" in name and "conv" in name]


def test_a_basic_block_needs_a_projection_only_where_the_shape_changes():
    names = resnet.resnet18(width=1 / 16).state_dict()
    assert {name.split(".downsample")[0] for name in names if "downsample" in name} == {
        "layer2.0", "layer3.0", "layer4.0"}  # fmt: skip


def test_a_branch_that_gives_zero_leaves_what_is_positive():
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 7))
    for block in (resnet.BasicBlock(4, 4).astype("float64"), resnet.Bottleneck(4, 4).astype("float64")):
        last = block.bn3 if isinstance(block, resnet.Bottleneck) else block.bn2
        last.weight.data[:] = 0
        assert np.array_equal(block(Tensor(x)).numpy(), np.maximum(x, 0))


def test_options():
    net = resnet.resnet50(num_classes=7, in_channels=2, width=0.125)
    assert net(Tensor(np.zeros((2, 2, 64, 64), np.float32))).shape == (2, 7)
    assert outputs(net, (2, 64, 64), ["conv1", "layer1", "layer4"]) == [(8, 32, 32), (32, 16, 16), (256, 2, 2)]
    assert resnet.resnet18(width=0.001).state_dict()["conv1.weight"].shape == (1, 3, 7, 7)


def test_both_variants_have_the_same_state():
    seed(1)
    one = resnet.resnet50(width=1 / 16).state_dict()
    seed(1)
    other = resnet.resnet50(width=1 / 16, variant="paper").state_dict()
    assert list(one) == list(other)
    assert all(np.array_equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize(("option", "sentence"), [
    ({"variant": "papers"}, r"^unknown variant of resnet\d+ 'papers': did you mean 'paper'\? Known: paper, torchv"),
    ({"width": 0}, r"^width \(=0\) must be above 0: "),
    ({"num_classes": 0}, r"^num_classes \(=0\) must be at least 1$"),
])  # fmt: skip
def test_bad_options(option, sentence):
    with pytest.raises(ValueError, match=sentence):
        resnet.resnet50(**option)


@pytest.mark.parametrize(("name", "variant"), [
    ("resnet18", "torchvision"), ("resnet34", "torchvision"), ("resnet50", "torchvision"), ("resnet50", "paper"),
    ("resnet101", "torchvision"),
])  # fmt: skip
def test_gradients(name, variant, rng):
    seed(0)
    check_gradients(getattr(resnet, name)(num_classes=5, variant=variant, width=1 / 16), (3, 3, 64, 64), rng)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), [
    ("resnet18", "torchvision"), ("resnet34", "torchvision"), ("resnet50", "torchvision"), ("resnet50", "paper"),
    ("resnet101", "torchvision"), ("resnet152", "paper"),
])  # fmt: skip
def test_learns_one_batch_by_heart(name, variant, rng):
    seed(0)
    check_learning(getattr(resnet, name)(num_classes=8, variant=variant, width=1 / 8), (3, 64, 64), rng)
