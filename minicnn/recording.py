"""Switches of the engine: recording for backward, checks of the recorded arrays, callbacks, fusion."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from minicnn.settings import fusing, within

recording = contextvars.ContextVar("recording", default=True)
debugging = contextvars.ContextVar("debugging", default=False)
watchers: contextvars.ContextVar[tuple[Callable, ...]] = contextvars.ContextVar("op_watchers", default=())
layer_watchers: contextvars.ContextVar[tuple[Callable, ...]] = contextvars.ContextVar("watchers", default=())
gradient_watchers: contextvars.ContextVar[tuple[Callable, ...]] = contextvars.ContextVar("gradients", default=())
waiting: contextvars.ContextVar[Any] = contextvars.ContextVar("waiting", default=None)
"""The deferred.Waiting of the outermost module that computes; None outside modules."""


def observed() -> bool:
    """Whether every op must compute its own value at once: for a callback, for debug(), or because fusion is off."""
    return bool(watchers.get() or layer_watchers.get() or debugging.get() or fusing.get() is False)


@contextmanager
def no_grad() -> Iterator[None]:
    """`with no_grad():` ops compute values and record nothing. Also a decorator, `@no_grad()`."""
    with within(recording, False):
        yield


def debug() -> AbstractContextManager[None]:
    """`with debug():` backward refuses arrays that were changed in place after the forward pass.

    Ops store references to their arrays for backward, not copies, so a change in between makes the gradient wrong.
    Inside the block each op computes checksums of its arrays, and backward compares them: slower, for debugging.
    """
    return within(debugging, True)


def watch_ops(callback: Callable) -> AbstractContextManager[None]:
    """Within `with watch_ops(f):`, f(op, args, hyper, y) is called after each op has computed the Tensor y.

    args: the op's arrays in order, as the caller passed them (Tensors, plain arrays, numbers, None).
    """
    return within(watchers, (*watchers.get(), callback))


def on_gradient(callback: Callable) -> AbstractContextManager[None]:
    """Within `with on_gradient(f):`, `backward` calls f(leaf) as soon as it will add nothing more to leaf.grad.

    The last layer's weights come first: what f does with them can run while the gradients of the others are computed.
    """
    return within(gradient_watchers, (*gradient_watchers.get(), callback))
