"""Saves nets of the zoo in files that name the net, and loads them.

    models.save("digits.safetensors", net)            net = models.build("lenet5", num_classes=10)
    net = models.load("digits.safetensors")

The format is safetensors. The metadata has the model's name and options, its classes and its input, in the format of
io/model_file.py, so every command of the program can read it. For a net of your own, use net.save and net.load.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from minicnn.models import zoo
from minicnn.nn import Module, init
from minicnn.nn.state import compare, read_shapes, read_state, write_state

FORMAT = 1


def save(path: str | os.PathLike[str], net: Module, *, classes: Sequence[str] = (), mean: Sequence[float] = (),
         std: Sequence[float] = ()) -> None:
    """Write a net that `models.build` made, with its name and options, to a safetensors file.

    classes: their names, by default "0", "1", …   mean, std: one number per channel, to normalise images with values
    from 0 to 1; by default 0 and 1. ValueError for a net that is not in the zoo; save it with net.save.
    """
    built: tuple[str, dict[str, Any]] | None = getattr(net, "_built", None)
    if built is None:
        raise ValueError(f"this {type(net).__name__} was not made by models.build, so a file could not say how to "
                         "build it again: use net.save(path), and net.load(path) on a net of the same structure")
    name, options = built
    check_is(net, name, options)
    default = {key: value.default for key, value in inspect.signature(zoo.builder(name)).parameters.items()}
    values = {**default, **options}
    K, C = values["num_classes"], values["in_channels"]
    H, W = zoo.input_shape(name, options.get("variant", ""), options)[1:]
    for what, given, count in (("classes", classes, K), ("mean", mean, C), ("std", std, C)):
        if given and len(given) != count:
            raise ValueError(f"{what} has {len(given)} entries, but this {name} has {count} "
                             f"{'classes' if what == 'classes' else 'channels'}")
    meta = {"format": FORMAT, "model": name, "options": options, "classes": list(classes) or [str(i) for i in range(K)],
            "input": [C, H, W], "mean": list(mean) or C * [0.0], "std": list(std) or C * [1.0]}
    write_state(path, net.state_dict(), {"minicnn": json.dumps(meta, ensure_ascii=False)})


def load(path: str | os.PathLike[str]) -> Module:
    """Build the net in a file of `models.save` or `minicnn train`, with its weights, in eval mode.

    ValueError if the file is invalid. The shapes in the file are checked before the net is built.
    """
    found, metadata = read_shapes(path)
    try:
        meta = json.loads(metadata["minicnn"])
        name, options = zoo.resolve(meta["model"], meta["options"])
    except KeyError:
        raise ValueError(f"{path} holds weights but does not say of which net: build that net and use net.load(path), "
                         "or io.weights.load_into") from None
    except (TypeError, AttributeError, RecursionError, ValueError) as problem:
        raise ValueError(f"{path}: its description can't be read ({problem}): write the file again") from None
    try:
        with init.shapes_only():
            report = compare(_shapes(zoo.build(name, **options)), found)
        if not report.ok:
            raise ValueError(f"its arrays do not fit the {name} that its description names: write the file again")
        net = zoo.build(name, **options)
        net.load_state_dict(read_state(path)[0])
    except (ValueError, TypeError) as problem:
        raise ValueError(f"{path}: {problem}") from None
    return net.eval()


def check_is(net: Module, name: str, options: Mapping[str, Any]) -> None:
    """ValueError unless `net` has the parameters of the zoo's net with this name and these options."""
    advice = "use net.save(path), and net.load(path) on a net of the same structure"
    if not zoo.known(name):
        raise ValueError(f"{name!r} is not the name of a net of the zoo, so the file could not be loaded: {advice}")
    with init.shapes_only():
        expected = _shapes(zoo.build(name, **options))
    found = _shapes(net)
    if found != expected:
        odd = next(key for key in [*found, *expected] if found.get(key) != expected.get(key))
        raise ValueError(f"this net is not the {name} that models.build makes ({odd} is {found.get(odd, 'missing')}, "
                         f"in the zoo's net {expected.get(odd, 'missing')}): {advice}")


def _shapes(net: Module) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape for name, tensor in net.named_state()}
