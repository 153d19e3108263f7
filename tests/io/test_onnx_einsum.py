"""Einsum, GatherND and ScatterND from ONNX, compared with NumPy; and what the sentences of refusals name."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")

from onnx import helper

from minicnn import Tensor
from tests.io.test_onnx_read import drawn, loaded, model, refused, same_as_onnxruntime

RNG = np.random.default_rng(3)

EQUATIONS = [
    ("nchw,cd->ndhw", (3, 5)),                             # a 1×1 convolution
    ("nchw,cd->nhwd", (3, 5)),
    ("nchw,nchw->n", None),                                # an inner product of each image
    ("nchw,ncxw->nhx", None),                              # attention: batch n, contracted c and w
    ("nchw,ncxy->nchwxy", None),                           # an outer product of each map
    ("nchw,w->nch", (4,)),
    ("nchw,hwo->nco", (4, 4, 2)),
    ("nchw,c,c->nhw", (3,)),                               # three arrays
    ("nchw->nwhc", ()),
    ("nchw->nc", ()),
    ("nchh->nc", ()),                                      # the diagonal of each map, summed
    ("nchh->nhc", ()),
    ("...hw->...wh", ()),
    ("n...,n...->n...", None),
    ("n...w,wo->n...o", (4, 2)),
    ("...w,...wo->...o", (4, 4, 2)),                       # the shorter ellipsis stands for the last of the axes
    ("nchw , hwo -> nco", (4, 4, 2)),
    ("chwn,co", (3, 5)),                                   # no arrow: what is there once, in alphabetical order
]


@pytest.mark.parametrize(("equation", "shape"), EQUATIONS)
def test_einsum_gives_what_numpy_gives(equation, shape, tmp_path):
    """shape: of the other array; None: the image again; (): there is none."""
    other = [] if shape == () else ["x"] if shape is None else ["w"] * (equation.count(","))
    arrays = {"w": drawn(*shape)} if shape else {}
    first = equation.startswith("chwn")
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[1, 2, 3, 0])] * first
    nodes.append(helper.make_node("Einsum", ["t" if first else "x", *other], ["z"], equation=equation))
    nodes.append(helper.make_node("Transpose", ["z"], ["y"], perm=[1, 0, 2, 3]) if first
                 else helper.make_node("Identity", ["z"], ["y"]))  # fmt: skip
    net = loaded(tmp_path, nodes, arrays, shape=("N", 3, 4, 4))
    for count in (1, 3):
        x = RNG.standard_normal((count, 3, 4, 4)).astype(np.float32)
        given = [x.transpose(1, 2, 3, 0) if first else x, *(x if name == "x" else arrays["w"] for name in other)]
        wanted = np.einsum(equation, *given)
        wanted = wanted.swapaxes(0, 1) if first else wanted
        np.testing.assert_allclose(net(Tensor(x)).numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_an_ellipsis_broadcasts(tmp_path):
    made = model([helper.make_node("Einsum", ["x", "w"], ["y"], equation="...hw,...wo->...ho")],
                 {"w": drawn(1, 3, 1, 4, 2)}, shape=("N", 3, 3, 4, 4))  # fmt: skip
    same_as_onnxruntime(tmp_path, made, shape=(3, 3, 4, 4))


@pytest.mark.parametrize(("equation", "said"), [
    ("nchw,cd->ndhw", "the letter c stands for axes of 3 and of 4"),
    ("nchw->ndhw", "does not name the axes of 2 arrays"),
    ("nch,cd->nd", "the letters 'nch' of 'nch,cd->nd' are not those of 4 axes"),
    ("nchw,xd->nz", "the result has the axis z, which no array has"),
    ("nchw,xd->nn", "has a letter twice in its result"),
    ("n...c...,xd->n", "does not name the axes of 2 arrays"),
    ("nchh,xd->n", "the letter h stands for axes of 4 and of 5"),
])
def test_an_equation_that_does_not_fit(equation, said, tmp_path):
    message = refused(tmp_path, [helper.make_node("Einsum", ["x", "w"], ["y"], name="mix", equation=equation)],
                      {"w": drawn(4, 5)}, shape=("N", 3, 4, 5))  # fmt: skip
    assert "node 'mix' (Einsum)" in message
    assert said in message


def test_places_of_several_axes(tmp_path):
    """GatherND with computed values: x[:, [0, 2], [3, 1]] after the images have moved behind."""
    places = np.array([[0, 3], [2, 1]])
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[1, 2, 3, 0]),
             helper.make_node("GatherND", ["t", "places"], ["z"]),
             helper.make_node("Transpose", ["z"], ["y"], perm=[2, 0, 1])]  # fmt: skip
    net = loaded(tmp_path, nodes, {"places": places}, shape=("N", 3, 4, 4))
    x = RNG.standard_normal((2, 3, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(net(Tensor(x)).numpy(), x[:, [0, 2], [3, 1]])
    message = refused(tmp_path, nodes, {"places": places + 3}, shape=("N", 3, 4, 4))
    assert "a place (index) lies outside the shape [3, 4, 4" in message


def test_a_mask_that_is_scattered_together(tmp_path):
    """As PyTorch exports Swin's masks: zeros, some of which are overwritten in a copy."""
    nodes = [helper.make_node("ScatterND", ["zeros", "places", "ones"], ["mask"]),
             helper.make_node("Add", ["x", "mask"], ["a"]), helper.make_node("Add", ["a", "zeros"], ["y"])]  # fmt: skip
    zeros, places, ones = np.zeros((4, 4), np.float32), np.array([[0, 1], [3, -4]]), np.array([5, 7], np.float32)
    arrays = {"zeros": zeros, "places": places, "ones": ones}
    net = loaded(tmp_path, nodes, arrays, shape=("N", 3, 4, 4))
    x = RNG.standard_normal((2, 3, 4, 4)).astype(np.float32)
    zeros = zeros.copy()
    zeros[0, 1], zeros[3, 0] = 5, 7
    np.testing.assert_array_equal(net(Tensor(x)).numpy(), x + zeros)
    for wrong, said in (({"ones": np.ones(3, np.float32)}, "values of shape [3] do not fit places of shape [2, 2]"),
                        ({"places": places + 1}, "a place (index) lies outside the shape [4, 4]"),
                        ({"places": np.zeros((2, 3), np.int64)}, "of shape [2, 3] do not index [4, 4]")):  # fmt: skip
        assert said in refused(tmp_path, nodes, {**arrays, **wrong}, shape=("N", 3, 4, 4))


def test_an_operator_of_constants_alone_says_so(tmp_path):
    nodes = [helper.make_node("Mod", ["x", "w"], ["y"], name="rest", fmod=1)]
    message = refused(tmp_path, nodes, {"w": drawn(4)}, shape=("N", 3, 4, 4))
    assert "node 'rest' (Mod): this operator is read of constants only, and an input depends on the images" in message


def test_weights_of_an_einsum_are_trained(tmp_path):
    """The gradient of Σ over dy·y of a 1×1 convolution, as the closed form: dw[c,d] = Σ x[n,c,h,w]·dy[n,d,h,w]"""
    net = loaded(tmp_path, [helper.make_node("Einsum", ["x", "w"], ["y"], equation="nchw,cd->ndhw")],
                 {"w": drawn(3, 5)}, shape=("N", 3, 4, 4))  # fmt: skip
    x, dy = RNG.standard_normal((2, 3, 4, 4)), RNG.standard_normal((2, 5, 4, 4))
    net.astype("float64")(Tensor(x)).backward(dy)
    (weight,) = net.parameters()
    np.testing.assert_allclose(weight.grad, np.einsum("nchw,ndhw->cd", x, dy), rtol=1e-12)
