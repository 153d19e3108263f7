"""Pages: as wide as the terminal and no wider, marks without colours, HTML that is HTML, JSON that is JSON."""

import html.parser
import json

import numpy as np
import pytest
from PIL import Image

from minicnn import explain, inspect, models, nn, seed
from minicnn.explain import show
from tests.program import document

ANSWERS = {
    "conv": lambda: explain.conv("mouse", "curve"),
    "colour": lambda: explain.conv(np.ones((3, 30, 200)), np.ones((3, 11, 11))),
    "flip": explain.flip, "pool": explain.pool, "conv1d": explain.conv1d,
    "softmax": lambda: explain.softmax([2, 1, -1, 900], label=1), "neuron": explain.neuron,
    "pixels": lambda: explain.pixels(np.arange(3 * 90 * 70, dtype=np.uint8).reshape(3, 90, 70), bits=2),
    "unit": lambda: _net().explain(_digit(), "features.3", (15, 6, 8)),
    "step": lambda: explain.step(_net(), _digit()[None], np.array([7])),
    "linear": lambda: _net().explain(_digit(), "classifier.5"),
    "winner": lambda: _net().explain(_digit(), "features.2"),
}  # fmt: skip


def _net():
    seed(0)
    return models.build("lenet5")


def _digit():
    return (explain.pixels("digits:0").image / 255).astype(np.float32)


class Checker(html.parser.HTMLParser):
    """Every tag that opens closes again, in order."""

    def __init__(self):
        super().__init__()
        self.open, self.words = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data.split()


@pytest.mark.parametrize("name", ANSWERS)
def test_each_answer(name):
    answer = ANSWERS[name]()
    for width in (60, 80, 100):
        text = answer.text(width)
        assert max(map(len, text.splitlines())) <= width, max(text.splitlines(), key=len)
        assert not any(line.endswith(" ") for line in text.splitlines())
    assert str(answer) == repr(answer) == answer.text(100)
    assert document(json.dumps(answer.as_dict()))
    checker = Checker()
    checker.feed(answer._repr_html_())
    assert checker.open == []
    # everything that the text says is in the notebook, too
    said = [word for word in answer.text(10_000).replace("[", " ").replace("]", " ").split() if word.isalnum()]
    shown = " ".join(checker.words)
    assert [word for word in said if word not in shown] == []


@pytest.mark.parametrize("call", [
    lambda: explain.conv("mouse", "curve", bias="a"), lambda: explain.conv("mouse", "curve", padding="same"),
    lambda: explain.conv("mouse", "curve", (1.5, 2)), lambda: explain.conv("mouse", "curve", stride=1.5),
    lambda: explain.conv("mouse", [["a"]]), lambda: explain.pool(kernel="2"), lambda: explain.pool(padding=1.0),
    lambda: explain.softmax("ab"), lambda: explain.softmax([1, 2], shift="x"), lambda: explain.neuron(x="x"),
    lambda: explain.neuron(lr=float("inf")), lambda: explain.conv("mouse", "curve", bias=float("nan")),
    lambda: explain.pixels("digits:0", bits=2.5), lambda: explain.pixels(5), lambda: explain.conv1d(t=[1]),
])  # fmt: skip
def test_wrong_arguments_get_one_sentence(call):
    with pytest.raises((TypeError, ValueError), match=" must be ") as said:
        call()
    assert "\n" not in str(said.value)


def test_a_summary_is_shown_in_a_notebook():
    assert inspect.summary(nn.Linear(2, 3), (2,))._repr_html_().startswith("<table>")


def test_names_from_files_are_escaped(tmp_path):
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "<b>&.png")
    for answer in (explain.pixels(tmp_path / "<b>&.png"), explain.conv(tmp_path / "<b>&.png", "vertical")):
        assert "&lt;b&gt;&amp;.png" in answer._repr_html_()
        assert "<b>&.png" not in answer._repr_html_()


@pytest.mark.parametrize(("value", "text"), [
    (6600, "6,600"), (0, "0"), (-0.0, "0"), (-2, "-2"), (0.125, "0.125"), (1 / 3, "0.3333"), (-1234.5678, "-1,235"),
    (0.00012345, "1.234e-04"), (2.5, "2.5"), (1e15, "1.000e+15"), (float("inf"), "∞"), (float("nan"), "not a number"),
])  # fmt: skip
def test_a_number(value, text):
    assert show.number(value) == text


def test_the_numbers_of_a_matrix_have_the_same_decimals():
    assert show.numbers([[0.5, -12.25], [0, -np.inf]]) == [["0.50", "-12.25"], ["·", "pad"]]
    assert show.numbers([[1, 200], [0, -3]]) == [["1", "200"], ["·", "-3"]]
    assert show.numbers([[1e-9, 0]]) == [["1.00e-09", "·"]]
    assert show.numbers([[0, 0]]) == [["·", "·"]]


def test_marks_are_brackets():
    text = show.text([show.grid("a", [[1, 22], [3, 4]], [(0, 1)], (5, 7))])
    assert text.splitlines() == ["a", "   7    8", "5  1  [22]", "6  3    4"]


def test_a_wide_matrix_goes_on_below():
    lines = show.text([show.grid("", np.arange(100, 140).reshape(1, 40), (), (0, 0))], 60).splitlines()
    assert max(map(len, lines)) <= 60
    assert " ".join(lines).split().count("139") == 1
    assert {str(n) for n in range(100, 140)} <= set(" ".join(lines).split())


def test_shades():
    assert show.shades([[0, 1, 2, 3, 4], [0, -1, -2, -3, -4]]) == [".░▒▓█", ".-=≡≣"]
    big = np.zeros((100, 300))
    big[99, 299], big[0, 0] = -8, 4
    lines = show.text([show.Shades("map", big)], 60).splitlines()
    assert max(map(len, lines)) <= 60
    assert any(line.endswith("≣") for line in lines), "the strongest of each box, with its sign"
    assert any(line.startswith("  ▒") for line in lines)


def test_a_picture_of_each_answer(tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("conv", "winner", "pool"):
        explain.draw(ANSWERS[name](), tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 200
            assert len(picture.convert("RGB").getcolors(10**6)) > 5
    with pytest.raises(ValueError, match="must end in one of"):
        explain.draw(ANSWERS["pool"](), tmp_path / "a.txt")
