"""A net, layer by layer: output shapes, parameters, buffers, multiply-adds."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from minicnn.nn import Buffer, Module, Parameter, watch
from minicnn.tensor import Tensor, no_grad


@dataclass(frozen=True)
class Layer:
    """One layer of a net. A layer that is used twice stands here twice, its parameters are counted the first time."""

    name: str
    kind: str
    output: tuple[int, ...]  # of one image, without the batch axis
    parameters: int
    buffers: int
    macs: int


@dataclass(frozen=True)
class Summary:
    """The layers of a net in the order of computing."""

    input: tuple[int, ...]
    layers: tuple[Layer, ...]

    @property
    def totals(self) -> dict[str, int]:
        """parameters, buffers (running statistics: state that no gradient changes), macs, flops = 2·macs."""
        sums = {key: sum(getattr(layer, key) for layer in self.layers) for key in ("parameters", "buffers", "macs")}
        return {**sums, "flops": 2 * sums["macs"]}

    def as_dict(self) -> dict:
        """For --json: input, layers, totals."""
        return {"input": list(self.input), "layers": [asdict(layer) for layer in self.layers], "totals": self.totals}


def summary(model: Module, input_shape: tuple[int, ...]) -> Summary:
    """What each layer of `model` makes of one image of input_shape (C,H,W).

    A MAC is one multiplication with its addition; as is usual, those of convolutions and linear layers are counted, not
    the biases, activations and norms. FLOPs = 2·MACs; many papers and libraries print MACs and call them FLOPs.
    """
    training = {id(module): (module, module.training) for _, module in model.named_modules()}
    names: dict[int, str] = {}
    for name, module in model.named_modules():
        names.setdefault(id(module), name)
    layers: list[Layer] = []
    seen: set[int] = set()

    def size(module, kind):
        fresh = {id(t): t for _, t in module.members() if isinstance(t, kind) and id(t) not in seen}
        seen.update(fresh)
        return sum(t.size for t in fresh.values())

    def look(module, inputs, output):
        kinds = [type(m) for _, m in module.members()]
        if any(issubclass(k, (Parameter, Buffer)) for k in kinds) or not any(issubclass(k, Module) for k in kinds):
            layers.append(
                Layer(
                    names.get(id(module), ""),
                    type(module).__name__,
                    tuple(output.shape[1:]),
                    size(module, Parameter),
                    size(module, Buffer),
                    module.macs(output.shape[1:]),
                )
            )

    try:
        with no_grad(), watch(look):
            model.eval()(_one_image(model, input_shape))
    finally:
        for module, mode in training.values():
            module.training = mode
    return Summary(tuple(input_shape), tuple(layers))


def _one_image(model, shape):
    parameters = model.parameters()
    like = parameters[0] if parameters else Tensor(np.zeros(1, np.float32))
    return Tensor(np.zeros((1, *shape), like.dtype), device=like.device)
