"""The course: each reference solution passes, each planted wrong one fails with a hint that names its kind."""

import ast
import doctest
import inspect

import numpy as np
import pytest

from minicnn import cpu_path, optim
from minicnn.course import files, pictures, values
from minicnn.nn import Parameter
from tests.course import planted

NUMBERS = range(1, 13)
WRONG = planted.every()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures of exercise 12, drawn once for each seed."""
    return tmp_path_factory.mktemp("course")


def functions_of(text):
    return {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("number", NUMBERS)
def test_the_reference_solution_passes(number, place):
    report = planted.report(planted.Wrong(number, "", planted.answer(number)), 1, place)
    assert [r.finding for r in report.results if r.finding] == []
    assert report.done
    assert report.passed == len(report.exercise.checks) >= 5


@pytest.mark.parametrize("solution", [
    pytest.param(w, marks=() if i % 6 == 0 else pytest.mark.slow, id=f"{w}-{i}") for i, w in enumerate(WRONG)])
def test_a_wrong_solution_fails_and_the_hint_names_its_kind(solution, place):
    report = planted.report(solution, 1, place)
    kinds = {r.finding.kind for r in report.results if r.finding}
    assert not report.done
    assert solution.kind in kinds
    assert all(r.finding.text for r in report.results if r.finding)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_on_any_seed(seed, place):
    missed = [str(w) for w in WRONG if w.kind not in {
        r.finding.kind for r in planted.report(w, seed, place).results if r.finding}]
    assert missed == []
    for number in NUMBERS:
        assert planted.report(planted.Wrong(number, "", planted.answer(number)), seed, place).done


def test_there_are_enough_wrong_solutions_of_every_exercise():
    assert len(WRONG) >= 60
    assert all(sum(w.exercise == number for w in WRONG) >= 10 for number in NUMBERS)
    assert len(planted.of_the_gallery()) >= 16


def test_every_kind_that_has_a_hint_is_planted():
    kinds = {(n, kind) for n in NUMBERS for kind in files.exercise(n).kinds}
    assert kinds - {(w.exercise, w.kind) for w in WRONG} == set()
    assert len(kinds) > 150


@pytest.mark.parametrize("number", NUMBERS)
def test_a_starter_file_has_no_answer_and_fails_cleanly(number, place):
    exercise = files.exercise(number)
    report = planted.report(planted.Wrong(number, "", exercise.starter), 1, place)
    assert report.passed == 0
    assert {r.finding.kind for r in report.results} == {"not written yet"}
    for name, node in functions_of(exercise.starter).items():
        assert ast.get_docstring(node), name
        assert [ast.unparse(s) for s in node.body[1:]] == ["raise NotImplementedError"], name
    imported = {alias.name for node in ast.walk(ast.parse(exercise.starter)) if isinstance(node, ast.Import)
                for alias in node.names}  # fmt: skip
    assert imported <= {"numpy"}, "no exercise needs minicnn, or another exercise"
    assert f"minicnn course check {exercise.file}" in exercise.starter
    assert max(map(len, exercise.starter.splitlines())) <= 120


@pytest.mark.parametrize("number", NUMBERS)
def test_the_starters_examples_hold_and_its_functions_are_the_answers(number, tmp_path, monkeypatch):
    exercise, answers = files.exercise(number), {}
    exec(compile(planted.answer(number), exercise.file, "exec"), answers)
    assert answers["EXERCISE"] == number
    files.start(number, tmp_path)
    monkeypatch.chdir(tmp_path)
    starters, examples = functions_of(exercise.starter), 0
    assert set(starters) == {f.name for f in exercise.functions}
    for name, node in starters.items():
        assert exercise.parameters(name) == list(inspect.signature(answers[name]).parameters)
        test = doctest.DocTestParser().get_doctest(ast.get_docstring(node), {**answers, "np": np}, name, None, 0)
        said = []
        doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=said.append)
        assert not said, "".join(said)
        examples += len(test.examples)
    assert examples


# ------------------------------------------------------------------ the right results, against independent sources


def test_padding_of_same_is_tensorflows():
    """TensorFlow's rule: total = max((⌈n/s⌉ − 1)·s + k − n, 0), the smaller half in front."""
    right = files.exercise(1).function("same_padding").right
    for size in range(1, 20):
        for kernel in range(1, 7):
            for stride in range(1, 6):
                total = max(((size - 1) // stride) * stride + kernel - size, 0)
                assert right(size, kernel, stride) == (total // 2, (total + 1) // 2)


@pytest.mark.parametrize(("name", "settings"), [
    ("sgd_step", {}), ("nesterov_step", {"nesterov": True})])
def test_the_steps_are_those_of_the_optimiser(name, settings):
    rng = np.random.default_rng(0)
    w, v = Parameter(rng.normal(size=5)), np.zeros(5)
    theirs = optim.SGD([w], lr=0.1, momentum=0.8, weight_decay=0.2, **settings)
    ours = w.data.copy()
    for _ in range(4):
        g = rng.normal(size=5)
        w.grad = g.copy()
        with cpu_path("numpy"):
            theirs.step()
        ours, v = files.exercise(9).function(name).right(ours, g, v, 0.1, 0.8, 0.2)
        np.testing.assert_allclose(ours, w.data, rtol=1e-12)


def test_receptive_fields_of_known_nets():
    """VGG-16's conv5_1 sees 132 pixels and AlexNet's pool5 195 (Araujo 2019, table 1)."""
    field = files.exercise(11).function("receptive_field").right
    conv, pool = (3, 1, 1), (2, 2, 0)
    vgg = [conv] * 2 + [pool] + [conv] * 2 + [pool] + [conv] * 3 + [pool] + [conv] * 3 + [pool] + [conv]
    assert field(vgg)[:2] == (132, 16)
    alexnet = [(11, 4, 0), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 2, 0)]
    assert field(alexnet)[:2] == (195, 32)


def test_a_row_of_equal_numbers_has_a_softmax_of_equal_shares():
    softmax, log_softmax = (files.exercise(6).function(name).right for name in ("softmax", "log_softmax"))
    np.testing.assert_allclose(softmax(np.full((2, 4), 1e4)), 0.25)
    np.testing.assert_allclose(log_softmax(np.array([[0.0, -2000, 3000]])), [[-3000, -5000, 0]])


def test_how_two_results_are_compared():
    def kind(got, right):
        found = values.difference(got, right, "y")
        return found and found.kind

    y = np.array([[1.0, -2.0], [0.0, 1e6]])
    assert kind(y, y) is None
    assert kind(y * (1 + 1e-9), y) is None
    assert kind(y * (1 + 1e-5), y) == "wrong value"
    assert kind(y.tolist(), y) == "wrong type"
    assert kind(y[0], y) == "wrong shape"
    assert kind(np.where(y == 0, np.nan, y), y) == "not a number"
    assert kind(y.astype(int) // 2, y) == "integers where floats must be"
    assert kind((y / 3).astype(np.float32), y / 3) == "single precision"
    assert kind(None, y) == "nothing returned"
    assert kind(np.float64(2), 2.0) is None
    assert [kind(3, 3), kind(3.0, 3), kind(4, 3), kind("3", 3), kind(True, 1)] == [
        None, "a float where an integer must be", "wrong value", "wrong type", "wrong type"]
    assert [kind((1, 2), (1, 2)), kind([1, 2], (1, 2)), kind((1, 3), (1, 2)), kind((1,), (1, 2))] == [
        None, None, "wrong value", "wrong type"]
    assert [kind({"a"}, {"a"}), kind(["a"], {"a"}), kind({"a", "b"}, {"a"}), kind({1}, {"a"})] == [
        None, None, "wrong files", "wrong type"]


def test_finite_differences_contradict_a_wrong_gradient():
    """Alone, without the comparison of values: a factor, a sign, a shape, a type."""
    check = next(c for c in files.exercise(7).checks if c.name == "finite differences")
    (case,) = check.cases(np.random.default_rng(0))
    dx, dgamma, dbeta = files.exercise(7).function("batch_norm_backward").right(*case)
    assert check.rule([case], [(dx, dgamma, dbeta)]) == [None]
    for wrong, kind in (((dx * 1.001, dgamma, dbeta), "contradicts finite differences"),
                        ((dx, dgamma, -dbeta), "contradicts finite differences"),
                        ((dx[0], dgamma, dbeta), "wrong shape"), ((dx, None, dbeta), "wrong type"),
                        ((dx, dgamma), "wrong type"), (dx, "wrong type")):  # fmt: skip
        (found,) = check.rule([case], [wrong])
        assert found.kind == kind
    (found,) = check.rule([case], [(dx, dgamma, -dbeta)])
    assert found.hint.startswith("dbeta["), "it names the gradient"


# --------------------------------------------------------------------------------------- the folder of exercise 12


def test_the_folder_has_each_fault_and_nothing_else(tmp_path):
    """What the plan says, compared with the bytes of the files and their headers."""
    for seed in (12, 99):
        folder = tmp_path / f"pictures-{seed}"
        pictures.write(seed, folder)
        planned = {p.path: p for p in pictures.plan(seed)}
        assert {p.relative_to(folder).as_posix() for p in folder.rglob("*.*")} == set(planned)
        right = {f.name: f.right(str(folder)) for f in files.exercise(12).functions}
        assert {name: len(found) for name, found in right.items()} == {
            "damaged": 3, "wrong_mode": 3, "rotated": 3, "conflicts": 4, "leaks": 2,
            "mislabelled": 3 + 2}, "the two copies in a wrong class are mislabelled, too"
        for path in right["damaged"]:
            content = (folder / path).read_bytes()
            assert not content or b"404" in content or (content[:4] == b"\x89PNG" and b"IEND" not in content)
        for path in set(planned) - right["damaged"]:
            if path.endswith(".png"):
                colour_type = (folder / path).read_bytes()[25]          # 2: RGB, 0: grey, 6: RGBA
                assert (colour_type == 2) == (path not in right["wrong_mode"])
                assert b"IEND" in (folder / path).read_bytes()


@pytest.mark.parametrize("seeds", [range(40), pytest.param(range(40, 2000), marks=pytest.mark.slow)], ids=len)
def test_every_seed_has_a_plan(seeds):
    for seed in seeds:
        planned = pictures.plan(seed)
        assert len(planned) == len({p.path for p in planned}) == 60
