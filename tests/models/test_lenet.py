"""LeNet-5 of 1998 against the paper's own numbers, and Caffe's. (The modern one: tests/test_models.py.)"""

import numpy as np
import pytest

from minicnn import Tensor, inspect, seed
from minicnn.models.lenet import RBF, TABLE_I, PartialConv2d, Squash, lenet5
from minicnn.ops.conv import conv2d
from tests.models.straight_checks import check_every_parameter_learns, check_gradients, check_learning, outputs

# layer: output, parameters and connections as the paper prints them (§II.B)
PAPER = {
    "C1": ((6, 28, 28), 156, 122_304), "S2": ((6, 14, 14), 12, 5_880), "C3": ((16, 10, 10), 1_516, 151_600),
    "S4": ((16, 5, 5), 32, 2_000), "C5": ((120, 1, 1), 48_120, 48_120), "F6": ((84,), 10_164, 10_164),
    "output": ((10,), 0, 840),
}  # fmt: skip


def connections(row):
    """Products and biases; a unit of S2 and S4 has four inputs and a bias."""
    units = int(np.prod(row.output))
    return {"TrainableAvgPool2d": 5 * units, "RBF": row.macs}.get(row.kind, row.macs + units)


def test_1998_layer_by_layer():
    rows = {row.name: row for row in inspect.summary(lenet5(variant="1998"), (1, 32, 32)).layers}
    assert {k: (rows[k].output, rows[k].parameters, connections(rows[k])) for k in PAPER} == PAPER
    assert sum(connections(rows[k]) for k in PAPER) == 340_908
    assert [rows[k].macs for k in PAPER] == [117_600, 0, 150_000, 0, 48_000, 10_080, 840]


@pytest.mark.parametrize(("options", "size", "totals"), [
    ({"variant": "1998"}, 32, (60_000, 840, 326_520)),
    ({"variant": "1998", "rbf": False}, 32, (60_850, 0, 326_520)),
    ({"variant": "caffe"}, 28, (431_080, 0, 2_293_000)),
    ({"variant": "modern"}, 28, (61_706, 0, 416_520)),
])  # fmt: skip
def test_totals(options, size, totals):
    found = inspect.summary(lenet5(**options), (1, size, size)).totals
    assert (found["parameters"], found["buffers"], found["macs"]) == totals
    assert f"{totals[0]:,}" in lenet5.__doc__
    assert f"{totals[2]:,}" in lenet5.__doc__


def test_names_and_shapes_of_the_state():
    assert {name: a.shape for name, a in lenet5(variant="1998").state_dict().items()} == {
        "C1.weight": (6, 1, 5, 5), "C1.bias": (6,), "S2.weight": (6,), "S2.bias": (6,),
        "C3.weight": (60, 5, 5), "C3.bias": (16,), "S4.weight": (16,), "S4.bias": (16,),
        "C5.weight": (120, 16, 5, 5), "C5.bias": (120,), "F6.weight": (84, 120), "F6.bias": (84,),
        "output.code": (10, 84),
    }  # fmt: skip
    assert list(lenet5(variant="caffe").state_dict()) == [
        f"{layer}.{name}" for layer in ("features.0", "features.2", "classifier.1", "classifier.3")
        for name in ("weight", "bias")]  # fmt: skip
    assert outputs(inspect.summary(lenet5(variant="caffe"), (1, 28, 28)), "Conv2d", "MaxPool2d") == [
        (20, 24, 24), (20, 12, 12), (50, 8, 8), (50, 4, 4)]  # fmt: skip


def test_table_1_is_what_the_paper_says():
    contiguous = [{(start + i) % 6 for i in range(n)} for n in (3, 4) for start in range(6)]
    assert sorted(map(sorted, contiguous)) == sorted(map(list, TABLE_I[:12]))
    assert [len(maps) for maps in TABLE_I] == [3] * 6 + [4] * 6 + [4] * 3 + [6]
    assert not any(set(maps) in contiguous for maps in TABLE_I[12:15])
    assert [sum(c in maps for maps in TABLE_I) for c in range(6)] == [10] * 6      # ten crosses in each row
    assert len(set(TABLE_I)) == 16


def test_a_partial_convolution_is_a_convolution_with_holes(rng):
    layer = PartialConv2d(TABLE_I, 6, 5).astype("float64")
    layer.bias.data = rng.standard_normal(16)
    dense, link = np.zeros((16, 6, 5, 5)), 0
    for o, maps in enumerate(TABLE_I):
        for c in maps:
            dense[o, c], link = layer.weight.data[link], link + 1
    assert link == 60
    x = rng.standard_normal((2, 6, 9, 8))
    np.testing.assert_allclose(layer(Tensor(x)).numpy(), conv2d(x, dense, layer.bias.data).numpy(), rtol=1e-12)


def test_squash():
    x = Tensor(np.array([-1.0, 0.0, 1.0, 50.0]))
    np.testing.assert_allclose(Squash()(x).numpy(), [-1, 0, 1, 1.7159], atol=1e-5)


def test_the_output_is_minus_the_distance_to_the_drawings(rng):
    layer = RBF(10).astype("float64")
    code = layer.code.data
    assert code.shape == (10, 84)
    assert set(code.ravel()) == {-1, 1}
    x = rng.standard_normal((3, 84))
    by_hand = [[-sum((x[n, i] - code[k, i]) ** 2 for i in range(84)) for k in range(10)] for n in range(3)]
    np.testing.assert_allclose(layer(Tensor(x)).numpy(), by_hand, rtol=1e-12)
    apart = ((code[:, None] - code) ** 2).sum(2) / 4                               # pixels in which two digits differ
    assert apart[~np.eye(10, dtype=bool)].min() >= 10
    assert layer(Tensor(code)).numpy().argmax(1).tolist() == list(range(10))


def test_the_drawing_of_a_seven():
    rows = RBF(10).code.data[7].reshape(12, 7)
    assert (rows[:2] == 1).all()
    assert ["".join(".#"[int(v > 0)] for v in row) for row in rows[[2, 5, 11]]] == [".....##", "....##.", "..##..."]


def test_first_weights_of_1998():
    net = lenet5(variant="1998")
    fans = {"C1": [25], "C5": [400], "F6": [120]}
    for name, (fan,) in fans.items():
        assert 0.9 * 2.4 / fan < abs(net[name].weight.data).max() <= 2.4 / fan
    kernels = np.split(net["C3"].weight.data, np.cumsum([len(maps) for maps in TABLE_I])[:-1])
    for maps, kernel in zip(TABLE_I, kernels):
        assert abs(kernel).max() <= 2.4 / (25 * len(maps))
    assert (net["S2"].weight.data == 0.25).all()


@pytest.mark.parametrize(("options", "sentence"), [
    ({"variant": "1989"}, r"^unknown variant of lenet5 '1989': did you mean '1998'\? Known: 1998, caffe, modern$"),
    ({"variant": "1998", "num_classes": 11}, r"num_classes \(=11\) must be at most 10.*rbf=False"),
    ({"variant": "caffe", "num_classes": 0}, r"num_classes \(=0\) must be at least 1"),
])  # fmt: skip
def test_bad_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        lenet5(**options)


NETS = [({"variant": "modern"}, 28), ({"variant": "1998"}, 32), ({"variant": "1998", "rbf": False}, 32),
        ({"variant": "caffe"}, 28)]  # fmt: skip


@pytest.mark.parametrize(("options", "size"), NETS)
def test_options_and_gradients(options, size, rng):
    seed(0)
    net = lenet5(num_classes=7, in_channels=2, **options)
    x = Tensor(np.zeros((3, 2, size, size), np.float32))
    assert net(x).shape == (3, 7)
    check_every_parameter_learns(net, (3, 2, size, size), rng)
    check_gradients(net, (3, 2, size, size), rng)


@pytest.mark.slow
@pytest.mark.parametrize(("options", "size"), NETS)
def test_learns_one_batch_by_heart(options, size, rng):
    seed(0)
    check_learning(lenet5(num_classes=8, **options), (1, size, size), rng, lr=3e-3, steps=120)
