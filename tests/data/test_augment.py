"""Augmentations: against their definitions, pixel by pixel, and draws against the probabilities that papers say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicnn import data
from minicnn.data import augment
from minicnn.data.augment import (
    EIGENVALUES,
    EIGENVECTORS,
    ColourJitter,
    Cutout,
    Flip,
    Lighting,
    Mixup,
    PadCrop,
    RandomResizedCrop,
    ScaleJitter,
    parse,
    spell,
)
from tests.data.pictures import noise


def generator(seed=0):
    return np.random.default_rng(seed)


def box(step, width, height, size, rng):
    """The box of a picture that is alone in its batch."""
    return step.box(width, height, size, step.draw(1, size, rng)[0])


def changed(step, x, rng):
    """x (N,C,H,W), a whole batch, after the step."""
    method = next(name for name in ("bytes", "colours", "numbers") if hasattr(step, name))
    return getattr(step, method)(x, step.draw(len(x), x.shape[2:], rng))


def images(n=6, channels=3, side=8, seed=1):
    return generator(seed).integers(0, 256, (n, channels, side, side), dtype=np.uint8)


# --------------------------------------------------------------------------------------------------------- which part


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(0, 2**32))
def test_a_random_resized_crop_lies_inside_and_has_the_promised_area_and_shape(width, height, seed):
    left, top, right, bottom = box(RandomResizedCrop(0.08), width, height, (224, 224), generator(seed))
    w, h = right - left, bottom - top
    assert 0 <= left < right <= width + 1e-9
    assert 0 <= top < bottom <= height + 1e-9
    assert 3 / 4 - 1e-9 <= w / h <= 4 / 3 + 1e-9
    if 0.5 < width / height < 2:                           # elsewhere the largest part of such a shape may be smaller
        assert 0.08 * (1 - 1e-9) <= w * h / (width * height) <= 1 + 1e-9


def test_the_areas_of_random_resized_crops_are_even():
    """With a least of 0.5, crops of a square image always fit soon: their areas are nearly uniform on 0.5 … 0.9."""
    boxes = [box(RandomResizedCrop(0.1), 400, 400, (8, 8), generator(i)) for i in range(4000)]
    areas = np.array([(r - l) * (b - t) / 160_000 for l, t, r, b in boxes])
    assert (areas < 1).all(), "the last resort, all of the picture, is hardly ever needed"
    below = (areas < 0.3).mean() / ((areas >= 0.3) & (areas < 0.5)).mean()
    assert below == pytest.approx(1, abs=0.12)             # both spans are 0.2 wide
    ratios = np.log([(r - l) / (b - t) for l, t, r, b in boxes])
    assert np.mean(ratios) == pytest.approx(0, abs=0.02)
    assert np.std(ratios[areas < 0.5]) == pytest.approx(np.log(4 / 3) / np.sqrt(3), rel=0.05)   # uniform on ±log 4/3


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(0, 2**32))
def test_scale_jitter_cuts_the_size_out_of_the_resized_picture(width, height, seed):
    left, top, right, bottom = box(ScaleJitter(256, 512), width, height, (224, 200), generator(seed))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    scale = (right - left) / 200
    assert (bottom - top) / 224 == pytest.approx(scale)
    assert 256 - 1e-6 <= min(width, height) / scale <= 512 + 1e-6


def test_scale_jitter_below_the_nets_size():
    with pytest.raises(ValueError, match="scale-jitter:100:200 is below the larger side of the net's size"):
        data.Transform(data.Preprocessing((224, 224), (0.5,) * 3, (0.5,) * 3), "flip scale-jitter:100:200")


# --------------------------------------------------------------------------------------------------------------- bytes


def test_flip_turns_some_images_and_those_wholly():
    x = images(1000, 1, 4)
    y = changed(Flip(0.3), x, generator())
    turned = (y == x[..., ::-1]).all((1, 2, 3))
    assert ((y == x).all((1, 2, 3)) | turned).all()
    assert turned.mean() == pytest.approx(0.3, abs=0.05)
    assert np.array_equal(changed(Flip(1), x, generator()), x[..., ::-1])
    assert np.array_equal(changed(Flip(0), x, generator()), x)


def test_pad_crop_cuts_out_of_the_padded_image():
    x = images(200, 2, 6)
    y = changed(PadCrop(2), x, generator())
    places = set()
    for before, after in zip(x, y):
        padded = np.zeros((2, 10, 10), np.uint8)
        padded[:, 2:8, 2:8] = before
        at = [(i, j) for i in range(5) for j in range(5) if np.array_equal(padded[:, i:i + 6, j:j + 6], after)]
        assert at
        places.add(at[0])
    assert len(places) == 25


# ------------------------------------------------------------------------------------------------------------- colours


def test_colour_jitter_is_its_three_formulas():
    x = images(5).astype(np.float32) / 255
    found = changed(ColourJitter(0.4), x.copy(), generator(3))
    factors = generator(3).uniform(0.6, 1.4, (3, 5))
    for n, pixels in enumerate(x.astype(np.float64)):
        b, c, s = factors[:, n]
        y = np.clip(pixels * b, 0, 1)
        grey = np.tensordot([0.299, 0.587, 0.114], y, 1)
        y = np.clip(grey.mean() + c * (y - grey.mean()), 0, 1)
        grey = np.tensordot([0.299, 0.587, 0.114], y, 1)
        y = np.clip(grey + s * (y - grey), 0, 1)
        np.testing.assert_allclose(found[n], y, atol=1e-5)
    still = changed(ColourJitter(0), x.copy(), generator())
    np.testing.assert_allclose(still, x, atol=1e-6)


def test_colour_jitter_of_grey_images():
    x = images(3, 1).astype(np.float32) / 255
    found = changed(ColourJitter(0.4), x.copy(), generator(3))
    factors = generator(3).uniform(0.6, 1.4, (3, 3))
    y = np.clip(x[1] * factors[0, 1], 0, 1)
    np.testing.assert_allclose(found[1], np.clip(y.mean() + factors[1, 1] * (y - y.mean()), 0, 1), atol=1e-5)


def test_lighting_moves_along_the_axes_of_colour():
    np.testing.assert_allclose(EIGENVECTORS.T @ EIGENVECTORS, np.eye(3), atol=1e-3)
    x = images(4).astype(np.float32) / 255
    moved = changed(Lighting(0.1), x.copy(), generator(2)) - x
    alpha = generator(2).normal(0, 0.1, (4, 3))
    for n in range(4):
        wanted = sum(alpha[n, i] * EIGENVALUES[i] * EIGENVECTORS[:, i] for i in range(3))
        np.testing.assert_allclose(moved[n], np.broadcast_to(wanted[:, None, None], (3, 8, 8)), atol=1e-6)
    with pytest.raises(ValueError, match="lighting needs RGB images, but these have 1"):
        changed(Lighting(), x[:, :1], generator())


# ------------------------------------------------------------------------------------------------------------- numbers


def test_cutout_leaves_a_square_of_zeros_that_may_be_cut_off():
    x = np.ones((300, 2, 10, 10), np.float32)
    y = changed(Cutout(4), x.copy(), generator())
    sizes = set()
    for image in y:
        rows, columns = np.nonzero(image[0] == 0)
        h, w = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert h * w == len(rows) == (image == 0).sum() // 2
        sizes.add((int(h), int(w)))
    assert max(sizes) == (4, 4)
    assert min(sizes) == (2, 2)                            # its centre lies inside, so at least half of a side


def test_mixup_is_the_weighted_sum_and_says_with_what():
    x, labels = images(6).astype(np.float32), np.arange(6)
    prepare = data.Preprocessing((8, 8), (0,) * 3, (1 / 255,) * 3)          # numbers 0 … 255
    y, mixed = data.Transform(prepare, "mixup:0.4")(list(images(6)), labels, generator(7))
    assert sorted(mixed.others.tolist()) == list(range(6))
    assert 0 <= mixed.share <= 1
    np.testing.assert_allclose(y, mixed.share * x + (1 - mixed.share) * x[mixed.others], rtol=1e-4, atol=1e-3)
    shares = [Mixup(0.4).draw(6, (8, 8), generator(i))[0] for i in range(3000)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)
    assert np.var(shares) == pytest.approx(1 / (4 * (2 * 0.4 + 1)), rel=0.05)        # of Beta(α, α)


# --------------------------------------------------------------------------------------------------------------- words


def test_words_and_back():
    steps = parse("random-resized:0.2 flip, jitter:0.3 lighting cutout:5 mixup:0.1")
    assert steps == (RandomResizedCrop(0.2), Flip(0.5), ColourJitter(0.3), Lighting(0.1), Cutout(5), Mixup(0.1))
    assert spell(steps) == "random-resized:0.2 flip:0.5 jitter:0.3 lighting:0.1 cutout:5 mixup:0.1"
    assert parse(spell(steps)) == steps
    assert parse("") == parse("none") == ()
    assert spell(()) == "none"
    assert parse("scale-jitter:256:480 pad-crop") == (ScaleJitter(256, 480), PadCrop(4))


@pytest.mark.parametrize(("text", "sentence"), [
    ("flop", "unknown augmentation 'flop': did you mean 'flip'"), ("flip:2", "flip:2 must be at least 0 and at most 1"),
    ("flip:a", "augmentation 'flip:a': after a colon there must be a number, as in 'flip:0.5'"),
    ("flip:0.1:2", r"flip takes at most 1 number\(s\), not 2"), ("cutout:1.5", "augmentation 'cutout:1.5'"),
    ("cutout:0", "cutout:0 must be at least 1"), ("mixup:0", "mixup:0 must be above 0"),
    ("scale-jitter:9:3", "the smaller one first"), ("random-resized:nan", "random-resized:nan must be above 0"),
    ("random-resized scale-jitter", "both choose the part of the picture: keep one of them"),
    ("mixup mixup:0.3", "both mix images"), ("pad-crop:0", "pad-crop:0 must be at least 1 pixel"),
])
def test_words_that_make_no_sense(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse(text)


# ----------------------------------------------------------------------------------------------------------- Transform


def test_a_transform_without_augmentation_is_the_preprocessing():
    prepare = data.Preprocessing((8, 8), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    x = images(5)
    y, mixed = data.Transform(prepare)(list(x), np.arange(5), generator())
    assert mixed is None
    np.testing.assert_array_equal(y, prepare.normalise(x))


def test_colours_come_before_normalisation_and_cutout_after():
    prepare = data.Preprocessing((8, 8), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    x = images(4)
    y, _ = data.Transform(prepare, "cutout:2 jitter:0")(list(x), np.arange(4), generator())
    kept = y != 0
    np.testing.assert_allclose(y[kept], prepare.normalise(x)[kept], atol=1e-5)
    assert 4 * 3 <= (~kept).sum() <= 4 * 3 * 4 + 12


def test_a_part_is_chosen_anew_for_each_picture():
    prepare = data.Preprocessing((6, 6), (0.5,) * 3, (0.5,) * 3)
    same = [np.asarray(noise(40, 40)).transpose(2, 0, 1)] * 4
    y, _ = data.Transform(prepare, "random-resized")(same, np.arange(4), generator())
    assert y.shape == (4, 3, 6, 6)
    assert len({image.tobytes() for image in y}) == 4


def test_draft_is_for_training_alone(tmp_path):
    prepare = data.Preprocessing((6, 6), (0.5,) * 3, (0.5,) * 3)
    assert data.Transform(prepare).draft is False
    assert data.Transform(prepare, "flip").draft is True
    assert data.Transform(prepare, augment.parse("flip"), draft=False).draft is False


EVERYTHING = ("random-resized:0.3 flip pad-crop:2 jitter:0.3 lighting cutout:3 mixup:0.4", "scale-jitter:9:20 jitter")


@pytest.mark.parametrize("words", EVERYTHING)
def test_an_image_does_not_depend_on_who_makes_the_others(words):
    """Bit for bit, for every piece of a batch; a picture that is not needed is not read."""
    prepare = data.Preprocessing((8, 9), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    pictures, labels = [np.asarray(noise(30, 20 + i)).transpose(2, 0, 1) for i in range(7)], np.arange(7)
    transform = data.Transform(prepare, words)
    whole, mixed = transform(pictures, labels, generator(4))
    for rows in (slice(0, 1), slice(0, 3), slice(3, 7), slice(6, 7)):
        needed = {*range(*rows.indices(7)), *(mixed.others[rows].tolist() if mixed else ())}
        some = [picture if i in needed else None for i, picture in enumerate(pictures)]
        part, mixed_again = transform(some, labels, generator(4), rows)
        np.testing.assert_array_equal(part, whole[rows])
        assert mixed is None or mixed_again.others.tolist() == mixed.others.tolist()


def test_mixing_comes_last_whatever_the_order_of_the_words():
    prepare = data.Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3)
    one, other = (data.Transform(prepare, words)(list(images(5)), np.arange(5), generator(1))[0]
                  for words in ("mixup cutout:3", "cutout:3 mixup"))
    np.testing.assert_array_equal(one, other)
