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
                          "inference_bytes", "top1", "top1_modern", "where", "cifar10_error"}  # fmt: skip
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


# ---- the other tables


def test_ilsvrc(minicnn_):
    rc, out, err = minicnn_("compare", "--ilsvrc")
    assert (rc, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "2015 MSRA: ResNets, two of 152 layers 152 ensemble of 6 3.57 test 1 He 2015, Table 5" in lines
    person = "2014 a person, after training on the classes · human 5.1 1,500 images of test · Russakovsky 2015, §6.4"
    assert person in lines
    rows = document(minicnn_("compare", "--ilsvrc", "--json")[1])
    assert {row["depth"] for row in rows if row["model"] == "googlenet"} == {22}
    assert {row["depth"] for row in rows if not row["model"]} == {None}


def test_stages_and_stacks_for_programs(minicnn_):
    rows = document(minicnn_("compare", "--stages", "vgg16", "resnet34", "--json")[1])
    assert {row["typical_macs"] for row in rows if row["model"] == "resnet34"} == {118_013_952, 115_605_504, 0}
    for name in ("vgg16", "resnet34"):
        assert sum(row["share"] for row in rows if row["model"] == name) == pytest.approx(1)
    rows = document(minicnn_("compare", "--stacks", "--input", "8x10x12", "--json")[1])
    assert [(r["kernel"], r["count"]) for r in rows] == [(5, 1), (3, 2), (7, 1), (3, 3), (11, 1), (3, 5)]
    assert rows[2]["parameters"] == 49 * 64
    assert rows[3]["macs"] == 27 * 64 * 120
    assert rows[2]["ratio"] == pytest.approx(49 / 27)


def test_side_by_side(minicnn_, monkeypatch, tmp_path):
    from matplotlib.figure import Figure

    drawn = []
    real = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, path: drawn.append(self) or real(self, path))
    rc, out, err = minicnn_("compare", "--side-by-side", "plain34", "resnet34", "--out", "[b].png")
    assert (rc, err) == (0, "")
    assert "picture: [b].png\n" in out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "112×112 7×7 conv, 64, /2 7×7 conv, 64, /2" in lines
    assert "3×3 conv, 256 ×11 3×3 conv, 256 ×11" in lines
    assert "+ 6 shortcuts, 1 with a 1×1 conv" in lines
    assert "MACs 3,644,493,824 3,663,761,408" in lines
    texts = drawn[0].axes[0].texts
    boxes = [t for t in texts if t.get_text() and t.get_bbox_patch()]
    assert len(boxes) == 2 * (34 + 2), "34 layers with weights, and two poolings"
    arcs = [t.arrow_patch for t in texts if getattr(t, "arrow_patch", None)]
    assert len(arcs) == 16
    assert sum(arc.get_linestyle() == ":" for arc in arcs) == 3
    first, second = document(minicnn_("compare", "--side-by-side", "plain34", "resnet34", "--json")[1])
    assert (first["depth"], len(first["shortcuts"]), len(second["shortcuts"])) == (34, 0, 16)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    out = minicnn_("compare", "--side-by-side", "lenet5", "--out", "a.png")[1]
    assert "no picture: pictures need matplotlib" in out


@pytest.mark.parametrize(("args", "words"), [
    (("--stages",), "--stages needs the names of nets, such as minicnn compare --stages vgg19"),
    (("--side-by-side",), "--side-by-side needs the names of nets"),
    (("--ilsvrc", "vgg16"), "--ilsvrc takes no nets: leave vgg16 out"),
    (("--ilsvrc", "--stacks"), "--stacks and --ilsvrc are two tables: ask for one"),
    (("--stages", "vgg16", "--out", "a.png"), "--stages has no picture"),
    (("--stacks", "--input", "64"), "--input '64' must be channels x height x width"),
])  # fmt: skip
def test_tables_that_cannot_be_made(minicnn_, args, words):
    rc, out, err = minicnn_("compare", *args)
    assert words in sentence(err, 2, rc)
    assert out == ""


def test_errors_on_cifar_10_have_a_column_where_one_is_known(minicnn_):
    """Huang 2016, Table 2; He 2015, Table 6."""
    out = minicnn_("compare", "densenet_bc100_12", "resnet20", "alexnet")[1]
    rows = {row["model"]: row for row in table(out, "model")}
    assert [rows[m]["CIFAR-10 error, %"] for m in rows] == ["4.51", "8.75", "·"]
    assert "CIFAR" not in minicnn_("compare", "alexnet")[1]
