"""minicnn bench: the tools on tiny shapes. No time is asserted."""

import re

import pytest

from minicnn.bench import conv
from minicnn.bench.suite import ConvCase
from minicnn.cpu import threads
from tests.bench.test_bench import TINY
from tests.program import document, sentence


def test_bench_conv_for_people(minicnn_):
    rc, out, err = minicnn_("bench", "conv", "--input", "2,4,8,8", "--filters", 6, "-p", 1, "--seconds", 0.001)
    assert (rc, err) == (0, "")
    lines, tables = out.split("\n\n", 1)
    rows = [f"2×4×8×8 → 6, 3×3 p1: {what} by {name}"
            for name in conv.supported(ConvCase("", (2, 4, 8, 8), 6, padding=(1, 1))) for what in conv.WHAT]
    assert [line.rpartition(": ")[0] for line in lines.splitlines()] == rows, "a line as soon as a row is measured"
    assert tables.startswith("2×4×8×8 → 6, 3×3 p1, 27,648 multiply-adds\n")
    found = re.findall(r"^(forward|dx|dw|) +([\w]+)( \*)? +[\d.]+ +[\d.]+ +\d+ +[\d.]+ MB +\de-\d\d", out, re.MULTILINE)
    names = conv.supported(ConvCase("", (2, 4, 8, 8), 6, padding=(1, 1)))
    assert len(found) == 3 * len(names)
    assert sum(bool(star) for _, _, star in found) == 3, "one of them is minicnn's choice"
    for word in ("GFLOP/s: 2·N·O·(C/G)·KH·KW·OH·OW", "workspace:", "error:", "% GEMM"):
        assert word in out


def test_bench_conv_for_programs(minicnn_):
    count = threads.num_threads()
    try:
        rc, out, err = minicnn_("bench", "conv", "--input", "2,4,8,8", "-k", "1,3", "-s", "2,1", "-p", "0,1", "-g", 2,
                                "--algorithm", "im2col", "--seconds", 0.001, "--threads", 1, "--json")
    finally:
        threads.set_num_threads(count)
    assert (rc, err) == (0, "")
    report = document(out)
    assert report["threads"] == 1
    assert [(row["what"], row["algorithm"]) for row in report["rows"]] == [(w, "im2col") for w in conv.WHAT]
    for row in report["rows"]:
        assert row["case"] == "2×4×8×8 → 4, 1×3/(2,1) p(0,1) g2"
        assert row["flops_per_second"] == 2 * row["macs"] / row["seconds"]["median"]
        assert row["error"] < 1e-5
        assert row["seconds"]["count"] >= 3


def test_bench_conv_of_the_suite(minicnn_, monkeypatch):
    monkeypatch.setattr("minicnn.cli.bench.SUITE", (TINY, ConvCase("points", (2, 4, 5, 5), 4, (1, 1))))
    rc, out, err = minicnn_("bench", "conv", "--seconds", 0.001)
    assert (rc, err) == (0, "")
    assert "tiny: 2×4×7×6 → 6, 3×2/(2,1) p(1,0) g2, " in out
    assert re.search(r"^Geometric mean over the suite, forward: \d+ % of the GEMM rate\.$", out, re.MULTILINE)


@pytest.mark.parametrize(("options", "says"), [
    (["--input", "2,4,8"], "--input '2,4,8' must be N,C,H,W, such as 16,64,56,56"),
    (["--input", "2,4,8,x"], "--input '2,4,8,x' must be N,C,H,W, such as 16,64,56,56"),
    (["--input", "2,4,8,8", "-k", "0"], "--kernel '0' must be an integer, or two: down,across"),
    (["--input", "2,3,8,8", "-g", "2"], "in_channels (=3) must be divisible by groups (=2)"),
    (["--input", "2,3,8,8", "--algorithm", "fft"], "unknown algorithm 'fft'"),
    (["--input", "2,3,2,2"], "the window's height (=3) is larger than the padded input's"),
])  # fmt: skip
def test_bench_conv_answers_mistakes(minicnn_, options, says):
    rc, _, err = minicnn_("bench", "conv", *options)
    assert sentence(err, 2, rc).startswith(says)


def test_bench_model(minicnn_):
    rc, out, err = minicnn_("bench", "model", "lenet5", "--batch", 3, "--seconds", 0.001)
    assert (rc, err) == (0, "")
    assert re.match(r"training step: [\d.]+ ms\n(inference, .*\ncompiled, .*\n){2}\nlenet5 \(61,706 parameters, "
                    r"416,520 multiply-adds an image\)\n", out)
    for row in ("training step", *(f"{how}, {count}" for how in ("inference", "compiled")
                                   for count in ("1 image", "3 images"))):  # fmt: skip
        assert re.search(rf"^{row} +[\d.]+ +[\d.]+ – [\d.]+ +[\d.]+ +[\d.]+ *$", out, re.MULTILINE)
    rc, out, _ = minicnn_("bench", "model", "lenet5:1998", "--batch", 2, "--seconds", 0.001, "--json")
    assert rc == 0
    report = document(out)
    assert (report["parameters"], report["input"], report["batch"]) == (60_000, [1, 32, 32], 2)
    assert [row["images"] for row in report["rows"]] == [2, 1, 1, 2, 2]
    for row in report["rows"]:
        assert row["images_per_second"] == row["images"] / row["seconds"]["median"]


def test_bench_model_answers_mistakes(minicnn_):
    rc, _, err = minicnn_("bench", "model", "lenet6")
    assert "did you mean 'lenet5'" in sentence(err, 2, rc)
    rc, _, err = minicnn_("bench", "model", "lenet5:1997")
    assert "1998" in sentence(err, 2, rc)
