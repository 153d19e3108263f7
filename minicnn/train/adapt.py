"""Transfer learning, from weights and a folder of pictures to a classifier: the head is solved, the body may learn on.

1. The body's features of every training picture, and of its mirror image, are computed once (transfer.py).
2. The head is the best linear classifier of them (head.py). That is head.safetensors, and for a frozen body all.
3. With `unfreeze`, parts of the body learn on from there, slowly, in an ordinary run (run.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from minicnn import data, models, rng
from minicnn.io import model_file
from minicnn.train import folder, head, recipe, transfer
from minicnn.train.config import Config, absolute
from minicnn.train.run import Run
from minicnn.train.source import NORMALISATIONS, Pictures, open_pictures, preparer

VIEWS = (("features of the pictures", "none"), ("features of their mirror images", "flip:1"))
"""The features of each training picture are computed as it is, and mirrored."""

TRIED = 200
"""With so many pictures it is found out which normalisation a body knows, if nobody says."""


def adapt(config: Config, where: str | Path, *, normalisation: str = "auto", overwrite: bool = False,
          on_batch: Callable[[str, int, int], None] = lambda what, done, all_: None) -> Run:  # fmt: skip
    """Steps 1 and 2 into a run folder, and step 3 ready to begin: `adapt(config, "runs/mine").train()`, then `.test()`.

    config.weights: the file of the body's weights.   normalisation: what its pictures went through, one of
    NORMALISATIONS, or "auto": what a model file says, otherwise what cross-validation finds best.
    on_batch(what, done, all) tells how far it is. Raises before anything is written if weights, pictures and model do
    not belong together.
    """
    config, where = absolute(config.check()), Path(where)
    folder.refuse(where, overwrite)
    rng.seed(config.seed)
    pictures = open_pictures(config)
    options = recipe.model_options(config, pictures)
    model = models.build(config.model, **options).to(config.device)
    prepare = preparer(config.device)
    blank = prepare(np.zeros((1, *pictures.preprocessing.shape), np.float32))
    split = transfer.split(model, config.model, options, blank)
    transfer.load_body(model, split, config.weights)
    learns = transfer.freeze(model, split, config.unfreeze)

    def features(chosen, what, augment="none"):
        loader = pictures.loader(chosen, pictures.evaluated(chosen).batch_size, config.workers, augment)
        with loader:
            told = _told(loader, lambda done: on_batch(what, done, len(loader)))
            return transfer.features(model, split, told, prepare)[0]          # (N, F)

    def loss(name):
        pictures.preprocessing = _normalised(pictures, name)
        few = pictures.train.select(_some_of_each(pictures.train.labels, config.seed))
        x = features(few, f"which normalisation: {name}")
        solved = head.fit(x[None], few.labels, len(pictures.classes), seed=config.seed)
        return solved.tried[solved.strength][0]

    name = _known(config.weights) if normalisation == "auto" else normalisation
    name = name or min(NORMALISATIONS, key=loss)
    pictures.preprocessing = _normalised(pictures, name)
    x = np.stack([features(pictures.train, what, augment) for what, augment in VIEWS])  # (V, N, F)
    labels = pictures.train.labels
    weight = recipe.class_weights(config, labels, len(pictures.classes))
    solved = head.fit(x, labels, len(pictures.classes), seed=config.seed, weight=weight)
    transfer.put_in(split, solved.weight, solved.bias, x[0])
    about = model_file.Description.of(config.model, options, pictures.classes, pictures.preprocessing,
                                      trained_on=config.dataset)  # fmt: skip
    where.mkdir(parents=True, exist_ok=True)
    model_file.save(where / folder.HEAD, model, about)
    run = Run(config, where, overwrite=True)
    folder.write(where / "head.json", {
        "weights": config.weights, "head": split.name, "learns": learns, "normalisation": name,
        "pictures": len(labels), "features": x.shape[2], "views": len(x), "lambda": solved.strength,
        "loss": solved.tried[solved.strength][0], "accuracy": solved.tried[solved.strength][1],
        "tried": [{"lambda": s, "loss": loss, "accuracy": right} for s, (loss, right) in solved.tried.items()],
    })  # fmt: skip
    return run


def _normalised(pictures: Pictures, name: str) -> data.Preprocessing:
    mean, std = NORMALISATIONS[name] if isinstance(name, str) else name
    channels = pictures.preprocessing.channels
    return replace(pictures.preprocessing, mean=mean[:channels], std=std[:channels])


def _known(weights: str):
    """(mean, std) that a model file of ours says, otherwise None."""
    try:
        about = model_file.description(weights)
    except ValueError:
        return None
    return tuple(about.mean), tuple(about.std)


def _some_of_each(labels: np.ndarray, seed: int) -> np.ndarray:
    """Which pictures to try a normalisation on: TRIED at most, as many of each class as there are in all, in order."""
    order = np.random.default_rng([seed, 5]).permutation(len(labels))
    return np.sort(order[:TRIED])


def _told(batches: Iterable, tell: Callable[[int], None]):
    for done, batch in enumerate(batches, 1):
        yield batch
        tell(done)
