"""Checking a folder of pictures before training: every file is opened and decoded once.

    report = examine("stamps")
    report.problems            # {"truncated": ["birds/heron.jpg"], …}
    report.as_dict()           # everything, for JSON
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.data import crop, decode, duplicates, imagenet, samples
from minicnn.data.folder import CLASSES_FILE, SPLITS, ImageFolder, left_out, nfc

Array = Any  # numpy.ndarray

KINDS = {
    # kind: (whether it stops training, what it means)
    "empty": (True, "the file has no bytes"),
    "corrupt": (True, "the file can't be decoded as a picture"),
    "truncated": (True, "the file ends before the picture does"),
    "too large": (True, "more pixels than minicnn decodes"),
    "not read": (True, "numbers or colours that minicnn does not read, such as 32-bit grey; the details name them"),
    "outside link": (True, "a link to a target outside the folder, or to nothing"),
    "two classes": (False, "equal or nearly equal pictures in two classes"),
    "two splits": (False, "equal or nearly equal pictures in two splits, such as training and test"),
    "duplicate": (False, "equal files: a random split may put one into training and one into test"),
    "near duplicate": (False, "nearly equal pictures, with the same risk"),
    "blank": (False, "a single colour"),
    "huge": (False, f"over {decode.BIG // 2**20} megapixels: slow to decode; save a smaller copy"),
    "tiny": (False, "a side below 32 pixels"),
    "narrow": (False, "one side more than 4 times the other: much of it is cropped"),
    "animated": (False, "only the first frame is used"),
    "rotated": (False, "turned by its EXIF orientation, which minicnn applies and some programs ignore"),
    "CMYK": (False, "colours for print; converted to RGB without a colour profile"),
    "other depth": (False, "not 8 bits, or 0 is white: scaled to 8 bits, with 0 as black"),
    "misnamed": (False, "the format differs from the file name"),
    "not a picture": (False, "the file name is not that of a picture, so it is not read"),
}
"""Every problem that a file can have, the worst first."""


@dataclass
class Finding:
    """The result for one file."""

    name: str
    label: str
    split: str
    size: int
    width: int = 0
    height: int = 0
    format: str = ""
    samples: str = ""
    """Depth, colours and polarity: "16-bit grey, 0 is white"."""
    kinds: list[str] = field(default_factory=list)
    detail: str = ""
    digest: bytes | None = None
    hash: int | None = None
    thumbnail: Array = None


@dataclass
class Report:
    """The result of `examine`."""

    root: Path
    findings: list[Finding]
    structure: str
    """Why an `ImageFolder` refuses the folder, or ""."""
    exact: list[list[str]]
    near: list[list[str]]
    spellings: tuple[str, ...] = ()

    @property
    def problems(self) -> dict[str, list[str]]:
        """{kind of problem: its files}, the worst kind first."""
        return {kind: names for kind in KINDS if (names := [f.name for f in self.findings if kind in f.kinds])}

    @property
    def pictures(self) -> list[Finding]:
        """The files with the name of a picture."""
        return [f for f in self.findings if "not a picture" not in f.kinds]

    @property
    def fatal(self) -> bool:
        """Whether training on this folder would stop with an error."""
        return bool(self.structure) or any(KINDS[kind][0] for kind in self.problems)

    def counts(self) -> dict[str, dict[str, int]]:
        """{class: {split: pictures}}; the split is "" where the folder has no splits."""
        table: dict[str, Counter[str]] = {}
        for finding in self.pictures:
            table.setdefault(finding.label, Counter())[finding.split] += 1
        return {label: dict(table[label]) for label in sorted(table)}

    def notes(self) -> list[str]:
        """A sentence about the files that are left out because of their names, if there are any; and the spellings."""
        return [*left_out(f.name for f in self.findings if "not a picture" in f.kinds), *self.spellings]

    def samples(self) -> dict[str, int]:
        """{depth, colours and polarity: pictures}, such as {"8-bit RGB": 95, "16-bit grey, 0 is white": 5}."""
        return dict(sorted(Counter(f.samples for f in self.pictures if f.samples).items()))

    def sizes(self) -> dict[str, list[int]]:
        """{"width" | "height" | "size" (bytes): [least, median, most]} of the pictures that can be opened."""
        sound = [f for f in self.pictures if f.width]
        return {what: [int(f(values)) for f in (np.min, np.median, np.max)] for what in ("width", "height", "size")
                if (values := [getattr(f, what) for f in sound])}

    def as_dict(self) -> dict[str, Any]:
        """The whole report as plain values for JSON."""
        return {"folder": str(self.root), "pictures": len(self.pictures), "ok": not self.fatal,
                "structure": self.structure, "classes": self.counts(), "sizes": self.sizes(),
                "formats": dict(Counter(f.format for f in self.pictures if f.format).most_common()),
                "samples": self.samples(), "notes": self.notes(),
                "problems": [{"kind": kind, "stops_training": KINDS[kind][0], "meaning": KINDS[kind][1], "files": names}
                             for kind, names in self.problems.items()],
                "details": {f.name: f.detail for f in self.findings if f.detail},
                "duplicates": self.exact, "near_duplicates": self.near}  # fmt: skip


def examine(root: str | os.PathLike[str], progress: Callable[[int, int], None] = lambda done, of: None,
            workers: int = 0) -> Report:
    """Check every file below a folder with `workers` threads (0: one for each core).

    progress(files done, all files). FileNotFoundError where there is no such folder.
    """
    root = arguments.path(root)
    arguments.integer("workers", workers, 0)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: check the name")
    try:
        spellings = tuple(note for note in ImageFolder(root).notes if not note.startswith("left out"))
        structure = ""
    except ValueError as problem:
        structure, spellings = str(problem), ()
    names = sorted(_files(root))
    inside = root.resolve()
    findings = []
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for finding in pool.map(lambda name: _examine_file(root, inside, name), names):
            findings.append(finding)
            progress(len(findings), len(names))
    exact = duplicates.equal_groups([f.digest for f in findings])
    copies = {i for group in exact for i in group[1:]}
    near = duplicates.near_groups([None if i in copies else f.hash for i, f in enumerate(findings)],
                           [f.thumbnail for f in findings])
    for group, kind in [*((g, "duplicate") for g in exact), *((g, "near duplicate") for g in near)]:
        _mark([findings[i] for i in group], kind)
    return Report(root, findings, structure, [[findings[i].name for i in group] for group in exact],
                  [[findings[i].name for i in group] for group in near], spellings)


def _files(root: Path) -> list[str]:
    found = []
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(place, name).is_symlink()]
        found += [Path(place, name).relative_to(root).as_posix() for name in [*files, *links] if name[0] != "."]
    return [name for name in found if name != CLASSES_FILE]


def _examine_file(root: Path, inside: Path, name: str) -> Finding:
    path = root / name
    parts = Path(name).parts
    split = SPLITS.get(parts[0].lower(), "") if len(parts) > 2 else ""
    label = parts[1 if split else 0] if len(parts) > 1 else ""
    finding = Finding(name, imagenet.class_name(nfc(label)), split, 0)
    if path.is_symlink() and not (Path(os.path.realpath(path)).is_relative_to(inside) and path.is_file()):
        finding.kinds.append("outside link")
        return finding
    finding.size = path.stat().st_size
    if path.suffix.lower() not in decode.SUFFIXES:
        finding.kinds.append("not a picture")
    elif not finding.size:
        finding.kinds.append("empty")
    else:
        try:
            _decode(path, finding)
        except (ValueError, OSError) as problem:
            finding.kinds.append(_kind(problem))
            finding.detail = str(problem)
    return finding


def _decode(path: Path, finding: Finding) -> None:
    with open(path, "rb") as file:
        finding.digest = hashlib.file_digest(file, "sha256").digest()
    with decode.opened(path) as image:
        meaning = image.info[samples.KEY]
        finding.samples = str(meaning)
        finding.width, finding.height, finding.format = image.width, image.height, image.format
        add = finding.kinds.append
        if image.width * image.height > decode.BIG:
            add("huge")
        if min(image.size) < 32:
            add("tiny")
        if max(image.size) > 4 * min(image.size):
            add("narrow")
        if getattr(image, "n_frames", 1) > 1:
            add("animated")
        if image.getexif().get(0x0112, 1) not in (0, 1):
            add("rotated")
        if image.mode == "CMYK":
            add("CMYK")
        if meaning.bits > 8 or meaning.white_is_0:
            add("other depth")
        if path.suffix.lower() not in _SUFFIXES.get(image.format, ()):
            add("misnamed")
    grey = decode.read(path, crop.whole, (duplicates.SIDE, duplicates.SIDE), channels=1, draft=True)[0]
    if int(grey.max()) - int(grey.min()) <= 2:
        add("blank")
        return                                             # blank pictures are equal without being duplicates
    finding.hash, finding.thumbnail = duplicates.perceptual_hash(grey), duplicates.thumbnail(grey)


_JPEG = (".jpg", ".jpeg", ".jfif", ".jpe", ".jif")
_SUFFIXES = {"PNG": (".png", ".apng"), "JPEG": _JPEG, "MPO": _JPEG, "BMP": (".bmp", ".dib"), "GIF": (".gif",),
             "WEBP": (".webp",), "TIFF": (".tif", ".tiff")}


def _kind(problem: Exception) -> str:
    text = str(problem)
    if isinstance(problem, samples.NotReadError):
        return "not read"
    if "megapixels" in text or "MiB of memory" in text:
        return "too large"
    return "truncated" if "truncated" in text.lower() else "corrupt"


def _mark(group: list[Finding], kind: str) -> None:
    """Mark all but the first; where classes or splits differ mark all, because any of them may be wrong."""
    if len({f.label for f in group}) > 1:
        kind = "two classes"
    elif len({f.split for f in group}) > 1:
        kind = "two splits"
    for finding in group if kind.startswith("two") else group[1:]:
        if kind not in finding.kinds:
            finding.kinds.append(kind)
