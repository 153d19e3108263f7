"""What is wrong with a folder of pictures, before a net learns it: every file is opened and decoded once.

    report = examine("stamps")
    report.problems            # {"truncated": ["birds/heron.jpg"], …}
    report.as_dict()           # the same and all else, for JSON
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

from minicnn.data import duplicates, imagenet, picture
from minicnn.data.folder import CLASSES_FILE, SPLITS, ImageFolder

Array = Any  # numpy.ndarray

KINDS = {
    # kind: (whether training stops there, what it means)
    "empty": (True, "a file of no bytes"),
    "corrupt": (True, "no picture that can be decoded, whatever its name says"),
    "truncated": (True, "the file ends before the picture does"),
    "too large": (True, "more pixels than minicnn decodes"),
    "32-bit": (True, "pixels without a scale that says what is white"),
    "leads out": (True, "a link to something outside of the folder, or to nothing"),
    "two classes": (False, "the same picture, or nearly, in folders of two classes"),
    "two splits": (False, "the same picture, or nearly, to learn from and to measure on"),
    "duplicate": (False, "the same file again: a split by chance may learn from one and measure on the other"),
    "near duplicate": (False, "nearly the same picture again, with the same danger"),
    "blank": (False, "one colour and nothing else"),
    "huge": (False, "over 16 megapixels: slow to decode, make it smaller once"),
    "tiny": (False, "a side below 32 pixels"),
    "narrow": (False, "one side more than 4 times the other: much of it is cut off"),
    "animated": (False, "only the first frame is used"),
    "rotated": (False, "turned by its EXIF orientation, which minicnn does, and some programs do not"),
    "CMYK": (False, "colours for print; converted without a profile"),
    "16-bit": (False, "scaled to 8 bits"),
    "misnamed": (False, "another format than its name says"),
    "no picture": (False, "not read, for its name is not a picture's"),
}
"""Every problem that a file can have, the worst first."""

HUGE = 16 * 2**20


@dataclass
class Finding:
    """What one file is."""

    name: str
    label: str
    split: str
    size: int
    width: int = 0
    height: int = 0
    format: str = ""
    kinds: list[str] = field(default_factory=list)
    detail: str = ""
    digest: bytes | None = None
    hash: int | None = None
    thumbnail: Array = None


@dataclass
class Report:
    """What `examine` found."""

    root: Path
    findings: list[Finding]
    structure: str
    """Why an `ImageFolder` refuses the folder, or ""."""
    exact: list[list[str]]
    near: list[list[str]]

    @property
    def problems(self) -> dict[str, list[str]]:
        """{kind: the files that have it}, the worst kind first."""
        return {kind: names for kind in KINDS if (names := [f.name for f in self.findings if kind in f.kinds])}

    @property
    def pictures(self) -> list[Finding]:
        """The files that are pictures by their names."""
        return [f for f in self.findings if "no picture" not in f.kinds]

    @property
    def fatal(self) -> bool:
        """Whether training on this folder would stop."""
        return bool(self.structure) or any(KINDS[kind][0] for kind in self.problems)

    def counts(self) -> dict[str, dict[str, int]]:
        """{class: {split: pictures}}; the split is "" where there are no folders of splits."""
        table: dict[str, Counter] = {}
        for finding in self.pictures:
            table.setdefault(finding.label, Counter())[finding.split] += 1
        return {label: dict(table[label]) for label in sorted(table)}

    def sizes(self) -> dict[str, list[int]]:
        """{"width" | "height" | "size" (bytes): [least, median, most]} of the pictures that can be opened."""
        sound = [f for f in self.pictures if f.width]
        return {what: [int(f(values)) for f in (np.min, np.median, np.max)] for what in ("width", "height", "size")
                if (values := [getattr(f, what) for f in sound])}

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {"folder": str(self.root), "pictures": len(self.pictures), "ok": not self.fatal,
                "structure": self.structure, "classes": self.counts(), "sizes": self.sizes(),
                "formats": dict(Counter(f.format for f in self.pictures if f.format).most_common()),
                "problems": [{"kind": kind, "stops_training": KINDS[kind][0], "meaning": KINDS[kind][1], "files": names}
                             for kind, names in self.problems.items()],
                "details": {f.name: f.detail for f in self.findings if f.detail},
                "duplicates": self.exact, "near_duplicates": self.near}  # fmt: skip


def examine(root: str | os.PathLike[str], progress: Callable[[int, int], None] = lambda done, of: None,
            workers: int = 0) -> Report:
    """Look at every file below a folder, with `workers` threads (0: one a core). FileNotFoundError where none is."""
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: check the name")
    try:
        ImageFolder(root)
        structure = ""
    except ValueError as problem:
        structure = str(problem)
    names = sorted(_files(root))
    inside = root.resolve()
    findings = []
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for finding in pool.map(lambda name: _look(root, inside, name), names):
            findings.append(finding)
            progress(len(findings), len(names))
    exact = duplicates.same([f.digest for f in findings])
    copies = {i for group in exact for i in group[1:]}
    near = duplicates.near([None if i in copies else f.hash for i, f in enumerate(findings)],
                           [f.thumbnail for f in findings])
    for group, kind in [*((g, "duplicate") for g in exact), *((g, "near duplicate") for g in near)]:
        _mark([findings[i] for i in group], kind)
    return Report(root, findings, structure, [[findings[i].name for i in group] for group in exact],
                  [[findings[i].name for i in group] for group in near])


def _files(root: Path) -> list[str]:
    found = []
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(place, name).is_symlink()]
        found += [Path(place, name).relative_to(root).as_posix() for name in [*files, *links] if name[0] != "."]
    return [name for name in found if name != CLASSES_FILE]


def _look(root: Path, inside: Path, name: str) -> Finding:
    path = root / name
    parts = Path(name).parts
    split = SPLITS.get(parts[0].lower(), "") if len(parts) > 2 else ""
    label = parts[1 if split else 0] if len(parts) > 1 else ""
    finding = Finding(name, imagenet.title(label), split, 0)
    if path.is_symlink() and not (Path(os.path.realpath(path)).is_relative_to(inside) and path.is_file()):
        finding.kinds.append("leads out")
        return finding
    finding.size = path.stat().st_size
    if path.suffix.lower() not in picture.SUFFIXES:
        finding.kinds.append("no picture")
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
    with picture.opened(path) as image:
        finding.width, finding.height, finding.format = image.width, image.height, image.format
        say = finding.kinds.append
        if image.width * image.height > HUGE:
            say("huge")
        if min(image.size) < 32:
            say("tiny")
        if max(image.size) > 4 * min(image.size):
            say("narrow")
        if getattr(image, "n_frames", 1) > 1:
            say("animated")
        if image.getexif().get(0x0112, 1) not in (0, 1):
            say("rotated")
        if image.mode == "CMYK":
            say("CMYK")
        if _sixteen_bits(image):
            say("16-bit")
        if path.suffix.lower() not in _SUFFIXES.get(image.format, ()):
            say("misnamed")
    grey = picture.read(path, picture.whole, (duplicates.SIDE, duplicates.SIDE), channels=1, draft=True)[0]
    if int(grey.max()) - int(grey.min()) <= 2:
        say("blank")
        return                                             # all blank pictures are alike, and that says nothing
    finding.hash, finding.thumbnail = duplicates.perceptual_hash(grey), duplicates.thumbnail(grey)


_SUFFIXES = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg"), "MPO": (".jpg", ".jpeg"), "BMP": (".bmp",), "GIF": (".gif",),
             "WEBP": (".webp",), "TIFF": (".tif", ".tiff")}


def _sixteen_bits(image: Any) -> bool:
    tiles = getattr(image, "tile", None) or [("", (), 0, ())]
    return image.mode.startswith("I;16") or ";16" in str(tiles[0][3])


def _kind(problem: Exception) -> str:
    text = str(problem)
    if "megapixels" in text:
        return "too large"
    if "32-bit" in text:
        return "32-bit"
    return "truncated" if "truncated" in text.lower() else "corrupt"


def _mark(group: list[Finding], kind: str) -> None:
    """Say it of all but the first; but where classes or splits differ, of all, because any of them may be wrong."""
    if len({f.label for f in group}) > 1:
        kind = "two classes"
    elif len({f.split for f in group}) > 1:
        kind = "two splits"
    for finding in group if kind.startswith("two") else group[1:]:
        if kind not in finding.kinds:
            finding.kinds.append(kind)
