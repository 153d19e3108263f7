"""The threads of the compiled kernels: every item once, on several threads; errors, Ctrl-C, forks, other callers."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

from minicnn.cpu import threads
from minicnn.cpu.compiled import kernel, team, work
from minicnn.cpu.compiled.atomic import add, read
from minicnn.cpu.compiled.work import first, following, rest
from tests.work import NEVER

LONG = 1 << 20
"""A size that is worth several threads."""


@numba.njit(**kernel.OPTIONS)
def count(times, who, me, work):
    """Add 1 to times[item], and note who computed it."""
    item = first(work)
    while item >= 0:
        times[item] += 1
        who[item] = me
        item = following(work)


@numba.njit(**kernel.OPTIONS)
def meet(arrived, who, me, turns, work):
    """Each thread waits in its first item until two threads are in one, for so many turns at most."""
    item = first(work)
    met = False
    while item >= 0:
        who[item] = me
        if not met:
            met = True
            add(arrived, 0, 1)
            turn = 0
            while turn < turns and read(arrived, 0) < 2:
                turn = rest(turn)                                  # the other thread may need this core
        item = following(work)


@pytest.fixture(params=[1, 2, 4])
def num_threads(request):
    before = threads.num_threads()
    threads.set_num_threads(request.param)
    yield request.param
    threads.set_num_threads(before)


@pytest.fixture
def two():
    before = threads.num_threads()
    threads.set_num_threads(2)
    yield
    threads.set_num_threads(before)


def counted(items):
    """(how often each item was computed, the thread of each)"""
    times, who = np.zeros(items, np.int64), np.zeros(items, np.int64)
    team.run(lambda times, who, work: count(times, who, threading.get_ident(), work), items, LONG, times, who)
    return times, who


def threads_that_meet():
    """The threads that computed items, once two have met in one."""
    for _ in range(1000):                                          # a thread may sleep through a layer
        arrived, who = np.zeros(1, np.int64), np.zeros(4, np.int64)
        team.run(lambda arrived, who, work: meet(arrived, who, threading.get_ident(), 1 << 16, work), 4, LONG, arrived,
                 who)  # fmt: skip
        if len(set(who)) > 1:
            return set(who.tolist())
    return set(who.tolist())


def test_every_item_is_computed_once(num_threads):
    for items in (0, 1, 2, 3, 7, 1000):
        times, who = counted(items)
        assert (times == 1).all()
        assert len(set(who)) <= num_threads


def test_two_threads_take_items(two):
    assert len(threads_that_meet()) == 2


def test_a_small_layer_is_computed_by_its_caller(two):
    who = np.zeros(9, np.int64)
    for items, size in ((9, team.MIN_WORK - 1), (1, LONG)):
        who[:] = 0
        team.run(lambda who, work: count(np.zeros(9, np.int64), who, threading.get_ident(), work), items, size, who)
        assert set(who[:items]) == {threading.get_ident()}


def test_the_number_of_threads_can_change_between_layers():
    before = threads.num_threads()
    try:
        for number in (1, 3, 2, 5, 1, 2, 4, 4, 1):
            threads.set_num_threads(number)
            assert (counted(100)[0] == 1).all()
            if number > 1:
                assert len(team._team.helpers) == number - 1
        threads.set_num_threads(2)
        assert len(threads_that_meet()) == 2
        assert sum(t.name == "minicnn compiled" for t in threading.enumerate()) == 1
    finally:
        threads.set_num_threads(before)


def test_several_callers_at_once(num_threads):
    def layers(_):
        return all((counted(50)[0] == 1).all() for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(layers, range(8)))
    assert (counted(50)[0] == 1).all()


def test_a_sleeping_thread_wakes(two):
    counted(4)
    helper, = team._team.helpers
    deadline = time.monotonic() + NEVER
    while not helper.asleep and time.monotonic() < deadline:
        time.sleep(0.001)
    assert helper.asleep
    assert len(threads_that_meet()) == 2


def test_no_array_is_kept_after_its_layer(two):
    x = np.zeros(100)
    before = sys.getrefcount(x)
    team.run(lambda x, work: count(np.zeros(9, np.int64), np.zeros(9, np.int64), 0, work), 9, LONG, x)
    deadline = time.monotonic() + NEVER
    while sys.getrefcount(x) > before and time.monotonic() < deadline:       # the other thread may just be leaving
        time.sleep(0.001)
    assert sys.getrefcount(x) == before


# ---------------------------------------------------------------------------------------------------------- errors


def failing(error, where, after=False):
    """A kernel that fails on the calling thread or on a helper, before it takes an item or after all are done."""
    caller = threading.get_ident()

    def body(arrived, work):
        here = "caller" if threading.get_ident() == caller else "helper"
        if here == where and not after:
            if where == "helper":
                arrived[0] = 1
            raise error
        if where == "helper":                                      # rings the bell, and lets the helper come
            meet(arrived, np.zeros(4, np.int64), 0, 1 << 16, work)
        else:
            count(np.zeros(4, np.int64), np.zeros(4, np.int64), 0, work)
        if here == where:
            raise error

    return body


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("where", ["caller", "helper"])
@pytest.mark.parametrize("error", [MemoryError, TypeError, KeyboardInterrupt])
def test_an_error_is_raised_where_the_layer_was_called(two, error, where, after):
    """Also one before the first item, when no thread would ever take it."""
    for _ in range(1000):
        arrived = np.zeros(1, np.int64)
        try:
            team.run(failing(error("in a kernel"), where, after), 4, LONG, arrived)
        except error as problem:
            told = str(problem)
            break
    else:
        raise AssertionError("the helper never came")
    memory = "a thread found no memory for this layer: use a smaller batch or fewer threads"
    assert told == (memory if error is MemoryError and where == "helper" else "in a kernel")
    assert not team._team.busy.locked()
    assert all(helper.work is None and helper.is_alive() for helper in team._team.helpers)
    assert (counted(100)[0] == 1).all()
    assert len(threads_that_meet()) == 2


def test_after_an_error_no_thread_writes_any_more(two):
    """The caller fails while a helper is in an item: the error is raised when that item is done."""
    state = {"inside": False, "written": False}
    caller = threading.get_ident()

    def body(arrived, work):
        if threading.get_ident() == caller:
            meet(arrived, np.zeros(4, np.int64), 0, 1 << 16, work)
            if arrived[0] >= 2:
                raise ValueError("here")
        else:
            state["inside"] = True
            arrived[0] = 2
            time.sleep(0.05)
            state["written"] = True

    for _ in range(1000):
        state.update(inside=False, written=False)
        try:
            team.run(body, 4, LONG, np.zeros(1, np.int64))
        except ValueError:
            break
    assert state == {"inside": True, "written": True}


def test_closed_work_gives_out_nothing():
    counters = work.new(10)
    times, who = np.zeros(10, np.int64), np.zeros(10, np.int64)
    work.close(counters)
    count(times, who, 0, counters)
    assert not times.any()


# ------------------------------------------------------------------------------------------------- other processes


def python(code):
    return subprocess.run([sys.executable, "-c", code], text=True, timeout=NEVER, capture_output=True)


COMPUTE = """
import os, warnings
warnings.simplefilter("ignore")
import numpy as np, minicnn
from minicnn.cpu.compiled import team
from minicnn.cpu.compiled.elements import relu
minicnn.set_num_threads(2)
x = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32)
def right(): return bool((relu(x) == np.maximum(x, 0)).all())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_computes():
    done = python(COMPUTE + """
assert right()
assert len(team._team.helpers) == 1
child = os.fork()
if child == 0:
    good = right() and right() and team._team.helpers[0].is_alive()
    os._exit(0 if good else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), right())
""")
    assert done.stdout == "0 True\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_during_a_layer_computes():
    """Another thread computes, and holds the team, when this one forks."""
    done = python(COMPUTE + """
import threading
stop = threading.Event()
def layers():
    while not stop.is_set(): assert right()
other = threading.Thread(target=layers)
other.start()
codes = []
for _ in range(20):
    while not team._team.busy.locked(): pass
    child = os.fork()
    if child == 0:
        os._exit(0 if right() and not team._team.busy.locked() else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
other.join()
print(set(codes), right())
""")
    assert done.stdout == "{0} True\n", done.stderr


def test_the_first_call_of_a_kernel_imports_nothing():
    """A process that is forked while another thread imports something waits for that import, which never ends there."""
    done = python(COMPUTE + """
import sys
loaded = set(sys.modules)
assert right()
print(sorted(set(sys.modules) - loaded))
""")
    assert done.stdout == "[]\n", done.stderr


def test_a_spawned_process_computes():
    done = python(COMPUTE + """
from multiprocessing import get_context
assert right()
with get_context("spawn").Pool(2) as pool:
    print(all((y == np.maximum(x, 0)).all() for y in pool.map(relu, [x] * 4)))
""")
    assert done.stdout == "True\n", done.stderr


def test_a_program_ends_while_its_threads_listen_or_sleep():
    for wait in ("", "import time; time.sleep(0.1)"):
        done = python(COMPUTE + f"assert right()\n{wait}")
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is sent another way there")
def test_ctrl_c_during_layers_leaves_the_threads_usable():
    code = COMPUTE + """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # what is started in the background begins deaf to it
try:
    print("begun", flush=True)
    while True:
        assert right()
except KeyboardInterrupt:
    print(right(), team._team.busy.locked(), [helper.is_alive() for helper in team._team.helpers], flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=NEVER)[0] == "True False [True]\n"
