"""minicnn.compile: what a plan computes, what it refuses, and what it tells."""

import functools
import threading

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, no_grad, ops, seed
from minicnn.cpu import threads
from minicnn.nn import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    Module,
    Parameter,
    ReLU,
    Sequential,
)
from minicnn.plan import CompileError
from minicnn.plan.fold import fold
from minicnn.plan.plan import _has_kernels
from tests.plan.test_every_net import with_statistics


@pytest.fixture(params=["compiled", "numpy"])
def path(request):
    if request.param == "compiled":
        pytest.importorskip("numba")
    with minicnn.cpu_path(request.param):
        yield request.param


class Net(Module):
    """A net whose forward is a function."""

    def __init__(self, forward, **members):
        self.compute = forward
        for name, member in members.items():
            setattr(self, name, member)

    def forward(self, x):
        return self.compute(self, x)


def answer(net, x):
    with no_grad():
        return net.eval()(Tensor(x)).numpy()


def agree(net, x, images=None, tolerance=1e-5):
    """The plan of `net` for up to `images` images, once it is known to have the net's answers for x."""
    plan = minicnn.compile(net, (images or len(x), *x.shape[1:]))
    expected = answer(net, x)
    found = plan(x)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    return plan


def images(*shape, rng=None):
    return (rng or np.random.default_rng(1)).standard_normal(shape, np.float32)


def convolutional(dtype="float32"):
    seed(0)
    net = Sequential(Conv2d(3, 8, 3, padding=1, bias=False), BatchNorm2d(8), ReLU(), MaxPool2d(2), Dropout(0.5),
                     Conv2d(8, 12, 3), BatchNorm2d(12), ReLU(), AvgPool2d(2), Flatten(), Linear(48, 5))  # fmt: skip
    return with_statistics(net, np.random.default_rng(2)).astype(dtype)


# --------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 9])
def test_any_number_of_images(path, count):
    """Fewer than planned for, as many, and more: computed in parts."""
    agree(convolutional(), images(count, 3, 12, 12), images=4)


def test_no_images(path):
    assert minicnn.compile(convolutional(), (2, 3, 12, 12))(images(0, 3, 12, 12)).shape == (0, 5)


@pytest.mark.parametrize("stored", ["channels first", "channels last", "backwards", "gaps", "not aligned", "read-only"])
def test_images_in_any_memory_layout(path, stored):
    x = images(3, 3, 12, 12)
    if stored == "channels last":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    if stored == "backwards":
        x = x[::-1, ::-1, ::-1]
    if stored == "gaps":
        x = np.repeat(np.repeat(x, 2, 3), 2, 1)[:, ::2, :, ::2]
    if stored == "not aligned":
        x = np.frombuffer(b" " + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    if stored == "read-only":
        x.flags.writeable = False
    agree(convolutional(), x)


def test_float64(path):
    plan = agree(convolutional("float64"), images(3, 3, 12, 12).astype(np.float64), tolerance=1e-13)
    assert "without kernels" in repr(plan)


def test_special_values_are_the_models_own(path):
    net = convolutional()
    x = images(4, 3, 12, 12)
    x[1, 0, 3, 3], x[2, 1, 5, 5], x[3] = np.nan, np.inf, 0
    with np.errstate(invalid="ignore"):
        expected, found = answer(net, x), minicnn.compile(net, (4, 3, 12, 12))(x)
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    np.testing.assert_allclose(found[[0, 3]], expected[[0, 3]], rtol=1e-5, atol=1e-6)


def test_weights_that_change_later_do_not_change_the_plan(path):
    """Also those of ops without a kernel, and those of a kernel that only another batch size uses."""
    seed(0)
    w = Parameter(images(5, 5))
    net, x = Sequential(convolutional(), Net(lambda self, x: ops.matmul(x, self.w), w=w)), images(2, 3, 12, 12)
    plan = minicnn.compile(net, (4, 3, 12, 12))
    before = answer(net, x)
    for _, tensor in net.named_state():
        tensor.data *= 2                                           # in place, as an optimiser does
    np.testing.assert_allclose(plan(x), before, atol=1e-5)         # for a batch size that is new to it
    assert np.abs(answer(net, x) - before).max() > 0.1


def test_a_result_stays_when_the_plan_is_called_again(path):
    plan = minicnn.compile(convolutional(), (2, 3, 12, 12))
    first = plan(images(2, 3, 12, 12))
    kept = first.copy()
    plan(images(2, 3, 12, 12, rng=np.random.default_rng(5)))
    np.testing.assert_array_equal(first, kept)


def test_the_model_is_left_as_it_was(path):
    net = convolutional().train()
    before = net.state_dict()
    minicnn.compile(net, (2, 3, 12, 12))
    assert all(module.training for _, module in net.named_modules())
    assert all(np.array_equal(before[name], value) for name, value in net.state_dict().items())


def test_threads_take_turns(path):
    net, batches = convolutional(), [images(n, 3, 12, 12, rng=np.random.default_rng(n)) for n in (1, 2, 3, 4)]
    plan = minicnn.compile(net, (4, 3, 12, 12))
    expected = [plan(x) for x in batches]
    wrong = []

    def work(start):
        for i in range(40):
            k = (start + i) % 4
            if not np.array_equal(plan(batches[k]), expected[k]):
                wrong.append(k)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_the_same_bits_on_any_number_of_threads():
    program = pytest.importorskip("minicnn.cpu.compiled.program")
    before, least = threads.num_threads(), program.MIN_SIZE
    program.MIN_SIZE = 0
    try:
        plan, x, results = minicnn.compile(convolutional(), (3, 3, 12, 12)), images(3, 3, 12, 12), []
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            results.append(plan(x))
    finally:
        program.MIN_SIZE = least
        threads.set_num_threads(before)
    assert all(np.array_equal(results[0], other) for other in results)


# ------------------------------------------------------------------------------------------------------- nets of users


def test_a_users_op_is_computed_as_it_is(path):
    @minicnn.tensor.op
    def cubed(x):
        return x**3, lambda dy: 3 * dy * x**2

    net = Net(lambda self, x: cubed(self.conv(x)).mean((2, 3)), conv=Conv2d(3, 4, 3))
    agree(net, images(3, 3, 6, 6))


def test_an_own_reshape_by_the_number_of_images(path):
    net = Net(lambda self, x: self.fc(self.conv(x).reshape(x.shape[0], -1)), conv=Conv2d(3, 4, 3), fc=Linear(64, 5))
    agree(net, images(3, 3, 6, 6), images=2)


def test_joined_maps_with_constants_and_parts_that_are_used_twice(path):
    def forward(self, x):
        a = ops.relu(self.a(x))
        b = self.b(x)
        zeros = np.zeros((len(x), 2, 6, 6), np.float32)
        y = ops.concat(a, b, zeros, a, x, axis=1)
        return ops.concat(y.max((2, 3)), ops.global_avg_pool2d(a * b), axis=1)

    agree(Net(forward, a=Conv2d(3, 4, 3, padding=1), b=Conv2d(3, 4, 1)), images(3, 3, 6, 6), images=2)


def test_a_part_of_joined_maps_that_a_convolution_reads_too(path):
    def forward(self, x):
        a = self.a(x)
        return ops.concat(a, self.b(a), ops.concat(x, a, axis=1), axis=1).mean((2, 3))

    agree(Net(forward, a=Conv2d(3, 5, 1), b=Conv2d(5, 4, 3, padding=1)), images(3, 3, 6, 6))


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_a_scale_before_a_convolution_is_part_of_it_and_a_shift_only_without_padding(path, padding, shift):
    conv = Conv2d(4, 6, 3, padding=padding, groups=2)
    scale = np.array([2, 3, -1, 0.5], np.float32).reshape(4, 1, 1)
    plan = agree(Net(lambda self, x: self.conv(x * scale + shift), conv=conv), images(3, 4, 6, 5))
    assert len(plan.explain().rows) == (2 if padding and shift else 1)


@pytest.mark.parametrize("name", ["relu6", "hardswish", "hardsigmoid", "sigmoid", "silu", "tanh", "leaky_relu", "abs"])
def test_activations(path, name):
    net = Net(lambda self, x: getattr(ops, name)(self.conv(x)).mean((2, 3)), conv=Conv2d(3, 11, 3))
    agree(net, images(2, 3, 7, 6))


@pytest.mark.parametrize(
    "forward",
    [
        lambda x, w: ops.max_pool2d(x, kernel_size=3, stride=2, padding=1, ceil_mode=True),
        lambda x, w: ops.max_pool2d(x, kernel_size=2, stride=1, dilation=(2, 3)),
        lambda x, w: ops.avg_pool2d(x, kernel_size=3, stride=2, padding=1, count_include_pad=False),
        lambda x, w: ops.avg_pool2d(x, kernel_size=(9, 8)),
        lambda x, w: ops.adaptive_avg_pool2d(x, output_size=3),
        lambda x, w: ops.adaptive_avg_pool2d(x, output_size=(4, 3)),
        lambda x, w: ops.global_max_pool2d(x),
        lambda x, w: ops.lp_pool2d(x, kernel_size=2),
        lambda x, w: ops.trainable_avg_pool2d(x, w[:10, 0], w[:10, 1]),
        lambda x, w: ops.local_response_norm(x, size=5, alpha=0.5),
        lambda x, w: ops.local_response_norm(x, size=3, alpha=0.5, beta=0.6),
        lambda x, w: ops.pad(x, padding=(1, 0, 2, 1), value=0.5),
        lambda x, w: ops.pad(x, padding=((1, 0), (2, 3)), mode="reflect"),
        lambda x, w: ops.max_pool2d(x, kernel_size=(3, 4), stride=(2, 3), padding="same"),
        lambda x, w: ops.max_pool2d(x, kernel_size=4, stride=3, padding=((3, 0), (0, 2))),
        lambda x, w: ops.avg_pool2d(x, kernel_size=3, stride=2, padding="same_lower", count_include_pad=False),
        lambda x, w: ops.avg_pool2d(x, kernel_size=2, stride=1, dilation=(2, 3), padding=(1, (0, 2))),
        lambda x, w: ops.lp_pool2d(x, kernel_size=3, stride=2, padding="same", dilation=2),
        lambda x, w: ops.conv2d(x, w.reshape((10, 10, 1, 1)), stride=2, padding=((0, 3), (2, 1))),
        lambda x, w: ops.conv2d(x, w.reshape((2, 10, 5, 1)), padding="same", stride=(2, 3)),
        lambda x, w: ops.conv2d(x, w.reshape((5, 2, 5, 2)), groups=5, padding="same_lower", flip=True),
        lambda x, w: ops.conv2d_relu(x, w.reshape((2, 10, 1, 5)), padding=(0, (0, 4)), flip=True),
        lambda x, w: ops.conv1d(ops.flatten(x, start_axis=2), w.reshape((2, 10, 5)), padding="same", flip=True),
        lambda x, w: ops.max_pool1d(ops.flatten(x, start_axis=2), kernel_size=4, stride=3, padding=(1, 2)),
        lambda x, w: x[:, 1:8:2, ::-1],
        lambda x, w: x - x.mean((2, 3), keepdims=True),
        lambda x, w: x * ops.sigmoid(x.mean((2, 3), keepdims=True)),
        lambda x, w: ops.sigmoid(x.mean((2, 3), keepdims=True)) * x,
        lambda x, w: x.transpose(0, 2, 3, 1),
        lambda x, w: (2 - x) / 3 + 1,
        lambda x, w: ops.add(x, x),
        lambda x, w: ops.add_relu(x, ops.multiply(x, -0.5)),
        lambda x, w: ops.conv2d_relu(x, w.reshape((10, 10, 1, 1))),
        lambda x, w: ops.conv2d(x, w.reshape((100, 1, 1, 1))[:10], groups=10, padding=1),
        lambda x, w: ops.conv2d(x, w.reshape((20, 5, 1, 1)), groups=2, stride=2, dilation=2),
        lambda x, w: ops.batch_norm_inference(x, w[0], None, w[1], np.square(w[2].data) + 1),
        lambda x, w: ops.conv_transpose2d(x, w.reshape((10, 1, 5, 2)), w[0, :1], stride=2, padding=1),
        lambda x, w: ops.resize(x, scale=(2, 1.5), mode="linear"),
        lambda x, w: ops.interpolate(x, size=(5, 11)),
        lambda x, w: ops.pixel_unshuffle(ops.pixel_shuffle(x[:, :8], upscale_factor=2), downscale_factor=2),
        lambda x, w: ops.layer_norm(x, normalized_shape=(9, 8)),
        lambda x, w: ops.group_norm(x, w[0], w[1], num_groups=5),
        lambda x, w: ops.instance_norm(x, None, w[1]),
        lambda x, w: ops.prelu(x, w[0]) + ops.mish(x),
        lambda x, w: ops.maximum(x, w[0].reshape(10, 1, 1)) * ops.minimum(x, 0.5),
        lambda x, w: x + ops.broadcast_to(x.mean((2, 3), keepdims=True), shape=x.shape),
        lambda x, w: ops.logsumexp(x, axis=1, keepdims=True) * x.prod(1, keepdims=True),
        lambda x, w: ops.gelu(x) + ops.elu(x) + ops.selu(x) + ops.softplus(x) + ops.erf(x) + abs(x) ** w[0, 0],
    ],
)
def test_every_kind_of_step(path, forward):
    """Between two convolutions, on 10 channels, which are not whole registers."""
    rng = np.random.default_rng(3)
    w = Tensor(rng.standard_normal((10, 10), np.float32))
    net = Net(lambda self, x: ops.relu(forward(self.first(x), w)), first=Conv2d(3, 10, 1))
    agree(net, rng.standard_normal((3, 3, 9, 8), np.float32), images=2)


def test_the_images_themselves_and_a_view_can_be_the_output(path):
    np.testing.assert_array_equal(minicnn.compile(Sequential(), (2, 3, 4, 5))(x := images(2, 3, 4, 5)), x)
    agree(Net(lambda self, x: ops.flatten(self.conv(x))[:, ::2], conv=Conv2d(3, 4, 1)), images(2, 3, 4, 5))


# ------------------------------------------------------------------------------------------------------------- refusals


def test_a_value_that_is_not_made_by_ops_is_refused():
    net = Sequential({"first": Conv2d(3, 4, 1), "scale": Net(lambda self, x: x / float(np.abs(x.data).max()))})
    with pytest.raises(CompileError, match=r"^the op 'divide' in layer 'scale' is computed otherwise for other images"):
        minicnn.compile(net, (1, 3, 4, 4))


def test_a_number_of_images_that_is_built_in_is_refused():
    net = Net(lambda self, x: x + np.arange(len(x), dtype=np.float32).reshape(-1, 1, 1, 1))
    with pytest.raises(CompileError, match=r"^the op 'add' is computed otherwise .* numbers of images in its forward"):
        minicnn.compile(net, (2, 3, 4, 4))


def test_a_size_that_is_not_a_multiple_of_the_number_of_images_is_refused():
    net = Net(lambda self, x: ops.pad(x, padding=len(x)).mean((2, 3)))
    with pytest.raises(CompileError, match="the op 'pad' is computed otherwise"):
        minicnn.compile(net, (2, 3, 4, 4))


def test_noise_in_eval_mode_is_refused():
    rng = np.random.default_rng(0)
    net = Net(lambda self, x: ops.dropout(x, rng.random(x.shape) < 0.5, p=0.5))
    with pytest.raises(CompileError, match="the op 'dropout' is computed otherwise"):
        minicnn.compile(net, (2, 3, 4, 4))


def test_other_ops_for_other_images_are_refused():
    net = Net(lambda self, x: ops.relu(ops.exp(x)) if len(x) == 3 else ops.exp(x))
    with pytest.raises(CompileError, match="the net computes other ops for other images"):
        minicnn.compile(net, (2, 3, 4, 4))


def test_an_output_that_ops_did_not_compute_is_refused():
    with pytest.raises(CompileError, match=r"^the net's output, a Tensor, does not depend on the images through ops"):
        minicnn.compile(Net(lambda self, x: Tensor(x.data * 2)), (2, 3, 4, 4))
    with pytest.raises(CompileError, match=r"shape \(3,\): it must have one row for each image"):
        minicnn.compile(Net(lambda self, x: x.sum((0, 2, 3))), (2, 3, 4, 4))


def test_a_plan_with_other_answers_than_the_model_is_not_returned(path, monkeypatch):
    def wrong(graph):
        fold(graph)
        graph.nodes[0].args[1] = graph.nodes[0].args[1] * 1.02

    monkeypatch.setattr("minicnn.plan.plan.fold", wrong)
    with pytest.raises(CompileError, match=r"^the plan's answers differ from the model's: "):
        minicnn.compile(convolutional(), (1, 3, 12, 12))


def test_without_working_programs_a_plan_has_no_kernels(monkeypatch):
    program = pytest.importorskip("minicnn.cpu.compiled.program")
    monkeypatch.setattr(program.Program, "run", lambda self: 1 / 0)
    monkeypatch.setattr("minicnn.plan.plan._has_kernels", functools.cache(_has_kernels.__wrapped__))
    with minicnn.cpu_path("compiled"), pytest.warns(RuntimeWarning, match="plans without kernels: division by zero"):
        assert "without kernels" in repr(agree(convolutional(), images(2, 3, 12, 12)))


def test_a_net_that_magnifies_rounding_errors_has_a_plan(path):
    """The logistic map doubles an error at each step: after 40 steps, two correct answers have no digit in common."""
    def forward(self, x):
        y = ops.sigmoid(self.body(x).sum((2, 3)) / 7)
        for _ in range(40):
            y = 4 * y * (1 - y)
        return y

    body = with_statistics(Sequential(Conv2d(3, 4, 3), BatchNorm2d(4)), np.random.default_rng(0))
    net, x = Net(forward, body=body), images(2, 3, 6, 6)
    assert np.abs(minicnn.compile(net, (2, 3, 6, 6))(x) - answer(net, x)).max() > 0.01


def test_wrong_arguments():
    net = convolutional()
    for shape in ((3, 12, 12), 5, (1, 3, 12, 12, 1)):
        with pytest.raises(ValueError, match=r"must be \(N, C, H, W\), such as \(1, 3, 224, 224\)"):
            minicnn.compile(net, shape)
    with pytest.raises(ValueError, match=r"shape \(=0\) must be at least 1"):
        minicnn.compile(net, (0, 3, 12, 12))
    with pytest.raises(TypeError, match="model must be a Module"):
        minicnn.compile(lambda x: x, (1, 3, 12, 12))
    net.layers["0"].weight.data = net.layers["0"].weight.data.astype(np.float64)
    with pytest.raises(CompileError, match="several dtypes"):
        minicnn.compile(net, (1, 3, 12, 12))


def test_wrong_images(path):
    plan = minicnn.compile(convolutional(), (2, 3, 12, 12))
    with pytest.raises(ValueError, match=r"^x has shape \(3, 12, 12\), .* for one image, x\[None\] has shape \(1, 3"):
        plan(images(3, 12, 12))
    with pytest.raises(ValueError, match=r"^x has shape \(2, 3, 12, 13\), .* is for images \(n, 3, 12, 12\): compile"):
        plan(images(2, 3, 12, 13))
    with pytest.raises(TypeError, match=r"^x is float64, but the plan computes in float32: convert it with .astype"):
        plan(images(2, 3, 12, 12).astype(np.float64))
    with pytest.raises(TypeError, match="x must be an array of NumPy, not"):
        plan([[1.0]])
    assert np.array_equal(plan(Tensor(images(2, 3, 12, 12))), plan(images(2, 3, 12, 12)))


# -------------------------------------------------------------------------------------------------------- what it tells


def test_explain(path):
    plan = minicnn.compile(convolutional(), (2, 3, 12, 12))
    table = plan.explain()
    assert [(row.layer, row.op, row.folded) for row in table.rows] == [
        ("0", "conv2d", ("batch_norm_inference", "relu")), ("3", "max_pool2d", ()),
        ("5", "conv2d", ("batch_norm_inference", "relu")), ("8", "avg_pool2d", ()),
        ("10", "linear_maps", ("flatten",)),
    ]  # fmt: skip
    assert [row.output for row in table.rows] == [(2, 8, 12, 12), (2, 8, 6, 6), (2, 12, 4, 4), (2, 12, 2, 2), (2, 5)]
    text = str(table).splitlines()
    assert text[0] == repr(plan)
    assert len(text) == 2 + len(table.rows) + 2
    if path == "compiled":
        assert [row.kernel for row in table.rows] == ["direct", "largest", "direct", "average", "linear"]
        assert 0 < plan.memory == table.memory < table.unshared
    else:
        assert plan.memory == 0
        assert "without kernels" in text[0]
    assert plan.input_shape == (2, 3, 12, 12)
    assert table.as_dict()["rows"][0]["layer"] == "0"


def test_joined_maps_are_written_in_place():
    pytest.importorskip("numba")

    def forward(self, x):
        return ops.concat(self.a(x), ops.relu(self.b(x)), ops.max_pool2d(x, kernel_size=3, stride=1, padding=1))

    net = Net(forward, a=Conv2d(3, 16, 3, padding=1), b=Conv2d(3, 5, 1))
    (*_, joined) = agree(Sequential(net, GlobalAvgPool2d()), images(2, 3, 9, 9)).explain().rows[:-1]
    assert (joined.op, joined.kernel) == ("concat", "")
