"""Builds the site from docs/:  python -m docs.site.build [FOLDER], by default runs/site. `make docs` does it.

FOLDER/pages has the Markdown, FOLDER/html the site: FOLDER/html/index.html opens in a browser, without a server.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from docs.site import check, in_page, pages, reference

HERE = Path(__file__).parent


def expand(nav: list, made: set[str]) -> list:
    """The navigation, with the pages of a folder in its place; what has no pages is left out."""
    found: list = []
    for entry in nav:
        if isinstance(entry, dict):
            ((title, below),) = entry.items()
            inside = expand(below, made) if isinstance(below, list) else below if below in made else None
            found += [{title: inside}] if inside else []
        elif entry.endswith("/"):
            inside = sorted(page for page in made if page.startswith(entry))
            found += sorted(inside, key=lambda page: page != entry + "index.md")
        elif entry in made:
            found.append(entry)
    return found


def toml(value: object) -> str:
    """A list of tables and texts as TOML."""
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {toml(v)}" for key, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def write(folder: Path, texts: dict[PurePosixPath, str], pictures: set[PurePosixPath]) -> None:
    """The pages {place: text}, the pictures and the settings, as zensical reads them."""
    for old in ("pages", "html"):
        shutil.rmtree(folder / old, ignore_errors=True)
    for path, text in texts.items():
        _new(folder / "pages" / path).write_text(text, "utf-8")
    for path in pictures:
        shutil.copyfile(pages.ROOT / path, _new(folder / "pages" / pages.place(path)))
    for name in ("extra.css", "iframe-worker.js"):
        shutil.copyfile(HERE / name, _new(folder / "pages" / name))
    settings = (HERE / "zensical.toml").read_text("utf-8")
    nav = expand(tomllib.loads(settings)["project"]["nav"], {str(path) for path in texts})
    before, _, rest = settings.partition("nav = [")
    after = rest.partition("\n]\n")[2]
    settings = f'{before}docs_dir = "pages"\nsite_dir = "html"\nnav = {toml(nav)}\n{after}'
    (folder / "zensical.toml").write_text(settings, "utf-8")


def _new(file: Path) -> Path:
    """A file whose folder exists."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def build(folder: Path, more: Callable[[Path], None] = lambda html: None) -> list[str]:
    """Make HTML of the pages in a folder, and `more` beside it. → what is wrong with it, a sentence each"""
    said = subprocess.run([Path(sys.executable).with_name("zensical"), "build", "--strict", "--clean"], cwd=folder,
                          env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True)  # fmt: skip
    if said.returncode:
        return [said.stdout[-4000:] + said.stderr[-4000:]]
    more(folder / "html")
    return check.problems(folder / "html")


def main() -> int:
    """The program."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else pages.ROOT / "runs" / "site").resolve()
    made, linked = reference.pages()
    texts, pictures = pages.collect(linked)
    write(folder, texts | made, pictures)
    found = build(folder, in_page.write)
    print("\n".join(found) or f"{len(list((folder / 'html').rglob('*.html')))} pages, every link leads somewhere, and "
          f"nothing is loaded from the network: {folder / 'html' / 'index.html'}")  # fmt: skip
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
