"""ONNX: a net as a file that other programs run (onnxruntime, OpenCV, TensorRT, a browser).

The net is not described a second time: its own forward runs once, and each op that it calls is written down as ONNX
nodes. In reading order: graph.py (what is written down), trace.py (how), a file for each family of ops
(arithmetic.py, layers.py, windows.py, shapes.py), fold.py, file.py.
"""

from minicnn.io.onnx.file import IR_VERSION, OPSET, content, save
from minicnn.io.onnx.graph import Graph
from minicnn.io.onnx.trace import trace

__all__ = ["IR_VERSION", "OPSET", "Graph", "content", "save", "trace"]
