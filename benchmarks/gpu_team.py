"""Who takes part in the benchmarks on a GPU, and what is written down, whatever fails."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import harness


class Team:
    """The processes, each started when it is first needed and anew where it has died."""

    def __init__(self, args: argparse.Namespace):
        self.makers: dict[str, Callable[[], harness.Competitor]] = {
            "cpu": lambda: harness.Competitor("cpu", "benchmarks.ours", threads=args.cpu_threads),
            "gpu": lambda: harness.Competitor("gpu", "benchmarks.gpu_ours"),
        }
        if "torch" in args.vs:
            self.makers["torch"] = lambda: harness.Competitor("torch", "benchmarks.gpu_torch", args.torch_python)
        self.running: dict[str, harness.Competitor] = {}

    def get(self, name: str) -> harness.Competitor | None:
        """The process of that name; None if it takes no part."""
        if name not in self.makers:
            return None
        if name not in self.running or self.running[name].process.poll() is not None:
            self.running[name] = self.makers[name]()
        return self.running[name]

    def members(self, *names: str) -> dict[str, harness.Competitor]:
        """Those of these that take part."""
        return {name: member for name in names if (member := self.get(name))}

    def drop(self) -> None:
        """Let everybody forget what was prepared."""
        for member in self.running.values():
            if member.process.poll() is None:
                member.ask("drop")

    def close(self) -> None:
        """End them. After a failure too: a GPU's process cannot go on, and whoever is needed starts anew."""
        for member in self.running.values():
            member.process.kill()
            member.process.wait()
            for pipe in (member.process.stdin, member.process.stdout):
                with contextlib.suppress(BrokenPipeError):         # of what it was told and did not read
                    pipe.close()  # type: ignore[union-attr]
        self.running.clear()


class Report:
    """What has been measured so far, written to disk after each case."""

    def __init__(self, args: argparse.Namespace, argv: list[str], after_failure: Callable[[], None],
                 summary: Callable[[dict], dict]):
        self.args, self.argv, self.after_failure, self.summary = args, argv, after_failure, summary
        self.started = time.monotonic()
        self.about: list[dict] = []
        self.sections: dict[str, Any] = {}
        self.problems: list[dict] = []

    def late(self) -> bool:
        """Whether nothing new may begin."""
        return time.monotonic() - self.started > self.args.limit

    def attempt(self, what: str, work: Callable[[], Any], however_late: bool = False) -> Any:
        """What `work` returns, or None if it fails or there is no time for it, which is written down."""
        if self.late() and not however_late:
            self.problems.append({"what": what, "problem": f"not begun: {self.args.limit:.0f} s were over"})
            return None
        try:
            return work()
        except (Exception, SystemExit) as problem:                 # the harness ends a program by SystemExit
            self.problems.append({"what": what, "problem": str(problem)})
            print(f"{what}: {problem}", file=sys.stderr, flush=True)
            self.after_failure()
            return None

    def collect(self, section: str, rows: list[dict], what: str, work: Callable[[], dict], tell: Callable) -> None:
        """One more row of a section, if the work succeeds."""
        self.sections[section] = rows
        row = self.attempt(what, work)
        if row:
            rows.append(row)
            print(tell(row), flush=True)
        self.write()

    def write(self) -> None:
        """The JSON file."""
        found = {**self.sections, "problems": self.problems, "summary": self.summary(self.sections)}
        harness.write("gpu", self.args, self.argv, self.about, **found)
