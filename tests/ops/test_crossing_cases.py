"""The crossing cases of the table: right values, and every bug that shows only beyond some size or in combination."""

from dataclasses import replace

import numpy as np
import pytest

from minicnn import ops
from minicnn.cli.gradcheck import _check
from minicnn.crossing_cases import pairwise
from minicnn.ops_table import ROWS, TABLE
from minicnn.tensor import op

CASES = [pytest.param(r, c, id=f"{r.name}-{i}") for r in TABLE for i, c in enumerate(r.crossing)]


@pytest.mark.parametrize(("row", "case"), CASES)
def test_value_is_the_definition(row, case):
    arrays = case.inputs(0)
    y, expected = row.op(*arrays, **case.hyper).numpy(), row.definition(*arrays, **case.hyper)
    assert y.shape == np.shape(expected)
    assert abs(y - expected).max() <= 1e-11 * abs(expected).max()


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize("row", TABLE, ids=lambda r: r.name)
def test_gradients_and_float32(row):
    result = _check(row, range(1), 1e-6)
    assert result.status == "right", result.error
    assert result.worst <= 1e-6
    assert not result.kinks
    assert not result.unclear


def test_each_pair_of_values_occurs():
    options = {"stride": (1, 2, 3), "dilation": (1, 2), "groups": (1, 2, 4)}
    chosen = pairwise(**options)
    for a in options:
        for b in options:
            if a != b:
                assert {(c[a], c[b]) for c in chosen} == {(u, v) for u in options[a] for v in options[b]}
    assert len(chosen) < 18


def spoilt(right, condition, argument=0):
    """The op with one gradient 1 % too large wherever condition(arrays, hyper) holds."""

    @op
    def broken(*xs, **hyper):
        y, vjps, *aux = right.__wrapped__(*xs, **hyper)
        vjps = list(vjps) if isinstance(vjps, tuple) else [vjps]
        dx = vjps[argument]
        if condition(xs, hyper):
            vjps[argument] = lambda dy: dx(dy) * dy.dtype.type(1.01)
        return y, tuple(vjps[: len(xs)]), *aux

    return broken


def many(value):
    return value not in (1, (1, 1))


PLANTED = {
    "stride and dilation": ("conv2d", 0, lambda xs, h: many(h.get("stride", 1)) and many(h.get("dilation", 1))),
    "groups and dilation": ("conv2d", 1, lambda xs, h: many(h.get("groups", 1)) and many(h.get("dilation", 1))),
    "more than 8 channels, convolution": ("conv2d", 0, lambda xs, h: xs[0].shape[1] > 8),
    "more than 8 channels, batch norm": ("batch_norm", 0, lambda xs, h: xs[0].shape[1] > 8),
    "more than 32 rows, pooling": ("max_pool2d", 0, lambda xs, h: xs[0].shape[2] > 32),
    "more than 32 rows, softmax": ("softmax", 0, lambda xs, h: xs[0].shape[0] > 32),
    "|x| above 3": ("tanh", 0, lambda xs, h: abs(xs[0]).max() > 3),
    "float32": ("linear", 1, lambda xs, h: xs[0].dtype == np.float32),
    "a batch of one": ("linear", 0, lambda xs, h: len(xs[0]) == 1),
    "matrices wider than high": ("matmul", 1, lambda xs, h: xs[0].shape[-1] > 4 * xs[0].shape[-2]),
    "smoothing and weights": ("cross_entropy", 0, lambda xs, h: h.get("label_smoothing") and h.get("weight")),
    "padding and ceil mode": ("avg_pool2d", 0, lambda xs, h: h.get("padding") and h.get("ceil_mode")
                              and many(h.get("stride", 1)) and h["kernel_size"] == 2),
}  # fmt: skip


@pytest.mark.parametrize("what", PLANTED)
def test_a_bug_beyond_the_small_cases_is_caught(what):
    name, argument, condition = PLANTED[what]
    row = ROWS[name]
    broken = spoilt(getattr(ops, name), condition, argument)
    broken.arguments, broken.constants, broken.optional = row.op.arguments, row.op.constants, row.op.optional
    broken.__name__ = name
    wrong = replace(row, op=broken)
    try:
        ROWS[name] = wrong                                         # float32 is tried on the ops of the table
        assert _check(wrong, range(1), 1e-6).status == "WRONG"
    finally:
        ROWS[name] = row
