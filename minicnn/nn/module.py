"""What every layer and every net is: a Module, whose Parameters, Buffers and Modules are found by looking at it.

There is nothing to register and no `super().__init__()` to call: whatever stands in an attribute, or in a list in an
attribute, belongs to the module, under that attribute's name, in the order in which it was written down.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from minicnn import devices
from minicnn.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that an optimiser changes."""

    def __init__(self, data, requires_grad: bool = True):
        super().__init__(data, requires_grad)


class Buffer(Tensor):
    """A Tensor that is part of a module's state but that no gradient changes: batch norm's running statistics."""


_watchers: contextvars.ContextVar[tuple[Callable, ...]] = contextvars.ContextVar("watchers", default=())


@contextlib.contextmanager
def watch(callback: Callable):
    """Within `with watch(f):`, f(module, inputs, output) is called after each module has computed."""
    token = _watchers.set((*_watchers.get(), callback))
    try:
        yield
    finally:
        _watchers.reset(token)


class Module:
    """The base of layers and nets. A subclass sets attributes in `__init__` and computes in `forward`."""

    training = True

    def forward(self, *inputs):
        """Compute the output; every subclass has its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method")

    def __call__(self, *inputs):
        """The output for these inputs; whoever watches is told."""
        try:
            output = self.forward(*inputs)
        except ValueError as problem:
            self._name_the_layer(problem)
            raise
        for callback in _watchers.get():
            callback(self, inputs, output)
        return output

    def _name_the_layer(self, problem: ValueError) -> None:
        """Put the failing layer's name, as seen from here, before the sentence: "features.3 (Conv2d): the window …"."""
        inside, path, sentence = getattr(problem, "layer", (None, "", str(problem)))
        if inside is not None:
            own = next((name for name, m in self.members() if m is inside), "")
            path = ".".join(filter(None, (own, path)))
            kind = getattr(problem, "kind", type(inside).__name__)
            problem.args = (f"{path} ({kind}): {sentence}",) if path else problem.args
            problem.kind = kind  # type: ignore[attr-defined]
        problem.layer = (self, path, sentence)  # type: ignore[attr-defined]

    def macs(self, output_shape: tuple[int, ...]) -> int:
        """Its own multiply-adds for one image, output_shape being without the batch axis; most layers have none."""
        return 0

    def members(self) -> Iterator[tuple[str, Tensor | Module]]:
        """This module's own (name, Parameter | Buffer | Module), in the order of their attributes."""
        for name, value in vars(self).items():
            if isinstance(value, (Parameter, Buffer, Module)):
                yield name, value
            elif isinstance(value, (list, tuple)):
                for i, item in enumerate(value):
                    if isinstance(item, (Parameter, Buffer, Module)):
                        yield f"{name}.{i}", item

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module, named `prefix`, and all below it: ("features.0", Conv2d), …"""
        yield prefix, self
        for name, value in self.members():
            if isinstance(value, Module):
                yield from value.named_modules(f"{prefix}.{name}" if prefix else name)

    def _named(self, kind) -> Iterator[tuple[str, Tensor]]:
        for prefix, module in self.named_modules():
            for name, value in module.members():
                if isinstance(value, kind):
                    yield (f"{prefix}.{name}" if prefix else name), value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """("features.0.weight", Parameter), …; one that two layers share comes once, under its first name."""
        seen: set[int] = set()
        for name, parameter in self._named(Parameter):
            if isinstance(parameter, Parameter) and id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """("bn1.running_mean", Buffer), …"""
        yield from self._named(Buffer)

    def parameters(self) -> list[Parameter]:
        """The parameters, each once."""
        return [parameter for _, parameter in self.named_parameters()]

    def train(self, mode: bool = True) -> Module:
        """Set the whole tree to training (dropout drops, batch norm uses the batch) or, with False, to use."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Set the whole tree to use: no dropout, running statistics."""
        return self.train(False)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[Module]:
        """`with model.evaluating():` eval mode inside the block; afterwards each layer has its own mode again."""
        modes = [(module, module.training) for _, module in self.named_modules()]
        self.eval()
        try:
            yield self
        finally:
            for module, mode in modes:
                module.training = mode

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, device: str) -> Module:
        """Move all parameters and buffers, in place."""
        return self._replace(lambda t: Tensor(t.data, device=device).data)

    def astype(self, dtype) -> Module:
        """Convert all parameters and buffers, in place: `.astype("float64")` for a gradient check of a whole net."""
        return self._replace(lambda t: devices.of(t.data).asarray(t.data, dtype))

    def _replace(self, new) -> Module:
        for tensor in {id(t): t for _, t in self._named((Parameter, Buffer))}.values():
            tensor.data, tensor.grad = new(tensor), None
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """{"features.0.weight": array, …}: a NumPy copy of every parameter and buffer."""
        return {name: np.array(tensor.numpy()) for name, tensor in self._named((Parameter, Buffer))}

    def load_state_dict(self, state: dict[str, np.ndarray], strict: bool = True) -> LoadReport:
        """Copy the arrays of `state` into the parameters and buffers of the same names.

        strict: raise a ValueError and change nothing unless names and shapes agree exactly. Otherwise load what fits.
        Either way the report says what is missing, unexpected and misshapen. PyTorch's counters of batches seen
        (`num_batches_tracked`) are passed over.
        """
        mine = dict(self._named((Parameter, Buffer)))
        arrays = {k: np.asarray(v) for k, v in state.items() if not k.endswith("num_batches_tracked")}
        both = mine.keys() & arrays.keys()
        report = LoadReport(
            missing=[k for k in mine if k not in arrays],
            unexpected=[k for k in arrays if k not in mine],
            misshapen=[f"{k} is {arrays[k].shape}, must be {mine[k].shape}" for k in mine
                       if k in both and arrays[k].shape != mine[k].shape],
        )
        if strict and not report.ok:
            raise ValueError(f"the state does not fit this {type(self).__name__}: {report}; "
                             "load_state_dict(state, strict=False) loads what fits")
        for name in both:
            tensor = mine[name]
            if arrays[name].shape == tensor.shape:
                tensor.data = devices.of(tensor.data).asarray(np.array(arrays[name], tensor.dtype))
        return report

    def __repr__(self):
        plain = (bool, int, float, str, tuple)
        settings = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if k != "training" and isinstance(v, plain))
        inner = [(name, repr(m)) for name, m in self.members() if isinstance(m, Module)]
        lines = [f"\n  ({name}): " + text.replace("\n", "\n  ") for name, text in inner]
        return f"{type(self).__name__}({settings}{''.join(lines)}{chr(10) if lines else ''})"


@dataclass(frozen=True)
class LoadReport:
    """What did not fit when a state was loaded."""

    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]

    @property
    def ok(self) -> bool:
        """Whether everything fitted."""
        return not (self.missing or self.unexpected or self.misshapen)

    def __str__(self):
        parts = []
        for what, names in (("missing", self.missing), ("unexpected", self.unexpected), ("misshapen", self.misshapen)):
            if names:
                more = f", … ({len(names)} in all)" if len(names) > 5 else ""
                parts.append(f"{what}: {', '.join(names[:5])}{more}")
        return "; ".join(parts) or "everything fits"


class Sequential(Module):
    """Layers one after the other: `Sequential(a, b)` names them 0 and 1, `Sequential({"conv": a})` as told."""

    def __init__(self, *layers):
        told = len(layers) == 1 and isinstance(layers[0], dict)
        named = layers[0] if told else {str(i): layer for i, layer in enumerate(layers)}
        for name, layer in named.items():
            if not isinstance(layer, Module):
                raise TypeError(f"Sequential: layer {name} must be a Module, not a {type(layer).__name__}")
        self.layers = dict(named)

    def members(self):
        """The layers, under their own names."""
        yield from self.layers.items()

    def forward(self, x):
        """x through every layer in turn."""
        for layer in self.layers.values():
            x = layer(x)
        return x

    def __getitem__(self, index):
        """The layer of that number or name; a slice gives a Sequential of those layers."""
        if isinstance(index, slice):
            return Sequential(dict(list(self.layers.items())[index]))
        return self.layers[index] if isinstance(index, str) else list(self.layers.values())[index]

    def __len__(self):
        return len(self.layers)

    def __iter__(self):
        return iter(self.layers.values())
