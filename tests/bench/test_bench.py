"""minicnn.bench and `minicnn bench`: arithmetic against closed forms, the tools on tiny shapes. No time is asserted."""

import itertools
import math

import numpy as np
import pytest

from minicnn import models, nn
from minicnn.bench import conv, machine
from minicnn.bench.model import NETS, NetRun, vgg11_cifar
from minicnn.bench.suite import SUITE, ConvCase
from minicnn.bench.timing import Spread, exponent, peak_memory, time_calls
from minicnn.cpu import threads
from tests.program import caller

TINY = ConvCase("tiny", (2, 4, 7, 6), 6, (3, 2), (2, 1), (1, 0), 2)


@pytest.fixture
def minicnn_(monkeypatch, capsys):
    return caller(monkeypatch, capsys)


# ---------------------------------------------------------------------------------------------------------- arithmetic


def test_quantiles():
    assert Spread.of([3, 1, 2]) == Spread(2, 1.5, 2.5, 3)
    assert Spread.of([4, 1, 3, 2]) == Spread(2.5, 1.75, 3.25, 4)
    assert Spread.of([5.0]) == Spread(5, 5, 5, 1)
    draws = list(np.random.default_rng(0).normal(size=101))
    spread = Spread.of(draws)
    assert np.allclose([spread.q1, spread.median, spread.q3], np.percentile(draws, [25, 50, 75]), rtol=1e-12)
    assert spread.as_dict()["count"] == 101


@pytest.mark.parametrize("p", [-1, 0, 0.5, 1, 2, 3.7])
def test_exponents_of_powers(p):
    sizes = [1, 3, 10, 17, 256]
    assert exponent(sizes, [4.2 * n**p for n in sizes]) == pytest.approx(p, abs=1e-12)


def test_an_exponent_is_the_least_squares_slope():
    sizes, costs = [1, 2, 4, 8, 16], [3.0, 5.0, 14.0, 20.0, 61.0]
    slope = np.polyfit(np.log(sizes), np.log(costs), 1)[0]
    assert exponent(sizes, costs) == pytest.approx(slope, rel=1e-12)
    for wrong in (([2], [1]), ([2, 2], [1, 3]), ([1, 2], [1])):
        with pytest.raises(ValueError, match="at least 2 different sizes"):
            exponent(*wrong)


def test_the_clock_counts_calls():
    calls = []
    assert len(time_calls(lambda: calls.append(1), seconds=0, least=4)) == len(calls) == 4
    assert len(time_calls(lambda: None, seconds=1e9, most=7)) == 7
    ready = itertools.count()
    seen = []
    taken = time_calls(seen.append, seconds=0, least=3, setup=lambda: next(ready))
    assert seen == [0, 1, 2], "each call gets what its own setup made"
    assert all(t >= 0 for t in taken)


def test_the_clock_leaves_the_setup_out(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("minicnn.bench.timing.time.perf_counter", lambda: now[0])

    def pass_(seconds):
        now[0] += seconds

    assert time_calls(lambda _: pass_(2), seconds=5, setup=lambda: pass_(100)) == [2, 2, 2]


def test_multiply_adds_are_counted_by_hand():
    # OH = (7 + 2 − 3)/2 + 1 = 4, OW = 6 − 2 + 1 = 5
    assert TINY.macs == 2 * 6 * (4 // 2) * 3 * 2 * 4 * 5
    assert TINY.flops == 2 * TINY.macs
    assert TINY.bytes() == 4 * (2 * 4 * 7 * 6 + 6 * 2 * 3 * 2 + 2 * 6 * 4 * 5)
    assert TINY.intensity == TINY.flops / TINY.bytes()
    assert TINY.label == "2×4×7×6 → 6, 3×2/(2,1) p(1,0) g2"


def test_the_suite():
    assert len(SUITE) == len({case.name for case in SUITE}) == len({case.label for case in SUITE}) == 20
    for case in SUITE:
        layer = nn.Conv2d(case.input[1], case.filters, case.kernel, case.stride, case.padding, groups=case.groups)
        g = case.geometry
        assert case.macs == case.input[0] * layer.macs((g.O, g.OH, g.OW)), "the layer counts alike"
    by = {case.name: case for case in SUITE}
    assert by["AlexNet conv1"].macs == 8 * 105_415_200, "the paper's first layer"
    assert by["LeNet-5 C1"].macs == 128 * 28 * 28 * 6 * 25


# ------------------------------------------------------------------------------------------------ errors, memory, roofs


@pytest.mark.parametrize("case", [TINY, ConvCase("grey", (3, 1, 8, 9), 5), ConvCase("each", (2, 8, 6, 6), 8, groups=8),
                                  ConvCase("points", (2, 8, 5, 4), 12, (1, 1))], ids=lambda c: c.name)
def test_every_able_algorithm_is_right(case):
    run = conv.ConvRun(case)
    names = conv.supported(case)
    assert "im2col" in names
    assert conv.chosen(case) in names
    for name in (conv.POLICY, *names):
        errors = run.errors(name)
        assert set(errors) == set(conv.WHAT)
        assert max(errors.values()) < 1e-5, name
    y, dx, dw, db = run.whole()
    for value, what in zip((y, dx, dw), conv.WHAT):
        assert conv.max_error(value, run.exact()[what]) < 1e-5
    assert np.allclose(db, run.dy.sum((0, 2, 3)), atol=1e-4)
    with pytest.raises(ValueError, match="did you mean 'im2col'"):
        run.calls("im2co")


def test_errors_are_shares_of_the_largest_value():
    assert conv.max_error(np.array([1.0, -3.0]), np.array([1.0, -4.0])) == 0.25
    assert conv.max_error(np.zeros(2), np.zeros(2)) == 0


def test_images_have_the_layout_that_layers_produce():
    assert conv.ConvRun(TINY).x.transpose(0, 2, 3, 1).flags.c_contiguous
    assert conv.ConvRun(ConvCase("grey", (3, 1, 8, 9), 5)).x.flags.c_contiguous


def test_workspace_is_what_lives_beside_the_result():
    def call():
        threads.scratch("test", (3000,), np.uint8)[:] = 1
        other = np.ones(50_000, np.uint8)
        return other[:1000].copy()

    found = conv.workspace(call)
    assert found["scratch_bytes"] == 3000
    assert 53_000 <= found["workspace_bytes"] < 60_000
    threads.drop_scratch()


def test_the_machine_is_described():
    about, versions = machine.describe(), machine.versions()
    assert about["cpu"]
    assert about["instructions"] in ("avx", "avx2", "avx512", "neon", "unknown")
    assert about["cores"] >= 1
    assert about["ram_bytes"] is None or about["ram_bytes"] > 2**28
    assert versions["numpy"] == np.__version__
    assert versions["path"] in ("compiled", "numpy")
    assert math.isfinite(machine.gemm_rate(64, 0))
    assert machine.copy_rate(1, 0) > 0
    peak = peak_memory()
    assert peak is None or peak > 2**24


def test_a_net_under_the_clock():
    run = NetRun("lenet5", batch=3, images=0)
    assert run.parameters == 61_706
    assert math.isfinite(run.step().item())
    before = run.infer(2).numpy()
    assert before.shape == (2, 10)
    assert np.array_equal(before, run.infer(2).numpy()), "inference changes nothing"
    assert sum(p.size for p in vgg11_cifar().parameters()) == 9_225_610
    assert all(zoo in ("", *models.names()) for zoo, *_ in NETS.values())
