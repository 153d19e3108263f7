"""nvcc compiles every kernel for every target: no spills, at most 48 KB shared."""

import itertools
import shutil

import pytest

from benchmarks import markdown
from minicnn.gpu.kernel_file import FOLDER
from tests.gpu import compile_kernels as kernels
from tests.thinned import thinned

FILES = sorted(path.name for path in FOLDER.glob("*.cu"))
needs_a_compiler = pytest.mark.skipif(bool(kernels.missing()), reason=kernels.missing() or "there is one")


@needs_a_compiler
@pytest.mark.parametrize(("file", "target"), thinned(
    itertools.product(FILES, kernels.TARGETS),                     # each file once, and each target with several files
    lambda file, target: kernels.TARGETS.index(target) == FILES.index(file) % len(kernels.TARGETS)))
def test_every_kernel_compiles_and_spills_nothing(file, target):
    found = kernels.needs(FOLDER / file, target)
    assert found
    for n in found:
        assert n.spilled == 0, n
        assert n.stack == 0, n
        assert n.shared <= kernels.MOST_SHARED, n
        assert 0 < n.registers <= 255, n


@needs_a_compiler
def test_what_does_not_compile_is_refused(tmp_path):
    (tmp_path / "bad.cu").write_text("__global__ void k(float *x) { x[0] = y; }\n")
    with pytest.raises(RuntimeError, match=r"refused bad\.cu for sm_90(.|\n)*y"):
        kernels.needs(tmp_path / "bad.cu", "sm_90")


@needs_a_compiler
def test_spills_and_shared_memory_are_seen(tmp_path):
    """A kernel that must spill, and one that takes 8 KB."""
    (tmp_path / "greedy.cu").write_text("""
        __global__ void __launch_bounds__(1024) spills(const float *x, float *y, int n) {
            float v[200];
            for (int i = 0; i < 200; i++) v[i] = x[threadIdx.x + i * n];
            for (int k = 0; k < 50; k++)
                for (int i = 0; i < 200; i++) v[i] = v[i] * v[(i + k) % 200] + 1;
            for (int i = 0; i < 200; i++) y[threadIdx.x + i * n] = v[i];
        }
        __global__ void shares(float *y) {
            __shared__ float s[2048];
            s[threadIdx.x] = y[threadIdx.x];
            __syncthreads();
            y[threadIdx.x] = s[2047 - threadIdx.x];
        }\n""")
    spills, shares = sorted(kernels.needs(tmp_path / "greedy.cu", "sm_90"), key=lambda n: n.shared)
    assert spills.spilled + spills.stack > 0
    assert shares.shared == 8192


def test_the_readmes_table_names_every_kernel():
    text = kernels.README.read_text(encoding="utf-8")
    inside = text.partition(markdown.begin(kernels.BLOCK))[2].partition(markdown.END)[0]
    for path in FOLDER.glob("*.cu"):
        for name in kernels.instances(kernels.expand(path)):
            assert f"| {path.name} | `{name}` |" in inside, f"{name}: run python -m tests.gpu.compile_kernels --write"


@pytest.mark.slow                                                     # compiles every kernel for every target
@pytest.mark.skipif(not shutil.which("nvcc") or "release 13.0" not in kernels.nvcc_version(),
                    reason="the table in kernels/README.md is nvcc 13.0's, which is not here")
def test_the_readmes_table_is_what_the_command_writes():
    text = kernels.README.read_text(encoding="utf-8")
    assert text == markdown.fill(text, kernels.BLOCK, kernels.rows(kernels.everything()))
