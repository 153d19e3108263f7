"""Switches of the engine: recording for backward, checks of the recorded arrays, callbacks after each op."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable

recording = contextvars.ContextVar("recording", default=True)


@contextlib.contextmanager
def no_grad():
    """`with no_grad():` ops compute values and record nothing. Also a decorator, `@no_grad()`."""
    token = recording.set(False)
    try:
        yield
    finally:
        recording.reset(token)


debugging = contextvars.ContextVar("debugging", default=False)


@contextlib.contextmanager
def debug():
    """`with debug():` backward refuses arrays that were changed in place after the forward pass.

    Ops store references to their arrays for backward, not copies, so a change in between makes the gradient wrong.
    Inside the block each op computes checksums of its arrays, and backward compares them: slower, for debugging.
    """
    token = debugging.set(True)
    try:
        yield
    finally:
        debugging.reset(token)


watchers: contextvars.ContextVar[tuple[Callable, ...]] = contextvars.ContextVar("op_watchers", default=())


@contextlib.contextmanager
def watch_ops(callback: Callable):
    """Within `with watch_ops(f):`, f(op, args, hyper, y) is called after each op has computed the Tensor y.

    args: the op's arrays in order, as the caller passed them (Tensors, plain arrays, numbers, None).
    """
    token = watchers.set((*watchers.get(), callback))
    try:
        yield
    finally:
        watchers.reset(token)
