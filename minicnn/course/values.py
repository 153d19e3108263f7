"""Compares what a learner's function returned with the right result, and says in one sentence what is different."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from minicnn.course.exercise import Finding
from minicnn.course.worker import Other
from minicnn.names import short

TOLERANCE = 1e-7
"""Relative to the largest number of the right result; exercises compute in float64."""


def difference(got: Any, right: Any, name: str) -> Finding | None:
    """None if they are equal; otherwise the kind of difference and a sentence."""
    if got is None:
        return Finding("nothing returned", f"{name} is None: is a `return` missing?")
    if isinstance(got, Other):
        return Finding("wrong type", f"{name} is a {got.type}, but must be {wanted(right)}.")
    if isinstance(right, set):
        return _sets(got, right, name)
    if isinstance(right, tuple):
        return _tuples(got, right, name)
    if isinstance(right, bool):
        if not isinstance(got, bool):
            return Finding("wrong type", f"{name} is {show(got)}, but must be True or False.")
        return None if got == right else Finding("wrong value", f"{name} is {got}, but must be {right}.")
    if isinstance(right, int):
        return _integers(got, right, name)
    return _arrays(got, right, name)


def wanted(right: Any) -> str:
    """The type of a right result, in words."""
    if isinstance(right, np.ndarray):
        return "a NumPy array of floats" if right.ndim else "a number"
    names = {bool: "True or False", int: "an integer", float: "a number", set: "a set of file names"}
    return names.get(type(right), f"a tuple of {len(right)}" if isinstance(right, tuple) else type(right).__name__)


def _sets(got: Any, right: set, name: str) -> Finding | None:
    if not isinstance(got, (set, list, tuple)) or not all(isinstance(item, str) for item in got):
        return Finding("wrong type", f"{name} is {show(got)}, but must be a set of names: {{'train/sky/1.png'}}.")
    missing, extra = sorted(right - set(got)), sorted(set(got) - right)
    if not missing and not extra:
        return None
    said = [f"{len(files)} of them {word}, such as {short(files[0])}" for files, word in
            ((missing, f"(of {len(right)}) not found"), (extra, "named that are right")) if files]  # fmt: skip
    return Finding("wrong files", f"{name}: {'; '.join(said)}.")


def _tuples(got: Any, right: tuple, name: str) -> Finding | None:
    if not isinstance(got, (tuple, list)) or len(got) != len(right):
        return Finding("wrong type", f"{name} is {show(got)}, but must be a tuple of {len(right)}.")
    for i, (a, b) in enumerate(zip(got, right)):
        found = difference(a, b, f"{name}[{i}]")
        if found:
            return found
    return None


def _integers(got: Any, right: int, name: str) -> Finding | None:
    if isinstance(got, np.ndarray) and got.ndim == 0:
        got = got.item()
    if isinstance(got, float) and got == right:
        return Finding("a float where an integer must be", f"{name} is {got}, but must be the integer {right}: divide "
                       "with // instead of /.")  # fmt: skip
    if isinstance(got, bool) or not isinstance(got, (int, float)):
        return Finding("wrong type", f"{name} is {show(got)}, but must be an integer.")
    return None if got == right else Finding("wrong value", f"{name} is {short(got)}, but must be {right}.")


def _arrays(got: Any, right: Any, name: str) -> Finding | None:
    right = np.asarray(right, np.float64)
    if isinstance(got, (int, float)) and not isinstance(got, bool) and right.ndim == 0:
        got = np.float64(got)
    elif not isinstance(got, np.ndarray) or got.dtype.kind not in "fiu":
        return Finding("wrong type", f"{name} is {show(got)}, but must be {wanted(right)}.")
    if got.shape != right.shape:
        return Finding("wrong shape", f"{name} has the shape {got.shape}, but must have the shape {right.shape}.")
    if got.dtype.kind == "f" and got.dtype.itemsize < 8 and np.allclose(got, right, 1e-2, 1e-2 * _size(right)):
        return Finding("single precision", f"{name} is of {got.dtype}, which rounds its numbers: compute in float64, "
                       "the dtype of the arguments.")  # fmt: skip
    wrong = ~np.isclose(got, right, rtol=TOLERANCE, atol=TOLERANCE * _size(right), equal_nan=True)
    if not wrong.any():
        return None
    place = tuple(int(i) for i in np.argwhere(wrong)[0]) if right.ndim else ()
    where = f"{name}[{', '.join(map(str, place))}]" if place else name
    digits = 6 if f"{got[place]:.6g}" != f"{right[place]:.6g}" else 12
    sentence = f"{where} is {got[place]:.{digits}g}, but must be {right[place]:.{digits}g}"
    if right.size > 1:
        sentence += f"; {int(wrong.sum())} of {right.size} numbers are different"
    if not np.isfinite(got[wrong]).all():
        return Finding("not a number", sentence + ": something overflows, or is divided by zero.")
    if got.dtype.kind in "iu":
        return Finding("integers where floats must be", sentence + f": the array's dtype is {got.dtype}, which has cut "
                       "the numbers off.")  # fmt: skip
    return Finding("wrong value", sentence + ".")


def _size(right: np.ndarray) -> float:
    """The largest finite number, at least 1e-3."""
    finite = abs(right[np.isfinite(right)])
    return max(1e-3, float(finite.max(initial=0.0)))


def show(value: Any) -> str:
    """A returned value, or an argument, for a sentence."""
    if isinstance(value, Other):
        return f"a {value.type}"
    if isinstance(value, np.ndarray):
        if value.size <= 12 and value.dtype.kind in "fiub":
            text = np.array2string(value, precision=4, separator=", ", max_line_width=10_000)
            return re.sub(r"(?<=\[) +| *\n *| +(?=[,\]])", "", re.sub(r",\s+", ", ", text))
        return f"an array {'×'.join(map(str, value.shape))}"
    if isinstance(value, (tuple, list)):
        if any(isinstance(v, (np.ndarray, Other)) for v in value):
            return f"a {type(value).__name__} of {len(value)}"
        text = repr(value[:12])                            # plain values: worker.decoded made them
        return text if len(text) <= 80 and len(value) <= 12 else f"{text[:76]} ..."
    return short(value) if not isinstance(value, set) else f"a set of {len(value)}"
