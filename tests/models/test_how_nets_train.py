"""What a net says about its training: the weights of its auxiliary outputs, and the loss of its paper."""

import math

import numpy as np
import pytest

from minicnn import Tensor, models, no_grad, optim, reference, seed
from minicnn.models.alexnet import alexnet
from minicnn.nn import LocalResponseNorm, init
from minicnn.ops import cross_entropy, local_response_norm

AUX = [("googlenet", 64, (0.3, 0.3)), ("googlenet:paper", 224, (0.3, 0.3)), ("inception_v3", 299, (0.4,))]


@pytest.mark.parametrize(("name", "side", "weights"), AUX)
def test_auxiliary_outputs_come_in_training_mode_and_their_weights_are_the_papers(name, side, weights):
    seed(0)
    net = models.build(name, num_classes=3, width=0.125, aux=True)
    assert net.aux_weights == weights
    x = Tensor(np.random.default_rng(0).standard_normal((2, 3, side, side)).astype(np.float32))
    with no_grad():
        outputs = net(x)
        assert isinstance(outputs, tuple)
        assert [y.shape for y in outputs] == [(2, 3)] * (1 + len(weights))
        assert net.eval()(x).shape == (2, 3)


def test_nets_without_auxiliary_heads_have_no_weights_and_no_loss_of_their_own():
    for name in models.names():
        with init.shapes_only():
            net = models.build(name)
        assert net.aux_weights == ()
        assert net.loss is None


def test_the_weighted_sum_of_losses_reaches_every_parameter():
    seed(0)
    net = models.build("googlenet", num_classes=3, width=0.125, aux=True)
    x = Tensor(np.random.default_rng(0).standard_normal((4, 3, 64, 64)).astype(np.float32))
    labels = np.array([0, 1, 2, 0])
    logits, *auxiliary = net(x)
    loss = cross_entropy(logits, labels)
    for weight, y in zip(net.aux_weights, auxiliary):
        loss = loss + weight * cross_entropy(y, labels)
    loss.backward()
    assert all(p.grad is not None for p in net.parameters())


# ------------------------------------------------------------------------------------------ LeNet-5 of 1998: equation 9


def test_the_loss_of_1998_is_equation_9(rng):
    net = models.build("lenet5:1998").astype("float64")
    distances, labels = rng.uniform(0, 6, (5, 10)), np.array([3, 0, 9, 3, 7])
    distances[1] = 40                                             # all further away than the rubbish class
    expected = np.mean([y[d] + math.log(math.exp(-1.0) + sum(math.exp(-z) for z in y))
                        for y, d in zip(distances, labels)])  # fmt: skip
    logits = Tensor(-distances, True)
    loss = net.loss(logits, labels)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    loss.backward()
    step = 1e-6
    for n, k in ((0, 3), (0, 4), (1, 0), (1, 5), (4, 7)):
        nearby = [net.loss(Tensor(-distances + sign * step * _unit(n, k)), labels).item() for sign in (1, -1)]
        assert logits.grad[n, k] == pytest.approx((nearby[0] - nearby[1]) / (2 * step), abs=1e-8)
    assert abs(logits.grad[1, 5]) < 1e-15, "a class that is far away already is pushed no further"


def _unit(n, k):
    one = np.zeros((5, 10))
    one[n, k] = 1
    return one


def test_the_net_of_1998_learns_with_its_loss_and_predicts_by_the_largest_output():
    seed(0)
    net = models.build("lenet5:1998", num_classes=4)
    rng = np.random.default_rng(3)
    x = Tensor(rng.uniform(-0.1, 1.175, (12, 1, 32, 32)).astype(np.float32))
    labels = np.arange(12) % 4
    optimizer = optim.Adam(net.parameters(), lr=5e-3)
    first = None
    for _ in range(120):
        optimizer.zero_grad()
        loss = net.loss(net(x), labels)
        loss.backward()
        optimizer.step()
        first = first or loss.item()
    assert loss.item() < first / 20
    assert (net.eval()(x).argmax(1) == labels).all()


def test_with_a_linear_output_the_net_of_1998_has_cross_entropy():
    assert models.build("lenet5:1998", rbf=False).loss is None


# ---------------------------------------------------------------------------------- response normalisation of one tower


@pytest.mark.parametrize("groups", [2, 3])
def test_response_normalisation_within_groups(groups, rng):
    x = 20 * rng.standard_normal((2, 12, 3, 2))
    got = LocalResponseNorm(5, alpha=1e-2, k=2, variant="paper", groups=groups)(Tensor(x)).data
    parts = [reference.local_response_norm(part, size=5, alpha=1e-2, beta=0.75, k=2, variant="paper")
             for part in np.split(x, groups, axis=1)]  # fmt: skip
    np.testing.assert_allclose(got, np.concatenate(parts, axis=1), rtol=1e-10)
    whole = local_response_norm(Tensor(x), size=5, alpha=1e-2, beta=0.75, k=2, variant="paper").data
    assert not np.allclose(got, whole)


def test_response_normalisation_needs_groups_that_divide_the_channels():
    with pytest.raises(ValueError, match=r"x has 6 channels, which must be divisible by groups \(=4\)$"):
        LocalResponseNorm(5, groups=4)(Tensor(np.ones((1, 6, 2, 2), np.float32)))


def test_alexnets_towers_do_not_see_each_other_before_conv3(rng):
    def after_lrn2(per_tower, x):
        net = alexnet(num_classes=2, variant="paper", width=0.125, lrn_per_tower=per_tower)
        front, y = list(net.features)[:7], Tensor(x)              # conv1 to the second normalisation
        assert isinstance(front[-1], LocalResponseNorm)
        for layer in front[1:]:                                   # x stands for conv1's maps
            y = layer(y)
        return y.data

    maps = alexnet(num_classes=2, variant="paper", width=0.125).features[0].weight.shape[0]
    x = 100 * rng.uniform(0, 1, (1, maps, 27, 27)).astype(np.float32)
    changed = x.copy()
    changed[:, maps // 2:] *= 1.5                                 # the second tower's maps
    for per_tower, meets in ((True, False), (False, True)):
        seed(1)
        y = after_lrn2(per_tower, x)
        seed(1)
        other = after_lrn2(per_tower, changed)
        half = y.shape[1] // 2
        assert np.array_equal(y[:, :half], other[:, :half]) is not meets


def test_towers_need_the_papers_net():
    with pytest.raises(ValueError, match=r"^lrn_per_tower=True needs variant='paper': 'torchvision' has no response"):
        alexnet(lrn_per_tower=True)
