"""A whole net to measure: a training step, and inference on one image and on a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn import devices, models, optim, plan, rng
from minicnn.models.vgg import TABLE
from minicnn.nn import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential
from minicnn.ops.activation import relu
from minicnn.ops.adaptive_pool import global_avg_pool2d
from minicnn.ops.pool import max_pool2d
from minicnn.ops.softmax import cross_entropy
from minicnn.tensor import Tensor, no_grad

NETS: dict[str, tuple[str, dict[str, Any], tuple[int, int, int], int]] = {
    # name: (the zoo's net, its options, (C,H,W) of an image, images in a training step)
    "lenet5": ("lenet5", {}, (1, 28, 28), 128),
    "resnet20": ("resnet20", {}, (3, 32, 32), 128),
    "vgg11_cifar": ("", {}, (3, 32, 32), 64),
    "own_net": ("", {}, (3, 32, 32), 128),
    "alexnet": ("alexnet", {"variant": "paper"}, (3, 227, 227), 16),
    "squeezenet1_1": ("squeezenet1_1", {}, (3, 224, 224), 8),
    "mobilenet_v1": ("mobilenet_v1", {}, (3, 128, 128), 16),
    "vgg16": ("vgg16", {}, (3, 224, 224), 4),
}
"""The nets that the benchmarks compare."""


class NetRun:
    """A net with random weights and random images on its device; SGD with momentum 0.9 trains it.

    name: a net of NETS; with `options` any net of the zoo, as `models.build` makes it; with `net` and `shape` that net,
    with its own weights.
    """

    def __init__(self, name: str, batch: int = 0, shape: tuple[int, int, int] | None = None, *, images: int = 32,
                 options: dict[str, Any] | None = None, device: str = "cpu", net: Module | None = None):
        own_shape: tuple[int, ...]
        if net is not None:
            zoo, own_shape, own_batch = "", shape or (), 8
        elif options is None:
            zoo, options, own_shape, own_batch = NETS[name]
        else:
            zoo, own_shape = name, models.input_shape(name, options.get("variant", ""))
            own_batch = NETS[name][3] if name in NETS else 8
        self.name, self.shape, self.batch, self.device = name, shape or own_shape, batch or own_batch, device
        rng.seed(0)
        self.net = (net or (models.build(zoo, **(options or {})) if zoo else OWN[name]())).to(device)
        draw = np.random.default_rng(0)
        on = devices.get(device)
        self.x = on.asarray(draw.standard_normal((max(self.batch, images), *self.shape), np.float32))
        self.labels = on.asarray(draw.integers(0, self.infer(1).shape[1], self.batch))
        # with a tiny learning rate the weights stay finite: infinities compute at another speed
        self.optimizer = optim.SGD(self.net.parameters(), lr=1e-6, momentum=0.9)

    @property
    def parameters(self) -> int:
        """The number of trainable values."""
        return sum(p.size for p in self.net.parameters())

    def step(self) -> Tensor:
        """Forward, backward and update on one batch. → the loss; a GPU may still be computing it."""
        if not self.net.training:
            self.net.train()
        self.optimizer.zero_grad()
        loss = cross_entropy(self.net(Tensor(self.x[: self.batch])), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def infer(self, count: int) -> Tensor:
        """The logits of `count` images in evaluation mode, without recording; a GPU may still be computing them."""
        with no_grad():
            return (self.net.eval() if self.net.training else self.net)(Tensor(self.x[:count]))

    def compiled(self, count: int) -> plan.Plan:
        """The net compiled for `count` images, for a net on the CPU."""
        return plan.compile(self.net, (count, *self.shape))


def vgg11_cifar() -> Module:
    """VGG-11's convolutions, which reduce a 32×32 image to one pixel, and one linear layer.   9,225,610 parameters"""
    layers: list[Module] = []
    C = 3
    for word in TABLE["A"].split():
        if word == "|":
            layers += [MaxPool2d(2)]
        else:
            layers += [Conv2d(C, O := int(word.partition("-")[2]), 3, padding=1), ReLU()]
            C = O
    return Sequential({"features": Sequential(*layers), "flatten": Flatten(), "classifier": Linear(C, 10)})


class Residual(Module):
    """Two convolutions with batch norm, and a shortcut around them."""

    def __init__(self, channels: int):
        self.conv1, self.bn1 = Conv2d(channels, channels, 3, padding=1, bias=False), BatchNorm2d(channels)
        self.conv2, self.bn2 = Conv2d(channels, channels, 3, padding=1, bias=False), BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,C,H,W)"""
        y = relu(self.bn1(self.conv1(x)))
        return relu(x + self.bn2(self.conv2(y)))


class OwnNet(Module):
    """A net as a user writes it, with ops in `forward`: the zoo's nets are not the only ones that must be fast."""

    def __init__(self) -> None:
        self.stem, self.bn = Conv2d(3, 32, 3, padding=1, bias=False), BatchNorm2d(32)
        self.block1, self.down = Residual(32), Conv2d(32, 64, 3, stride=2, padding=1)
        self.block2, self.block3 = Residual(64), Residual(64)
        self.head = Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,3,32,32) → (N,10)"""
        x = max_pool2d(self.block1(relu(self.bn(self.stem(x)))), kernel_size=2)
        x = self.block3(self.block2(relu(self.down(x))))
        return self.head(global_avg_pool2d(x))


OWN: dict[str, Callable[[], Module]] = {"vgg11_cifar": vgg11_cifar, "own_net": OwnNet}
"""The nets of NETS that are not in the zoo."""
