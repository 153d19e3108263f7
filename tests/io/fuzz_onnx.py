"""Mutate small ONNX files: `python -m tests.io.fuzz_onnx [COUNT [SEED]]`.

Each mutant must give a net, or a ValueError of one sentence that begins with the file's name, within `SECONDS` of
processor time. Half are mutated as bytes, half as messages: numbers of shapes and attributes, names, operators.
"""

import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from minicnn import models, seed
from minicnn.io import onnx as onnx_io
from minicnn.io.model_file import Description
from minicnn.io.onnx.read import build
from minicnn.io.onnx.read.classifier import classifier
from tests.io.fuzz_weights import mutated

SECONDS = 2.0
NUMBERS = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 2**15, 2**31 - 1, 2**40, 2**63 - 1)


def seeds():
    """Valid files: nets of the zoo, one with the arithmetic of shapes, resizing and padding, one of places."""
    found = []
    for name, options in (("lenet5", {}), ("resnet20", {}), ("squeezenet1_1", {"width": 0.125})):
        seed(0)
        known = {**options, "num_classes": 4}
        net, shape = models.build(name, **known).eval(), (1, 28, 28) if name == "lenet5" else (3, 32, 32)
        about = Description(name, known, list("abcd"), list(shape), [0.5] * shape[0], [0.5] * shape[0])
        found.append(onnx_io.content(net, about)[0])
    return [*found, odds(), places()]


def odds():
    """A net of operators that compute shapes."""
    def ints(name, *values):
        return numpy_helper.from_array(np.array(values, np.int64), name)

    node = helper.make_node
    nodes = [
        node("Pad", ["x", "pads"], ["p"]), node("Shape", ["p"], ["s"]), node("Gather", ["s", "zero"], ["n"]),
        node("Resize", ["p", "", "scales"], ["r"], mode="linear"), node("Split", ["r", "parts"], ["a", "b"], axis=1),
        node("Slice", ["a", "one", "big", "axes"], ["c"]), node("ReduceMean", ["c"], ["m"], axes=[2, 3], keepdims=1),
        node("Mul", ["b", "m"], ["d"]), node("ConvTranspose", ["d", "w"], ["e"], strides=[2, 2]),
        node("LpPool", ["e"], ["f"], kernel_shape=[3, 3], p=2), node("Unsqueeze", ["n", "zero1"], ["n1"]),
        node("Concat", ["n1", "minus"], ["t"], axis=0), node("Reshape", ["f", "t"], ["g"]),
        node("ConstantOfShape", ["ws"], ["v"], value=helper.make_tensor("", 1, [1], [0.1])),
        node("MatMul", ["g", "v"], ["h"]), node("Clip", ["h", "low", "high"], ["y"]),
    ]  # fmt: skip
    floats = {"scales": [1, 1, 2, 2], "low": -1, "high": 1e3}
    arrays = [numpy_helper.from_array(np.array(v, np.float32), k) for k, v in floats.items()]
    arrays += [numpy_helper.from_array(np.ones((2, 2, 2, 2), np.float32), "w"), ints("pads", 0, 0, 1, 1, 0, 0, 1, 1),
               numpy_helper.from_array(np.array(0), "zero"), ints("zero1", 0), ints("one", 1), ints("big", 100),
               ints("axes", 2), ints("parts", 1, 2), ints("minus", -1), ints("ws", 1800, 4)]  # fmt: skip
    graph = helper.make_graph(nodes, "odds", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 6])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def places():
    """A net of sums over letters, and of values that are read and written at places."""
    node = helper.make_node
    nodes = [
        node("ScatterND", ["zeros", "cells", "ones"], ["mask"]), node("Add", ["x", "mask"], ["a"]),
        node("Einsum", ["a", "w"], ["b"], equation="nchw,cd->ndhw"), node("Einsum", ["b"], ["c"], equation="ncii->nci"),
        node("Einsum", ["c", "c", "v"], ["d"], equation="...ij,...kj,jo->...iko"),
        node("Transpose", ["d"], ["e"], perm=[1, 2, 3, 0]), node("GatherND", ["e", "pairs"], ["f"]),
        node("Transpose", ["f"], ["y"], perm=[2, 0, 1]),
    ]  # fmt: skip
    floats = {"zeros": np.zeros((6, 6)), "ones": np.ones(2), "w": np.ones((3, 2)), "v": np.ones((6, 4))}
    arrays = [numpy_helper.from_array(a.astype(np.float32), name) for name, a in floats.items()]
    arrays += [numpy_helper.from_array(np.array(v), k) for k, v in
               {"cells": [[0, 1], [5, -6]], "pairs": [[0, 1], [1, 1], [1, 0]]}.items()]  # fmt: skip
    graph = helper.make_graph(nodes, "places", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 6])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def mutant(rng, files):
    """A mutated file."""
    written = files[rng.integers(len(files))]
    if rng.random() < 0.5:
        return mutated(rng, written, files)
    model = onnx.load_model_from_string(written)
    for _ in range(rng.integers(1, 4)):
        change(rng, model.graph)
    return model.SerializeToString()


def change(rng, graph):
    """One change to a message."""
    def one(values):
        return values[rng.integers(len(values))] if len(values) else None

    number = int(rng.choice(NUMBERS))
    node, tensor = one(graph.node), one(graph.initializer)
    match rng.integers(9):
        case 0 if node is not None and node.attribute:
            attribute = one(node.attribute)
            if attribute.ints:
                attribute.ints[rng.integers(len(attribute.ints))] = number
            else:
                attribute.i = number
        case 1 if tensor is not None and tensor.dims:
            tensor.dims[rng.integers(len(tensor.dims))] = number
        case 2 if tensor is not None and tensor.data_type == TensorProto.INT64:
            if len(tensor.raw_data) == 8 * np.prod(tensor.dims) > 0:
                array = np.frombuffer(tensor.raw_data, np.int64).copy()
                array[rng.integers(array.size)] = number
                tensor.raw_data = array.tobytes()
        case 3 if node is not None and node.input:
            other = one(graph.node)
            node.input[rng.integers(len(node.input))] = rng.choice([*other.input, *other.output, "", "none"])
        case 4 if node is not None:
            node.op_type = str(rng.choice([*onnx_io.READERS, "LSTM"]))
        case 5 if node is not None:
            del node.input[rng.integers(len(node.input) + 1):]
        case 6:
            shape = graph.input[0].type.tensor_type.shape
            shape.dim[rng.integers(len(shape.dim))].dim_value = number
        case 7 if node is not None and node.attribute:
            del node.attribute[rng.integers(len(node.attribute))]
        case 8 if tensor is not None:
            tensor.data_location = TensorProto.EXTERNAL
            place = rng.choice(["../a", "/etc/passwd", "a", "", "a/../../b"])
            for key, value in (("location", place), ("offset", "-1")):
                entry = tensor.external_data.add()
                entry.key, entry.value = key, str(value)


def outcome(path):
    """"read", or the sentence without the file's name; AssertionError for anything else."""
    start = time.process_time()
    try:
        classifier(path, preprocess="none")
        said = "read"
    except ValueError as problem:
        said = str(problem)
        assert said.startswith(f"{path}: "), said
        said = said[len(str(path)) + 2 :]
        assert "\n" not in said, said
        assert 10 < len(said) < 700, said
    seconds = time.process_time() - start
    assert seconds < SECONDS, f"took {seconds:.1f} s"
    return said


def run(count, seed=0):
    """(how many were read, {kind of sentence: how many}, the slowest in seconds)."""
    rng, files = np.random.default_rng(seed), seeds()
    kinds, slowest, limit = {}, 0.0, build.LIMIT
    build.LIMIT = 2**26                                    # so that a thousand mutants do not fill the memory
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error")
            path = Path(folder) / "mutant.onnx"
            for i in range(count):
                path.write_bytes(mutant(rng, files))
                start = time.process_time()
                try:
                    said = outcome(path)
                except BaseException:
                    Path("mutant.onnx").write_bytes(path.read_bytes())
                    print(f"mutant {i} of seed {seed}, kept in mutant.onnx", file=sys.stderr)
                    raise
                slowest = max(slowest, time.process_time() - start)
                kinds[said[:60]] = kinds.get(said[:60], 0) + 1
    finally:
        build.LIMIT = limit
    return kinds.get("read", 0), kinds, slowest


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    read, kinds, slowest = run(count, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(f"{count:,} mutants: {read:,} read, {len(kinds) - 1} kinds of sentences, the slowest {slowest * 1000:.0f} ms")
