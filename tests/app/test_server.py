"""The rules of docs/lab.md, on the app's table of questions: one test for each line."""

import contextlib
import json
import os
import socket
import time
from importlib import resources

import pytest

import minicnn.web.server as module
from tests.app.conftest import noise, png, served
from tests.lab.conftest import listening
from tests.lab.hostile import APP, bomb, head, requests, send

WRITES = {"/api/file": {"picture": "x", "k": 0}, "/api/undo": {"filed": 0}, "/api/train": {}, "/api/stop": {},
          "/api/choose": {"model": "new"}}


def tree(folder):
    return sorted((p.relative_to(folder).as_posix(), p.stat().st_mtime_ns) for p in folder.rglob("*"))


@pytest.mark.parametrize("path", ["/", "/app.js", "/app.css", "/icon.svg", "/api/about"])
def test_what_it_serves_has_the_headers_that_keep_other_sites_out(viewer, path):
    status, headers, _ = viewer.ask(path)
    assert status == 200
    policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert not [name for name in headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(("headers", "status"), [
    ({"Host": "evil.example"}, 421), ({"Host": "127.0.0.1:1"}, 421), ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403), ({"Sec_Fetch_Site": "cross-site"}, 403), ({"Sec_Fetch_Site": "same-site"}, 403)])
def test_another_host_origin_or_site_is_refused_with_the_token_too(app, run, headers, status):
    before = tree(run.parent)
    for path in ("/", "/api/about", "/api/state"):
        assert app.ask(path, **headers)[0] == status
    assert app.ask("/api/picture", content=png(noise()), **headers)[0] == status
    for path, given in WRITES.items():
        assert app.ask(path, given, X_Token=app.server.token, **headers)[0] == status
    assert tree(run.parent) == before


def test_what_writes_needs_the_token_and_nothing_is_written_without(app, run):
    answer = app.ask("/api/picture", content=png(noise()))[2]
    before = tree(run.parent)
    for token in (None, "", "x", app.server.token[:-1], app.server.token + "x"):
        headers = {} if token is None else {"X_Token": token}
        for path, given in (WRITES | {"/api/file": {"picture": answer["picture"], "k": 0}}).items():
            assert app.ask(path, given, **headers)[0] == 403
    assert tree(run.parent) == before
    assert app.server.teacher._process is None
    assert app.change("/api/file", picture=answer["picture"], k=0)[0] == 200
    assert tree(run.parent) != before


@pytest.mark.parametrize("path", list(WRITES))
def test_an_app_that_only_answers_has_no_other_questions(viewer, path):
    assert viewer.change(path)[0] == 404
    assert viewer.ask("/api/state")[0] == 404
    assert viewer.ask("/api/about")[2]["teach"] is None


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/..%2f..%2fetc/passwd", "/page/app.js", "/session.py",
                                  "/app.js?x", "/best.safetensors", "/api/none", "/lab.js"])
def test_only_fixed_paths_are_served(viewer, path):
    assert send(viewer.port, head("GET", path, viewer.port, {})) == 404


def test_bodies_have_a_length_a_limit_and_a_type(viewer):
    for path, kind, most in (("/api/again", "application/json", 2**16),
                             ("/api/picture", "application/octet-stream", 16 * 2**20)):
        for length, status in [(str(most + 1), 413), ("0", 413), ("-1", 411), (None, 411)]:
            sized = {"Content-Type": kind, "Content-Length": length}
            assert send(viewer.port, head("POST", path, viewer.port, sized)) == status
        for wrong in ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded", "image/png"):
            sized = {"Content-Type": wrong, "Content-Length": "2"}
            assert send(viewer.port, head("POST", path, viewer.port, sized) + b"{}") == 415
        status, _, answer = viewer.ask(path, content=b"{}", Content_Type="image/png")
        assert (status, answer["error"]) == (415, f"the Content-Type of this question must be {kind}")
        chunked = {"Content-Type": kind, "Content-Length": "5", "Transfer-Encoding": "chunked"}
        assert send(viewer.port, head("POST", path, viewer.port, chunked)) == 400


def test_a_picture_has_limits_of_pixels_memory_and_format(viewer):
    for content, said in [(bomb(30_000, 30_000), "megapixels"), (b"<svg onload=alert(1)/>", "is not a picture"),
                          (bomb(64, 64, 10), "cannot be decoded")]:  # fmt: skip
        status, _, answer = viewer.ask("/api/picture", content=content)
        assert status == 400
        assert said in answer["error"]
        assert "\n" not in answer["error"]


def test_beyond_this_machine_it_listens_with_a_token_only_and_everything_needs_it(read_only_run):
    for token in ("", "short"):
        with pytest.raises(ValueError, match="needs a token of at least 16 characters"):
            served(read_only_run, teach=False, host="0.0.0.0", token=token)
    with listening(served(read_only_run, teach=False, host="0.0.0.0", token="0123456789abcdef")) as client:
        assert client.ask("/api/about")[0] == 403
        assert client.ask("/api/picture", content=png(noise()))[0] == 403
        assert client.ask("/api/picture", content=png(noise()), X_Token="0123456789abcdef")[0] == 200
        assert "//0.0.0.0" not in client.server.address or not _other_address()


def _other_address():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]
    return ""


def sooner_or_later(true):
    """Whether it becomes true: the server's threads take their time on a busy machine."""
    return any(true() or time.sleep(0.1) for _ in range(600))


def test_slow_requests_end_and_there_is_a_cap_on_connections(read_only_run, monkeypatch):
    monkeypatch.setattr(module, "READ_SECONDS", 0.3)
    monkeypatch.setattr(module, "CONNECTIONS", 4)
    with listening(served(read_only_run, teach=False)) as client, contextlib.ExitStack() as held:
        with socket.create_connection(("127.0.0.1", client.port), 10) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\nHost: ")
            with contextlib.suppress(ConnectionError):
                assert slow.recv(100) == b""
        monkeypatch.setattr(module, "READ_SECONDS", 60)
        for _ in range(4):
            held.enter_context(socket.create_connection(("127.0.0.1", client.port)))
        assert sooner_or_later(lambda: send(client.port, head("GET", "/api/about", client.port, {})) in (503, 0))
        held.close()
        assert sooner_or_later(lambda: send(client.port, head("GET", "/api/about", client.port, {})) == 200)
        assert client.ask("/api/about")[0] == 200


def test_500_hostile_requests_are_refused_write_nothing_and_the_next_is_answered(app, run, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    answer = app.ask("/api/picture", content=png(noise()))[2]
    before = tree(tmp_path)
    for what, content in requests(app.port, site=APP):
        status = send(app.port, content)
        assert status == 0 or 400 <= status < 600, (what, content[:200])
        assert status != 500, (what, content[:200])
    assert app.ask("/api/again", {"picture": answer["picture"]})[2]["top"] == answer["top"]
    assert tree(tmp_path) == before
    assert os.listdir(tmp_path / "empty") == []


@pytest.mark.parametrize(("path", "given"), [
    ("/api/file", {"picture": "x", "k": 0}), ("/api/file", {"picture": None, "k": "0"}), ("/api/file", {"k": 0}),
    ("/api/file", {"picture": "", "k": 0, "folder": "/etc"}), ("/api/undo", {"filed": "../x"}),
    ("/api/undo", {"filed": 10**30}), ("/api/undo", {"filed": True}), ("/api/choose", {"model": "../../x"}),
    ("/api/choose", {"model": []}), ("/api/train", {"epochs": 10**9})])  # fmt: skip
def test_a_wrong_question_with_the_token_gets_one_sentence(app, run, path, given):
    before = tree(run.parent)
    status, _, answer = app.ask(path, given, X_Token=app.server.token)
    assert status == 400
    assert answer["error"]
    assert "Traceback" not in answer["error"]
    assert "\n" not in answer["error"]
    assert tree(run.parent) == before


def test_the_pages_script_writes_text_only():
    page = {name: resources.files("minicnn.app").joinpath("page", name).read_text("utf-8")
            for name in ("app.js", "index.html", "app.css")}
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc",
                 "setTimeout(\"", "import "):
        assert word not in page["app.js"]
    for text in page.values():
        assert "http:" not in text
        assert "https:" not in text
        assert "@import" not in text
    assert "style=" not in page["index.html"]
    assert " on" not in page["index.html"].replace(" one", "")


def test_no_question_names_a_path_and_the_page_does_not_show_where_it_is_on_the_machine(app, run):
    answer = app.ask("/api/picture", content=png(noise()))[2]
    filed = app.change("/api/file", picture=answer["picture"], k=0)[2]
    said = json.dumps([app.ask("/api/about")[2], app.ask("/api/state")[2], filed])
    assert str(run.parent) not in said
    assert f"{run.parent.name}/pictures" in said


def test_ctrl_c_ends_the_server_and_is_no_error(read_only_run, monkeypatch):
    def until_ctrl_c(server):
        ports.append(server.server_port)
        raise KeyboardInterrupt

    said, ports = [], []
    monkeypatch.setattr(module.Server, "serve_forever", until_ctrl_c)
    other = served(read_only_run, teach=False)
    other.server_close()
    try:
        module.serve(other.site, 0, "127.0.0.1", "", say=said.append, browser=False, warm_up=lambda: None)
    except KeyboardInterrupt:                              # which would end all tests
        pytest.fail("the server ends with KeyboardInterrupt")
    assert said[-2:] == ["It runs until Ctrl-C.", "Stopped."]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports[0]), 10)
