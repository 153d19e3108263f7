"""A classifier that answers a page: the top five classes of a picture, as `minicnn predict` gives them, and Grad-CAM.

It needs NumPy and Pillow only, so that it also runs in an exported folder. One computation runs at a time.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.data.decode import Packed
from minicnn.inspect import units
from minicnn.inspect.grad_cam import grad_cam, place
from minicnn.io.model_file import Description
from minicnn.nn import Module
from minicnn.plan import classify, predictor
from minicnn.tensor import Tensor
from minicnn.web.site import Answer, Question, Site, Turn, pages

TOP = 5
PICTURES, PICTURE_BYTES = 64, 2**28
"""How many pictures are remembered, and how many bytes of them. The last one is in any case."""
MOST_BYTES = 16 * 2**20
"""Of a picture: what a telephone's camera makes."""


@dataclass
class Seen:
    """A picture: the file as it came, the image (C,H,W) uint8 made of it, and whether dark and bright are swapped."""

    content: bytes
    plain: np.ndarray
    swapped: bool = False

    @property
    def image(self) -> np.ndarray:
        """What the net gets, before the normalisation."""
        return 255 - self.plain if self.swapped else self.plain


class Session:
    """A model, its description, and the pictures that it was shown.   name: of the model, for the page."""

    def __init__(self, model: Module, about: Description, name: str = ""):
        self.description, self.name, self.number = about, name, 0
        self.prepare = about.preprocessing
        self.alone = Turn()
        self._pictures: OrderedDict[str, Seen] = OrderedDict()
        self._use(model)

    def _use(self, model: Module) -> None:
        self.model = model.eval()
        self._answer = predictor(model, 1)
        try:
            self.layer = units.last_convolution(model, self.prepare.shape)
            self.place = place(model, self.prepare.shape, self.layer)
        except ValueError:                                         # no maps to show
            self.layer, self.place = "", []

    def replace(self, model: Module) -> None:
        """Answer with another model of the same classes and preprocessing from now on."""
        with self.alone():
            self._use(model)
            self.number += 1

    def warm_up(self) -> None:
        """Compute once, so that the first visitor does not wait for compiled kernels."""
        with self.alone():
            self._probabilities(np.zeros(self.prepare.shape, np.uint8))

    def about(self) -> Answer:
        """The classes, and what the model is."""
        about = self.description
        return {"name": self.name, "model": about.model, "number": self.number, "classes": about.classes,
                "input": list(self.prepare.shape), "layer": self.layer}  # fmt: skip

    def picture(self, content: bytes) -> Answer:
        """The top five classes of a picture file, and a name for it, for the other questions."""
        picture = secrets.token_urlsafe(12)                        # nobody can guess another visitor's
        with self.alone():                                         # decoding, too: it can take much memory
            seen = self._pictures[picture] = Seen(content, self.prepare.read(Packed("the picture", content)))
            while len(self._pictures) > 1 and (len(self._pictures) > PICTURES or self._bytes() > PICTURE_BYTES):
                self._pictures.popitem(last=False)
            return self._answered(picture, seen)

    def again(self, picture: Any, swapped: Any = False) -> Answer:
        """The answer for a picture that was shown before.   swapped: dark and bright, as `predict --invert`"""
        with self.alone():
            seen = self.seen(picture)
            seen.swapped = swapped is True
            return self._answered(picture, seen)

    def evidence(self, picture: Any, k: Any) -> Answer:
        """Grad-CAM for class k on the maps of the last convolution: (h,w), 0 and more, and their place on the image."""
        with self.alone():
            image = self.seen(picture).image
            k = self.a_class(k)
            if not self.layer:
                raise ValueError("this net has no maps of more than one pixel, so there is no place to point at")
            x = self.prepare.normalise(image[None])
            found = grad_cam(self.model, x, k, units.find_layer(self.model, self.layer))[0]
            return {"k": k, "layer": self.layer, "map": found, "place": self.place}

    def seen(self, picture: Any) -> Seen:
        """The picture of that name. ValueError where it is forgotten."""
        if not isinstance(picture, str) or picture not in self._pictures:
            raise ValueError(f"this picture is no longer known: the last {PICTURES} are; drop it again")
        return self._pictures[picture]

    def a_class(self, k: Any) -> int:
        """The number of a class. ValueError or TypeError for what is none."""
        return arguments.integer("class", k, 0, len(self.description.classes) - 1)

    def _answered(self, picture: str, seen: Seen) -> Answer:
        p, classes = self._probabilities(seen.image), self.description.classes
        order = (-p).argsort(kind="stable")[:TOP]
        return {"picture": picture, "number": self.number, "image": seen.image, "swapped": seen.swapped,
                "bright": self.description.looks_inverted(seen.plain),
                "top": [{"index": int(i), "class": classes[i], "probability": float(p[i])} for i in order]}

    def _probabilities(self, image: np.ndarray) -> np.ndarray:
        return classify(self._answer, Tensor(self.prepare.normalise(image[None])))

    def _bytes(self) -> int:
        return sum(len(seen.content) + seen.plain.size for seen in self._pictures.values())


def site(session: Session, more: dict[str, Question] | None = None, state: Any = None) -> Site:
    """The app as a web site.   more, state: the questions of `teach`, and what it knows; without them only answers."""
    s = session
    return Site(
        "app", pages("minicnn.app", "index.html", "app.css", "app.js", "icon.svg"),
        reads={"/api/about": lambda: s.about() | {"teach": state() if state else None},
               **({"/api/state": state} if state else {})},
        questions={"/api/again": Question(s.again), "/api/evidence": Question(s.evidence), **(more or {})},
        pictures={"/api/picture": s.picture}, most_bytes=MOST_BYTES,
    )  # fmt: skip
