"""The lab in the site: its files, its policy, and how Pyodide gets there."""

import hashlib
import io
import json
import re
import tarfile
import zipfile

import pytest

from docs.site import check, in_page, pyodide


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    folder = tmp_path_factory.mktemp("html")
    in_page.write(folder, steps=1)
    return folder


def test_the_page_loads_files_beside_it_and_the_check_finds_nothing(html):
    assert check.problems(html) == []
    loaded = {name for name in check.Page((html / "live" / "index.html").read_text("utf-8")).loads}
    assert loaded == {"icon.svg", "lab.css", "in_page.js"}
    asked = set()
    for name in ("in_page.js", "worker.js", "lab.js"):
        text = (html / "live" / name).read_text("utf-8")
        asked |= set(re.findall(r'\b(?:here|import|URL)\("([\w./]+)"', text))
    assert {"worker.js", "./lab.js", "minicnn.zip", "demo.safetensors"} <= asked
    assert all((html / "live" / name).is_file() for name in asked)


def test_nothing_can_be_sent_out_of_the_page(html):
    """Its policy allows the site alone, and no inline script: a picture that is drawn stays in the browser."""
    text = (html / "live" / "index.html").read_text("utf-8")
    policy = dict(part.split(" ", 1) for part in re.search(r'content="(default-src.*?)"', text)[1].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[f"{what}-src"] for what in ("connect", "script", "style", "worker")} == {"'self'"}
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", text)
    scripts = "".join((html / "live" / name).read_text("utf-8") for name in ("in_page.js", "worker.js", "lab.js"))
    assert set(re.findall(r"https?://[^\"'` ]+", scripts)) == {"http://www.w3.org/2000/svg"}


def test_the_archive_has_the_package_and_the_same_bytes_each_time(html, tmp_path):
    in_page.archive(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (html / "live" / "minicnn.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "again.zip") as archive:
        names = set(archive.namelist())
    there = {path.relative_to(in_page.ROOT).as_posix() for path in in_page.PACKAGE.rglob("*.py")}
    assert there <= names
    assert "minicnn/data/digits/t10k-images-idx3-ubyte.gz" in names
    assert not [name for name in names if name.endswith((".pyc", ".js", ".html"))]


def test_the_page_is_not_made_from_another_one(monkeypatch, tmp_path):
    (tmp_path / "lab" / "page").mkdir(parents=True)
    (tmp_path / "lab" / "page" / "index.html").write_text('<meta charset="utf-8"><p id="about">…</p>')
    monkeypatch.setattr(in_page, "PACKAGE", tmp_path)
    with pytest.raises(ValueError, match=r"must have <script type=\"module\" src=\"lab.js\"> once"):
        in_page.page()


@pytest.fixture
def full(monkeypatch):
    """{name: content} of a Pyodide of this version, as its checksums were."""
    found = {name: name.encode() * 3 for name in pyodide.FILES}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}
    monkeypatch.setattr(pyodide, "FILES", sums)
    packages = {name.split("-")[0]: {"file_name": name, "sha256": sums[name]} for name in sums if ".whl" in name}
    found[pyodide.LOCK] = json.dumps({"info": {"version": pyodide.VERSION}, "packages": packages}).encode()
    return found


def source(kind, files, folder):
    """The files as a folder, a zip file, a tar file or an address."""
    place = folder / "source"
    if kind in ("folder", "address"):
        place.mkdir()
        for name, content in files.items():
            (place / name).write_bytes(content)
        return str(place) if kind == "folder" else place.as_uri()
    if kind == "zip":
        with zipfile.ZipFile(place, "w") as archive:
            for name, content in files.items():
                archive.writestr(f"some/folder/{name}", content)
        return str(place)
    with tarfile.open(place, "w:bz2") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"pyodide/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return str(place)


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "address"])
def test_pyodide_is_copied_from_anywhere(full, tmp_path, kind):
    pyodide.put(source(kind, full | {"scipy.whl": b"more"}, tmp_path), tmp_path / "a", tmp_path / "b")
    for folder in ("a", "b"):
        assert {file.name: file.read_bytes() for file in (tmp_path / folder).iterdir()} == full


@pytest.mark.parametrize(("change", "said"), [
    (lambda files: files.update({"pyodide.mjs": b"other"}), "pyodide.mjs is not the one of Pyodide 0.27.7"),
    (lambda files: files.pop("pyodide.asm.wasm"), "no file pyodide.asm.wasm"),
    (lambda files: files.update({pyodide.LOCK: b"{}"}), "does not list numpy and pillow"),
    (lambda files: files.update({pyodide.LOCK: files[pyodide.LOCK].replace(b"0.27.7", b"0.26.0")}), "Pyodide 0.26.0"),
    (lambda files: files.update({pyodide.LOCK: files[pyodide.LOCK].replace(b'"sha256": "', b'"sha256": "0')}),
     "lists other wheels"),
], ids=["changed", "missing", "empty list", "older", "other wheels"])  # fmt: skip
def test_another_pyodide_is_refused_and_the_old_one_stays(full, tmp_path, change, said):
    pyodide.put(source("zip", full, tmp_path), tmp_path / "a")
    change(full)
    (tmp_path / "source").unlink()
    with pytest.raises(ValueError, match=re.escape(said)):
        pyodide.put(source("zip", full, tmp_path), tmp_path / "a")
    assert (tmp_path / "a" / "pyodide.mjs").read_bytes() == b"pyodide.mjs" * 3
