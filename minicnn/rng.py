"""Every random number that minicnn draws comes from here, so that one `seed` repeats a whole run.

There are two kinds of draw. Weights and shuffles come from one NumPy generator on the host, whatever the device.
Dropout masks are made where the arrays live, from a counter: draw number d of seed s is the same mask on every
device (Philox 4×64-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
"""

from __future__ import annotations

import numpy as np

_seed = 0
_draws = 0
_generator = np.random.default_rng(0)


def seed(value: int) -> None:
    """Start all of minicnn's random numbers afresh from `value`, an integer ≥ 0."""
    global _seed, _draws, _generator
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < 2**63:
        raise ValueError(f"seed must be an integer from 0 to 2**63 - 1, not {value!r}")
    _seed, _draws, _generator = int(value), 0, np.random.default_rng(int(value))


def generator() -> np.random.Generator:
    """The host's generator: initial weights, shuffles."""
    return _generator


def next_draw() -> tuple[int, int]:
    """(seed, draw number) of the next mask; each call gives a new one."""
    global _draws
    _draws += 1
    return _seed, _draws
