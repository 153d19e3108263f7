"""Feature pictures: each method against its definition, and inside the box that a unit sees."""

import inspect as inspect_module
import itertools

import numpy as np
import pytest

from minicnn import Tensor, inspect, models, nn, no_grad, reference, seed
from minicnn.inspect import units
from minicnn.inspect.deconvnet import brightest_units, deconvnet
from minicnn.inspect.grad_cam import grad_cam
from minicnn.inspect.occlusion import mean_per_pixel, occlusion, square_starts
from minicnn.inspect.saliency import guided_backpropagation, saliency, smooth_grad
from minicnn.inspect.units import backpropagate_from, one_hot
from minicnn.io import model_file
from tests.io.test_pretrained import cached, squeezenet  # noqa: F401 - a fixture
from tests.thinned import thinned


def small_net():
    """Two convolutions with an overlapping maximum between them, in float64."""
    seed(4)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(5, 6, 3, padding=1), nn.ReLU(),
        nn.GlobalAvgPool2d(), nn.Linear(6, 4)).astype("float64")  # fmt: skip


# ------------------------------------------------------------------------------------------------- inside the box alone

BOXED = ["alexnet", "vgg11_bn", "squeezenet1_1", "googlenet", "resnet18", "resnet20", "mobilenet_v2",
         "densenet_bc100_12", "preact_resnet18", "zfnet", "nin_cifar"]  # fmt: skip


@pytest.mark.parametrize(("how", "name"), thinned(
    itertools.product(["gradient", "deconvnet"], BOXED),           # each way with a plain net, a residual one, branches
    lambda how, name: name in {"gradient": ("alexnet", "resnet20", "squeezenet1_1", "mobilenet_v2"),
                               "deconvnet": ("resnet18", "squeezenet1_1", "preact_resnet18", "alexnet")}[how]))
def test_nothing_lies_outside_what_the_unit_sees(name, how, rng):
    """Exactly 0 there, in float32, on a picture large enough that the box is a part of it."""
    seed(1)
    narrow = {"width": 0.5} if "width" in inspect_module.signature(models.MODELS[name][0]).parameters else {}
    side = {"zfnet": 224, "densenet_bc100_12": 64}.get(name, 128)   # one takes no other size, one is long
    net, shape = models.build(name, **narrow), (3, side, side)
    x = rng.standard_normal((1, *shape)).astype(np.float32)
    tried, layers = 0, [layer for layer in units.map_layers(net, shape) if min(layer.field) < side]
    for layer in layers[:: max(1, len(layers) // 6)]:
        _, h, w = layer.output
        i, j = int(rng.integers(h)), int(rng.integers(w))
        rows, columns = inspect.box(net, shape, layer.name, i, j)
        if rows == [0, side] and columns == [0, side]:
            continue
        module = units.find_layer(net, layer.name)
        maps = units.layer_outputs(net, x, {layer.name: module})[layer.name]
        c = int(maps[0, :, i, j].argmax())
        if how == "gradient":
            found = backpropagate_from(net, x, one_hot(c, i, j), module)
        else:
            found = deconvnet(net, x, module, (c, i, j))
        outside = found.copy()
        outside[:, :, rows[0] : rows[1], columns[0] : columns[1]] = 0
        assert not outside.any(), f"{layer.name} at {i}, {j} sees rows {rows}, columns {columns}"
        tried += bool(found.any())
    assert tried >= 3, "something lies inside"


def test_the_box_is_not_too_large_either(rng):
    """A net without padding: the gradient fills the box to its edges."""
    net = nn.Sequential(nn.Conv2d(1, 2, 5, stride=2), nn.AvgPool2d(3, 2), nn.Conv2d(2, 1, 3))
    x = rng.standard_normal((1, 1, 60, 70)).astype(np.float32)
    rows, columns = inspect.box(net, (1, 60, 70), "2", 2, 3)
    found = backpropagate_from(net, x, one_hot(0, 2, 3))[0, 0]
    lit = np.argwhere(found)
    assert [lit[:, 0].min(), lit[:, 0].max() + 1] == rows == [8, 8 + 5 + 2 * 2 + 2 * 4]
    assert [lit[:, 1].min(), lit[:, 1].max() + 1] == columns


# ------------------------------------------------------------------------------------------------------------ gradients


def test_saliency_is_the_largest_difference_quotient_of_the_channels(rng):
    net, x, k = small_net(), rng.standard_normal((1, 3, 13, 13)), 2
    wanted = np.zeros(x.shape)
    with no_grad():
        for place in np.ndindex(*x.shape):
            step = np.zeros(x.shape)
            step[place] = 1e-6
            up, down = (net(Tensor(x + s)).numpy()[0, k] for s in (step, -step))
            wanted[place] = (up - down) / 2e-6
    np.testing.assert_allclose(saliency(net, x, k), np.abs(wanted).max(1), atol=1e-8)


def test_guided_backpropagation_by_hand():
    """y = w₂·relu(w₁·x): back goes only what is positive, and only where the input of the ReLU was positive too."""
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4, 1, bias=False))
    net.astype("float64")
    net[0].weight.data = np.array(2.0).reshape(1, 1, 1, 1)
    net[3].weight.data = np.array([[3.0, -5.0, 7.0, 11.0]])
    x = np.array([1.0, 1.0, -1.0, 4.0]).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(guided_backpropagation(net, x, 0).ravel(), [6, 0, 0, 22])
    np.testing.assert_array_equal(backpropagate_from(net, x, one_hot(0)).ravel(), [6, -10, 0, 22])


def test_smoothgrad_of_a_linear_net_is_its_saliency(rng):
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.GlobalAvgPool2d()).astype("float64")
    x = rng.standard_normal((2, 2, 6, 7))
    np.testing.assert_allclose(smooth_grad(net, x, 1, count=3), saliency(net, x, 1), rtol=1e-12)


def test_smoothgrad_is_the_mean_over_the_noise():
    """S = Σ x³: the gradient 3(x + ε)² has the mean 3(x² + σ²) and the variance 9(4x²σ² + 2σ⁴); σ = 0.5·(3 − 1) = 1."""
    class Cube(nn.Module):
        def forward(self, x):
            return (x * x * x).sum((2, 3))

    x = np.array([1.0, 3.0])
    found = smooth_grad(Cube(), x.reshape(1, 1, 1, 2), 0, count=4000, noise=0.5).ravel()
    assert (np.abs(found - 3 * (x**2 + 1)) < 4 * 3 * np.sqrt((4 * x**2 + 2) / 4000)).all()


# ------------------------------------------------------------------------------------------------------------- Grad-CAM


def test_grad_cam_in_closed_form(rng):
    """Global average pooling and a linear layer: α[c] = w[k,c]/(h·w), which is class activation mapping."""
    net, x = small_net(), rng.standard_normal((2, 3, 17, 21))
    with no_grad():
        A = net[:5](Tensor(x)).numpy()                                        # (N, 6, h, w)
    for k in range(4):
        alpha = net[6].weight.numpy()[k] / (A.shape[2] * A.shape[3])
        wanted = np.maximum(np.einsum("c,nchw->nhw", alpha, A), 0)
        np.testing.assert_allclose(grad_cam(net, x, k, net[4]), wanted, atol=1e-14)


def test_grad_cam_behind_a_nonlinear_head(rng):
    """∂S/∂A by difference quotients, at a layer in the middle."""
    net, x, k = small_net(), rng.standard_normal((1, 3, 13, 13)), 1
    with no_grad():
        A = net[:3](Tensor(x)).numpy()
        alpha = np.zeros(A.shape[1])
        for place in np.ndindex(*A.shape[1:]):
            step = np.zeros(A.shape)
            step[0, *place] = 1e-6
            up, down = (net[3:](Tensor(A + s)).numpy()[0, k] for s in (step, -step))
            alpha[place[0]] += (up - down) / 2e-6 / A[0, 0].size
    np.testing.assert_allclose(grad_cam(net, x, k, net[2])[0], np.maximum(np.tensordot(alpha, A[0], 1), 0), atol=1e-8)


def test_grad_cam_needs_maps(rng):
    net = small_net()
    with pytest.raises(ValueError, match=r"Grad-CAM needs maps \(N, C, h, w\), but this Linear gives \(1, 4\)"):
        grad_cam(net, rng.standard_normal((1, 3, 13, 13)), 0, net[6])


@pytest.mark.parametrize(("name", "variant", "last"), [
    ("squeezenet1_1", "", "classifier.1"), ("resnet50", "torchvision", "layer4.2.conv3"),
    ("mobilenet_v3_large", "", "features.16.0"), ("lenet5", "modern", "features.3"), ("lenet5", "1998", "C3"),
    ("vgg16", "", "features.28"),
])  # fmt: skip
def test_the_last_convolution(name, variant, last):
    """That of 1998 has another one, C5, but its maps are single pixels: they know no place."""
    with nn.init.shapes_only():
        net = models.build(name, **({"variant": variant} if variant else {}))
        assert units.last_convolution(net, models.input_shape(name, variant)) == last


def test_a_cat_beside_a_cup(squeezenet):  # noqa: F811
    """The evidence for the cat is on the cat's side, and that for the cup on the cup's, on either side."""
    model, about = model_file.load(squeezenet)
    prepare = about.preprocessing
    cat, cup = (prepare.read(cached(f"photos/{name}.png")) for name in ("chelsea", "coffee"))
    halves = [image[:, :, 56:168] for image in (cat, cup)]
    numbers = [about.classes.index(name) for name in ("Egyptian cat", "espresso")]
    module = units.find_layer(model, units.last_convolution(model, (3, 224, 224)))
    for order in ((0, 1), (1, 0)):
        x = prepare.normalise(np.concatenate([halves[i] for i in order], 2)[None])
        for side, i in enumerate(order):
            L = grad_cam(model, x, numbers[i], module)[0]
            left, right = L[:, :6].sum(), L[:, 7:].sum()
            own, other = (left, right) if side == 0 else (right, left)
            assert own > 2 * other, f"class {numbers[i]} on side {side}: {own} against {other}"


# ------------------------------------------------------------------------------------------------------------ occlusion


@pytest.mark.parametrize(("size", "stride"), [(4, 3), (5, 5), (13, 1), (3, 7)])
def test_occlusion_is_a_loop_over_covered_images(size, stride, rng):
    net, x, k = small_net(), rng.standard_normal((1, 3, 13, 15)), 3
    found = occlusion(net, x, k, size, stride, fill=0.5, batch=4)
    rows = [*range(0, 13 - size, stride), 13 - size]
    columns = [*range(0, 15 - size, stride), 15 - size]
    assert found.shape == (len(rows), len(columns))
    for a, i in enumerate(rows):
        for b, j in enumerate(columns):
            covered = x.copy()
            covered[:, :, i : i + size, j : j + size] = 0.5
            with no_grad():
                scores = net.eval()(Tensor(covered)).numpy()[0]
            np.testing.assert_allclose(found[a, b], np.exp(scores[k]) / np.exp(scores).sum(), rtol=1e-12)


def test_each_pixel_gets_the_mean_of_the_squares_that_cover_it(rng):
    p = rng.random((3, 4))
    found = mean_per_pixel(p, (9, 11), 4, 3)
    assert (square_starts(9, 4, 3), square_starts(11, 4, 3)) == ([0, 3, 5], [0, 3, 6, 7])
    for r in range(9):
        for c in range(11):
            over = [p[a, b] for a, i in enumerate((0, 3, 5)) for b, j in enumerate((0, 3, 6, 7))
                    if i <= r < i + 4 and j <= c < j + 4]  # fmt: skip
            np.testing.assert_allclose(found[r, c], np.mean(over))


def test_a_square_larger_than_the_image(rng):
    with pytest.raises(ValueError, match=r"size \(=14\) must be from 1 to 13"):
        occlusion(small_net(), rng.standard_normal((1, 3, 13, 15)), 0, 14, 1)


# ------------------------------------------------------------------------------------------------------------ deconvnet


def test_a_deconvnet_by_hand():
    """One filter (1, −1) along a row, ReLU, maximum of pairs: each step back on paper.

    x = 5 2 3 9 4 4 1;  x[i] − x[i+1] = 3 −1 −6 5 0 3;  ReLU 3 0 0 5 0 3;  maximum of pairs: 3 5 3 at 0, 3, 5.
    """
    net = nn.Sequential(nn.Conv2d(1, 1, (1, 2), bias=False), nn.ReLU(), nn.MaxPool2d((1, 2)))
    net.astype("float64")
    net[0].weight.data = np.array([1.0, -1.0]).reshape(1, 1, 1, 2)
    x = np.array([5.0, 2, 3, 9, 4, 4, 1]).reshape(1, 1, 1, 7)
    for unit, wanted in (((0, 0, 0), [3, -3, 0, 0, 0, 0, 0]), ((0, 0, 1), [0, 0, 0, 5, -5, 0, 0]),
                         ((0, 0, 2), [0, 0, 0, 0, 0, 3, -3])):  # fmt: skip
        np.testing.assert_array_equal(deconvnet(net, x, net[2], unit).ravel(), wanted)


def transposed(y, w, stride, padding, shape):
    """Transposed convolution as it is defined: each value of y lays its filter, times itself, on the image."""
    N, _, H, W = shape
    padded = np.zeros((N, w.shape[1], H + 2 * padding, W + 2 * padding))
    for n, o, i, j in np.ndindex(*y.shape):
        rows = slice(i * stride, i * stride + w.shape[2])
        columns = slice(j * stride, j * stride + w.shape[3])
        padded[n, :, rows, columns] += y[n, o, i, j] * w[o]
    return padded[:, :, padding : padding + H, padding : padding + W]


def unpooled(y, x, kernel, stride):
    """Each value of y at the first largest pixel of its window of x; several in one place add up."""
    out = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(*y.shape):
        window = x[n, c, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        p, q = np.unravel_index(window.argmax(), window.shape)
        out[n, c, i * stride + p, j * stride + q] += y[n, c, i, j]
    return out


def test_a_deconvnet_of_two_layers_by_loops(rng):
    """Unpool, rectify, filter; filter again: against transposed convolution and switches written as loops."""
    net, x = small_net(), rng.standard_normal((1, 3, 15, 15))
    w1, w2 = net[0].weight.numpy(), net[3].weight.numpy()
    a1 = np.maximum(reference.conv2d(x, w1, net[0].bias.numpy(), stride=2), 0)
    p1 = reference.max_pool2d(a1, kernel_size=3, stride=2)
    a2 = np.maximum(reference.conv2d(p1, w2, net[3].bias.numpy(), padding=1), 0)
    changed = 0
    for unit in brightest_units(a2[0], 5):
        y = np.zeros(a2.shape)
        y[(0, *unit)] = a2[(0, *unit)]
        back = transposed(np.maximum(y, 0), w2, 1, 1, p1.shape)
        back = unpooled(back, a1, 3, 2)
        changed += (back < 0).any()                        # the ReLU between the layers has something to cut off
        back = transposed(np.maximum(back, 0), w1, 2, 0, x.shape)
        np.testing.assert_allclose(deconvnet(net, x, net[4], unit), back, atol=1e-12)
    assert changed


def test_the_strongest_units():
    maps = np.zeros((4, 2, 3))
    maps[1, 1, 2], maps[3, 0, 1], maps[0, 1, 0] = 5, 7, 1
    assert brightest_units(maps, 3) == [(3, 0, 1), (1, 1, 2), (0, 1, 0)]


# ------------------------------------------------------------------------------------------------------ what they leave


def test_the_net_is_left_as_it_was(rng):
    net, x = small_net().train(), rng.standard_normal((1, 3, 13, 13))
    net[1].eval()
    before = net.state_dict()
    saliency(net, x, 0)
    grad_cam(net, x, 0, net[3])
    occlusion(net, x, 0, 13, 1)
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert [m.training for m in net] == [True, False, *[True] * 5]
    assert all(np.array_equal(before[k], v) for k, v in net.state_dict().items())


@pytest.mark.parametrize("name", ["lenet5", "mobilenet_v3_small", "densenet_bc100_12", "resnet110_stochastic_depth"])
def test_every_method_works_on_every_kind_of_net(name, rng):
    seed(0)
    net, shape = models.build(name), models.input_shape(name)
    x = rng.standard_normal((1, *shape)).astype(np.float32)
    last = units.find_layer(net, units.last_convolution(net, shape))
    assert saliency(net, x, 1).shape == (1, *shape[1:])
    assert guided_backpropagation(net, x, 1).shape == x.shape
    assert grad_cam(net, x, 1, last).ndim == 3
    assert deconvnet(net, x, last, (0, 0, 0)).shape == x.shape
    assert occlusion(net, x, 1, shape[1], 1).shape == (1, 1)
    assert saliency(net, x, 1).any()


def test_an_unknown_layer():
    with pytest.raises(ValueError, match=r"unknown layer 'featurs\.3': did you mean 'features\.3'\? The net has"):
        units.find_layer(models.build("squeezenet1_1", width=0.25), "featurs.3")


def test_a_layer_that_rests_in_eval_mode(rng):
    net = models.build("googlenet", num_classes=4, width=0.1, aux=True)
    x = rng.standard_normal((1, 3, 64, 64)).astype(np.float32)
    with pytest.raises(ValueError, match="computes nothing in eval mode"):
        grad_cam(net, x, 0, net.aux1)
