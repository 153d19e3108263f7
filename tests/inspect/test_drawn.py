"""What the figures show: the arrays of their images, in their places, with their titles."""

import numpy as np
import pytest

from minicnn import Tensor, nn
from minicnn.data import figures
from minicnn.inspect import accuracy_chart, plots

pytest.importorskip("matplotlib")


@pytest.fixture
def drawn(monkeypatch):
    """The figures, instead of files."""
    kept = []
    for module in (plots, accuracy_chart):
        monkeypatch.setattr(module, "write", lambda fig, path: kept.append(fig))
    return kept


def images(fig):
    """The arrays that are shown, axis by axis."""
    return [np.asarray(ax.images[0].get_array()) for ax in fig.axes if ax.images]


def test_filters_in_colour_in_one_channel_and_in_many(drawn, rng):
    for C, count in ((3, 4), (1, 14), (5, 14)):
        w = rng.normal(size=(count, C, 2, 3))
        plots.filters(w, "x.png", "filters")
        found, fig = images(drawn[-1]), drawn[-1]
        limit = np.abs(w).max()
        if C == 3:                                               # grey is 0, white the largest weight of all
            wanted = [np.clip(127.5 + 127.5 * f / limit, 0, 255).astype(np.uint8).transpose(1, 2, 0) for f in w]
        elif C == 1:
            wanted = [f[0] for f in w]
        else:
            wanted = [f[c] for f in w[:12] for c in range(5)]
        assert len(found) == len(wanted)
        for shown, expected in zip(found, wanted):
            np.testing.assert_array_equal(shown, expected)
        if C != 3:
            assert {ax.images[0].get_clim() for ax in fig.axes if ax.images} == {(-limit, limit)}, "one scale"
        columns = {3: 4, 1: 12, 5: 5}[C]
        assert fig.axes[0].get_subplotspec().get_gridspec().ncols == columns
        assert fig.get_suptitle() == "filters"
        assert not any(ax.axison for ax in fig.axes)


def test_feature_maps_are_those_with_the_highest_means_a_row_for_each_layer(drawn, rng):
    image = rng.integers(0, 256, (3, 8, 8)).astype(np.uint8)
    layers = {"a": rng.normal(size=(11, 4, 4)), "b": rng.normal(size=(3, 2, 2))}
    plots.feature_maps(image, layers, "x.png", "maps")
    fig = drawn[0]
    shown = [(ax.get_title(), np.asarray(ax.images[0].get_array())) for ax in fig.axes if ax.images and ax.get_title()]
    wanted = [(str(c), values[c]) for values in layers.values()
              for c in sorted(range(len(values)), key=lambda c: -values[c].mean())[:8]]
    assert [title for title, _ in shown] == [title for title, _ in wanted]
    for (_, found), (_, expected) in zip(shown, wanted):
        np.testing.assert_array_equal(found, expected)
    assert [ax.texts[0].get_text() for ax in fig.axes if ax.texts] == ["a\n11×4×4", "b\n3×2×2"]
    assert {ax.get_subplotspec().colspan.start for ax in fig.axes if ax.texts} == {0}, "left of the maps"
    assert all(ax.texts[0].get_transform() == ax.transAxes for ax in fig.axes if ax.texts)
    assert not any(ax.axison for ax in fig.axes)
    many = rng.normal(size=(70, 2, 2))
    plots.feature_maps(image, {"one": many}, "x.png", "maps")
    titles = [ax.get_title() for ax in drawn[1].axes if ax.images and ax.get_title()]
    assert titles == [str(c) for c in sorted(range(70), key=lambda c: -many[c].mean())[:64]]
    assert [ax.texts[0].get_text() for ax in drawn[1].axes if ax.texts] == ["one\n70×2×2"], "its name once"


def test_the_first_layer_has_its_map_below_each_filter(drawn, rng):
    net = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 18, 3), nn.ReLU())
    image = rng.integers(0, 256, (3, 7, 7)).astype(np.uint8)
    x = (image[None] / 255).astype(np.float32)
    plots.first_layer(net, Tensor(x), image, "x.png")
    fig = drawn[0]
    at = {ax.get_title(): np.asarray(ax.images[0].get_array()) for ax in fig.axes if ax.images and ax.get_title()}
    w, maps = net[1].weight.numpy(), net[1](Tensor(x)).numpy()[0]
    assert set(at) == {"the image", *(f"filter {i}" for i in range(16)), *(f"map {i}" for i in range(16))}
    np.testing.assert_array_equal(at["the image"], image.transpose(1, 2, 0))
    for i in range(16):
        np.testing.assert_array_equal(at[f"filter {i}"], w[i].mean(0))
        np.testing.assert_allclose(at[f"map {i}"], maps[i], rtol=1e-5, atol=1e-6)
        above, below = (next(ax for ax in fig.axes if ax.get_title() == f"{what} {i}").get_subplotspec().colspan.start
                        for what in ("filter", "map"))
        assert above == below
    limit = float(np.abs(w.mean(1)).max())
    assert {ax.images[0].get_clim() for ax in fig.axes if ax.get_title().startswith("filter")} == {(-limit, limit)}
    assert fig.get_suptitle() == "1: 18 filters of 3×3×3 and their feature maps"


def test_a_grey_image_beside_the_first_layer_keeps_its_brightness(drawn):
    image = np.full((1, 1, 4), 99, np.uint8)
    plots.first_layer(nn.Conv2d(1, 2, 1), Tensor(np.ones((1, 1, 1, 4), np.float32)), image, "x.png")
    shown, = (ax.images[0] for ax in drawn[0].axes if ax.get_title() == "the image")
    assert (shown.get_array().tolist(), shown.get_clim()) == ([[99] * 4], (0, 255))


def test_projections_stand_above_the_part_of_the_image(drawn, rng):
    image = rng.integers(0, 256, (3, 6, 6)).astype(np.uint8)
    units = [plots.Projection(f"map {i}", rng.integers(0, 256, (3, 2, 2)).astype(np.uint8), rng.normal(size=(3, 2, 2)))
             for i in range(2)]
    plots.projections(image, units, "x.png", "units")
    whole, *rest = images(drawn[0])
    np.testing.assert_array_equal(whole, image.transpose(1, 2, 0))
    for i, unit in enumerate(units):
        np.testing.assert_array_equal(rest[2 * i], plots.around_grey(unit.projection).transpose(1, 2, 0))
        np.testing.assert_array_equal(rest[2 * i + 1], unit.part.transpose(1, 2, 0))
    assert [ax.get_title() for ax in drawn[0].axes] == ["", "map 0", "", "map 1", ""]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_heatmap_lies_beside_the_image_and_on_its_grey_values(drawn, rng, reverse):
    image, values = rng.integers(0, 256, (3, 6, 8)).astype(np.uint8), rng.normal(size=(3, 4))
    plots.heatmap(image, values, "x.png", "Grad-CAM", "share", reverse)
    left, middle, right, bar = drawn[0].axes
    np.testing.assert_array_equal(left.images[0].get_array(), image.transpose(1, 2, 0))
    below, above = right.images
    np.testing.assert_array_equal(below.get_array(), image.mean(0))
    assert (below.get_cmap().name, below.get_clim()) == ("gray", (0, 255))
    for shown in (middle.images[0], above):
        np.testing.assert_array_equal(shown.get_array(), values)
        assert shown.get_extent() == [-0.5, 7.5, 5.5, -0.5], "the pixels of the image"
        assert shown.get_cmap().name == ("inferno_r" if reverse else "inferno")
    assert 0 < above.get_alpha() < 1
    assert bar.get_ylabel() == "share"
    assert not any(ax.axison for ax in (left, middle, right))


def test_a_sheet_shows_black_and_white_as_they_are(rng):
    for images_, white in ((rng.integers(0, 256, (9, 3, 4, 5)).astype(np.uint8), 255), (rng.random((9, 1, 4, 5)), 1)):
        fig = figures.sheet(images_, [str(i) for i in range(9)])
        shown = [ax for ax in fig.axes if ax.images]
        assert [ax.get_title() for ax in shown] == [str(i) for i in range(9)]
        for ax, image in zip(shown, images_):
            np.testing.assert_array_equal(ax.images[0].get_array(), image.transpose(1, 2, 0).squeeze())
            assert ax.images[0].get_clim() == (0, white)
        assert not any(ax.axison for ax in fig.axes)
        assert {ax.get_subplotspec().get_gridspec().get_geometry() for ax in shown} == {(2, 8)}


@pytest.mark.parametrize("unit", ["MB", "million"])
def test_the_areas_of_the_chart_and_of_its_legend_are_to_one_scale(drawn, unit):
    accuracy_chart.draw(["vgg16", "resnet18"], [15.0, 1.8], [71.6, 69.8], [60.0, 20.0], "x.png", unit=unit)
    discs, dots, *legend = drawn[0].axes[0].collections
    for points in (discs, dots):
        np.testing.assert_array_equal(points.get_offsets(), [(15.0, 71.6), (1.8, 69.8)])
    np.testing.assert_allclose(discs.get_sizes() / discs.get_sizes()[1], [3, 1])
    assert dots.get_sizes() < discs.get_sizes().min()
    named = [disc.get_label().split() for disc in legend]
    assert {name for _, name in named} == {unit}
    for (size, _), disc in zip(named, legend):
        np.testing.assert_allclose(disc.get_sizes() / discs.get_sizes()[1], float(size) / 20)
