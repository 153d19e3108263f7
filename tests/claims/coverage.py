"""How often the interval contains the truth, by simulation: it should be in 95 % of experiments.

    python -m tests.claims.coverage 20000

    normal    differences as they are between many nets
    counts    the difference of two errors among 1,000 test images, 5 % and 6 %, as test errors are
    skewed    logarithmic normal, as ratios are before the logarithm
    trouble   normal, but one number in ten is 5 away: a training that went wrong
"""

from __future__ import annotations

import sys

import numpy as np

from minicnn.claims.statistics import INTERVALS

DRAWN = {
    "normal": (lambda rng, n: rng.normal(0.3, 1, n), 0.3),
    "counts": (lambda rng, n: (rng.binomial(1000, 0.06, n) - rng.binomial(1000, 0.05, n)) / 10, 1.0),
    "skewed": (lambda rng, n: rng.lognormal(0, 0.8, n), float(np.exp(0.32))),
    "trouble": (lambda rng, n: rng.normal(0, 1, n) + 5 * (rng.random(n) < 0.1), 0.5),
}  # {name: (a sample of n numbers, its true mean)}


def share(name: str, n: int, method: str, samples: int, seed: int = 0) -> float:
    """The share of samples whose interval contains the true mean."""
    draw, truth = DRAWN[name]
    rng = np.random.default_rng([seed, n])
    inside = 0
    for _ in range(samples):
        _, low, high = INTERVALS[method](draw(rng, n))
        inside += low <= truth <= high
    return inside / samples


def table(samples: int) -> str:
    """The shares in %, in Markdown; the bootstrap, which takes longer, with a tenth of the samples."""
    lines = ["| numbers | " + " | ".join(f"{m}, n = {n}" for m in INTERVALS for n in (4, 5, 10, 20)) + " |"]
    lines.append("|---|" + "---|" * (4 * len(INTERVALS)))
    for name in DRAWN:
        cells = [100 * share(name, n, method, samples if method == "t" else samples // 10)
                 for method in INTERVALS for n in (4, 5, 10, 20)]  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(int(sys.argv[1]) if len(sys.argv) > 1 else 20000))
