"""Nets in use: `minicnn.compile` folds a net into a plan, a list of kernels in planned memory.

    trace.py      the net's forward → a graph of ops
    fold.py       fewer nodes: ReLU into the node before it, …; affine.py: batch norm into the weights
    memory.py     where values lie: joined maps, and memory that is used again
    kernels.py    a node → the kernels of minicnn/cpu/compiled; weighted.py: those with weights; addresses.py: of values
    plan.py       the callable, for each batch size
    table.py      what `explain` shows
    predictor.py  a model's answers, by a plan where that is quicker
"""

from minicnn.plan.plan import Plan, compile
from minicnn.plan.predictor import classify, predictor
from minicnn.plan.table import Row, Table
from minicnn.plan.trace import CompileError

__all__ = ["CompileError", "Plan", "Row", "Table", "classify", "compile", "predictor"]
