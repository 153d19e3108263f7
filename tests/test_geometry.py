"""Where windows stand, and that the convolution built on them is linear, shift-equivariant and what its loops say."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicnn import Tensor, reference
from minicnn.cpu.conv.im2col import col2im, im2col
from minicnn.geometry import Axis, Conv2dGeometry, Pool2dGeometry
from minicnn.ops.conv import conv2d
from minicnn.ops.pool import max_pool2d


def starts_by_walking(size, kernel, stride, pad, dilation, ceil):
    """The first pixel of each window, found by sliding one along: no formula."""
    extent, end = dilation * (kernel - 1) + 1, size + pad
    starts, start = [], -pad
    while start + extent <= end:
        starts.append(start)
        start += stride
    # with ceil one more window may hang over the edge: if the last one left a place uncovered, and it starts on a pixel
    if ceil and starts[-1] + extent < end and start < size:
        starts.append(start)
    return starts


def test_out_counts_the_windows_that_fit():
    counted = 0
    choices = itertools.product(range(1, 41), range(1, 8), range(1, 5), range(4), range(1, 4), (False, True))
    for size, kernel, stride, pad, dilation, ceil in choices:
        extent = dilation * (kernel - 1) + 1
        if extent > size + 2 * pad or (ceil and 2 * pad > extent):  # refused by the geometries, tested elsewhere
            continue
        axis = Axis(size, kernel, stride, pad, pad, dilation, ceil)
        starts = starts_by_walking(size, kernel, stride, pad, dilation, ceil)
        assert axis.out == len(starts), axis
        assert axis.extent == extent
        assert axis.padded >= size + 2 * pad
        assert axis.padded >= starts[-1] + pad + extent, axis
        counted += 1
    assert counted > 19_000


def test_asymmetric_padding_counts_too():
    for size, kernel, stride, before, after in itertools.product(
        range(1, 12), range(1, 6), range(1, 4), range(4), range(4)
    ):
        if kernel <= size + before + after:
            fitting = sum(s + kernel <= size + after for s in range(-before, size + after, stride))
            assert Axis(size, kernel, stride, before, after).out == fitting


def test_tap_cuts_what_each_window_reads():
    for size, kernel, stride, pad, dilation, ceil in itertools.product(
        range(1, 14), range(1, 5), range(1, 4), range(3), range(1, 4), (False, True)
    ):
        extent = dilation * (kernel - 1) + 1
        if extent > size + 2 * pad or (ceil and 2 * pad > extent):
            continue
        axis = Axis(size, kernel, stride, pad, pad, dilation, ceil)
        pixels = np.arange(axis.padded) - pad  # the pixel that stands at each padded place
        for p in range(kernel):
            expected = [s + p * dilation for s in starts_by_walking(size, kernel, stride, pad, dilation, ceil)]
            assert pixels[axis.tap(p)].tolist() == expected, (axis, p)


@pytest.mark.parametrize("include_pad", [False, True])
def test_counts_of_an_average(include_pad):
    counted = 0
    choices = itertools.product(range(1, 12), range(1, 6), range(1, 4), range(4), range(3), (1, 2, 3), (False, True))
    for size, kernel, stride, before, after, dilation, ceil in choices:
        axis = Axis(size, kernel, stride, before, after, dilation, ceil)
        if axis.extent > size + before + after or axis.without_pixels() is not None:
            continue
        low, high = (-before, size + after) if include_pad else (0, size)
        starts = range(-before, axis.out * stride - before, stride)
        expected = [sum(low <= s + p * dilation < high for p in range(kernel)) for s in starts]
        assert axis.counts(include_pad) == expected, axis
        assert min(expected) > 0
        counted += 1
    assert counted > 6_000


def test_the_first_window_that_reads_padding_alone():
    found = 0
    choices = itertools.product(range(1, 7), range(1, 5), range(1, 4), range(7), range(7), range(1, 5), (False, True))
    for size, kernel, stride, before, after, dilation, ceil in choices:
        axis = Axis(size, kernel, stride, before, after, dilation, ceil)
        blind = [i for i in range(axis.out)
                 if not any(0 <= i * stride + p * dilation - before < size for p in range(kernel))]  # fmt: skip
        assert axis.without_pixels() == (blind[0] if blind else None), axis
        found += bool(blind)
    assert found > 10_000


# ----------------------------------------------------------------------------------------------------- drawn geometries


@st.composite
def convolutions(draw, most=3, groups=True):
    """(x shape, w shape, hyper-parameters) of a convolution that fits, asymmetric in all that can be."""

    def two(low, high):
        return draw(st.tuples(st.integers(low, high), st.integers(low, high)))

    G = draw(st.integers(1, 3)) if groups else 1
    C, O = G * draw(st.integers(1, most)), G * draw(st.integers(1, most))
    K, D = two(1, 4), two(1, 3)
    S = two(1, 4)
    P = draw(st.one_of(st.just("same"), st.just("same_lower"), st.tuples(st.integers(0, 3), st.integers(0, 3)),
                       st.just((two(0, 4), two(0, 4)))))  # fmt: skip
    same = isinstance(P, str)
    padded = (0, 0) if same else [2 * p if isinstance(p, int) else sum(p) for p in P]
    least = [1 if same else max(1, d * (k - 1) + 1 - p) for k, d, p in zip(K, D, padded)]
    H, W = (low + extra for low, extra in zip(least, two(0, 5)))
    N = draw(st.integers(0, 3))
    return (N, C, H, W), (O, C // G, *K), {"stride": S, "padding": P, "dilation": D, "groups": G}


def draws(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s) for s in shapes]


def assert_same_number(a, b, scale):
    assert abs(a - b) <= 1e-12 * max(scale, 1.0)


def assert_near(got, expected, tolerance=1e-12):
    assert got.shape == expected.shape
    assert abs(got - expected).max(initial=0) <= tolerance * max(abs(expected).max(initial=0), 1)


@given(convolutions(), st.integers(0, 2**32))
@settings(max_examples=600)
def test_col2im_is_the_adjoint_of_im2col(shapes, seed):
    """⟨im2col x, c⟩ = ⟨x, col2im c⟩ for every x and c: what makes col2im the gradient of im2col."""
    x_shape, w_shape, hyper = shapes
    g = Conv2dGeometry.of(x_shape, w_shape, **hyper)
    x, c = draws(seed, x_shape, (g.N, g.C, g.KH, g.KW, g.OH, g.OW))
    cols, image = im2col(x, g), col2im(c, g)
    assert cols.shape == c.shape
    assert image.shape == x.shape
    assert_same_number((cols * c).sum(), (x * image).sum(), abs(cols * c).sum())


@given(convolutions(groups=False), st.integers(0, 2**32))
@settings(max_examples=100)
def test_im2col_copies_the_pixels_of_the_definition(shapes, seed):
    x_shape, w_shape, hyper = shapes
    g = Conv2dGeometry.of(x_shape, w_shape, **hyper)
    (x,) = draws(seed, x_shape)
    cols = im2col(x, g)
    for p, q, i, j in itertools.product(range(g.KH), range(g.KW), range(g.OH), range(g.OW)):
        h = i * g.vertical.stride + p * g.vertical.dilation - g.vertical.before
        v = j * g.horizontal.stride + q * g.horizontal.dilation - g.horizontal.before
        inside = 0 <= h < g.H and 0 <= v < g.W
        np.testing.assert_array_equal(cols[:, :, p, q, i, j], x[:, :, h, v] if inside else 0)


@given(convolutions(most=2), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=400)
def test_conv2d_is_the_definition(shapes, biased, seed):
    x_shape, w_shape, hyper = shapes
    x, w, b = draws(seed, x_shape, w_shape, w_shape[:1])
    b = b if biased else None
    y = conv2d(x, w, b, **hyper).numpy()
    assert_near(y, reference.conv2d(x, w, b, **hyper))
    if isinstance(hyper["padding"], str):
        assert y.shape[2:] == tuple(-(-n // s) for n, s in zip(x.shape[2:], hyper["stride"]))


@given(convolutions(), st.integers(0, 2**32))
@settings(max_examples=400)
def test_gradients_are_the_adjoints(shapes, seed):
    """conv2d is linear in x and w, so ⟨conv(u, w), dy⟩ = ⟨u, dx⟩ and ⟨conv(x, v), dy⟩ = ⟨v, dw⟩ for every u and v."""
    x_shape, w_shape, hyper = shapes
    x, w, u, v = draws(seed, x_shape, w_shape, x_shape, w_shape)
    tx, tw = Tensor(x, True), Tensor(w, True)
    y = conv2d(tx, tw, **hyper)
    (dy,) = draws(seed + 1, y.shape)
    y.backward(dy)
    moved_x, moved_w = conv2d(u, w, **hyper).numpy(), conv2d(x, v, **hyper).numpy()
    assert_same_number((moved_x * dy).sum(), (u * tx.grad).sum(), abs(moved_x * dy).sum())
    assert_same_number((moved_w * dy).sum(), (v * tw.grad).sum(), abs(moved_w * dy).sum())


@given(convolutions(), st.integers(0, 2**32))
@settings(max_examples=100)
def test_conv2d_is_linear(shapes, seed):
    x_shape, w_shape, hyper = shapes
    x, x2, w, w2 = draws(seed, x_shape, x_shape, w_shape, w_shape)

    def y(x, w):
        return conv2d(x, w, **hyper).numpy()

    assert_near(y(2 * x - 3 * x2, w), 2 * y(x, w) - 3 * y(x2, w))
    assert_near(y(x, 2 * w - 3 * w2), 2 * y(x, w) - 3 * y(x, w2))


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(0, 2), st.integers(1, 2), st.integers(0, 2**32)
)
@settings(max_examples=60)
def test_a_shifted_image_gives_a_shifted_map(stride_down, stride_across, down, across, dilation, seed):
    """Shift an image that dark margins surround by k strides, and the map shifts by k."""
    motif, w = draws(seed, (2, 3, 4, 5), (2, 3, 3, 2))
    S = (stride_down, stride_across)

    def at(top, left):
        x = np.zeros((2, 3, 30, 30))
        x[:, :, top : top + 4, left : left + 5] = motif
        return conv2d(x, w, stride=S, dilation=dilation, padding=1).numpy()

    here, there = at(9, 9), at(9 + down * S[0], 9 + across * S[1])
    assert_near(there, np.roll(here, (down, across), (2, 3)))
    assert abs(here).max() > 0


@given(convolutions(), st.integers(0, 2**32))
@settings(max_examples=100)
def test_groups_are_a_block_diagonal_convolution(shapes, seed):
    x_shape, w_shape, hyper = shapes
    x, w, b = draws(seed, x_shape, w_shape, w_shape[:1])
    G, O, Cg = hyper["groups"], w_shape[0], w_shape[1]
    dense = np.zeros((O, x_shape[1], *w_shape[2:]))
    for o in range(O):
        first = o // (O // G) * Cg
        dense[o, first : first + Cg] = w[o]
    tw, tdense = Tensor(w, True), Tensor(dense, True)
    grouped, whole = conv2d(x, tw, b, **hyper), conv2d(x, tdense, b, **{**hyper, "groups": 1})
    assert_near(grouped.numpy(), whole.numpy())
    (dy,) = draws(seed + 1, grouped.shape)
    grouped.backward(dy)
    whole.backward(dy)
    for o in range(O):  # dw: the blocks on the diagonal
        first = o // (O // G) * Cg
        assert_near(tw.grad[o], tdense.grad[o, first : first + Cg])


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize(
    "hyper", [{}, {"stride": (2, 1), "padding": (1, 2)}, {"padding": "same", "dilation": 2}], ids=str
)
def test_depthwise_filters_each_channel_alone(rng, multiplier, hyper):
    x, w = rng.standard_normal((2, 3, 7, 6)), rng.standard_normal((3 * multiplier, 1, 3, 2))
    y = conv2d(x, w, groups=3, **hyper).numpy()
    for o in range(3 * multiplier):
        c = o // multiplier
        alone = reference.conv2d(x[:, c : c + 1], w[o : o + 1], **hyper)
        assert_near(y[:, o : o + 1], alone)


@pytest.mark.parametrize("N", [0, 1])
def test_no_image_and_one_image(rng, N):
    x, w, b = (
        Tensor(rng.standard_normal((N, 2, 5, 4)), True),
        Tensor(rng.standard_normal((3, 2, 2, 3)), True),
        Tensor(np.ones(3), True),
    )
    y = conv2d(x, w, b, padding=1)
    assert y.shape == (N, 3, 6, 4)
    y.backward(np.ones(y.shape))
    assert x.grad.shape == x.shape
    np.testing.assert_array_equal(b.grad, [24.0 * N] * 3)
    assert abs(w.grad).max() == 0 if N == 0 else abs(w.grad).max() > 0


def test_a_delta_filter_copies_and_is_not_flipped(rng):
    x = rng.standard_normal((2, 1, 6, 5))
    w = np.zeros((1, 1, 3, 3))
    w[0, 0, 0, 2] = 1  # y[i, j] = x[i + 0 − 1, j + 2 − 1]
    y = conv2d(x, w, padding=1).numpy()
    np.testing.assert_array_equal(y[:, :, 1:, :-1], x[:, :, :-1, 1:])
    assert (y[:, :, 0] == 0).all()
    assert (y[:, :, :, -1] == 0).all()


def test_pooling_windows_follow_the_kernel_by_default():
    g = Pool2dGeometry.of((1, 2, 8, 9), (2, 3))
    assert (g.OH, g.OW) == (4, 3)
    assert (g.vertical.stride, g.horizontal.stride) == (2, 3)
    # AlexNet's overlapping pool and GoogLeNet's with ceil: 55 → 27 and 112 → 56, as the papers' tables have it
    assert Pool2dGeometry.of((1, 96, 55, 55), 3, 2).OH == 27
    assert Pool2dGeometry.of((1, 64, 112, 112), 3, 2, ceil_mode=True).OH == 56
    assert Pool2dGeometry.of((1, 64, 112, 112), 3, 2, padding=1).OH == 56


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "out"),
    [
        (224, 7, 2, 3, 112),
        (227, 11, 4, 0, 55),
        (224, 11, 4, 2, 55),
        (32, 5, 1, 0, 28),
        (299, 3, 2, 0, 149),
        (14, 3, 1, 1, 14),
    ],
)
def test_sizes_printed_in_papers(size, kernel, stride, padding, out):
    assert out == Conv2dGeometry.of((1, 3, size, size), (8, 3, kernel, kernel), stride, padding).OH


def test_with_ceil_a_window_may_be_larger_than_the_image(rng):
    """PyTorch's rule: (2 − 3)/2 rounds up to 0, so there is one window, which hangs over the edge."""
    x = rng.standard_normal((1, 2, 2, 2))
    y = max_pool2d(Tensor(x), kernel_size=3, stride=2, ceil_mode=True).numpy()
    np.testing.assert_array_equal(y, x.max((2, 3), keepdims=True))
    with pytest.raises(ValueError, match=r"^the window's height \(=3\) is larger than the padded input's \(=2 ="):
        max_pool2d(Tensor(x), kernel_size=3, stride=2)
    with pytest.raises(ValueError, match=r"^the window's height \(=5\) is larger"):
        max_pool2d(Tensor(x), kernel_size=5, stride=2, ceil_mode=True)


def test_a_remembered_geometry_hides_no_wrong_type():
    shapes = (1, 2, 5, 5), (3, 2, 3, 3)
    known = Conv2dGeometry.of(*shapes, 1, (1, 1))
    assert Conv2dGeometry.of(*shapes, 1, (1, 1)) is known, "a layer asks for the same one in every step"
    assert Conv2dGeometry.of(*shapes, [1, 1], [1, 1]) == known
    for stride, padding in ((True, (1, 1)), (1.0, (1, 1)), (1, (1, True)), (1, (1.0, 1))):
        with pytest.raises(TypeError, match=r"must be an integer, not (True|1\.0)"):
            Conv2dGeometry.of(*shapes, stride, padding)
    assert Pool2dGeometry.of((1, 2, 5, 5), 2) is Pool2dGeometry.of((1, 2, 5, 5), 2)
    with pytest.raises(TypeError, match="ceil_mode must be True or False"):
        Pool2dGeometry.of((1, 2, 5, 5), 2, ceil_mode=0.0)
    assert hash(known) == hash(Conv2dGeometry.of(*shapes, [1, 1], [1, 1]))
