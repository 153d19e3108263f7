"""AlexNet of 2012 as it was trained: one tower on each of two GPUs, here one on each of two ranks.

    with ranks.joined() as team:
        net = Tower(models.build("alexnet", variant="paper"), team)
        loss = cross_entropy(net(x), labels)             # both ranks have the same images
        net.backward(loss)

Each rank has half of the output channels of every layer but the last, and so about half of the weights. conv2, conv4
and conv5 read the rank's own half (groups=2); conv3 and the dense layers read both, which is the only exchange: an op
that gathers the channels, whose gradient adds up what all ranks ask for and hands each its own. Response normalisation
reads its neighbours across the towers, as the paper's formula does, which is one more exchange each; with
lrn_per_tower=True there is none, as on the two GPUs. The last layer is computed by every rank.

Krizhevsky, Sutskever & Hinton 2012, §3.2, §3.5 and figure 2; Krizhevsky 2014 calls it model parallelism.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn import devices
from minicnn.nn import Conv2d, Dropout, Linear, LocalResponseNorm, Module, Sequential
from minicnn.ops.shared import gathered
from minicnn.ranks import Alone
from minicnn.rng import next_draw
from minicnn.tensor import Tensor


class Tower(Module):
    """This rank's tower of `net`, an AlexNet with as many groups as there are ranks, with the weights of `net`.

    ValueError if the net has other groups, or channels that the ranks can't share evenly.
    """

    def __init__(self, net: Sequential, team: Alone):
        flat = [*net["features"], net["flatten"], *net["classifier"]]
        weighted = [layer for layer in flat if isinstance(layer, (Conv2d, Linear))]
        self.team, self.parts = team, []
        for layer in flat:
            self.parts.append(self._part(layer, last=layer is weighted[-1], first=layer is weighted[0]))
        self.last = self.parts[-1]

    def _part(self, layer: Any, first: bool, last: bool) -> Module:
        k = self.team.size
        if isinstance(layer, (Conv2d, Linear)):
            return _Half(layer, self.team, gathers=not first and getattr(layer, "groups", 1) == 1, whole=last)
        if isinstance(layer, LocalResponseNorm) and layer.groups == 1 and k > 1:
            return _Across(layer, self.team)
        if isinstance(layer, LocalResponseNorm):
            return LocalResponseNorm(layer.size, layer.alpha, layer.beta, layer.k, layer.variant)
        if isinstance(layer, Dropout):
            return _OwnColumns(layer, self.team)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """x (N,3,227,227), the same on every rank → logits (N,K), the same on every rank"""
        for part in self.parts:
            x = part(x)
        return x

    def backward(self, loss: Tensor) -> None:
        """The gradients of a loss that every rank has computed from the same logits."""
        k = self.team.size
        loss.backward(None if k == 1 else np.asarray(1 / k, loss.dtype))      # each rank's copy counts 1/k
        for p in self.last.parameters():                                      # and has 1/k of the last layer's gradient
            device = devices.of(p.grad)
            p.grad = device.asarray(self.team.sum(np.array(device.to_numpy(p.grad), order="C")))


class _Half(Module):
    """A layer with this rank's share of the filters or units; `gathers`: it reads all ranks' inputs."""

    def __init__(self, layer: Conv2d | Linear, team: Alone, gathers: bool, whole: bool):
        groups = getattr(layer, "groups", 1)
        if groups not in (1, team.size) or (not whole and layer.weight.shape[0] % team.size):
            raise ValueError(f"a layer with weights {layer.weight.shape} and groups={groups} can't be shared by "
                             f"{team.size} ranks: AlexNet's towers need variant='paper', groups={team.size}")
        share = layer.weight.shape[0] if whole else layer.weight.shape[0] // team.size
        rows = slice(None) if whole else slice(team.rank * share, (team.rank + 1) * share)
        if isinstance(layer, Conv2d):
            self.layer: Any = Conv2d(layer.weight.shape[1], share, layer.kernel_size, layer.stride, layer.padding,
                                     layer.dilation)  # fmt: skip
        else:
            self.layer = Linear(layer.weight.shape[1], share)
        self.layer.weight.data = layer.weight.data[rows].copy()
        assert layer.bias is not None                      # AlexNet's layers have one
        self.layer.bias.data = layer.bias.data[rows].copy()
        self.team, self.gathers = team, gathers and team.size > 1

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(gathered(x, ranks=self.team) if self.gathers else x)


class _Across(Module):
    """Response normalisation over the channels of all towers, of which this rank keeps its own."""

    def __init__(self, layer: LocalResponseNorm, team: Alone):
        self.layer, self.team = layer, team

    def forward(self, x: Tensor) -> Tensor:
        C = x.shape[1]
        return self.layer(gathered(x, ranks=self.team))[:, self.team.rank * C : (self.team.rank + 1) * C]


class _OwnColumns(Dropout):
    """Dropout of this rank's units, with its columns of the whole layer's mask."""

    def __init__(self, layer: Dropout, team: Alone):
        super().__init__(layer.p)
        self.team = team

    def mask(self, x: Tensor) -> Any:
        """Booleans (N,C), False with probability p."""
        N, C = x.shape
        whole = devices.of(x.data).dropout_mask((N, C * self.team.size), self.p, *next_draw())
        return whole[:, self.team.rank * C : (self.team.rank + 1) * C].copy()
