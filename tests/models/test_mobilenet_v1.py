"""MobileNet (v1) against the paper's numbers."""

import numpy as np
import pytest

from minicnn import Tensor, inspect, seed
from minicnn.gradient_check import check_directions
from minicnn.models.mobilenet_v1 import DepthwiseSeparable, Full, mobilenet_v1
from minicnn.nn import Conv2d, Sequential, init
from tests.models.learning import losses_by_heart


@pytest.mark.parametrize(("width", "parameters", "macs"), [
    (1.0, 4_231_976, 568_740_352),
    (0.75, 2_585_560, 325_400_448),
    (0.5, 1_331_592, 149_497_088),
    (0.25, 470_072, 41_030_272),
])  # fmt: skip
@init.shapes_only()
def test_counts_by_width(width, parameters, macs):
    totals = inspect.summary(mobilenet_v1(width=width), (3, 224, 224)).totals
    assert (totals["parameters"], totals["macs"]) == (parameters, macs)
    if width == 1:
        assert totals["buffers"] == 21_888                 # the running statistics, which Keras counts as parameters


@pytest.mark.parametrize(("resolution", "macs"), [(192, 418_121_728), (160, 290_675_200), (128, 186_400_768)])
@init.shapes_only()
def test_counts_by_resolution(resolution, macs):
    totals = inspect.summary(mobilenet_v1(), (3, resolution, resolution)).totals
    assert (totals["parameters"], totals["macs"]) == (4_231_976, macs)


@init.shapes_only()
def test_counts_with_full_convolutions():
    totals = inspect.summary(mobilenet_v1(separable=False), (3, 224, 224)).totals
    assert (totals["parameters"], totals["macs"]) == (29_294_088, 4_867_293_184)


def test_table_1():
    """Every convolution's kernel, channels, stride and output, typed from the paper; stride 1 in the last dw."""
    rows = [("conv", 3, 32, 2, 112)]
    for c, o, stride, size in [(32, 64, 1, 112), (64, 128, 2, 56), (128, 128, 1, 56), (128, 256, 2, 28),
                               (256, 256, 1, 28), (256, 512, 2, 14), *[(512, 512, 1, 14)] * 5,
                               (512, 1024, 2, 7), (1024, 1024, 1, 7)]:
        rows += [("dw", c, c, stride, size), ("pw", c, o, 1, size)]
    net = mobilenet_v1()
    outputs = {row.name: row.output for row in inspect.summary(net, (3, 224, 224)).layers}
    found = []
    for name, m in net.named_modules():
        if isinstance(m, Conv2d):
            kind = "dw" if m.groups > 1 else "pw" if m.kernel_size == (1, 1) else "conv"
            assert m.groups in (1, m.in_channels)
            assert m.kernel_size == ((1, 1) if kind == "pw" else (3, 3))
            found.append((kind, m.in_channels, m.out_channels, m.stride[0], outputs[name][1]))
            assert outputs[name] == (m.out_channels, found[-1][-1], found[-1][-1])
    assert found == rows
    assert outputs["pool"] == (1024,)
    assert outputs["classifier"] == (1000,)


def test_where_the_multiply_adds_are():
    """Table 2: the shares, in per cent, of multiply-adds and of weights (norms and biases are not counted there).

    The paper prints 1.19 for 1.91; its column then adds up to 99.29.
    """
    net, counts = mobilenet_v1(), {}
    modules = dict(net.named_modules())
    for row in inspect.summary(net, (3, 224, 224)).layers:
        m = modules[row.name]
        if row.macs:
            kind = ("linear" if not isinstance(m, Conv2d) else
                    "depthwise" if m.groups > 1 else "1×1" if m.kernel_size == (1, 1) else "3×3")
            macs, weights = counts.get(kind, (0, 0))
            counts[kind] = (macs + row.macs, weights + m.weight.size)
    macs, weights = (sum(column) for column in zip(*counts.values()))
    shares = {kind: (round(100 * m / macs, 2), round(100 * w / weights, 2)) for kind, (m, w) in counts.items()}
    assert shares == {"1×1": (94.86, 74.59), "depthwise": (3.06, 1.06), "3×3": (1.91, 0.02), "linear": (0.18, 24.33)}


def test_what_separating_saves():
    """(9 + N)/9N = 1/N + 1/9 of the multiply-adds: 0.11306 for N = 512."""
    N, size = 512, (512, 14, 14)
    separable = inspect.summary(Sequential(DepthwiseSeparable(512, N)), size).totals["macs"]
    full = inspect.summary(Sequential(Full(512, N)), size).totals["macs"]
    assert (separable, full) == (14 * 14 * 512 * (9 + N), 14 * 14 * 512 * 9 * N)
    assert separable / full == pytest.approx(1 / N + 1 / 9, rel=1e-12)
    assert round(separable / full, 5) == 0.11306


def test_a_pair_with_rank_one_filters_is_a_full_convolution(rng):
    """Depthwise d[c] and then pointwise p[o,c] is the convolution w[o,c] = p[o,c]·d[c]."""
    x = Tensor(rng.standard_normal((2, 4, 7, 6)))
    dw, pw = Conv2d(4, 4, 3, 2, padding=1, groups=4, bias=False), Conv2d(4, 5, 1, bias=False)
    full = Conv2d(4, 5, 3, 2, padding=1, bias=False)
    for conv in (dw, pw, full):
        conv.astype("float64")
    full.weight.data = pw.weight.data * dw.weight.data[:, 0]                  # (5, 4, 1, 1) · (4, 3, 3) → (5, 4, 3, 3)
    np.testing.assert_allclose(pw(dw(x)).numpy(), full(x).numpy(), atol=1e-12)


def test_receptive_field():
    """dw1 7, dw2 11, … as in the paper's table; 315 pixels, 32 apart, at the end."""
    field, jump, fields = 1, 1, []
    for _, m in mobilenet_v1(width=0.25).named_modules():
        if isinstance(m, Conv2d):
            field, jump = field + (m.kernel_size[0] - 1) * jump, jump * m.stride[0]
            fields += [field] if m.groups > 1 else []
    assert fields[:7] == [7, 11, 19, 27, 43, 59, 91]
    assert (field, jump) == (315, 32)


def test_names():
    state = mobilenet_v1().state_dict()
    shapes = {
        "features.0.0.weight": (32, 3, 3, 3), "features.0.1.weight": (32,), "features.0.1.running_mean": (32,),
        "features.1.0.weight": (32, 1, 3, 3), "features.1.1.bias": (32,), "features.1.3.weight": (64, 32, 1, 1),
        "features.1.4.running_var": (64,), "features.13.0.weight": (1024, 1, 3, 3),
        "features.13.3.weight": (1024, 1024, 1, 1), "classifier.weight": (1000, 1024), "classifier.bias": (1000,),
    }  # fmt: skip
    assert {name: state[name].shape for name in shapes} == shapes
    assert len(state) == 5 + 13 * 10 + 2
    full = mobilenet_v1(separable=False, width=0.25).state_dict()
    assert full["features.13.0.weight"].shape == (256, 256, 3, 3)
    assert len(full) == 14 * 5 + 2


def test_options():
    net = mobilenet_v1(num_classes=7, in_channels=1, width=0.01).eval()
    assert net(Tensor(np.zeros((2, 1, 33, 31), np.float32))).shape == (2, 7)
    assert net.features[0][0].weight.shape == (8, 1, 3, 3)                    # never fewer than 8


@pytest.mark.parametrize(("options", "sentence"), [
    ({"width": 0}, r"width \(=0\) must be"),
    ({"width": -0.5}, r"width \(=-0\.5\) must be"),
    ({"num_classes": 0}, r"num_classes \(=0\) must be at least 1"),
    ({"in_channels": 0}, r"in_channels \(=0\) must be at least 1"),
])  # fmt: skip
def test_bad_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        mobilenet_v1(**options)


@pytest.mark.parametrize("separable", [True, False])
def test_gradients(separable, rng):
    seed(2)
    net = mobilenet_v1(num_classes=5, width=0.1, separable=separable).astype("float64")
    x = Tensor(rng.standard_normal((4, 3, 64, 64)), requires_grad=True)
    leaves = {"x": x, **dict(net.named_parameters())}
    report = check_directions(lambda: net(x), leaves, directions=3, step=1e-6, tolerance=1e-5)  # small: fewer kinks
    assert (report.coordinates, report.kinks) == (3, [])


@pytest.mark.slow
@pytest.mark.parametrize("separable", [True, False])
def test_learns_one_batch_by_heart(separable, rng):
    seed(3)
    net = mobilenet_v1(num_classes=8, width=0.25, separable=separable)
    x = Tensor(rng.standard_normal((8, 3, 64, 64)).astype(np.float32))
    assert losses_by_heart(net, x, lr=0.005)[-1] < 0.05
