"""The pool: every task once, errors and Ctrl-C raised where they belong, forks, a caller's own threads."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import minicnn
from minicnn.cpu import threads
from minicnn.cpu.threads import parallel_for, scratch, set_num_threads, split, sum_of_parts
from tests.work import NEVER


@pytest.fixture(params=[1, 2, 4])
def count(request):
    before = threads.num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


def test_every_task_is_done_once(count):
    for n in (0, 1, 2, 7, 1000):
        done = []
        parallel_for(done.append, range(n))
        assert sorted(done) == list(range(n))


def test_threads_run_side_by_side():
    """Two tasks that wait for each other: only two threads can finish them."""
    before = threads.num_threads()
    set_num_threads(2)
    try:
        barrier = threading.Barrier(2, timeout=NEVER)
        parallel_for(lambda task: barrier.wait(), range(2))
    finally:
        set_num_threads(before)


def test_an_error_stops_the_rest_and_is_raised(count):
    done = []

    def body(task):
        if task == 5:
            raise KeyError("five")
        time.sleep(0.001)
        done.append(task)

    with pytest.raises(KeyError, match="five"):
        parallel_for(body, range(100_000))
    assert len(done) < 50_000                                      # the others may do some before they hear of it
    parallel_for(done.append, range(3))                            # and the pool still works


def test_a_loop_inside_a_loop_runs_where_it_is(count):
    seen = []

    def outer(i):
        here = threading.get_ident()
        parallel_for(lambda j: seen.append((i, j, threading.get_ident() == here)), range(4))

    parallel_for(outer, range(6))
    assert sorted(seen) == [(i, j, True) for i in range(6) for j in range(4)]


def test_a_callers_own_threads_may_compute_at_once(count):
    def sums(i):
        out = np.zeros(50)
        parallel_for(lambda k: out.__setitem__(k, i * k), range(50))
        return out

    with ThreadPoolExecutor(4) as pool:
        for i, out in enumerate(pool.map(sums, range(40))):
            np.testing.assert_array_equal(out, i * np.arange(50))


def test_no_grad_and_errstate_reach_the_workers(count):
    states = []
    with np.errstate(divide="raise"):
        parallel_for(lambda task: states.append(np.geterr()["divide"]), range(20))
    assert set(states) == {"raise"}


def test_split_is_even_and_whole():
    assert split(0, 4) == []
    assert split(3, 8) == [(0, 1), (1, 2), (2, 3)]
    for total in range(1, 40):
        for parts in range(1, 12):
            ranges = split(total, parts)
            assert [i for a, b in ranges for i in range(a, b)] == list(range(total))
            assert max(b - a for a, b in ranges) - min(b - a for a, b in ranges) <= 1


def test_a_sum_of_parts_does_not_depend_on_the_number_of_threads(count):
    values = np.random.default_rng(0).standard_normal((1000, 3)).astype(np.float32)
    total = sum_of_parts(values, lambda row, sums: np.add(sums, row, out=sums), (3,), np.float32)
    np.testing.assert_allclose(total, values.astype(float).sum(0), atol=1e-3)
    partial = [np.zeros(3, np.float32) for _ in range(8)]
    for i in range(8):
        for row in values[125 * i : 125 * (i + 1)]:
            partial[i] += row
    for other in partial[1:]:
        partial[0] += other
    np.testing.assert_array_equal(total, partial[0])
    assert not sum_of_parts([], lambda row, sums: None, (3,), np.float32).any()


def test_scratch_belongs_to_its_thread_and_is_reused():
    threads.drop_scratch()
    first = scratch("test", (4, 5), np.float32)
    assert first.shape == (4, 5)
    assert np.shares_memory(first, scratch("test", (2, 3), np.float64))
    assert not np.shares_memory(first, scratch("another", (4, 5), np.float32))
    other = []
    thread = threading.Thread(target=lambda: other.append(scratch("test", (4, 5), np.float32)))
    thread.start()
    thread.join()
    assert not np.shares_memory(first, other[0])
    assert threads.scratch_bytes() >= 160
    threads.drop_scratch()
    assert threads.scratch_bytes() == 0


@pytest.mark.parametrize("value", [0, -1])
def test_a_thread_count_below_one_is_refused(value):
    with pytest.raises(ValueError, match=f"num_threads \\(={value}\\) must be at least 1"):
        set_num_threads(value)


def test_more_threads_than_any_layer_can_use_are_refused():
    before = threads.num_threads()
    with pytest.raises(ValueError, match="num_threads \\(=257\\) must be at most 256"):
        set_num_threads(257)
    assert threads.num_threads() == before


@pytest.mark.parametrize("value", ["two", "0", "-3", "1.5", "257", "20000", "9" * 5000])
def test_a_wrong_environment_variable_is_named(value, monkeypatch):
    monkeypatch.setattr(threads, "_count", 0)
    monkeypatch.setenv("MINICNN_NUM_THREADS", value)
    with pytest.raises(ValueError, match=f"MINICNN_NUM_THREADS \\(='{value}'\\) must be an integer from 1 to 256"):
        threads.num_threads()


def python(code, **environment):
    return subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, text=True, timeout=NEVER,
                          capture_output=True)  # fmt: skip


def test_the_environment_variable_counts():
    done = python("import minicnn; print(minicnn.num_threads())", MINICNN_NUM_THREADS="3")
    assert done.stdout == "3\n", done.stderr


@pytest.mark.skipif(all(lib["user_api"] != "blas" for lib in threadpool_info()), reason="NumPy without a known BLAS")
def test_blas_is_held_at_one_thread_and_given_back():
    done = python("""
from threadpoolctl import threadpool_info, threadpool_limits
def blas(): return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}
import numpy, minicnn
threadpool_limits(2, "blas")
before = blas()
minicnn.set_num_threads(2)
from minicnn.cpu.threads import parallel_for
assert blas() == before, "an import and a setting must leave BLAS alone"
parallel_for(lambda task: None, range(4))
assert blas() == {1}
minicnn.release_blas()
assert blas() == before
parallel_for(lambda task: None, range(4))
assert blas() == {1}
minicnn.release_blas()
from minicnn.cpu import gemm
gemm.matmul(numpy.ones((8, 8)), numpy.ones((8, 8)))
assert blas() == {1}, "a small product, on no thread but this one"
print("good")
""")
    assert done.stdout == "good\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_computes():
    """The parent's threads are not in the child; a pool that it inherited would wait for them for ever."""
    done = python("""
import os, warnings
warnings.simplefilter("ignore")
import numpy as np, minicnn
from minicnn.cpu.threads import parallel_for
minicnn.set_num_threads(2)
out = np.zeros(8)
def body(i): out[i] = i
parallel_for(body, range(8))
child = os.fork()
if child == 0:
    out[:] = 0
    parallel_for(body, range(8))
    os._exit(0 if out.sum() == 28 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""")
    assert done.stdout == "0\n", done.stderr


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is sent another way there")
def test_ctrl_c_ends_a_long_computation_soon():
    code = """
import minicnn, signal, time
from minicnn.cpu.threads import parallel_for
signal.signal(signal.SIGINT, signal.default_int_handler)  # what is started in the background begins deaf to it
minicnn.set_num_threads(2)
def body(task):
    if task == 0:
        print("begun", flush=True)
    time.sleep(0.01)
try:
    parallel_for(body, range(1_000_000))                           # more than an hour
except KeyboardInterrupt:
    done = []
    parallel_for(done.append, range(10))
    print("stopped", len(done), flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=NEVER)[0] == "stopped 10\n"


def test_minicnn_names_them():
    assert minicnn.set_num_threads is set_num_threads
    assert minicnn.num_threads() == threads.num_threads()
