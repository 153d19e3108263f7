"""Kernel files: what is read from their text, how launches are checked, how matrices reach cuBLAS."""

import numpy as np
import pytest

import minicnn
from minicnn.gpu import kernel_file
from minicnn.gpu.gemm import gemm
from minicnn.gpu.kernel_file import FOLDER, KernelFile, expand, instances, signatures

SOURCE = """
// __global__ void commented_out(int n)
#include "prelude.cuh"
/* __global__ void this_too(int n) {} */
extern "C" __global__ void plain(const float *x, double *y, int n) { GRID_STRIDE(i, n) y[i] = x[i]; }
// instances: scale<float> scale<double>
template <typename T>
__global__ void __launch_bounds__(256, sizeof(T) > 4 ? 1 : 2)
scale(const T *__restrict__ x,
      T *y, T factor, int n, bool twice) {
    GRID_STRIDE(i, n) y[i] = x[i] * factor * (twice ? 2 : 1);
}
"""


@pytest.fixture
def file(tmp_path, gpu):
    """SOURCE, on each backend."""
    (tmp_path / "prelude.cuh").write_text((FOLDER / "prelude.cuh").read_text())
    (tmp_path / "some.cu").write_text(SOURCE)
    return KernelFile(gpu.xp, tmp_path / "some.cu")


def test_signatures_and_instances_are_read():
    assert signatures(SOURCE) == {
        "plain": ([], [("const float *", "x"), ("double *", "y"), ("int", "n")]),
        "scale": (["T"], [("const T *", "x"), ("T *", "y"), ("T", "factor"), ("int", "n"), ("bool", "twice")]),
    }
    assert instances(SOURCE) == ["scale<float>", "scale<double>", "plain"]


def test_every_kernel_of_every_file_has_a_signature_and_an_instance():
    files = sorted(FOLDER.glob("*.cu"))
    assert len(files) >= 10
    for path in files:
        source = expand(path)
        found = signatures(source)
        assert found
        assert {name.split("<")[0] for name in instances(source)} == set(found), path.name
        assert len(set(instances(source))) == len(instances(source))


def test_includes_are_pasted_once_with_marks_for_the_compilers_messages(tmp_path):
    (tmp_path / "a.cuh").write_text("#pragma once\nint a;\n")
    (tmp_path / "b.cuh").write_text('#pragma once\n#include "a.cuh"\nint b;\n')
    (tmp_path / "k.cu").write_text('#include "b.cuh"\n#include "a.cuh"\nint k;\n#include "cuda_host.h"\n')
    text = expand(tmp_path / "k.cu")
    assert text.count("int a;") == text.count("int b;") == text.count("int k;") == 1
    assert text.index("int a;") < text.index("int b;") < text.index("int k;")
    assert '#include "cuda_host.h"' in text
    assert "pragma once" not in text
    assert '#line 2 "k.cu"' in text


def test_an_edited_header_is_another_source(tmp_path):
    """What CuPy's cache of compiled kernels depends on."""
    (tmp_path / "a.cuh").write_text("int a;\n")
    (tmp_path / "k.cu").write_text('#include "a.cuh"\n')
    before = expand(tmp_path / "k.cu")
    (tmp_path / "a.cuh").write_text("int b;\n")
    assert expand(tmp_path / "k.cu") != before


def test_a_launch(file, gpu):
    x, y = gpu.asarray(np.arange(700, dtype=np.float32)), gpu.xp.empty(700, np.float32)
    file.kernel("scale", np.float32).over(700, x, y, 1.5, 700, True)
    np.testing.assert_array_equal(gpu.to_numpy(y), np.arange(700) * 3.0)
    wide = gpu.xp.empty(700, np.float64)
    file.kernel("plain")((3,), (64,), x, wide, 700)
    np.testing.assert_array_equal(gpu.to_numpy(wide), np.arange(700.0))
    file.kernel("plain").over(0, x, wide, 0)                       # nothing to do is no launch
    assert file.kernel("plain") is file.kernel("plain")


def test_a_launch_with_arguments_by_name(file, gpu):
    x, y = gpu.asarray(np.arange(8, dtype=np.float32)), gpu.xp.empty(8, np.float32)
    kernel = file.kernel("scale", np.float32)
    kernel((1,), (8,), x, y, twice=False, n=8, factor=3)
    np.testing.assert_array_equal(gpu.to_numpy(y), np.arange(8) * 3.0)
    wrong = "scale<float> takes the arguments factor, n, twice by name: count, n missing or unknown"
    with pytest.raises(TypeError, match=wrong):
        kernel((1,), (8,), x, y, twice=False, count=8, factor=3)
    with pytest.raises(TypeError, match="scale<float> takes 5 arguments, not 4"):
        kernel((1,), (8,), x, y, 3, 8)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"x": "float64"}, TypeError, r"some\.cu: scale<float>: x must be float32, not float64"),
        ({"x": "numpy"}, TypeError, r"x must be an array of the device, not a ndarray"),
        ({"x": "gaps"}, ValueError, r"x must be C-contiguous: use ascontiguousarray"),
        ({"n": 2**31}, ValueError, r"n \(=2147483648\) does not fit into int32: use a smaller batch"),
        ({"count": 4}, TypeError, r"takes 5 arguments, not 4"),
        ({"items": 2**31}, ValueError, r"2,147,483,648 items are too many for one launch"),
    ],
)
def test_a_wrong_launch_is_refused(file, gpu, change, error, sentence):
    x, y = gpu.asarray(np.ones(8, np.float32)), gpu.xp.empty(8, np.float32)
    kind = change.get("x")
    x = {"float64": gpu.asarray(np.ones(8)), "numpy": np.ones(8, np.float32), None: x,
         "gaps": gpu.asarray(np.ones(16, np.float32))[::2]}[kind]  # fmt: skip
    arguments = (x, y, 1.0, change.get("n", 8), False)[: change.get("count", 5)]
    with pytest.raises(error, match=sentence):
        file.kernel("scale", np.float32).over(change.get("items", 8), *arguments)


def test_too_many_elements(file, gpu, monkeypatch):
    monkeypatch.setattr(kernel_file, "LARGEST", 7)
    x, y = gpu.asarray(np.ones(8, np.float32)), gpu.xp.empty(8, np.float32)
    with pytest.raises(ValueError, match=r"x has 8 elements, and a kernel can count 7: use a smaller batch"):
        file.kernel("scale", np.float32)((1,), (8,), x, y, 1.0, 8, False)


def test_an_instance_that_is_not_there(file):
    with pytest.raises(ValueError, match=r"some\.cu has no scale<int>: its instances are scale<float>, scale<double>"):
        file.kernel("scale", np.int32)


def test_a_file_that_is_not_there(gpu, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no kernel file .*none\.cu: the installation of minicnn"):
        KernelFile(gpu.xp, tmp_path / "none.cu")


# ------------------------------------------------------------------------------------------------------------- products


def laid_out(gpu, a, how):
    """The same matrices in memory: row by row, column by column, with gaps, in every second place."""
    there = gpu.asarray(a)
    if how == "columns":
        axes = (*range(a.ndim - 2), a.ndim - 1, a.ndim - 2)
        return gpu.xp.ascontiguousarray(there.transpose(axes)).transpose(axes)
    if how == "gaps between rows":
        wide = gpu.xp.zeros((*a.shape[:-1], a.shape[-1] + 3), a.dtype)
        wide[..., : a.shape[-1]] = there
        return wide[..., : a.shape[-1]]
    if how == "backwards":
        return gpu.xp.ascontiguousarray(there[..., ::-1])[..., ::-1]
    return there


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("b_lies", ["rows", "columns", "gaps between rows", "backwards"])
@pytest.mark.parametrize("a_lies", ["rows", "columns", "gaps between rows", "backwards"])
def test_products_of_matrices_however_they_lie(gpu, a_lies, b_lies, dtype):
    rng = np.random.default_rng(0)
    for batch_a, batch_b, (M, K, L) in ((3, 3, (4, 5, 2)), (0, 3, (4, 5, 2)), (3, 0, (1, 5, 7)), (0, 0, (4, 1, 3)),
                                        (2, 2, (1, 1, 1)), (0, 0, (5, 3, 1))):  # fmt: skip
        a = rng.standard_normal((batch_a, M, K) if batch_a else (M, K)).astype(dtype)
        b = rng.standard_normal((batch_b, K, L) if batch_b else (K, L)).astype(dtype)
        exact = a.astype(float) @ b.astype(float)
        out = gpu.xp.empty(exact.shape, dtype)
        gemm(gpu, laid_out(gpu, a, a_lies), laid_out(gpu, b, b_lies), out)
        tolerance = 1e-5 if dtype == np.float32 else 1e-13
        np.testing.assert_allclose(gpu.to_numpy(out), exact, atol=tolerance)
        gemm(gpu, laid_out(gpu, a, a_lies), laid_out(gpu, b, b_lies), out, accumulate=True)
        np.testing.assert_allclose(gpu.to_numpy(out), 2 * exact, atol=2 * tolerance)


def test_empty_products(gpu):
    out = gpu.xp.empty((2, 3), "float32")
    gemm(gpu, gpu.xp.empty((2, 0), "float32"), gpu.xp.empty((0, 3), "float32"), out)
    np.testing.assert_array_equal(gpu.to_numpy(out), np.zeros((2, 3)))
    gemm(gpu, gpu.xp.empty((2, 0), "float32"), gpu.xp.empty((0, 0), "float32"), gpu.xp.empty((2, 0), "float32"))


def test_a_product_into_a_transposed_array_is_refused(gpu):
    square = gpu.xp.zeros((3, 2), "float32")
    with pytest.raises(ValueError, match="out must be stored row by row"):
        gemm(gpu, gpu.xp.zeros((2, 2), "float32"), gpu.xp.zeros((2, 3), "float32"), square.T)


def test_a_linear_layers_products(gpu):
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s) for s in ((3, 4), (5, 4), (5,)))
    y = gpu.matmul(gpu.asarray(x), gpu.asarray(w).T, gpu.asarray(b))
    np.testing.assert_allclose(gpu.to_numpy(y), x @ w.T + b, atol=1e-13)
    with minicnn.allow_tf32():                                     # float64 is never rounded
        y = gpu.matmul(gpu.asarray(x), gpu.asarray(w).T)
    np.testing.assert_allclose(gpu.to_numpy(y), x @ w.T, atol=1e-13)


@pytest.mark.parametrize("index", [np.array([0, 2, 0, 3, 0]), (slice(None), np.array([1, 1])), [1, 1, 2],
                                   (np.array([1, 1]), np.array([2, 2])), np.array([True, False, True, True])])
def test_add_at_adds_as_often_as_a_place_is_named(gpu, index):
    rng = np.random.default_rng(0)
    target = rng.standard_normal((4, 5))
    values = rng.standard_normal(target[index].shape)
    there = gpu.asarray(target)
    gpu.add_at(there, index, gpu.asarray(values))
    np.add.at(target, index, values)
    np.testing.assert_allclose(gpu.to_numpy(there), target, atol=1e-14)
    turned, expected = gpu.asarray(np.ones((5, 4))).T, np.ones((4, 5))
    gpu.add_at(turned, index, gpu.asarray(values))
    np.add.at(expected, index, values)
    np.testing.assert_allclose(gpu.to_numpy(turned), expected, atol=1e-14)
