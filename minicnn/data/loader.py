"""Batches of a dataset, in a new order every epoch: `Batches` of arrays, `Loader` of pictures, read in advance."""

from __future__ import annotations

import collections
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from minicnn import arguments
from minicnn.data.augment import Mixed
from minicnn.data.dataset import Array, Dataset, Source
from minicnn.names import short
from minicnn.piece import Piece, piece
from minicnn.rng import generator


class Batches:
    """The batches of a dataset; each `for` over it is one epoch and gives every image once.

        for images, labels in Batches(dataset, 64, shuffle=True):    # (n,C,H,W) uint8, (n,) int64

    With `shuffle` each epoch has a new random order from `rng`, by default from the generator that `minicnn.seed` sets;
    otherwise the order is that of the dataset. The last batch may be smaller; `drop_last` leaves it out. The arrays are
    copies. `len` is the number of batches in an epoch.

    TypeError or ValueError where batch_size is not an integer of at least 1, or where `drop_last` leaves no batch.
    """

    def __init__(self, dataset: Dataset, batch_size: int, *, shuffle: bool,
                 rng: np.random.Generator | None = None, drop_last: bool = False) -> None:
        arguments.integer("batch_size", batch_size, 1)
        _check_dataset(dataset, "images")
        if rng is not None and not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy.random.Generator, not {rng!r}: "
                            f"numpy.random.default_rng(seed) makes one")
        _need_a_batch(batch_size, drop_last, dataset)
        self.dataset, self.batch_size, self.shuffle = dataset, int(batch_size), shuffle
        self.rng, self.drop_last = rng, drop_last

    def __len__(self) -> int:
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __repr__(self) -> str:
        return f"<Batches: {len(self):,} of {self.batch_size}{', shuffled' * self.shuffle}, from {self.dataset!r}>"

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        order = np.arange(len(self.dataset))
        if self.shuffle:
            # looked up here: seed() may have replaced the generator since __init__
            (generator() if self.rng is None else self.rng).shuffle(order)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield self.dataset.images[chosen], self.dataset.labels[chosen]


class Batch(NamedTuple):
    """A batch of a `Loader`."""

    images: Array              # (N,C,H,W) float32, as the transform made them
    labels: Array              # (N,) int64
    indices: Array             # (N,) int64: the pictures' indices in the dataset
    mixed: Mixed | None = None  # with Mixup: the other labels, and the share of `labels`
    whole: Whole | None = None  # of several ranks' batch: what this one knows of all of it


class Whole(NamedTuple):
    """Of a batch that several ranks share: the rows that these images are, and the labels of all of its images."""

    piece: Piece
    labels: Array               # (B,) int64
    mixed: Mixed | None = None  # the other labels of all images


class Loader:
    """The batches of a dataset of pictures, read and transformed by workers while the net computes.

        loader = Loader(folder.train, 32, transform=Transform(preprocessing, "random-resized flip"), shuffle=True,
                        seed=0, workers=2)
        for epoch in range(90):
            for images, labels, indices, mixed in loader:        # one epoch
                ...

    Batch b of epoch e depends only on (seed, e, b), not on the number or kind of workers: the order of an epoch comes
    from (seed, e), the random numbers of a batch from (seed, e, b). With part=(r, k) a batch is rank r's piece of it
    (minicnn/piece.py): only these pictures are read, and `whole` describes the whole batch. A transform that is a
    function of your own makes the whole batch on each rank. `epoch` and `batch` are the position of the next
    batch; set them to continue from there, bit for bit. After the last batch of an epoch `epoch` grows by one.

    transform(pictures, labels, rng) → (images, mixed): a `Transform`.   workers: 0 reads in the caller's thread.
    processes: workers are processes instead of threads. Threads are usually better: most of the work is decoding,
    during which Pillow and NumPy release the interpreter lock.   prefetch: how many batches each worker may be ahead.

    An error in a worker is raised by the `for` at its batch. TypeError or ValueError for an invalid number.
    """

    def __init__(self, dataset: Source, batch_size: int, *, transform: Callable[..., Any], shuffle: bool = False,
                 seed: int = 0, epoch: int = 0, batch: int = 0, workers: int = 0, prefetch: int = 2,
                 processes: bool = False, drop_last: bool = False, part: tuple[int, int] = (0, 1)) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0), ("epoch", epoch, 0),
                                   ("batch", batch, 0), ("workers", workers, 0), ("prefetch", prefetch, 1)):
            arguments.integer(name, value, least)
        _check_dataset(dataset, "picture")
        if not callable(transform):
            raise TypeError(f"transform must be a function, such as a data.Transform, not {short(transform)}")
        _need_a_batch(batch_size, drop_last, dataset)
        self.dataset, self.batch_size, self.transform = dataset, int(batch_size), transform
        self.shuffle, self.seed, self.drop_last = shuffle, int(seed), drop_last
        self.epoch, self.batch, self.part = int(epoch), int(batch), part
        self.workers, self.prefetch, self.processes = int(workers), int(prefetch), processes
        if batch > len(self):
            raise ValueError(f"batch (={batch}) must be at most {len(self)}, the number of batches in an epoch")
        self._pool: Executor | None = None

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __repr__(self) -> str:
        return (f"<Loader: {len(self):,} batches of {self.batch_size}{', shuffled' * self.shuffle}, "
                f"{self.workers} workers, from {self.dataset!r}>")

    def order(self, epoch: int) -> Array:
        """The order of the pictures in an epoch, as indices: (N,) int64."""
        if not self.shuffle:
            return np.arange(len(self.dataset))
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.dataset))

    def __iter__(self) -> Iterator[Batch]:
        """The batches of `self.epoch` from `self.batch` on."""
        epoch, order = self.epoch, self.order(self.epoch)
        for b, batch in enumerate(self._ahead(epoch, order, self.batch), self.batch):
            self.batch = b + 1                             # before the yield, so that a checkpoint saves the next one
            yield batch
        self.epoch, self.batch = epoch + 1, 0

    def close(self) -> None:
        """Stop the workers. The next `for` starts new ones."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ahead(self, epoch: int, order: Array, first: int) -> Iterator[Batch]:
        jobs = ((self.seed, epoch, b, order[b * self.batch_size : (b + 1) * self.batch_size])
                for b in range(first, len(self)))
        if not self.workers:
            yield from (_make(self.dataset, self.transform, self.part, *job) for job in jobs)
            return
        waiting: collections.deque[Future[Batch]] = collections.deque()
        try:
            for job in itertools.islice(jobs, self.workers * self.prefetch):
                waiting.append(self._submit(job))
            while waiting:
                batch = waiting.popleft().result()
                for job in itertools.islice(jobs, 1):
                    waiting.append(self._submit(job))
                yield batch
        finally:                                           # an error, or the caller left the loop
            for future in waiting:
                future.cancel()

    def _submit(self, job: Any) -> Future[Batch]:
        if self._pool is None:
            self._pool = self._processes() if self.processes else None
            if self._pool is None:
                self.processes, self._pool = False, ThreadPoolExecutor(self.workers, "minicnn-loader")
        if self.processes:
            return self._pool.submit(_make_remembered, *job)
        return self._pool.submit(_make, self.dataset, self.transform, self.part, *job)

    def _processes(self) -> Executor | None:
        """The worker processes; None, with a warning, where the system has no semaphores for them."""
        try:
            import multiprocessing  # when called: Python in a browser has no processes
            from concurrent.futures import ProcessPoolExecutor

            context = multiprocessing.get_context("spawn")  # fork would copy locks that other threads hold
            return ProcessPoolExecutor(self.workers, context, _remember, (self.dataset, self.transform, self.part))
        except (OSError, ImportError, NotImplementedError) as problem:  # such as a /dev/shm that can't be written
            warnings.warn(f"the loader's workers are threads, because this system can't start processes that share "
                          f"semaphores ({problem})", RuntimeWarning, stacklevel=2)
            return None


def _make(dataset: Source, transform: Callable[..., Any], part: tuple[int, int], seed: int, epoch: int, b: int,
          chosen: Array) -> Batch:
    rng = np.random.default_rng([seed, epoch, 1 + b])      # [seed, epoch] gives the order
    labels, pictures = dataset.labels[chosen], _Pictures(dataset, chosen)
    rank, ranks = part
    if announce := getattr(dataset, "announce", None):     # pictures in tars: the slow part is to wait for the disk
        announce(chosen[piece(len(chosen), rank, ranks).rows])
    if ranks == 1:
        images, mixed = transform(pictures, labels, rng)
        return Batch(images, labels, chosen, mixed)
    own = piece(len(chosen), rank, ranks)
    if getattr(transform, "makes_rows", False):
        images, mixed = transform(pictures, labels, rng, own.rows)
    else:
        images, mixed = transform(pictures, labels, rng)
        images = images[own.rows]
    mine = mixed and Mixed(mixed.others[own.rows], mixed.share)
    return Batch(images, labels[own.rows], chosen[own.rows], mine, Whole(own, labels, mixed))


class _Pictures(Sequence):
    """The pictures of a batch, each read from the dataset when it is asked for."""

    def __init__(self, dataset: Source, chosen: Array) -> None:
        self.dataset, self.chosen = dataset, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset.picture(int(self.chosen[index]))


_remembered: tuple[Any, ...] = ()


def _remember(*what: Any) -> None:
    """Called once in each worker process: keep the dataset and the transform."""
    global _remembered
    _remembered = what


def _make_remembered(*job: Any) -> Batch:
    return _make(*_remembered, *job)


def _check_dataset(dataset: Any, attribute: str) -> None:
    if not (hasattr(dataset, attribute) and hasattr(dataset, "labels") and hasattr(dataset, "__len__")):
        raise TypeError(f"dataset must have {attribute} and labels, such as data.load('digits').train, not "
                        f"{short(dataset)}")


def _need_a_batch(batch_size: int, drop_last: bool, dataset: Any) -> None:
    if drop_last and batch_size > len(dataset):
        raise ValueError(f"drop_last leaves no batch: batch_size (={batch_size}) is larger than the dataset "
                         f"(={len(dataset)} images)")
