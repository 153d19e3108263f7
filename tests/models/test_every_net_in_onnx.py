"""Every net of the zoo, and every variant, as an ONNX file: onnxruntime gives our logits, for 1 image and for 3."""

import numpy as np
import pytest

from minicnn import Tensor, models, nn, no_grad, seed
from minicnn.io.model_file import Description
from minicnn.io.onnx import content
from tests.models.test_every_net import HOW, NETS, REPRESENTATIVES, how, small
from tests.thinned import thinned

pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx onnxruntime")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install onnxruntime")

TOLERANCE = 1e-5
"""Of the largest logit. What was measured lies between 1e-7 and 2e-6."""

HEAVY = ("inception_v3",)


def settled(net, images):
    """The net with statistics and scales like a trained one's, for with its first ones a deep net runs to infinity.

    Every shift is 1 and every variance the images' own, some 30 % more or less, and less than a fifth of the mean
    variance nowhere: then the last bit of one layer is not amplified by the next, and the images still differ.
    """
    rng = np.random.default_rng(5)
    norms = [m for _, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum, norm.bias.data = 1.0, norm.bias.data + 1
    with no_grad():
        net.train()(Tensor(images))
    for norm in norms:
        var = norm.running_var.data
        least = 0.2 * var.mean() if len(norms) < 60 else 0
        norm.running_var.data = (var * rng.uniform(0.7, 1.4, len(var)) + least).astype(np.float32)
    return net.eval()


def drawn(count, shape, scale=1.0):
    return (scale * np.random.default_rng(6).standard_normal((count, *shape))).astype(np.float32)


def compare(net, x, **options):
    """The report of the export, once onnxruntime has computed the same as the net, of one image and of all."""
    shape = x.shape[1:]
    with no_grad():
        wanted = net(Tensor(x)).numpy()
    size = np.abs(wanted).max()
    assert np.ptp(wanted, axis=0).max() > 4 * TOLERANCE * size, "the images make a difference"
    classes = [f"class {i}" for i in range(wanted.shape[1])]
    about = Description("net", {}, classes, list(shape), [0.0] * shape[0], [1.0] * shape[0])
    written, report = content(net, about, **options)
    session = ort.InferenceSession(written, providers=["CPUExecutionProvider"])
    assert [i.shape for i in session.get_inputs()] == [["N", *shape]]
    assert [o.shape for o in session.get_outputs()] == [["N", len(classes)]]
    for N in (1, len(x)):
        (found,) = session.run(None, {"image": x[:N]})
        np.testing.assert_allclose(found, wanted[:N], rtol=0, atol=TOLERANCE * size)
    return report


@pytest.mark.parametrize(
    ("name", "variant"), thinned(NETS, lambda name, variant: name in REPRESENTATIVES and name not in HEAVY
                               and variant in ("", *models.variants(name)[:1])),
    ids=lambda part: part or "-")  # fmt: skip
def test_it_gives_the_same_logits(name, variant):
    _, scale, width, _ = how(name, variant, **HOW.get((name, variant), {}))
    net, shape = small(name, variant, 10, width)
    scale = 1000 if scale > 1 else 1                       # where the first weights are tiny, or the biases are all
    compare(settled(net, drawn(8, shape, scale)), drawn(3, shape, scale))


@pytest.mark.slow
@pytest.mark.parametrize("name", [
    "alexnet", "vgg11", "googlenet", "inception_v3", "resnet50", "resnet110", "preact_resnet164", "wrn_16_8",
    "resnext50_32x4d", "densenet121", "squeezenet1_1", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large"])
def test_it_does_so_at_full_size(name):
    seed(2)
    shape = models.input_shape(name)
    compare(settled(models.build(name), drawn(8, shape)), drawn(3, shape))


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2", "densenet_bc100_12", "preact_resnet18", "vgg11_bn"])
def test_batch_norm_can_be_folded_into_the_convolutions(name):
    net, shape = small(name, "", 5)
    settled(net, drawn(8, shape))
    before, after = compare(net, drawn(3, shape)), compare(net, drawn(3, shape), fold=True)
    norms = before["nodes"]["BatchNormalization"]
    assert after["folded"] > 0
    assert after["nodes"].get("BatchNormalization", 0) == norms - after["folded"]
    assert after["nodes"]["Conv"] == before["nodes"]["Conv"]
    assert before["folded"] == 0, "only if asked"
    if name in ("resnet20", "mobilenet_v2", "vgg11_bn"):   # elsewhere some norms stand before their convolution
        assert after["folded"] == norms
