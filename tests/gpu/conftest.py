"""The GPU's backend, for tests: on the emulated device, in three thread orders, and on a real GPU (`pytest -m gpu`)."""

import os
import sys
from collections import Counter

import pytest

from minicnn import devices
from minicnn.gpu import Gpu
from minicnn.gpu.kernel_file import FOLDER

ORDERS = ("ascending", "descending", "shuffled")


def emulate(order="ascending", trace=False, folder=FOLDER):
    """A backend whose kernels, those of `folder`, run on the CPU."""
    try:
        devices.get("emulated")                                    # loads the emulator
    except ValueError as problem:
        pytest.skip(str(problem))
    return Gpu(sys.modules["minicnn_emulator"].make(order=order, trace=trace), "emulated", folder)


@pytest.hookimpl(tryfirst=True)                                   # before -m "not slow" chooses
def pytest_collection_modifyitems(config, items):
    """The thread orders take turns from case to case, the other two being slow; a real GPU takes every case.

    A wrong index shows in any order. What depends on the order (a missing barrier, an unguarded sum) is wrong in many
    cases of its kernel, and is seen by the traced runs, too. So each kernel meets each order, but not in each case.

    Where there is no GPU its tests are left out, unless `-m gpu` asks for them; one stays and, skipped, says why."""
    turn = Counter()
    for item in items:
        order = getattr(item, "callspec", None) and item.callspec.params.get("gpu")
        if order not in ORDERS or item.get_closest_marker("slow"):
            continue
        case = item.nodeid.replace(order, "")
        if case not in turn:
            turn[case] = turn[item.originalname, item.path]
            turn[item.originalname, item.path] += 1
        if ORDERS.index(order) != turn[case] % len(ORDERS) and len(item.callspec.params) > 1:
            item.add_marker(pytest.mark.slow)
    if "gpu" not in config.option.markexpr and devices.why_no_gpu():
        absent = [i for i in items if i.get_closest_marker("gpu") and i.originalname != "test_a_real_gpu_computes"]
        config.hook.pytest_deselected(items=absent)
        gone = set(map(id, absent))
        items[:] = [item for item in items if id(item) not in gone]


@pytest.fixture(params=[*ORDERS, pytest.param("cuda:0", marks=pytest.mark.gpu)])
def gpu(request):
    """Each backend in turn."""
    if request.param in ORDERS:
        return emulate(request.param)
    if reason := devices.why_no_gpu():
        (pytest.fail if os.environ.get("MINICNN_GPU_TESTS") == "required" else pytest.skip)(reason)
    backend = devices.get(request.param)
    if os.environ.get("MINICNN_GPU_POOL") == "0":                  # or compute-sanitizer would see one large array
        backend.xp.cuda.set_allocator(None)
    return backend


@pytest.fixture
def device(gpu, monkeypatch):
    """The name of each backend in turn, under which it can be asked for."""
    monkeypatch.setitem(devices._backends, gpu.name, gpu)
    return gpu.name


@pytest.fixture
def traced():
    """The emulated device with every access watched: a race is an error."""
    return emulate(trace=True)


@pytest.fixture
def emulated():
    """`emulated(order=…, trace=…, folder=…)`: a backend of one's own."""
    return emulate
