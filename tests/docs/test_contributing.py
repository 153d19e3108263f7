"""docs/contributing.md: its lists of files, compared with the code."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "contributing.md").read_text("utf-8")
SECTIONS = {title: body for title, body in re.findall(r"^## (.*)\n((?:(?!^## ).*\n)*)", TEXT, re.MULTILINE)}
LISTS = {title: re.findall(r"^\| \[(\S+)\]\(\.\./\S+\) \| .*? \| `(.*)` \|$", body, re.MULTILINE)
         for title, body in SECTIONS.items()}  # fmt: skip
LISTS = {title: rows for title, rows in LISTS.items() if rows}

# section: (the example's name, where every file that names it must be in the list, files that only use the example)
EXAMPLES = {
    "Add an op": (r"\bglobal_max_pool2d\b", "minicnn", {"minicnn/nn/pool.py"}),
    "Add a primitive and its CUDA kernel": (r"\blp_pool2d\b", "minicnn", {
        # the files of its op and its layer, and its loops
        "minicnn/ops/__init__.py", "minicnn/ops/pool.py", "minicnn/ops_table.py", "minicnn/io/onnx/handlers.py",
        "minicnn/crossing_cases.py",
        "minicnn/io/onnx/pooling.py", "minicnn/io/onnx/read/windows.py", "minicnn/models/graph_code.py",
        "minicnn/nn/pool.py", "minicnn/reference.py", "minicnn/explain/cells.py", "minicnn/explain/pooling.py",
        "minicnn/cpu/compiled/__init__.py", "minicnn/cpu/compiled/pool.py"}),                # "Add a compiled kernel"
    "Add a layer": (r"\bLeakyReLU\b", "minicnn tests docs", {
        "docs/contributing.md", "docs/learn/07-activations.md", "docs/ko/learn/07-activations.md",
        "tests/nn/test_repr.py"}),
    "Add a model": (r"\bsqueezenet1_0\b", "minicnn docs tests/models", {
        "docs/contributing.md", "docs/corrections.md", "docs/ko/corrections.md", "docs/notes.md"}),
    "Add a dataset": (r"\bfashion-mnist\b", "minicnn", set()),
    "Add a claim": (r"\boverlap-pool\b", "minicnn", set()),
    "Add an exercise": (                                    # by its name, its number, or the number of all exercises
        r"\breceptive-field\"|e11_receptive|EXERCISE = 11|exercise\(11\)|\(11, \"|receptive field \(수용"
        r"|\| The receptive field |[Tt]welve exercises|연습 열두 개|range\(1, 13\)",
        "minicnn tests/course tests/cli docs README.md", {"docs/contributing.md", "docs/figures/learn.py"}),
    "Add a verb": (r"\bminicnn shape\b|\"shape\": Verb", "minicnn README.md", set()),
    "Add a CPU convolution algorithm": (r"\bwinograd\b", "minicnn", {  # and others of the same name
        "minicnn/gpu/conv/__init__.py", "minicnn/gpu/conv/winograd.py", "minicnn/cpu/compiled/conv.py",
        "minicnn/cpu/compiled/winograd.py", "minicnn/cpu/compiled/winograd_transforms.py",
        "minicnn/cpu/compiled/first_use.py", "minicnn/plan/weighted.py", "minicnn/bench/conv.py"}),
    "Add a compiled kernel": (r"\badam_update\b", "minicnn/cpu/compiled tests/cpu/compiled", set()),
}  # fmt: skip


def test_every_list_has_an_example():
    assert LISTS.keys() == EXAMPLES.keys()
    for title, (name, _, _) in EXAMPLES.items():
        assert re.search(r"Example: `.*`", SECTIONS[title]), title
        assert re.search(name.partition("|")[0], SECTIONS[title]), title


@pytest.mark.parametrize(("path", "marker"), [row for rows in LISTS.values() for row in rows])
def test_each_file_holds_what_the_page_says(path, marker):
    assert marker in (ROOT / path).read_text("utf-8")


@pytest.mark.parametrize("title", LISTS)
def test_no_other_file_names_the_example(title):
    name, places, users = EXAMPLES[title]
    files = [file for place in places.split() for file in
             ([ROOT / place] if (ROOT / place).is_file() else (ROOT / place).rglob("*"))]  # fmt: skip
    found = {str(file.relative_to(ROOT)) for file in files
             if file.suffix in (".py", ".cu", ".md", ".toml") and re.search(name, file.read_text("utf-8"))}  # fmt: skip
    inside = {path for path, _ in LISTS[title] if any(path.startswith(place) for place in places.split())}
    named = {path for path in inside if re.search(name, (ROOT / path).read_text("utf-8"))}
    assert found - users == named


def test_the_mutation_score_is_the_one_that_was_measured():
    score = json.loads((ROOT / "tests" / "mutation_score.json").read_text("utf-8"))
    outcomes = Counter(row[3] for row in score["list"])
    assert sum(outcomes.values()) == score["mutants"]
    noticed = outcomes["killed"] + outcomes["too long"]
    assert score["now"] == {"noticed": noticed, **outcomes}
    assert all(row[4:] == ["explained"] for row in score["list"] if row[3] in ("survived", "uncovered", "error"))
    words = " ".join(SECTIONS["Tests"].split())
    share = f"{100 * noticed / score['mutants']:.0f} %"
    assert f"Of a sample of {score['mutants']}, {noticed} are noticed ({share})" in words
    assert f"it was {score['first run']['noticed']}; {score['explained']} are explained" in words
