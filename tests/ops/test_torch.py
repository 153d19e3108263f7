"""The same numbers as PyTorch, values and gradients, in float64 to twelve digits, over thousands of drawn geometries.

Each family is drawn 500 times or more, in batches whose numbers stand in the test's name. The difference allowed is
1e-12 of the largest magnitude of the array compared: the two sum in different orders, so an element that cancels to
nearly nothing can only be as exact as its terms.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional
torch.set_num_threads(1)  # the arrays are tiny: a second thread only waits

from minicnn import Tensor, ops, reference  # noqa: E402

BATCH = 50


def batches(family, draws):
    """Parametrise over batches of BATCH draws; ids such as conv2d-draws-50-to-99."""
    assert draws >= 500
    assert draws % BATCH == 0
    firsts = range(0, draws, BATCH)
    return pytest.mark.parametrize("first", firsts, ids=[f"{family}-draws-{f}-to-{f + BATCH - 1}" for f in firsts])


def each(first, salt):
    """The generators of one batch: draw number n is the same whatever else runs."""
    for n in range(first, first + BATCH):
        yield np.random.default_rng([salt, n])


def near(got, expected, what, tolerance=1e-12, floor=0.0):
    expected = expected.detach().numpy() if isinstance(expected, torch.Tensor) else np.asarray(expected)
    got = np.asarray(got)
    assert got.dtype == expected.dtype == np.float64
    assert got.shape == expected.shape, what
    worst, scale = abs(got - expected).max(initial=0), abs(expected).max(initial=floor)
    assert worst <= tolerance * scale, f"{what}: off by {worst:.2e}, largest {scale:.2e}"
    assert np.isfinite(got).all(), what


def compare(rng, ours, theirs, arrays, what, constants=(), tolerance=1e-12, cancels=False):
    """Value and all gradients of ours(*arrays) against theirs(*arrays), back from a random dy.

    tolerance: that of the gradients.
    cancels: the gradient is a difference of terms as large as dy, so it is exact to dy's digits.
    """
    mine = [a if a is None or i in constants else Tensor(a, True) for i, a in enumerate(arrays)]
    others = [a if a is None else torch.tensor(a, requires_grad=i not in constants) for i, a in enumerate(arrays)]
    y, expected = ours(*mine), theirs(*others)
    near(y.data, expected, what)
    dy = rng.standard_normal(y.shape)
    y.backward(dy)
    expected.backward(torch.tensor(dy))
    for i, (m, o) in enumerate(zip(mine, others)):
        if isinstance(m, Tensor):
            floor = abs(dy).max(initial=0.0) if cancels else 0.0
            near(m.grad, o.grad, f"gradient of argument {i} of {what}", tolerance, floor)


def compare_op(rng, name, arrays, hyper=None, **how):
    """The same for an op that PyTorch has under the same name, with the same hyper-parameters."""
    hyper = hyper or {}
    what = f"{name} {[None if a is None else a.shape for a in arrays]} {hyper}"
    compare(rng, lambda *a: getattr(ops, name)(*a, **hyper), lambda *a: getattr(F, name)(*a, **hyper), arrays, what,
            **how)  # fmt: skip


def spaced(rng, *shape):
    """Shuffled, evenly spaced values around 0: no ties, and none at 0."""
    n = int(np.prod(shape))
    return (rng.permutation(n) - n / 2 + 0.25).reshape(shape) * (4 / n)


def two(rng, low, high):
    return tuple(int(v) for v in rng.integers(low, high + 1, 2))


def int_(rng, low, high):
    return int(rng.integers(low, high + 1))


# --------------------------------------------------------------------------------------------------------- convolution


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")  # it copies; so what
@batches("conv2d", 600)
def test_conv2d(first):
    for rng in each(first, 1):
        G = int_(rng, 1, 3)
        C, O, N = G * int_(rng, 1, 4), G * int_(rng, 1, 4), int_(rng, 1, 3)
        K, D = two(rng, 1, 5), two(rng, 1, 3)
        same = rng.random() < 0.2
        S, P = ((1, 1), "same") if same else (two(rng, 1, 4), two(rng, 0, 4))
        H, W = (
            max(1, d * (k - 1) + 1 - 2 * (0 if same else p)) + int_(rng, 0, 6)
            for k, d, p in zip(K, D, (0, 0) if same else P)
        )
        x, w = rng.standard_normal((N, C, H, W)), rng.standard_normal((O, C // G, *K))
        b = rng.standard_normal(O) if rng.random() < 0.5 else None
        hyper = {"stride": S, "padding": P, "dilation": D, "groups": G}
        compare_op(rng, "conv2d", [x, w, b], hyper)


def border(rng, most=4):
    """((top, bottom), (left, right)), and the same as F.pad has it."""
    top, bottom, left, right = (int_(rng, 0, most) for _ in range(4))
    return ((top, bottom), (left, right)), (left, right, top, bottom)


@batches("conv2d-each-side", 500)
def test_conv2d_padded_on_each_side_and_turned(first):
    """Through F.pad, and with the filters turned by torch.flip."""
    for rng in each(first, 101):
        G, K, D, S = int_(rng, 1, 3), two(rng, 1, 4), two(rng, 1, 3), two(rng, 1, 4)
        P, theirs = border(rng)
        H, W = (max(1, d * (k - 1) + 1 - sum(p)) + int_(rng, 0, 6) for k, d, p in zip(K, D, P))
        x, w = rng.standard_normal((2, 2 * G, H, W)), rng.standard_normal((3 * G, 2, *K))
        b, flip = rng.standard_normal(3 * G), bool(rng.random() < 0.5)
        how = {"stride": S, "dilation": D, "groups": G}
        compare(rng, lambda x, w, b: ops.conv2d(x, w, b, padding=P, flip=flip, **how),
                lambda x, w, b: F.conv2d(F.pad(x, theirs), w.flip(2, 3) if flip else w, b, **how), [x, w, b],
                f"conv2d {x.shape} {w.shape} {P} {how} {flip}")  # fmt: skip


@batches("conv1d", 500)
def test_conv1d(first):
    for rng in each(first, 102):
        G, K, D, S = int_(rng, 1, 3), int_(rng, 1, 5), int_(rng, 1, 3), int_(rng, 1, 4)
        left, right = two(rng, 0, 4)
        L = max(1, D * (K - 1) + 1 - left - right) + int_(rng, 0, 9)
        x, w = rng.standard_normal((2, 2 * G, L)), rng.standard_normal((3 * G, 2, K))
        b, how = rng.standard_normal(3 * G), {"stride": S, "dilation": D, "groups": G}
        compare(rng, lambda x, w, b: ops.conv1d(x, w, b, padding=(left, right), **how),
                lambda x, w, b: F.conv1d(F.pad(x, (left, right)), w, b, **how), [x, w, b],
                f"conv1d {x.shape} {w.shape} {left} {right} {how}")  # fmt: skip


@batches("conv_transpose2d", 500)
def test_conv_transpose2d(first):
    for rng in each(first, 110):
        G, K, S, D = int_(rng, 1, 3), two(rng, 1, 4), two(rng, 1, 4), two(rng, 1, 3)
        more = tuple(int_(rng, 0, s - 1) for s in S)
        size = two(rng, 1, 6)
        P = tuple(int_(rng, 0, ((n - 1) * s + d * (k - 1) + m) // 2) for n, s, d, k, m in zip(size, S, D, K, more))
        x, w = rng.standard_normal((2, 2 * G, *size)), rng.standard_normal((2 * G, 3, *K))
        b = rng.standard_normal(3 * G) if rng.random() < 0.5 else None
        compare_op(rng, "conv_transpose2d", [x, w, b], {"stride": S, "padding": P, "output_padding": more, "groups": G,
                                                        "dilation": D})  # fmt: skip


@batches("interpolate", 500)
def test_interpolate(first):
    """To a size, and by a factor, which PyTorch rounds down as well.

    No factors such as 2.25, of 3 pixels: where the size comes out twice as large, PyTorch reads as for the factor 2.
    """
    for rng in each(first, 111):
        x = rng.standard_normal((2, 3, *two(rng, 1, 9)))
        mode = str(rng.choice(["nearest", "nearest-exact", "bilinear"]))
        corners = mode == "bilinear" and bool(rng.random() < 0.5)
        how = {"size": two(rng, 1, 12)} if rng.random() < 0.6 else {
            "scale_factor": tuple(float(s) for s in rng.choice([1.0, 2.0, 3.0, 1.5, 2.5, 4.0], 2))}
        theirs = {"mode": mode, **how, **({"align_corners": corners} if mode == "bilinear" else {})}
        compare(rng, lambda t: ops.interpolate(t, mode=mode, align_corners=corners, **how),
                lambda t: F.interpolate(t, **theirs), [x], f"interpolate {x.shape} {theirs}")  # fmt: skip


@batches("pixel_shuffle", 500)
def test_pixel_shuffle(first):
    for rng in each(first, 112):
        r, (H, W) = int_(rng, 1, 4), two(rng, 1, 5)
        x, wide = rng.standard_normal((2, 3 * r * r, H, W)), rng.standard_normal((2, 3, H * r, W * r))
        compare(rng, lambda t: ops.pixel_shuffle(t, upscale_factor=r), lambda t: F.pixel_shuffle(t, r), [x],
                f"pixel_shuffle {x.shape} {r}")  # fmt: skip
        compare(rng, lambda t: ops.pixel_unshuffle(t, downscale_factor=r), lambda t: F.pixel_unshuffle(t, r), [wide],
                f"pixel_unshuffle {wide.shape} {r}")  # fmt: skip


@batches("pad", 500)
def test_pad(first):
    for rng in each(first, 103):
        mode = str(rng.choice(["constant", "reflect", "replicate"]))
        x = rng.standard_normal((2, 3, *two(rng, 5, 8)))
        P, theirs = border(rng)
        more = {"value": float(rng.standard_normal())} if mode == "constant" else {}
        compare(rng, lambda x: ops.pad(x, padding=P, mode=mode, **more),
                lambda x: F.pad(x, theirs, mode=mode, **more), [x], f"pad {x.shape} {P} {mode}")  # fmt: skip


@batches("linear", 500)
def test_linear(first):
    for rng in each(first, 2):
        N, I, O = rng.integers(1, 9, 3)
        b = rng.standard_normal(O) if rng.random() < 0.5 else None
        compare_op(rng, "linear", [rng.standard_normal((N, I)), rng.standard_normal((O, I)), b])


# ------------------------------------------------------------------------------------------------------------- pooling


def pooling(rng, dilated=False):
    """An input without ties and a window that PyTorch accepts."""
    K, D = two(rng, 1, 4), two(rng, 1, 3) if dilated else (1, 1)
    P = tuple(int_(rng, 0, k // 2) for k in K)  # PyTorch: at most half the kernel
    S = two(rng, 1, 4)
    H, W = (max(1, d * (k - 1) + 1 - 2 * p) + int_(rng, 0, 7) for k, d, p in zip(K, D, P))
    hyper = {"kernel_size": K, "stride": S, "padding": P, "ceil_mode": bool(rng.random() < 0.5)}
    x, hyper = spaced(rng, int_(rng, 1, 3), int_(rng, 1, 3), H, W), hyper | ({"dilation": D} if dilated else {})
    if dilated and F.max_pool2d(torch.tensor(x), **hyper).isinf().any():
        return pooling(rng, dilated)  # wide taps that hit nothing but padding: −∞
    return x, hyper


@batches("max_pool2d", 500)
def test_max_pool2d(first):
    for rng in each(first, 3):
        x, hyper = pooling(rng, dilated=True)
        compare_op(rng, "max_pool2d", [x], hyper)


@batches("max_pool2d-ties", 500)
def test_max_pool2d_breaks_ties_as_pytorch(first):
    for rng in each(first, 4):
        x, hyper = pooling(rng, dilated=True)
        x = rng.integers(-1, 2, x.shape).astype(np.float64)
        compare_op(rng, "max_pool2d", [x], hyper)


@batches("avg_pool2d", 500)
def test_avg_pool2d(first):
    for rng in each(first, 5):
        x, hyper = pooling(rng)
        hyper["count_include_pad"] = bool(rng.random() < 0.5)
        compare_op(rng, "avg_pool2d", [x], hyper)


@batches("lp_pool2d", 500)
def test_lp_pool2d(first):
    """norm_type 2 and no ceil_mode: for the others PyTorch's formula is another one, as lp_pool2d's docstring says."""
    for rng in each(first, 6):
        x, hyper = pooling(rng)
        hyper = {"norm_type": 2.0, "kernel_size": hyper["kernel_size"], "stride": hyper["stride"]}
        x = spaced(rng, *x.shape[:2], x.shape[2] + 4, x.shape[3] + 4)  # no padding here: make room for the kernel
        compare_op(rng, "lp_pool2d", [x], hyper)


def padded_pooling(rng):
    """Like `pooling`, but each side is padded by its own, up to whole windows: (x, window, padding, F.pad's)."""
    K, S, D = two(rng, 1, 4), two(rng, 1, 4), two(rng, 1, 2)
    P, theirs = border(rng)
    H, W = (max(1, d * (k - 1) + 1 - sum(p)) + int_(rng, 0, 7) for k, d, p in zip(K, D, P))
    x = spaced(rng, 2, 3, H, W)
    seen = F.max_pool2d(F.pad(torch.ones_like(torch.tensor(x)), theirs), K, S, 0, D)
    return (x, {"kernel_size": K, "stride": S, "dilation": D}, P, theirs) if seen.all() else padded_pooling(rng)


@batches("max_pool2d-each-side", 500)
def test_max_pool2d_padded_on_each_side(first):
    for rng in each(first, 104):
        x, window, P, theirs = padded_pooling(rng)
        compare(rng, lambda t: ops.max_pool2d(t, padding=P, **window),
                lambda t: F.max_pool2d(F.pad(t, theirs, value=-np.inf), **window), [x],
                f"max_pool2d {x.shape} {window} {P}")  # fmt: skip


def test_a_nan_wins_as_in_pytorch():
    rng = np.random.default_rng(105)
    for _ in range(100):
        x, hyper = pooling(rng)
        x[rng.random(x.shape) < 0.3] = np.nan
        mine, other = Tensor(x, True), torch.tensor(x, requires_grad=True)
        y, expected = ops.max_pool2d(mine, **hyper), F.max_pool2d(other, **hyper)
        np.testing.assert_array_equal(y.numpy(), expected.detach().numpy())
        dy = rng.integers(1, 9, y.shape).astype(float)
        y.backward(dy)
        expected.backward(torch.tensor(dy))
        np.testing.assert_array_equal(mine.grad, other.grad.numpy())


@batches("avg_pool2d-each-side", 500)
def test_avg_pool2d_padded_on_each_side_and_dilated(first):
    """PyTorch has no dilation there: a sum of windows is a convolution with ones."""
    for rng in each(first, 106):
        x, window, P, theirs = padded_pooling(rng)
        include = bool(rng.random() < 0.5)
        ones = torch.ones((3, 1, *window["kernel_size"]), dtype=torch.float64)

        def sums(t):
            return F.conv2d(t, ones, stride=window["stride"], dilation=window["dilation"], groups=3)

        counts = sums(F.pad(torch.ones((1, 3, *x.shape[2:]), dtype=torch.float64), theirs, value=float(include)))
        compare(rng, lambda t: ops.avg_pool2d(t, padding=P, count_include_pad=include, **window),
                lambda t: sums(F.pad(t, theirs)) / counts, [x], f"avg_pool2d {x.shape} {window} {P} {include}")
        compare(rng, lambda t: ops.lp_pool2d(t, padding=P, **window), lambda t: sums(F.pad(t * t, theirs)).sqrt(), [x],
                f"lp_pool2d {x.shape} {window} {P}")  # fmt: skip


@batches("adaptive_avg_pool2d", 500)
def test_adaptive_avg_pool2d(first):
    for rng in each(first, 7):
        x, out = rng.standard_normal((2, 3, *two(rng, 1, 12))), two(rng, 1, 9)
        compare(rng, lambda t: ops.adaptive_avg_pool2d(t, output_size=out), lambda t: F.adaptive_avg_pool2d(t, out),
                [x], f"adaptive_avg_pool2d {x.shape} {out}")  # fmt: skip


@batches("adaptive_max_pool2d", 500)
def test_adaptive_max_pool2d(first):
    for rng in each(first, 8):
        x, out = spaced(rng, 2, 3, *two(rng, 1, 12)), two(rng, 1, 9)
        compare(rng, lambda t: ops.adaptive_max_pool2d(t, output_size=out), lambda t: F.adaptive_max_pool2d(t, out),
                [x], f"adaptive_max_pool2d {x.shape} {out}")  # fmt: skip


@pytest.mark.parametrize("seed", range(10))
def test_global_pools(seed):
    rng = np.random.default_rng(seed)
    x = spaced(rng, 2, 3, *two(rng, 1, 8))
    compare(rng, ops.global_avg_pool2d, lambda t: F.adaptive_avg_pool2d(t, 1)[:, :, 0, 0], [x], "global_avg_pool2d")
    compare(rng, ops.global_max_pool2d, lambda t: F.adaptive_max_pool2d(t, 1)[:, :, 0, 0], [x], "global_max_pool2d")


# ------------------------------------------------------------------------------------------------------- normalisation


@batches("local_response_norm", 500)
def test_local_response_norm(first):
    for rng in each(first, 9):
        x = rng.standard_normal((int_(rng, 1, 3), int_(rng, 1, 9), *rng.integers(1, 5, int_(rng, 1, 3))))
        hyper = {
            "size": int_(rng, 1, 7),
            "alpha": rng.uniform(0.1, 3),
            "beta": rng.uniform(0.3, 1.2),
            "k": rng.uniform(0.5, 2),
        }
        compare_op(rng, "local_response_norm", [x], hyper)


def normalised(rng):
    """At least 8 values a channel, and γ and β or neither. (With 2 values x̂ is ±1, and dx cancels to nothing.)"""
    C = int_(rng, 1, 5)
    x = (
        rng.standard_normal((int_(rng, 4, 6), C, *rng.integers(2, 5, int_(rng, 1, 3)))) * rng.uniform(0.5, 3)
        + rng.normal()
    )
    affine = rng.random() < 0.7
    return x, *((rng.standard_normal(C) if affine else None) for _ in range(2)), float(rng.choice([1e-5, 1e-3, 0.1]))


@batches("norms-in-an-image", 500)
def test_layer_group_and_instance_norm(first):
    """Where few values are normalised, dx nearly cancels. PyTorch refuses γ without β: it gets ones and zeros."""
    def theirs(norm, size):
        ones = torch.ones(size, dtype=torch.float64)
        return lambda x, g, b: norm(x, ones if g is None else g, 0 * ones if b is None else b)

    for rng in each(first, 117):
        x, G = rng.standard_normal((int_(rng, 1, 3), 6, *rng.integers(2, 5, int_(rng, 1, 3)))), int(rng.integers(1, 4))
        x, eps = x * rng.uniform(0.5, 3) + rng.normal(), float(rng.choice([1e-5, 1e-3, 0.1]))
        shape = x.shape[-int_(rng, 1, x.ndim - 1) :]
        for what, size, ours, norm in (
            ("group_norm", 6, lambda *a: ops.group_norm(*a, num_groups=G, eps=eps),
             lambda x, g, b: F.group_norm(x, G, g, b, eps)),
            ("instance_norm", 6, lambda *a: ops.instance_norm(*a, eps=eps),
             lambda x, g, b: F.instance_norm(x, weight=g, bias=b, eps=eps)),
            ("layer_norm", shape, lambda *a: ops.layer_norm(*a, normalized_shape=shape, eps=eps),
             lambda x, g, b: F.layer_norm(x, shape, g, b, eps)),
        ):  # fmt: skip
            gamma, beta = (rng.standard_normal(size) if rng.random() < 0.7 else None for _ in range(2))
            compare(rng, ours, theirs(norm, size), [x, gamma, beta], f"{what} {x.shape} {size} {G} {eps}",
                    tolerance=1e-11, cancels=True)  # fmt: skip


@batches("batch_norm", 500)
def test_batch_norm(first):
    for rng in each(first, 10):
        x, gamma, beta, eps = normalised(rng)
        compare(rng, lambda *a: ops.batch_norm(*a, eps=eps),
                lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True, eps=eps), [x, gamma, beta],
                f"batch_norm {x.shape} {eps}")  # fmt: skip


@batches("batch_norm_inference", 500)
def test_batch_norm_inference(first):
    """The running statistics are buffers in PyTorch, without a gradient; ours for them have finite differences."""
    for rng in each(first, 11):
        x, gamma, beta, eps = normalised(rng)
        mean, var = rng.standard_normal(x.shape[1]), rng.uniform(0.5, 2, x.shape[1])
        compare(rng, lambda *a: ops.batch_norm_inference(*a, eps=eps),
                lambda x, g, b, m, v: F.batch_norm(x, m, v, g, b, training=False, eps=eps),
                [x, gamma, beta, mean, var], f"batch_norm_inference {x.shape} {eps}", constants=(3, 4))  # fmt: skip


# ------------------------------------------------------------------------------------------------------ softmax, losses


@batches("cross_entropy", 500)
def test_cross_entropy(first):
    for rng in each(first, 12):
        N, K = int_(rng, 1, 9), int_(rng, 2, 12)
        labels, smoothing = rng.integers(0, K, N), float(rng.choice([0.0, 0.1, rng.uniform(0, 0.9)]))
        logits = rng.standard_normal((N, K)) * rng.choice([1, 10])
        compare_op(rng, "cross_entropy", [logits, labels], {"label_smoothing": smoothing}, constants=(1,))


@batches("cross_entropy-shares", 500)
def test_cross_entropy_of_probabilities_and_of_ignored_labels(first):
    """Weights where both mean the same: with indices and no smoothing. The others are in the next test."""
    for rng in each(first, 107):
        N, K = int_(rng, 1, 9), int_(rng, 2, 12)
        smoothing, logits = float(rng.choice([0.0, 0.1])), rng.standard_normal((N, K)) * 3
        shares = rng.dirichlet(np.ones(K), N)
        compare_op(rng, "cross_entropy", [logits, shares], {"label_smoothing": smoothing}, constants=(1,))
        labels, ignored = rng.integers(0, K, N), int(rng.choice([-100, -1, 0, K - 1]))
        labels[rng.random(N) < 0.4] = ignored
        labels[0] = 1 if ignored == 0 else 0
        compare_op(rng, "cross_entropy", [logits, labels], {"label_smoothing": smoothing, "ignore_index": ignored},
                   constants=(1,))  # fmt: skip
        weight = rng.uniform(0.5, 3, K)
        compare(rng, lambda z, k: ops.cross_entropy(z, k, weight=weight.tolist(), ignore_index=ignored),
                lambda z, k: F.cross_entropy(z, k, torch.tensor(weight), ignore_index=ignored), [logits, labels],
                "cross_entropy with weights", constants=(1,))  # fmt: skip


def test_class_weights_differ_from_pytorchs_by_the_documented_formula():
    """ops.cross_entropy's docstring: PyTorch weighs each class's term, ours the whole image."""
    rng = np.random.default_rng(108)
    N, K, e = 7, 5, 0.2
    z, labels, weight = rng.standard_normal((N, K)), rng.integers(0, K, N), rng.uniform(0.5, 3, K)
    shares, surprise = rng.dirichlet(np.ones(K), N), -np.log(reference.softmax(z))
    w = weight[labels]
    torchs = ((1 - e) * w * surprise[np.arange(N), labels] + e / K * (surprise * weight).sum(1)).sum() / w.sum()
    ours = (w * ((1 - e) * surprise[np.arange(N), labels] + e / K * surprise.sum(1))).sum() / w.sum()
    theirs = F.cross_entropy(torch.tensor(z), torch.tensor(labels), torch.tensor(weight), label_smoothing=e)
    near(theirs.numpy(), torchs, "PyTorch's, indices")
    near(ops.cross_entropy(z, labels, weight=weight.tolist(), label_smoothing=e).numpy(), ours, "ours, indices")
    q, w = (1 - e) * shares + e / K, shares @ weight
    theirs = F.cross_entropy(torch.tensor(z), torch.tensor(shares), torch.tensor(weight), label_smoothing=e)
    near(theirs.numpy(), (weight * q * surprise).sum() / N, "PyTorch's, probabilities")
    found = ops.cross_entropy(z, shares, weight=weight.tolist(), label_smoothing=e).numpy()
    near(found, (w * (q * surprise).sum(1)).sum() / w.sum(), "ours, probabilities")


def test_if_all_labels_are_ignored_the_mean_is_nan_and_the_gradient_zero():
    z, labels = np.random.default_rng(109).standard_normal((3, 4)), np.full(3, -100)
    mine, other = Tensor(z, True), torch.tensor(z, requires_grad=True)
    y, expected = ops.cross_entropy(mine, labels, ignore_index=-100), F.cross_entropy(other, torch.tensor(labels))
    assert np.isnan(y.item())
    assert expected.isnan()
    y.backward()
    expected.backward()
    np.testing.assert_array_equal(mine.grad, 0)
    np.testing.assert_array_equal(other.grad.numpy(), 0)


@batches("softmax", 500)
def test_softmax_and_log_softmax(first):
    for rng in each(first, 13):
        x = rng.standard_normal(tuple(rng.integers(2, 6, int_(rng, 1, 4)))) * rng.choice([1, 20])
        axis = int_(rng, -x.ndim, x.ndim - 1)
        # dx = p·(dy − Σ dy·p) is nearly nothing where one p is nearly 1
        compare(rng, lambda t: ops.softmax(t, axis=axis), lambda t: F.softmax(t, axis), [x],
                f"softmax {x.shape} {axis}", cancels=True)  # fmt: skip
        compare(rng, lambda t: ops.log_softmax(t, axis=axis), lambda t: F.log_softmax(t, axis), [x],
                f"log_softmax {x.shape} {axis}")  # fmt: skip


@batches("losses", 500)
def test_mse_and_binary_cross_entropy(first):
    for rng in each(first, 14):
        x = rng.standard_normal(tuple(rng.integers(1, 6, int_(rng, 1, 3)))) * rng.choice([1, 20])
        t = rng.uniform(0, 1, x.shape)
        compare_op(rng, "mse_loss", [x, t])
        compare_op(rng, "binary_cross_entropy_with_logits", [x, t])


def test_losses_far_out_stay_finite_and_equal():
    x = np.array([[1e3, -1e3, 0.0], [-750.0, 800.0, 750.0]])
    rng = np.random.default_rng(0)
    compare_op(rng, "cross_entropy", [x, np.array([1, 0])], constants=(1,))
    compare_op(rng, "binary_cross_entropy_with_logits", [x, np.full(x.shape, 0.3)])
    compare(rng, lambda t: ops.log_softmax(t), lambda t: F.log_softmax(t, -1), [x], "log_softmax")


@batches("logsumexp", 500)
def test_logsumexp(first):
    for rng in each(first, 113):
        x = rng.standard_normal(tuple(rng.integers(1, 6, int_(rng, 1, 4)))) * rng.choice([1, 20, 1000])
        axes = tuple(int(a) for a in rng.permutation(x.ndim)[: int_(rng, 1, x.ndim)])
        keep = bool(rng.random() < 0.5)
        compare(rng, lambda t: ops.logsumexp(t, axis=axes, keepdims=keep),
                lambda t: torch.logsumexp(t, axes, keep), [x], f"logsumexp {x.shape} {axes} {keep}")  # fmt: skip


def test_logsumexp_of_minus_infinity():
    x = np.array([[-np.inf, -np.inf], [0.5, -np.inf], [np.inf, 1.0]])
    with np.errstate(divide="ignore"):                             # ln 0
        y = ops.logsumexp(x, axis=1).numpy()
    np.testing.assert_array_equal(y, torch.logsumexp(torch.tensor(x), 1).numpy())


@batches("prod", 500)
def test_prod(first):
    """With zeros: none, one or several among the factors."""
    for rng in each(first, 114):
        x = rng.standard_normal(tuple(rng.integers(1, 5, int_(rng, 1, 3))))
        x[rng.random(x.shape) < rng.choice([0, 0.2])] = 0
        axis = int_(rng, -x.ndim, x.ndim - 1)
        compare(rng, lambda t: ops.prod(t, axis=axis), lambda t: torch.prod(t, axis), [x], f"prod {x.shape} {axis}")


# --------------------------------------------------------------------------------------------------------- activations

CURVES = {"relu": F.relu, "relu6": F.relu6, "leaky_relu": F.leaky_relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
          "silu": F.silu, "hardsigmoid": F.hardsigmoid, "hardswish": F.hardswish, "elu": F.elu, "selu": F.selu,
          "gelu": F.gelu, "softplus": lambda x: F.softplus(x, threshold=500), "mish": F.mish}  # fmt: skip


@pytest.mark.parametrize("name", CURVES)
def test_activation(name):
    """On a fine grid that holds every kink exactly, and far out, where a careless exponential overflows."""
    grid = np.concatenate([np.arange(-64, 65) / 8, [-1e3, -800.0, -40.0, -0.0, 40.0, 800.0, 1e3]])
    assert {0.0, 3.0, -3.0, 6.0} <= set(grid)
    ours = getattr(ops, name)
    assert ours.__module__ == "minicnn.ops.activation"
    # PyTorch's hardsigmoid multiplies dy by the float32 nearest to 1/6, which is 5e-9 too much
    tolerance = 4e-8 if name == "hardsigmoid" else 1e-12
    for seed in range(5):
        compare(np.random.default_rng(seed), ours, CURVES[name], [grid.reshape(8, 17)], name, tolerance=tolerance)
    # far-out elements are small beside the others: compare them one by one as well
    for v in grid:
        mine, other = Tensor(np.array([v]), True), torch.tensor([v], requires_grad=True)
        y, expected = ours(mine), CURVES[name](other)
        y.backward(np.array([0.7]))
        expected.backward(torch.tensor([0.7], dtype=torch.float64))
        # e^−800 is 0 in float64, and near it silu and sigmoid round differently: an absolute floor of 1e-300
        # PyTorch's gelu is x·(1 + erf)/2, which loses its digits where erf is nearly −1
        floor = 1e-15 * abs(v) if name == "gelu" else 1e-300
        assert abs(y.item() - expected.item()) <= 1e-12 * abs(expected.item()) + floor, v
        assert abs(mine.grad[0] - other.grad.item()) <= tolerance * max(abs(other.grad.item()), 1e-3), v


def test_hardsigmoid_slope_is_a_sixth_to_the_last_digit():
    x = Tensor(np.array([-2.9, 0.0, 2.9, 3.0, -3.0]), True)
    ops.hardsigmoid(x).sum().backward()
    np.testing.assert_array_equal(x.grad, [1 / 6, 1 / 6, 1 / 6, 0, 0])


def test_leaky_relu_with_other_slopes():
    for slope in (0.0, 0.1, 0.3, 1.0):
        x = np.random.default_rng(0).standard_normal((4, 5))
        compare_op(np.random.default_rng(1), "leaky_relu", [x], {"negative_slope": slope})


@batches("prelu", 500)
def test_prelu(first):
    for rng in each(first, 115):
        x = rng.standard_normal(tuple(rng.integers(1, 6, int_(rng, 1, 4))))
        w = rng.standard_normal(x.shape[1] if x.ndim > 1 and rng.random() < 0.7 else 1)
        compare_op(rng, "prelu", [x, w])


def test_prelu_at_0():
    compare_op(np.random.default_rng(0), "prelu", [np.array([[0.0, -0.0], [1.0, -1.0]]), np.array([0.3, -2.0])])


def test_elu_softplus_and_gelu_with_their_settings():
    x = np.concatenate([np.arange(-64, 65) / 8, [-1e3, 1e3]])
    rng = np.random.default_rng(1)
    for alpha in (0.0, 0.5, 2.0):
        compare_op(rng, "elu", [x], {"alpha": alpha})
    for beta in (0.1, 2.0):
        compare(rng, lambda t: ops.softplus(t, beta=beta), lambda t: F.softplus(t, beta, 500), [x], "softplus")
    compare_op(rng, "gelu", [x], {"approximate": "tanh"})


def test_erf():
    x = np.concatenate([np.arange(-256, 257) / 32, [-1e3, -1e-9, 1e-300, 1e3]])
    for v in x:
        mine, other = Tensor(np.array([v]), True), torch.tensor([v], requires_grad=True)
        y, expected = ops.erf(mine), torch.erf(other)
        y.backward(np.array([0.7]))
        expected.backward(torch.tensor([0.7], dtype=torch.float64))
        assert abs(y.item() - expected.item()) <= 4e-15 * abs(expected.item()), v
        assert abs(mine.grad[0] - other.grad.item()) <= 1e-13 * abs(other.grad.item()) + 1e-300, v


@batches("power", 500)
def test_power(first):
    """By arrays, and a number or an array by arrays; of negative numbers by whole ones, where de is NaN."""
    for rng in each(first, 118):
        full = tuple(int(v) for v in rng.integers(1, 5, 3))
        shapes = [tuple(n if rng.random() < 0.7 else 1 for n in full)[int_(rng, 0, 2) :] for _ in range(2)]
        x, e = rng.uniform(0.3, 2, shapes[0]), rng.standard_normal(shapes[1])
        x[rng.random(x.shape) < 0.1] = 0
        e = abs(e) + 1 if (x == 0).any() else e
        compare(rng, ops.power, torch.pow, [x, e], f"power {shapes}")
        compare(rng, lambda e: 1.7**e, lambda e: 1.7**e, [e], f"power 1.7 {shapes}")
        whole = rng.integers(-2, 4, shapes[1]).astype(float)
        compare(rng, ops.power, torch.pow, [-0.3 - x, whole], f"power of negative {shapes}", constants=(1,))


@batches("maximum", 500)
def test_maximum_and_minimum(first):
    """With ties, which PyTorch gives half of dy each, with broadcasting, and with NaN."""
    for rng in each(first, 116):
        full = tuple(int(v) for v in rng.integers(1, 5, 3))
        shapes = (tuple(n if rng.random() < 0.7 else 1 for n in full)[int_(rng, 0, 2) :] for _ in range(2))
        a, b = (rng.integers(-2, 3, shape).astype(float) for shape in shapes)
        for name in ("maximum", "minimum"):
            compare(rng, getattr(ops, name), getattr(torch, name), [a, b], f"{name} {a.shape} {b.shape}")


@batches("where", 500)
def test_where_and_comparisons(first):
    """Masks with ties and NaN, each broadcast, and what they choose."""
    for rng in each(first, 118):
        full = tuple(int(v) for v in rng.integers(1, 5, 3))
        a, b, c, d = (rng.integers(-2, 3, tuple(n if rng.random() < 0.7 else 1 for n in full)[int_(rng, 0, 2) :])
                      .astype(float) for _ in range(4))  # fmt: skip
        c[rng.random(c.shape) < 0.1] = np.nan
        masks = []
        for name in ("greater", "greater_equal", "less", "less_equal", "eq"):
            mine = getattr(ops, "equal" if name == "eq" else name)(c, d).numpy()
            theirs = getattr(torch, name)(torch.tensor(c), torch.tensor(d)).numpy()
            np.testing.assert_array_equal(mine, theirs)
            masks.append(mine)
        for name in ("logical_and", "logical_or"):
            theirs = getattr(torch, name)(*(torch.tensor(m) for m in masks[:2])).numpy()
            np.testing.assert_array_equal(getattr(ops, name)(*masks[:2]).numpy(), theirs)
        np.testing.assert_array_equal(ops.logical_not(masks[0]).numpy(), torch.logical_not(torch.tensor(masks[0])))
        compare(rng, ops.where, torch.where, [masks[0], a, b], f"where {c.shape} {a.shape} {b.shape}", constants=(0,))


def test_a_nan_wins_maximum_and_minimum():
    a, b = np.array([np.nan, 1.0, np.nan, 2.0]), np.array([0.5, np.nan, np.nan, 1.0])
    for name in ("maximum", "minimum"):
        mine, others = [Tensor(v, True) for v in (a, b)], [torch.tensor(v, requires_grad=True) for v in (a, b)]
        y, expected = getattr(ops, name)(*mine), getattr(torch, name)(*others)
        np.testing.assert_array_equal(y.numpy(), expected.detach().numpy())
        y.backward(np.arange(1.0, 5))
        expected.backward(torch.arange(1.0, 5, dtype=torch.float64))
        for m, o in zip(mine, others):
            np.testing.assert_array_equal(m.grad, o.grad.numpy())


def test_all_activations_are_compared():
    family = {n for n, f in vars(ops).items() if getattr(f, "__module__", "") == "minicnn.ops.activation"}
    assert {*CURVES, "prelu"} == family


# --------------------------------------------------------------------------------------------------- the engine's own


@batches("arithmetic", 500)
def test_a_drawn_expression_with_broadcasting(first):
    """+ − · / ** with every way to broadcast, a value used several times, sums and means over axes."""
    for rng in each(first, 15):
        full = tuple(int(v) for v in rng.integers(1, 5, 3))
        a, b, c = (
            rng.uniform(0.5, 2, tuple(n if rng.random() < 0.6 else 1 for n in full)[int_(rng, 0, 2) :])
            for _ in range(3)
        )

        def formula(a, b, c):
            t = a * b - c / a
            return (t * t + a**1.5).sum(-1) - b.mean()

        compare(rng, formula, formula, [a, b, c], f"{a.shape} {b.shape} {c.shape}")


@pytest.mark.parametrize("seed", range(20))
def test_shapes(seed):
    rng = np.random.default_rng(seed)
    x, z = rng.standard_normal((3, 2, 4)), rng.standard_normal((3, 5, 4))
    compare(rng, lambda a, b: ops.concat(a, b, axis=1)[1:, ::2].transpose(2, 0, 1).reshape(4, -1),
            lambda a, b: torch.cat([a, b], 1)[1:, ::2].permute(2, 0, 1).reshape(4, -1), [x, z],
            "concat, getitem, transpose")  # fmt: skip
    compare(rng, lambda a: ops.pad2d(a, padding=(1, 2, 3, 0), value=0.5), lambda a: F.pad(a, (1, 2, 3, 0), value=0.5),
            [x], "pad2d")  # fmt: skip
    rows = rng.integers(0, 3, 7)
    compare(rng, lambda a: a[rows], lambda a: a[torch.tensor(rows)], [x], "getitem with repeats")
    compare(rng, lambda a, b: a @ b.transpose(0, 2, 1), lambda a, b: a @ b.transpose(1, 2), [x, z], "matmul")
