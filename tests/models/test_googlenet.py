"""GoogLeNet against its paper's table 1, torchvision's numbers and CS231n's arithmetic."""

import numpy as np
import pytest

from minicnn import Tensor, inspect, nn, seed
from minicnn.gradient_check import check_directions
from minicnn.models.googlenet import TABLE_1, Inception, googlenet
from minicnn.nn import init
from minicnn.nn.init import truncated_normal
from minicnn.ops.shape import concat
from minicnn.tensor import no_grad
from tests.models.learning import losses_by_heart, without_dropout

# variant, parameters without and with the auxiliary classifiers, MACs likewise (the second in training)
COUNTS = {
    "torchvision": (6_624_904, 13_004_888, 1_498_376_192, 1_506_748_416),
    "paper": (6_998_552, 13_378_280, 1_582_671_872, 1_591_044_096),
}


@pytest.fixture(scope="module", params=COUNTS)
def whole(request):
    """(variant, the net at its full size with both auxiliary classifiers)"""
    return request.param, googlenet(variant=request.param, aux=True)


@pytest.fixture(scope="module")
def paper():
    return googlenet(variant="paper")


def outputs(net, shape, training, batch=1):
    """{id(module): (module, output shape of one image)} and {name: the same} of all that computes."""
    seen = []
    with no_grad(), nn.watch(lambda module, inputs, output: seen.append((module, output))):
        net.train(training)(Tensor(np.zeros((batch, *shape), np.float32)))
    names = {id(module): name for name, module in net.named_modules()}
    return {names[id(m)]: (m, y.shape[1:]) for m, y in seen if isinstance(y, Tensor)}


def multiply_adds(net, shape, training, batch=1):
    return sum(module.macs(y) for module, y in outputs(net, shape, training, batch).values())


def count(module, ends=""):
    return sum(p.size for name, p in module.named_parameters() if name.endswith(ends))


# ------------------------------------------------------------------------------------------------------------- numbers


@init.shapes_only()
def test_parameters_and_multiply_adds(whole):
    variant, net = whole
    bare, full, macs, training_macs = COUNTS[variant]
    assert count(net) == full
    assert count(net) - count(net.aux1) - count(net.aux2) == bare
    totals = inspect.summary(net, (3, 224, 224)).totals       # in eval mode auxiliary classifiers are there, but idle
    assert (totals["parameters"], totals["macs"]) == (full, macs)
    assert multiply_adds(net, (3, 224, 224), training=True, batch=2) == training_macs


@pytest.mark.parametrize("variant", COUNTS)
@init.shapes_only()
def test_parameters_without_auxiliary_classifiers(variant):
    assert count(googlenet(variant=variant)) == COUNTS[variant][0]


def test_shapes_of_table_1(paper):
    shapes = {name: y for name, (_, y) in outputs(paper, (3, 224, 224), training=False).items()}
    rows = {
        "conv1": (64, 112, 112), "maxpool1": (64, 56, 56), "conv3": (192, 56, 56), "maxpool2": (192, 28, 28),
        "inception3a": (256, 28, 28), "inception3b": (480, 28, 28), "maxpool3": (480, 14, 14),
        "inception4a": (512, 14, 14), "inception4b": (512, 14, 14), "inception4c": (512, 14, 14),
        "inception4d": (528, 14, 14), "inception4e": (832, 14, 14), "maxpool4": (832, 7, 7),
        "inception5a": (832, 7, 7), "inception5b": (1024, 7, 7), "avgpool": (1024,), "fc": (1000,),
    }  # fmt: skip
    assert {name: shapes[name] for name in rows} == rows


def test_operations_of_table_1(paper):
    """In millions, cut off or rounded as printed. Two rows, conv1 (34M) and 5a (54M), no reading of the table gives."""
    layers = inspect.summary(paper, (3, 224, 224)).layers

    def millions(*prefixes):
        return sum(row.macs for row in layers if row.name.startswith(prefixes)) / 1e6

    printed = {"3a": 128, "3b": 304, "4a": 73, "4b": 88, "4c": 100, "4d": 119, "4e": 170, "5b": 71}
    for row, ops in printed.items():
        assert millions(f"inception{row}.") == pytest.approx(ops, abs=0.7)
    assert millions("conv2.", "conv3.") == pytest.approx(360, abs=0.5)
    assert millions("fc") == 1.024
    assert millions("conv1.") == pytest.approx(118.0, abs=0.05)
    assert millions("inception5a.") == pytest.approx(51.1, abs=0.05)


@init.shapes_only()
def test_parameters_of_table_1(paper):
    """The paper's K is 1024, and biases are not counted; the docstring's numbers."""
    thousands = {row: count(getattr(paper, f"inception{row}"), "weight") / 1024 for row in TABLE_1}
    printed = {"3a": 159, "3b": 380, "4b": 437, "4e": 840}
    for row, K in printed.items():
        assert thousands[row] == pytest.approx(K, rel=0.01)
    assert (count(paper.conv2, "weight") + count(paper.conv3, "weight")) / 1024 == 112
    assert count(paper.fc, "weight") / 1024 == 1000
    assert (count(paper.conv1, "weight"), thousands["4c"], thousands["5a"]) == (9408, 497.5, 1018)
    assert count(paper, "weight") == 6_990_272
    assert 60_965_224 / count(paper) == pytest.approx(8.7, abs=0.02)


def test_sizes_of_the_auxiliary_classifiers():
    net = googlenet(variant="paper", aux=True)
    shapes = {name: y for name, (_, y) in outputs(net, (3, 224, 224), training=True).items()}
    for aux, C, parameters in (("aux1", 512, 3_188_840), ("aux2", 528, 3_190_888)):
        assert shapes[f"{aux}.pool"] == (C, 4, 4)
        assert shapes[f"{aux}.conv"] == (128, 4, 4)
        assert (shapes[f"{aux}.fc1"], shapes[f"{aux}.fc2"]) == ((1024,), (1000,))
        assert count(getattr(net, aux)) == parameters


@pytest.mark.parametrize(("variant", "pixels"), [("paper", 715), ("torchvision", 379)])
def test_receptive_field_of_5b(variant, pixels):
    """Along the widest branch of each module; 3×3 for 5×5 costs half of what an output sees."""
    seen = {}

    def look(module, inputs, output):
        size, jump = seen.get(id(inputs[0]), (None, 1, 1))[1:]
        if isinstance(module, (nn.Conv2d, nn.MaxPool2d)):
            K, S = (k[0] if isinstance(k, tuple) else k for k in (module.kernel_size, module.stride))
            size, jump = size + (K - 1) * jump, jump * S
        elif isinstance(module, Inception):
            size, jump = max(entry[1:] for entry in seen.values())
        seen.setdefault(id(output), (output, size, jump))       # the tensor is kept, so that its id stays its own

    net = googlenet(variant=variant, width=0.05).eval()
    maps = []
    with no_grad(), nn.watch(look), nn.watch(lambda m, _, y: maps.append(y) if m is net.inception5b else None):
        net(Tensor(np.zeros((1, 3, 64, 64), np.float32)))
    assert seen[id(maps[0])][1:] == (pixels, 32)


# -------------------------------------------------------------------------------------------- the arithmetic of CS231n


class Naive(nn.Module):
    """Fig. 2a: the module without its 1×1 reductions."""

    def __init__(self, C):
        self.branches = [nn.Conv2d(C, 128, 1), nn.Conv2d(C, 192, 3, padding=1), nn.Conv2d(C, 96, 5, padding=2),
                         nn.MaxPool2d(3, stride=1, padding=1)]

    def forward(self, x):
        return concat(*(branch(x) for branch in self.branches), axis=1)


def test_naive_module_and_bottleneck():
    naive, bottleneck = Naive(256), Inception(256, 128, 64, 192, 64, 96, 64, variant="paper")
    x = Tensor(np.zeros((1, 256, 28, 28), np.float32))
    assert (naive(x).shape, bottleneck(x).shape) == ((1, 672, 28, 28), (1, 480, 28, 28))
    assert inspect.summary(naive, (256, 28, 28)).totals["macs"] == 854_196_224
    assert inspect.summary(bottleneck, (256, 28, 28)).totals["macs"] == 271_351_808


def test_a_5x5_convolution_with_and_without_a_1x1_before_it():
    wide = nn.Conv2d(192, 32, 5, padding=2, bias=False)
    cheap = nn.Sequential(nn.Conv2d(192, 16, 1, bias=False), nn.Conv2d(16, 32, 5, padding=2, bias=False))
    assert inspect.summary(wide, (192, 28, 28)).totals["macs"] == 120_422_400
    assert inspect.summary(cheap, (192, 28, 28)).totals["macs"] == 12_443_648
    assert (count(wide), count(cheap)) == (153_600, 15_872)


# --------------------------------------------------------------------------------------------------- names and options


def test_names_and_shapes_of_the_state_are_torchvisions():
    shapes = {name: a.shape for name, a in googlenet(aux=True).state_dict().items()}
    examples = {
        "conv1.conv.weight": (64, 3, 7, 7), "conv1.bn.weight": (64,), "conv1.bn.running_var": (64,),
        "conv2.conv.weight": (64, 64, 1, 1), "conv3.conv.weight": (192, 64, 3, 3),
        "inception3a.branch1.conv.weight": (64, 192, 1, 1),
        "inception3a.branch2.0.conv.weight": (96, 192, 1, 1), "inception3a.branch2.1.conv.weight": (128, 96, 3, 3),
        "inception3a.branch3.0.conv.weight": (16, 192, 1, 1), "inception3a.branch3.1.conv.weight": (32, 16, 3, 3),
        "inception3a.branch4.1.conv.weight": (32, 192, 1, 1), "inception3a.branch4.1.bn.running_mean": (32,),
        "inception5b.branch3.1.conv.weight": (128, 48, 3, 3),
        "aux1.conv.conv.weight": (128, 512, 1, 1), "aux1.fc1.weight": (1024, 2048), "aux1.fc2.bias": (1000,),
        "aux2.conv.bn.bias": (128,), "fc.weight": (1000, 1024), "fc.bias": (1000,),
    }  # fmt: skip
    assert {name: shapes[name] for name in examples} == examples
    assert len(shapes) == 305
    blocks = list(dict.fromkeys(name.split(".")[0] for name in shapes))
    assert blocks == ["conv1", "conv2", "conv3", *(f"inception{row}" for row in TABLE_1), "aux1", "aux2", "fc"]


def test_the_papers_form():
    net = googlenet(variant="paper", aux=True, width=0.1)
    modules = dict(net.named_modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in modules.values())
    assert all(m.bias is not None for m in modules.values() if isinstance(m, nn.Conv2d))
    assert modules["inception4c.branch3.1.conv"].kernel_size == (5, 5)
    assert [name for name, m in modules.items() if isinstance(m, nn.LocalResponseNorm)] == ["norm1", "norm2"]
    assert (net.dropout.p, net.aux1.dropout.p, net.aux2.dropout.p) == (0.4, 0.7, 0.7)
    assert (googlenet(width=0.1).dropout.p, googlenet(width=0.1, aux=True).aux1.dropout.p) == (0.2, 0.7)


@pytest.mark.parametrize("variant", COUNTS)
def test_auxiliary_logits_in_training_alone(variant):
    net = googlenet(7, in_channels=2, variant=variant, aux=True, width=0.1)
    x = Tensor(np.zeros((2, 2, 224, 224), np.float32))
    assert [y.shape for y in net(x)] == [(2, 7)] * 3
    assert net.eval()(x).shape == (2, 7)
    assert googlenet(7, in_channels=2, variant=variant, width=0.1)(x).shape == (2, 7)


@pytest.mark.parametrize(("option", "sentence"), [
    ({"variant": "papers"}, r"unknown variant of googlenet 'papers': did you mean 'paper'\? Known: paper, torchvision"),
    ({"num_classes": 0}, r"num_classes \(=0\) must be at least 1"),
    ({"in_channels": 0}, r"in_channels \(=0\) must be at least 1"),
    ({"width": 0}, r"width \(=0\) must be above 0"),
])  # fmt: skip
def test_bad_options(option, sentence):
    with pytest.raises(ValueError, match=sentence):
        googlenet(**option)


def test_initial_weights():
    seed(0)
    w = truncated_normal((300, 400), 0.01)
    assert w.dtype == np.float32
    assert 0.0199 < np.abs(w).max() <= 0.02
    assert w.std() == pytest.approx(0.0088, rel=0.01)           # cutting the tails off takes 12 % of the deviation
    assert abs(w.mean()) < 1e-4
    net = googlenet(width=0.2)
    assert all(np.abs(p.data).max() <= 0.02 for k, p in net.named_parameters() if k.endswith("conv.weight"))


# ----------------------------------------------------------------------------------------------- gradients and learning


@pytest.mark.parametrize(("variant", "size", "aux"), [
    ("torchvision", 40, False), ("torchvision", 64, True), ("paper", 48, False), ("paper", 224, True),
])  # fmt: skip
def test_gradients_of_the_whole_net(variant, size, aux, rng):
    seed(1)
    net = without_dropout(googlenet(5, variant=variant, aux=aux, width=0.08 if size > 64 else 0.25).astype("float64"))
    for name, p in net.named_parameters():
        if name.endswith("bias"):                # or a filter that sees only zeros would sit on the corner of its ReLU
            p.data = p.data + 0.1 * rng.standard_normal(p.shape)
    x = Tensor(rng.standard_normal((3, 3, size, size)))

    def logits():
        y = net(x)
        return concat(*y, axis=1) if aux else y

    # A million ReLUs: a step of 1e-5 along all weights at once would take some of them across their corners
    report = check_directions(logits, net.named_parameters(), directions=3, step=1e-7, tolerance=1e-5)
    assert report.coordinates == 3


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "aux"), [("torchvision", False), ("torchvision", True), ("paper", False)])
def test_learns_one_batch_by_heart(variant, aux, rng):
    seed(0)
    net = without_dropout(googlenet(8, variant=variant, aux=aux, width=0.25))
    x = Tensor(rng.standard_normal((8, 3, 64, 64)).astype(np.float32))
    assert losses_by_heart(net, x, lr=1e-3, weights=[0.3] * 2 * aux)[-1] < 0.05
