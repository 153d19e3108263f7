"""Every op, every argument, every hyper-parameter: what is wrong is named in one sentence, and nothing else is raised.

A wrong value must give a TypeError or ValueError whose message names the op or the argument. It must never give another
exception, and never a result.
"""

import inspect
import re

import numpy as np
import pytest

from minicnn import ops
from minicnn.ops_table import TABLE

NAN = float("nan")
INTEGER = ["abc", {"a": 1}, None, 2.5, True, NAN, 1j, 2**62, (1, "a"), [None, 1], np.ones(3), object()]
WINDOW = [*INTEGER, 0, (1, 2, 3), (0, 1)]
NUMBER = ["abc", {"a": 1}, None, [1.0], NAN, float("inf"), 1j, 10**400, True, np.ones(3), object()]
FLAG = ["yes", None, 2, 0.5, {}, [True], object()]
AXIS = ["abc", {"a": 1}, 2.5, True, 99, -99, 2**70, (0, 0), (0, "a"), object()]
WRONG = {
    "stride": [v for v in WINDOW if v is not None],
    "padding": [*INTEGER, -1, (1, 2, 3), "Same", ((1, 2), (1, -1)), ((1, 2, 3), 1), ((1, 1.5), 1)],
    "dilation": WINDOW,
    "kernel_size": [*WINDOW, 2**31],
    "output_size": WINDOW,
    "output_padding": [*INTEGER, -1, (1, 2, 3), 1],
    "scale": ["abc", {"a": 1}, [1.0], NAN, float("inf"), 1j, 10**400, True, 0, -1, (1, 2, 3), (1, "a"), 1e-3, 1e9],
    "coordinates": ["Half_pixel", "tf_crop_and_resize", 3, None, {"a": 1}, object()],
    "rounding": ["round", 3, None, {"a": 1}, object()],
    "approximate": ["erf", 3, None, {"a": 1}, object()],
    "num_groups": [*INTEGER, 0, -1, 4],
    "normalized_shape": [*INTEGER, 0, -1, (), (4, 6), (3, 4, 5, 6)],
    "groups": [*INTEGER, 0, -1, (1, 1)],
    "size": [*INTEGER, 0, -1],
    "start_axis": [*AXIS, None],
    "axis": AXIS,
    "axes": [v for v in AXIS if not isinstance(v, int)] + [(0, 0, 0), (0,), 0],
    "shape": ["abc", {"a": 1}, None, 2.5, (7, 7), (-1, -1), (-2, 6), (0, -1), ("a",), 13, object()],
    "negative_slope": NUMBER,
    "norm_type": [*NUMBER, 0.5, -1],
    "eps": [*NUMBER, -1e-5],
    "alpha": NUMBER,
    "beta": NUMBER,
    "k": NUMBER,
    "p": [*NUMBER, 1, 1.5, -0.1],
    "label_smoothing": [*NUMBER, 1, -0.1],
    "low": ["abc", {"a": 1}, NAN, 1j, 10**400, True, object(), 99.0],
    "high": ["abc", {"a": 1}, NAN, 1j, 10**400, True, object(), -99.0],
    "value": ["abc", {"a": 1}, None, NAN, 1j, True, object()],
    "weight": ["abc", {"a": 1}, 3.0, [1.0], [1.0, "a", 2.0, 3.0], (0.0,) * 4, (NAN,) * 4, (-1.0,) * 4, np.ones(2)],
    "variant": ["caffe", 3, None, {"a": 1}, object()],
    "ceil_mode": FLAG,
    "flip": FLAG,
    "mode": ["Reflect", "circular", 3, None, {"a": 1}, object()],
    "ignore_index": ["abc", {"a": 1}, 2.5, True, 2**70, (1,), object()],
    "count_include_pad": FLAG,
    "keepdims": FLAG,
}  # fmt: skip
WRONG["beta:softplus"] = [*NUMBER, 0, -1]
WRONG["size:resize"] = [v for v in (*WINDOW, 3) if v is not None]                # which has a scale already
WRONG["mode:resize"] = ["bilinear", 3, None, {"a": 1}, object()]
WRONG["padding:conv_transpose2d"] = [*WRONG["padding"], "same", 9]
WRONG["padding:pad"] = [*INTEGER, -1, (1, 2, 3), "same", (1, 2)]
for _name, _values in (("stride", WRONG["stride"]), ("dilation", WINDOW)):
    WRONG[f"{_name}:conv1d"] = [*_values, (1, 1)]
ELSEWHERE = {"index"}  # of getitem: IndexError, as Python has it; tested below


def hyper_parameters(op):
    return [p.name for p in inspect.signature(op.__wrapped__).parameters.values() if p.kind is p.KEYWORD_ONLY]


def wrong_values():
    for row in TABLE:
        for key in hyper_parameters(row.op):
            if key not in ELSEWHERE:
                for value in WRONG.get(f"{key}:{row.name}", WRONG[key]):
                    yield pytest.param(row, key, value, id=f"{row.name}-{key}-{str(value)[:20]}")


def refused(call, *names):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert type(caught.value) in (TypeError, ValueError)
    said = str(caught.value)
    assert said.startswith(f"{names[0]}:") or any(re.search(rf"\b{name}\b", said) for name in names[1:]), said
    assert len(said) < 400
    assert "\n" not in said


@pytest.mark.parametrize(("row", "key", "value"), [*wrong_values()])
def test_a_wrong_hyper_parameter_is_named(row, key, value):
    case = row.cases[0]
    refused(lambda: row.op(*case.inputs(0), **{**case.hyper, key: value}), row.name, key)


NOT_ARRAYS = [None, "abc", 2.5, [1.0, 2.0], {"a": 1}, object()]


def arguments():
    for row in TABLE:
        for i, array in enumerate(row.cases[0].inputs(0)):
            yield pytest.param(row, i, array, id=f"{row.name}-{i}")


@pytest.mark.parametrize(("row", "i", "array"), [*arguments()])
def test_what_is_no_array_of_numbers_is_named(row, i, array):
    name = row.op.arguments[min(i, len(row.op.arguments) - 1)]
    for value in NOT_ARRAYS:
        if (value is None and name in row.op.optional) or (isinstance(value, float) and name in row.op.numbers):
            continue
        arrays = row.cases[0].inputs(0)
        arrays[i] = value
        refused(lambda a=arrays: row.op(*a, **row.cases[0].hyper), row.name)
    for dtype in ("complex128", "object", "U3", "float16", "longdouble"):
        if name in row.op.constants and dtype in ("float16", "longdouble"):
            continue                                               # a mask of float16 is a mask
        arrays = row.cases[0].inputs(0)
        arrays[i] = array.astype(dtype)
        refused(lambda a=arrays: row.op(*a, **row.cases[0].hyper), row.name)


ANY_SHAPE = {"add", "subtract", "multiply", "divide", "negative", "power", "abs", "clip", "exp", "log", "sqrt", "relu",
             "relu6", "leaky_relu", "tanh", "sigmoid", "silu", "hardsigmoid", "hardswish", "sum", "mean", "max", "min",
             "getitem", "transpose", "squeeze", "reshape", "softmax", "log_softmax", "matmul", "flatten", "pad",
             "batch_norm", "batch_norm_inference", "local_response_norm", "dropout2d", "stochastic_depth",
             "batch_norm_relu", "batch_norm_inference_relu", "maximum", "minimum", "prod", "erf", "broadcast_to",
             "logsumexp", "elu", "selu", "gelu", "softplus", "mish", "prelu", "layer_norm", "group_norm",
             "instance_norm", "where"}  # fmt: skip


@pytest.mark.parametrize(("row", "i", "array"), [*arguments()])
def test_a_wrong_rank_is_named(row, i, array):
    """Too few axes, too many, none: a sentence. Ops of any shape may compute, but raise nothing else."""
    name = row.op.arguments[min(i, len(row.op.arguments) - 1)]
    for wrong in (array.reshape(-1)[0:1].reshape(()), array.ravel()[:3], array[None], array[..., None]):
        if wrong.shape == array.shape or row.name == "getitem":    # whose IndexError is tested below
            continue
        arrays = row.cases[0].inputs(0)
        arrays[i] = wrong
        if row.name in ANY_SHAPE and (i == 0 or row.op.numbers or name == "b"):
            try:
                row.op(*arrays, **row.cases[0].hyper)
            except (TypeError, ValueError) as problem:
                assert str(problem).startswith(f"{row.name.removesuffix('_relu')}: ")   # noqa: PT017
        else:
            refused(lambda a=arrays: row.op(*a, **row.cases[0].hyper), row.name, name, "pooling")


@pytest.mark.parametrize("row", TABLE, ids=lambda r: r.name)
def test_float32_beside_float64_is_named(row):
    arrays = row.cases[0].inputs(0)
    floats = [i for i, a in enumerate(arrays) if a is not None and a.dtype.kind == "f"]
    if len(floats) > 1:
        arrays[floats[-1]] = arrays[floats[-1]].astype(np.float32)
        with pytest.raises(TypeError, match=rf"^{row.name}: \w+ is float64 but \w+ is float32: convert \w+ with"):
            row.op(*arrays, **row.cases[0].hyper)


@pytest.mark.parametrize("index", [7, -5, (0, 9), (slice(None), 1, 1), np.array([0, 9]), 1.5, "a", {"a": 1}])
def test_an_index_that_does_not_fit(index):
    with pytest.raises(IndexError, match=r"^getitem: index .+ does not fit shape \(4, 5\): "):
        ops.getitem(np.ones((4, 5)), index=index)


IMAGES = np.ones((2, 8, 8, 32))  # channels last


SENTENCES = {
    "no channels": (
        lambda: ops.conv2d(np.ones((2, 0, 8, 8)), np.ones((4, 0, 3, 3))),
        "conv2d: x has shape (2, 0, 8, 8): images must have at least 1 channel and 1 pixel",
    ),
    "no filters": (
        lambda: ops.conv2d(np.ones((2, 3, 8, 8)), np.ones((0, 3, 3, 3))),
        "conv2d: w has shape (0, 3, 3, 3): each of its extents must be at least 1",
    ),
    "pooling of no channels": (
        lambda: ops.max_pool2d(np.ones((2, 0, 8, 8)), kernel_size=2),
        "pooling: x has shape (2, 0, 8, 8): images must have at least 1 channel and 1 pixel",
    ),
    "softmax of nothing": (
        lambda: ops.softmax(np.ones((3, 0))),
        "softmax: shape (3, 0) has no values along axis -1",
    ),
    "log_softmax of nothing": (
        lambda: ops.log_softmax(np.ones((0, 3)), axis=0),
        "log_softmax: shape (0, 3) has no values along axis 0",
    ),
    "max of nothing": (
        lambda: ops.max(np.ones((3, 0)), axis=1),
        "max: there are no values over axis 1 of shape (3, 0)",
    ),
    "softmax of a scalar": (
        lambda: ops.softmax(np.array(1.0)),
        "softmax: axis -1 is out of range for shape (): a scalar has no axes",
    ),
    "a stride beyond all images": (
        lambda: ops.conv2d(np.ones((1, 1, 4, 4)), np.ones((1, 1, 2, 2)), stride=2**62),
        "stride (=4611686018427387904) must be at most 1,048,576",
    ),
    "a window of too many taps": (
        lambda: ops.avg_pool2d(np.ones((1, 1, 4, 4)), kernel_size=2**20, padding=2**19),
        f"kernel_size (=(1048576, 1048576)) makes windows of {2**40:,} taps: at most 4,194,304 are allowed; "
        "pool in two steps, or use global_avg_pool2d for one number per map",
    ),
    "a kernel beyond all images": (
        lambda: ops.max_pool2d(np.ones((1, 1, 4, 4)), kernel_size=2**31, padding=2**30),
        "kernel_size (=2147483648) must be at most 1,048,576",
    ),
    "labels of NaN": (
        lambda: ops.cross_entropy(np.ones((2, 3)), np.array([0.0, NAN])),
        "cross_entropy: labels must be integers, one class index per image, not float64: or probabilities, an array "
        "(2, 3) of floats",
    ),
    "reshape": (
        lambda: ops.reshape(np.ones((2, 3)), shape=(4, 2)),
        "reshape: shape (2, 3) has 6 values, which do not fill (4, 2)",
    ),
    "concat of nothing": (
        lambda: ops.concat(),
        "concat: none of the arguments is a Tensor or an array: wrap one in Tensor(...)",
    ),
    "broadcasting": (
        lambda: ops.add(np.ones((2, 3)), np.ones(4)),
        "add: shapes (2, 3) and (4,) do not broadcast: counted from the last, each axis must have the same size in "
        "both, or size 1",
    ),
    "channels last, convolution": (
        lambda: ops.conv2d(np.ones((2, 32, 32, 3)), np.ones((4, 3, 5, 5))),
        "conv2d: x has 32 channels, but w (4, 3, 5, 5) is for 3: images are (N, C, H, W), channels first? "
        "Then x.transpose(0, 3, 1, 2)",
    ),
    "channels last, pooling": (
        lambda: ops.max_pool2d(np.ones((2, 32, 32, 3)), kernel_size=5),
        "the window's width (=5) is larger than the padded input's (=3 = 3 + 0 + 0): use a smaller kernel, or more "
        "padding: images are (N, C, H, W), channels first? Then x.transpose(0, 3, 1, 2)",
    ),
    "channels last, batch norm": (
        lambda: ops.batch_norm(np.ones((2, 8, 8, 32)), np.ones(32), np.ones(32)),
        "batch_norm: x has 8 channels, so gamma, beta, mean and var must each have shape (8,), not [(32,), (32,)]: "
        "images are (N, C, H, W), channels first? Then x.transpose(0, 3, 1, 2)",
    ),
    "given twice": (
        lambda: ops.conv2d(np.ones((1, 1, 4, 4)), np.ones((1, 1, 2, 2)), x=np.ones(3)),
        "conv2d: x was given twice, by position and by name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SENTENCES)
def test_the_sentence(what):
    call, sentence = SENTENCES[what]
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value) == sentence


def test_the_largest_that_is_allowed():
    """Global pooling of large images, and windows at the limit, are not refused."""
    x = np.ones((1, 1, 2048, 2048), np.float32)
    assert ops.adaptive_avg_pool2d(x, output_size=1).shape == (1, 1, 1, 1)
    assert ops.conv2d(np.ones((1, 1, 4, 4)), np.ones((1, 1, 2, 2)), stride=2**20).shape == (1, 1, 1, 1)
    wide = np.ones((1, 1, 2, 2**22), np.float32)
    np.testing.assert_allclose(ops.adaptive_avg_pool2d(wide, output_size=(1, 2)).numpy(), 1, rtol=1e-6)
