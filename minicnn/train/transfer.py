"""Transfer learning: a new head on a pretrained body. The head is solved; the body may be trained further.

1. The body's features of each training picture, and of its mirror image, are computed once (body.py).
2. The head is the best linear classifier of them (linear_head.py), written to head.safetensors.
3. With `unfreeze`, parts of the body are then trained at a small learning rate, in an ordinary run (run.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from minicnn import models, rng
from minicnn.data import NORMALISATIONS, Splits
from minicnn.io import model_file
from minicnn.io.weights import load_into
from minicnn.nn import Module
from minicnn.piece import piece
from minicnn.ranks import Alone
from minicnn.train import body, build, folder, linear_head
from minicnn.train.config import Config
from minicnn.train.config_files import complete
from minicnn.train.run import Run
from minicnn.train.source import drawn, open_splits, preparer

VIEWS = (("features of the pictures", "none"), ("features of their mirror images", "flip:1"))
"""Each training picture is used as it is, and mirrored."""

OnBatch = Callable[[str, int, int], None]
"""on_batch(what, done, all) reports progress."""

TRIED = 200
"""The most pictures used to compare normalisations."""


def transfer(config: Config, where: str | Path | None = None, *, normalisation: str = "auto", overwrite: bool = False,
             on_batch: OnBatch = lambda what, done, all_: None, team: Alone | None = None) -> Run:  # fmt: skip
    """Do steps 1 and 2 in a run folder and prepare step 3: `transfer(config, "runs/mine").train()`, then `.test()`.

    config.weights: the file with the body's weights.   normalisation: that of the body's pictures, one of
    NORMALISATIONS, or "auto": that of the model file, otherwise the best in cross-validation.
    on_batch(what, done, all) reports progress. The folder is claimed before the features are computed; errors about
    weights, pictures and model are raised before anything is written into it.

    team: the ranks that share the pictures, all with the same arguments. Rank 0 writes the folder, and its head counts.
    """
    config, team = complete(config.check()), team or Alone()
    writes = team.rank == 0
    if where is not None and writes:
        folder.refuse(Path(where), overwrite)
    rng.seed(config.seed)
    splits = open_splits(config, team=team)
    base, options = build.model_options(config, splits)
    model = models.build(base, **options).to(config.device)
    prepare = preparer(config.device)
    splits = build.fit_images(model, config, splits)
    blank = prepare(np.zeros((1, *splits.preprocessing.shape), np.float32))
    head = body.split(model, base, options, blank)
    prefix = load_into(model, config.weights, skip=head.new).prefix
    trained = body.freeze(model, head, config.unfreeze)
    place, lock = folder.claim(config, None if where is None else Path(where), overwrite) if writes else (Path(), None)

    def loss(name):
        normalised = _normalised(splits, name)
        few = drawn(splits.train, TRIED, [config.seed, 5])
        x = _features(model, head, normalised, few, config, f"which normalisation: {name}", "none", on_batch, team)
        solved = linear_head.fit(x[None], few.labels, len(splits.classes), seed=config.seed)
        return solved.tried[solved.strength][0]

    with folder.given_back(place, lock) if lock else contextlib.nullcontext():
        name = _of_model_file(config.weights) if normalisation == "auto" else normalisation
        if name is None:                                                      # the ranks' losses may differ a little
            name = team.broadcast_bytes(min(NORMALISATIONS, key=loss).encode()).decode()
        splits = _normalised(splits, name)
        solved, x = solve_head(model, head, splits, config, on_batch, team)
        about = model_file.Description.of(base, options, splits.classes, splits.preprocessing,
                                          trained_on=config.dataset)
        if writes:
            model_file.save(place / folder.HEAD, model, about)
        run = Run(config, place, overwrite=True, team=team)
    if not writes:
        return run
    folder.write(place / "head.json", {
        "weights": config.weights, "prefix": prefix, "head": head.name, "learns": trained, "normalisation": name,
        "pictures": len(splits.train), "features": x.shape[2], "views": len(x), "lambda": solved.strength,
        "loss": solved.tried[solved.strength][0], "accuracy": solved.tried[solved.strength][1],
        "tried": [{"lambda": s, "loss": loss, "accuracy": right} for s, (loss, right) in solved.tried.items()],
    })  # fmt: skip
    return run


def solve_head(model: Module, head: body.Split, splits: Splits, config: Config,
               on_batch: OnBatch = lambda what, done, all_: None,
               team: Alone | None = None) -> tuple[linear_head.Head, np.ndarray]:  # fmt: skip
    """Set the head to the best linear classifier of the body's features of splits.train. → (it, features (V,N,F))"""
    x = np.stack([_features(model, head, splits, splits.train, config, what, augment, on_batch, team or Alone())
                  for what, augment in VIEWS])                                # (V, N, F)
    labels = splits.train.labels
    weight = build.class_weights(config.class_weights, labels, len(splits.classes))
    solved = linear_head.fit(x, labels, len(splits.classes), seed=config.seed, weight=weight)
    body.put_in(head, solved.weight, solved.bias, x[0])
    return solved, x


def _features(model, head, splits: Splits, chosen, config: Config, what: str, augment: str, on_batch: OnBatch,
              team: Alone):  # fmt: skip
    """The body's features (N,F) of the pictures `chosen`, of which each rank computes a piece."""
    own = piece(len(chosen), *team.part)
    mine = chosen if own.size == len(chosen) else chosen[own.rows]
    loader = splits.loader(mine, splits.evaluated(mine).batch_size, config.workers, augment)
    with loader:
        batches = _reported(loader, lambda done: on_batch(what, done, len(loader)))
        found = body.features(model, head, batches, preparer(config.device))[0]
    if team.size == 1:
        return found
    every = np.zeros((len(chosen), found.shape[1]), found.dtype)
    if own.size:
        every[own.rows] = found
    for rows in np.array_split(every, 1 + every.size // 2**27):               # pieces, because MPI counts with 32 bits
        team.sum(rows)                                                        # the others' rows are 0 here
    return every


def _normalised(splits: Splits, name) -> Splits:
    mean, std = NORMALISATIONS[name] if isinstance(name, str) else name
    channels = splits.preprocessing.channels
    return splits.with_preprocessing(replace(splits.preprocessing, mean=mean[:channels], std=std[:channels]))


def _of_model_file(weights: str):
    """(mean, std) of a model file; None for other weights files."""
    try:
        about = model_file.description(weights)
    except ValueError:
        return None
    return tuple(about.mean), tuple(about.std)


def _reported(batches: Iterable, tell: Callable[[int], None]):
    for done, batch in enumerate(batches, 1):
        yield batch
        tell(done)
