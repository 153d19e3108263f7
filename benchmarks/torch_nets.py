"""The nets of the comparison in PyTorch, as its users would write them; their weights bear minicnn's names."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - so its users call it


class Net(nn.Module):
    """Features, pooled, flattened (but for a classifier that is convolutional), then the classifier."""

    def __init__(self, features, classifier, avgpool=None, flat=True):
        super().__init__()
        self.features, self.avgpool, self.classifier = features, avgpool or nn.Identity(), classifier
        self.flat = flat

    def forward(self, x):
        """Images → logits."""
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1) if self.flat else x)


def lenet5():
    """LeNet-5 as it is taught today."""
    return Net(
        nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                      nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Identity(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )  # fmt: skip


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut of subsampled pixels, zeros for new channels."""

    def __init__(self, C, O, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(C, O, 3, stride, 1, bias=False), nn.BatchNorm2d(O)
        self.conv2, self.bn2 = nn.Conv2d(O, O, 3, 1, 1, bias=False), nn.BatchNorm2d(O)
        self.new, self.stride = O - C, stride

    def forward(self, x):
        """(N,C,H,W) → (N,O,H/S,W/S)"""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1 or self.new:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new))
        return F.relu(y + x)


class ResNet20(nn.Module):
    """ResNet-20 for 32×32 images, option A."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(BasicBlock(16, 16, 1), BasicBlock(16, 16, 1), BasicBlock(16, 16, 1))
        self.layer2 = nn.Sequential(BasicBlock(16, 32, 2), BasicBlock(32, 32, 1), BasicBlock(32, 32, 1))
        self.layer3 = nn.Sequential(BasicBlock(32, 64, 2), BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        """Images → logits."""
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.fc(x.mean((2, 3)))


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1, the second with the stride, and a shortcut that is projected where the shape changes."""

    def __init__(self, C, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(C, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample = None
        if stride > 1 or 4 * width != C:
            self.downsample = nn.Sequential(nn.Conv2d(C, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x):
        """(N,C,H,W) → (N,4·width,H/S,W/S)"""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    """ResNet-50 for 224×224 images."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        C = 64
        for i, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
            first = Bottleneck(C, width, 1 if i == 0 else 2)
            C = 4 * width
            setattr(self, f"layer{i + 1}", nn.Sequential(first, *(Bottleneck(C, width, 1) for _ in range(blocks - 1))))
        self.fc = nn.Linear(2048, 1000)

    def forward(self, x):
        """Images → logits."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def _vgg(table):
    layers, C = [], 3
    for word in table.split():
        if word == "|":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(C, int(word), 3, padding=1), nn.ReLU()]
            C = int(word)
    return nn.Sequential(*layers)


def vgg11_cifar():
    """VGG-11's convolutions, then one linear layer."""
    return Net(_vgg("64 | 128 | 256 256 | 512 512 | 512 512 |"), nn.Linear(512, 10))


def vgg16():
    """VGG-16, column D."""
    head = (nn.Linear(25088, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout())
    return Net(_vgg("64 64 | 128 128 | 256 256 256 | 512 512 512 | 512 512 512 |"),
               nn.Sequential(*head, nn.Linear(4096, 1000)), nn.AdaptiveAvgPool2d(7))


def alexnet():
    """AlexNet of 2012; PyTorch divides α of the response norm by its 5 maps, the paper does not."""
    def norm(): return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)

    features = nn.Sequential(
        nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), norm(), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), norm(), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    head = (nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout())
    return Net(features, nn.Sequential(*head, nn.Linear(4096, 1000)))


class Fire(nn.Module):
    """Squeeze, then expand on two ways."""

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
    return Net(features, head, flat=False)


def mobilenet_v1():
    """MobileNet V1."""
    def bn(O): return nn.BatchNorm2d(O), nn.ReLU()

    layers, C = [nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), *bn(32))], 32
    table = "64 128/2 128 256/2 256 512/2 512 512 512 512 512 1024/2 1024"
    for word in table.split():
        O, S = int(word.split("/")[0]), 1 + word.endswith("/2")
        layers.append(nn.Sequential(nn.Conv2d(C, C, 3, S, 1, groups=C, bias=False), *bn(C),
                                    nn.Conv2d(C, O, 1, bias=False), *bn(O)))  # fmt: skip
        C = O
    return Net(nn.Sequential(*layers), nn.Linear(1024, 1000), nn.AdaptiveAvgPool2d(1))


NETS = {"lenet5": lenet5, "resnet20": ResNet20, "vgg11_cifar": vgg11_cifar, "alexnet": alexnet,
        "squeezenet1_1": squeezenet1_1, "mobilenet_v1": mobilenet_v1, "vgg16": vgg16}  # fmt: skip
GPU_NETS = {**NETS, "resnet50": ResNet50}
"""Those that a GPU is compared on."""
