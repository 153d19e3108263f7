"""The server's rules, one test for each line of the list in docs/lab.md; and that it answers what it should."""

import base64
import contextlib
import io
import os
import socket
import threading
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import minicnn.web.server as module
from minicnn.lab.session import IMAGES, LOOKS
from tests.lab.conftest import listening, server, session
from tests.lab.hostile import head, requests, send
from tests.work import NEVER


def array(value):
    kind = {"u1": np.uint8, "f4": np.float32}[value["type"]]
    return np.frombuffer(base64.b64decode(value["data"]), kind).reshape(value["shape"])


def pixels(seed=0):
    return np.random.default_rng(seed).integers(0, 256, 784, np.uint8).tobytes()


@pytest.mark.parametrize("path", ["/", "/lab.js", "/lab.css", "/icon.svg", "/api/net", "/api/samples"])
def test_what_it_serves_has_the_headers_that_keep_other_sites_out(lab, path):
    status, headers, _ = lab.ask(path)
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert not [name for name in headers if name.lower().startswith("access-control")]
    assert "Python" not in headers["Server"]


@pytest.mark.parametrize(("headers", "status"), [
    ({"Host": "evil.example"}, 421), ({"Host": "evil.example:80"}, 421), ({"Host": "127.0.0.1:1"}, 421),
    ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Sec_Fetch_Site": "cross-site"}, 403),
    ({"Sec_Fetch_Site": "same-site"}, 403)])  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/api/net", "/api/unit"])
def test_another_host_origin_or_site_is_refused(lab, headers, status, path):
    given = {"look": 0, "node": 0, "at": [0, 0, 0], "k": 0} if path == "/api/unit" else None
    found, _, answer = lab.ask(path, given, **headers)
    assert (found, list(answer)) == (status, ["error"])


def test_localhost_and_the_pages_own_origin_are_known(lab):
    port = lab.port
    for host in ("127.0.0.1", "localhost"):
        status, _, _ = lab.ask("/api/pixels", content=pixels(), Host=f"{host}:{port}", Origin=f"http://{host}:{port}",
                               Sec_Fetch_Site="same-origin")
        assert status == 200
    assert lab.ask("/api/net", Host=f"localhost:{port}", Origin=f"http://127.0.0.1:{port}")[0] == 403


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/..%2f..%2fetc/passwd", "/page/lab.js", "/lab.py", "/lab.js?x",
                                  "/api/none", "/.//lab.js"])
def test_only_fixed_paths_are_served(lab, path):
    assert lab.ask(path)[0] == 404
    assert send(lab.port, head("GET", path, lab.port, {})) == 404


def test_bodies_have_a_length_and_a_limit(lab):
    sized = {"Content-Type": "application/json"}
    for length, status in [("65537", 413), ("0", 413), ("-1", 411), ("1e3", 411), (None, 411), ("99999999999", 413)]:
        assert send(lab.port, head("POST", "/api/unit", lab.port, sized | {"Content-Length": length})) == status
    sized = {"Content-Type": "application/octet-stream"}
    assert send(lab.port, head("POST", "/api/picture", lab.port, sized | {"Content-Length": str(8 * 2**20 + 1)})) == 413
    chunked = sized | {"Transfer-Encoding": "chunked", "Content-Length": "5"}
    assert send(lab.port, head("POST", "/api/picture", lab.port, chunked)) == 400


def test_a_form_of_another_site_has_the_wrong_type(lab):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        for path in ("/api/unit", "/api/picture"):
            headers = {"Content-Type": kind, "Content-Length": "2"}
            assert send(lab.port, head("POST", path, lab.port, headers) + b"{}") == 415


def test_a_picture_has_limits_of_pixels_memory_and_format(lab):
    def png(size, mode="L"):
        out = io.BytesIO()
        Image.new(mode, size).save(out, "PNG")
        return out.getvalue()

    assert lab.ask("/api/picture", content=png((40, 30)))[0] == 200
    for content, said in [(png((9000, 9000)), "megapixels"), (b"<svg/>", "is not a picture"), (b"BM", "")]:
        status, _, answer = lab.ask("/api/picture", content=content)
        assert status == 400
        assert said in answer["error"]
        assert "\n" not in answer["error"]


@pytest.mark.parametrize("path", ["/api/step", "/api/set", "/api/scale", "/api/reset"])
def test_what_changes_the_net_needs_the_token(lab, path):
    before = lab.server.session.model.state_dict()
    given = {"/api/step": {"look": 0, "label": 1, "rate": 0.1, "keep": True},
             "/api/set": {"parameter": "features.0.bias", "at": [0], "value": 1.0},
             "/api/scale": {"parameter": "features.0.bias", "o": 0, "factor": 0.0}, "/api/reset": {}}[path]  # fmt: skip
    lab.ask("/api/pixels", content=pixels())
    for token in (None, "", "x", lab.server.token[:-1], lab.server.token + "x"):
        headers = {} if token is None else {"X_Token": token}
        assert lab.ask(path, given, **headers)[0] == 403
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), lab.server.session.model.state_dict().values()))


def test_beyond_this_machine_it_listens_with_a_token_only_and_everything_needs_it():
    for host in ("0.0.0.0", "192.0.2.7", ""):
        for token in ("", "short"):
            with pytest.raises(ValueError, match="needs a token of at least 16 characters"):
                server(session(), host=host, token=token)
    with listening(server(session(), host="0.0.0.0", token="0123456789abcdef")) as lab:
        assert lab.ask("/api/net")[0] == 403
        assert lab.ask("/api/net", X_Token="0123456789abcdef")[0] == 200
        assert lab.ask("/api/pixels", content=pixels())[0] == 403
        assert lab.ask("/")[0] == 200                                      # the page itself holds nothing
        assert lab.ask("/", Host=f"evil.example:{lab.port}")[0] == 421     # a number can't be rebound, a name can


def test_slow_requests_and_idle_connections_end(monkeypatch):
    monkeypatch.setattr(module, "READ_SECONDS", 0.3)
    with listening(server(session())) as lab:
        for begin in (b"", b"GET / HTTP/1.1\r\n", head("POST", "/api/picture", lab.port, {
                "Content-Type": "application/octet-stream", "Content-Length": "1000"}) + b"x"):  # fmt: skip
            with socket.create_connection(("127.0.0.1", lab.port), 10) as slow:
                slow.sendall(begin)
                with contextlib.suppress(ConnectionError):
                    assert slow.recv(100) == b""                           # closed, not kept for ever
        assert lab.ask("/api/net")[0] == 200


def test_there_is_a_cap_on_connections(monkeypatch):
    monkeypatch.setattr(module, "CONNECTIONS", 8)
    with listening(server(session())) as lab, contextlib.ExitStack() as held:
        for _ in range(8):
            held.enter_context(socket.create_connection(("127.0.0.1", lab.port)))
        time.sleep(0.2)
        assert send(lab.port, head("GET", "/api/net", lab.port, {})) in (503, 0)
        held.close()
        time.sleep(0.2)
        assert lab.ask("/api/net")[0] == 200


def test_there_is_a_cap_on_followers(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n')
    with listening(server(session(), run=tmp_path)) as lab, contextlib.ExitStack() as held:
        follow = head("GET", "/api/curve", lab.port, {})

        def opened():
            connection = held.enter_context(socket.create_connection(("127.0.0.1", lab.port), 20))
            connection.sendall(follow)
            return connection.recv(12)

        assert [opened() for _ in range(8)] == [b"HTTP/1.1 200"] * 8
        assert opened() == b"HTTP/1.1 503"
        assert lab.ask("/api/net")[0] == 200                               # questions are answered still
        assert lab.server.followers == 8
        held.close()                                                       # they are noticed at the next line
        with open(tmp_path / "metrics.jsonl", "a") as log:
            end = time.monotonic() + NEVER
            while lab.server.followers and time.monotonic() < end:
                log.write('{"epoch": 2}\n')
                log.flush()
                time.sleep(0.1)
        assert lab.server.followers == 0
        assert opened() == b"HTTP/1.1 200"


def test_500_hostile_requests_are_refused_write_nothing_and_the_next_is_answered(lab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lab.ask("/api/pixels", content=pixels())
    before = lab.server.session.model.state_dict()
    for i, (what, content) in enumerate(requests(lab.port)):
        status = send(lab.port, content)
        assert status == 0 or 400 <= status < 600, (what, content[:200])
        assert status != 500, (what, content[:200])
        if i % 25 == 0:
            assert lab.ask("/api/net")[0] == 200
    assert lab.ask("/api/pixels", content=pixels())[0] == 200
    assert os.listdir(tmp_path) == []
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), lab.server.session.model.state_dict().values()))


def test_50_looks_at_once_are_all_right_and_memory_is_bounded():
    with listening(server(session())) as lab:
        lab.ask("/api/pixels", content=pixels())
        answers = {}

        def look(seed):
            answers[seed] = lab.ask("/api/pixels", content=pixels(seed))

        tracemalloc.start()
        threads = [threading.Thread(target=look, args=(seed,)) for seed in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        mine = lab.server.session
        assert peak < 200 * 2**20
        assert len(mine._images) <= IMAGES
        assert len(mine._looks) <= LOOKS
        for seed, (status, _, answer) in answers.items():
            assert status == 200
            assert array(answer["image"]).tobytes() == pixels(seed)
            again = lab.ask("/api/again", {"look": answer["look"]})[2]
            assert again["scores"] == answer["scores"]
        assert len({answer["look"] for _, _, answer in answers.values()}) == 50


def test_an_image_that_is_no_longer_known_gets_a_sentence(lab):
    first = lab.ask("/api/pixels", content=pixels())[2]["look"]
    for _ in range(IMAGES):
        last = lab.ask("/api/pixels", content=pixels())[2]["look"]
    assert lab.ask("/api/again", {"look": last})[0] == 200
    status, _, answer = lab.ask("/api/again", {"look": first})
    assert status == 400
    assert "no longer known" in answer["error"]


def test_questions_and_changes(lab):
    look = lab.ask("/api/pixels", content=pixels(3))[2]["look"]
    net = lab.ask("/api/net")[2]
    conv = next(n for n in net["nodes"] if n["op"] == "conv2d")
    cell = {"look": look, "node": conv["id"], "at": [1, 5, 6], "k": 2}
    unit = lab.ask("/api/unit", cell)[2]
    part = unit["parts"][0]
    total = (array(part["values"]) * array(part["factors"])).sum() + unit["bias"]
    assert total == pytest.approx(unit["value"], rel=1e-4)
    whole = array(lab.ask("/api/maps", {"look": look, "node": conv["id"]})[2]["maps"])
    assert whole[1, 5, 6] == pytest.approx(unit["value"])
    for what in ("saliency", "grad-cam", "occlusion"):
        status, _, answer = lab.ask("/api/evidence", {"look": look, "what": what, "k": 2})
        assert status == 200
        assert len(array(answer["map"]).shape) == 2
        if what == "grad-cam":                                             # 10 × 10, each 2 pixels, from pixel 4 on
            assert answer["place"] == pytest.approx([4 / 28, 4 / 28, 20 / 28, 20 / 28])
    slope = lab.ask("/api/difference", {"look": look, "k": 2, "parameter": conv["weights"]["w"], "at": [1, 0, 2, 2]})[2]
    assert slope["difference"] == pytest.approx(slope["backpropagated"], rel=1e-4, abs=1e-7)
    status, _, said = lab.change("/api/set", parameter=conv["weights"]["b"], at=[1], value=unit["bias"] + 1)
    assert (status, said) == (200, {"changed": True})
    assert lab.ask("/api/unit", cell)[2]["value"] == pytest.approx(unit["value"] + 1, rel=1e-5)
    trial = lab.change("/api/step", look=look, label=4, rate=0.001)[2]
    assert trial["loss_after"] < trial["loss"]
    assert lab.change("/api/reset")[2] == {"changed": False}
    assert lab.ask("/api/unit", cell)[2]["value"] == unit["value"]


@pytest.mark.parametrize(("path", "given"), [
    ("/api/unit", {"look": 0}), ("/api/unit", {"look": "x", "node": 0, "at": [], "k": 0}), ("/api/again", {"lok": 0}),
    ("/api/evidence", {"look": 0, "what": "x", "k": 0}), ("/api/weights", {"parameter": "x"}),
    ("/api/weights", {"parameter": ["x"]}), ("/api/weights", {"parameter": {}})])  # fmt: skip
def test_a_wrong_question_gets_one_sentence(lab, path, given):
    status, _, answer = lab.ask(path, given)
    assert status == 400
    assert answer["error"]
    assert "Traceback" not in answer["error"]
    assert "\n" not in answer["error"]


@pytest.mark.slow
def test_a_look_is_at_most_1_mb_for_every_net():
    from minicnn import models
    from minicnn.data.preprocessing import NORMALISATIONS, Preprocessing
    from minicnn.lab.session import Session
    from minicnn.web import wire

    for name in ("vgg16", "googlenet", "densenet121", "resnet152", "inception_v3", "mobilenet_v2"):
        shape = models.input_shape(name)
        net = models.build(name)
        mine = Session(net, [str(i) for i in range(1000)], Preprocessing(shape[1:], *NORMALISATIONS["imagenet"]))
        answer = mine.look_at_pixels(np.random.default_rng(0).integers(0, 256, shape, np.uint8).tobytes())
        assert len(wire.encode(answer)) <= 2**20, name


def test_the_pages_script_writes_text_only():
    from importlib import resources

    script = resources.files("minicnn.lab").joinpath("page", "lab.js").read_text()
    page = resources.files("minicnn.lab").joinpath("page", "index.html").read_text()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"):
        assert word not in script
    assert "style=" not in page
    assert "onclick" not in page
    assert "//" not in page.replace("<!doctype html>", "").replace("http://www.w3.org", "")


