"""Where a Module finds its members: in nested lists, tuples and dicts; and what it refuses to ignore."""

import copy
import pickle
from collections import deque

import numpy as np
import pytest

from minicnn import Tensor, models, nn
from minicnn.nn import Buffer, Linear, Module, Parameter, ReLU, Sequential, init


def one():
    return Parameter(np.ones(1, np.float32))


class Net(Module):
    def __init__(self, **attributes):
        for name, value in attributes.items():
            setattr(self, name, value)


@pytest.mark.parametrize(("value", "names"), [
    ([[one()], one()], ["x.0.0", "x.1"]),
    (([one(), (one(),)], one()), ["x.0.0", "x.0.1.0", "x.1"]),
    ({"left": one(), "right": [one(), one()]}, ["x.left", "x.right.0", "x.right.1"]),
    ([{"a": one()}, 7, None, "text", {"b": {"c": one()}}], ["x.0.a", "x.4.b.c"]),
    ([one(), 3, one()], ["x.0", "x.2"]),
    ({"b": one(), "a": one()}, ["x.b", "x.a"]),
    ([Buffer(np.ones(2, np.float32))], ["x.0"]),
    ({3: "no member", (1, 2): [5]}, []),
    ({3, 4}, []),
])  # fmt: skip
def test_members_are_found_in_nested_containers(value, names):
    net = Net(x=value)
    assert list(net.state_dict()) == names
    assert [name for name, _ in net.members()] == names


def test_a_layer_in_a_nested_container_is_trained_moved_and_saved_like_any_other():
    net = Net(branches={"left": [Linear(2, 3, bias=False)], "right": Linear(2, 3)})
    assert [n for n, _ in net.named_modules()] == ["", "branches.left.0", "branches.right"]
    assert [n for n, _ in net.named_parameters()] == ["branches.left.0.weight", "branches.right.weight",
                                                      "branches.right.bias"]
    net.eval().astype("float64")
    assert not net.branches["right"].training
    assert net.branches["left"][0].weight.dtype == np.float64
    state = {name: np.full(array.shape, 5.0) for name, array in net.state_dict().items()}
    net.load_state_dict(state)
    assert (net.branches["left"][0].weight.data == 5).all()


@pytest.mark.parametrize(("value", "sentence"), [
    ({2: Linear(1, 1)}, "x holds a Linear under the key 2, but a key is part of the names in the state: use a string "
                        "without dots, or a list"),
    ({"a.b": one()}, "x holds a Parameter under the key 'a.b', but a key is part"),
    ({"": one()}, "x holds a Parameter under the key '', but a key is part"),
    ([{"fine": {None: ReLU()}}], "x.0.fine holds a ReLU under the key None, but a key is part"),
    ({Linear(1, 1)}, "x is a set that holds a Linear, which gives it no fixed name in the state: use a list, a tuple "
                     "or a dict"),
    (frozenset([one()]), "x is a frozenset that holds a Parameter"),
    ([deque([[ReLU()]])], "x.0 is a deque that holds a ReLU"),
])  # fmt: skip
def test_what_has_no_clear_name_is_refused(value, sentence):
    net = Net(x=value)
    for use in (net.parameters, net.state_dict, net.eval):
        with pytest.raises(TypeError) as error:
            use()
        assert str(error.value).startswith(sentence)


@pytest.mark.parametrize("value", [Linear(1, 1), one(), [ReLU()], {"a": ReLU()}])
def test_a_layer_in_the_class_body_is_refused_when_the_class_is_made(value):
    with pytest.raises(TypeError, match=r"^Bad\.layer is a \w+ in the class body, where all objects of the class would "
                                        r"share it: write self\.layer = … in __init__$"):
        type("Bad", (Module,), {"layer": value})


def test_a_module_that_contains_itself_is_refused():
    net = Net(child=Net())
    net.child.parent = net
    with pytest.raises(ValueError, match=r"^Net: the module 'child\.parent' contains itself: keep a reference"):
        net.parameters()


# ---------------------------------------------------------------------------------------------------------- Sequential


def test_layers_of_a_sequential_are_attributes_under_the_names_of_the_state():
    with init.shapes_only():
        net = models.build("resnet18")
    conv = net.layer1[0].conv1
    assert conv is dict(net.named_modules())["layer1.0.conv1"]
    assert net.fc is net["fc"]
    with pytest.raises(AttributeError, match=r"^this Sequential has no layer and no attribute 'layer5': its layers are "
                                             r"conv1, bn1, relu, maxpool, layer1, "):
        _ = net.layer5
    assert not hasattr(Sequential(), "conv1")


def test_a_layer_of_a_sequential_is_replaced_by_assignment(rng):
    net = Sequential({"a": Linear(2, 2), "act": ReLU(), "head": Linear(2, 5)})
    x = Tensor(rng.standard_normal((3, 2)).astype(np.float32))
    net.head = Linear(2, 3)
    assert net(x).shape == (3, 3)
    assert net.head is net["head"] is net[2]
    assert list(net.state_dict()) == ["a.weight", "a.bias", "head.weight", "head.bias"]
    net[1] = nn.Tanh()
    net["head"] = Linear(2, 7)
    assert net(x).shape == (3, 7)
    assert [type(layer).__name__ for layer in net] == ["Linear", "Tanh", "Linear"]
    with pytest.raises(TypeError, match=r"^Sequential: layer head must be a Module, not a NoneType$"):
        net.head = None
    with pytest.raises(KeyError, match="there is no layer 'tail' to replace: the layers are a, act, head"):
        net["tail"] = ReLU()


def test_another_attribute_of_a_sequential_belongs_to_it_too():
    net = Sequential(ReLU())
    net.scale = one()
    net.extra = [Linear(1, 1, bias=False)]
    assert list(net.state_dict()) == ["scale", "extra.0.weight"]


@pytest.mark.parametrize(("name", "error", "sentence"), [
    (0, TypeError, "Sequential: the name 0 must be a string without dots"),
    ("a.b", TypeError, "Sequential: the name 'a.b' must be a string without dots"),
    ("train", ValueError, "Sequential: the name 'train' is already an attribute of a Sequential: choose another"),
    ("layers", ValueError, "Sequential: the name 'layers' is already an attribute"),
])  # fmt: skip
def test_names_that_would_not_work_are_refused(name, error, sentence):
    with pytest.raises(error) as caught:
        Sequential({name: ReLU()})
    assert str(caught.value).startswith(sentence)


def test_copies_are_whole():
    net = Sequential({"a": Linear(2, 2), "b": Sequential(ReLU())})
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert list(other.state_dict()) == list(net.state_dict())
        assert other.a is not net.a
        assert np.array_equal(other.a.weight.data, net.a.weight.data)
