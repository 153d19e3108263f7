"""The layers: each holds its parameters and calls one op. Names, argument order and defaults are PyTorch's."""

from minicnn.nn.activation import (
    ELU,
    GELU,
    SELU,
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from minicnn.nn.conv import Conv1d, Conv2d, ConvTranspose2d
from minicnn.nn.dropout import Dropout, Dropout2d, StochasticDepth
from minicnn.nn.linear import Flatten, Identity, Linear
from minicnn.nn.loss import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from minicnn.nn.module import Buffer, Module, Parameter, watch
from minicnn.nn.norm import BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm, LocalResponseNorm
from minicnn.nn.pad import ConstantPad2d, ReflectionPad2d, ReplicationPad2d, ZeroPad2d
from minicnn.nn.pool import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool1d,
    AvgPool2d,
    GlobalAvgPool2d,
    GlobalMaxPool2d,
    LPPool2d,
    MaxPool1d,
    MaxPool2d,
    TrainableAvgPool2d,
)
from minicnn.nn.resize import PixelShuffle, PixelUnshuffle, Upsample
from minicnn.nn.sequential import Sequential
from minicnn.nn.state import LoadReport

__all__ = [  # noqa: RUF022 - in plain alphabetical order, ELU beside Dropout
    "AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "AvgPool1d", "AvgPool2d", "BCEWithLogitsLoss", "BatchNorm2d",
    "Buffer", "ConstantPad2d", "Conv1d", "Conv2d", "ConvTranspose2d", "CrossEntropyLoss", "Dropout", "Dropout2d",
    "ELU", "Flatten", "GELU", "GlobalAvgPool2d", "GlobalMaxPool2d", "GroupNorm", "Hardsigmoid", "Hardswish",
    "Identity", "InstanceNorm2d", "LPPool2d", "LayerNorm", "LeakyReLU", "Linear", "LoadReport", "LocalResponseNorm",
    "LogSoftmax", "MSELoss", "MaxPool1d", "MaxPool2d", "Mish", "Module", "PReLU", "Parameter", "PixelShuffle",
    "PixelUnshuffle", "ReLU", "ReLU6", "ReflectionPad2d", "ReplicationPad2d", "SELU", "Sequential", "SiLU",
    "Sigmoid", "Softmax", "Softplus", "StochasticDepth", "Tanh", "TrainableAvgPool2d", "Upsample", "ZeroPad2d",
    "watch",
]  # fmt: skip
