"""Normalisation layers."""

from typing import Self

from minicnn.device import Array
from minicnn.geometry import positive
from minicnn.nn import init
from minicnn.nn.module import Buffer, Module, Parameter
from minicnn.ops.batch_norm import batch_norm, batch_norm_inference
from minicnn.ops.lrn import local_response_norm
from minicnn.ops.normalise import group_norm, instance_norm, layer_norm
from minicnn.ops.shared import shared_batch_norm
from minicnn.piece import present
from minicnn.tensor import Tensor


class BatchNorm2d(Module):
    """Batch normalisation of each channel.   x (N,C,H,W) → y (N,C,H,W)   (Ioffe & Szegedy 2015)

    weight (C,) ones and bias (C,) zeros are learned (affine=False: there are none). Training mode uses the batch's mean
    and variance, and updates the Buffers running_mean and running_var: running ← (1 − momentum)·running +
    momentum·batch, the variance with m − 1. (PyTorch's convention: TensorFlow's and Caffe's momentum is 1 minus this.)
    Eval mode uses the running statistics. Where several ranks share a batch, its statistics are those of all of them.

    `frozen=True`, or `.freeze()`: training mode uses the running statistics too, and does not change them. For
    fine-tuning on small batches, whose statistics are noisy. weight and bias are still trained, unless requires_grad is
    False.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True,
                 frozen: bool = False):
        self.num_features = positive("num_features", num_features)
        self.eps, self.affine, self.frozen = eps, affine, frozen
        self.momentum = float(momentum)  # a NumPy float64 would turn the buffers into float64
        self.weight = Parameter(init.constant((num_features,), 1)) if affine else None
        self.bias = Parameter(init.constant((num_features,), 0)) if affine else None
        self.running_mean = Buffer(init.constant((num_features,), 0))
        self.running_var = Buffer(init.constant((num_features,), 1))

    def freeze(self, frozen: bool = True) -> Self:
        """Use the running statistics in training mode too, and do not change them; freeze(False) undoes it."""
        self.frozen = frozen
        return self

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,C,H,W)"""
        if self.frozen or not self.training:
            return batch_norm_inference(x, self.weight, self.bias, self.running_mean, self.running_var, eps=self.eps)
        y, m = self._over_the_batch(x)
        mean, var, *_ = y.aux                                                 # (C,), (C,)
        self._update_running(self.running_mean, mean)
        self._update_running(self.running_var, var * (m / (m - 1)))
        return y

    def _over_the_batch(self, x: Tensor) -> tuple[Tensor, float]:
        """(y, the number of values in a channel), over the batch of all ranks if several share it."""
        shared = present.get()
        if shared is None or shared.ranks.size == 1:
            return batch_norm(x, self.weight, self.bias, eps=self.eps), x.size // self.num_features
        y = shared_batch_norm(x, self.weight, self.bias, eps=self.eps, shared=shared)
        return y, float(y.aux[2])

    def _update_running(self, running: Buffer, batch: Array) -> None:
        running.data = (1 - self.momentum) * running.data + self.momentum * batch


class LayerNorm(Module):
    """Normalises over the last axes, whose sizes are `normalized_shape`.   x (…, normalized_shape) → y like x

    weight ones and bias zeros, both of normalized_shape, are learned (elementwise_affine=False: there are none;
    bias=False: no bias).   Ba et al. 2016
    """

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5, elementwise_affine: bool = True,
                 bias: bool = True):
        shape = tuple(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        self.normalized_shape = tuple(positive("normalized_shape", n) for n in shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.weight = Parameter(init.constant(self.normalized_shape, 1)) if elementwise_affine else None
        self.bias = Parameter(init.constant(self.normalized_shape, 0)) if elementwise_affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x → y, the same shape"""
        return layer_norm(x, self.weight, self.bias, normalized_shape=self.normalized_shape, eps=self.eps)


class GroupNorm(Module):
    """Normalises each image's groups of neighbouring channels.   x (N,C,…) → y like x   (Wu & He 2018)

    weight (C,) ones and bias (C,) zeros are learned (affine=False: there are none).
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True):
        self.num_groups, self.num_channels = positive("num_groups", num_groups), positive("num_channels", num_channels)
        if num_channels % num_groups:
            raise ValueError(f"num_channels (={num_channels}) must be divisible by num_groups (={num_groups})")
        self.eps, self.affine = eps, affine
        self.weight = Parameter(init.constant((num_channels,), 1)) if affine else None
        self.bias = Parameter(init.constant((num_channels,), 0)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,…) → (N,C,…)"""
        return group_norm(x, self.weight, self.bias, num_groups=self.num_groups, eps=self.eps)


class InstanceNorm2d(Module):
    """Normalises each channel of each image.   x (N,C,H,W) → y like x   (Ulyanov et al. 2016)

    affine=True: weight (C,) ones and bias (C,) zeros are learned; by default, as in PyTorch, there are none. There are
    no running statistics: eval mode uses those of the image, too.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, *, affine: bool = False):
        self.num_features, self.eps, self.affine = positive("num_features", num_features), eps, affine
        self.weight = Parameter(init.constant((num_features,), 1)) if affine else None
        self.bias = Parameter(init.constant((num_features,), 0)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,C,H,W)"""
        return instance_norm(x, self.weight, self.bias, eps=self.eps)


class LocalResponseNorm(Module):
    """x / (k + α'·Σ x²)^β over `size` neighbouring channels; α' = α/size, or α with variant="paper".

    groups: the channels are divided into this many groups of neighbours, and each window stays in one group.
    AlexNet uses LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2, variant="paper").   Krizhevsky et al. 2012, §3.3
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, variant: str = "torch",
                 groups: int = 1):
        self.size, self.alpha, self.beta, self.k, self.variant = size, alpha, beta, k, variant
        self.groups = positive("groups", groups)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,…) → (N,C,…)"""
        if self.groups > 1 and x.shape[1] % self.groups:
            raise ValueError(f"x has {x.shape[1]} channels, which must be divisible by groups (={self.groups})")
        parts = x.reshape(-1, x.shape[1] // self.groups, *x.shape[2:]) if self.groups > 1 else x    # (N·G, C/G, …)
        y = local_response_norm(parts, size=self.size, alpha=self.alpha, beta=self.beta, k=self.k, variant=self.variant)
        return y.reshape(x.shape) if self.groups > 1 else y
