"""Puts Pyodide, which is Python for browsers, into the site:  python -m docs.site.pyodide [SOURCE]

SOURCE is a folder, a zip file (a wheel is one), a tar file such as a release of Pyodide, or an address; by default the
address from which the project serves Pyodide. Every file is compared with its checksum here. They go to runs/pyodide,
from which `make docs` copies them, and to runs/site/html/pyodide if the site is built already.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from docs.site.pages import ROOT

VERSION = "0.27.7"
ADDRESS = f"https://cdn.jsdelivr.net/pyodide/v{VERSION}/full/"
FOLDER = ROOT / "runs" / "pyodide"
SITE = ROOT / "runs" / "site" / "html"
LOCK = "pyodide-lock.json"
FILES = {
    "pyodide.mjs": "04c052c815abb0bf2981fa38c2dfa58e3120ee5288c956df2b2a15e301782c5f",
    "pyodide.asm.js": "6b4c90de5b7172873f04f21884d0e9d2274e305fe32116558fe3e4fbe3618d51",
    "pyodide.asm.wasm": "a50dd1843f805a0b7c45b61037ee0d7b26dfe85efe0e18ef95a34ad24e401f5f",
    "python_stdlib.zip": "16611534726e5d8ac2bd8f926410b2dcb8d6f49aa24913463533b457a2115c16",
    "numpy-2.0.2-cp312-cp312-pyodide_2024_0_wasm32.whl":
        "ebb61241d962b98b21597d7ce43b67668a6d5bab3acec4fbe958657320d7cd08",
    "pillow-10.2.0-cp312-cp312-pyodide_2024_0_wasm32.whl":
        "43eab147a9355385a99eeac18fb577d4af2fe4bd0bbd23d3ba3ddb92e72c2815",
}
"""SHA-256 of each file of Pyodide that the page loads. The list of packages, LOCK, is checked by what it says."""


@contextlib.contextmanager
def opened(source: str) -> Iterator[Callable[[str], bytes]]:
    """A function that reads a file of the source by its name. KeyError or OSError where there is none."""
    path = Path(source)
    if "://" in source:
        yield lambda name: urllib.request.urlopen(source.rstrip("/") + "/" + name, timeout=120).read()
    elif path.is_dir():
        yield lambda name: (path / name).read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            places = {PurePosixPath(name).name: name for name in archive.namelist()}
            yield lambda name: archive.read(places[name])
    else:
        with tarfile.open(path) as tar:
            members = {PurePosixPath(member.name).name: member for member in tar if member.isreg()}
            yield lambda name: tar.extractfile(members[name]).read()  # type: ignore[union-attr]


def checked(name: str, content: bytes) -> bytes:
    """The content of a file. ValueError where it is not that of this version of Pyodide."""
    if name != LOCK:
        if hashlib.sha256(content).hexdigest() != FILES[name]:
            raise ValueError(f"{name} is not the one of Pyodide {VERSION}: its SHA-256 differs; take that version")
        return content
    try:
        lock = json.loads(content)
        version, packages = lock["info"]["version"], lock["packages"]
        sums = {packages[p]["file_name"]: packages[p]["sha256"] for p in ("numpy", "pillow")}
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{LOCK} does not list numpy and pillow: take that of Pyodide {VERSION}") from None
    if version != VERSION or not sums.items() <= FILES.items():
        raise ValueError(f"{LOCK} is of Pyodide {version}, or lists other wheels: take that of Pyodide {VERSION}")
    return content


def put(source: str, *folders: Path) -> None:
    """Copy the files from the source to the folders, after all of them are checked."""
    with opened(source) as read:
        found = {}
        for name in (*FILES, LOCK):
            try:
                found[name] = read(name)
            except (KeyError, OSError) as problem:
                raise ValueError(f"{source} has no file {name} that can be read ({problem}): give a full Pyodide "
                                 f"{VERSION}") from None
            checked(name, found[name])
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, content in found.items():
            (folder / name).write_bytes(content)


def main() -> int:
    """The program."""
    source = sys.argv[1] if len(sys.argv) > 1 else ADDRESS
    folders = [FOLDER, *([SITE / "pyodide"] if SITE.is_dir() else [])]
    try:
        put(source, *folders)
    except (ValueError, OSError, tarfile.TarError) as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"Pyodide {VERSION} is in {' and '.join(map(str, folders))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
