"""A whole net under the clock: a step of training, and answers to one image and to a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import devices, models, optim, rng
from minicnn.models.vgg import TABLE
from minicnn.nn import Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential
from minicnn.ops.softmax import cross_entropy
from minicnn.tensor import Tensor, no_grad

NETS: dict[str, tuple[str, dict[str, Any], tuple[int, int, int], int]] = {
    # name: (the zoo's net, its options, (C,H,W) of an image, images in a step of training)
    "lenet5": ("lenet5", {}, (1, 28, 28), 128),
    "resnet20": ("resnet20", {}, (3, 32, 32), 128),
    "vgg11_cifar": ("", {}, (3, 32, 32), 64),
    "alexnet": ("alexnet", {"variant": "paper"}, (3, 227, 227), 16),
    "squeezenet1_1": ("squeezenet1_1", {}, (3, 224, 224), 8),
    "mobilenet_v1": ("mobilenet_v1", {}, (3, 128, 128), 16),
    "vgg16": ("vgg16", {}, (3, 224, 224), 4),
}
"""The nets that are compared."""


class NetRun:
    """A net with drawn weights, and images to give it; trained by SGD with momentum 0.9.

    name: of a net above, or with `options` of any net of the zoo, which then is as `models.build` makes it.
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
        self.x = draw.standard_normal((max(self.batch, images), *self.shape), np.float32)
        self.labels = devices.get(device).asarray(draw.integers(0, self.infer(1).shape[1], self.batch))
        # so small a rate that the weights stay: a net that runs off to infinity computes at another speed
        self.optimizer = optim.SGD(self.net.parameters(), lr=1e-6, momentum=0.9)

    @property
    def parameters(self) -> int:
        """How many numbers are learned."""
        return sum(p.size for p in self.net.parameters())

    def step(self) -> float:
        """Forward, backward and update on one batch. → the loss"""
        self.net.train()
        self.optimizer.zero_grad()
        loss = cross_entropy(self.net(Tensor(self.x[: self.batch], device=self.device)), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def infer(self, count: int) -> np.ndarray:
        """The logits of `count` images, in use: running statistics, no dropout, nothing recorded."""
        with no_grad():
            return self.net.eval()(Tensor(self.x[:count], device=self.device)).numpy()


def vgg11_cifar() -> Module:
    """VGG-11's convolutions, which leave one pixel of a 32×32 image, and one linear layer.   9,225,610 parameters"""
    layers: list[Module] = []
    C = 3
    for word in TABLE["A"].split():
        if word == "|":
            layers += [MaxPool2d(2)]
        else:
            layers += [Conv2d(C, O := int(word.partition("-")[2]), 3, padding=1), ReLU()]
            C = O
    return Sequential({"features": Sequential(*layers), "flatten": Flatten(), "classifier": Linear(C, 10)})
