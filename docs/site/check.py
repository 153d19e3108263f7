"""Checks the built site: every link and anchor leads somewhere, and no page loads anything from the network."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("audio", "src"),
         ("video", "src"), ("object", "data"), ("image", "href"), ("use", "href")}  # fmt: skip
STYLE = re.compile(r"""(?:@import\s+(?:url\()?|url\()\s*["']?([^"')\s;]+)""")
"""What a style sheet loads."""


class Page(HTMLParser):
    """A page's anchors, its links, and what a browser loads with it."""

    def __init__(self, text: str):
        super().__init__()
        self.anchors: set[str] = {""}
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: D102
        for name, value in attrs:
            if not value:
                continue
            if name == "id" or (tag, name) == ("a", "name"):
                self.anchors.add(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value)
            elif (tag, name) in LOADS or name == "srcset":
                self.loads.append(value)


def foreign(address: str) -> bool:
    """Whether an address leads out of the site."""
    return bool(urlsplit(address).scheme or address.startswith("//")) and not address.startswith("data:")


def styles(text: str) -> list[str]:
    """What the style sheets in a page load."""
    sheets = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    return [address for sheet in sheets for address in STYLE.findall(sheet)]


def problems(site: Path) -> list[str]:
    """A sentence for each link that leads nowhere, and for each thing that comes from the network."""
    texts = {path: path.read_text("utf-8") for path in sorted(site.rglob("*.html"))}
    pages = {path: Page(text) for path, text in texts.items()}
    found = []
    for path, page in pages.items():
        name, text = path.relative_to(site), texts[path]
        found += [f"{name} loads {address}" for address in page.loads + styles(text) if foreign(address)]
        if name.name == "404.html":
            continue
        for address in dict.fromkeys(page.links + page.loads):
            if foreign(address) or address.startswith("data:"):
                continue
            link, _, anchor = address.partition("#")
            link, anchor = unquote(link.partition("?")[0]), unquote(anchor)
            goal = (path.parent / link).resolve() if link else path
            goal = goal / "index.html" if goal.is_dir() else goal
            if not goal.exists():
                found.append(f"{name} links to {address}, which does not exist")
            elif goal in pages and not anchor.startswith("__") and anchor not in pages[goal].anchors:
                found.append(f"{name} links to {address}: that page has no such anchor")
    for path in sorted(site.rglob("*.css")):
        loaded = STYLE.findall(path.read_text("utf-8"))
        found += [f"{path.relative_to(site)} loads {address}" for address in loaded if foreign(address)]
    return found
