"""From the outcomes of a learner's calls to a score, with a hint for each check that failed.

The hint names a kind of mistake if the results are those that this mistake gives, number for number, in all calls of
the check; otherwise it shows the first number that is different, in the smallest call that fails.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minicnn.course.child import SECONDS, Answers, Call, ask
from minicnn.course.exercise import Check, Exercise, Finding, Folder, Function, Generator
from minicnn.course.values import difference, show
from minicnn.cpu.path import cpu_path


@dataclass
class Result:
    """A check's result: passed if there is no finding."""

    check: str
    finding: Finding | None = None


@dataclass
class Report:
    """The score of one file. It is done only if every check passed."""

    exercise: Exercise
    seed: int
    results: list[Result] = field(default_factory=list)
    problem: str = ""
    printed: str = ""

    @property
    def passed(self) -> int:
        """How many checks passed."""
        return sum(r.finding is None for r in self.results)

    @property
    def done(self) -> bool:
        """Whether all checks passed."""
        return self.passed == len(self.results)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        checks = [{"check": r.check, "passed": r.finding is None, "kind": r.finding.kind if r.finding else None,
                   "hint": r.finding.text if r.finding else None} for r in self.results]  # fmt: skip
        return {"exercise": self.exercise.number, "name": self.exercise.name, "seed": self.seed, "done": self.done,
                "passed": self.passed, "total": len(checks), "problem": self.problem or None, "checks": checks,
                "printed": self.printed or None}  # fmt: skip


def check_file(exercise: Exercise, path: Path, seed: int, seconds: float = SECONDS) -> Report:
    """Run a learner's file in a child process, and judge it on the inputs that `seed` draws."""
    return judge(exercise, seed, lambda calls: ask(path, calls, seconds))


def judge(exercise: Exercise, seed: int, answer: Callable[[list[Call]], Answers], place: Path | None = None) -> Report:
    """The report on the functions that `answer` calls.   place: where pictures are drawn, or have been drawn."""
    if place:
        return _judge(exercise, seed, answer, place)
    with tempfile.TemporaryDirectory(prefix="minicnn-course-") as new:
        return _judge(exercise, seed, answer, Path(new))


def _judge(exercise: Exercise, seed: int, answer: Callable[[list[Call]], Answers], place: Path) -> Report:
    cases = [
        [tuple(_placed(a, seed, place) for a in case)
         for case in check.cases(np.random.default_rng([seed, exercise.number, i]))]
        for i, check in enumerate(exercise.checks)
    ]  # fmt: skip
    calls = [Call(check.function, case) for check, group in zip(exercise.checks, cases) for case in group]
    answers = answer(calls)
    report = Report(exercise, seed, problem=_problem(answers), printed=answers.printed)
    missing = len(calls) - len(answers.outcomes)
    outcomes = iter([*answers.outcomes, *[{"stopped": answers.stopped}, *[None] * missing][:missing]])
    with np.errstate(all="ignore"), cpu_path("numpy"):     # compiled kernels take longer to load than these checks
        for check, group in zip(exercise.checks, cases):
            got = [next(outcomes) for _ in group]
            report.results.append(Result(check.name, _finding(exercise, check, group, got, report.problem)))
    return report


def _placed(argument: Any, seed: int, place: Path) -> Any:
    """The argument; instead of a Folder the path of one that holds pictures."""
    if not isinstance(argument, Folder):
        return argument
    folder = place / f"pictures-{seed + argument.index}"
    if not folder.exists():
        from minicnn.course import pictures

        pictures.write(seed + argument.index, folder)
    return str(folder)


def _problem(answers: Answers) -> str:
    """A sentence about the file as a whole, if it could not be run to its end."""
    if answers.load_error:
        return f"The file can't be run: {_error(answers.load_error)}"
    return answers.stopped


def _error(about: dict[str, Any]) -> str:
    where = f"line {about['line']}, `{about['text']}`: " if about.get("line") else ""
    message = f": {about['message']}" if about["message"] else ""
    return f"{where}{about['type']}{message}"


def _finding(exercise: Exercise, check: Check, cases: list, outcomes: list, problem: str) -> Finding | None:
    function = exercise.function(check.function)
    names = exercise.parameters(check.function)
    for case, outcome in zip(cases, outcomes):
        found = _failure(function, names, case, outcome, problem)
        if found:
            return found
    results = [outcome["value"] for outcome in outcomes]
    found = _by_rule(function, names, check, cases, results) if check.rule else _by_values(
        function, names, check, cases, results)  # fmt: skip
    changed = next(((case, names[i]) for case, o in zip(cases, outcomes) for i in o["changed"] if i < len(names)), None)
    if changed:
        case, name = changed
        return Finding("input changed in place", f"The function changes its argument {name}: work on a copy "
                       f"({name}.copy()), or write y = x + 1 instead of x += 1.",
                       f"in {called(function, names, case)}")  # fmt: skip
    return found


def _failure(function: Function, names: list[str], case: tuple, outcome: Any, problem: str) -> Finding | None:
    """Why a call returned nothing, if it did not."""
    if outcome is None or outcome == {"stopped": ""}:      # "": the file could not be loaded
        return Finding("not run", f"{function.name} was not run: {problem}")
    if "stopped" in outcome:
        return Finding("does not return", example=f"{outcome['stopped']}\nin {called(function, names, case)}")
    if "missing" in outcome:
        what = f"is {outcome['missing']}, not a function" if outcome["missing"] != "function" else "is not there"
        return Finding("missing function", f"{function.name} {what}: the starter file has its first line.")
    if "error" in outcome:
        about = outcome["error"]
        if about["type"] == "NotImplementedError":
            return Finding("not written yet", f"{function.name} is not written yet.")
        return Finding("exception", example=f"{_error(about)}\nin {called(function, names, case)}")
    return None


def _by_rule(function: Function, names: list[str], check: Check, cases: list, results: list) -> Finding | None:
    """Ask the check's own rule; if it objects, a mistake that gives these results still gives the finding its name."""
    assert check.rule is not None
    findings = zip(check.rule(cases, results), cases)
    first = next(((found, case) for found, case in findings if found), None)
    if first is None:
        return None
    named = _by_values(function, names, check, cases, results) if function.mistakes else None
    if named and named.kind in {m.kind for m in function.mistakes}:
        return named
    return Finding(first[0].kind, example=f"{first[0].hint}\nin {called(function, names, first[1])}")


def _by_values(function: Function, names: list[str], check: Check, cases: list, results: list) -> Finding | None:
    """Compare with the right results; then find the mistake that gives what the learner's function gave."""
    right = [function.right(*case) for case in cases]
    parts, wrong = [], []
    for case, result, truth in zip(cases, results, right):
        found, value, expected = _part(function, check, result, truth)
        parts.append((value, expected))
        if found:
            wrong.append((found, case))
    if not wrong:
        return None
    mistake = _recognised(function, check, cases, right, parts)
    first, case = wrong[0]
    where = f"{first.hint}\nin {called(function, names, case)}"
    return Finding(mistake.kind, mistake.hint, where) if mistake else Finding(first.kind, example=where)


def _part(function: Function, check: Check, result: Any, truth: Any) -> tuple[Finding | None, Any, Any]:
    """(difference or None, the learner's value, the right value) of the part that the check looks at."""
    if len(function.returns) == 1:
        return difference(result, truth, function.returns[0]), result, truth
    if not isinstance(result, (tuple, list)) or len(result) != len(function.returns):
        kind = "nothing returned" if result is None else "wrong type"
        what = f"the result is {show(result)}, but must be the tuple ({', '.join(function.returns)})."
        return Finding(kind, what), result, truth
    if check.part is None:
        found = (difference(r, t, name) for r, t, name in zip(result, truth, function.returns))
        return next((f for f in found if f), None), result, truth
    i = check.part
    return difference(result[i], truth[i], function.returns[i]), result[i], truth[i]


def _recognised(function: Function, check: Check, cases: list, right: list, parts: list) -> Any:
    """The mistake that explains all calls of the check, or None."""
    for mistake in function.mistakes:
        different = False
        for case, truth, (value, expected) in zip(cases, right, parts):
            gives = mistake.gives(truth, *case)
            if gives is not None and check.part is not None and len(function.returns) > 1:
                gives = gives[check.part]
            if gives is None or difference(value, gives, ""):
                break
            different |= difference(gives, expected, "") is not None
        else:
            if different:
                return mistake
    return None


def called(function: Function, names: list[str], case: tuple) -> str:
    """A call as text: small arrays with their numbers, others with their shapes."""
    said = []
    for name, value in zip(names, case):
        shown = f"a generator with the seed {value.seed}" if isinstance(value, Generator) else show(value)
        said.append(f"{name}={shown}")
    return f"{function.name}({', '.join(said)})"
