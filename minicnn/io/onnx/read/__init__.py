"""Reading ONNX: any net as a `models.graph.Graph`, whose layers and ops are ours.

In reading order: proto.py (the file), node.py, build.py (nodes become calls of ops, on shapes), table.py (the table of
readers, which are in elementwise.py, layers.py, windows.py and shapes.py; folded.py has the arithmetic with shapes),
merge.py (any number of images), describe.py (layers and names), load.py.
"""

from minicnn.io.onnx.read.load import load, read
from minicnn.io.onnx.read.table import READERS, operators

__all__ = ["READERS", "load", "operators", "read"]
