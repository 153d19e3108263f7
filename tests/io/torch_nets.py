"""Small nets in PyTorch, written as torchvision writes its own: blocks, shuffles, attention to channels, shapes.

They exist to be exported by PyTorch, by `exported`. Each ends in ten scores.
"""

import io
import warnings

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

SIDE = 32
"""The side of their images."""


def exported(net, path, dynamo, batch, side=SIDE):
    """Write the net to `path`. batch: 1 for a fixed batch of one image, 0 for a free one."""
    x = torch.zeros(batch or 2, 3, side, side)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if dynamo:
            free = None if batch else ({0: torch.export.Dim("N")},)
            program = torch.onnx.export(net, (x,), dynamo=True, dynamic_shapes=free, verbose=False)
            program.save(str(path), external_data=True)
        else:
            free = None if batch else {"image": {0: "N"}}
            written = io.BytesIO()
            torch.onnx.export(net, (x,), written, dynamo=False, input_names=["image"], dynamic_axes=free)
            path.write_bytes(written.getvalue())


def conv_norm(i, o, k=3, stride=1, groups=1, act=nn.ReLU):
    layers = [nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, *([act()] if act else []))


class Head(nn.Module):
    """Pooling, flattening as torchvision does it, dropout, linear."""

    def __init__(self, channels):
        super().__init__()
        self.avgpool, self.dropout, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Dropout(0.2), nn.Linear(channels, 10)

    def forward(self, x):
        return self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))


class Residual(nn.Module):
    def __init__(self, i, o, stride=1):
        super().__init__()
        self.conv1, self.conv2 = conv_norm(i, o, stride=stride), conv_norm(o, o, act=None)
        self.downsample = conv_norm(i, o, 1, stride, act=None) if stride > 1 or i != o else None

    def forward(self, x):
        same = x if self.downsample is None else self.downsample(x)
        return F.relu(self.conv2(self.conv1(x)) + same)


def resnet():
    return nn.Sequential(conv_norm(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1), Residual(8, 8), Residual(8, 8),
                         Residual(8, 16, 2), Residual(16, 16), Head(16))


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x):
        return F.hardsigmoid(self.fc2(F.relu(self.fc1(self.avgpool(x))))) * x


class Inverted(nn.Module):
    def __init__(self, i, o, expand, stride, act):
        super().__init__()
        wide = i * expand
        self.block = nn.Sequential(conv_norm(i, wide, 1, act=act), conv_norm(wide, wide, 3, stride, wide, act),
                                   SqueezeExcite(wide), conv_norm(wide, o, 1, act=None))
        self.same = stride == 1 and i == o

    def forward(self, x):
        return x + self.block(x) if self.same else self.block(x)


def mobilenet():
    return nn.Sequential(conv_norm(3, 8, 3, 2, act=nn.Hardswish), Inverted(8, 8, 2, 1, nn.ReLU),
                         Inverted(8, 16, 3, 2, nn.Hardswish), Inverted(16, 16, 3, 1, nn.ReLU6), Head(16))


def efficientnet():
    return nn.Sequential(conv_norm(3, 8, 3, 2, act=nn.SiLU), Inverted(8, 8, 2, 1, nn.SiLU),
                         Inverted(8, 16, 3, 2, nn.SiLU), Head(16))


class Shuffle(nn.Module):
    """ShuffleNet v2: the channels are split, and shuffled with sizes read from the tensor."""

    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(conv_norm(half, half, 1), conv_norm(half, half, groups=half, act=None),
                                    conv_norm(half, half, 1))

    def forward(self, x):
        a, b = x.chunk(2, dim=1)
        x = torch.cat((a, self.branch(b)), dim=1)
        n, c, h, w = x.size()
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


def shufflenet():
    return nn.Sequential(conv_norm(3, 16, 3, 2), Shuffle(16), Shuffle(16), Head(16))


class Dense(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(channels), nn.Conv2d(channels, 4, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


def densenet():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), Dense(8), Dense(12), Dense(16), nn.AvgPool2d(2), Head(20))


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x):
        return F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias,
                            self.eps).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.dwconv, self.norm = nn.Conv2d(channels, channels, 7, padding=3, groups=channels), nn.LayerNorm(channels)
        self.up, self.down = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(0.1 * torch.ones(channels))

    def forward(self, x):
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


def convnext():
    return nn.Sequential(nn.Conv2d(3, 8, 4, 4), LayerNorm2d(8, eps=1e-6), ConvNeXtBlock(8), ConvNeXtBlock(8), Head(8))


class Up(nn.Module):
    """A U-Net's two ways up, and its skip connections."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.down3 = conv_norm(3, 8), conv_norm(8, 8, stride=2), conv_norm(8, 16, stride=2)
        self.up, self.last, self.head = nn.ConvTranspose2d(16, 8, 2, 2), conv_norm(24, 8), Head(8)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(a)
        c = self.up(self.down3(b))
        d = F.interpolate(torch.cat([b, c], 1), scale_factor=2, mode="bilinear", align_corners=False)
        e = F.interpolate(d, size=a.shape[-2:], mode="nearest")
        return self.head(self.last(torch.cat([e, a], 1)))


class Odds(nn.Module):
    """The other activations and norms, and shapes computed by hand."""

    def __init__(self):
        super().__init__()
        self.conv, self.prelu, self.gn = nn.Conv2d(3, 8, 3, 2, (1, 2), (1, 2)), nn.PReLU(8), nn.GroupNorm(2, 8)
        self.inorm, self.lin = nn.InstanceNorm2d(8, affine=True), nn.Linear(8 * 4 * 4, 10)

    def forward(self, x):
        x = F.leaky_relu(self.gn(self.prelu(self.conv(F.pad(x, (1, 0, 2, 1))))), 0.2)
        x = F.elu(self.inorm(x)) + F.selu(x) * F.mish(x) - torch.sigmoid(x)
        x = F.avg_pool2d(x[:, :, 2:, :-1], 2) / x.abs().mean(dim=(2, 3), keepdim=True).clamp(min=0.1)
        x = F.avg_pool2d(torch.tanh(x), 3, 2, 1, count_include_pad=False)
        x = torch.maximum(x, 0.5 * x.reshape(x.shape[0], -1).view(x.size(0), 8, 4, 4))
        return F.log_softmax(self.lin(x.reshape(x.size(0), -1)), dim=1)


class Masked(nn.Module):
    """Activations that are defined with comparisons, and masks put together by hand."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.head = conv_norm(3, 8), conv_norm(8, 8, stride=2, act=None), Head(8)

    def forward(self, x):
        x = self.conv1(x)
        x = torch.where(x > 0.3, x, -0.1) + F.hardshrink(x.mean(1, keepdim=True), 0.2)
        x = self.conv2(F.softshrink(x, 0.1))
        inside = ((x > -0.5) & (x <= 1)) | ~(x < 2)
        x = torch.where(inside, x, torch.tanh(x)) + x * (x >= 0.25).float()
        return self.head(x.masked_fill(x == 0, 1.0) + torch.where(x < x.mean((2, 3), keepdim=True), 0.5, x))


class Windows(nn.Module):
    """Attention within shifted windows, as Swin and MaxViT write it: masks, biases by place, products by letters."""

    def __init__(self):
        super().__init__()
        self.patches, self.norm, self.qkv = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8), nn.Linear(8, 24)
        self.bias, self.mlp, self.head = nn.Parameter(torch.randn(98)), nn.Linear(8, 8), nn.Linear(8, 10)
        rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
        at = torch.stack([rows.flatten(), columns.flatten()])
        apart = at[:, :, None] - at[:, None] + 3
        self.register_buffer("places", apart[0] * 7 + apart[1])

    def forward(self, x):
        x = self.patches(x).permute(0, 2, 3, 1)                              # (N, 8, 8, C)
        y = torch.roll(self.norm(x), (-2, -2), (1, 2))
        N, H, W, C = y.shape
        y = y.view(N, H // 4, 4, W // 4, 4, C).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, C)
        q, k, v = self.qkv(y).view(-1, 16, 3, 2, C // 2).permute(2, 0, 3, 1, 4)
        mask = x.new_zeros(16, 16)
        mask[:8, 8:] = -4.0
        scores = torch.einsum("bhid,bhjd->bhij", q, k) + self.bias.view(49, 2)[self.places].permute(2, 0, 1) + mask
        y = torch.einsum("bhij,bhjd->bihd", scores.softmax(-1), v).reshape(-1, H // 4, W // 4, 4, 4, C)
        y = torch.roll(y.permute(0, 1, 3, 2, 4, 5).reshape(N, H, W, C), (2, 2), (1, 2))
        return self.head((x + F.gelu(self.mlp(y))).mean((1, 2)))


def vgg():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2, ceil_mode=True),
                         nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, ceil_mode=True),
                         nn.AdaptiveAvgPool2d((4, 4)), nn.Flatten(), nn.Linear(128, 16), nn.ReLU(), nn.Dropout(),
                         nn.Linear(16, 10))


NETS = {"resnet": resnet, "mobilenet": mobilenet, "efficientnet": efficientnet, "shufflenet": shufflenet,
        "densenet": densenet, "convnext": convnext, "unet": Up, "odds": Odds, "masked": Masked,
        "windows": Windows, "vgg": vgg}
