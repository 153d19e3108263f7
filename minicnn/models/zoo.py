"""The table of all nets, and their names: "lenet5", or with a variant "lenet5:1998"."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from minicnn.models import (
    alexnet,
    densenet,
    googlenet,
    graph,
    inception,
    lenet,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    nin,
    preact_resnet,
    resnet,
    resnet_cifar,
    resnext,
    squeezenet,
    stochastic_depth,
    vgg,
    wide_resnet,
    zfnet,
)
from minicnn.names import unknown
from minicnn.nn import Module

IMAGENET, CIFAR = (3, 224, 224), (3, 32, 32)

PAPERS: tuple[tuple[ModuleType, tuple[int, int, int], str], ...] = (
    # the paper's file, the input of its nets (channels, height, width), the nets
    (lenet, (1, 28, 28), "lenet5"),
    (alexnet, IMAGENET, "alexnet"),
    (zfnet, IMAGENET, "zfnet"),
    (nin, CIFAR, "nin_cifar"),
    (nin, (3, 227, 227), "nin_imagenet"),
    (vgg, IMAGENET, "vgg11 vgg11_lrn vgg13 vgg16_c vgg16 vgg19 vgg11_bn vgg13_bn vgg16_bn vgg19_bn"),
    (googlenet, IMAGENET, "googlenet"),
    (inception, (3, 299, 299), "inception_v3"),
    (resnet, IMAGENET, "plain18 plain34 resnet18 resnet34 resnet50 resnet101 resnet152"),
    (resnet_cifar, CIFAR, "plain20 plain32 plain44 plain56 plain110"),
    (resnet_cifar, CIFAR, "resnet20 resnet32 resnet44 resnet56 resnet110 resnet1202"),
    (preact_resnet, CIFAR, "preact_resnet110 preact_resnet164 preact_resnet1001"),
    (preact_resnet, IMAGENET, "preact_resnet18 preact_resnet34 preact_resnet50 preact_resnet101 preact_resnet152"),
    (preact_resnet, IMAGENET, "preact_resnet200"),
    (wide_resnet, CIFAR, "wrn_16_4 wrn_16_8 wrn_22_8 wrn_28_10 wrn_28_12 wrn_40_1 wrn_40_2 wrn_40_4"),
    (wide_resnet, IMAGENET, "wide_resnet50_2 wide_resnet101_2"),
    (resnext, CIFAR, "resnext29_8x64d resnext29_16x64d"),
    (resnext, IMAGENET, "resnext50_32x4d resnext101_32x8d resnext101_64x4d"),
    (stochastic_depth, CIFAR, "resnet110_stochastic_depth"),
    (densenet, CIFAR, "densenet40_12 densenet100_12 densenet100_24"),
    (densenet, CIFAR, "densenet_bc100_12 densenet_bc250_24 densenet_bc190_40"),
    (densenet, IMAGENET, "densenet121 densenet161 densenet169 densenet201"),
    (squeezenet, IMAGENET, "squeezenet1_0 squeezenet1_1"),
    (mobilenet_v1, IMAGENET, "mobilenet_v1"),
    (mobilenet_v2, IMAGENET, "mobilenet_v2"),
    (mobilenet_v3, IMAGENET, "mobilenet_v3_large mobilenet_v3_small"),
)

MODELS: dict[str, tuple[Callable[..., Module], tuple[int, int, int]]] = {
    name: (getattr(file, name), shape) for file, shape, nets in PAPERS for name in nets.split()
}
"""Each net's builder and input shape."""

VARIANT_INPUTS = {("lenet5", "1998"): (1, 32, 32), ("alexnet", "paper"): (3, 227, 227)}
"""Variants with another input shape than the model's default."""


def known(name: str) -> bool:
    """Whether `build` can build the net of this name: one of the zoo, or "graph", a net that is data."""
    return name == graph.NAME or name.partition(":")[0] in MODELS


def names() -> list[str]:
    """The names of all nets, in the order of the papers."""
    return list(MODELS)


def resolve(name: str, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    """("lenet5", {"variant": "1998"}) for "lenet5:1998": the model's name, and the options including its variant.

    ValueError if there is no such model, variant or option, or if name and options give different variants.
    """
    base, _, variant = name.partition(":")
    builder, options = _entry(base)[0], dict(options or {})
    if type(options.get("variant")) is int:  # 1998, from a TOML file
        options["variant"] = str(options["variant"])
    if variant and options.setdefault("variant", variant) != variant:
        raise ValueError(f"model {name!r} names one variant and the option variant={options['variant']!r} another: "
                         "leave one of them out")
    known = inspect.signature(builder).parameters
    for option in options:
        if option not in known:
            if option == "variant":
                raise ValueError(f"model {base!r} has only one variant: leave {variant or options['variant']!r} out")
            raise ValueError(unknown(f"option of model {base}", option, known))
    if "variant" in options and options["variant"] not in variants(base):
        raise ValueError(unknown(f"variant of model {base}", str(options["variant"]), variants(base)))
    return base, options


def build(name: str, **options: Any) -> Module:
    """The net called `name` with random initial weights: "lenet5", or with a variant "lenet5:1998".

    options: its builder's arguments, such as num_classes=10. The name "graph" builds a net from its description, the
    option graph (models/graph.py).
    """
    base, options = resolve(name, options)
    net = _entry(base)[0](**options)
    setattr(net, "_built", (base, options))  # noqa: B010 - what models.save writes
    return net


def input_shape(name: str, variant: str = "", options: Mapping[str, Any] | None = None) -> tuple[int, int, int]:
    """The input shape (channels, height, width) of a model or its variant ("lenet5:1998"); of a graph by its options"""
    if name == graph.NAME and options:
        C, H, W = graph.input_of(options["graph"])
        return C, H, W
    base, options = resolve(name, {"variant": variant} if variant else {})
    return VARIANT_INPUTS.get((base, options.get("variant", "")), _entry(base)[1])


def builder(name: str) -> Callable[..., Module]:
    """The function or class that builds the net called `name`."""
    return _entry(name)[0]


def variants(name: str) -> list[str]:
    """The values of a model's `variant=`, the default first; none if the model has no variants."""
    builder = _entry(name)[0]
    option = inspect.signature(builder).parameters.get("variant")
    if option is None:
        return []
    known = sys.modules[builder.__module__].VARIANTS
    return sorted(known, key=lambda variant: variant != option.default)


def _entry(name: str) -> tuple[Callable[..., Module], tuple[int, int, int]]:
    if name == graph.NAME:
        return graph.Graph, IMAGENET
    if name not in MODELS:
        raise ValueError(unknown("model", name, MODELS))
    return MODELS[name]
