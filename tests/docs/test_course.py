"""docs/course.md and docs/teaching.md: their commands print what the pages say, and the table of what is caught holds.

`python -m tests.docs.test_course` writes both into the pages.
"""

import contextlib
import io
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from rich.console import Console

from minicnn.cli import console
from minicnn.cli.app import main
from minicnn.course import files
from tests.course import planted

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "course.md", ROOT / "docs" / "teaching.md"]
BLOCK = re.compile(r"```console\n\$ (.*)\n((?:.*\n)*?)```\n")
TABLE = re.compile(r"<!-- catches -->\n.*?<!-- end -->", re.S)


def folder(place):
    """The files that the pages' commands name."""
    (place / "mine").mkdir()
    flipped = planted.answer(2).replace("w[o, c, p, q]", "w[o, c, KH - 1 - p, KW - 1 - q]")
    for name, text in (("ex02_conv_forward", files.exercise(2).starter), ("ex02_flipped", flipped),
                       ("ex02_one_pixel_off", planted.answer(2).replace("i * stride + p", "i * stride + p + 1"))):
        (place / "mine" / f"{name}.py").write_text(text, "utf-8")
    for student, answers in (("김철수", (2, 9)), ("kim", (2, 9)), ("lee", (2,))):
        (place / "class" / student).mkdir(parents=True)
        for number in answers:
            shutil.copy(planted.ANSWERS / files.exercise(number).file, place / "class" / student)
    (place / "class" / "lee" / "ex02_conv_forward.py").write_text(flipped, "utf-8")
    (place / "class" / "kim" / "ex09_momentum.py").write_text(files.exercise(9).starter, "utf-8")
    return place


def run(command, place):
    command, _, lines = command.partition(" | head -")
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        patch.chdir(place)
        patch.setattr(console, "out", Console(file=said, highlight=False, emoji=False, width=160))
        patch.setattr(sys, "argv", shlex.split(command))
        main()
    return "".join(line.rstrip() + "\n" for line in said.getvalue().splitlines()[: int(lines) if lines else None])


def catches():
    """The table: what every exercise catches. Each planted solution is a test of tests/course/test_course.py."""
    lines = ["| N | exercise | checks | planted solutions caught | kinds of mistakes that a hint names |",
             "|---:|---|---:|---:|---|"]
    everything = planted.every()
    for exercise in files.exercises():
        n = sum(w.exercise == exercise.number for w in everything)
        lines.append(f"| {exercise.number} | {exercise.title} | {len(exercise.checks)} | {n} of {n} | "
                     f"{' · '.join(dict.fromkeys(exercise.kinds))} |")  # fmt: skip
    lines.append(f"| | **all** | {sum(len(e.checks) for e in files.exercises())} | {len(everything)} of "
                 f"{len(everything)} | |")  # fmt: skip
    return "\n".join(lines)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("pages"))


@pytest.mark.parametrize(("command", "said"), [
    pytest.param(command, said, id=command, marks=[pytest.mark.slow] * ("check class" in command))
    for page in PAGES for command, said in BLOCK.findall(page.read_text("utf-8"))])
def test_a_command_prints_what_the_page_says(place, command, said):
    assert run(command, place) == said


def test_the_table_of_what_is_caught_is_up_to_date():
    (table,) = TABLE.findall(PAGES[1].read_text("utf-8"))
    assert table == f"<!-- catches -->\n\n{catches()}\n\n<!-- end -->", "run `python -m tests.docs.test_course`"


def write(place):
    for page in PAGES:
        text = page.read_text("utf-8")
        text = BLOCK.sub(lambda found: f"```console\n$ {found[1]}\n{run(found[1], place)}```\n", text)
        page.write_text(TABLE.sub(lambda _: f"<!-- catches -->\n\n{catches()}\n\n<!-- end -->", text), "utf-8")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as new:
        write(folder(Path(new)))
