"""Model files: the weights of a net of the zoo and everything needed to use them, in one file.

It is a safetensors file: raw arrays behind a JSON header, so reading it can't run code. The entry "minicnn" of its
metadata is JSON:

    {"format": 1, "model": "lenet5", "options": {"num_classes": 10}, "classes": ["0", …],
     "input": [1, 28, 28], "mean": [0.1307], "std": [0.3081], "resize": 0}      mean and std on the scale 0 … 1

The last four, "fit", "interpolation", "background" and "margin" are a `data.Preprocessing`; the last four of these are
left out if they have their default values.

A net that is in no zoo, such as one from an ONNX file, is the model "graph", whose description as steps
(models/graph.py) is the option "graph".

The arrays have PyTorch's names, torchvision's where it has the net: safetensors.torch.load_file gives a state dict.
"""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from minicnn import arguments, atomic, meta, models
from minicnn.data.decode import INTERPOLATIONS, WHITE
from minicnn.data.preprocessing import FITS, Preprocessing
from minicnn.files import arrays, safetensors_file
from minicnn.names import MAX_CLASSES, short
from minicnn.nn import BatchNorm2d, Module, init
from minicnn.nn.state import compare
from minicnn.tensor import Tensor, no_grad

FORMAT = 1
OPTIONAL = ("fit", "interpolation", "background", "margin")
"""Fields that the first readers of this format do not support: left out if they have their default values."""

MAX_VALUES = 2**22
"""The largest input, about 3×1182×1182: it limits the memory that a file can ask for."""


@dataclass
class Description:
    """The net in a file, its class names, and the preprocessing of its images."""

    model: str
    options: dict[str, Any]
    classes: list[str]
    input: list[int]
    mean: list[float]
    std: list[float]
    resize: int = 0
    """The shorter side of a picture before its centre is cropped; 0: as small as the input allows."""
    trained_on: str = ""
    format: int = field(default=FORMAT)
    fit: str = "crop"
    interpolation: str = "bilinear"
    background: list[int] = field(default_factory=lambda: list(WHITE))
    margin: list[int] = field(default_factory=lambda: [0, 0])

    @classmethod
    def of(cls, model: str, options: dict[str, Any], classes: Sequence[str], prepare: Preprocessing,
           trained_on: str = "") -> Description:
        """The description of a model that was trained with this preprocessing."""
        return cls(model, options, list(classes), list(prepare.shape), list(prepare.mean), list(prepare.std),
                   prepare.resize, trained_on, fit=prepare.fit, interpolation=prepare.interpolation,
                   background=list(prepare.background), margin=list(prepare.margin))

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of pictures for this model. ValueError if it takes neither 1 nor 3 channels."""
        channels, height, width = self.input
        return Preprocessing((height, width), tuple(self.mean), tuple(self.std), channels, self.resize, self.fit,
                             self.interpolation, tuple(self.background), tuple(self.margin))  # type: ignore[arg-type]

    def looks_inverted(self, image: np.ndarray) -> bool:
        """Whether the edge of an image (C,H,W) uint8 is bright, while the model was trained on digits on black."""
        edge = image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]
        return self.trained_on in ("digits", "mnist") and float(np.concatenate([e.ravel() for e in edge]).mean()) > 127


def save(path: str | os.PathLike[str], model: Module, description: Description) -> None:
    """Write the parameters and buffers of a net of the zoo, and their description, to `path` atomically.

    ValueError where the description names no net of the zoo, or another one than `model`, or contradicts itself: `load`
    would refuse such a file.
    """
    path = arguments.path(path)
    arguments.instance("model", model, Module)
    arguments.instance("description", description, Description)
    check(path, description, "correct the description")
    if not models.known(description.model):
        raise ValueError(f"{path} can't be written: {short(description.model)} is not a net of the zoo, so load can't "
                         "build it: for a net of your own use net.save(path)")
    try:
        name, options = models.resolve(description.model, description.options)
        models.check_is(model, name, options)
    except ValueError as problem:
        raise ValueError(f"{path} can't be written: {problem}") from None
    description = replace(description, model=name, options=options)
    import safetensors.numpy  # not at the top: reading needs only NumPy

    # one entry: safetensors writes several in an order that changes from one time to the next
    atomic.write(path, safetensors.numpy.save(torch_state(model), metadata={"minicnn": to_json(description)}))


def to_json(description: Description) -> str:
    """The JSON in the metadata of a model file and of an ONNX file."""
    default = {f.name: f.default for f in fields(description)} | {"background": list(WHITE),
                                                                            "margin": [0, 0]}
    values = {name: value for name, value in asdict(description).items()
              if name not in OPTIONAL or value != default[name]}  # fmt: skip
    text = json.dumps(values, ensure_ascii=False)
    # a path may have bytes that are no text, which Python holds as surrogates and UTF-8 can't
    return text if text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text) else json.dumps(values)


def torch_state(model: Module) -> dict[str, np.ndarray]:
    """The state of the model as PyTorch loads it with strict=True: with the batch counters of batch norm, all 0."""
    state = model.state_dict()
    counters = {f"{name}.num_batches_tracked".lstrip("."): np.zeros((), np.int64)
                for name, module in model.named_modules() if isinstance(module, BatchNorm2d)}  # fmt: skip
    return state | counters


def description(path: str | os.PathLike[str]) -> Description:
    """The description in a model file, without building the model; of an ONNX file as well. Errors as `load`."""
    if is_onnx(arguments.path(path)):
        return load(path)[1]
    return _read(path)[0]


def is_onnx(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an ONNX file by its name, for which the functions here give what its conversion would."""
    return os.fspath(path).lower().endswith(".onnx")


def load(path: str | os.PathLike[str]) -> tuple[Module, Description]:
    """The model in `path`, in eval mode, and its description.

    An ONNX file is read as a classifier (io/onnx/read/classifier.py). FileNotFoundError where there is no such file;
    ValueError, one sentence, where it is damaged or no model file.
    """
    if is_onnx(arguments.path(path)):
        above = importlib.import_module("minicnn.io.onnx.read.classifier")     # when called: it is built on this file
        found = above.classifier(arguments.path(path))
        return found.net, found.about
    description, shapes = _read(path)
    count = len(description.classes)
    try:
        name, options = models.resolve(description.model, description.options)
        with init.shapes_only():                           # nothing larger than the file may be built for it
            empty = models.build(name, **options)
            report = compare({key: tensor.shape for key, tensor in empty.named_state()},
                             {here: shapes[there] for there, here in empty.current_names(shapes).items()})
        if not report.ok:
            raise ValueError(f"the weights do not fit the {name} of its description: {report}")
        outputs = _outputs(empty.eval(), description.input)
        if outputs != (count,):
            raise ValueError(f"its description contradicts itself ({count} classes, but the model's output for an "
                             f"image has shape {outputs}): write the file again")
        state = _arrays(path)
        for key, array in state.items():
            if array.dtype.kind not in "fiu":
                raise ValueError(f"{key} holds {array.dtype}, not real numbers: convert it to float32")
        model = models.build(name, **options)
        model.load_state_dict(state)
    except (ValueError, TypeError) as problem:
        raise ValueError(f"{path}: {problem}") from None
    return model.eval(), description


def _outputs(model: Module, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of the model's output, computed without values; the model's own are lost."""
    for _, tensor in model.named_state():
        tensor.data = meta.asarray(tensor.data, "float32")
    with no_grad():
        return model(Tensor(meta.image((1, *shape)))).shape[1:]


def _arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    with open(path, "rb") as file:
        return safetensors_file.read(file, arrays.MemoryBudget(os.fstat(file.fileno()).st_size))[0]


def _read(path: str | os.PathLike[str]) -> tuple[Description, dict[str, tuple[int, ...]]]:
    """(the description, the shapes of the arrays), from the header alone"""
    path = arguments.path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {path}: train one with `minicnn train digits`")
    try:
        shapes, metadata = safetensors_file.shapes(path)
    except ValueError as problem:
        raise ValueError(f"{path} is not a readable model file: {problem}") from None
    if "minicnn" not in metadata:
        raise ValueError(f"{path} holds weights, but does not name their model: its metadata has no entry 'minicnn', "
                         "which `minicnn train` and `minicnn import` write")
    try:
        said = json.loads(metadata["minicnn"])
        version = said["format"]
        if version != FORMAT:
            raise ValueError(f"{path} has format {short(version)}, and this minicnn reads format {FORMAT}: "
                             "update minicnn")
        description = Description(**said)
    except (KeyError, TypeError, RecursionError, json.JSONDecodeError) as problem:
        raise ValueError(f"{path}: its description can't be read ({problem}): write the file again") from None
    check(path, description, "write the file again")
    return description, shapes


def check(path: str | os.PathLike[str], description: Description, fix: str) -> None:
    """ValueError, one sentence that begins with the path, for the first field of the description that is invalid."""
    for name, fits, rule in _rules(description):
        if not fits:
            raise ValueError(f"{path}: its description's {name} ({short(getattr(description, name))}) must be {rule}: "
                             f"{fix}")


def _rules(d: Description) -> Iterator[tuple[str, bool, str]]:
    """(field, whether it is valid, what it must be); each rule relies on those before it."""
    yield "model", isinstance(d.model, str), "a name"
    yield "trained_on", isinstance(d.trained_on, str), "a name"
    yield "classes", _list_of(str, d.classes) and len(d.classes) > 0, "a list of names"
    yield "classes", len(d.classes) <= MAX_CLASSES, f"at most {MAX_CLASSES:,} names"
    sizes = _list_of(int, d.input) and len(d.input) == 3 and min(d.input) > 0
    yield "input", sizes and math.prod(d.input) <= MAX_VALUES, "[channels, height, width] of an image"
    yield "resize", type(d.resize) is int and (d.resize == 0 or max(d.input[1:]) <= d.resize <= 2**14), \
        "0, or the shorter side that pictures are resized to, at least the input's"
    for name, numbers in (("mean", d.mean), ("std", d.std)):
        fits = _list_of((int, float), numbers) and len(numbers) == d.input[0] and all(abs(n) < 1e9 for n in numbers)
        yield name, fits, f"a list of {d.input[0]} numbers, one a channel"
    yield "std", min(d.std) > 0, "above 0"
    yield "fit", d.fit in FITS and (d.fit == "crop" or not d.resize), f"one of {', '.join(FITS)}; crop if it resizes"
    yield "interpolation", d.interpolation in INTERPOLATIONS, f"one of {', '.join(INTERPOLATIONS)}"
    colour = _list_of(int, d.background) and len(d.background) == 3 and all(0 <= value <= 255 for value in d.background)
    yield "background", colour, "[red, green, blue], each from 0 to 255"
    inside = _list_of(int, d.margin) and len(d.margin) == 2 and all(0 <= m < s for m, s in zip(d.margin, d.input[1:]))
    yield "margin", inside, "[rows, columns] of background, from 0 to less than the input's"
    yield "options", isinstance(d.options, dict), "names and values"
    # A file must not make us build a net that is far larger than itself; these two options decide its size.
    for name, here in (("num_classes", len(d.classes)), ("in_channels", d.input[0])):
        yield "options", d.options.get(name, here) == here, f"such that {name} is {here}, as its classes and input say"


def _list_of(kind: Any, values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(v, kind) and not isinstance(v, bool) for v in values)
