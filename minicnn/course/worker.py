"""Runs a learner's file in a process of its own: `python -P worker.py FILE` reads calls and writes outcomes, as JSON.

The process knows neither the right results nor minicnn. On standard input comes one JSON document, a list of calls; on
standard output goes one line for each outcome, at once, so that a call that never returns shows by its missing line.
Arrays travel as text (base64), never as pickles. This file imports Python's library and NumPy alone.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import io
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LARGEST = 1_000_000
"""The most elements of an array that is sent back."""
MOST_PRINTED = 2_000
"""Characters of what the file prints that are kept."""
MEMORY = 4 << 30
FILES = 64 << 20
NOT_ALLOWED = frozenset({"minicnn", "torch", "tensorflow", "keras", "jax"})


def encoded(value: Any) -> Any:
    """A value as JSON; an object that is none of the known kinds only by the name of its type."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.size <= LARGEST:
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": data, "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, np.ndarray):
        return {"other": f"array of {value.dtype} with the shape {value.shape}"}
    if isinstance(value, (np.bool_, np.integer, np.floating)):
        return value.item()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)):
        return value if not isinstance(value, int) or value.bit_length() < 1000 else {"other": "very large integer"}
    for name, kind in (("tuple", tuple), ("list", list), ("set", (set, frozenset))):
        if isinstance(value, kind):
            items = sorted(value, key=repr) if name == "set" else value
            return {name: [encoded(item) for item in items]} if len(items) <= LARGEST else {"other": f"huge {name}"}
    if isinstance(value, np.random.Generator):
        return {"other": "Generator"}
    return {"other": type(value).__name__}


def decoded(value: Any) -> Any:
    """The value that `encoded` made JSON of. {"generator": seed} is NumPy's generator with that seed."""
    if not isinstance(value, dict):
        return value
    if "array" in value:
        flat = np.frombuffer(base64.b64decode(value["array"]), np.dtype(value["dtype"]))
        return flat.reshape(value["shape"]).copy()
    if "generator" in value:
        return np.random.default_rng(value["generator"])
    for name, kind in (("tuple", tuple), ("list", list), ("set", set)):
        if name in value:
            return kind(decoded(item) for item in value[name])
    return Other(value["other"])


class Other:
    """A value of a type that no exercise returns; `type` is its name."""

    def __init__(self, type_: str):
        self.type = type_


class Printed(io.StringIO):
    """Standard output of the learner's code: the first characters are kept, the rest is counted."""

    count = 0

    def write(self, text: str) -> int:
        """Keep what there is room for."""
        self.count += len(text)
        super().write(text[: max(0, MOST_PRINTED - self.tell())])
        return len(text)


class NoFrameworks:
    """Refuses to import minicnn, or another library that has the answers: exercises need NumPy alone."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """None, the answer of a finder that does not know the module, or ImportError."""
        if name.partition(".")[0] in NOT_ALLOWED:
            raise ImportError(f"an exercise may not import {name.partition('.')[0]}: write it with NumPy")


def load(path: str) -> dict[str, Any]:
    """Run the file. → its names"""
    spec = importlib.util.spec_from_file_location("exercise", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["exercise"] = importlib.util.module_from_spec(spec)
    sys.path.append(str(Path(path).resolve().parent))      # last: a neighbour called random.py hides nothing
    spec.loader.exec_module(module)
    return vars(module)


def outcome(functions: dict[str, Any], call: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Call one function. → {"value": …} or {"error": …}, and {"changed": the positions of changed arguments}."""
    function = functions.get(call["function"])
    if not callable(function):
        return {"missing": "function" if function is None else type(function).__name__}
    arguments = [decoded(a) for a in call["arguments"]]
    kept = [a.copy() if isinstance(a, np.ndarray) else repr(a) for a in arguments]
    try:
        with np.errstate(all="ignore"):
            value = encoded(function(*arguments))
    except BaseException as problem:                       # sys.exit() and Ctrl-C of the learner's code, too
        return {"error": described(problem, path)}
    changed = [i for i, (a, b) in enumerate(zip(arguments, kept))
               if not isinstance(a, np.random.Generator) and not same(a, b)]  # fmt: skip
    return {"value": value, "changed": changed}


def same(argument: Any, before: Any) -> bool:
    """Whether an argument is what it was before the call."""
    if isinstance(argument, np.ndarray):
        return argument.shape == before.shape and argument.tobytes() == before.tobytes()
    return repr(argument) == before


def described(problem: BaseException, path: str) -> dict[str, Any]:
    """An exception: its type and message, and the last line of the learner's file that it went through."""
    about: dict[str, Any] = {"type": type(problem).__name__, "message": str(problem)[:500]}
    if isinstance(problem, SyntaxError) and problem.filename == path:
        return {**about, "message": problem.msg, "line": problem.lineno, "text": (problem.text or "").strip()[:100]}
    for frame in traceback.extract_tb(problem.__traceback__):
        if frame.filename == path:
            about |= {"line": frame.lineno, "text": (frame.line or "")[:100]}
    return about


def limit() -> None:
    """No more memory and no larger files than an exercise can need, where the system has such limits."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, FILES)):
            _, hard = resource.getrlimit(kind)
            resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def serve(path: str, calls: list[dict[str, Any]], write: Callable[[dict[str, Any]], None]) -> None:
    """Run the file, then every call; write what comes out of each."""
    printed = Printed()
    sys.meta_path.insert(0, NoFrameworks())
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            functions = load(path)
        except BaseException as problem:
            return write({"load": described(problem, path)})
        write({"load": None})
        for call in calls:
            write(outcome(functions, call, path))
    return write({"printed": printed.getvalue(), "count": printed.count})


def main() -> None:
    """The process."""
    calls = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)                                    # what C code prints doesn't come between the outcomes
    os.dup2(nothing, 2)
    limit()

    def write(record: dict[str, Any]) -> None:
        out.write(json.dumps(record) + "\n")
        out.flush()

    serve(sys.argv[1], calls, write)


if __name__ == "__main__":
    main()
