"""The parts of a net in transfer learning: the new head, the pretrained body, and the parameters that are trained.

head      the layer whose shape depends on the number of classes: it gets new weights
body      everything before it: pretrained, and either fixed ("frozen") or trained further at a small learning rate
features  the input of the head; a frozen body always gives the same ones, so they are computed once

The trap is batch norm. In training it uses the statistics of the current batch and updates its running ones. In a body
that was trained on a million pictures, a few small batches of other pictures spoil both, at any learning rate, even if
no weight is trained. So the statistics of every batch norm of the body stay frozen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from minicnn import models
from minicnn.data import Splits
from minicnn.io.weights import below
from minicnn.names import unknown
from minicnn.nn import BatchNorm2d, Conv2d, Linear, Module, Parameter, init, watch
from minicnn.tensor import Tensor, no_grad
from minicnn.train.config import Config
from minicnn.train.source import preparer


@dataclass
class Split:
    """The head of a net: its name, the layer, and the names of all layers that get new weights."""

    name: str
    layer: Linear | Conv2d
    new: list[str]


def split(model: Module, name: str, options: dict, image: Tensor) -> Split:
    """Find the head of a net that was built with these options. image: any valid input.

    The net is built again with one more class; the layers whose shapes change get new weights. (Auxiliary heads, too,
    but eval mode does not call them.) ValueError if there is no head, or it is not a linear layer or 1×1 convolution.
    """
    try:
        with init.shapes_only():
            other = models.build(name, **{**options, "num_classes": options["num_classes"] + 1})
    except ValueError as problem:
        raise ValueError(f"the last layer of {name} is not one for any number of classes, so it can't be solved "
                         f"({problem})") from None  # fmt: skip
    shapes = {key: p.shape for key, p in other.named_parameters()}
    new = list(dict.fromkeys(key.rpartition(".")[0] for key, p in model.named_parameters() if p.shape != shapes[key]))
    called: list[Module] = []
    with no_grad(), model.evaluating(), watch(lambda module, inputs, output: called.append(module)):
        model(image)
    layers = {key: module for key, module in model.named_modules() if key in new and any(module is c for c in called)}
    plain = [key for key, m in layers.items() if isinstance(m, Linear)
             or (isinstance(m, Conv2d) and m.weight.shape[2:] == (1, 1))]  # fmt: skip
    if len(layers) != 1 or not plain:
        raise ValueError(f"{name} has no single linear layer at its end that could be replaced for other classes, but "
                         f"{', '.join(layers) or 'none'}: choose another model")  # fmt: skip
    return Split(plain[0], layers[plain[0]], new)  # type: ignore[arg-type]


def trained_parameters(model: Module, config: Config, options: dict, splits: Splits) -> list[dict]:
    """Freeze all that the settings do not unfreeze. → the other parameters, in groups with their own learning rates"""
    blank = preparer(config.device)(np.zeros((1, *splits.preprocessing.shape), np.float32))
    head = split(model, models.resolve(config.model)[0], options, blank)
    freeze(model, head, config.unfreeze)
    return groups(model, head, config.lr, config.body_rate, config.layer_decay)


def freeze(model: Module, head: Split, unfreeze: str = "") -> list[str]:
    """Freeze all but the head and the parts of the body that `unfreeze` names. → the parameters that are trained

    unfreeze: parts, separated by commas: "layer4" with all its layers, "features.9-" from there to the end, "all".
    The statistics of every batch norm stay frozen; see above.
    """
    names = [name for name, _ in model.named_parameters()]
    learn = {name for name in names if below(name, head.name)}
    aux = {name for name in names for part in head.new if below(name, part)} - learn
    for part in filter(None, map(str.strip, unfreeze.split(","))):
        learn |= set(_named(names, part)) - aux
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name in learn
    for _, module in model.named_modules():
        if isinstance(module, BatchNorm2d):
            module.freeze()
    return [name for name in names if name in learn]


def _named(names: list[str], part: str) -> list[str]:
    if part == "all":
        return names
    known, rest = part.removesuffix("-"), part.endswith("-")
    found = [i for i, name in enumerate(names) if below(name, known)]
    if not found:
        parts = {".".join(name.split(".")[:n]) for name in names for n in (1, 2)}
        raise ValueError(f"unfreeze: {unknown('part', known, parts)}; a - at the end means: from there to the end")
    return names[found[0] :] if rest else [names[i] for i in found]


def groups(model: Module, head: Split, lr: float, body: float, decay: float) -> list[dict]:
    """The trained parameters, in groups for an optimiser: the head at `lr`, the last block of the body at body·lr, the
    one before it at decay·body·lr, and so on.   Howard & Ruder 2018 (ULMFiT), §3.2: "discriminative fine-tuning"
    """
    blocks: dict[str, list[Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = "head" if below(name, head.name) else ".".join(name.split(".")[:2])
            blocks.setdefault(key, []).append(parameter)
    made = [{"params": blocks.pop("head"), "lr": lr}]
    for depth, parameters in enumerate(reversed(blocks.values())):
        made.append({"params": parameters, "lr": lr * body * decay**depth})
    return made


def features(model: Module, head: Split, batches: Iterable, prepare) -> tuple[np.ndarray, np.ndarray]:
    """The body's features of the pictures, (N,F) float32, and their labels (N,). The body runs once, in eval mode.

    If the head is a convolution whose scores are averaged over the image, the average is computed before it: both are
    linear, so the result is the same, and it takes far less memory.
    """
    found, all_labels = [], []

    def keep(module, inputs, output):
        if module is head.layer:
            x = inputs[0].numpy()
            found.append(np.array(x.mean((2, 3)) if x.ndim == 4 else x))

    with no_grad(), model.evaluating(), watch(keep):
        for images, labels, *_ in batches:
            model(prepare(images))
            all_labels.append(labels)
    return np.concatenate(found), np.concatenate(all_labels)


def put_in(head: Split, weight: np.ndarray, bias: np.ndarray, features: np.ndarray) -> None:
    """Set the head's weights to W (K,F) and its bias to b (K,), the solution for these features (N,F).

    A ReLU after a convolution, as in SqueezeNet, would set scores below 0 to 0. Adding one number to the scores of all
    classes changes no probability, so the biases are raised until hardly any score is below 0.
    """
    layer = head.layer
    if isinstance(layer, Conv2d):  # 1×1, its scores averaged over the image afterwards
        scores = features @ weight.T + bias                                   # (N, K), averages over an image
        spread = np.abs(scores - scores.mean(1, keepdims=True)).max()
        bias = bias + 4 * spread - scores.mean()
    assert layer.bias is not None, "a classifier's last layer has a bias"
    for parameter, values in ((layer.weight, weight), (layer.bias, bias)):
        array = np.asarray(values, parameter.dtype).reshape(parameter.shape)
        parameter.data = Tensor(array, device=parameter.device).data
