"""One batch learned by heart: a net that can't do it has a wrong gradient, or is cut somewhere."""

import numpy as np

from minicnn import nn, optim
from minicnn.ops.softmax import cross_entropy


def losses_by_heart(net, x, lr, steps=60, weights=()):
    """The losses at each of `steps` steps of Adam, every image a class of its own, and the largest after them.

    weights: those of the auxiliary outputs' losses.
    """
    optimizer, labels = optim.Adam(net.train().parameters(), lr=lr), np.arange(len(x))

    def now():
        y = net(x)
        return [cross_entropy(logits, labels) for logits in (y if isinstance(y, tuple) else (y,))]

    found = []
    for _ in range(steps):
        loss, *others = now()
        found.append(loss.item())
        for weight, other in zip(weights, others, strict=True):
            loss = loss + weight * other
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [*found, max(loss.item() for loss in now())]


def without_dropout(net):
    """The net with all its dropout switched off, in training too."""
    for _, module in net.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0
    return net
