"""Downloading files with pooch, which verifies a checksum; an interrupted download continues where it stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Progress = Callable[[str, int, int], None]
"""progress(name of the file, bytes received, all bytes), called while a file is downloaded."""

ATTEMPTS = 3
TIMEOUT = 30
"""Seconds without data after which a connection is closed."""


@dataclass(frozen=True)
class Remote:
    """A file to download: its local name, its addresses (tried in order), its exact size and SHA-256."""

    name: str
    urls: tuple[str, ...]
    size: int
    sha256: str


def fetch(file: Remote, folder: Path, progress: Progress = lambda name, here, total: None) -> Path:
    """Download the file into `folder` unless it is there. Returns its path.

    A partial download is kept as NAME.part, and the next call continues it. The file gets its name only when its
    checksum is right. ConnectionError where no mirror has it; ValueError where one sends another file; OSError where
    it can't be written. Each is one sentence; existing files are kept.
    """
    target = folder / file.name
    if target.is_file():
        return target
    import pooch
    import requests

    folder.mkdir(parents=True, exist_ok=True)
    logger = pooch.get_logger()
    quiet, logger.disabled = logger.disabled, True         # pooch writes to stderr; we report through `progress`
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
        raise ValueError(f"{wrong} sent another file than {file.name}: its SHA-256 is not {file.sha256[:12]}…, and it "
                         f"was deleted: try again, or get it elsewhere and put it into {folder}")
    raise ConnectionError(f"{file.name} could not be downloaded ({'; '.join(problems)}): check the connection and "
                          f"try again, which continues the download; or get it elsewhere and put it into {folder}")


class _Resuming:
    """A downloader for pooch that requests only the missing bytes."""

    def __init__(self, file: Remote, progress: Progress) -> None:
        self.file, self.progress = file, progress

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        import requests

        part = Path(output_file).with_name(f"{self.file.name}.part")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._receive(url, part)
                break
            except (requests.exceptions.ConnectionError, requests.exceptions.Timeout):
                if attempt == ATTEMPTS:
                    raise
        os.replace(part, output_file)                      # pooch verifies its checksum there

    def _receive(self, url: str, part: Path) -> None:
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
                here = 0                                   # the server ignores ranges and starts again
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
    """The reason of a failed request in a few words."""
    answer = getattr(problem, "response", None)
    if answer is not None:
        return f"{answer.status_code} {answer.reason}"
    text = " ".join(str(problem).split())
    for known in ("broke off", "gave "):
        if text.startswith(known):
            return text
    kinds = {"ConnectTimeout": "no answer", "ReadTimeout": "no answer", "SSLError": "its certificate is not trusted"}
    return kinds.get(type(problem).__name__, "no connection")
