"""Activation layers: the ops of ops/activation.py and ops/softmax.py, with a place in a Sequential."""

from minicnn.nn.module import Module
from minicnn.ops import activation, softmax


class ReLU(Module):
    """max(x, 0)"""

    def forward(self, x):
        """x → y, the same shape"""
        return activation.relu(x)


class ReLU6(Module):
    """min(max(x, 0), 6)"""

    def forward(self, x):
        """x → y, the same shape"""
        return activation.relu6(x)


class LeakyReLU(Module):
    """x above 0, negative_slope·x below"""

    def __init__(self, negative_slope=0.01):
        self.negative_slope = negative_slope

    def forward(self, x):
        """x → y, the same shape"""
        return activation.leaky_relu(x, negative_slope=self.negative_slope)


class Tanh(Module):
    """tanh x"""

    def forward(self, x):
        """x → y, the same shape"""
        return activation.tanh(x)


class Sigmoid(Module):
    """1/(1 + e^−x)"""

    def forward(self, x):
        """x → y, the same shape"""
        return activation.sigmoid(x)


class SiLU(Module):
    """x/(1 + e^−x)"""

    def forward(self, x):
        """x → y, the same shape"""
        return activation.silu(x)


class Hardsigmoid(Module):
    """min(max(x + 3, 0), 6)/6"""

    def forward(self, x):
        """x → y, the same shape"""
        return activation.hardsigmoid(x)


class Hardswish(Module):
    """x·min(max(x + 3, 0), 6)/6"""

    def forward(self, x):
        """x → y, the same shape"""
        return activation.hardswish(x)


class Softmax(Module):
    """e^x / Σ e^x along `axis`"""

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, x):
        """x → y, the same shape"""
        return softmax.softmax(x, axis=self.axis)


class LogSoftmax(Module):
    """log of the softmax along `axis`"""

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, x):
        """x → y, the same shape"""
        return softmax.log_softmax(x, axis=self.axis)
