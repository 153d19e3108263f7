"""Which nets a model file accepts: exactly those that `load` can build again."""

import numpy as np
import pytest

from minicnn import models, nn, seed
from minicnn.data import Preprocessing
from minicnn.io import model_file
from minicnn.io.model_file import Description

PREPARE = Preprocessing((28, 28), (0.1307,), (0.3081,), channels=1)
DIGITS = list("0123456789")


def test_a_net_of_ones_own_is_refused_when_saving(tmp_path):
    path = tmp_path / "m.safetensors"
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with pytest.raises(ValueError, match="'mynet' is not a net of the zoo, so load can't build it: for a net of your"):
        model_file.save(path, net, Description.of("mynet", {}, DIGITS, PREPARE))
    assert not path.exists()


@pytest.mark.parametrize(("options", "sentence"), [
    ({"variant": "1999"}, "unknown variant of model lenet5 '1999'"),
    ({"num_clases": 10}, "unknown option of model lenet5 'num_clases': did you mean 'num_classes'"),
    ({"num_classes": 3}, "options .* must be such that num_classes is 10, as its classes and input say: correct the"),
])
def test_options_that_load_would_refuse(tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        model_file.save(tmp_path / "m.safetensors", models.build("lenet5"),
                        Description.of("lenet5", options, DIGITS, PREPARE))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "options"), [("lenet5:1998", {}), ("lenet5", {"variant": "1998"})])
def test_a_variant_comes_back(tmp_path, name, options):
    """The name is stored without the variant, so that readers of any version build the same net."""
    seed(0)
    net = models.build("lenet5", variant="1998")
    prepare = Preprocessing((32, 32), (0.1307,), (0.3081,), channels=1)
    path = tmp_path / "m.safetensors"
    model_file.save(path, net, Description.of(name, options, DIGITS, prepare))
    loaded, about = model_file.load(path)
    assert (about.model, about.options) == ("lenet5", {"variant": "1998"})
    assert model_file.description(path) == about
    state = loaded.state_dict()
    assert state.keys() == net.state_dict().keys()
    assert all(np.array_equal(state[name], array) for name, array in net.state_dict().items())


@pytest.mark.parametrize(("arguments", "sentence"), [
    ((3, Description.of("lenet5", {}, DIGITS, PREPARE)), "model must be a Module, not 3"),
    ((models.build("lenet5"), {"model": "lenet5"}), "description must be a Description, not a dict"),
])
def test_wrong_types(tmp_path, arguments, sentence):
    with pytest.raises(TypeError, match=sentence):
        model_file.save(tmp_path / "m.safetensors", *arguments)


def test_places_that_can_not_be_written_or_read(tmp_path):
    net, about = models.build("lenet5"), Description.of("lenet5", {}, DIGITS, PREPARE)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; make it first"):
        model_file.save(tmp_path / "nowhere" / "m.safetensors", net, about)
    with pytest.raises(IsADirectoryError, match="it is a folder; add the name of a file"):
        model_file.save(tmp_path, net, about)
    for read in (model_file.load, model_file.description):
        with pytest.raises(FileNotFoundError, match="there is no model file"):
            read(tmp_path)
        with pytest.raises(TypeError, match=r"a path must be text or a pathlib\.Path, not None"):
            read(None)
