"""A program as a user writes it. test_types.py checks it with `mypy --strict`, and the types that mypy reveals."""

from __future__ import annotations

from pathlib import Path
from typing import Any, reveal_type

import numpy as np

import minicnn
from minicnn import Tensor, data, gradcheck, models, nn, no_grad, ops, optim, seed
from minicnn.tensor import op


@op
def cube(x: Any) -> Any:
    """x³"""
    return x * x * x, lambda dy: dy * 3 * x * x


class Block(nn.Module):
    def __init__(self, channels: int):
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.branches = {"left": nn.ReLU(), "right": nn.Tanh()}

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return x + self.branches["left"](y) * 0.5 + self.branches["right"](y)


class Net(nn.Module):
    def __init__(self, classes: int = 10):
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), Block(4), nn.MaxPool2d(2), nn.Flatten())
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(4 * 6 * 6, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.body(x)))


def arithmetic() -> float:
    x = Tensor(np.ones((2, 1, 4, 4), np.float32), requires_grad=True)
    w = nn.Parameter(np.ones((3, 1, 3, 3), np.float32))
    reveal_type(ops.conv2d(x, w))
    reveal_type(x + 1)
    reveal_type(2 / x)
    reveal_type(x > 0)
    reveal_type(nn.ReLU()(x))
    reveal_type(cube(x))
    y = (cube(x).mean() - ops.relu(-x).sum()) ** 2
    y.backward()
    gradcheck(lambda a: cube(a).sum(), np.array([0.5, -1.5]))
    return y.item()


def train(folder: Path) -> float:
    seed(0)
    net = Net()
    reveal_type(net)
    optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    schedule = optim.WarmUp(optim.CosineAnnealingLR(optimizer, T_max=4), steps=1)
    average = optim.EMA(net, decay=0.9)
    digits = data.load("digits")
    images = digits.train.images[:64].astype(np.float32) / 255
    labels = digits.train.labels[:64]
    for start in range(0, 64, 16):
        batch = Tensor(images[start : start + 16])
        logits = net.train()(batch)
        reveal_type(logits)
        loss = ops.cross_entropy(logits, labels[start : start + 16])
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update()
    with no_grad(), average.applied(), net.evaluating():
        correct = net(Tensor(images)).argmax(1) == labels
    net.save(folder / "net.safetensors")
    again = Net().load(folder / "net.safetensors").eval()
    reveal_type(again)
    return float(correct.mean()) + again.head.weight.size * 0


def zoo(folder: Path) -> Tensor:
    net = models.build("resnet20", num_classes=5)
    reveal_type(net)
    models.save(folder / "zoo.safetensors", net, classes=list("abcde"))
    loaded = models.load(folder / "zoo.safetensors")
    logits = minicnn.compile(loaded, (2, 3, 32, 32))(np.zeros((2, 3, 32, 32), np.float32))
    print(logits.shape)
    first = models.resnet.resnet18(num_classes=2, width=0.125).layer1[0].conv1
    print(first, [name for name, _ in loaded.named_parameters()][:2], loaded.aux_weights)
    return loaded(Tensor(np.zeros((1, 3, 32, 32), np.float32)))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        print(arithmetic(), train(Path(name)), zoo(Path(name)).shape)
