"""The formula with the numbers in it: one number of a convolution, a pooling, a softmax, a step, or of any net.

    explain.conv("mouse", "curve")                           # prints in a terminal, shows as HTML in a notebook
    explain.unit(net, x, "features.3", (15, 6, 8)).as_dict()

Each function returns a dataclass with all numbers.
"""

from minicnn.explain.convolution import conv, flip
from minicnn.explain.draw import draw
from minicnn.explain.pixels import pixels
from minicnn.explain.pooling import pool
from minicnn.explain.signal import conv1d
from minicnn.explain.softmax import softmax
from minicnn.explain.step import neuron, step
from minicnn.explain.unit import unit

__all__ = ["conv", "conv1d", "draw", "flip", "neuron", "pixels", "pool", "softmax", "step", "unit"]
