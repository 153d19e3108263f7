"""Every net of the zoo, and every variant, exported to ONNX, read again, and written as Python: the same logits and
gradients.
"""

import numpy as np
import pytest

from minicnn import Tensor, models, nn, no_grad
from minicnn.cli import user_file
from minicnn.io import onnx as onnx_io
from minicnn.io.model_file import Description
from minicnn.io.weights import load_into
from minicnn.models.graph_source import source
from minicnn.ops.softmax import cross_entropy
from tests.models.test_every_net import HOW, NETS, how, small
from tests.models.test_every_net_in_onnx import drawn, settled
from tests.thinned import thinned

pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")

QUICK = ("lenet5", "resnet20", "squeezenet1_1", "mobilenet_v3_small")
"""Nets for `make test`; the others take `make slow` some minutes."""

LOGITS, GRADIENTS = 1e-6, 1e-5
"""Of the largest logit, and of the largest number in a parameter's gradient."""
EXACT = ("vgg19", "vgg19_bn")
"""Compared in float64: 19 layers without shortcuts, through which float32's rounding errors grow to 1e-5."""


def gradients(net, x, labels):
    """{name: gradient} of a net's parameters and of its images, and the logits."""
    net.zero_grad()
    images = Tensor(x, requires_grad=True)
    logits = net(images)
    cross_entropy(logits, labels).backward()
    found = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    return {"": images.grad, **found}, logits.numpy()


def alike(mine, theirs, tolerance, name):
    """Whether two arrays differ by less than that part of the largest number."""
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * max(1e-30, np.abs(theirs).max()), err_msg=name)


@pytest.mark.parametrize(
    ("name", "variant"),
    thinned(NETS, lambda name, variant: name in QUICK and variant in ("", *models.variants(name)[:1])),
    ids=lambda part: part or "-")  # fmt: skip
def test_exported_and_read_again(name, variant, tmp_path):
    _, scale, width, _ = how(name, variant, **HOW.get((name, variant), {}))
    net, shape = small(name, variant, 10, width)
    settled(net, drawn(8, shape, scale))
    x, labels = drawn(3, shape, scale), np.array([0, 3, 9])
    about = Description("net", {}, [str(i) for i in range(10)], list(shape), [0.0] * shape[0], [1.0] * shape[0])
    onnx_io.save(tmp_path / "net.onnx", net, about)
    read = onnx_io.load(tmp_path / "net.onnx")
    if name in EXACT:
        net, read, x = net.astype("float64"), read.astype("float64"), x.astype(np.float64)
    wanted, logits = gradients(net, x, labels)
    found, same = gradients(read, x, labels)
    alike(same, logits, LOGITS, "logits")
    assert "" in found
    if (name, variant) != ("lenet5", "1998"):              # whose table of connections makes filters of its weights
        assert {key for key in wanted if net_holds(read, key)} == set(wanted)
        assert read.state_dict().keys() >= net_state(net, wanted)
    for key, gradient in found.items():
        if key in wanted and wanted[key].shape == gradient.shape:
            alike(gradient, wanted[key], GRADIENTS, key)
    python(read.astype("float32"), x.astype(np.float32), tmp_path)


def net_holds(net, name):
    """Whether a parameter of this name is in the net; "" stands for the images."""
    return name == "" or name in dict(net.named_parameters())


def net_state(net, wanted):
    """The names of the state of all layers that the gradient has reached."""
    layers = {name.rpartition(".")[0] for name in wanted if name}
    return {name for name in net.state_dict() if name.rpartition(".")[0] in layers}


def python(read, x, folder):
    """The net as Python code, with its weights from a file, gives the same logits to the last bit."""
    (folder / "net.py").write_text(source(read, "net.safetensors"), encoding="utf-8")
    read.save(folder / "net.safetensors")
    mine = user_file.net(f"{folder / 'net.py'}::Net", {})
    assert isinstance(mine, nn.Module)
    drawn_net = user_file.net(f"{folder / 'net.py'}::Net", {}, drawn=True)
    assert load_into(drawn_net, folder / "net.safetensors").ok
    with no_grad():
        np.testing.assert_array_equal(drawn_net.eval()(Tensor(x)).numpy(), read(Tensor(x)).numpy())
