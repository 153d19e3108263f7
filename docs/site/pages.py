"""The pages of the site: those of docs/, and for each file outside that a page links to, a page with its text.

A notebook becomes a page with its text and its code.

A link of a page is kept where it stays inside docs/. One to a file such as ../minicnn/ops/conv.py leads to the page
source/minicnn/ops/conv.py.md, which shows the file; one to a folder, to a page with the folder's list.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PICTURES = {".png", ".svg", ".jpg"}
LANGUAGES = {".py": "python", ".cu": "cuda", ".cuh": "cuda", ".toml": "toml", ".json": "json", ".jsonl": "json",
             ".sh": "bash", ".h": "cpp", ".hpp": "cpp"}  # fmt: skip
CODE = "---\nsearch:\n  exclude: true\nhide:\n  - navigation\n  - toc\n---\n\n"
"""Before a page of code: the search leaves it out, and its lines have the whole width."""
FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1[`~]*\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """A page's text, changed everywhere but in its fenced blocks."""
    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [change(text[end:fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(text[end:])])


def links(text: str) -> list[str]:
    """The targets of a page's links and pictures, code left out."""
    found: list[str] = []

    def note(part: str) -> str:
        found.extend(target for _, target, _ in LINK.findall(re.sub(r"`[^`\n]*`", "", part)))
        return part

    outside_code(text, note)
    return found


def place(path: PurePosixPath) -> PurePosixPath:
    """Where the site has what the repository has at `path`."""
    if path.parts[:1] == ("docs",) and (path.suffix == ".md" or path.suffix in PICTURES):
        return path.relative_to("docs")
    if path.parts[:1] == ("docs",) and path.suffix == ".ipynb":
        return path.relative_to("docs").with_suffix(".md")
    if str(path) == "README.md":
        return PurePosixPath("readme.md")
    if (ROOT / path).is_dir():
        return "source" / path / "index.md"
    return "source" / path if path.suffix in {".md", *PICTURES} else "source" / path.with_name(path.name + ".md")


def resolve(page: PurePosixPath, target: str) -> PurePosixPath:
    """The place in the repository that a link in `page` names."""
    return PurePosixPath(os.path.normpath(page.parent / target))


def notebook(file: Path) -> str:
    """A notebook's text and code as Markdown, with a line below the title that says what it is."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(file.read_text("utf-8"))["cells"]]
    parts = [text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in cells]
    title, _, rest = parts[0].partition("\n")
    note = f"*The notebook `{file.relative_to(ROOT)}`, to read; [how to run it](index.md#opening-them).*"
    parts[0] = f"{title}\n\n{note}\n{rest}"
    return "\n\n".join(parts) + "\n"


def page_of(path: PurePosixPath) -> tuple[str, set[PurePosixPath]]:
    """The text of the page that shows `path`, and the other files that it links to."""
    file, wanted = ROOT / path, set()
    here = place(path).parent

    def to(target: str) -> str:
        link, mark, anchor = target.partition("#")
        if not link or "://" in link:
            return target
        goal = resolve(path, link)
        wanted.add(goal)
        return os.path.relpath(place(goal), here) + mark + anchor

    if path.suffix in (".md", ".ipynb"):
        written = notebook(file) if path.suffix == ".ipynb" else file.read_text("utf-8")
        text = outside_code(written, lambda part: LINK.sub(lambda m: m[1] + to(m[2]) + m[3], part))
        return text, wanted
    if file.is_dir():
        names = sorted(child.name + "/" * child.is_dir() for child in file.iterdir() if child.name != "__pycache__")
        lines = [f"- [{name}]({to(f'{file.name}/{name}')})" for name in names if (file / name).suffix != ".pyc"]
        return f"{CODE}# {path}/\n\n" + "\n".join(lines) + "\n", wanted
    code = file.read_text("utf-8").replace("~~~~", "~~~ ~")
    return f'{CODE}# {path}\n\n~~~~ {{ .{LANGUAGES.get(path.suffix, "text")} linenums="1" }}\n{code}\n~~~~\n', wanted


def collect(also: set[PurePosixPath] = frozenset()) -> tuple[dict[PurePosixPath, str], set[PurePosixPath]]:
    """All pages as {place: text}, and the pictures that they show: docs/, `also`, and what these link to."""
    pages: dict[PurePosixPath, str] = {}
    pictures: set[PurePosixPath] = set()
    seen: set[PurePosixPath] = set()
    queue = {PurePosixPath(page.relative_to(ROOT)) for page in DOCS.glob("**/*.md")}
    queue |= {PurePosixPath("README.md"), *also}
    while queue:
        path = queue.pop()
        seen.add(path)
        if path.suffix in PICTURES:
            pictures.add(path)
            continue
        if not (ROOT / path).exists():
            raise ValueError(f"a page links to {path}, which does not exist")
        pages[place(path)], wanted = page_of(path)
        queue |= wanted - seen
    return pages, pictures
