"""Activation layers: the ops of ops/activation.py and ops/softmax.py, as layers."""

from minicnn import ops
from minicnn.geometry import positive
from minicnn.nn.init import constant
from minicnn.nn.module import Module, Parameter
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


class ELU(Module):
    """x above 0, alpha·(e^x − 1) below"""

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return ops.elu(x, alpha=self.alpha)


class SELU(Module):
    """λ·x above 0, λα·(e^x − 1) below, with the constants λ and α that keep mean 0 and variance 1"""

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return ops.selu(x)


class GELU(Module):
    """x·Φ(x), Φ the normal distribution's cumulative function; approximate="tanh": nearly the same, by a tanh"""

    def __init__(self, approximate: str = "none"):
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return ops.gelu(x, approximate=self.approximate)


class Softplus(Module):
    """ln(1 + e^(βx))/β"""

    def __init__(self, beta: float = 1.0):
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return ops.softplus(x, beta=self.beta)


class Mish(Module):
    """x·tanh(ln(1 + e^x))"""

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return ops.mish(x)


class PReLU(Module):
    """x above 0, weight[c]·x below: a learned slope for each of `num_parameters` channels, or one for all.

    weight (num_parameters,) starts as `init`, 0.25 as in the paper.   He et al. 2015, §2.1
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25):
        self.num_parameters, self.init = positive("num_parameters", num_parameters), init
        self.weight = Parameter(constant((num_parameters,), init))

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,…) → y, the same shape"""
        return ops.prelu(x, self.weight)


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
