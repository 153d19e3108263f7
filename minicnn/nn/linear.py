"""The fully connected layer, Flatten and Identity."""

from minicnn.geometry import positive
from minicnn.nn import init
from minicnn.nn.module import Module, Parameter
from minicnn.ops.linear import linear
from minicnn.ops.shape import flatten
from minicnn.tensor import Tensor


class Linear(Module):
    """y = x · weightᵀ + bias.   x (N,in_features) → (N,out_features)

    weight (out_features, in_features), initialised with he_normal;   bias (out_features,), zeros, or None.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        self.in_features = positive("in_features", in_features)
        self.out_features = positive("out_features", out_features)
        self.weight = Parameter(init.he_normal((out_features, in_features)))
        self.bias = Parameter(init.constant((out_features,), 0)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x (N,I) → (N,O)"""
        return linear(x, self.weight, self.bias)

    def macs(self, output_shape: tuple[int, ...]) -> int:
        """O outputs, each of I products"""
        return self.weight.size


class Flatten(Module):
    """(N,C,H,W) → (N, C·H·W): all axes from `start_axis` on are merged into one."""

    def __init__(self, start_axis: int = 1):
        self.start_axis = start_axis

    def forward(self, x: Tensor) -> Tensor:
        """x (N,…) → (N, product of the other sizes)"""
        return flatten(x, start_axis=self.start_axis)


class Identity(Module):
    """y = x: a placeholder for a layer."""

    def forward(self, x: Tensor) -> Tensor:
        """x → x"""
        return x
