"""A learner's file in a process of its own: what it can do wrong, and what is said about it."""

import sys
import time

import numpy as np
import pytest

from minicnn.course import child, files, judge, worker
from minicnn.course.child import Call

MANY = '''
import os, sys
import numpy as np

def double(x):
    return 2 * x

def prints(x):
    print("x is", x)
    os.write(1, b"not an outcome\\n")
    return x

def fails(x):
    y = x
    return y[5]

def leaves(x):
    sys.exit(3)

def asks(x):
    return input("?")

def nothing(x):
    x + 1

def in_place(x):
    x += 1
    return x

def huge(x):
    return np.zeros(10_000_000)

def object_(x):
    return object()

def nested(x):
    return [[1, (2.5, None)], {"b", "a"}, np.float32(0.5), np.int64(3), True]

def refused(x):
    import minicnn
    return x

fails_too = 3

def ends(x):
    os._exit(7)
'''


def written(folder, text, name="ex02_mine.py"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_all_that_a_function_can_do(tmp_path):
    path = written(tmp_path, MANY)
    names = ["double", "prints", "fails", "leaves", "asks", "nothing", "in_place", "huge", "object_", "nested",
             "refused", "fails_too", "absent", "ends", "double"]  # fmt: skip
    x = np.array([1.0, np.nan, -np.inf])
    answers = child.ask(path, [Call(name, (x,)) for name in names])
    got = dict(zip(names, answers.outcomes))
    np.testing.assert_array_equal(got["double"]["value"], 2 * x)
    assert got["double"]["value"].dtype == np.float64
    assert got["fails"]["error"]["type"] == "IndexError"
    assert got["fails"]["error"]["line"] == 1 + MANY[: MANY.index("return y[5]")].count("\n")
    assert got["fails"]["error"]["text"] == "return y[5]"
    assert got["leaves"]["error"]["type"] == "SystemExit"
    assert got["asks"]["error"]["type"] == "EOFError"
    assert got["nothing"] == {"value": None, "changed": []}
    assert got["in_place"]["changed"] == [0]
    assert got["huge"]["value"].type == "array of float64 with the shape (10000000,)"
    assert got["object_"]["value"].type == "object"
    assert got["nested"]["value"] == [[1, (2.5, None)], {"a", "b"}, 0.5, 3, True]
    assert "an exercise may not import minicnn" in got["refused"]["error"]["message"]
    assert got["fails_too"] == {"missing": "int"}
    assert got["absent"] == {"missing": "function"}
    assert len(answers.outcomes) == len(names) - 2, "the process ended there"
    assert answers.stopped == "It ended the Python process (exit code 7)."


def test_what_is_printed_is_shown_and_cut(tmp_path):
    path = written(tmp_path, 'print("hello")\ndef f(x):\n    print("a" * 5000)\n    return x\n')
    answers = child.ask(path, [Call("f", (1,))])
    assert answers.outcomes == [{"value": 1, "changed": []}]
    assert answers.printed.startswith("hello\naaaa")
    assert len(answers.printed) == worker.MOST_PRINTED
    assert not answers.stopped


@pytest.mark.parametrize("where", [pytest.param("loading", marks=pytest.mark.slow), "calling"])
def test_a_loop_that_never_ends_is_ended(tmp_path, where):
    """Also one that ignores SIGTERM, and with it the process that it started, which writes a file."""
    log = str(tmp_path / "log")
    writes = f"import time\nfor i in range(10_000): print(i, file=open({log!r}, 'a')); time.sleep(0.05)"
    loop = (f"import signal, subprocess, sys, time\nsubprocess.Popen([sys.executable, '-S', '-c', {writes!r}])\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(0.1)\n")
    text = loop if where == "loading" else "def f(x):\n" + "".join(f"    {line}\n" for line in loop.splitlines())
    answers = child.ask(written(tmp_path, text), [Call("f", (1,))], 3.0)
    size = (tmp_path / "log").stat().st_size if (tmp_path / "log").exists() else 0
    time.sleep(0.2)
    assert size == ((tmp_path / "log").stat().st_size if size else 0), "it still runs"
    assert answers.outcomes == []
    assert answers.stopped.startswith("It did not finish within 3 s")
    assert answers.stopped.endswith("is there a loop that never ends?")


@pytest.mark.parametrize(("text", "words"), [
    ("def f(:\n", "line 1, `def f(:`: SyntaxError"),
    *(pytest.param(*row, marks=pytest.mark.slow) for row in (
        ("import numpy as np\nx = np.zeros(2)[3]\n", "line 2, `x = np.zeros(2)[3]`: IndexError"),
        ("import torch\n", "an exercise may not import torch"),
        ("raise SystemExit\n", "line 1, `raise SystemExit`: SystemExit"))),
])  # fmt: skip
def test_a_file_that_cannot_be_run(tmp_path, text, words):
    report = judge.check_file(files.exercise(2), written(tmp_path, text), 1)
    assert report.problem.startswith("The file can't be run: ")
    assert words in report.problem
    assert report.passed == 0
    assert {r.finding.kind for r in report.results} == {"not run"}


def test_a_neighbour_hides_no_library_and_can_be_imported(tmp_path):
    written(tmp_path, "raise RuntimeError('hidden')\n", "random.py")
    written(tmp_path, "def one(): return 1\n", "helper.py")
    text = "import random, helper\ndef f(x):\n    return helper.one() + random.Random(0).choice([0])\n"
    text += "import sys\ndef loaded(x):\n    return sorted(n for n in sys.modules if 'minicnn' in n)\n"
    outcomes = child.ask(written(tmp_path, text), [Call("f", (1,)), Call("loaded", (1,))]).outcomes
    assert outcomes == [{"value": 1, "changed": []}, {"value": [], "changed": []}], "no minicnn: it has the answers"


@pytest.mark.skipif(sys.platform == "win32", reason="no such limits there")
def test_memory_and_files_are_limited(tmp_path):
    text = ("import numpy as np\ndef memory(x):\n    return float(np.ones(1 << 30).sum())\n"
            f"def disk(x):\n    open({str(tmp_path / 'big')!r}, 'wb').write(bytes(1 << 27))\n")
    memory, disk = child.ask(written(tmp_path, text), [Call("memory", (1,)), Call("disk", (1,))]).outcomes
    assert memory["error"]["type"] in ("MemoryError", "_ArrayMemoryError")
    assert disk["error"]["type"] == "OSError"


FORGED = ['{"value": {"array": "AA==", "dtype": "O", "shape": [1]}, "changed": []}', "[" * 100_000, "[]", "{}",
          '{"value": 1, "changed": ["x"]}', '{"value": {"array": "AA==", "dtype": "<f8", "shape": [9]}, "changed": []}',
          '{"load": 5}', "3"]  # fmt: skip


@pytest.mark.parametrize("line", [pytest.param(line, id=line[:20], marks=[pytest.mark.slow] * (i > 0))
                                  for i, line in enumerate(FORGED)])
def test_a_file_that_writes_outcomes_of_its_own_costs_only_itself(tmp_path, line):
    """It can find out where the worker writes; the page for teachers says that this is no sandbox."""
    text = (f"import os\nfor fd in range(3, 20):\n    try: os.write(fd, {line!r}.encode() + b'\\n')\n"
            "    except OSError: pass\ndef conv2d(*a): return 1\n")
    report = judge.check_file(files.exercise(2), written(tmp_path, text), 1)
    assert not report.done
    assert report.passed == 0
