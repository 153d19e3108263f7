"""Saving and loading a net's state."""


import numpy as np
import pytest

from minicnn import nn
from minicnn.nn import Sequential


def small():
    return Sequential({"conv": nn.Conv2d(1, 2, 3), "norm": nn.BatchNorm2d(2), "fc": nn.Linear(3, 4)})


def drawn_state(rng):
    return {name: rng.standard_normal(a.shape).astype(np.float32) for name, a in small().state_dict().items()}


def test_state_round_trip(rng):
    state, net = drawn_state(rng), small()
    report = net.load_state_dict(state)
    assert report.ok
    assert str(report) == "everything fits"
    assert list(net.state_dict()) == list(small().state_dict())
    for name, a in net.state_dict().items():
        assert np.array_equal(a, state[name]), name


def test_states_are_copies_both_ways(rng):
    state, net = drawn_state(rng), small()
    net.load_state_dict(state)
    state["fc.bias"][:] = 99
    assert not (net["fc"].bias.data == 99).any(), "the net must not share memory with what was loaded"
    saved = net.state_dict()
    saved["fc.bias"][:] = 77
    assert not (net["fc"].bias.data == 77).any(), "nor with what was saved"


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(rng):
    net = small()
    before = net.state_dict()
    state = drawn_state(rng)
    del state["conv.bias"], state["norm.running_var"]
    state["extra.weight"] = np.ones(2, np.float32)
    state["fc.weight"] = np.ones((4, 5), np.float32)
    with pytest.raises(ValueError) as error:
        net.load_state_dict(state)
    assert str(error.value) == (
        "the state does not fit this Sequential: missing: conv.bias, norm.running_var; unexpected: extra.weight; "
        "misshapen: fc.weight is (4, 5), must be (4, 3); load_state_dict(state, strict=False) loads what fits")
    for name, a in net.state_dict().items():
        assert np.array_equal(a, before[name]), f"{name} was changed by a state that was refused"


@pytest.mark.parametrize("spoil", [
    lambda state: state.pop("fc.bias"), lambda state: state.update(more=np.ones(1)),
    lambda state: state.update({"fc.bias": np.ones(5)}), lambda state: state.update({"fc.bias": np.ones((1, 4))}),
], ids=["missing", "unexpected", "misshapen", "another rank"])  # fmt: skip
def test_one_thing_that_does_not_fit_is_enough(rng, spoil):
    net, state = small(), drawn_state(rng)
    before = net.state_dict()
    spoil(state)
    with pytest.raises(ValueError, match=r"^the state does not fit this Sequential: (missing|unexpected|misshapen): "):
        net.load_state_dict(state)
    assert all(np.array_equal(a, before[name]) for name, a in net.state_dict().items())


def test_a_long_list_of_names_is_shortened():
    with pytest.raises(ValueError, match=r"missing: conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, "
                                         r"… \(8 in all\); load_state_dict"):
        small().load_state_dict({})


def test_not_strict_loads_what_fits(rng):
    net, state = small(), drawn_state(rng)
    before = net.state_dict()
    state["fc.weight"] = np.ones((4, 5), np.float32)
    state["other"] = np.ones(1, np.float32)
    del state["conv.bias"]
    report = net.load_state_dict(state, strict=False)
    assert not report.ok
    assert report.missing == ["conv.bias"]
    assert report.unexpected == ["other"]
    assert report.misshapen == ["fc.weight is (4, 5), must be (4, 3)"]
    after = net.state_dict()
    for name in before:
        expected = before[name] if name in ("conv.bias", "fc.weight") else state[name]
        assert np.array_equal(after[name], expected), name


def test_torchs_counters_are_passed_over(rng):
    state = {**drawn_state(rng), "norm.num_batches_tracked": np.array(12)}
    assert small().load_state_dict(state).ok


def test_the_nets_dtype_stays(rng):
    net = small().astype("float64")
    net.load_state_dict(drawn_state(rng))
    assert {a.dtype for a in net.state_dict().values()} == {np.dtype("float64")}
    half = {name: a.astype(np.float16) for name, a in drawn_state(rng).items()}
    net = small()
    net.load_state_dict(half)
    assert net["fc"].bias.dtype == np.float32
    assert np.array_equal(net["fc"].bias.data, half["fc.bias"].astype(np.float32))


def test_astype_converts_everything_and_forgets_gradients():
    net = small()
    net["fc"].weight.grad = np.ones((4, 3), np.float32)
    assert net.astype("float64") is net
    assert {t.dtype for _, t in net["norm"].members()} == {np.dtype("float64")}
    assert net["fc"].weight.grad is None
    assert net.to("cpu") is net
