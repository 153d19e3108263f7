"""Stochastic depth: Huang, Sun, Liu, Sedra & Weinberger 2016, "Deep Networks with Stochastic Depth".

A ResNet that is short in training and deep in inference: each batch skips random branches, so that only their
shortcuts remain.
"""

from __future__ import annotations

from minicnn.models.resnet import BasicBlock
from minicnn.models.resnet_cifar import ZeroChannels, blocks_per_stage, cifar_channels, cifar_resnet
from minicnn.nn import AvgPool2d, Sequential, StochasticDepth
from minicnn.tensor import Tensor


def average_and_pad(in_channels: int, out_channels: int, stride: int) -> Sequential:
    """The shortcut if a block changes the shape: S×S pixels become their mean, new channels are zeros."""
    return Sequential(AvgPool2d(stride, ceil_mode=True), ZeroChannels(out_channels - in_channels))


class SurvivingBlock(BasicBlock):
    """y = relu(b·F(x) + x), b = 1 with probability `survival`, else 0, drawn for each batch; in eval mode b = survival.

    The layer StochasticDepth divides by the probability, so that eval mode needs no factor. The paper multiplies in
    eval mode instead (§3); the product with `survival` changes the layer's rule into the paper's.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, survival=1.0):
        super().__init__(in_channels, out_channels, stride, shortcut=average_and_pad)
        self.survival = survival
        self.drop = StochasticDepth(1 - survival, mode="batch")

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,O,H/S,W/S)"""
        branch = self.drop(self.branch(x)) * self.survival                    # training: F or 0; eval: survival·F
        return self.relu2(branch + self.shortcut(x))


def survivals(count: int, last: float) -> list[float]:
    """p_l = 1 − l/L·(1 − p_L), l = 1 … L: early blocks, which all later ones depend on, survive more often (§3)."""
    if not 0 < last <= 1:
        raise ValueError(f"survival (={last}) must be above 0 and at most 1: it is the probability "
                         "that the last block stays")
    return [1 - l / count * (1 - last) for l in range(1, count + 1)]


def stochastic_depth_resnet(depth: int = 110, survival: float = 0.5, num_classes: int = 10, in_channels: int = 3,
                            width: float = 1.0) -> Sequential:  # fmt: skip
    """resnet_cifar.py's ResNet of 6n + 2 layers with stochastic depth; its parameters and multiply-adds are the same.

    survival: p_L, the probability that the last block stays; the others fall linearly from 1 to it. On average 40 of 54
    blocks are active (§3).

    One difference: a skipped branch is computed and multiplied by 0; the paper does not compute it. So its batch norms'
    running statistics use every batch, in the paper only batches with an active branch; both estimate the mean and
    variance of F, before b. Initial weights: He normal, as in the paper.
    """
    n = blocks_per_stage(depth, layers=2, others=2)
    chances = iter(survivals(3 * n, survival))

    def block(in_channels, out_channels, stride):
        return SurvivingBlock(in_channels, out_channels, stride, next(chances))

    return cifar_resnet(block, n, cifar_channels(width), num_classes, in_channels)


def resnet110_stochastic_depth(num_classes: int = 10, in_channels: int = 3, survival: float = 0.5,
                               width: float = 1.0) -> Sequential:  # fmt: skip
    """ResNet-110 with stochastic depth.   1,727,962 parameters, 252,887,680 multiply-adds; see stochastic_depth_resnet.

    The paper's error on CIFAR-10 is 5.25 %, and 6.41 % for the same net without stochastic depth.
    """
    return stochastic_depth_resnet(110, survival, num_classes, in_channels, width)
