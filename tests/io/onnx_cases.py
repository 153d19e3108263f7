"""The ONNX project's own test cases (onnx.backend.test), run on nets that `io.onnx` reads.

A case is a model of one operator or a few, inputs, and the outputs that they must give. Inputs that are settings in a
net (the shape of a Reshape, the places of a Gather) are given while the file is read, the others when the net runs.
"""

import contextlib
import importlib
import io
import pkgutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import onnx.backend.test.case.node as node_package
from onnx import numpy_helper

from minicnn import Tensor, no_grad
from minicnn.io.onnx.read.build import NeedsValueError
from minicnn.io.onnx.read.load import read
from minicnn.io.onnx.read.proto import parse

OPERATORS = """
    Conv MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool BatchNormalization LRN Relu LeakyRelu PRelu Clip
    Sigmoid HardSigmoid HardSwish Tanh Elu Selu Gelu Softplus Mish Softmax LogSoftmax Gemm MatMul Add Sub Mul Div
    Pow Sqrt Exp Log Neg Abs Max Min Mean Sum Concat Split Slice Pad Reshape Flatten Squeeze Unsqueeze Transpose
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Dropout Identity Constant ConstantOfShape Shape Gather Cast Expand Resize Upsample
    InstanceNormalization LayerNormalization GroupNormalization DepthToSpace SpaceToDepth ConvTranspose Size Erf
    Reciprocal Celu Softsign Swish Greater GreaterOrEqual Less LessOrEqual Equal And Or Not Where Sign Einsum GatherND
    ScatterND
""".split()  # noqa: SIM905 - easier to read than a list of strings

MASKS = ("Equal", "And", "Or", "Not", "Where")
"""Operators most of whose cases are of booleans or small integers."""
FLOATS = (np.float32, np.float64)
DATA = Path(onnx.backend.test.__file__).parent / "data"


def node_cases(*operators):
    """The cases of these operators, by default all, in float32 or float64 or of shapes, by name."""
    wanted = {name.lower() for name in operators or OPERATORS}
    for _, name, _ in pkgutil.iter_modules(node_package.__path__):
        if name.rstrip("_").replace("_", "") in wanted and name not in _imported:
            _imported[name] = len(node_package._NodeTestCases)
            # their modules compute the outputs when they are imported, some with warnings, and some print
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                importlib.import_module(f"{node_package.__name__}.{name}")
            _found[name] = {case.name: case for case in node_package._NodeTestCases[_imported[name]:]}
    found = {name: case for module, cases in _found.items() if module.rstrip("_").replace("_", "") in wanted
             for name, case in cases.items()}  # fmt: skip
    return {name: case for name, case in sorted(found.items()) if _is_float(case)}


_imported: dict = {}
_found: dict = {}


def _is_float(case):
    """Whether the data of a case is float32 or float64, and what it computes can be asked of a net."""
    given, wanted = case.data_sets[0]
    if not all(isinstance(a, (np.ndarray, np.generic, onnx.TensorProto)) for a in (*given, *wanted)):
        return False                                       # sequences, optional values
    if any(isinstance(a, onnx.TensorProto) and a.data_type not in (1, 7, 11) for a in (*given, *wanted)):
        return False                                       # floats of 16 bits and less
    kinds = [array(a).dtype for a in (*given, *wanted)]
    if any(k.kind == "f" and k not in FLOATS for k in kinds) or any(k.kind not in "fiub" for k in kinds):
        return False
    data = array(given[0]).dtype if given else kinds[0]
    return data.kind == "f" or data == np.int64 or case.model.graph.node[0].op_type in MASKS


def array(value):
    """A value of a case as a NumPy array."""
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def run_node(case):
    """None if the case passes; AssertionError, or the ValueError that refuses it."""
    given, wanted = case.data_sets[0]
    names = [v.name for v in case.model.graph.input]
    feed = {name: array(a) for name, a in zip(names, given)}
    compare(case.model.SerializeToString(), feed, [array(a) for a in wanted], case.rtol, case.atol)


def stored_cases(folder):
    """{name: its folder} of the cases in "pytorch-converted" or "pytorch-operator"."""
    return {path.name: path for path in sorted((DATA / folder).iterdir()) if (path / "model.onnx").is_file()}


def run_stored(path):
    """The same for a case in a folder."""
    written = (path / "model.onnx").read_bytes()
    model = onnx.load_model_from_string(written)
    known = {tensor.name for tensor in model.graph.initializer}
    names = [v.name for v in model.graph.input if v.name not in known]
    for part in sorted(path.glob("test_data_set_*")):
        given, wanted = ([numpy_helper.to_array(onnx.load_tensor(str(file))) for file in
                          sorted(part.glob(f"{what}_*.pb"), key=lambda f: int(f.stem.split("_")[1]))]
                         for what in ("input", "output"))  # fmt: skip
        compare(written, dict(zip(names, given)), wanted, 1e-3, 1e-7)


def compare(written, feed, wanted, rtol, atol):
    """Read the net, run it on the inputs, compare its outputs."""
    content = parse(written, None)
    known = {name: a for name, a in feed.items() if a.dtype.kind != "f"}
    while True:
        left = {name: a for name, a in feed.items() if name not in known}
        dtype = next((a.dtype for a in left.values()), np.dtype(np.float32))
        try:
            net = read(content, shapes={name: a.shape for name, a in left.items()}, known=known, dtype=dtype)
            break
        except NeedsValueError as problem:
            if problem.name not in left:
                raise
            known[problem.name] = feed[problem.name]
    with no_grad(), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = net(*(Tensor(a) for a in left.values()))
    outputs = found if isinstance(found, tuple) else (found,)
    assert len(outputs) == len(wanted)
    for y, expected in zip(outputs, wanted):
        assert y.shape == expected.shape, f"shape {y.shape}, not {expected.shape}"
        values = y.numpy()
        assert (values.dtype.kind == "f") == (expected.dtype.kind == "f")
        np.testing.assert_allclose(values, expected, rtol=rtol, atol=atol)
