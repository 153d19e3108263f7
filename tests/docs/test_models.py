"""The zoo's pages: tables counted now, every net on one page, no number that nothing counts, commands that run."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from minicnn import models
from minicnn.cli.app import app
from minicnn.ops_table import TABLE

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "models").glob("*.md"))
NUMBER = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?![\d,]*\d)")
SESSION = re.compile(r"```python\n>>>.*?```", re.S)

tables = runpy.run_path(str(ROOT / "docs" / "models" / "make_tables.py"))
measure, specs_on, models_on, updated = (tables[k] for k in ("measure", "specs_on", "models_on", "updated"))


def numbers(text):
    return {int(found.replace(",", "")) for found in NUMBER.findall(text)}


def everything_counted(spec):
    """The counts of a net: in all, of each layer, and of each block."""
    report = measure(spec).report
    counted = set(report.totals.values()) | {int(n.replace(",", "")) for n in measure(spec).field[:1] if n != "all"}
    for part in (report, *(report.at_depth(depth) for depth in (1, 2, 3))):
        for layer in part.layers:
            counted |= {layer.parameters, layer.buffers, layer.macs, layer.activations, layer.values}
    return counted


@pytest.fixture(scope="module")
def totals_of_all():
    """What every net and variant costs in all."""
    specs = [f"{name}:{variant}" for name in models.names() for variant in models.variants(name) or [""]]
    return {total for spec in specs for total in measure(spec).report.totals.values()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tables_are_up_to_date(page):
    text = page.read_text("utf-8")
    assert updated(text) == text, "run `python docs/models/make_tables.py`"


def test_every_net_is_on_one_page():
    where = [name for page in PAGES if page.name != "index.md" for name in models_on(page)]
    assert sorted(where) == sorted(models.names())


def test_a_changed_digit_is_found():
    text = (ROOT / "docs" / "models" / "vgg.md").read_text("utf-8")
    assert updated(text.replace("138,357,544", "138,357,545")) != text.replace("138,357,544", "138,357,545")
    assert numbers("60,000, then 1,234,567.") == {60_000, 1_234_567}
    assert 138_357_545 not in everything_counted("vgg16")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_number_is_counted(page, totals_of_all):
    """By the nets of this page, as the total of some net, or by a session of this page, which test_docs.py runs."""
    text = page.read_text("utf-8")
    known = totals_of_all | {n for session in SESSION.findall(text) for n in numbers(session)}
    for spec in specs_on(page):
        known |= everything_counted(spec)
    prose = SESSION.sub("", tables["TABLE"].sub("", text))
    assert numbers(prose) <= known, "not counted by anything: " + ", ".join(f"{n:,}" for n in numbers(prose) - known)


def commands():
    for page in PAGES:
        for block in re.findall(r"```\n(minicnn .*?)```", page.read_text("utf-8"), re.S):
            for line in block.splitlines():
                yield pytest.param(shlex.split(line, comments=True), id=f"{page.stem}: {line}")


@pytest.mark.parametrize("command", [*commands()])
def test_commands_run(command):
    program, *arguments = command
    assert program == "minicnn"
    if arguments[0] == "train":
        arguments = ["train", "--help"]
    else:
        arguments.append("--json")                         # and then `compare` draws no picture
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output


def test_papers_has_every_op_and_every_paper():
    text = (ROOT / "docs" / "papers.md").read_text("utf-8")
    assert [row.name for row in TABLE if f"`{row.name}`" not in text] == []
    files = {file.__name__.rpartition(".")[2] for file, _, _ in models.PAPERS}
    assert [file for file in sorted(files) if f"../minicnn/models/{file}.py" not in text] == []
