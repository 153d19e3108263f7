"""ReLU learns six times faster than tanh: the epochs until a four-layer net has 25 % training error on CIFAR-10.

The most famous figure of the AlexNet paper. Each activation gets its own best learning rate, as in the paper. At the
small size the net sees 1,000 images: 25 % is then reached in minutes, by learning many of them by heart.
"""

from minicnn.claims.claim import Arm, Claim, Comparison, Plan
from minicnn.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, Tanh, init


def net(activation, width=16):
    """Three convolutions and a linear layer.   (N,3,32,32) → (N,10)"""
    made = Sequential(
        Conv2d(3, width, 5, padding=2), activation(), MaxPool2d(3, 2, padding=1),              # (N, width, 16, 16)
        Conv2d(width, width, 5, padding=2), activation(), MaxPool2d(3, 2, padding=1),          # (N, width,  8,  8)
        Conv2d(width, 2 * width, 5, padding=2), activation(), MaxPool2d(3, 2, padding=1),      # (N, 2·width, 4, 4)
        Flatten(), Linear(32 * width, 10),
    )  # fmt: skip
    for layer in made:
        if activation is Tanh and isinstance(layer, Conv2d):   # He's weights are for ReLU, Glorot's for tanh
            layer.weight.data = init.glorot_uniform(layer.weight.shape)
    return made


CLAIM = Claim(
    name="relu-tanh",
    sentence="A net with ReLU reaches 25 % training error on CIFAR-10 six times faster than one with tanh.",
    source="Krizhevsky et al. 2012 (AlexNet), §3.1 and fig. 1; lecture notes",
    comparisons=(
        Comparison("tanh takes at least three times as many epochs as ReLU", ("tanh", "epochs"), ("relu", "epochs"),
                   at_least=3.0, ratio=True, unit="times", published=6.0, published_where="§3.1: six times faster"),
    ),
    small=Plan(
        arms=(Arm("relu", lambda: net(ReLU)), Arm("tanh", lambda: net(Tanh))),
        data="cifar-10", train=1000, validation=0, epochs=40, goal=25.0, schedule="constant", pilot_by="epochs",
        rates=(0.003, 0.01, 0.03), seeds=10,
    ),
    paper=Plan(
        arms=(Arm("relu", lambda: net(ReLU, 32)), Arm("tanh", lambda: net(Tanh, 32))),
        data="cifar-10", train=50000, validation=0, epochs=100, batch_size=128, goal=25.0, schedule="constant",
        pilot_by="epochs", rates=(0.003, 0.01, 0.03), seeds=5,
    ),
    meaning={
        "holds": "Tanh needs at least half of the claimed six times as long.",
        "does not hold": "ReLU is not three times as fast here; below 1 it is even slower. Tanh has good initial "
                         "weights and a learning rate of its own.",
        "this size cannot tell": "The factor is too near to three, or too many trainings did not reach 25 %.",
    },
    doubt="The paper's own size with a factor of three or more: on 50,000 images 25 % is not reached by heart.",
    shown="epochs", shown_label="epochs to 25 % training error",
)  # fmt: skip
