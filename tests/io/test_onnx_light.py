"""The nine nets in the ONNX package: AlexNet to ShuffleNet, as Caffe2 wrote them, with weights that a node makes.

All weights of a kind are one number there, so the stored scores are nearly equal, and large: SqueezeNet's are 10^10
before its softmax, where the last bit of a sum in float32 decides which class wins. So SqueezeNet is compared in
float64.
"""

from pathlib import Path

import numpy as np
import pytest

from minicnn import Tensor, inspect, models, nn, no_grad
from minicnn.cli import user_file
from minicnn.io import onnx as onnx_io
from minicnn.io.weights import load_into
from minicnn.models.graph_source import source

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
SHAPE = (3, 224, 224)

NETS = {  # the net, (parameters, MACs) where they are known from elsewhere: torchvision's documentation, the zoo
    "bvlc_alexnet": (60_965_224, None), "densenet121": (7_978_856 + 83_648, 2_834_161_664),
    "inception_v1": (None, None), "inception_v2": (None, None), "resnet50": (25_557_032, 4_089_184_256),
    "shufflenet": (None, None), "squeezenet": (1_235_496, 349_151_936), "vgg19": (143_667_240, 19_632_062_464),
    "zfnet512": (None, None),
}  # fmt: skip
"""DenseNet: the file has a scale and a shift besides each batch norm's, 2·41,824 parameters more than torchvision's."""
ZOO = {"densenet121": "densenet121", "resnet50": "resnet50", "squeezenet": "squeezenet1_1", "vgg19": "vgg19"}


def picture():
    """The input of the stored output: the numbers from 0 to 1 in order."""
    n = int(np.prod(SHAPE))
    return (np.arange(n).reshape(1, *SHAPE) / n).astype(np.float32)


def stored(name):
    """The stored output."""
    return onnx.numpy_helper.to_array(onnx.load_tensor(str(FOLDER / f"light_{name}_output_0.pb")))


@pytest.mark.parametrize("name", [name if name == "shufflenet" else pytest.param(name, marks=pytest.mark.slow)
                                  for name in NETS])  # fmt: skip
def test_a_net_of_the_onnx_package(name, tmp_path):
    net = onnx_io.load(FOLDER / f"light_{name}.onnx")
    x = picture()
    if name == "squeezenet":
        net, x = net.astype("float64"), x.astype(np.float64)
    with no_grad():
        found = net(Tensor(x)).numpy()
    wanted = stored(name)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3 * max(1, np.abs(wanted).max()))
    np.testing.assert_allclose(found, wanted, rtol=1e-3)
    report = inspect.summary(net, SHAPE)
    parameters, macs = sum(x.parameters for x in report.layers), sum(x.macs for x in report.layers)
    known, products = NETS[name]
    assert known in (None, parameters)
    assert products in (None, macs)
    assert parameters == sum(p.size for p in net.parameters()) > 10**6
    as_python(net, tmp_path)


def as_python(net, folder):
    """The code has loops over its blocks, is short, and gives the same scores for other images."""
    text = source(net, "net.safetensors")
    (folder / "net.py").write_text(text, encoding="utf-8")
    net.save(folder / "net.safetensors")
    again = user_file.net(f"{folder / 'net.py'}::Net", {}, drawn=True)
    assert load_into(again, folder / "net.safetensors").ok
    dtype = net.parameters()[0].dtype
    x = Tensor(np.random.default_rng(0).standard_normal((2, *SHAPE)).astype(dtype))
    with no_grad():
        np.testing.assert_array_equal(again.astype(dtype).eval()(x).numpy(), net(x).numpy())
    code = text.partition("# The names of layers")[0]
    blocks = len(net.steps) > 60
    assert ("for block in self.blocks" in code) == (blocks or "Block" in code)
    assert len(code.splitlines()) < 40 + len(net.steps) / (2 if blocks else 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_its_macs_are_those_of_the_zoos_net(name):
    with nn.init.shapes_only():
        report = inspect.summary(models.build(ZOO[name]), SHAPE)
    assert NETS[name][1] == sum(x.macs for x in report.layers)
