"""A whole net to measure: a training step, and inference on one image and on a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import devices, models, optim, plan, rng
from minicnn.models.vgg import TABLE
from minicnn.nn import Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential
from minicnn.ops.softmax import cross_entropy
from minicnn.tensor import Tensor, no_grad

NETS: dict[str, tuple[str, dict[str, Any], tuple[int, int, int], int]] = {
    # name: (the zoo's net, its options, (C,H,W) of an image, images in a training step)
    "lenet5": ("lenet5", {}, (1, 28, 28), 128),
    "resnet20": ("resnet20", {}, (3, 32, 32), 128),
    "vgg11_cifar": ("", {}, (3, 32, 32), 64),
    "alexnet": ("alexnet", {"variant": "paper"}, (3, 227, 227), 16),
    "squeezenet1_1": ("squeezenet1_1", {}, (3, 224, 224), 8),
    "mobilenet_v1": ("mobilenet_v1", {}, (3, 128, 128), 16),
    "vgg16": ("vgg16", {}, (3, 224, 224), 4),
}
"""The nets that the benchmarks compare."""


class NetRun:
    """A net with random weights and random images on its device; SGD with momentum 0.9 trains it.

    name: a net of NETS, or with `options` any net of the zoo, as `models.build` makes it.
    """

    def __init__(self, name: str, batch: int = 0, shape: tuple[int, int, int] | None = None, *, images: int = 32,
                 options: dict[str, Any] | None = None, device: str = "cpu"):
        if options is None:
            zoo, options, own_shape, own_batch = NETS[name]
        else:
            zoo, own_shape = name, models.input_shape(name, options.get("variant", ""))
            own_batch = NETS[name][3] if name in NETS else 8
        self.name, self.shape, self.batch, self.device = name, shape or own_shape, batch or own_batch, device
        rng.seed(0)
        self.net = (models.build(zoo, **options) if zoo else vgg11_cifar()).to(device)
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
        self.net.train()
        self.optimizer.zero_grad()
        loss = cross_entropy(self.net(Tensor(self.x[: self.batch])), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def infer(self, count: int) -> Tensor:
        """The logits of `count` images in evaluation mode, without recording; a GPU may still be computing them."""
        with no_grad():
            return self.net.eval()(Tensor(self.x[:count]))

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
