"""Which function writes which op of minicnn as ONNX nodes. This table is the only registration.

A handler gets the graph, a `Value` for each array and the op's hyper-parameters by keyword. It adds nodes and returns
the `Value` that they compute:

    def leaky_relu(graph, x, *, negative_slope):
        return graph.add("LeakyRelu", x, alpha=negative_slope)

An op of your own: write its handler and add it here, or from outside with `HANDLERS["my_op"] = my_handler`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from minicnn.io.onnx import arithmetic, fused, layers, pooling, shapes
from minicnn.io.onnx.graph import Value

UNARY = {"negative": "Neg", "abs": "Abs", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "erf": "Erf", "relu": "Relu",
         "tanh": "Tanh", "sigmoid": "Sigmoid", "hardswish": "HardSwish"}  # fmt: skip
BINARY = {"add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "maximum": "Max", "minimum": "Min",
          "power": "Pow", "greater": "Greater", "greater_equal": "GreaterOrEqual", "less": "Less",
          "less_equal": "LessOrEqual", "equal": "Equal"}  # fmt: skip
"""Ops that are exactly one ONNX operator: of one array, and of two with NumPy's broadcasting."""

HANDLERS: dict[str, Callable[..., Value]] = {
    **{name: partial(arithmetic.unary, operator) for name, operator in UNARY.items()},
    **{name: partial(arithmetic.binary, operator) for name, operator in BINARY.items()},
    "logical_and": partial(arithmetic.logical, "And"),
    "logical_or": partial(arithmetic.logical, "Or"),
    "logical_not": partial(arithmetic.logical, "Not"),
    "where": arithmetic.where,
    "matmul": arithmetic.matmul,
    "sum": arithmetic.reduce_sum,
    "mean": partial(arithmetic.reduce, "ReduceMean"),
    "max": partial(arithmetic.reduce, "ReduceMax"),
    "min": partial(arithmetic.reduce, "ReduceMin"),
    "prod": partial(arithmetic.reduce, "ReduceProd"),
    "logsumexp": partial(arithmetic.reduce, "ReduceLogSumExp"),
    "clip": arithmetic.clip,
    "relu6": arithmetic.relu6,
    "leaky_relu": arithmetic.leaky_relu,
    "silu": arithmetic.silu,
    "hardsigmoid": arithmetic.hardsigmoid,
    "elu": arithmetic.elu,
    "selu": arithmetic.selu,
    "gelu": arithmetic.gelu,
    "softplus": arithmetic.softplus,
    "mish": arithmetic.mish,
    "prelu": arithmetic.prelu,
    "softmax": partial(arithmetic.softmax, "Softmax"),
    "log_softmax": partial(arithmetic.softmax, "LogSoftmax"),
    "conv1d": layers.conv1d,
    "conv2d": layers.conv2d,
    "conv2d_relu": fused.then_relu(layers.conv2d),
    "add_relu": fused.then_relu(partial(arithmetic.binary, "Add")),
    "conv_transpose2d": layers.conv_transpose2d,
    "linear": layers.linear,
    "batch_norm_inference": layers.batch_norm_inference,
    "batch_norm_inference_relu": fused.then_relu(layers.batch_norm_inference),
    "batch_norm_inference_add": fused.then_add(layers.batch_norm_inference),
    "batch_norm_inference_add_relu": fused.then_relu(fused.then_add(layers.batch_norm_inference)),
    "layer_norm": layers.layer_norm,
    "group_norm": layers.group_norm,
    "instance_norm": layers.instance_norm,
    "local_response_norm": layers.local_response_norm,
    "max_pool2d": pooling.max_pool2d,
    "avg_pool2d": pooling.avg_pool2d,
    "lp_pool2d": pooling.lp_pool2d,
    "trainable_avg_pool2d": pooling.trainable_avg_pool2d,
    "adaptive_avg_pool2d": pooling.adaptive_avg_pool2d,
    "adaptive_max_pool2d": pooling.adaptive_max_pool2d,
    "global_avg_pool2d": partial(pooling.global_pool2d, "ReduceMean"),
    "global_max_pool2d": partial(pooling.global_pool2d, "ReduceMax"),
    "resize": pooling.resize,
    "flatten": shapes.flatten,
    "reshape": shapes.reshape,
    "broadcast_to": shapes.broadcast_to,
    "transpose": shapes.transpose,
    "squeeze": shapes.squeeze,
    "concat": shapes.concat,
    "pad": shapes.pad,
    "getitem": shapes.getitem,
}
"""{name of an op: its handler}"""

TRAINING_ONLY = ("batch_norm", "batch_norm_relu", "batch_norm_add", "batch_norm_add_relu", "dropout", "dropout2d",
                 "stochastic_depth", "cross_entropy", "mse_loss", "binary_cross_entropy_with_logits")  # fmt: skip
"""Losses, and ops that use random numbers or the statistics of the batch: they have no place in an exported net."""
