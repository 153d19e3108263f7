"""Nets, and a training step of them with fusion and without."""

import numpy as np

import minicnn
from minicnn import Tensor, fusion, nn, ops


class Function(nn.Module):
    """A net of one function of itself and its input."""

    def __init__(self, function, *layers):
        self.function, self.layers = function, list(layers)

    def forward(self, x):
        return self.function(self, x)


class Block(nn.Module):
    """A residual block as a user writes it, with names of its own."""

    def __init__(self, channels):
        self.a, self.norm_a = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.b, self.norm_b = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x):
        y = ops.relu(self.norm_a(self.a(x)))
        return ops.relu(x + self.norm_b(self.b(y)))


class Net(nn.Module):
    def __init__(self):
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2))
        self.blocks = [Block(8), Block(8)]
        self.last = nn.Linear(8, 5)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.last(ops.relu(x + x).mean((2, 3)))


def images(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape or (2, 3, 10, 10)).astype(dtype)


def graph(y):
    """The names of the ops behind y, and how often each occurs."""
    found, seen, stack = {}, set(), [y]
    while stack:
        node = stack.pop()
        if isinstance(node, Tensor) and node._op and id(node) not in seen:
            seen.add(id(node))
            found[node._op] = found.get(node._op, 0) + 1
            stack.extend(node._parents)
    return found


def step(net, x, fused, rules=None):
    """(output, gradients, buffers) of a step, and the graph."""
    for p in net.parameters():
        p.grad = None
    x = Tensor(x, True)
    with fusion(fused):
        out = net(x)
        out = out[0] if isinstance(out, tuple) else out
        names = graph(out)
        out.backward(images(*out.shape, dtype=out.dtype, seed=1), rules)
    return [out.data, x.grad, *(p.grad for p in net.parameters()), *(b.data for _, b in net.named_buffers())], names


def both(make, x, rules=None):
    """The same step with fusion and without: (arrays, arrays, graph, graph)"""
    (a, fused), (b, plain) = step(make(), x, True, rules), step(make(), x, False, rules)
    assert len(a) == len(b)
    return a, b, fused, plain


def same_bits(a, b):
    assert [v is None for v in a] == [v is None for v in b]
    for u, v in zip(a, b):
        assert u is v is None or np.asarray(u).tobytes() == np.asarray(v).tobytes()


def seeded(make, **state):
    def build():
        minicnn.seed(3)
        net = make()
        for name, value in state.items():
            getattr(net, name)(value)
        return net

    return build


def near(a, b):
    for u, v in zip(a, b):
        assert abs(u - v).max() <= 1e-12 * abs(v).max()
