"""What a tensor is made of: numbers, dtypes, arrays from outside."""


import numpy as np
import pytest

from minicnn import Tensor, devices
from minicnn.ops import add, power
from minicnn.ops.activation import leaky_relu, relu
from minicnn.ops.batch_norm import batch_norm
from minicnn.ops.conv import conv2d
from minicnn.ops.dropout import dropout
from minicnn.ops.linear import linear
from minicnn.ops.lrn import local_response_norm
from minicnn.ops.pool import lp_pool2d
from minicnn.ops.softmax import cross_entropy
from tests.strict_device import StrictDevice


def leaf(*values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


def test_numpy_array_and_tensor_on_either_side():
    array, t = np.array([1.0, 2.0, 4.0]), leaf(3.0, 5.0, 8.0)
    for y, expected in (
        (array + t, [4, 7, 12]),
        (array - t, [-2, -3, -4]),
        (array * t, [3, 10, 32]),
        (array / t, [1 / 3, 0.4, 0.5]),
        (t + array, [4, 7, 12]),
        (t - array, [2, 3, 4]),
        (t / array, [3, 2.5, 2]),
    ):
        assert isinstance(y, Tensor)
        np.testing.assert_array_equal(y.numpy(), expected)
    product = np.ones((2, 3)) @ leaf(1.0, 2.0, 3.0).reshape(3, 1)
    assert isinstance(product, Tensor)
    np.testing.assert_array_equal(product.numpy(), [[6], [6]])


def test_python_numbers_on_either_side():
    t = leaf(2.0, 4.0)
    for y, expected in (
        (1 + t, [3, 5]),
        (1 - t, [-1, -3]),
        (3 * t, [6, 12]),
        (1 / t, [0.5, 0.25]),
        (t / 2, [1, 2]),
        (-t, [-2, -4]),
        (t**2, [4, 16]),
        (t - 1, [1, 3]),
    ):
        np.testing.assert_array_equal(y.numpy(), expected)
    (1 / t).sum().backward()
    np.testing.assert_array_equal(t.grad, [-1 / 4, -1 / 16])


@pytest.mark.parametrize("number", [2, 2.0, np.float64(2), np.float32(2), np.int64(2)], ids=lambda n: type(n).__name__)
def test_numbers_do_not_decide_the_dtype(number):
    t = leaf(1.0, 2.0, dtype=np.float32)
    for y in (
        t + number,
        number + t,
        t - number,
        number - t,
        t * number,
        number * t,
        t / number,
        number / t,
        t**number,
    ):
        assert y.dtype == np.float32
        y.sum().backward()
    assert t.grad.dtype == np.float32


@pytest.mark.parametrize(
    "make",
    [
        lambda x, v: power(x, exponent=v),
        lambda x, v: leaky_relu(x, negative_slope=v),
        lambda x, v: lp_pool2d(x, norm_type=1 + v, kernel_size=2),
        lambda x, v: batch_norm(x, eps=v),
        lambda x, v: local_response_norm(x, size=2, alpha=v, beta=v, k=v),
        lambda x, v: dropout(x, np.ones(x.shape, bool), p=v),
        lambda x, v: cross_entropy(x.reshape(4, 4), np.arange(4), label_smoothing=v),
    ],
    ids=["power", "leaky_relu", "lp_pool2d", "batch_norm", "lrn", "dropout", "cross_entropy"],
)
def test_a_numpy_scalar_as_hyper_parameter_does_not_decide_the_dtype(make):
    """eps=np.float64(1e-5), as read from a NumPy array or a checkpoint, would make a float32 net float64."""
    x = Tensor(np.random.default_rng(0).uniform(1, 2, (2, 2, 2, 2)).astype(np.float32), True)
    y = make(x, np.float64(0.5))
    assert y.dtype == np.float32
    y.backward(np.ones(y.shape))
    assert x.grad.dtype == np.float32


def test_what_becomes_what():
    assert Tensor([1.0, 2.0]).dtype == np.float32  # Python floats
    assert Tensor([[1.0], [2.0]]).dtype == np.float32
    assert Tensor(1.5).dtype == np.float32
    assert Tensor([1.0], dtype="float64").dtype == np.float64
    assert Tensor(np.array([1.0])).dtype == np.float64  # NumPy keeps what it is
    assert Tensor(np.float64(1.0)).dtype == np.float64
    assert Tensor([1, 2]).dtype == np.int64
    assert Tensor([True]).dtype == bool
    assert Tensor(np.array([1, 2], np.uint8)).dtype == np.uint8
    assert Tensor(np.ones(2)).astype("float32").dtype == np.float32


def test_float32_backward_takes_a_dy_of_another_dtype():
    a = leaf(1.0, 2.0, dtype=np.float32)
    (a * 2).backward(np.array([1.0, 2.0]))
    assert a.grad.dtype == np.float32
    np.testing.assert_array_equal(a.grad, [2, 4])


def test_iterating_and_length():
    t = leaf(1.0, 2.0, 3.0)
    assert len(t) == 3
    assert [v.item() for v in t] == [1, 2, 3]


@pytest.mark.parametrize(
    ("array", "named"),
    [
        (np.ones(2, np.float16), "float16"),
        (np.ones(2, np.complex128), "complex128"),
        (np.array(["a"]), "<U1"),
        ("cat", "<U3"),
        (np.array([None]), "object"),
        (np.ones(2, np.longdouble), "float128|longdouble"),
    ],
    ids=lambda v: str(v)[:12],
)
def test_other_dtypes_are_refused(array, named):
    with pytest.raises(
        TypeError, match=rf"holds float32, float64, integers or booleans, not ({named}): .*\.astype\('float32'\)"
    ):
        Tensor(array)


@pytest.mark.parametrize("array", [np.array([1, 2]), np.array([True])])
def test_integers_have_no_gradient(array):
    with pytest.raises(
        TypeError, match=rf"a Tensor of {array.dtype} can't have a gradient, only float32 and float64 can: convert"
    ):
        Tensor(array, requires_grad=True)


def test_integers_do_not_compute():
    with pytest.raises(
        TypeError, match=r"relu: x is int64, but ops compute in float32 or float64: convert it with \.astype"
    ):
        relu(Tensor([1, 2]))
    with pytest.raises(TypeError, match=r"conv2d: w is int64"):
        conv2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2), int))


def test_two_dtypes_do_not_mix():
    sentence = r"multiply: a is float32 but b is float64: convert a with \.astype\('float64'\)"
    with pytest.raises(TypeError, match=sentence):
        leaf(1.0, dtype=np.float32) * leaf(1.0)
    with pytest.raises(TypeError, match=r"conv2d: x is float64 but b is float32"):
        conv2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), np.ones(1, np.float32))


def test_a_tensor_as_hyper_parameter():
    x = leaf(1.0, 2.0)
    with pytest.raises(
        TypeError,
        match=r"leaky_relu: negative_slope is a Tensor, but hyper-parameters are plain Python values: "
        r"pass negative_slope=negative_slope\.item\(\)",
    ):
        leaky_relu(x, negative_slope=Tensor(0.1))
    with pytest.raises(TypeError, match=r"getitem: index is a Tensor.*index=index\.data for an index"):
        x[Tensor([0, 1])]
    with pytest.raises(TypeError, match=r"getitem: index is a Tensor"):
        x[Tensor([0]), None]


@pytest.mark.parametrize("wrong", [[1.0, 2.0], "x", {"a": 1}, (1.0, 2.0)], ids=lambda v: type(v).__name__)
def test_what_is_no_array_is_refused(wrong):
    with pytest.raises(
        TypeError, match=rf"add: b must be a Tensor, an array or a number, not ('x'$|a {type(wrong).__name__})"
    ):
        leaf(1.0, 2.0) + wrong
    with pytest.raises(
        TypeError, match=rf"relu: x must be a Tensor or an array, not ('x'$|a {type(wrong).__name__})"
    ):
        relu(wrong)


def test_numbers_alone_are_no_op():
    with pytest.raises(TypeError, match=r"^add: none of the arguments is a Tensor or an array: wrap one in Tensor"):
        add(3.0, 4.0)
    with pytest.raises(TypeError, match=r"^relu: x must be a Tensor or an array, not 3\.0$"):
        relu(3.0)


def test_mixed_devices(monkeypatch):
    monkeypatch.setitem(devices._backends, "strict", StrictDevice())
    here, there = leaf(1.0), Tensor(np.array([1.0]), device="strict")
    with pytest.raises(
        ValueError, match=r"linear: x is on cpu but w is on strict: move one of them with \.to\('cpu'\)"
    ):
        linear(here.reshape(1, 1), there.reshape(1, 1))
