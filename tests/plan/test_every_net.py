"""Every net of the zoo as a plan: the model's own answers, up to rounding."""

import copy

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, no_grad
from minicnn.nn import BatchNorm2d
from tests.models.test_every_net import NETS, REPRESENTATIVES, small
from tests.thinned import thinned

HUGE = {"resnet1202", "preact_resnet1001"}
CHOSEN = REPRESENTATIVES - {"preact_resnet164", "resnet110_stochastic_depth", "inception_v3", "resnext29_8x64d"}
"""Those of which the plan has another kind of step; the others only have more of them: `make slow` checks them."""


def with_statistics(net, rng):
    """The net with statistics, scales and shifts of batch norm as a trained one has: not 0 and 1."""
    for _, module in net.named_modules():
        if isinstance(module, BatchNorm2d):
            C = module.num_features
            module.running_mean.data = 0.1 * rng.standard_normal(C, np.float32)
            module.running_var.data = rng.uniform(0.5, 2, C).astype(np.float32)
            module.weight.data = rng.uniform(0.5, 1.5, C).astype(np.float32)
            module.bias.data = 0.1 * rng.standard_normal(C, np.float32)
    return net.eval()


CASES = thinned([net for net in NETS if net[0] not in HUGE], lambda name, variant: name in CHOSEN)


@pytest.mark.parametrize(("name", "variant"), CASES, ids=lambda part: part or "-")
def test_the_plan_has_the_models_answers(name, variant):
    net, shape = small(name, variant, 8)
    rng = np.random.default_rng(0)
    with_statistics(net, rng)
    x = rng.standard_normal((3, *shape), np.float32)
    plan = minicnn.compile(net, (2, *shape))
    with no_grad():
        own = net(Tensor(x)).numpy()
        exact = copy.deepcopy(net).astype("float64")(Tensor(x.astype(np.float64))).numpy()
    largest = np.abs(exact).max()
    own_error = np.abs(own - exact).max()
    assert np.abs(plan(x) - own).max() <= max(1e-5 * largest, 4 * own_error)
    assert not np.shares_memory(plan(x), plan(x))
