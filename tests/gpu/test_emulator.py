"""The emulator itself: the mistakes of CUDA's beginners are errors in it, and its counts are the textbook's."""

import numpy as np
import pytest

from minicnn.gpu.kernel_file import FOLDER, KernelFile

PREFIX = '#include "prelude.cuh"\nextern "C" __global__ void k(const float *x, float *y, int n) '


@pytest.fixture
def launch(tmp_path, emulated):
    """launch(body, block=…, grid=…, trace=…, order=…, n=…) → (y, the kernel), y of 64 and x = 0 … 63."""
    for name in ("prelude.cuh", "mma.cuh", "tile.cuh"):
        (tmp_path / name).write_text((FOLDER / name).read_text(encoding="utf-8"))

    def run(body, block=64, grid=1, trace=False, order="ascending", n=64, size=64, shared=0, prefix=PREFIX):
        (tmp_path / "k.cu").write_text(prefix + "{ " + body + " }\n")
        gpu = emulated(order=order, trace=trace)
        y = gpu.xp.empty(size, np.float32)
        kernel = KernelFile(gpu.xp, tmp_path / "k.cu").kernel("k")
        kernel((grid,), (block,), gpu.asarray(np.arange(size, dtype=np.float32)), y, n, shared=shared)
        return y.get(), kernel.function

    return run


REVERSED = "__shared__ float s[64]; s[threadIdx.x] = x[threadIdx.x]; {} y[threadIdx.x] = s[63 - threadIdx.x];"


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
@pytest.mark.parametrize("trace", [False, True])
def test_a_right_kernel_is_right(launch, order, trace):
    y, _ = launch(REVERSED.format("__syncthreads();"), order=order, trace=trace)
    np.testing.assert_array_equal(y, np.arange(64.0)[::-1])


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
def test_a_missing_barrier_gives_wrong_values_and_is_a_race(launch, order):
    assert not np.array_equal(launch(REVERSED.format(""), order=order)[0], np.arange(64.0)[::-1])
    with pytest.raises(RuntimeError, match=r"k: .* race in shared memory: block 0 thread \d+ and block 0 thread \d+"):
        launch(REVERSED.format(""), order=order, trace=True)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("y[threadIdx.x + 64] = 1;", r"illegal memory access .* in block \(0,0,0\) thread \(0,0,0\)"),
        ("y[0] = x[threadIdx.x + (threadIdx.x == 17) * 256];", r"illegal memory access .* thread \(17,0,0\)"),
        ("int big = n * 100000000; y[0] = big;", "undefined behaviour"),
        ("__shared__ float s[8]; s[threadIdx.x] = n; y[0] = s[0];", "undefined behaviour"),
        ("*(float4 *)(y + 1) = float4{1, 1, 1, 1};", "undefined behaviour"),
        ("if (threadIdx.x < 32) __syncthreads();\nelse {\n__syncthreads(); }",
         "barrier divergence .*: threads wait at lines"),
        ("if (threadIdx.x < 8) __shfl_down_sync(0xffffffffu, 1.0f, 1); else __syncthreads();",
         "not all lanes of its mask reach|divergence"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_named(launch, body, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        launch(body)


def test_after_an_error_all_goes_on(launch):
    with pytest.raises(RuntimeError):
        launch("y[threadIdx.x + 4096] = 1;")
    assert (launch("y[threadIdx.x] = 2;")[0] == 2).all()


def test_what_was_never_written_is_nan(launch):
    y, _ = launch("if (threadIdx.x % 2) y[threadIdx.x] = 1;")
    assert np.isnan(y[::2]).all()
    assert (y[1::2] == 1).all()
    assert np.isnan(launch("__shared__ float s[64]; y[threadIdx.x] = s[threadIdx.x];")[0]).all()
    y, _ = launch("DYN_SHARED(float, s); y[threadIdx.x] = s[threadIdx.x];", shared=256)
    assert np.isnan(y).all()


def test_lanes_that_have_left_give_nan(launch):
    y, _ = launch("if (threadIdx.x >= 8) return; y[threadIdx.x] = __shfl_sync(0xffffffffu, x[threadIdx.x], 20);")
    assert np.isnan(y[:8]).all()


def test_blocks_are_never_ordered(launch):
    with pytest.raises(RuntimeError, match="race in global memory"):
        launch("if (threadIdx.x == 0) y[0] = blockIdx.x;", grid=2, trace=True)
    y, _ = launch("if (threadIdx.x == 0 && blockIdx.x == 0) y[0] = 0; __syncthreads(); if (blockIdx.x == 0)"
                  " atomicAdd(y, 1.0f);", grid=2, trace=True)  # fmt: skip
    assert y[0] == 64


def test_warp_operations(launch):
    y, _ = launch("""
        float v = x[threadIdx.x];
        for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
        unsigned even = __ballot_sync(0xffffffffu, threadIdx.x % 2 == 0);
        float up = __shfl_up_sync(0xffffffffu, x[threadIdx.x], 1);
        y[threadIdx.x] = v + (even == 0x55555555u ? 0 : 1000);
        if (threadIdx.x % 32 && up != threadIdx.x - 1) y[threadIdx.x] = -1;""")
    np.testing.assert_array_equal(y, np.repeat([sum(range(32)), sum(range(32, 64))], 32))


@pytest.mark.parametrize(
    ("block", "grid", "shared", "sentence"),
    [(2048, 1, 0, "1 to 1024 threads"), (64, 1, 60000, "48 KiB"), (64, 2**31, 0, "2147483647")],
)
def test_launches_that_no_gpu_takes(launch, block, grid, shared, sentence):
    with pytest.raises((RuntimeError, OverflowError), match=sentence):
        launch("y[0] = 1;", block=block, grid=grid, shared=shared)


# ----------------------------------------------------------------------------------------- the textbook's transposition


TILE = "const int i = threadIdx.x % 32, j = threadIdx.x / 32; "
TRANSPOSED = {  # body, sectors a store, passes a shared load
    "naive": (TILE + "y[i * 32 + j] = x[j * 32 + i];", 32, None),
    "through shared memory": (TILE + "__shared__ float s[32][32]; s[j][i] = x[j * 32 + i]; __syncthreads();"
                              " y[j * 32 + i] = s[i][j];", 4, 32),
    "padded": (TILE + "__shared__ float s[32][33]; s[j][i] = x[j * 32 + i]; __syncthreads();"
               " y[j * 32 + i] = s[i][j];", 4, 1),
}  # fmt: skip


@pytest.mark.parametrize("how", TRANSPOSED)
def test_sectors_and_bank_conflicts_are_the_textbooks(launch, how):
    """Harris 2013, "An efficient matrix transpose in CUDA C/C++": 32 × 32 values, one warp a row."""
    body, sectors, passes = TRANSPOSED[how]
    y, kernel = launch(body, block=1024, size=1024, trace=True)
    np.testing.assert_array_equal(y.reshape(32, 32), np.arange(1024.0).reshape(32, 32).T)
    rows = kernel.accesses()
    (store,) = (a for a in rows if a.space == "global" and a.kind == "store")
    (load,) = (a for a in rows if a.space == "global" and a.kind == "load")
    assert (store.requests, store.cost, store.ideal) == (32, sectors, 4)
    assert load.cost == load.ideal == 4
    if passes:
        (shared,) = (a for a in rows if a.space == "shared" and a.kind == "load")
        assert (shared.cost, shared.ideal) == (passes, 1)
        assert shared.line == "k.cu:2"


# ------------------------------------------------------------------------------------------------- the tensor core


def test_one_tensor_core_instruction(launch):
    """D (16 × 8) = A (16 × 8) · B (8 × 8), the lanes' parts laid out as NVIDIA's PTX manual says."""
    rng = np.random.default_rng(0)
    A, B = (rng.integers(-8, 8, s).astype(float) for s in ((16, 8), (8, 8)))
    numbers = ", ".join(f"{v:g}" for v in (*A.ravel(), *B.ravel()))
    prefix = ('#include "mma.cuh"\nextern "C" __global__ void k(const float *x, float *y, int n) { const float m[] = {'
              + numbers + "}; const float *A = m, *B = m + 128;")  # fmt: skip
    body = """
        const int g = threadIdx.x / 4, t = threadIdx.x % 4;
        unsigned a[4] = {to_tf32(A[g * 8 + t]), to_tf32(A[(g + 8) * 8 + t]), to_tf32(A[g * 8 + t + 4]),
                         to_tf32(A[(g + 8) * 8 + t + 4])};
        unsigned b[2] = {to_tf32(B[t * 8 + g]), to_tf32(B[(t + 4) * 8 + g])};
        float d[4] = {0, 0, 0, 0};
        mma_tf32(d, a, b);
        y[g * 8 + 2 * t] = d[0], y[g * 8 + 2 * t + 1] = d[1];
        y[(g + 8) * 8 + 2 * t] = d[2], y[(g + 8) * 8 + 2 * t + 1] = d[3]; }"""
    y, _ = launch(body, block=32, size=128, prefix=prefix)
    np.testing.assert_array_equal(y.reshape(16, 8), A @ B)


def test_rounding_to_tf32(launch):
    prefix = PREFIX.replace("prelude.cuh", "mma.cuh")
    values = ("1.0f + 0x1p-11f", "1.0f + 0x1p-10f", "1.0f + 0x1.8p-11f", "-3.14159274f")
    body = "".join(f"y[{i}] = __int_as_float(to_tf32({v}));" for i, v in enumerate(values))
    y, _ = launch(body, block=1, prefix=prefix)
    # 10 bits of mantissa; halfway goes away from 0
    np.testing.assert_array_equal(y[:4], [1 + 2**-10, 1 + 2**-10, 1 + 2**-10, -3.140625])
