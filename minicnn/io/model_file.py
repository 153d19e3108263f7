"""One file that predicts the same everywhere: weights as safetensors, and what they mean in its metadata.

Safetensors holds raw arrays behind a JSON header; reading it can't run code. The metadata's entry "minicnn" is JSON:

    {"format": 1, "model": "lenet5", "options": {"num_classes": 10}, "classes": ["0", …],
     "input": [1, 28, 28], "mean": [0.1307], "std": [0.3081]}          mean and std on the scale 0 … 1
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors.numpy
from safetensors import SafetensorError, safe_open

from minicnn import models
from minicnn.io import atomic
from minicnn.nn import Module

FORMAT = 1


@dataclass
class Description:
    """What a model file says about its weights."""

    model: str
    options: dict
    classes: list[str]
    input: list[int]
    mean: list[float]
    std: list[float]
    trained_on: str = ""
    format: int = field(default=FORMAT)


def save(path: str | Path, model: Module, description: Description) -> None:
    """Write the model's parameters and buffers, and what they mean, to `path`, whole or not at all."""
    text = json.dumps(asdict(description), ensure_ascii=False)
    atomic.write(path, safetensors.numpy.save(model.state_dict(), metadata={"minicnn": text}))


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
    description = _describe(path, text)
    model = models.build(description.model, **description.options)
    try:
        model.load_state_dict(state)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
    return model.eval(), description


def _describe(path, text):
    if text is None:
        raise ValueError(
            f"{path} holds weights, but nothing says of which model: its metadata has no 'minicnn' entry, "
            "which `minicnn train` writes"
        )
    try:
        fields = json.loads(text)
        version = fields["format"]
        if version != FORMAT:
            raise ValueError(f"{path} has format {version!r}, and this minicnn reads format {FORMAT}: update minicnn")
        description = Description(**fields)
        shape = [len(description.input), len(description.mean), len(description.std)]
    except (KeyError, TypeError, json.JSONDecodeError) as problem:
        raise ValueError(f"{path}: its description can't be read ({problem}): write the file again") from None
    if shape != [3, description.input[0], description.input[0]] or not isinstance(description.options, dict):
        raise ValueError(
            f"{path}: its description contradicts itself (input {description.input}, mean {description.mean}, "
            f"std {description.std}): write the file again"
        )
    return description
