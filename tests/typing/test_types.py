"""The public types: user_program.py passes `mypy --strict`, its expressions have the types that a user expects."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import minicnn

PROGRAM = Path(__file__).with_name("user_program.py")
ROOT = Path(__file__).parents[2]
TENSOR = "minicnn.tensor.Tensor"
TYPES = {  # what is written in reveal_type(…), and the types that mypy finds, in order
    "ops.conv2d(x, w)": TENSOR, "x + 1": TENSOR, "2 / x": TENSOR, "nn.ReLU()(x)": TENSOR, "cube(x)": TENSOR,
    "logits": TENSOR, "x > 0": "Any",     # a plain array, of NumPy or of CuPy
    "again": "user_program.Net",
}  # fmt: skip


@pytest.fixture(scope="module")
def report():
    pytest.importorskip("mypy", reason="mypy is not installed")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(PROGRAM)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_users_program_passes_strict_mypy(report):
    assert report.returncode == 0, report.stdout + report.stderr


@pytest.mark.parametrize("expression", TYPES)
def test_an_expression_has_its_type(report, expression):
    lines = PROGRAM.read_text("utf-8").splitlines()
    revealed = {int(n): kind for n, kind in re.findall(r":(\d+): note: Revealed type is \"(.*)\"", report.stdout)}
    places = [n for n, line in enumerate(lines, 1) if line.strip() == f"reveal_type({expression})"]
    assert places
    for n in places:
        assert revealed[n].removeprefix("tests.typing.") == TYPES[expression]


def test_the_program_runs():
    done = subprocess.run([sys.executable, str(PROGRAM)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Conv2d(8, 8, kernel_size=3, padding=1, bias=False) ['conv1.weight', 'bn1.weight'] ()" in done.stdout


def test_the_package_says_that_it_has_types():
    assert (Path(minicnn.__file__).parent / "py.typed").is_file()
