"""The mathematics: each op is a formula and its gradients, in one place, on whatever device the arrays live.

The import path is the reading path: `from minicnn.ops.conv import conv2d`.
"""
