"""docs/comparing.md: its commands print what the page says.   `python -m tests.docs.test_comparing` writes it."""

import re
from pathlib import Path

import pytest

from tests.docs.test_course import BLOCK, run

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "comparing.md"


@pytest.mark.parametrize(("command", "said"), [
    pytest.param(command, said, id=command, marks=[pytest.mark.slow] * ("resnet1001" in command))
    for command, said in BLOCK.findall(PAGE.read_text("utf-8"))])
def test_a_command_prints_what_the_page_says(tmp_path, command, said):
    assert run(command, tmp_path) == said


def test_the_sentences_about_counts_hold():
    text = PAGE.read_text("utf-8")
    rows = {m[1]: [int(n.replace(",", "")) for n in re.findall(r"[\d,]{6,}", m[2])]
            for m in re.finditer(r"^((?:preact|densenet)_\w+) +(.*)$", text, re.M)}  # fmt: skip
    (params, macs), (large_params, large_macs) = (rows[name][:2] for name in ("densenet_bc100_12", "preact_resnet1001"))
    assert round(large_params / params) == 13
    assert round(large_macs / macs) == 5
    line = re.search(r"^MACs +(.*)$", text, re.M)[1]
    (vgg, plain, _) = (int(n.replace(",", "")) for n in line.split())
    assert 5 * plain < vgg
    assert text.count("115,605,504") >= 5


def write():
    """Bring the page and its picture up to date."""
    text = BLOCK.sub(lambda found: f"```console\n$ {found[1]}\n{run(found[1], ROOT)}```\n", PAGE.read_text("utf-8"))
    PAGE.write_text(text, "utf-8")
    run("minicnn compare --side-by-side vgg19 plain34 resnet34 --out docs/pictures/side-by-side.png", ROOT)


if __name__ == "__main__":
    write()
