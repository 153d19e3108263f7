"""Normalising layers."""

from minicnn.geometry import positive
from minicnn.nn import init
from minicnn.nn.module import Buffer, Module, Parameter
from minicnn.ops.batch_norm import batch_norm, batch_norm_inference
from minicnn.ops.lrn import local_response_norm


class BatchNorm2d(Module):
    """Batch normalisation of each channel.   x (N,C,H,W) → y (N,C,H,W)   (Ioffe & Szegedy 2015)

    weight (C,) ones and bias (C,) zeros are learned (affine=False: there are none). In training the batch's own mean
    and variance are used, and the Buffers running_mean, running_var follow them: running ← (1 − momentum)·running +
    momentum·batch, the variance with m − 1. (PyTorch's convention: TensorFlow's and Caffe's momentum is 1 minus this.)
    In eval() the running statistics are used.

    `frozen=True`, or `.freeze()`: the running statistics are used, and left alone, in training too. For fine-tuning on
    small batches, whose own statistics are noise. weight and bias still learn, unless their requires_grad is off.
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, frozen=False):
        self.num_features = positive("num_features", num_features)
        self.eps, self.momentum, self.frozen = eps, float(momentum), frozen  # a NumPy float64 would widen the buffers
        self.weight = Parameter(init.constant((num_features,), 1)) if affine else None
        self.bias = Parameter(init.constant((num_features,), 0)) if affine else None
        self.running_mean = Buffer(init.constant((num_features,), 0))
        self.running_var = Buffer(init.constant((num_features,), 1))

    def freeze(self, frozen=True):
        """Use the running statistics in training too, and leave them alone; freeze(False) ends it."""
        self.frozen = frozen
        return self

    def forward(self, x):
        """x (N,C,H,W) → (N,C,H,W)"""
        if self.frozen or not self.training:
            return batch_norm_inference(x, self.weight, self.bias, self.running_mean, self.running_var, eps=self.eps)
        y = batch_norm(x, self.weight, self.bias, eps=self.eps)
        mean, var = y.aux                                                     # (C,), (C,)
        m = x.size // self.num_features
        self._follow(self.running_mean, mean)
        self._follow(self.running_var, var * (m / (m - 1)))
        return y

    def _follow(self, running, batch):
        running.data = (1 - self.momentum) * running.data + self.momentum * batch


class LocalResponseNorm(Module):
    """x / (k + α'·Σ x²)^β over `size` neighbouring maps; α' = α/size, or with variant="paper" α itself.

    AlexNet's is LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2, variant="paper").   Krizhevsky et al. 2012, §3.3
    """

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0, variant="torch"):
        self.size, self.alpha, self.beta, self.k, self.variant = size, alpha, beta, k, variant

    def forward(self, x):
        """x (N,C,…) → (N,C,…)"""
        return local_response_norm(x, size=self.size, alpha=self.alpha, beta=self.beta, k=self.k, variant=self.variant)
