"""One number of any op: its value, what it reads and the factors, against the op's definition and its gradients."""

import math
import re

import numpy as np
import pytest

from minicnn import Tensor, ops
from minicnn.explain.cell import number, take
from minicnn.explain.cells import explain
from minicnn.ops_table import TABLE

CASES = [pytest.param(r, c, id=f"{r.name}-{i}") for r in TABLE for i, c in enumerate(r.cases)]


def whole_gradients(op, arrays, hyper, at):
    """∂y[at]/∂(each array), as large as the array, by the engine."""
    names = (*op.arguments, *op.arguments[-1:] * len(arrays))
    leaves = [Tensor(a, a.dtype.kind == "f" and name not in op.constants) if isinstance(a, np.ndarray) else a
              for a, name in zip(arrays, names)]  # fmt: skip
    y = op(*leaves, **hyper)
    dy = np.zeros(y.shape)
    dy[at] = 1
    y.backward(dy)
    return [t.grad if isinstance(t, Tensor) and t.requires_grad else None for t in leaves]


def spread(part, shape):
    """The factors of a part in an array of `shape`; padding has no place there."""
    full = np.zeros(shape)
    for place in np.ndindex(part.factors.shape):
        at = tuple(r[i] for r, i in zip(part.box, place))
        if all(0 <= i < n for i, n in zip(at, shape)):
            full[at] += part.factors[place]
    return full


@pytest.mark.parametrize(("row", "case"), CASES)
def test_a_cell_reads_what_the_definition_says_and_passes_back_what_the_engine_does(row, case):
    arrays = case.inputs(0)
    y = np.asarray(row.definition(*arrays, **case.hyper))
    rng = np.random.default_rng(1)
    for _ in range(4):
        at = tuple(int(rng.integers(n)) for n in y.shape)
        cell = explain(row.op, arrays, case.hyper, y, at)
        assert cell.value == pytest.approx(float(y[at]), abs=1e-12)
        if cell.kind == "products":
            assert cell.parts[0].products.sum() + cell.bias == pytest.approx(cell.value, abs=1e-9)
        elif cell.kind == "winner":
            assert cell.parts[0].values[cell.winner] == pytest.approx(cell.value, abs=1e-12)
        elif cell.kind == "copy" and cell.parts:
            assert cell.parts[0].values.item() == cell.value
        expected = whole_gradients(row.op, arrays, case.hyper, at)
        given = {part.argument: part for part in cell.parts}
        for k, (array, gradient) in enumerate(zip(arrays, expected)):
            if gradient is None:
                continue
            if k not in given:
                assert not gradient.any()
                continue
            part = given[k]
            assert np.allclose(spread(part, array.shape), gradient, atol=1e-9)
            assert np.array_equal(part.values, take(array, part.box, -np.inf if cell.op == "max_pool2d" else 0))


@pytest.mark.parametrize(("row", "case"), [p for p in CASES if p.values[0].name in {
    "relu", "relu6", "leaky_relu", "tanh", "sigmoid", "silu", "hardsigmoid", "hardswish", "negative", "power", "exp",
    "log", "sqrt", "abs", "clip", "add", "subtract", "multiply", "divide", "add_relu", "batch_norm_inference",
    "softmax", "log_softmax", "local_response_norm", "lp_pool2d", "elu", "selu", "gelu", "softplus", "mish", "prelu",
    "erf", "maximum", "minimum", "logsumexp", "layer_norm", "group_norm", "instance_norm", "where"}])  # fmt: skip
def test_the_formula_with_the_numbers_in_it_is_the_number(row, case):
    arrays = case.inputs(0)
    y = np.asarray(row.definition(*arrays, **case.hyper))
    at = tuple(n - 1 for n in y.shape)
    cell = explain(row.op, arrays, case.hyper, y, at)
    assert evaluated(cell.in_numbers(9)) == pytest.approx(float(y[at]), rel=1e-6)


def evaluated(said):
    """The value of a formula as Python computes it."""
    if " where " in said:
        said = re.sub(r"(.*) where (.*), else (.*)", r"(\1) if (\2) else (\3)", said)
    for text, code in (("−", "-"), ("·", "*"), ("^", "**"), ("∞", "inf"), ("ln", "log")):
        said = said.replace(text, code)
    said = re.sub(r"√([\d.]+(?:e-?\d+)?)", r"sqrt(\1)", said).replace("√", "sqrt")
    said = re.sub(r"\|(.*?)\|", r"abs(\1)", said)
    names = {"max": max, "min": min, "e": np.e, "inf": np.inf, "abs": abs, "erf": math.erf, "π": np.pi}
    return eval(said, {n: getattr(np, n) for n in ("sqrt", "tanh", "log")} | names)


def test_a_cell_that_is_not_there_is_refused():
    y = np.zeros((1, 2, 3, 3))
    for at in [(0, 2, 0, 0), (0, 0, 3, 0), (0, 0, 0), (0, -1, 0, 0)]:
        with pytest.raises(IndexError, match="there is no cell"):
            explain(ops.relu, (y,), {}, y, at)


def test_numbers_as_text():
    assert [number(v) for v in (0, 3, -2, 0.123456, 1e-7, float("inf"), 12345678.25)] == [
        "0", "3", "(−2)", "0.1235", "1.000e−07", "∞", "1.235e+07"]  # fmt: skip
