"""Padding layers, with PyTorch's names.   x (…,H,W) → y (…, top + H + bottom, left + W + right)"""

from minicnn.nn.module import Module
from minicnn.ops.pad import Border, border, pad
from minicnn.tensor import Tensor


class _Pad(Module):
    """A border of `padding`: an integer, (left, right, top, bottom), or ((top, bottom), (left, right))."""

    mode = "constant"
    value = 0.0

    def __init__(self, padding: Border):
        border(type(self).__name__, padding)
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """x (…,H,W) → (…, top + H + bottom, left + W + right)"""
        return pad(x, padding=self.padding, mode=self.mode, value=self.value)


class ConstantPad2d(_Pad):
    """A border of `value`. padding: an integer, (left, right, top, bottom), or ((top, bottom), (left, right))."""

    def __init__(self, padding: Border, value: float):
        super().__init__(padding)
        self.value = value


class ZeroPad2d(_Pad):
    """A border of zeros. padding: an integer, (left, right, top, bottom), or ((top, bottom), (left, right))."""


class ReflectionPad2d(_Pad):
    """The image mirrored at its edge pixels, which are not repeated; padding must be smaller than the image."""

    mode = "reflect"


class ReplicationPad2d(_Pad):
    """The nearest pixel of the image, repeated."""

    mode = "replicate"
