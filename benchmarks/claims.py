"""What each claim costs: the CPU seconds of its small size, estimated from three short trainings of an arm.

    python -m benchmarks.claims [CLAIM …]
    python -m benchmarks.claims --from docs/claims         what the saved runs of the first series took, not estimated

writes minicnn/claims/costs.json, which `minicnn claim list` shows. Trainings of N images for one epoch, N for two, and
2·N for one give the cost of an image in an epoch, of an image that is evaluated, and of the rest, such as building the
net. A claim with a goal is counted with all its epochs, which it may not need. One thread.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from minicnn import atomic
from minicnn.claims import NAMES, load, training
from minicnn.claims.engine import Experiment, Setup
from minicnn.claims.report import COSTS
from minicnn.cpu.threads import set_num_threads
from minicnn.data import load as load_data

SEED = 1
"""A seed that no series of an experiment has."""
IMAGES = 128
"""Images of a short training, and of its test."""
REPEATS = 3
"""Each is repeated so often, and the shortest counts."""
ARMS = 4
"""The most arms that are measured."""


def seconds(plan: Any, arm: Any) -> float:
    """The CPU seconds of one training of an arm."""
    rate = arm.settings.get("rates", plan.rates)[0]

    def cost(images: int, epochs: int) -> float:
        found = []
        for _ in range(REPEATS):                           # other programs only make it longer
            started = time.process_time()
            training.run(replace(plan, train=images, test=IMAGES, epochs=epochs), arm, rate, SEED)
            found.append(time.process_time() - started)
        return min(found)

    if plan.epochs == 0:
        return cost(plan.train, 0)
    n = min(IMAGES, plan.train // 2)
    first, longer, more = cost(n, 1), cost(n, 2), cost(2 * n, 1)
    image_epoch = max(0.0, longer - first) / n
    image = max(0.0, (more - first) / n - image_epoch)
    rest = max(0.0, first - n * (image_epoch + image) - IMAGES * image)
    test = 0 if plan.goal is not None else plan.test or len(load_data(plan.data).test)
    return rest + plan.train * plan.epochs * image_epoch + (plan.train + test) * image


def of_claim(name: str) -> float:
    """The CPU seconds of a claim: its pilots, and every seed of every arm; of many arms, some are measured."""
    plan = load(name).small
    short = replace(plan, epochs=min(plan.epochs, 1), train=64, test=64)
    training.run(short, plan.arms[0], plan.rates[0], SEED)         # loads the data and the kernels
    arms = plan.arms[:: -(-len(plan.arms) // ARMS)]
    return Experiment(name, Setup()).trainings * sum(seconds(plan, arm) for arm in arms) / len(arms)


def main(names: list[str]) -> None:
    """Measure, print and write."""
    set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    known = json.loads(COSTS.read_bytes())["core_seconds"]
    saved = Path(names[1]) if names[:1] == ["--from"] else None
    for name in NAMES if saved else names or NAMES:
        if saved:
            known[name] = json.loads((saved / f"{name}-small.json").read_bytes())[0]["cpu_seconds"]
        else:
            known[name] = round(of_claim(name))
        print(f"{name}: {Experiment(name, Setup()).trainings} trainings, {known[name]} CPU seconds", flush=True)
        ordered = {each: known[each] for each in NAMES if each in known}
        atomic.write(COSTS, (json.dumps({"core_seconds": ordered}, indent=1) + "\n").encode())
    print(f"all {len(known)}: {sum(known.values()) / 60:.0f} CPU minutes, on two cores {sum(known.values()) / 120:.0f}")


if __name__ == "__main__":
    main(sys.argv[1:])
