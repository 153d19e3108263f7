"""ImageNet's 1000 classes (ILSVRC 2012): the names of their folders (WordNet ids) and of the classes.

    root/train/n01440764/*.JPEG      1.28 million pictures
    root/val/n01440764/*.JPEG        50 000

Class k is the k-th id in alphabetical order, in all published nets. A folder with only some of the classes, such as
Imagenette's ten, is an `ImageFolder` with those classes; `indices` gives their numbers among the 1000.

Russakovsky et al. 2015, "ImageNet large scale visual recognition challenge", arXiv:1409.0575. The pictures are for
research only: request access at image-net.org; they must not be redistributed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("imagenet_labels.txt")


@cache
def labels() -> dict[str, str]:
    """{WordNet id: name}, in the order of the classes: {"n01440764": "tench, Tinca tinca", …}."""
    return dict(line.split(" ", 1) for line in FILE.read_text("utf-8").splitlines())


def class_name(folder: str) -> str:
    r"""The name of the class with this id: the first of its names, or `folder` itself where it is not such an id.

    Where two classes share it, the id is added: there are two "crane"s, a bird and a machine, and two "maillot"s.
    Bytes that Python could not decode in this locale are UTF-8, or else written as \xe4.
    """
    return _class_names().get(folder) or folder.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@cache
def _class_names() -> dict[str, str]:
    first = {name: names.split(",")[0] for name, names in labels().items()}
    count = Counter(first.values())
    return {name: word if count[word] == 1 else f"{word} ({name})" for name, word in first.items()}


def indices(names: Iterable[str]) -> list[int]:
    """The numbers of some ids among the 1000 classes: ["n01443537"] → [1]. ValueError for any other name."""
    places = {name: k for k, name in enumerate(labels())}
    found = []
    for name in [names] if isinstance(names, str) else names:
        if name not in places:
            raise ValueError(f"{name!r} is not one of ImageNet's 1000 ids: they look like n01440764")
        found.append(places[name])
    return found
