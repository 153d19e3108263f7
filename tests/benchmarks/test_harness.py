"""benchmarks/: the harness, its workers and the page, on tiny cases. No test asserts a time."""

import argparse
import contextlib
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import harness, loader, markdown, ratios, render
from benchmarks.cpu import conv, layers, models, overhead, scaling, steps, tuning
from benchmarks.worker import timing
from minicnn.bench import wake
from minicnn.bench.suite import ConvCase
from minicnn.bench.timing import exponent

QUICK = ["--rounds", "1", "--seconds", "0.001", "--pause", "0"]
ROOT = Path(__file__).parents[2]
PATHS = ["compiled", "numpy"] if find_spec("numba") else ["numpy"]


# ---------------------------------------------------------------------------------------------------------- arithmetic


class Clock:
    """A worker that answers at once, and records when it was asked."""

    def __init__(self, name, seconds, log):
        self.name, self.seconds, self.log = name, seconds, log

    def ask(self, do, **order):
        self.log.append((self.name, order["call"]))
        return {"seconds": [self.seconds] * 2}


def test_workers_take_turns():
    log = []
    a, b = Clock("a", 1.0, log), Clock("b", 2.0, log)
    taken = harness.race({a: ["f", "g"], b: ["f"]}, rounds=3, seconds=0, pause=0)
    assert log == [*(one := [("a", "f"), ("a", "g")]), *(two := [("b", "f")]), *two, *one, *one, *two]
    assert taken == {"a": {"f": [1.0] * 6, "g": [1.0] * 6}, "b": {"f": [2.0] * 6}}


def test_the_better_layout_is_chosen_for_each_call():
    times = {f"{layout}/{what}": {"median": seconds} for layout, what, seconds in (
        ("contiguous", "forward", 3), ("channels_last", "forward", 2), ("contiguous", "forward+backward", 5),
        ("channels_last", "forward+backward", 7))}  # fmt: skip
    assert ratios.better(times, "forward") == ("channels_last", 2)
    assert ratios.better(times, "forward+backward") == ("contiguous", 5)


def test_a_row_follows_from_its_times():
    def at(seconds): return {"median": seconds}

    own = {"compiled": {"step": at(2.0), "infer 1": at(1.0)}, "plan": {"infer 1": at(0.5)}}
    peers = {"torch": {"contiguous/step": at(3.0), "channels_last/step": at(1.0), "contiguous/infer 1": at(4.0),
                       "channels_last/infer 1": at(5.0)}, "onnxruntime": {"own/infer 1": at(0.25)}}  # fmt: skip
    row = {}
    ratios.compare(row, own, peers)
    assert row["times"] == {**own, **peers}
    assert row["better"] == {"torch": {"step": ("channels_last", 1.0), "infer 1": ("contiguous", 4.0)},
                             "onnxruntime": {"infer 1": ("own", 0.25)}}  # fmt: skip
    assert row["vs"] == {"torch": {"compiled": {"step": 0.5, "infer 1": 4}, "plan": {"infer 1": 8}},
                         "onnxruntime": {"compiled": {"infer 1": 0.25}, "plan": {"infer 1": 0.5}}}  # fmt: skip
    found = ratios.summary_of([row, {"vs": {"torch": {"compiled": {"step": 2.0}}}}, {"vs": {}}])
    assert found["torch"]["compiled"]["step"] == {
        "geometric_mean": 1, "worst": 0.5, "best": 2, "cases": 2, "faster": 1}
    assert found["torch"]["plan"]["infer 1"]["cases"] == 1
    assert set(found["onnxruntime"]) == {"compiled", "plan"}
    assert ratios.summary_of([{"vs": {}}]) == {}
    assert ratios.summary([{}], "vs_torch") == {}


def test_a_wrong_result_is_not_timed():
    harness.check("case", {"auto forward": (1e-6, 1e-3), "logits": (1e-3, 1e-3)})
    for wrong in (0.1, float("nan")):
        with pytest.raises(SystemExit, match=r"case, auto dx: error .* above 1e-03: a wrong result is not timed"):
            harness.check("case", {"auto forward": (0, 1e-3), "auto dx": (wrong, 1e-3)})


class Wrong:
    """A worker whose result has an error; it must not be asked for a time."""

    def __init__(self):
        self.process, self.asked = argparse.Namespace(poll=lambda: None), []

    def ask(self, do, **request):
        self.asked.append((do, request["spec"]["kind"]))
        return {"calls": ["f"], "check": {"y": (0.1, 1e-3)}}


def test_a_benchmark_stops_at_a_wrong_result():
    wrong = Wrong()
    workers = harness.Workers({"minicnn": lambda: wrong})
    with pytest.raises(SystemExit, match=r"error: case, y: error 1\.0e-01 is above 1e-03"):
        workers.measure("case", {"minicnn": {"kind": "conv"}}, harness.options("x", "", []))
    assert wrong.asked == [("prepare", "conv")]


def test_a_peer_that_fails_is_left_out_and_the_results_say_why():
    wrong, right = Wrong(), Clock("compiled", 1.0, [])
    wrong.close = lambda: wrong.asked.append("closed")
    right.ask = lambda do, **request: {"calls": [], "seconds": []}
    right.process = wrong.process
    workers = harness.Workers({"compiled": lambda: right, "tinygrad": lambda: wrong})
    answers, times = workers.measure("case", {"compiled": {"kind": "net"}, "tinygrad": {"kind": "net"}},
                                     harness.options("x", "", []))
    assert set(answers) == set(times) == {"compiled"}
    assert workers.problems == {
        "tinygrad, case": "case, y: error 1.0e-01 is above 1e-03: a wrong result is not timed"}
    assert wrong.asked == [("prepare", "net"), "closed"]


def test_bytes_of_layers():
    spec = {"op": "MaxPool2d", "shape": [2, 3, 7, 7], "arguments": [3, 2]}
    assert layers.traffic(spec)["forward"] == 4 * 2 * 3 * (49 + 9 + 9)
    assert layers.traffic({"op": "ReLU", "shape": [2, 5]}) == {"forward": 80, "backward": 120}
    assert layers.traffic({"op": "Linear", "shape": [2, 3], "arguments": [3, 5]}) == {
        "forward": 4 * (6 + 15 + 10), "backward": 4 * (2 * (6 + 15) + 10)}
    assert layers.traffic({"op": "SGD", "shape": [2, 3]}) == {"forward": 120}


@pytest.mark.parametrize("axis", ["batch", "side", "channels"])
def test_the_work_grows_as_expected(axis):
    sizes = [8, 32, 128]
    assert exponent(sizes, [scaling.family(axis, n).macs for n in sizes]) == pytest.approx(scaling.EXPECTED[axis])


def test_commands_are_told_without_this_machines_paths():
    argv = ["--peers", "torch", "--torch-python", "/opt/torch/bin/python", "--out=/tmp/x.json", "--rounds", "5",
            "--peer-python=/home/me/other"]
    assert harness.command(harness.options("cpu.conv", "", argv)) == (
        "python -m benchmarks.cpu.conv --peers torch --torch-python PYTHON --out=FILE --rounds 5 "
        "--peer-python=PYTHON")
    args = harness.options("loader", "", ["--rounds", "2", "./photos"], {"photos": {}})
    assert harness.command(args) == "python -m benchmarks.loader --rounds 2 PHOTOS"


def test_cases_are_selected_by_name():
    assert harness.selected(["a b", "B", "c"], "b") == ["a b", "B"]
    assert harness.selected(["a", "b"], "") == ["a", "b"]
    assert harness.selected(layers.LAYERS, "adam", lambda spec: spec["name"]) == layers.LAYERS[-1:]
    with pytest.raises(SystemExit, match="no case matches --cases 'x': there are a, b"):
        harness.selected(["a", "b"], "x")


def test_names_with_commas():
    assert harness.options("x", "", ["--path", "numpy, plan", "--peers="]).path == ["numpy", "plan"]
    assert harness.options("x", "", ["--peers", "torch,onnxruntime"]).peers == ["torch", "onnxruntime"]
    assert harness.options("x", "", []).path[-1] == "numpy"
    with pytest.raises(SystemExit):
        harness.options("x", "", ["--peers", "torch,tensorflow"])


def test_a_table_in_markdown():
    assert markdown.table(["a", "b"], [["x", "1.5"], ["y", "—"]]) == (
        "| a | b |\n| --- | ---: |\n| x | 1.5 |\n| y | — |\n")
    assert markdown.ms({"median": 0.01, "q1": 0.009, "q3": 0.011}) == "10.00 ± 10 %"
    assert markdown.call("infer 1", 8) == ("inference, 1 image", 1)
    assert markdown.call("step", 8) == ("training step, 8 images", 8)


def test_a_block_of_a_page_is_filled():
    page = "a\n<!-- one -->\nold\n<!-- end -->\nb\n<!-- two -->\n<!-- end -->\n"
    assert markdown.fill(page, "one", r"\1 new" + "\n") == page.replace("old", r"\1 new")
    assert markdown.fill(page, "two", "new\n").endswith("b\n<!-- two -->\nnew\n<!-- end -->\n")
    with pytest.raises(ValueError, match="the page has no block <!-- three --> … <!-- end -->"):
        markdown.fill(page, "three", "")


# ------------------------------------------------------------------------------------------------------ real processes


def test_the_clock_needs_nothing_but_the_standard_library():
    source = (ROOT / "minicnn" / "bench" / "timing.py").read_text()
    assert "minicnn" not in re.findall(r"^\s*(?:from|import) (\w+)", source, re.MULTILINE)
    assert timing.Spread.of([3, 1, 2]).median == 2


def test_a_worker_answers_with_sentences():
    with contextlib.closing(harness.minicnn(1)) as worker:
        assert worker.ask("about")["threads"] == 1
        with pytest.raises(SystemExit, match="minicnn failed to nothing: ValueError: unknown request 'nothing'"):
            worker.ask("nothing")
        bytes_ = worker.ask("memory")["bytes"]
        assert bytes_ is None or bytes_ > 2**23
    with pytest.raises(SystemExit, match="ended without an answer"):
        worker.ask("about")


def test_every_result_is_checked_before_it_is_timed():
    case = ConvCase("tiny", (2, 4, 6, 6), 4, padding=(1, 1)).as_dict()
    with contextlib.closing(harness.minicnn(1, by="numpy")) as worker:
        answer = worker.ask("prepare", spec={"kind": "conv", "case": case})
        assert {"auto", "im2col", "winograd"} <= set(answer["algorithms"])
        assert set(answer["check"]) == {f"{name} {what}" for name in answer["algorithms"] for what in conv.WHAT}
        for (error, limit), of in zip(answer["check"].values(), (
                of[what] for of in answer["algorithms"].values() for what in conv.WHAT)):
            assert error == of["error"]
            assert limit == 1e-3
        for spec in layers.LAYERS:
            shape = [2, *spec["arguments"][:1]] if spec["op"] == "Linear" else [2, 64, 9, 9][: len(spec["shape"])]
            answer = worker.ask("prepare", spec={"kind": "layer", **spec, "shape": shape})
            expected = {"Dropout": set(), "SGD": {"p"}, "Adam": {"p"}, "BatchNorm2d": {"y", "dx", "dweight", "dbias"},
                        "Linear": {"y", "dx", "dweight", "dbias"}}.get(spec["op"], {"y", "dx"})
            assert set(answer.get("check", {})) == expected
            assert all(0 <= error < limit == 1e-3 for error, limit in answer.get("check", {}).values())


def test_a_worker_that_died_is_started_again():
    with contextlib.closing(harness.Workers({"minicnn": lambda: harness.minicnn(1)})) as workers:
        first = workers["minicnn"]
        assert workers["minicnn"] is first
        first.close()
        assert workers["minicnn"] is not first
        assert workers.about()[0]["name"] == "minicnn"


def test_without_torch_one_sentence_says_how_to_get_it(tmp_path):
    blind = tmp_path / "python"
    blind.write_text("#!/bin/sh\nexit 1\n")
    blind.chmod(0o755)
    with pytest.raises(SystemExit, match=r"^error: \S+ can't import torch: create an environment .* --torch-python"):
        harness.pytorch(str(blind))


def test_a_peer_that_is_not_installed_is_left_out(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "executable", "no-such-python")
    blind = tmp_path / "python"
    blind.write_text("#!/bin/sh\nexit 1\n")
    blind.chmod(0o755)
    args = harness.options("x", "", ["--path", "numpy", "--peers", "textbook,tinygrad,torch.compile",
                                     "--torch-python", str(blind), "--peer-python", str(blind)])
    monkeypatch.setattr(harness.subprocess, "run", lambda *_, **__: argparse.Namespace(returncode=1))
    workers = harness.Workers.on_cpu(args, "numpy", "textbook", "tinygrad", "torch.compile")
    assert list(workers.start) == ["numpy", "textbook"]
    assert set(workers.problems) == {"tinygrad", "torch.compile"}
    assert "can't import tinygrad: create an environment" in workers.problems["tinygrad"]
    assert "--torch-python peerenv/bin/python" in workers.problems["torch.compile"]
    assert "tinygrad is left out: " in capsys.readouterr().err
    assert list(harness.Workers.on_cpu(args, "compiled", "textbook").start) == ["textbook"]


def test_onnx_runtime_runs_the_export_of_the_same_net(tmp_path):
    pytest.importorskip("onnxruntime")
    spec = {"kind": "net", "name": "own_net", "batch": 2, "images": 2, "infer": [1]}
    with contextlib.closing(harness.minicnn(1, by="numpy")) as worker:
        worker.ask("prepare", spec={**spec, "onnx": True, "share": str(tmp_path / "case.npz")})
        answer = worker.ask("prepare", spec={**spec, "compare": str(tmp_path / "case.npz")})
        assert answer["check"]["logits"][0] < 1e-5, "the paths of minicnn have the same net"
    with contextlib.closing(harness.Worker("ort", "peer_worker", "onnxruntime", threads=1)) as worker:
        answer = worker.ask("prepare", spec={**spec, "compare": str(tmp_path / "case.npz")})
        assert answer["calls"] == ["own/infer 1"]
        assert answer["check"]["logits"][0] < 1e-5
        assert worker.ask("about")["threads"] == 1


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Every benchmark, on one tiny case each."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv, "SUITE", (ConvCase("tiny", (2, 4, 6, 6), 4, padding=(1, 1)),))
        patch.setattr(scaling, "SUITE", conv.SUITE)
        patch.setattr(scaling, "SIZES", {"batch": (1, 2), "side": (4, 8), "channels": (2, 4)})
        small = {"BatchNorm2d": {"arguments": [8]}, "Linear": {"arguments": [8, 8]}}
        patch.setattr(layers, "LAYERS", [{**spec, "shape": [2, 8, 9, 9][: len(spec["shape"])],
                                          **small.get(spec["op"], {})} for spec in layers.LAYERS])
        patch.setattr(tuning, "GRID", [ConvCase("tiny", (2, 16, 6, 6), 16, padding=(1, 1))])
        patch.setattr(wake, "SIZES", (256,))
        conv.main([*QUICK, "--peers", "textbook", "--out", str(folder / "conv.json")])
        layers.main([*QUICK, "--out", str(folder / "layers.json")])
        models.main([*QUICK, "--cases", "lenet5", "--batch", "2", "--out", str(folder / "models.json")])
        steps.main([*QUICK, "--cases", "lenet5", "--out", str(folder / "steps.json")])
        scaling.main([*QUICK, "--threads", "2", "--out", str(folder / "scaling.json")])
        overhead.main([*QUICK, "--out", str(folder / "overhead.json")])
        if find_spec("numba"):
            tuning.main([*QUICK, "--out", str(folder / "tuning.json")])
    return folder


@pytest.mark.slow
def test_results_hold_what_is_needed_to_understand_them(results):
    for name in ("conv", "layers", "models", "steps", "scaling", "overhead"):
        document = json.loads((results / f"{name}.json").read_text())
        assert document["benchmark"] == name
        assert document["command"].startswith(f"python -m benchmarks.cpu.{name} --rounds 1")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", document["date"])
        assert {"cpu", "instructions", "cores", "ram_bytes", "system"} <= set(document["machine"])
        assert {"python", "numpy", "blas", "minicnn", "path", "threads"} <= set(document["competitors"][0])
        assert str(results) not in json.dumps(document)
    case = json.loads((results / "conv.json").read_text())["cases"][0]
    assert case["macs"] == 2 * 4 * 4 * 9 * 36
    assert list(case["paths"]) == PATHS
    assert {"auto", "im2col"} <= set(case["paths"]["numpy"]["algorithms"])
    for path, found in case["paths"].items():
        for of in found["algorithms"].values():
            for what in ("forward", "dx", "dw"):
                assert of[what]["q1"] <= of[what]["median"] <= of[what]["q3"]
                assert of[what]["error"] < 1e-5
                assert path == "compiled" or of[what]["workspace_bytes"] >= 0
        assert case["vs"]["textbook"][path]["forward"] > 0
    assert len(json.loads((results / "layers.json").read_text())["cases"]) == len(layers.LAYERS)
    net = json.loads((results / "models.json").read_text())["cases"][0]
    assert net["parameters"] == 61_706
    assert list(net["memory"]) == list(net["times"]) == PATHS
    for of in net["memory"].values():
        assert of["peak_bytes"] is None or of["peak_bytes"] >= of["empty_bytes"]
    parts = {(row["name"], row["path"]) for row in json.loads((results / "overhead.json").read_text())["cases"]}
    assert {("an empty op", path) for path in PATHS} < parts
    assert ("a kernel and its counters", "numpy") not in parts


@pytest.mark.slow
def test_a_layer_is_timed_by_every_kernel_that_has_it(results):
    pytest.importorskip("numba")
    document = json.loads((results / "tuning.json").read_text())
    (row,) = document["cases"]
    assert set(row["seconds"]) == {"direct", "winograd", "numpy"}
    assert row["chosen"] == "direct"
    for what in ("forward", "dx", "dw"):
        best = min(of[what] for of in row["seconds"].values())
        assert row["loss"][what] == row["seconds"]["direct"][what] / best >= 1
    assert [set(wake) for wake in document["wakes"]] == [{"size", "alone", "listening", "asleep"}]


@pytest.mark.slow
def test_the_page_is_made_of_the_results_alone(results, tmp_path):
    docs = tmp_path / "docs"
    page, argv = docs / "benchmarks.md", ["cpu", "--results", str(results), "--docs", str(docs)]
    render.main(argv)
    text = page.read_text()
    for title in ("Convolutions", "Other layers", "Whole nets", "Where a step's time goes", "How the cost grows",
                  "What Python costs"):
        assert f"\n## {title}\n" in text
    assert text.count("Not measured yet") == (not find_spec("numba"))
    linked = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert sorted(linked) == ["pictures/nets.svg", "pictures/roofline.svg", "pictures/scaling.svg"]
    before = {path: path.read_bytes() for path in (page, *(docs / link for link in linked))}
    render.main(argv)
    assert before == {path: path.read_bytes() for path in before}, "the same results make the same page"
    render.main(["cpu", "--results", str(tmp_path), *argv[3:]])
    assert page.read_text().count("Not measured yet") == 7
    with pytest.raises(SystemExit) as end:
        render.main(["gpus"])
    assert end.value.code == 2


def test_the_committed_pages_are_what_the_results_render_to(tmp_path):
    render.main(["--docs", str(tmp_path)])
    for page in ("benchmarks.md", "benchmarks-gpu.md", "compiled.md"):
        assert (tmp_path / page).read_text() == (ROOT / "docs" / page).read_text(), "run python -m benchmarks.render"


def test_the_committed_page_is_the_committed_results():
    folder = ROOT / "benchmarks" / "results"
    if not any(folder.glob("*.json")):
        pytest.skip("nothing has been measured")
    for path in folder.glob("*.json"):
        pages = {"loader": "data.md", "gpu": "benchmarks-gpu.md", "compiled": "compiled.md",
                 "estimate": "many-machines.md"}  # fmt: skip
        page = pages.get(path.stem, "benchmarks.md")
        told, document = (ROOT / "docs" / page).read_text(), json.loads(path.read_text())
        assert f"`{document['command']}`" in told, f"{path.name} is newer than the page: python -m benchmarks.render"


def test_the_page_about_data_says_what_was_measured():
    document = json.loads((ROOT / "benchmarks" / "results" / "loader.json").read_text())
    assert markdown.begin(loader.BLOCK) + loader.tables(document) + markdown.END in loader.PAGE.read_text()


@pytest.mark.slow
def test_the_loader_on_a_few_pictures(tmp_path, capsys, monkeypatch):
    workers = {"none": (0, False), "1 thread": (1, False), "1 process": (1, True)}
    for name, value in (("SIDE", 32), ("BATCH", 4), ("WORKERS", workers)):
        monkeypatch.setattr(loader, name, value)
    rng = np.random.default_rng(0)
    for i in range(2):
        pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((520, 400)).save(tmp_path / f"{i}.png")
    out = tmp_path / "loader.json"
    loader.main([str(tmp_path), "--rounds", "1", "--steps", "1", "--count", "32", "--out", str(out)])
    assert "target: at most 5 %" in capsys.readouterr().out
    document = json.loads(out.read_text())
    assert document["command"].startswith("python -m benchmarks.loader PHOTOS --rounds 1")
    assert document["pictures"]["count"] == 32
    assert [row["workers"] for row in document["training"]] == list(workers)
    for row in document["training"]:
        assert 0 <= row["waiting"] < 1
        assert row["waiting"] == pytest.approx(row["wait"]["median"] / row["seconds"])         # of one step
    assert loader.tables(document).count("\n| ") == 2 + len(loader.WORKERS)
    with pytest.raises(SystemExit, match="has no photographs of at least 187 pixels on each side"):
        loader.make_pictures(ROOT / "tests", tmp_path, 1)


@pytest.mark.slow
def test_a_steps_time_is_shared_out_among_its_ops(results):
    rows = json.loads((results / "steps.json").read_text())["cases"]
    assert [row["path"] for row in rows] == PATHS
    for row in rows:
        assert {"conv2d", "conv2d_dx", "conv2d_dw", "max_pool2d", "max_pool2d_dx", "matmul", "cross_entropy",
                "sgd_update"} <= set(row["primitives"])
        assert all(seconds > 0 for seconds in row["primitives"].values())
        assert row["primitives"]["conv2d"] > row["primitives"]["cross_entropy"]


def test_only_the_outermost_call_is_timed():
    profile = steps.Profile()
    namespace: dict = {}
    code = "def relu(x):\n return x\ndef conv2d(x):\n def relu_dx(): return x\n return relu(x), relu_dx()\n"
    exec(compile(code, "somewhere/cpu/some.py", "exec"), namespace)
    exec(compile("def matmul(): pass", "somewhere/ops/some.py", "exec"), namespace)
    sys.setprofile(profile)
    namespace["conv2d"](1)
    namespace["matmul"]()
    sys.setprofile(None)
    assert set(profile.seconds) == {"conv2d"}
    assert profile.seconds["conv2d"] > 0


def test_torch_has_the_same_nets():
    pytest.importorskip("torch")
    from benchmarks import torch_nets, torch_worker
    from benchmarks.gpu.measure import NETS as GPU_NETS
    from minicnn.bench.model import NETS, OWN
    from minicnn.models import build
    from minicnn.nn import init

    assert set(torch_nets.NETS) == set(NETS) | set(GPU_NETS)
    with init.shapes_only():
        for name, (zoo, options, *_) in {**NETS, "resnet50": ("resnet50", {})}.items():
            own = build(zoo, **options) if zoo else OWN[name]()
            theirs = {k: tuple(v.shape) for k, v in torch_nets.NETS[name]().named_parameters()}
            assert theirs == {k: p.shape for k, p in own.named_parameters()}
    with pytest.raises(ValueError, match=r"the nets of minicnn and torch_nets\.py differ in the weights \['classifier"):
        torch_worker.load_weights(torch_nets.lenet5(), {})


def test_options_are_documented(capsys):
    for module in (conv, layers, models, steps, scaling, overhead, tuning, loader):
        with pytest.raises(SystemExit) as end:
            module.main(["--help"])
        assert end.value.code == 0
        assert module.__doc__.splitlines()[0] in capsys.readouterr().out
    assert harness.options("x", "", []).torch_python == sys.executable
