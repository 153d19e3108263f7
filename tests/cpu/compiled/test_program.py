"""Programs of kernels: the same as the calls one by one."""

import numpy as np
import pytest

pytest.importorskip("numba")

from minicnn.cpu import threads
from minicnn.cpu.compiled import batch_norm, elements, program, team
from minicnn.cpu.compiled.kernel import kernel
from minicnn.cpu.compiled.program import Call, Place, Program
from minicnn.cpu.compiled.work import first, following


@pytest.fixture(autouse=True)
def always_on_all_threads(monkeypatch):
    monkeypatch.setattr(program, "MIN_SIZE", 0)
    monkeypatch.setattr(team, "MIN_WORK", 0)


@kernel("void(i8[::1], UniTuple(i8, 3), f4, f8, b1, u1[::1], f4[:,:,::1], f8[::1], i8[::1])")
def _write_down(whole, three, single, double, flag, small, cube, out, work):
    item = first(work)
    while item >= 0:
        out[item] = (whole[item] + 10 * three[2] + 100 * single + 1000 * double + 1e5 * flag + 1e6 * small[1]
                     + 1e7 * cube[item, 1, 2])
        item = following(work)


@kernel("void(f4[::1], i8[::1])")
def _fail(x, work):
    item = first(work)
    while item >= 0:
        if item == 2:
            raise MemoryError
        x[item] += 1
        item = following(work)


def test_every_type_of_argument():
    cube, out = np.zeros((2, 3, 4), np.float32), np.zeros(2)
    cube[:, 1, 2] = 8, 9
    run = Program([Call(_write_down, 2, 10, (np.array([1, 2]), (0, 0, 3), 0.5, 0.25, True, np.array([0, 7], np.uint8),
                                             cube, out))]).run  # fmt: skip
    run()
    np.testing.assert_allclose(out, [1 + 30 + 50 + 250 + 1e5 + 7e6 + 8e7, 2 + 30 + 50 + 250 + 1e5 + 7e6 + 9e7])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_call_sees_what_those_before_it_wrote(count):
    rng, before = np.random.default_rng(0), threads.num_threads()
    x, y, z = rng.standard_normal((3, 100_000)).astype(np.float32)
    expected = x.copy()
    for _ in range(50):
        expected = np.maximum(np.maximum(expected, 0) + z, 0) - z
    minus, items = -z, -(-100_000 // elements.CHUNK)
    calls = []
    for _ in range(50):
        calls += [Call(elements._relu, items, 1e5, (x, y)), Call(elements._add, items, 1e5, (y, z, x, True)),
                  Call(elements._add, items, 1e5, (x, minus, x, False))]  # fmt: skip
    try:
        threads.set_num_threads(count)
        Program(calls).run()
    finally:
        threads.set_num_threads(before)
    np.testing.assert_array_equal(x, expected)


def test_a_program_runs_again_on_other_arrays():
    x, y = np.arange(-8, 8, dtype=np.float32), np.empty(16, np.float32)
    made = Program([Call(elements._relu, 1, 16, (Place(0, (16,)), y))])
    for values in (x, 2 * x):
        made.replace(0, 0, values.ctypes.data)
        made.run()
        np.testing.assert_array_equal(y, np.maximum(values, 0))


def test_a_kernel_without_memory_is_an_error_and_the_next_run_is_not():
    x, ok = np.zeros(8, np.float32), np.ones(8, np.float32)
    double = Call(elements._add, 1, 8, (ok, ok, ok, False))
    made = Program([Call(elements._relu, 1, 8, (ok, ok)), Call(_fail, 8, 8, (x,)), double])
    for _ in range(2):
        with pytest.raises(MemoryError, match="use a smaller batch or fewer threads"):
            made.run()
    assert ok[0] == 1
    Program([double]).run()
    assert ok[0] == 2


def test_wrong_arguments():
    x = np.zeros((4, 4), np.float32)
    with pytest.raises(TypeError, match="takes 2 arguments, not 1"):
        Program([Call(elements._relu, 1, 1, (x[0],))])
    for wrong in (x, x[:, 0], x[0].astype(np.float64)):
        with pytest.raises(TypeError, match="must be a contiguous"):
            Program([Call(elements._relu, 1, 1, (wrong, x[0]))])
    with pytest.raises(TypeError, match="must be 3 integers"):
        Program([Call(_write_down, 1, 1, (np.zeros(2, np.int64), (1, 2), *[0] * 6))])


def test_no_calls():
    Program([]).run()


def test_it_is_the_same_as_batch_norms_own_call(rng):
    x, y, own = rng.standard_normal((3, 1000, 24)).astype(np.float32)
    mean, scale, shift = rng.standard_normal((3, 24)).astype(np.float32)
    args = (x, mean, scale, shift, x, False, True, 24)
    items = batch_norm.items(x, 24)
    team.run(batch_norm._apply, items, x.size, *args, own)
    Program([Call(batch_norm._apply, items, x.size, (*args, y))]).run()
    np.testing.assert_array_equal(y, own)
