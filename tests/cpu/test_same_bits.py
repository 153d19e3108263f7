"""A seeded training run has the same bits for every number of threads, on both implementations of the CPU backend."""

import numpy as np
import pytest

from minicnn import Tensor, nn, optim, seed
from minicnn.cpu import threads
from minicnn.ops import cross_entropy


class Block(nn.Module):
    """Two convolutions with batch norm and a shortcut."""

    def __init__(self, C):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(C, C, 3, padding=1, bias=False), nn.BatchNorm2d(C)
        self.conv2, self.bn2, self.relu = nn.Conv2d(C, C, 3, padding=1, groups=2), nn.BatchNorm2d(C), nn.ReLU()

    def forward(self, x):
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + x)


def net():
    """Every layer that sums over images, or whose product is computed in parts; large filters too."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.BatchNorm2d(16), nn.ReLU(), Block(16),
        nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.LocalResponseNorm(5), nn.Conv2d(16, 144, 1),
        nn.MaxPool2d(3, 2), nn.Conv2d(144, 160, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(160 * 9, 512), nn.ReLU(), nn.Linear(512, 10),
    )  # fmt: skip


def trained(count):
    """The parameters, as bytes, after two steps with `count` threads."""
    threads.set_num_threads(count)
    seed(7)
    rng, model = np.random.default_rng(1), net()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(2):
        x, labels = Tensor(rng.standard_normal((24, 3, 28, 28), np.float32)), rng.integers(0, 10, 24)
        optimizer.zero_grad()
        cross_entropy(model(x), labels).backward()
        optimizer.step()
    return {name: np.asarray(p).tobytes() for name, p in model.state_dict().items()}


@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_number_of_threads_trains_the_same_net(both_paths, count):
    before = threads.num_threads()
    try:
        assert trained(count) == trained(1)
    finally:
        threads.set_num_threads(before)
