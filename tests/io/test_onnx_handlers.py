"""The table of ONNX handlers: an op that is added to it."""

import numpy as np
import onnxruntime
import pytest

from minicnn import Tensor, nn, no_grad
from minicnn.data import Preprocessing
from minicnn.io import onnx
from minicnn.io.model_file import Description
from minicnn.io.onnx.handlers import HANDLERS
from minicnn.tensor import op


@op
def cube(x):
    """y = x³"""
    return x**3, lambda dy: 3 * x**2 * dy


class Cubes(nn.Module):
    def __init__(self):
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(cube(x).reshape(-1, 4))


def test_an_op_of_ones_own(monkeypatch):
    net = Cubes()
    about = Description.of("cubes", {}, ["a", "b", "c"], Preprocessing((2, 2), (0.5,), (0.5,), channels=1))
    with pytest.raises(ValueError, match="the op 'cube' has no ONNX handler: add one to minicnn"):
        onnx.content(net, about)
    monkeypatch.setitem(HANDLERS, "cube", lambda graph, x: graph.add("Pow", x, graph.constant(3, np.float32)))
    written, report = onnx.content(net, about)
    assert report["nodes"]["Pow"] == 1
    x = np.random.default_rng(0).standard_normal((5, 1, 2, 2)).astype(np.float32)
    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    with no_grad():
        ours = net(Tensor(x)).numpy()
    np.testing.assert_allclose(session.run(None, {"image": x})[0], ours, rtol=1e-5, atol=1e-6)
