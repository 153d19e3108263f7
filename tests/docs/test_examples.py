"""The pages' Python is run, and what it prints is compared with what the page says."""

import doctest
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
ENGLISH = [page for page in PAGES if ROOT / "docs" / "ko" not in page.parents]
"""Without docs/ko, whose pages have the same code: test_korean.py compares it."""
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def test_there_are_pages():
    names = {page.name for page in PAGES}
    assert {"README.md", "index.md", "architecture.md", "convolution.md", "gradient-checking.md", "contributing.md",
            "changelog.md", "weights.md", "papers.md", "resnet.md"} <= names  # fmt: skip


@pytest.mark.parametrize("page", ENGLISH, ids=lambda page: str(page.relative_to(ROOT)))
def test_sessions_print_what_the_page_says(page):
    blocks = re.findall(r"```python\n(>>>.*?)```", page.read_text(), re.S)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page.name, str(page), 0)
    said = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("page", ENGLISH, ids=lambda page: str(page.relative_to(ROOT)))
def test_programs_run(page):
    for block in re.findall(r"```python\n((?!>>>).*?)```", page.read_text(), re.S):
        exec(compile(block, str(page), "exec"), {})


def commands(text):
    """The words after `minicnn` in a page's blocks and in its sentences."""
    blocks = "".join(re.findall(r"^```\w*\n(.*?)^```", text, re.S | re.M))
    codes = re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))
    for line in [*blocks.splitlines(), *(" ".join(code.split()) for code in codes)]:
        if found := re.match(r"(?:\$ )?(?:\.venv/bin/)?(?:mpiexec (?:-\S+ \S+ )+|srun )?minicnn ([a-z].*)$", line):
            yield shlex.split(re.split(r"\s{2,}| \| ", found[1])[0], comments=True)


@pytest.mark.parametrize("page", ENGLISH, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_the_pages_exist(page):
    from minicnn.cli import app

    for name, *words in commands(page.read_text("utf-8")):
        verb = app.load(name)
        if below := getattr(verb, "commands", {}):
            first = words.pop(0) if words and words[0] in below else "run"
            verb = below.get(first, verb)
        options = {text for parameter in verb.params for text in (*parameter.opts, *parameter.secondary_opts)}
        asked = {word for word in words if re.match(r"--?[a-z]", word)}
        assert asked <= options | {"--help", "-h"}, (name, *words)


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "learn").glob("[0-9]*.md")), ids=lambda page: page.name)
def test_a_chapter_ends_with_commands_to_try(page):
    assert list(commands("```\n" + page.read_text("utf-8").partition("## Try it\n\n```\n")[2]))


def test_changelog_and_results_count_the_ops():
    from minicnn.ops_table import TABLE

    assert f"{len(TABLE)} ops" in (ROOT / "docs" / "changelog.md").read_text()
    assert f"{len(TABLE)} of {len(TABLE)} ops right" in (ROOT / "docs" / "results.md").read_text()


def test_the_readme_counts_the_lines_of_the_core():
    core = ("tensor", "geometry", "device", "reference", "gradient_check")
    files = [ROOT / "minicnn" / f"{name}.py" for name in core]
    files += [file for name in ("ops", "nn") for file in (ROOT / "minicnn" / name).glob("*.py")]
    lines = sum(len(file.read_text("utf-8").splitlines()) for file in files)
    said = re.search(r"is about ([\d,]+) lines", (ROOT / "README.md").read_text("utf-8"))[1]
    assert abs(lines / int(said.replace(",", "")) - 1) < 0.05


def test_the_program_knows_every_verb_of_the_readme():
    from minicnn.cli.app import VERBS

    assert set(re.findall(r"`minicnn (\w+)", (ROOT / "README.md").read_text())) == set(VERBS)
