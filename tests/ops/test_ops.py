"""Every op of the table: its values, gradients, dtypes, strides and manners; and no op without a row."""

import importlib
import pkgutil

import numpy as np
import pytest

import minicnn.ops
from minicnn import Tensor, gradcheck, reference
from minicnn.ops_table import MASKS, ROWS, TABLE

CASES = [pytest.param(r, c, id=f"{r.name}-{i}") for r in TABLE for i, c in enumerate(r.cases)]
every_case = pytest.mark.parametrize(("row", "case"), CASES)


def is_checked(op, i, array):
    """Whether argument i has a gradient."""
    name = op.arguments[min(i, len(op.arguments) - 1)]
    return array is not None and array.dtype.kind == "f" and name not in op.constants


def cast(arrays, dtype):
    return [a.astype(dtype) if a is not None and a.dtype.kind == "f" else a for a in arrays]


def run(row, arrays, hyper, dy=None):
    """(y, dy, gradients): the op's value, the direction gone back in, and the gradients, as arrays."""
    leaves = [Tensor(a, True) if is_checked(row.op, i, a) else a for i, a in enumerate(arrays)]
    y = row.op(*leaves, **hyper)
    if dy is None:
        dy = np.random.default_rng(99).standard_normal(y.shape).astype(y.dtype)
    y.backward(dy)
    return y.data, dy, [t.grad for t in leaves if isinstance(t, Tensor)]


def assert_near(got, expected, tolerance):
    """Equal shapes, and |got − expected| at most `tolerance` times the largest magnitude that is expected."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    scale = abs(expected).max(initial=0.0)
    worst = abs(got.astype(np.float64) - expected).max(initial=0.0)
    assert worst <= tolerance * scale, f"off by {worst:.2e}, largest value {scale:.2e}"


@every_case
def test_value_is_the_definition(row, case):
    arrays = case.inputs(0)
    assert_near(row.op(*arrays, **case.hyper).data, row.definition(*arrays, **case.hyper), 1e-12)


@every_case
def test_gradients_are_finite_differences(row, case):
    arrays = case.inputs(0)
    report = gradcheck(row.op, *arrays, tolerance=1e-6, **case.hyper)
    assert report.worst <= 1e-6
    assert not report.kinks, "the table's inputs keep clear of kinks"
    assert report.coordinates == sum(a.size for i, a in enumerate(arrays) if is_checked(row.op, i, a))


@pytest.mark.usefixtures("both_paths")
@every_case
def test_float32_stays_float32_and_is_as_exact_as_that_allows(row, case):
    arrays = cast(case.inputs(0), np.float32)
    y, dy, grads = run(row, arrays, case.hyper)
    assert y.dtype == np.float32
    assert all(g.dtype == np.float32 for g in grads)
    # float32 keeps 6e-8 of each term; sums of up to ~100 terms, and divisions by a standard deviation, cost two digits
    wide = cast(arrays, np.float64)
    assert_near(y, row.definition(*wide, **case.hyper), 5e-6)
    for g, expected in zip(grads, run(row, wide, case.hyper, dy.astype(np.float64))[2]):
        assert_near(g, expected, 5e-6)


@every_case
def test_float64_stays_float64(row, case):
    y, _, grads = run(row, case.inputs(0), case.hyper)
    assert y.dtype == np.float64
    assert [g.dtype for g in grads] == [np.float64] * len(grads)


def every_other(a):
    """The same values, with gaps between them and the last axis backwards in memory."""
    if a is None or a.ndim == 0:
        return a
    wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), 77, a.dtype)
    wide[..., ::2] = a[..., ::-1]
    return wide[..., ::2][..., ::-1]


def fortran(a):
    """The same values, first axis fastest."""
    return a if a is None or a.ndim == 0 else np.asfortranarray(a)


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize(("row", "case", "layout"), [
    pytest.param(*p.values, layout, id=f"{p.id}-{layout.__name__}", marks=() if (i + j) % 2 == 0 else pytest.mark.slow)
    for i, p in enumerate(CASES) for j, layout in enumerate((every_other, fortran))])  # in turn
def test_strides_do_not_matter(row, case, layout):
    arrays = case.inputs(0)
    laid_out = [layout(a) for a in arrays]
    for a in laid_out:
        if a is not None and (layout is every_other or sum(n > 1 for n in a.shape) > 1):
            assert not a.flags.c_contiguous
    y, dy, grads = run(row, arrays, case.hyper)
    y2, _, grads2 = run(row, laid_out, case.hyper, layout(dy))
    assert_near(y2, y, 1e-13)
    for g2, g in zip(grads2, grads):
        assert_near(g2, g, 1e-13)


@every_case
def test_a_dy_that_is_one_number_broadcast(row, case):
    """What sum().backward() sends: all strides 0, and not writable."""
    arrays = case.inputs(0)
    y, _, _ = run(row, arrays, case.hyper)
    _, _, expected = run(row, arrays, case.hyper, np.full(y.shape, 0.7))
    _, _, grads = run(row, arrays, case.hyper, np.broadcast_to(0.7, y.shape))
    for g, e in zip(grads, expected):
        assert abs(g - e).max() <= 1e-13 * (abs(e).max() + 1)  # softmax's is exactly 0, but for round-off


@every_case
def test_nothing_given_is_changed(row, case):
    arrays, before = case.inputs(0), case.inputs(0)
    for a in arrays:
        if a is not None:
            a.flags.writeable = False  # whoever writes raises where he does it
    y = row.op(*arrays, **case.hyper).data
    dy = np.random.default_rng(99).standard_normal(y.shape)
    dy_before = dy.copy()
    dy.flags.writeable = False
    run(row, arrays, case.hyper, dy)
    np.testing.assert_array_equal(dy, dy_before)
    for a, b in zip(arrays, before):
        np.testing.assert_array_equal(a, b)


@every_case
def test_the_graph_does_not_change_under_its_own_gradients(row, case):
    """Gradient functions called twice, in turn, give the same: none of them spoils what another one keeps."""
    arrays = case.inputs(0)
    y, vjps = row.op.__wrapped__(*arrays, **case.hyper)[:2]
    vjps = [f for f in (vjps if isinstance(vjps, tuple) else (vjps,)) if f]
    dy = np.random.default_rng(99).standard_normal(np.shape(y))
    kept = np.copy(y)
    first = [np.copy(f(dy)) for f in vjps]
    again = [np.copy(f(dy)) for f in reversed(vjps)][::-1]
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(y, kept)


@pytest.mark.usefixtures("both_paths")
@every_case
def test_two_runs_are_bit_identical(row, case):
    first, second = (run(row, case.inputs(0), case.hyper) for _ in range(2))
    assert np.asarray(first[0]).tobytes() == np.asarray(second[0]).tobytes()
    assert [g.tobytes() for g in first[2]] == [g.tobytes() for g in second[2]]


def ops_of_minicnn():
    """Every function that @op made, by name."""
    modules = [importlib.import_module("minicnn.tensor")]
    modules += [importlib.import_module(m.name) for m in pkgutil.walk_packages(minicnn.ops.__path__, "minicnn.ops.")]
    found = {}
    for module in modules:
        for name, f in vars(module).items():
            if hasattr(f, "arguments") and hasattr(f, "__wrapped__") and f.__module__ == module.__name__:
                assert name not in found, f"two ops are called {name}"
                found[name] = f
    return found


OF_RANKS = {"gathered", "shared_batch_norm"}
"""Ops that need other processes: tests/ranks checks their values and gradients."""


def test_every_op_has_a_row():
    found = {name: f for name, f in ops_of_minicnn().items() if name not in OF_RANKS}
    assert len(found) >= 45
    rows = ROWS | {row.name: row for row in MASKS}
    missing = sorted(set(found) - set(rows))
    assert not missing, f"no row in minicnn/ops_table.py for {missing}"
    assert all(rows[name].op is f for name, f in found.items())
    assert all({*row.op.arguments} == {*row.op.constants} for row in MASKS), "these have a gradient: TABLE"
    assert len(ROWS) == len(TABLE), "two rows of one name"


@pytest.mark.parametrize("row", TABLE, ids=lambda r: r.name)
def test_every_op_states_its_formula(row):
    assert row.op.__doc__
    assert "=" in row.op.__doc__ or "Σ" in row.op.__doc__ or "gradient" in row.op.__doc__
    assert row.cases


def test_the_definitions_of_the_loops_are_loops():
    """What the big ops are compared with shares no code with them."""
    for name in (
        "conv1d",
        "conv2d",
        "conv_transpose2d",
        "resize",
        "layer_norm",
        "group_norm",
        "instance_norm",
        "max_pool2d",
        "avg_pool2d",
        "lp_pool2d",
        "local_response_norm",
        "batch_norm",
        "cross_entropy",
        "pad",
    ):
        assert ROWS[name].definition is getattr(reference, name)
    with open(reference.__file__) as file:
        imports = [line.split()[1] for line in file if line.startswith(("import ", "from "))]
    assert imports == ["math", "numpy"]


# Batches of no images come up where a folder or a filter is empty; a shape must come out, not an error from NumPy.
_EMPTY = [
    "conv1d",
    "conv2d",
    "conv2d_relu",
    "conv_transpose2d",
    "linear",
    "max_pool2d",
    "avg_pool2d",
    "lp_pool2d",
    "trainable_avg_pool2d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "global_avg_pool2d",
    "global_max_pool2d",
    "relu",
    "relu6",
    "leaky_relu",
    "tanh",
    "sigmoid",
    "silu",
    "hardsigmoid",
    "hardswish",
    "elu",
    "selu",
    "gelu",
    "softplus",
    "mish",
    "prelu",
    "erf",
    "resize",
    "layer_norm",
    "group_norm",
    "instance_norm",
    "softmax",
    "log_softmax",
    "batch_norm_inference",
    "batch_norm_inference_relu",
    "local_response_norm",
    "dropout",
    "dropout2d",
    "stochastic_depth",
    "flatten",
    "pad",
]


@pytest.mark.parametrize("name", _EMPTY)
def test_a_batch_of_no_images(name):
    row = ROWS[name]
    case = row.cases[0]
    full = case.inputs(0)
    y_full, _, _ = run(row, full, case.hyper)
    batched = {"x", "mask"}
    arrays = [a[:0] if row.op.arguments[i] in batched else a for i, a in enumerate(full)]
    y, _, grads = run(row, arrays, case.hyper)
    assert y.shape == (0, *y_full.shape[1:])
    assert all((g == 0).all() for g in grads)
