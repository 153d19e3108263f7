"""docs/explain.md: its commands are run, and print what the page says: every word, and every number nearly.

`python tests/docs/test_explain.py` writes what the commands print into the page.
"""

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

import pytest
from rich.console import Console

from minicnn.cli import console
from minicnn.cli.app import main

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explain.md"
BLOCK = re.compile(r"```console\n((?:.*\n)*?)```\n")
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.M)
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


def commands(text):
    """(command, what it prints) of the page."""
    return [found for block in BLOCK.findall(text) for found in COMMAND.findall(block)]


def run(command):
    """What a command prints on a pipe, or its first lines where the page says `| head -LINES`."""
    command, _, lines = command.partition(" | head -")
    program, *arguments = shlex.split(command)
    assert program == "minicnn"
    said, before = io.StringIO(), sys.argv
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        patch.chdir(ROOT)
        patch.setattr(console, "out", Console(file=said, highlight=False, emoji=False, width=160))
        patch.setattr(sys, "argv", ["minicnn", *arguments])
        main()
    assert sys.argv is before
    return "".join(line.rstrip() + "\n" for line in said.getvalue().splitlines()[: int(lines) if lines else None])


def same(said, found):
    """Whether two texts have the same words, and numbers that differ by what another processor may do."""
    def words(text):
        return re.sub(r"[\s░▒▓█≡≣=·.-]+", " ", NUMBER.sub("#", text))

    values = [[float(n.replace(",", "")) for n in NUMBER.findall(text)] for text in (said, found)]
    return words(said) == words(found) and all(abs(a - b) <= 0.002 + 0.01 * abs(a) for a, b in zip(*values))


@pytest.mark.parametrize(("command", "said"), commands(PAGE.read_text("utf-8")),
                         ids=lambda text: text[:60].split("\n")[0])  # fmt: skip
def test_a_command_prints_what_the_page_says(command, said):
    found = run(command)
    assert found.strip()
    assert same(said, found), found


def test_the_page_has_every_command():
    from minicnn.cli.explain import app

    used = {command.split()[2] for command, _ in commands(PAGE.read_text("utf-8")) if command.split()[1] == "explain"}
    assert used == {command.name for command in app.registered_commands}
    assert max(map(len, PAGE.read_text("utf-8").splitlines())) <= 120


def test_a_changed_number_or_word_is_found():
    assert same("y = 6,600 of 3", "y = 6,600.5 of 3")
    assert not same("y = 6,600", "y = 6,800")
    assert not same("y = 6,600", "z = 6,600")
    assert not same("y = 6,600", "y = -6,600")


def write():
    """Bring the page up to date."""
    def block(found):
        lines = re.findall(r"^\$ .*$", found[1], re.M)
        return "```console\n" + "\n".join(f"{line}\n{run(line[2:])}" for line in lines) + "```\n"

    PAGE.write_text(BLOCK.sub(block, PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    write()
