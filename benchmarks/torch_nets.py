"""The nets of the comparison in PyTorch, in the usual style; their weights have the same names as minicnn's."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's usual name


def named(**layers):
    """The layers in order, with names."""
    return nn.Sequential(OrderedDict(layers))


def lenet5():
    """LeNet-5 in its modern form."""
    return named(
        features=nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                               nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        classifier=nn.Sequential(nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                                 nn.Linear(84, 10)))  # fmt: skip


class Block(nn.Module):
    """Convolutions (O, kernel, stride) with batch norm, and a shortcut: a projection, or zeros for new channels."""

    def __init__(self, C, layers, project):
        super().__init__()
        self.stride, self.new, self.downsample = max(s for *_, s in layers), layers[-1][0] - C, None
        if project and (self.stride > 1 or self.new):
            O = layers[-1][0]
            self.downsample = nn.Sequential(nn.Conv2d(C, O, 1, self.stride, bias=False), nn.BatchNorm2d(O))
        path = {}
        for i, (O, k, s) in enumerate(layers, 1):
            path |= {f"conv{i}": nn.Conv2d(C, O, k, s, k // 2, bias=False), f"bn{i}": nn.BatchNorm2d(O),
                     f"relu{i}": nn.ReLU()}  # fmt: skip
            C = O
        path.popitem()                                             # the last ReLU comes after the sum
        for name, layer in path.items():
            self.add_module(name, layer)
        self.path = list(path)

    def forward(self, x):
        """(N,C,H,W) → (N,O,H/S,W/S)"""
        y = x
        for name in self.path:
            y = getattr(self, name)(y)
        if self.downsample is not None:
            x = self.downsample(x)
        elif self.stride > 1 or self.new:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new))
        return F.relu(y + x)


def resnet(C, kernel, stages, bottleneck, classes):
    """A first convolution, stages of (blocks, width), global average pooling, a linear layer."""
    layers = {"conv1": nn.Conv2d(3, C, kernel, 2 if bottleneck else 1, kernel // 2, bias=False),
              "bn1": nn.BatchNorm2d(C), "relu": nn.ReLU(),
              "pool": nn.MaxPool2d(3, 2, 1) if bottleneck else nn.Identity()}  # fmt: skip
    for i, (blocks, width) in enumerate(stages, 1):
        made = []
        for s in [1 if i == 1 else 2] + [1] * (blocks - 1):
            plain = [(width, 3, s), (width, 3, 1)]
            made.append(Block(C, [(width, 1, 1), plain[0], (4 * width, 1, 1)] if bottleneck else plain, bottleneck))
            C = 4 * width if bottleneck else width
        layers[f"layer{i}"] = nn.Sequential(*made)
    return named(**layers, avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(C, classes))


def _vgg(table):
    layers, C = [], 3
    for word in table.split():
        layers += [nn.MaxPool2d(2)] if word == "|" else [nn.Conv2d(C, int(word), 3, padding=1), nn.ReLU()]
        C = C if word == "|" else int(word)
    return nn.Sequential(*layers)


def _classifier(inputs):
    return nn.Sequential(nn.Linear(inputs, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(),
                         nn.Dropout(), nn.Linear(4096, 1000))  # fmt: skip


def alexnet():
    """AlexNet of 2012; PyTorch divides α of the response norm by its 5 maps, the paper does not."""
    def norm(): return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)

    return named(features=nn.Sequential(
        nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), norm(), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), norm(), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2),
    ), flatten=nn.Flatten(), classifier=_classifier(9216))  # fmt: skip


class Fire(nn.Module):
    """Squeeze, then expand in two branches."""

    def __init__(self, C, S, E):
        super().__init__()
        self.squeeze = nn.Conv2d(C, S, 1)
        self.expand1x1, self.expand3x3 = nn.Conv2d(S, E, 1), nn.Conv2d(S, E, 3, padding=1)

    def forward(self, x):
        """(N,C,H,W) → (N,2E,H,W)"""
        x = F.relu(self.squeeze(x))
        return torch.cat((F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))), 1)


def squeezenet1_1():
    """SqueezeNet 1.1."""
    def pool(): return nn.MaxPool2d(3, 2, ceil_mode=True)

    features = nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), pool(), Fire(64, 16, 64), Fire(128, 16, 64), pool(),
        Fire(128, 32, 128), Fire(256, 32, 128), pool(),
        Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
    )  # fmt: skip
    head = nn.Sequential(nn.Dropout(), nn.Conv2d(512, 1000, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return named(features=features, classifier=head)


def mobilenet_v1():
    """MobileNet V1."""
    def bn(O): return nn.BatchNorm2d(O), nn.ReLU()

    layers, C = [nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), *bn(32))], 32
    for O, S in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        layers.append(nn.Sequential(nn.Conv2d(C, C, 3, S, 1, groups=C, bias=False), *bn(C),
                                    nn.Conv2d(C, O, 1, bias=False), *bn(O)))  # fmt: skip
        C = O
    return named(features=nn.Sequential(*layers), avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(),
                 classifier=nn.Linear(1024, 1000))  # fmt: skip


def own_net():
    """The net in minicnn/bench/model.py that is written as a user writes it."""
    def block(C): return Block(C, [(C, 3, 1), (C, 3, 1)], project=False)

    return named(stem=nn.Conv2d(3, 32, 3, padding=1, bias=False), bn=nn.BatchNorm2d(32), relu=nn.ReLU(),
                 block1=block(32), pool=nn.MaxPool2d(2), down=nn.Conv2d(32, 64, 3, 2, 1), relu2=nn.ReLU(),
                 block2=block(64), block3=block(64), mean=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(),
                 head=nn.Linear(64, 10))  # fmt: skip


NETS = {
    "lenet5": lenet5, "own_net": own_net, "alexnet": alexnet, "squeezenet1_1": squeezenet1_1,
    "mobilenet_v1": mobilenet_v1,
    "resnet20": lambda: resnet(16, 3, [(3, 16), (3, 32), (3, 64)], bottleneck=False, classes=10),
    "resnet50": lambda: resnet(64, 7, [(3, 64), (4, 128), (6, 256), (3, 512)], bottleneck=True, classes=1000),
    "vgg11_cifar": lambda: named(features=_vgg("64 | 128 | 256 256 | 512 512 | 512 512 |"), flatten=nn.Flatten(),
                                 classifier=nn.Linear(512, 10)),
    "vgg16": lambda: named(features=_vgg("64 64 | 128 128 | 256 256 256 | 512 512 512 | 512 512 512 |"),
                           avgpool=nn.AdaptiveAvgPool2d(7), flatten=nn.Flatten(), classifier=_classifier(25088)),
}  # fmt: skip
