"""Claims whose truth is known, for the tests: arms that are the same net, and an arm whose labels are shuffled.

    FALSE   two identical arms with random numbers of their own: there is no effect
    SAME    two identical arms with the same random numbers: every pair gives exactly the same number
    TRUE    the labels of one arm's training images are shuffled: it can only guess
    RATES   two rates at the end of the grid, so that the pilot has to try a third
"""

from pathlib import Path

HEAD = '''"""A claim of the tests."""
from minicnn.claims.claim import Arm, Claim, Comparison, Plan
from minicnn.nn import Flatten, Linear, Sequential

def net():
    return Sequential(Flatten(), Linear(784, 10))

def shuffled(images, labels, split, rng):
    return images, rng.permutation(labels) if split == "train" else labels

'''

CLAIM = '''
PLAN = Plan(arms=ARMS, data="digits", train=100, validation=100, test=300, epochs=2, rates={rates}, seeds={seeds},
            pilot_seeds=1, pilot_by="validation_loss")
CLAIM = Claim("planted", "The first arm is worse.", "this test",
              (Comparison("worse", ("first", "test_error"), ("second", "test_error"), at_least={threshold}),),
              PLAN, PLAN, dict.fromkeys(("holds", "does not hold", "this size cannot tell"), "nothing"), "nothing")
'''

ARMS = {
    "FALSE": 'Arm("first", net, stream=1), Arm("second", net, stream=2)',
    "SAME": 'Arm("first", net), Arm("second", net)',
    "TRUE": 'Arm("first", net, shuffled), Arm("second", net)',
    "RATES": 'Arm("first", net, shuffled), Arm("second", net)',
}


def write(where: Path, kind: str, seeds: int = 5, threshold: float = 0.1) -> Path:
    """A claim file of that kind in the folder. → its path"""
    rates = (0.004, 0.012) if kind == "RATES" else (0.02,)
    path = where / f"{kind.lower()}.py"
    text = CLAIM.format(rates=rates, seeds=seeds, threshold=threshold)
    path.write_text(f"{HEAD}ARMS = ({ARMS[kind]})\n{text}", "utf-8")
    return path
