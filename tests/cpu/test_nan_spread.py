"""A NaN or an infinite pixel: which outputs it reaches by each convolution algorithm, and never another image."""

import importlib.util

import numpy as np
import pytest

from minicnn.cpu import conv, threads
from minicnn.cpu.conv import winograd
from minicnn.cpu.conv.dx import dx_as_conv2d
from minicnn.geometry import Conv2dGeometry

LAYERS = {  # x, w, stride, padding, dilation, groups
    "3×3": ((3, 16, 24, 26), (16, 16, 3, 3), 1, 1, 1, 1),
    "few channels": ((3, 2, 24, 26), (4, 2, 5, 5), 1, 2, 1, 1),
    "few channels, strided": ((3, 2, 24, 32), (4, 2, 3, 3), 2, 1, 1, 1),
    "dilated, in groups": ((3, 8, 24, 26), (6, 4, 3, 2), (2, 1), 1, 2, 2),
    "1×1": ((3, 16, 20, 20), (8, 16, 1, 1), 1, 0, 1, 1),
    "depthwise": ((3, 12, 24, 26), (12, 1, 3, 3), 1, 1, 1, 12),
    "depthwise, strided": ((3, 12, 24, 26), (24, 1, 3, 3), 2, 1, 1, 12),
    "few pixels": ((2, 8, 12, 13), (600, 8, 3, 3), 1, 1, 1, 1),
}
ALGORITHMS = dict(conv.ALGORITHMS)
if importlib.util.find_spec("numba"):
    from minicnn.cpu.compiled.conv import ALGORITHMS as KERNELS

    ALGORITHMS |= {f"compiled {name}": kernel for name, kernel in KERNELS.items()}
CASES = [pytest.param(name, LAYERS[layer], id=f"{name}: {layer}") for name in ALGORITHMS for layer in LAYERS
         if ALGORITHMS[name].supports(Conv2dGeometry.of(*LAYERS[layer]), np.dtype("float32"))]  # fmt: skip


def reach(name, g):
    """How many rows and columns beyond its own outputs a value may reach, for the convolution that is computed."""
    if name == "compiled winograd":
        return 3, 3                                                # tiles of 4×4 outputs
    if name == "winograd":
        return tuple(winograd.outputs_per_tile(out, r, False) - 1 for out, r in zip((g.OH, g.OW), (g.KH, g.KW)))
    return 0, 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "layer"), CASES)
def test_it_stays_in_its_image_and_near_its_windows(name, layer, dtype, value, rng):
    g, algorithm = Conv2dGeometry.of(*layer), ALGORITHMS[name]
    if not algorithm.supports(g, np.dtype(dtype)):
        pytest.skip("the compiled kernels are for float32")
    x, w, dy = (rng.standard_normal(s).astype(dtype) for s in (layer[0], layer[1], (g.N, g.O, g.OH, g.OW)))
    textbook, S = conv.ALGORITHMS["im2col"], g.horizontal.stride
    turned = dx_as_conv2d(dy, g)[1] if g.vertical.stride == S == 1 else g     # the convolution that computes dx
    for clean, compute, geometry in ((x, lambda a, w, by: by.conv2d(a, w, None, g), g),
                                     (dy, lambda a, w, by: by.conv2d_dx(a, w, g), turned)):  # fmt: skip
        place = (1, 1, (clean.shape[2] - 1) // 2, (clean.shape[3] - 1) // 2)
        spoilt, mark = clean.copy(), np.zeros_like(clean)
        spoilt[place], mark[place] = value, 1
        own = compute(mark, np.ones_like(w), textbook) > 0         # the outputs that are computed from that value
        before = threads.num_threads()
        for count in (1, 2):
            threads.set_num_threads(count)
            try:
                with np.errstate(all="ignore"):
                    found, expected = compute(spoilt, w, algorithm), compute(clean, w, algorithm)
            finally:
                threads.set_num_threads(before)
            bad = ~np.isfinite(found)
            assert bad[own].all()
            assert not bad[[n for n in range(g.N) if n != 1]].any()
            near = own.any((0, 1))                                        # (H, W)
            down, across = reach(name, geometry)
            rows, columns = np.nonzero(near)
            allowed = np.zeros_like(near)
            allowed[max(0, rows.min() - down) : rows.max() + down + 1,
                    max(0, columns.min() - across) : columns.max() + across + 1] = True  # fmt: skip
            if (down, across) == (0, 0):
                np.testing.assert_array_equal(bad, own)
            assert not bad[..., ~allowed].any()
            np.testing.assert_array_equal(found[~bad], expected[~bad])
