"""Mini-batches: a dataset cut into pieces, in a new order every epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minicnn.data.dataset import Array, Dataset
from minicnn.rng import generator


class Batches:
    """The mini-batches of a dataset; each `for` over it is one epoch and gives every image once.

        for images, labels in Batches(dataset, 64, shuffle=True):    # (n,C,H,W) uint8, (n,) int64

    With `shuffle` each epoch draws a fresh permutation from `rng`, by default from the generator that `minicnn.seed`
    starts; without, the order is the dataset's. The last batch holds what is left, or is left out with `drop_last`.
    What is given are copies. `len` is the number of batches in an epoch.

    TypeError or ValueError where batch_size is not an integer of at least 1, or where `drop_last` leaves no batch.
    """

    def __init__(self, dataset: Dataset, batch_size: int, *, shuffle: bool,
                 rng: np.random.Generator | None = None, drop_last: bool = False) -> None:
        if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__"):
            raise TypeError(f"batch_size must be an integer, not {batch_size!r}")
        if batch_size < 1:
            raise ValueError(f"batch_size (={batch_size}) must be at least 1")
        if rng is not None and not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy.random.Generator, not {rng!r}: "
                            f"numpy.random.default_rng(seed) makes one")
        if drop_last and batch_size > len(dataset):
            raise ValueError(f"drop_last leaves no batch: batch_size (={batch_size}) is larger than the dataset "
                             f"(={len(dataset)} images)")
        self.dataset, self.batch_size, self.shuffle = dataset, int(batch_size), shuffle
        self.rng, self.drop_last = rng, drop_last

    def __len__(self) -> int:
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        order = np.arange(len(self.dataset))
        if self.shuffle:
            # asked for only now: seed() replaces minicnn's generator, perhaps after this object was made
            (generator() if self.rng is None else self.rng).shuffle(order)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield self.dataset.images[chosen], self.dataset.labels[chosen]
