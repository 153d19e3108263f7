"""Compiled ReLU and addition against the formula, for special values too."""

import numpy as np
import pytest

from minicnn import cpu
from minicnn.cpu import compiled
from tests.cpu.compiled.layouts import LAYOUTS, channels_last, in_turns

SHAPES = [(4, 6, 50, 60), (3, 5, 7, 9), (1, 1, 1, 1), (2, 3, 1, 1), (2, 1, 3, 4), (7, 11), (5,), (3, 4, 5),
          (2, 2, 2, 2, 2)]  # fmt: skip
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0, 3e38, -3e38]


def stored(layout, a):
    """The array in this layout, if it has channels."""
    return layout(a) if a.ndim > 1 else a


@in_turns("shape", SHAPES)
def test_the_formulas(rng, on_threads, layout, shape):
    x, z = rng.standard_normal((2, *shape)).astype(np.float32)
    a, b = stored(layout, x), stored(layout, z)
    for other in (b, np.ascontiguousarray(z), stored(channels_last, z)):
        np.testing.assert_array_equal(on_threads(lambda: compiled.relu(a)), np.maximum(x, 0))
        np.testing.assert_array_equal(on_threads(lambda: compiled.relu_dx(other, a)), z * (x > 0))
        np.testing.assert_array_equal(on_threads(lambda: compiled.add(a, other)), x + z)
        np.testing.assert_array_equal(on_threads(lambda: compiled.add_relu(a, other)), np.maximum(x + z, 0))


def test_special_values():
    x, z = (v.ravel().astype(np.float32) for v in np.meshgrid(SPECIAL, SPECIAL))
    with np.errstate(invalid="ignore", over="ignore"):
        np.testing.assert_array_equal(compiled.relu(x), cpu.relu(x))
        np.testing.assert_array_equal(compiled.relu_dx(z, x), cpu.relu_dx(z, x))
        np.testing.assert_array_equal(compiled.add(x, z), cpu.add(x, z))
        np.testing.assert_array_equal(compiled.add_relu(x, z), cpu.add_relu(x, z))


@pytest.mark.parametrize("name", ["channels last", "channels first"])
def test_the_result_has_the_layout_of_the_first(rng, name):
    x = LAYOUTS[name](rng.standard_normal((2, 3, 4, 5)).astype(np.float32))
    for other in LAYOUTS.values():
        for y in (compiled.relu(x), compiled.add(x, other(x)), compiled.add_relu(x, other(x)),
                  compiled.relu_dx(other(x), x)):  # fmt: skip
            assert y.strides == x.strides


def test_float64_and_broadcast_gradients(rng):
    x = channels_last(rng.standard_normal((2, 3, 4, 5)))
    assert compiled.relu(x).dtype == compiled.add(x, x).dtype == np.float64
    x = x.astype(np.float32)
    one = np.broadcast_to(np.float32(2), x.shape)
    np.testing.assert_array_equal(compiled.relu_dx(one, x), 2 * (x > 0))
    np.testing.assert_array_equal(compiled.add(x, one), x + 2)
    np.testing.assert_array_equal(compiled.add(one, x), x + 2)
    assert compiled.relu(np.zeros((0, 3, 4, 5), np.float32)).shape == (0, 3, 4, 5)
