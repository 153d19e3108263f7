"""minicnn gradcheck: of the ops, of one's own functions, and the sweep of h."""

import re

import pytest
from PIL import Image

from minicnn.ops_table import TABLE
from tests.program import document, sentence


def test_gradcheck_of_one_op(minicnn_):
    rc, out, err = minicnn_("gradcheck", "linear", "--seeds", 3)
    assert (rc, err) == (0, "")
    assert re.search(r"^linear +5 +\d\.\de-\d\d +\d+ +·", out, re.MULTILINE)
    assert "1 of 1 ops right in 5 cases and 3 draws: " in out


@pytest.mark.slow
def test_gradcheck_of_all_ops(minicnn_):
    rc, out, err = minicnn_("gradcheck", "all", "--json")
    assert (rc, err) == (0, "")
    report = document(out)
    assert [r["op"] for r in report["ops"]] == [row.name for row in TABLE]
    assert [r["cases"] for r in report["ops"]] == [len(row.cases) + len(row.crossing) for row in TABLE]
    assert all(r["worst"] <= 1e-6 and r["float32"] <= 2e-5 for r in report["ops"])
    assert all(r["coordinates"] > 0 and not r["error"] for r in report["ops"])


OWN = '''
import numpy as np
from minicnn.tensor import op
from minicnn.ops.activation import tanh

@op
def cube(x):
    return x**3, lambda dy: 3 * dy * x**2

@op
def scaled(x, w):
    """Wrong in w, at one place."""
    def dw(dy):
        g = dy * x
        g[1, 2] *= 1.5
        return g
    return x * w, (lambda dy: dy * w, dw)

def composed(x, w):
    return tanh(x @ w)

def composed_inputs(rng):
    return [rng.standard_normal((2, 3)), rng.standard_normal((3, 4))]

def no_tensor(x):
    return x.numpy() * 2

def pair(x):
    return x * 2, lambda dy: dy * 2

def broken(x):
    return undefined_name

@op
def broken_backward(x):
    return x * 2, lambda dy: dy[5000]

def odd(x):
    return x * 2

def odd_inputs(rng):
    return rng.standard_normal((2, 3))

def nothing(x):
    return x * 2

def nothing_inputs(rng):
    return []

five = 5
'''


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def test_gradcheck_of_ones_own_function(minicnn_, own):
    rc, out, err = minicnn_("gradcheck", f"{own}::cube", "--shapes", "3x4", "--json")
    assert (rc, err) == (0, "")
    (result,) = document(out)["ops"]
    assert (result["op"], result["cases"], result["coordinates"], result["error"]) == ("cube", 1, 12, "")
    assert result["worst"] < 1e-8
    rc, out, err = minicnn_("gradcheck", f"{own}::composed")
    assert (rc, err) == (0, "")
    assert "18 coordinates" in out                               # 2·3 + 3·4
    rc, out, err = minicnn_("gradcheck", f"{own}::composed", "relu", "--shapes", "2x3,3x1")
    assert (rc, err) == (0, "")
    assert "2 of 2 ops right" in out


@pytest.mark.parametrize("as_json", [False, True])
def test_gradcheck_names_what_is_wrong(minicnn_, own, as_json):
    rc, out, err = minicnn_("gradcheck", f"{own}::scaled", "--shapes", "2x3,2x3", *["--json"] * as_json)
    text = sentence(err, 1, rc)
    assert text.startswith("scaled: the gradient of w at [1, 2] is ")
    analytic, numeric = (float(v) for v in re.search(r"is (\S+), but finite differences give (\S+): ", text).groups())
    assert analytic == pytest.approx(1.5 * numeric, rel=1e-6)
    if as_json:
        (result,) = document(out)["ops"]
        assert result["worst"] is None
        assert result["error"] == text
    else:
        assert re.search(r"^scaled +1 +WRONG", out, re.MULTILINE)
        assert "0 of 1 ops right" in out


def test_a_tolerance_that_nothing_meets(minicnn_, own):
    rc, _, err = minicnn_("gradcheck", "exp", "--tolerance", "1e-18")
    assert rc == 2
    assert "Invalid value for '--tolerance'" in err
    rc, _, err = minicnn_("gradcheck", f"{own}::scaled", "--shapes", "2x3,2x3", "--tolerance", "1e-3", "--seed", 7)
    assert "allowed 1e-03 (case: plain; seed 7)" in sentence(err, 1, rc)


@pytest.mark.parametrize(("function", "said"), [
    ("no_mask", r"no_mask: nothing was checked: all 12 were left out \(x\[0, 0\], .*Give inputs away from kinks"),
    ("in_place", r"in_place changes its argument x in place, so every call returns another value"),
    ("random", r"random returns different values for the same arguments: it is random, or it stores"),
])
def test_what_was_not_checked_is_not_right(minicnn_, tmp_path, function, said):
    (tmp_path / "mine.py").write_text(NOT_CHECKED)
    rc, out, err = minicnn_("gradcheck", f"{tmp_path / 'mine.py'}::{function}")
    assert re.match(said, sentence(err, 1, rc))
    assert re.search(rf"^{function} +1 +NOT CHECKED +0 ", out, re.MULTILINE)
    assert "0 of 1 ops right" in out


NOT_CHECKED = """
import numpy as np
from minicnn import ops
from minicnn.tensor import op

@op
def no_mask(x): return np.maximum(x, 0), lambda dy: dy
def no_mask_inputs(rng): return [np.zeros((3, 4))]

def in_place(x):
    x.data += 1.0
    return (x * x).sum()
def in_place_inputs(rng): return [rng.normal(size=(3, 4))]

rng = np.random.default_rng(3)
def random(x): return ops.dropout(x, rng.random(x.shape) > .5, p=.5)
random_inputs = in_place_inputs

@op
def off(x): return np.exp(x), lambda dy: dy * np.exp(x) * 1.001
off_inputs = in_place_inputs
"""


def test_the_sweep_says_right_or_wrong(minicnn_, tmp_path):
    (tmp_path / "mine.py").write_text(NOT_CHECKED)
    rc, out, _ = minicnn_("gradcheck", f"{tmp_path / 'mine.py'}::off", "--sweep", "--out", tmp_path / "v.png")
    assert rc == 1
    assert re.search(r"^off: smallest error \d\.\de-04, at h = \S+: the gradient is wrong", out, re.MULTILINE)
    rc, out, _ = minicnn_("gradcheck", "softmax", "sum", "--sweep", "--out", tmp_path / "v.png")
    assert rc == 0
    assert re.search(r"^softmax: smallest error \S+, at h = \S+: the gradient is right$", out, re.MULTILINE)
    assert re.search(r"^sum: .*: the gradient is right: the op is linear in each argument, so there", out, re.MULTILINE)


@pytest.mark.parametrize(("function", "rc", "text"), [
    ("no_tensor", 1, "no_tensor can't be checked: TypeError: it must return a Tensor, not ndarray: compute with "
                     "minicnn.ops, or put @op from minicnn.tensor before a function that returns (y, gradients)"),
    ("pair", 1, "pair can't be checked: TypeError: it must return a Tensor, not tuple: "),
    ("broken", 1, "broken can't be checked: NameError: name 'undefined_name' is not defined (own.py, line "
                f"{OWN.splitlines().index('    return undefined_name') + 1})"),
    ("broken_backward", 1, "broken_backward can't be checked: IndexError: "),
    ("absent", 2, "has no function 'absent'"),
    ("five", 2, "has no function 'five'"),
])  # fmt: skip
def test_functions_that_cannot_be_checked(minicnn_, own, function, rc, text):
    code, out, err = minicnn_("gradcheck", f"{own}::{function}", "--shapes", "2x3")
    assert text in sentence(err, rc, code)
    assert out == ""


def test_inputs_that_make_no_sense(minicnn_, own, tmp_path):
    rc, _, err = minicnn_("gradcheck", f"{own}::odd")
    assert sentence(err, 1, rc).endswith("TypeError: odd_inputs must return a list of arrays, not ndarray")
    rc, _, err = minicnn_("gradcheck", f"{own}::nothing")
    assert "nothing got no floating-point array to differentiate" in sentence(err, 1, rc)
    rc, _, err = minicnn_("gradcheck", f"{own}::cube")
    assert sentence(err, 2, rc).startswith("cube needs inputs: give --shapes ")
    for shapes in ("2xa", "2x0", "2x-3", "x", ","):
        rc, _, err = minicnn_("gradcheck", f"{own}::cube", "--shapes", shapes)
        assert f"--shapes '{shapes}' must look like 2x3x5x4,6x3x3x2" in sentence(err, 2, rc)
    rc, _, err = minicnn_("gradcheck", f"{own}::cube", "--shapes", "2x3,2x3")
    assert "takes 1 positional argument" in sentence(err, 1, rc) or "cube" in err
    rc, _, err = minicnn_("gradcheck", f"{tmp_path / 'none.py'}::f")
    assert sentence(err, 2, rc).startswith(f"there is no file {tmp_path / 'none.py'}: ")
    (tmp_path / "text.txt").write_text("x = 1")
    rc, _, err = minicnn_("gradcheck", f"{tmp_path / 'text.txt'}::f")
    assert sentence(err, 2, rc).endswith("text.txt is not a Python file: its name must end in .py")
    (tmp_path / "syntax.py").write_text("def f(x:\n    return x\n")
    rc, _, err = minicnn_("gradcheck", f"{tmp_path / 'syntax.py'}::f")
    assert re.match(r".*syntax\.py can't be run: SyntaxError: .*\(syntax\.py, line 1\)$", sentence(err, 1, rc))


def test_the_sweep_draws_the_v(minicnn_, tmp_path):
    rc, out, err = minicnn_("gradcheck", "tanh", "conv2d", "--sweep", "--out", tmp_path / "v.png")
    assert (rc, err) == (0, "")
    said = re.findall(r"^(\w+): smallest error \S+, at h = (\S+): the gradient is right", out, re.MULTILINE)
    smallest = {op: float(h) for op, h in said}
    assert set(smallest) == {"tanh", "conv2d"}
    assert 1e-7 < smallest["tanh"] < 1e-3
    assert "a V." in out
    with Image.open(tmp_path / "v.png") as picture:
        picture.load()
        assert picture.size == (840, 540)
    report = document(minicnn_("gradcheck", "tanh", "--sweep", "--json", "--out", tmp_path / "w.png")[1])
    assert report["picture"] == str(tmp_path / "w.png")
    curve = dict(map(tuple, report["curves"]["tanh"]))
    steps = sorted(curve)
    best = min(curve, key=curve.get)
    assert curve[steps[0]] > 100 * curve[best] < curve[steps[-1]], "round-off on the left, truncation on the right"
    assert curve[steps[-1]] / curve[steps[-3]] == pytest.approx(100, rel=0.3), "a tenth of h, a hundredth of the error"


def test_too_many_curves(minicnn_):
    rc, _, err = minicnn_("gradcheck", "--sweep")
    assert "are too many: name up to 8 ops" in sentence(err, 2, rc)


def test_a_layer_is_checked_by_its_name_and_a_class_is_not_one(minicnn_, tmp_path):
    """x·(w·x + b), a 1×1 convolution: its gradients by finite differences, in the table under the layer's own name."""
    (tmp_path / "mine.py").write_text(
        "from minicnn import nn\n"
        "class Gate(nn.Module):\n"
        "    def __init__(self, channels): self.scale = nn.Conv2d(channels, channels, 1)\n"
        "    def forward(self, x): return x * self.scale(x)\n"
        "gate = Gate(2).astype('float64')\n", "utf-8")  # fmt: skip
    rc, out, _ = minicnn_("gradcheck", "mine.py::gate", "--shapes", "2x2x3x3")
    assert rc == 0
    assert "gate " in out
    rc, _, err = minicnn_("gradcheck", "mine.py::Gate", "--shapes", "2x2x3x3")
    assert (rc, "Gate is a class: make a layer of it in the file, layer = Gate(…)" in err) == (2, True)
