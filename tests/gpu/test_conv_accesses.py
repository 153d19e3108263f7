"""What the convolution kernels do to memory: no races, coalesced accesses, no bank conflicts. Emulated, traced.

Cost is sectors of 32 bytes a warp's request (global memory) or passes (shared memory); `ideal` is the fewest possible.
"""

import sys

import numpy as np
import pytest

from minicnn.geometry import Conv2dGeometry
from minicnn.gpu import conv
from minicnn.gpu.conv import implicit_gemm, tensor_core

LAYERS = {  # rows of 32 and 16 pixels: a request can be whole sectors
    "depthwise": Conv2dGeometry.of((2, 3, 9, 32), (3, 1, 3, 3), padding=1, groups=3),
    "winograd": Conv2dGeometry.of((2, 8, 8, 64), (16, 8, 3, 3), padding=1),
    "im2col": Conv2dGeometry.of((1, 2, 6, 32), (3, 2, 3, 3), padding=1),
    "implicit_gemm": Conv2dGeometry.of((1, 4, 8, 32), (64, 4, 3, 3), padding=1),
    "tensor_core": Conv2dGeometry.of((1, 4, 8, 32), (64, 4, 3, 3), padding=1),
}


@pytest.fixture
def accesses(traced, monkeypatch):
    """accesses(algorithm): {kernel: what its last launch did}; traced, so that a race is an error."""
    kernel_class, seen = sys.modules["minicnn_emulator"].kernels.RawKernel, {}
    launch = kernel_class.__call__

    def call(kernel, *args, **kwargs):
        launch(kernel, *args, **kwargs)
        seen[kernel.name.split("<")[0]] = kernel.accesses()

    monkeypatch.setattr(kernel_class, "__call__", call)

    def run(name, part):
        seen.clear()
        g, rng = LAYERS[name], np.random.default_rng(0)
        shapes = (g.N, g.C, g.H, g.W), (g.O, g.C // g.G, g.KH, g.KW), (g.O,), (g.N, g.O, g.OH, g.OW)
        x, w, b, dy = (traced.asarray(rng.standard_normal(s).astype(np.float32)) for s in shapes)
        arguments = {"conv2d": (x, w, b), "conv2d_dx": (dy, w), "conv2d_dw": (dy, x)}[part]
        getattr(conv.ALGORITHMS[name], part)(traced, *arguments, g)
        return dict(seen)

    return run


PARTS = ("conv2d", "conv2d_dx", "conv2d_dw")
TILED = [(name, part) for name in ("implicit_gemm", "tensor_core") for part in PARTS]


@pytest.mark.parametrize(("name", "part"), [(name, part) for name in LAYERS for part in PARTS])
def test_no_kernel_races_and_all_stores_are_coalesced(accesses, name, part):
    made = accesses(name, part)
    assert made, "no kernel ran"
    for kernel, rows in made.items():
        stores = [a for a in rows if a.space == "global" and a.kind == "store"]
        assert stores, f"{kernel} stores nothing"
        for a in stores:                                           # conv_dw's rows are 36 long here, 4½ sectors
            assert a.cost <= a.ideal + (0.5 if kernel == "conv_dw" else 1e-9), (kernel, a)
        if kernel != "conv_dw":
            assert max(a.ideal for a in stores) >= (1 if kernel == "depthwise_dw" else 4)


@pytest.mark.parametrize(("name", "part"), TILED)
def test_the_tiles_meet_no_bank_conflict(accesses, name, part):
    kernel = "conv_dw" if part == "conv2d_dw" else "conv_gather"
    shared = [a for a in accesses(name, part)[kernel] if a.space == "shared"]
    loads = [a for a in shared if a.kind == "load"]
    assert len(loads) >= 3, "A, B and the finished slices"
    for a in loads:
        assert a.cost == a.ideal, a                                # the innermost loop
    for a in (a for a in shared if a.kind == "store"):
        # TensorTile's rows are 8 banks apart for its loads' sake: what comes along k, and leaves by twos, meets by twos
        assert a.cost <= a.ideal * (2 if name == "tensor_core" else 1), a


@pytest.mark.parametrize(("name", "part"), TILED[:2] + TILED[3:5])
def test_pixels_are_read_side_by_side(accesses, name, part):
    """At stride 1: a row of 32 pixels, 1 sector more where the tap moves it off the sectors' grid."""
    loads = [a for a in accesses(name, part)["conv_gather"] if a.space == "global" and a.kind == "load"]
    assert len(loads) >= 3, "filters, the table of taps, pixels"
    assert max(a.cost for a in loads) <= 5
    assert all(a.cost <= a.ideal + 1 for a in loads)


def test_what_winograd_pays_for_reading_tiles(accesses):
    """The one place where whole sectors are not to be had: neighbouring tiles are 4 pixels apart."""
    reads = [a for a in accesses("winograd", "conv2d")["winograd_images"] if a.kind == "load"]
    assert len(reads) == 1
    assert 3 * reads[0].ideal < reads[0].cost <= 17


def test_every_tile_is_free_of_conflicts(traced, monkeypatch):
    """All sizes, also those that the small layers above do not choose."""
    g = Conv2dGeometry.of((1, 2, 4, 32), (128, 2, 1, 3), padding=(0, 1))
    x, w = (traced.asarray(np.ones(s, np.float32)) for s in ((1, 2, 4, 32), (128, 2, 1, 3)))
    of_float32 = implicit_gemm.TILES[np.dtype("float32")]
    for algorithm, tiles in ((implicit_gemm, of_float32), (tensor_core, tensor_core.TILES[3])):
        for tile in tiles:
            monkeypatch.setattr(implicit_gemm, "choose_tile", lambda *args, tile=tile, **more: tile)
            algorithm.conv2d(traced, x, w, None, g)
            last = traced.xp.emulator.last
            assert tiles[tile] in last.name
            rows = [a for a in last.accesses() if a.space == "shared"]
            assert all(a.cost == a.ideal for a in rows if a.kind == "load"), rows
            assert all(a.cost <= 2 * a.ideal for a in rows), rows
