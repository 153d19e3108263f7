"""The ONNX file as a whole: names, metadata, preprocessing inside, folding; what can't be exported."""

import json
import resource
import signal

import numpy as np
import pytest

from minicnn import Tensor, models, nn, no_grad, seed
from minicnn.io.model_file import Description
from minicnn.io.onnx import IR_VERSION, OPSET, content, file, save, trace
from minicnn.io.onnx.fold import fold_batch_norm
from minicnn.ops.activation import relu
from minicnn.ops.batch_norm import batch_norm
from minicnn.ops.dropout import dropout
from minicnn.ops.softmax import cross_entropy
from minicnn.tensor import op

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx onnxruntime")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install onnxruntime")

ABOUT = Description("resnet20", {}, [f"class {i} ü" for i in range(10)], [3, 32, 32], [0.4, 0.5, 0.6], [0.2, 0.3, 0.25])


@pytest.fixture(scope="module")
def net():
    seed(0)
    return models.build("resnet20").eval()


def run(written, **feed):
    return ort.InferenceSession(written, providers=["CPUExecutionProvider"]).run(None, feed)[0]


def test_what_the_file_says_of_itself(net):
    proto = onnx.load_model_from_string(content(net, ABOUT)[0])
    onnx.checker.check_model(proto, full_check=True)
    assert (proto.producer_name, proto.ir_version, proto.opset_import[0].version) == ("minicnn", IR_VERSION, OPSET)
    said = {p.key: p.value for p in proto.metadata_props}
    assert json.loads(said["labels"]) == ABOUT.classes
    assert Description(**json.loads(said["minicnn"])) == ABOUT
    for words in ("RGB", "32x32", "mean [0.4, 0.5, 0.6]", "std [0.2, 0.3, 0.25]", "(N, 3, 32, 32)"):
        assert words in said["preprocessing"]


def test_its_weights_and_nodes_bear_the_names_of_their_layers(net):
    proto = onnx.load_model_from_string(content(net, ABOUT)[0])
    held = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(held[name], array)
    nodes = [node.name for node in proto.graph.node]
    assert len(nodes) == len(set(nodes))
    assert nodes[:3] == ["conv1/Conv", "bn1/BatchNormalization", "relu/Relu"]
    assert {"layer1.0/Add", "layer1.0.relu2/Relu", "layer2.0.conv1/Conv"} <= set(nodes), "an op stands in its own block"


def test_every_value_has_a_known_shape(net):
    proto = onnx.load_model_from_string(content(net, ABOUT)[0])
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
              for v in proto.graph.value_info}  # fmt: skip
    assert shapes["conv1/Conv"] == ["N", 16, 32, 32]
    assert shapes["layer3.2.relu2/Relu"] == ["N", 64, 8, 8]


def test_the_graph_can_normalise(net, rng):
    pixels = rng.integers(0, 256, (2, 3, 32, 32), np.uint8)
    mean, std = (np.reshape(v, (3, 1, 1)) for v in (ABOUT.mean, ABOUT.std))
    with no_grad():
        wanted = net(Tensor(((pixels / 255 - mean) / std).astype(np.float32))).numpy()
    written, report = content(net, ABOUT, preprocess=True)
    assert report["input"] == {"name": "pixels", "type": "uint8", "shape": ["N", 3, 32, 32]}
    np.testing.assert_allclose(run(written, pixels=pixels), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    proto = onnx.load_model_from_string(written)
    assert [n.op_type for n in proto.graph.node][:4] == ["Cast", "Div", "Sub", "Div"]
    assert "uint8" in {p.key: p.value for p in proto.metadata_props}["preprocessing"]


def test_the_net_is_left_as_it_was(net):
    net.train()
    before = net.state_dict()
    content(net, ABOUT)
    assert all(m.training for _, m in net.named_modules())
    after = net.eval().state_dict()
    assert all(np.array_equal(before[k], after[k]) for k in before)


# ------------------------------------------------------------------------------------------------------------- folding


@pytest.mark.parametrize("with_bias", [True, False])
def test_a_folded_filter_is_the_scaled_one(rng, with_bias):
    net = nn.Sequential(nn.Conv2d(2, 3, 3, bias=with_bias), nn.BatchNorm2d(3, eps=0.1))
    conv, norm = net
    for tensor in (*[conv.bias] * with_bias, norm.weight, norm.bias, norm.running_mean):
        tensor.data = rng.standard_normal(3).astype(np.float32)
    norm.running_var.data = rng.uniform(0.5, 2, 3).astype(np.float32)
    before = net.state_dict()
    graph = trace(net, (2, 5, 5))
    assert fold_batch_norm(graph) == 1
    scale = before["1.weight"] / np.sqrt(before["1.running_var"] + 0.1)
    np.testing.assert_allclose(graph.constants["0.weight"], before["0.weight"] * scale[:, None, None, None], rtol=1e-6)
    bias = scale * (before.get("0.bias", 0) - before["1.running_mean"]) + before["1.bias"]
    np.testing.assert_allclose(graph.constants["0.bias"], bias, rtol=1e-5)
    assert sorted(graph.constants) == ["0.bias", "0.weight"]
    assert [(node.op, node.inputs[1:]) for node in graph.nodes] == [("Conv", ["0.weight", "0.bias"])]
    assert all(np.array_equal(before[k], v) for k, v in net.state_dict().items()), "the net itself is left alone"


class Twice(nn.Module):
    """A convolution whose output a second op also reads."""

    def __init__(self):
        self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


def test_a_convolution_that_is_read_twice_is_not_folded():
    assert fold_batch_norm(trace(Twice(), (1, 5, 5))) == 0


# ------------------------------------------------------------------------------------------- what can't be written down


class Layer(nn.Module):
    def __init__(self, function):
        self.function = function

    def forward(self, x):
        return self.function(x)


def refused(function):
    """The sentence about a net whose second block's layer does that."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential({"odd": Layer(function)}), nn.GlobalAvgPool2d())
    with pytest.raises(ValueError) as caught:
        trace(net, (1, 8, 8))
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


@op
def cube(x):
    """y = x³"""
    return x * x * x, lambda dy: 3 * dy * x * x


def test_an_op_without_a_counterpart():
    assert refused(cube).startswith("1.odd (Layer): the op 'cube' has no ONNX handler: ")


@pytest.mark.parametrize(("name", "function"), [
    ("batch_norm", batch_norm),
    ("dropout", lambda x: dropout(x, np.ones(x.shape, bool), p=0.5)),
    ("cross_entropy", lambda x: cross_entropy(x.reshape(len(x), -1), np.zeros(len(x), np.int64))),
])  # fmt: skip
def test_an_op_of_training(name, function):
    assert refused(function).startswith(f"1.odd (Layer): the op '{name}' is for training only")


@pytest.mark.parametrize("function", [
    lambda x: x * Tensor(x.data.mean((2, 3), keepdims=True)),    # the image, behind the ops' back
    lambda x: x * float(x.data.max()),
    lambda x: x * (1 + len(x)),                                  # the batch
    lambda x: relu(x) if len(x) > 2 else -x,
], ids=["the image's mean", "its maximum", "the batch's length", "another way by length"])  # fmt: skip
def test_what_depends_on_the_image_without_ops(function):
    sentence = refused(function)
    assert sentence.startswith("1.odd can't be exported: its values depend on the images or their number")


def test_an_output_without_a_row_for_each_image():
    with pytest.raises(ValueError, match=r"for 2 images its output has shape \(\), but it must have one row for each"):
        trace(Layer(lambda x: x.sum()), (1, 4, 4))


def test_an_output_that_no_op_made():
    with pytest.raises(ValueError, match=r"its output \(Tensor\) does not depend on the image"):
        trace(Layer(lambda x: Tensor(np.zeros((len(x), 3), np.float32))), (1, 4, 4))


def test_a_net_that_is_too_large_for_the_format(net, monkeypatch):
    monkeypatch.setattr(file, "LIMIT", 1_000_000)
    with pytest.raises(ValueError, match=r"the net's weights are 0\.0 GB, and an ONNX file holds 2\.1 GB"):
        content(net, ABOUT)


def test_a_full_disk_keeps_the_old_file(net, tmp_path):
    path = tmp_path / "net.onnx"
    save(path, net, ABOUT)
    before = path.read_bytes()
    limits, signalled = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError):
            save(path, net, ABOUT, preprocess=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, signalled)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_a_net_in_float64(net):
    with pytest.raises(ValueError, match="the net's parameters are float64, but ONNX files are written in float32"):
        trace(nn.Sequential(nn.Conv2d(1, 2, 3)).astype("float64"), (1, 8, 8))


def test_classes_that_are_not_the_nets(net):
    about = Description("resnet20", {}, ["a", "b"], [3, 32, 32], [0] * 3, [1] * 3)
    with pytest.raises(ValueError, match=r"output for an image has shape \(10,\), but the description names 2 classes"):
        content(net, about)


class Shared(nn.Module):
    """Two layers with one filter bank, which two batch norms follow."""

    def __init__(self):
        self.a, self.b = nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.b.weight = self.a.weight
        self.norm_a, self.norm_b = nn.BatchNorm2d(2), nn.BatchNorm2d(2)

    def forward(self, x):
        return self.norm_b(self.b(self.norm_a(self.a(x))))


def test_a_filter_bank_that_two_layers_share_is_held_once_and_not_folded():
    graph = trace(Shared(), (2, 5, 5))
    assert [node.inputs[1] for node in graph.nodes if node.op == "Conv"] == ["a.weight", "a.weight"]
    assert fold_batch_norm(graph) == 0
