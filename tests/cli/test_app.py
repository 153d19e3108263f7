"""minicnn app: what it serves, what it says, and what it refuses."""

import threading
import webbrowser

import pytest

from minicnn.io import model_file
from minicnn.web.server import Server
from tests.lab.conftest import Client
from tests.program import document, sentence


@pytest.fixture
def app(minicnn_, monkeypatch):
    """app(*arguments, visit=None): the program opens its page; `visit` asks it, then it ends. → (code, out, err)"""
    def call(*args, visit=lambda client: None):
        def serve(server, **options):
            thread = threading.Thread(target=loop, args=(server, 0.05), daemon=True)
            thread.start()
            try:
                visit(Client(server))
            finally:
                server.shutdown()
                thread.join()

        loop = Server.serve_forever
        monkeypatch.setattr(Server, "serve_forever", serve)
        try:
            return minicnn_("app", *args, "--port", 0)
        finally:
            monkeypatch.setattr(Server, "serve_forever", loop)

    return call


def test_it_is_served_at_the_address_that_it_prints_and_says_where_pictures_go(app, trained, monkeypatch):
    opened, found = [], {}
    monkeypatch.setattr(webbrowser, "open", opened.append)

    def visit(client):
        found.update(client.ask("/api/about")[2], url=client.server.address)

    rc, out, err = app(trained, visit=visit)
    assert (rc, err) == (0, "")
    assert opened == [found["url"]]
    assert found["url"] in out
    assert str(trained / "corrections") in "".join(out.split("\n"))
    assert found["classes"] == list("0123456789")
    assert found["teach"]["missing"] == ""
    assert not (trained / "corrections").exists()          # made when it is needed


def test_a_dropped_picture_gets_the_answer_of_predict(app, minicnn_, trained, pictures):
    rc, out, _ = minicnn_("predict", trained, *pictures, "--json")
    assert rc == 0
    found = []
    app(trained, "--no-browser", "--read-only", visit=lambda client: found.extend(
        client.ask("/api/picture", content=picture.read_bytes())[2]["top"] for picture in pictures))
    assert found == [answer["classes"] for answer in document(out)]


def test_a_model_whose_pictures_are_unknown_is_served_and_the_program_says_why_it_can_not_learn(app, trained, tmp_path):
    net, about = model_file.load(trained / "best.safetensors")
    about.trained_on = ""
    model_file.save(tmp_path / "net.safetensors", net, about)
    found = []
    rc, _, err = app("net.safetensors", "--no-browser", visit=lambda client: found.append(client.ask("/api/state")[2]))
    assert rc == 0
    assert err == ("The model can't be retrained: the model file does not name its training pictures: give them with "
                   "--data\n")
    assert "give them with --data" in found[0]["missing"]


def test_export_writes_a_folder_and_ends(minicnn_, trained, tmp_path):
    rc, out, err = minicnn_("app", trained, "--export", "my classifier")
    assert (rc, err) == (0, "")
    assert "python 'my classifier/app.py'" in out
    assert (tmp_path / "my classifier" / "app.py").is_file()
    rc, _, err = minicnn_("app", trained, "--export", "my classifier")
    assert "my classifier holds something already, which is kept" in sentence(err, 1, rc)


@pytest.mark.parametrize(("args", "code", "said"), [
    (["nothing.safetensors"], 1, "there is no model file nothing.safetensors"),
    (["lenet5"], 2, "lenet5 is a net without weights"),
    (["RUN", "--host", "0.0.0.0"], 2, "needs a token of at least 16 characters"),
    (["RUN", "--data", "none"], 1, "there is no folder none"),
    (["RUN", "--data", "x", "--read-only"], 2, "--data names where pictures are filed, and --read-only files none"),
    (["RUN", "--epochs", "0"], 2, "--epochs"),
])  # fmt: skip
def test_what_it_refuses(app, trained, args, code, said):
    rc, _, err = app(*[trained if a == "RUN" else a for a in args], "--no-browser")
    assert said in sentence(err, code, rc)


def test_other_class_folders_can_be_given(app, trained, tmp_path):
    from PIL import Image

    for name in "0123456789":
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("L", (28, 28), 20 * i).save(tmp_path / "mine" / name / f"{i}.png")
    found = []

    def visit(client):
        picture = client.ask("/api/picture", content=(tmp_path / "mine" / "3" / "1.png").read_bytes())[2]["picture"]
        found.append(client.change("/api/file", picture=picture, k=7)[2])

    rc, out, _ = app(trained, "--no-browser", "--data", tmp_path / "mine", visit=visit)
    assert rc == 0
    assert (tmp_path / "mine" / found[0]["path"]).is_file()
    assert found[0]["path"].startswith("7/corrected-")
    assert "Corrected pictures are filed in mine." in out
