"""Inception-v3 against its paper and torchvision's numbers."""

import numpy as np
import pytest

from minicnn import Tensor, inspect, nn, seed
from minicnn.gradient_check import check_directions
from minicnn.models.inception import InceptionA, InceptionB, InceptionC, InceptionD, InceptionE, inception_v3
from minicnn.nn import init
from minicnn.ops.shape import concat
from minicnn.tensor import no_grad
from tests.models.learning import losses_by_heart, without_dropout


@pytest.fixture(scope="module")
def whole():
    """The net at its full size, with its auxiliary classifier."""
    return inception_v3(aux=True)


def outputs(net, shape, training, batch=1):
    """{name: (module, output shape of one image)} of all that computes."""
    seen = []
    with no_grad(), nn.watch(lambda module, inputs, output: seen.append((module, output))):
        net.train(training)(Tensor(np.zeros((batch, *shape), np.float32)))
    names = {id(module): name for name, module in net.named_modules()}
    return {names[id(m)]: (m, y.shape[1:]) for m, y in seen if isinstance(y, Tensor)}


def count(module):
    return sum(p.size for p in module.parameters())


# ------------------------------------------------------------------------------------------------------------- numbers


@init.shapes_only()
def test_parameters_and_multiply_adds(whole):
    assert count(whole) == 27_161_264
    assert count(whole) - count(whole.AuxLogits) == 23_834_568
    totals = inspect.summary(whole, (3, 299, 299)).totals     # in eval mode the auxiliary classifier is there, but idle
    assert (totals["parameters"], totals["macs"]) == (27_161_264, 5_713_216_096)


@init.shapes_only()
def test_parameters_without_the_auxiliary_classifier():
    assert count(inception_v3()) == 23_834_568


def test_shapes(whole):
    seen = outputs(whole, (3, 299, 299), training=True, batch=2)
    rows = {
        "Conv2d_1a_3x3": (32, 149, 149), "Conv2d_2a_3x3": (32, 147, 147), "Conv2d_2b_3x3": (64, 147, 147),
        "maxpool1": (64, 73, 73), "Conv2d_3b_1x1": (80, 73, 73), "Conv2d_4a_3x3": (192, 71, 71),
        "maxpool2": (192, 35, 35), "Mixed_5b": (256, 35, 35), "Mixed_5c": (288, 35, 35), "Mixed_5d": (288, 35, 35),
        "Mixed_6a": (768, 17, 17), "Mixed_6b": (768, 17, 17), "Mixed_6e": (768, 17, 17),
        "AuxLogits.pool": (768, 5, 5), "AuxLogits.conv0": (128, 5, 5), "AuxLogits.conv1": (768, 1, 1),
        "Mixed_7a": (1280, 8, 8), "Mixed_7b": (2048, 8, 8), "Mixed_7c": (2048, 8, 8), "fc": (1000,),
    }  # fmt: skip
    assert {name: seen[name][1] for name in rows} == rows
    auxiliary = sum(module.macs(y) for name, (module, y) in seen.items() if name.startswith("AuxLogits."))
    assert auxiliary == 25 * 768 * 128 + 768 * 128 * 25 + 768 * 1000


@pytest.mark.parametrize(("module", "weights"), [
    (InceptionA(192, 32, int), 64 * 192 + 48 * 192 + 64 * 48 * 25 + 64 * 192 + 96 * 64 * 9 + 96 * 96 * 9 + 32 * 192),
    (InceptionB(288, int), 384 * 288 * 9 + 64 * 288 + 96 * 64 * 9 + 96 * 96 * 9),
    (InceptionC(768, 128, int), 768 * (192 + 128 + 128 + 192) + 7 * 128 * (128 + 192) + 7 * 128 * (3 * 128 + 192)),
    (InceptionD(768, int), 768 * (192 + 192) + 320 * 192 * 9 + 2 * 7 * 192 * 192 + 192 * 192 * 9),
    (InceptionE(1280, int), 1280 * (320 + 384 + 448 + 192) + 448 * 384 * 9 + 4 * 3 * 384 * 384),
], ids="ABCDE")  # fmt: skip
def test_weights_of_each_module(module, weights):
    assert sum(m.weight.size for _, m in module.named_modules() if isinstance(m, nn.Conv2d)) == weights


@pytest.mark.parametrize(("whole", "parts", "ratio"), [
    (nn.Conv2d(64, 64, 5, bias=False), [nn.Conv2d(64, 64, 3, bias=False)] * 2, 18 / 25),
    (nn.Conv2d(64, 64, 7, bias=False), [nn.Conv2d(64, 64, k, bias=False) for k in ((1, 7), (7, 1))], 14 / 49),
    (nn.Conv2d(64, 64, 7, bias=False), [nn.Conv2d(64, 64, 3, bias=False)] * 3, 27 / 49),
], ids=["5x5", "7x7", "stem"])  # fmt: skip
def test_what_factorising_saves(whole, parts, ratio):
    """§3: the same receptive field for a share of the weights."""
    assert sum(map(count, parts)) / count(whole) == ratio
    assert nn.Sequential(*parts)(Tensor(np.zeros((1, 64, 9, 9), np.float32))).shape == \
        whole(Tensor(np.zeros((1, 64, 9, 9), np.float32))).shape  # fmt: skip


def test_receptive_field_and_depth_of_7c():
    """Both along the widest, longest branch of each module."""
    seen = {}
    modules = (InceptionA, InceptionB, InceptionC, InceptionD, InceptionE)

    def look(module, inputs, output):
        state = high, wide, jump, layers = seen.get(id(inputs[0]), (None, 1, 1, 1, 0))[1:]
        if isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
            KH, KW = module.kernel_size if isinstance(module.kernel_size, tuple) else (module.kernel_size,) * 2
            S = module.stride[0] if isinstance(module.stride, tuple) else module.stride
            layers += isinstance(module, nn.Conv2d)
            state = high + (KH - 1) * jump, wide + (KW - 1) * jump, jump * S, layers
        elif isinstance(module, modules):
            state = tuple(max(column) for column in list(zip(*seen.values()))[1:])
        seen.setdefault(id(output), (output, *state))           # the tensor is kept, so that its id stays its own

    net = inception_v3(width=0.05).eval()
    maps = []
    with no_grad(), nn.watch(look), nn.watch(lambda m, _, y: maps.append(y) if m is net.Mixed_7c else None):
        net(Tensor(np.zeros((1, 3, 75, 75), np.float32)))
    assert seen[id(maps[0])][1:] == (1311, 1311, 32, 47)        # the linear layer is the 48th


# --------------------------------------------------------------------------------------------------- names and options


def test_names_and_shapes_of_the_state_are_torchvisions(whole):
    shapes = {name: a.shape for name, a in whole.state_dict().items()}
    examples = {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3), "Conv2d_1a_3x3.bn.running_var": (32,),
        "Conv2d_3b_1x1.conv.weight": (80, 64, 1, 1), "Conv2d_4a_3x3.conv.weight": (192, 80, 3, 3),
        "Mixed_5b.branch1x1.conv.weight": (64, 192, 1, 1), "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_5d.branch3x3dbl_3.conv.weight": (96, 96, 3, 3), "Mixed_5c.branch_pool.conv.weight": (64, 256, 1, 1),
        "Mixed_6a.branch3x3.conv.weight": (384, 288, 3, 3), "Mixed_6b.branch7x7_2.conv.weight": (128, 128, 1, 7),
        "Mixed_6c.branch7x7_3.conv.weight": (192, 160, 7, 1), "Mixed_6d.branch7x7dbl_2.conv.weight": (160, 160, 7, 1),
        "Mixed_6e.branch7x7dbl_5.conv.weight": (192, 192, 1, 7), "AuxLogits.conv0.bn.bias": (128,),
        "AuxLogits.conv1.conv.weight": (768, 128, 5, 5), "AuxLogits.fc.weight": (1000, 768),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3), "Mixed_7b.branch3x3_2a.conv.weight": (384, 384, 1, 3),
        "Mixed_7c.branch3x3dbl_1.conv.weight": (448, 2048, 1, 1),
        "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1), "fc.weight": (1000, 2048), "fc.bias": (1000,),
    }  # fmt: skip
    assert {name: shapes[name] for name in examples} == examples
    assert len(shapes) == 484
    assert list(dict.fromkeys(name.split(".")[0] for name in shapes)) == [
        "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "Mixed_5b", "Mixed_5c",
        "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "AuxLogits", "Mixed_7a", "Mixed_7b",
        "Mixed_7c", "fc",
    ]  # fmt: skip


@pytest.mark.parametrize("module", [InceptionA(2, 4, int), InceptionC(2, 4, int), InceptionE(2, int)], ids="ACE")
def test_averages_count_the_padding(module):
    corner = module.pool(Tensor(np.ones((1, 2, 5, 5)))).numpy()[0, 0, 0, 0]
    assert corner == pytest.approx(4 / 9)


def test_batch_norm_is_everywhere():
    modules = dict(inception_v3(aux=True, width=0.05).named_modules())
    for name, module in modules.items():
        if isinstance(module, nn.Conv2d):
            assert module.bias is None
            assert modules[name.removesuffix("conv") + "bn"].eps == 1e-3


def test_auxiliary_logits_in_training_alone():
    net = inception_v3(7, in_channels=2, aux=True, width=0.05)
    x = Tensor(np.zeros((2, 2, 299, 299), np.float32))
    assert [y.shape for y in net(x)] == [(2, 7)] * 2
    assert net.eval()(x).shape == (2, 7)
    assert inception_v3(7, in_channels=2, width=0.05)(x).shape == (2, 7)


@pytest.mark.parametrize(("option", "sentence"), [
    ({"num_classes": 0}, r"num_classes \(=0\) must be at least 1"),
    ({"in_channels": 0}, r"in_channels \(=0\) must be at least 1"),
    ({"width": -1}, r"width \(=-1\) must be above 0"),
])  # fmt: skip
def test_bad_options(option, sentence):
    with pytest.raises(ValueError, match=sentence):
        inception_v3(**option)


def test_initial_weights():
    net = inception_v3(aux=True, width=0.1)
    largest = {name: np.abs(p.data).max() for name, p in net.named_parameters() if p.data.ndim > 1}
    bounds = {"AuxLogits.conv1.conv.weight": 0.02, "AuxLogits.fc.weight": 0.002}
    assert all(largest[name] <= np.float32(bounds.get(name, 0.2)) for name in largest)
    assert all(largest[name] > 0.9 * bounds.get(name, 0.2) for name in (*bounds, "fc.weight"))


# ----------------------------------------------------------------------------------------------- gradients and learning


@pytest.mark.parametrize(("size", "aux", "width"), [(75, False, 0.25), (299, True, 0.05)])
def test_gradients_of_the_whole_net(size, aux, width, rng):
    seed(1)
    net = without_dropout(inception_v3(5, aux=aux, width=width).astype("float64"))
    x = Tensor(rng.standard_normal((4, 3, size, size)))

    def logits():
        y = net(x)
        return concat(*y, axis=1) if aux else y

    # A million ReLUs: a step of 1e-5 along all weights at once would take some of them across their corners
    report = check_directions(logits, net.named_parameters(), directions=3, step=1e-7, tolerance=1e-5)
    assert report.coordinates == 3


@pytest.mark.slow
@pytest.mark.parametrize(("size", "aux", "width"), [(75, False, 0.25), (299, True, 0.06)])
def test_learns_one_batch_by_heart(size, aux, width, rng):
    seed(0)
    net = without_dropout(inception_v3(8, aux=aux, width=width))
    x = Tensor(rng.standard_normal((8, 3, size, size)).astype(np.float32))
    assert losses_by_heart(net, x, lr=5e-3, weights=[0.4] * aux)[-1] < 0.05
