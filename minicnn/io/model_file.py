"""One file that predicts the same everywhere: weights as safetensors, and what they mean in its metadata.

Safetensors holds raw arrays behind a JSON header; reading it can't run code. The metadata's entry "minicnn" is JSON:

    {"format": 1, "model": "lenet5", "options": {"num_classes": 10}, "classes": ["0", …],
     "input": [1, 28, 28], "mean": [0.1307], "std": [0.3081], "resize": 0}      mean and std on the scale 0 … 1

The last four and "fit", "interpolation", "background" are a `data.Preprocessing`; those three stand there only where
they are not the usual ones.

The arrays have PyTorch's names, torchvision's where it has the net: safetensors.torch.load_file gives a state dict.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from minicnn import atomic, models
from minicnn.data.picture import INTERPOLATIONS, WHITE
from minicnn.data.preprocessing import FITS, Preprocessing
from minicnn.nn import BatchNorm2d, Module
from minicnn.tensor import Tensor, no_grad

FORMAT = 1
LATER = ("fit", "interpolation", "background")
"""Fields that the first readers of this format do not know: left out where they say nothing new."""

MAX_VALUES = 2**22
"""The largest input, about 3×1182×1182: a file must not make us lay out more."""


@dataclass
class Description:
    """What a model file says about its weights."""

    model: str
    options: dict
    classes: list[str]
    input: list[int]
    mean: list[float]
    std: list[float]
    resize: int = 0
    """A picture's shorter side before the middle is cut out; 0: as small as the input allows."""
    trained_on: str = ""
    format: int = field(default=FORMAT)
    fit: str = "crop"
    interpolation: str = "bilinear"
    background: list[int] = field(default_factory=lambda: list(WHITE))

    @classmethod
    def of(cls, model: str, options: dict, classes: Sequence[str], prepare: Preprocessing,
           trained_on: str = "") -> Description:
        """The description of a model whose pictures go through `prepare`."""
        return cls(model, options, list(classes), list(prepare.shape), list(prepare.mean), list(prepare.std),
                   prepare.resize, trained_on, fit=prepare.fit, interpolation=prepare.interpolation,
                   background=list(prepare.background))

    @property
    def preprocessing(self) -> Preprocessing:
        """What pictures go through before this model. ValueError where it takes neither 1 nor 3 channels."""
        channels, height, width = self.input
        return Preprocessing((height, width), tuple(self.mean), tuple(self.std), channels, self.resize, self.fit,
                             self.interpolation, tuple(self.background))  # type: ignore[arg-type]


def save(path: str | Path, model: Module, description: Description) -> None:
    """Write the model's parameters and buffers, and what they mean, to `path`, whole or not at all.

    ValueError if the model is not the net of the zoo that the description names, as `load` could not build it.
    """
    models.check_is(model, description.model, description.options)
    # one entry: safetensors writes several in an order that changes from one time to the next
    content = safetensors.numpy.save(torch_state(model), metadata={"minicnn": to_json(description)})
    atomic.write(path, content)


def to_json(description: Description) -> str:
    """What stands in the metadata, of a model file and of an ONNX file."""
    usual = {f.name: f.default for f in fields(description)} | {"background": list(WHITE)}
    said = {name: value for name, value in asdict(description).items() if name not in LATER or value != usual[name]}
    return json.dumps(said, ensure_ascii=False)


def torch_state(model: Module) -> dict[str, np.ndarray]:
    """The model's state as PyTorch loads it strictly: with batch norm's counters of batches, of no use here."""
    state = model.state_dict()
    counters = {f"{name}.num_batches_tracked".lstrip("."): np.zeros((), np.int64)
                for name, module in model.named_modules() if isinstance(module, BatchNorm2d)}  # fmt: skip
    return state | counters


def description(path: str | Path) -> Description:
    """What a model file says about its weights, without building the model. ValueError where it says nothing."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            return _describe(Path(path), (file.metadata() or {}).get("minicnn"))
    except SafetensorError as problem:
        raise ValueError(f"{path} is not a whole safetensors file ({problem}): copy it again") from None


def load(path: str | Path) -> tuple[Module, Description]:
    """The model in `path`, in eval mode, and its description. ValueError says what is wrong with a file."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {path}: train one with `minicnn train digits`")
    try:
        with safe_open(str(path), framework="numpy") as file:
            text = (file.metadata() or {}).get("minicnn")
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
    except SafetensorError as problem:
        raise ValueError(f"{path} is not a whole safetensors file ({problem}): copy it again, or train again") from None
    except (TypeError, AttributeError) as problem:  # bfloat16 and other types that NumPy lacks
        raise ValueError(f"{path} holds arrays that NumPy can't ({problem}): convert them to float32") from None
    for name, array in state.items():
        if array.dtype.kind not in "fiu":
            raise ValueError(f"{path}: {name} holds {array.dtype}, not real numbers: convert it to float32")
    description = _describe(path, text)
    try:
        model = models.build(description.model, **description.options)
        model.load_state_dict(state)
        outputs = _outputs(model.eval(), description.input)
    except (ValueError, TypeError) as problem:
        raise ValueError(f"{path}: {problem}") from None
    count = len(description.classes)
    if outputs != (count,):
        raise ValueError(f"{path}: its description contradicts itself ({count} classes, but the model's output for an "
                         f"image has shape {outputs}): write the file again")
    return model, description


def _outputs(model, shape):
    with no_grad(), np.errstate(all="ignore"):
        return model(Tensor(np.zeros((1, *shape), np.float32))).shape[1:]


def _describe(path, text):
    if text is None:
        raise ValueError(
            f"{path} holds weights, but nothing says of which model: its metadata has no 'minicnn' entry, "
            "which `minicnn train` writes"
        )
    try:
        said = json.loads(text)
        version = said["format"]
        if version != FORMAT:
            raise ValueError(f"{path} has format {version!r}, and this minicnn reads format {FORMAT}: update minicnn")
        description = Description(**said)
    except (KeyError, TypeError, RecursionError, json.JSONDecodeError) as problem:
        raise ValueError(f"{path}: its description can't be read ({problem}): write the file again") from None
    for name, fits, rule in _rules(description):
        if not fits:
            raise ValueError(f"{path}: its description's {name} ({_short(getattr(description, name))}) must be {rule}: "
                             "write the file again")
    return description


def _rules(d):
    """(field, whether it fits, what it must be), each rule relying on those before it."""
    yield "model", isinstance(d.model, str), "a name"
    yield "trained_on", isinstance(d.trained_on, str), "a name"
    yield "classes", _list_of(str, d.classes) and d.classes, "a list of names"
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
    yield "options", isinstance(d.options, dict), "names and values"
    # A file must not make us build a net far larger than itself: these two decide how large.
    for name, here in (("num_classes", len(d.classes)), ("in_channels", d.input[0])):
        yield "options", d.options.get(name, here) == here, f"such that {name} is {here}, as its classes and input say"


def _list_of(kind, values):
    return isinstance(values, list) and all(isinstance(v, kind) and not isinstance(v, bool) for v in values)


def _short(value):
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
