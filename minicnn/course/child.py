"""Calls the functions of a learner's file in a child process, with a limit of time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minicnn.course import worker
from minicnn.course.exercise import Generator

SECONDS = 30.0
"""The default limit for a file: all its calls together."""


@dataclass(frozen=True)
class Call:
    """A call of one of the learner's functions."""

    function: str
    arguments: tuple[Any, ...]

    def encoded(self) -> dict[str, Any]:
        """As JSON for the worker."""
        arguments = [{"generator": a.seed} if isinstance(a, Generator) else worker.encoded(a) for a in self.arguments]
        return {"function": self.function, "arguments": arguments}


@dataclass
class Answers:
    """What the process wrote: outcomes of the calls, as far as they came; why not all came; what was printed."""

    outcomes: list[dict[str, Any]] = field(default_factory=list)
    load_error: dict[str, Any] | None = None
    stopped: str = ""
    printed: str = ""


def ask(path: Path, calls: list[Call], seconds: float = SECONDS) -> Answers:
    """Run the learner's file and these calls in a process of their own."""
    document = json.dumps([call.encoded() for call in calls])
    threads = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    process = subprocess.Popen(
        [sys.executable, "-P", worker.__file__, str(path.resolve())], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, encoding="utf-8", errors="replace", start_new_session=True,
        env={**os.environ, **threads, "PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"})  # fmt: skip
    late = False
    try:
        out = process.communicate(document, timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        late = True
        _end(process)
        out = process.communicate()[0]
    finally:
        _end(process)
    return _read(out or "", len(calls), f"{seconds:g} s" if late else "", process.returncode)


def _end(process: subprocess.Popen) -> None:
    """End the process with all those that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def outcome(record: dict[str, Any]) -> dict[str, Any]:
    """An outcome that the worker wrote, its value decoded. ValueError, TypeError or KeyError if it is none."""
    if "value" in record:
        return {"value": worker.decoded(record["value"]), "changed": [int(i) for i in record["changed"]]}
    if "error" in record:
        texts = {key: str(record["error"].get(key) or "") for key in ("type", "message", "text")}
        return {"error": {**texts, "line": int(record["error"].get("line") or 0)}}
    return {"missing": str(record["missing"])}


def _read(out: str, count: int, late: str, code: int | None) -> Answers:
    """The lines that the process wrote, as far as they can be read: the learner's code may have written some, too."""
    answers, loaded = Answers(), False
    for line in out.splitlines():
        try:
            record = json.loads(line)
            if "load" in record:
                loaded = True
                answers.load_error = record["load"] and outcome({"error": record["load"]})["error"]
            elif "printed" in record:
                answers.printed = str(record["printed"])
            elif len(answers.outcomes) < count:
                answers.outcomes.append(outcome(record))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, MemoryError):
            break                                          # cut off by the end of the process, or not ours
    if answers.load_error or len(answers.outcomes) >= count:
        return answers
    while_ = "" if loaded else " while the file was being loaded"
    if late:
        answers.stopped = f"It did not finish within {late}{while_}: is there a loop that never ends?"
    else:
        answers.stopped = f"It ended the Python process{while_} (exit code {code})."
    return answers
