"""LeNet is robust to shift, rotation and scale, say the notes. Convolutions follow a shift, but nothing turns them.

A LeNet-5 is trained on upright, centred digits. Then the test digits are moved, turned or resized, and counted again.
"""

import numpy as np
from PIL import Image

from minicnn import models
from minicnn.claims.claim import Arm, Claim, Comparison, Plan
from minicnn.data import Dataset


def lenet():
    """LeNet-5 of textbooks.   (N,1,28,28) → (N,10)"""
    return models.build("lenet5")


def moved(image, right=0.0, turn=0.0, scale=1.0):
    """A digit (28,28) turned by degrees and scaled about its centre, then moved to the right by pixels."""
    a, b = np.cos(np.radians(turn)) / scale, np.sin(np.radians(turn)) / scale
    back = (a, b, 14 - a * (14 + right) - b * 14, -b, a, 14 + b * (14 + right) - a * 14)     # where a pixel comes from
    turned = Image.fromarray(image).transform((28, 28), Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
    return np.asarray(turned)


CHANGES = {
    "upright": {}, "shift_2": {"right": 2}, "shift_4": {"right": 4}, "turn_15": {"turn": 15}, "turn_30": {"turn": 30},
    "turn_60": {"turn": 60}, "turn_90": {"turn": 90}, "scale_0.75": {"scale": 0.75}, "scale_1.25": {"scale": 1.25},
}  # fmt: skip


def measure(trained):
    """The test error for each change, in %."""
    test = trained.images.test.open()
    errors = {}
    for name, change in CHANGES.items():
        images = np.stack([moved(image[0], **change)[None] for image in test.images])
        errors[name] = 100 * (1 - trained.evaluate(Dataset(images, test.labels)).accuracy)
    return errors


def costs(change, words):
    """A change raises the error by less than 2 points."""
    return Comparison(f"{words} costs less than 2 points", ("lenet", change), ("lenet", "upright"), at_most=2.0)


CLAIM = Claim(
    name="robustness",
    sentence="LeNet is robust to shift, rotation and scale.",
    source="Lecture notes; LeCun et al. 1998, §II: some degree of shift, scale and distortion invariance. Zeiler & "
           "Fergus 2013, §4.1, say that a convolutional net is not invariant to rotation",
    comparisons=(
        costs("shift_2", "a shift by 2 pixels"), costs("turn_30", "a rotation by 30°"),
        costs("scale_0.75", "three quarters of the size"),
    ),
    small=Plan(arms=(Arm("lenet", lenet),), data="digits", train=4000, epochs=6, measure=measure, seeds=10),
    paper=Plan(arms=(Arm("lenet", lenet),), data="mnist", train=55000, validation=5000, epochs=20, measure=measure,
               seeds=5),
    meaning={
        "holds": "Within these limits the place, angle and size of a digit do not matter to LeNet-5.",
        "does not hold": "LeNet-5 knows digits as it saw them: at least one of the three changes costs 2 points or "
                         "more. Pooling tolerates a pixel or two; other changes must be among the training images.",
        "this size cannot tell": "One of the costs is too near to 2 points to say on which side it lies.",
    },
    doubt="A net trained with the same care that loses less than 2 points on digits turned by 30°, without having seen "
          "turned ones in training.",
    shown=tuple(CHANGES),
)  # fmt: skip
