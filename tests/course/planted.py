"""Wrong solutions: each is an answer in which one thing was changed, or one gradient of the gallery of wrong gradients.

(exercise, the kind that the hint must name, what stands in the answer, what stands there instead)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minicnn import cpu_path
from minicnn.course import files, judge, worker
from minicnn.course.child import Answers, outcome
from minicnn.geometry import Conv2dGeometry
from tests.ops import planted_bugs as gallery

ANSWERS = Path(__file__).parent / "answers"

PLANTED = [
    (1, "rounded up", "room // stride + 1", "-(-room // stride) + 1"),
    (1, "+ 1 forgotten", "room // stride + 1", "room // stride"),
    (1, "padding on one side only", "2 * padding - span", "padding - span"),
    (1, "padding forgotten", " + 2 * padding - span", " - span"),
    (1, "stride forgotten", "room // stride + 1", "room + 1"),
    (1, "dilation forgotten", "span = dilation * (kernel - 1) + 1", "span = kernel"),
    (1, "span of a dilated window", "span = dilation * (kernel - 1) + 1", "span = dilation * kernel"),
    (1, "negative number of windows", "max(0, room // stride + 1)", "room // stride + 1"),
    (1, "a float where an integer must be", "max(0, room // stride + 1)", "float(max(0, room // stride + 1))"),
    (1, "extra zero in front", "zeros // 2, zeros - zeros // 2", "zeros - zeros // 2, zeros // 2"),
    (1, "stride forgotten", "zeros = max(0, zeros)", "zeros = kernel - 1"),
    (1, "half a kernel on each side", "zeros // 2, zeros - zeros // 2", "kernel // 2, kernel // 2"),
    (1, "negative padding", "    zeros = max(0, zeros)\n", ""),
    (1, "rows and columns swapped", "(top, bottom), (left, right)", "(left, right), (top, bottom)"),
    (1, "before and after swapped", "(top, bottom), (left, right)", "(bottom, top), (right, left)"),
    (1, "edge pixels instead of zeros", '"constant"', '"edge"'),
    (1, "nothing returned", "return np.pad", "np.pad"),

    (2, "kernel flipped", "w[o, c, p, q]", "w[o, c, KH - 1 - p, KW - 1 - q]"),
    (2, "kernel transposed", "O, C, KH, KW = w.shape", "w = w.swapaxes(2, 3)\n    O, C, KH, KW = w.shape"),
    (2, "padding forgotten", "O, C, KH, KW = w.shape", "O, C, KH, KW = w.shape\n    padding = 0"),
    (2, "stride forgotten", "O, C, KH, KW = w.shape", "O, C, KH, KW = w.shape\n    stride = 1"),
    (2, "bias forgotten", "= b[o]", "= 0"),
    (2, "bias once for each input channel", "y[n, o, i, j] = b[o]\n                    for c in range(C):",
     "for c in range(C):\n                        y[n, o, i, j] += b[o]"),
    (2, "only the first channel", "for c in range(C)", "for c in range(1)"),
    (2, "only the last channel", "for c in range(C)", "for c in range(C - 1, C)"),
    (2, "mean instead of sum", "+= w[o, c, p, q] * x[n, c, h, v]", "+= w[o, c, p, q] * x[n, c, h, v] / w[o].size"),
    (2, "the first image's result for all", "x[n, c, h, v]", "x[0, c, h, v]"),
    (2, "the first filter for all", "w[o, c, p, q]", "w[0, c, p, q]"),
    (2, "edge pixels instead of zeros", "if 0 <= h < H and 0 <= v < W:",
     "h, v = min(max(h, 0), H - 1), min(max(v, 0), W - 1)\n                                if True:"),
    (2, "negative index wraps around", "if 0 <= h < H and 0 <= v < W:", "if h < H and v < W:"),
    (2, "exception", "if 0 <= h < H and 0 <= v < W:", "if True:"),
    (2, "integers where floats must be", "y = np.zeros((N, O, OH, OW))", "y = np.zeros((N, O, OH, OW), int)"),
    (2, "single precision", "y = np.zeros((N, O, OH, OW))", "y = np.zeros((N, O, OH, OW), np.float32)"),
    (2, "input changed in place", "O, C, KH, KW = w.shape", "O, C, KH, KW = w.shape\n    x *= 1.5; x /= 1.25"),
    (2, "wrong type", "return y", "return y.tolist()"),

    (3, "kernel flipped in dx", "w, axes=1)", "w[:, :, ::-1, ::-1], axes=1)"),
    (3, "dx overwritten where windows overlap", "dpadded[window] += ", "dpadded[window] = "),
    (3, "padding cut off at the corner", "dpadded[:, :, padding:padding + H, padding:padding + W]",
     "dpadded[:, :, :H, :W]"),
    (3, "padding not cut off", "dpadded[:, :, padding:padding + H, padding:padding + W]", "dpadded"),
    (3, "stride ignored in dx", "dpadded[window] +=", "dpadded[n, :, i:i + KH, j:j + KW] +="),
    (3, "dw transposed", "return dx, dw, db", "return dx, dw.swapaxes(2, 3), db"),
    (3, "dw flipped", "return dx, dw, db", "return dx, dw[:, :, ::-1, ::-1], db"),
    (3, "dw averaged over the batch", "return dx, dw, db", "return dx, dw / N, db"),
    (3, "db over the wrong axes", "dy.sum((0, 2, 3))", "dy.sum((1, 2, 3))"),
    (3, "db averaged", "dy.sum((0, 2, 3))", "dy.mean((0, 2, 3))"),
    (3, "db over the batch divided by N", "dy.sum((0, 2, 3))", "dy.sum((0, 2, 3)) / N"),
    (3, "db forgotten", "dy.sum((0, 2, 3))", "np.zeros(O)"),
    (3, "dx and dw exchanged", "return dx, dw, db", "return dw, dx, db"),

    (4, "channels last in the rows", "return cols.reshape(N, C * KH",
     "cols = cols.transpose(0, 2, 3, 1, 4, 5)\n    return cols.reshape(N, C * KH"),
    (4, "window's rows and columns exchanged", "return cols.reshape(N, C * KH",
     "cols = cols.transpose(0, 1, 3, 2, 4, 5)\n    return cols.reshape(N, C * KH"),
    (4, "windows column by column", "return cols.reshape(N, C * KH",
     "cols = cols.transpose(0, 1, 2, 3, 5, 4)\n    return cols.reshape(N, C * KH"),
    (4, "columns as rows", "return cols.reshape(N, C * KH * KW, OH * OW)",
     "return cols.reshape(N, C * KH * KW, OH * OW).transpose(0, 2, 1)"),
    (4, "window flipped", "cols[:, :, p, q] = x", "cols[:, :, KH - 1 - p, KW - 1 - q] = x"),
    (4, "padding forgotten", "    N, C, H, W = x.shape\n", "    N, C, H, W = x.shape\n    padding = 0\n"),
    (4, "stride forgotten", "    N, C, H, W = x.shape\n", "    N, C, H, W = x.shape\n    stride = 1\n"),
    (4, "overwritten where windows overlap", "+= cols[:, :, p, q, i, j]", "= cols[:, :, p, q, i, j]"),
    (4, "padding cut off at the corner", "return x[:, :, padding:padding + H, padding:padding + W]",
     "return x[:, :, :H, :W]"),
    (4, "padding not cut off", "return x[:, :, padding:padding + H, padding:padding + W]", "return x"),
    (4, "averaged where windows overlap",
     "    return x[:, :, padding:padding + H, padding:padding + W]",
     "    many = np.zeros(x.shape)\n"
     "    for i in range(OH):\n"
     "        for j in range(OW):\n"
     "            many[:, :, i * stride:i * stride + KH, j * stride:j * stride + KW] += 1\n"
     "    return (x / np.maximum(many, 1))[:, :, padding:padding + H, padding:padding + W]"),
    (4, "rows of cols in another order", "cols = cols.reshape(N, C, KH, KW, OH, OW)",
     "cols = cols.reshape(N, KH, KW, C, OH, OW).transpose(0, 3, 1, 2, 4, 5)"),

    (5, "starts from 0", "np.full((N, C, OH, OW), -np.inf)", "np.zeros((N, C, OH, OW))"),
    (5, "mean instead of maximum", "np.maximum(y[:, :, i, j], window.max((2, 3)))", "window.mean((2, 3))"),
    (5, "largest absolute value", "window.max", "abs(window).max"),
    (5, "stride taken to be the kernel", "    N, C, H, W = x.shape\n",
     "    N, C, H, W = x.shape\n    stride = kernel\n"),
    (5, "stride 1", "    N, C, H, W = x.shape\n", "    N, C, H, W = x.shape\n    stride = 1\n"),
    (5, "incomplete windows kept", "(H - kernel) // stride + 1, (W - kernel) // stride + 1",
     "-(-(H - kernel) // stride) + 1, -(-(W - kernel) // stride) + 1"),
    (5, "to the last of the largest", "x[n, c, h, v] > best", "x[n, c, h, v] >= best"),
    (5, "overwritten where windows overlap", "dx[n, c, h, v] += dy", "dx[n, c, h, v] = dy"),
    (5, "first by columns", "h, v = i * stride + p, j * stride + q", "h, v = i * stride + q, j * stride + p"),
    (5, "to all of the largest", "        h, v = where\n        dx[n, c, h, v] += dy[n, c, i, j]",
     "        here = np.s_[n, c, i * stride:i * stride + kernel, j * stride:j * stride + kernel]\n"
     "        dx[here] += (x[here] == best) * dy[n, c, i, j]"),
    (5, "shared among the largest", "        h, v = where\n        dx[n, c, h, v] += dy[n, c, i, j]",
     "        here = np.s_[n, c, i * stride:i * stride + kernel, j * stride:j * stride + kernel]\n"
     "        dx[here] += (x[here] == best) * dy[n, c, i, j] / (x[here] == best).sum()"),
    (5, "to the whole window", "        h, v = where\n        dx[n, c, h, v] += dy[n, c, i, j]",
     "        dx[n, c, i * stride:i * stride + kernel, j * stride:j * stride + kernel] += dy[n, c, i, j]"),
    (5, "averaged over the window", "        h, v = where\n        dx[n, c, h, v] += dy[n, c, i, j]",
     "        here = np.s_[n, c, i * stride:i * stride + kernel, j * stride:j * stride + kernel]\n"
     "        dx[here] += dy[n, c, i, j] / kernel ** 2"),

    (6, "no maximum subtracted", "e = np.exp(x - x.max(axis=1, keepdims=True))", "e = np.exp(x)"),
    (6, "the maximum of the whole batch subtracted", "e = np.exp(x - x.max(axis=1, keepdims=True))",
     "e = np.exp(x - x.max())"),
    (6, "along the wrong axis", "    e = np.exp(x - x.max(axis=1, keepdims=True))\n    return e / e.sum(axis=1,",
     "    e = np.exp(x - x.max(axis=0, keepdims=True))\n    return e / e.sum(axis=0,"),
    (6, "over the whole batch",
     "e = np.exp(x - x.max(axis=1, keepdims=True))\n    return e / e.sum(axis=1, keepdims=True)",
     "e = np.exp(x - x.max())\n    return e / e.sum()"),
    (6, "a sigmoid of each score", "return e / e.sum(axis=1, keepdims=True)", "return 1 / (1 + np.exp(-x))"),
    (6, "not divided by the sum", "return e / e.sum(axis=1, keepdims=True)", "return e"),
    (6, "logarithm of the softmax", "return x - np.log(np.exp(x).sum(axis=1, keepdims=True))",
     "return np.log(softmax(x))"),
    (6, "a small number added inside the logarithm", "return x - np.log(np.exp(x).sum(axis=1, keepdims=True))",
     "return np.log(softmax(x) + 1e-12)"),
    (6, "the maximum not added again",
     "    x = x - x.max(axis=1, keepdims=True)\n    return x - np.log(np.exp(x)",
     "    return x - np.log(np.exp(x - x.max(axis=1, keepdims=True))"),
    (6, "another base", "return x - np.log(np.exp(x).sum(axis=1, keepdims=True))",
     "return (x - np.log(np.exp(x).sum(axis=1, keepdims=True))) / np.log(2)"),
    (6, "sum instead of mean", "labels].mean()", "labels].sum()"),
    (6, "sign", "return -logp", "return logp"),
    (6, "mean over the classes too", "labels].mean()", "labels].mean() / x.shape[1]"),
    (6, "the most probable class instead of the label", "logp[np.arange(len(x)), labels]", "logp.max(axis=1)"),
    (6, "not divided by N", "return dx / len(x)", "return dx"),
    (6, "divided by N·K", "return dx / len(x)", "return dx / x.size"),
    (6, "the label forgotten", "    dx[np.arange(len(x)), labels] -= 1\n", ""),
    (6, "sign", "return dx / len(x)", "return -dx / len(x)"),
    (6, "scores divided by their sum", "return e / e.sum(axis=1, keepdims=True)",
     "return x / x.sum(axis=1, keepdims=True)"),
    (6, "probability instead of its logarithm", "-logp[np.arange(len(x)), labels].mean()",
     "1 - np.exp(logp)[np.arange(len(x)), labels].mean()"),
    (6, "only the label's class", "return dx / len(x)",
     "only = np.zeros(x.shape)\n    only[np.arange(len(x)), labels] = 1\n    return only * dx / len(x)"),
    (6, "times the slope of the softmax again", "return dx / len(x)",
     "return dx * softmax(x) * (1 - softmax(x)) / len(x)"),

    (7, "statistics of each image",
     "    mean = x.mean((0, 2, 3), keepdims=True)\n    var = x.var((0, 2, 3), keepdims=True)",
     "    mean = x.mean((2, 3), keepdims=True)\n    var = x.var((2, 3), keepdims=True)"),
    (7, "statistics of each pixel",
     "    mean = x.mean((0, 2, 3), keepdims=True)\n    var = x.var((0, 2, 3), keepdims=True)",
     "    mean = x.mean(0, keepdims=True)\n    var = x.var(0, keepdims=True)"),
    (7, "unbiased variance", "x.var((0, 2, 3), keepdims=True)", "x.var((0, 2, 3), ddof=1, keepdims=True)"),
    (7, "ε forgotten", "np.sqrt(var + eps)", "np.sqrt(var)"),
    (7, "ε added to the standard deviation", "np.sqrt(var + eps)", "(np.sqrt(var) + eps)"),
    (7, "divided by the variance", "np.sqrt(var + eps)", "(var + eps)"),
    (7, "β forgotten", "gamma[:, None, None] * xhat + beta[:, None, None]", "gamma[:, None, None] * xhat"),
    (7, "γ and β exchanged", "gamma[:, None, None] * xhat + beta[:, None, None]",
     "beta[:, None, None] * xhat + gamma[:, None, None]"),
    (7, "dgamma averaged", "return gamma[:, None, None] * inv_std * dx, dgamma, dbeta",
     "return gamma[:, None, None] * inv_std * dx, dgamma / M, dbeta"),
    (7, "sums instead of means", "dbeta[:, None, None] / M - xhat * dgamma[:, None, None] / M",
     "dbeta[:, None, None] - xhat * dgamma[:, None, None]"),
    (7, "1/σ forgotten in dx", "return gamma[:, None, None] * inv_std * dx,", "return gamma[:, None, None] * dx,"),
    (7, "dgamma and dbeta exchanged", "inv_std * dx, dgamma, dbeta", "inv_std * dx, dbeta, dgamma"),
    (7, "statistics over all channels",
     "    mean = x.mean((0, 2, 3), keepdims=True)\n    var = x.var((0, 2, 3), keepdims=True)",
     "    mean = x.mean()\n    var = x.var()"),
    (7, "γ and β forgotten", "gamma[:, None, None] * xhat + beta[:, None, None]", "xhat"),

    (8, "kernel area forgotten", "area = math.prod(shape[2:])", "area = 1"),
    (8, "fan_in and fan_out exchanged", "return I * area, O * area", "return O * area, I * area"),
    (8, "fan_out instead of fan_in", "math.sqrt(2 / fan_in)", "math.sqrt(2 / fan_out)"),
    (8, "1 instead of 2", "math.sqrt(2 / fan_in)", "math.sqrt(1 / fan_in)"),
    (8, "variance taken for the standard deviation", "math.sqrt(2 / fan_in)", "2 / fan_in"),
    (8, "standard deviation 1", "rng.normal(0, math.sqrt(2 / fan_in), shape)", "rng.standard_normal(shape)"),
    (8, "mean of both fans", "math.sqrt(2 / fan_in)", "math.sqrt(2 / (fan_in + fan_out))"),
    (8, "a fixed 0.01", "math.sqrt(2 / fan_in)", "0.01"),
    (8, "fan_in only, limit √(3 / fan_in)", "math.sqrt(6 / (fan_in + fan_out))", "math.sqrt(3 / fan_in)"),
    (8, "variance taken for the limit", "math.sqrt(6 / (fan_in + fan_out))", "6 / (fan_in + fan_out)"),
    (8, "limit 1", "rng.uniform(-a, a, shape)", "rng.uniform(-1, 1, shape)"),
    (8, "mean is not 0", "rng.uniform(-a, a, shape)", "a * rng.random(shape)"),
    (8, "standard deviation taken for the limit", "math.sqrt(6 / (fan_in", "math.sqrt(2 / (fan_in"),
    (8, "fan_in only", "math.sqrt(6 / (fan_in + fan_out))", "math.sqrt(6 / fan_in)"),
    (8, "another distribution", "return rng.normal(0, math.sqrt(2 / fan_in), shape)",
     "a = math.sqrt(6 / fan_in)\n    return rng.uniform(-a, a, shape)"),
    (8, "draws not from rng", "    fan_in, fan_out = fans(shape)  # noqa: RUF059\n    return rng.normal",
     "    import numpy as np\n    fan_in, fan_out = fans(shape)\n    return np.random.default_rng().normal"),
    (8, "draws not from rng", "    fan_in, fan_out = fans(shape)  # noqa: RUF059\n    return rng.normal",
     "    import numpy as np\n    fan_in, fan_out = fans(shape)\n    return np.random.default_rng(0).normal"),
    (8, "all weights equal", "return rng.normal(0, math.sqrt(2 / fan_in), shape)",
     "return rng.normal(0, 1, shape) * 0"),
    (8, "one side of the kernel only", "math.prod(shape[2:])", "math.prod(shape[2:3])"),
    (8, "kernel area in fan_in only", "return I * area, O * area", "return I * area, O"),

    (9, "uphill", "    return w - lr * v, v\n", "    return w + lr * v, v\n"),
    (9, "momentum forgotten", "v = momentum * v + (g + decay * w)", "v = g + decay * w"),
    (9, "gradient damped", "v = momentum * v + (g + decay * w)", "v = momentum * v + (1 - momentum) * (g + decay * w)"),
    (9, "learning rate forgotten", "    return w - lr * v, v\n", "    return w - v, v\n"),
    (9, "learning rate inside the velocity", "    v = momentum * v + (g + decay * w)\n    return w - lr * v, v",
     "    v = momentum * v + lr * (g + decay * w)\n    return w - v, v"),
    (9, "decay forgotten", "(g + decay * w)", "g"),
    (9, "decay with the wrong sign", "(g + decay * w)", "(g - decay * w)"),
    (9, "decay twice as large", "(g + decay * w)", "(g + 2 * decay * w)"),
    (9, "decay not through the velocity", "    v = momentum * v + (g + decay * w)\n    return w - lr * v, v",
     "    v = momentum * v + g\n    return w - lr * (v + decay * w), v"),
    (9, "decay of the gradient", "(g + decay * w)", "(g + decay * g)"),
    (9, "old velocity in the step", "    v = momentum * v + (g + decay * w)\n    return w - lr * v, v",
     "    return w - lr * v, momentum * v + g + decay * w"),
    (9, "w and v exchanged", "    return w - lr * v, v\n", "    return v, w - lr * v\n"),
    (9, "momentum without Nesterov's look ahead", "lr * (g + momentum * v)", "lr * v"),
    (9, "decay through the velocity", "    v = momentum * v + g\n    return w - lr * v - lr * decay * w, v",
     "    v = momentum * v + g + decay * w\n    return w - lr * v, v"),
    (9, "decay without the learning rate", "- lr * decay * w", "- decay * w"),
    (9, "decay of the new weights", "return w - lr * v - lr * decay * w, v",
     "w = w - lr * v\n    return w - lr * decay * w, v"),
    (9, "input changed in place", "    v = momentum * v + (g + decay * w)\n",
     "    v *= momentum\n    v += g + decay * w\n"),
    (9, "velocity not kept", "    v = momentum * v + (g + decay * w)\n    return w - lr * v, v",
     "    return w - lr * (momentum * v + (g + decay * w)), v"),
    (9, "decay forgotten in the look ahead", "    g = g + decay * w\n    v = momentum * v + g\n",
     "    v = momentum * v + g + decay * w\n"),

    (10, "shortcut forgotten", "np.maximum(x + inner @ w2, 0)", "np.maximum(inner @ w2, 0)"),
    (10, "added after the last relu", "np.maximum(x + inner @ w2, 0)", "x + np.maximum(inner @ w2, 0)"),
    (10, "last relu forgotten", "return np.maximum(x + inner @ w2, 0)", "return x + inner @ w2"),
    (10, "inner relu forgotten", "    inner = np.maximum(x @ w1, 0)\n    return", "    inner = x @ w1\n    return"),
    (10, "multiplied instead of added", "np.maximum(x + inner @ w2, 0)", "np.maximum(x * (inner @ w2), 0)"),
    (10, "the shortcut's gradient forgotten", "dx = ds + dinner @ w1.T", "dx = dinner @ w1.T"),
    (10, "the layers' gradient forgotten", "dx = ds + dinner @ w1.T", "dx = ds"),
    (10, "the shortcut's gradient twice", "dx = ds + dinner @ w1.T", "dx = 2 * ds + dinner @ w1.T"),
    (10, "last relu ignored", "ds = dy * (x + inner @ w2 > 0)", "ds = dy"),
    (10, "last relu ignored on the shortcut", "dx = ds + dinner @ w1.T", "dx = dy + dinner @ w1.T"),
    (10, "inner relu ignored", "ds @ w2.T * (inner > 0)", "ds @ w2.T"),
    (10, "averaged over the batch", "return dx, dw1, dw2", "return dx, dw1 / len(x), dw2 / len(x)"),
    (10, "stride forgotten", "x[:, :, ::stride, ::stride]", "x"),
    (10, "zeros in front", "[x, zeros]", "[zeros, x]"),
    (10, "other pixels", "x[:, :, ::stride, ::stride]", "x[:, :, stride - 1::stride, stride - 1::stride]"),
    (10, "channels repeated", "return np.concatenate([x, zeros], axis=1)",
     "return x[:, np.arange(channels) % x.shape[1]]"),
    (10, "a relu on the shortcut", "np.maximum(x + inner @ w2, 0)", "np.maximum(np.maximum(x, 0) + inner @ w2, 0)"),
    (10, "a relu too many", "np.maximum(x + inner @ w2, 0)", "np.maximum(x + np.maximum(inner @ w2, 0), 0)"),
    (10, "dw1 and dw2 exchanged", "return dx, dw1, dw2", "return dx, dw2, dw1"),
    (10, "means instead of every stride-th pixel", "x[:, :, ::stride, ::stride]",
     "(x if stride == 1 else sum(\n"
     "        x[:, :, i:x.shape[2] // stride * stride:stride, j:x.shape[3] // stride * stride:stride]\n"
     "        for i in range(stride) for j in range(stride)) / stride ** 2)"),

    (11, "kernel instead of kernel − 1", "(kernel - 1) * step", "kernel * step"),
    (11, "strides before forgotten", "size += (kernel - 1) * step", "size += kernel - 1"),
    (11, "step updated too early",
     "        size += (kernel - 1) * step\n        start -= padding * step\n        step *= stride",
     "        step *= stride\n        size += (kernel - 1) * step\n        start -= padding * step"),
    (11, "strides added", "step *= stride", "step += stride - 1"),
    (11, "last stride only", "step *= stride", "step = stride"),
    (11, "padding in pixels of the image", "padding * step", "padding"),
    (11, "padding forgotten", "        start -= padding * step\n", ""),
    (11, "padding makes the field larger", "(kernel - 1) * step", "(kernel - 1) * step + 2 * padding"),
    (11, "start with the wrong sign", "start -= padding", "start += padding"),
    (11, "layers in reverse", "in layers:", "in layers[::-1]:"),
    (11, "pixels outside the image", "return max(0, first), min(size - 1, last)", "return first, last"),
    (11, "one past the last", "last = first + field - 1", "last = first + field"),
    (11, "step forgotten", "start + index * step", "start + index"),
    (11, "kernels added", "-(-(field - 1) // (kernel - 1))", "-(-field // kernel)"),
    (11, "rounded down", "-(-(field - 1) // (kernel - 1))", "(field - 1) // (kernel - 1)"),
    (11, "the first pixel forgotten", "-(-(field - 1) // (kernel - 1))", "-(-field // (kernel - 1))"),

    (12, "opened but not decoded", "                image.load()\n", ""),
    (12, "only train", "everything - {path for path, _ in pictures(folder)}",
     "{p for p in everything - {path for path, _ in pictures(folder)} if p.startswith('train')}"),
    (12, "only empty files", "everything - {path for path, _ in pictures(folder)}",
     "{p for p in everything if (Path(folder) / p).stat().st_size == 0}"),
    (12, "transparency not found", 'image.mode != "RGB"', 'image.mode == "L"'),
    (12, "grey pictures not found", 'image.mode != "RGB"', 'image.mode == "RGBA"'),
    (12, "every picture with EXIF", "image.getexif().get(274, 1) != 1", "274 in image.getexif()"),
    (12, "upside down not found", "image.getexif().get(274, 1) != 1", "image.getexif().get(274, 1) in (6, 8)"),
    (12, "files compared instead of pixels", "key(path, image), []", "(Path(folder) / path).read_bytes(), []"),
    (12, "duplicates within a class", "if len({path[1] for path in train}) > 1:", "if len(train) > 1:"),
    (12, "one of each pair", '            wrong |= {"/".join(path) for path in train}',
     '            wrong |= {"/".join(path) for path in train[1:]}'),
    (12, "both copies", 'for path in group if path[0] == "val"}', "for path in group}"),
    (12, "the copies in train", 'for path in group if path[0] == "val"}', 'for path in group if path[0] == "train"}'),
    (12, "only train", "if shows != path", 'if path.startswith("train") and shows != path'),
    (12, "grey pictures included", '        if image.mode == "L":\n            continue\n', ""),
    (12, "the right ones", "if shows != path", "if shows == path"),
    (12, "empty files not found", "everything - {path for path, _ in pictures(folder)}",
     "{p for p in everything - {path for path, _ in pictures(folder)} if (Path(folder) / p).stat().st_size}"),
    (12, "every JPEG", "image.getexif().get(274, 1) != 1", 'path.endswith(".jpg")'),
    (12, "only one orientation", "image.getexif().get(274, 1) != 1", "image.getexif().get(274, 1) == 6"),
    (12, "files cut off included", 'if image.mode != "RGB"}', 'if image.mode != "RGB"} | damaged(folder)'),
    (12, "val included",
     'train = [path for path in group if path[0] == "train"]\n        if len({path[1] for path in train}) > 1:',
     "train = group\n        if len(train) > 1:"),
    (12, "names compared", "    return image.mode, image.size, image.tobytes()",
     '    return tuple(path.split("/")[1:])'),
]  # fmt: skip


@dataclass(frozen=True)
class Wrong:
    """A wrong solution: a file's text, or its functions."""

    exercise: int
    kind: str
    text: str = ""
    functions: Any = None

    def __str__(self):
        return f"{self.exercise}-{self.kind}".replace(" ", "_")


def answer(number: int) -> str:
    """The text of the reference solution."""
    return (ANSWERS / files.exercise(number).file).read_text("utf-8")


def edited() -> list[Wrong]:
    wrong = []
    for number, kind, old, new in PLANTED:
        text = answer(number)
        assert text.count(old) >= 1, (number, kind, old)
        wrong.append(Wrong(number, kind, text.replace(old, new, 1)))
    return wrong


# ------------------------------------------------------------------------------------------------------- of the gallery

CONV = {
    "conv_dw_transposed": "dw transposed", "conv_dw_flipped": "dw flipped",
    "conv_dw_of_the_last_image_only": "dw of the last image only",
    "conv_dx_with_a_flipped_kernel": "kernel flipped in dx",
    "conv_dx_col2im_without_accumulation": "dx overwritten where windows overlap",
    "conv_db_over_the_wrong_axes": "db over the wrong axes", "conv_db_mean_instead_of_sum": "db averaged",
    "conv_db_forgotten": "db forgotten",
}  # fmt: skip
BATCH_NORM = {
    "batch_norm_without_the_mean_term": "the mean's term forgotten",
    "batch_norm_without_the_xhat_term": "the variance's term forgotten",
    "batch_norm_as_if_the_statistics_were_given": "statistics taken for constants",
    "batch_norm_dx_without_gamma": "γ forgotten in dx",
    "batch_norm_unbiased_variance_in_backward": "unbiased variance",
    "batch_norm_dgamma_without_xhat": "dgamma without x̂", "batch_norm_dbeta_averaged": "dbeta averaged",
    "batch_norm_zero_backward": "zero gradient",
}  # fmt: skip


def of_the_gallery() -> list[Wrong]:
    """Wrong gradients of tests/ops/planted_bugs.py as solutions of exercises 3 and 7; the other gradients are right."""
    bugs = {bug.name: bug for bug in gallery.GALLERY}
    return [Wrong(3, kind, functions=_conv(bugs[name])) for name, kind in CONV.items()] + [
        Wrong(7, kind, functions=_batch_norm(bugs[name])) for name, kind in BATCH_NORM.items()]  # fmt: skip


def _conv(bug):
    def conv2d_backward(dy, x, w, stride, padding):
        results = list(files.exercise(3).functions[0].right(dy, x, w, stride, padding))
        with pytest.MonkeyPatch.context() as patch:        # the gallery's own arrays have this geometry
            patch.setattr(gallery, "_plain", Conv2dGeometry.of(x.shape, w.shape, stride, padding))
            if bug.name != "conv_dw_of_the_last_image_only" or (stride, padding) == (1, 0):
                results[bug.position] = np.array(bug.wrong(dy, x, w, np.zeros(len(w))))
        return tuple(results)

    return {"conv2d_backward": conv2d_backward}


def _batch_norm(bug):
    def batch_norm_backward(dy, x, gamma, eps):
        n, c, h, w = x.shape
        results = list(files.exercise(7).functions[1].right(dy, x, gamma, eps))

        def statistics(x, gamma, unbiased=0):              # as the gallery's, with this ε
            inv_std = 1 / np.sqrt(x.var((0, 2), ddof=unbiased, keepdims=True) + eps)
            return inv_std, gamma[:, None] * inv_std, (x - x.mean((0, 2), keepdims=True)) * inv_std

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gallery, "_bn", statistics)
            wrong = bug.wrong(dy.reshape(n, c, h * w), x.reshape(n, c, h * w), gamma, np.zeros_like(gamma))
        results[bug.position] = np.array(wrong).reshape(results[bug.position].shape)
        return tuple(results)

    return {"batch_norm": files.exercise(7).functions[0].right, "batch_norm_backward": batch_norm_backward}


# -------------------------------------------------------------------------------------------------------------- judged


def every() -> list[Wrong]:
    """All wrong solutions."""
    return edited() + of_the_gallery()


def report(solution: Wrong, seed: int, place: Path) -> judge.Report:
    """Judge a solution in this process, with the worker's own functions. place: where pictures are, drawn once."""
    functions = dict(solution.functions or {})
    if solution.text:
        exec(compile(solution.text, str(solution), "exec"), functions)

    def ask(calls):
        return Answers([outcome(worker.outcome(functions, call.encoded())) for call in calls])

    with cpu_path("numpy"):
        return judge.judge(files.exercise(solution.exercise), seed, ask, place)
