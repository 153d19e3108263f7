"""The fully connected layer, and what stands around it."""

from minicnn.geometry import positive
from minicnn.nn import init
from minicnn.nn.module import Module, Parameter
from minicnn.ops.linear import linear
from minicnn.ops.shape import flatten


class Linear(Module):
    """y = x · weightᵀ + bias.   x (N,in_features) → (N,out_features)

    weight (out_features, in_features), drawn he_normal;   bias (out_features,), zeros, or None.
    """

    def __init__(self, in_features, out_features, bias=True):
        self.in_features = positive("in_features", in_features)
        self.out_features = positive("out_features", out_features)
        self.weight = Parameter(init.he_normal((out_features, in_features)))
        self.bias = Parameter(init.constant((out_features,), 0)) if bias else None

    def forward(self, x):
        """x (N,I) → (N,O)"""
        return linear(x, self.weight, self.bias)

    def macs(self, output_shape):
        """O outputs, each of I products"""
        return self.weight.size


class Flatten(Module):
    """(N,C,H,W) → (N, C·H·W): all axes from `start_axis` on become one."""

    def __init__(self, start_axis=1):
        self.start_axis = start_axis

    def forward(self, x):
        """x (N,…) → (N, the rest)"""
        return flatten(x, start_axis=self.start_axis)


class Identity(Module):
    """y = x: a place for a layer that is not there."""

    def forward(self, x):
        """x → x"""
        return x
