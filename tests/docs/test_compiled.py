"""docs/compiled.md: every step of its code computes the definition, and the machine code is what the page says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

import llvmlite.binding

from benchmarks.cpu import compiled, compiled_page, kernel_steps, machine_code, roofs
from minicnn import reference
from minicnn.cpu import threads
from minicnn.cpu.compiled import direct

ROOT = Path(__file__).parents[2]
FEATURES = llvmlite.binding.get_host_cpu_features()
sixteen_registers = pytest.mark.skipif(
    not (FEATURES.get("fma") and FEATURES.get("avx2")) or bool(FEATURES.get("avx512f")),
    reason="the page describes x86 with 16 registers of eight float32")

SHAPES = {"3×3": ((2, 8, 7, 8), (16, 8, 3, 3), 1), "without padding": ((1, 3, 9, 10), (32, 3, 3, 3), 0),
          "5×3": ((2, 2, 8, 9), (16, 2, 5, 3), 1), "1×1": ((3, 5, 2, 6), (16, 5, 1, 1), 0)}  # fmt: skip


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("step", [step.name for step in compiled.STEPS])
def test_each_step_is_the_definition(rng, step, shapes):
    x_shape, w_shape, P = SHAPES[shapes]
    if step == "winograd" and shapes != "3×3":
        pytest.skip("F(4×4, 3×3)")
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (x_shape, w_shape))
    exact = reference.conv2d(x.astype(float), w.astype(float), padding=P)
    y = kernel_steps.run(step, x, w, P, rows=3)()
    assert np.abs(y - exact).max() <= (2e-5 if step == "winograd" else 2e-6) * np.abs(exact).max()


@sixteen_registers
@pytest.mark.parametrize("step", [step for step in compiled.STEPS[1:6]], ids=lambda step: step.name)
def test_the_innermost_loop_does_and_moves_what_the_roofline_says(rng, step):
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 8, 6, 8), (16, 8, 3, 3)))
    kernel_steps.run(step.name, x, w, 1)()
    text, = getattr(kernel_steps, step.name).inspect_asm().values()
    counts = [machine_code.work(machine_code.columns(loop)) for loop in machine_code.loops(text)]
    flops, moved = max(counts)
    assert flops * step.bytes == moved * step.flops, counts


@sixteen_registers
def test_the_block_of_sums_is_in_registers():
    loop = machine_code.innermost(machine_code.assembly(direct.forward))
    said = re.fullmatch(r"(\d+) multiply-adds, (\d+) loads, no stores, no register spilled", machine_code.tally(loop))
    steps = int(said[1]) // 12                                     # the compiler may do several in one turn of the loop
    assert (int(said[1]), int(said[2])) == (12 * steps, 8 * steps)
    assert machine_code.work(loop) == (192 * steps, 88 * steps)


def test_a_spilled_register_is_seen():
    loop = [".LBB0_1:", "    vmovups       %ymm1, 32(%rsp)", "    vfmadd231ps   (%rax), %ymm2, %ymm3",
            "    jne           .LBB0_1"]
    assert machine_code.tally(loop) == "1 multiply-adds, 1 loads, 1 store, 1 register spilled"


def test_the_loops_of_some_machine_code():
    text = "f:\n\tmovq\t%rax, %rbx\n.L1:\n\taddq\t$1, %rax\n"
    text += ".L2:\n\tvfmadd231ps\t%ymm1, %ymm2, %ymm3\n\tjne\t.L2\n\tjne\t.L1\n"
    assert machine_code.loops(text) == [[".L2:", "\tvfmadd231ps\t%ymm1, %ymm2, %ymm3", "\tjne\t.L2"]]


def test_the_roofs_are_computed():
    before = threads.num_threads()
    try:
        for name, (work, count, call) in roofs.calls(2).items():
            threads.set_num_threads(count)
            call()
            assert work > 0, name
    finally:
        threads.set_num_threads(before)


def test_the_page_shows_the_code_of_every_step():
    page = (ROOT / "docs" / "compiled.md").read_text("utf-8")
    assert list(compiled_page.TITLES) == [step.name for step in compiled.STEPS] == list(compiled_page.SHOWN)
    for names in compiled_page.SHOWN.values():
        for name in names:
            assert f"\n{compiled_page.source(name)}\n" in page, "python -m benchmarks.render compiled"
    with pytest.raises(ValueError, match="no nothing in"):
        compiled_page.source("nothing")


def test_the_text_says_what_was_measured():
    document = json.loads((ROOT / "benchmarks" / "results" / "compiled.json").read_text())
    first, second = ({row["name"]: row["rates"][layer] for row in document["cases"]}
                     for layer in (compiled_page.FIRST, compiled_page.SECOND))
    roofs = document["roofs"]
    assert first["compiled"] > 100 * first["definition"]           # "most of the way is done"
    assert first["one_register"] <= 1.05 * first["channels_last"]  # "no faster"
    assert first["block"] > 2 * first["one_register"]
    assert first["multiply_add"] > 1.2 * first["block"]
    assert 0.9 < first["tiles"] / first["multiply_add"] < 1.1      # "gains little"
    assert second["tiles"] > 1.1 * second["multiply_add"]          # "gains more"
    assert first["tiles"] > 0.8 * roofs["multiply-adds, 1"]        # "close to the peak"
    assert first["winograd"] > first["on_threads"] > 1.3 * first["tiles"]
    for row in document["cases"][1:4]:                             # "where the roof slopes"
        assert row["flops"] / row["bytes"] < roofs["multiply-adds, 1"] / roofs["L1"]
    assert document["code"]["tally"] == "12 multiply-adds, 8 loads, no stores, no register spilled"


def test_a_small_measurement_makes_the_page(tmp_path, monkeypatch):
    from benchmarks import render

    monkeypatch.setattr(compiled, "LAYERS", {compiled_page.FIRST: ((1, 8, 6, 8), (16, 8, 3, 3)),
                                             compiled_page.SECOND: ((2, 16, 6, 6), (16, 16, 3, 3))})
    monkeypatch.setattr(compiled.roofs, "copies", lambda count, seconds: {f"copy, {n}": 1e10 for n in (1, count)})
    out, before = tmp_path / "compiled.json", threads.num_threads()
    try:
        compiled.main(["--rounds", "1", "--seconds", "0", "--threads", "2", "--out", str(out)])
    finally:
        threads.set_num_threads(before)
    document = json.loads(out.read_text())
    assert [row["name"] for row in document["cases"]] == [step.name for step in compiled.STEPS]
    assert all(rate > 0 for row in document["cases"] for rate in row["rates"].values())
    render.main(["compiled", "--results", str(tmp_path), "--docs", str(tmp_path)])
    text = (tmp_path / "compiled.md").read_text()
    assert "Not measured yet" not in text
    assert text.count("GFLOP/s**") == len(compiled.STEPS)
    assert (tmp_path / "pictures" / "compiled-roofline.svg").exists()


def test_a_wrong_step_is_not_timed(monkeypatch):
    monkeypatch.setattr(kernel_steps, "compiled", lambda x, w, y: y.fill(0))
    with pytest.raises(SystemExit, match="a wrong result is not timed"):
        compiled.prepare(compiled.STEPS[1], compiled_page.FIRST, 1)
