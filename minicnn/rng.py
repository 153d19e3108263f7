"""The source of all random numbers in minicnn, so that one `seed` makes a whole run repeatable.

There are two kinds of draw. Weights and shuffles come from one NumPy generator on the host, for every device.
Dropout masks are computed on the arrays' device, from a counter: draw number d of seed s is the same mask on every
device (Philox 4×64-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
"""

from __future__ import annotations

import numpy as np

_seed = 0
_draws = 0
_generator: np.random.Generator | None = None  # made when first used: numpy.random takes a while to import


def seed(value: int) -> None:
    """Restart all of minicnn's random numbers from `value`, an integer from 0 to 2⁶³ − 1."""
    global _seed, _draws, _generator
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < 2**63:
        raise ValueError(f"seed must be an integer from 0 to 2**63 - 1, not {value!r}")
    _seed, _draws, _generator = int(value), 0, None


def generator() -> np.random.Generator:
    """The generator on the host, for initial weights and shuffles."""
    global _generator
    if _generator is None:
        _generator = np.random.default_rng(_seed)
    return _generator


def next_draw() -> tuple[int, int]:
    """(seed, draw number) of the next mask; each call gives a new one."""
    global _draws
    _draws += 1
    return _seed, _draws


def state() -> dict:
    """The state of the random numbers, in types that JSON can store; `restore` continues from it."""
    return {"seed": _seed, "draws": _draws, "generator": generator().bit_generator.state}


def restore(saved: dict) -> None:
    """Continue from a `state()`. ValueError for anything else."""
    global _seed, _draws, _generator
    fresh = np.random.default_rng(0)
    try:
        fresh.bit_generator.state = saved["generator"]
        counts = saved["seed"], saved["draws"]
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as problem:
        raise ValueError(f"the state of the random numbers can't be read ({problem})") from None
    if not all(type(n) is int and 0 <= n < 2**63 for n in counts):
        raise ValueError(f"the state of the random numbers counts {counts}, which must be integers of at least 0")
    (_seed, _draws), _generator = counts, fresh
