"""The parts of a claim: arms that are compared, a plan of the experiment, and comparisons with a threshold each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from minicnn.names import short, unknown
from minicnn.nn import Module

HOLDS, FAILS, UNKNOWN = "holds", "does not hold", "this size cannot tell"
VERDICTS = (HOLDS, FAILS, UNKNOWN)

SIZES = ("small", "paper")
"""small: what two cores can afford.   paper: the source's own setting, for who has a GPU and a night."""


@dataclass(frozen=True)
class Arm:
    """One of the things that are compared: a net, and what differs in its training.

    net()                                    makes the net; its weights come from the job's seed
    change(images, labels, split, rng)       other images or labels: permuted pixels, for example. split: "train",
                                             "validation" or "test"; rng is the same for all splits of a job
    before(net, source, plan, seed, device)  is called before training, with the images outside the experiment
    settings                                 fields of the plan that this arm replaces: {"augment": "pad-crop:2"}
    stream                                   arms with different streams share no random numbers: not even the images
    """

    name: str
    net: Callable[[], Module]
    change: Callable[..., Any] | None = None
    before: Callable[..., None] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    stream: int = 0


@dataclass(frozen=True)
class Plan:
    """The experiment at one size. Each seed draws its own training images, weights and order, the same for all arms.

    data           a dataset by name, or "folder": the pictures that the user names with --data
    train, validation, test    how many images; 0: all. The validation images, for the pilot, come from the training
                   split. The test images are the first ones of the test split, and are opened after training
    classes        only these classes of the data, renumbered from 0; (): all
    rates          the learning rates of the pilot, ascending; a single one is used without a pilot
    pilot_seeds    trainings for each rate in the pilot, on other seeds than the experiment's
    pilot_by       the quantity whose mean chooses the rate, the smallest: validation_error, or for claims about
                   training train_loss or epochs
    clip           the largest norm of all gradients together: without a limit, one step at the beginning can end a
                   training whose rate is good for all later ones; 0: no limit
    goal           training ends at this training error, in %; the quantity `epochs` is when that was
    measure        further quantities of a net, from its `training.Trained`: {name: number}, or a list of numbers for a
                   picture of layers
    size           height and width of the images made from a folder of pictures
    """

    arms: tuple[Arm, ...]
    data: str = "digits"
    train: int = 0
    validation: int = 500
    test: int = 0
    classes: tuple[int, ...] = ()
    epochs: int = 10
    batch_size: int = 32
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"
    milestones: tuple[int, ...] = ()
    augment: str = ""
    rates: tuple[float, ...] = (0.01, 0.03, 0.1)
    pilot_seeds: int = 2
    pilot_by: str = "validation_error"
    clip: float = 5.0
    seeds: int = 10
    goal: float | None = None
    measure: Callable[[Any], dict[str, Any]] | None = None
    size: int = 224

    def arm(self, name: str) -> Arm:
        """The arm of that name. ValueError for an unknown one."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise ValueError(unknown("arm", name, [arm.name for arm in self.arms]))


@dataclass(frozen=True)
class Comparison:
    """A measurable question with its threshold: it holds if the whole interval lies on the claimed side.

        d = first − second     or with ratio=True     first / second     each an (arm, quantity) of the same seed

    at_least or at_most   the threshold of d: the smallest effect that would matter, or the largest that would not
    interval              "t", or "bootstrap" for skewed differences; of log d for a ratio
    published             the source's own value of d, and where it says so
    """

    says: str
    first: tuple[str, str]
    second: tuple[str, str] | None = None
    at_least: float | None = None
    at_most: float | None = None
    ratio: bool = False
    interval: str = "t"
    unit: str = "points"
    published: float | None = None
    published_where: str = ""

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"{short(self.says)}: give one threshold, at_least or at_most")
        if self.ratio and (self.second is None or self.threshold <= 0):
            raise ValueError(f"{short(self.says)}: a ratio needs a second quantity, and a threshold above 0")

    @property
    def threshold(self) -> float:
        """The value of d on which the verdict turns."""
        return self.at_least if self.at_least is not None else self.at_most  # type: ignore[return-value]


@dataclass(frozen=True)
class Claim:
    """What is claimed, by whom, and how it is measured. All of it is written before the first run.

    meaning   what each verdict would mean
    doubt     what would change our mind
    shown     what the picture shows: a quantity of every arm; some quantities of the only arm; or "layers:NAME", a list
              of numbers, layer by layer
    """

    name: str
    sentence: str
    source: str
    comparisons: tuple[Comparison, ...]
    small: Plan
    paper: Plan
    meaning: Mapping[str, str]
    doubt: str
    shown: str | tuple[str, ...] = "test_error"
    shown_label: str = "test error, %"

    def __post_init__(self) -> None:
        if set(self.meaning) != set(VERDICTS):
            raise ValueError(f"{self.name}: meaning needs a sentence for each of {', '.join(VERDICTS)}")
        for size in SIZES:
            for comparison in self.comparisons:
                for term in filter(None, (comparison.first, comparison.second)):
                    self.plan(size).arm(term[0])

    def plan(self, size: str) -> Plan:
        """The experiment at that size. ValueError for an unknown one."""
        if size not in SIZES:
            raise ValueError(unknown("size", size, SIZES))
        return self.small if size == "small" else self.paper
