"""Runs for the app to serve: LeNet-5 on a few grey pictures in folders, trained once."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from minicnn.app.session import Session, site
from minicnn.app.teach import Teacher
from minicnn.io import model_file
from minicnn.train import Config, Run
from minicnn.web.server import Server
from tests.lab.conftest import listening
from tests.train.tiny import folder_of_pictures


def png(image, kind="PNG", **options):
    """An image (H,W) or (H,W,3) uint8 as a file's bytes."""
    out = io.BytesIO()
    Image.fromarray(np.asarray(image, np.uint8)).save(out, kind, **options)
    return out.getvalue()


def noise(seed=0, size=(40, 30)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


@pytest.fixture(scope="session")
def _made(tmp_path_factory):
    """(a folder of pictures, a run on it)"""
    root = tmp_path_factory.mktemp("app")
    pictures = folder_of_pictures(root / "pictures", np.random.default_rng(0), 14)
    run = Run(Config(dataset=str(pictures), model="lenet5", epochs=2, validation=0.2, test=0.3, batch_size=8,
                     augment="none", workers=0), root / "run")
    run.train()
    return pictures, root / "run"


@pytest.fixture
def run(_made, tmp_path):
    """A copy of the run, whose pictures are tmp_path/pictures."""
    pictures, folder = _made
    shutil.copytree(pictures, tmp_path / "pictures")
    shutil.copytree(folder, tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace(str(pictures), str(tmp_path / "pictures")))
    return tmp_path / "run"


@pytest.fixture(scope="session")
def read_only_run(_made):
    return _made[1]


def served(run, teach=True, **options):
    """A server of a run's model; its session and its teacher are attributes."""
    path = run / "best.safetensors"
    session = Session(*model_file.load(path), "lenet5")
    teacher = Teacher(session, path, epochs=1) if teach else None
    made = Server(site(session, teacher.questions(), teacher.state) if teacher else site(session), **options)
    made.session, made.teacher = session, teacher
    return made


@pytest.fixture
def app(run):
    with listening(served(run)) as client:
        yield client
        client.server.teacher.close()


@pytest.fixture(scope="module")
def viewer(read_only_run):
    """An app that only answers."""
    with listening(served(read_only_run, teach=False)) as client:
        yield client


