"""Foreign text is safe wherever it is shown: in the terminal, in rich's markup, in figures and in HTML."""

import ast
import html.parser
import json
import re
import shutil
import subprocess
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.text import Text

import minicnn
from minicnn import foreign, nn
from minicnn.cli import console
from minicnn.data import contact_sheet, figures, fonts
from minicnn.inspect import summary
from minicnn.names import quoted
from tests.data.pictures import make_folder, noise
from tests.program import caller

HOSTILE = ["a\x1b[2J\x1b[31mred", "b\nerror: fake", "c[bold]x[/bold][/]", "d\u202etxt.exe", "e\x9b31m", "$x$ $\\frac{$",
           "[link", "g\r\x07\x00", "h\\", "i<script>alert(1)</script>&\"'", "j\u2028k", "\ud800", "k\u200bl\ufeff",
           "\U000e0041m"]  # fmt: skip
"""Escape sequences, line breaks, markup, bidi, C1, mathematics, backslashes, HTML, invisible and broken characters."""

ON_DISK = ["a\x1b[2J\x1b[31mred", "b\nerror: fake", "c[bold]x[∕bold]\u202etxt", "[link $x$ $\\frac{$\x9b31m\u2028h\\"]
"""The same in names that files and folders can have."""


def clean(text, lines="\n"):
    """Whether a terminal would only print it."""
    return not {unicodedata.category(c) for c in text if c not in lines} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize("name", HOSTILE)
def test_each_output_shows_the_name_and_no_more(name):
    shown = foreign.terminal(name)
    assert clean(shown, "")
    assert [c for c in name if c in shown] == [c for c in name if clean(c, "")]
    markup = Text.from_markup(f"[bold]{foreign.markup(name)}[/] and [red]more[/]")
    assert markup.plain == f"{shown} and more"
    assert [str(span.style) for span in markup.spans] == ["bold", "red"]
    seen = []
    parser = html.parser.HTMLParser()
    parser.handle_data, parser.handle_starttag = seen.append, lambda tag, attributes: seen.append(("tag", tag))
    parser.feed(f"<p>{foreign.html(name)}</p>")
    parser.close()
    assert seen[0] == ("tag", "p")
    assert "".join(seen[1:]) == shown
    assert json.loads(foreign.json(json.dumps([name], ensure_ascii=False))) == [name]
    assert clean(foreign.json(json.dumps([name], ensure_ascii=False)), "")


def test_readable_names_stay_as_they_are():
    for name in ("plain name", "고양이", "Café", "犬", "قط", "👩‍🔬", "नमस्ते", "می‌خواهم", "a_b-c.d"):
        assert foreign.terminal(name) == foreign.html(name) == name


def test_the_console_cleans_what_a_caller_forgot(capsys):
    console.out.print("a\x1b[2Jb \u202e c", markup=False)
    table = console.table("x\x1b[1m", ">n")
    table.add_row("cell\x9b", "1")
    console.show(table)
    console.print_json({"a": "\x9b\u202e\x7f"})
    out, _ = capsys.readouterr()
    assert clean(out)
    assert "a\\x1b[2Jb \\u202e c" in out


def test_only_the_console_prints():
    """So that all output of the verbs passes one place; `print` of our own constants is listed."""
    allowed = {"console.py": 4, "app.py": 2}                   # the version and the help text
    for path in Path(console.__file__).parent.glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)
                 and isinstance(node.func, ast.Name) and node.func.id == "print"]  # fmt: skip
        assert len(calls) <= allowed.get(path.name, 0), f"{path.name} prints by itself: use console.say or console.note"


# ------------------------------------------------------------------------------------------ a walk through the program


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Folders, files and classes with hostile names."""
    root = tmp_path_factory.mktemp("photos") / ON_DISK[1]
    make_folder(root, {f"{split}/{name}": 2 for split in ("train", "val", "test") for name in ON_DISK}, (32, 32))
    for n, name in enumerate(ON_DISK):
        noise(32, 32, 900 + n).save(root / "test" / ON_DISK[0] / f"{name}.png")
    (root / "test" / ON_DISK[0] / f"{ON_DISK[2]}.heic").write_bytes(b"x")
    return root


def everything(trained, photos, tmp_path):
    """(verb, arguments) of every verb that shows foreign names."""
    picture = photos / "test" / ON_DISK[0] / f"{ON_DISK[2]}.png"
    quick = "--model", "resnet20", "--epochs", 1, "--batch-size", 16, "--set", "width=0.25"
    yield "train", photos, *quick, "--out", trained
    yield "eval", trained
    yield "eval", trained / "best.safetensors", "--data", photos, "--json"
    yield "predict", trained, picture, photos / "test" / ON_DISK[1]
    yield "predict", trained, picture, "--json"
    yield "predict", trained, tmp_path / ON_DISK[0]
    yield "visualize", trained, picture, "--what", "grad-cam", "--out", tmp_path / "cam.png"
    yield "visualize", trained, picture, "--class", "none of them", "--out", tmp_path / "c.png"
    yield "export", trained, "--safetensors", tmp_path / f"{ON_DISK[2]}.safetensors"
    yield "data", "doctor", photos, "--sheet", tmp_path / "sheet.png"
    yield "data", "doctor", photos, "--json"
    yield "data", "pack", photos, tmp_path / ON_DISK[0]
    yield "summary", trained
    yield "train", photos, *quick, "--out", trained
    yield "train", "--resume", trained
    yield "train", photos / ON_DISK[0]
    yield "import", "lenet5", tmp_path / ON_DISK[1], "--out", tmp_path / "m.safetensors"


@pytest.mark.filterwarnings("ignore:no installed font")
def test_no_verb_lets_foreign_names_act(photos, tmp_path, monkeypatch, capsys):
    call, trained = caller(monkeypatch, capsys), tmp_path / ON_DISK[2]
    monkeypatch.setattr("minicnn.cli.run_report._draw", lambda run, result: [])
    read = set()
    for arguments in everything(trained, photos, tmp_path):
        rc, out, err = call(*arguments)
        assert clean(out), arguments
        assert clean(err), arguments
        assert "\nerror: fake" not in out + err, arguments
        lines = [line for line in err.splitlines() if line]
        assert len(lines) <= err.count("error: ") + err.count("no installed font"), (arguments, err)
        read |= {arguments[0]} if rc == 0 else set()
        if rc == 0 and arguments[:2] in (("data", "doctor"), ("train", photos)) and "--json" not in arguments:
            assert "left out: 1 .heic, which are not PNG, JPEG, " in out
        if "--json" in arguments and out:
            json.loads(out)
    assert read == {"train", "eval", "predict", "visualize", "export", "data", "summary"}


def test_figures_show_dollars_and_no_mathematics(tmp_path):
    figure = figures.sheet(np.zeros((len(HOSTILE), 1, 4, 4), np.uint8), HOSTILE, columns=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", foreign.NoFontWarning)
        figure.savefig(tmp_path / "a.png")
    from matplotlib import cbook

    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert not any(cbook.is_math_text(title) is True for title in titles)
    assert [title.replace(r"\$", "$") for title in titles] == [foreign.terminal(name) for name in HOSTILE]


def test_html_of_a_summary():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    report = summary(net, (1, 2, 2))
    object.__setattr__(report.layers[0], "name", "<b>x</b>\x1b")
    assert "&lt;b&gt;x&lt;/b&gt;\\x1b" in report._repr_html_()
    assert repr(minicnn.data.Splits("a\x1b[2J", ("a",), minicnn.data.load("digits").train)).startswith("<a\\x1b[2J: ")


# --------------------------------------------------------------------------------------------------------------- fonts


@pytest.fixture
def hangul(tmp_path):
    """A font of one Hangul syllable, a full square, which matplotlib does not yet know."""
    builder = pytest.importorskip("fontTools.fontBuilder").FontBuilder(1000, isTTF=True)
    pen = pytest.importorskip("fontTools.pens.ttGlyphPen").TTGlyphPen(None)
    for point in ((0, 0), (0, 900), (900, 900), (900, 0)):
        (pen.moveTo if point == (0, 0) else pen.lineTo)(point)
    pen.closePath()
    square = pen.glyph()
    builder.setupGlyphOrder([".notdef", "uniACE0"])
    builder.setupCharacterMap({0xACE0: "uniACE0"})
    builder.setupGlyf({".notdef": square, "uniACE0": square})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "uniACE0": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Test Hangul", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=900, usWeightClass=400)
    builder.setupPost()
    builder.save(tmp_path / "TestHangul.ttf")
    return tmp_path / "TestHangul.ttf"


@pytest.fixture
def fresh(monkeypatch):
    """Matplotlib's list of fonts as it was, afterwards; no character was told of."""
    from matplotlib import font_manager

    before = list(font_manager.fontManager.ttflist)
    monkeypatch.setattr(fonts, "_told", set())
    yield font_manager
    font_manager.fontManager.ttflist[:] = before
    font_manager.fontManager._findfont_cached.cache_clear()


def has_hangul(font_manager):
    return any(0xACE0 in fonts._characters(e.fname) for e in font_manager.fontManager.ttflist if fonts._usable(e))


def test_a_font_is_found_by_its_characters(hangul, fresh, monkeypatch, tmp_path):
    """Also one that was installed after matplotlib listed the fonts. The title is then a black square."""
    if has_hangul(fresh):
        pytest.skip("a font with Hangul is installed")
    monkeypatch.setattr(fresh, "findSystemFonts", lambda *a, **k: [str(hangul)])
    figure = figures.figure(2, 2)
    text = figure.text(0.2, 0.2, "고", fontsize=60)
    figure.savefig(tmp_path / "a.png")
    assert text.get_fontfamily()[-1] == "Test Hangul"
    ink = np.asarray(Image.open(tmp_path / "a.png").convert("L")) < 128
    side = 0.9 * 60 / 72 * 120                                # 900 of 1000 units, 60 points, 120 dots an inch
    assert ink.sum() == pytest.approx(side**2, rel=0.05)
    assert ink.any(0).sum() == pytest.approx(side, abs=2)
    assert fonts.file_for("고") == str(hangul)


def test_without_a_font_one_line_names_the_package(fresh, monkeypatch, tmp_path):
    if has_hangul(fresh):
        pytest.skip("a font with Hangul is installed")
    monkeypatch.setattr(fresh, "findSystemFonts", lambda *a, **k: [])
    figure = figures.sheet(np.zeros((1, 1, 4, 4), np.uint8), ["고양이 犬"])
    with pytest.warns(foreign.NoFontWarning) as told:
        figure.savefig(tmp_path / "a.png")
    figure.savefig(tmp_path / "a.png")                        # no second warning, which would be an error
    assert [str(w.message) for w in told] == [
        "no installed font has 犬 고 양 이: they are drawn as boxes; install a font that has them, such as the package "
        "fonts-noto-cjk"]  # fmt: skip


@pytest.mark.filterwarnings("ignore:no installed font")
def test_what_matplotlibs_own_font_has_needs_no_other():
    assert fonts.families("Café Ωж مرحبا שלום é 👩‍🔬"[:22])[0] == []
    assert fonts.families("abc")[1] == set()


def test_contact_sheets_have_other_alphabets(tmp_path):
    """In Pillow's own font both words would be the same boxes."""
    (tmp_path / "a").mkdir()
    Image.new("RGB", (40, 40), (9, 9, 9)).save(tmp_path / "a" / "x.png")

    def drawn(word):
        contact_sheet.draw([(word, [contact_sheet.Cell(tmp_path / "a" / "x.png", "x")])], tmp_path / "sheet.png")
        return np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))[:30]

    assert (drawn("жжж") != drawn("шшш")).any()
    shutil.rmtree(tmp_path / "a")
    assert re.fullmatch(r".*DejaVuSans\.ttf", fonts.file_for("жш"))


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize("name", ["plain", "a b", "it's", "a\nb", "\x1b[31m'\\n\t", "\u202e\\", "한글\x07"])
def test_a_quoted_word_is_safe_and_what_the_shell_reads(name):
    word = quoted(name)
    assert foreign.terminal(word) == word
    assert subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True,
                          env={"LC_ALL": "C.UTF-8"}).stdout.decode() == name  # fmt: skip
