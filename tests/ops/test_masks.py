"""Comparisons and `where`: masks on every device, NaN and ties, and what has a gradient and what has none."""

import operator

import numpy as np
import pytest

from minicnn import Tensor, devices, gradcheck, meta, ops
from minicnn.nn import Module
from minicnn.ops_table import MASKS
from minicnn.plan.plan import compile
from tests.strict_device import StrictDevice

CASES = [pytest.param(r, c, id=f"{r.name}-{i}") for r in MASKS for i, c in enumerate(r.cases)]
COMPARISONS = {ops.greater: operator.gt, ops.greater_equal: operator.ge, ops.less: operator.lt,
               ops.less_equal: operator.le, ops.equal: operator.eq}  # fmt: skip


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize(("row", "case"), CASES)
def test_a_mask_is_its_definition(row, case):
    for dtype in (np.float32, np.float64):
        arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in case.inputs(0)]
        y = row.op(*arrays).numpy()
        assert y.dtype == bool
        np.testing.assert_array_equal(y, row.definition(*arrays))
        turned = [np.asfortranarray(a) for a in arrays]
        np.testing.assert_array_equal(row.op(*turned).numpy(), y)


def test_the_cases_have_ties_and_both_answers():
    for row in MASKS:
        answers = np.concatenate([np.ravel(row.definition(*case.inputs(0))) for case in row.cases])
        assert answers.any()
        assert not answers.all()
    assert ops.equal(*MASKS[0].cases[0].inputs(0)).numpy().any()


@pytest.mark.parametrize(("row", "case"), [p for p in CASES if p.id.endswith(("-0", "-1"))])
def test_a_mask_on_a_device_that_refuses_numpy_and_on_meta(row, case, monkeypatch):
    monkeypatch.setitem(devices._backends, "strict", StrictDevice())
    wanted = row.definition(*case.inputs(0))
    y = row.op(*(Tensor(a, device="strict") for a in case.inputs(0)))
    assert y.device == "strict"
    np.testing.assert_array_equal(y.numpy(), wanted)
    ghost = row.op(*(meta.asarray(a) for a in case.inputs(0)))
    assert (ghost.device, ghost.shape, ghost.dtype) == ("meta", wanted.shape, bool)


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize("op", COMPARISONS, ids=lambda op: op.__name__)
def test_numbers_nan_and_large_arrays(op, rng):
    """Python compares NaN as IEEE 754 says: never equal, larger or smaller. Large arrays are computed in parts."""
    values = [1.0, 0.5, float("nan"), -float("inf"), float("inf"), 0.0, -0.0]
    for b in values:
        expected = [COMPARISONS[op](a, b) for a in values]
        assert op(np.array(values), b).numpy().tolist() == expected
        assert op(b, np.array(values)).numpy().tolist() == [COMPARISONS[op](b, a) for a in values]
    a, b = (rng.integers(0, 3, (300, 400)).astype(np.float32) for _ in range(2))
    flat = [COMPARISONS[op](u, v) for u, v in zip(a.ravel().tolist(), b.ravel().tolist())]
    np.testing.assert_array_equal(op(a, b).numpy(), np.reshape(flat, a.shape))
    np.testing.assert_array_equal(op(a, 1).numpy(), [[COMPARISONS[op](u, 1) for u in row] for row in a.tolist()])


@pytest.mark.usefixtures("both_paths")
def test_where_on_large_arrays_with_numbers(rng):
    mask, a = rng.random((300, 400)) > 0.5, rng.standard_normal((300, 400)).astype(np.float32)
    pairs = [(m, u) for m, u in zip(mask.ravel().tolist(), a.ravel().tolist())]
    for y, wanted in ((ops.where(mask, a, 0.25), [u if m else 0.25 for m, u in pairs]),
                      (ops.where(mask, -2, a), [-2 if m else u for m, u in pairs])):
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y.numpy().ravel(), wanted)
    np.testing.assert_array_equal(ops.where(mask.astype(float), a, 0).numpy(), ops.where(mask, a, 0).numpy())


def test_a_mask_requires_no_gradient_and_where_passes_its_own_to_the_values():
    """y = x where x > 1, else x²: slope 1 or 2x. At the kink the mask decides."""
    x = Tensor(np.array([-2.0, 0.5, 1.0, 3.0]), requires_grad=True)
    mask = ops.greater(x, 1)
    assert not mask.requires_grad
    ops.where(mask, x, x * x).backward(np.ones(4))
    assert x.grad.tolist() == [-4, 1, 2, 1]
    with pytest.raises(ValueError, match="greater got no floating-point array"):
        gradcheck(ops.greater, np.ones(3), np.zeros(3))


def test_what_is_not_taken_has_no_part_in_the_gradient():
    """The derivative of √x is infinite at 0; the branch is not taken there."""
    x = Tensor(np.array([0.0, 4.0]), requires_grad=True)
    bad = Tensor(np.array([np.inf, np.nan]), requires_grad=True)
    y = ops.where(np.array([True, False]), x, bad)
    assert y.numpy()[0] == 0
    y.backward(np.array([5.0, 7.0]))
    assert (x.grad.tolist(), bad.grad.tolist()) == ([5, 0], [0, 7])
    y = ops.where(np.array([False, False]), bad, x)
    y.backward(np.array([np.inf, 1.0]))
    assert bad.grad.tolist() == [0, 2 * 0 + 7]


def test_the_sentences():
    x, long = np.ones((2, 3)), np.ones(4)
    for call, sentence in (
            (lambda: ops.where(x > 0, 1.0, 2), r"where: a \(=1.0\) and b \(=2\) are both numbers: wrap one"),
            (lambda: ops.where(x > 0, x, long), r"where: the shapes of a \(2, 3\), b \(4,\), mask \(2, 3\) do not"),
            (lambda: ops.less(x, long), r"less: the shapes of a \(2, 3\), b \(4,\) do not broadcast"),
            (lambda: ops.equal(x, "a"), "equal: b must be a Tensor, an array or a number, not 'a'"),
            (lambda: ops.logical_and(x, 1), "logical_and: b must be a Tensor or an array, not 1"),
            (lambda: ops.logical_not(x + 0j), "logical_not: mask must hold booleans or numbers, not complex"),
            (lambda: ops.where(1, x, x), "where: mask must be a Tensor or an array, not 1")):
        with pytest.raises((TypeError, ValueError), match=sentence):
            call()


class Bent(Module):
    """y = 2x where 0 ≤ x ≤ 1 or x is not above −1, else x/4."""

    def forward(self, x):
        inside = ops.logical_and(ops.greater_equal(x, 0), ops.less_equal(x, 1))
        chosen = ops.logical_or(inside, ops.logical_not(ops.greater(x, -1)))
        return ops.where(chosen, x * 2, x * 0.25).sum(axis=(2, 3))


@pytest.mark.usefixtures("both_paths")
def test_a_compiled_net_computes_its_masks(rng):
    x = (rng.integers(-8, 9, (5, 3, 4, 6)) / 4).astype(np.float32)
    wanted = [[sum(2 * v if 0 <= v <= 1 or not v > -1 else v / 4 for v in channel) for channel in image]
              for image in x.reshape(5, 3, -1).tolist()]  # fmt: skip
    np.testing.assert_allclose(compile(Bent(), (2, 3, 4, 6))(x), wanted, rtol=1e-6)
    np.testing.assert_allclose(Bent()(Tensor(x)).numpy(), wanted, rtol=1e-6)
