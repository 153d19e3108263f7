"""A check by finite differences of the gradients that a learner's function returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minicnn.course.exercise import Finding
from minicnn.course.values import show
from minicnn.gradient_check import GradientError, gradcheck
from minicnn.tensor import op


def by_differences(split: Callable[..., tuple[np.ndarray, list[np.ndarray], Callable]], returns: tuple[str, ...]):
    """The rule for a check: split(*arguments) → (dy, the arrays that get a gradient, their forward function)."""

    def one(arguments: tuple, result: Any) -> Finding | None:
        dy, arrays, forward = split(*arguments)
        claimed = result if len(returns) > 1 else (result,)
        if not isinstance(claimed, (tuple, list)) or len(claimed) != len(returns):
            return Finding("wrong type", f"The result is {show(result)}, but must be ({', '.join(returns)}).")
        for name, gradient, array in zip(returns, claimed, arrays):
            if not isinstance(gradient, np.ndarray) or gradient.dtype.kind not in "fiu":
                return Finding("wrong type", f"{name} is {show(gradient)}, but must be a NumPy array of floats.")
            if gradient.shape != array.shape:
                return Finding("wrong shape", f"{name} has the shape {gradient.shape}, but a gradient has the shape of "
                               f"its array, {array.shape}.")  # fmt: skip

        @op
        def learners(*leaves):
            return forward(*leaves), tuple(lambda _, g=g: np.asarray(g, np.float64) for g in claimed)

        try:
            gradcheck(learners, *arrays, dy=dy)
        except GradientError as wrong:
            name = returns[int(wrong.argument.partition("[")[2].rstrip("]") or 0)]
            where = f"{name}[{', '.join(map(str, wrong.index))}]"
            return Finding("contradicts finite differences", f"{where} is {wrong.analytic:.6g}, but finite differences "
                           f"give {wrong.numeric:.6g}.")  # fmt: skip
        return None

    return lambda cases, results: [one(arguments, result) for arguments, result in zip(cases, results)]
