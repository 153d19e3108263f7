"""minicnn lab: what it opens, what it refuses, and that it answers as `predict` does."""

import base64
import json
import threading
import urllib.request
import webbrowser

import numpy as np
import pytest

from minicnn import models
from minicnn.io import model_file
from minicnn.lab.follow import events, read
from minicnn.web.server import Server
from tests.lab.conftest import Client
from tests.program import document, sentence

NET = '''
from minicnn import nn, ops

class Net(nn.Module):
    def __init__(self, width=4):
        self.conv, self.out = nn.Conv2d(3, width, 3), nn.Linear(width, 5)

    def forward(self, x):
        return self.out(ops.global_avg_pool2d(ops.relu(self.conv(x))))
'''


@pytest.fixture
def lab(minicnn_, monkeypatch):
    """lab(*arguments, visit=None): the program opens its page; `visit` asks it, then it ends. → (code, out, err)"""
    def call(*args, visit=lambda client: None):
        def serve(server, **options):
            thread = threading.Thread(target=server_loop, args=(server, 0.05), daemon=True)
            thread.start()
            try:
                visit(Client(server))
            finally:
                server.shutdown()
                thread.join()

        server_loop = Server.serve_forever
        monkeypatch.setattr(Server, "serve_forever", serve)
        try:
            return minicnn_("lab", *args, "--port", 0)
        finally:
            monkeypatch.setattr(Server, "serve_forever", server_loop)

    return call


def test_a_run_is_served_at_the_address_that_it_prints_and_opens(lab, trained, monkeypatch):
    opened, found = [], {}
    monkeypatch.setattr(webbrowser, "open", opened.append)
    rc, out, err = lab(trained, visit=lambda client: found.update(client.ask("/api/net")[2], url=client.server.address))
    assert (rc, err) == (0, "")
    assert opened == [found["url"]]
    assert found["url"] in out
    assert found["url"].startswith("http://127.0.0.1:")
    assert found["classes"] == list("0123456789")
    assert found["parameters"] == 61706
    opened.clear()
    assert lab(trained, "--no-browser")[0] == 0
    assert opened == []


def test_a_dropped_picture_gets_the_probabilities_of_predict(lab, minicnn_, trained, pictures):
    rc, out, _ = minicnn_("predict", trained, *pictures, "--json", "--top", 10)
    assert rc == 0
    expected = [sorted((c["index"], c["probability"]) for c in answer["classes"]) for answer in document(out)]
    found = []

    def visit(client):
        for picture in pictures:
            answer = client.ask("/api/picture", content=picture.read_bytes())[2]["probabilities"]
            found.append(np.frombuffer(base64.b64decode(answer["data"]), np.float32))

    lab(trained, "--no-browser", visit=visit)
    assert len(found) == len(expected) == 3
    for probabilities, wanted in zip(found, expected):
        assert np.allclose(probabilities, [p for _, p in wanted], atol=1e-6)


def test_nets_of_the_zoo_and_of_ones_own(lab, tmp_path):
    (tmp_path / "mine.py").write_text(NET)
    state = models.build("lenet5").state_dict()
    np.savez(tmp_path / "lenet.npz", **state)
    found = []

    def visit(client):
        found.append(client.ask("/api/net")[2])
        given = client.server.site.reads["/api/net"].__self__.model.state_dict()
        found[-1]["same"] = all(np.array_equal(given.get(k), v) for k, v in state.items())

    for args in ([f"{tmp_path}/mine.py::Net", "--input", "3x9x8", "--set", "width=7"], ["resnet20"],
                 ["lenet5", "--weights", "lenet.npz", "--set", "num_classes=10", "--preprocess", "none"]):  # fmt: skip
        rc, _, err = lab(*args, "--no-browser", visit=visit)
        assert (rc, err) == (0, "")
    assert found[0]["input"] == [3, 9, 8]
    assert found[0]["nodes"][1]["shape"] == [7, 7, 6]
    assert found[0]["classes"] == list("01234")
    assert found[1]["input"] == [3, 32, 32]
    assert found[2]["same"]


@pytest.mark.parametrize(("args", "code", "said"), [
    ([], 2, "name a run folder or a model file: there is no runs/demo"),
    (["nothing.safetensors"], 1, "there is no model file nothing.safetensors"),
    (["lenet5", "--follow"], 2, "--follow needs a run folder, and lenet5 is none"),
    (["lenet5", "--host", "0.0.0.0"], 2, "host (=0.0.0.0) is open to other machines, which needs a token"),
    (["lenet5", "--host", "0.0.0.0", "--token", "short"], 2, "needs a token of at least 16 characters"),
    (["lenet5", "--host", "no.such.host.invalid", "--token", "0123456789abcdef"], 2, "can't be used"),
    (["lenet5", "--input", "1x32x32"], 2, "--input is for FILE.py::NET"),
    (["lenet5", "--labels", "x.txt"], 2, "--labels needs --weights"),
    (["lenet5", "--preprocess", "x"], 2, "unknown preprocessing 'x'"),
    (["mine.py::Net"], 2, "--input is missing"),
    (["lenet5", "--weights", "none.pth"], 1, "none.pth"),
])  # fmt: skip
def test_what_it_refuses(lab, args, code, said):
    rc, _, err = lab(*args, "--no-browser")
    assert said in sentence(err, code, rc)


def test_a_port_in_use_gets_one_sentence(lab, minicnn_, trained):
    def visit(client):
        rc, _, err = minicnn_("lab", trained, "--no-browser", "--port", client.port)
        assert "can't be used (Address already in use): choose another with --port" in sentence(err, 2, rc)

    assert lab(trained, "--no-browser", visit=visit)[0] == 0


def test_follow_sends_each_line_once_and_takes_the_new_weights(lab, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("minicnn.lab.follow.EVERY", 0.05)
    log = trained / "metrics.jsonl"
    lines = log.read_text().splitlines()
    best = (trained / "best.safetensors").read_bytes()
    net, about = model_file.load(trained / "best.safetensors")
    net.parameters()[0].data = net.parameters()[0].data + 1

    def visit(client):
        before = client.server.site.reads["/api/net"].__self__.model.state_dict()
        request = urllib.request.Request(f"http://127.0.0.1:{client.port}/api/curve")
        with urllib.request.urlopen(request, timeout=20) as stream:
            assert stream.headers["Content-Type"] == "text/event-stream"
            def event(): return b"".join(iter(stream.readline, b"\n")).decode()
            assert [json.loads(event().removeprefix("data: ")) for _ in lines] == [json.loads(line) for line in lines]
            with open(log, "a") as file:
                file.write(json.dumps({"epoch": 9, "loss": 0.5}) + "\n")
            assert json.loads(event().removeprefix("data: ")) == {"epoch": 9, "loss": 0.5}
            model_file.save(trained / "best.safetensors", net, about)
            assert event().startswith("event: weights")
        after = client.server.site.reads["/api/net"].__self__.model.state_dict()
        changed = [name for name in before if not np.array_equal(before[name], after[name])]
        assert changed == ["features.0.weight"]

    try:
        assert lab(trained, "--no-browser", "--follow", visit=visit)[0] == 0
    finally:
        log.write_text("\n".join(lines) + "\n")
        (trained / "best.safetensors").write_bytes(best)


def test_follow_waits_for_the_first_model(lab, trained, tmp_path):
    young = tmp_path / "young"
    young.mkdir()
    (young / "config.json").write_bytes((trained / "config.json").read_bytes())
    (tmp_path / "draft").write_bytes((trained / "best.safetensors").read_bytes())
    threading.Timer(0.5, lambda: (tmp_path / "draft").rename(young / "best.safetensors")).start()
    seen = []
    rc, out, err = lab(young, "--follow", "--no-browser", visit=lambda client: seen.append(client.ask("/api/net")[0]))
    assert (rc, err, seen) == (0, "", [200])
    assert "young has no model yet: the lab opens after its first epoch" in " ".join(out.split())


def test_a_log_that_is_half_written_damaged_or_begun_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("minicnn.lab.follow.EVERY", 0)
    assert read(tmp_path) == []
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"epoch": 1, "loss": NaN}\n{"epoch": 2, "lo')
    assert read(tmp_path) == ['{"epoch": 1, "loss": null}']
    sent = events(tmp_path, lambda: False, lambda: False)
    assert next(sent) == b'data: {"epoch": 1, "loss": null}\n\n'
    log.write_text('{"epoch": 1}\n[1]\n')
    log.write_bytes(b"\xff\xfe")
    assert next(sent).startswith(b"event: again\n")
    assert next(sent) == b": still here\n\n"
