"""The base class of layers and nets: a Module, which finds its own Parameters, Buffers and Modules.

There is nothing to register and no `super().__init__()` to call: every attribute that holds one of these is part of
the module, under the attribute's name, in order of assignment. Nested lists, tuples and dicts are searched too:

    self.conv = Conv2d(3, 8, 3)                                  "conv.weight", "conv.bias"
    self.blocks = [[Linear(8, 8)], Linear(8, 8)]                 "blocks.0.0.weight", …, "blocks.1.weight", …
    self.branches = {"left": Linear(8, 8)}                       "branches.left.weight", …

Layers in a set, in a dict with keys that are not strings, or in the class body are errors.

Two attributes tell a training loop how to train a net. `aux_weights`: if it is not empty, the net returns (logits,
*auxiliary logits) in training mode, and the loss is loss(logits) + Σ aux_weights[i]·loss(auxiliary logits i); in eval
mode it returns only the logits. `loss`: a net may have a method loss(logits, labels) → scalar Tensor; None, the
default, means cross-entropy.
"""

from __future__ import annotations

import contextlib
import importlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from minicnn import deferred, devices
from minicnn.nn.settings_text import settings
from minicnn.nn.state import LoadReport, compare, read_shapes, read_state, write_state
from minicnn.recording import layer_watchers, waiting
from minicnn.settings import within
from minicnn.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that an optimiser updates."""

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data, requires_grad)


class Buffer(Tensor):
    """A Tensor that is part of a module's state but is not trained, such as batch norm's running statistics."""


def watch(callback: Callable[[Module, tuple[Any, ...], Any], Any]) -> contextlib.AbstractContextManager[None]:
    """Within `with watch(f):`, f(module, inputs, output) is called after each module has computed."""
    return within(layer_watchers, (*layer_watchers.get(), callback))


class Module:
    """The base class of layers and nets. A subclass sets attributes in `__init__` and computes in `forward`."""

    training: bool = True
    aux_weights: tuple[float, ...] = ()
    loss: Callable[[Tensor, Any], Tensor] | None = None

    if TYPE_CHECKING:
        forward: Callable[..., Any]
    else:

        def forward(self, *inputs):
            """Compute the output; implemented by each subclass."""
            raise NotImplementedError(f"{type(self).__name__} has no forward method")

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        for name, value in vars(cls).items():
            if any(True for _ in _members(f"{cls.__name__}.{name}", value)):
                raise TypeError(f"{cls.__name__}.{name} is a {type(value).__name__} in the class body, where all "
                                f"objects of the class would share it: write self.{name} = … in __init__")

    def __call__(self, *inputs: Any) -> Tensor:
        """The output for these inputs; then the callbacks of `watch` are called.

        In training mode a net with `aux_weights` returns a tuple of Tensors.
        """
        try:
            output = self.forward(*inputs) if waiting.get() else deferred.run(self.forward, inputs)
        except ValueError as problem:
            self._name_the_layer(problem)
            raise
        for callback in layer_watchers.get():
            callback(self, inputs, output)
        return output

    def _name_the_layer(self, problem: ValueError) -> None:
        """Prefix the error with the failing layer's name in this module: "features.3 (Conv2d): the window …"."""
        inside, path, sentence = getattr(problem, "layer", (None, "", str(problem)))
        if inside is not None:
            own = next((name for name, m in self.members() if m is inside), "")
            path = ".".join(filter(None, (own, path)))
            kind = getattr(problem, "kind", type(inside).__name__)
            problem.args = (f"{path} ({kind}): {sentence}",) if path else problem.args
            problem.kind = kind  # type: ignore[attr-defined]
        problem.layer = (self, path, sentence)  # type: ignore[attr-defined]

    def macs(self, output_shape: tuple[int, ...]) -> int:
        """This layer's multiply-adds for one image; output_shape excludes the batch axis. 0 for most layers."""
        return 0

    def members(self) -> Iterator[tuple[str, Tensor | Module]]:
        """This module's own (name, Parameter | Buffer | Module), in the order of their attributes.

        TypeError if a container gives one of them no clear name: a set, or a dict with a key that is not a string
        without dots.
        """
        for name, value in vars(self).items():
            if type(value) not in _SIMPLE:
                yield from _members(name, value)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module, named `prefix`, and all modules inside it: ("features.0", Conv2d), …"""
        yield from self._modules(prefix, ())

    def _modules(self, prefix: str, above: tuple[Module, ...]) -> Iterator[tuple[str, Module]]:
        if any(self is module for module in above):
            raise ValueError(f"{type(above[0]).__name__}: the module {prefix!r} contains itself: keep a reference to a "
                             "module above in a function or a weakref, not in an attribute")
        yield prefix, self
        for name, value in self.members():
            if isinstance(value, Module):
                yield from value._modules(f"{prefix}.{name}" if prefix else name, (*above, self))

    def _named(self, kind: Any) -> Iterator[tuple[str, Tensor]]:
        for prefix, module in self.named_modules():
            for name, value in module.members():
                if isinstance(value, kind):
                    yield (f"{prefix}.{name}" if prefix else name), value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """("features.0.weight", Parameter), …; a shared one appears once, under its first name."""
        seen: set[int] = set()
        for name, parameter in self._named(Parameter):
            if isinstance(parameter, Parameter) and id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """("bn1.running_mean", Buffer), …"""
        yield from self._named(Buffer)

    def named_state(self) -> Iterator[tuple[str, Tensor]]:
        """(name in the state, Parameter or Buffer), …; a shared one appears under each of its names."""
        yield from self._named((Parameter, Buffer))

    def parameters(self) -> list[Parameter]:
        """All parameters; a shared one appears once."""
        return [parameter for _, parameter in self.named_parameters()]

    def train(self, mode: bool = True) -> Self:
        """Training mode for the whole tree (dropout drops, batch norm uses the batch's statistics), or eval mode."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Eval mode for the whole tree: no dropout, running statistics."""
        return self.train(False)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[Self]:
        """`with model.evaluating():` eval mode inside the block; afterwards each layer's previous mode is restored."""
        modes = [(module, module.training) for _, module in self.named_modules()]
        self.eval()
        try:
            yield self
        finally:
            for module, mode in modes:
                module.training = mode

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, device: str) -> Self:
        """Move all parameters and buffers, in place."""
        return self._replace(lambda t: Tensor(t.data, device=device).data)

    def astype(self, dtype: Any) -> Self:
        """Convert all parameters and buffers, in place: `.astype("float64")` for a gradient check of a whole net."""
        return self._replace(lambda t: devices.of(t.data).asarray(t.data, dtype))

    def _replace(self, new: Callable[[Tensor], Any]) -> Self:
        for tensor in {id(t): t for _, t in self.named_state()}.values():
            tensor.data, tensor.grad = new(tensor), None
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """{"features.0.weight": array, …}: a NumPy copy of every parameter and buffer."""
        return {name: np.array(tensor.numpy()) for name, tensor in self.named_state()}

    def current_names(self, names: Iterable[str]) -> dict[str, str]:
        """{name in a state: name in this net}; a net whose older weight files have other names overrides it."""
        return {name: name for name in names}

    def load_state_dict(self, state: dict[str, np.ndarray], strict: bool = True) -> LoadReport:
        """Copy the arrays of `state` into the parameters and buffers of the same names.

        strict: raise a ValueError and change nothing unless names and shapes agree exactly. With strict=False, load
        the arrays that fit. The report lists missing, unexpected and misshapen arrays. PyTorch's batch counters
        (`num_batches_tracked`) are ignored.
        """
        mine = dict(self.named_state())
        arrays = {here: np.asarray(state[name]) for name, here in self.current_names(state).items()
                  if not name.endswith("num_batches_tracked")}
        report = compare({k: t.shape for k, t in mine.items()}, {k: a.shape for k, a in arrays.items()})
        if strict and not report.ok:
            raise ValueError(f"the state does not fit this {type(self).__name__}: {report}; "
                             "load_state_dict(state, strict=False) loads what fits")
        for name, tensor in mine.items():
            if name in arrays and arrays[name].shape == tensor.shape:
                tensor.data = devices.of(tensor.data).asarray(np.array(arrays[name], tensor.dtype))
        return report

    def save(self, path: Any) -> None:
        """Write the state of any net to a safetensors file: names and arrays, no description of the net.

        `net.load(path)` reads it into a net of the same structure. For a net of the zoo, `models.save` writes a file
        that also names the net.
        """
        write_state(path, self.state_dict())

    def load(self, path: Any) -> Self:
        """Load a state that `save` wrote into this net, and return the net. Training and eval modes do not change.

        Names and shapes must agree exactly: otherwise a ValueError lists missing, unexpected and misshapen arrays, and
        nothing is changed. `io.weights.load_into` reads other formats, and parts of a file.
        """
        report = compare({name: tensor.shape for name, tensor in self.named_state()}, read_shapes(path)[0])
        if not report.ok:
            raise ValueError(f"{path}: the state does not fit this {type(self).__name__}: {report}: build the net as "
                             "it was when the file was written")
        self.load_state_dict(read_state(path)[0])
        return self

    def explain(self, x: Any, layer: str = "", unit: tuple[int, ...] | None = None, k: int | None = None,
                classes: Sequence[str] = ()) -> Any:  # fmt: skip
        """One number of this net for one image, with its formula and the gradient back: `minicnn.explain.unit`.

            net.explain(x, "features.3", (15, 6, 8))         # x (C,H,W); printed, or shown as HTML in a notebook
        """
        above = importlib.import_module("minicnn.explain")     # when called, because it is built on modules
        return above.unit(self, x, layer, unit, k, classes)

    def __repr__(self) -> str:
        inner = [(name, repr(m)) for name, m in self.members() if isinstance(m, Module)]
        lines = [f"\n  ({name}): " + text.replace("\n", "\n  ") for name, text in inner]
        return f"{type(self).__name__}({', '.join(settings(self))}{''.join(lines)}{chr(10) if lines else ''})"


_SIMPLE = {int, float, bool, str, type(None)}  # the types of most attributes: hyper-parameters, which are no members


def _members(name: str, value: Any) -> Iterator[tuple[str, Tensor | Module]]:
    """The members in an attribute's value, with their names: the value, or the items of lists, tuples and dicts."""
    if isinstance(value, (Parameter, Buffer, Module)):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            if type(item) not in _SIMPLE:
                yield from _members(f"{name}.{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            for path, member in _members(f"{name}.{key}", item):
                if not isinstance(key, str) or not key or "." in key:
                    raise TypeError(f"{name} holds a {type(member).__name__} under the key {key!r}, but a key is part "
                                    "of the names in the state: use a string without dots, or a list")
                yield path, member
    elif isinstance(value, (set, frozenset, deque)):
        for item in value:
            for _, member in _members(name, item):
                raise TypeError(f"{name} is a {type(value).__name__} that holds a {type(member).__name__}, which gives "
                                "it no fixed name in the state: use a list, a tuple or a dict")
