"""Several ranks compute the gradients of one process: started by mpiexec, where mpi4py and an mpiexec are installed."""

import json

import pytest

from tests.ranks.launch import launch

SLOW = pytest.mark.slow


@pytest.mark.parametrize("size", [2, pytest.param(3, marks=SLOW), pytest.param(4, marks=SLOW)])
def test_gradients_are_those_of_one_process(size):
    """Float64: class weights, Mixup, dropout, augmentation, accumulation; also where k does not divide the batch."""
    ended = launch(size, "-m", "tests.ranks.equivalence")
    assert ended.returncode == 0, ended.stderr
    cases = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(cases) >= 14
    for case in cases:
        assert max(value for name, value in case.items() if name != "case") < 1e-12, case


@pytest.mark.slow
def test_losses_of_three_epochs_of_resnet20_in_float64():
    """Training magnifies rounding errors: in float32 up to the second digit, with ranks and without (magnified.py)."""
    ended = launch(2, "-m", "tests.ranks.magnified", "float64", "32", MINICNN_CPU="numpy")
    assert ended.returncode == 0, ended.stderr
    rows = [line.split("|")[1:-1] for line in ended.stdout.splitlines()[2:]]
    assert len(rows) == 2
    for dtype, batch, how, ours, _ in rows:
        assert float(ours) < 1e-8, (dtype, batch, how)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["numpy", "compiled"])
def test_in_float32_too(path):
    """The compiled kernels compute float32 alone."""
    if path == "compiled":
        pytest.importorskip("numba", reason="numba is not installed: pip install 'minicnn-numpy[fast]'")
    ended = launch(2, "-m", "tests.ranks.equivalence", "float32", MINICNN_CPU=path)
    assert ended.returncode == 0, ended.stderr
    for case in map(json.loads, ended.stdout.splitlines()):
        assert max(value for name, value in case.items() if name != "case") < 2e-5, case
