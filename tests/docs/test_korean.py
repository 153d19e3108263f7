"""docs/ko: each page has the commands, the code and the figures of the English page that it translates.

The first line of a page names the English page, with the first 12 digits of its SHA-256 when it was translated, and the
heading up to which it was. A page whose English text has changed since is skipped with a reason: its facts are still
compared.
`python tests/docs/test_korean.py PAGE` writes the digits after a translation was brought up to date; PAGE is a name in
docs/ko, such as learn/01-image.md.
"""

import hashlib
import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KOREAN = ROOT / "docs" / "ko"
PAGES = sorted(KOREAN.glob("**/*.md"))
NAMES = [page.relative_to(KOREAN).as_posix() for page in PAGES]
FIRST = re.compile(r"<!-- translated from (\S+) ([0-9a-f]{12})(?: up to (.+))? -->\n")


def english(page):
    """(the page that it translates, its text, the digits of the text that was translated)."""
    name, digits, end = FIRST.match(page.read_text("utf-8")).groups()
    text = (ROOT / name).read_text("utf-8")
    assert not end or f"\n{end}\n" in text
    return ROOT / name, text.partition(f"\n{end}\n")[0] if end else text, digits


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def facts(page, text):
    """What must be the same in both languages."""
    blocks = re.findall(r"```.*?```", text, re.S)
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    links = [link for link in re.findall(r"\]\(([^)#]+)", prose) if not link.startswith("http")]
    pictures = [os.path.normpath(page.parent / link) for link in links if link.endswith((".png", ".jpg", ".svg"))]
    prose = re.sub(r"\]\([^)]*\)", "]", prose)
    commands = {" ".join(code.split()) for code in re.findall(r"`((?:minicnn|make|python|pytest)\s[^`]*)`", prose)}
    return {"blocks": blocks, "pictures": pictures, "commands": commands}, figures(re.sub(r"`[^`]*`", "", prose))


def figures(text):
    """Numbers with a point or a comma, and percentages."""
    return set(re.findall(r"\d+(?:[.,]\d+)+|\d+(?= %)", text))


def test_the_pages_that_readers_need_first():
    assert {"readme.md", "index.md", "transfer.md", "app.md", "corrections.md"} <= set(NAMES)
    assert {f"learn/{page.name}" for page in (ROOT / "docs" / "learn").glob("*.md")} <= set(NAMES)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_both_languages_say_the_same(page):
    original, text, _ = english(page)
    ours, our_figures = facts(page, FIRST.sub("", page.read_text("utf-8")))
    theirs, their_figures = facts(original, text)
    for kind, values in theirs.items():
        assert ours[kind] == values, kind
    assert their_figures <= our_figures <= figures(text)  # prose may repeat what code prints


def test_each_english_page_has_one_twin():
    assert len({english(page)[0] for page in PAGES}) == len(PAGES)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_stay_korean_where_the_other_page_has_a_twin(page):
    twins = {english(twin)[0]: twin for twin in PAGES if not FIRST.match(twin.read_text("utf-8"))[3]}    # whole pages
    for words, target in re.findall(r"\[([^]]*)\]\(([^)#]+)", page.read_text("utf-8")):
        twin = twins.get((page.parent / target).resolve())
        assert not twin or words == "English", f"[{words}] has a Korean page: {os.path.relpath(twin, page.parent)}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_page_is_as_new_as_the_english_one(page):
    original, text, digits = english(page)
    if digits != digest(text):
        name = page.relative_to(KOREAN).as_posix()
        pytest.skip(f"docs/ko/{name} is older than {original.relative_to(ROOT)}: compare their texts, then run "
                    f"python tests/docs/test_korean.py {name}")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_the_text_is_korean(page):
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", page.read_text("utf-8"), flags=re.S)
    assert len(re.findall("[가-힣]", prose)) > len(re.findall("[a-zA-Z]", prose))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        page = KOREAN / name
        _, text, digits = english(page)
        page.write_text(page.read_text("utf-8").replace(digits, digest(text), 1), "utf-8")
