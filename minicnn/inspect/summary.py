"""A net, layer by layer: shapes, windows, parameters, MACs, memory and receptive fields. Nothing is computed.

The net's own forward code runs on the device "meta", whose arrays have shapes and receptive fields but no values.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field, replace

from minicnn import meta
from minicnn.inspect import summary_table
from minicnn.nn import Buffer, Module, Parameter, watch
from minicnn.tensor import Tensor, no_grad

BYTES = 4  # of a float32


@dataclass(frozen=True)
class Layer:
    """One layer of a net, or one block of layers where `Summary.at_depth` merged them. All counts are for one image."""

    name: str
    kind: str
    output: tuple[int, ...]
    """The output's shape without the batch axis."""
    kernel: tuple[int, int] | None
    stride: tuple[int, int] | None
    groups: int
    parameters: int
    """A layer that is used twice has two rows; its parameters are counted in the first."""
    buffers: int
    macs: int
    activations: int
    """Output values of layers that multiply or have a window: what the literature counts."""
    values: int
    """Output values of the layer, whatever it is: training keeps them all."""
    field: tuple[int, int]
    """The receptive field: how many pixels down and across an output element depends on."""
    total_stride: tuple[int, int]
    """How many pixels further the field of the next element begins."""
    offset: tuple[int, int]
    """The first pixel of the field of element (0, 0); negative inside the padding."""


@dataclass(frozen=True, repr=False)
class Summary:
    """The layers of a net in the order in which they compute.

    `print(summary)` shows the table of `minicnn summary`; a notebook shows it as HTML.
    """

    input: tuple[int, ...]
    layers: tuple[Layer, ...]
    peak: int
    blocks: dict[str, Layer] = field(default_factory=dict, compare=False, repr=False)
    """Output and receptive field of each block of layers, by name; without counts of its own."""
    name: str = ""
    """What the table calls the net: the name of its class, unless `named` gave another."""

    def __str__(self) -> str:
        return summary_table.text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return summary_table.html(self)

    def named(self, name: str) -> Summary:
        """The same, with another name in the title."""
        return replace(self, name=name)

    @property
    def totals(self) -> dict[str, int]:
        """What the net costs for one image.

        parameters; buffers (running statistics: state that no gradient changes); macs; flops = 2·macs; activations, the
        input included; training_bytes: parameters, their gradients and every layer's output, in float32;
        inference_bytes: parameters, buffers and the largest input and output that one layer holds at the same time.
        """
        keys = ("parameters", "buffers", "macs", "activations", "values")
        sums = {key: sum(getattr(layer, key) for layer in self.layers) for key in keys}
        pixels = _count(self.input)
        values = sums.pop("values") + pixels
        state = sums["parameters"] + sums["buffers"]
        return {
            **sums,
            "flops": 2 * sums["macs"],
            "activations": sums["activations"] + pixels,
            "training_bytes": BYTES * (state + sums["parameters"] + values),
            "inference_bytes": BYTES * (state + self.peak),
        }

    @property
    def rows(self) -> tuple[Layer, ...]:
        """The layers: one row of the table each."""
        return self.layers

    def as_dict(self) -> dict:
        """For --json: input, layers, totals."""
        return {"input": list(self.input), "layers": [asdict(layer) for layer in self.layers], "totals": self.totals}

    def at_depth(self, depth: int) -> Summary:
        """The same with layers merged into blocks: at depth 1, `layer1.0.conv1` is part of `layer1`."""
        rows: list[list[Layer]] = []
        for layer in self.layers:
            block = ".".join(layer.name.split(".")[:depth])
            if rows and ".".join(rows[-1][0].name.split(".")[:depth]) == block:
                rows[-1].append(layer)
            else:
                rows.append([layer])
        return replace(self, layers=tuple(self._merged(row, depth) for row in rows))

    def _merged(self, row: list[Layer], depth: int) -> Layer:
        name = ".".join(row[0].name.split(".")[:depth])
        if name == row[0].name:
            return row[0]
        keys = ("parameters", "buffers", "macs", "activations", "values")
        return replace(self.blocks.get(name, row[-1]), name=name, **{k: sum(getattr(x, k) for x in row) for k in keys})


def summary(model: Module, input_shape: tuple[int, ...]) -> Summary:
    """What each layer of `model` makes of one image of `input_shape` (C,H,W), in eval mode. Print it, or read its rows.

        print(inspect.summary(net, (3, 32, 32)))

    ValueError names the layer that an image is too small for, and the smallest image that fits.
    Layers that compute only in training (auxiliary classifiers) come last, with their parameters and no MACs.

    A MAC is one multiplication with its addition; as is usual, those of convolutions and linear layers are counted, not
    the biases, activations and norms. FLOPs = 2·MACs; many papers and libraries print MACs and call them FLOPs.
    """
    names: dict[int, str] = {}
    for name, module in model.named_modules():
        names.setdefault(id(module), name)
    layers: list[Layer] = []
    blocks: dict[str, Layer] = {}
    seen: set[int] = set()
    peak = 0

    def fresh(module, kind):
        found = {id(t): t for _, t in module.members() if isinstance(t, kind) and id(t) not in seen}
        seen.update(found)
        return sum(t.size for t in found.values())

    def look(module, inputs, output):
        nonlocal peak
        if not isinstance(output, Tensor):
            return
        name, kind, shape = names.get(id(module), ""), type(module).__name__, tuple(output.shape[1:])
        down, across = output.data.fields
        sight = (down.size, across.size), (down.jump, across.jump), (down.start, across.start)
        members = [type(m) for _, m in module.members()]
        holds, is_block = (any(issubclass(m, kind) for m in members) for kind in ((Parameter, Buffer), Module))
        if is_block:
            blocks[name] = Layer(name, kind, shape, None, None, 1, 0, 0, 0, 0, 0, *sight)
        if is_block and not holds:
            return
        size, before = _count(shape), inputs[0]
        peak = max(peak, size + _count(before.shape[1:]))
        macs = module.macs(output.shape[1:])
        reshaped = output.size == before.size and output.ndim != before.ndim
        looks = macs or (output.data.fields != before.data.fields and not reshaped)
        layers.append(Layer(name, kind, shape, *_window(module), fresh(module, Parameter), fresh(module, Buffer), macs,
                            size if looks else 0, size, *sight))  # fmt: skip

    with no_grad(), _without_values(model):
        try:
            with watch(look):
                model(Tensor(meta.image((1, *input_shape))))
        except ValueError as problem:
            least = _least_size(model, input_shape[0])
            hint = f"; the smallest square image that this net takes is {least}×{least}" if least else ""
            raise ValueError(f"{problem}{hint}") from None
    for name, module in model.named_modules():             # auxiliary classifiers, which work in training only
        parameters, buffers = fresh(module, Parameter), fresh(module, Buffer)
        if parameters or buffers:
            kernel, stride, groups = _window(module)
            layers.append(Layer(name, type(module).__name__, (), kernel, stride, groups, parameters, buffers, 0, 0, 0,
                                (0, 0), (0, 0), (0, 0)))  # fmt: skip
    return Summary(tuple(input_shape), tuple(layers), peak, blocks, type(model).__name__)


def box(model: Module, input_shape: tuple[int, ...], name: str, i: int, j: int) -> tuple[list[int], list[int]]:
    """The receptive field of unit (i, j) in the maps of layer or block `name`: rows [from, to), columns [from, to).

    Cut at the edge of the image; of a layer that is used twice, its last use counts.
    """
    report = summary(model, input_shape)
    found = {x.name: x for x in report.layers} | report.blocks
    if name not in found or len(found[name].output) != 3:
        raise ValueError(f"{name!r} computes no maps (C, h, w) on this image, so its units have no box: choose an "
                         "earlier layer")  # fmt: skip
    layer = found[name]
    down, across = (
        [max(0, o + n * step), min(side, o + n * step + size)]
        for o, n, step, size, side in zip(layer.offset, (i, j), layer.total_stride, layer.field, input_shape[1:])
    )
    return down, across


def _least_size(model: Module, channels: int) -> int | None:
    """The side of the smallest square image that goes through, up to 512."""
    for side in range(1, 513):
        with contextlib.suppress(ValueError):
            model(Tensor(meta.image((1, channels, side, side))))
            return side
    return None


@contextlib.contextmanager
def _without_values(model: Module):
    """The model in eval mode, its arrays on "meta"; afterwards everything is as it was."""
    tensors = [t for _, m in model.named_modules() for _, t in m.members() if isinstance(t, Tensor)]
    arrays = [(t, t.data) for t in tensors]
    try:
        for tensor, array in arrays:
            tensor.data = meta.asarray(array, "float32" if array.dtype.kind == "f" else None)
        with model.evaluating():
            yield
    finally:
        for tensor, array in arrays:
            tensor.data = array


def _window(module) -> tuple[tuple[int, int] | None, tuple[int, int] | None, int]:
    """(kernel, stride, groups) of a layer that has a window."""

    def pair(name):
        value = getattr(module, name, None)
        return (value, value) if isinstance(value, int) else tuple(value) if value else None

    return pair("kernel_size"), pair("stride"), getattr(module, "groups", 1)


def _count(shape) -> int:
    count = 1
    for n in shape:
        count *= n
    return count
