"""ImageNet's thousand classes (ILSVRC 2012): their folders' names (WordNet ids) and what they mean.

    root/train/n01440764/*.JPEG      1.28 million pictures
    root/val/n01440764/*.JPEG        50 000

Class k is the k-th id in the alphabet's order, for every net that anybody has trained. A folder of some of the classes
only, such as Imagenette's ten, is an `ImageFolder` with those classes; `indices` says which of the thousand they are.

Russakovsky et al. 2015, "ImageNet large scale visual recognition challenge", arXiv:1409.0575. The pictures are for
research and have to be asked for, at image-net.org; nobody may hand them on.
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


def is_id(name: str) -> bool:
    """Whether a folder is called as one of the thousand classes."""
    return name in labels()


def title(name: str) -> str:
    """What a class is called: the first of its names, with the id where that is another class's too; or `name` itself.

    There are two "crane"s, a bird and a machine, and two "maillot"s.
    """
    return _titles().get(name, name)


@cache
def _titles() -> dict[str, str]:
    first = {name: names.split(",")[0] for name, names in labels().items()}
    often = Counter(first.values())
    return {name: word if often[word] == 1 else f"{word} ({name})" for name, word in first.items()}


def indices(names: Iterable[str]) -> list[int]:
    """Which of the thousand some ids are: ["n01443537"] → [1]. ValueError for another name."""
    places = {name: k for k, name in enumerate(labels())}
    found = []
    for name in names:
        if name not in places:
            raise ValueError(f"{name!r} is none of ImageNet's 1000 classes, which are called as n01440764")
        found.append(places[name])
    return found
