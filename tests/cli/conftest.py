"""What the tests of the verbs share: the program called in this process, and one run that it trained."""

import sys

import pytest

from minicnn import data
from minicnn.cli.app import main
from tests.program import caller
from tests.train.tiny import TINY


@pytest.fixture
def minicnn_(monkeypatch, capsys, tmp_path):
    """Call the program in this process, in an empty folder, on 120 images. → (exit code, stdout, stderr)"""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "load", lambda name: TINY)
    return caller(monkeypatch, capsys)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run folder that the program itself made."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name: TINY)
        patch.setattr(sys, "argv", ["minicnn", "train", "digits", "--epochs", "3", "--lr", "0.005", "--json",
                                    "--out", str(folder)])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 0
    return folder
