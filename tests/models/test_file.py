"""models.save and models.load: a file that says which net of the zoo it holds."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from minicnn import Tensor, models, nn, seed
from minicnn.io import model_file
from minicnn.models.lenet import lenet5


@pytest.fixture
def net():
    seed(5)
    return models.build("lenet5:1998", num_classes=7)


def described(path):
    with safe_open(str(path), framework="numpy") as file:
        return json.loads(file.metadata()["minicnn"])


def rewrite(path, **changes):
    said = described(path)
    said.update(changes)
    save_file(load_file(str(path)), str(path), {"minicnn": json.dumps(said)})


def test_round_trip(net, tmp_path, rng):
    models.save(tmp_path / "a.safetensors", net)
    seed(6)
    again = models.load(tmp_path / "a.safetensors")
    assert not again.training
    x = Tensor(rng.standard_normal((2, 1, 32, 32)).astype(np.float32))
    assert np.array_equal(again(x).data, net.eval()(x).data)
    assert again.loss is not None
    models.save(tmp_path / "b.safetensors", again)                # what was loaded can be saved again
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_the_file_is_a_model_file_for_the_program_too(net, tmp_path):
    models.save(tmp_path / "a.safetensors", net, classes=list("abcdefg"), mean=[0.25], std=[0.5])
    loaded, description = model_file.load(tmp_path / "a.safetensors")
    assert (description.model, description.options) == ("lenet5", {"num_classes": 7, "variant": "1998"})
    assert description.classes == list("abcdefg")
    assert (description.input, description.mean, description.std) == ([1, 32, 32], [0.25], [0.5])
    assert all(np.array_equal(a, net.state_dict()[name]) for name, a in loaded.state_dict().items())


def test_defaults_and_a_file_that_the_program_wrote(tmp_path):
    seed(0)
    net = models.build("squeezenet1_1", num_classes=3, in_channels=2, width=0.25)
    models.save(tmp_path / "a.safetensors", net)
    said = described(tmp_path / "a.safetensors")
    assert said["classes"] == ["0", "1", "2"]
    assert (said["input"], said["mean"], said["std"]) == ([2, 224, 224], [0.0, 0.0], [1.0, 1.0])
    description = model_file.description(tmp_path / "a.safetensors")
    model_file.save(tmp_path / "b.safetensors", net, description)
    again = models.load(tmp_path / "b.safetensors")
    assert all(np.array_equal(a, net.state_dict()[name]) for name, a in again.state_dict().items())


ADVICE = "use net.save(path), and net.load(path) on a net of the same structure"


def test_what_is_not_of_the_zoo_is_refused_when_it_is_saved(net, tmp_path):
    own = nn.Sequential(nn.Linear(2, 3))
    with pytest.raises(ValueError) as error:
        models.save(tmp_path / "a", own)
    assert str(error.value) == ("this Sequential was not made by models.build, so a file could not say how to build it "
                                f"again: {ADVICE}")
    with pytest.raises(ValueError, match=r"was not made by models\.build"):
        models.save(tmp_path / "a", lenet5())
    net.F6 = nn.Linear(120, 84, bias=False)
    with pytest.raises(ValueError) as error:
        models.save(tmp_path / "a", net)
    assert str(error.value) == ("this net is not the lenet5 that models.build makes (F6.bias is missing, in the zoo's "
                                f"net (84,)): {ADVICE}")
    assert not list(tmp_path.iterdir())


def test_a_description_of_another_net_is_refused_when_it_is_saved(net, tmp_path):
    def description(**changes):
        return model_file.Description(**{"model": "lenet5", "options": {"variant": "1998", "num_classes": 7},
                                         "classes": list("abcdefg"), "input": [1, 32, 32], "mean": [0.0], "std": [1.0],
                                         **changes})

    with pytest.raises(ValueError, match=r"'my_net' is not a net of the zoo.*use net.save\(path\)$"):
        model_file.save(tmp_path / "a", net, description(model="my_net"))
    sentence = (r"a can't be written: this net is not the lenet5 that models.build makes "
                r"\(output.code is \(7, 84\), in the zoo's net \(10, 84\)\)")
    with pytest.raises(ValueError, match=sentence):
        model_file.save(tmp_path / "a", net, description(options={"variant": "1998"}))
    assert not list(tmp_path.iterdir())
    model_file.save(tmp_path / "a", net, description())


@pytest.mark.parametrize(("given", "sentence"), [
    ({"classes": ["a"]}, r"^classes has 1 entries, but this lenet5 has 7 classes$"),
    ({"mean": [0.1, 0.2, 0.3]}, r"^mean has 3 entries, but this lenet5 has 1 channels$"),
    ({"std": [1, 1]}, r"^std has 2 entries"),
])  # fmt: skip
def test_a_description_that_does_not_fit(net, tmp_path, given, sentence):
    with pytest.raises(ValueError, match=sentence):
        models.save(tmp_path / "a", net, **given)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"model": "lenet6"}, r"its description can't be read \(unknown model 'lenet6': did you mean 'lenet5'"),
    ({"model": "vgg16", "options": {}}, r"its arrays do not fit the vgg16 that its description names"),
    ({"options": {"variant": "1998", "num_classes": 7, "rbf": False}}, r"its arrays do not fit the lenet5"),
    ({"options": {"variant": "modern", "num_classes": 10**9}}, r"its arrays do not fit the lenet5"),
    ({"options": {"variant": "1998", "num_classes": "7"}}, r"num_classes must be an integer, not '7'"),
    ({"options": 5}, r"its description can't be read"),
    ({"model": None}, r"its description can't be read"),
])  # fmt: skip
def test_a_wrong_description_is_refused_before_a_net_is_built(net, tmp_path, changes, sentence):
    models.save(tmp_path / "a", net)
    rewrite(tmp_path / "a", **changes)
    with pytest.raises(ValueError, match=sentence):
        models.load(tmp_path / "a")


def test_weights_without_a_description(net, tmp_path):
    net.save(tmp_path / "a")
    with pytest.raises(ValueError, match=r"a holds weights but does not say of which net: build that net and use "
                                         r"net.load\(path\), or io.weights.load_into$"):
        models.load(tmp_path / "a")
    again = models.build("lenet5:1998", num_classes=7).load(tmp_path / "a")
    assert all(np.array_equal(a, net.state_dict()[name]) for name, a in again.state_dict().items())
