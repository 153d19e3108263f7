"""minicnn compare: the table, and a chart whose names stay apart."""

import sys

import pytest
from PIL import Image

from minicnn.inspect import accuracy_chart
from minicnn.inspect.literature import literature
from tests.cli.printed import table
from tests.program import document, sentence


def test_compare(minicnn_, tmp_path):
    rc, out, err = minicnn_("compare", "alexnet", "resnet50", "resnet50:paper", "lenet5", "--out", "[b]chart.png")
    assert (rc, err) == (0, "")
    rows = {row["model"]: row for row in table(out, "model")}
    assert rows["alexnet"]["parameters"] == "61,100,840"
    assert rows["resnet50"]["MACs"] == "4,089,184,256"
    assert rows["resnet50:paper"]["MACs"] == "3,857,973,248"
    assert rows["resnet50:paper"]["FLOPs"] == "7,715,946,496"
    assert "246.0 MB  493.8 MB" in out
    assert [rows[m]["top-1, %"] for m in ("alexnet", "resnet50")] == ["56.52", "76.13"]
    assert rows["lenet5"]["top-1, %"] == "·", "no accuracy on ImageNet is known of it"
    assert rows["resnet50:paper"]["top-1, %"] == "·", "the weights whose accuracy is known are the other variant's"
    assert "Accuracies are from the literature (`minicnn cite` names the source), not measured here." in out
    assert "chart: [b]chart.png\n" in out
    with Image.open(tmp_path / "[b]chart.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.size == (1200, 780)


def test_compare_for_programs(minicnn_, tmp_path):
    rc, out, err = minicnn_("compare", "mobilenet_v1", "lenet5:1998", "alexnet:torchvision", "--json")
    assert (rc, err) == (0, "")
    first, second, third = document(out)
    assert first["model"] == "mobilenet_v1"
    assert first["macs"] == 568_740_352
    assert (first["top1"], first["where"]) == (70.6, "Howard 2017, Table 4")
    assert (second["parameters"], second["top1"], second["where"]) == (60_000, None, None)
    assert third["top1"] == 56.522
    assert set(first) == {"model", "parameters", "buffers", "macs", "flops", "activations", "training_bytes",
                          "inference_bytes", "top1", "top1_modern", "where"}  # fmt: skip
    assert not list(tmp_path.iterdir()), "--json draws nothing"


def test_compare_without_names_takes_all_whose_accuracy_is_known(minicnn_):
    rows = document(minicnn_("compare", "--json")[1])
    assert [row["model"] for row in rows] == [name for name, known in literature().items() if known.top1]
    assert len(rows) > 20


def test_compare_without_a_picture(minicnn_, monkeypatch, tmp_path):
    assert minicnn_("compare", "alexnet")[0] == 0
    assert not list(tmp_path.iterdir()), "nothing is drawn that nobody asked for"
    rc, out, err = minicnn_("compare", "lenet5", "--out", "chart.png")
    assert (rc, err) == (0, "")
    assert "no picture: no ImageNet accuracy is known for these nets\n" in out
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    rc, out, err = minicnn_("compare", "alexnet", "--out", "chart.png")
    assert (rc, err) == (0, "")
    assert "no picture: pictures need matplotlib: install it with `pip install matplotlib`\n" in out
    assert not list(tmp_path.iterdir())


def test_a_chart_in_a_format_that_is_none(minicnn_):
    rc, _, err = minicnn_("compare", "alexnet", "--out", "chart.xyz")
    assert sentence(err, 2, rc) == "--out chart.xyz must end in .png, .jpg, .svg or .pdf"


@pytest.mark.slow
def test_names_in_the_chart_cover_neither_each_other_nor_a_point_and_are_whole(minicnn_, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    real = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, path: drawn.append(self) or real(self, path))
    assert minicnn_("compare", "--out", "chart.png")[0] == 0
    figure = drawn[0]
    ax = figure.axes[0]
    names = [text for text in ax.texts if text.get_text()]
    assert sorted(t.get_text() for t in names) == sorted(name for name, known in literature().items() if known.top1)
    points, accuracies = ax.collections[1].get_offsets(), {n: e.top1 for n, e in literature().items()}
    rows = {row["model"]: row for row in document(minicnn_("compare", "--json")[1])}
    for (name, row), (x, y), disc in zip(rows.items(), points, ax.collections[0].get_sizes()):
        assert (x, y) == (row["macs"] / 1e9, accuracies[name])
        assert disc == pytest.approx(1.5 * row["inference_bytes"] / 1e6)
    boxes = [text.get_window_extent() for text in names]
    dots = ax.transData.transform(ax.collections[1].get_offsets())
    for i, box in enumerate(boxes):
        assert ax.bbox.x0 <= box.x0 < box.x1 <= ax.bbox.x1, names[i]
        assert ax.bbox.y0 <= box.y0 < box.y1 <= ax.bbox.y1, names[i]
        assert not any(box.overlaps(other) for other in boxes[:i]), names[i]
        assert not box.count_contains(dots), names[i]
        assert not box.overlaps(ax.get_legend().get_window_extent()), names[i]


def test_one_training_recipe_a_column_and_one_in_the_chart(minicnn_):
    rc, out, err = minicnn_("compare", "resnext101_64x4d", "resnet50", "vgg16", "--out", "chart.png")
    assert (rc, err) == (0, "")
    rows = {row["model"]: row for row in table(out, "model")}
    columns = [(rows[m]["top-1, %"], rows[m]["modern, %"]) for m in ("resnext101_64x4d", "resnet50", "vgg16")]
    assert columns == [("79.60", "83.25"), ("76.13", "80.86"), ("71.59", "·")]
    assert "compare within a column only" in out
    report = {row["model"]: row for row in document(minicnn_("compare", "resnext101_64x4d", "--json")[1])}
    assert (report["resnext101_64x4d"]["top1"], report["resnext101_64x4d"]["top1_modern"]) == (79.6, 83.246)
    assert report["resnext101_64x4d"]["where"] == "Xie 2016, Table 4"


def test_the_area_of_a_disc_can_be_the_number_of_parameters(minicnn_, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    real = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, path: drawn.append(self) or real(self, path))
    assert minicnn_("compare", "vgg16", "resnet50", "mobilenet_v2", "--area", "parameters", "--out", "a.png")[0] == 0
    discs = drawn[0].axes[0].collections[0].get_sizes()
    assert discs / discs[0] == pytest.approx([1, 25_557_032 / 138_357_544, 3_504_872 / 138_357_544])
    assert drawn[0].axes[0].get_legend().get_title().get_text() == "parameters"
    rc, _, err = minicnn_("compare", "vgg16", "--area", "depth")
    assert "memory" in sentence(err, 2, rc)


def test_a_long_name_at_the_edge_of_the_chart_is_written_inside(monkeypatch, tmp_path):
    from matplotlib.figure import Figure

    drawn = []
    real = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, path: drawn.append(self) or real(self, path))
    names = ["a_net_with_a_very_long_name_indeed_on_the_left", "a_net_with_a_very_long_name_indeed_on_the_right"]
    accuracy_chart.draw(names, [0.1, 10.0], [60.0, 70.0], [10.0, 900.0], tmp_path / "chart.png")
    ax = drawn[0].axes[0]
    found = [text for text in ax.texts if text.get_text()]
    assert {text.get_text() for text in found} == set(names)
    for text in found:
        box = text.get_window_extent()
        assert ax.bbox.x0 <= box.x0 < box.x1 <= ax.bbox.x1
