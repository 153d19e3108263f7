"""Joining: alone without a launcher, a sentence where ranks can't reach each other; an error on one rank ends all."""

import subprocess
import sys

import numpy as np
import pytest

from minicnn import ranks
from minicnn.piece import piece
from tests.ranks.launch import aborted, environment, launch


@pytest.mark.parametrize("whole", [0, 1, 2, 5, 64, 65])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pieces_make_up_the_batch(whole, size):
    pieces = [piece(whole, rank, size) for rank in range(size)]
    rows = [row for p in pieces for row in range(p.first, p.first + p.size)]
    assert rows == list(range(whole))
    assert max(p.size for p in pieces) - min(p.size for p in pieces) <= 1
    for p in pieces:
        assert p.rows == (slice(p.first, p.first + p.size) if p.size else slice(0, 1))


def test_alone_every_message_is_its_own_answer():
    team = ranks.Alone()
    array = np.array([1.0, 2.0])
    assert team.sum(array) is array
    assert team.gather(array).tolist() == [[1.0, 2.0]]
    assert team.broadcast_bytes("naïve".encode()) == "naïve".encode()
    assert (team.part, team.channel()) == ((0, 1), team)
    team.in_step("weights", [array])


def run(code, **more):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(**more))


def test_without_a_launcher_nobody_looks_for_mpi():
    code = "import sys, minicnn.ranks as r; t = r.join(); print(type(t).__name__, t.size, 'mpi4py' in sys.modules)"
    assert run(code).stdout == "Alone 1 False\n"
    assert run(code, PMI_SIZE="1").stdout == "Alone 1 False\n", "nor for one rank"


@pytest.mark.parametrize("name", ["PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_ranks_that_cannot_talk_to_each_other_do_not_start(name):
    """Otherwise each would train a whole net, and all write one folder."""
    ended = run("import sys; sys.modules['mpi4py'] = None\nimport minicnn.ranks as r; r.join()", **{name: "3"})
    assert ended.returncode == 1
    assert "a launcher started 3 ranks, and they can't talk to each other, because mpi4py is not usable" in ended.stderr


MESSAGES = """
import numpy as np
from minicnn import ranks
with ranks.joined(30) as team:
    r, k = team.part
    assert team.sum(np.array([1.0, r])).tolist() == [k, k * (k - 1) / 2]
    assert team.gather(np.array([r, 10 * r])).tolist() == [[i, 10 * i] for i in range(k)]
    assert team.broadcast(np.full((2, 3), float(r))).tolist() == [[0.0] * 3] * 2
    assert team.broadcast_bytes(b"from 0" if r == 0 else b"") == b"from 0"
    other = team.channel()
    array, small = np.full(100_000, r + 1.0), np.array([1.0])
    waiting = team.start_sum(array)                       # two channels: the second overtakes the first
    assert other.sum(small)[0] == k
    waiting.poke(); waiting.wait()
    assert (array == k * (k + 1) / 2).all()
    team.in_step("numbers", [np.arange(5)])
    try:
        team.in_step("numbers", [np.array([r])])
    except RuntimeError as problem:
        assert "the ranks hold different numbers: their checksums" in str(problem)
        print("agreed", flush=True)
"""


def test_messages():
    ended = launch(2, "-c", MESSAGES)
    assert ended.returncode == 0, ended.stderr
    assert "".join(ended.stdout.split()) == "agreed" * 2          # the lines of two processes may be mixed


def test_an_error_on_one_rank_ends_all():
    code = """
import numpy as np
from minicnn import ranks
with ranks.joined(30) as team:
    if team.rank == 1:
        raise OSError("the disk of this rank is full")
    team.sum(np.ones(1))
"""
    ended = launch(2, "-c", code, timeout=20)
    assert aborted(ended, 1)
    assert "error: rank 1 on " in ended.stderr
    assert "the disk of this rank is full" in ended.stderr


def test_a_rank_that_waits_in_vain_says_so():
    code = """
import time
import numpy as np
from minicnn import ranks
with ranks.joined(0.5) as team:
    if team.rank == 1:
        time.sleep(60)
    team.channel().sum(np.ones(1))                        # the watchdog covers every channel
"""
    ended = launch(2, "-c", code, timeout=30)
    assert aborted(ended, ranks.GONE)
    assert "error: rank 0 on " in ended.stderr
    assert "waited 0.5 s for the other ranks: one of them is gone or stuck" in ended.stderr
