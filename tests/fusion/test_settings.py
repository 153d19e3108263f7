"""Who looks at a net sees its own ops; settings, threads, and the rest of the package."""

import copy
import pickle
import threading

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, cpu_path, fusion, inspect, models, nn, no_grad, ops, optim
from minicnn.deferred import Deferred
from minicnn.inspect.saliency import guided_backpropagation
from minicnn.nn import init
from minicnn.recording import watch_ops
from tests.fusion.nets import Block, Function, Net, both, graph, images, near, same_bits, seeded


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


def test_rules_stop_at_a_tensor_that_was_detached():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    out = net(Tensor(images()))
    out.detach_(requires_grad=True)
    ops.tanh(out).sum().backward(rules=RULES["guided"])
    assert out.grad.shape == out.shape
    assert net[0].weight.grad is None


def test_a_module_that_keeps_a_fused_output_is_copied():
    def forward(net, x):
        net.kept = ops.relu(net.layers[0](x) + x)
        return net.kept.sum()

    net = Function(forward, nn.BatchNorm2d(3))
    net(Tensor(images()))
    np.testing.assert_array_equal(copy.deepcopy(net).kept.data, net.kept.data)


def test_the_graph_is_freed_and_a_second_backward_says_so():
    out = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())(Tensor(images())).sum()
    out.backward()
    with pytest.raises(RuntimeError, match="the graph behind this 'sum' was freed"):
        out.backward()


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
        except BaseException as problem:                           # reported below
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


def test_modules_are_copied_and_pickled_as_before():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    with no_grad():
        wanted = net(Tensor(images())).data
        for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            other.train()
            np.testing.assert_array_equal(other(Tensor(images())).data, wanted)


def test_slices_of_a_sequential():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    x = Tensor(images())
    whole = net(x)
    assert graph(whole) == {"conv2d": 2, "batch_norm_inference_relu": 1}
    parts = net[2:](net[:2](x))
    assert graph(parts) == {"conv2d": 2, "batch_norm_inference": 1, "relu": 1}
    np.testing.assert_array_equal(whole.data, parts.data)


def test_running_statistics_and_aux_are_there_before_the_value():
    def forward(net, x):
        y = net.layers[0](x)
        mean, _ = y.aux
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
