"""Fusion in modules: which ops are joined, that nothing else changes, and that nothing is computed too late."""

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, cpu, cpu_path, fusion, inspect, models, nn, no_grad, ops, optim
from minicnn.deferred import Deferred
from minicnn.inspect.saliency import guided_backpropagation
from minicnn.nn import init
from minicnn.recording import waiting, watch_ops


@pytest.fixture(autouse=True)
def numpy_path():
    with cpu_path("numpy"):
        yield


class Function(nn.Module):
    """A net of one function of itself and its input."""

    def __init__(self, function, *layers):
        self.function, self.layers = function, list(layers)

    def forward(self, x):
        return self.function(self, x)


class Block(nn.Module):
    """A residual block as a user writes it, with names of its own."""

    def __init__(self, channels):
        self.a, self.norm_a = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.b, self.norm_b = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x):
        y = ops.relu(self.norm_a(self.a(x)))
        return ops.relu(x + self.norm_b(self.b(y)))


class Net(nn.Module):
    def __init__(self):
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2))
        self.blocks = [Block(8), Block(8)]
        self.last = nn.Linear(8, 5)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.last(ops.relu(x + x).mean((2, 3)))


def images(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape or (2, 3, 10, 10)).astype(dtype)


def graph(y):
    """The names of the ops behind y, and how often each occurs."""
    found, seen, stack = {}, set(), [y]
    while stack:
        node = stack.pop()
        if isinstance(node, Tensor) and node._op and id(node) not in seen:
            seen.add(id(node))
            found[node._op] = found.get(node._op, 0) + 1
            stack.extend(node._parents)
    return found


def step(net, x, fused, rules=None):
    """(output, gradients, buffers) of a step, and the graph."""
    for p in net.parameters():
        p.grad = None
    x = Tensor(x, True)
    with fusion(fused):
        out = net(x)
        out = out[0] if isinstance(out, tuple) else out
        names = graph(out)
        out.backward(images(*out.shape, dtype=out.dtype, seed=1), rules)
    return [out.data, x.grad, *(p.grad for p in net.parameters()), *(b.data for _, b in net.named_buffers())], names


def both(make, x, rules=None):
    """The same step with fusion and without: (arrays, arrays, graph, graph)"""
    (a, fused), (b, plain) = step(make(), x, True, rules), step(make(), x, False, rules)
    assert len(a) == len(b)
    return a, b, fused, plain


def same_bits(a, b):
    assert [v is None for v in a] == [v is None for v in b]
    for u, v in zip(a, b):
        assert u is v is None or np.asarray(u).tobytes() == np.asarray(v).tobytes()


# ------------------------------------------------------------------------------------------------- what is joined, and how


def seeded(make, **state):
    def build():
        minicnn.seed(3)
        net = make()
        for name, value in state.items():
            getattr(net, name)(value)
        return net
    return build


def test_a_net_of_ones_own_is_fused_and_computes_the_same_bits():
    a, b, fused, plain = both(seeded(Net), images())
    same_bits(a, b)
    assert fused == {"linear": 1, "mean": 1, "add_relu": 1, "batch_norm_add_relu": 2, "batch_norm_relu": 2, "conv2d": 4,
                     "max_pool2d": 1, "conv2d_relu": 1}  # fmt: skip
    assert plain == {"linear": 1, "mean": 1, "relu": 6, "add": 3, "batch_norm": 4, "conv2d": 5, "max_pool2d": 1}


def test_in_eval_mode_too():
    a, b, fused, _ = both(seeded(Net, train=False), images())
    same_bits(a, b)
    assert {"batch_norm_inference_relu", "batch_norm_inference_add_relu"} < set(fused)


@pytest.mark.parametrize("size", [(2, 4, 3, 3), (2, 16, 40, 40)], ids=["small", "chunked"])
def test_large_and_small_arrays_without_gradients(size):
    """The bits of ±0, NaN and infinities, too."""
    x = images(*size)
    x[0, 0] = np.nan
    x[1, 1, 0] = [np.inf, -np.inf, -0.0] + [0.0] * (size[3] - 3)
    C = size[1]
    bn = nn.BatchNorm2d(C).eval()
    conv = nn.Conv2d(C, C, 1, bias=False)
    conv.weight.data[...] = np.eye(C).reshape(C, C, 1, 1)
    for function in (lambda m, x: ops.relu(conv(x)), lambda m, x: ops.relu(bn(x)), lambda m, x: ops.relu(bn(x) + x),
                     lambda m, x: ops.relu(x + bn(x)), lambda m, x: ops.relu(x + x), lambda m, x: x + bn(x)):  # fmt: skip
        with no_grad():
            fused = Function(function)(Tensor(x)).data
            with fusion(False):
                plain = Function(function)(Tensor(x)).data
        np.testing.assert_array_equal(fused, plain)
        assert (np.isnan(plain) | (fused.view(np.int32) == plain.view(np.int32)) | (plain == 0)).all()


ZOO = {"lenet5": (1, 28, 28), "resnet20": (3, 32, 32), "vgg11_bn": (3, 32, 32), "squeezenet1_1": (3, 48, 48),
       "mobilenet_v1": (3, 32, 32), "mobilenet_v2": (3, 32, 32), "densenet40_12": (3, 16, 16)}  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("training", [True, False])
def test_nets_of_the_zoo_in_float64(name, training):
    def build():
        minicnn.seed(0)
        options = {"width": 0.25} if name.startswith(("vgg", "mobilenet")) else {}
        return models.build(name, num_classes=10, **options).astype("float64").train(training)

    a, b, fused, plain = both(build, images(2, *ZOO[name], dtype=np.float64))
    for u, v in zip(a, b):
        assert abs(u - v).max() <= 1e-12 * abs(v).max()
    assert sum(fused.values()) < sum(plain.values())


@pytest.mark.slow
def test_googlenet_with_its_auxiliary_classifiers():
    a, b, fused, _ = both(seeded(lambda: models.build("googlenet", num_classes=4, width=0.25).astype("float64")),
                          images(2, 3, 224, 224, dtype=np.float64))
    for u, v in zip(a, b):
        assert (u is v is None) or abs(u - v).max() <= 1e-12 * abs(v).max()
    assert any(name.endswith("_relu") for name in fused)


def test_it_is_one_pass(monkeypatch):
    calls = []
    for name in ("conv2d", "batch_norm_apply", "elementwise"):
        right = getattr(cpu, name)
        monkeypatch.setattr(cpu, name, lambda *args, right=right, name=name, **fused: (
            calls.append((name, {k: v if k == "relu" else "…" for k, v in fused.items()})), right(*args, **fused))[1])
    block = Block(3)
    with no_grad():
        block(Tensor(images()))
    assert calls == [("conv2d", {}), ("batch_norm_apply", {"relu": True}), ("conv2d", {}),
                     ("batch_norm_apply", {"add": "…", "relu": True})]  # fmt: skip


def test_a_sum_of_two_batch_norms_and_a_broadcast_sum():
    def forward(net, x):
        a, b = net.layers
        return ops.relu(a(x) + b(x)) + ops.relu(a(x) + x.mean((2, 3), keepdims=True))

    make = seeded(lambda: Function(forward, nn.BatchNorm2d(3), nn.BatchNorm2d(3)))
    a, b, fused, _ = both(make, images())
    same_bits(a, b)
    assert fused["batch_norm_add_relu"] == 1
    assert fused["relu"] == 1


def test_arrays_that_are_left_out():
    a, b, fused, _ = both(lambda: Function(lambda net, x: ops.batch_norm(x * 2) + ops.relu(x)), images())
    same_bits(a, b)
    assert fused == {"batch_norm_add": 1, "multiply": 1, "relu": 1}


def test_the_same_value_on_both_sides():
    a, b, fused, plain = both(seeded(lambda: Function(lambda net, x: (y := net.layers[0](x)) + y, nn.BatchNorm2d(3))),
                              images())
    same_bits(a, b)
    assert fused == plain == {"batch_norm": 1, "add": 1}


def test_what_no_rule_joins_is_as_before():
    def forward(net, x):
        y = net.layers[0](x)
        return ops.tanh(y) + ops.relu6(net.layers[1](y)) * 2 + 1 - y[:, :1]

    a, b, fused, plain = both(seeded(lambda: Function(forward, nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))), images())
    same_bits(a, b)
    assert fused == plain


# ------------------------------------------------------------------------------------------------- values used elsewhere


def near(a, b):
    for u, v in zip(a, b):
        assert abs(u - v).max() <= 1e-12 * abs(v).max()


@pytest.mark.parametrize("early", [True, False], ids=["used before the ReLU", "used after it"])
@pytest.mark.parametrize("layer", [lambda: nn.Conv2d(3, 3, 3, padding=1), lambda: nn.BatchNorm2d(3)])
def test_the_value_before_the_relu_is_used_as_well(layer, early):
    def forward(net, x):
        y = net.layers[0](x)
        if early:
            z = ops.tanh(y)
            return ops.relu(y) + z
        return ops.relu(y) + ops.tanh(y)

    def build():
        minicnn.seed(1)
        return Function(forward, layer()).astype("float64")

    near(*both(build, images(dtype=np.float64))[:2])


def test_batch_norm_is_used_by_a_sum_by_a_relu_and_alone():
    def forward(net, x):
        y = net.layers[0](x)
        z = y + x
        return ops.relu(y) * 3 + ops.relu(z) + ops.tanh(z) + y

    def build():
        return Function(forward, nn.BatchNorm2d(3)).astype("float64")

    near(*both(build, images(dtype=np.float64))[:2])


def test_data_read_in_forward_is_right_and_the_tensor_is_plain_from_then_on():
    conv = nn.Conv2d(3, 4, 3)
    seen = []

    def forward(net, x):
        y = conv(x)
        assert type(y) is Deferred
        assert (y.shape, y.ndim, y.size, y.dtype, y.device) == ((2, 4, 8, 8), 4, 512, np.float32, "cpu")
        assert y.requires_grad
        assert type(y) is Deferred, "a shape needs no values"
        seen.append(y.data.copy())
        assert type(y) is Tensor
        return ops.relu(y)

    out = Function(forward)(Tensor(images()))
    np.testing.assert_array_equal(out.data, seen[0].clip(0))
    assert graph(out) == {"relu": 1, "conv2d": 1}


@pytest.mark.parametrize("touch", [
    repr, lambda y: y.numpy(), lambda y: y.data, len, lambda y: y[0], lambda y: y.detach(), lambda y: y > 0, copy.copy,
    copy.deepcopy, lambda y: pickle.loads(pickle.dumps(y.detach())), lambda y: setattr(y, "note", 1), np.asarray,
    lambda y: y.astype("float64"), lambda y: y.sum()])  # fmt: skip
def test_whatever_asks_for_a_value_gets_it(touch):
    conv = nn.Conv2d(3, 4, 3)
    found = []

    def forward(net, x):
        found.append(touch(conv(x)))
        return x

    for fused in (True, False):
        with fusion(fused), no_grad():
            Function(forward)(Tensor(images()))
    a, b = (v.data if isinstance(v, Tensor) else v for v in found)
    assert str(a) == str(b)


def test_a_leaf_made_of_an_output_in_forward():
    """Its own requires_grad, grad and detach_ belong to it and not to the op that will be fused."""
    body = nn.Conv2d(3, 4, 3)
    leaves = []

    def forward(net, x):
        with no_grad():
            y = body(x)
        y.requires_grad = True
        leaves.append(y)
        z = net.layers[0](x)
        z.detach_(requires_grad=True)
        leaves.append(z)
        return ops.relu(y) + ops.relu(z)

    net = Function(forward, nn.Conv2d(3, 4, 3))
    net(Tensor(images())).sum().backward()
    assert [leaf.grad.shape for leaf in leaves] == [(2, 4, 8, 8)] * 2
    assert body.weight.grad is net.layers[0].weight.grad is None


def test_no_grad_around_part_of_a_forward():
    def forward(net, x):
        with no_grad():
            y = net.layers[0](x)
        z = net.layers[1](x)
        with no_grad():
            w = ops.relu(net.layers[0](x))
        return ops.relu(y + x) + ops.relu(y + z) + w + ops.relu(net.layers[0](x))

    make = seeded(lambda: Function(forward, nn.BatchNorm2d(3), nn.BatchNorm2d(3)).astype("float64"))
    a, b, fused, plain = both(make, images(dtype=np.float64))
    near(a, b)
    net, x = make(), Tensor(images(dtype=np.float64), True)
    with no_grad():
        out = net(x)
    assert not out.requires_grad
    assert type(out) is Tensor
    assert graph(out) == {}


# ---------------------------------------------------------------------------------------------------------- when it ends


def test_nothing_deferred_leaves_a_module():
    def forward(net, x):
        net.kept = net.layers[0](x)
        return {"a": [net.layers[0](x), ops.relu(net.kept)], "b": (x + x, net.layers[1](net.layers[0](x)))}

    net = Function(forward, nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))
    out = net(Tensor(images()))
    for value in (net.kept, *out["a"], *out["b"]):
        assert type(value) is Tensor
    assert waiting.get() is None


def test_weights_that_change_afterwards_change_no_value():
    conv = nn.Conv2d(3, 4, 3)

    def forward(net, x):
        net.kept = conv(x)
        return ops.relu(net.kept)

    net, x = Function(forward), images()
    wanted = ops.conv2d(x, conv.weight, conv.bias).data
    out = net(Tensor(x))
    conv.weight.data[...] = 7
    np.testing.assert_array_equal(net.kept.data, wanted)
    np.testing.assert_array_equal(out.data, wanted.clip(0))


def test_a_backward_and_an_optimiser_inside_a_forward():
    """As in meta-learning: an inner step changes weights in place while an outer value waits."""
    conv = nn.Conv2d(3, 3, 3, padding=1)
    sgd = optim.SGD(conv.parameters(), lr=0.5)

    def forward(net, x):
        before = conv(x)
        ops.relu(conv(x)).sum().backward()
        sgd.step()
        return ops.relu(before), ops.relu(conv(x))

    x = Tensor(images())
    wanted = ops.relu(conv(x)).data
    before, after = Function(forward)(x)
    np.testing.assert_array_equal(before.data, wanted)
    np.testing.assert_array_equal(after.data, ops.relu(conv(x)).data)
    assert abs(after.data - before.data).max() > 0.1


def test_a_value_that_nobody_keeps_is_never_computed_nor_kept():
    dead = []

    def forward(net, x):
        y = net.layers[0](x)
        dead.append(weakref.ref(y))
        z = ops.relu(y)
        del y
        assert dead[-1]() is None
        return z

    out = Function(forward, nn.Conv2d(3, 4, 3))(Tensor(images()))
    out.sum().backward()
    gc.collect()


def test_an_error_passes_and_what_was_kept_is_computed():
    conv = nn.Conv2d(3, 4, 3)
    kept = []

    def forward(net, x):
        kept.append(conv(x))
        raise KeyError("mine")

    x = images()
    with pytest.raises(KeyError, match="mine"):
        nn.Sequential(Function(forward))(Tensor(x))
    assert type(kept[0]) is Tensor
    assert waiting.get() is None
    conv.weight.data[...] = 0
    assert abs(kept[0].data).max() > 0


def test_an_error_while_computing_what_waits_does_not_hide_the_first(monkeypatch):
    def broken(*args, **fused):
        raise MemoryError

    conv = nn.Conv2d(3, 4, 3)
    kept = []

    def forward(net, x):
        kept.append(conv(x))
        raise KeyError("mine")

    monkeypatch.setattr(cpu, "conv2d", broken)
    with pytest.raises(KeyError, match="mine"):
        Function(forward)(Tensor(images()))
    with pytest.raises(MemoryError):
        Function(lambda net, x: conv(x))(Tensor(images()))
    assert waiting.get() is None


WRONG = {
    "conv": (lambda: nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Conv2d(5, 2, 3), nn.ReLU()),
             r"^1 \(Conv2d\): w has shape \(2, 5, 3, 3\), but x has 4 channels"),
    "batch norm": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(5), nn.ReLU())),
                   r"^1\.0 \(BatchNorm2d\): batch_norm: x has 4 channels, so gamma"),
    "sum": (lambda: nn.Sequential(nn.ReLU(), Function(lambda net, x: ops.relu(nn.BatchNorm2d(3)(x) + x[:, :2])),
                                  nn.ReLU()),
            r"^1 \(Function\): add: shapes \(2, 3, 10, 10\) and \(2, 2, 10, 10\) do not broadcast"),
}  # fmt: skip


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("what", WRONG)
def test_wrong_shapes_are_reported_by_the_layer_that_gets_them(what, fused):
    make, sentence = WRONG[what]
    with fusion(fused), pytest.raises(ValueError, match=sentence):
        make()(Tensor(images()))


# ------------------------------------------------------------------------------------------------------ who looks at it


def test_watched_layers_compute_their_own_values():
    minicnn.seed(3)
    net, seen = Net(), []
    with nn.watch(lambda module, inputs, output: seen.append((type(module).__name__, output))):
        out = net(Tensor(images()))
    kinds = [kind for kind, _ in seen]
    assert kinds == ["Conv2d", "ReLU", "MaxPool2d", "Sequential", *["Conv2d", "BatchNorm2d"] * 2, "Block",
                     *["Conv2d", "BatchNorm2d"] * 2, "Block", "Linear", "Net"]  # fmt: skip
    assert all(type(y) is Tensor for _, y in seen)
    assert (seen[0][1].data < 0).any()
    assert "relu" in graph(out)
    assert not any("_relu" in name for name in graph(out))


def test_watched_ops_are_called_one_by_one():
    seen = []
    with watch_ops(lambda op, args, hyper, y: seen.append(op.__name__)):
        Block(3)(Tensor(images()))
    assert seen == ["conv2d", "batch_norm", "relu", "conv2d", "batch_norm", "add", "relu"]


def test_a_watch_that_begins_inside_a_forward():
    inner, seen = nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU()), []

    def forward(net, x):
        y = net.layers[0](x)
        with nn.watch(lambda module, inputs, output: seen.append(output.data.copy())):
            inner(x)
        with watch_ops(lambda op, args, hyper, y: seen.append((op.__name__, type(y)))):
            return ops.relu(net.layers[1](ops.relu(y)))

    out = Function(forward, nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))(Tensor(images()))
    assert (seen[0] < 0).any()
    assert seen[3:] == [("relu", Tensor), ("batch_norm", Tensor), ("relu", Tensor)]
    assert graph(out) == {"relu": 2, "batch_norm": 1, "conv2d": 1}


def test_summary_and_deconvnet_see_the_nets_own_layers():
    def look(fused):
        minicnn.seed(0)
        net = models.build("resnet20")
        with fusion(fused):
            text = str(inspect.summary(net, (3, 32, 32)))
            x = images(1, 3, 32, 32)
            guided = guided_backpropagation(net, x, 3)
        return text, guided.tobytes()

    assert look(True) == look(False)


def test_debug_finds_a_change_in_place():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with minicnn.debug():
        out = net(Tensor(images()))
    assert graph(out) == {"relu": 1, "conv2d": 1}
    net[0].weight.data[...] += 1
    with pytest.raises(RuntimeError, match="backward: w of 'conv2d' was changed in place"):
        out.sum().backward()


RULES = {
    "guided": {"relu": lambda dy, dx: dx(dy.clip(0))},
    "of a convolution": {"conv2d": lambda dy, dx: 3 * dx(dy)},
    "of a sum's first argument": {"add": lambda dy, dx: 5 * dx(dy)},
    "of batch norm": {"batch_norm": lambda dy, dx: dx(dy) + 1},
    "several": {"relu": lambda dy, dx: dx(dy) * 2, "add": lambda dy, dx: dx(dy) / 3, "conv2d": lambda dy, dx: -dx(dy)},
}


@pytest.mark.parametrize("rules", RULES)
def test_rules_for_gradients_apply_to_the_ops_that_were_joined(rules):
    a, b, fused, _ = both(lambda: seeded(Net)().astype("float64"), images(dtype=np.float64), RULES[rules])
    near(a, b)
    assert "batch_norm_add_relu" in fused
    plain = both(lambda: seeded(Net)().astype("float64"), images(dtype=np.float64))[0]
    assert abs(a[1] - plain[1]).max() > 1e-6 * abs(plain[1]).max(), "the rule changes something"


def test_a_rule_for_a_net_without_weights_that_learn():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    for p in net.parameters():
        p.requires_grad = False
    a, b, *_ = both(lambda: net.eval(), images(), RULES["guided"])
    same_bits(a, b)


def test_the_graph_is_freed_and_a_second_backward_says_so():
    out = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())(Tensor(images())).sum()
    out.backward()
    with pytest.raises(RuntimeError, match="the graph behind this 'sum' was freed"):
        out.backward()


# ----------------------------------------------------------------------------------------------------- settings, threads


def test_outside_modules_ops_compute_at_once():
    x, conv = Tensor(images()), nn.Conv2d(3, 4, 3)
    y = ops.conv2d(x, conv.weight, conv.bias)
    assert type(y) is Tensor
    assert graph(ops.relu(y)) == {"relu": 1, "conv2d": 1}
    assert graph(conv.forward(x)) == {"conv2d": 1}
    assert graph(ops.relu(conv(x))) == {"relu": 1, "conv2d": 1}


def test_the_switches(monkeypatch):
    net, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), Tensor(images())

    def names():
        return list(graph(net(x)))

    assert names() == ["conv2d_relu"]
    with fusion(False):
        assert names() == ["relu", "conv2d"]
        with fusion():
            assert names() == ["conv2d_relu"]
    monkeypatch.setenv("MINICNN_FUSION", "0")
    assert names() == ["relu", "conv2d"]
    with fusion(True):
        assert names() == ["conv2d_relu"]
    monkeypatch.setenv("MINICNN_FUSION", "yes")
    with pytest.raises(ValueError, match=r"^MINICNN_FUSION \(='yes'\) must be 1 \(several ops .*\) or 0$"):
        net(x)


def test_fusion_off_inside_a_forward():
    def forward(net, x):
        y = net.layers[0](x)
        with fusion(False):
            return ops.relu(y)

    assert graph(Function(forward, nn.Conv2d(3, 4, 3))(Tensor(images()))) == {"relu": 1, "conv2d": 1}


def test_an_op_is_computed_under_the_settings_with_which_it_was_called(monkeypatch):
    from minicnn.cpu import conv

    used = []
    right = conv.choose
    monkeypatch.setattr(conv, "choose", lambda g, dtype: (used.append(right(g, dtype)), used[-1])[1])

    def forward(net, x):
        with minicnn.conv_algorithm("im2col"):
            y = net.layers[0](x)
        return ops.relu(y)

    with no_grad():
        Function(forward, nn.Conv2d(3, 4, 3))(Tensor(images()))
    assert used == ["im2col"]


def test_two_threads_and_one_net():
    net = seeded(Net, train=False)()
    inputs = [images(seed=i) for i in range(8)]
    with no_grad():
        wanted = [net(Tensor(x)).data for x in inputs]
    found, errors = [None] * 8, []

    def work(i):
        try:
            with cpu_path("numpy"), no_grad():
                for _ in range(20):
                    found[i] = net(Tensor(inputs[i])).data
        except BaseException as problem:                           # noqa: BLE001 - reported below
            errors.append(problem)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    same_bits(found, wanted)


def test_two_threads_ask_for_one_value():
    import contextvars

    conv, found = nn.Conv2d(3, 8, 3), []

    def forward(net, x):
        y = conv(x)
        start = threading.Barrier(4)

        def ask():
            start.wait()
            found.append(y.data)

        threads = [threading.Thread(target=contextvars.copy_context().run, args=(ask,)) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        found.append(Deferred.data.fget(y))                        # what the slowest thread does
        return ops.relu(y)

    x = images(4, 3, 30, 30)
    for _ in range(20):
        Function(forward)(Tensor(x))
    wanted = ops.conv2d(x, conv.weight, conv.bias).data
    assert len(found) == 100
    assert all((y == wanted).all() for y in found)


def test_a_thread_that_outlives_the_module_computes_at_once():
    import contextvars

    kept = []

    def forward(net, x):
        kept.append(contextvars.copy_context())
        return x

    Function(forward)(Tensor(images()))
    conv, x = nn.Conv2d(3, 4, 3), Tensor(images())
    assert type(kept[0].run(ops.conv2d, x, conv.weight)) is Tensor
    assert type(kept[0].run(conv, x)) is Tensor
    assert graph(kept[0].run(lambda: ops.relu(ops.conv2d(x, conv.weight)))) == {"relu": 1, "conv2d": 1}


# ------------------------------------------------------------------------------------------------------------- the rest


def test_modules_are_copied_and_pickled_as_before():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    with no_grad():
        wanted = net(Tensor(images())).data
        for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            other.train()
            np.testing.assert_array_equal(other(Tensor(images())).data, wanted)


def test_slices_of_a_sequential():
    net, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval(), Tensor(images())
    whole = net(x)
    assert graph(whole) == {"conv2d": 2, "batch_norm_inference_relu": 1}
    parts = net[2:](net[:2](x))
    assert graph(parts) == {"conv2d": 2, "batch_norm_inference": 1, "relu": 1}
    np.testing.assert_array_equal(whole.data, parts.data)


def test_running_statistics_and_aux_are_there_before_the_value():
    def forward(net, x):
        y = net.layers[0](x)
        mean, var = y.aux
        np.testing.assert_allclose(mean, x.data.mean((0, 2, 3)), atol=1e-6)
        assert type(y) is Deferred
        return ops.relu(y)

    bn = nn.BatchNorm2d(3)
    Function(forward, bn)(Tensor(images()))
    assert abs(bn.running_mean.data).max() > 0


def test_on_the_device_that_computes_nothing():
    from minicnn import meta

    with init.shapes_only():
        net = Net().eval()
    with no_grad():
        out = net.to("meta")(Tensor(meta.image((2, 3, 10, 10))))
    assert out.shape == (2, 5)


def test_a_training_run_is_the_same():
    def train(fused):
        minicnn.seed(5)
        net = Net()
        sgd = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        with fusion(fused):
            for i in range(5):
                net.zero_grad()
                loss = ops.cross_entropy(net(Tensor(images(seed=i))), np.array([0, 3]))
                loss.backward()
                sgd.step()
        return [loss.data, *(p.data for p in net.parameters()), *(b.data for _, b in net.named_buffers())]

    same_bits(train(True), train(False))
