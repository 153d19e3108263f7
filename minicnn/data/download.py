"""Files from the internet: with pooch, which compares a checksum; an interrupted download goes on where it stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Progress = Callable[[str, int, int], None]
"""progress(file's name, bytes that are here, bytes in all) while a file arrives."""

ATTEMPTS = 3
TIMEOUT = 30
"""Seconds without a byte after which a connection is given up."""


@dataclass(frozen=True)
class Remote:
    """A file that can be got: its name here, where it lies (mirrors, tried in turn), its exact size and SHA-256."""

    name: str
    urls: tuple[str, ...]
    size: int
    sha256: str


def fetch(file: Remote, folder: Path, progress: Progress = lambda name, here, total: None) -> Path:
    """The file in `folder`, downloaded if it is not there. → its path

    What has arrived is kept beside it, as NAME.part; the next call asks for the rest. The file takes its name only when
    its checksum is right. ConnectionError where no mirror gives it; ValueError where one gives another file; OSError
    where it can't be written. Each is one sentence; nothing that was there before is lost.
    """
    target = folder / file.name
    if target.is_file():
        return target
    import pooch
    import requests

    folder.mkdir(parents=True, exist_ok=True)
    logger = pooch.get_logger()
    quiet, logger.disabled = logger.disabled, True         # pooch reports on stderr, and we on the console
    problems: list[str] = []
    wrong = ""
    try:
        for url in file.urls:
            try:
                pooch.retrieve(url, f"sha256:{file.sha256}", file.name, folder, downloader=_Resuming(file, progress))
                return target
            except requests.exceptions.RequestException as problem:
                problems.append(f"{url}: {_short(problem)}")
            except ValueError as problem:
                if "hash" not in str(problem):
                    raise
                wrong = url
                problems.append(f"{url}: another file")
    finally:
        logger.disabled = quiet
    if wrong:
        raise ValueError(f"{wrong} gave another file than {file.name}, for its SHA-256 is not {file.sha256[:12]}…, and "
                         f"it was thrown away: try again, or get it elsewhere and put it into {folder}")
    raise ConnectionError(f"{file.name} could not be downloaded ({'; '.join(problems)}): check the connection and say "
                          f"it again, what has arrived is kept; or get it elsewhere and put it into {folder}")


class _Resuming:
    """pooch's downloader, which asks for what is not here yet."""

    def __init__(self, file: Remote, progress: Progress) -> None:
        self.file, self.progress = file, progress

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        import requests

        part = Path(output_file).with_name(f"{self.file.name}.part")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._arrive(url, part)
                break
            except (requests.exceptions.ConnectionError, requests.exceptions.Timeout):
                if attempt == ATTEMPTS:
                    raise
        os.replace(part, output_file)                      # where pooch compares its checksum

    def _arrive(self, url: str, part: Path) -> None:
        import requests
        from urllib3.exceptions import HTTPError

        here = part.stat().st_size if part.is_file() else 0
        if here > self.file.size:
            part.unlink()
            here = 0
        if here == self.file.size:
            return
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={here}-"} if here else {})}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            if here and not (answer.status_code == 206
                             and answer.headers.get("Content-Range", "").startswith(f"bytes {here}-")):
                here = 0                                   # a server that knows no ranges begins again
            with open(part, "ab" if here else "wb") as out:
                try:
                    for chunk in answer.raw.stream(2**16, decode_content=False):
                        here += len(chunk)
                        if here > self.file.size:
                            break
                        out.write(chunk)
                        self.progress(self.file.name, here, self.file.size)
                except HTTPError as problem:
                    raise requests.exceptions.ConnectionError(f"broke off after {here} of {self.file.size} bytes "
                                                              f"({type(problem).__name__})") from None
        if here != self.file.size:
            if here > self.file.size:
                part.unlink()
            much = "more" if here > self.file.size else f"{here}"
            raise requests.exceptions.ConnectionError(f"gave {much} bytes, not {self.file.size}")


def _short(problem: Exception) -> str:
    """What requests says, without its insides."""
    answer = getattr(problem, "response", None)
    if answer is not None:
        return f"{answer.status_code} {answer.reason}"
    text = " ".join(str(problem).split())
    for known in ("broke off", "gave "):
        if text.startswith(known):
            return text
    kinds = {"ConnectTimeout": "no answer", "ReadTimeout": "no answer", "SSLError": "its certificate is not trusted"}
    return kinds.get(type(problem).__name__, "no connection")


def missing(files: Sequence[Remote], folder: Path) -> list[Remote]:
    """Those that are not in `folder`."""
    return [file for file in files if not (folder / file.name).is_file()]
