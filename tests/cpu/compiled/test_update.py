"""Compiled steps of the optimisers against NumPy's in float64."""

import numpy as np
import pytest

from minicnn import cpu
from minicnn.cpu import compiled
from tests.cpu.compiled.layouts import LAYOUTS

SGD = [{"momentum": momentum, "nesterov": nesterov, "weight_decay": decay} for momentum, nesterov, decay in
       ((0.0, False, 0.0), (0.9, False, 0.0), (0.9, True, 1e-2), (0.0, False, 1e-2))]  # fmt: skip
ADAM = [{"weight_decay": 0.0, "decoupled": False}, {"weight_decay": 1e-2, "decoupled": False},
        {"weight_decay": 1e-2, "decoupled": True}]  # fmt: skip


def steps(device, name, arrays, hyper, form=np.array):
    """param and the state after three steps, from copies"""
    param, grad, *state = (form(a) for a in arrays)
    for step in range(1, 4):
        extra = {"step": step} if name == "adam_update" else {}
        getattr(device, name)(param, grad, *(s if s.size else None for s in state), lr=0.1, **hyper, **extra)
    return param, *(s for s in state if s.size)


@pytest.mark.parametrize("layout", ["channels first", "channels last", "gaps"])
@pytest.mark.parametrize("hyper", SGD, ids=str)
def test_sgd(rng, on_threads, close, layout, hyper):
    arrays = list(rng.standard_normal((3, 6, 5, 50, 40)).astype(np.float32))
    if not hyper["momentum"]:
        arrays[2] = arrays[2][:0]
    found = on_threads(lambda: steps(compiled, "sgd_update", arrays, hyper, lambda a: LAYOUTS[layout](a.copy())))
    expected = steps(cpu, "sgd_update", [a.astype(np.float64) for a in arrays], hyper)
    for a, b in zip(found if isinstance(found, tuple) else (found,), expected):
        close(a, b)


@pytest.mark.parametrize("layout", ["channels first", "channels last", "gaps"])
@pytest.mark.parametrize("hyper", ADAM, ids=str)
def test_adam(rng, on_threads, close, layout, hyper):
    arrays = list(rng.standard_normal((4, 6, 5, 50, 40)).astype(np.float32))
    arrays[3] **= 2
    hyper = {**hyper, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
    found = on_threads(lambda: steps(compiled, "adam_update", arrays, hyper, lambda a: LAYOUTS[layout](a.copy())))
    for a, b in zip(found, steps(cpu, "adam_update", [a.astype(np.float64) for a in arrays], hyper)):
        close(a, b)


def test_a_gradient_of_another_layout_and_a_parameter_that_must_not_change(rng):
    param, grad = rng.standard_normal((2, 3, 4, 5, 6)).astype(np.float32)
    before, hyper = param.copy(), {"lr": 1.0, **SGD[0]}
    compiled.sgd_update(param, LAYOUTS["channels last"](grad), None, **hyper)
    np.testing.assert_array_equal(param, before - grad)
    param.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        compiled.sgd_update(param, grad, None, **hyper)
    whole = np.zeros((4, 6), np.float32)
    compiled.sgd_update(whole[:, ::2], np.ones((4, 3), np.float32), None, **hyper)
    np.testing.assert_array_equal(whole, np.tile(np.float32([-1, 0]), (4, 3)))


@pytest.mark.parametrize("name", ["sgd_update", "sgd_update with momentum", "adam_update"])
def test_an_infinite_parameter_stays_infinite_without_weight_decay(name):
    arrays = [np.full(3, np.inf, np.float32), *np.ones((3, 3), np.float32)]
    adam = name == "adam_update"
    hyper = {**ADAM[0], "beta1": 0.9, "beta2": 0.99, "eps": 1e-8} if adam else SGD["momentum" in name]
    arrays = arrays if adam else [*arrays[:2], arrays[2] if "momentum" in name else arrays[2][:0]]
    assert (steps(compiled, name.split()[0], arrays, hyper)[0] == np.inf).all()
