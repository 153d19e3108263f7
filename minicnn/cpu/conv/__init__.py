"""Which convolution algorithm computes what. So far there is one, the textbook's."""

from minicnn.cpu.conv.im2col import conv2d, conv2d_dw, conv2d_dx

__all__ = ["conv2d", "conv2d_dw", "conv2d_dx"]
