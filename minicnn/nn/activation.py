"""Activation layers: the ops of ops/activation.py and ops/softmax.py, as layers."""

from minicnn import ops
from minicnn.nn.module import Module
from minicnn.tensor import Tensor


class ReLU(Module):
    """max(x, 0)"""

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return ops.relu(x)


class ReLU6(Module):
    """min(max(x, 0), 6)"""

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return ops.relu6(x)


class LeakyReLU(Module):
    """x above 0, negative_slope·x below"""

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return ops.leaky_relu(x, negative_slope=self.negative_slope)


class Tanh(Module):
    """tanh x"""

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return ops.tanh(x)


class Sigmoid(Module):
    """1/(1 + e^−x)"""

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return ops.sigmoid(x)


class SiLU(Module):
    """x/(1 + e^−x)"""

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return ops.silu(x)


class Hardsigmoid(Module):
    """min(max(x + 3, 0), 6)/6"""

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return ops.hardsigmoid(x)


class Hardswish(Module):
    """x·min(max(x + 3, 0), 6)/6"""

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return ops.hardswish(x)


class Softmax(Module):
    """e^x / Σ e^x along `axis`"""

    def __init__(self, axis: int = -1):
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return ops.softmax(x, axis=self.axis)


class LogSoftmax(Module):
    """log of the softmax along `axis`"""

    def __init__(self, axis: int = -1):
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return ops.log_softmax(x, axis=self.axis)
