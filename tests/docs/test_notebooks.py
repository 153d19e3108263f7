"""docs/notebooks: five notebooks, kept without outputs, whose cells run and whose `assert` cells hold.

The cells are run here, one after the other in one namespace, as a kernel does it; the value of a cell's last line is
shown as a notebook would show it. Where nbclient and ipykernel are installed, a slow test runs them in a kernel, too.
"""

import ast
import builtins
import json
import os
import re
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt

import minicnn

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NAMES = [notebook.stem for notebook in NOTEBOOKS]
SLOW = ("1-first-net", "3-own-photos")
PNG = b"\x89PNG"


def cells_of(notebook, kind):
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def shown(value):
    """What a notebook shows of a value: "picture", "html" or its text."""
    if value is None:
        return ""
    if draw := getattr(value, "_repr_png_", None):
        assert draw().startswith(PNG)
        return "picture"
    if page := getattr(value, "_repr_html_", None):
        assert page().startswith("<")
        return "html"
    return repr(value)


def run(notebook):
    """Run the cells. → (their namespace, what each shows)"""
    names, said = {"__name__": "__main__", "__builtins__": builtins}, []
    for number, cell in enumerate(cells_of(notebook, "code")):
        tree, where = ast.parse(cell), f"{notebook.name}, cell {number}"
        last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, where, "exec"), names)
        said.append([shown(eval(compile(last, where, "eval"), names))] if last else [])
        said[-1] += ["picture" for figure in map(plt.figure, plt.get_fignums()) if not figure.canvas.draw()]
        plt.close("all")
    return names, said


@pytest.fixture
def quiet_place(tmp_path, monkeypatch):
    """An empty folder; threads and seeds as before, afterwards."""
    before = minicnn.num_threads()
    monkeypatch.chdir(tmp_path)
    with plt.rc_context({"backend": "agg"}):
        yield tmp_path
    minicnn.set_num_threads(before)


def test_there_are_five():
    assert NAMES == ["1-first-net", "2-own-op", "3-own-photos", "4-claims", "5-kernels"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=NAMES)
def test_it_is_kept_without_outputs(notebook):
    text = notebook.read_text("utf-8")
    held = json.loads(text)
    assert (held["nbformat"], held["nbformat_minor"]) == (4, 5)
    assert held["metadata"] == {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                                "language_info": {"name": "python"}}  # fmt: skip
    assert len({cell["id"] for cell in held["cells"]}) == len(held["cells"])
    for cell in held["cells"]:
        assert cell["metadata"] == {}
        assert all(line.endswith("\n") for line in cell["source"][:-1])
        if cell["cell_type"] == "code":
            assert (cell["execution_count"], cell["outputs"]) == (None, [])
    assert text == json.dumps(held, indent=1, ensure_ascii=False) + "\n", "as Jupyter writes it"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=NAMES)
def test_its_cells_are_plain_python_that_checks_itself(notebook):
    code, text = cells_of(notebook, "code"), cells_of(notebook, "markdown")
    trees = [ast.parse(cell) for cell in code]                     # a magic such as %matplotlib is a syntax error
    assert sum(isinstance(node, ast.Assert) for tree in trees for node in ast.walk(tree)) >= 5
    assert re.match(r"# \w", text[0])
    assert "You will see" in text[0], "it begins with what the reader will see"
    assert text[-1].startswith("## What to try"), "and ends with what to try"
    assert max(len(line) for cell in code for line in cell.splitlines()) <= 120
    for link in re.findall(r"\]\(([^)#]+)\)", "\n".join(text)):
        assert "://" in link or (FOLDER / link).exists(), link


@pytest.mark.parametrize("notebook", [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in SLOW)) for path in NOTEBOOKS])
def test_its_cells_run_and_show_pictures(notebook, quiet_place):
    _, said = run(notebook)
    pictures = [kind for cell in said for kind in cell if kind == "picture"]
    assert len(pictures) >= 3


def test_the_kernels_notebook_says_where_it_has_no_device(quiet_place, monkeypatch, capsys):
    def nothing(name):
        raise ValueError(f"no {name} here")

    monkeypatch.setattr("minicnn.devices.get", nothing)
    names, said = run(FOLDER / "5-kernels.ipynb")
    assert (names["device"], names["result"]) == (None, None)
    assert "no kernel runs here:\nno cuda:0 here\nno emulated here\n" in capsys.readouterr().out
    assert sum("picture" in cell for cell in said) == 3


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=NAMES)
def test_it_runs_in_a_kernel(notebook, quiet_place):
    client, formats = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    held = formats.read(notebook, as_version=4)
    formats.validate(held)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    client.NotebookClient(held, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(quiet_place)}}
                          ).execute(env={**os.environ, "PYTHONPATH": path})  # fmt: skip
    outputs = [output for cell in held.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3


@pytest.mark.parametrize(("broken", "error"), [
    ("import numpy as np\nassert np.float64(1) == 2", AssertionError),
    ("%matplotlib inline", SyntaxError),
    ("x = 1\nx + undefined", NameError),
    ("class Odd:\n    def _repr_html_(self):\n        raise KeyError\nOdd()", KeyError),
])  # fmt: skip
def test_a_broken_cell_is_noticed(tmp_path, broken, error):
    notebook = tmp_path / "broken.ipynb"
    notebook.write_text(json.dumps({"cells": [{"cell_type": "code", "source": broken.splitlines(keepends=True)}]}))
    with pytest.raises(error):
        run(notebook)


def test_pages_lead_to_all_of_them_and_the_package_has_none():
    page = (FOLDER / "index.md").read_text("utf-8")
    assert [name for name in NAMES if f"({name}.ipynb)" not in page] == []
    assert list((ROOT / "minicnn").rglob("*.ipynb")) == []
