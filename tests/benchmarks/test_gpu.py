"""The benchmarks on a GPU and their report, rehearsed on the emulated device with tiny cases. No time is asserted."""

import json
import math
import sys
from pathlib import Path

import pytest

from benchmarks import gpu, gpu_clock, gpu_report, render, render_gpu
from minicnn import devices
from tests.work import NEVER


def at(seconds):
    return {"median": seconds, "q1": seconds, "q3": seconds, "count": 1}


# ---------------------------------------------------------------------------------------------------------- arithmetic


class Event:
    """An event of a GPU that takes 50 µs for a call, and whose host takes 1 ms to hand over the first one."""

    now = 0.0

    def record(self):
        self.at = Event.now

    def synchronize(self):
        assert self.at == Event.now


def work():
    Event.now += 0.05


def test_events_lie_around_as_many_calls_as_fill_their_span():
    counted = []
    clock = gpu_clock.event_clock(Event, lambda a, b: (counted.append(b.at - a.at), b.at - a.at)[1])
    taken = clock(work, 0.01, least=2, most=50)
    assert [round(c, 6) for c in counted] == [0.05, *[2.0] * len(taken)], "one call to learn how long it takes, then 40"
    assert len(taken) == 5, "five times 2 ms fill 0.01 s"
    assert all(math.isclose(t, 50e-6) for t in taken)
    assert len(clock(work, 0, least=3)) == 3
    with pytest.raises(ValueError, match="no part that is not timed"):
        clock(work, 0, setup=work)


def test_the_better_layout_counts_in_each_precision():
    times = {"fp32 contiguous/forward": at(3), "fp32 channels_last/forward": at(2), "tf32 contiguous/forward": at(1),
             "tf32 channels_last/forward": at(4)}  # fmt: skip
    found = gpu.better(times, ["forward"])
    assert found == {"fp32": {"forward": ["channels_last", 2]}, "tf32": {"forward": ["contiguous", 1]}}
    ratios = gpu.against(found, {"fp32": {"forward": at(4)}, "tf32": {"forward": at(0.5)}})
    assert ratios == {"fp32": {"forward": 0.5}, "tf32": {"forward": 2}}


def test_what_is_wrong_is_not_timed():
    gpu.right("case", {"auto forward": (1e-5, False), "auto, TF32 dw": (1e-2, True)})
    for error, tf32 in ((1e-2, False), (math.nan, False), (0.1, True)):
        with pytest.raises(ValueError, match=r"case, auto dx: error .* what is wrong is not timed"):
            gpu.right("case", {"auto dx": (error, tf32)})


def test_where_the_gpu_begins_to_be_the_faster_one():
    rows = [{"side": side, "cpu": at(cpu), "gpu": {"there": at(3), "there and back": at(9)}}
            for side, cpu in ((4, 1), (8, 5), (16, 2), (32, 4), (64, 8))]  # fmt: skip
    assert gpu.crossing(rows, "there") == 32, "at 8 it is faster, but at 16 again slower"
    assert gpu.crossing(rows, "there and back") is None


def test_the_summary_is_of_geometric_means():
    def row(fp32, tf32):
        ratios = {p: {"forward": r, gpu.BOTH: r} for p, r in (("fp32", fp32), ("tf32", tf32))}
        return {"vs_cpu": fp32, "vs_torch": ratios}

    found = gpu.summary({"conv": [row(2, 1), row(0.5, 4)]})
    assert found["convolutions, forward, fp32, against PyTorch"] == {
        "geometric_mean": pytest.approx(1), "worst": 0.5, "best": 2, "cases": 2, "faster": 1}
    assert found["convolutions, forward+backward, tf32, against PyTorch"]["geometric_mean"] == pytest.approx(2)
    assert found["convolutions, forward+backward, against the CPU"]["best"] == 2
    assert gpu.summary({"conv": []}) == {}


# ----------------------------------------------------------------------------------------------------------- the report


def shell(name, code, limit=NEVER, **environment):
    return gpu_report.Stage(name, [sys.executable, "-c", code], limit, environment)


def alive(pid):
    """Whether the process runs: one that ended may be a zombie until its parent asks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_stage_that_fails_or_runs_over_does_not_stop_the_next(tmp_path, capsys):
    sleeper = ("import subprocess, sys; "
               "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(9999)']); "
               f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid)); child.wait()")
    report = gpu_report.carry_out([
        shell("fails", "print('before'); raise SystemExit(3)"),
        shell("sleeps", sleeper, limit=2.0),
        gpu_report.Stage("absent", ["no-such-program"], 5.0),
        shell("works", "import os; print(os.environ['TOLD'])", TOLD="by the stage"),
    ], tmp_path)  # fmt: skip
    if (tmp_path / "pid").exists():                                # not if the machine took over 2 s to start a Python
        assert not alive(int((tmp_path / "pid").read_text())), "what the stage has started ends with it"
    results = {name: of["result"] for name, of in report["stages"].items()}
    assert list(results) == ["fails", "sleeps", "absent", "works"]
    assert list(results.values()) == ["failed, exit code 3", "ended after 2 s", "not installed", "ok"]
    assert (tmp_path / "fails.log").read_text() == "before\n"
    assert report["stages"]["works"]["last"] == "by the stage"
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert str(tmp_path) not in json.dumps(report)
    assert sys.executable not in json.dumps(report)
    assert "no-such-program is not on the PATH" in capsys.readouterr().out


def test_the_budget_of_all_stages_holds(tmp_path):
    both = [shell("slow", "import time; time.sleep(9999)"), shell("late", "")]
    report = gpu_report.carry_out(both, tmp_path, budget=1.2)
    assert [of["result"] for of in report["stages"].values()] == ["ended after 1 s", "no time left"]


def test_its_stages_fit_into_eight_minutes(tmp_path):
    planned = gpu_report.stages(tmp_path)
    assert [stage.name for stage in planned] == ["machine", "device", "tests", "benchmarks", "page", "memcheck",
                                                   "racecheck"]  # fmt: skip
    assert gpu_report.BUDGET < 480
    assert sum(stage.limit for stage in planned[:5]) < gpu_report.BUDGET, "the sanitizers get what is left"
    logs = [f"{stage.name}.log" for stage in planned]
    assert len(logs) == len(set(logs))
    assert all("xdist" in stage.command or "-n" not in stage.command for stage in planned)


def test_a_stage_that_there_is_not(capsys):
    with pytest.raises(SystemExit, match="there is no stage 'x': there are machine, device, tests"):
        gpu_report.main(["--only", "x"])


# -------------------------------------------------------------------------------------------------------- the rehearsal


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """A folder as `make gpu-report` leaves it, of the benchmarks and their page, on the emulated device."""
    try:
        devices.get("emulated")
    except ValueError as problem:
        pytest.skip(str(problem))
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINICNN_BENCH_DEVICE", "emulated")
        quick = ["--tiny", "--rounds", "1", "--seconds", "0", "--pause", "0", "--cpu-threads", "1"]
        gpu.main([*quick, "--out", str(folder / "gpu.json")])
    render_gpu.main(["--results", str(folder), "--page", str(folder / "page.md"), "--pictures", str(folder)])
    return folder


def test_everything_that_is_measured_is_there(rehearsal):
    document = json.loads((rehearsal / "gpu.json").read_text())
    assert document["problems"] == []
    assert [c["name"] for c in document["competitors"]] == ["cpu", "gpu"]
    assert {"copy_bytes", "product_flops", "product_tf32_flops", "launch"} == set(document["rates"])
    assert [row["bytes"] for row in document["transfer"]["to the host"]] == list(gpu.BYTES[:2])
    plain, depthwise = document["conv"]
    assert set(plain["algorithms"]) == {"auto", gpu.TF32, "im2col", "implicit_gemm", "tensor_core", "winograd"}
    assert depthwise["policy"] == "depthwise"
    for row in document["conv"]:
        for name, of in row["algorithms"].items():
            for what in ("forward", "dx", "dw"):
                assert of[what]["error"] < (5e-3 if name == gpu.TF32 else 1e-5)
                assert of[what]["median"] > 0
        assert row["vs_cpu"] > 0
    assert plain["algorithms"][gpu.TF32]["forward"]["error"] > 1e-5, "TF32 is coarser, or it was not on"
    (net,) = document["nets"]
    assert net["parameters"] == 61_706
    assert set(net["times"]) == {"step", "infer 1", "infer 2"} == set(net["vs_cpu"])
    assert [row["side"] for row in document["growth"]] == list(gpu.SIDES[:2])


def test_a_rehearsal_is_not_taken_for_a_measurement(rehearsal, monkeypatch):
    text = (rehearsal / "page.md").read_text()
    assert text.index("no time and no ratio on this page means anything") < text.index("## ")
    for title in ("Roofs", "Convolutions", "Whole nets", "From which size on", "Transfers"):
        assert f"## {title}\n" in text
    for picture in ("gpu-nets.svg", "gpu-growth.svg"):
        assert f"]({picture})" in text
        assert (rehearsal / picture).stat().st_size > 1000
    monkeypatch.setenv("MINICNN_BENCH_DEVICE", "emulated")
    with pytest.raises(SystemExit, match="benchmarks/results for measurements: say --out"):
        gpu.main(["--only", "rates"])


def test_a_case_that_fails_is_written_down_and_the_next_begins(tmp_path, monkeypatch):
    def broken(case, team, report):
        if case is gpu.TINY[0]:
            raise SystemExit("error: gpu ended without an answer")
        return {"name": case.name, "vs_cpu": 3.0, "policy": "x", "algorithms": {"auto": dict.fromkeys(gpu.WHAT, at(1))}}

    monkeypatch.setenv("MINICNN_BENCH_DEVICE", "emulated")
    monkeypatch.setattr(gpu, "conv_row", broken)
    monkeypatch.setattr(gpu.Team, "get", lambda self, name: self)
    monkeypatch.setattr(gpu.Team, "ask", lambda self, do: {"gpu": "emulated"}, raising=False)
    ended = []
    monkeypatch.setattr(gpu.Team, "close", lambda self: ended.append(True))
    out = tmp_path / "gpu.json"
    with pytest.raises(SystemExit, match="1 of the measurements failed"):
        gpu.main(["--tiny", "--only", "conv", "--out", str(out)])
    document = json.loads(out.read_text())
    assert [row["name"] for row in document["conv"]] == [gpu.TINY[1].name]
    assert document["problems"] == [{"what": "tiny", "problem": "error: gpu ended without an answer"}]
    assert len(ended) == 2, "once after the failure, so that all start anew, and once in the end"
    with pytest.raises(SystemExit, match="failed"):
        gpu.main(["--tiny", "--only", "conv", "--out", str(out), "--limit", "-1"])
    assert "not begun: -1 s were over" in out.read_text()


def test_without_results_the_page_says_so(tmp_path):
    page = tmp_path / "docs" / "benchmarks.md"
    render.main(["--results", str(tmp_path), "--page", str(page), "--pictures", str(tmp_path / "pictures")])
    assert "**Not measured yet**" in (tmp_path / "docs" / "benchmarks-gpu.md").read_text()


def test_without_torch_the_rest_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("MINICNN_BENCH_DEVICE", "emulated")
    blind = tmp_path / "python"
    blind.write_text("#!/bin/sh\nexit 1\n")
    blind.chmod(0o755)
    out = tmp_path / "gpu.json"
    with pytest.raises(SystemExit, match="1 of the measurements failed"):
        gpu.main(["--vs", "torch", "--torch-python", str(blind), "--tiny", "--only", "transfer", "--out", str(out)])
    document = json.loads(out.read_text())
    assert document["transfer"]["to the GPU"][0]["median"] > 0
    assert [p["what"] for p in document["problems"]] == ["start of torch"]
