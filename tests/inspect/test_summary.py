"""Summaries and pictures of nets."""

import json

import numpy as np
import pytest
from PIL import Image

from minicnn import Tensor, inspect, meta, models, nn, seed
from minicnn.inspect import plots
from minicnn.nn import Module, Sequential


@pytest.fixture(autouse=True)
def _same_weights():
    seed(0)


def small():
    return Sequential({
        "conv": nn.Conv2d(3, 8, (3, 5), stride=2, padding=1, groups=1, bias=False), "norm": nn.BatchNorm2d(8),
        "act": nn.ReLU(), "depthwise": nn.Conv2d(8, 8, 3, groups=8), "pool": nn.GlobalAvgPool2d(),
        "fc": nn.Linear(8, 4)})  # fmt: skip


def test_rows_by_hand():
    report = inspect.summary(small(), (3, 11, 15))
    assert report.input == (3, 11, 15)
    assert [(r.name, r.kind, r.output, r.parameters, r.buffers, r.macs) for r in report.layers] == [
        ("conv", "Conv2d", (8, 6, 7), 8 * 3 * 15, 0, 8 * 6 * 7 * 3 * 15),     # ⌊(15 + 2 − 5)/2⌋ + 1 = 7 across
        ("norm", "BatchNorm2d", (8, 6, 7), 16, 16, 0),
        ("act", "ReLU", (8, 6, 7), 0, 0, 0),
        ("depthwise", "Conv2d", (8, 4, 5), 8 * 9 + 8, 0, 8 * 4 * 5 * 9),
        ("pool", "GlobalAvgPool2d", (8,), 0, 0, 0),
        ("fc", "Linear", (4,), 36, 0, 32),
    ]
    macs = 8 * 6 * 7 * 45 + 8 * 20 * 9 + 32
    totals = {"parameters": 360 + 16 + 80 + 36, "buffers": 16, "macs": macs, "flops": 2 * macs}
    assert report.totals.items() >= totals.items()


def test_a_shared_layer_stands_twice_and_its_parameters_count_once():
    shared = nn.Linear(5, 5)
    tied = nn.Linear(5, 5, bias=False)
    tied.weight = shared.weight
    net = Sequential(shared, nn.ReLU(), shared, tied)
    report = inspect.summary(net, (5,))
    assert [(r.name, r.parameters, r.macs) for r in report.layers] == [("0", 30, 25), ("1", 0, 0), ("0", 0, 25),
                                                                       ("3", 0, 25)]
    assert report.totals["parameters"] == 30 == sum(p.size for p in net.parameters())


class Scaled(Module):
    """A net that has a parameter of its own beside its layers."""

    def __init__(self):
        self.inner = nn.Linear(3, 2)
        self.scale = nn.Parameter(np.ones(2, np.float32))

    def forward(self, x):
        return self.inner(x) * self.scale


def test_parameters_of_a_module_that_also_holds_layers_are_counted():
    net = Sequential({"block": Scaled(), "fc": nn.Linear(2, 2)})
    report = inspect.summary(net, (3,))
    assert [(r.name, r.kind, r.parameters) for r in report.layers] == [
        ("block.inner", "Linear", 8), ("block", "Scaled", 2), ("fc", "Linear", 6)]
    assert report.totals["parameters"] == sum(p.size for p in net.parameters()) == 16


def test_as_dict_is_json():
    report = inspect.summary(models.build("lenet5"), (1, 28, 28))
    back = json.loads(json.dumps(report.as_dict()))
    assert back["input"] == [1, 28, 28]
    assert back["totals"]["macs"] == 416_520
    assert len(back["layers"]) == 12
    row = {"name": "features.3", "kind": "Conv2d", "output": [16, 10, 10], "parameters": 2416, "buffers": 0,
           "macs": 240_000}  # fmt: skip
    assert back["layers"][3].items() >= row.items()


def test_every_module_gets_its_own_training_flag_back():
    net = small().train()
    net["norm"].eval()                                           # a frozen layer in a net that trains
    inspect.summary(net, (3, 11, 15))
    assert {name: m.training for name, m in net.named_modules()} == {
        "": True, "conv": True, "norm": False, "act": True, "depthwise": True, "pool": True, "fc": True}
    net.eval()
    net["act"].train()
    with pytest.raises(ValueError, match="larger than the padded input"):
        inspect.summary(net, (3, 1, 1))
    assert [name for name, m in net.named_modules() if m.training] == ["act"], "after an error too"


def test_a_summary_changes_nothing():
    net = small()
    before = net.state_dict()
    net["fc"].weight.grad = np.ones((4, 8), np.float32)
    outputs = []
    with nn.watch(lambda module, inputs, output: outputs.append(output)):
        inspect.summary(net, (3, 11, 15))
    assert len(outputs) == 7
    assert not any(y.requires_grad for y in outputs), "no graph is recorded"
    assert all(np.array_equal(a, before[name]) for name, a in net.state_dict().items())
    assert (net["fc"].weight.grad == 1).all()
    assert net["conv"].weight.grad is None


def test_a_net_in_float64_and_a_net_without_parameters():
    assert inspect.summary(small().astype("float64"), (3, 11, 15)).totals["parameters"] == 492
    assert inspect.summary(nn.ReLU(), (2, 3)).layers[0].output == (2, 3)


def test_a_pool_that_keeps_the_size_has_activations_and_a_reshape_has_none():
    net = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Flatten(), nn.ReLU())
    assert [layer.activations for layer in inspect.summary(net, (2, 5, 7)).layers] == [70, 0, 0]


LENET5 = [  # outputs of its layers, and whether they multiply or look through a window
    (6 * 28 * 28, True), (6 * 28 * 28, False), (6 * 14 * 14, True), (16 * 10 * 10, True), (16 * 10 * 10, False),
    (16 * 5 * 5, True), (400, False), (120, True), (120, False), (84, True), (84, False), (10, True)]  # fmt: skip


def test_memory_of_lenet5_by_hand():
    report = inspect.summary(models.build("lenet5"), (1, 28, 28))
    assert [x.values for x in report.layers] == [n for n, _ in LENET5]
    assert [x.activations for x in report.layers] == [n if counts else 0 for n, counts in LENET5]
    totals, image = report.totals, 28 * 28
    assert totals["activations"] == image + 4704 + 1176 + 1600 + 400 + 120 + 84 + 10 == 8_878
    values = image + 2 * 4704 + 1176 + 2 * 1600 + 2 * 400 + 2 * 120 + 2 * 84 + 10
    assert totals["training_bytes"] == 4 * (2 * 61_706 + values) == 556_792
    assert totals["inference_bytes"] == 4 * (61_706 + 2 * 4704) == 284_456, "the first ReLU holds two maps of 6×28×28"


def test_running_statistics_are_no_parameters_but_take_memory():
    totals = inspect.summary(Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2)), (1, 5, 5)).totals
    assert (totals["parameters"], totals["buffers"]) == (18 + 4, 4)
    assert totals["training_bytes"] == 4 * (2 * 22 + 4 + 25 + 2 * 18)
    assert totals["inference_bytes"] == 4 * (22 + 4 + 25 + 18)


@pytest.fixture(scope="module", params=["vgg16", "googlenet", "densenet121", "mobilenet_v2", "preact_resnet164"])
def large(request):
    with nn.init.shapes_only():
        net = models.build(request.param)
    shape, put_out = models.input_shape(request.param), {}
    with nn.watch(lambda module, inputs, output: put_out.update({id(module): output.data})):
        net.eval()(Tensor(meta.image((1, *shape))))
    blocks = {name: (type(m).__name__, put_out[id(m)]) for name, m in net.named_modules() if id(m) in put_out}
    return inspect.summary(net, shape), blocks


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_blocks_are_the_sums_of_their_layers(large, depth):
    report, blocks = large
    shallow = report.at_depth(depth)
    assert shallow.totals == report.totals
    assert shallow.input == report.input
    left = list(report.layers)
    for row in shallow.layers:
        assert row.name.count(".") < depth
        mine = [left.pop(0)]
        while left and left[0].name.startswith(f"{row.name}."):
            mine.append(left.pop(0))
        if len(mine) == 1:
            assert row == mine[0]
            continue
        for key in ("parameters", "buffers", "macs", "activations", "values"):
            assert getattr(row, key) == sum(getattr(x, key) for x in mine), (row.name, key)
        kind, array = blocks[row.name]
        assert (row.kind, row.output) == (kind, array.shape[1:]), "the block's own, not its last layer's"
        assert row.field == tuple(f.size for f in array.fields)
        assert (row.total_stride, row.offset) == tuple(tuple(getattr(f, key) for f in array.fields)
                                                       for key in ("jump", "start"))  # fmt: skip
        assert (row.kernel, row.stride, row.groups) == (None, None, 1)
    assert not left


def test_a_depth_that_is_deep_enough_shows_every_layer(large):
    report, _ = large
    assert report.at_depth(99) == report


def test_a_block_that_joins_branches_shows_what_they_make_together():
    with nn.init.shapes_only():
        net = models.build("googlenet")
    rows = {row.name: row for row in inspect.summary(net, (3, 224, 224)).at_depth(1).layers}
    assert rows["inception3a"].output == (64 + 128 + 32 + 32, 28, 28)
    assert rows["inception5b"].output == (1024, 7, 7)


def test_layers_that_only_work_in_training_stand_idle_at_the_end():
    with nn.init.shapes_only():
        net = models.build("googlenet", variant="paper", aux=True)
    report = inspect.summary(net, (3, 224, 224))
    idle = [x for x in report.layers if x.output == ()]
    assert report.layers[-len(idle) :] == tuple(idle)
    assert sum(x.parameters for x in idle) == 13_378_280 - 6_998_552
    assert {x.name.split(".")[0] for x in idle} == {"aux1", "aux2"}
    assert {(x.macs, x.activations, x.values, x.field) for x in idle} == {(0, 0, 0, (0, 0))}
    with nn.init.shapes_only():
        alone = inspect.summary(models.build("googlenet", variant="paper"), (3, 224, 224)).totals
    for key in ("macs", "activations"):
        assert report.totals[key] == alone[key]
    shallow = report.at_depth(1)
    assert [(x.name, x.output) for x in shallow.layers[-2:]] == [("aux1", ()), ("aux2", ())]
    assert shallow.totals == report.totals


@pytest.mark.parametrize(("padding", "least"), [(0, 6), (1, 4), (2, 2)])
def test_the_smallest_image_is_named_in_the_sentence(padding, least):
    """3 of least + 2·padding pixels leave 4, pooled 2, and that is what the last window needs."""
    net = Sequential({"a": nn.Conv2d(2, 3, 3, padding=padding), "pool": nn.MaxPool2d(2), "b": nn.Conv2d(3, 2, 2)})
    assert inspect.summary(net, (2, least, least)).layers[-1].output == (2, 1, 1)
    for side in range(1, least):
        for shape in ((2, side, side), (2, side, 30), (2, 30, side)):
            with pytest.raises(ValueError) as caught:
                inspect.summary(net, shape)
            assert str(caught.value).endswith(f"; the smallest square image that this net takes is {least}×{least}")


def test_where_no_size_helps_none_is_named():
    with pytest.raises(ValueError) as caught:
        inspect.summary(Sequential(nn.Conv2d(3, 2, 3)), (1, 8, 8))
    assert str(caught.value).startswith("0 (Conv2d): w has shape (2, 3, 3, 3), but x has 1 channels")
    assert "smallest" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------ pictures


def test_filters_and_their_maps_are_drawn(tmp_path, rng):
    image = rng.integers(0, 256, (1, 28, 28)).astype(np.uint8)
    net, path = models.build("lenet5"), tmp_path / "filters.png"
    plots.first_layer(net, Tensor(image[None].astype(np.float32) / 255), image, path)
    with Image.open(path) as drawn:
        drawn.load()
        assert drawn.format == "PNG"
        assert drawn.size == (round(1.4 * 7 * 120), round(3.6 * 120))         # 6 filters and the image, at 120 dpi
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    colourful = (np.ptp(pixels, axis=2) > 60).mean()
    assert colourful > 0.01, "filters are red and blue"


def test_what_is_drawn_are_the_first_convolutions_own_filters_and_maps(tmp_path, rng, monkeypatch):
    """Red is positive and blue is negative, and a map is what the layer gives for that image."""
    from matplotlib.axes import Axes

    shown = []
    real = Axes.imshow
    monkeypatch.setattr(Axes, "imshow", lambda self, a, **how: shown.append((np.array(a), how)) or real(self, a, **how))
    image = rng.integers(0, 256, (3, 9, 8)).astype(np.uint8)
    net = Sequential(nn.Identity(), Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()), nn.Conv2d(2, 2, 3))
    x = image[None].astype(np.float32)
    plots.first_layer(net, Tensor(x), image, tmp_path / "f.png")
    weight = net[1][0].weight.data
    assert np.array_equal(shown[0][0], image.transpose(1, 2, 0))
    limit = abs(weight.mean(1)).max()
    for i in range(2):
        values, how = shown[1 + 2 * i]
        np.testing.assert_allclose(values, weight[i].mean(0), rtol=1e-6)
        assert (how["cmap"], how["vmin"], how["vmax"]) == ("RdBu_r", -limit, limit)
        by_hand = sum(weight[i, c, p, q] * x[0, c, p : p + 7, q : q + 6] for c in range(3) for p in range(3)
                      for q in range(3))                         # fmt: skip
        np.testing.assert_allclose(shown[2 + 2 * i][0], by_hand, rtol=1e-3, atol=1e-2)
    assert len(shown) == 5


def test_a_net_without_convolutions_has_no_filters(tmp_path):
    with pytest.raises(ValueError, match=r"^the model has no convolution whose filters could be drawn"):
        plots.first_layer(Sequential(nn.Flatten(), nn.Linear(4, 2)), Tensor(np.zeros((1, 1, 2, 2), np.float32)),
                        np.zeros((1, 2, 2), np.uint8), tmp_path / "f.png")
    assert not (tmp_path / "f.png").exists()


def test_without_matplotlib_a_sentence_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match="pictures need matplotlib: install it with `pip install matplotlib`"):
        plots.figure(1, 1)
