"""Compiled activations: every formula of minicnn/formulas.py against itself in float64."""

import inspect

import numpy as np
import pytest

from minicnn import cpu, formulas
from minicnn.cpu import compiled
from minicnn.cpu.compiled import activations
from tests.cpu.compiled.layouts import channels_last

FORMULAS = [f for _, f in inspect.getmembers(formulas, inspect.isfunction) if f.__module__ == formulas.__name__]
LEFT_TO_NUMPY = {f for f in FORMULAS if f.__name__.removesuffix("_dx") in (
    "elu", "selu", "gelu", "gelu_tanh", "softplus", "mish")}  # fmt: skip
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 3.0, -3.0, 6.0, -6.0, -50.0, -90.0, -104.0, -1e30, 1e30]
NUMBERS = {formulas.clip: (-0.5, 6.0), formulas.clip_dx: (-0.5, 6.0), formulas.leaky_relu: (0.125,),
           formulas.elu: (0.3,), formulas.elu_dx: (0.3,), formulas.softplus: (1.5,), formulas.softplus_dx: (1.5,)}


def arrays_of(formula, x, dy):
    parameters = list(inspect.signature(formula).parameters)
    return (x, dy) if {"dy", "values"} & {*parameters} else (x,)


def test_each_formula_has_a_kernel_but_for_those_that_are_named():
    assert {*activations.KERNELS} | LEFT_TO_NUMPY == {*FORMULAS}
    assert not {*activations.KERNELS} & LEFT_TO_NUMPY


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__name__)
def test_the_formula(rng, on_threads, close, formula):
    x, dy = (channels_last(5 * rng.standard_normal((3, 7, 50, 41)).astype(np.float32)) for _ in range(2))
    arrays, numbers = arrays_of(formula, x, dy), NUMBERS.get(formula, ())
    found = on_threads(lambda: compiled.evaluate(formula, *arrays, *numbers))
    close(found, formula(np, *(a.astype(np.float64) for a in arrays), *numbers))
    assert found.strides == x.strides
    plain = compiled.evaluate(formula, *(a.astype(np.float64) for a in arrays), *numbers)
    assert plain.dtype == np.float64


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__name__)
def test_special_values_as_numpy(formula):
    x, dy = (v.ravel().astype(np.float32) for v in np.meshgrid(SPECIAL, SPECIAL))
    arrays, numbers = arrays_of(formula, x, dy), NUMBERS.get(formula, ())
    with np.errstate(all="ignore"):
        found, expected = (device.evaluate(formula, *arrays, *numbers) for device in (compiled, cpu))
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-44)
