"""Bad input gets one clear sentence: the value, the rule, the fix. Each row is the call and the whole sentence."""

import re

import numpy as np
import pytest

from minicnn import Tensor, devices, rng
from minicnn.geometry import Axis, pair, positive
from minicnn.names import unknown
from minicnn.ops import matmul, mean, power
from minicnn.ops import sum as total
from minicnn.ops.adaptive_pool import adaptive_avg_pool2d, adaptive_max_pool2d, global_avg_pool2d, global_max_pool2d
from minicnn.ops.batch_norm import batch_norm, batch_norm_inference
from minicnn.ops.conv import conv1d, conv2d
from minicnn.ops.dropout import dropout, dropout2d, stochastic_depth
from minicnn.ops.linear import linear
from minicnn.ops.loss import binary_cross_entropy_with_logits, mse_loss
from minicnn.ops.lrn import local_response_norm
from minicnn.ops.pad import pad, pad2d
from minicnn.ops.pool import avg_pool2d, lp_pool2d, max_pool2d, trainable_avg_pool2d
from minicnn.ops.reduce import max as largest
from minicnn.ops.shape import concat, flatten
from minicnn.ops.softmax import cross_entropy, log_softmax, softmax


def ones(*shape, dtype=np.float64):
    return np.ones(shape, dtype)


X, W = ones(2, 6, 8, 7), ones(4, 6, 3, 3)
LOGITS = ones(3, 5)

WRONG = {
    # convolution
    "kernel too large": (
        lambda: conv2d(X, ones(4, 6, 9, 3)),
        ValueError,
        "the window's height (=9) is larger than the padded input's (=8 = 8 + 0 + 0): "
        "use a smaller kernel, or more padding",
    ),
    "kernel too wide, with padding": (
        lambda: conv2d(X, ones(4, 6, 3, 10), padding=1),
        ValueError,
        "the window's width (=10) is larger than the padded input's (=9 = 7 + 1 + 1): "
        "use a smaller kernel, or more padding",
    ),
    "dilated kernel too large": (
        lambda: conv2d(X, W, dilation=4),
        ValueError,
        "the window's height (=9 (kernel 3, dilation 4)) is larger than the padded input's (=8 = 8 + 0 + 0): "
        "use a smaller kernel, or more padding",
    ),
    "channels not divisible by groups": (
        lambda: conv2d(X, ones(4, 1, 3, 3), groups=4),
        ValueError,
        "in_channels (=6) must be divisible by groups (=4)",
    ),
    "filters not divisible by groups": (
        lambda: conv2d(X, ones(4, 2, 3, 3), groups=3),
        ValueError,
        "out_channels (=4) must be divisible by groups (=3)",
    ),
    "x of rank 3": (
        lambda: conv2d(ones(6, 8, 7), W),
        ValueError,
        "conv2d: x must have 4 axes (N, C, H, W), not 3 (shape (6, 8, 7)): for one image, x.reshape(1, 6, 8, 7)",
    ),
    "x of rank 2": (
        lambda: conv2d(ones(8, 7), W),
        ValueError,
        "conv2d: x must have 4 axes (N, C, H, W), not 2 (shape (8, 7))",
    ),
    "w of rank 3": (
        lambda: conv2d(X, ones(4, 3, 3)),
        ValueError,
        "conv2d: w must have 4 axes (O, C/groups, KH, KW), not 3 (shape (4, 3, 3))",
    ),
    "w for other channels": (
        lambda: conv2d(X, ones(4, 3, 3, 3)),
        ValueError,
        "w has shape (4, 3, 3, 3), but x has 6 channels in 1 group(s): w must have shape (4, 6, 3, 3)",
    ),
    "w not cut for groups": (
        lambda: conv2d(X, W, groups=2),
        ValueError,
        "w has shape (4, 6, 3, 3), but x has 6 channels in 2 group(s): w must have shape (4, 3, 3, 3)",
    ),
    "bias of the wrong length": (
        lambda: conv2d(X, W, ones(6)),
        ValueError,
        "b has shape (6,), but there are 4 filters: b must have shape (4,)",
    ),
    "bias with too many axes": (
        lambda: conv2d(X, W, b=ones(1, 4, 1, 1)),
        ValueError,
        "b has shape (1, 4, 1, 1), but there are 4 filters: b must have shape (4,)",
    ),
    "stride 0": (lambda: conv2d(X, W, stride=0), ValueError, "stride (=0) must be at least 1"),
    "stride of floats": (lambda: conv2d(X, W, stride=2.0), TypeError, "stride must be an integer, not 2.0"),
    "stride True": (lambda: conv2d(X, W, stride=True), TypeError, "stride must be an integer, not True"),
    "stride of three": (
        lambda: conv2d(X, W, stride=(1, 2, 3)),
        ValueError,
        "stride must be one integer or a pair (down, across), not (1, 2, 3)",
    ),
    "dilation 0": (lambda: conv2d(X, W, dilation=(1, 0)), ValueError, "dilation (=0) must be at least 1"),
    "groups 0": (lambda: conv2d(X, W, groups=0), ValueError, "groups (=0) must be at least 1"),
    "padding negative": (lambda: conv2d(X, W, padding=-1), ValueError, "padding (=-1) must be at least 0"),
    "padding smae": (
        lambda: conv2d(X, W, padding="smae"),
        ValueError,
        "padding must be an integer, (down, across), ((top, bottom), (left, right)), 'same', 'same_lower' or 'valid', "
        "not 'smae'",
    ),
    "padding of three": (
        lambda: conv2d(X, W, padding=(1, 2, 3)),
        ValueError,
        "padding must be an integer, (down, across), ((top, bottom), (left, right)), 'same', 'same_lower' or 'valid', "
        "not (1, 2, 3)",
    ),
    "padding of an axis of three": (
        lambda: conv2d(X, W, padding=(1, (1, 2, 3))),
        ValueError,
        "padding of an axis must be an integer or (before, after), not (1, 2, 3)",
    ),
    "padding of an axis negative": (
        lambda: conv2d(X, W, padding=((1, -1), 0)),
        ValueError,
        "padding (=-1) must be at least 0",
    ),
    "flip": (lambda: conv2d(X, W, flip=1), TypeError, "conv2d: flip must be True or False, not 1"),
    "signals of rank 4": (
        lambda: conv1d(X, ones(4, 6, 3)),
        ValueError,
        "conv1d: x must have 3 axes (N, C, L), not 4 (shape (2, 6, 8, 7))",
    ),
    "filters of rank 4": (
        lambda: conv1d(ones(2, 6, 8), W),
        ValueError,
        "conv1d: w must have 3 axes (O, C/groups, K), not 4 (shape (4, 6, 3, 3))",
    ),
    "signals of other channels": (
        lambda: conv1d(ones(2, 6, 8), ones(4, 3, 3)),
        ValueError,
        "conv1d: x has 6 channels in 1 group(s), so w must have shape (4, 6/1, 3), not (4, 3, 3)",
    ),
    "signal too short": (
        lambda: conv1d(ones(2, 6, 8), ones(4, 6, 11), padding=(2, 0)),
        ValueError,
        "the window's width (=11) is larger than the padded input's (=10 = 8 + 2 + 0): "
        "use a smaller kernel, or more padding",
    ),
    # pooling
    "pool padding": (
        lambda: max_pool2d(X, kernel_size=3, padding=3),
        ValueError,
        "padding (=3 before and 3 after the 8 pixels of the height) makes windows of padding alone: window 0 reads -3 "
        "to -1; use less padding, or a larger kernel",
    ),
    "avg pool padding": (
        lambda: avg_pool2d(X, kernel_size=(4, 2), stride=1, padding=((0, 0), (0, 2))),
        ValueError,
        "padding (=0 before and 2 after the 7 pixels of the width) makes windows of padding alone: window 7 reads 7 "
        "to 8; use less padding, or a larger kernel",
    ),
    "dilated pool padding": (
        lambda: lp_pool2d(ones(1, 1, 9, 2), kernel_size=(1, 3), dilation=(1, 4), stride=1, padding=(0, 5)),
        ValueError,
        "padding (=5 before and 5 after the 2 pixels of the width) makes windows of padding alone: window 0 reads -5 "
        "to 3, every 4 pixels; use less padding, or a larger kernel",
    ),
    "pool kernel 0": (lambda: max_pool2d(X, kernel_size=0), ValueError, "kernel_size (=0) must be at least 1"),
    "pool kernel float": (lambda: avg_pool2d(X, kernel_size=2.5), TypeError, "kernel_size must be an integer, not 2.5"),
    "pool of rank 3": (
        lambda: max_pool2d(ones(3, 4, 5), kernel_size=2),
        ValueError,
        "pooling: x must have 4 axes (N, C, H, W), not 3 (shape (3, 4, 5)): for one image, x.reshape(1, 3, 4, 5)",
    ),
    "pool kernel too large": (
        lambda: avg_pool2d(X, kernel_size=9),
        ValueError,
        "the window's height (=9) is larger than the padded input's (=8 = 8 + 0 + 0): "
        "use a smaller kernel, or more padding",
    ),
    "norm_type": (
        lambda: lp_pool2d(X, norm_type=0.5, kernel_size=2),
        ValueError,
        "lp_pool2d: norm_type (=0.5) must be at least 1",
    ),
    "norm_type nan": (
        lambda: lp_pool2d(X, norm_type=float("nan"), kernel_size=2),
        ValueError,
        "lp_pool2d: norm_type (=nan) must be at least 1",
    ),
    "trainable pool": (
        lambda: trainable_avg_pool2d(X, ones(6), ones(5)),
        ValueError,
        "trainable_avg_pool2d: a (6,) and b (5,) must both have shape (6,), a coefficient and a bias for each map",
    ),
    "adaptive pool to 0": (
        lambda: adaptive_avg_pool2d(X, output_size=0),
        ValueError,
        "output_size (=0) must be at least 1",
    ),
    "adaptive pool of no pixels": (
        lambda: adaptive_max_pool2d(ones(2, 3, 0, 4), output_size=2),
        ValueError,
        "pooling: images of 0×4 pixels have nothing to pool",
    ),
    "global pool of rank 2": (
        lambda: global_avg_pool2d(LOGITS),
        ValueError,
        "pooling: x must have 4 axes (N, C, H, W), not 2 (shape (3, 5))",
    ),
    "global max pool of no pixels": (
        lambda: global_max_pool2d(ones(2, 3, 4, 0)),
        ValueError,
        "pooling: images of 4×0 pixels have nothing to pool",
    ),
    # softmax and losses
    "label negative": (
        lambda: cross_entropy(LOGITS, np.array([0, -1, 4])),
        ValueError,
        "cross_entropy: label -1 is out of range: with 5 classes labels run from 0 to 4",
    ),
    "label too large": (
        lambda: cross_entropy(LOGITS, np.array([0, 1, 5])),
        ValueError,
        "cross_entropy: label 5 is out of range: with 5 classes labels run from 0 to 4",
    ),
    "labels of floats": (
        lambda: cross_entropy(LOGITS, np.array([0.0, 1.0, 2.0])),
        TypeError,
        "cross_entropy: labels must be integers, one class index per image, not float64: or probabilities, an array "
        "(3, 5) of floats",
    ),
    "labels left out": (
        lambda: cross_entropy(LOGITS, None),
        TypeError,
        "cross_entropy: labels must be a Tensor or an array, not None",
    ),
    "one label as a number": (
        lambda: cross_entropy(LOGITS, 3),
        TypeError,
        "cross_entropy: labels must be a Tensor or an array, not 3",
    ),
    "labels one-hot": (
        lambda: cross_entropy(LOGITS, np.eye(5, dtype=int)[:3]),
        ValueError,
        "cross_entropy: labels have shape (3, 5), but there are 3 rows of logits: use (3,): for one-hot labels, "
        "labels.argmax(1), or labels.astype('float32')",
    ),
    "shares that do not sum to 1": (
        lambda: cross_entropy(LOGITS, np.full((3, 5), 0.25)),
        ValueError,
        "cross_entropy: labels of probabilities must be at least 0 and sum to 1 in each row, but this array has a row "
        "that sums to 1.25: divide each row by its sum",
    ),
    "a negative share": (
        lambda: cross_entropy(LOGITS, np.array([[1.5, -0.5, 0, 0, 0]] * 3)),
        ValueError,
        "cross_entropy: labels of probabilities must be at least 0 and sum to 1 in each row, but this array holds "
        "-0.5: divide each row by its sum",
    ),
    "shares and an ignored label": (
        lambda: cross_entropy(LOGITS, np.full((3, 5), 0.2), ignore_index=0),
        ValueError,
        "cross_entropy: ignore_index (=0) is for class indices: leave rows of probabilities out of the batch instead",
    ),
    "a label beyond the ignored one": (
        lambda: cross_entropy(LOGITS, np.array([-100, 2, 5]), ignore_index=-100),
        ValueError,
        "cross_entropy: label 5 is out of range: with 5 classes labels run from 0 to 4",
    ),
    "labels of another batch": (
        lambda: cross_entropy(LOGITS, np.array([0, 1])),
        ValueError,
        "cross_entropy: labels have shape (2,), but there are 3 rows of logits: use (3,)",
    ),
    "logits of rank 4": (
        lambda: cross_entropy(X, np.array([0, 1])),
        ValueError,
        "cross_entropy: logits must have shape (N, classes), both at least 1, not (2, 6, 8, 7)",
    ),
    "no images": (
        lambda: cross_entropy(ones(0, 5), np.array([], int)),
        ValueError,
        "cross_entropy: logits must have shape (N, classes), both at least 1, not (0, 5)",
    ),
    "label smoothing 1": (
        lambda: cross_entropy(LOGITS, np.array([0, 1, 2]), label_smoothing=1),
        ValueError,
        "cross_entropy: label_smoothing (=1) must be at least 0 and below 1",
    ),
    "label smoothing negative": (
        lambda: cross_entropy(LOGITS, np.array([0, 1, 2]), label_smoothing=-0.1),
        ValueError,
        "cross_entropy: label_smoothing (=-0.1) must be at least 0 and below 1",
    ),
    "mse shapes": (
        lambda: mse_loss(LOGITS, ones(3, 1)),
        ValueError,
        "mse_loss: x has shape (3, 5) and target (3, 1): they must be the same, and not empty",
    ),
    "bce with a number": (
        lambda: binary_cross_entropy_with_logits(LOGITS, 1),
        TypeError,
        "binary_cross_entropy_with_logits: target must be a Tensor or an array, not 1",
    ),
    # normalisation and noise
    "batch norm of one value": (
        lambda: batch_norm(ones(1, 6, 1, 1)),
        ValueError,
        "batch_norm: x (1, 6, 1, 1) has 1 value(s) per channel, and statistics need at least 2: use a larger batch, "
        "or eval() for the running statistics",
    ),
    "batch norm of no image": (
        lambda: batch_norm(ones(0, 6, 2, 2)),
        ValueError,
        "batch_norm: x (0, 6, 2, 2) has 0 value(s) per channel, and statistics need at least 2: use a larger batch, "
        "or eval() for the running statistics",
    ),
    "batch norm gamma": (
        lambda: batch_norm(X, ones(5), ones(6)),
        ValueError,
        "batch_norm: x has 6 channels, so gamma, beta, mean and var must each have shape (6,), not [(5,), (6,)]",
    ),
    "batch norm of rank 1": (
        lambda: batch_norm_inference(ones(6), None, None, ones(6), ones(6)),
        ValueError,
        "batch_norm_inference: x must have at least 2 axes (N, C, …), not shape (6,)",
    ),
    "lrn variant": (
        lambda: local_response_norm(X, size=5, variant="caffe"),
        ValueError,
        "local_response_norm: variant must be 'torch' or 'paper', not 'caffe'",
    ),
    "lrn size": (lambda: local_response_norm(X, size=0), ValueError, "size (=0) must be at least 1"),
    "lrn of rank 1": (
        lambda: local_response_norm(ones(6), size=5),
        ValueError,
        "local_response_norm: x must have at least 2 axes (N, C, …), not shape (6,)",
    ),
    "dropout p=1": (
        lambda: dropout(LOGITS, LOGITS > 0, p=1),
        ValueError,
        "dropout: p (=1) must be at least 0 and below 1",
    ),
    "dropout p negative": (
        lambda: stochastic_depth(X, np.array([True, False]), p=-0.5),
        ValueError,
        "stochastic_depth: p (=-0.5) must be at least 0 and below 1",
    ),
    "dropout mask": (
        lambda: dropout(LOGITS, ones(3) > 0, p=0.5),
        ValueError,
        "dropout: the mask has shape (3,), but for x (3, 5) it must be (3, 5)",
    ),
    "dropout2d mask": (
        lambda: dropout2d(X, ones(2, 6, 8, 7) > 0, p=0.5),
        ValueError,
        "dropout2d: the mask has shape (2, 6, 8, 7), but for x (2, 6, 8, 7) it must be (2, 6)",
    ),
    # products, shapes, reductions
    "linear of images": (
        lambda: linear(X, ones(5, 6)),
        ValueError,
        "linear: x (2, 6, 8, 7) and w (5, 6) do not match: x must be (N, in_features) and "
        "w (out_features, in_features); flatten images first",
    ),
    "linear features": (
        lambda: linear(LOGITS, ones(5, 6)),
        ValueError,
        "linear: x (3, 5) and w (5, 6) do not match: x must be (N, in_features) and "
        "w (out_features, in_features); flatten images first",
    ),
    "linear bias": (
        lambda: linear(LOGITS, ones(4, 5), ones(5)),
        ValueError,
        "linear: b has shape (5,), but there are 4 outputs: it must be (4,)",
    ),
    "matmul shapes": (
        lambda: matmul(ones(2, 3), ones(4, 5)),
        ValueError,
        "matmul: shapes (2, 3) and (4, 5) do not match: both need at least 2 axes, (…, M, K) and (…, K, L), "
        "and axes before them that broadcast",
    ),
    "matmul of a vector": (
        lambda: Tensor(ones(2, 3)) @ ones(3),
        ValueError,
        "matmul: shapes (2, 3) and (3,) do not match: both need at least 2 axes, (…, M, K) and (…, K, L), "
        "and axes before them that broadcast",
    ),
    "matmul of a number": (
        lambda: Tensor(ones(2, 3)) @ 2,
        TypeError,
        "matmul: b must be a Tensor or an array, not 2",
    ),
    "sum axis": (
        lambda: total(LOGITS, axis=2),
        ValueError,
        "sum: axis 2 is out of range for shape (3, 5): use -2 to 1",
    ),
    "mean axis in a tuple": (
        lambda: mean(LOGITS, axis=(0, -3)),
        ValueError,
        "mean: axis -3 is out of range for shape (3, 5): use -2 to 1",
    ),
    "max axis": (
        lambda: largest(LOGITS, axis=5),
        ValueError,
        "max: axis 5 is out of range for shape (3, 5): use -2 to 1",
    ),
    "softmax axis": (
        lambda: softmax(LOGITS, axis=2),
        ValueError,
        "softmax: axis 2 is out of range for shape (3, 5): use -2 to 1",
    ),
    "log_softmax axis": (
        lambda: log_softmax(ones(3), axis=1),
        ValueError,
        "log_softmax: axis 1 is out of range for shape (3,): use -1 to 0",
    ),
    "flatten axis": (
        lambda: flatten(ones(3)),
        ValueError,
        "flatten: axis 1 is out of range for shape (3,): use -1 to 0",
    ),
    "concat axis": (
        lambda: concat(LOGITS, LOGITS, axis=3),
        ValueError,
        "concat: axis 3 is out of range for shape (3, 5): use -2 to 1",
    ),
    "concat shapes": (
        lambda: concat(ones(2, 3, 4), ones(2, 3, 5)),
        ValueError,
        "concat: shapes [(2, 3, 4), (2, 3, 5)] must be the same except along axis 1",
    ),
    "concat of a list": (
        lambda: concat([Tensor(LOGITS), Tensor(LOGITS)]),
        TypeError,
        "concat: xs must be a Tensor or an array, not a list: pass several Tensors one by one",
    ),
    "power by a word": (
        lambda: power(LOGITS, exponent="2"),
        TypeError,
        "power: exponent must be a Tensor, an array or a number, not '2'",
    ),
    "power by no number": (
        lambda: Tensor(LOGITS) ** float("nan"),
        ValueError,
        "power: exponent (=nan) must be finite",
    ),
    "pad of three": (
        lambda: pad2d(X, padding=(1, 2, 3)),
        ValueError,
        "pad: padding must be an integer, ((top, bottom), (left, right)) or (left, right, top, bottom), not (1, 2, 3)",
    ),
    "pad of a pair, which PyTorch reads otherwise": (
        lambda: pad(X, padding=(1, 2)),
        ValueError,
        "pad: padding must be an integer, ((top, bottom), (left, right)) or (left, right, top, bottom), not (1, 2)",
    ),
    "pad negative": (lambda: pad(X, padding=-1), ValueError, "padding (=-1) must be at least 0"),
    "pad of rank 1": (
        lambda: pad(ones(3), padding=1),
        ValueError,
        "pad: x must have at least 2 axes (…, H, W), not shape (3,)",
    ),
    "pad mode": (
        lambda: pad(X, padding=1, mode="circular"),
        ValueError,
        "pad: mode must be 'constant', 'zeros', 'replicate' (or 'edge') or 'reflect', not 'circular'",
    ),
    "pad value": (
        lambda: pad(X, padding=1, mode="reflect", value=2.0),
        ValueError,
        "pad: value (=2.0) is for mode='constant', not for 'reflect'",
    ),
    "reflect too far": (
        lambda: pad(X, padding=((0, 0), (7, 0)), mode="reflect"),
        ValueError,
        "pad: padding (=((0, 0), (7, 0))) must be smaller than the 8×7 image for mode='reflect': pad twice, or use "
        "mode='replicate'",
    ),
    "replicate nothing": (
        lambda: pad(ones(2, 0, 3), padding=1, mode="replicate"),
        ValueError,
        "pad: an image of 0×3 pixels has no edge to replicate: use mode='constant'",
    ),
    # devices and seeds
    "device misspelt": (
        lambda: Tensor([1.0], device="cupu"),
        ValueError,
        "unknown device 'cupu': did you mean 'cpu'? Known: auto, cpu, cuda:0",
    ),
    "device unlike any": (
        lambda: devices.get("tpu-v5"),
        ValueError,
        "unknown device 'tpu-v5'. Known: auto, cpu, cuda:0",
    ),
    "no array": (
        lambda: devices.of([1.0]),
        TypeError,
        "list is not an array of any device: wrap the values in a Tensor",
    ),
    "seed negative": (lambda: rng.seed(-1), ValueError, "seed must be an integer from 0 to 2**63 - 1, not -1"),
    "seed float": (lambda: rng.seed(1.5), ValueError, "seed must be an integer from 0 to 2**63 - 1, not 1.5"),
    "seed True": (lambda: rng.seed(True), ValueError, "seed must be an integer from 0 to 2**63 - 1, not True"),
    "seed too large": (
        lambda: rng.seed(2**63),
        ValueError,
        f"seed must be an integer from 0 to 2**63 - 1, not {2**63}",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_sentence(what):
    call, kind, sentence = WRONG[what]
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert str(caught.value) == sentence


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_a_gpu_where_there_is_none(name):
    with pytest.raises(ValueError, match=rf"device '{re.escape(name)}' is not usable: .+\. Use 'cpu' or 'auto'$"):
        devices.get(name)


def test_the_next_of_kin_of_a_name():
    assert (
        unknown("model", "LeNet-5", ["lenet5", "alexnet"])
        == "unknown model 'LeNet-5': did you mean 'lenet5'? Known: alexnet, lenet5"
    )
    assert unknown("model", "zzz", ["lenet5"]) == "unknown model 'zzz'. Known: lenet5"


def test_integers_of_numpy_are_integers():
    assert pair("stride", np.int64(2)) == (2, 2)
    assert pair("stride", [1, np.int32(3)]) == (1, 3)
    assert type(positive("size", np.int64(2))) is int
    assert conv2d(X, W, stride=np.int64(2)).shape == (2, 4, 3, 3)


def test_what_is_allowed_just_so():
    """The nearest right input to many a wrong one above."""
    assert conv2d(X, ones(4, 6, 8, 7)).shape == (2, 4, 1, 1)
    assert conv2d(X, ones(4, 6, 3, 9), padding=1).shape == (2, 4, 8, 1)
    assert conv2d(X, W, padding="valid").shape == (2, 4, 6, 5)
    assert max_pool2d(X, kernel_size=3, padding=1).shape == (2, 6, 3, 3)
    assert max_pool2d(X, kernel_size=2, dilation=3, padding=2).shape == (2, 6, 5, 4)
    assert lp_pool2d(X, norm_type=1, kernel_size=2).shape == (2, 6, 4, 3)
    assert batch_norm(ones(2, 6)).shape == (2, 6)
    assert cross_entropy(LOGITS, np.array([0, 4, 0], np.uint8), label_smoothing=0).shape == ()
    assert dropout(LOGITS, LOGITS > 0, p=0).shape == (3, 5)
    assert Axis(5, 5).out == 1
    rng.seed(np.int64(0))
    rng.seed(2**63 - 1)
    rng.seed(0)


def test_a_forgotten_array_is_named():
    with pytest.raises(TypeError, match="'w'"):
        conv2d(X)


def test_bad_input_leaves_no_mark():
    """After an error the same Tensors work, and nothing has arrived in their gradients."""
    x, w = Tensor(X, True), Tensor(W, True)
    with pytest.raises(ValueError):
        conv2d(x, w, stride=0)
    with pytest.raises(ValueError):
        conv2d(x, w).backward(ones(1))
    assert x.grad is None
    conv2d(x, w).sum().backward()
    assert x.grad.shape == X.shape
