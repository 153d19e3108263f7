"""The lab in the site, without a server: FOLDER/html/live, which `make docs` makes.

    index.html, lab.js, lab.css, icon.svg    the lab's own page (minicnn/lab/page)
    in_page.js, worker.js                    the worker that answers it, instead of a server
    minicnn.zip                              the package
    demo.safetensors                         LeNet-5, trained here on the embedded digits

The worker loads Pyodide from FOLDER/html/pyodide; docs/site/pyodide.py puts it there.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from docs.site import pyodide
from docs.site.pages import ROOT
from minicnn.io import model_file
from minicnn.lab.in_page import MOST_STEPS, Page

PACKAGE = ROOT / "minicnn"
SAME = ("lab.js", "lab.css", "icon.svg", "in_page.js", "worker.js")
EPOCHS = 5
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; worker-src 'self'; "
          "connect-src 'self'; base-uri 'none'; form-action 'none'")  # fmt: skip
UNSERVED = ("This page runs minicnn in your browser. If this sentence stays, the page was opened as a file, from which "
            "browsers start no worker: serve the site with “python -m http.server -d runs/site/html”, and open "
            "http://localhost:8000/live/")  # fmt: skip


def page() -> str:
    """The lab's page, with the worker's script instead of its own."""
    text = (PACKAGE / "lab" / "page" / "index.html").read_text("utf-8")
    for old, new in (
        ('<script type="module" src="lab.js">', '<script type="module" src="in_page.js">'),
        ('<p id="about">…</p>', f'<p id="about">{UNSERVED}</p>'),
        ('<meta charset="utf-8">', f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" '
                                   f'content="{POLICY}">'),
    ):  # fmt: skip
        if text.count(old) != 1:
            raise ValueError(f"lab/page/index.html must have {old} once: its page in the site is made from it")
        text = text.replace(old, new)
    return text


def archive(path: Path) -> None:
    """The package without its pages, the same bytes each time."""
    names = sorted(file.relative_to(ROOT) for file in PACKAGE.rglob("*") if file.is_file())
    with zipfile.ZipFile(path, "w") as made:
        for name in names:
            if not {"__pycache__", "page"} & set(name.parts):
                entry = zipfile.ZipInfo(name.as_posix(), (1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                made.writestr(entry, (ROOT / name).read_bytes())


def demo(path: Path, steps: int | None = None) -> None:
    """Train LeNet-5 as the page does, from the same random weights, and write it as a model file."""
    trained = Page()
    left = EPOCHS * trained.net()["epoch"] if steps is None else steps
    while left:
        left -= len(trained.train(min(left, MOST_STEPS))["losses"])
    model_file.save(path, trained.session.model, trained.about)


def write(html: Path, steps: int | None = None) -> None:
    """Make html/live, and html/pyodide where there is one to copy.   steps: of the demo net's training."""
    folder = html / "live"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(page(), "utf-8")
    for name in SAME:
        shutil.copyfile(PACKAGE / "lab" / "page" / name, folder / name)
    archive(folder / "minicnn.zip")
    demo(folder / "demo.safetensors", steps)
    if pyodide.FOLDER.is_dir():
        shutil.copytree(pyodide.FOLDER, html / "pyodide", dirs_exist_ok=True)
