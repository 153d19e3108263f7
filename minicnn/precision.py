"""float32 compared with float64: values and gradients of an op must agree as well as float32 allows.

A sum of T products has an error of about √T roundings, each 6e-8 of the largest term.
"""

from __future__ import annotations

import numpy as np

from minicnn.tensor import Tensor

ROUNDING = 2.0**-24


class PrecisionError(AssertionError):
    """A float32 value or gradient differs from float64's by more than rounding explains."""


def check_float32(op, *arrays, seed: int = 0, **hyper) -> float:
    """The largest difference of an op's results in float32 and float64, relative to the largest number of each array.

    A sum may be small because large terms cancel, so its error may also be relative to the largest argument.
    Raises PrecisionError if it is above 2⁻²⁴·(30 + 4·√T), T the number of elements of the largest argument.
    """
    single = [a.astype(np.float32) if a is not None and a.dtype.kind == "f" else a for a in arrays]
    double = [a.astype(np.float64) if a is not None and a.dtype.kind == "f" else a for a in single]
    floats = [a for a in double if a is not None and a.dtype.kind == "f"]
    terms = max(a.size for a in arrays if a is not None)
    allowed, worst = ROUNDING * (30 + 4 * terms**0.5), 0.0
    rough, exact = _run(op, single, hyper, seed), _run(op, double, hyper, seed)
    for what, expected in exact.items():
        got = rough[what]
        largest = max(abs(a).max(initial=0.0) for a in ([expected, *floats] if what == "the value" else [expected]))
        error = float(abs(got - expected).max(initial=0.0) / (largest or 1.0))
        if got.dtype != np.float32 or not error <= allowed:
            raise PrecisionError(
                f"{op.__name__}: {what} in float32 has dtype {got.dtype} and differs from float64 by {error:.1e} of "
                f"its largest number, allowed {allowed:.1e} ({terms} terms): compute in the dtype of the arguments")
        worst = max(worst, error)
    return worst


def _run(op, arrays, hyper, seed):
    """{"the value": y, "the gradient of x": dx, …} for one random dy, the same for both dtypes."""
    names = op.arguments
    tensors = [Tensor(a, a.dtype.kind == "f" and names[min(i, len(names) - 1)] not in op.constants)
               if a is not None else a for i, a in enumerate(arrays)]
    y = op(*tensors, **hyper)
    y.backward(np.random.default_rng([seed, 32]).standard_normal(y.shape).astype(np.float32))
    gradients = {f"the gradient of {names[min(i, len(names) - 1)]}[{i}]": t.grad
                 for i, t in enumerate(tensors) if t is not None and t.grad is not None}
    return {"the value": y.numpy(), **gradients}
