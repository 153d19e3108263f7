"""Values that are used twice, early, late or not at all, and errors: as if every op had computed at once."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, cpu, fusion, nn, no_grad, ops, optim
from minicnn.deferred import Deferred
from minicnn.recording import waiting
from tests.fusion.nets import Function, both, graph, images, near, seeded


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
    near(*both(make, images(dtype=np.float64))[:2])
    net, x = make(), Tensor(images(dtype=np.float64), True)
    with no_grad():
        out = net(x)
    assert not out.requires_grad
    assert type(out) is Tensor
    assert graph(out) == {}


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
