"""The table of ops: each with its definition and its test cases.

`minicnn gradcheck` and the tests both read it: values against the definition, gradients against finite differences,
dtypes, strides, determinism, on every device. A new op gets one row here.

Inputs are chosen so that errors are visible. All sizes in a shape differ, so a swapped axis changes the result. Ops
with kinks or ties get values `spaced` away from them. LRN uses α ≈ 1, since at the paper's 1e-4 a wrong sum hardly
changes the result.

`cases` are small and run everywhere, on every device; `crossing` cases (crossing_cases.py) run once, on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minicnn import ops, reference
from minicnn.cases import Case, case, labels, mask, normal, positive, shares, spaced, wide
from minicnn.crossing_cases import CROSSING


@dataclass(frozen=True)
class Row:
    """An op, its definition in NumPy, and test cases for both."""

    op: Callable
    definition: Callable
    cases: tuple[Case, ...]
    crossing: tuple[Case, ...] = ()

    @property
    def name(self) -> str:
        """The op's name."""
        return self.op.__name__


def row(op, definition, *cases) -> Row:
    """An op, its definition, its cases."""
    return Row(op, definition, cases, CROSSING.get(op.__name__, ()))


def _index(x, *, index):
    return x[index]


def _masked(x, mask, *, p):
    return np.where(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x / (1 - p), 0)


def _bce(x, t):
    p = 1 / (1 + np.exp(-x))
    return np.mean(-t * np.log(p) - (1 - t) * np.log(1 - p))


def _relu(definition):
    return lambda *arrays, **hyper: np.maximum(definition(*arrays, **hyper), 0)


def _plus(definition):
    return lambda *arrays, **hyper: definition(*arrays[:-1], **hyper) + arrays[-1]


def _each(function):
    """A function of numbers, for arrays."""
    return np.vectorize(function, otypes=[float])


def _gelu(x, *, approximate="none"):
    if approximate == "tanh":
        return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
    return x * _each(lambda v: (1 + math.erf(v / math.sqrt(2))) / 2)(x)


def _softplus(x, *, beta=1.0):
    return np.log(1 + np.exp(beta * x)) / beta


def _selu(x):
    alpha = 1.6732632423543772848170429916717
    return 1.0507009873554804934193349852946 * np.where(x > 0, x, alpha * np.exp(x) - alpha)


def _prelu(x, w):
    return np.where(x > 0, x, x * w.reshape(-1, *[1] * (x.ndim - 2)))


def _halves(*shape):
    """Multiples of ½, so that some are equal."""
    return lambda rng: rng.integers(-2, 3, shape) / 2


def _each_mask(function):
    """A function of numbers that gives a boolean, for arrays."""
    return np.vectorize(function, otypes=[bool])


_image = normal(2, 3, 6, 5)
_curve = spaced(3, 4, 5)
_norm = (normal(3, 4, 5, 2), normal(4), normal(4))

TABLE: tuple[Row, ...] = (
    # arithmetic and shapes
    row(ops.add, np.add,
        case(normal(3, 4), normal(3, 4)),
        case(normal(2, 3, 4), normal(3, 1)),
        case(normal(1, 4), normal(3, 1))),
    row(ops.add_relu, _relu(np.add), case(normal(3, 4), normal(3, 4)), case(normal(2, 3, 4), normal(2, 3, 4))),
    row(ops.subtract, np.subtract, case(normal(3, 4), normal(3, 4)), case(normal(4), normal(2, 3, 4))),
    row(ops.multiply, np.multiply, case(normal(3, 4), normal(3, 4)), case(normal(2, 1, 4), normal(3, 1))),
    row(ops.divide, np.divide, case(normal(3, 4), positive(3, 4)), case(normal(3, 1), positive(2, 1, 4))),
    row(ops.maximum, np.maximum,
        case(spaced(3, 4), spaced(3, 4, low=-3, high=2.5)),
        case(spaced(2, 3, 4), spaced(3, 1, low=-1, high=1.1)),
        case(spaced(4), spaced(2, 3, 1, low=-1, high=1.1))),
    row(ops.minimum, np.minimum,
        case(spaced(3, 4), spaced(3, 4, low=-3, high=2.5)),
        case(spaced(2, 3, 4), spaced(3, 1, low=-1, high=1.1))),
    row(ops.where, _each(lambda m, a, b: a if m else b),
        case(mask(3, 4), normal(3, 4), normal(3, 4)),
        case(mask(2, 1, 4), normal(3, 1), normal(2, 3, 4)),
        case(mask(3, 1), normal(4), normal(1, 4))),
    row(ops.negative, np.negative, case(normal(3, 4))),
    row(ops.power, np.power,
        case(positive(3, 4), normal(3, 4)),
        case(positive(3, 1), normal(2, 3, 4)),
        case(positive(3, 4), lambda rng: rng.integers(-2, 4, 4).astype(float))),
    row(ops.matmul, np.matmul,
        case(normal(3, 4), normal(4, 5)),
        case(normal(2, 3, 4), normal(4, 5)),
        case(normal(5, 1, 3, 4), normal(2, 4, 6))),
    row(ops.getitem, _index,
        case(normal(4, 5), index=(slice(1, 3), slice(None, None, -2))),
        case(normal(4, 5), index=2),
        case(normal(4, 5), index=(np.array([0, 2, 0, 3]),)),
        case(normal(4, 5, 2), index=(Ellipsis, 1))),
    row(ops.sum, np.sum,
        case(normal(3, 4, 5)),
        case(normal(3, 4, 5), axis=1),
        case(normal(3, 4, 5), axis=(0, -1), keepdims=True)),
    row(ops.prod, np.prod,
        case(normal(3, 4, 5), axis=1),
        case(normal(2, 3, 2), axis=(0, -1), keepdims=True),
        case(normal(3, 4)),
        case(lambda rng: rng.standard_normal((4, 3)) * np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 1, 1]]), axis=1)),
    row(ops.mean, np.mean,
        case(normal(3, 4, 5)),
        case(normal(3, 4, 5), axis=1),
        case(normal(3, 4, 5), axis=(0, -1), keepdims=True)),
    row(ops.max, np.max,
        case(spaced(3, 4, 5)),
        case(spaced(3, 4, 5), axis=1),
        case(spaced(3, 4, 5), axis=(0, -1), keepdims=True)),
    row(ops.min, np.min,
        case(spaced(3, 4, 5)),
        case(spaced(3, 4, 5), axis=1),
        case(spaced(3, 4, 5), axis=(0, -1), keepdims=True)),
    row(ops.abs, np.abs, case(spaced(3, 4))),
    row(ops.clip, lambda x, *, low=None, high=None: np.minimum(
            np.maximum(x, -np.inf if low is None else low), np.inf if high is None else high),
        case(spaced(3, 4, kinks=(-1.0, 0.5)), low=-1, high=0.5),
        case(spaced(3, 4, kinks=(0.5,)), high=0.5),
        case(spaced(3, 4, kinks=(-1.0,)), low=-1.0)),
    row(ops.exp, np.exp, case(normal(3, 4))),
    row(ops.log, np.log, case(positive(3, 4))),
    row(ops.erf, _each(math.erf), case(wide(3, 4)), case(normal(3, 4))),
    row(ops.sqrt, np.sqrt, case(positive(3, 4))),
    row(ops.reshape, lambda x, *, shape: np.reshape(x, shape),
        case(normal(3, 4, 5), shape=(5, -1)),
        case(normal(3, 4), shape=(2, 3, 2))),
    row(ops.squeeze, lambda x, *, axis=None: np.squeeze(x, axis),
        case(normal(3, 1, 4, 1)),
        case(normal(3, 1, 4, 1), axis=-1),
        case(normal(1, 3, 1), axis=(0, 2))),
    row(ops.broadcast_to, lambda x, *, shape: np.broadcast_to(x, shape),
        case(normal(3, 1), shape=(2, 3, 4)),
        case(normal(2, 3), shape=(2, 3))),
    row(ops.transpose, np.transpose, case(normal(3, 4, 5)), case(normal(3, 4, 5), axes=(1, -1, 0))),
    row(ops.flatten, lambda x, *, start_axis=1: np.reshape(x, (*x.shape[:start_axis], -1)),
        case(_image),
        case(_image, start_axis=2)),
    row(ops.concat, lambda *xs, axis=1: np.concatenate(xs, axis),
        case(normal(2, 3, 4), normal(2, 1, 4), normal(2, 2, 4)),
        case(normal(2, 3), normal(4, 3), axis=0),
        case(normal(2, 3), normal(2, 4), axis=-1)),
    row(ops.pad, reference.pad,
        case(_image, padding=1),
        case(_image, padding=(1, 2, 3, 0), value=0.5),
        case(_image, padding=((0, 2), (3, 1)), mode="zeros"),
        case(_image, padding=((5, 1), (0, 4)), mode="reflect"),
        case(_image, padding=(1, 7, 0, 3), mode="replicate"),
        case(normal(4, 1), padding=((2, 3), (1, 0)), mode="edge")),
    # convolution and products
    row(ops.conv2d, reference.conv2d,
        case(normal(2, 3, 6, 5), normal(4, 3, 3, 2), normal(4)),
        case(normal(2, 3, 6, 5), normal(4, 3, 3, 2), None, stride=2, padding=1),
        case(normal(2, 4, 7, 5), normal(6, 2, 3, 2), normal(6), stride=(3, 2), padding=(2, 1), groups=2),
        case(normal(2, 3, 6, 7), normal(6, 1, 2, 3), normal(6), padding="same", groups=3),
        case(normal(1, 2, 5, 8), normal(3, 2, 1, 7), None, padding=(0, 3)),
        case(normal(2, 2, 8, 7), normal(3, 2, 3, 2), None, dilation=(2, 3), padding=1),
        case(normal(2, 3, 5, 4), normal(4, 3, 1, 1), normal(4), stride=2),
        case(normal(2, 3, 6, 7), normal(4, 3, 3, 4), normal(4), stride=(2, 3), padding="same"),
        case(normal(2, 2, 5, 8), normal(3, 2, 4, 2), None, stride=2, padding="same_lower", dilation=(1, 2)),
        case(normal(2, 3, 6, 5), normal(4, 3, 3, 2), normal(4), padding=((0, 2), (3, 1)), stride=(2, 1)),
        case(normal(2, 4, 6, 5), normal(6, 2, 3, 2), normal(6), padding=(1, (0, 2)), groups=2, flip=True)),
    row(ops.conv1d, reference.conv1d,
        case(normal(2, 3, 9), normal(4, 3, 4), normal(4)),
        case(normal(2, 4, 11), normal(6, 2, 3), normal(6), stride=3, padding=(2, 1), groups=2),
        case(normal(2, 3, 8), normal(3, 1, 4), None, padding="same", stride=2, groups=3),
        case(normal(1, 2, 12), normal(3, 2, 3), normal(3), dilation=3, padding="same_lower", flip=True)),
    row(ops.conv_transpose2d, reference.conv_transpose2d,
        case(normal(2, 3, 4, 5), normal(3, 4, 3, 2), normal(4)),
        case(normal(2, 3, 4, 3), normal(3, 2, 3, 4), None, stride=(2, 3), padding=1, output_padding=(1, 2)),
        case(normal(2, 4, 3, 5), normal(4, 3, 2, 3), normal(6), stride=2, groups=2, dilation=(2, 1)),
        case(normal(1, 3, 3, 4), normal(3, 1, 3, 3), normal(3), stride=2, padding=((0, 2), (2, 1)), groups=3),
        case(normal(2, 3, 5, 4), normal(3, 4, 1, 1), normal(4), stride=2)),
    row(ops.conv2d_relu, _relu(reference.conv2d),
        case(normal(2, 3, 6, 5), normal(4, 3, 3, 2), normal(4)),
        case(normal(2, 4, 7, 5), normal(6, 2, 3, 2), None, stride=(3, 2), padding=(2, 1), groups=2),
        case(normal(2, 3, 6, 7), normal(6, 1, 2, 3), normal(6), padding="same", groups=3),
        case(normal(2, 3, 6, 5), normal(4, 3, 3, 2), normal(4), padding=((0, 2), (3, 1)), flip=True)),
    row(ops.linear, reference.linear,
        case(normal(3, 4), normal(5, 4), normal(5)),
        case(normal(3, 4), normal(2, 4), None)),
    # pooling
    row(ops.max_pool2d, reference.max_pool2d,
        case(spaced(2, 3, 6, 5), kernel_size=2),
        case(spaced(2, 3, 7, 6), kernel_size=3, stride=2),
        case(spaced(2, 2, 6, 7), kernel_size=(3, 2), stride=1, padding=1),
        case(spaced(2, 2, 6, 7), kernel_size=3, stride=2, ceil_mode=True),
        case(spaced(1, 2, 7, 8), kernel_size=2, stride=1, dilation=(2, 3), padding=(1, 0)),
        case(spaced(2, 2, 6, 7), kernel_size=(3, 4), stride=(2, 3), padding="same"),
        case(spaced(2, 2, 7, 6), kernel_size=(2, 4), stride=(1, 3), padding="same_lower"),
        case(spaced(2, 2, 4, 5), kernel_size=4, stride=(3, 1), padding=((3, 2), (0, 3)))),
    row(ops.avg_pool2d, reference.avg_pool2d,
        case(_image, kernel_size=2),
        case(normal(2, 2, 7, 6), kernel_size=3, stride=2, padding=1),
        case(normal(2, 2, 7, 6), kernel_size=(3, 2), stride=2, padding=1, count_include_pad=False),
        case(normal(2, 2, 6, 8), kernel_size=3, stride=2, padding=1, ceil_mode=True),
        case(normal(2, 2, 6, 8), kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
        case(normal(2, 2, 6, 7), kernel_size=(3, 4), stride=(2, 3), padding="same", count_include_pad=False),
        case(normal(2, 2, 4, 5), kernel_size=4, stride=(3, 1), padding=((3, 2), (0, 3))),
        case(normal(1, 2, 8, 9), kernel_size=(3, 2), stride=2, dilation=(2, 3), padding=(2, (1, 2)), ceil_mode=True),
        case(normal(1, 2, 7, 9), kernel_size=2, stride=(1, 2), dilation=3, padding=2, count_include_pad=False)),
    row(ops.lp_pool2d, reference.lp_pool2d,
        case(_image, kernel_size=2),
        case(spaced(2, 2, 7, 6), norm_type=3, kernel_size=3, stride=2),
        case(spaced(2, 2, 6, 8), norm_type=1.5, kernel_size=(3, 2), stride=1),
        case(_image, kernel_size=3, stride=2, ceil_mode=True),
        case(spaced(2, 2, 6, 7), kernel_size=(3, 4), stride=(2, 3), padding="same"),
        case(spaced(1, 2, 8, 7), norm_type=3, kernel_size=3, stride=2, padding=(1, (2, 0)), dilation=(2, 1)),
        case(spaced(1, 2, 6, 7), norm_type=1.5, kernel_size=2, stride=1, padding=((1, 0), (0, 1)), dilation=2)),
    row(ops.trainable_avg_pool2d, reference.trainable_avg_pool2d,
        case(_image, normal(3), normal(3)),
        case(_image, normal(3), normal(3), kernel_size=3, stride=1)),
    row(ops.adaptive_avg_pool2d, reference.adaptive_avg_pool2d,
        case(_image, output_size=(3, 2)),
        case(_image, output_size=1),
        case(normal(1, 2, 3, 4), output_size=(5, 6))),
    row(ops.adaptive_max_pool2d, reference.adaptive_max_pool2d,
        case(spaced(2, 3, 6, 5), output_size=(4, 3)),
        case(spaced(2, 3, 6, 5), output_size=1)),
    row(ops.global_avg_pool2d, lambda x: reference.adaptive_avg_pool2d(x, output_size=1)[:, :, 0, 0], case(_image)),
    row(ops.global_max_pool2d, lambda x: reference.adaptive_max_pool2d(x, output_size=1)[:, :, 0, 0],
        case(spaced(2, 3, 6, 5))),
    row(ops.resize, reference.resize,
        case(normal(2, 3, 4, 5), scale=2),
        case(normal(2, 2, 5, 6), size=(8, 4), rounding="round_prefer_ceil"),
        case(normal(2, 2, 5, 6), size=(3, 9), coordinates="asymmetric", rounding="floor"),
        case(normal(1, 2, 4, 3), size=(7, 5), coordinates="align_corners", rounding="ceil"),
        case(normal(2, 3, 4, 5), scale=(2, 1.5), mode="linear"),
        case(normal(2, 2, 5, 6), size=(3, 9), mode="linear", coordinates="align_corners"),
        case(normal(1, 2, 4, 5), size=(1, 9), mode="linear", coordinates="pytorch_half_pixel"),
        case(normal(1, 2, 5, 6), scale=(0.7, 2.3), mode="linear", coordinates="half_pixel_symmetric"),
        case(normal(1, 2, 3, 1), size=(5, 4), mode="linear", coordinates="asymmetric")),
    # activations
    row(ops.relu, lambda x: np.where(x > 0, x, 0), case(_curve)),
    row(ops.relu6, lambda x: np.where(x > 6, 6, np.where(x > 0, x, 0)),
        case(spaced(3, 4, 5, low=-3, high=9, kinks=(0, 6)))),
    row(ops.leaky_relu, lambda x, *, negative_slope=0.01: np.where(x > 0, x, negative_slope * x),
        case(_curve),
        case(_curve, negative_slope=0.2)),
    row(ops.tanh, lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)), case(normal(3, 4))),
    row(ops.sigmoid, lambda x: 1 / (1 + np.exp(-x)), case(normal(3, 4))),
    row(ops.silu, lambda x: x / (1 + np.exp(-x)), case(normal(3, 4))),
    row(ops.hardsigmoid, lambda x: np.minimum(np.maximum(x + 3, 0), 6) / 6,
        case(spaced(3, 4, 5, low=-5, high=5, kinks=(-3, 3)))),
    row(ops.hardswish, lambda x: x * np.minimum(np.maximum(x + 3, 0), 6) / 6,
        case(spaced(3, 4, 5, low=-5, high=5, kinks=(-3, 3)))),
    row(ops.elu, lambda x, *, alpha=1.0: np.where(x > 0, x, alpha * (np.exp(x) - 1)),
        case(_curve),
        case(_curve, alpha=0.3)),
    row(ops.selu, _selu, case(_curve)),
    row(ops.gelu, _gelu, case(wide(3, 4)), case(normal(3, 4), approximate="tanh")),
    row(ops.softplus, _softplus, case(wide(3, 4)), case(normal(3, 4), beta=2.5)),
    row(ops.mish, lambda x: x * np.tanh(_softplus(x)), case(wide(3, 4))),
    row(ops.prelu, _prelu, case(_curve, normal(4)), case(spaced(5, 6), normal(6))),
    # softmax and losses
    row(ops.softmax, reference.softmax, case(normal(3, 4)), case(normal(2, 5, 3), axis=1)),
    row(ops.log_softmax, lambda x, *, axis=-1: np.log(reference.softmax(x, axis=axis)),
        case(normal(3, 4)),
        case(normal(2, 5, 3), axis=1)),
    row(ops.logsumexp, lambda x, *, axis=None, keepdims=False: np.log(np.sum(np.exp(x), axis, keepdims=keepdims)),
        case(normal(3, 4)),
        case(normal(2, 5, 3), axis=1),
        case(normal(2, 5, 3), axis=(0, -1), keepdims=True)),
    row(ops.cross_entropy, reference.cross_entropy,
        case(normal(5, 4), labels(5, 4)),
        case(normal(3, 7), labels(3, 7), label_smoothing=0.1),
        case(normal(6, 3), labels(6, 3), weight=(0.5, 3.0, 1.25)),
        case(normal(6, 4), lambda rng: np.array([3, -1, 0, -1, 2, 1]), ignore_index=-1),
        case(normal(6, 3), lambda rng: np.array([2, 0, 1, 2, 1, 1]), ignore_index=2, label_smoothing=0.1,
             weight=(0.5, 3.0, 1.25)),
        case(normal(5, 4), shares(5, 4)),
        case(normal(3, 4), shares(3, 4), label_smoothing=0.2, weight=(0.5, 3.0, 1.25, 2.0))),
    row(ops.mse_loss, lambda x, t: np.mean((x - t) ** 2), case(normal(3, 4), normal(3, 4))),
    row(ops.binary_cross_entropy_with_logits, _bce, case(normal(3, 4), lambda rng: rng.uniform(0, 1, (3, 4)))),
    # normalisation and noise
    row(ops.batch_norm, reference.batch_norm,
        case(*_norm),
        case(normal(5, 3), normal(3), normal(3), eps=0.1),
        case(normal(3, 4, 5, 2), None, None)),
    row(ops.batch_norm_inference, reference.batch_norm_inference,
        case(*_norm, normal(4), positive(4)),
        case(normal(3, 4), None, None, normal(4), positive(4), eps=0.1)),
    row(ops.batch_norm_relu, _relu(reference.batch_norm),
        case(*_norm),
        case(normal(5, 3), normal(3), normal(3), eps=0.1),
        case(normal(3, 4, 5, 2), None, None)),
    row(ops.batch_norm_add, _plus(reference.batch_norm),
        case(*_norm, normal(3, 4, 5, 2)),
        case(normal(5, 3), None, normal(3), normal(5, 3), eps=0.1)),
    row(ops.batch_norm_add_relu, _relu(_plus(reference.batch_norm)),
        case(*_norm, normal(3, 4, 5, 2)),
        case(normal(5, 3), None, normal(3), normal(5, 3), eps=0.1)),
    row(ops.batch_norm_inference_relu, _relu(reference.batch_norm_inference),
        case(*_norm, normal(4), positive(4)),
        case(normal(3, 4), None, None, normal(4), positive(4), eps=0.1)),
    row(ops.batch_norm_inference_add, _plus(reference.batch_norm_inference),
        case(*_norm, normal(4), positive(4), normal(3, 4, 5, 2)),
        case(normal(3, 4), None, None, normal(4), positive(4), normal(3, 4), eps=0.1)),
    row(ops.batch_norm_inference_add_relu, _relu(_plus(reference.batch_norm_inference)),
        case(*_norm, normal(4), positive(4), normal(3, 4, 5, 2)),
        case(normal(3, 4), None, None, normal(4), positive(4), normal(3, 4), eps=0.1)),
    row(ops.layer_norm, reference.layer_norm,
        case(normal(3, 4, 5), normal(5), normal(5), normalized_shape=5),
        case(normal(2, 3, 4, 5), normal(4, 5), None, normalized_shape=(4, 5), eps=0.1),
        case(normal(4, 9), None, normal(9), normalized_shape=(9,), eps=0.1),
        case(normal(3, 4, 2), None, None, normalized_shape=(3, 4, 2))),
    row(ops.group_norm, reference.group_norm,
        case(normal(2, 6, 4, 3), normal(6), normal(6), num_groups=3),
        case(normal(3, 4, 5), normal(4), None, num_groups=1, eps=0.1),
        case(normal(2, 14), None, normal(14), num_groups=2, eps=0.1)),
    row(ops.instance_norm, reference.instance_norm,
        case(normal(2, 3, 4, 5), normal(3), normal(3)),
        case(normal(2, 3, 7), None, normal(3), eps=0.1),
        case(normal(2, 3, 4, 5), None, None)),
    row(ops.local_response_norm, reference.local_response_norm,
        case(normal(2, 7, 3), size=5, alpha=1.1, beta=0.75, k=2.0, variant="paper"),
        case(normal(2, 7, 3, 2), size=5, alpha=1.1),
        case(normal(2, 6, 3), size=4, alpha=0.9, beta=0.6, k=1.5),
        case(normal(2, 3, 4), size=9, alpha=1.0)),
    row(ops.dropout, _masked, case(normal(3, 4, 5), mask(3, 4, 5), p=0.3)),
    row(ops.dropout2d, _masked, case(_image, mask(2, 3), p=0.3)),
    row(ops.stochastic_depth, _masked, case(_image, mask(2), p=0.3)),
)  # fmt: skip
"""Every op with a gradient, in reading order."""

ROWS = {r.name: r for r in TABLE}

_compared = (case(_halves(3, 4), _halves(3, 4)), case(_halves(2, 1, 4), _halves(3, 1)), case(_halves(4), _halves(1)))
_combined = (case(mask(3, 4), mask(3, 4)), case(mask(2, 1, 4), mask(3, 1)))

MASKS: tuple[Row, ...] = (
    row(ops.greater, _each_mask(lambda a, b: a > b), *_compared),
    row(ops.greater_equal, _each_mask(lambda a, b: a >= b), *_compared),
    row(ops.less, _each_mask(lambda a, b: a < b), *_compared),
    row(ops.less_equal, _each_mask(lambda a, b: a <= b), *_compared),
    row(ops.equal, _each_mask(lambda a, b: a == b), *_compared),
    row(ops.logical_and, _each_mask(lambda a, b: a and b), *_combined),
    row(ops.logical_or, _each_mask(lambda a, b: a or b), *_combined),
    row(ops.logical_not, _each_mask(lambda a: not a), case(mask(3, 4)), case(mask(2, 3, 4))),
)  # fmt: skip
"""Ops that give booleans. They have no gradient, so what is checked of them is their values."""
