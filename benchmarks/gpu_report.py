"""All that a machine with a GPU can say about minicnn: in one folder, in under eight minutes, with nobody watching.

    make gpu-report                                  or
    python -m benchmarks.gpu_report --out FOLDER

The stages come one after the other, each with a limit in seconds; one that fails or runs over does not stop the next.
Nothing is installed and no network is needed: the Python that runs it must be able to import CuPy, PyTorch, pytest and
what minicnn needs. The folder then holds report.json, the log of each stage, gpu.json, and the page made of it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness import ROOT

BUDGET = 470.0
"""Seconds for all stages together."""
SANITIZED = "test_without_it_all_is_well"
"""The tests that launch every kernel once on small arrays: compute-sanitizer makes each launch many times slower."""


USABLE = "import sys; from minicnn import devices; sys.exit(devices.why_no_gpu() or print('the GPU is usable'))"


@dataclass(frozen=True)
class Stage:
    """A command of the report, and the seconds that it may take."""

    name: str
    command: list[str]
    limit: float
    environment: dict[str, str] = field(default_factory=dict)


def stages(folder: Path, tiny: bool = False) -> list[Stage]:
    """What is run, in this order: first what is right, then how fast it is, then what the sanitizers say."""
    python = sys.executable
    # plugins that happen to be installed stay out: their warnings would be errors
    clean = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "MINICNN_GPU_TESTS": "required"}
    tests = [python, "-m", "pytest", "-m", "gpu", "-q", "-rfE", "-p", "no:cacheprovider", "tests/gpu"]
    parallel = ["-p", "xdist", "-n", "8"] if importlib.util.find_spec("xdist") else []
    sanitizer = ["compute-sanitizer", "--error-exitcode", "9", "--print-limit", "20", "--tool"]
    quiet = ["--report-api-errors", "no"]              # CuPy asks CUDA some things to see whether they fail
    small = [*tests, "-k", SANITIZED]
    bench = [python, "-m", "benchmarks.gpu", "--vs", "torch", "--limit", "200", "--out", str(folder / "gpu.json")]
    page = ["--results", str(folder), "--page", str(folder / "benchmarks-gpu.md"), "--pictures", str(folder)]
    return [
        Stage("machine", ["nvidia-smi"], 20),
        Stage("device", [python, "-c", USABLE], 30),
        Stage("tests", [*tests, *parallel], 140, clean),
        Stage("benchmarks", [*bench, *["--tiny"] * tiny], 230),
        Stage("page", [python, "-m", "benchmarks.render_gpu", *page], 30),
        Stage("memcheck", [*sanitizer, "memcheck", *quiet, *small], 90, {**clean, "MINICNN_GPU_POOL": "0"}),
        Stage("racecheck", [*sanitizer, "racecheck", *small], 90, clean),
    ]


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu-report", help="the folder of results")
    parser.add_argument("--only", default="", help="some of the stages, with commas between them")
    parser.add_argument("--tiny", action="store_true", help="small benchmarks that only try everything out")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    folder = args.out.resolve()
    chosen = stages(folder, args.tiny)
    if args.only:
        names = [stage.name for stage in chosen]
        for name in args.only.split(","):
            if name not in names:
                sys.exit(f"error: there is no stage {name!r}: there are {', '.join(names)}")
        chosen = [stage for stage in chosen if stage.name in args.only.split(",")]
    report = carry_out(chosen, folder)
    bad = [name for name, of in report["stages"].items() if of["result"] != "ok"]
    print(f"results: {args.out}")
    if bad:
        sys.exit(f"error: {', '.join(bad)} did not succeed: see report.json and the logs")


def carry_out(chosen: list[Stage], folder: Path, budget: float = BUDGET) -> dict:
    """Run the stages; report.json is written anew after each."""
    report: dict = {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "stages": {}}
    begun = time.monotonic()
    for stage in chosen:
        left = budget - (time.monotonic() - begun)
        report["stages"][stage.name] = found = run(stage, folder, min(stage.limit, left))
        (folder / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{stage.name:12} {found['result']:24} {found['seconds']:6.1f} s   {found['last']}", flush=True)
    return report


def run(stage: Stage, folder: Path, limit: float) -> dict:
    """One stage: what it came to, its seconds, its command, the last line that it printed."""
    found = {"result": "", "seconds": 0.0, "limit": round(max(limit, 0), 1), "last": "",
             "command": " ".join(stage.command).replace(str(folder), "FOLDER").replace(sys.executable, "python")}
    if limit <= 0:
        return {**found, "result": "no time left"}
    if not shutil.which(stage.command[0]):
        return {**found, "result": "not installed", "last": f"{stage.command[0]} is not on the PATH"}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **stage.environment}
    begun, log = time.monotonic(), folder / f"{stage.name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(stage.command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
        try:
            code = process.wait(timeout=limit)
            result = "ok" if code == 0 else f"failed, exit code {code}"
        except subprocess.TimeoutExpired:
            result = f"ended after {limit:.0f} s"
        _end(process)                                              # and what it has started
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    seconds = round(time.monotonic() - begun, 1)
    return {**found, "result": result, "seconds": seconds, "last": lines[-1] if lines else ""}


def _end(process: subprocess.Popen) -> None:
    """End the process and all of its group: first as one asks, then as one does not."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=3)


if __name__ == "__main__":
    main()
