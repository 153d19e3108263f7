"""DenseNet against the paper's numbers, torchvision's, and an arithmetic of its own."""

import numpy as np
import pytest

from minicnn import Tensor, inspect, no_grad, seed
from minicnn.gradient_check import check_directions
from minicnn.models import densenet
from minicnn.nn import Conv2d, Dropout, MaxPool2d, init
from minicnn.nn.pool import AvgPool2d
from tests.models.learning import losses_by_heart

IMAGENET = [
    ("densenet121", 7_978_856, 2_834_161_664, 1024),
    ("densenet161", 28_681_000, 7_727_907_072, 2208),
    ("densenet169", 14_149_480, 3_359_843_328, 1664),
    ("densenet201", 20_013_928, 4_291_365_888, 1920),
]
CIFAR = [  # name, depth, k, BC, parameters, multiply-adds
    ("densenet40_12", 40, 12, False, 1_019_722, 264_812_928),
    ("densenet100_12", 100, 12, False, 6_979_642, 1_769_516_448),
    ("densenet100_24", 100, 24, False, 27_249_082, 6_889_347_744),
    ("densenet_bc100_12", 100, 12, True, 769_162, 287_929_692),
    ("densenet_bc250_24", 250, 24, True, 15_324_406, 5_418_785_724),
    ("densenet_bc190_40", 190, 40, True, 25_624_430, 9_301_945_740),
]


def small(**options):
    """A DenseNet-BC of 22 layers, k = 4: 3 layers a block."""
    return densenet.densenet_cifar(22, 4, True, 0.5, **options)


@pytest.mark.parametrize(("name", "parameters", "macs", "maps"), IMAGENET)
@init.shapes_only()
def test_imagenet_counts(name, parameters, macs, maps):
    net = getattr(densenet, name)()
    summary = inspect.summary(net, (3, 224, 224))
    assert (summary.totals["parameters"], summary.totals["macs"]) == (parameters, macs)
    outputs = {layer.name: layer.output for layer in summary.layers}
    k = 48 if name == "densenet161" else 32
    assert outputs["features.conv0"] == (2 * k, 112, 112)
    assert outputs["features.pool0"] == (2 * k, 56, 56)
    assert outputs["features.denseblock1.denselayer6.conv1"] == (4 * k, 56, 56)
    assert outputs["features.denseblock1.denselayer6.conv2"] == (k, 56, 56)
    assert outputs["features.transition1.norm"] == (2 * k + 6 * k, 56, 56)
    assert outputs["features.transition1.pool"] == (4 * k, 28, 28)
    assert outputs["features.norm5"] == (maps, 7, 7)
    assert outputs["classifier"] == (1000,)
    # The name counts what has weights and isn't a norm: stem, two a layer, three transitions, the linear layer.
    layers = [layer for layer in summary.layers if layer.kind in ("Conv2d", "Linear")]
    assert len(layers) == int(name.removeprefix("densenet"))


@pytest.mark.parametrize(("name", "depth", "k", "bc", "parameters", "macs"), CIFAR)
@init.shapes_only()
def test_cifar_counts(name, depth, k, bc, parameters, macs):
    net = getattr(densenet, name)()
    summary = inspect.summary(net, (3, 32, 32))
    assert (summary.totals["parameters"], summary.totals["macs"]) == (parameters, macs)
    assert by_arithmetic(depth, k, bc) == (parameters, macs)
    assert len([layer for layer in summary.layers if layer.kind in ("Conv2d", "Linear")]) == depth
    assert summary.layers[-1].output == (10,)


def by_arithmetic(depth, k, bc):
    """(parameters, multiply-adds), summed from the paper's text without a net; a BN has two parameters a map."""
    layers, channels = (depth - 4) // (6 if bc else 3), 2 * k if bc else 16
    parameters, macs = 3 * 9 * channels, 32 * 32 * 3 * 9 * channels
    for block, size in enumerate((32, 16, 8)):
        for _ in range(layers):
            weights = channels * 4 * k + 4 * k * 9 * k if bc else channels * 9 * k
            parameters += weights + 2 * channels + (2 * 4 * k if bc else 0)
            macs += weights * size * size
            channels += k
        if block < 2:
            out = channels // 2 if bc else channels
            parameters += 2 * channels + channels * out
            macs += channels * out * size * size
            channels = out
    return parameters + 2 * channels + 10 * channels + 10, macs + 10 * channels


def test_receptive_field_of_densenet121():
    """Along the longest path, through every window: 2071 pixels."""
    field, jump = 1, 1
    for _, module in densenet.densenet121(width=0.1).named_modules():
        if isinstance(module, (Conv2d, MaxPool2d, AvgPool2d)):
            kernel, stride = (v[0] if isinstance(v, tuple) else v for v in (module.kernel_size, module.stride))
            field, jump = field + (kernel - 1) * jump, jump * stride
    assert (field, jump) == (2071, 32)


NAMES = {
    "features.conv0.weight": (64, 3, 7, 7),
    "features.norm0.weight": (64,),
    "features.norm0.running_var": (64,),
    "features.denseblock1.denselayer1.norm1.weight": (64,),
    "features.denseblock1.denselayer1.conv1.weight": (128, 64, 1, 1),
    "features.denseblock1.denselayer1.norm2.running_mean": (128,),
    "features.denseblock1.denselayer1.conv2.weight": (32, 128, 3, 3),
    "features.denseblock1.denselayer6.conv1.weight": (128, 224, 1, 1),
    "features.transition1.norm.bias": (256,),
    "features.transition1.conv.weight": (128, 256, 1, 1),
    "features.denseblock3.denselayer24.conv2.weight": (32, 128, 3, 3),
    "features.denseblock4.denselayer16.norm1.weight": (992,),
    "features.norm5.weight": (1024,),
    "classifier.weight": (1000, 1024),
    "classifier.bias": (1000,),
}


def test_names_are_torchvisions():
    state = densenet.densenet121().state_dict()
    assert {name: state[name].shape for name in NAMES} == NAMES
    assert not any(name.startswith("features.transition4") for name in state)
    assert len(state) == 5 + 58 * 10 + 3 * 5 + 4 + 2       # stem, dense layers, transitions, norm5, classifier


def test_names_of_the_cifar_nets():
    plain = list(densenet.densenet_cifar(7, 4).state_dict())
    assert plain[:3] == ["features.conv0.weight", "features.denseblock1.denselayer1.norm1.weight",
                         "features.denseblock1.denselayer1.norm1.bias"]
    assert "features.denseblock1.denselayer1.conv1.weight" in plain
    assert not any("conv2" in name for name in plain)
    assert "features.norm5.weight" in plain


def test_the_dotted_names_of_older_checkpoints_load_too():
    seed(1)
    state = small().state_dict()
    dotted = {}
    for name, array in state.items():
        for part in ("norm1", "conv1", "norm2", "conv2"):
            name = name.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
        dotted[name] = array
    assert "features.denseblock1.denselayer1.norm.1.weight" in dotted
    assert "features.denseblock3.denselayer3.conv.2.weight" in dotted
    dotted["features.denseblock1.denselayer1.norm.1.num_batches_tracked"] = np.array(7)
    for given in (dotted, state):
        net = small()
        assert net.load_state_dict(given).ok
        assert all(np.array_equal(array, state[name]) for name, array in net.state_dict().items())
    # Neither a transition's norm, nor a name that only looks like an old one, is touched.
    for name in ("features.transition1.norm.1.weight", "features.denselayer1.relu.1.weight", "classifier.weight"):
        assert densenet.current_name(name) == name
    wrong = dict(dotted)
    del wrong["features.denseblock1.denselayer1.norm.1.bias"]
    with pytest.raises(ValueError, match=r"missing: features\.denseblock1\.denselayer1\.norm1\.bias"):
        net.load_state_dict(wrong)
    assert net.load_state_dict(wrong, strict=False).missing == ["features.denseblock1.denselayer1.norm1.bias"]


def test_a_block_keeps_its_input_and_every_layer_reads_all_before_it(rng):
    block = densenet.DenseBlock(3, 5, 2).eval()
    x = Tensor(rng.standard_normal((2, 5, 4, 3)).astype(np.float32))
    with no_grad():
        y = block(x).numpy()                               # (2, 5 + 3·2, 4, 3)
        assert y.shape == (2, 11, 4, 3)
        assert np.array_equal(y[:, :5], x.numpy())
        for i in range(3):
            start = 5 + 2 * i
            assert np.array_equal(y[:, start : start + 2], block[i](Tensor(y[:, :start])).numpy())


def test_images_of_other_sizes_and_options():
    net = densenet.densenet121(num_classes=7, in_channels=1, width=0.125).eval()
    assert net(Tensor(np.zeros((2, 1, 33, 29), np.float32))).shape == (2, 7)      # 29: the smallest that goes through
    assert net.features[0].weight.shape == (8, 1, 7, 7)
    wide = densenet.densenet_cifar(7, 4, width=1.5)
    assert wide.features[0].weight.shape == (24, 3, 3, 3)
    assert wide.features["denseblock1"][0]["conv1"].weight.shape == (6, 24, 3, 3)


def test_dropout_follows_every_convolution_but_the_first():
    net = small(dropout=0.2)
    drops = [name for name, module in net.named_modules() if isinstance(module, Dropout)]
    assert len(drops) == 3 * 3 * 2 + 2
    assert list(net.state_dict()) == list(small().state_dict())
    assert not any(isinstance(module, Dropout) for _, module in small().named_modules())


@pytest.mark.parametrize(("options", "sentence"), [
    ({"depth": 41, "growth_rate": 12}, r"depth \(=41\) must be 3n \+ 4, .* 1 convolution.*, such as 40"),
    ({"depth": 43, "growth_rate": 12, "bottleneck": True}, r"depth \(=43\) must be 6n \+ 4, .* 2 conv.*, such as 40"),
    ({"depth": 4, "growth_rate": 12}, r"depth \(=4\) must be 3n \+ 4, .*, such as 7"),
    ({"depth": 40, "growth_rate": 0}, r"growth_rate \(=0\) must be at least 1"),
    ({"depth": 40, "growth_rate": 12, "compression": 1.5}, r"compression \(=1\.5\) must be above 0 and at most 1"),
    ({"depth": 40, "growth_rate": 12, "num_classes": 0}, r"num_classes \(=0\) must be at least 1"),
    ({"depth": 40, "growth_rate": 12, "width": 0}, r"width \(=0\) must be"),
    ({"depth": 40, "growth_rate": 12, "dropout": 1.0}, r"Dropout: p \(=1\.0\) must be"),
])  # fmt: skip
def test_bad_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        densenet.densenet_cifar(**options)


@pytest.mark.parametrize(("build", "size"), [
    (lambda: densenet.densenet121(num_classes=5, width=0.0625), 64),
    (lambda: small(num_classes=5), 8),
    (lambda: densenet.densenet_cifar(13, 3, num_classes=5), 8),
], ids=["densenet121", "bc", "plain"])  # fmt: skip
def test_gradients(build, size, rng):
    seed(2)
    net = build().astype("float64")
    x = Tensor(rng.standard_normal((4, 3, size, size)), requires_grad=True)
    leaves = {"x": x, **dict(net.named_parameters())}
    report = check_directions(lambda: net(x), leaves, directions=3, step=1e-6, tolerance=1e-5)  # small: fewer kinks
    assert (report.coordinates, report.kinks) == (3, [])


@pytest.mark.slow
@pytest.mark.parametrize(("build", "size"), [
    (lambda: densenet.densenet121(num_classes=8, width=0.125), 64),
    (lambda: small(num_classes=8), 16),
    (lambda: densenet.densenet_cifar(13, 6, num_classes=8), 16),
], ids=["densenet121", "bc", "plain"])  # fmt: skip
def test_learns_one_batch_by_heart(build, size, rng):
    seed(3)
    net = build()
    x = Tensor(rng.standard_normal((8, 3, size, size)).astype(np.float32))
    assert losses_by_heart(net, x, lr=0.01)[-1] < 0.05


def test_against_torch(rng):
    """A small block and a transition, written once more with torch's functions: outputs and gradients."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    net = small(num_classes=5).astype("float64")
    p = {name: torch.tensor(array, requires_grad="running" not in name) for name, array in net.state_dict().items()}

    def norm_relu_conv(x, norm, conv, padding):
        x = F.batch_norm(x, None, None, p[f"{norm}.weight"], p[f"{norm}.bias"], training=True).relu()
        return F.conv2d(x, p[f"{conv}.weight"], padding=padding)

    images = rng.standard_normal((3, 3, 12, 12))
    x = F.conv2d(torch.tensor(images), p["features.conv0.weight"], padding=1)
    for b in (1, 2, 3):
        seen = [x]
        for i in (1, 2, 3):
            layer = f"features.denseblock{b}.denselayer{i}"
            h = norm_relu_conv(torch.cat(seen, 1), f"{layer}.norm1", f"{layer}.conv1", 0)
            seen.append(norm_relu_conv(h, f"{layer}.norm2", f"{layer}.conv2", 1))
        x = torch.cat(seen, 1)
        if b < 3:
            t = f"features.transition{b}"
            x = F.avg_pool2d(norm_relu_conv(x, f"{t}.norm", f"{t}.conv", 0), 2)
    x = F.batch_norm(x, None, None, p["features.norm5.weight"], p["features.norm5.bias"], training=True).relu()
    theirs = F.linear(x.mean((2, 3)), p["classifier.weight"], p["classifier.bias"])
    ours, dy = net(Tensor(images)), rng.standard_normal((3, 5))
    np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), atol=1e-12)
    ours.backward(dy)
    theirs.backward(torch.tensor(dy))
    for name, parameter in net.named_parameters():
        np.testing.assert_allclose(parameter.grad, p[name].grad.numpy(), rtol=1e-8, atol=1e-10, err_msg=name)
