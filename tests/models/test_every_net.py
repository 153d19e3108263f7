"""Every net of the zoo, and every variant: its gradient as a whole, and that it learns. Narrow, on small images."""

import inspect

import numpy as np
import pytest

from minicnn import Tensor, models, optim, seed
from minicnn.gradient_check import check_directions
from minicnn.inspect import summary
from minicnn.nn import BatchNorm2d, Dropout, StochasticDepth, init
from minicnn.ops.softmax import cross_entropy
from tests.thinned import thinned

NETS = [(name, variant) for name in models.names() for variant in models.variants(name) or [""]]

REPRESENTATIVES = {
    "lenet5", "alexnet", "zfnet", "nin_cifar", "nin_imagenet", "vgg11", "vgg11_lrn", "vgg16_c", "vgg11_bn", "googlenet",
    "inception_v3", "resnet18", "resnet50", "plain20", "resnet20", "preact_resnet18", "preact_resnet164", "wrn_16_4",
    "resnext29_8x64d", "resnet110_stochastic_depth", "densenet40_12", "densenet121", "squeezenet1_0", "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large", "mobilenet_v3_small",
}  # fmt: skip
"""The smallest net of each file with each kind of block and each way to end. The others only have more of these blocks,
or wider ones: `make slow` checks them."""


def test_every_file_of_nets_is_represented():
    assert set(models.names()) >= REPRESENTATIVES
    files = {name: models.MODELS[name][0].__module__ for name in models.names()}
    assert {files[name] for name in REPRESENTATIVES} == set(files.values())


HOW = {  # what some nets need to learn eight images: others take the defaults of `how`
    ("alexnet", "paper"): {"lr": 1e-3, "scale": 60},       # weights of N(0, 0.01²) are meant for bytes, not unit values
    ("vgg16", ""): {"lr": 1e-3},
    ("squeezenet1_1", ""): {"lr": 1e-3, "width": 0.25},
    ("plain56", ""): {"width": 0.5},
    # the paper's example of a net that does not train: from the usual start it does not learn even eight images by
    # heart in hundreds of steps; with its ReLUs open at first it does
    ("plain110", ""): {"lr": 1e-3, "width": 0.25, "open_relus": True},
}


def how(name, variant, lr=3e-3, scale=1.0, width=0.125, open_relus=False):
    """(learning rate, scale of the images, width, whether batch norm's shifts start at 2)."""
    return lr, scale, width, open_relus


def small(name, variant, num_classes, width=0.125):
    """(the net, narrow where it has a width; the smallest image that leaves its last maps a few pixels)."""
    known = inspect.signature(models.MODELS[name][0]).parameters
    wanted = {"num_classes": num_classes, "variant": variant, "width": width}
    options = {key: value for key, value in wanted.items() if key in known and value != ""}
    if (name, variant) == ("lenet5", "1998"):
        options["num_classes"] = 10
    seed(1)
    net = models.build(name, **options)
    for _, module in net.named_modules():                  # what is drawn anew at each pass has no derivative
        if isinstance(module, (Dropout, StochasticDepth)):
            module.p = 0
    return net, smallest(name, options, models.input_shape(name, variant))


def smallest(name, options, shape):
    """The input with a side of 8, 16, 32, … or the net's own: the first that goes through and leaves 2×2 pixels."""
    with init.shapes_only():
        ghost = models.build(name, **options)
    for side in (8, 16, 32, 64, 96):
        try:
            layers = summary(ghost, (shape[0], side, side)).layers
        except ValueError:
            continue
        if min(x.output[1] for x in layers if len(x.output) == 3 and x.kernel) >= 2:
            return (shape[0], side, side)
    return shape


def open_the_relus(net):
    """Batch norm's shifts raised to about 2: 98 % of what comes to the next ReLU is above 0."""
    for _, module in net.named_modules():
        if isinstance(module, BatchNorm2d):
            module.bias.data = module.bias.data + 2


@pytest.mark.parametrize(("name", "variant"), thinned(NETS, lambda name, variant: name in REPRESENTATIVES),
                         ids=lambda part: part or "-")
def test_the_gradient_of_the_whole_net(name, variant):
    """In training, all parameters at once, along random directions, against finite differences in float64.

    With the ReLUs open: hundreds of layers of half-open ones are so sensitive that no step is small enough (plain-110's
    differences are still wrong by a tenth at 1e-9).
    """
    net, shape = small(name, variant, 5)
    net.astype("float64").train()
    rng = np.random.default_rng(2)
    for parameter in net.parameters():                     # off the corners that zero biases and unit scales stand on
        parameter.data = parameter.data + 0.02 * rng.standard_normal(parameter.shape)
    open_the_relus(net)
    x = Tensor(rng.standard_normal((2, *shape)))
    report = check_directions(lambda: net(x), net.named_parameters(), directions=3, step=3e-7, tolerance=1e-5)
    assert report.coordinates >= 2, report.kinks
    assert report.worst <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), NETS, ids=lambda part: part or "-")
def test_it_learns_eight_images_by_heart(name, variant):
    lr, scale, width, open_relus = how(name, variant, **HOW.get((name, variant), {}))
    net, shape = small(name, variant, 8, width)
    net.train()
    if open_relus:
        open_the_relus(net)
    rng = np.random.default_rng(3)
    images = scale * (rng.standard_normal((8, shape[0], 1, 1)) + rng.standard_normal((8, *shape)))
    x, labels = Tensor(images.astype(np.float32)), np.arange(8)
    optimizer, losses = optim.Adam(net.parameters(), lr=lr), []
    while len(losses) < 400 and (not losses or losses[-1] >= 0.05):
        loss = cross_entropy(net(x), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > 1.0
    assert losses[-1] < 0.05, f"{losses[-1]:.3f} after {len(losses)} steps"
