"""The benchmarks on a GPU and their report, on the emulated device with tiny cases. No test asserts a time."""

import json
import math
import os
import re
import sys
from pathlib import Path

import pytest

from benchmarks import harness, ratios, render, worker
from benchmarks.gpu import measure, report
from minicnn import devices
from minicnn.bench.conv import BOTH, TF32
from tests.gpu.conftest import emulate
from tests.ranks.launch import launch
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
    clock = worker.event_clock(Event, lambda a, b: (counted.append(b.at - a.at), b.at - a.at)[1])
    taken = clock(work, 0.01, least=2, most=50)
    assert [round(c, 6) for c in counted] == [0.05, *[2.0] * len(taken)], "one call to learn how long it takes, then 40"
    assert len(taken) == 5, "five times 2 ms fill 0.01 s"
    assert all(math.isclose(t, 50e-6) for t in taken)
    assert len(clock(work, 0, least=3)) == 3
    with pytest.raises(ValueError, match="does not support a setup"):
        clock(work, 0, setup=work)


def test_the_better_layout_counts_in_each_precision():
    times = {"contiguous/forward, fp32": at(3), "channels_last/forward, fp32": at(2), "contiguous/forward, tf32": at(1),
             "channels_last/forward, tf32": at(4)}  # fmt: skip
    row = {}
    ratios.versus(row, {"forward, fp32": at(4), "forward, tf32": at(0.5)}, times)
    assert row["better"] == {"forward, fp32": ("channels_last", 2), "forward, tf32": ("contiguous", 1)}
    assert row["vs_torch"] == {"forward, fp32": 0.5, "forward, tf32": 2}


def test_where_the_gpu_begins_to_be_the_faster_one():
    rows = [{"side": side, "cpu": at(cpu), "gpu": {"there": at(3), "there and back": at(9)}}
            for side, cpu in ((4, 1), (8, 5), (16, 2), (32, 4), (64, 8))]  # fmt: skip
    assert measure.crossing(rows, "there") == 32, "at 8 it is faster, but at 16 again slower"
    assert measure.crossing(rows, "there and back") is None


def test_the_summary_is_of_geometric_means():
    def row(fp32, tf32):
        found = {f"{what}, {p}": r for what in ("forward", BOTH) for p, r in (("fp32", fp32), ("tf32", tf32))}
        return {"vs_cpu": {BOTH: fp32}, "vs_torch": found}

    found = measure.summary({"conv": [row(2, 1), row(0.5, 4)]})
    assert found["convolutions, forward, fp32, against PyTorch"] == {
        "geometric_mean": pytest.approx(1), "worst": 0.5, "best": 2, "cases": 2, "faster": 1}
    assert found["convolutions, forward+backward, tf32, against PyTorch"]["geometric_mean"] == pytest.approx(2)
    assert found["convolutions, forward+backward, against the CPU"]["best"] == 2
    assert measure.summary({"conv": []}) == {}


# ----------------------------------------------------------------------------------------------------------- the report


DEVICES = ["--device", "emulated", "--torch-device", "cpu", "--tiny"]


def shell(name, code, limit=NEVER, **environment):
    return report.Stage(name, [sys.executable, "-c", code], limit, environment)


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
    found = report.run_all([
        shell("fails", "print('before'); raise SystemExit(3)"),
        shell("sleeps", sleeper, limit=2.0),
        report.Stage("absent", ["no-such-program"], 5.0),
        shell("works", "import os; print(os.environ['TOLD'])", TOLD="by the stage"),
    ], tmp_path)  # fmt: skip
    if (tmp_path / "pid").exists():                                # not if the machine took over 2 s to start a Python
        assert not alive(int((tmp_path / "pid").read_text())), "what the stage has started ends with it"
    results = {name: of["result"] for name, of in found["stages"].items()}
    assert list(results) == ["fails", "sleeps", "absent", "works"]
    assert list(results.values()) == ["failed, exit code 3", "ended after 2 s", "not installed", "ok"]
    assert (tmp_path / "fails.log").read_text() == "before\n"
    assert found["stages"]["works"]["last"] == "by the stage"
    assert json.loads((tmp_path / "report.json").read_text()) == found
    assert str(tmp_path) not in json.dumps(found)
    assert sys.executable not in json.dumps(found)
    assert "no-such-program is not on the PATH" in capsys.readouterr().out


def test_the_budget_of_all_stages_holds(tmp_path):
    both = [shell("slow", "import time; time.sleep(9999)"), shell("late", "")]
    found = report.run_all(both, tmp_path, budget=1.2)
    assert [of["result"] for of in found["stages"].values()] == ["ended after 1 s", "no time left"]


def test_what_needs_two_gpus_is_unmeasured_where_there_is_one(tmp_path, monkeypatch):
    """And is no failure."""
    listed = "GPU 0: NVIDIA H200 (UUID: GPU-1)\n"
    for path, lines in ((tmp_path / "one", listed), (tmp_path / "two", 2 * listed)):
        path.mkdir()
        (path / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '%s' '{lines}'\n")
        (path / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
        report.gpus.cache_clear()
        monkeypatch.setattr(report, "stages", lambda folder: [report.Stage("both", ["true"], NEVER, gpus=2)])
        report.main(["--out", str(path)])
        found = json.loads((path / "report.json").read_text())["stages"]["both"]
        assert found["result"] == ("ok" if path.name == "two" else "unmeasured: needs two GPUs")
    report.gpus.cache_clear()


def test_all_reduces_between_two_ranks():
    """On the emulated device: sums are right elsewhere; here every time is above 0, and the bandwidth follows."""
    emulate()
    program = ("import importlib\nfrom mpi4py import MPI\nfrom minicnn import devices\n"
               "xp = devices.get('emulated').xp\n"
               "importlib.import_module('minicnn_emulator.nccl').install(xp, MPI.COMM_WORLD.Dup())\n"
               "from benchmarks.gpu import nccl\nnccl.main(['--device', 'emulated', '--tiny'])")  # fmt: skip
    ended = launch(2, "-c", program, MINICNN_CPU="numpy")
    assert ended.returncode == 0, ended.stderr
    rows = [line.split("|")[1:5] for line in ended.stdout.splitlines() if line.startswith("| 4,") or "| 16," in line]
    assert [row[0].strip() for row in rows] == ["4,096", "16,384"]
    for size, by_nccl, hosts, bandwidth in rows:
        assert float(hosts) > 0
        assert float(bandwidth) == pytest.approx(int(size.replace(",", "")) / float(by_nccl) / 1e3, abs=0.006)


def test_its_stages_fit_into_eight_minutes(tmp_path):
    planned = report.stages(tmp_path)
    assert [stage.name for stage in planned] == ["machine", "device", "tests", "benchmarks", "page", "two GPUs",
                                                   "all-reduce", "memcheck", "racecheck"]  # fmt: skip
    assert report.BUDGET < 480
    assert sum(stage.limit for stage in planned[:5]) < report.BUDGET, "the sanitizers get what is left"
    logs = [f"{stage.name}.log" for stage in planned]
    assert len(logs) == len(set(logs))
    assert all("xdist" in stage.command or "-n" not in stage.command for stage in planned if stage.name != "all-reduce")


def test_a_section_that_there_is_not(capsys):
    with pytest.raises(SystemExit) as end:
        measure.main(["--only", "conv", "x"])
    assert end.value.code == 2
    assert re.search(r"argument --only: invalid choice: 'x' \(choose from '?rates'?, ", capsys.readouterr().err)


# -------------------------------------------------------------------------------------------------------- the rehearsal


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """A folder as `make gpu-report` leaves it, of the benchmarks and their page, on the emulated device."""
    try:
        devices.get("emulated")
    except ValueError as problem:
        pytest.skip(str(problem))
    folder = tmp_path_factory.mktemp("report")
    measure.main([*DEVICES, "--rounds", "1", "--seconds", "0", "--pause", "0", "--cpu-threads", "1",
                  "--out", str(folder / "gpu.json")])
    render.main(["gpu", "--results", str(folder), "--docs", str(folder)])
    return folder


def test_everything_that_is_measured_is_there(rehearsal):
    document = json.loads((rehearsal / "gpu.json").read_text())
    assert document["problems"] == []
    assert [c["name"] for c in document["competitors"]] == ["cpu", "gpu"]
    assert {"copy_bytes", "product_flops", "product_tf32_flops", "launch"} == set(document["rates"])
    assert [row["bytes"] for row in document["transfer"]["to the host"]] == list(measure.BYTES[:2])
    plain, depthwise = document["conv"]
    assert set(plain["algorithms"]) == {"auto", TF32, "im2col", "implicit_gemm", "tensor_core", "winograd"}
    assert depthwise["policy"] == "depthwise"
    for row in document["conv"]:
        for name, of in row["algorithms"].items():
            for what in ("forward", "dx", "dw"):
                assert of[what]["error"] < (5e-3 if name == TF32 else 1e-5)
                assert of[what]["median"] > 0
        assert row["vs_cpu"][BOTH] > 0
    assert plain["algorithms"][TF32]["forward"]["error"] > 1e-5, "TF32 is coarser, or it was not on"
    (net,) = document["nets"]
    assert net["parameters"] == 61_706
    assert set(net["times"]) == {"step", "infer 1", "infer 2"} == set(net["vs_cpu"])
    assert [row["side"] for row in document["growth"]] == list(measure.SIDES[:2])


def test_a_trial_run_is_not_taken_for_a_measurement(rehearsal):
    text = (rehearsal / "benchmarks-gpu.md").read_text()
    assert text.index("no time and no ratio here means anything") < text.index("## ")
    for title in ("Roofs", "Convolutions", "Whole nets", "From which size on", "Transfers"):
        assert f"## {title}\n" in text
    for picture in ("gpu-nets.svg", "gpu-growth.svg"):
        assert f"](pictures/{picture})" in text
        assert (rehearsal / "pictures" / picture).stat().st_size > 1000
    with pytest.raises(SystemExit, match="--device emulated needs --out"):
        measure.main([*DEVICES, "--only", "rates"])


def test_a_case_that_fails_is_written_down_and_the_next_begins(tmp_path, monkeypatch):
    def broken(case, report):
        if case is measure.TINY[0]:
            raise SystemExit("error: gpu ended without an answer")
        return {"name": case.name, "vs_cpu": {BOTH: 3.0}}

    class Silent(harness.Workers):
        def about(self):
            return [{"name": "gpu", "gpu": "emulated"}]

        def __getitem__(self, name):
            return self

        def ask(self, do):
            return {"gpu": "emulated"}

        def close(self):
            ended.append(True)

    monkeypatch.setattr(measure, "conv_row", broken)
    monkeypatch.setattr(harness, "Workers", Silent)
    ended, out = [], tmp_path / "gpu.json"
    with pytest.raises(SystemExit, match="1 of the measurements failed"):
        measure.main([*DEVICES, "--only", "conv", "--out", str(out)])
    document = json.loads(out.read_text())
    assert [row["name"] for row in document["conv"]] == [measure.TINY[1].name]
    assert document["problems"] == [{"what": "tiny", "problem": "error: gpu ended without an answer"}]
    assert len(ended) == 2, "once after the failure, so that all start anew, and once in the end"
    with pytest.raises(SystemExit, match="failed"):
        measure.main([*DEVICES, "--only", "conv", "--out", str(out), "--limit", "-1"])
    assert "not started: --limit -1 s is over" in out.read_text()


def test_without_results_the_page_says_so(tmp_path):
    render.main(["gpu", "--results", str(tmp_path), "--docs", str(tmp_path / "docs")])
    assert "**Not measured yet**" in (tmp_path / "docs" / "benchmarks-gpu.md").read_text()


def test_without_torch_the_rest_is_measured(tmp_path):
    blind = tmp_path / "python"
    blind.write_text("#!/bin/sh\nexit 1\n")
    blind.chmod(0o755)
    out = tmp_path / "gpu.json"
    with pytest.raises(SystemExit, match="1 of the measurements failed"):
        measure.main([*DEVICES, "--peers", "torch", "--torch-python", str(blind), "--only", "transfer",
                      "--out", str(out)])
    document = json.loads(out.read_text())
    assert document["transfer"]["to the GPU"][0]["median"] > 0
    assert [p["what"] for p in document["problems"]] == ["start of torch"]
