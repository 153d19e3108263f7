"""The conformance suite of the ONNX project: `pytest -m onnx-conformance` says how many cases pass, and of how many.

Every case of the operators in onnx_cases.OPERATORS with float32 or float64 data must give its stored outputs, or stand
in REFUSED, where the sentence that refuses it must have the words of the reason. (The cases are computed when onnx's
modules are imported, which is slow for pooling.)
"""

import fnmatch

import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")

from tests.io.onnx_cases import OPERATORS, node_cases, run_node, run_stored, stored_cases

pytestmark = getattr(pytest.mark, "onnx-conformance")

QUICK = ("BatchNormalization", "ConvTranspose", "Gemm", "LRN", "PRelu", "Reshape", "Softmax", "Split", "Upsample")
"""Operators whose cases belong to `make test`; the others to `make slow`."""

THREE_D = "is read for signals (N, C, L) and images (N, C, H, W)"
REFUSED = {
    "test_averagepool_3d_*": THREE_D, "test_maxpool_3d_*": THREE_D, "test_lppool_3d_*": THREE_D,
    "test_convtranspose_3d": THREE_D, "test_AvgPool3d*": THREE_D, "test_MaxPool3d*": THREE_D, "test_Conv3d*": THREE_D,
    "test_maxpool_with_argmax_2d_*": "output",                     # the places of the maxima
    "test_reduce_max_empty_set": "no values", "test_reduce_min_empty_set": "no values",
    "test_reduce_log_sum_exp_empty_set": "no values",
    "test_resize_*cubic*": "mode=cubic is not read", "test_resize_*linear_antialias": "antialias is not read",
    "test_resize_tf_crop_and_resize*": "tf_crop_and_resize is not read",
    # by the length 0.6 · 4 = 2.4 of the result; onnxruntime and PyTorch count its 2 pixels, as here
    "test_resize_downsample_scales_linear_align_corners": "4.0 (ACTUAL), 3.14285",
    "test_training_dropout*": "random numbers",
    "test_not_*": "it has opset 1",
    "test_scatternd*": "read of constants only",
}  # fmt: skip
"""{names of cases: words of the sentence that refuses them}"""
NOT_REFUSED = ("test_training_dropout_zero_ratio*",)


def reason(name):
    """The words with which this case is refused, or ""."""
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in NOT_REFUSED):
        return ""
    return next((words for pattern, words in REFUSED.items() if fnmatch.fnmatchcase(name, pattern)), "")


def run_all(cases, run, record_property):
    """Run each case; what fails, or is refused without a reason, or passes in spite of one, is listed."""
    wrong, passed = [], 0
    for name, case in cases.items():
        expected = reason(name)
        try:
            run(case)
        except (AssertionError, ValueError) as problem:
            if not expected or expected not in str(problem):
                wrong.append(f"{name}: {problem}")
        else:
            passed += 1
            if expected:
                wrong.append(f"{name} passes: take it out of REFUSED")
    record_property("passed", passed)
    record_property("refused", len(cases) - passed)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("operator", [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in OPERATORS])
def test_cases_of_an_operator(operator, record_property):
    cases = node_cases(operator)
    assert cases, "the operator has cases"
    run_all(cases, run_node, record_property)


@pytest.mark.parametrize("folder", ["pytorch-converted", "pytorch-operator"])
def test_cases_exported_by_pytorch(folder, record_property):
    cases = stored_cases(folder)
    assert len(cases) > 20
    run_all(cases, run_stored, record_property)


def test_every_reason_is_used():
    assert all(reason(pattern.replace("*", "x")) for pattern in REFUSED)
