"""What the layers' kernels do to memory: no races, whole sectors, no bank conflicts. On the emulated device, traced."""

import numpy as np
import pytest

from minicnn.geometry import Pool2dGeometry


@pytest.fixture
def accesses(traced, monkeypatch):
    """A function that runs a primitive on traced arrays and says which accesses each of its kernels made."""
    kernel_class = type(traced.kernel("update.cu", "sgd", np.float32).function)
    launch, seen = kernel_class.__call__, {}

    def call(kernel, *args, **kwargs):
        launch(kernel, *args, **kwargs)
        seen[kernel.name.split("<")[0]] = kernel.accesses()

    monkeypatch.setattr(kernel_class, "__call__", call)

    def run(name, *arguments, **settings):
        seen.clear()
        ready = [traced.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
        getattr(traced, name)(*ready, **settings)
        return dict(seen)

    return run


def image(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


X = image(3, 4, 16, 32)
PER_CHANNEL = image(4)
WINDOW = Pool2dGeometry.of(X.shape, 2)
Y = image(3, 4, 8, 16)
STREAMS = {  # what reads and writes whole arrays, a warp 128 bytes in a row
    "batch_norm_stats": (X,),
    "batch_norm_sums": (X, X, PER_CHANNEL, PER_CHANNEL),
    "batch_norm_apply": (X, PER_CHANNEL, PER_CHANNEL, PER_CHANNEL),
    "batch_norm_dx": (X, X, PER_CHANNEL, PER_CHANNEL, PER_CHANNEL, PER_CHANNEL, PER_CHANNEL),
    "channel_sums": (X,),
    "local_response_norm": (image(2, 20, 8, 8), 5, 1.0, 0.75, 1.0),
    "local_response_norm_dx": (*[image(2, 20, 8, 8) ** 2 + 1] * 4, 5, 1.0, 0.75),
    "cross_entropy": (image(8, 96), np.arange(8), 0.1),
    "cross_entropy_dx": (image(8), image(8, 96), np.arange(8), 0.1),
    "dropout_mask": ((4096,), 0.5, 1, 1),
}


@pytest.mark.parametrize("name", STREAMS)
def test_whole_sectors(accesses, name):
    for kernel, made in accesses(name, *STREAMS[name]).items():
        if kernel in ("merge_moments", "add_parts"):               # a warp a channel, of some parts: hardly any data
            continue
        assert any(a.kind == "store" and a.space == "global" for a in made), kernel
        for a in made:
            assert a.cost <= a.ideal + 1e-9, (kernel, a)           # sectors (global), passes (shared) a request
        moved = [a for a in made if a.space == "global" and a.ideal > 1]
        assert all(a.ideal == 4 for a in moved), kernel            # 32 lanes of 4 bytes
        assert moved, kernel


@pytest.mark.parametrize("name", ["sgd_update", "adam_update"])
def test_updates_touch_each_weight_once(accesses, name):
    w = image(4, 1024)
    settings = {"lr": 0.1, "weight_decay": 0.1}
    if name == "sgd_update":
        made = accesses(name, *w[:3], **settings, momentum=0.9, nesterov=False)["sgd"]
    else:
        made = accesses(name, *w, **settings, beta1=0.9, beta2=0.9, eps=1e-8, decoupled=False, step=1)["adam"]
    arrays = {"sgd_update": (3, 2), "adam_update": (4, 3)}[name]
    for kind, count in zip(("load", "store"), arrays):
        assert sum(a.requests for a in made if a.kind == kind) == count * 1024 / 32
    assert all(a.cost == a.ideal == 4 for a in made)


def test_pooling_reads_neighbouring_windows_side_by_side(accesses):
    (made,) = accesses("max_pool2d", X, WINDOW).values()
    loads = [a for a in made if a.kind == "load"]
    assert [a.cost for a in loads] == [8.0]                        # every second pixel of two rows of 32: 256 bytes
    assert sum(a.requests for a in loads) == 4 * Y.size / 32       # each pixel once
    assert all(a.cost == a.ideal for a in made if a.kind == "store")
    winner = np.zeros(Y.shape, np.uint8)
    (made,) = accesses("max_pool2d_dx", Y, winner, WINDOW).values()
    assert all(a.cost == a.ideal == 4 for a in made if a.kind == "store")
    assert all(a.cost <= 2 for a in made if a.kind == "load")
