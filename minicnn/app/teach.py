"""Teaching a model from the page: pictures are filed, a process trains on, and the better model is kept.

Files beside MODEL.safetensors:

    MODEL.1.safetensors, .2, …      a model that was replaced
    MODEL.retrained.safetensors     the result of the last retraining, also if it was not better
    retrained.jsonl                 one line for each retraining: the comparison, and what was kept

The model in use is replaced by one atomic rename, after its copy is complete: whatever is interrupted, it is whole.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import minicnn
from minicnn import atomic, foreign
from minicnn.app import filing, retrain
from minicnn.app.session import Session
from minicnn.data import decode
from minicnn.io import model_file
from minicnn.lock import Lock
from minicnn.web.site import Answer, Question

LOG = "retrained.jsonl"
FILINGS = 100
"""Filings that can be taken back."""


class Teacher:
    """Files corrected pictures for a session's model, trains on, and keeps the better model.

    path: the model file.   folder: class folders, if others than those of the model's run.   epochs: of a retraining
    """

    def __init__(self, session: Session, path: Path, folder: Path | None = None, epochs: int = 5):
        self.session, self.path, self.folder, self.epochs = session, path.absolute(), folder, epochs
        found = retrain.lesson(self.path, session.description, folder)
        self.shown = foreign.terminal("/".join(found.corrections.root.absolute().parts[-2:]).lstrip("/"))
        """The folder, for visitors, who need not know where it is on this machine."""

        self.corrections, self.missing = found.corrections, found.missing
        self._sweep()
        self._lock = threading.Lock()
        self._filed: dict[int, filing.Filed] = {}
        self._next = 0
        self._process: subprocess.Popen[str] | None = None
        self._training: Answer = {"state": "none"}
        self._other: dict[str, Path] = {}
        """{"old": a file, "new": a file}: what `choose` can put in place."""

    def _sweep(self) -> None:
        """Remove half-written files of a process that was killed; not while another process may be writing its own."""
        self.corrections.sweep()
        with contextlib.suppress(RuntimeError), Lock(self.path.parent):
            atomic.sweep(self.path.parent, (self.path.name, f"{self.path.stem}.*{self.path.suffix}", LOG))

    def questions(self) -> dict[str, Question]:
        """What the page may ask, all of it with the token."""
        return {f"/api/{name}": Question(method, True) for name, method in (
            ("file", self.file), ("undo", self.undo), ("train", self.train), ("stop", self.stop),
            ("choose", self.choose))}  # fmt: skip

    def state(self) -> Answer:
        """How many pictures are filed and where, why they can't be learned from, and how far a retraining is."""
        with self._lock:
            return {"folder": self.shown, "filed": self.corrections.count,
                    "missing": self.missing, "number": self.session.number,
                    "classes": sorted(self.corrections.folders), "training": dict(self._training)}

    # --------------------------------------------------------------------------------------------------------- filing

    def file(self, picture: Any, k: Any) -> Answer:
        """File a picture that was shown as class k. → a number to take it back with, and where it is"""
        k = self.session.a_class(k)
        with self.session.alone():
            seen = self.session.seen(picture)
        content = _swapped(seen.content) if seen.swapped else seen.content
        with self._lock:
            filed = self.corrections.file(content, k)
            number, self._next = self._next, self._next + 1
            self._filed[number] = filed
            while len(self._filed) > FILINGS:
                del self._filed[next(iter(self._filed))]
        return {"filed": number, "k": k, "path": foreign.terminal("/".join(filed.path.parts[-2:])),
                "new": filed.before != filed.path}  # fmt: skip

    def undo(self, filed: Any) -> Answer:
        """Take a filing back."""
        with self._lock:
            found = self._filed.pop(filed, None) if isinstance(filed, int) else None
            if found is None:
                raise ValueError("there is no such filing to take back")
            self.corrections.undo(found)
        return {"undone": filed}

    # ------------------------------------------------------------------------------------------------------- training

    def train(self) -> Answer:
        """Start a retraining in another process."""
        if self.missing:
            raise ValueError(self.missing)
        with self._lock:
            if self._training["state"] == "running":
                raise ValueError("a retraining is running already")
            root = Path(minicnn.__file__).parents[1]
            known = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
            self._process = subprocess.Popen(
                [sys.executable, "-m", "minicnn.app.retrain", str(self.path),
                 str(self.folder.resolve() if self.folder else ""), str(self.epochs)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                encoding="utf-8", env={**os.environ, "PYTHONPATH": known}, start_new_session=True)  # fmt: skip
            self._training = {"state": "running", "what": "start", "done": 0, "of": 0, "seconds": 0.0}
            threading.Thread(target=self._follow, args=(self._process, time.monotonic()), daemon=True).start()
        return {"state": "running"}

    def stop(self) -> Answer:
        """End a retraining; the model stays as it is."""
        with self._lock:
            if self._process is not None and self._training["state"] == "running":
                self._training = {"state": "stopped"}
                _end(self._process)
            return {"state": self._training["state"]}

    def _follow(self, process: subprocess.Popen[str], started: float) -> None:
        """Read what the process says, until it ends."""
        ended: Answer = {"error": "the retraining ended without a result: there may be too little memory"}
        with process:
            for line in process.stdout or ():
                said = json.loads(line)
                if "what" not in said:
                    ended = said
                    continue
                with self._lock:
                    if self._process is process and self._training["state"] == "running":
                        self._training |= said | {"seconds": time.monotonic() - started}
        with self._lock:
            if self._training["state"] != "running":               # stopped
                return
        try:
            done = {"state": "done", **self._decide(ended["result"])} if "result" in ended else {
                "state": "failed", "error": ended["error"]}
        except (ValueError, OSError, RuntimeError) as problem:
            done = {"state": "failed", "error": " ".join(str(problem).split())}
        with self._lock:
            self._training = done

    def _decide(self, found: Answer) -> Answer:
        """Keep the better model. → the comparison, and which one is used"""
        self._other = {"old": self.path, "new": retrain.result_path(self.path)}
        kept = self._put("new") if retrain.better(found) else "old"
        log = self.path.with_name(LOG)
        before = log.read_bytes() if log.exists() else b""
        atomic.write(log, before + json.dumps({"kept": kept, **found}).encode() + b"\n")
        return {"result": found, "used": kept, "kept": kept}

    def choose(self, model: Any) -> Answer:
        """Use the "old" or the "new" model after all."""
        with self._lock:
            state = dict(self._training)
        if state["state"] != "done" or model not in self._other:
            raise ValueError("there are no two models to choose from: the model must be 'old' or 'new', after a "
                             "retraining")
        if model != state["used"]:
            self._put(model)
        with self._lock:
            self._training = {**state, "used": model}
        return {"used": model}

    def _put(self, which: str) -> str:
        """Put the old or the new model in place. → which"""
        content = self._other[which].read_bytes()
        try:
            with Lock(self.path.parent, instead="stop it"):
                if self._other["old"] == self.path:                # the first time: keep it
                    self._other["old"] = backup(self.path)
                atomic.write(self.path, content)
        except RuntimeError as problem:
            raise ValueError(str(problem)) from None
        self.session.replace(model_file.load(self.path)[0])
        return which

    def close(self) -> None:
        """End what runs."""
        self.stop()


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a process and the processes that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def backup(path: Path) -> Path:
    """A copy of a model file under the first free number: best.1.safetensors."""
    for n in itertools.count(1):
        copy = path.with_name(f"{path.stem}.{n}{path.suffix}")
        if not copy.exists():
            atomic.write(copy, path.read_bytes())
            return copy
    raise AssertionError("unreachable: the numbers are unlimited")


def _swapped(content: bytes) -> bytes:
    """A picture file with dark and bright swapped, as PNG."""
    from PIL import Image

    out = io.BytesIO()
    pixels = 255 - decode.decoded(decode.Packed("the picture", content))      # (3,H,W)
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(out, "PNG")
    return out.getvalue()
