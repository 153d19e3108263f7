"""What all tests share: reproducible draws."""

import collections
import zlib

import hypothesis
import numpy as np
import pytest

import minicnn
from tests.long_tests import EVERY

# Derandomised, so that a red build is red on every machine; more examples are a matter of --hypothesis-seed.
hypothesis.settings.register_profile("minicnn", deadline=None, derandomize=True, database=None, max_examples=100)
hypothesis.settings.load_profile("minicnn")


@pytest.hookimpl(tryfirst=True)                          # before -m chooses
def pytest_collection_modifyitems(items):
    """Mark cases of long tests as slow: of each test every n-th case stays."""
    seen = collections.Counter()
    for item in items:
        name = item.nodeid.partition("[")[0]
        if name in EVERY and item.get_closest_marker("slow") is None:
            if not EVERY[name] or seen[name] % EVERY[name]:
                item.add_marker("slow")
            seen[name] += 1


@pytest.fixture
def undrawn(monkeypatch):
    """No curves, matrices and filters are drawn, which takes longer than training on 120 images does."""
    monkeypatch.setattr("minicnn.cli.run_report._draw", lambda run, result: [])


@pytest.fixture(params=["numpy", "compiled"])
def both_paths(request):
    """The test runs on both implementations of the CPU backend."""
    if request.param == "compiled":
        pytest.importorskip("numba", reason="numba is not installed: pip install 'minicnn-numpy[fast]'")
    with minicnn.cpu_path(request.param):
        yield request.param


@pytest.fixture
def rng(request):
    """A generator seeded by the test's own id: the same draws alone, in any order, and in parallel."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))
