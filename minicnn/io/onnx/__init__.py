"""ONNX: a net as a file that other programs run (onnxruntime, OpenCV, TensorRT, a browser).

The net's own forward runs, and each op that it calls is written as ONNX nodes by its handler. In reading order:
graph.py (the nodes), trace.py (recording them), handlers.py (the table of handlers, which are in arithmetic.py,
layers.py, pooling.py and shapes.py), fold.py, file.py.
"""

from minicnn.io.onnx.file import IR_VERSION, OPSET, content, save
from minicnn.io.onnx.graph import Graph
from minicnn.io.onnx.handlers import HANDLERS
from minicnn.io.onnx.read import READERS, load
from minicnn.io.onnx.trace import trace

__all__ = ["HANDLERS", "IR_VERSION", "OPSET", "READERS", "Graph", "content", "load", "save", "trace"]
