"""Training on with corrected pictures: what is trained on, what is compared, which model is kept, and kill -9."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minicnn
from minicnn import Tensor, data, no_grad
from minicnn.app import retrain
from minicnn.app.filing import Corrections
from minicnn.app.retrain import better, compared, lesson
from minicnn.app.session import Session
from minicnn.app.teach import Teacher
from minicnn.io import model_file
from minicnn.lock import Lock
from minicnn.train import Config, Run
from minicnn.train.transfer import transfer
from tests.app.conftest import noise, png, served
from tests.lab.conftest import listening
from tests.train.tiny import TINY
from tests.work import NEVER


def counts(old, new, pictures=10):
    return {"pictures": pictures, "old": old, "new": new}


@pytest.mark.parametrize(("held", "corrected", "kept"), [
    ((8, 9), (3, 0), True), ((9, 8), (0, 5), False), ((8, 8), (0, 1), True), ((8, 8), (1, 1), False),
    ((8, 8), (2, 1), False), (None, (0, 5), False)])  # fmt: skip
def test_the_rule(held, corrected, kept):
    assert better({"held": held and counts(*held), "corrected": counts(*corrected)}) is kept


def right(model, prepare, pictures, labels):
    """How many, one picture at a time."""
    found = 0
    for picture, label in zip(pictures, labels):
        with no_grad():
            found += int(model(Tensor(prepare.normalise(prepare.read(picture)[None]))).numpy().argmax()) == label
    return found


def test_a_model_learns_a_corrected_picture_and_is_compared_on_pictures_that_it_never_saw(run, tmp_path):
    path = run / "best.safetensors"
    before = path.read_bytes()
    old, about = model_file.load(path)
    folder = data.ImageFolder(tmp_path / "pictures", validation=0.2, test=0.3)
    mine = lesson(path, about).corrections
    assert mine.root == tmp_path / "pictures"
    odd = [mine.file(png(noise(seed)), k=seed % 2).path for seed in range(4)]
    test_picture = folder.test.picture(0).read_bytes()                     # filed, too: it can't be evidence any more
    mine.file(test_picture, int(folder.test.labels[0]))
    told = []
    found = retrain.retrain(path, None, 6, lambda *said: told.append(said))
    new, again = model_file.load(run / "best.retrained.safetensors")
    assert path.read_bytes() == before                                     # only read
    assert again == about
    held = [folder.test.picture(i) for i in range(1, len(folder.test))]
    labels = folder.test.labels[1:]
    prepare = about.preprocessing
    assert found["held"]["part"] == "test"
    assert found["held"]["left_out"] == 1
    assert found["held"]["pictures"] == len(held)
    assert found["held"]["old"] == right(old, prepare, held, labels)
    assert found["held"]["new"] == right(new, prepare, held, labels)
    assert found["held"]["old"] - found["held"]["only_old"] == found["held"]["new"] - found["held"]["only_new"]
    assert found["corrected"]["pictures"] == 5
    wanted = [seed % 2 for seed in range(4)]
    other = [p for p in mine.pictures().names if (mine.root / p) not in odd]
    assert found["corrected"]["new"] == right(new, prepare, odd, wanted) + right(
        new, prepare, [mine.root / other[0]], folder.test.labels[:1])
    assert found["doubt"] == ""
    assert [what for what, _, _ in told if what != "comparing"] == ["training"] * told[-3][2]
    assert told[-3][:2] == ("training", told[-3][2])                       # to the last step
    assert all(a[1] <= b[1] for a, b in itertools.pairwise(told) if a[0] == b[0])


def test_a_picture_that_contradicts_the_net_is_learned(run, tmp_path, monkeypatch):
    monkeypatch.setattr(retrain, "SLOWER", 1.0)            # in fewer epochs
    path = run / "best.safetensors"
    old, about = model_file.load(path)
    mine = lesson(path, about).corrections
    picture = data.ImageFolder(tmp_path / "pictures").train.picture(0)
    odd = 255 - np.asarray(Image.open(picture))
    with no_grad():
        said = int(old(Tensor(about.preprocessing.normalise(about.preprocessing.read(
            np.ascontiguousarray(odd.transpose(2, 0, 1)))[None]))).numpy().argmax())
    mine.file(png(odd), 1 - said)
    found = retrain.retrain(path, None, 8, lambda *said: None)
    assert (found["corrected"]["old"], found["corrected"]["new"]) == (0, 1)


def test_corrected_pictures_are_repeated_up_to_a_share_and_none_is_lost(run, tmp_path):
    path = run / "best.safetensors"
    about = model_file.description(path)
    mine = lesson(path, about).corrections
    plain = lesson(path, about).splits.train
    mine.file(png(noise()), 1)
    given = lesson(path, about)
    assert len(given.splits.train) == len(plain) + 1                       # ImageFolder reads it
    joined = retrain.with_corrections(given, mine.pictures())
    assert sorted(joined.names[: len(plain)]) == sorted(plain.names)
    assert set(joined.names[len(plain):]) == set(mine.pictures().names)
    assert len(joined) == len(plain) + 1                                   # 5 % of 20 are 1
    beside = Corrections.beside(path, 2)
    beside.file(png(noise(5)), 0)
    many = TINY.train.select(np.arange(120))
    given.corrections, given.splits = beside, TINY
    joined = retrain.with_corrections(given, beside.pictures())
    assert len(joined) == len(many) + 6
    assert joined.labels[-6:].tolist() == [0] * 6
    assert joined.picture(121) == beside.pictures().picture(0)
    assert np.array_equal(joined.picture(7), TINY.train.images[7])
    few = joined.select([125, 3])
    assert few.labels.tolist() == [0, int(TINY.train.labels[3])]
    assert few.picture(0) == beside.pictures().picture(0)


def test_a_dataset_by_name_has_its_corrections_beside_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr(data.registry, "load", lambda name: TINY)
    run = Run(Config(epochs=1, limit_batches=2), tmp_path / "run")
    run.train()
    path = tmp_path / "run" / "best.safetensors"
    about = model_file.description(path)
    given = lesson(path, about)
    assert given.corrections.root == tmp_path / "run" / "corrections"
    assert given.missing == given.doubt == ""
    given.corrections.file(png(noise()), 7)
    found = retrain.retrain(path, None, 1, lambda *said: None)
    assert found["held"]["pictures"] == len(TINY.test)
    assert found["corrected"]["pictures"] == 1


def test_a_transferred_net_gets_a_new_head_and_keeps_its_body(run, tmp_path):
    adapted = transfer(Config(dataset=str(tmp_path / "pictures"), model="lenet5", weights=str(run / "best.safetensors"),
                              validation=0.0, test=0.3, workers=0), tmp_path / "adapted")
    adapted.train()
    path = tmp_path / "adapted" / "best.safetensors"
    old, about = model_file.load(path)
    mine = lesson(path, about).corrections
    for seed in range(3):
        mine.file(png(noise(seed)), 1)
    told = []
    found = retrain.retrain(path, None, 1, lambda *said: told.append(said))
    new, _ = model_file.load(retrain.result_path(path))
    for name, array in old.state_dict().items():
        same = np.array_equal(array, new.state_dict()[name])
        assert same != name.startswith("classifier.5."), name
    assert {what for what, _, _ in told} == {"features", "comparing"}
    assert found["corrected"]["new"] == 3


def test_models_without_their_pictures_say_so(run, tmp_path):
    path = run / "best.safetensors"
    net, about = model_file.load(path)
    lonely = tmp_path / "lonely" / "net.safetensors"
    lonely.parent.mkdir()
    about.trained_on = ""
    model_file.save(lonely, net, about)
    given = lesson(lonely, about)
    assert given.missing == "the model file does not name its training pictures: give them with --data"
    assert given.corrections.root == lonely.parent / "corrections"
    with pytest.raises(ValueError, match="does not name its training pictures"):
        retrain.retrain(lonely, None, 1, lambda *said: None)
    assert lesson(lonely, about, tmp_path / "pictures").doubt == retrain.UNKNOWN
    (tmp_path / "pictures" / "discs").rename(tmp_path / "pictures" / "plates")
    with pytest.raises(ValueError, match="the model has others: 'plates'"):
        lesson(lonely, about, tmp_path / "pictures")
    about.trained_on = str(tmp_path / "gone")
    assert "its training pictures are not at" in lesson(lonely, about).missing
    (tmp_path / "pictures" / "plates").rename(tmp_path / "pictures" / "discs")
    with pytest.raises(ValueError, match="no pictures are filed"):
        retrain.retrain(path, None, 1, lambda *said: None)


def test_a_folder_that_can_not_be_written_is_left_alone(run, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "discs")
    given = lesson(run / "best.safetensors", model_file.description(run / "best.safetensors"))
    assert given.corrections.root == run / "corrections"
    assert given.missing == ""


def test_nothing_held_out_compares_nothing(run, tmp_path):
    path = run / "best.safetensors"
    old, about = model_file.load(path)
    given = lesson(path, about)
    mine = given.corrections
    mine.file(png(noise()), 1)
    bare = replace(given.splits, test=None, validation=None)
    found = compared(old, old, bare, mine.pictures(), lambda *said: None)
    assert found["held"] is None
    assert found["corrected"]["old"] == found["corrected"]["new"]
    validated = compared(old, old, replace(given.splits, test=None), mine.pictures(), lambda *said: None)
    assert validated["held"]["part"] == "validation"


# ------------------------------------------------------------------------------------------------- from the page


def wait(client, state="running"):
    end = time.monotonic() + NEVER
    while (found := client.ask("/api/state")[2]["training"])["state"] == state:
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def test_a_wrong_answer_is_corrected_the_model_retrained_and_the_better_one_used(app, run, tmp_path):
    path = run / "best.safetensors"
    before = path.read_bytes()
    answer = app.ask("/api/picture", content=png(noise()))[2]
    wrong = answer["top"][0]["index"]
    status, _, filed = app.change("/api/file", picture=answer["picture"], k=1 - wrong)
    assert status == 200
    stored = tmp_path / "pictures" / filed["path"]
    assert stored.read_bytes() == png(noise())
    assert app.ask("/api/state")[2]["filed"] == 1
    assert app.change("/api/train")[0] == 200
    assert app.change("/api/train")[0] == 400                              # one at a time
    seen = set()
    while (now := app.ask("/api/state")[2]["training"])["state"] == "running":
        seen.add(now["what"])
        assert app.ask("/api/again", {"picture": answer["picture"]})[0] == 200    # answers go on
        time.sleep(0.2)
    assert now["state"] == "done", now
    assert seen & {"start", "training"}
    assert now["kept"] == now["used"] == ("new" if better(now["result"]) else "old")
    new = (run / "best.retrained.safetensors").read_bytes()
    for which in ("new", "old", "new", "new"):                             # the user's word counts more
        assert app.change("/api/choose", model=which)[2] == {"used": which}
        assert path.read_bytes() == (new if which == "new" else before)
        assert (run / "best.1.safetensors").read_bytes() == before
        net, about = model_file.load(path)
        x = about.preprocessing.normalise(app.server.session.seen(answer["picture"]).image[None])
        with no_grad():
            logits = net(Tensor(x)).numpy()[0]
        again = app.ask("/api/again", {"picture": answer["picture"]})[2]
        assert again["top"][0]["index"] == logits.argmax()
    assert not (run / "best.2.safetensors").exists()
    assert json.loads((run / "retrained.jsonl").read_text())["kept"] == now["kept"]
    assert app.change("/api/choose", model="best")[0] == 400
    assert app.change("/api/undo", filed=filed["filed"])[0] == 200
    assert not stored.exists()
    assert app.change("/api/undo", filed=filed["filed"])[0] == 400


def test_a_retraining_can_be_stopped_and_a_failed_one_says_why(app, run):
    before = (run / "best.safetensors").read_bytes()
    assert app.change("/api/train")[0] == 200
    assert wait(app) == {"state": "failed", "error": "no pictures are filed, so there is nothing new to learn: correct "
                                                     "an answer first"}
    answer = app.ask("/api/picture", content=png(noise()))[2]
    app.change("/api/file", picture=answer["picture"], k=0)
    app.server.teacher.epochs = 100_000
    app.change("/api/train")
    process = app.server.teacher._process
    assert app.change("/api/stop")[2] == {"state": "stopped"}
    assert process.wait(NEVER) == -signal.SIGKILL
    assert app.ask("/api/state")[2]["training"] == {"state": "stopped"}
    assert (run / "best.safetensors").read_bytes() == before
    assert app.change("/api/choose", model="new")[0] == 400


def test_a_swapped_picture_is_filed_swapped(app, tmp_path):
    image = noise()
    first = app.ask("/api/picture", content=png(image))[2]
    app.ask("/api/again", {"picture": first["picture"], "swapped": True})
    filed = app.change("/api/file", picture=first["picture"], k=0)[2]
    stored = np.asarray(Image.open(tmp_path / "pictures" / filed["path"]))
    assert np.array_equal(stored, 255 - image)


def test_a_run_that_trains_is_not_replaced(app, run):
    teacher = app.server.teacher
    teacher._other = {"old": teacher.path, "new": run / "last.safetensors"}
    teacher._training = {"state": "done", "used": "old"}
    before = (run / "best.safetensors").read_bytes()
    code = (f"import sys, time; from pathlib import Path; from minicnn.lock import Lock; "
            f"lock = Lock(Path({str(run)!r})); print('held', flush=True); time.sleep(60)")
    env = {**os.environ, "PYTHONPATH": str(Path(minicnn.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env) as other:
        assert other.stdout.readline() == "held\n"
        status, _, answer = app.change("/api/choose", model="new")
        other.kill()
    assert status == 400
    assert "is in use by process" in answer["error"]
    assert (run / "best.safetensors").read_bytes() == before
    assert app.change("/api/choose", model="new")[0] == 200
    with Lock(run):
        assert (run / "best.safetensors").read_bytes() == (run / "last.safetensors").read_bytes()


def test_half_written_files_are_swept_at_the_start_but_not_those_of_a_run_that_trains(run):
    parts = [run / f".{name}.x.part" for name in ("best.safetensors", "best.3.safetensors", "retrained.jsonl",
                                                  "best.retrained.safetensors")]  # fmt: skip
    mine = run / ".others.safetensors.x.part"
    for part in [*parts, mine]:
        part.write_bytes(b"half")
    session = Session(*model_file.load(run / "best.safetensors"))
    code = (f"import time; from pathlib import Path; from minicnn.lock import Lock; "
            f"lock = Lock(Path({str(run)!r})); print('held', flush=True); time.sleep(60)")
    env = {**os.environ, "PYTHONPATH": str(Path(minicnn.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env) as other:
        assert other.stdout.readline() == "held\n"
        Teacher(session, run / "best.safetensors")
        other.kill()
    assert all(part.exists() for part in parts)
    Teacher(session, run / "best.safetensors")
    assert not any(part.exists() for part in parts)
    assert mine.exists()


CHOOSE = """
import sys, itertools
from pathlib import Path
from minicnn.app.session import Session
from minicnn.app.teach import Teacher
from minicnn.io import model_file
path = Path(sys.argv[1])
teacher = Teacher(Session(*model_file.load(path)), path)
files = [path.with_name("a.safetensors"), path.with_name("b.safetensors")]
for n in itertools.count():
    teacher._other = {"old": teacher.path, "new": files[n % 2]}
    teacher._put("new")
    print(n, flush=True)
"""


@pytest.mark.slow
def test_kill_9_at_any_time_leaves_a_model_that_works(run):
    """The process that replaces models is killed 30 times at random moments, and so is one that trains."""
    path = run / "best.safetensors"
    net, about = model_file.load(path)
    whole = []
    for name, by in (("a", 1.1), ("b", 0.9)):
        for p in net.parameters():
            p.data = p.data * np.float32(by)
        model_file.save(run / f"{name}.safetensors", net, about)
        whole.append((run / f"{name}.safetensors").read_bytes())
    rng = np.random.default_rng(0)
    env = {**os.environ, "PYTHONPATH": str(Path(minicnn.__file__).parents[1]), "OPENBLAS_NUM_THREADS": "1"}
    for _ in range(30):
        with subprocess.Popen([sys.executable, "-c", CHOOSE, str(path)], stdout=subprocess.PIPE, env=env) as process:
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.1))
            process.kill()
        assert path.read_bytes() in whole
        for backup in run.glob("best.[0-9]*.safetensors"):
            model_file.load(backup)
            backup.unlink()
    Teacher(Session(*model_file.load(path)), path)                         # starts, and sweeps what was half written
    assert not list(run.glob(".*.part"))
    mine = lesson(path, about).corrections
    mine.file(png(noise()), 1)
    before = path.read_bytes()
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-m", "minicnn.app.retrain", str(path), "", "2"],
                              stdout=subprocess.PIPE, env=env) as process:
            process.stdout.readline()
            time.sleep(rng.uniform(0, 1.5))
            process.kill()
        assert path.read_bytes() == before
    with listening(served(run)) as client:
        assert client.ask("/api/picture", content=png(noise()))[0] == 200
        client.change("/api/train")
        assert wait(client)["state"] == "done"
