"""The lab in a page without a server: the server's answers, a net from a file, and training live.

The page's worker (page/worker.js) starts Python in the browser, imports this module and asks a `Page` what the page
would ask a server. So the module, and all that it imports, must do without processes, threads, sockets, and packages
other than NumPy and Pillow; a test holds it to that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import arguments, data, models, rng
from minicnn.files import safetensors_file
from minicnn.io import model_file, weights
from minicnn.lab.answers import Answer
from minicnn.lab.session import Session, asked
from minicnn.names import short
from minicnn.nn import Module
from minicnn.ops.softmax import cross_entropy
from minicnn.optim import AdamW
from minicnn.tensor import Tensor, no_grad
from minicnn.web.site import Question, answer

BATCH = 64
MOST_STEPS = 100
"""Steps in one answer."""
NAME = "the file"


class Training:
    """Training of a net, step by step: AdamW on the mean loss of batches of 64 images, in a new order each epoch.

    The orders are drawn with `seed`. The loss is the net's own if it has one, and else the cross entropy. Images are
    uint8 (N,C,H,W); prepare(images) is what the net takes.
    """

    def __init__(self, model: Module, dataset: data.Dataset, prepare: Any, seed: int = 0):
        self.model, self.prepare, self.steps = model, prepare, 0
        self.batches = data.Batches(dataset, BATCH, shuffle=True, rng=np.random.default_rng(seed), drop_last=True)
        self.optimizer = AdamW(model.parameters())
        self._next = self._endless()

    def step(self, rate: float) -> float:
        """One step. → the loss of its batch, with the weights before the step"""
        images, labels = next(self._next)
        self.optimizer.param_groups[0]["lr"] = rate
        self.model.train()
        try:
            with np.errstate(all="ignore"):
                loss = (self.model.loss or cross_entropy)(self.model(Tensor(self.prepare(images))), labels)
                self.model.zero_grad()
                loss.backward()
                self.optimizer.step()
        finally:
            self.model.eval()
        self.steps += 1
        return loss.item()

    def _endless(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        while True:
            yield from self.batches


class Page:
    """The lab of one page: it begins with a model file's content, without one with LeNet-5 and random weights.

    ask() answers what the lab's page asks its server, and

        /api/open      bytes: use a model file, or weights of LeNet-5
        /api/train     steps, rate: train on the embedded digits. → the losses
        /api/test      → how many of the test digits are right
        /api/random    seed: random weights

    One question at a time: a worker takes one message after the other.
    """

    def __init__(self, content: bytes | None = None):
        self.digits = data.load("digits")
        self.training: Training | None = None
        if content is None:
            rng.seed(0)
            self._use(models.build("lenet5").eval(), self._lenet5())
        else:
            self.open(bytes(content))

    def ask(self, path: str, body: Any = None) -> tuple[int, str]:
        """(HTTP's status, JSON) for a question; body: its bytes, None where it has none."""
        status, content = answer(self.site, path, None if body is None else bytes(body))
        return status, content.decode()

    def net(self) -> Answer:
        """The answer of `Session.net`, and whether the net can be trained here."""
        return self.session.net() | {"in_page": True, "trains": self.trains, "epoch": len(self.digits.train) // BATCH}

    def open(self, content: bytes) -> Answer:
        """Use the net of a model file, or weights of LeNet-5 in any format that minicnn reads.

        ValueError, one sentence, where the file is neither; the net is then the one before.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, NAME)
            path.write_bytes(content)
            try:
                self._use(*self._read(path))
            except ValueError as problem:
                raise ValueError(str(problem).replace(str(path), NAME)) from None
        return {"name": self.session.name}

    def train(self, steps: Any = 1, rate: Any = 1e-3) -> Answer:
        """Train for so many steps. → the number of steps since the net was loaded, and the loss of each new one"""
        arguments.integer("steps", steps, 1, MOST_STEPS)
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= 10:
            raise ValueError(f"rate (={short(rate)}) must be a number above 0, at most 10")
        if not self.trains:
            raise ValueError("this net can't be trained on the digits, which are grey images of 28×28 in 10 classes: "
                             "open one that takes such images")
        if self.training is None:
            self.training = Training(self.session.model, self.digits.train, self.session.prepare.normalise)
        losses = [self.training.step(rate) for _ in range(steps)]
        self.session.touched()
        if not np.isfinite(losses).all():
            raise ValueError(f"the loss is {losses[-1]} after {self.training.steps} steps: reset the net, and train it "
                             f"with a smaller rate than {rate:g}")
        return {"step": self.training.steps, "losses": losses}

    def test(self) -> Answer:
        """How many of the embedded test digits the net classifies correctly."""
        if not self.trains:
            raise ValueError("this net takes no digits of 28×28 in 10 classes, so it can't be tested on them")
        right = 0
        with no_grad(), np.errstate(all="ignore"):
            for images, labels in data.Batches(self.digits.test, 100, shuffle=False):
                scores = self.session.model(Tensor(self.session.prepare.normalise(images)))
                right += int((scores.numpy().argmax(1) == labels).sum())
        return {"right": right, "of": len(self.digits.test)}

    def random(self, seed: Any = 0) -> Answer:
        """Weights drawn at random, as before any training. "Reset" still brings back those that were loaded."""
        arguments.integer("seed", seed, 0)
        rng.seed(seed)
        self.session.model.load_state_dict(models.build(self.about.model, **self.about.options).state_dict())
        self.training = None
        return self.session.touched()

    def reset(self) -> Answer:
        """The net as it was loaded; a training begins anew."""
        self.training = None
        return self.session.reset()

    @property
    def trains(self) -> bool:
        """Whether the net takes the embedded digits."""
        return self.session.prepare.shape == (1, 28, 28) and len(self.session.classes) == 10

    def _use(self, net: Module, about: model_file.Description) -> None:
        prepare = about.preprocessing
        samples = self.digits.test if about.trained_on in ("digits", "mnist") and prepare.inner == (1, 28, 28) else None
        self.session = Session(net, about.classes, prepare, about.model, samples)
        self.about = about
        self.training = None
        known = asked(self.session)
        more: dict[str, Callable[..., Answer]] = {
            "/api/train": self.train, "/api/random": self.random, "/api/reset": self.reset}  # fmt: skip
        self.site = replace(known, reads={**known.reads, "/api/net": self.net, "/api/test": self.test},
                            questions=known.questions | {path: Question(f, True) for path, f in more.items()},
                            pictures={**known.pictures, "/api/open": self.open})

    def _read(self, path: Path) -> tuple[Module, model_file.Description]:
        try:
            described = "minicnn" in safetensors_file.shapes(path)[1]
        except ValueError:                                         # another format: weights are read below
            described = False
        if described:
            return model_file.load(path)
        net = models.build("lenet5")
        try:
            weights.load_into(net, path)
        except ValueError as problem:
            raise ValueError(f"this is neither a model file of minicnn, such as a run's best.safetensors, nor weights "
                             f"of lenet5: {problem}") from None
        return net.eval(), self._lenet5()

    def _lenet5(self) -> model_file.Description:
        return model_file.Description.of("lenet5", {}, self.digits.classes, self.digits.preprocessing, "digits")
