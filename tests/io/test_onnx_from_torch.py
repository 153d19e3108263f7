"""Nets that PyTorch exported, by its older and by its newer exporter: the net that is read gives PyTorch's outputs."""

import numpy as np
import pytest

from minicnn import Tensor, no_grad
from minicnn.io import onnx as onnx_io

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")

from tests.io.torch_nets import NETS, SIDE, exported  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize("batch", [0, 1], ids=["free", "fixed"])
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("name", NETS)
def test_a_net_that_pytorch_exported(name, exporter, batch, tmp_path):
    if exporter == "dynamo":
        pytest.importorskip("onnxscript", reason="onnxscript is not installed: PyTorch's newer exporter needs it")
    torch.manual_seed(0)
    net = NETS[name]()
    x = torch.randn(3, 3, SIDE, SIDE)
    with torch.no_grad():
        net.train()(torch.randn(8, 3, SIDE, SIDE))         # statistics of batch norm that are not 0 and 1
        wanted = net.eval()(x).numpy()
    exported(net, tmp_path / "net.onnx", exporter == "dynamo", batch)
    read = onnx_io.load(tmp_path / "net.onnx")
    with no_grad():
        found = read(Tensor(x.numpy())).numpy()
        alone = read(Tensor(x.numpy()[:1])).numpy()
    size = np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * size)
    np.testing.assert_allclose(alone, wanted[:1], rtol=0, atol=1e-5 * size)
    weights = {tuple(p.shape) for p in net.parameters() if p.ndim > 1}
    assert weights <= {p.shape for p in read.parameters()} | {p.shape[::-1] for p in read.parameters()}
