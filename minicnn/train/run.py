"""A training run: from settings to a trained model, in a folder (folder.py lists its files)."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from minicnn import models, optim, rng
from minicnn.data import Splits
from minicnn.data.dataset import Source
from minicnn.io import model_file
from minicnn.lock import Lock, NoLock
from minicnn.nn import Module
from minicnn.piece import piece
from minicnn.ranks import Alone
from minicnn.tensor import no_grad
from minicnn.train import body, build, checkpoint, folder, gradient_flow, losses, state
from minicnn.train.config import Config
from minicnn.train.config_files import complete, from_json
from minicnn.train.loop import Evaluation, NonFiniteLossError, Progress, evaluate, train_epoch
from minicnn.train.shared import Shared, share_state
from minicnn.train.source import open_splits, preparer, some_batches
from minicnn.train.stop import Request, Stopped
from minicnn.train.tensorboard import EventFile

NOBODY = Request()


def _of_rank_0(path: Path, team: Alone) -> tuple[Module, model_file.Description]:
    """The model in a file of the run's folder, which only rank 0 reads: the others may not see the folder."""
    if team.size == 1:
        return model_file.load(path)
    content = team.broadcast_bytes(path.read_bytes() if team.rank == 0 else b"")
    with tempfile.TemporaryDirectory(prefix="minicnn-") as place:
        copy = Path(place) / path.name
        copy.write_bytes(content)
        return model_file.load(copy)


class Run:
    """One training run in one folder: `Run(config, "runs/first").train()`, then `.test()`; `Run.resume` continues one.

    where: the folder; without it the next free one, runs/DATA-MODEL-1, -2, …   Errors come before any write.

    team: the ranks that train together (minicnn/ranks.py), all with the same settings. Only rank 0 reads and writes the
    folder; how many ranks there are changes nothing that is learned, and is not saved.
    """

    team: Alone = Alone()
    lock: Lock | NoLock

    def __init__(self, config: Config, where: str | Path | None = None, overwrite: bool = False,
                 team: Alone | None = None):  # fmt: skip
        self.config, self.doubt, self.team = complete(config.check()), "", team or Alone()
        if where is not None and self.writes:
            folder.refuse(Path(where), overwrite)
        self._build(Path(where or ""))
        if not self.writes:
            self.folder, self.lock = Path(os.fsdecode(self.team.broadcast_bytes())), NoLock()
            return
        self.folder, lock = folder.claim(self.config, None if where is None else Path(where), overwrite)
        self.lock = lock
        with folder.given_back(self.folder, lock):
            folder.begin(self.folder, self.config)
        self.team.broadcast_bytes(os.fsencode(self.folder))

    @property
    def writes(self) -> bool:
        """Whether this rank reads and writes the run's folder."""
        return self.team.rank == 0

    @classmethod
    def resume(cls, where: str | Path, team: Alone | None = None) -> Run:
        """The run in that folder, as last saved. ValueError or RuntimeError if it can't be resumed.

        `run.doubt` is "", or a sentence about pictures that may have changed.
        """
        run = cls.__new__(cls)
        run.folder, run.doubt, run.team, run.lock = Path(where), "", team or Alone(), NoLock()
        if run.writes and not (run.folder / folder.CONFIG).is_file():
            raise FileNotFoundError(f"{run.folder} holds no run to resume, because it has no config.json: start one "
                                    f"with `minicnn train digits --out {run.folder}`")  # fmt: skip
        run.lock = Lock(run.folder) if run.writes else run.lock
        try:
            settings = (run.folder / folder.CONFIG).read_bytes() if run.writes else b""
            run.config = complete(from_json(run.folder / folder.CONFIG, run.team.broadcast_bytes(settings)))
            if run.writes:
                folder.sweep(run.folder)
            run._build(run.folder)
            run.doubt = state.restore(run.folder / checkpoint.NAME, run.state, run.config, run.splits, run.team)
            if run.writes:
                folder.write_lines(run.folder / folder.METRICS, run.metrics)
        except BaseException:
            run.lock.release()
            raise
        return run

    @classmethod
    def without_folder(cls, config: Config, team: Alone | None = None) -> Run:
        """Data, model and optimiser without a folder, for a learning-rate search; nothing is written."""
        run = cls.__new__(cls)
        run.config, run.folder, run.team = complete(config.check()), Path(), team or Alone()
        run._build(run.folder)
        return run

    def _build(self, where: Path) -> None:
        """Build data, model and optimiser from the settings, with the solved head in `where` for transfer learning."""
        c = self.config
        rng.seed(c.seed)
        start, about = _of_rank_0(where / folder.HEAD, self.team) if c.weights else (None, None)
        splits = open_splits(c, about.preprocessing if about else None, self.team)
        name, options = build.model_options(c, splits)
        model = (start or models.build(name, **options)).to(c.device)
        self.prepare = preparer(c.device)
        self.splits: Splits = build.fit_images(model, c, splits)
        self.description = model_file.Description.of(name, options, self.splits.classes, self.splits.preprocessing,
                                                     trained_on=c.dataset)
        self.initial_score = (-1.0, 0.0)
        self.training, self.validation = self.splits.train, self.splits.validation
        augment = self.splits.augment if c.augment == "auto" else c.augment
        if c.overfit_batches:  # the same few images in every epoch, without augmentation
            self.training = self.validation = some_batches(self.training, c.overfit_batches, c)
            augment = "none"
        if c.limit_batches:
            self.training = some_batches(self.training, c.limit_batches, c)
            self.validation = self.validation and some_batches(self.validation, c.limit_batches, c)
        self.loader = self.splits.loader(self.training, c.batch_size, c.workers, augment, shuffle=True, seed=c.seed,
                                         part=self.team.part)
        self.team.in_step("labels", [self.training.labels])
        parameters = model.parameters() if not c.weights else body.trained_parameters(model, c, options, splits)
        optimizer = build.optimizer(c.optimizer, parameters, c.lr, c.momentum, c.weight_decay)
        steps = -(-len(self.loader) // c.accumulate)
        schedule = build.schedule(c.schedule, optimizer, c.epochs, steps, warmup=c.warmup, gamma=c.gamma,
                                  milestones=c.milestones)  # fmt: skip
        share_state(model, self.team)
        average = optim.EMA(model, c.ema) if c.ema else None
        self.weight = build.class_weights(c.class_weights, self.training.labels, len(self.splits.classes))
        losses.check(model, c.label_smoothing, self.weight)
        self.state = state.State(model, optimizer, schedule, average, len(self.loader), c.accumulate)

    def __repr__(self) -> str:
        where = f"in {self.folder}" if (self.folder / folder.CONFIG).is_file() else "without a folder"
        return (f"<Run {where}: {self.config.model} on {self.splits.name}, {len(self.metrics)} of {self.config.epochs} "
                "epochs>")  # fmt: skip

    @property
    def model(self) -> Module:
        """The net with its current weights."""
        return self.state.model

    @property
    def metrics(self) -> list[dict]:
        """One record for each finished epoch."""
        return self.state.metrics

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, none of the last `patience` epochs was the best, or nothing is trained."""
        if self.config.weights and not self.config.unfreeze:
            return True
        waited = len(self.metrics) - max((r["epoch"] for r in self.metrics if r["best"]), default=0)
        return len(self.metrics) >= self.config.epochs or bool(self.config.patience and waited >= self.config.patience)

    # -------------------------------------------------------------------------------------------------------- training

    def train(
        self,
        on_step: Callable[[int, float], None] = lambda step, loss: None,
        on_epoch: Callable[[dict], None] = lambda record: None,
        asked: Request = NOBODY,
    ) -> list[dict]:
        """Train all remaining epochs. on_step(step, loss) after each step, on_epoch(record) after each. → records

        When `asked` becomes true, the run is saved and `Stopped` is raised, which says how to resume it.
        RuntimeError where another process trains in this folder.
        """
        with self.lock, contextlib.closing(self.loader):
            self._start_from_head()
            shared = Shared(self.model, self.team, asked)
            if self.team.size > 1:  # all ranks stop after the same step
                asked = shared.agreed
            wanted = self.config.tensorboard and not self.finished and self.writes
            events = EventFile(self.folder) if wanted else None
            while not self.finished:
                record = self._epoch(on_step, events, asked, shared)
                self.team.in_step("weights", [tensor.numpy() for _, tensor in self.model.named_state()])
                on_epoch(record)
                if asked and not self.finished:
                    raise self._stopped(asked)
        return self.metrics

    def _epoch(self, on_step, events: EventFile | None, asked: Request, shared: Shared) -> dict:
        """The rest of an epoch, and its evaluation; saves at the intervals of the settings."""
        s, c = self.state, self.config
        self._started = saved = time.monotonic()

        def after_step(step, loss):
            nonlocal saved
            on_step(step, loss)
            if events:
                events.write(step, {"loss/step": loss, "learning rate": s.optimizer.param_groups[0]["lr"]})
            every, seconds = c.checkpoint_steps, c.checkpoint_seconds
            due = (every and (step + 1) % every == 0) or (seconds and time.monotonic() - saved >= seconds)
            if c.gradient_flow and s.progress.batches == len(self.loader):
                s.layers = self._gradient_report()
            if due or asked:
                self._save()
                saved = time.monotonic()
            if asked:
                raise self._stopped(asked)

        epoch = len(s.metrics) + 1
        self.loader.epoch, self.loader.batch = epoch - 1, s.progress.batches
        if s.progress.batches < len(self.loader):
            train_epoch(
                s.model, self.loader, self.prepare, s.optimizer, s.schedule, label_smoothing=c.label_smoothing,
                weight=self.weight, clip=c.clip, accumulate=c.accumulate, average=s.average, progress=s.progress,
                first_step=s.schedule.t, shared=shared, on_step=after_step,
            )  # fmt: skip
        self._clock()
        try:
            record = self._end_epoch(epoch, asked)
        except Stopped:  # during the evaluation, which is repeated when the run is resumed
            self._save()
            raise
        if events:
            events.write(s.schedule.t - 1, {
                "loss/training": record["loss"], "loss/validation": record["val_loss"],
                "accuracy/training": record["accuracy"], "accuracy/validation": record["val_accuracy"],
            })  # fmt: skip
        return record

    def _start_from_head(self) -> None:
        """With transfer learning the solved head is the best model until an epoch is better."""
        if not self.config.weights:
            return
        start, _ = _of_rank_0(self.folder / folder.HEAD, self.team)
        if self.validation:
            result = evaluate(start.to(self.config.device), self._evaluated(self.validation), self.prepare,
                              len(self.splits.classes), self.team)  # fmt: skip
            self.initial_score = (result.accuracy, -result.loss)
        if self.writes and not any(r["best"] for r in self.metrics):
            model_file.save(self.folder / folder.BEST, start, self.description)

    def _end_epoch(self, epoch: int, asked: Request) -> dict:
        """Evaluate, keep the model if it is the best, and save. → the epoch's record"""
        s = self.state
        with s.average.applied() if s.average else no_grad():
            result = self.evaluate(self._until(self._evaluated(self.validation), asked))
            if not np.isfinite(result.loss):  # the last step of the epoch spoilt the weights: do not save them
                raise NonFiniteLossError(
                    f"the validation loss is {result.loss} after epoch {epoch}: try a smaller learning rate than "
                    f"{self.config.lr:.3g}, or a warm-up"
                )
            score = (result.accuracy, -result.loss)
            best = max([self.initial_score, *((r["val_accuracy"], -r["val_loss"]) for r in s.metrics)])
            names = (folder.BEST, folder.LAST) if score > best else (folder.LAST,)
            for name in names if self.writes else ():
                model_file.save(self.folder / name, s.model, self.description)
        record = {
            "epoch": epoch,
            "loss": s.progress.loss / s.progress.images,
            "accuracy": s.progress.correct / s.progress.images,
            "val_loss": result.loss,
            "val_accuracy": result.accuracy,
            "lr": s.optimizer.param_groups[0]["lr"],
            "seconds": s.seconds,
            "best": score > best,
        }
        if self.config.gradient_flow:
            record["layers"] = s.layers
        s.metrics.append(record)
        s.progress, s.seconds = Progress(), 0.0
        if self.writes:
            state.save(self.folder / checkpoint.NAME, s, self.config, self.splits)
            folder.write_lines(self.folder / folder.METRICS, s.metrics)
        return record

    def _gradient_report(self) -> list[dict]:
        """The gradients of the last step by layer, and the dead maps for the first of the validation images."""
        few = self.splits.evaluated(self.validation[:64])
        return gradient_flow.report(self.model, self.prepare(next(iter(few)).images))

    def _evaluated(self, split: Source) -> Iterable:
        """The batches of a split in order; of several ranks each has a piece of the split, which may be empty."""
        own = piece(len(split), *self.team.part)
        if own.size == len(split):
            return self.splits.evaluated(split)
        return self.splits.evaluated(split[own.rows]) if own.size else ()

    def _until(self, batches: Iterable, asked: Request):
        """The batches, until a stop is requested."""
        for batch in batches:
            if asked:
                raise self._stopped(asked)
            yield batch

    def _stopped(self, asked: Request) -> Stopped:
        done, whole = self.state.schedule.t, self.config.epochs * self.state.steps_per_epoch
        return Stopped(f"stopped after step {done:,} of {whole:,}, and saved: continue with "
                       f"`minicnn train --resume {self.folder}`", asked.code)  # fmt: skip

    def _clock(self) -> None:
        now = time.monotonic()
        self.state.seconds, self._started = self.state.seconds + now - self._started, now

    def _save(self) -> None:
        self._clock()
        if self.writes:
            state.save(self.folder / checkpoint.NAME, self.state, self.config, self.splits)

    # ------------------------------------------------------------------------------------------------------ afterwards

    @property
    def tested(self) -> tuple[str, Source]:
        """("test", its images), or without a test split ("validation", …); with `limit_batches` some of them."""
        part = "validation" if self.splits.test is None else "test"
        split = getattr(self.splits, part)
        if self.config.limit_batches:
            split = some_batches(split, self.config.limit_batches, self.config)
        return part, split

    def test(self) -> Evaluation:
        """The best model's results on the test images, or else on the validation images; also written to test.json."""
        part, split = self.tested
        with self.lock:
            if self.writes:
                self.state.model = model_file.load(self.folder / folder.BEST)[0].to(self.config.device)
            share_state(self.model, self.team)
            result = self.evaluate(self._evaluated(split))
            if self.writes:
                folder.write(self.folder / "test.json", {
                    "part": part, "accuracy": result.accuracy, "loss": result.loss, "images": len(split),
                    "confusion": result.confusion.tolist(),
                })  # fmt: skip
        return result

    def evaluate(self, batches: Iterable) -> Evaluation:
        """Loss and confusion matrix of the model with its current weights."""
        return evaluate(self.model, batches, self.prepare, len(self.splits.classes), self.team)
