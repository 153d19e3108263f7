"""The pictures of the pages: each is what the code draws now."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from docs.figures import blocks, draw, learn, style, use
from docs.figures.draw import FIGURES, PICTURES, contents, differences, kept
from minicnn import Tensor, fusion, models, no_grad
from minicnn.models import resnet, squeezenet
from minicnn.nn import init
from minicnn.recording import watch_ops

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", FIGURES)
def test_a_picture_is_what_the_code_draws(name):
    drawn = contents(FIGURES[name]())
    assert len(drawn) > 3
    assert list(differences(drawn, kept(PICTURES / name))) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_its_pixels_are_what_the_code_draws(name, tmp_path):
    from PIL import Image

    draw.save(FIGURES[name](), tmp_path / name)
    now, before = (np.asarray(Image.open(folder / name).convert("L").resize((64, 64), Image.Resampling.BOX), float)
                   for folder in (tmp_path, PICTURES))  # fmt: skip
    assert abs(now - before).mean() < 4


@pytest.mark.parametrize("name", FIGURES)
def test_pages_show_it_and_it_is_small(name):
    assert (PICTURES / name).stat().st_size <= 80_000
    assert any(f"pictures/{name})" in page.read_text("utf-8") for page in DOCS.glob("**/*.md"))


def test_the_gradients_in_the_graph_are_the_engines():
    x, w = Tensor(np.array(2.0), requires_grad=True), Tensor(np.array(3.0), requires_grad=True)
    y = w * x + x
    found = learn.every_gradient(y * y)                                   # y² = (w·x + x)²
    assert found[id(y)][1] == 2 * 8.0
    assert (found[id(x)][1], found[id(w)][1]) == (2 * 8 * (3 + 1), 2 * 8 * 2)
    (y * y).backward()
    assert (x.grad, w.grad) == (64, 32)


def test_the_costs_are_those_of_the_page_that_derives_them():
    text = (DOCS / "convolution-algorithms.md").read_text("utf-8")
    for multiplications, moved in learn.costs().values():
        assert f"{multiplications:,} multiplications, {moved:,} bytes" in text


def test_a_net_is_drawn_as_its_forward_computes_it():
    with init.shapes_only():
        found = blocks.boxes(resnet.BasicBlock(8, 8), (8, 6, 6))
    assert [box.text for box in found] == ["maps", "conv 3×3", "conv 3×3", "+"]
    assert [box.small for box in found] == [[], ["batch norm", "relu"], ["batch norm"], ["relu"]]
    assert [[found.index(source) for source in box.inputs] for box in found] == [[], [0], [1], [2, 0]]
    with init.shapes_only():
        found = blocks.boxes(squeezenet.Fire(8, 2, 4), (8, 6, 6))
    assert [box.text for box in found] == ["maps", "conv 1×1", "conv 1×1", "conv 3×3", "stack"]
    assert [box.row for box in found] == [0, 1, 2, 2, 3]
    assert found[2].lane < found[3].lane
    assert found[4].nodes[-1].shape == (8, 6, 6)


def figure(values, label="label"):
    fig, (ax,) = style.panels(1, 3, 3)
    style.matrix(ax, values, label)
    ax.plot([0, 1], [0.5, 0.25])
    style.frame(ax, 0, 0, 1, 1, style.BLUE)
    return fig


def test_the_numbers_of_the_windows_are_counted_by_hand():
    text = "\n".join(contents(FIGURES["tensorflow-same.png"]()))       # 13 pixels, windows of 6, stride 5
    assert "'VALID: 2 windows, 2 pixels in none'" in text               # 1–6, 6–11
    assert "'SAME: 3 windows'" in text                                  # ⌈13/5⌉
    assert "'padding=1: 2 windows, 3 pixels in none'" in text           # 0–5, 5–10
    text = "\n".join(contents(FIGURES["gpu-warp.png"]()))
    assert all(f"step {step}: {sectors} sectors" in text for step, sectors in ((1, 4), (2, 8), (8, 32)))


def test_the_steps_of_the_plan_are_the_ops_of_the_net():
    names, net = [], models.build("resnet20").eval()
    with no_grad(), fusion(False), watch_ops(lambda op, *_: names.append(getattr(op, "__name__", op))):
        net(Tensor(np.zeros((1, 3, 32, 32), np.float32)))
    steps = [name for step in use.planned() for name in step]
    assert steps == names[:len(steps)]


def test_every_image_of_the_batch_has_one_rank():
    text = [line for line in contents(FIGURES["ranks-batch.png"]()) if "'image" in line]
    assert [line.split("'")[1] for line in text] == [f"image {row}" for row in range(10)]


VALUES = np.array([[1.0, 2.5], [-3.0, 4.0]])


@pytest.mark.parametrize("change", [
    lambda fig: fig.axes[0].texts[0].set_text("7"),
    lambda fig: fig.axes[0].set_title("another"),
    lambda fig: fig.axes[0].images[0].set_data(VALUES),
    lambda fig: fig.axes[0].lines[0].set_data([0, 1], [0.5, 0.3]),
    lambda fig: fig.axes[0].patches[0].set_width(2),
    lambda fig: fig.axes[0].patches[0].remove(),
    lambda fig: fig.axes[0].text(0, 0, "more"),
])  # fmt: skip
def test_a_change_is_noticed(tmp_path, change):
    draw.save(figure(VALUES), tmp_path / "p.png")
    assert not any(differences(contents(figure(VALUES)), kept(tmp_path / "p.png")))
    other = figure(VALUES)
    change(other)
    assert any(differences(contents(other), kept(tmp_path / "p.png")))


def test_the_last_digits_may_differ(tmp_path):
    draw.save(figure(VALUES), tmp_path / "p.png")
    other = figure(VALUES)
    other.axes[0].lines[0].set_data([0, 1], [0.5, 0.2501])
    assert not any(differences(contents(other), kept(tmp_path / "p.png")))
