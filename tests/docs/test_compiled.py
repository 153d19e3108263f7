"""docs/compiled.md: every step of its code computes the definition; its loop is the machine code of today."""

import numpy as np
import pytest

pytest.importorskip("numba")

from benchmarks.cpu import kernel_steps, machine_code
from benchmarks.cpu.compiled import STEPS
from minicnn import reference
from minicnn.cpu.compiled import direct, winograd

SHAPES = {"3×3": ((2, 8, 7, 8), (16, 8, 3, 3), 1), "without padding": ((1, 3, 9, 10), (32, 3, 3, 3), 0),
          "5×3": ((2, 2, 8, 9), (16, 2, 5, 3), 1), "1×1": ((3, 5, 2, 6), (16, 5, 1, 1), 0)}  # fmt: skip


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("step", [step.name for step in STEPS])
def test_each_step_is_the_definition(rng, step, shapes):
    x_shape, w_shape, P = SHAPES[shapes]
    if step == "winograd" and not shapes == "3×3":
        pytest.skip("F(4×4, 3×3)")
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (x_shape, w_shape))
    exact = reference.conv2d(x.astype(float), w.astype(float), padding=P)
    y = kernel_steps.run(step, x, w, P, rows=3)()
    assert np.abs(y - exact).max() <= (2e-5 if step == "winograd" else 2e-6) * np.abs(exact).max()
