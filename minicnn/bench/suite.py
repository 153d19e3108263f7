"""The convolutions that the benchmarks measure: layers of well-known nets, and some extreme shapes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from minicnn.geometry import Conv2dGeometry


@dataclass(frozen=True)
class ConvCase:
    """One convolution: images (N,C,H,W), O filters; kernel, stride and padding are (vertical, horizontal)."""

    name: str
    input: tuple[int, int, int, int]
    filters: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        """(O, C/G, KH, KW)"""
        return (self.filters, self.input[1] // max(1, self.groups), *self.kernel)

    @property
    def geometry(self) -> Conv2dGeometry:
        """Its checked geometry, or a ValueError that explains what does not fit."""
        return Conv2dGeometry.of(self.input, self.w_shape, self.stride, self.padding, 1, self.groups)

    @property
    def macs(self) -> int:
        """N·O·(C/G)·KH·KW·OH·OW multiply-adds, including those on padding."""
        g = self.geometry
        return g.N * g.O * (g.C // g.G) * g.KH * g.KW * g.OH * g.OW

    @property
    def flops(self) -> int:
        """2·MACs: the operations of the forward pass, of dx, and of dw."""
        return 2 * self.macs

    def bytes(self, itemsize: int = 4) -> int:
        """The least memory traffic: x and w read once, y written once."""
        g = self.geometry
        return itemsize * (g.N * g.C * g.H * g.W + g.O * (g.C // g.G) * g.KH * g.KW + g.N * g.O * g.OH * g.OW)

    @property
    def intensity(self) -> float:
        """FLOPs per byte of that traffic: the x axis of the roofline plot."""
        return self.flops / self.bytes()

    @property
    def label(self) -> str:
        """"16×64×56×56 → 128, 3×3/2 p1 g32"."""
        def both(pair): return str(pair[0]) if pair[0] == pair[1] else f"({pair[0]},{pair[1]})"

        stride = "" if self.stride == (1, 1) else f"/{both(self.stride)}"
        padding = "" if self.padding == (0, 0) else f" p{both(self.padding)}"
        groups = "" if self.groups == 1 else f" g{self.groups}"
        images = "×".join(map(str, self.input))
        return f"{images} → {self.filters}, {self.kernel[0]}×{self.kernel[1]}{stride}{padding}{groups}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON, and for a worker process that does not know this class."""
        return asdict(self)


def _square(name: str, input_: tuple[int, int, int, int], filters: int, k: int, s: int = 1, p: int = 0,
            g: int = 1) -> ConvCase:
    return ConvCase(name, input_, filters, (k, k), (s, s), (p, p), g)


SUITE: tuple[ConvCase, ...] = (
    _square("many small images", (64, 64, 32, 32), 64, 3, p=1),
    _square("VGG conv1_2", (2, 64, 224, 224), 64, 3, p=1),
    _square("ResNet conv2_x", (16, 64, 56, 56), 64, 3, p=1),
    _square("ResNet conv3_x", (16, 128, 28, 28), 128, 3, p=1),
    _square("ResNet conv4_x", (16, 256, 14, 14), 256, 3, p=1),
    _square("ResNet conv5_x", (16, 512, 7, 7), 512, 3, p=1),
    _square("ResNet-50 squeeze", (16, 256, 56, 56), 64, 1),
    _square("pointwise, deep", (16, 1024, 14, 14), 256, 1),
    _square("ResNet conv1", (8, 3, 224, 224), 64, 7, 2, 3),
    _square("AlexNet conv1", (8, 3, 227, 227), 96, 11, 4),
    _square("AlexNet conv2", (16, 96, 27, 27), 256, 5, p=2, g=2),
    _square("LeNet-5 C1", (128, 1, 32, 32), 6, 5),
    _square("LeNet-5 C3", (128, 6, 14, 14), 16, 5),
    _square("Inception 5×5", (16, 32, 28, 28), 96, 5, p=2),
    ConvCase("Inception 1×7", (16, 128, 17, 17), 128, (1, 7), (1, 1), (0, 3)),
    _square("ResNeXt 3×3", (16, 128, 56, 56), 128, 3, p=1, g=32),
    _square("depthwise, wide", (16, 32, 112, 112), 32, 3, p=1, g=32),
    _square("depthwise, deep", (16, 512, 14, 14), 512, 3, p=1, g=512),
    _square("batch of one", (1, 64, 56, 56), 64, 3, p=1),
    _square("stride two", (16, 64, 56, 56), 128, 3, 2, 1),
)
"""Twenty layers, at the batch sizes of training on a CPU."""
