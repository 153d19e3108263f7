"""Stop requests: Ctrl-C, and SIGTERM, which `kill`, batch systems and a shutdown send."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class Stopped(Exception):  # noqa: N818 - not an error
    """Training stopped on request, and the run is saved. `code`: the conventional exit code."""

    of_all_ranks = True

    def __init__(self, sentence: str, code: int = 130):
        super().__init__(sentence)
        self.code = code


class Request:
    """Whether a stop was requested, and by which signal."""

    signal: int = 0

    def __bool__(self) -> bool:
        return self.signal != 0

    @property
    def code(self) -> int:
        """128 plus the signal's number, as in shells."""
        return 128 + self.signal if self.signal else 130


@contextlib.contextmanager
def on_signals() -> Iterator[Request]:
    """Within `with on_signals() as asked:` the first SIGINT or SIGTERM makes `asked` true, a second one stops at once.

    Files are written atomically, so even the second one loses nothing that was saved. Outside the main thread Python
    delivers no signals, and `asked` stays false.
    """
    asked = Request()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number, frame):
        if asked:
            raise KeyboardInterrupt
        asked.signal = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
