from pathlib import Path

from PIL import Image, ImageStat

EXERCISE = 12


def pictures(folder):
    """(path, picture) of all that can be decoded."""
    for path in sorted(Path(folder).rglob("*.*")):
        try:
            with Image.open(path) as image:
                image.load()
                yield path.relative_to(folder).as_posix(), image
        except Exception:
            pass


def damaged(folder):
    everything = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.*")}
    return everything - {path for path, _ in pictures(folder)}


def wrong_mode(folder):
    return {path for path, image in pictures(folder) if image.mode != "RGB"}


def rotated(folder):
    return {path for path, image in pictures(folder) if image.getexif().get(274, 1) != 1}


def key(path, image):
    return image.mode, image.size, image.tobytes()


def groups(folder):
    found = {}
    for path, image in pictures(folder):
        found.setdefault(key(path, image), []).append(path.split("/"))
    return found.values()


def conflicts(folder):
    wrong = set()
    for group in groups(folder):
        train = [path for path in group if path[0] == "train"]
        if len({path[1] for path in train}) > 1:
            wrong |= {"/".join(path) for path in train}
    return wrong


def leaks(folder):
    wrong = set()
    for group in groups(folder):
        if {path[0] for path in group} == {"train", "val"}:
            wrong |= {"/".join(path) for path in group if path[0] == "val"}
    return wrong


def mislabelled(folder):
    wrong = set()
    for path, image in pictures(folder):
        if image.mode == "L":
            continue
        means = ImageStat.Stat(image.convert("RGB")).mean
        shows = ("brick", "leaf", "sky")[means.index(max(means))]
        if shows != path.split("/")[1]:
            wrong.add(path)
    return wrong
