"""A training run: from settings to a trained model, in a folder (folder.py says what lies in it)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from minicnn import models, optim, rng
from minicnn.io import model_file
from minicnn.nn import Module
from minicnn.tensor import no_grad
from minicnn.train import checkpoint, flow, folder, recipe, state, transfer
from minicnn.train.config import Config, absolute, from_json
from minicnn.train.loop import Evaluation, NonFiniteLossError, Progress, evaluate, train_epoch
from minicnn.train.source import Pictures, open_pictures, preparer
from minicnn.train.stop import Request, Stopped
from minicnn.train.tensorboard import EventFile

NOBODY = Request()


class Run:
    """One training run in one folder: `Run(config, "runs/first").train()`, then `.test()`; `Run.resume` goes on."""

    def __init__(self, config: Config, where: str | Path, overwrite: bool = False):
        self.config, self.folder = absolute(config.check()), Path(where)
        folder.refuse(self.folder, overwrite)
        self._build()
        folder.begin(self.folder, self.config)

    @classmethod
    def resume(cls, where: str | Path) -> Run:
        """The run in that folder, as it stood when it was last saved. ValueError where it can't go on, and why."""
        run = cls.__new__(cls)
        run.folder = Path(where)
        if not (run.folder / folder.CONFIG).is_file():
            raise FileNotFoundError(f"{run.folder} holds no run that could go on, for it has no config.json: begin one "
                                    f"with `minicnn train digits --out {run.folder}`")  # fmt: skip
        run.config = from_json(run.folder / folder.CONFIG)
        folder.sweep(run.folder)
        run._build()
        if (run.folder / checkpoint.NAME).exists():
            state.restore(run)
        folder.write_lines(run.folder / folder.METRICS, run.metrics)
        return run

    @classmethod
    def without_folder(cls, config: Config) -> Run:
        """Data, model and optimiser, and nothing is written: to look for a learning rate."""
        run = cls.__new__(cls)
        run.config, run.folder = absolute(config.check()), Path()
        run._build()
        return run

    def _build(self):
        """Everything that follows from the settings alone."""
        c = self.config
        rng.seed(c.seed)
        start, about = model_file.load(self.folder / folder.HEAD) if c.weights else (None, None)
        self.pictures: Pictures = open_pictures(c, about.preprocessing if about else None)
        options = recipe.model_options(c, self.pictures)
        self.model: Module = (start or models.build(c.model, **options)).to(c.device)
        self.prepare = preparer(c.device)
        self.description = model_file.Description.of(c.model, options, self.pictures.classes,
                                                     self.pictures.preprocessing, trained_on=c.dataset)
        self.metrics: list[dict] = []
        self.layers: list[dict] = []
        self.progress, self.seconds, self.floor = Progress(), 0.0, (-1.0, 0.0)
        self.training, self.validation = self.pictures.train, self.pictures.validation
        augment = self.pictures.augment if c.augment == "auto" else c.augment
        if c.overfit_batches:  # the same few images again and again, as they are
            self.training = self.validation = self._few(self.training, c.overfit_batches)
            augment = "none"
        if c.limit_batches:
            self.training = self._few(self.training, c.limit_batches)
            self.validation = self.validation and self._few(self.validation, c.limit_batches)
        self._try_one_image()
        self.loader = self.pictures.loader(self.training, c.batch_size, c.workers, augment, shuffle=True, seed=c.seed)
        self.steps_per_epoch = -(-len(self.loader) // c.accumulate)
        self.optimizer = recipe.optimizer(c, self._parameters(options))
        self.schedule = recipe.schedule(c, self.optimizer, self.steps_per_epoch)
        self.average = optim.EMA(self.model, c.ema) if c.ema else None
        self.weight = recipe.class_weights(c, self.training.labels, len(self.pictures.classes))

    def _parameters(self, options):
        """What learns: everything, or of a body that came with weights what the settings say, at rates of its own."""
        c = self.config
        if not c.weights:
            return self.model.parameters()
        head = transfer.split(self.model, c.model, options, self._blank())
        transfer.freeze(self.model, head, c.unfreeze)
        return transfer.groups(self.model, head, c.lr, c.body_rate, c.layer_decay)

    # -------------------------------------------------------------------------------------------------------- training

    def train(
        self,
        on_step: Callable[[int, float], None] = lambda step, loss: None,
        on_epoch: Callable[[dict], None] = lambda record: None,
        asked: Request = NOBODY,
    ) -> list[dict]:
        """All epochs that are left. on_step(step, loss) after each step, on_epoch(record) after each epoch. → records

        As soon as `asked` is true, the run is saved and `Stopped` raised, which says how to go on.
        """
        saved = time.monotonic()
        self._begin()
        events = EventFile(self.folder) if self.config.tensorboard and not self.finished else None

        def after_step(step, loss):
            nonlocal saved
            on_step(step, loss)
            if events:
                events.write(step, {"loss/step": loss, "learning rate": self.optimizer.param_groups[0]["lr"]})
            every, seconds = self.config.checkpoint_steps, self.config.checkpoint_seconds
            due = (every and (step + 1) % every == 0) or (seconds and time.monotonic() - saved >= seconds)
            if self.config.gradient_flow and self.progress.batches == len(self.loader):
                self.layers = self._look()
            if due or asked:
                self._clock()
                state.save(self)
                saved = time.monotonic()
            if asked:
                raise self._stopped(asked)

        while not self.finished:
            self._started = time.perf_counter()
            epoch = len(self.metrics) + 1
            self.loader.epoch, self.loader.batch = epoch - 1, self.progress.batches
            if self.progress.batches < len(self.loader):
                train_epoch(
                    self.model, self.loader, self.prepare, self.optimizer, self.schedule,
                    label_smoothing=self.config.label_smoothing, weight=self.weight, clip=self.config.clip,
                    accumulate=self.config.accumulate, average=self.average, progress=self.progress,
                    first_step=self.schedule.t, on_step=after_step,
                )  # fmt: skip
            self._clock()
            try:
                record = self._end_epoch(epoch, asked)
            except Stopped:  # while it was evaluated, which is done again by whoever goes on
                state.save(self)
                raise
            saved = time.monotonic()
            if events:
                events.write(self.schedule.t - 1, {
                    "loss/training": record["loss"], "loss/validation": record["val_loss"],
                    "accuracy/training": record["accuracy"], "accuracy/validation": record["val_accuracy"],
                })  # fmt: skip
            on_epoch(record)
            if asked and not self.finished:
                raise self._stopped(asked)
        self.loader.close()
        return self.metrics

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or none of the last `patience` was the best, or nothing is to be learned."""
        if self.config.weights and not self.config.unfreeze:
            return True
        waited = len(self.metrics) - max((r["epoch"] for r in self.metrics if r["best"]), default=0)
        return len(self.metrics) >= self.config.epochs or bool(self.config.patience and waited >= self.config.patience)

    def _begin(self):
        """What fine-tuning began with is the best model until an epoch is better."""
        if self.config.weights:
            start, _ = model_file.load(self.folder / folder.HEAD)
            if self.validation:
                batches = self.pictures.evaluated(self.validation)
                result = evaluate(start.to(self.config.device), batches, self.prepare, len(self.pictures.classes))
                self.floor = (result.accuracy, -result.loss)
            if not any(r["best"] for r in self.metrics):
                model_file.save(self.folder / folder.BEST, start, self.description)

    def _end_epoch(self, epoch, asked) -> dict:
        """Evaluate, keep the model if it is the best, and save: the next epoch is what comes then."""
        with self.average.applied() if self.average else no_grad():
            result = self.evaluate(self._until(self.pictures.evaluated(self.validation), asked))
            if not np.isfinite(result.loss):  # the last step of the epoch spoilt the weights: keep what was saved
                raise NonFiniteLossError(
                    f"the validation loss is {result.loss} after epoch {epoch}: try a smaller learning rate than "
                    f"{self.config.lr:.3g}, or a warm-up"
                )
            score = (result.accuracy, -result.loss)
            best = max([self.floor, *((r["val_accuracy"], -r["val_loss"]) for r in self.metrics)])
            if score > best:
                self._save_model(folder.BEST)
            self._save_model(folder.LAST)
        record = {
            "epoch": epoch,
            "loss": self.progress.loss / self.progress.images,
            "accuracy": self.progress.correct / self.progress.images,
            "val_loss": result.loss,
            "val_accuracy": result.accuracy,
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": self.seconds,
            "best": score > best,
        }
        if self.config.gradient_flow:
            record["layers"] = self.layers
        self.metrics.append(record)
        self.progress, self.seconds = Progress(), 0.0
        state.save(self)
        folder.write_lines(self.folder / folder.METRICS, self.metrics)
        return record

    def _look(self) -> list[dict]:
        """The gradients of the step that was just made, and what is dead for the first of the validation images."""
        few = self.pictures.evaluated(self.validation.select(np.arange(min(64, len(self.validation)))))
        return flow.report(self.model, self.prepare(next(iter(few)).images))

    def _until(self, batches: Iterable, asked: Request):
        """The batches, as long as nobody asks to stop."""
        for batch in batches:
            if asked:
                raise self._stopped(asked)
            yield batch

    def _stopped(self, asked) -> Stopped:
        done, whole = self.schedule.t, self.config.epochs * self.steps_per_epoch
        return Stopped(f"stopped after step {done:,} of {whole:,}, and all of it is saved: go on with "
                       f"`minicnn train --resume {self.folder}`", asked.code)  # fmt: skip

    def _clock(self):
        now = time.perf_counter()
        self.seconds, self._started = self.seconds + now - self._started, now

    def _save_model(self, name):
        model_file.save(self.folder / name, self.model, self.description)

    # ------------------------------------------------------------------------------------------------------ afterwards

    def test(self) -> Evaluation:
        """What the best model does on the test images; also written to test.json."""
        self.model, _ = model_file.load(self.folder / folder.BEST)
        self.model.to(self.config.device)
        part = "validation" if self.pictures.test is None else "test"
        pictures = getattr(self.pictures, part)
        if self.config.limit_batches:
            pictures = self._few(pictures, self.config.limit_batches)
        result = self.evaluate(self.pictures.evaluated(pictures))
        folder.write(self.folder / "test.json", {
            "part": part, "accuracy": result.accuracy, "loss": result.loss, "images": len(pictures),
            "confusion": result.confusion.tolist(),
        })  # fmt: skip
        return result

    def evaluate(self, batches: Iterable) -> Evaluation:
        """Loss and confusion matrix of the model as it is now."""
        return evaluate(self.model, batches, self.prepare, len(self.pictures.classes))

    def _try_one_image(self):
        """A sentence, before any file is written, if the model does not take these images or tell these classes."""
        c, shape, classes = self.config, self.pictures.preprocessing.shape, len(self.pictures.classes)
        fits = f"{c.model} was made for {models.input_shape(c.model)}: choose another model or dataset"
        try:
            with no_grad():
                outputs = self.model.eval()(self._blank()).shape[1:]
        except ValueError as problem:
            raise ValueError(f"{c.model} does not take the {shape} images of {c.dataset} ({problem}); {fits}") from None
        if outputs != (classes,):
            raise ValueError(f"{c.model} gives outputs of shape {outputs}, but {c.dataset} has {classes} classes: set "
                             "num_classes to that")  # fmt: skip

    def _blank(self):
        return self.prepare(np.zeros((1, *self.pictures.preprocessing.shape), np.float32))

    def _few(self, pictures, batches):
        """Some batches' worth of the pictures, drawn with the seed: the same ones every time."""
        order = np.random.default_rng([self.config.seed, 3]).permutation(len(pictures))
        return pictures.select(np.sort(order[: batches * self.config.batch_size]))
