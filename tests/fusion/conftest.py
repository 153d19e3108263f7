"""Fusion is tested on the NumPy path, where it changes no bit."""

import pytest

from minicnn import cpu_path


@pytest.fixture(autouse=True)
def numpy_path():
    with cpu_path("numpy"):
        yield
