"""Layers with weights that come back from an ONNX file as the layers that they were."""

import numpy as np
import pytest

from minicnn import Tensor, nn, no_grad
from minicnn.io.onnx import Graph
from minicnn.io.onnx.file import checked_proto
from minicnn.io.onnx.trace import record
from minicnn.ops import group_norm, layer_norm

pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")

from minicnn.io.onnx.read.load import read
from minicnn.io.onnx.read.proto import parse

LAYERS = {
    "ConvTranspose2d(4, 6, kernel_size=(3, 2), stride=2, padding=1, output_padding=1, groups=2)": nn.ConvTranspose2d(
        4, 6, (3, 2), 2, 1, 1, groups=2),
    "ConvTranspose2d(4, 3, kernel_size=2, bias=False)": nn.ConvTranspose2d(4, 3, 2, bias=False),
    "PReLU(num_parameters=4)": nn.PReLU(4), "PReLU(num_parameters=1)": nn.PReLU(),
    "LayerNorm((5, 6), eps=0.1)": nn.LayerNorm((5, 6), eps=0.1), "LayerNorm((6,), bias=False)": nn.LayerNorm(
        6, bias=False),
    "InstanceNorm2d(4, eps=0.001, affine=True)": nn.InstanceNorm2d(4, 1e-3, affine=True),
}  # fmt: skip


def filled(layer):
    for p in layer.parameters():
        p.data = np.random.default_rng(p.size).standard_normal(p.shape).astype(np.float32)
    return layer


def read_back(net, x):
    graph: Graph = record(net, Tensor(x))
    return read(parse(checked_proto(graph, "net", dynamic_batch=False).SerializeToString(), None))


@pytest.mark.parametrize("text", LAYERS)
def test_a_layer_with_weights(text, rng):
    net, x = filled(LAYERS[text]), rng.standard_normal((2, 4, 5, 6)).astype(np.float32)
    back = read_back(net, x)
    layers = [m for _, m in back.named_modules() if m is not back]
    assert [repr(m) for m in layers] == [text]
    for name, p in net.named_parameters():
        np.testing.assert_array_equal(getattr(layers[0], name).numpy(), p.numpy())
    with no_grad():
        np.testing.assert_allclose(back(Tensor(x)).numpy(), net(Tensor(x)).numpy(), rtol=1e-5, atol=1e-5)


class Half(nn.Module):
    """Norms with a shift alone, which no layer has."""

    def __init__(self):
        self.shift = nn.Parameter(np.arange(4, dtype=np.float32))

    def forward(self, x):
        return group_norm(layer_norm(x, normalized_shape=6), None, self.shift, num_groups=2)


def test_what_no_layer_has_stays_an_op(rng):
    net, x = Half(), rng.standard_normal((2, 4, 5, 6)).astype(np.float32)
    back = read_back(net, x)
    with no_grad():
        np.testing.assert_allclose(back(Tensor(x)).numpy(), net(Tensor(x)).numpy(), rtol=1e-5, atol=1e-5)
