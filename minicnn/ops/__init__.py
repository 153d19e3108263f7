"""The ops: each is a formula and its gradients, in one place, for arrays on any device.

    from minicnn import ops
    y = ops.conv2d(x, w, b, padding=1)

Each family of ops has its own file.
"""

from minicnn.ops import methods as _methods  # noqa: F401 - installs Python's operators on Tensor
from minicnn.ops.activation import (
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    mish,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softplus,
    tanh,
)
from minicnn.ops.adaptive_pool import adaptive_avg_pool2d, adaptive_max_pool2d, global_avg_pool2d, global_max_pool2d
from minicnn.ops.arithmetic import (
    abs,
    add,
    clip,
    divide,
    erf,
    exp,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    sqrt,
    subtract,
)
from minicnn.ops.batch_norm import batch_norm, batch_norm_inference
from minicnn.ops.conv import conv1d, conv2d, conv_transpose2d
from minicnn.ops.dropout import dropout, dropout2d, stochastic_depth
from minicnn.ops.fused import (
    add_relu,
    batch_norm_add,
    batch_norm_add_relu,
    batch_norm_inference_add,
    batch_norm_inference_add_relu,
    batch_norm_inference_relu,
    batch_norm_relu,
    conv2d_relu,
)
from minicnn.ops.linear import linear, matmul
from minicnn.ops.loss import binary_cross_entropy_with_logits, mse_loss
from minicnn.ops.lrn import local_response_norm
from minicnn.ops.masks import (
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    where,
)
from minicnn.ops.normalise import group_norm, instance_norm, layer_norm
from minicnn.ops.pad import pad, pad2d
from minicnn.ops.pool import avg_pool1d, avg_pool2d, lp_pool2d, max_pool1d, max_pool2d, trainable_avg_pool2d
from minicnn.ops.reduce import max, mean, min, prod, sum
from minicnn.ops.resize import interpolate, resize
from minicnn.ops.shape import (
    broadcast_to,
    concat,
    flatten,
    getitem,
    pixel_shuffle,
    pixel_unshuffle,
    reshape,
    squeeze,
    transpose,
)
from minicnn.ops.softmax import cross_entropy, log_softmax, logsumexp, softmax

__all__ = [
    "abs", "adaptive_avg_pool2d", "adaptive_max_pool2d", "add", "add_relu", "avg_pool1d", "avg_pool2d",
    "batch_norm", "batch_norm_add", "batch_norm_add_relu", "batch_norm_inference", "batch_norm_inference_add",
    "batch_norm_inference_add_relu", "batch_norm_inference_relu", "batch_norm_relu",
    "binary_cross_entropy_with_logits", "broadcast_to", "clip", "concat", "conv1d", "conv2d", "conv2d_relu",
    "conv_transpose2d", "cross_entropy", "divide", "dropout", "dropout2d", "elu", "equal", "erf", "exp",
    "flatten", "gelu", "getitem", "global_avg_pool2d", "global_max_pool2d", "greater", "greater_equal",
    "group_norm", "hardsigmoid", "hardswish", "instance_norm", "interpolate", "layer_norm", "leaky_relu",
    "less", "less_equal", "linear", "local_response_norm", "log", "log_softmax", "logical_and", "logical_not",
    "logical_or", "logsumexp", "lp_pool2d", "matmul", "max", "max_pool1d", "max_pool2d", "maximum", "mean",
    "min", "minimum", "mish", "mse_loss", "multiply", "negative", "pad", "pad2d", "pixel_shuffle",
    "pixel_unshuffle", "power", "prelu", "prod", "relu", "relu6", "reshape", "resize", "selu", "sigmoid",
    "silu", "softmax", "softplus", "sqrt", "squeeze", "stochastic_depth", "subtract", "sum", "tanh",
    "trainable_avg_pool2d", "transpose", "where",
]  # fmt: skip
