"""Break the code at random places, one at a time, and see whether a test notices.

    python -m tests.mutate --count 400 --results mutants.jsonl          all of train, data, io, optim and inspect
    python -m tests.mutate --results mutants.jsonl --again              those that no test noticed, after new tests
    python -m tests.mutate --results mutants.jsonl --write              the score into tests/mutation_score.json
    python -m tests.mutate --count 40 --only minicnn/train/loop.py      of one file
    python -m tests.mutate --show minicnn/train/loop.py                 the mutants of a file, nothing is run

A *mutant* is the source with one change: another comparison or arithmetic operator, a constant plus one, `and` for
`or`, a condition turned round, a statement left out, None returned. First each test runs once in a copy of the tree
under a tracer, which notes the lines that it executes. Then each mutant, drawn by the seed, is written into the copy,
and the tests that execute its line run, the quickest first, until one fails. The results are appended to a file as
JSON, a line for each mutant; a second call goes on where the first one ended, and two calls with `--part 1/2` and
`--part 2/2` may share the file.

*killed*: a test failed. *too long*: the tests ran into the time limit, which was noticed too. *survived*: all passed.
*uncovered*: no test executes the line in this process. *gone*: the code was changed since, and has no such place any
more. tests/mutants.json explains the survivors that change nothing anybody can see. Before the score is written, the
tests that failed run once more together, with nothing changed, and must pass.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import contextlib
import hashlib
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("train", "data", "io", "optim", "inspect")
SUITES = ("tests/train", "tests/data", "tests/io", "tests/optim", "tests/inspect", "tests/models/test_file.py",
          "tests/cli")
EXPLAINED = Path(__file__).with_name("mutants.json")
SCORE = Path(__file__).with_name("mutation_score.json")
NOTICED = ("killed", "too long")

COMPARE = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
           ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}
ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
              ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
              ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitXor: ast.BitAnd}


# ------------------------------------------------------------------------------------------------------------- mutants


def sites(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """(node, kind) of every change that is tried: not in annotations, docstrings, messages and type declarations."""
    def inside(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
        yield from changes(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom)):
                    continue
                if isinstance(child, ast.Assign) and isinstance(child.targets[0], ast.Name) and \
                        child.targets[0].id == "__all__":
                    continue
                if isinstance(child, ast.AST):
                    yield from inside(child)

    yield from inside(tree)


def changes(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """The changes of one node."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARE:
        yield node, "comparison"
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in ARITHMETIC and not is_text(node):
        yield node, "arithmetic"
    if isinstance(node, ast.BoolOp):
        yield node, "and/or"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, "not"
    if isinstance(node, (ast.If, ast.IfExp, ast.While)) and not (
            isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
        yield node, "condition"
    if isinstance(node, ast.Constant) and (isinstance(node.value, (bool, int, float))):
        yield node, "constant"
    if isinstance(node, ast.Return) and node.value is not None and not (
            isinstance(node.value, ast.Constant) and node.value.value is None):
        yield node, "return"
    if isinstance(node, (ast.AugAssign, ast.Continue, ast.Break, ast.Delete)) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) or (
            isinstance(node, ast.Assign) and not isinstance(node.targets[0], (ast.Name, ast.Tuple))):
        yield node, "left out"                             # a name that is missing would be noticed anyway


def is_text(node: ast.AST) -> bool:
    """Whether an operator works on texts in the source: "a" + "b", "%d" % n."""
    sides = [getattr(node, name, None) for name in ("left", "right", "value")]
    return any(isinstance(s, ast.JoinedStr) or (isinstance(s, ast.Constant) and isinstance(s.value, str))
               for s in sides)


def mutant(source: str, number: int) -> tuple[int, str, str]:
    """(line, "before → after", the changed source) of the change with that number."""
    tree = ast.parse(source)
    node, kind = list(sites(tree))[number]
    whole = node.test if kind == "condition" else node
    before = ast.unparse(whole)
    if kind == "comparison":
        node.ops[0] = COMPARE[type(node.ops[0])]()
    elif kind == "arithmetic":
        node.op = ARITHMETIC[type(node.op)]()
    elif kind == "and/or":
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif kind == "constant":
        value = node.value
        node.value = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value * 1.5 + 1
    elif kind == "condition":
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif kind == "return":
        node.value = ast.Constant(None)
    else:
        new = ast.Pass() if kind == "left out" else node.operand
        replace(tree, node, ast.copy_location(new, node))
        whole = new
    after = ast.unparse(node.test if kind == "condition" else whole)
    return node.lineno, f"{kind}: {before} → {after}", ast.unparse(ast.fix_missing_locations(tree))


def replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    """Put one node in another's place."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(child is old for child in value):
                value[:] = [new if child is old else child for child in value]


def files(only: str | None) -> list[str]:
    """The files of the packages, or the one."""
    found = sorted(path.relative_to(ROOT).as_posix() for package in PACKAGES
                   for path in (ROOT / "minicnn" / package).rglob("*.py"))
    return [name for name in found if not only or name == only]


# -------------------------------------------------------------------------------------- which tests execute which lines


class Tracer:
    """A plugin of pytest: the lines of the packages that each test executes, and how long it takes."""

    def __init__(self, copy: Path):
        self.roots = tuple(str(copy / "minicnn" / package) + os.sep for package in PACKAGES)
        self.cut = len(str(copy)) + 1
        self.lines: set[tuple[str, int]] = set()
        self.tests: dict[str, dict] = {}
        self.passed: set[str] = set()

    def call(self, frame, event, argument):
        name = frame.f_code.co_filename
        if not name.startswith(self.roots):
            return None
        file, add = name[self.cut :], self.lines.add

        def line(frame, event, argument):
            if event == "line":
                add((file, frame.f_lineno))
            return line

        return line

    def pytest_runtest_protocol(self, item, nextitem):
        from _pytest.runner import runtestprotocol

        self.lines.clear()
        started = time.process_time()
        threading.settrace(self.call)
        sys.settrace(self.call)
        try:
            reports = runtestprotocol(item, nextitem=nextitem)
        finally:
            sys.settrace(None)
            threading.settrace(None)
        found: dict[str, list[int]] = defaultdict(list)
        for file, number in self.lines:
            found[file].append(number)
        if all(report.outcome == "passed" for report in reports):
            self.tests[item.nodeid] = {"seconds": time.process_time() - started, "lines": found}
        return True


class Chosen:
    """A plugin of pytest: only these tests, in this order; the name of one that fails is written to a file."""

    def __init__(self, names: list[str], failed: Path):
        self.rank, self.failed = {name: i for i, name in enumerate(names)}, failed

    def pytest_collection_modifyitems(self, config, items):
        items[:] = sorted((i for i in items if i.nodeid in self.rank), key=lambda i: self.rank[i.nodeid])

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.write_text(report.nodeid)


QUIET = ("-q", "-p", "no:cacheprovider", "-m", "not slow", "--tb=no", "-rN")


def forked(copy: Path, limit: float, work) -> tuple[int, float]:
    """(exit code of `work` in a forked process in the copy, seconds); the code is negative beyond the time limit.

    limit: seconds of the processor, for each process; three times as many in which all of them slept. The clock alone
    would count what other programs take.
    """
    child = os.fork()
    if not child:
        code = 99
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit) + 5))
            os.chdir(copy)
            os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
            sys.dont_write_bytecode = True                 # a file changed twice in a second looks unchanged to Python
            for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "minicnn")]:
                del sys.modules[name]
            sys.path[:] = [str(copy), *(p for p in sys.path if Path(p or ".").resolve() not in (ROOT, copy))]
            with open(os.devnull, "w") as nothing:
                os.dup2(nothing.fileno(), 1)
                os.dup2(nothing.fileno(), 2)
                code = int(work())
        finally:
            os._exit(code)
    started = looked = time.monotonic()
    slept = 0.0
    while slept < 3 * limit and looked - started < 60 * limit:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), time.monotonic() - started
        time.sleep(0.02)
        if (now := time.monotonic()) - looked > 0.5:
            slept, looked = slept + (0 if wants_processor(child) else 0.5), now
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -9, time.monotonic() - started


def wants_processor(session: int) -> bool:
    """Whether a thread of the session runs or waits for a processor or a disk; False where Linux's /proc is missing."""
    def fields(file: Path) -> list[str]:
        try:
            return file.read_text("utf-8", "replace").rpartition(")")[2].split()    # state, parent, group, session, …
        except OSError:                                                             # it ended meanwhile
            return []

    return any(fields(thread)[:1] in (["R"], ["D"]) for process in Path("/proc").glob("[0-9]*")
               if fields(process / "stat")[3:4] == [str(session)] for thread in process.glob("task/*/stat"))


def trace(copy: Path, suite: str) -> dict[str, dict]:
    """{test: seconds and lines} of the tests in one file, all of which pass."""
    import pytest

    kept = copy / "trace.json"

    def work() -> int:
        tracer = Tracer(copy)
        pytest.main([*QUIET, suite], plugins=[tracer])
        kept.write_text(json.dumps(tracer.tests))
        return 0

    kept.unlink(missing_ok=True)
    forked(copy, 600, work)
    return json.loads(kept.read_text()) if kept.exists() else {}


def traces(copy: Path, cache: Path, suites: list[str]) -> dict[str, dict]:
    """The same of all suites, kept in a file for the next call, by the content of the test and of what it executes."""
    def content(name: str) -> str:
        return hashlib.sha256((copy / name).read_bytes()).hexdigest() if (copy / name).exists() else ""

    cached = json.loads(cache.read_text()) if cache.exists() else {}
    names = [path.relative_to(ROOT).as_posix() for suite in suites for path in sorted(
        (ROOT / suite).rglob("test_*.py") if (ROOT / suite).is_dir() else [ROOT / suite])]  # fmt: skip
    found = {}
    for name in names:
        started, old = time.monotonic(), cached.get(name, {"files": {"not yet": "new"}})
        if any(content(file) != seen for file, seen in old["files"].items()):
            tests = trace(copy, name)
            executed = {file for test in tests.values() for file in test["lines"]}
            cached[name] = {"tests": tests, "files": {file: content(file) for file in (name, *executed)}}
            cache.write_text(json.dumps(cached))
            print(f"{name}: {len(tests)} tests, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        found |= cached[name]["tests"]
    return found


# ------------------------------------------------------------------------------------------------------------- the run


def defined(source: str, line: int) -> set[str]:
    """The names that the statements on a line define, such as a constant or a field."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.Expr)) and \
                node.lineno <= line <= (node.end_lineno or line):
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
            found |= {node.name} if isinstance(node, ast.FunctionDef) else set()
        if isinstance(node, ast.ClassDef) and any(isinstance(f, ast.FunctionDef) and f.name == "__init__" and
                                                  f.lineno <= line <= (f.end_lineno or line) for f in node.body):
            found.add(node.name)
    return found - {"__init__"}


def in_function(tree: ast.AST, node: ast.AST) -> bool:
    """Whether a node runs when a function is called. Other code runs on import, in whichever test imports it first."""
    functions = (f for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.Lambda)))
    return any(child is node for function in functions for part in (
        function.body if isinstance(function.body, list) else [function.body]) for child in ast.walk(part))


def chosen(tests: dict[str, dict], file: str, source: str, number: int, most: float) -> list[str]:
    """The tests that execute what is changed, the quickest first, of `most` seconds in all.

    For what runs on import, those that execute anything of the file: first those of test files with a name that the
    line defines.
    """
    tree = ast.parse(source)
    node = list(sites(tree))[number][0]
    line = node.lineno
    last = (node.test.end_lineno if isinstance(node, (ast.If, ast.While)) else min(node.end_lineno, line + 8)) or line
    if in_function(tree, node):
        some = [name for name, test in tests.items() if any(line <= n <= last for n in test["lines"].get(file, ()))]
        some.sort(key=lambda name: tests[name]["seconds"])
    else:
        words = defined(source, line)
        suites = {name.partition("::")[0] for name in tests}
        naming = {suite for suite in suites if words & set(re.findall(r"\w+", (ROOT / suite).read_text("utf-8")))}
        some = [name for name, test in tests.items() if file in test["lines"] or name.partition("::")[0] in naming]
        some.sort(key=lambda name: (name.partition("::")[0] not in naming, file not in tests[name]["lines"],
                                    tests[name]["seconds"]))
    total, kept = 0.0, []
    for name in some:
        total += tests[name]["seconds"]
        if total > most and kept:
            break
        kept.append(name)
    return kept


def run(copy: Path, names: list[str], expected: float) -> tuple[str, float, str]:
    """("killed" | "too long" | "survived" | "error": no test ran, seconds, the test that failed) in the copy."""
    import pytest

    suites, failed = sorted({name.partition("::")[0] for name in names}), copy / "failed.txt"
    failed.unlink(missing_ok=True)
    code, seconds = forked(copy, 20 + 2 * expected,
                           lambda: pytest.main([*QUIET, "-x", *suites], plugins=[Chosen(names, failed)]))
    named = {0: "survived", 5: "error"}  # 4: not even the tests can be read, which is noticed
    return (named.get(code, "killed" if code > 0 else "too long"), seconds,
            failed.read_text() if failed.exists() else "")


def compile_tree(copy: Path, suites: list[str]) -> None:
    """Compile the sources and the tests once. A mutant is newer than its compiled file, which Python then ignores."""
    import pytest

    def work() -> int:
        sys.dont_write_bytecode = False
        return pytest.main([*QUIET, "--collect-only", *suites])

    compileall.compile_dir(copy / "minicnn", quiet=2)
    forked(copy, 600, work)


def attempt(copy: Path, file: str, text: str, names: list[str], expected: float) -> tuple[str, float, str]:
    """The same for a mutant."""
    path, saved = copy / file, copy / "saved.py"
    shutil.copy2(path, saved)
    path.write_text(text, "utf-8")
    try:
        return run(copy, names, expected)
    finally:
        shutil.copy2(saved, path)                          # with its old time: it is what was compiled


def place(source: str, record: dict) -> int | None:
    """The number that a mutant has now: other changes of its file may have moved it. None if it is gone."""
    lines = source.splitlines()
    found = [number for number, (node, _) in enumerate(sites(ast.parse(source)))
             if lines[node.lineno - 1].strip() == record["source"] and mutant(source, number)[1] == record["mutation"]]
    return min(found, key=lambda number: abs(number - record["number"]), default=None)


def read(results: Path) -> tuple[list[dict], list[dict]]:
    """(the first, the last result of each mutant)"""
    records = [json.loads(text) for text in results.read_text("utf-8").splitlines()] if results.exists() else []
    last = {(r["file"], r["number"]): r for r in records}
    first = {(r["file"], r["number"]): r for r in reversed(records)}
    return [first[key] for key in last], list(last.values())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=400, help="mutants in all, with those of earlier calls")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no mutant after so long")
    parser.add_argument("--tests", type=float, default=40, help="most seconds of tests for each mutant, by their times "
                                                                "in the first pass")  # fmt: skip
    parser.add_argument("--only", help="a file, such as minicnn/train/loop.py")
    parser.add_argument("--results", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--again", action="store_true", help="run the survivors of the results again")
    parser.add_argument("--part", default="1/1", help="of the mutants that are left, such as 1/2 and 2/2")
    parser.add_argument("--write", action="store_true", help="write tests/mutation_score.json from the results")
    parser.add_argument("--suites", nargs="+", default=SUITES, help="files and folders of tests")
    parser.add_argument("--show", help="print the mutants of a file")
    given = parser.parse_args()
    if given.show:
        source = (ROOT / given.show).read_text("utf-8")
        for number in range(len(list(sites(ast.parse(source))))):
            line, said, _ = mutant(source, number)
            print(f"{number:4} line {line}: {said}")
        return
    started = time.monotonic()
    first, done = read(given.results)
    everything = [(name, number) for name in files(given.only)
                  for number in range(len(list(sites(ast.parse((ROOT / name).read_text("utf-8"))))))]
    known, explained = {(r["file"], r["number"]) for r in done}, json.loads(EXPLAINED.read_text("utf-8"))
    part, parts = map(int, given.part.split("/"))
    drawn = [{"file": file, "number": number} for file, number in random.Random(given.seed).sample(
        everything, min(given.count, len(everything)))[part - 1 :: parts] if (file, number) not in known]
    if given.again:
        drawn = [r for r in done[part - 1 :: parts] if r["outcome"] not in (*NOTICED, "gone") and
                 given.only in (None, r["file"]) and not is_explained(r, explained)]  # fmt: skip
    drawn = [] if given.write else drawn
    os.environ |= {"MINICNN_CPU": "numpy", "OPENBLAS_NUM_THREADS": "1", "MINICNN_NUM_THREADS": "1"}
    import numpy  # noqa: F401   imported once, before the processes are forked
    import PIL.Image  # noqa: F401
    import typer  # noqa: F401

    with tempfile.TemporaryDirectory(prefix="minicnn-mutants-") as folder:
        copy = Path(folder) / "tree"
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True,
                                text=True, check=True).stdout.split("\n")
        for name in filter(None, listed):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
        traced = traces(copy, given.results.with_suffix(".traces"), given.suites)
        tests = {name: test for name, test in traced.items() if test["seconds"] < given.tests / 4}
        if drawn:
            compile_tree(copy, given.suites)
        quick = sorted(tests, key=lambda name: tests[name]["seconds"])[:50]
        if drawn and run(copy, quick, 60)[0] != "survived":
            raise SystemExit("the tests fail in the copy although nothing is changed: the results would mean nothing")
        if given.write:
            killers = sorted({r["by"] for r in done if r["by"] in tests})
            outcome, _, failed = run(copy, killers, sum(tests[name]["seconds"] for name in killers))
            if outcome != "survived":
                raise SystemExit(f"{failed or outcome}: fails although nothing is changed, so what it killed may live")
            write(given.seed, first, done)
        for i, before in enumerate(drawn):
            if time.monotonic() - started > given.seconds:
                break
            name, source = before["file"], (copy / before["file"]).read_text("utf-8")
            number = place(source, before) if given.again else before["number"]
            outcome, seconds, failed, names = "gone", 0.0, "", []
            if number is not None:
                line, said, text = mutant(source, number)
                names = chosen(tests, name, source, number, given.tests)
                before |= {"line": line, "mutation": said, "source": source.splitlines()[line - 1].strip()}
                outcome = "uncovered"
                if names:
                    outcome, seconds, failed = attempt(copy, name, text, names, sum(tests[n]["seconds"] for n in names))
            record = before | {"outcome": outcome, "tests": len(names), "seconds": round(seconds, 1), "by": failed}
            with given.results.open("a", encoding="utf-8") as results:
                results.write(json.dumps(record, ensure_ascii=False) + "\n")
            print(f"{i + 1:4} {outcome:9} {name}:{record['line']}  {record['mutation'][:100]!r}  {seconds:.1f} s",
                  file=sys.stderr, flush=True)
    report(read(given.results)[1])


def is_explained(record: dict, explained: list[dict]) -> bool:
    """Whether tests/mutants.json says why nobody could notice a mutant."""
    return any(all(record[key] == e[key] for key in ("file", "source", "mutation")) for e in explained)


def report(done: list[dict]) -> None:
    """Print the counts, and the survivors that are not explained, as JSON."""
    explained = json.loads(EXPLAINED.read_text("utf-8"))
    left = [r for r in done if r["outcome"] not in NOTICED]
    open_ = [r for r in left if r["outcome"] != "gone" and not is_explained(r, explained)]
    print(json.dumps({"mutants": len(done), **Counter(r["outcome"] for r in done), "open": open_}, indent=1,
                     ensure_ascii=False))  # fmt: skip


def write(seed: int, first: list[dict], last: list[dict]) -> None:
    """Write tests/mutation_score.json: the counts of the first run and of the last, and each mutant."""
    def score(records: list[dict]) -> dict:
        return {"noticed": sum(r["outcome"] in NOTICED for r in records), **Counter(r["outcome"] for r in records)}

    explained, rows = json.loads(EXPLAINED.read_text("utf-8")), []
    for r in sorted(last, key=lambda r: (r["file"], r["number"])):
        why = ["explained"] if r["outcome"] not in NOTICED and is_explained(r, explained) else []
        rows.append([r["file"], r["source"], r["mutation"], r["outcome"], *why])
    head = {"seed": seed, "mutants": len(last), "first run": score(first), "now": score(last),
            "explained": sum(len(row) == 5 for row in rows)}
    lines = ",\n ".join(json.dumps(row, ensure_ascii=False) for row in rows)
    SCORE.write_text(f'{json.dumps(head)[:-1]},\n "list": [\n {lines}\n]}}\n', "utf-8")


if __name__ == "__main__":
    main()
