"""Tests, sanitizers and benchmarks on a machine with a GPU: one folder of results, in under eight minutes.

    make gpu-report                                  or
    python -m benchmarks.gpu.report --out FOLDER

Where there are two GPUs, two ranks share a step and measure all-reduces; elsewhere that is reported as unmeasured. The
stages run one after the other, each with a limit in seconds; one that fails or takes too long does not stop the
next. Nothing is installed and no network is needed: the Python that runs it must have CuPy, PyTorch, pytest and what
minicnn needs. The folder then holds report.json, the log of each stage, gpu.json, and its page.
"""

import argparse
import datetime
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cpu.ranks import mpiexec
from benchmarks.harness import ROOT

BUDGET = 470.0
"""Seconds for all stages together."""
SANITIZED = "test_without_it_all_is_well"
"""The tests that launch every kernel once on small arrays: compute-sanitizer makes each launch many times slower."""
UNMEASURED = "unmeasured: needs two GPUs"
USABLE = "import sys; from minicnn import devices; sys.exit(devices.why_no_gpu() or print('the GPU is usable'))"


@dataclass(frozen=True)
class Stage:
    """A command, and its limit in seconds."""

    name: str
    command: list[str]
    limit: float
    environment: dict[str, str] = field(default_factory=dict)
    gpus: int = 1
    """It is left out where there are fewer."""


def stages(folder: Path) -> list[Stage]:
    """The commands in order: correctness first, then speed, then the sanitizers."""
    python = sys.executable
    # no plugins that happen to be installed: their warnings would be errors
    clean = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "MINICNN_GPU_TESTS": "required"}
    tests = [python, "-m", "pytest", "-m", "gpu", "-q", "-rfE", "-p", "no:cacheprovider", "tests/gpu"]
    parallel = ["-p", "xdist", "-n", "8"] if importlib.util.find_spec("xdist") else []
    sanitizer = ["compute-sanitizer", "--error-exitcode", "9", "--print-limit", "20", "--tool"]
    quiet = ["--report-api-errors", "no"]              # CuPy makes some calls to see whether they fail
    small = [*tests, "-k", SANITIZED]
    bench = [python, "-m", "benchmarks.gpu.measure", "--peers", "torch", "--limit", "220",
             "--out", f"{folder}/gpu.json"]
    page = ["--results", str(folder), "--docs", str(folder)]
    return [
        Stage("machine", ["nvidia-smi"], 20),
        Stage("device", [python, "-c", USABLE], 30),
        Stage("tests", [*tests, *parallel], 140, clean),
        Stage("benchmarks", bench, 245),
        Stage("page", [python, "-m", "benchmarks.render", "gpu", *page], 30),
        Stage("two GPUs", [*tests, "-k", "two_gpus"], 60, clean, gpus=2),
        Stage("all-reduce", [mpiexec() or "mpiexec", "-n", "2", python, "-m", "benchmarks.gpu.nccl",
                             "--out", f"{folder}/nccl.json"], 60, gpus=2),
        Stage("memcheck", [*sanitizer, "memcheck", *quiet, *small], 90, {**clean, "MINICNN_GPU_POOL": "0"}),
        Stage("racecheck", [*sanitizer, "racecheck", *small], 90, clean),
    ]


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu-report", help="the folder of results")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    report = run_all(stages(args.out.resolve()), args.out.resolve())
    bad = [name for name, of in report["stages"].items() if of["result"] not in ("ok", UNMEASURED)]
    print(f"results: {args.out}")
    if bad:
        sys.exit(f"error: {', '.join(bad)} did not succeed: see report.json and the logs")


def run_all(planned: list[Stage], folder: Path, budget: float = BUDGET) -> dict:
    """Run the stages; report.json is written after each."""
    report: dict = {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "stages": {}}
    begun = time.monotonic()
    for stage in planned:
        left = budget - (time.monotonic() - begun)
        report["stages"][stage.name] = found = run(stage, folder, min(stage.limit, left))
        (folder / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{stage.name:12} {found['result']:24} {found['seconds']:6.1f} s   {found['last']}", flush=True)
    return report


def run(stage: Stage, folder: Path, limit: float) -> dict:
    """One stage: its result, seconds, command, and last line of output."""
    found = {"result": "no time left", "seconds": 0.0, "limit": round(max(limit, 0), 1), "last": "",
             "command": " ".join(stage.command).replace(str(folder), "FOLDER").replace(sys.executable, "python")}
    if stage.gpus > gpus():
        return {**found, "result": UNMEASURED}
    if limit <= 0:
        return found
    if not shutil.which(stage.command[0]):
        return {**found, "result": "not installed", "last": f"{stage.command[0]} is not on the PATH"}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **stage.environment}
    begun, log = time.monotonic(), folder / f"{stage.name}.log"
    with log.open("wb") as out:                        # timeout(1) ends the processes that the command started, too
        code = subprocess.run(["timeout", "--kill-after=3", f"{limit:.3f}", *stage.command], cwd=ROOT, env=environment,
                              stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT).returncode  # fmt: skip
    result = {0: "ok", 124: f"ended after {limit:.0f} s", 137: f"ended after {limit:.0f} s"}.get(
        code, f"failed, exit code {code}")
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return {**found, "result": result, "seconds": round(time.monotonic() - begun, 1),
            "last": next((line for line in reversed(lines) if line.strip()), "")}  # fmt: skip


@functools.cache
def gpus() -> int:
    """How many GPUs nvidia-smi lists."""
    if not shutil.which("nvidia-smi"):
        return 1                                           # the stage `machine` says so
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    return sum(line.startswith("GPU ") for line in listed.splitlines())


if __name__ == "__main__":
    main()
