"""kill -9 at random moments of training, and the weights come out as if nothing had happened.

    python -m tests.train.kill_test 200

Some runs are trained once without interruption. Then each is trained again, killed at a random moment, resumed, killed
again, and so on until it comes to its end; its files must be those of the uninterrupted run, byte for byte. That goes
on until N processes have been killed. A process that ends in any other way than killed or done is a failure.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MINICNN = [sys.executable, "-c", "from minicnn.cli.app import main; main()"]

RUNS = {
    # Adam, a checkpoint after every step: half of the kills hit a file that is being written
    "adam": {"model": "lenet5", "epochs": 3, "limit_batches": 10, "checkpoint_steps": 1, "gradient_flow": True},
    # dropout, momentum, mixed images, an average of the weights, several batches a step, long gradients clipped
    "noise": {"model": "squeezenet1_1", "options": {"width": 0.25, "dropout": 0.3}, "epochs": 3, "limit_batches": 9,
              "batch_size": 16, "optimizer": "sgd", "lr": 0.02, "augment": "flip pad-crop:2 cutout:6 mixup:0.4",
              "accumulate": 2, "ema": 0.9, "clip": 1.0, "label_smoothing": 0.1, "class_weights": "balanced",
              "checkpoint_steps": 2, "tensorboard": True},
    # running statistics, saved by the clock
    "batch norm": {"model": "resnet20", "epochs": 2, "limit_batches": 5, "batch_size": 8, "optimizer": "sgd",
                   "lr": 0.05, "schedule": "onecycle", "checkpoint_seconds": 0.2},
    # only at the end of an epoch, with workers that read ahead
    "epochs": {"model": "lenet5", "epochs": 4, "limit_batches": 8, "workers": 2, "patience": 3},
}  # fmt: skip


def toml(settings: dict) -> str:
    """The settings as TOML; JSON writes numbers, texts and truth values the same way."""
    plain = [f"{name} = {json.dumps(value)}" for name, value in settings.items() if not isinstance(value, dict)]
    inner = [f"{table}.{name} = {json.dumps(value)}" for table, values in settings.items() if isinstance(values, dict)
             for name, value in values.items()]  # fmt: skip
    return "\n".join([*plain, *inner]) + "\n"


def start(*args: object) -> subprocess.Popen:
    """The program, on two threads of its own, in this environment."""
    env = {**os.environ, "MINICNN_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([*MINICNN, *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)


def whole(process: subprocess.Popen) -> None:
    """Wait for its end, which must be a good one."""
    _, err = process.communicate(timeout=300)
    if process.returncode or err:
        raise SystemExit(f"FAILED: exit code {process.returncode}: {err.decode()}")


def outcome(folder: Path) -> dict[str, bytes]:
    """What training gave, apart from how long it took."""
    files = {name: (folder / name).read_bytes() for name in ("best.safetensors", "last.safetensors", "test.json")}
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return files | {"metrics": json.dumps([{k: v for k, v in r.items() if k != "seconds"} for r in records]).encode()}


def kill(count: int, where: Path, seed: int = 0, names=tuple(RUNS), say=print) -> dict[str, int]:
    """Kill `count` processes. → how many were killed, had a checkpoint to go on from, came to their end; SystemExit at
    a difference.
    """
    rng, total = random.Random(seed), {"killed": 0, "with a checkpoint": 0, "ended": 0}
    expected, seconds = {}, {}
    for name in names:
        (where / f"{name}.toml").write_text(toml(RUNS[name]))
        began = time.perf_counter()
        whole(start("train", "digits", "--config", where / f"{name}.toml", "--out", where / name))
        expected[name], seconds[name] = outcome(where / name), time.perf_counter() - began
        say(f"{name}: {seconds[name]:.1f} s without interruption", flush=True)
    while total["killed"] < count:
        for name in names:
            folder, kills = where / f"{name} again", 0
            shutil.rmtree(folder, ignore_errors=True)
            while True:
                again = ("--resume", folder) if (folder / "config.json").exists() else (
                    "digits", "--config", where / f"{name}.toml", "--out", folder, "--overwrite")
                process = start("train", *again)
                try:                                       # after so many kills it may come to its end
                    _, err = process.communicate(timeout=rng.uniform(0.3, seconds[name]) if kills < 15 else 600)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    if process.returncode == -9:
                        kills += 1
                        total["with a checkpoint"] += (folder / "last.ckpt").exists()
                        continue
                    err = b""
                if process.returncode or err:
                    raise SystemExit(f"FAILED: {name}, after {kills} kills: {err.decode()}")
                break
            for file, content in outcome(folder).items():
                if content != expected[name][file]:
                    raise SystemExit(f"FAILED: {name}, after {kills} kills: {file} differs; see {folder}")
            left = [path.name for path in folder.iterdir() if path.name.endswith(".part")]
            if left:
                raise SystemExit(f"FAILED: {name}: {left} were left behind")
            total["killed"] += kills
            total["ended"] += 1
            say(f"{name}: killed {kills} times, the same to the last byte; {total['killed']} of {count}", flush=True)
            if total["killed"] >= count:
                break
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="how many processes to kill")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="minicnn-kill-") as place:
        done = kill(options.count, Path(place), options.seed)
    print(f"{done['killed']} processes killed in {done['ended']} runs, {done['with a checkpoint']} of them when there "
          f"was a checkpoint already: all {done['ended']} runs ended with the bytes of the uninterrupted one")
