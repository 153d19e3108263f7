"""What each claim costs: the CPU seconds of its small size, from a short training of each arm.

    python -m benchmarks.claims [CLAIM …]

writes minicnn/claims/costs.json, which `minicnn claim list` shows. One training of one epoch and one of two give the
cost of an epoch and the rest; a claim with a goal is counted with all its epochs, which it may not need. One thread.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from typing import Any

from threadpoolctl import threadpool_limits

from minicnn import atomic
from minicnn.claims import NAMES, load, training
from minicnn.claims.engine import Experiment, Setup
from minicnn.claims.report import COSTS
from minicnn.cpu.threads import set_num_threads

SEED = 1
"""A seed that no series of an experiment has."""


def seconds(plan: Any, arm: Any, pilot: bool) -> float:
    """The CPU seconds of one training of an arm."""
    rate = arm.settings.get("rates", plan.rates)[0]

    def cost(epochs: int) -> float:
        started = time.process_time()
        training.run(replace(plan, epochs=epochs), arm, rate, SEED, pilot)
        return time.process_time() - started

    if plan.epochs == 0:
        return cost(0)
    one, two = cost(1), cost(2)
    return one + (plan.epochs - 1) * max(0.0, two - one)


def of_claim(name: str) -> float:
    """The CPU seconds of a claim: its pilots, and every seed of every arm."""
    plan, total = load(name).small, 0.0
    first = replace(plan, epochs=min(plan.epochs, 1), train=64)
    training.run(first, plan.arms[0], plan.rates[0], SEED)         # loads the data
    for arm in plan.arms:
        rates = arm.settings.get("rates", plan.rates)
        total += plan.seeds * seconds(plan, arm, False)
        if len(rates) > 1:
            total += plan.pilot_seeds * len(rates) * seconds(plan, arm, True)
    return total


def main(names: list[str]) -> None:
    """Measure, print and write."""
    set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    known = json.loads(COSTS.read_bytes())["core_seconds"]
    for name in names or NAMES:
        known[name] = round(of_claim(name))
        print(f"{name}: {Experiment(name, Setup()).trainings} trainings, {known[name]} CPU seconds", flush=True)
        ordered = {each: known[each] for each in NAMES if each in known}
        atomic.write(COSTS, (json.dumps({"core_seconds": ordered}, indent=1) + "\n").encode())
    print(f"all {len(known)}: {sum(known.values()) / 60:.0f} CPU minutes, on two cores {sum(known.values()) / 120:.0f}")


if __name__ == "__main__":
    main(sys.argv[1:])
