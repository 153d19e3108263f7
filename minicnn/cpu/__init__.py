"""The NumPy backend. Each primitive of device.Device is a function of this module.

Read `conv/im2col.py` first: the textbook convolution.
"""

import numpy as xp

from minicnn.cpu.batch_norm import batch_norm_apply, batch_norm_dx, batch_norm_stats, batch_norm_sums, channel_sums
from minicnn.cpu.conv import conv2d, conv2d_dw, conv2d_dx
from minicnn.cpu.dropout import dropout_mask
from minicnn.cpu.elements import add, add_relu, elementwise, evaluate, relu, relu_dx
from minicnn.cpu.gemm import matmul
from minicnn.cpu.lrn import local_response_norm, local_response_norm_dx
from minicnn.cpu.pool import avg_pool2d, avg_pool2d_dx, lp_pool2d, lp_pool2d_dx, max_pool2d, max_pool2d_dx
from minicnn.cpu.softmax import cross_entropy, cross_entropy_dx
from minicnn.cpu.update import adam_update, sgd_update

__all__ = [
    "adam_update",
    "add",
    "add_at",
    "add_relu",
    "asarray",
    "avg_pool2d",
    "avg_pool2d_dx",
    "batch_norm_apply",
    "batch_norm_dx",
    "batch_norm_stats",
    "batch_norm_sums",
    "channel_sums",
    "conv2d",
    "conv2d_dw",
    "conv2d_dx",
    "cross_entropy",
    "cross_entropy_dx",
    "dropout_mask",
    "elementwise",
    "evaluate",
    "local_response_norm",
    "local_response_norm_dx",
    "lp_pool2d",
    "lp_pool2d_dx",
    "matmul",
    "max_pool2d",
    "max_pool2d_dx",
    "name",
    "recomputes_relu",
    "relu",
    "relu_dx",
    "sgd_update",
    "synchronize",
    "to_numpy",
    "xp",
]  # fmt: skip

name = "cpu"
recomputes_relu = False


def asarray(values, dtype=None):
    return xp.asarray(values, dtype)


def to_numpy(array):
    return array


def synchronize():
    """NumPy calls return when their work is done."""


def add_at(target, index, values):
    xp.add.at(target, index, values)
