"""The verbs about the zoo (models, summary, compare, diff, cite, shape, import): numbers by hand and by counting."""

import itertools
import os
import re
import sys

import pytest
from rich.console import Console

from minicnn import inspect, models
from minicnn.cli import console
from minicnn.nn import init
from tests.cli.printed import number, table
from tests.models.test_every_net import REPRESENTATIVES
from tests.program import document, process, sentence
from tests.thinned import thinned
from tests.work import NEVER


@pytest.fixture
def terminal(monkeypatch):
    """Make stdout a terminal of that many columns."""
    return lambda width: monkeypatch.setattr(console, "out", Console(
        highlight=False, emoji=False, width=width, force_terminal=True, color_system=None))  # fmt: skip


# -------------------------------------------------------------------------------------------------------------- models


def test_models_lists_every_net_once(minicnn_):
    rc, out, err = minicnn_("models")
    assert (rc, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:]] == models.names()
    assert re.search(r"^lenet5 +1×28×28  modern 1998 caffe  \S", out, re.MULTILINE)
    rc, out, err = minicnn_("models", "--sizes")
    assert (rc, err) == (0, "")
    names = [line.split()[0] for line in out.splitlines()[1:]]
    assert names == models.names()
    assert "\x1b" not in out
    assert "…" not in out, "a pipe gets everything"
    assert re.search(r"^vgg16 +3×224×224 +138,357,544 +15,470,264,320  \S", out, re.MULTILINE)
    assert re.search(r"^resnet110_stochastic_depth +3×32×32 +1,727,962 +252,887,680  \S", out, re.MULTILINE)


@pytest.mark.slow
def test_models_and_summary_count_alike(minicnn_):
    rc, out, err = minicnn_("models", "--sizes", "--json")
    assert (rc, err) == (0, "")
    rows = {row["model"]: row for row in document(out)}
    assert list(rows) == models.names()
    assert all(row["about"] and "\n" not in row["about"] for row in rows.values())
    for name in ("lenet5", "alexnet", "googlenet", "inception_v3", "resnet20", "wrn_28_10", "mobilenet_v3_small"):
        report = document(minicnn_("summary", name, "--json")[1])
        assert rows[name]["input"] == report["input"]
        assert rows[name].items() >= report["totals"].items()


# ------------------------------------------------------------------------------------------------------------- summary

VGG16 = [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0]
"""Simonyan & Zisserman 2014, Table 1, D: convolutions' channels, 0 a pooling."""


def test_summary_of_vgg16_by_hand(minicnn_):
    rc, out, err = minicnn_("summary", "vgg16")
    assert (rc, err) == (0, "")
    rows = {row["layer"]: row for row in table(out, "layer")}
    assert list(rows["features.0"]) == [
        "layer", "kind", "window", "output", "parameters", "MACs", "FLOPs", "activations", "field", "stride",
        "offset"]
    channels, side, sees, stride, offset, i = 3, 224, 1, 1, 0, 0
    for filters in VGG16:
        row = rows[f"features.{i}"]
        if filters:
            parameters = filters * (9 * channels + 1)
            macs = filters * 9 * channels * side * side
            channels, sees, offset, kind, window = filters, sees + 2 * stride, offset - stride, "Conv2d", "3×3"
        else:
            parameters = macs = 0
            side, sees, stride, kind, window = side // 2, sees + stride, 2 * stride, "MaxPool2d", "2×2/2"
        assert (row["kind"], row["window"], row["output"]) == (kind, window, f"{channels}×{side}×{side}")
        assert [number(row[key]) for key in ("parameters", "MACs", "FLOPs")] == [parameters, macs, 2 * macs]
        assert [int(row[key]) for key in ("field", "stride", "offset")] == [sees, stride, offset]
        i += 2 if filters else 1                                 # a ReLU stands behind every convolution
    assert (rows["features.0"]["parameters"], sees) == ("1,792", 212)
    assert number(rows["classifier.0"]["parameters"]) == 4096 * (512 * 49 + 1)
    assert rows["classifier.0"]["stride"] == rows["classifier.0"]["offset"] == ""
    total = rows["total"]
    assert [total[k] for k in ("parameters", "MACs", "FLOPs")] == ["138,357,544", "15,470,264,320", "30,940,528,640"]
    for key in ("parameters", "MACs", "FLOPs"):
        assert sum(number(row[key]) for name, row in rows.items() if name != "total") == number(total[key])
    # every output (ReLU's are not counted), and the image
    values = sum(number(row["activations"]) for name, row in rows.items() if name != "total")
    assert values + 3 * 224 * 224 == number(total["activations"]) == 15_237_608
    assert "One image: 15,237,608 activations, the image included; inference 579.1 MB, training 1,222.3 MB in " in out


def test_summary_at_depth_1(minicnn_):
    rows = {row["layer"]: row for row in table(minicnn_("summary", "vgg16", "--depth", 1)[1], "layer")}
    assert list(rows) == ["features", "avgpool", "flatten", "classifier", "total"]
    assert [rows["features"][k] for k in ("kind", "output", "parameters", "MACs", "field", "stride")] == [
        "Sequential", "512×7×7", "14,714,688", "15,346,630,656", "212", "32"]
    assert rows["classifier"]["parameters"] == "123,642,856"
    assert rows["total"]["parameters"] == "138,357,544"
    rows = {row["layer"]: row for row in table(minicnn_("summary", "resnet18", "--depth", 1)[1], "layer")}
    assert list(rows) == ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc",
                          "total"]  # fmt: skip
    assert rows["layer4"]["parameters"] == "8,393,728"
    assert rows["total"]["buffers"] == "9,600", "only nets that have buffers get that column"


def test_summary_of_a_variant_and_of_other_classes(minicnn_):
    rows = {row["layer"]: row for row in table(minicnn_("summary", "alexnet:paper")[1], "layer")}
    assert rows["features.0"]["output"] == "96×55×55"
    assert rows["total"]["parameters"] == "60,965,224"
    assert "on 3×227×227" in minicnn_("summary", "alexnet:paper")[1]
    rows = {row["layer"]: row for row in table(minicnn_("summary", "resnet18", "--set", "num_classes=10")[1], "layer")}
    assert (rows["fc"]["output"], rows["fc"]["parameters"]) == ("10", "5,130")
    assert rows["total"]["parameters"] == f"{11_689_512 - 990 * 513:,}"


def test_summary_as_json(minicnn_):
    rc, out, err = minicnn_("summary", "googlenet:paper", "--depth", 1, "--json")
    assert (rc, err) == (0, "")
    report = document(out)
    assert list(report) == ["model", "variant", "options", "input", "layers", "totals"]
    assert (report["model"], report["variant"], report["input"]) == ("googlenet", "paper", [3, 224, 224])
    assert list(report["totals"]) == [
        "parameters", "buffers", "macs", "activations", "flops", "training_bytes", "inference_bytes"]
    assert report["totals"]["parameters"] == 6_998_552
    for layer in report["layers"]:
        assert list(layer) == ["name", "kind", "output", "kernel", "stride", "groups", "parameters", "buffers", "macs",
                               "activations", "values", "field", "total_stride", "offset"]  # fmt: skip
    assert document(minicnn_("summary", "lenet5", "--json")[1])["variant"] is None


@pytest.mark.parametrize(("args", "text"), [
    (["summary", "resnet50x"], "unknown model 'resnet50x': did you mean 'resnet50'? `minicnn models` lists all "),
    (["summary", "???"], "unknown model '???'. `minicnn models` lists all "),
    (["summary", "alexnet:papr"], "unknown variant of model alexnet 'papr': did you mean 'paper'? Known: "),
    (["summary", "nin_cifar:paper"], "model 'nin_cifar' has only one variant: leave 'paper' out"),
    (["summary", "vgg16", "--input", "224x224"], "--input '224x224' must be channels x height x width, such as 3x224"),
    (["summary", "vgg16", "--depth", "-1"], "Invalid value for '--depth'"),
    (["summary", "vgg16", "--set", "num_classes"], "--set 'num_classes' must be KEY=VALUE"),
    (["compare", "vgg16", "vgg166"], "unknown model 'vgg166': did you mean 'vgg16'?"),
    (["compare", "vgg16:old"], "model 'vgg16' has only one variant: leave 'old' out"),
    (["compare", "vgg16", "--out", "none/chart.png"], "--out none/chart.png must be a file in a folder that exists"),
    (["diff", "alexnet", "alexnet:papr"], "unknown variant of model alexnet 'papr': did you mean 'paper'?"),
    (["diff", "alexnet"], "Missing argument"),
    (["diff", ":paper", "alexnet"], "unknown model ''"),
    (["cite", "googlnet"], "unknown model 'googlnet': did you mean 'googlenet'?"),
    (["cite"], "Missing argument"),
    (["shape"], "Missing argument"),
    (["shape", "0"], "Invalid value for '"),
    (["shape", "5", "-s", "0"], "Invalid value for '--stride'"),
    (["shape", "5", "-p", "-1"], "Invalid value for '--padding'"),
    (["shape", "5", "-p", "1,2,3"], "Invalid value for '--padding': '1,2,3' is not a number of pixels from 0 on, two"),
    (["shape", "5", "-p", "smae"], "Invalid value for '--padding': 'smae' is not a number of pixels"),
    (["import", "lenet", "w.npz", "--out", "m.safetensors"], "unknown model 'lenet': did you mean 'lenet5'?"),
    (["import", "lenet5", "w.npz", "--out", "m.safetensors", "--preprocess", "cafe"],
     "unknown preprocessing 'cafe': did you mean 'caffe'? Known: auto, caffe, imagenet, inception, none"),
    (["import", "lenet5", "w.npz", "--out", "m.safetensors", "--set", "variant=cafe"],
     "unknown variant of model lenet5 'cafe': did you mean 'caffe'?"),
    (["import", "lenet5", "w.npz", "--out", "none/m.safetensors"], "--out none/m.safetensors must be a file in "),
    (["import", "lenet5", "w.npz", "--out", ".", "--overwrite"], "--out . must be a file in a folder that exists"),
    (["import", "lenet5", "w.npz"], "Missing option '--out'"),
    (["models", "lenet5"], "unexpected extra argument"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")  # fmt: skip
def test_a_wrong_command_line_exits_2_with_a_sentence(minicnn_, tmp_path, args, text):
    rc, out, err = minicnn_(*args)
    assert text in sentence(err, 2, rc)
    assert out == ""
    assert len(err) < 500, "short enough to be read"
    assert not list(tmp_path.iterdir()), "and leaves nothing behind"


@pytest.mark.parametrize(("model", "least", "layer"), [
    ("vgg16", 32, "features.30 (MaxPool2d)"), ("inception_v3", 75, None), ("googlenet", 15, None),
    ("densenet121", 29, None), ("alexnet", 63, "features.12 (MaxPool2d)"), ("squeezenet1_0", 21, None),
    ("squeezenet1_1", 17, None),
])  # fmt: skip
def test_an_image_that_is_too_small_and_the_smallest_that_is_not(minicnn_, model, least, layer):
    rc, out, err = minicnn_("summary", model, "--input", f"3x{least - 1}x{least - 1}")
    text = sentence(err, 1, rc)
    assert out == ""
    assert text.startswith(f"{model} does not take images of 3×{least - 1}×{least - 1} (")
    assert f"; the smallest square image that this net takes is {least}×{least}); it was made for --input 3x" in text
    failing = re.search(r"\(([\w.]+) \((\w+)\): ", text)
    with init.shapes_only():
        kinds = {name: type(m).__name__ for name, m in models.build(model).named_modules()}
    assert kinds[failing[1]] == failing[2], "a layer that the net has"
    assert layer in (None, f"{failing[1]} ({failing[2]})")
    assert minicnn_("summary", model, "--input", f"3x{least}x{least}")[0] == 0


# ------------------------------------------------------------------------------------------- terminals that are narrow


WIDTHS = (60, 80, 120, 400)
TABLES = (("summary", "resnet50"), ("summary", "densenet121"), ("compare", "lenet5", "alexnet:paper"),
          ("diff", "alexnet:paper", "alexnet"))


@pytest.mark.parametrize(("args", "width"), thinned(
    [*itertools.product(TABLES, WIDTHS), (("models",), 80), (("models",), 120)],
    lambda args, width: args == ("models",) or (TABLES.index(args) + WIDTHS.index(width)) % 2 == 0))  # in turn
def test_a_narrow_terminal_cuts_no_number_and_no_name(minicnn_, terminal, args, width):
    whole = minicnn_(*args)[1]
    terminal(width)
    rc, out, err = minicnn_(*args)
    assert (rc, err) == (0, "")
    grouped = r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?![\d,])"
    numbers = set(re.findall(grouped, whole))
    assert set(re.findall(grouped, out)) <= numbers
    assert "(Not shown, because the terminal is narrow: " in out or set(re.findall(grouped, out)) == numbers
    if args[0] != "diff":
        assert {line.split()[0] for line in whole.splitlines()[1:] if line and "×" in line} <= set(out.split())
    if width >= 80:
        assert max(len(line.rstrip()) for line in out.splitlines()) <= width
    if width == 400:
        assert "…" not in out
        assert "Not shown" not in out


def test_what_a_narrow_terminal_leaves_out_first(minicnn_, terminal):
    terminal(120)
    out = minicnn_("summary", "resnet50")[1]
    assert "(Not shown, because the terminal is narrow: FLOPs, activations. A pipe gets all" in out.replace("\n", " ")
    terminal(80)
    out = minicnn_("summary", "vgg16")[1]
    assert {"layer", "kind", "output", "parameters", "MACs"} <= set(table(out, "layer")[0])
    assert table(out, "layer")[-1]["MACs"] == "15,470,264,320"


def test_diff_in_a_narrow_terminal_puts_one_net_below_the_other(minicnn_, terminal):
    terminal(80)
    out = minicnn_("diff", "alexnet:paper", "alexnet")[1]
    assert re.search(r"^-  features.0: Conv2d 11×11/4 → 96×55×55 +-11,648  -35,138,400$\n"
                     r"^\+  features.0: Conv2d 11×11/4 → 64×55×55 *$", out, re.MULTILINE)  # fmt: skip


def test_cite_in_a_narrow_terminal_breaks_between_words(minicnn_, terminal):
    whole = minicnn_("cite", "mobilenet_v1")[1]
    terminal(80)
    out = minicnn_("cite", "mobilenet_v1")[1]
    assert out.split() == whole.split()
    assert "    parameters               4,231,976   2,585,560   1,331,592     470,072\n" in out, "tables stay tables"
    prose = [line for line in out.splitlines() if "  " not in line.strip()]
    assert max(map(len, prose)) <= 80
    assert ("\nwidth: the paper's α, which multiplies every number of channels (rounded, but at\nleast 8), so that "
            "both counts fall almost as α²:\n") in out


# ---------------------------------------------------------------------------------------------------------------- diff


def pairs(report):
    return [(x["same"], x["a"] and x["a"]["name"], x["b"] and x["b"]["name"]) for x in report["layers"]]


def test_alexnet_and_its_paper_differ_by_response_normalisation(minicnn_):
    rc, out, err = minicnn_("diff", "alexnet:paper", "alexnet", "--json")
    assert (rc, err) == (0, "")
    report = document(out)
    assert list(report) == ["a", "b", "totals", "layers"]
    assert [t["parameters"] for t in report["totals"]] == [60_965_224, 61_100_840]
    norms = [x for x in report["layers"] for side in "ab" if x[side] and x[side]["kind"] == "LocalResponseNorm"]
    assert len(norms) == 2
    assert all(x["b"] is None and not x["same"] for x in norms)
    changed = {x["a"]["name"]: x["b"]["groups"] for x in report["layers"] if x["a"] and x["a"]["groups"] == 2}
    assert changed == {"features.4": 1, "features.10": 1, "features.12": 1}, "the two towers"
    out = minicnn_("diff", "alexnet:paper", "alexnet")[1]
    lines = [line for line in out.splitlines() if "LocalResponseNorm" in line]
    assert len(lines) == 2
    assert all(line.startswith("-  features.") for line in lines)
    assert re.search(r"^   60,965,224 parameters +61,100,840 parameters +\+135,616 +-10,218,336 *$", out, re.MULTILINE)


def test_resnet50_and_its_paper_differ_by_where_they_stride(minicnn_):
    report = document(minicnn_("diff", "resnet50:paper", "resnet50", "--json")[1])
    before, after = report["totals"]
    assert after["macs"] - before["macs"] == 231_211_008
    assert after["parameters"] == before["parameters"] == 25_557_032
    moved = [(x["a"]["name"], x["a"]["stride"], x["b"]["stride"]) for x in report["layers"]
             if x["a"]["stride"] != x["b"]["stride"]]  # fmt: skip
    assert moved == [(f"layer{i}.0.conv{j}", *strides) for i in (2, 3, 4)
                     for j, strides in ((1, ([2, 2], [1, 1])), (2, ([1, 1], [2, 2])))]  # fmt: skip
    changed = [a for same, a, b in pairs(report) if not same]
    assert changed == [f"layer{i}.0.{x}" for i in (2, 3, 4) for x in ("conv1", "bn1", "relu1", "conv2")]
    assert all(a == b for _, a, b in pairs(report))
    out = minicnn_("diff", "resnet50:paper", "resnet50")[1]
    assert out.count("\n~  ") == 12
    assert "\n+  " not in out
    assert "\n-  " not in out
    assert re.search(r" · +\+231,211,008 *$", out, re.MULTILINE)
    assert "146 layers agree in kind, window and output (--all shows them)." in out


def test_a_net_agrees_with_itself(minicnn_):
    rc, out, err = minicnn_("diff", "lenet5", "lenet5")
    assert (rc, err) == (0, "")
    assert len([line for line in out.splitlines() if line.strip()]) == 3, "header, totals, and:"
    assert out.endswith("\n12 layers agree in kind, window and output (--all shows them).\n")
    out = minicnn_("diff", "lenet5", "lenet5", "--all")[1]
    assert out.count("features.0: Conv2d 5×5 → 6×28×28") == 2
    assert out.endswith("\n12 layers agree in kind, window and output.\n")
    report = document(minicnn_("diff", "lenet5", "lenet5", "--json")[1])
    assert len(report["layers"]) == 12
    assert all(same and a == b for same, a, b in pairs(report))


def test_every_layer_of_both_nets_stands_in_a_diff_once_and_in_order(minicnn_):
    for a, b in (("vgg11", "vgg16"), ("alexnet", "googlenet"), ("lenet5", "lenet5:1998"), ("densenet121", "resnet18")):
        report = document(minicnn_("diff", a, b, "--json")[1])
        for side, spec, total in zip("ab", (a, b), report["totals"]):
            rows = [x[side] for x in report["layers"] if x[side]]
            name, _, variant = spec.partition(":")
            wanted = inspect.summary(models.build(name, variant=variant), models.input_shape(name, variant)) \
                if variant else None  # fmt: skip
            if wanted:
                assert [row["name"] for row in rows] == [layer.name for layer in wanted.layers]
            assert sum(row["macs"] for row in rows) == total["macs"]
            assert sum(row["parameters"] for row in rows) == total["parameters"]
        assert any(x["a"] or x["b"] for x in report["layers"])


# ---------------------------------------------------------------------------------------------------------------- cite


@pytest.mark.parametrize("name", thinned(models.names(), REPRESENTATIVES.__contains__))
def test_every_net_can_be_cited(minicnn_, name):
    report = document(minicnn_("cite", name, "--json")[1])
    assert list(report) == ["model", "paper", "about", "claims", "counts", "top1", "top1_where", "top1_modern",
                            "remarks"]
    assert re.search(r"\b(19|20)\d\d\b", report["paper"]), "the paper's year"
    assert [row["variant"] for row in report["counts"]] == (models.variants(name) or ["the only one"])
    rc, out, err = minicnn_("cite", name)
    assert (rc, err) == (0, "")
    assert report["paper"] in out
    for row in report["counts"]:
        assert re.search(rf"^{row['variant']} .* {row['parameters']:,} +{row['macs']:,} +{2 * row['macs']:,} *$", out,
                         re.MULTILINE)  # fmt: skip
    for claim in report["claims"]:
        assert f"  {claim['words']} ({claim['what']}; {claim['where']})\n" in out
    for remark in report["remarks"]:
        assert f"\n- {remark}\n" in out
    assert ("not measured here" in out) == (report["top1"] is not None)


def test_what_is_said_of_googlenet(minicnn_):
    out = minicnn_("cite", "googlenet")[1]
    assert "12 times fewer than AlexNet (parameters; Szegedy 2014, §1)" in out
    assert re.search(r"^torchvision +3×224×224 +6,624,904 +1,498,376,192 +2,996,752,384 *$", out, re.MULTILINE)
    assert re.search(r"^paper +3×224×224 +6,998,552 +1,582,671,872 +3,165,343,744 *$", out, re.MULTILINE)
    assert "8.7 times fewer than AlexNet" in out
    assert "69.778 %" in out
    counts = {row["variant"]: row for row in document(minicnn_("cite", "lenet5", "--json")[1])["counts"]}
    assert counts["1998"]["input"] == [1, 32, 32]
    assert counts["1998"]["parameters"] == 60_000


# --------------------------------------------------------------------------------------------------------------- shape


def test_alexnets_first_layer(minicnn_):
    """The paper says 224; 55 windows need 227, or a padding of 2 and rounding down."""
    rc, out, err = minicnn_("shape", 227, "-k", 11, "-s", 4)
    assert (rc, err) == (0, "")
    assert out == "(W + 2P − K)/S + 1 = (227 + 2·0 − 11)/4 + 1 = 55\n55 windows fit exactly.\n"
    rc, out, err = minicnn_("shape", 224, "-k", 11, "-s", 4)
    assert (rc, err) == (0, "")
    assert "(224 + 2·0 − 11)/4 + 1 = 54.25\n" in out
    assert "54 windows; of 224 pixels the last pixel is in no window.\n" in out
    assert "55 windows, the last one reaches 3 pixels past the edge.\n" in out
    assert "They fit evenly on 223 or 227 pixels.\n" in out
    assert document(minicnn_("shape", 224, "--kernel", 11, "--stride", 4, "--json")[1]) == {
        "size": 224, "kernel": 11, "stride": 4, "padding": 0, "dilation": 1, "exact": 54.25, "floor": 54, "ceil": 55,
        "unused_pixels": 1}  # fmt: skip


def test_padding_on_each_side_and_same(minicnn_):
    """13 pixels, a window of 6, stride 5: TensorFlow's SAME adds one pixel before and two after, for three windows."""
    assert minicnn_("shape", 13, "-k", 6, "-s", 5, "-p", "same") == (0, (
        "padding same: 1 before and 2 after the 13, for ⌈W/S⌉ = ⌈13/5⌉ = 3 windows.\n"
        "(W + P + P' − K)/S + 1 = (13 + 1 + 2 − 6)/5 + 1 = 3\n3 windows fit exactly.\n"), "")  # fmt: skip
    assert document(minicnn_("shape", 13, "-k", 6, "-s", 5, "-p", "same_lower", "--json")[1])["padding"] == [2, 1]
    assert document(minicnn_("shape", 13, "-k", 6, "-p", "valid", "--json")[1])["padding"] == 0
    rc, out, err = minicnn_("shape", 8, "-k", 4, "-s", 3, "-p", "0,1")
    assert (rc, err) == (0, "")
    assert "(8 + 0 + 1 − 4)/3 + 1 ≈ 2.67\n" in out
    assert "2 windows; of 9 pixels with the padding the last 2 pixels are in no window.\n" in out
    assert "They fit evenly on 6 or 9 pixels.\n" in out


def test_numbers_that_do_not_end_and_large_ones(minicnn_):
    assert "≈ 34.67\n" in minicnn_("shape", 100, "-k", 1, "-p", 1, "-s", 3)[1]
    assert "= 12345676\n12345676 windows fit exactly" in minicnn_("shape", 12345678)[1], "no 1.2e+07"
    assert "(W + 2P − D·(K − 1) − 1)/S + 1 = (32 + 2·2 − 2·(3 − 1) − 1)/1 + 1 = 32" in minicnn_(
        "shape", 32, "-p", 2, "-d", 2)[1]


def counted(W, K, S, P, D, ceil=False):
    """How many windows fit, by moving one: and the pixels behind the last that fits."""
    first, last, windows = -P, W + P - 1, 0
    start, unused = first, 0
    while True:
        end = start + D * (K - 1)
        if end <= last:
            windows, unused = windows + 1, last - end
        elif not (ceil and start < W and start - S + D * (K - 1) < last):
            return windows, unused
        else:
            return windows + 1, unused
        start += S


@pytest.mark.parametrize("draws", [40, pytest.param(150, marks=pytest.mark.slow)])
def test_windows_are_those_that_one_counts(minicnn_, rng, draws):
    cases = {tuple(int(rng.integers(low, high)) for low, high in ((1, 30), (1, 8), (1, 6), (0, 4), (1, 4)))
             for _ in range(draws)}  # fmt: skip
    fits = misfits = uneven = 0
    for W, K, S, P, D in sorted(cases):
        args = ("shape", W, "-k", K, "-s", S, "-p", P, "-d", D)
        windows, unused = counted(W, K, S, P, D)
        rc, out, err = minicnn_(*args, "--json")
        if not windows:
            misfits += 1
            least = next(p for p in range(100) if counted(W, K, S, p, D)[0])
            text = sentence(err, 1, rc)
            assert f"it needs a padding of at least {least}, or a smaller kernel" in text
            assert f"a window of {D * (K - 1) + 1} pixels does not fit on {W + 2 * P} (= {W} + 2·{P}): " in text
            assert out == ""
            continue
        fits += 1
        assert (rc, err) == (0, "")
        report = document(out)
        assert (report["floor"], report["unused_pixels"]) == (windows, unused), args
        if 2 * P <= D * (K - 1) + 1:                             # a pooling refuses more
            assert report["ceil"] == counted(W, K, S, P, D, ceil=True)[0], args
        assert report["exact"] == (W + 2 * P - D * (K - 1) - 1) / S + 1
        text = minicnn_(*args)[1]
        assert f"{windows} window" in text
        assert ("fit exactly" in text) == (unused == 0)
        if unused:
            uneven += 1
            sizes = [int(n) for n in re.findall(r"\d+", re.search(r"evenly on (.*?) pixel", text)[1])]
            below, above = ([n for n in order if n > 0 and counted(n, K, S, P, D)[0] and not counted(n, K, S, P, D)[1]]
                            for order in (range(W - 1, 0, -1), range(W + 1, W + 9)))  # fmt: skip
            assert sizes == [*below[:1], above[0]], args
            padding = re.search(rf", or on {W} with padding (\d+)\.", text)
            others = [p for p in range(P + 1, P + 20) if not counted(W, K, S, p, D)[1]]
            assert (int(padding[1]) if padding else None) == (others[0] if others else None), args
    assert min(fits, misfits, uneven) > draws // 15


# ------------------------------------------------------------------------------------------------------------ all verbs


@pytest.mark.parametrize("args", [
    ("models", "--sizes"), ("summary", "lenet5"), ("compare", "lenet5"), ("diff", "lenet5", "lenet5"),
    ("cite", "lenet5"),
], ids=" ".join)  # fmt: skip
def test_ctrl_c(minicnn_, monkeypatch, args):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(inspect, "summary", stop)
    rc, _, err = minicnn_(*args)
    assert sentence(err, 130, rc) == "stopped"


def test_real_processes_and_pipes():
    done = process("cite", "squeezenet1_0", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    done = process("shape", "5", "-k", "7")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("error: a window of 7 pixels does not fit on 5 (= 5 + 2·0): it needs a padding of at least "
                           "1, or a smaller kernel\n")  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
def test_a_real_terminal_of_80_columns():
    import pty
    import subprocess

    from tests.program import SCRIPT

    if not SCRIPT.exists():
        pytest.skip(f"minicnn is not installed beside {sys.executable}")
    ours, theirs = pty.openpty()
    env = {**os.environ, "COLUMNS": "80", "TERM": "xterm"}
    with subprocess.Popen([SCRIPT, "summary", "vgg16"], stdout=theirs, env=env) as running:
        os.close(theirs)
        content = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:                                      # what Linux says at the end of a terminal
                part = b""
            if not part:
                break
            content += part
        assert running.wait(NEVER) == 0
    os.close(ours)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", content.decode()).replace("\r", "").splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert any(line.split()[:3] == ["total", "138,357,544", "15,470,264,320"] for line in lines)
