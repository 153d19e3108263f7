"""MobileNetV2 against the paper's table and torchvision's numbers and names."""

import numpy as np
import pytest

from minicnn import Tensor, inspect, no_grad, seed
from minicnn.gradient_check import check_directions
from minicnn.models.mobilenet_v2 import InvertedResidual, make_divisible, mobilenet_v2, nested_names
from minicnn.nn import Conv2d, init
from tests.models.learning import losses_by_heart, without_dropout


@init.shapes_only()
def test_counts():
    net = mobilenet_v2()
    summary = inspect.summary(net, (3, 224, 224))
    totals = {"parameters": 3_504_872, "buffers": 34_112, "macs": 300_774_272, "flops": 601_548_544}
    assert {key: summary.totals[key] for key in totals} == totals
    # A block is t = 6: 144 maps inside. 24·144 + 9·144 + 144·24 weights and the parameters of three norms.
    block = [layer for layer in summary.layers if layer.name.startswith("features.3.")]
    assert sum(layer.parameters for layer in block) == 24 * 144 + 9 * 144 + 144 * 24 + 2 * (144 + 144 + 24)
    assert sum(layer.macs for layer in block) == 56 * 56 * (24 * 144 + 9 * 144 + 144 * 24)
    assert summary.layers[-1].output == (1000,)


@pytest.mark.parametrize(("width", "parameters", "macs"), [
    (1.4, 6_108_776, 582_195_824),
    (0.75, 2_636_424, 209_069_792),
    (0.5, 1_968_680, 97_131_840),
    (0.35, 1_677_128, 59_285_808),
])  # fmt: skip
@init.shapes_only()
def test_counts_by_width(width, parameters, macs):
    totals = inspect.summary(mobilenet_v2(width=width), (3, 224, 224)).totals
    assert (totals["parameters"], totals["macs"]) == (parameters, macs)
    assert by_arithmetic(width) == (parameters, macs)


def by_arithmetic(width):
    """(parameters, multiply-adds) from table 2 without a net; a BN has two parameters a map."""
    table = "1 16 1 1, 6 24 2 2, 6 32 3 2, 6 64 4 2, 6 96 3 1, 6 160 3 2, 6 320 1 1"
    eights = {1.4: (48, 24, 32, 48, 88, 136, 224, 448, 1792), 0.75: (24, 16, 24, 24, 48, 72, 120, 240, 1280),
              0.5: (16, 8, 16, 16, 32, 48, 80, 160, 1280), 0.35: (16, 8, 8, 16, 24, 32, 56, 112, 1280)}[width]
    channels, size = eights[0], 112
    parameters, macs = 27 * channels + 2 * channels, 27 * channels * size * size
    for row, out in zip(table.split(", "), eights[1:8]):
        t, _, n, s = map(int, row.split())
        for i in range(n):
            hidden, stride = t * channels, s if i == 0 else 1
            if t > 1:
                parameters += channels * hidden + 2 * hidden
                macs += channels * hidden * size * size
            size //= stride
            parameters += 9 * hidden + 2 * hidden + hidden * out + 2 * out
            macs += (9 * hidden + hidden * out) * size * size
            channels = out
    last = eights[8]
    return (parameters + channels * last + 2 * last + 1000 * last + 1000,
            macs + channels * last * size * size + 1000 * last)


def test_table_2():
    """The output of every block of the table at 224×224."""
    outputs = {}
    net = mobilenet_v2()
    for row in inspect.summary(net, (3, 224, 224)).layers:
        if row.name.startswith("features."):
            outputs[int(row.name.split(".")[1])] = row.output                 # the block's last layer stays
    sizes = [(32, 112), (16, 112), *[(24, 56)] * 2, *[(32, 28)] * 3, *[(64, 14)] * 4, *[(96, 14)] * 3, *[(160, 7)] * 3,
             (320, 7), (1280, 7)]
    assert [outputs[i] for i in range(19)] == [(c, s, s) for c, s in sizes]
    blocks = [m for _, m in net.named_modules() if isinstance(m, InvertedResidual)]
    assert len(blocks) == 17
    assert [i for i, block in enumerate(blocks, 1) if block.shortcut] == [3, 5, 6, 8, 9, 10, 12, 13, 15, 16]


def test_receptive_field():
    field, jump = 1, 1
    for _, m in mobilenet_v2(width=0.25).named_modules():
        if isinstance(m, Conv2d):
            field, jump = field + (m.kernel_size[0] - 1) * jump, jump * m.stride[0]
    assert (field, jump) == (491, 32)


@pytest.mark.parametrize(("channels", "rounded"), [
    (1, 8), (8, 8), (11.9, 16), (12, 16), (16, 16), (19.9, 24), (20, 24), (44.8, 48), (22.4, 24),
    (18, 24),         # 16 would be a loss of 11 %
    (8.8, 8), (9, 16), (33.6, 32), (35.5, 32), (35.6, 40), (1792, 1792),
])  # fmt: skip
def test_make_divisible(channels, rounded):
    assert make_divisible(channels) == rounded
    assert rounded % 8 == 0
    assert rounded >= 0.9 * channels


def test_names_are_torchvisions():
    state = mobilenet_v2().state_dict()
    shapes = {
        "features.0.0.weight": (32, 3, 3, 3), "features.0.1.running_mean": (32,),
        "features.1.conv.0.0.weight": (32, 1, 3, 3), "features.1.conv.0.1.weight": (32,),
        "features.1.conv.1.weight": (16, 32, 1, 1), "features.1.conv.2.bias": (16,),
        "features.2.conv.0.0.weight": (96, 16, 1, 1), "features.2.conv.0.1.running_var": (96,),
        "features.2.conv.1.0.weight": (96, 1, 3, 3), "features.2.conv.1.1.bias": (96,),
        "features.2.conv.2.weight": (24, 96, 1, 1), "features.2.conv.3.weight": (24,),
        "features.17.conv.2.weight": (320, 960, 1, 1),
        "features.18.0.weight": (1280, 320, 1, 1), "features.18.1.weight": (1280,),
        "classifier.1.weight": (1000, 1280), "classifier.1.bias": (1000,),
    }  # fmt: skip
    assert {name: state[name].shape for name in shapes} == shapes
    assert list(state)[:6] == ["features.0.0.weight", "features.0.1.weight", "features.0.1.bias",
                               "features.0.1.running_mean", "features.0.1.running_var", "features.1.conv.0.0.weight"]
    assert len(state) == 5 + 10 + 16 * 15 + 5 + 2


FLAT = {  # of block 1, which has no convolution upwards, and of the others
    1: {"0": "0.0", "1": "0.1", "3": "1", "4": "2"},
    2: {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"},
}


def test_the_flat_names_of_older_checkpoints_load_too():
    seed(1)
    state = mobilenet_v2(width=0.1, num_classes=3).state_dict()
    flat = {}
    for name, array in state.items():
        if ".conv." in name:
            block, rest = name.split(".conv.")
            for old, new in FLAT[1 if block == "features.1" else 2].items():
                if rest.rpartition(".")[0] == new:
                    name = f"{block}.conv.{old}.{rest.rpartition('.')[2]}"
        flat[name] = array
    assert {"features.1.conv.3.weight", "features.1.conv.4.running_var", "features.17.conv.6.weight",
            "features.17.conv.7.bias"} < flat.keys()  # fmt: skip
    assert len(flat) == len(state)
    for given in (flat, state):
        net = mobilenet_v2(width=0.1, num_classes=3)
        assert net.load_state_dict(given).ok
        assert all(np.array_equal(array, state[name]) for name, array in net.state_dict().items())
    # What is in today's spelling already stays as it is; `features` alone can be loaded, too.
    assert list(nested_names(state).values()) == list(state)
    assert set(nested_names(flat).values()) == set(state)
    alone = {name.removeprefix("features."): array for name, array in flat.items() if name.startswith("features.")}
    assert net.features.load_state_dict(alone).ok
    others = ["classifier.1.weight", "classifier.1.num_batches_tracked"]
    assert nested_names(others) == {name: name for name in others}


def test_a_block_adds_its_input_and_ends_linear(rng):
    seed(4)
    x = Tensor(rng.standard_normal((2, 8, 5, 4)).astype(np.float32))
    with no_grad():
        block = InvertedResidual(8, 8, 1, 6).eval()
        np.testing.assert_array_equal(block(x).numpy(), x.numpy() + block.conv(x).numpy())
        assert block.conv(x).numpy().min() < 0                                # no activation behind the last norm
        for in_channels, stride in ((8, 2), (6, 1)):
            other = InvertedResidual(in_channels, 8, stride, 6).eval()
            part = Tensor(x.numpy()[:, :in_channels])
            np.testing.assert_array_equal(other(part).numpy(), other.conv(part).numpy())


def test_options():
    net = mobilenet_v2(num_classes=7, in_channels=1, width=0.1).eval()
    assert net(Tensor(np.zeros((2, 1, 33, 31), np.float32))).shape == (2, 7)
    assert net.classifier[1].weight.shape == (7, 1280)                        # α below 1 leaves the last 1280 alone


@pytest.mark.parametrize(("options", "sentence"), [
    ({"width": 0}, r"width \(=0\) must be above 0"),
    ({"width": float("nan")}, r"width \(=nan\) must be above 0"),
    ({"num_classes": 0}, r"num_classes \(=0\) must be at least 1"),
    ({"in_channels": 0}, r"in_channels \(=0\) must be at least 1"),
])  # fmt: skip
def test_bad_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        mobilenet_v2(**options)


def test_gradients(rng):
    seed(2)
    net = without_dropout(mobilenet_v2(num_classes=5, width=0.1)).astype("float64")
    x = Tensor(rng.standard_normal((4, 3, 64, 64)), requires_grad=True)
    leaves = {"x": x, **dict(net.named_parameters())}
    report = check_directions(lambda: net(x), leaves, directions=3, step=1e-6, tolerance=1e-5)  # small: fewer kinks
    assert (report.coordinates, report.kinks) == (3, [])


@pytest.mark.slow
def test_learns_one_batch_by_heart(rng):
    seed(3)
    net = without_dropout(mobilenet_v2(num_classes=8, width=0.25))
    x = Tensor(rng.standard_normal((8, 3, 64, 64)).astype(np.float32))
    assert losses_by_heart(net, x, lr=0.005)[-1] < 0.05
