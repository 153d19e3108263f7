"""What the tests of the verbs share: the program called in this process, and one run that it trained."""

import sys

import pytest
from PIL import Image

from minicnn import data
from minicnn.cli.app import main
from tests.program import caller
from tests.train.tiny import TINY


@pytest.fixture
def minicnn_(monkeypatch, capsys, tmp_path):
    """Call the program in this process, in an empty folder, on 120 images. → (exit code, stdout, stderr)"""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data.registry, "load", lambda name: TINY)
    return caller(monkeypatch, capsys)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run folder that the program itself made."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data.registry, "load", lambda name: TINY)
        patch.setattr("minicnn.cli.run_report._draw", lambda run, result: [])
        patch.setattr(sys, "argv", ["minicnn", "train", "digits", "--epochs", "3", "--lr", "0.005", "--json",
                                    "--out", str(folder)])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 0
    return folder


@pytest.fixture
def pictures(tmp_path):
    """Test images as files, two with names that rich would take for markup."""
    paths = []
    for i, name in ((0, "zero.png"), (3, "one [/b].png"), (6, ":cat: [b].png")):
        paths.append(tmp_path / name)
        paths[-1].parent.mkdir(exist_ok=True)
        Image.fromarray(TINY.test.images[i, 0]).save(paths[-1])
    return paths
