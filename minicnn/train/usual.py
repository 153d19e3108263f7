"""The net for a dataset where none is named, and whether training it is a good idea.

`minicnn train`, its "What to try next" and `minicnn data doctor` all ask here, so they say the same.
"""

from __future__ import annotations

from minicnn import data, models
from minicnn.names import quoted

FEW = 500
"""Pictures of a class. CIFAR-100 has as many for training; fewer are learnt by heart."""


def usual_model(dataset: str) -> str:
    """lenet5 for grey datasets, resnet20 for those in colour and for folders."""
    return "lenet5" if dataset in data.names() and data.registry.info(dataset).channels == 1 else "resnet20"


def too_few(dataset: str, pictures: int, classes: int) -> bool:
    """Whether a folder has too few pictures of a class to train a net from random weights."""
    return dataset not in data.names() and pictures < FEW * classes


def transfer_command(dataset: str) -> str:
    """The command that adapts a trained net to a folder of pictures."""
    return f"minicnn transfer {quoted(dataset)} --model squeezenet1_1 --weights FILE"


def advice(dataset: str, pictures: int, classes: int) -> str:
    """What `minicnn train FOLDER` does with a folder of pictures, and what is better; "" for a dataset by name."""
    if dataset in data.names():
        return ""
    model = usual_model(dataset)
    channels, height, width = models.input_shape(model)
    said = f"without --model, training is of {model}, on {'colour' if channels == 3 else 'grey'} images of " \
           f"{height} × {width}"  # fmt: skip
    if not too_few(dataset, pictures, classes):
        return said
    each = f"{pictures // classes:,} pictures a class"
    return f"{said}; {each} are few for that: `{transfer_command(dataset)}` adapts a trained net to them"
