"""A stack of 3×3 convolutions beats one large filter with the same receptive field, with fewer parameters.

One block of a small net is either three 3×3 layers, 27·C² weights, or one 7×7 layer, 49·C². In a third arm the 7×7
layer has fewer maps, so that it has as many weights as the stack.
"""

from minicnn.claims.claim import Arm, Claim, Comparison, Plan
from minicnn.nn import AdaptiveAvgPool2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential


def net(block, maps):
    """A first convolution, the block on 16×16 pixels, the mean of 4×4 parts, a linear layer.   (N,3,32,32) → (N,10)"""
    return Sequential(Conv2d(3, 16, 3, padding=1), ReLU(), MaxPool2d(2), *block, AdaptiveAvgPool2d(4), Flatten(),
                      Linear(16 * maps, 10))  # fmt: skip


def stack():
    """Three 3×3 layers of 16 maps: 6,912 weights."""
    return net([layer for _ in range(3) for layer in (Conv2d(16, 16, 3, padding=1), ReLU())], 16)


def large(maps):
    """One 7×7 layer: 784 weights for each of its maps."""
    return net([Conv2d(16, maps, 7, padding=3), ReLU()], maps)


def vgg(K, narrow=1.0):
    """VGG's net B for 224×224; each pair of 3×3 layers is one 5×5 layer if K is 5."""
    layers, C = [], 3
    for maps in (64, 128, 256, 512, 512):
        O = round(narrow * maps)
        for inputs in (C, O) if K == 3 else (C,):
            layers += [Conv2d(inputs, O, K, padding=K // 2), ReLU()]
        layers, C = [*layers, MaxPool2d(2)], O
    return Sequential(*layers, Flatten(), Linear(49 * C, 4096), ReLU(), Linear(4096, 4096), ReLU(), Linear(4096, 1000))


CLAIM = Claim(
    name="three-3x3",
    sentence="A stack of 3×3 convolutions is better than one large filter with the same receptive field.",
    source="Simonyan & Zisserman 2014 (VGG), §2.3 and §4.1; lecture notes",
    comparisons=(
        Comparison("three 3×3 layers have a lower test error than one 7×7 layer", ("large", "test_error"),
                   ("stack", "test_error"), at_least=1.0, published=7.0,
                   published_where="§4.1, ImageNet, top-1: 5×5 layers against pairs of 3×3 layers"),
        Comparison("and than a 7×7 layer with as many weights", ("large-narrow", "test_error"),
                   ("stack", "test_error"), at_least=1.0),
    ),
    small=Plan(
        arms=(Arm("stack", stack), Arm("large", lambda: large(16)), Arm("large-narrow", lambda: large(9))),
        data="cifar-10", train=5000, validation=2000, test=5000, epochs=5, rates=(0.01, 0.03, 0.1), seeds=10,
    ),
    paper=Plan(
        arms=(Arm("stack", lambda: vgg(3)), Arm("large", lambda: vgg(5)), Arm("large-narrow", lambda: vgg(5, 0.85))),
        data="folder", validation=10000, epochs=74, batch_size=128, weight_decay=5e-4, schedule="step",
        augment="scale-jitter:256:256 flip", rates=(0.01,), seeds=2,
    ),
    meaning={
        "holds": "Depth and two more ReLUs are worth more than larger filters, also with as many weights.",
        "does not hold": "In so small a net at least one of the 7×7 arms is as good.",
        "this size cannot tell": "One of the two differences is smaller than what the seeds make.",
    },
    doubt="A stack without ReLUs between its layers that is as good: then depth alone, and not what lies between, "
          "would be the reason.",
)  # fmt: skip
