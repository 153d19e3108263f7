"""A net in the lab: its images, its looks, its changes by hand, and the run that trained it.

All that a page asks for is a method here, which takes plain values and returns an answer. One computation runs at a
time: modes and settings of a net are shared. Changes are made in memory; no file is ever written.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import arguments
from minicnn.data.decode import Packed
from minicnn.data.preprocessing import Preprocessing
from minicnn.inspect import units
from minicnn.inspect.grad_cam import grad_cam, place
from minicnn.inspect.occlusion import mean_per_pixel, occlusion
from minicnn.inspect.saliency import saliency
from minicnn.lab import answers, change
from minicnn.lab.answers import Answer
from minicnn.lab.look import Graph, Look
from minicnn.names import short, unknown
from minicnn.nn import Module
from minicnn.web.site import Question, Site, Turn, pages

IMAGES = 64
"""Images that are remembered by number."""
LOOKS = 4
LOOK_BYTES = 2**29
"""Of the looks that are kept: values and gradients. The last look is kept in any case."""
SAMPLES, SAMPLE_BYTES = 40, 600_000
MOST_SCORES = 25_000


class Session:
    """A net, its classes (without names: their numbers) and its preprocessing.

    samples: pictures to choose from, as `data.Dataset` and the like.   reload: gives the newest weights of a run that
    trains elsewhere, as a state dict, or None where they have not changed.
    """

    def __init__(self, model: Module, classes: list[str], prepare: Preprocessing, name: str = "", samples: Any = None,
                 reload: Callable[[], dict[str, np.ndarray] | None] | None = None):
        self.model, self.prepare, self.name = model.eval(), prepare, name
        self.graph = Graph(model, prepare.shape)
        out = self.graph.nodes[self.graph.output].shape
        if int(np.prod(out)) > MOST_SCORES:
            raise ValueError(f"the net's answer for an image has shape {out}: the lab shows nets with at most "
                             f"{MOST_SCORES:,} scores")
        self.classes = list(classes) or [str(i) for i in range(int(np.prod(out)))]
        if len(self.classes) != int(np.prod(out)):
            raise ValueError(f"the net's answer for an image has shape {out}, but there are {len(self.classes)} "
                             "classes")
        self._original = model.state_dict()
        self._reload, self._alone, self.changed = reload, Turn(), False
        self._images: OrderedDict[int, np.ndarray] = OrderedDict()
        self._looks: OrderedDict[int, Look] = OrderedDict()
        self._next = 0
        self._samples, self._labels = _chosen(samples, prepare)
        self.pen = pen(self._samples) if len(self._samples) and prepare.channels == 1 else max(prepare.size) / 12

    def warm_up(self) -> None:
        """Compute once, so that the first question does not wait for compiled kernels."""
        with self._alone():
            seen = Look(self.model, self.graph, np.zeros(self.prepare.shape, np.float32))
            seen.gradient(0, 0)

    def net(self) -> Answer:
        """The graph, the classes, the preprocessing and the thickness of the pen."""
        found = answers.net(self.graph)
        shapes = {name: list(p.shape) for name, p in self.model.named_parameters()}
        return found | {"name": self.name, "classes": self.classes, "preprocessing": self.prepare.to_dict(),
                        "pen": self.pen, "shapes": shapes, "follows": self._reload is not None}  # fmt: skip

    def samples(self) -> Answer:
        """Pictures of the test set as images (n,C,H,W) uint8, and their labels."""
        return {"images": self._samples, "labels": self._labels}

    def look_at_pixels(self, content: bytes) -> Answer:
        """A look at an image that is given as its bytes (C,H,W), one after the other."""
        expected = int(np.prod(self.prepare.shape))
        if len(content) != expected:
            raise ValueError(f"an image of {'×'.join(map(str, self.prepare.shape))} has {expected} bytes, not "
                             f"{len(content)}")
        return self._look_at(np.frombuffer(content, np.uint8).reshape(self.prepare.shape))

    def look_at_picture(self, content: bytes) -> Answer:
        """A look at a picture file, preprocessed as for `minicnn predict`."""
        with self._alone():                                        # it can take much memory
            image = self.prepare.read(Packed("the picture", content))
        return self._look_at(image)

    def _look_at(self, image: np.ndarray) -> Answer:
        with self._alone():
            number, self._next = self._next, self._next + 1
            self._images[number] = image
            while len(self._images) > IMAGES:
                self._looks.pop(self._images.popitem(last=False)[0], None)
            return {"look": number, "image": image, **answers.look(self._seen(number))}

    def again(self, look: Any) -> Answer:
        """The same image with the net's weights of now."""
        with self._alone():
            seen = self._seen(look)
            return {"look": look, "image": self._images[look], **answers.look(seen)}

    def maps(self, look: Any, node: Any, first: Any = 0, gradient_of: Any = None) -> Answer:
        """Whole maps of a node, or their gradients."""
        with self._alone():
            return answers.maps(self._seen(look), node, first, gradient_of)

    def unit(self, look: Any, node: Any, at: Any, k: Any) -> Answer:
        """One number, explained; for a number of the image also the byte that it comes from."""
        with self._alone():
            seen = self._seen(look)
            found = answers.unit(seen, node, at, k)
            return found | ({"byte": int(self._images[look][tuple(at)])} if node == 0 else {})

    def evidence(self, look: Any, what: Any, k: Any, layer: Any = "") -> Answer:
        """A picture of the evidence for class k: "saliency", "grad-cam" on the maps of a layer, or "occlusion"."""
        kinds = ("saliency", "grad-cam", "occlusion")
        if what not in kinds:
            raise ValueError(unknown("picture", short(what), kinds))
        with self._alone():
            seen = self._seen(look)
            arguments.integer("class", k, 0, len(seen.scores) - 1)
            x = seen.value(0)
            if what == "saliency":
                return {"what": what, "map": saliency(self.model, x, k)[0]}
            if what == "grad-cam":
                layer = layer or units.last_convolution(self.model, self.prepare.shape)
                return {"what": what, "layer": layer, "place": place(self.model, self.prepare.shape, layer),
                        "map": grad_cam(self.model, x, k, units.find_layer(self.model, layer))[0]}
            side = min(x.shape[2:])
            size, stride = max(1, side // 5), max(1, side // 10)
            p = occlusion(self.model, x, k, size, stride)
            shape = (x.shape[2], x.shape[3])
            return {"what": what, "size": size, "stride": stride, "map": mean_per_pixel(p, shape, size, stride)}

    def difference(self, look: Any, k: Any, parameter: Any, at: Any, of_loss: Any = False) -> Answer:
        """A gradient beside its finite difference."""
        with self._alone():
            x = self._seen(look).value(0)[0]
            return change.difference(self.model, x, self._class(k), parameter, at, bool(of_loss))

    def weights(self, parameter: Any, o: Any = 0) -> Answer:
        """Filter o of a parameter: its numbers now, and as they were in the file."""
        with self._alone():
            found = dict(self.model.named_parameters())
            if parameter not in found:
                raise ValueError(unknown("parameter", short(parameter), found))
            now = found[parameter].numpy()
            arguments.integer("filter", o, 0, len(now) - 1)
            return {"parameter": parameter, "filter": o, "of": len(now), "values": now[o],
                    "original": self._original[parameter][o]}  # fmt: skip

    def step(self, look: Any, label: Any, rate: Any, keep: Any = False) -> Answer:
        """One training step on this image; with `keep` the net is changed."""
        with self._alone():
            x = self._seen(look).value(0)[0]
            found = change.step(self.model, x, self._class(label), rate, bool(keep))
            if keep:
                self.touched()
            return found

    def set_weight(self, parameter: Any, at: Any, value: Any) -> Answer:
        """Set one number of a parameter."""
        with self._alone():
            change.set_weight(self.model, parameter, at, value)
            return self.touched()

    def scale_filter(self, parameter: Any, o: Any, factor: Any) -> Answer:
        """Multiply a filter by a number."""
        with self._alone():
            change.scale_filter(self.model, parameter, o, factor)
            return self.touched()

    def reset(self) -> Answer:
        """The net as it was loaded."""
        with self._alone():
            self.model.load_state_dict(self._original)
            self.touched()
            self.changed = False
            return {"changed": False}

    def refresh(self) -> bool:
        """Take over the newest weights of the run that is followed. → whether there were any; never after a change."""
        if self._reload is None or self.changed or (state := self._reload()) is None:
            return False
        with self._alone():
            if not self.changed:
                self.model.load_state_dict(state)
                self._original = self.model.state_dict()
                self._looks.clear()
        return True

    def touched(self) -> Answer:
        """After a change of the net: every look is computed again."""
        self._looks.clear()
        self.changed = True
        return {"changed": True}

    def _class(self, k: Any) -> int:
        return arguments.integer("class", k, 0, len(self.classes) - 1)

    def _seen(self, look: Any) -> Look:
        """The look of that number, computed again where it is no longer kept."""
        arguments.integer("look", look, 0)
        if look not in self._images:
            raise ValueError(f"look {look} is no longer known: the last {IMAGES} images are; draw or choose it again")
        if look not in self._looks:
            x = self.prepare.normalise(self._images[look][None])[0]
            while self._looks and (len(self._looks) >= LOOKS or (len(self._looks) + 1) * self._bytes() > LOOK_BYTES):
                self._looks.popitem(last=False)
            self._looks[look] = Look(self.model, self.graph, x)
        self._looks.move_to_end(look)
        return self._looks[look]

    def _bytes(self) -> int:
        """About what one look takes: values and gradients in float32, and as much again for what the ops keep."""
        return 12 * sum(int(np.prod(node.shape)) for node in self.graph.nodes)


def pen(images: np.ndarray) -> float:
    """The width in pixels of the strokes in images (n,1,H,W) uint8, bright on dark:  2 · area / length of the edge.

    The edge's length is the total variation along both axes; for strokes in all directions it is 4/π times too long.
    """
    v = np.pad(images[:, 0] / 255, ((0, 0), (1, 1), (1, 1)))
    edge = sum(float(np.abs(np.diff(v, axis=a)).sum()) for a in (1, 2)) * np.pi / 4
    return float(np.clip(2 * v.sum() / edge, 1, max(images.shape[2:]) / 4)) if edge else 2.0


def _chosen(source: Any, prepare: Preprocessing) -> tuple[np.ndarray, list[int]]:
    """(images (n,C,H,W) uint8, their labels): some of each class, the same ones each time."""
    none = np.zeros((0, *prepare.shape), np.uint8)
    if source is None or not len(source):
        return none, []
    most = max(1, min(SAMPLES, SAMPLE_BYTES // int(np.prod(prepare.shape))))
    labels = np.asarray(source.labels)
    rank = np.empty(len(labels), int)                              # the how-manieth of its class
    for k in np.unique(labels):
        rank[labels == k] = np.arange((labels == k).sum())
    order = np.lexsort((labels, rank))[:most]
    images = np.stack([prepare.read(source.picture(int(i))) for i in order])
    return images, [int(labels[i]) for i in order]


def site(session: Session, run: Path | None = None) -> Site:
    """The lab as a web site: its page and what the page may ask.   run: whose log the page follows."""
    streams: dict[str, Callable[[Callable[[], bool]], Iterator[bytes]]] = {}
    if run is not None:
        from minicnn.lab import follow  # it needs minicnn.train, and a net in a page does not

        streams["/api/curve"] = lambda stop: follow.events(run, session.refresh, stop)
    return replace(asked(session), pages=pages("minicnn.lab", "index.html", "lab.css", "lab.js", "icon.svg"),
                   streams=streams)


def asked(session: Session) -> Site:
    """What the lab's page may ask, without the page."""
    s = session
    changes: dict[str, Callable[..., Answer]] = {
        "/api/step": s.step, "/api/set": s.set_weight, "/api/scale": s.scale_filter, "/api/reset": s.reset}
    plain: dict[str, Callable[..., Answer]] = {
        "/api/again": s.again, "/api/maps": s.maps, "/api/unit": s.unit, "/api/evidence": s.evidence,
        "/api/difference": s.difference, "/api/weights": s.weights}  # fmt: skip
    return Site(
        "lab", {},
        reads={"/api/net": s.net, "/api/samples": s.samples},
        questions={path: Question(f) for path, f in plain.items()}
        | {path: Question(f, True) for path, f in changes.items()},
        pictures={"/api/pixels": s.look_at_pixels, "/api/picture": s.look_at_picture},
    )  # fmt: skip
