"""Layers that make images larger or smaller, with PyTorch's names.   x (N,C,H,W) → y (N,C',OH,OW)"""

from collections.abc import Sequence

from minicnn.geometry import Pair, positive
from minicnn.nn.module import Module
from minicnn.ops.resize import interpolate
from minicnn.ops.shape import pixel_shuffle, pixel_unshuffle
from minicnn.tensor import Tensor


class Upsample(Module):
    """Images of `size` (OH, OW), or `scale_factor` times as large; mode "nearest", "nearest-exact" or "bilinear"."""

    def __init__(self, size: Pair | None = None, scale_factor: float | Sequence[float] | None = None,
                 mode: str = "nearest", align_corners: bool = False):
        if (size is None) == (scale_factor is None):
            raise ValueError(f"Upsample: give either size or scale_factor, not {'none' if size is None else 'both'} of "
                             "them")
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,H,W) → (N,C,OH,OW)"""
        return interpolate(x, size=self.size, scale_factor=self.scale_factor, mode=self.mode,
                           align_corners=self.align_corners)  # fmt: skip


class PixelShuffle(Module):
    """r² channels become blocks of r × r pixels: (N,C·r²,H,W) → (N,C,r·H,r·W), r = upscale_factor.   Shi et al. 2016"""

    def __init__(self, upscale_factor: int):
        self.upscale_factor = positive("upscale_factor", upscale_factor)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C·r²,H,W) → (N,C,r·H,r·W)"""
        return pixel_shuffle(x, upscale_factor=self.upscale_factor)


class PixelUnshuffle(Module):
    """Blocks of r × r pixels become r² channels: (N,C,r·H,r·W) → (N,C·r²,H,W), r = downscale_factor."""

    def __init__(self, downscale_factor: int):
        self.downscale_factor = positive("downscale_factor", downscale_factor)

    def forward(self, x: Tensor) -> Tensor:
        """x (N,C,r·H,r·W) → (N,C·r²,H,W)"""
        return pixel_unshuffle(x, downscale_factor=self.downscale_factor)
