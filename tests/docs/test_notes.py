"""docs/notes.md: every topic of the lecture notes has a command that the program takes, and pages."""

import re
import shlex
from pathlib import Path

import pytest

from minicnn.claims.files import NAMES
from minicnn.cli.app import load

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "notes.md").read_text("utf-8")
ROWS = re.findall(r"^\| ([A-Z]\d+) \| (.*) \| (.*) \| (.*) \| (.*) \|$", TEXT, re.M)
COMMANDS = sorted(set(re.findall(r"`(minicnn [^`]*)`", TEXT)))
TOPICS = {"D": 4, "I": 2, "C": 12, "P": 6, "A": 5, "O": 1, "R": 3, "N": 2, "M": 15, "X": 9}


def test_every_topic_has_a_row():
    assert [row[0] for row in ROWS] == [f"{letter}{i + 1}" for letter, count in TOPICS.items() for i in range(count)]
    for number, english, korean, do, read in ROWS:
        assert all((english, korean, "](" in read)), number
        assert "`minicnn " in do or number == "X7", number


@pytest.mark.parametrize("command", COMMANDS)
def test_the_program_takes_the_command(command):
    _, verb, *arguments = shlex.split(command)
    code = load(verb)
    if hasattr(code, "commands"):
        _, code, arguments = code.resolve_command(code.make_context(verb, list(arguments)), arguments)
    code.make_context(verb, list(arguments))
    if verb == "claim":
        assert arguments[0] in NAMES
