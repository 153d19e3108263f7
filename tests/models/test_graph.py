"""Nets that are data: what a description may say, what is refused, other numbers of classes, model files."""

import copy
import json

import numpy as np
import pytest
import safetensors.numpy

from minicnn import Tensor, models, nn, no_grad
from minicnn.io import model_file
from minicnn.models.graph import Graph, check
from minicnn.models.graph_source import source

SMALL = {
    "inputs": ["x"], "outputs": ["x5"], "input": [3, 6, 6],
    "layers": {"conv1": ["Conv2d", {"in_channels": 3, "out_channels": 4, "kernel_size": [3, 3]}],
               "fc": ["Linear", {"in_features": 4, "out_features": 2}]},
    "arrays": {"shift": [[4, 1, 1], "float32", True]},
    "steps": [{"to": "x1", "layer": "conv1", "of": ["x"]}, {"to": "x2", "op": "add", "of": ["x1", "shift"]},
              {"to": "x3", "op": "getitem", "of": ["x2"],
               "with": {"index": [{"slice": [None] * 3}, {"slice": [None] * 3}, [1, 1, 3]]}},
              {"to": "x4", "op": "mean", "of": ["x3"], "with": {"axis": [2, 3]}},
              {"to": "x5", "layer": "fc", "of": ["x4"]}],
}  # fmt: skip


@pytest.fixture
def small():
    return copy.deepcopy(SMALL)


def test_what_it_computes(small, rng):
    net = Graph(small)
    net.arrays["shift"].data = rng.standard_normal((4, 1, 1)).astype(np.float32)
    x = rng.standard_normal((2, 3, 6, 6)).astype(np.float32)
    w, b = net.layers["conv1"].weight.numpy(), net.layers["conv1"].bias.numpy()
    maps = np.zeros((2, 4, 4, 4), np.float32)
    for i in range(4):
        for j in range(4):
            maps[:, :, i, j] = np.einsum("nchw,ochw->no", x[:, :, i : i + 3, j : j + 3], w) + b
    means = (maps + net.arrays["shift"].numpy())[:, :, [1, 1, 3]].mean((2, 3))
    wanted = means @ net.layers["fc"].weight.numpy().T + net.layers["fc"].bias.numpy()
    np.testing.assert_allclose(net(Tensor(x)).numpy(), wanted, rtol=1e-5, atol=1e-5)
    assert sorted(net.state_dict()) == ["conv1.bias", "conv1.weight", "fc.bias", "fc.weight", "shift"]


def test_a_size_that_depends_on_the_number_of_images():
    net = Graph({"inputs": ["x"], "outputs": ["x1"], "layers": {}, "arrays": {"row": [[1, 2], "float32", True]},
                 "steps": [{"to": "x0", "op": "broadcast_to", "of": ["row"], "with": {"shape": [{"N": 1}, 2]}},
                           {"to": "x1", "op": "concat", "of": ["x", "x0"]}]})  # fmt: skip
    net.arrays["row"].data = np.array([[5, 7]], np.float32)
    y = net(Tensor(np.ones((3, 1), np.float32)))
    np.testing.assert_array_equal(y.numpy(), [[1, 5, 7]] * 3)
    y.sum().backward()
    np.testing.assert_array_equal(net.arrays["row"].grad, [[3, 3]])


def test_another_number_of_classes(small):
    net = models.build("graph", graph=small, num_classes=7)
    assert net.layers["fc"].weight.shape == (7, 4)
    assert net.description["layers"]["fc"][1]["out_features"] == 7
    assert small["layers"]["fc"][1]["out_features"] == 2, "the description that was given is left as it was"
    with pytest.raises(ValueError, match=r"in_channels \(=1\) must be 3"):
        models.build("graph", graph=small, in_channels=1)


def description(small, classes=("a", "b")):
    options = {"graph": small, "num_classes": len(classes), "in_channels": 3}
    return model_file.Description("graph", options, list(classes), [3, 6, 6], [0.5] * 3, [0.5] * 3)


def test_a_model_file_carries_it(small, tmp_path, rng):
    net = models.build("graph", graph=small, num_classes=2).eval()
    model_file.save(tmp_path / "net.safetensors", net, description(small))
    again, about = model_file.load(tmp_path / "net.safetensors")
    x = Tensor(rng.standard_normal((2, 3, 6, 6)).astype(np.float32))
    with no_grad():
        np.testing.assert_array_equal(again(x).numpy(), net(x).numpy())
    assert about.options["graph"] == small
    assert isinstance(models.load(tmp_path / "net.safetensors"), Graph)


def changed(small, *path, to):
    """The description with one value changed."""
    inner = small
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return small


REFUSED = [  # (where, what, words of the sentence)
    (("steps", 1, "op"), "system", "unknown op"),
    (("steps", 1, "op"), "__class__", "unknown op"),
    (("steps", 1, "op"), "dropout", "unknown op"),
    (("steps", 0, "layer"), "fc2", "which is no layer"),
    (("steps", 0, "of"), ["x9"], "which no earlier step makes"),
    (("steps", 0, "of"), ["x5"], "which no earlier step makes"),
    (("steps", 0, "to"), "x", "makes a value that is there already"),
    (("steps", 0, "to"), "a b", "a step of a graph must have a name"),
    (("steps", 2, "with", "index"), [{"slice": [0, 1]}], "must be a number"),
    (("steps", 3, "with"), {"axis": {"N": 0}}, "must be a number"),
    (("steps", 3, "with"), {"axis": "x" * 50}, "must be a number"),
    (("steps", 3, "with"), {"axis": [[[[[[1]]]]]]}, "must be a number"),
    (("steps",), [], "is made by no step"),
    (("steps",), {}, "must be a list"),
    (("outputs",), [], "must have an output"),
    (("inputs",), ["x" * 300], "must be a list of names"),
    (("layers", "fc", 0), "Module", "unknown kind of layer"),
    (("layers", "fc", 0), "Sequential", "unknown kind of layer"),
    (("layers", "fc", 1, "in_features"), -1, "can't be a Linear"),
    (("layers", "fc", 1, "extra"), 1, "can't be a Linear"),
    (("arrays", "shift", 0), [-1], "must be \\[shape"),
    (("arrays", "shift", 0), [2**60], "must be \\[shape"),
    (("arrays", "shift", 1), "object", "must be \\[shape"),
    (("batch",), 0, "must be a number of images"),
]


@pytest.mark.parametrize(("where", "what", "words"), REFUSED)
def test_what_is_refused(where, what, words, small):
    with pytest.raises(ValueError, match=words) as caught:
        Graph(changed(small, *where, to=what))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [None, 3, [], "graph", {"inputs": []}])
def test_what_is_no_description(wrong):
    with pytest.raises(ValueError, match="a graph must have"):
        check(wrong)


@pytest.mark.parametrize(("where", "what"), [
    (("layers", "conv1", 1, "padding"), 2**30), (("steps", 3, "with"), {"axis": [9]}),
    (("steps", 3, "with"), {"nonsense": 1}), (("steps", 4, "of"), ["x1"]), (("steps", 1, "of"), ["x1", "x1", "x1"]),
    (("arrays", "shift", 0), [2**20, 2**10, 1]), (("layers", "conv1", 1, "kernel_size"), [2**31, 1]),
    (("steps", 2, "with", "index"), [[10**12]]),
])  # fmt: skip
def test_a_model_file_whose_graph_can_not_run(where, what, small, tmp_path):
    """Each in one sentence, and before an array of that size is made."""
    net = models.build("graph", graph=copy.deepcopy(small), num_classes=2)
    about = json.loads(model_file.to_json(description(changed(small, *where, to=what))))
    written = safetensors.numpy.save(net.state_dict(), metadata={"minicnn": json.dumps(about)})
    (tmp_path / "net.safetensors").write_bytes(written)
    with pytest.raises(ValueError, match=r"net\.safetensors") as caught:
        model_file.load(tmp_path / "net.safetensors")
    assert "\n" not in str(caught.value)


def test_repeated_parts_become_classes_and_loops(rng):
    def block(i, x, channels):
        return [{"to": f"a{i}", "layer": f"c{i}", "of": [x]}, {"to": f"b{i}", "layer": f"n{i}", "of": [f"a{i}"]},
                {"to": f"d{i}", "op": "add", "of": [f"b{i}", x]},
                {"to": f"e{i}", "op": "relu", "of": [f"d{i}"]}]  # fmt: skip

    steps = [s for i in range(3) for s in block(i, f"e{i - 1}" if i else "x", 4)]
    layers = {f"c{i}": ["Conv2d", {"in_channels": 4, "out_channels": 4, "kernel_size": 3, "padding": 1}]
              for i in range(3)} | {f"n{i}": ["BatchNorm2d", {"num_features": 4}] for i in range(3)}  # fmt: skip
    net = Graph({"inputs": ["x"], "outputs": ["e2"], "layers": layers, "arrays": {}, "steps": steps}).eval()
    text = source(net)
    assert text.count("class ") == 2
    assert text.count("nn.Conv2d") == 1
    assert "self.blocks = [Block() for _ in range(3)]" in text
    assert "        return ops.relu(self.bn1(self.conv1(x)) + x)" in text
    names = {}
    exec(text, names)                                      # our own text, not a file's
    made = names["Net"]().eval()
    assert isinstance(made, nn.Module)
    made.load_state_dict({made.current_names([k])[k]: v for k, v in net.state_dict().items()})
    x = Tensor(rng.standard_normal((2, 4, 5, 5)).astype(np.float32))
    with no_grad():
        np.testing.assert_array_equal(made(x).numpy(), net(x).numpy())
