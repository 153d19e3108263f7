"""Nothing above the contract assumes NumPy: all ops, values and gradients, on a device that refuses NumPy arrays."""

import inspect

import numpy as np
import pytest

from minicnn import Tensor, cpu, devices, gradcheck
from minicnn.device import Device
from minicnn.ops.activation import relu
from minicnn.ops.conv import conv2d
from minicnn.ops_table import TABLE
from minicnn.tensor import op
from tests import strict_device
from tests.strict_device import PRIMITIVES, StrictArray, StrictDevice

CASES = [pytest.param(r, c, id=f"{r.name}-{i}") for r in TABLE for i, c in enumerate(r.cases)]


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    backend = StrictDevice()
    monkeypatch.setitem(devices._backends, "strict", backend)
    return backend


def run(row, case, device):
    """(y, gradients) as NumPy arrays, all arguments on `device`."""
    arguments = row.op.arguments
    tensors = []
    for i, a in enumerate(case.inputs(1)):
        constant = arguments[min(i, len(arguments) - 1)] in row.op.constants
        tensors.append(a if a is None else Tensor(a, a.dtype.kind == "f" and not constant, device=device))
    y = row.op(*tensors, **case.hyper)
    assert isinstance(y.data, devices.get(device).xp.ndarray)
    y.backward(np.random.default_rng(2).standard_normal(y.shape))
    grads = []
    for t in tensors:
        if t is not None and t.requires_grad:
            assert isinstance(t.grad, devices.get(device).xp.ndarray)
            grads.append(devices.get(device).to_numpy(t.grad))
    return y.numpy(), grads


@pytest.mark.parametrize(("row", "case"), CASES)
def test_every_op_runs_on_a_device_without_numpy(row, case):
    y, grads = run(row, case, "strict")
    expected_y, expected_grads = run(row, case, "cpu")
    scale = abs(expected_y).max() + 1
    np.testing.assert_allclose(y, np.asarray(expected_y), rtol=0, atol=1e-13 * scale)
    assert len(grads) == len(expected_grads) > 0
    for g, e in zip(grads, expected_grads):
        np.testing.assert_allclose(g, e, rtol=0, atol=1e-13 * (abs(e).max() + 1))


@pytest.mark.parametrize(("row", "case"), [p for p in CASES if p.id.endswith("-0")])
def test_gradcheck_works_on_it(row, case):
    report = gradcheck(row.op, *case.inputs(0), device="strict", **case.hyper)
    assert report.worst <= 1e-6
    assert report.coordinates > 0


@pytest.mark.parametrize(
    "touch",
    [
        np.asarray,
        np.exp,
        np.sum,
        np.concatenate,
        lambda x: x + np.ones(3),
        lambda x: np.ones(3) * x,
        lambda x: np.ones(3) @ x,
        lambda x: StrictDevice.xp.exp(np.ones(3)),
    ],
)
def test_the_device_does_refuse_numpy(touch):
    with pytest.raises(TypeError):
        touch(StrictArray(np.ones(3)))


def test_an_op_that_calls_numpy_is_caught():
    @op
    def careless(x):
        return np.exp(x), lambda dy: dy * np.exp(x)

    assert careless(Tensor([0.0])).item() == 1
    with pytest.raises(TypeError):
        careless(Tensor([0.0], device="strict"))


def test_tensors_move_there_and_back():
    here = Tensor(np.arange(3.0), requires_grad=True)
    t = here.to("strict")
    assert t.device == "strict"
    assert t.requires_grad
    assert "device='strict'" in repr(t)
    (t * t).sum().backward()
    np.testing.assert_array_equal(here.grad, [0, 2, 4])  # gradients flow back through the move
    there = Tensor(np.arange(3.0), requires_grad=True, device="strict")
    (there * there).sum().backward()
    assert isinstance(there.grad, StrictArray)
    np.testing.assert_array_equal(strict_device.bare(there.grad), [0, 2, 4])
    np.testing.assert_array_equal(t.to("cpu").numpy(), [0, 1, 2])


def test_a_keyword_bias_and_a_python_number_on_it(rng):
    x, w, b = rng.standard_normal((2, 3, 5, 4)), rng.standard_normal((2, 3, 3, 2)), rng.standard_normal(2)
    there = [Tensor(a, device="strict") for a in (x, w, b)]
    y = 2 * relu(conv2d(there[0], there[1], b=there[2])) - 1
    np.testing.assert_allclose(y.numpy(), 2 * np.maximum(conv2d(x, w, b).numpy(), 0) - 1, rtol=1e-13)


def test_mixed_devices_get_a_sentence():
    here, there = Tensor([1.0]), Tensor([1.0], device="strict")
    with pytest.raises(ValueError, match=r"add: a is on cpu but b is on strict: move one of them with \.to\('cpu'\)"):
        here + there
    with pytest.raises(
        ValueError, match=r"multiply: a is on strict but b is on cpu: move one of them with \.to\('strict'\)"
    ):
        there * here


@pytest.mark.parametrize("backend", [cpu, StrictDevice()], ids=["cpu", "strict"])
def test_a_backend_has_every_primitive(backend):
    assert len(PRIMITIVES) >= 20
    for name in PRIMITIVES:
        assert callable(getattr(backend, name, None)), name
    assert isinstance(backend.name, str)
    assert backend.xp.ndarray


@pytest.mark.parametrize("name", PRIMITIVES)
def test_cpu_keeps_the_contract_to_the_letter(name):
    promised = [p for p in inspect.signature(getattr(Device, name)).parameters.values() if p.name != "self"]
    kept = list(inspect.signature(getattr(cpu, name)).parameters.values())
    assert [p.kind for p in kept] == [p.kind for p in promised]
    assert [p.default for p in kept] == [p.default for p in promised]
    # names matter where the caller may use them; elsewhere `g` for `geometry` reads better in the formulas
    assert [p.name for p in kept if p.kind == p.KEYWORD_ONLY] == [p.name for p in promised if p.kind == p.KEYWORD_ONLY]
