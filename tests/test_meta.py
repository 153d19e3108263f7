"""The device that knows shapes alone: held against nets that compute, and against gradients that show what is seen."""

import numpy as np
import pytest

from minicnn import Tensor, devices, inspect, meta, models, nn, no_grad, ops
from minicnn.device import Device
from minicnn.nn import init
from minicnn.ops_table import TABLE
from minicnn.tensor import op

# ops whose meaning is in the values: no shape to speak of without them
VALUES_NEEDED = {"cross_entropy"}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_shapes_and_dtypes_are_those_of_numpy(row):
    if row.name in VALUES_NEEDED:
        pytest.skip("labels are checked by their values")
    for case in row.cases:
        arrays = [a.astype(np.float32) if a is not None and a.dtype == float else a for a in case.inputs(0)]
        wanted = row.op(*arrays, **case.hyper)
        ghosts = [None if a is None else meta.asarray(a) for a in arrays]
        found = row.op(*ghosts, **case.hyper)
        assert found.device == "meta"
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)


def test_no_values_can_be_asked_for():
    with pytest.raises(TypeError, match=r"an array on 'meta' has a shape but no values"):
        Tensor(meta.image((1, 1, 2, 2))).numpy()


FORWARD = ("add", "add_relu", "asarray", "avg_pool2d", "batch_norm_apply", "batch_norm_stats", "conv2d",
           "conv2d_dx", "cross_entropy", "dropout_mask", "elementwise", "evaluate", "local_response_norm",
           "lp_pool2d", "matmul", "max_pool2d", "relu", "synchronize", "to_numpy")  # fmt: skip
"""The primitives of a forward pass; the others compute gradients, updates, or running sums for them."""


@pytest.mark.parametrize("primitive", [n for n, f in vars(Device).items() if callable(f) and not n.startswith("_")])
def test_every_primitive_of_a_forward_pass_is_there_and_the_others_say_so(primitive):
    if primitive in FORWARD:
        assert callable(getattr(meta, primitive))
    else:
        with pytest.raises(AttributeError, match=f"device 'meta' has no primitive '{primitive}': it computes"):
            getattr(meta, primitive)


def test_what_needs_values_or_gradients_is_one_sentence():
    x = Tensor(meta.ndarray((4, 10)), requires_grad=True)
    for needs_values in (lambda: ops.cross_entropy(x, Tensor(meta.ndarray((4,), int))), lambda: bool(x.sum() > 0),
                         lambda: float(x.sum())):  # fmt: skip
        with pytest.raises(TypeError, match="an array on 'meta' has a shape but no values: build the model without"):
            needs_values()
    with pytest.raises(AttributeError, match=r"device 'meta' has no array function '.*': it computes shapes"):
        ops.relu(x).sum().backward()

    @op
    def cumulative(x):
        return x.cumsum(0), lambda dy: dy

    with pytest.raises(NotImplementedError, match="cumulative: device 'meta' has no 'cumsum'"):
        cumulative(x)


@pytest.mark.parametrize("function", [
    np.exp, np.abs, np.square, np.arctan, lambda x: np.maximum(x, 0), lambda x: np.float32(2) * x, lambda x: x * 2 > 1,
    np.isfinite, lambda x: np.ones((5, 1, 1), np.float32) + x, lambda x: np.log(1 + np.exp(-1.702 * x)),
])  # fmt: skip
def test_numpys_own_functions_serve_in_an_op(function):
    wanted, found = function(np.ones((2, 1, 3, 4), np.float32)), function(meta.image((2, 1, 3, 4)))
    assert (found.shape, found.dtype, found.fields) == (wanted.shape, wanted.dtype, meta.image((2, 1, 3, 4)).fields)


@pytest.mark.parametrize("function", [
    np.matmul, np.modf, lambda x: np.exp(x, out=np.ones(x.shape)), np.add.reduce,
], ids=["matmul", "modf", "exp", "add"])  # fmt: skip
def test_a_numpy_function_that_is_not_elementwise_says_so(function):
    arguments = [meta.image((1, 1, 2, 2))] * (2 if function is np.matmul else 1)
    with pytest.raises(TypeError, match=r"^device 'meta' has no array function '\w+': it computes shapes"):
        function(*arguments)


def test_meta_is_not_offered_to_users():
    assert "meta" not in devices.available()


def see(net, shape, place):
    """The box (top, left, bottom, right) of the pixels that move output element `place`, by gradient."""
    x = Tensor(np.ones((1, *shape)), requires_grad=True)
    y = net(x)
    dy = np.zeros(y.shape)
    dy[(0, 0, *place)] = 1
    y.backward(dy)
    rows, columns = np.nonzero(x.grad[0].sum(0))
    return rows.min(), columns.min(), rows.max(), columns.max()


def positive(net):
    """Weights of 1: nothing cancels, so what is seen has a gradient."""
    for parameter in net.astype("float64").parameters():
        parameter.data[...] = 1
    return net


NETS = {
    "stack": [nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 5, stride=2), nn.AvgPool2d(2), nn.Conv2d(2, 1, 3)],
    "oblong": [nn.Conv2d(1, 1, (1, 7), padding=(0, 3)), nn.Conv2d(1, 1, (4, 2), stride=(2, 3), padding=(1, 0))],
    "dilated": [nn.Conv2d(1, 1, 3, dilation=3, padding=2), nn.AvgPool2d(3, 2, padding=1, ceil_mode=True)],
    "same": [nn.Conv2d(1, 1, 4, padding="same"), nn.AvgPool2d(3, 2)],
    "same, strided": [nn.Conv2d(1, 1, 4, 2, padding="same"), nn.AvgPool2d(3, 2, padding="same_lower")],
    "each side": [nn.Conv2d(1, 1, 3, padding=((0, 2), (3, 1))), nn.LPPool2d(2, 2, padding=((1, 0), (0, 1)))],
    "border": [nn.ZeroPad2d((1, 0, 2, 3)), nn.Conv2d(1, 1, 3, 2), nn.ConstantPad2d(1, 0.5), nn.Conv2d(1, 1, 2)],
    "turned": [nn.Conv2d(1, 1, (2, 3), padding=(1, (0, 2)), flip=True)],
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("place", [(0, 0), (1, 2), (2, 1)])
def test_the_field_is_the_box_of_pixels_that_have_a_gradient(name, place):
    net, shape = positive(nn.Sequential(*NETS[name])), (1, 31, 33)
    last = inspect.summary(net, shape).layers[-1]
    top, left = (o + i * s for o, i, s in zip(last.offset, place, last.total_stride))
    bottom, right = top + last.field[0] - 1, left + last.field[1] - 1
    if name == "dilated" and min(top, left) < 0:
        pytest.skip("a dilated window has gaps: where its box is cut off there may be one")
    assert see(net, shape, place) == (max(0, top), max(0, left), min(30, bottom), min(32, right))


LARGER = {
    "transposed": ([nn.Conv2d(1, 1, 3, 2, padding=1), nn.ConvTranspose2d(1, 1, 4, 2, padding=1)], (1, 1)),
    "transposed, dilated": ([nn.MaxPool2d(3), nn.ConvTranspose2d(1, 1, (3, 2), (3, 2), padding=(1, 0), dilation=(1, 2),
                             output_padding=1), nn.Conv2d(1, 1, 2)], (1, 1.5)),
    "nearest": ([nn.AvgPool2d(2), nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3, padding=1)], (1, 1)),
    "bilinear": ([nn.AvgPool2d(4), nn.Upsample(scale_factor=2, mode="bilinear")], (2, 2)),
    "shuffled": ([nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(1, 1, 3)], (0.5, 0.5)),
    "unshuffled": ([nn.PixelUnshuffle(2), nn.Conv2d(4, 1, 3)], (2, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGER)
@pytest.mark.parametrize("place", [(0, 0), (4, 6), (6, 4), (3, 7), (5, 2)])
def test_the_field_in_a_larger_map_holds_the_pixels_that_have_a_gradient(name, place):
    """A pixel between two others sees what either sees: its box may be a step of the smaller map too large."""
    layers, stride = LARGER[name]
    net, shape = positive(nn.Sequential(*layers)), (1, 30, 36)
    last = inspect.summary(net, shape).layers[-1]
    assert last.total_stride == stride
    rows, columns = inspect.box(net, shape, last.name, *place)
    top, left, bottom, right = see(net, shape, place)
    coarse = max(inspect.summary(net, shape).layers[0].total_stride)
    for (start, end), first, past in ((rows, top, bottom + 1), (columns, left, right + 1)):
        assert start <= first < past <= end
        assert end - start <= past - first + 2.5 * coarse


class Moved(nn.Module):
    """Maps that other code moves about: `how` gets the maps and the two weights of ones, and gives maps again."""

    def __init__(self, how):
        self.how = how
        self.first, self.second = nn.Parameter(np.ones((2, 8))), nn.Parameter(np.ones((8, 2)))

    def forward(self, x):
        return self.how(x, self.first, self.second)


def channels_last(x, first, second):
    """ConvNeXt's block: the channels are mixed as the last axis, between two transpositions."""
    x = ops.matmul(ops.matmul(ops.transpose(x, axes=(0, 2, 3, 1)), first), second)
    return ops.transpose(x, axes=(0, 3, 1, 2))


def turned(x, first, second):
    return ops.transpose(x, axes=(0, 1, 3, 2))


def signals(x, first, second):
    """Rows become images of their own channels, and come back."""
    N, C, H, W = x.shape
    return ops.reshape(ops.reshape(x, shape=(N, C, H, 1, W)), shape=(N, C, H, W))


@pytest.mark.parametrize("how", [channels_last, signals])
@pytest.mark.parametrize("place", [(0, 0), (1, 2), (3, 1)])
def test_the_field_follows_axes_that_move(how, place):
    net = positive(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), Moved(how), nn.Conv2d(2, 1, (3, 5), stride=2)))
    last = inspect.summary(net, (1, 21, 23)).layers[-1]
    top, left = (o + i * s for o, i, s in zip(last.offset, place, last.total_stride))
    assert see(net, (1, 21, 23), place) == (max(0, top), max(0, left), top + last.field[0] - 1,
                                            left + last.field[1] - 1)  # fmt: skip


def windows(x, first, second):
    """Swin's windows: each pixel of a window sees all of it, and it alone."""
    N, C, H, W = x.shape
    x = ops.reshape(ops.transpose(x, axes=(0, 2, 3, 1)), shape=(N, H // 4, 4, W // 4, 4, C))
    x = ops.reshape(ops.transpose(x, axes=(0, 1, 3, 2, 4, 5)), shape=(-1, 16, C))
    x = ops.matmul(ops.matmul(x, ops.transpose(x, axes=(0, 2, 1))), x)
    x = ops.transpose(ops.reshape(x, shape=(N, H // 4, W // 4, 4, 4, C)), axes=(0, 1, 3, 2, 4, 5))
    return ops.transpose(ops.reshape(x, shape=(N, H, W, C)), axes=(0, 3, 1, 2))


def rolled(x, first, second):
    return ops.concat(x[:, :, 3:], x[:, :, :3], axis=2)


def tokens(x, first, second):
    """A vision transformer's: every pixel sees every other."""
    N, C, H, W = x.shape
    x = ops.transpose(ops.reshape(x, shape=(N, C, H * W)), axes=(0, 2, 1))
    x = ops.matmul(ops.matmul(x, ops.transpose(x, axes=(0, 2, 1))), x)
    return ops.reshape(ops.transpose(x, axes=(0, 2, 1)), shape=(N, C, H, W))


def squared(x, first, second):
    """Row i of the maps and column j meet in pixel (i, j)."""
    return ops.matmul(x, x)


def with_its_mirror(x, first, second):
    return x + ops.transpose(x, axes=(0, 1, 3, 2))


def last_ones(x, first, second):
    return x[:, :, -6:, -7:-1]


@pytest.mark.parametrize("how", [turned, windows, rolled, tokens, squared, with_its_mirror, last_ones])
@pytest.mark.parametrize("place", [(0, 0), (3, 5), (5, 2)])
def test_the_field_holds_all_pixels_that_have_a_gradient_where_axes_are_mixed(how, place):
    net = positive(nn.Sequential(nn.Conv2d(1, 2, 3, 2, padding=1), Moved(how), nn.Conv2d(2, 1, 3, padding=1)))
    last = inspect.summary(net, (1, 16, 16)).layers[-1].name
    rows, columns = inspect.box(net, (1, 16, 16), last, *place)
    top, left, bottom, right = see(net, (1, 16, 16), place)
    assert rows[0] <= top <= bottom < rows[1]
    assert columns[0] <= left <= right < columns[1]


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d(2), nn.GroupNorm(1, 2), nn.LayerNorm((2, 7, 7))])
def test_the_statistics_of_an_image_see_all_of_it_and_move_no_window(norm):
    net = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), norm)
    last = inspect.summary(net, (1, 15, 15)).layers[-1]
    assert last.total_stride == (2, 2)
    assert min(last.field) >= 15


def test_a_signals_windows_have_the_height_1():
    """Fields add up along the signal: 5, then 5 + 2·(3 − 1)·2 = 13, the first one 2 + 2·2 before its beginning."""
    last = nn.Conv1d(3, 1, 3, dilation=2, padding=2)
    net = positive(nn.Sequential(nn.Conv1d(2, 3, 5, 2, padding=2), nn.ReLU(), last))
    layers = inspect.summary(net, (2, 40)).layers
    pooled = inspect.summary(nn.Sequential(nn.MaxPool1d(4, 3, (2, 0)), nn.AvgPool1d(3, 1)), (2, 40)).layers
    assert [(x.kernel, x.field, x.total_stride, x.offset) for x in pooled] == [
        ((1, 4), (1, 4), (1, 3), (0, -2)), ((1, 3), (1, 10), (1, 3), (0, -2))]  # fmt: skip
    assert [(x.kernel, x.output, x.macs) for x in layers] == [
        ((1, 5), (3, 20), 3 * 20 * 10), (None, (3, 20), 0), ((1, 3), (1, 20), 20 * 9)]  # fmt: skip
    last = layers[-1]
    assert (last.field, last.total_stride, last.offset) == ((1, 13), (1, 2), (0, -6))
    x = Tensor(np.ones((1, 2, 40)), requires_grad=True)
    dy = np.zeros((1, 1, 20))
    dy[0, 0, 9] = 1
    net(x).backward(dy)
    places = np.nonzero(x.grad[0].sum(0))[0]
    assert (places.min(), places.max()) == (9 * 2 - 6, 9 * 2 - 6 + 12)


class Branches(nn.Module):
    """Two ways of different reach, added."""

    def __init__(self):
        self.near, self.far = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 5, padding=2)
        self.last = nn.Conv2d(1, 1, 3, stride=2)

    def forward(self, x):
        return self.last(self.near(x) + self.far(x))


def test_where_branches_meet_the_larger_field_counts():
    net = positive(Branches())
    last = inspect.summary(net, (1, 20, 20)).layers[-1]
    assert (last.field, last.total_stride, last.offset) == ((7, 7), (2, 2), (-2, -2))
    assert see(net, (1, 20, 20), (3, 3)) == (4, 4, 10, 10)


def test_a_net_without_values_is_built_and_measured_at_once_and_a_real_one_is_left_alone():
    with init.shapes_only():
        ghost = models.build("lenet5")
    real = models.build("lenet5").train()
    before = real.state_dict()
    assert inspect.summary(ghost, (1, 28, 28)) == inspect.summary(real, (1, 28, 28))
    assert all(module.training for _, module in real.named_modules())
    assert all((before[k] == v).all() for k, v in real.state_dict().items())
    with no_grad():
        assert real(Tensor(np.zeros((1, 1, 28, 28), np.float32))).shape == (1, 10)


class Squeeze(nn.Module):
    """Every pixel times the mean of its map, as in squeeze-and-excitation."""

    def __init__(self):
        self.first, self.pool, self.last = nn.Conv2d(1, 1, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Conv2d(1, 1, 3)

    def forward(self, x):
        x = self.first(x)
        return self.last(x * self.pool(x))


def test_a_mean_that_is_spread_over_the_map_is_seen_by_all_and_moves_no_window():
    net = positive(Squeeze())
    last = inspect.summary(net, (1, 15, 15)).layers[-1]
    assert see(net, (1, 15, 15), (0, 0)) == see(net, (1, 15, 15), (1, 1)) == (0, 0, 14, 14)
    assert last.total_stride == (2, 2)                     # not the stride of the mean, a whole image
    assert last.field[0] >= 15


def test_the_small_nets_with_squeeze_and_excitation_keep_their_stride():
    with init.shapes_only():
        net = models.build("mobilenet_v3_large")
    maps = [x for x in inspect.summary(net, (3, 224, 224)).layers if x.output[1:] == (7, 7)]
    assert {x.total_stride for x in maps} == {(32, 32)}
