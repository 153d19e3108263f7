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
from pathlib import Path

from docs.site import check, pages, reference

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


def write(folder: Path) -> list:
    """The pages, the pictures and the settings, as zensical reads them. → the navigation"""
    made, linked = reference.pages()
    texts, pictures = pages.collect(linked)
    texts |= made
    shutil.rmtree(folder, ignore_errors=True)
    for path, text in texts.items():
        file = folder / "pages" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    for path in pictures:
        file = folder / "pages" / pages.place(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(pages.ROOT / path, file)
    for name in ("extra.css", "iframe-worker.js"):
        shutil.copyfile(HERE / name, folder / "pages" / name)
    settings = (HERE / "zensical.toml").read_text("utf-8")
    nav = expand(tomllib.loads(settings)["project"]["nav"], {str(path) for path in texts})
    before, _, rest = settings.partition("nav = [")
    after = rest.partition("\n]\n")[2]
    (folder / "zensical.toml").write_text(
        f'{before}docs_dir = "pages"\nsite_dir = "html"\nnav = {toml(nav)}\n{after}', "utf-8")
    return nav


def main() -> int:
    """The program."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else pages.ROOT / "runs" / "site").resolve()
    write(folder)
    said = subprocess.run([Path(sys.executable).with_name("zensical"), "build", "--strict", "--clean"], cwd=folder,
                          env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True)  # fmt: skip
    if said.returncode:
        print(said.stdout[-4000:], said.stderr[-4000:], sep="\n")
        return said.returncode
    found = check.problems(folder / "html")
    print("\n".join(found) or f"{len(list((folder / 'html').rglob('*.html')))} pages, every link leads somewhere, and "
          f"nothing is loaded from the network: {folder / 'html' / 'index.html'}")  # fmt: skip
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
