"""Edges that the other tests of inspect do not reach."""

import io

import pytest
from PIL import Image

from minicnn import inspect, nn
from minicnn.data.figures import figure
from minicnn.inspect.summary_table import window


def test_a_figure_is_a_picture_in_a_notebook():
    pytest.importorskip("matplotlib")
    shown = Image.open(io.BytesIO(figure(2, 1)._repr_png_()))
    assert (shown.format, shown.size) == ("PNG", (240, 120)), "2 × 1 inches of 120 pixels"


def test_windows_are_written_as_kernel_stride_and_groups():
    net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, (3, 1), stride=2, groups=8), nn.MaxPool2d(2), nn.ReLU())
    layers = inspect.summary(net, (4, 32, 32)).layers
    assert [window(layer) for layer in layers] == ["3×3", "3×1/2 g8", "2×2/2", ""]
