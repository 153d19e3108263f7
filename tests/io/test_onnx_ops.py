"""Every op as ONNX nodes, run by onnxruntime, against the op's definition in plain NumPy."""

import numpy as np
import pytest

from minicnn import Tensor, nn, ops
from minicnn.io.onnx import Graph
from minicnn.io.onnx.file import checked_proto
from minicnn.io.onnx.handlers import HANDLERS, TRAINING_ONLY
from minicnn.io.onnx.trace import record
from minicnn.ops import getitem
from minicnn.ops.conv import conv2d
from minicnn.ops.pool import avg_pool2d, max_pool1d, max_pool2d
from minicnn.ops.shape import concat
from minicnn.ops.softmax import softmax
from minicnn.ops_table import MASKS, ROWS, TABLE

pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx onnxruntime")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install onnxruntime")

from tests.io.onnx_cases import compare  # noqa: E402 - which needs onnx


class Call(nn.Module):
    """An op with all its arrays given but number i, which is the input."""

    def __init__(self, op, arrays, i, hyper):
        self.op, self.arrays, self.i, self.hyper = op, arrays, i, hyper

    def forward(self, x):
        return self.op(*self.arrays[: self.i], x, *self.arrays[self.i + 1 :], **self.hyper)


def run(op, arrays, i, hyper):
    """(what onnxruntime computes of array i, the graph)"""
    graph = record(Call(op, arrays, i, hyper), Tensor(arrays[i]))
    session = ort.InferenceSession(checked_proto(graph, op.__name__, dynamic_batch=False).SerializeToString(),
                                   providers=["CPUExecutionProvider"])  # fmt: skip
    return session.run(None, {"image": arrays[i]})[0], graph


def test_each_op_has_a_counterpart_or_is_for_training_alone():
    assert set(ROWS) | {row.name for row in MASKS} == HANDLERS.keys() | set(TRAINING_ONLY)
    assert not HANDLERS.keys() & set(TRAINING_ONLY)


CASES = [pytest.param(row, case, i, id=f"{row.name}-{n}-{i}")
         for row in TABLE if row.name not in TRAINING_ONLY for n, case in enumerate(row.cases)
         for i, draw in enumerate(case.draws) if draw is not None
         if row.op.arguments[min(i, len(row.op.arguments) - 1)] not in row.op.constants
         if i == 0 or row.name in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "matmul", "concat",
                                   "prelu", "conv_transpose2d", "layer_norm", "group_norm",
                                   "trainable_avg_pool2d", "where")]  # fmt: skip


@pytest.mark.parametrize(("row", "case", "i"), CASES)
def test_it_computes_what_the_definition_says(row, case, i):
    arrays = [a if a is None else a.astype(np.float32) for a in case.inputs(seed=3)]
    wanted = row.definition(*(None if a is None else a.astype(np.float64) for a in arrays), **case.hyper)
    found, _ = run(row.op, arrays, i, case.hyper)
    assert found.shape == np.shape(wanted)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=3e-6 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize(("row", "case", "i"), CASES)
def test_what_is_written_is_read_back(row, case, i):
    """The nodes of each op, read as ops again, compute what the op's definition says."""
    arrays = [a if a is None else a.astype(np.float32) for a in case.inputs(seed=4)]
    wanted = row.definition(*(None if a is None else a.astype(np.float64) for a in arrays), **case.hyper)
    graph = record(Call(row.op, arrays, i, case.hyper), Tensor(arrays[i]))
    written = checked_proto(graph, row.name, dynamic_batch=False).SerializeToString()
    compare(written, {"image": arrays[i]}, [wanted], rtol=0, atol=3e-6 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("i", [0, 1])
@pytest.mark.parametrize(("row", "case"), [pytest.param(r, c, id=f"{r.name}-{n}") for r in MASKS
                                           for n, c in enumerate(r.cases)])  # fmt: skip
def test_masks_are_written_and_read_back(row, case, i):
    """A mask of an array that is the input; the other is known. What it chooses is the output."""
    arrays = case.inputs(seed=3)
    if i == len(arrays):
        return
    wanted = np.where(row.definition(*arrays), 3.0, -5.0)
    known = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in arrays]
    three = np.full(wanted.shape, 3, np.float32)

    class Masked(nn.Module):
        def forward(self, x):
            mine = ops.greater(x, 0) if arrays[i].dtype == bool else x
            return ops.where(row.op(*(mine if k == i else a for k, a in enumerate(known))), three, -5)

    x = arrays[i].astype(np.float32)
    graph = record(Masked(), Tensor(x))
    written = checked_proto(graph, row.name, dynamic_batch=False).SerializeToString()
    found = ort.InferenceSession(written, providers=["CPUExecutionProvider"]).run(None, {"image": x})[0]
    np.testing.assert_array_equal(found, wanted)
    compare(written, {"image": x}, [wanted], rtol=0, atol=0)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "lp_pool2d"])
@pytest.mark.parametrize("size", [(6, 6), (7, 8), (9, 5)])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 1), (2, 3), ((3, 2), (2, 3)), (3, 3)])
def test_windows_of_every_kind(name, size, kernel, stride, ceil_mode, rng):
    """Floor and ceil, overlapping and not, against the loops of reference.py."""
    x = rng.standard_normal((2, 3, *size)).astype(np.float32)
    row = ROWS[name]
    paddings = [{}] if name == "lp_pool2d" else [{"padding": 0}, {"padding": 1}]
    more = [{"count_include_pad": c} for c in (True, False)] if name == "avg_pool2d" else [{}]
    for padding in paddings:
        for extra in more:
            hyper = {"kernel_size": kernel, "stride": stride, "ceil_mode": ceil_mode, **padding, **extra}
            found, _ = run(row.op, [x], 0, hyper)
            np.testing.assert_allclose(found, row.definition(x.astype(np.float64), **hyper), rtol=0, atol=3e-6)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "lp_pool2d"])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), [
    ((3, 4), (2, 3), "same", 1), ((2, 4), (1, 3), "same_lower", 1), (3, 2, ((0, 2), (1, 0)), 1), (2, 2, 0, (2, 3)),
    ((2, 3), 1, ((2, 1), 0), (3, 1)), ((4, 2), (3, 1), ((3, 2), (0, 1)), 1), (3, (2, 3), "same", 2)])
def test_windows_padded_on_each_side_and_dilated(name, kernel, stride, padding, dilation, ceil_mode, rng):
    """AveragePool and LpPool have no dilation in opset 17: a sum of windows is a Conv of ones there."""
    x = rng.standard_normal((2, 3, 7, 8)).astype(np.float32)
    row = ROWS[name]
    more = [{"count_include_pad": c} for c in (True, False)] if name == "avg_pool2d" else [{}]
    for extra in (*more, {"norm_type": 1.5}) if name == "lp_pool2d" else more:
        hyper = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation,
                 "ceil_mode": ceil_mode, **extra}  # fmt: skip
        found, graph = run(row.op, [x], 0, hyper)
        np.testing.assert_allclose(found, row.definition(x.astype(np.float64), **hyper), rtol=0, atol=6e-6)
        if name == "avg_pool2d" and dilation != 1:
            assert [node.op for node in graph.nodes] == ["Conv", "Mul"]


def test_a_pool_of_signals(rng):
    x = rng.standard_normal((2, 3, 11)).astype(np.float32)
    hyper = {"kernel_size": 4, "stride": 3, "padding": (2, 1)}
    found, graph = run(max_pool1d, [x], 0, hyper)
    assert [node.op for node in graph.nodes] == ["Reshape", "MaxPool", "Squeeze"]
    padded = np.pad(x, [(0, 0), (0, 0), (2, 1)], constant_values=-np.inf)
    np.testing.assert_array_equal(found, np.stack([padded[..., i : i + 4].max(-1) for i in (0, 3, 6, 9)], -1))


@pytest.mark.parametrize("kernel", [2, (2, 3), (3, 2)])
def test_padding_that_is_as_large_as_the_kernel_is_laid_out(rng, kernel):
    """onnxruntime refuses to pad a maximum by the kernel's size, which a dilated window may need."""
    x = rng.standard_normal((1, 2, 6, 7)).astype(np.float32)
    hyper = {"kernel_size": kernel, "stride": 1, "dilation": 3, "padding": 2}
    found, graph = run(max_pool2d, [x], 0, hyper)
    assert [node.op for node in graph.nodes] == ["Pad", "MaxPool"]
    np.testing.assert_array_equal(found, ROWS["max_pool2d"].definition(x, **hyper))


@pytest.mark.parametrize(("shape", "w_shape", "hyper"), [
    ((2, 6, 9, 8), (6, 1, 3, 3), {"groups": 6, "padding": 1, "stride": 2}),
    ((2, 6, 9, 8), (9, 2, 3, 2), {"groups": 3, "dilation": (2, 3)}),
    ((1, 4, 7, 7), (8, 4, 1, 1), {}),
    ((1, 2, 8, 9), (3, 2, 4, 2), {"padding": "same"}),
    ((1, 2, 8, 9), (3, 2, 2, 5), {"stride": (3, 1)}),
    ((1, 2, 8, 9), (3, 2, 4, 2), {"padding": "same_lower", "stride": (3, 2)}),
    ((2, 4, 8, 9), (6, 2, 3, 4), {"padding": ((0, 3), (2, 1)), "groups": 2, "flip": True}),
])  # fmt: skip
def test_convolutions_of_every_kind(shape, w_shape, hyper, rng):
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in (shape, w_shape, w_shape[:1]))
    found, graph = run(conv2d, [x, w, b], 0, hyper)
    assert [node.op for node in graph.nodes] == ["Conv"]
    np.testing.assert_allclose(found, ROWS["conv2d"].definition(x, w, b, **hyper), rtol=0, atol=1e-5)


def test_filters_that_depend_on_the_image_are_turned_by_the_graph(rng):
    x, w = rng.standard_normal((1, 2, 8, 9)).astype(np.float32), rng.standard_normal((3, 2, 4, 2)).astype(np.float32)
    found, graph = run(conv2d, [x, w], 1, {"flip": True})
    assert [node.op for node in graph.nodes] == ["Slice", "Conv"]
    np.testing.assert_allclose(found, ROWS["conv2d"].definition(x, w, flip=True), rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", ["torch", "paper"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("shape", [(2, 7, 3, 2), (2, 7, 3), (3, 7)])
def test_both_responses_of_every_size(variant, size, shape, rng):
    x = rng.standard_normal(shape).astype(np.float32)
    hyper = {"size": size, "alpha": 0.9, "beta": 0.75, "k": 2.0, "variant": variant}
    row = ROWS["local_response_norm"]
    found, graph = run(row.op, [x], 0, hyper)
    assert ("LRN" in {node.op for node in graph.nodes}) == (size % 2 == 1 and len(shape) == 4)
    np.testing.assert_allclose(found, row.definition(x.astype(np.float64), **hyper), rtol=0, atol=2e-6)


@pytest.mark.parametrize("index", [
    (slice(None), slice(None, None, -1)), (slice(-3, None), slice(4, 0, -2)), (slice(None), -1), (1, 2, slice(1, 3)),
    (slice(None), np.array([[0, 2], [4, -1]])), (..., slice(0, 2)), (slice(1, 2), ..., 0), 3,
], ids=str)  # fmt: skip
def test_indices(index, rng):
    x = rng.standard_normal((4, 5, 3)).astype(np.float32)
    found, _ = run(getitem, [x], 0, {"index": index})
    np.testing.assert_array_equal(found, x[index])


@pytest.mark.parametrize("index", [np.arange(4) > 1, (np.array([0, 1]), np.array([1, 2])), (0, np.array([1, 2])),
                                   (slice(None), None)], ids=str)  # fmt: skip
def test_indices_without_a_counterpart(index, rng):
    x = rng.standard_normal((4, 5, 3)).astype(np.float32)
    with pytest.raises(ValueError, match=r"'getitem' with the index .* can't be exported to ONNX"):
        run(getitem, [x], 0, {"index": index})


def test_a_softmax_over_two_axes(rng):
    x = rng.standard_normal((2, 5, 3, 4)).astype(np.float32)
    found, _ = run(softmax, [x], 0, {"axis": (1, -1)})
    e = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(found, e / e.sum((1, 3), keepdims=True), rtol=1e-5)


def test_windows_hang_over_as_padding_and_not_as_ceil_mode(rng):
    x = rng.standard_normal((1, 2, 8, 8)).astype(np.float32)
    for op in (max_pool2d, avg_pool2d):
        _, graph = run(op, [x], 0, {"kernel_size": 3, "stride": 2, "ceil_mode": True})
        assert graph.nodes[0].attributes["pads"] == [0, 0, 1, 1]
        assert "ceil_mode" not in graph.nodes[0].attributes


def test_a_small_constant_is_kept_once(rng):
    graph = Graph()
    x = graph.input
    graph.add("ReduceSum", x, graph.ints(2, 3))
    graph.add("ReduceSum", x, graph.ints(2, 3))
    graph.add("ReduceSum", x, graph.ints(3, 2))
    assert [list(a) for a in graph.constants.values()] == [[2, 3], [3, 2]]


FITS = {
    "broadcast_to": lambda x: ops.broadcast_to(ops.mean(x, axis=(2, 3), keepdims=True), shape=x.shape) * x,
    "resize to a size": lambda x: ops.resize(x, size=(9, 7), mode="linear"),
    "resize by a factor": lambda x: ops.interpolate(x, scale_factor=2),
    "resize without an operator": lambda x: ops.resize(x, size=(9, 7), mode="linear",
                                                       coordinates="half_pixel_symmetric"),
    "group_norm": lambda x: ops.group_norm(x, num_groups=2),
    "layer_norm": lambda x: ops.layer_norm(x, normalized_shape=(4, 5)),
    "pixel_shuffle": lambda x: ops.pixel_shuffle(x, upscale_factor=2),
    "prelu": lambda x: ops.prelu(x, np.array([0.1, 0.2, 0.3, -0.4], np.float32)),
}  # fmt: skip


@pytest.mark.parametrize("what", FITS)
def test_the_nodes_fit_a_batch_of_any_length(what, rng):
    x = rng.standard_normal((2, 4, 4, 5)).astype(np.float32)
    graph = record(Call(lambda x: FITS[what](x), [x], 0, {}), Tensor(x))
    session = ort.InferenceSession(checked_proto(graph, what, dynamic_batch=True).SerializeToString(),
                                   providers=["CPUExecutionProvider"])  # fmt: skip
    for N in (1, 2, 7):
        x = rng.standard_normal((N, 4, 4, 5)).astype(np.float32)
        np.testing.assert_allclose(session.run(None, {"image": x})[0], FITS[what](x).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("size", "coordinates", "rounding", "operator"), [
    ((14, 10), "asymmetric", "floor", "Resize"), ((14, 10), "half_pixel", "round_prefer_floor", "Resize"),
    ((21, 15), "half_pixel", "round_prefer_ceil", "Resize"), ((8, 10), "asymmetric", "round_prefer_ceil", "MatMul"),
    ((9, 5), "half_pixel", "floor", "MatMul"), ((19, 8), "half_pixel", "ceil", "MatMul")])
def test_a_pixel_that_float32_would_not_choose_is_written_as_a_product(size, coordinates, rounding, operator, rng):
    """8/7 is no float32: 4/(8/7) may come out on either side of 3½. So the file says itself which pixel is read."""
    x = rng.standard_normal((2, 3, 7, 5)).astype(np.float32)
    hyper = {"size": size, "coordinates": coordinates, "rounding": rounding}
    found, graph = run(ops.resize, [x], 0, hyper)
    assert operator in {node.op for node in graph.nodes}
    np.testing.assert_array_equal(found, ROWS["resize"].definition(x, **hyper))


def test_the_zero_channels_of_a_shortcut_fit_a_batch_of_any_length(rng):
    x, zeros = rng.standard_normal((2, 3, 4, 5)).astype(np.float32), np.zeros((2, 4, 4, 5), np.float32)
    graph = record(Call(concat, [x, zeros], 0, {"axis": 1}), Tensor(x))
    session = ort.InferenceSession(checked_proto(graph, "concat", dynamic_batch=True).SerializeToString(),
                                   providers=["CPUExecutionProvider"])  # fmt: skip
    for N in (1, 2, 7):
        x = rng.standard_normal((N, 3, 4, 5)).astype(np.float32)
        y = session.run(None, {"image": x})[0]
        np.testing.assert_array_equal(y, np.concatenate([x, np.zeros((N, 4, 4, 5), np.float32)], 1))
