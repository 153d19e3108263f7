"""minicnn course list | start N FOLDER | check FILE.py"""

from __future__ import annotations

import csv
import secrets
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minicnn.cli import console
from minicnn.names import quoted

if TYPE_CHECKING:
    from minicnn.course.exercise import Exercise
    from minicnn.course.judge import Report

app = typer.Typer(no_args_is_help=True, add_completion=False,
                  help="Twelve exercises: starter files, and checks with hints on hidden inputs. Offline.")


@app.command("list")
def list_(as_json: console.Json = False):
    """List the exercises: none needs another one."""
    from minicnn.course import files

    rows: list[dict[str, Any]] = [
        {"exercise": e.number, "name": e.name, "title": e.title, "korean": e.korean, "file": e.file,
         "functions": [f.name for f in e.functions], "checks": len(e.checks), "kinds": sorted(set(e.kinds))}
        for e in files.exercises()]  # fmt: skip
    if as_json:
        return console.print_json(rows)
    table = console.table(">N", "exercise", "한국어", ">checks", "you write")
    for row in rows:
        table.add_row(str(row["exercise"]), row["title"], row["korean"], str(row["checks"]),
                      ", ".join(row["functions"]))  # fmt: skip
    console.show(table, ("한국어",))
    console.say("\nStart: `minicnn course start 2 FOLDER` writes a file to fill in. Then: `minicnn course check "
                "FILE.py`.")  # fmt: skip


@app.command("start")
def start(
    exercise: Annotated[str, typer.Argument(metavar="N", help="The exercise, 1 to 12, or all.")],
    folder: Annotated[Path, typer.Argument(help="Where to write its starter file.")] = Path("."),
    seed: Annotated[int | None, typer.Option(help="Of the pictures of exercise 12.", min=0)] = None,
):
    """Write an exercise's starter file: formula, shapes, an example, and no answer. A file that exists is kept."""
    from minicnn.course import files

    numbers = range(1, len(files.NAMES) + 1) if exercise == "all" else [_number(exercise)]
    taken = [files.exercise(n).file for n in numbers if (folder / files.exercise(n).file).exists()]
    if taken and exercise == "all":
        raise FileExistsError(f"{folder / taken[0]} exists already and is kept: choose another folder")
    for number in numbers:
        for path in files.start(number, folder, files.PICTURES_SEED if seed is None else seed):
            console.say(f"written: {path}", markup=False)


def _number(text: str) -> int:
    from minicnn.course import files

    if not text.isdecimal() or not 1 <= int(text) <= len(files.NAMES):
        raise console.UsageError(f"there is no exercise {text!r}: they are numbered 1 to {len(files.NAMES)}, and `all` "
                                 "is all of them; `minicnn course list` shows them")
    return int(text)


@app.command("check")
def check(
    path: Annotated[Path, typer.Argument(metavar="FILE.py|FOLDER", help="Your file; or a folder with the files of a "
                                                                       "class.")],
    exercise: Annotated[str, typer.Option("--exercise", metavar="N", help="The exercise, if the file doesn't say.")
                        ] = "",
    seed: Annotated[int | None, typer.Option(help="Repeat a check on the same inputs; by default they are new each "
                                                  "time.", min=0)] = None,
    seconds: Annotated[float, typer.Option(help="Time limit for each file.", min=0.1)] = 30.0,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Also write the scores of a class as CSV.")] = None,
    as_json: console.Json = False,
):
    """Check a file, which is run as Python code, on hidden inputs. Exit code 0 only if every check passes."""
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    if path.is_dir():
        return _class(path, _number(exercise) if exercise else 0, seed, seconds, csv_file, as_json)
    if csv_file:
        raise console.UsageError("--csv is for the folder of a class: name a folder, or use --json")
    from minicnn.course import files, judge

    if not path.is_file():
        raise console.UsageError(f"there is no file {path}: `minicnn course start N FOLDER` writes one to fill in")
    found = files.exercise(_number(exercise)) if exercise else files.answered(path)
    if found is None:
        raise console.UsageError(f"{path} does not say which exercise it answers: keep the line EXERCISE = N of the "
                                 "starter file, or add --exercise N")
    report = judge.check_file(found, path, seed, seconds)
    if as_json:
        console.print_json({"file": str(path), **report.as_dict()})
    else:
        _show(report, path)
    if not report.done:
        raise typer.Exit(1)
    return None


def _show(report: Report, path: Path) -> None:
    exercise = report.exercise
    console.say(f"Exercise {exercise.number}: {exercise.title} ({exercise.korean})\n", markup=False)
    if report.problem:
        console.say(f"{report.problem}\n", markup=False)
    said: set[str] = set()
    for result in report.results:
        found = result.finding
        again = f" ({found.kind}, as above)" if found and found.hint and found.kind in said else ""
        console.say(f"  {'FAILED' if found else 'passed'}  {result.check}{again}", markup=False)
        if found and not again and not (report.problem and found.kind == "not run"):
            said.add(found.kind)
            console.say(f"          {found.kind}" + f": {found.hint}" * bool(found.hint), markup=False)
            for line in found.example.splitlines():
                console.say(f"          {line}", markup=False)
    if report.printed:
        console.say(f"\nYour file printed:\n{report.printed.rstrip()}", markup=False)
    verdict = "done." if report.done else "not done yet."
    console.say(f"\n{report.passed} of {len(report.results)} checks passed: {verdict}", markup=False)
    if not report.done:
        console.say(f"The inputs are new each time; --seed {report.seed} repeats these: minicnn course check "
                    f"{quoted(str(path))} --seed {report.seed}", markup=False)  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- a class


def _class(folder: Path, number: int, seed: int, seconds: float, csv_file: Path | None, as_json: bool) -> None:
    from minicnn.course import files, judge

    if csv_file:
        console.check_out(csv_file, (".csv",), "--csv")
    given = list(files.submissions(folder))
    wanted = [s for s in given if s.exercise and number in (0, s.exercise.number)]
    left_out = [str(s.path) for s in given if not s.exercise]
    if not wanted:
        raise console.UsageError(f"{folder} holds no answers{f' to exercise {number}' * bool(number)}: they are .py "
                                 "files with the line EXERCISE = N, in a subfolder for each student or named "
                                 "kim_ex02.py")
    reports = []
    for s in console.track(wanted, "files checked", as_json):
        assert s.exercise is not None
        reports.append((s, judge.check_file(s.exercise, s.path, seed, seconds)))
    if csv_file:
        _write_csv(csv_file, reports)
    if as_json:
        console.print_json({"folder": str(folder), "seed": seed, "left_out": left_out, "files": [
            {"student": s.student, "file": str(s.path), **report.as_dict()} for s, report in reports]})  # fmt: skip
    else:
        _show_class(reports, left_out, seed)
    if not all(report.done for _, report in reports):
        raise typer.Exit(1)


def _show_class(reports: list[tuple[Any, Report]], left_out: list[str], seed: int) -> None:
    exercises: dict[int, Exercise] = dict(sorted((r.exercise.number, r.exercise) for _, r in reports))
    scores = _scores(reports)
    table = console.table("student", *(f">{number}" for number in exercises), ">done")
    for student, of in scores.items():
        cells = [f"{of[n][0]}/{of[n][1]}" if n in of else "·" for n in exercises]
        table.add_row(console.escape(student), *cells, str(sum(passed == total for passed, total in of.values())))
    console.show(table)
    counts = Counter((r.exercise.number, kind) for _, r in reports for kind in _kinds(r))
    if counts:
        console.say("\nMost frequent mistakes:")
        for (number, kind), n in counts.most_common(10):
            console.say(f"  {console.count(n, 'file')}, exercise {number}: {kind}", markup=False)
    for path in left_out:
        console.say(f"left out: {path} does not say which exercise it answers", markup=False)
    console.say(f"\nAll files had the same inputs: seed {seed}. `minicnn course check FILE.py --seed {seed}` shows the "
                "hints of one file.", markup=False)  # fmt: skip


def _scores(reports: list[tuple[Any, Report]]) -> dict[str, dict[int, tuple[int, int]]]:
    """{student: {exercise: (passed, total)}}, of several files for one exercise the best."""
    scores: dict[str, dict[int, tuple[int, int]]] = {}
    for s, report in reports:
        of = scores.setdefault(s.student, {})
        number, score = report.exercise.number, (report.passed, len(report.results))
        of[number] = max(of.get(number, (0, score[1])), score)
    return scores


def _kinds(report: Report) -> set[str]:
    return {r.finding.kind for r in report.results if r.finding}


def _write_csv(path: Path, reports: list[tuple[Any, Report]]) -> None:
    """One row for each file. utf-8-sig: spreadsheets then read Korean names."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["student", "file", "exercise", "passed", "total", "done", "kinds"])
        for s, report in reports:
            cells = [s.student, str(s.path), report.exercise.number, report.passed, len(report.results),
                     int(report.done), "; ".join(sorted(_kinds(report)))]  # fmt: skip
            rows.writerow([_no_formula(cell) if isinstance(cell, str) else cell for cell in cells])


def _no_formula(cell: str) -> str:
    """A spreadsheet would compute a text that begins like a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell
