"""minicnn course: list, start, check, and the files of a class."""

import csv
import shutil

import pytest

from minicnn.course import files, pictures, worker
from minicnn.course.child import Answers, outcome
from tests.course.planted import ANSWERS, answer
from tests.program import document, sentence


@pytest.fixture
def in_this_process(monkeypatch):
    """The learner's file runs here, which is faster; tests/course/test_child.py starts real processes."""
    def ask(path, calls, seconds):
        functions = {}
        exec(compile(path.read_text("utf-8"), str(path), "exec"), functions)
        return Answers([outcome(worker.outcome(functions, call.encoded(), str(path))) for call in calls])

    monkeypatch.setattr("minicnn.course.judge.ask", ask)


def test_list(minicnn_):
    rc, out, err = minicnn_("course", "list")
    assert (rc, err) == (0, "")
    assert "합성곱의 순전파" in out
    rows = document(minicnn_("course", "list", "--json")[1])
    assert [row["exercise"] for row in rows] == list(range(1, 13))
    assert rows[1]["functions"] == ["conv2d"]
    assert all(row["checks"] >= 5 and len(row["kinds"]) >= 4 for row in rows)


def test_start_writes_and_keeps(minicnn_, tmp_path):
    rc, out, err = minicnn_("course", "start", 2, "mine")
    assert (rc, err) == (0, "")
    assert out == "written: mine/ex02_conv_forward.py\n"
    assert (tmp_path / "mine" / "ex02_conv_forward.py").read_text("utf-8") == files.exercise(2).starter
    rc, _, err = minicnn_("course", "start", 2, "mine")
    assert "mine/ex02_conv_forward.py exists already and is kept" in sentence(err, 1, rc)
    rc, _, err = minicnn_("course", "start", "all", "mine")
    assert "exists already and is kept" in sentence(err, 1, rc)
    assert len(list((tmp_path / "mine").iterdir())) == 1, "all or nothing"
    rc, out, _ = minicnn_("course", "start", "all", "all")
    assert rc == 0
    assert len(list((tmp_path / "all").glob("ex*.py"))) == 12
    assert len(list((tmp_path / "all" / "ex12_pictures").rglob("*.*"))) == 60
    assert minicnn_("course", "start", 12, "look", "--seed", 5)[0] == 0
    drawn = tmp_path / "look" / "ex12_pictures"
    assert {p.relative_to(drawn).as_posix() for p in drawn.rglob("*.*")} == {p.path for p in pictures.plan(5)}


@pytest.mark.parametrize("number", ["0", "13", "two", "-1"])
def test_there_is_no_such_exercise(minicnn_, number):
    rc, _, err = minicnn_("course", "start", "--", number)
    assert "they are numbered 1 to 12" in sentence(err, 2, rc)


def test_an_answer_is_done_in_a_real_process(minicnn_):
    rc, out, err = minicnn_("course", "check", ANSWERS / "ex02_conv_forward.py")
    assert (rc, err) == (0, "")
    assert out.endswith("7 of 7 checks passed: done.\n")
    assert "FAILED" not in out


def test_six_of_seven_are_not_done(minicnn_, tmp_path, in_this_process):
    """"Solved at 75 %" misleads."""
    (tmp_path / "ex01.py").write_text(answer(1).replace('"constant"', '"edge"'), "utf-8")
    rc, out, _ = minicnn_("course", "check", "ex01.py")
    assert rc == 1
    assert "6 of 7 checks passed: not done yet.\n" in out
    assert not document(minicnn_("course", "check", "ex01.py", "--json")[1])["done"]


def test_a_failed_check(minicnn_, tmp_path, in_this_process):
    """The seed repeats it; without one the inputs are new."""
    (tmp_path / "a b.py").write_text(answer(2).replace("stride + p - padding", "stride + p"), "utf-8")
    rc, out, err = minicnn_("course", "check", "a b.py", "--seed", 5)
    assert (rc, err) == (1, "")
    assert "  passed  stride\n  FAILED  padding\n" in out
    assert "must be" in out
    assert "4 of 7 checks passed: not done yet.\n" in out
    assert "minicnn course check 'a b.py' --seed 5" in out
    first = document(minicnn_("course", "check", "a b.py", "--seed", 5, "--json")[1])
    assert first == document(minicnn_("course", "check", "a b.py", "--seed", 5, "--json")[1]), "the seed repeats it"
    assert (first["passed"], first["total"], first["done"], first["seed"]) == (4, 7, False, 5)
    assert [c["kind"] for c in first["checks"] if not c["passed"]] == 3 * ["wrong value"]
    hints = {document(minicnn_("course", "check", "a b.py", "--json")[1])["checks"][4]["hint"] for _ in range(3)}
    assert len(hints) == 3, "new inputs each time"


def test_the_hint_names_the_kind(minicnn_, tmp_path, in_this_process):
    (tmp_path / "ex02.py").write_text(answer(2).replace("w[o, c, p, q]", "w[o, c, KH - 1 - p, KW - 1 - q]"), "utf-8")
    rc, out, _ = minicnn_("course", "check", "ex02.py")
    assert rc == 1
    assert "kernel flipped: The filter is turned by 180°" in out
    assert "\n          in conv2d(x=[[[[" in out, "a small example with its numbers"


def test_a_starter_file_fails_cleanly(minicnn_):
    minicnn_("course", "start", 3, ".")
    rc, out, err = minicnn_("course", "check", "ex03_conv_backward.py")
    assert (rc, err) == (1, "")
    assert out.count("is not written yet") == 1, "said once"
    assert "0 of 7 checks passed" in out


def test_a_file_that_says_nothing(minicnn_, tmp_path, in_this_process):
    text = answer(11).replace("EXERCISE = 11", "")
    (tmp_path / "mine.py").write_text(text, "utf-8")
    rc, _, err = minicnn_("course", "check", "mine.py")
    assert "mine.py does not say which exercise it answers" in sentence(err, 2, rc)
    assert minicnn_("course", "check", "mine.py", "--exercise", 11)[0] == 0
    (tmp_path / "kim-Ex 11.py").write_text(text, "utf-8")
    assert minicnn_("course", "check", "kim-Ex 11.py")[0] == 0
    rc, _, err = minicnn_("course", "check", "none.py")
    assert "there is no file none.py" in sentence(err, 2, rc)
    rc, _, err = minicnn_("course", "check", "mine.py", "--csv", "x.csv")
    assert "--csv is for the folder of a class" in sentence(err, 2, rc)


def test_a_class(minicnn_, tmp_path, in_this_process):
    room = tmp_path / "class"
    for student in ("김철수", "[b]lee"):
        (room / student).mkdir(parents=True)
        shutil.copy(ANSWERS / "ex09_momentum.py", room / student)
    wrong = answer(2).replace("range(C)", "range(1)")
    (room / "[b]lee" / "ex02_conv_forward.py").write_text(wrong, "utf-8")
    (room / "=cmd_ex02.py").write_text(wrong, "utf-8")
    (room / "notes.py").write_text("# nothing\n", "utf-8")
    (room / "__pycache__").mkdir()
    (room / "__pycache__" / "ex02.py").write_text(wrong, "utf-8")
    rc, out, err = minicnn_("course", "check", "class", "--csv", "scores.csv")
    assert (rc, err) == (1, "")
    assert "2 files, exercise 2: only the first channel" in out
    assert "left out: class/notes.py" in out
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert lines["student"] == ["2", "9", "done"]
    assert lines["김철수"] == ["·", "6/6", "1"]
    assert lines["[b]lee"][1:] == ["6/6", "1"]
    with (tmp_path / "scores.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["student"] for row in rows] == ["'=cmd", "[b]lee", "[b]lee", "김철수"]
    assert [row["done"] for row in rows] == ["0", "0", "1", "1"]
    assert rows[0]["kinds"] == "only the first channel"
    report = document(minicnn_("course", "check", "class", "--json", "--seed", 3)[1])
    assert {f["seed"] for f in report["files"]} == {report["seed"]} == {3}
    assert report["left_out"] == ["class/notes.py"]
    assert document(minicnn_("course", "check", "class", "--exercise", 9, "--json")[1])["files"][0]["done"]
    (tmp_path / "empty").mkdir()
    rc, _, err = minicnn_("course", "check", "empty")
    assert "empty holds no answers" in sentence(err, 2, rc)
