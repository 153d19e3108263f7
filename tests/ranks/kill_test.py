"""python -m tests.ranks.kill_test 50: kill a random rank at random moments; the others must end within 10 s.

Half of the times mpiexec may not clean up, so that the limit of 5 s must end it. Then the run is resumed with one, two
or three ranks, until it comes to its end; its losses must be those of a run that nobody killed, to five digits.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.ranks.launch import command, environment
from tests.ranks.test_training import MEMBER, NUMPY, losses, train


def main(count: int) -> None:
    """Kill `count` times. → an AssertionError at the first fault"""
    rng, longest, saved = random.Random(1), 0.0, 0
    where = Path(tempfile.mkdtemp(prefix="minicnn-ranks-"))
    assert train(1, where / "alone").returncode == 0
    folder = where / "killed"
    for kill in range(count):
        size, options = rng.choice((2, 2, 3)), ("-disable-auto-cleanup",) if kill % 2 else ()
        words = (*MEMBER, str(folder), "wait=5", "slow=0.1", *(["resume"] if (folder / "config.json").exists() else []))
        started = subprocess.Popen(command(size, *words, options=options), stdout=subprocess.PIPE, text=True,
                                   stderr=subprocess.STDOUT, env=environment(**NUMPY))  # fmt: skip
        words = next(line for line in started.stdout if line.startswith("PIDS")).split()
        pids = [int(word) for word in words[1:]]
        time.sleep(rng.uniform(0, 2.5))
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(pids), signal.SIGKILL)
        sent = time.monotonic()
        while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() - sent < 30:
            time.sleep(0.05)
        longest = max(longest, time.monotonic() - sent)
        assert longest < 10, f"after kill {kill + 1} a rank was there for {longest:.1f} s"
        started.kill()
        told = started.communicate()[0]
        saved += (folder / "last.ckpt").exists()
        print(f"kill {kill + 1} of {size} ranks, {' '.join(options) or 'mpiexec cleans up'}: {longest:.1f} s at most; "
              f"{' '.join(told.split())[-60:]}", flush=True)  # fmt: skip
        if started.returncode == 0 or kill == count - 1:   # it had come to its end
            ended = train(rng.choice((1, 2, 3)), folder, "resume")
            assert ended.returncode == 0, ended.stderr
            np.testing.assert_allclose(losses(folder), losses(where / "alone"), rtol=1e-5)
            folder = where / f"killed{kill}"
    print(f"{count} kills, {saved} with a checkpoint; all ranks had ended after {longest:.1f} s at most")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
