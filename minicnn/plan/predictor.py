"""A model's answers for many images: by a plan where that is quicker, else by the model itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minicnn.cpu import path
from minicnn.nn import Module
from minicnn.ops.softmax import softmax
from minicnn.plan import plan as plans
from minicnn.recording import no_grad
from minicnn.tensor import Tensor

WORTHWHILE = 32
"""Images for which it pays to trace the model first, which takes as long as about ten of them."""


def classify(answer: Callable[[Tensor], Tensor], x: Tensor) -> np.ndarray:
    """One image, as the model takes it, (1,C,H,W) → probabilities (K,). answer: images → logits, in eval mode"""
    with no_grad():
        return softmax(answer(x)).numpy()[0]


def predictor(model: Module, images: int) -> Callable[[Tensor], Tensor]:
    """The function x (n,C,H,W) → model(x) in eval mode, without recording, for about so many images in all.

    By a plan, compiled at the first call, if the model is in float32 on the CPU, numba is installed and the images are
    many; the same up to rounding. A net that can't be compiled computes its answers itself.
    """
    model.eval()
    plan: plans.Plan | None = None
    useful = images >= WORTHWHILE and path.chosen() == "compiled"

    def answer(x: Tensor) -> Tensor:
        nonlocal plan, useful
        if useful and plan is None:
            useful = isinstance(x.data, np.ndarray) and x.dtype == np.float32 and x.ndim == 4 and len(x) > 0
            try:
                plan = plans.compile(model, x.shape) if useful else None                # type: ignore[arg-type]
            except ValueError:                                     # if the images are wrong, the model says so
                useful = False
        if plan is not None and x.shape[1:] == plan.input_shape[1:]:
            return Tensor(plan(x))
        with no_grad():
            return model(x)

    return answer
