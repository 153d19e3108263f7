"""docs/corrections.md: each command is run, and prints what the row says."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from minicnn.claims.files import NAMES
from minicnn.cli.app import VERBS
from tests.docs.test_explain import run

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "corrections.md", ROOT / "docs" / "ko" / "corrections.md")
ROW = re.compile(r"^\| (.*) \| (.*) \| (.*) \|$", re.M)
ROWS = [(page.parent.name, right, see) for page in PAGES for said, right, see in ROW.findall(page.read_text("utf-8"))
        if not said.startswith("-") and see not in ("see", "확인")]  # fmt: skip
prints = cache(run)


def test_both_pages_have_the_rows():
    assert len(ROWS) == 2 * len([row for row in ROWS if row[0] == "ko"]) > 80


@pytest.mark.parametrize(("right", "see"), [row[1:] for row in ROWS], ids=[f"{row[0]}: {row[1][:40]}" for row in ROWS])
def test_what_is_right_can_be_seen(right, see):
    bold = re.findall(r"\*\*(.*?)\*\*", right)
    if not see.startswith("`"):                             # a source, a page, or Python that test_examples.py runs
        assert "](" in see or re.search(r"\d{4}", see)
        return
    command = see.strip("`")
    assert shlex.split(command)[1] in VERBS
    if command.startswith("minicnn claim "):                # it trains nets
        assert command.split()[2] in NAMES
    else:
        said = " ".join(prints(command).split())
        assert bold or "compare --area" in command
        assert not [value for value in bold if value not in said], said
