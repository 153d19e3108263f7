"""`minicnn --lang ko`: help and messages in Korean, for the verbs that people use most."""

import json
import re
import tomllib
from io import StringIO
from pathlib import Path

import pytest
from rich.columns import Columns
from rich.console import Console
from rich.text import Text

from minicnn.cli import language
from minicnn.cli.app import VERBS, app, load

ROOT = Path(__file__).parents[2]
SECTIONS = tomllib.loads((ROOT / "minicnn" / "cli" / "ko.toml").read_text("utf-8"))
TABLE = {english: korean for section in SECTIONS.values() for english, korean in section.items()}
TRANSLATED = ("train", "transfer", "eval", "predict", "export", "models", "summary", "visualize", "shape", "data",
              "app", "lab", "gradcheck", "claim")  # fmt: skip
HANGUL = re.compile("[가-힣]")
SENTENCE = re.compile(r"\b[a-z]{2,} [a-z]{2,} [a-z]{2,}\b")


@pytest.fixture(autouse=True)
def english_afterwards(monkeypatch):
    """Each test chooses its own language, and what it changes in typer's frames is put back."""
    from typer import rich_utils

    for name in ("ARGUMENTS_PANEL_TITLE", "OPTIONS_PANEL_TITLE", "COMMANDS_PANEL_TITLE", "DEFAULT_STRING",
                 "REQUIRED_LONG_STRING"):
        if hasattr(rich_utils, name):
            monkeypatch.setattr(rich_utils, name, getattr(rich_utils, name))
    for name in ("MINICNN_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(language, "_chosen", None)


def texts(command):
    """The help texts of a command, its options and its own commands, paragraph by paragraph."""
    found = [command.help or "", *(getattr(p, "help", None) or "" for p in command.params)]
    found += [getattr(p, "rich_help_panel", None) or "" for p in command.params]
    found += [text for inner in getattr(command, "commands", {}).values() for text in texts(inner)]
    return [" ".join(part.split()) for text in found for part in text.split("\n\n") if part.strip()]


def test_the_first_screen_is_translated():
    import typer

    command = typer.main.get_command(app)
    every = [verb.help for verb in VERBS.values()] + [verb.panel for verb in VERBS.values()] + texts(command)
    assert not [text for text in every if text not in TABLE]


@pytest.mark.parametrize("verb", TRANSLATED)
def test_the_help_of_a_verb_is_translated(verb, monkeypatch):
    english = texts(load(verb))
    assert not [text for text in english if text not in TABLE]
    monkeypatch.setattr(language, "_chosen", "ko")
    korean = texts(load(verb))
    assert korean == [TABLE[text] for text in english]


@pytest.mark.parametrize(("english", "korean"), TABLE.items(), ids=lambda text: text[:40])
def test_each_translation_has_the_same_holes(english, korean):
    assert HANGUL.search(korean)
    assert language.HOLE.findall(english) == language.HOLE.findall(korean)
    assert english.count("[/]") == korean.count("[/]")
    assert set(re.findall(r"--[a-z-]+|`[^`]*`", english)) <= set(re.findall(r"--[a-z-]+|`[^`]*`", korean))


def test_what_a_claim_says_is_translated():
    from minicnn.claims import files

    for name in files.NAMES:
        claim = files.load(name)
        said = {claim.sentence, *claim.meaning.values(), *(c.says for c in claim.comparisons),
                *(c.unit for c in claim.comparisons)}  # fmt: skip
        assert not [text for text in said if not HANGUL.search(language._in_korean(text))], name


def both(minicnn_, *arguments):
    """(the lines of a command in English, the same lines in Korean)."""
    outputs = []
    for name in language.LANGUAGES:
        code, out, err = minicnn_("--lang", name, *arguments)
        assert code == 0, err
        outputs.append(out.splitlines() + err.splitlines())
    assert len(outputs[0]) == len(outputs[1])
    return outputs


@pytest.mark.parametrize("arguments", [
    ("train", "digits", "--fast-dev-run"), ("eval", "RUN"), ("predict", "RUN", "PICTURE"), ("summary", "lenet5"),
    ("shape", "224", "-k", "11", "-s", "4"), ("shape", "9", "-k", "4", "-s", "3", "-p", "1"),
    ("shape", "32", "-k", "5"),
    ("shape", "13", "-k", "6", "-s", "5", "-p", "same"), ("data", "doctor", "PHOTOS"),
    ("export", "RUN", "--safetensors", "net.safetensors", "--overwrite"),
    ("gradcheck", "relu"), ("gradcheck", "tanh", "--sweep"), ("claim", "list"),
], ids=" ".join)  # fmt: skip
def test_no_sentence_is_left_in_english(minicnn_, trained, pictures, tmp_path, arguments):
    photos = tmp_path / "photos"
    for i, label in enumerate("ab"):
        (photos / label).mkdir(parents=True)
        for j in range(3):
            (photos / label / f"{j}.png").write_bytes(pictures[(i + j) % 3].read_bytes())
    places = {"RUN": trained, "PICTURE": pictures[0], "PHOTOS": photos}
    _, korean = both(minicnn_, *(str(places.get(part, part)) for part in arguments))
    assert any(HANGUL.search(line) for line in korean) or arguments[0] == "predict"  # only names and numbers
    left = [line for line in korean if SENTENCE.search(line)]
    assert not left


@pytest.mark.parametrize("width", range(20, 60))
def test_a_line_of_hangul_keeps_its_last_letter(monkeypatch, width):
    monkeypatch.setattr(Text, "rstrip_end", Text.rstrip_end)       # put back afterwards
    language.translate_frames()
    text = next(korean for korean in SECTIONS["app"].values() if korean.startswith("클래스마다 사진 폴더가"))
    console = Console(width=width, file=StringIO())
    console.print(Columns([Text(text)]))                           # as typer prints the help of an option
    assert console.file.getvalue().split() == text.split()


def test_numbers_and_names_are_the_same(minicnn_, trained):
    english, korean = both(minicnn_, "eval", str(trained))
    numbers = re.compile(r"\d+(?:\.\d+)?")
    assert [sorted(numbers.findall(line)) for line in english] == [sorted(numbers.findall(line)) for line in korean]
    assert korean[0].startswith("digits, 시험: ")


def test_json_is_not_translated(minicnn_):
    english = minicnn_("shape", "227", "-k", "11", "-s", "4", "--json")
    assert minicnn_("--lang", "ko", "shape", "227", "-k", "11", "-s", "4", "--json") == english
    assert json.loads(english[1])["floor"] == 55


def test_a_class_that_is_called_like_a_word_of_ours_keeps_its_name(capsys, monkeypatch):
    from minicnn.cli import console

    monkeypatch.setattr(console, "out", console.SafeConsole(highlight=False, emoji=False, width=160))
    table = console.table("class", ">images")
    table.add_row("size", "3")
    language.choose("ko")
    console.show(table)
    assert capsys.readouterr().out.split() == ["클래스", "이미지", "size", "3"]


def test_an_error_is_translated(minicnn_):
    assert minicnn_("--lang", "ko", "train", "digitz")[2].startswith("오류: 데이터셋 'digitz'")
    assert minicnn_("--lang", "kr", "models") == (2, "", "error: unknown language 'kr': did you mean 'ko'? Known: en, "
                                                         "ko\n")


def test_a_language_lasts_for_one_call(minicnn_):
    assert "windows fit exactly" not in minicnn_("--lang", "ko", "shape", "32", "-k", "5")[1]
    assert "windows fit exactly" in minicnn_("shape", "32", "-k", "5")[1]


@pytest.mark.parametrize(("variables", "found"), [
    ({}, "en"), ({"LANG": "ko_KR.UTF-8"}, "ko"), ({"LANG": "ko_KR.UTF-8", "LC_ALL": "C"}, "en"),
    ({"LC_ALL": "C", "MINICNN_LANG": "ko"}, "ko"), ({"LANG": "ko_KR.UTF-8", "MINICNN_LANG": "en"}, "en"),
    ({"LANG": "en_GB.UTF-8"}, "en"), ({"MINICNN_LANG": "xx"}, "en"),
], ids=str)  # fmt: skip
def test_the_language_is_that_of_the_locale(monkeypatch, variables, found):
    monkeypatch.setattr(language.locale, "getlocale", lambda: (None, None))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language.current() == found


def test_a_terminal_without_hangul_gets_english(monkeypatch):
    class Ascii:
        encoding = "ascii"

    monkeypatch.setenv("LANG", "ko_KR.EUC-KR")
    monkeypatch.setattr(language.sys, "stdout", Ascii())
    assert language.current() == "en"
