"""The longest way through a net, from image to scores, and the shortcuts beside it. Its length is the net's depth.

The net's own forward code runs on the device "meta", so any Module can be looked at; nothing is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minicnn import meta
from minicnn.inspect.summary import without_values
from minicnn.nn import Module
from minicnn.recording import watch_ops
from minicnn.tensor import Tensor, no_grad


@dataclass(frozen=True, eq=False)
class Step:
    """A layer on the way: a convolution, a pooling or a linear layer.

    kind: "conv", "pool" or "linear".   kernel, stride: of its window, down; a linear layer has kernel 0, and a pooling
    over the whole map has kernel 0.   channels: of its output.   size: height of its output, 1 for vectors.
    """

    kind: str
    kernel: int
    stride: int
    channels: int
    size: int

    @property
    def weighted(self) -> bool:
        """Whether it has weights, so that it counts for the depth."""
        return self.kind != "pool"

    def __str__(self) -> str:
        stride = f", /{self.stride}" if self.stride > 1 else ""
        if self.kind == "linear":
            return f"linear, {self.channels}"
        if self.kind == "pool":
            return f"pool {self.kernel}×{self.kernel}{stride}" if self.kernel else "global average"
        return f"{self.kernel}×{self.kernel} conv, {self.channels}{stride}"


@dataclass(frozen=True)
class Shortcut:
    """A sum: the output of step `start` is added to that of step `end` (numbered from 1; 0 is the image).

    projected: on the shortcut there is a layer with weights.   resized: channels or size are different at both ends.
    """

    start: int
    end: int
    projected: bool
    resized: bool


@dataclass(frozen=True)
class MainPath:
    """The longest way through a net."""

    steps: tuple[Step, ...]
    shortcuts: tuple[Shortcut, ...]

    @property
    def depth(self) -> int:
        """Layers with weights on the way: what the names VGG-19 and ResNet-152 count."""
        return sum(step.weighted for step in self.steps)


def main_path(model: Module, input_shape: tuple[int, ...]) -> MainPath:
    """The longest way of an image (C,H,W) through `model`, in eval mode."""
    paths: dict[int, tuple[Step, ...]] = {}
    shortcuts: list[Shortcut] = []
    kept: list[Any] = []                                   # so that no id is used twice

    def depth(path: tuple[Step, ...]) -> int:
        return sum(step.weighted for step in path)

    def look(op: Any, args: tuple, hyper: dict[str, Any], y: Any) -> None:
        inputs = [paths[id(a)] for a in _flat(args) if id(a) in paths]
        path = max(inputs, key=depth, default=())
        step = _step(op.__name__, args, hyper, y)
        if op.__name__ == "add" and len(inputs) == 2:
            other = next((p for p in inputs if p is not path), path)
            same = next((i for i, (a, b) in enumerate(zip(path, other)) if a is not b), min(len(path), len(other)))
            if same < len(path):
                start = path[same - 1] if same else None
                resized = start is None or (start.channels, start.size) != (path[-1].channels, path[-1].size)
                shortcuts.append(Shortcut(same, len(path), depth(other) > depth(path[:same]), resized))
        paths[id(y)] = (*path, step) if step else path
        kept.append(y)

    image = Tensor(meta.image((1, *input_shape)))
    paths[id(image)] = ()
    with no_grad(), without_values(model), watch_ops(look):
        out = model(image)
    steps = paths.get(id(out), ())
    on_path = set(map(id, steps))
    return MainPath(steps, tuple(s for s in shortcuts if s.end <= len(steps) and id(steps[s.end - 1]) in on_path))


def _flat(args: tuple) -> list[Any]:
    return [a for arg in args for a in (arg if isinstance(arg, (list, tuple)) else (arg,))]


def _step(name: str, args: tuple, hyper: dict[str, Any], y: Any) -> Step | None:
    size = y.shape[2] if y.ndim == 4 else 1
    if name == "conv2d":
        return Step("conv", args[1].shape[2], _down(hyper.get("stride", 1)), y.shape[1], size)
    if name == "linear":
        return Step("linear", 0, 1, y.shape[-1], 1)
    if "pool" in name and y.shape != args[0].shape:        # VGG's last pooling keeps 7×7 maps as they are
        kernel = hyper.get("kernel_size")
        return Step("pool", _down(kernel) if kernel else 0, _down(hyper.get("stride") or kernel or 1), y.shape[1], size)
    return None


def _down(value: Any) -> int:
    return int(value[0] if isinstance(value, (tuple, list)) else value)
