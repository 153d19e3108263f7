"""Folding batch normalisation into the convolution before it.

    γ·(w∗x + b − μ)/√(σ² + ε) + β = (s·w)∗x + (s·(b − μ) + β),   s = γ/√(σ² + ε)

Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only inference", §3.2.
"""

from __future__ import annotations

import numpy as np

from minicnn.io.onnx.graph import Graph


def fold_batch_norm(graph: Graph) -> int:
    """Fold, in place, every batch norm that is the only reader of a convolution. Returns how many were folded."""
    readers: dict[str, int] = {graph.output.name: 1}
    for node in graph.nodes:
        for name in node.inputs:
            readers[name] = readers.get(name, 0) + 1
    by_output = {node.output: node for node in graph.nodes}
    folded = 0
    for norm in [n for n in graph.nodes if n.op == "BatchNormalization"]:
        conv = by_output.get(norm.inputs[0])
        if conv is None or conv.op != "Conv" or any(readers[name] != 1 for name in (conv.output, *conv.inputs[1:])):
            continue
        if any(name not in graph.constants for name in (*conv.inputs[1:], *norm.inputs[1:])):
            continue
        gamma, beta, mean, var = (graph.constants[name].astype(np.float64) for name in norm.inputs[1:])
        w = graph.constants[conv.inputs[1]]                                   # (O, C/G, KH, KW)
        b = graph.constants[conv.inputs[2]] if len(conv.inputs) > 2 else np.zeros(len(w), w.dtype)
        scale = gamma / np.sqrt(var + norm.attributes["epsilon"])             # (O,)
        bias = conv.inputs[2] if len(conv.inputs) > 2 else conv.inputs[1].removesuffix(".weight") + ".bias"
        graph.constants[conv.inputs[1]] = (w * scale[:, None, None, None]).astype(w.dtype)
        graph.constants[bias] = (scale * (b - mean) + beta).astype(w.dtype)
        conv.inputs = [*conv.inputs[:2], bias]
        conv.output = norm.output
        graph.nodes.remove(norm)
        folded += 1
    used = {name for node in graph.nodes for name in node.inputs}
    for name in [n for n in graph.constants if n not in used]:
        del graph.constants[name]
    return folded
