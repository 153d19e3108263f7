"""Reading ONNX files: idioms of exporters, any number of images, names, what is refused."""

import numpy as np
import pytest

from minicnn import Tensor, inspect, nn, no_grad
from minicnn.io import onnx as onnx_io
from minicnn.io.onnx.read import build

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx onnxruntime")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

node = helper.make_node


def model(nodes, arrays=None, shape=("N", 3, 8, 8), opset=17, outputs=("y",), **more):
    """An ONNX model from "x" to "y" with these arrays."""
    given = [numpy_helper.from_array(np.asarray(a), name) for name, a in (arrays or {}).items()]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs], given)  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more)


def loaded(tmp_path, *args, **kwargs):
    """The net that is read from such a model."""
    path = tmp_path / "net.onnx"
    made = args[0] if isinstance(args[0], onnx.ModelProto) else model(*args, **kwargs)
    path.write_bytes(made.SerializeToString())
    return onnx_io.load(path)


def same_as_onnxruntime(tmp_path, made, shape=(3, 8, 8), counts=(1, 4)):
    """Read the model, and compare with onnxruntime for several numbers of images. → the net"""
    net = loaded(tmp_path, made)
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    for N in counts:
        x = np.random.default_rng(N).standard_normal((N, *shape)).astype(np.float32)
        with no_grad():
            found = net(Tensor(x)).numpy()
        (wanted,) = session.run(None, {"x": x})
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    return net


def refused(tmp_path, *args, **kwargs):
    """The sentence that refuses such a model."""
    with pytest.raises(ValueError) as caught:
        loaded(tmp_path, *args, **kwargs)
    sentence = str(caught.value)
    assert sentence.startswith(f"{tmp_path / 'net.onnx'}: ")
    assert "\n" not in sentence
    return sentence


def drawn(*shape):
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


# ----------------------------------------------------------------------------------------------- exporters' idioms


def test_a_reshape_whose_shape_is_computed_from_the_image(tmp_path):
    """PyTorch's x.view(x.size(0), -1): Shape, Gather, Unsqueeze, Concat, Reshape."""
    nodes = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"], axis=0),
             node("Unsqueeze", ["n", "zeros"], ["n1"]), node("Concat", ["n1", "minus"], ["t"], axis=0),
             node("Reshape", ["x", "t"], ["f"]),
             node("Gemm", ["f", "fc.weight", "fc.bias"], ["y"], transB=1)]  # fmt: skip
    arrays = {"zero": np.array(0), "zeros": np.array([0]), "minus": np.array([-1]), "fc.weight": drawn(5, 192),
              "fc.bias": drawn(5)}  # fmt: skip
    net = same_as_onnxruntime(tmp_path, model(nodes, arrays))
    assert sorted(net.state_dict()) == ["fc.bias", "fc.weight"]
    assert [step.get("layer") for step in net.steps] == ["flatten1", "fc"]
    assert isinstance(net.layers["fc"], nn.Linear)


def test_channels_shuffled_with_sizes_of_the_image(tmp_path):
    nodes = [node("Shape", ["x"], ["n"], start=0, end=1), node("Shape", ["x"], ["hw"], start=2),
             node("Concat", ["n", "groups", "hw"], ["apart"], axis=0), node("Reshape", ["x", "apart"], ["a"]),
             node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]), node("Concat", ["n", "all", "hw"], ["t"], axis=0),
             node("Reshape", ["b", "t"], ["y"])]  # fmt: skip
    arrays = {"groups": np.array([2, 3]), "all": np.array([6])}
    net = same_as_onnxruntime(tmp_path, model(nodes, arrays, ("N", 6, 4, 4)), (6, 4, 4))
    assert [step["with"] for step in net.steps] == [{"shape": [-1, 2, 3, 4, 4]}, {"axes": [0, 2, 1, 3, 4]},
                                                    {"shape": [-1, 6, 4, 4]}]  # fmt: skip


@pytest.mark.parametrize(("shape", "order"), [((3, 8, 8), (0, 1, 2, 3)), ((8, 8, 3), (0, 3, 1, 2)),
                                              ((8, 1, 24), (0, 3, 2, 1)), ((192, 1, 1), (0, 1, 2, 3))])
def test_a_change_of_strides_by_places_in_memory(shape, order, tmp_path):
    """PyTorch's as_strided: a row of all values, and Gather of the places that start, row and column make."""
    steps = np.array([np.prod(shape), np.prod(shape[1:]), shape[2], 1])[list(order)]
    sizes = np.array([0, *shape])[list(order)]
    ranges = {f"r{a}": (np.arange(n) * s).reshape([-1 if b == a else 1 for b in range(4)])
              for a, (n, s) in enumerate(zip(sizes, steps)) if a}  # fmt: skip
    nodes = [node("Reshape", ["x", "minus"], ["row"]), node("Shape", ["x"], ["n"], end=1),
             node("Squeeze", ["n"], ["count"]), node("Range", ["zero", "count", "one"], ["images"]),
             node("Mul", ["images", "step"], ["starts"]), node("Unsqueeze", ["starts", "behind"], ["p0"]),
             *(node("Add", [f"p{a - 1}", f"r{a}"], [f"p{a}"]) for a in (1, 2, 3)), node("Gather", ["row", "p3"], ["y"])]
    arrays = {"minus": np.array([-1]), "zero": np.array(0), "one": np.array(1), "step": np.array(192),
              "behind": np.array([1, 2, 3]), **ranges}  # fmt: skip
    net = same_as_onnxruntime(tmp_path, model(nodes, arrays))
    assert [step["op"] for step in net.steps] == ["reshape", "reshape", "transpose"][: 2 + (order != (0, 1, 2, 3))]


def test_images_that_are_merged_with_channels(tmp_path):
    """PyTorch's group norm before opset 18: (N·G, …) has a multiple of the number of images."""
    nodes = [node("Shape", ["x"], ["s"], end=1), node("Mul", ["s", "three"], ["m"]),
             node("Concat", ["m", "rest"], ["t"], axis=0), node("Reshape", ["x", "t"], ["a"]),
             node("ReduceMean", ["a"], ["b"], axes=[1], keepdims=0), node("Reshape", ["b", "u"], ["y"])]  # fmt: skip
    arrays = {"three": np.array([3]), "rest": np.array([64]), "u": np.array([-1, 3])}
    same_as_onnxruntime(tmp_path, model(nodes, arrays))


def test_a_file_for_one_image_takes_any_number(tmp_path):
    nodes = [node("Relu", ["x"], ["a"]), node("Reshape", ["a", "t"], ["f"]), node("Gemm", ["f", "w"], ["y"])]
    net = loaded(tmp_path, nodes, {"t": np.array([1, 192]), "w": drawn(192, 5)}, shape=(1, 3, 8, 8))
    assert "batch" not in net.description, "all images at once"
    x = drawn(4, 3, 8, 8)
    with no_grad():
        found = net(Tensor(x)).numpy()
    w = np.random.default_rng(3).standard_normal((192, 5)).astype(np.float32)
    np.testing.assert_allclose(found, np.maximum(x, 0).reshape(4, 192) @ w, rtol=1e-4, atol=1e-4)
    assert net.layers["linear1"].weight.shape == (5, 192), "a Gemm without transB has its weights transposed"


def test_a_file_for_two_images_at_a_time(tmp_path):
    """Its reshape mixes the images, so that no number but two can be had: each pair is computed by itself."""
    nodes = [node("Reshape", ["x", "t"], ["a"]), node("Transpose", ["a"], ["b"], perm=[1, 0]),
             node("Reshape", ["b", "u"], ["y"])]  # fmt: skip
    net = loaded(tmp_path, nodes, {"t": np.array([12, 32]), "u": np.array([2, 192])}, shape=(2, 3, 8, 8))
    x = drawn(4, 3, 8, 8)
    with no_grad():
        found = net(Tensor(x)).numpy()
        with pytest.raises(ValueError, match="takes 2 images at a time, and not 3"):
            net(Tensor(x[:3]))
    parts = [x[i : i + 2].reshape(12, 32).T.reshape(2, 192) for i in (0, 2)]
    np.testing.assert_array_equal(found, np.concatenate(parts))


def test_zeros_for_each_image(tmp_path):
    """Our own ResNets with zero channels: a constant, expanded to the number of images."""
    nodes = [node("Shape", ["x"], ["n"], end=1), node("Concat", ["n", "chw"], ["s"], axis=0),
             node("ConstantOfShape", ["s"], ["z"]), node("Concat", ["x", "z"], ["y"], axis=1)]  # fmt: skip
    net = same_as_onnxruntime(tmp_path, model(nodes, {"chw": np.array([2, 8, 8])}))
    assert net.steps[0]["with"] == {"shape": [{"N": 1}, 2, 8, 8]}
    assert [(made[0], made[2]) for made in net.description["arrays"].values()] == [([1, 2, 8, 8], False)]


def test_an_expand_for_each_image(tmp_path):
    nodes = [node("Shape", ["x"], ["n"], end=1), node("Concat", ["n", "chw"], ["s"], axis=0),
             node("Expand", ["token", "s"], ["z"]), node("Concat", ["z", "x"], ["y"], axis=1)]  # fmt: skip
    same_as_onnxruntime(tmp_path, model(nodes, {"chw": np.array([1, 8, 8]), "token": drawn(1, 1, 8, 1)}))


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
def test_convolutions_as_tensorflow_writes_them(auto_pad, tmp_path):
    pads = {"pads": [0, 1, 2, 1], "dilations": [1, 2]} if auto_pad == "NOTSET" else {"auto_pad": auto_pad}
    nodes = [node("Conv", ["x", "conv/kernel:0", "conv/bias:0"], ["a"], strides=[2, 1], **pads),
             node("MaxPool", ["a"], ["y"], kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")]  # fmt: skip
    net = same_as_onnxruntime(tmp_path, model(nodes, {"conv/kernel:0": drawn(4, 3, 3, 2), "conv/bias:0": drawn(4)}))
    assert list(net.layers) == ["conv", "maxpool2d1"]
    assert net.layers["conv"].macs((4, 4, 8)) > 0


def test_statistics_are_buffers_and_dropout_drops_in_training_only(tmp_path):
    nodes = [node("BatchNormalization", ["x", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"], ["a"],
                  momentum=0.8), node("Dropout", ["a", "ratio"], ["y"])]  # fmt: skip
    arrays = {"bn.weight": drawn(3), "bn.bias": drawn(3), "bn.running_mean": drawn(3),
              "bn.running_var": np.abs(drawn(3)) + 1, "ratio": np.float32(0.5)}  # fmt: skip
    net = same_as_onnxruntime(tmp_path, model(nodes, arrays))
    assert [name for name, _ in net.named_parameters()] == ["bn.weight", "bn.bias"]
    x = Tensor(2 + drawn(4, 3, 8, 8))
    before = net.state_dict()["bn.running_mean"]
    y = net.train()(x).numpy()
    assert 0.3 < (y == 0).mean() < 0.7, "dropout drops"
    after = net.state_dict()["bn.running_mean"]
    np.testing.assert_allclose(after, 0.8 * before + 0.2 * x.numpy().mean((0, 2, 3)), rtol=1e-4)


def test_what_is_trained_and_what_is_not(tmp_path):
    """Arrays that are added or multiplied are trained, those subtracted and divided by are not, numbers are numbers."""
    nodes = [node("Sub", ["x", "mean"], ["a"]), node("Div", ["a", "std"], ["b"]), node("Mul", ["b", "half"], ["c"]),
             node("Mul", ["c", "scale"], ["d"]), node("Add", ["d", "shift"], ["y"])]  # fmt: skip
    arrays = {"mean": drawn(3, 1, 1), "std": np.abs(drawn(3, 1, 1)) + 1, "half": np.float32(0.5),
              "scale": drawn(1, 3, 1, 1), "shift": drawn(3, 1, 1)}  # fmt: skip
    net = same_as_onnxruntime(tmp_path, model(nodes, arrays))
    assert [name for name, _ in net.named_parameters()] == ["scale", "shift"]
    assert sorted(net.state_dict()) == ["mean", "scale", "shift", "std"]
    assert net.steps[2]["of"] == ["x2", 0.5]


def test_the_same_weights_twice_are_one_layer(tmp_path):
    nodes = [node("Conv", ["x", "w"], ["a"], pads=[1] * 4), node("Relu", ["a"], ["b"]),
             node("Conv", ["b", "w"], ["y"], pads=[1] * 4)]  # fmt: skip
    net = same_as_onnxruntime(tmp_path, model(nodes, {"w": drawn(3, 3, 3, 3)}))
    assert [step["layer"] for step in net.steps] == ["conv2d1", "relu1", "conv2d1"]
    assert len(net.parameters()) == 1


@pytest.mark.parametrize(("title", "weights", "name"), [
    ("/layer1/layer1.0/conv1/Conv", "onnx::Conv_193", "layer1.0.conv1"),      # PyTorch, batch norm folded
    ("/features/features.0/Conv", "features.0.weight", "features.0"),
    ("features.0/Conv", "12", "features.0"),                                  # ours
    ("", "gpu_0/res2_0_branch2a_w_0", "res2_0_branch2a"),                     # Caffe2
    ("", "conv1/7x7_s2_w_0", "7x7_s2"),
    ("Conv_0", "123", "conv2d1"),
    ("", "model/stem conv/kernel:0", "stem_conv"),                            # Keras
])  # fmt: skip
def test_names_of_layers(title, weights, name, tmp_path):
    nodes = [node("Conv", ["x", weights], ["y"], name=title)]
    assert list(loaded(tmp_path, nodes, {weights: drawn(2, 3, 3, 3)}).layers) == [name]


def test_16_bit_weights_become_32_bit_ones(tmp_path):
    w = drawn(2, 3, 3, 3).astype(np.float16)
    nodes = [node("Cast", ["w"], ["w32"], to=1), node("Conv", ["x", "w32"], ["y"])]
    net = same_as_onnxruntime(tmp_path, model(nodes, {"w": w}))
    np.testing.assert_array_equal(net.state_dict()[next(iter(net.state_dict()))], w.astype(np.float32))


def test_functions_of_the_file_are_put_in_place_of_their_calls(tmp_path):
    body = [node("Relu", ["a"], ["b"]), node("Neg", ["b"], ["c"])]
    function = helper.make_function("own", "F", ["a"], ["c"], body, [helper.make_opsetid("", 17)])
    made = model([node("F", ["x"], ["y"], domain="own")], functions=[function])
    made.opset_import.append(helper.make_opsetid("own", 1))
    net = loaded(tmp_path, made)
    x = drawn(2, 3, 8, 8)
    with no_grad():
        np.testing.assert_array_equal(net(Tensor(x)).numpy(), -np.maximum(x, 0))


def test_an_image_size_that_the_file_leaves_open(tmp_path):
    nodes = [node("GlobalAveragePool", ["x"], ["y"])]
    assert "leaves the size of images open (3×?×?)" in refused(tmp_path, nodes, shape=("N", 3, "H", "W"))
    net = onnx_io.load(tmp_path / "net.onnx", (3, 10, 12))
    assert net(Tensor(drawn(2, 3, 10, 12))).shape == (2, 3, 1, 1)
    with pytest.raises(ValueError, match=r"takes images of 3×.×., not of 1×10×12"):
        onnx_io.load(tmp_path / "net.onnx", (1, 10, 12))


def test_the_products_of_tokens_are_counted(tmp_path):
    """A matrix product of each pixel's channels, a linear layer of as many rows, and q·kᵀ: by their closed forms."""
    nodes = [node("Reshape", ["x", "rows"], ["a"]), node("Transpose", ["a"], ["tokens"], perm=[0, 2, 1]),
             node("MatMul", ["tokens", "w"], ["b"]), node("Reshape", ["b", "flat"], ["c"]),
             node("Gemm", ["c", "v"], ["d"]), node("Reshape", ["d", "back"], ["e"]),
             node("Transpose", ["e"], ["f"], perm=[0, 2, 1]), node("MatMul", ["e", "f"], ["y"])]  # fmt: skip
    net = loaded(tmp_path, nodes, {"w": drawn(3, 5), "v": drawn(5, 4), "rows": np.array([0, 3, 64]),
                                   "flat": np.array([-1, 5]), "back": np.array([-1, 64, 4])})  # fmt: skip
    assert inspect.summary(net, (3, 8, 8)).totals["macs"] == 64 * 3 * 5 + 64 * 5 * 4 + 64 * 4 * 64
    assert net(Tensor(np.zeros((0, 3, 8, 8), np.float32))).shape == (0, 64, 64)


def test_masks_of_the_image(tmp_path):
    """Comparisons, And, Or, Not, casts to floats and back, and Where with masks of both kinds."""
    nodes = [node("Greater", ["x", "half"], ["more"]), node("LessOrEqual", ["x", "two"], ["low"]),
             node("And", ["more", "low"], ["inside"]), node("Not", ["inside"], ["outside"]),
             node("Cast", ["inside"], ["ones"], to=1), node("Mul", ["x", "ones"], ["kept"]),
             node("Cast", ["kept"], ["again"], to=9), node("Equal", ["again", "inside"], ["same"]),
             node("Less", ["x", "shift"], ["less"]), node("Or", ["less", "outside"], ["either"]),
             node("Where", ["either", "kept", "two"], ["a"]), node("Where", ["same", "a", "minus"], ["b"]),
             node("GreaterOrEqual", ["b", "x"], ["large"]), node("Where", ["fixed", "b", "x"], ["c"]),
             node("Where", ["large", "minus", "c"], ["d"]), node("Add", ["d", "kept"], ["y"])]  # fmt: skip
    arrays = {"half": np.float32(0.5), "two": np.float32(2), "minus": np.float32(-1), "shift": drawn(3, 1, 1),
              "fixed": np.arange(192).reshape(1, 3, 8, 8) % 3 > 0}  # fmt: skip
    net = same_as_onnxruntime(tmp_path, model(nodes, arrays))
    assert not net.parameters(), "what is compared with is not trained"
    kinds = {name: (made[0], made[1]) for name, made in net.description["arrays"].items()}
    assert kinds == {"one": ([1, 1, 1, 1], "float32"), "shift": ([3, 1, 1], "float32"),
                     "fixed": ([1, 3, 8, 8], "int64")}  # fmt: skip
    double = net.astype("float64")
    assert double(Tensor(drawn(2, 3, 8, 8).astype(np.float64))).dtype == np.float64


def test_a_gradient_through_where(tmp_path):
    """max(x, x/10), written with a mask: slope 1 above 0, 1/10 below."""
    nodes = [node("Less", ["x", "zero"], ["m"]), node("Mul", ["x", "tenth"], ["t"]),
             node("Where", ["m", "t", "x"], ["y"])]  # fmt: skip
    net = loaded(tmp_path, nodes, {"zero": np.float32(0), "tenth": np.float32(0.1)})
    x = Tensor(drawn(2, 3, 8, 8), requires_grad=True)
    net(x).sum().backward()
    slopes = [1 if v > 0 else 0.1 for v in x.numpy().ravel().tolist()]
    np.testing.assert_allclose(x.grad.ravel(), slopes, rtol=1e-6)


# ---------------------------------------------------------------------------------------------------- what is refused


def test_an_operator_that_is_not_read_is_named_with_its_node(tmp_path):
    nodes = [node("Relu", ["x"], ["a"]), node("NonZero", ["a"], ["b"], name="head/find"),
             node("Cast", ["b"], ["y"], to=1)]  # fmt: skip
    assert "node 'head/find' (NonZero): this operator is not read" in refused(tmp_path, nodes)


def test_masks_that_are_no_masks(tmp_path):
    less = node("Less", ["x", "c"], ["m"])
    for nodes, sentence in (
            ([less, node("Reshape", ["m", "s"], ["y"])], "its array of bool must be known"),
            ([node("Cast", ["x"], ["y"], to=7)], "can be cast to floats and booleans only"),
            ([node("Where", ["x", "x", "x"], ["y"])], "its condition must be booleans"),
            ([less, node("Where", ["m", "s", "s"], ["y"])], "it chooses between floats only"),
            ([node("Equal", ["x", "s"], ["y"])], "are compared as floats only")):
        assert sentence in refused(tmp_path, nodes, {"c": np.float32(0), "s": np.array([-1])})


def test_a_cycle(tmp_path):
    nodes = [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])]
    assert "waits for its own value: the graph has a cycle" in refused(tmp_path, nodes)


def test_a_value_that_no_node_makes(tmp_path):
    assert "reads the value 'nowhere', which no node makes" in refused(tmp_path, [node("Add", ["x", "nowhere"], ["y"])])
    assert "outputs name the value 'y'" in refused(tmp_path, [node("Relu", ["x"], ["a"])])


def test_nodes_in_any_order(tmp_path):
    net = loaded(tmp_path, [node("Neg", ["a"], ["y"]), node("Relu", ["x"], ["a"])])
    assert [step.get("op", step.get("layer")) for step in net.steps] == ["relu1", "negative"]


def test_a_huge_constant(tmp_path, monkeypatch):
    nodes = [node("ConstantOfShape", ["s"], ["w"]), node("MatMul", ["x", "w"], ["y"])]
    assert "has more than 268,435,456 values" in refused(tmp_path, nodes, {"s": np.array([2**20, 2**20])})
    monkeypatch.setattr(build, "LIMIT", 2**20)
    assert "take more than 0.0 GB" in refused(tmp_path, nodes, {"s": np.array([8, 2**18])})


def test_an_array_whose_bytes_do_not_fit_its_shape(tmp_path):
    made = model([node("Add", ["x", "b"], ["y"])], {"b": drawn(3, 1, 1)})
    made.graph.initializer[0].dims[0] = 2**35
    assert "'b' of shape [34359738368, 1, 1] has 12 bytes, and needs 137,438,953,472" in refused(tmp_path, made)


def test_old_and_future_opsets(tmp_path):
    assert "it has opset 5, and 6 to" in refused(tmp_path, [node("Relu", ["x"], ["y"])], opset=5)
    assert "update the package onnx" in refused(tmp_path, [node("Relu", ["x"], ["y"])], opset=999)


def test_a_function_that_calls_itself(tmp_path):
    function = helper.make_function("own", "F", ["a"], ["b"], [node("F", ["a"], ["b"], domain="own")],
                                    [helper.make_opsetid("own", 1)])  # fmt: skip
    made = model([node("F", ["x"], ["y"], domain="own")], functions=[function])
    made.opset_import.append(helper.make_opsetid("own", 1))
    assert "its function 'F' calls itself" in refused(tmp_path, made)


def test_functions_that_double_each_other(tmp_path):
    """2^40 nodes from 40 functions."""
    functions = [helper.make_function(
        "own", f"F{i}", ["a"], ["c"], [node(f"F{i + 1}" if i < 39 else "Relu", [a], [b], domain="own" if i < 39 else "")
                                       for a, b in (("a", "b"), ("b", "c"))],
        [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]) for i in range(40)]  # fmt: skip
    made = model([node("F0", ["x"], ["y"], domain="own")], functions=functions)
    made.opset_import.append(helper.make_opsetid("own", 1))
    assert "make more than 100,000 nodes" in refused(tmp_path, made)


def external(tmp_path, location, **more):
    """A model whose array lies in another file."""
    made = model([node("Add", ["x", "b"], ["y"])], {"b": drawn(3, 1, 1)})
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return made


def test_external_data_beside_the_file(tmp_path):
    values = drawn(3, 1, 1)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "net.data").write_bytes(b"head" + values.tobytes())
    net = loaded(tmp_path, external(tmp_path, "more/net.data", offset=4, length=12))
    np.testing.assert_array_equal(net.state_dict()["b"], values)


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "a/../../secret", "link", "", "folder/secret"])
def test_external_data_outside_the_folder(place, tmp_path):
    """A path that leads out, an absolute one, and links: a file's, and a folder's."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret").write_bytes(bytes(12))
    (home / "link").symlink_to(tmp_path / "secret")
    (home / "folder").symlink_to(tmp_path)
    sentence = refused(home, external(home, place))
    assert "own folder" in sentence


def test_external_data_that_is_too_short(tmp_path):
    (tmp_path / "net.data").write_bytes(bytes(8))
    assert "needs 12 bytes at 0 of 'net.data', which has 8" in refused(tmp_path, external(tmp_path, "net.data"))
    assert "is not beside the ONNX file" in refused(tmp_path, external(tmp_path, "other.data"))
    assert "no readable place" in refused(tmp_path, external(tmp_path, "net.data", offset="x"))


def test_no_onnx_file(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"hello, I am a text")
    with pytest.raises(ValueError, match="no ONNX file"):
        onnx_io.load(tmp_path / "net.onnx")
    with pytest.raises(FileNotFoundError, match="there is no ONNX file"):
        onnx_io.load(tmp_path / "none.onnx")


def test_mutated_files_are_read_or_refused_in_a_sentence():
    from tests.io.fuzz_onnx import run

    read, kinds, _ = run(30, 5)
    assert 1 < read < 30
    assert len(kinds) > 8
