"""Graph, values, gradients and changes, against the engine and `inspect`, which compute them another way."""

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, inspect, models, nn, ops
from minicnn.inspect.units import backpropagate_from, gradient_at_layer, layer_outputs, one_hot
from minicnn.lab import answers, change
from minicnn.lab.look import Graph, Look
from minicnn.recording import no_grad
from tests.thinned import thinned

NETS = {"lenet5": (1, 28, 28), "resnet20": (3, 32, 32), "googlenet": (3, 48, 48), "mobilenet_v2": (3, 48, 48),
        "densenet121": (3, 48, 48)}  # fmt: skip


def built(name, seed=0):
    """A net with statistics of its own in batch norm, and an image."""
    rng = np.random.default_rng(seed)
    minicnn.seed(seed)
    net = models.build(name).eval()
    for key, t in net.named_buffers():
        t.data = rng.uniform(0.5, 1.5, t.shape).astype(np.float32) if "var" in key else \
            rng.normal(0, 0.2, t.shape).astype(np.float32)
    return net, rng.standard_normal(NETS[name]).astype(np.float32)


def near(a, b, tolerance=1e-5):
    """Within 1e-5 of the largest number, or of 1."""
    return np.allclose(a, b, rtol=0, atol=tolerance * max(1e-30, float(np.abs(b).max(initial=0))))


SAMPLE = {"lenet5": 12, "resnet20": 12, "googlenet": 2, "mobilenet_v2": 2, "densenet121": 1}
CELLS = thinned([(name, count) for name in NETS for count in (SAMPLE[name], 200)], lambda name, count: count < 200)


@pytest.mark.parametrize(("name", "count"), CELLS)
def test_cells_are_the_engines_forward_and_backward(name, count):
    net, x = built(name)
    graph = Graph(net, x.shape)
    seen = Look(net, graph, x)
    k = 3
    with no_grad():
        assert near(seen.scores, net(Tensor(x[None])).numpy()[0])
    layers = dict(net.named_modules())
    plain = layer_outputs(net, x[None], {n: m for n, m in layers.items() if n})
    last = {node.layer: node for node in graph.nodes if node.layer}        # the op whose value is the layer's output
    rng = np.random.default_rng(5)
    gradients = {}
    for _ in range(count):
        node = last[list(last)[rng.integers(len(last))]]
        at = tuple(int(rng.integers(n)) for n in node.shape)
        answer = answers.unit(seen, node.id, at, k)
        y = plain[node.layer][0]
        assert y.shape == node.shape
        assert abs(answer["value"] - y[at]) <= 1e-5 * max(1e-30, np.abs(y).max())
        if answer["kind"] == "products":
            total = sum((p["values"].astype(float) * p["factors"]).sum() + p["left_sum"] for p in answer["parts"][:1])
            assert abs(total + answer["bias"] - y[at]) <= 1e-5 * max(1e-30, np.abs(y).max())
        if node.layer not in gradients:
            gradients[node.layer] = gradient_at_layer(net, x[None], layers[node.layer], k)[1][0]
        expected = gradients[node.layer]
        assert abs(answer["gradient"] - expected[at]) <= 1e-5 * max(1e-30, np.abs(expected).max())
        assert (answer["why"] is not None) == (answer["gradient"] == 0)
    assert near(seen.gradient(0, k), backpropagate_from(net, x[None], one_hot(k)))


@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_the_graph_has_the_counts_and_fields_of_summary(name):
    net, x = built(name)
    graph, report = Graph(net, x.shape), inspect.summary(net, x.shape)
    said = answers.net(graph)
    assert said["macs"] == report.totals["macs"]
    assert said["parameters"] == report.totals["parameters"]
    rows = {layer.name: layer for layer in report.layers}
    for node in graph.nodes[1:]:
        if node.layer in rows and node.op == "conv2d":
            row = rows[node.layer]
            assert node.shape == row.output
            assert [f[1] for f in node.field] == list(row.field)
            assert [f[2] for f in node.field] == list(row.total_stride)
            assert [f[0] for f in node.field] == list(row.offset)


class Forked(nn.Module):
    """Two branches, a skip connection, a concatenation, a product with a number: no list of layers shows it."""

    def __init__(self):
        self.left, self.right = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 1)
        self.scale = nn.Parameter(np.full((1, 3, 1, 1), 0.5, np.float32))
        self.out = nn.Linear(6, 4)

    def forward(self, x):
        a, b = ops.relu(self.left(x)), self.right(x) * self.scale
        return self.out(ops.global_avg_pool2d(ops.concat(a + b, b)))


def test_the_graph_of_a_net_of_ones_own_has_its_branches():
    graph = Graph(Forked(), (2, 6, 5))
    named = {n.op: n for n in graph.nodes}
    by_id = {n.id: n.op for n in graph.nodes}
    assert [by_id[i] for i in named["add"].inputs] == ["relu", "multiply"]
    assert [by_id[i] for i in named["concat"].inputs] == ["add", "multiply"]
    assert [n.inputs for n in graph.nodes if n.op == "conv2d"] == [(0,), (0,)]
    assert named["multiply"].weights == {"b": "scale"}
    assert named["linear"].weights == {"w": "out.weight", "b": "out.bias"}
    assert graph.nodes[-1].op == "softmax"


def test_a_net_with_a_loss_of_its_own_steps_down_that_loss():
    net = models.build("lenet5", variant="1998").eval()
    x = np.random.default_rng(0).standard_normal((1, 32, 32)).astype(np.float32)
    said = change.step(net, x, 4, 1e-5)
    assert said["loss"] == pytest.approx(net.loss(net(Tensor(x[None])), np.array([4])).item(), rel=1e-5)
    assert said["loss_after"] < said["loss"]
    slope = change.difference(net, x, 4, net_parameter(net), (0,) * 4, of_loss=True)
    assert slope["difference"] == pytest.approx(slope["backpropagated"], rel=1e-4, abs=1e-9)


def net_parameter(net):
    return next(name for name, p in net.named_parameters() if p.ndim == 4)


def test_a_net_in_float64_and_one_that_gives_maps():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()).astype("float64")
    x = np.random.default_rng(0).standard_normal((1, 6, 5))
    graph = Graph(net, x.shape)
    seen = Look(net, graph, x)
    assert (seen.scores.shape, seen.probabilities) == ((24,), None)
    assert answers.look(seen)["probabilities"] is None
    k = int(seen.scores.argmax())
    found = answers.unit(seen, graph.output, [k // 12, k // 3 % 4, k % 3], k)
    assert found["value"] == seen.scores[k] == seen.scores.max()
    assert found["gradient"] == 1


def test_why_a_gradient_is_zero():
    class Net(nn.Module):
        def __init__(self):
            self.conv, self.pool, self.out = nn.Conv2d(1, 1, 1), nn.MaxPool2d(2), nn.Linear(4, 2)
            self.conv.weight.data[:] = 1
            self.conv.bias.data[:] = 0
            self.out.weight.data[:] = 1

        def forward(self, x):
            return self.out(ops.flatten(self.pool(ops.relu(self.conv(x)))))

    x = np.arange(1.0, 26).reshape(1, 5, 5).astype(np.float32)
    x[0, 3, 3] = -4                                                        # off, and not its window's largest either
    net = Net()
    graph = Graph(net, x.shape)
    seen = Look(net, graph, x)
    node = {n.op: n.id for n in graph.nodes}

    def why(op, *at, k=0):
        found = answers.unit(seen, node[op], at, k)["why"]
        return found and (found["reason"], graph.nodes[found["node"]].op)

    assert why("relu", 0, 1, 1) is None                                    # the largest of the first window
    assert why("relu", 0, 0, 0) == ("loses", "max_pool2d")
    assert why("conv2d", 0, 0, 0) == ("loses", "max_pool2d")               # through the ReLU, which is on
    assert why("conv2d", 0, 3, 3) == ("off", "relu")
    assert why("linear", 1) == ("other", "linear")
    assert why("image", 0, 4, 4)[0] in ("behind", "unread")                # the pooling drops the last row


def test_small_maps_are_the_brightest_and_few_bytes():
    net, x = built("resnet20")
    seen = Look(net, Graph(net, x.shape), x)
    said = answers.look(seen)
    for node, small in zip(seen.graph.nodes, said["nodes"]):
        y = seen.value(node.id)[0]
        assert small["limit"] == pytest.approx(float(np.abs(y).max()) or 1)
        if y.ndim == 3:
            order = np.argsort(-np.abs(y).mean((1, 2)), kind="stable")
            assert small["channels"] == order[: len(small["channels"])].tolist()
            rows, columns = (np.arange(min(24, n)) * n // min(24, n) for n in y.shape[1:])
            shown = (small["maps"].astype(float) - 128) / 127 * small["limit"]
            assert np.abs(shown - y[small["channels"]][:, rows][:, :, columns]).max() <= small["limit"] / 127
    assert sum(small["maps"].nbytes for small in said["nodes"]) < 500_000
    whole = answers.maps(seen, 2)
    assert np.array_equal(whole["maps"], seen.value(2)[0])
    assert np.array_equal(answers.maps(seen, 2, gradient_of=1)["maps"], seen.gradient(2, 1)[0])


def test_a_step_goes_down_the_gradient_and_leaves_the_net_unless_asked():
    net, x = built("lenet5")
    before = net.state_dict()
    said = change.step(net, x, 4, 0.01)
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), net.state_dict().values()))
    p = said["probabilities"]
    assert said["loss"] == pytest.approx(-np.log(p[4]), rel=1e-5)
    assert said["loss_after"] < said["loss"]
    norms = {row["name"]: row for row in said["parameters"]}
    fast = sum(row["gradient"] ** 2 for row in said["parameters"])
    rate = 1e-3 * said["loss"] / fast                                      # L(w − r·g) ≈ L − r·‖g‖²
    tiny = change.step(net, x, 4, rate)
    assert (tiny["loss"] - tiny["loss_after"]) / rate == pytest.approx(fast, rel=0.02)
    for row in norms.values():
        assert row["after"] == pytest.approx(row["before"] - 0.01 * row["slope"], abs=1e-6)
    kept = change.step(net, x, 4, 0.01, keep=True)
    assert change.step(net, x, 4, 0.01)["loss"] == pytest.approx(kept["loss_after"], rel=1e-5)
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(("parameter", "at"), [("", (0, 13, 12)), ("features.0.weight", (2, 0, 1, 3)),
                                               ("features.0.bias", (1,))])  # fmt: skip
def test_a_finite_difference_agrees_with_the_gradient(parameter, at):
    net, x = built("lenet5")
    dtypes = {t.dtype for _, t in net.named_state()}
    for of_loss in (False, True):
        said = change.difference(net, x, 2, parameter, at, of_loss)
        assert said["difference"] == pytest.approx(said["backpropagated"], rel=1e-5, abs=1e-9)
        assert said["difference"] == pytest.approx((said["plus"] - said["minus"]) / (2 * said["h"]))
    assert {t.dtype for _, t in net.named_state()} == dtypes == {np.dtype("float32")}


def test_weights_and_filters_by_hand():
    net, x = built("lenet5")
    graph = Graph(net, x.shape)
    conv = next(n for n in graph.nodes if n.op == "conv2d")
    name = conv.weights["w"]
    old = answers.unit(Look(net, graph, x), conv.id, (2, 10, 9), 0)
    w = net.state_dict()[name][2, 0, 1, 1]
    change.set_weight(net, name, (2, 0, 1, 1), float(w) + 0.5)
    new = answers.unit(Look(net, graph, x), conv.id, (2, 10, 9), 0)
    read = float(old["parts"][0]["values"].reshape(5, 5)[1, 1])
    assert new["value"] - old["value"] == pytest.approx(0.5 * read, abs=1e-5)
    change.scale_filter(net, name, 2, 0.0)
    assert answers.unit(Look(net, graph, x), conv.id, (2, 10, 9), 0)["value"] == pytest.approx(new["bias"])


@pytest.mark.parametrize("bad", [
    lambda seen, net, x: answers.unit(seen, 999, (0,), 0), lambda seen, net, x: answers.unit(seen, 1, (0, 0), 0),
    lambda seen, net, x: answers.unit(seen, 1, (0, 0, 99), 0),
    lambda seen, net, x: answers.unit(seen, 1, (0, 0, 0), 10),
    lambda seen, net, x: answers.unit(seen, "1", (0, 0, 0), 0), lambda seen, net, x: answers.maps(seen, 1, -1),
    lambda seen, net, x: change.step(net, x, 10, 0.1), lambda seen, net, x: change.step(net, x, 1, float("nan")),
    lambda seen, net, x: change.set_weight(net, "nothing", (0,), 1.0),
    lambda seen, net, x: change.set_weight(net, "features.0.weight", (0, 0, 0, 9), 1.0),
    lambda seen, net, x: change.set_weight(net, "features.0.weight", (0, 0, 0, 0), "1"),
    lambda seen, net, x: change.scale_filter(net, "features.0.weight", 6, 1.0),
])  # fmt: skip
def test_wrong_arguments_get_one_sentence_and_change_nothing(bad):
    net, x = built("lenet5")
    before = net.state_dict()
    with pytest.raises((ValueError, TypeError)) as problem:
        bad(Look(net, Graph(net, x.shape), x), net, x)
    assert "\n" not in str(problem.value)
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), net.state_dict().values()))
