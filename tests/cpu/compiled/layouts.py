"""Ways in which an array can lie in memory."""

import itertools

import numpy as np
import pytest


def channels_last(a):
    """x (N,C,…) stored as (N,…,C)"""
    return np.ascontiguousarray(np.moveaxis(a, 1, -1)).transpose(0, -1, *range(1, a.ndim - 1))


def read_only(a):
    """Channels last, not writable."""
    a = channels_last(a)
    a.flags.writeable = False
    return a


LAYOUTS = {
    "channels last": channels_last,
    "channels first": np.ascontiguousarray,
    "gaps": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "read-only": read_only,
    "backwards": lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
}


def in_turns(name, cases):
    """Parameters (name, layout): each case in one layout, the first in all."""
    turns = [(cases[0], layout) for layout in LAYOUTS] + list(zip(cases[1:], itertools.cycle(LAYOUTS)))
    return pytest.mark.parametrize((name, "layout"), [pytest.param(case, LAYOUTS[layout], id=f"{case}, {layout}")
                                                      for case, layout in turns])  # fmt: skip
