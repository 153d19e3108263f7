"""Downloads, from a server on the loopback: checksums, interruptions, what is not there. The code is the real one, with
pooch, requests and sockets."""

import contextlib
import gzip
import hashlib
import http.server
import io
import re
import tarfile
import threading
from dataclasses import replace

import pytest

from minicnn import data
from minicnn.data import cifar, download, registry
from minicnn.data.download import Remote, fetch
from minicnn.lock import Lock

CONTENT = bytes(range(256)) * 4000                         # 1,024,000 bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves `files` and records the requests; may break off, ignore ranges, or send wrong bytes."""

    def __init__(self):
        self.files, self.asked, self.break_off, self.ranges, self.encode = {}, [], [], True, False
        self.from_0 = False                                # all of it is sent, as the part that was asked for
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                wanted = self.headers.get("Range", "")
                server.asked.append((self.path, wanted))
                content = server.files.get(self.path)
                if content is None:
                    return self.send_error(404)
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0
                partial = start or (wanted and server.from_0)
                self.send_response(206 if partial else 200)
                if partial:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                if server.encode:
                    self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                after = server.break_off.pop(0) if server.break_off else None
                self.wfile.write(content[start : None if after is None else start + after])
                if after is not None:
                    self.wfile.flush()
                    self.close_connection = True
                    self.connection.close()

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *args: None        # a connection that we close ourselves is no news
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def remote(self, name="file.bin", content=CONTENT, **changes):
        self.files.setdefault(f"/{name}", content)
        sha256 = hashlib.sha256(content).hexdigest()
        return replace(Remote(name, (f"{self.url}/{name}",), len(content), sha256), **changes)


@pytest.fixture
def server(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_with_its_progress_and_is_not_asked_for_again(server, tmp_path):
    told = []
    folder = tmp_path / "deep" / "er"
    path = fetch(server.remote(), folder, lambda *what: told.append(what))
    assert path.read_bytes() == CONTENT
    assert told[-1] == ("file.bin", len(CONTENT), len(CONTENT))
    assert [here for _, here, _ in told] == sorted({here for _, here, _ in told})
    assert len(told) > 5
    assert left(folder) == ["file.bin"]
    assert fetch(server.remote(), folder) == path
    assert server.asked == [("/file.bin", "")]


def test_an_interrupted_download_goes_on_within_one_call(server, tmp_path):
    server.break_off = [300_000, 200_000]
    assert fetch(server.remote(), tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == ["", "bytes=300000-", "bytes=500000-"]
    assert left(tmp_path) == ["file.bin"]


def test_and_in_the_next_call(server, tmp_path):
    server.break_off = [100_000] * download.ATTEMPTS
    with pytest.raises(ConnectionError) as caught:
        fetch(server.remote(), tmp_path)
    said = str(caught.value)
    assert re.search(r"file.bin could not be downloaded \(http://127.0.0.1:\d+/file.bin: broke off after 300000 of "
                     r"1024000 bytes \(\w+\)\): check the connection and try again, which continues the download", said)
    assert "\n" not in said
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:300_000]
    assert left(tmp_path) == ["file.bin.part"]
    told = []
    assert fetch(server.remote(), tmp_path, lambda *what: told.append(what[1])).read_bytes() == CONTENT
    assert server.asked[-1] == ("/file.bin", "bytes=300000-")
    assert told[0] > 300_000


@pytest.mark.parametrize("from_0", [False, True])
def test_a_server_without_ranges_begins_again(server, tmp_path, from_0):
    server.ranges, server.from_0 = False, from_0
    (tmp_path / "file.bin.part").write_bytes(b"what was here before" * 10)
    assert fetch(server.remote(), tmp_path).read_bytes() == CONTENT
    assert server.asked == [("/file.bin", "bytes=200-")]


def test_a_whole_part_needs_no_server(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert fetch(server.remote(), tmp_path).read_bytes() == CONTENT
    assert server.asked == []


def test_a_wrong_checksum_is_thrown_away_and_nothing_is_lost(server, tmp_path):
    (tmp_path / "other.bin").write_bytes(b"mine")
    server.files["/file.bin"] = CONTENT[:-1] + b"!"
    with pytest.raises(ValueError) as caught:
        fetch(server.remote(), tmp_path)
    said = str(caught.value)
    assert f"{server.url}/file.bin sent another file than file.bin: its SHA-256 is not {SHA256[:12]}…" in said
    assert "\n" not in said
    assert left(tmp_path) == ["other.bin"]
    server.files["/file.bin"] = CONTENT                    # and the next call begins anew
    assert fetch(server.remote(), tmp_path).read_bytes() == CONTENT


def test_a_part_that_belongs_to_another_file_is_found_out(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(b"?" * 1000)
    with pytest.raises(ValueError, match="sent another file than"):
        fetch(server.remote(), tmp_path)
    assert left(tmp_path) == []


@pytest.mark.parametrize(("content", "sentence"), [(CONTENT + b"!", "gave more bytes, not 1024000"),
                                                   (CONTENT[:9], "gave 9 bytes, not 1024000")])
def test_another_size_than_promised(server, tmp_path, content, sentence):
    server.files["/file.bin"] = content
    with pytest.raises(ConnectionError, match=sentence):
        fetch(server.remote(), tmp_path)
    assert not (tmp_path / "file.bin").exists()


def test_a_gzip_file_stays_one_when_the_server_calls_it_an_encoding(server, tmp_path):
    packed = gzip.compress(b"some text")
    server.encode = True
    assert fetch(server.remote("a.gz", packed), tmp_path).read_bytes() == packed


def test_what_is_not_there(server, tmp_path):
    with pytest.raises(ConnectionError, match=r"none.bin could not be downloaded \(http.*/none.bin: 404 Not Found\)"):
        fetch(replace(server.remote(), name="none.bin", urls=(f"{server.url}/none.bin",)), tmp_path)


def test_nobody_answers(tmp_path):
    nobody = Remote("a", ("http://127.0.0.1:9/a",), 3, SHA256)
    with pytest.raises(ConnectionError, match=r"\(http://127.0.0.1:9/a: no connection\)"):
        fetch(nobody, tmp_path)


def test_the_second_mirror(server, tmp_path):
    file = server.remote()
    server.files["/wrong.bin"] = b"!" + CONTENT[1:]
    file = replace(file, urls=(f"{server.url}/gone.bin", f"{server.url}/wrong.bin", *file.urls))
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == ["/gone.bin", "/wrong.bin", "/file.bin"]


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        fetch(server.remote(), tmp_path / "file" / "inside")


# ------------------------------------------------------------------------------------------------------- whole datasets


def archive(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


@contextlib.contextmanager
def entry(monkeypatch, tmp_path, name, files):
    monkeypatch.setenv("MINICNN_HOME", str(tmp_path))
    monkeypatch.setitem(registry.DATASETS, name, replace(registry.DATASETS[name], files=tuple(files)))
    yield tmp_path / "datasets" / name


def test_cifar_is_downloaded_unpacked_and_read(server, tmp_path, monkeypatch):
    record = bytes([3]) + bytes(3072)
    inside = {f"cifar-10-batches-bin/{part}": record for part in (*cifar.TRAIN10, *cifar.TEST10)}
    inside["cifar-10-batches-bin/batches.meta.txt"] = "\n".join(cifar.CIFAR10).encode()
    file = server.remote("cifar-10-binary.tar.gz", archive(inside))
    with entry(monkeypatch, tmp_path, "cifar-10", [file]) as folder:
        with pytest.raises(FileNotFoundError, match="`minicnn data get cifar-10` downloads them"):
            data.load("cifar-10")
        assert len(registry.get("cifar-10")) == 7
        assert left(folder) == ["cifar-10-batches-bin"]    # the archive has gone
        assert data.load("cifar-10").train.labels.tolist() == [3] * 5
        assert registry.get("cifar-10") == []
        assert len(server.asked) == 1


def test_two_do_not_download_into_one_half_file(server, tmp_path, monkeypatch):
    file = server.remote("cifar-10-binary.tar.gz", b"")
    with entry(monkeypatch, tmp_path, "cifar-10", [file]) as folder:
        folder.mkdir(parents=True)
        held = []
        first = threading.Thread(target=lambda: held.append(Lock(folder, "download.lock")))
        first.start()
        first.join()
        with pytest.raises(RuntimeError) as error:
            registry.get("cifar-10")
        assert str(error.value) == (f"{folder} is in use by another thread of this process: wait for it, stop it, or "
                                    "set another MINICNN_HOME")
        assert not server.asked
        held[0].release()


def test_of_mnist_what_is_missing_alone(server, tmp_path, monkeypatch):
    digits = registry.DATASETS["digits"].folder
    files = [server.remote(path.name, path.read_bytes()) for path in sorted(digits.glob("*.gz"))]
    with entry(monkeypatch, tmp_path, "mnist", files) as folder:
        folder.mkdir(parents=True)
        packed = (digits / "train-images-idx3-ubyte.gz").read_bytes()
        (folder / "train-images-idx3-ubyte").write_bytes(gzip.decompress(packed))
        assert [path.name for path in registry.get("mnist")] == [
            "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "train-labels-idx1-ubyte.gz"]
        assert len(data.load("mnist").train) == 5000


def test_digits_need_no_download():
    with pytest.raises(ValueError, match="'digits' is part of minicnn: there is nothing to download"):
        registry.get("digits")
    with pytest.raises(ValueError, match="unknown dataset 'cifar': did you mean 'cifar-10'"):
        registry.get("cifar")


def test_the_registry_is_complete():
    for made in registry.DATASETS.values():
        for file in made.files:
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert file.size > 1000
            assert all(re.fullmatch(r"https?://\S+/" + re.escape(file.name), url) for url in file.urls)
    assert sum(len(made.files) for made in registry.DATASETS.values()) == 10


def test_importing_the_registry_loads_neither_pooch_nor_requests():
    import subprocess
    import sys

    code = "import sys, minicnn.data.registry; print({'pooch', 'requests', 'PIL', 'tarfile'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pooch" not in done.stdout
    assert "requests" not in done.stdout
