"""Which function reads which ONNX operator: the table that minicnn.io.onnx.HANDLERS is the other way round.

A reader gets the builder, the node and a `Value` for each input (None where an optional one is left out), calls ops and
returns the `Value` of the output, or a tuple of several:

    def leaky_relu(g, node, x):
        return g.call("leaky_relu", x, negative_slope=node.number("alpha", 0.01))
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from minicnn.io.onnx.read import elementwise, layers, shapes, windows
from minicnn.io.onnx.read.einsum import einsum
from minicnn.io.onnx.read.folded import FOLDED

UNARY = {"Neg": "negative", "Abs": "abs", "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Erf": "erf", "Relu": "relu",
         "Tanh": "tanh", "Sigmoid": "sigmoid", "HardSwish": "hardswish", "Mish": "mish"}  # fmt: skip
BINARY = {"Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide"}
COMPARED = {"Greater": "greater", "GreaterOrEqual": "greater_equal", "Less": "less", "LessOrEqual": "less_equal",
            "Equal": "equal"}  # fmt: skip
SEVERAL = {"Sum": "add", "Max": "maximum", "Min": "minimum"}
REDUCED = {"ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "prod",
           "ReduceLogSumExp": "logsumexp"}  # fmt: skip
REDUCED_OF = {"ReduceL1": ("abs", ""), "ReduceL2": ("square", "sqrt"), "ReduceSumSquare": ("square", ""),
              "ReduceLogSum": ("", "log")}  # fmt: skip

READERS: dict[str, Callable[..., Any]] = {
    **{name: partial(elementwise.unary, op) for name, op in UNARY.items()},
    **{name: partial(elementwise.binary, op) for name, op in BINARY.items()},
    **{name: partial(elementwise.several, op) for name, op in SEVERAL.items()},
    **{name: partial(elementwise.compare, op) for name, op in COMPARED.items()},
    "And": partial(elementwise.binary, "logical_and"),
    "Or": partial(elementwise.binary, "logical_or"),
    "Not": elementwise.invert,
    "Where": elementwise.where,
    "Sign": elementwise.sign,
    "Mean": elementwise.mean,
    "Pow": elementwise.power,
    "Reciprocal": elementwise.reciprocal,
    "Identity": elementwise.identity,
    "Cast": elementwise.cast,
    "CastLike": elementwise.identity,
    "Dropout": elementwise.dropout,
    "Clip": elementwise.clip,
    "LeakyRelu": elementwise.leaky_relu,
    "PRelu": elementwise.prelu,
    "Elu": elementwise.elu,
    "Selu": elementwise.selu,
    "Celu": elementwise.celu,
    "Gelu": elementwise.gelu,
    "HardSigmoid": elementwise.hardsigmoid,
    "Softplus": elementwise.softplus,
    "Softsign": elementwise.softsign,
    "Swish": elementwise.swish,
    "Softmax": partial(elementwise.softmax, "softmax"),
    "LogSoftmax": partial(elementwise.softmax, "log_softmax"),
    "Conv": layers.conv,
    "ConvTranspose": layers.conv_transpose,
    "Gemm": layers.gemm,
    "MatMul": layers.matmul,
    "Einsum": einsum,
    "BatchNormalization": layers.batch_norm,
    "InstanceNormalization": layers.instance_norm,
    "GroupNormalization": layers.group_norm,
    "LayerNormalization": layers.layer_norm,
    "LRN": layers.lrn,
    "MaxPool": windows.max_pool,
    "AveragePool": windows.average_pool,
    "LpPool": windows.lp_pool,
    "GlobalAveragePool": partial(windows.global_pool, "avg"),
    "GlobalMaxPool": partial(windows.global_pool, "max"),
    "GlobalLpPool": windows.global_lp_pool,
    "Resize": windows.resize,
    "Upsample": windows.upsample,
    "Shape": shapes.shape,
    "Size": shapes.size,
    "Reshape": shapes.reshape,
    "Flatten": shapes.flatten,
    "Transpose": shapes.transpose,
    "Squeeze": shapes.squeeze,
    "Unsqueeze": shapes.unsqueeze,
    "Concat": shapes.concat,
    "Split": shapes.split,
    "Slice": shapes.slice_,
    "Gather": shapes.gather,
    "GatherND": shapes.gather_nd,
    "Expand": shapes.expand,
    "Tile": shapes.tile,
    "Pad": shapes.pad,
    "DepthToSpace": shapes.depth_to_space,
    "SpaceToDepth": shapes.space_to_depth,
    **{name: partial(shapes.reduce, op) for name, op in REDUCED.items()},
    **{name: partial(shapes.reduce_of, *ops) for name, ops in REDUCED_OF.items()},
}
"""{operator: its reader}"""


def operators() -> list[str]:
    """The names of all operators that are read: with values that depend on the image, or of constants only."""
    return sorted({*READERS, *FOLDED})
