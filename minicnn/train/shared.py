"""A step that several ranks share: each computes a piece of the batch, and all get the sum of the gradients.

    with ranks.joined() as team:
        shared = Shared(net, team)
        for batch in digits.loader(digits.train, 64, shuffle=True, part=team.part):
            optimizer.zero_grad()
            with shared.step(batch):
                shared.backward(cross_entropy(net(Tensor(batch.images)), batch.labels))
            optimizer.step()

The gradients lie in flat buffers ("buckets"), the last layer's first, because it is the first whose gradient is ready.
As soon as a bucket is complete it is sent, while `backward` computes the layers before it. Every rank sends the same
buckets in the same order. The last one also carries a few numbers, such as the loss: they cost no message of their own.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minicnn import devices
from minicnn.data.augment import Mixed
from minicnn.data.loader import Batch, Whole
from minicnn.nn import Module
from minicnn.piece import computing, piece
from minicnn.ranks import Alone, Pending
from minicnn.recording import on_gradient
from minicnn.tensor import Tensor
from minicnn.train.stop import Request

if TYPE_CHECKING:
    from minicnn.gpu.nccl import Nccl

BUCKET = 1 << 18
"""Bytes of a bucket: small enough that the first is on its way early, large enough that its latency does not count."""
GPU_BUCKET = 1 << 23
"""The same between GPUs, whose links are faster: sending a bucket should take longer than its launch."""
NUMBERS = 4
"""Numbers that travel with the last bucket: up to three, and whether a rank is asked to stop."""


class Shared:
    """What the ranks `team` do together for one model, whose weights all get from rank 0.

    asked: a stop request of this rank, such as a signal.   agreed: becomes true on all ranks after the same step.
    way: how gradients are added up: "by NCCL" between GPUs, or "through the hosts' memory, by MPI", and why.
    """

    def __init__(self, model: Module, team: Alone, asked: Request | None = None):
        self.ranks, self.agreed = team, Request()
        self.asked = Request() if asked is None else asked  # not `or`: a request is false until it is made
        self.norm = team.channel()                         # batch norm's messages come between the buckets'
        self.gradients: Alone | Nccl = team.channel()
        self.model, self.way = model, ""
        share_state(model, team)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.buckets: list[_Bucket] = []
        if team.size > 1 and self.parameters:
            from minicnn.gpu import nccl  # one process needs none of the GPU's files

            device = devices.of(self.parameters[0].data)
            by_nccl, self.way = nccl.sums(device, team)
            self.gradients = by_nccl or self.gradients
            self.buckets = _buckets(self.parameters, device if by_nccl else devices.get("cpu"))
        self._of = {id(p): (bucket, view) for bucket in self.buckets for p, view in bucket.views}
        self._factor: float | None = None

    # ------------------------------------------------------------------------------- a step, for loops of your own

    @contextlib.contextmanager
    def step(self, batch: Any, weight: Sequence[float] | None = None) -> Iterator[None]:
        """Around forward and `backward` of one batch of a `Loader` with part=team.part.

        weight (K,): the class weights of the loss, if it has any; ValueError together with Mixup, whose two losses have
        different sums of weights: `train_epoch` does both.
        """
        whole = batch.whole
        if weight is not None and batch.mixed:
            raise ValueError("step: a loss with class weights and Mixup has two sums of weights: use train_epoch")
        self._factor = shares(batch.labels, None, whole, weight)[0] if whole else None
        with self.piece(whole):
            yield

    def backward(self, loss: Tensor) -> float:
        """loss.backward() for this rank's mean loss: afterwards .grad is that of the whole batch. → its mean loss"""
        if self._factor is None:
            loss.backward()
            return loss.item()
        with self.sending():
            loss.backward(devices.of(loss.data).asarray(np.asarray(self._factor, loss.dtype)))
        return self.finish(loss.item() * self._factor if self._factor else 0.0)[0]

    # ------------------------------------------------------------------------------------------------- its parts

    def piece(self, whole: Whole | None) -> contextlib.AbstractContextManager[None]:
        """Within the block modules compute a piece of a batch; nothing changes for a whole one."""
        return computing(whole.piece, self.norm) if whole else contextlib.nullcontext()

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Around the last `backward` of a step: gradients are sent as soon as they are complete."""
        for bucket in self.buckets:
            bucket.missing = len(bucket.views)
        self._waits: list[Pending] = []
        with on_gradient(self._complete) if self.buckets else contextlib.nullcontext():
            yield

    def _complete(self, p: Tensor) -> None:
        if id(p) not in self._of:
            return
        bucket, view = self._of[id(p)]
        _put(p, view)
        bucket.missing -= 1
        for sum_ in self._waits:
            sum_.poke()
        while len(self._waits) < len(self.buckets) - 1 and not self.buckets[len(self._waits)].missing:
            self._send()                                   # not the last one: its numbers are not known yet

    def _send(self) -> None:
        self._waits.append(self.gradients.start_sum(self.buckets[len(self._waits)].buffer))

    def finish(self, *numbers: float) -> list[float]:
        """Wait for the sums of all gradients, which then are in .grad. → the sums of the numbers"""
        if not self.buckets:
            return list(numbers)
        for p in self.parameters:
            _, view = self._of[id(p)]
            if p.grad is not view:                         # nothing reached it in the last backward, or it is elsewhere
                _put(p, view)
        last = self.buckets[-1].buffer[-NUMBERS:]
        own = [*numbers, *[0.0] * (NUMBERS - 1 - len(numbers)), bool(self.asked)]
        last[...] = devices.of(last).asarray(np.array(own, last.dtype))
        while len(self._waits) < len(self.buckets):
            self._send()
        for sum_ in self._waits:
            sum_.wait()
        for p in self.parameters:
            device = devices.of(p.data)
            if devices.of(p.grad) is not device:           # added up on the host
                p.grad = device.asarray(p.grad)
        told = devices.of(last).to_numpy(last)
        if told[-1] and not self.agreed:
            self.agreed.signal = self.asked.signal or signal.SIGTERM
        return told[: len(numbers)].tolist()


def _put(p: Tensor, view: Any) -> None:
    """Copy p's gradient into its part of a bucket, also from a GPU to the host. p.grad is then this part."""
    if isinstance(p.grad, type(view)):
        view[...] = p.grad
    else:
        view[...] = 0 if p.grad is None else devices.of(p.grad).to_numpy(p.grad)
    p.grad = view


class Pieces:
    """This rank's pieces of batches that every rank has: (images, labels), or batches of a Loader."""

    def __init__(self, batches: Iterable, team: Alone):
        self.batches, self.team = batches, team

    def __iter__(self) -> Iterator[Batch]:
        for images, labels, *more in self.batches:
            indices, mixed, whole = (*more, None, None, None)[:3]
            if whole is None:
                own, labels = piece(len(labels), *self.team.part), np.asarray(labels)
                whole = Whole(own, labels, mixed)
                images, labels = images[own.rows], labels[own.rows]
                indices = None if indices is None else indices[own.rows]
                mixed = mixed and Mixed(mixed.others[own.rows], mixed.share)
            yield Batch(images, labels, indices, mixed, whole)


def shares(labels: np.ndarray, mixed: Mixed | None, whole: Whole,
           weight: Sequence[float] | None) -> tuple[float, float]:  # fmt: skip
    """Of the mean loss of a whole batch the part of a piece's images: Σ of their weights / Σ of all weights.

    → (for their labels, for those that Mixup added); (0, 0) for stand-ins
    """
    if not whole.piece.size:
        return 0.0, 0.0
    first = total_weight(weight, labels) / total_weight(weight, whole.labels)
    if mixed is None or whole.mixed is None:
        return first, first
    return first, total_weight(weight, mixed.others) / total_weight(weight, whole.mixed.others)


def total_weight(weight: Sequence[float] | None, labels: np.ndarray, mixed: Mixed | None = None) -> float:
    """Σ of the images' weights: their number, or the sum of their classes' weights."""
    if weight is None:
        return len(labels)
    of = np.asarray(weight, float)
    if mixed is None:
        return float(of[labels].sum())
    return float(mixed.share * of[labels].sum() + (1 - mixed.share) * of[mixed.others].sum())


def share_state(model: Module, team: Alone) -> None:
    """Give every rank the weights and running statistics of rank 0."""
    if team.size == 1:
        return
    for tensor in {id(t): t for _, t in model.named_state()}.values():
        device = devices.of(tensor.data)
        values = np.array(device.to_numpy(tensor.data), order="C")
        tensor.data = device.asarray(team.broadcast(values))


class _Bucket:
    """Gradients that are sent together: `buffer`, flat, and a view of each parameter's part."""

    def __init__(self, parameters: list[Any], more: int, device: Any):
        dtype = parameters[0].dtype
        self.buffer = device.xp.zeros(sum(p.size for p in parameters) + more, dtype)
        self.views: list[tuple[Any, Any]] = []
        self.missing = 0
        at = 0
        for p in parameters:
            self.views.append((p, self.buffer[at : at + p.size].reshape(p.shape)))
            at += p.size


def _buckets(parameters: list[Any], device: Any) -> list[_Bucket]:
    """The buckets of some parameters in the memory of a device, the last one first; each has one dtype."""
    size = BUCKET if device.name == "cpu" else GPU_BUCKET
    groups: list[list[Any]] = []
    for p in reversed(parameters):
        full = groups and sum(q.data.nbytes for q in groups[-1]) + p.data.nbytes > size
        if not groups or full or groups[-1][0].dtype != p.dtype:
            groups.append([])
        groups[-1].append(p)
    return [_Bucket(group, NUMBERS if group is groups[-1] else 0, device) for group in groups]
