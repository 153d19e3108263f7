"""python -m tests.ranks.member FOLDER [resume] [KEY=VALUE …]: one rank of a small training, without pictures.

Rank 0 prints "PIDS", the processes of all ranks, and then "step N" after each step. raise=N: rank 1 fails after step N; slow=S:
each step takes S seconds longer; wait=S: seconds to wait for the other ranks.
"""

import json
import os
import sys
import time

import numpy as np

from minicnn import ranks
from minicnn.train import Config, Run, Stopped, on_signals

SETTINGS = {"dataset": "digits", "model": "lenet5", "epochs": 2, "limit_batches": 6, "batch_size": 33, "ema": 0.9,
            "class_weights": "balanced", "augment": "pad-crop:2 mixup:0.3", "accumulate": 2, "checkpoint_steps": 1,
            "device": "cpu"}  # fmt: skip


def main(folder, *more):
    words = dict(word.split("=") for word in more if "=" in word)
    fails, slow, wait = (float(words.pop(key, 0)) for key in ("raise", "slow", "wait"))
    with ranks.joined(wait) as team:
        pids = team.gather(np.array([os.getpid()]))[:, 0]
        if team.rank == 0:
            print("PIDS", *pids, flush=True)
        settings = SETTINGS | {key: json.loads(value) for key, value in words.items()}
        run = Run.resume(folder, team) if "resume" in more else Run(Config(**settings), folder, team=team)

        def on_step(step, loss):
            time.sleep(slow)
            if team.rank == 0:
                print("step", step, flush=True)
            if fails and team.rank and step == fails:
                raise OSError("the disk of this rank is full")

        try:
            with on_signals() as asked:
                run.train(on_step, asked=asked)
            run.test()
        except Stopped as stopped:
            if team.rank == 0:
                print(stopped, file=sys.stderr)
            return stopped.code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
