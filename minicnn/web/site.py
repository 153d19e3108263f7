"""What a server serves: a table of pages and of questions; and how they wait for each other."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from minicnn.names import short, unknown
from minicnn.web import wire

Answer = dict[str, Any]
PATIENCE = 60.0
"""Seconds that a question waits for its turn."""


class BusyError(RuntimeError):
    """Too many questions at once."""


class Question(NamedTuple):
    """A question: what answers it, with the names of a JSON object as its arguments, and whether it needs the token."""

    answer: Callable[..., Answer]
    writes: bool = False


@dataclass(frozen=True)
class Site:
    """Pages and questions by path; there are no others.

    name       of the program, in the sentences of refusals: "lab"
    pages      {path: (content, type)}
    reads      questions without a body
    questions  questions with a JSON object
    pictures   questions with bytes
    streams    server-sent events; the argument says when to end
    """

    name: str
    pages: dict[str, tuple[bytes, str]]
    reads: dict[str, Callable[[], Answer]] = field(default_factory=dict)
    questions: dict[str, Question] = field(default_factory=dict)
    pictures: dict[str, Callable[[bytes], Answer]] = field(default_factory=dict)
    streams: dict[str, Callable[[Callable[[], bool]], Iterator[bytes]]] = field(default_factory=dict)
    most_bytes: int = 8 * 2**20
    """Of a picture."""


TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def pages(package: str, *names: str) -> dict[str, tuple[bytes, str]]:
    """The files of a package's folder page/; the first is also the page at /."""
    folder = resources.files(package).joinpath("page")
    found = {f"/{name}": (folder.joinpath(name).read_bytes(), f"{TYPES[name.rpartition('.')[2]]}; charset=utf-8")
             for name in names}  # fmt: skip
    return {"/": found.pop(f"/{names[0]}"), **found}


def ask(question: Question, given: dict[str, Any]) -> Answer:
    """The answer to a question. ValueError for a name that it does not have, or one that is missing."""
    known = inspect.signature(question.answer).parameters
    for name in given:
        if name not in known:
            raise ValueError(unknown("name in the question", short(name), known or ["nothing"]))
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in given:
            raise ValueError(f"the question lacks {name!r}")
    return question.answer(**given)


def answer(site: Site, path: str, body: bytes | None) -> tuple[int, bytes]:
    """(HTTP's status, JSON) for a question; without an answer {"error": a sentence}.   body None: it has none."""
    read, question, picture = site.reads.get(path), site.questions.get(path), site.pictures.get(path)
    try:
        if body is None and read:
            return 200, wire.encode(read())
        if body is not None and question:
            return 200, wire.encode(ask(question, wire.decode(body)))
        if body is not None and picture:
            return 200, wire.encode(picture(body))
        status, said = 404, "there is no such question"
    except BusyError as problem:
        status, said = 503, str(problem)
    except (ValueError, TypeError, IndexError, OverflowError, OSError) as problem:
        status, said = 400, " ".join(str(problem).split())[:400]
    except MemoryError:
        status, said = 503, "there is not enough memory for this question"
    except Exception as problem:  # a bug of ours: the next question is answered, and the page shows its kind
        status, said = 500, f"the {site.name} failed with {type(problem).__name__}"
    return status, wire.encode({"error": said})


class Turn:
    """`with turn():` one computation at a time. BusyError after PATIENCE seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Wait for the turn."""
        if not self._lock.acquire(timeout=PATIENCE):
            raise BusyError("there are too many questions at once: ask again")
        try:
            with np.errstate(all="ignore"):
                yield
        finally:
            self._lock.release()
