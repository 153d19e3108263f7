"""The doctor: a folder with one of every illness, each made with Pillow or by hand."""

import json

import numpy as np
import pytest
from PIL import Image

from minicnn.data import contact_sheet, decode, doctor, duplicates
from tests.data.pictures import make_folder, noise


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """A folder, and what is wrong with each of its files."""
    root = tmp_path_factory.mktemp("ward")
    make_folder(root, {"train/a": 3, "train/b": 3, "test/a": 2, "test/b": 2}, size=(64, 80))
    a, b = root / "train" / "a", root / "train" / "b"
    big = noise(200, 300, seed=100)
    big.save(root / "test/a/big.png")
    ill = {}

    def put(path, kind, save=None):
        if save:
            save(path)
        ill.setdefault(path.relative_to(root).as_posix(), set()).add(kind)

    put(a / "empty.jpg", "empty", lambda p: p.write_bytes(b""))
    put(a / "text.png", "corrupt", lambda p: p.write_text("this is no picture"))
    noise(200, 200, 1000).save(a / "whole.jpg", quality=95)
    put(a / "cut.jpg", "truncated", lambda p: p.write_bytes((a / "whole.jpg").read_bytes()[:-999]))
    (a / "whole.jpg").unlink()
    exif = Image.Exif()
    exif[0x0112] = 6
    put(a / "turned.jpg", "rotated", lambda p: noise(70, 70, 101).save(p, exif=exif))
    put(b / "print.jpg", "CMYK", lambda p: noise(70, 70, 102).convert("CMYK").save(p))
    deep = np.asarray(noise(70, 70, 103).convert("L")).astype(np.uint16) * 257
    put(b / "deep.png", "other depth", lambda p: Image.fromarray(deep).save(p))
    put(b / "float.tiff", "not read", lambda p: Image.fromarray(np.ones((64, 64), np.float32)).save(p))
    frames = [noise(70, 70, 104), noise(70, 70, 105)]
    put(b / "film.gif", "animated", lambda p: frames[0].save(p, save_all=True, append_images=frames[1:]))
    put(b / "tiny.png", "tiny", lambda p: noise(16, 40, 106).save(p))
    put(b / "strip.png", "narrow", lambda p: noise(40, 200, 107).save(p))
    put(b / "white.png", "blank", lambda p: Image.new("RGB", (64, 64), "white").save(p))
    put(b / "really-jpeg.png", "misnamed", lambda p: noise(70, 70, 108).save(p, format="JPEG"))
    put(b / "notes.md", "not a picture", lambda p: p.write_text("x"))
    put(b / "away.png", "outside link", lambda p: p.symlink_to("/etc/hostname"))
    # the same file in one class; nearly the same in train and test; the same in both classes
    put(a / "again.png", "duplicate", lambda p: p.write_bytes((a / "000.png").read_bytes()))
    put(a / "small.jpg", "two splits", lambda p: big.resize((150, 100)).save(p, quality=60))
    put(root / "test/a/big.png", "two splits")
    put(b / "moved.png", "two classes", lambda p: p.write_bytes((root / "test/a/001.png").read_bytes()))
    put(root / "test/a/001.png", "two classes")
    noise(90, 90, 109).save(b / "one.png")
    put(b / "zone.jpg", "near duplicate", lambda p: noise(90, 90, 109).save(p, quality=40))
    return root, ill


@pytest.fixture(scope="module")
def report(ward):
    return doctor.examine(ward[0])


def test_every_illness_is_found_and_no_other(ward, report):
    found = {finding.name: set(finding.kinds) for finding in report.findings if finding.kinds}
    assert found == ward[1]
    assert set(report.problems) | {"too large", "huge"} == set(doctor.KINDS)
    assert list(report.problems) == [kind for kind in doctor.KINDS if kind in report.problems]


def test_counts_and_sizes(report):
    assert report.counts() == {"a": {"train": 9, "test": 3}, "b": {"train": 15, "test": 2}}
    widths = [f.width for f in report.pictures if f.width]
    assert report.sizes()["width"] == [min(widths), int(np.median(widths)), max(widths)]
    assert (min(widths), max(widths)) == (40, 300)


def test_groups_of_duplicates(report):
    assert sorted(map(sorted, report.exact)) == [["test/a/001.png", "train/b/moved.png"],
                                                 ["train/a/000.png", "train/a/again.png"]]
    assert sorted(map(sorted, report.near)) == [["test/a/big.png", "train/a/small.jpg"],
                                                ["train/b/one.png", "train/b/zone.jpg"]]


def test_it_says_whether_training_would_stop(report, tmp_path):
    assert report.fatal
    assert "is a link out of the folder" in report.structure
    sound = doctor.examine(make_folder(tmp_path, {"a": 3, "b": 2}, size=(40, 40)))
    assert not sound.fatal
    assert (sound.structure, sound.problems) == ("", {})
    one = doctor.examine(make_folder(tmp_path / "one", {"a": 3}, size=(40, 40)))
    assert one.fatal
    assert "has one class, 'a'" in one.structure


def test_the_report_is_json(report):
    told = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert told["ok"] is False
    assert told["pictures"] == 29
    kinds = {problem["kind"]: problem for problem in told["problems"]}
    assert kinds["truncated"]["files"] == ["train/a/cut.jpg"]
    assert kinds["truncated"]["stops_training"] is True
    assert kinds["rotated"]["stops_training"] is False
    assert "cut.jpg cannot be decoded (image file is truncated" in told["details"]["train/a/cut.jpg"]
    assert told["formats"]["GIF"] == 1


def test_huge_pictures(tmp_path, monkeypatch):
    make_folder(tmp_path, {"a": 1, "b": 1}, size=(40, 50))
    monkeypatch.setattr(decode, "BIG", 1999)
    monkeypatch.setattr(decode, "MAX_PIXELS", 2000)
    assert list(doctor.examine(tmp_path).problems) == ["huge"]
    monkeypatch.setattr(decode, "MAX_PIXELS", 1999)
    assert list(doctor.examine(tmp_path).problems) == ["too large"]


def test_progress_and_a_folder_that_is_not_there(tmp_path):
    make_folder(tmp_path, {"a": 3, "b": 2})
    told = []
    doctor.examine(tmp_path, lambda done, of: told.append((done, of)))
    assert told == [(n, 5) for n in range(1, 6)]
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        doctor.examine(tmp_path / "nowhere")


# ---------------------------------------------------------------------------------------------------------- duplicates


def grey(image):
    return np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BILINEAR))


def test_the_hash_is_the_sign_of_the_low_frequencies():
    x = grey(noise(64, 64, 3)).astype(float)
    f = [sum(x[i, j] * np.cos(np.pi / 32 * (i + 0.5) * k) * np.cos(np.pi / 32 * (j + 0.5) * l)
             for i in range(32) for j in range(32)) for k in range(8) for l in range(8)][1:]
    bits = "".join("1" if value > np.median(f) else "0" for value in f) + "0"
    assert duplicates.perceptual_hash(x) == int(bits, 2)


def test_a_picture_resized_compressed_or_brightened_is_near_and_another_is_not():
    pictures, groups = [], []
    for seed in range(40):
        image = noise(200, 200, seed)
        groups.append(list(range(len(pictures), len(pictures) + 3)))
        pictures += [image, image.resize((67, 71)), image.point(lambda v: v * 0.8 + 20)]
    greys = [grey(image) for image in pictures]
    hashes, thumbnails = map(duplicates.perceptual_hash, greys), map(duplicates.thumbnail, greys)
    found = duplicates.near_groups([*hashes], [*thumbnails])
    assert sorted(found) == groups


def test_the_thumbnail_correlates_with_itself():
    one, other = (duplicates.thumbnail(grey(noise(64, 64, seed))).astype(float) for seed in (1, 2))
    assert one @ one == pytest.approx(1, abs=2e-3)
    assert abs(one @ other) < 0.9
    assert not duplicates.thumbnail(np.full((32, 32), 7)).any()


def test_groups_join_whoever_is_linked():
    assert duplicates._connected([(1, 2), (5, 6), (2, 3), (9, 6)]) == [[1, 2, 3], [5, 6, 9]]
    assert duplicates.equal_groups([b"a", None, b"b", b"a", None]) == [[0, 3]]


# ---------------------------------------------------------------------------------------------------- the contact sheet


def test_the_contact_sheet_shows_what_was_found(report, tmp_path):
    rows = contact_sheet.report_rows(report)
    assert [heading for heading, _ in rows] == [
        "training would stop at these", "worth a look", "the same file, twice or more", "nearly the same picture",
        "a: 10 pictures", "b: 15 pictures"]  # fmt: skip
    bad = {(cell.name, cell.tag) for cell in rows[0][1]}
    assert bad == {("train/a/empty.jpg", "empty"), ("train/a/text.png", "corrupt"), ("train/a/cut.jpg", "truncated"),
                   ("train/b/float.tiff", "not read"), ("train/b/away.png", "outside link")}
    assert {cell.tag for cell in rows[2][1]} == {"group 1", "group 2"}
    contact_sheet.draw(rows, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as drawn:
        assert drawn.width == 10 * (112 + 8) + 8
        pixels = np.asarray(drawn.convert("RGB"))
    # the picture that is all white is the first of the second row: below a heading, pictures with 3 lines, a heading
    assert rows[1][1][0].tag == "blank"
    top = 8 + 26 + (112 + 3 * 12 + 8) + 8 + 26
    assert (pixels[top + 2 : top + 110, 10:118] == 255).all()
    assert not (pixels[top + 2 : top + 110, 130:238] == 255).all()
    for row, column in ((20, 20), (20, 91), (56, 56)):     # and the first one is crossed out
        assert (pixels[8 + 26 + row, 8 + column] == (176, 32, 32)).all()


def test_on_a_sheet_nothing_lies_on_a_picture_and_the_texts_stand_beside_it(tmp_path):
    colours = [(40 + 14 * i, 255 - 14 * i, 90) for i in range(15)]
    for i, colour in enumerate(colours):
        Image.new("RGB", (50, 50), colour).save(tmp_path / f"{i}.png")
    cells = [contact_sheet.Cell(tmp_path / f"{i}.png", f"folder/{i}.png", "a remark" * (i > 12)) for i in range(15)]
    contact_sheet.draw([("first", cells[:13]), ("second", cells[13:])], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    boxes = []
    for colour in colours:
        rows, columns = np.nonzero((abs(pixels - colour) <= 2).all(2))
        boxes.append((rows.min(), rows.max() + 1, columns.min(), columns.max() + 1))
        assert len(rows) == 110 * 110 == np.ptp(rows) * np.ptp(columns) + 2 * 109 + 1, "112 × 112 within a thin frame"
    assert [box[2] for box in boxes[:10]] == sorted({box[2] for box in boxes}), "ten in a line"
    assert [box[2] for box in boxes[10:]] == [boxes[i][2] for i in (0, 1, 2, 0, 1)]
    tops = [boxes[i][0] for i in (0, 10, 13)]
    assert [box[0] for box in boxes] == [tops[0]] * 10 + [tops[1]] * 3 + [tops[2]] * 2

    def lines(top, bottom, left, right):
        """How many lines of text there are."""
        ink = (pixels[top:bottom, left:right] < 200).all(2).any(1)
        return int(ink[0]) + np.count_nonzero(np.diff(ink.astype(int)) == 1)

    assert lines(0, tops[0] - 1, 0, pixels.shape[1]) == 1, "the heading"
    for (_, bottom, left, right), below in zip(boxes, [tops[1] - 2] * 10 + [tops[2] - 27] * 3 + [len(pixels)] * 2):
        assert lines(bottom + 1, below, left, right) == (3 if below == len(pixels) else 2), "folder and name"
    assert lines(boxes[12][1] + 1, tops[2] - 1, 0, pixels.shape[1]) == 3


def test_a_sheet_of_nothing(tmp_path):
    with pytest.raises(ValueError, match="there is nothing to show"):
        contact_sheet.draw([], tmp_path / "sheet.png")
