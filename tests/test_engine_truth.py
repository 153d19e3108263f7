"""The engine hides no error: what a wrong op returns, what is changed in place, what a device lacks."""

import operator

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, devices, gradcheck, models, no_grad, ops
from minicnn.tensor import op
from tests.strict_device import StrictDevice


def leaf(*values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


# ---------------------------------------------------------------------------------------- what an op's function returns

RULE = r"an op returns \(y, gradients\) or \(y, gradients, aux\), with one function dy → dx for each array"

RETURNS = {
    "y alone": (lambda x, w: x * 2, r"it returned only a ndarray: return y, \(dx, dw\)"),
    "y alone, as a tuple": (lambda x, w: (x * 2,), "it returned 1 values"),
    "nothing": (lambda x, w: None, "it returned only a NoneType"),
    "four values": (lambda x, w: (x, x, x, x), "it returned 4 values"),
    "gradients without a tuple": (lambda x, w: (x * w, lambda dy: dy * w, lambda dy: dy * x),
                                  r"gradient functions as the third item: return y, \(dx, dw\)"),
    "one gradient too few": (lambda x, w: (x * w, lambda dy: dy * w), r"there are 2 arrays \(x, w\) and 1 gradients"),
    "one too many": (lambda x, w: (x * w, (abs, abs, abs)), r"there are 2 arrays \(x, w\) and 3 gradients"),
    "gradients in a list": (lambda x, w: (x * w, [abs, abs]), r"there are 2 arrays \(x, w\) and 1 gradients"),
    "gradients as arrays": (lambda x, w: (x * w, (w, x)), "the gradient of x is a ndarray: return functions of dy"),
    "aux before the gradients": (lambda x, w: (x * w, (x, w), (abs, abs)), "gradient functions as the third item"),
    "aux without a tuple": (lambda x, w: (x * w, (abs, abs), x), "aux is a ndarray, not a tuple"),
    "gradients before y": (lambda x, w: (abs, (abs, abs), ()), "the first item is a function"),
}  # fmt: skip


@pytest.mark.parametrize("what", RETURNS)
@pytest.mark.parametrize("recorded", [True, False])
def test_a_wrong_return_is_refused_at_the_call(what, recorded):
    def mine(x, w):
        return function(x, w)

    function, said = RETURNS[what]
    with pytest.raises(TypeError, match=rf"^mine: {RULE}, but .*{said}"):
        op(mine)(Tensor(np.ones(2), recorded), Tensor(np.ones(2)))
    with pytest.raises(TypeError, match=r"^mine: "):
        gradcheck(op(mine), np.ones(2), np.ones(2))


@pytest.mark.parametrize(("value", "said"), [
    (lambda x: Tensor(x) * 2, r"it computed a Tensor, but the function under @op works on plain arrays of 'cpu'"),
    (lambda x: None, r"it computed a NoneType"),
    (lambda x: [1.0, 2.0], r"it computed a list"),
    (lambda x: x * np.float64(2), r"it computed float64 from float32 arguments: return y\.astype\(x\.dtype\)"),
    (lambda x: x * 1j, r"it computed complex64 from float32 arguments"),
    (lambda x: x.astype(object), r"it computed object from float32 arguments"),
])  # fmt: skip
def test_a_wrong_value_is_refused_at_the_call(value, said):
    @op
    def mine(x):
        return value(x), lambda dy: dy

    with pytest.raises(TypeError, match=f"^mine: {said}"):
        mine(leaf(1.0, 2.0, dtype=np.float32))


def test_a_python_number_as_value_takes_the_arguments_dtype():
    @op
    def total(x):
        return float(x.sum()), lambda dy: np.broadcast_to(dy, x.shape)

    x = leaf(1.0, 2.0, dtype=np.float32)
    y = total(x)
    assert (y.dtype, y.shape, y.item()) == (np.float32, (), 3.0)
    y.backward()
    np.testing.assert_array_equal(x.grad, [1, 1])


def test_several_arrays_behind_a_star():
    @op
    def weighted(first, *rest):
        vjps = tuple((lambda dy, i=i: dy * (i + 1)) for i in range(1 + len(rest)))
        return first + sum((i + 2) * r for i, r in enumerate(rest)), vjps

    a, b, c = leaf(1.0), leaf(10.0), leaf(100.0)
    y = weighted(a, b, c)
    assert y.item() == 321
    y.backward()
    assert (a.grad, b.grad, c.grad) == ([1], [2], [3])
    weighted(a).backward()
    assert a.grad == [2]

    @op
    def short(*xs):
        return xs[0] + xs[1], (lambda dy: dy,)

    with pytest.raises(TypeError, match=r"there are 2 arrays \(xs, xs\) and 1 gradients"):
        short(a, b)


def test_an_argument_without_a_gradient_that_requires_one():
    @op
    def scale(x, w):
        return x * w, (lambda dy: dy * w, None)

    x, w = leaf(2.0), leaf(3.0)
    with pytest.raises(TypeError, match=r"^scale: w requires a gradient, but this op has none for it: pass w\.detach"):
        scale(x, w)
    scale(x, w.detach()).backward()
    assert x.grad == [3]


@pytest.mark.parametrize(("dx", "said"), [
    (lambda dy: None, "gradient that is a NoneType for an argument of shape (2,) and float64"),
    (lambda dy: dy[:1], "gradient of shape (1,) and float64 for an argument of shape (2,)"),
    (lambda dy: dy.astype("float32"), "gradient of shape (2,) and float32 for an argument of shape (2,) and float64"),
    (lambda dy: Tensor(dy), "gradient that is a Tensor"),
    (lambda dy: [1.0, 2.0], "gradient that is a list"),
    (lambda dy: 1.0, "gradient of shape () and float64"),
])  # fmt: skip
def test_a_wrong_gradient_names_the_op(dx, said):
    @op
    def mine(x):
        return x * 1, dx

    with pytest.raises(AssertionError) as caught:
        mine(leaf(1.0, 2.0)).sum().backward()
    assert str(caught.value).startswith(f"mine: {said}")


@pytest.mark.parametrize("names", [{"constants": ("label",)}, {"optional": ("c",)}, {"numbers": ("z",)},
                                   {"constants": "labels"}])  # fmt: skip
def test_a_declaration_that_names_no_argument(names):
    with pytest.raises(TypeError, match=r"mine: an op takes one array or more.* its arrays are \('x', 'labels'\), not"):
        @op(**names)
        def mine(x, labels):
            return x, (lambda dy: dy, None)


def test_an_op_without_arrays():
    with pytest.raises(TypeError, match=r"mine: an op takes one array or more"):
        @op
        def mine(*, size):
            return np.zeros(size), ()


def test_none_for_what_is_required_and_for_what_is_not():
    x, w = Tensor(np.ones((1, 1, 3, 3))), Tensor(np.ones((1, 1, 2, 2)))
    assert ops.conv2d(x, w, None).shape == (1, 1, 2, 2)
    for call, name in ((lambda: ops.conv2d(x, None), "w"), (lambda: ops.conv2d(None, w), "x"),
                       (lambda: ops.conv2d(x, b=w), "w")):
        with pytest.raises(TypeError, match=rf"^conv2d: {name} must be a Tensor or an array, not None$"):
            call()


def test_a_default_of_an_array_stays_when_another_is_given_by_name():
    @op(numbers=("a", "b"))
    def line(x, a=2.0, b=0.0):
        return x * a + b, (lambda dy: dy * a, None, None)

    assert line(leaf(1.0), b=5.0).item() == 7


def test_an_attribute_error_inside_an_op_stays_itself():
    @op
    def misspelt(x, b=None):
        return x.summ(), lambda dy: dy

    with pytest.raises(AttributeError, match="summ") as caught:
        misspelt(leaf(1.0), None)
    assert caught.traceback[-1].name == "misspelt"


def test_a_primitive_that_a_device_lacks_is_named():
    x = Tensor(np.ones((2, 3)), device="meta")

    @op
    def entropy(x):
        return devices.of(x).channel_sums(x), lambda dy: dy

    with pytest.raises(NotImplementedError, match=r"^entropy: device 'meta' has no 'channel_sums': compute on 'cpu'"):
        entropy(x)

    @op
    def own(x):
        return x.sort(), lambda dy: dy

    with pytest.raises(NotImplementedError, match=r"^own: device 'meta' has no 'sort'"):
        own(x)


# ------------------------------------------------------------------------------------------------- .to, .astype, labels


def test_astype_passes_gradients_of_leaves_and_non_leaves():
    w = leaf(1.0, -2.0, dtype=np.float32)
    for y in ((w * 2).astype("float64"), w.astype("float64") * 2):
        assert y.dtype == np.float64
        w.grad = None
        (y * y).sum().backward()                                   # Σ 4w² → 8w
        assert w.grad.dtype == np.float32
        np.testing.assert_array_equal(w.grad, [8, -16])
    assert w.astype("float32") is w


def test_to_passes_gradients_of_leaves_and_non_leaves(monkeypatch):
    monkeypatch.setitem(devices._backends, "strict", StrictDevice())
    w = leaf(1.0, -2.0)
    for y in ((w * 2).to("cpu"), (w * 2).to("strict"), w.to("strict") * 2):
        w.grad = None
        (y * y).sum().backward()                                   # Σ 4w² → 8w
        assert type(w.grad) is np.ndarray
        np.testing.assert_array_equal(w.grad, [8, -16])
    assert w.to("cpu") is w


def test_astype_to_integers_has_no_gradient():
    w = leaf(1.5, 2.5)
    y = w.astype("int64")
    assert not y.requires_grad
    np.testing.assert_array_equal(y.numpy(), [1, 2])
    with pytest.raises(TypeError, match="holds float32, float64, integers or booleans, not complex128"):
        w.astype("complex128")


def test_float64_images_for_a_float32_net():
    net = models.build("lenet5")
    with pytest.raises(TypeError, match=r"conv2d: x is float64 but w is float32: convert x with \.astype\('float32'\)"):
        net(Tensor(np.zeros((2, 1, 28, 28))))
    with no_grad():
        assert net(Tensor(np.zeros((2, 1, 28, 28))).astype("float32")).shape == (2, 10)


# --------------------------------------------------------------------------------------------- comparisons and methods

COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("compare", COMPARISONS)
def test_comparisons_are_numpys_in_both_orders(compare):
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])
    for left, right in ((Tensor(a), Tensor(b)), (Tensor(a), b), (a, Tensor(b)), (Tensor(a), 2), (Tensor(a), [2, 2, 2]),
                        (Tensor(a), np.float32(2))):
        result = compare(left, right)
        assert isinstance(result, np.ndarray)
        assert result.dtype == bool
        np.testing.assert_array_equal(result, compare(a, b))
    np.testing.assert_array_equal(compare(2, Tensor(a)), compare(2, a))
    np.testing.assert_array_equal(compare(np.float64(2), Tensor(a)), compare(2, a))
    with pytest.raises(ValueError, match=r"a Tensor of shape \(3,\) can't be compared with \(2,\)"):
        compare(Tensor(a), np.ones(2))


def test_what_is_no_number_is_unequal_and_has_no_order():
    t = leaf(1.0, 2.0)
    assert (t == None) is False  # noqa: E711
    assert t != "abc"
    with pytest.raises(TypeError, match="'<' not supported between instances of 'Tensor' and 'str'"):
        t < "abc"  # noqa: B015


def test_a_tensor_is_found_by_identity():
    t, u = leaf(1.0, 2.0), leaf(1.0, 2.0)
    assert t in [t, u]
    assert {t: 1, u: 2}[u] == 2
    assert len({t, u, t}) == 2
    with pytest.raises(ValueError, match="ambiguous"):
        t in [u]  # noqa: B015 - equal values are not the same Tensor: Python asks for the truth of an array


X = np.array([[[0.7], [-1.5], [2.0]], [[0.1], [3.0], [-0.4]]])
METHODS = {
    "max": (lambda t: t.max(axis=1), lambda a: a.max(axis=1)),
    "max of all": (lambda t: t.max(), lambda a: a.max()),
    "min": (lambda t: t.min((0, 1), keepdims=True), lambda a: a.min((0, 1), keepdims=True)),
    "abs": (lambda t: t.abs(), np.abs),
    "built-in abs": (abs, np.abs),
    "exp": (lambda t: t.exp(), np.exp),
    "log": (lambda t: (t * t).log(), lambda a: np.log(a * a)),
    "sqrt": (lambda t: (t * t + 1).sqrt(), lambda a: np.sqrt(a * a + 1)),
    "clip": (lambda t: t.clip(-1, 1.2), lambda a: np.clip(a, -1, 1.2)),
    "clip below": (lambda t: t.clip(low=0.0), lambda a: np.maximum(a, 0)),
    "flatten": (lambda t: t.flatten(), np.ravel),
    "flatten from 1": (lambda t: t.flatten(1), lambda a: a.reshape(2, 3)),
    "T": (lambda t: t.T, np.transpose),
    "squeeze": (lambda t: t.squeeze(), np.squeeze),
    "mean": (lambda t: t.mean(0), lambda a: a.mean(0)),
    "np.exp": (np.exp, np.exp),
    "np.add": (lambda t: np.add(np.ones(1), t), lambda a: a + 1),
    "np.log of a product": (lambda t: np.log(np.multiply(t, t)), lambda a: np.log(a * a)),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_numpys_and_its_gradient_finite_differences(name):
    ours, theirs = METHODS[name]
    y = ours(Tensor(X))
    assert isinstance(y, Tensor)
    np.testing.assert_allclose(y.numpy(), theirs(X), rtol=1e-14)
    report = gradcheck(ours, X)
    assert (report.coordinates, report.kinks) == (6, [])


def test_argmax_is_numpys():
    np.testing.assert_array_equal(Tensor(X).argmax(1), X.argmax(1))
    assert Tensor(X).argmax() == X.argmax()
    with pytest.raises(ValueError, match=r"argmax: axis 3 is out of range for shape \(2, 3, 1\)"):
        Tensor(X).argmax(3)
    with pytest.raises(ValueError, match=r"argmax: shape \(0, 2\) has no values"):
        Tensor(np.ones((0, 2))).argmax()


@pytest.mark.parametrize("call", [np.sin, lambda t: np.add(t, t, out=np.ones(2)), np.add.reduce])
def test_a_numpy_function_without_an_op_says_what_to_do(call):
    with pytest.raises(TypeError, match=r"np\..+ can't record a gradient: use the functions of minicnn\.ops, or"):
        call(leaf(1.0, 2.0))


def test_a_scalar_is_a_number():
    t = Tensor(np.array(3.14159))
    assert float(t) == 3.14159
    assert f"{t:.3f}" == "3.142"
    assert f"{t}" == str(t)
    assert int(t) == 3
    assert float(Tensor([2.5])) == 2.5
    for wrong in (float, int, lambda t: f"{t:.3f}", lambda t: t.item()):
        with pytest.raises(ValueError, match=r"item: only a Tensor of one element is a number, .* shape \(2,\)"):
            wrong(leaf(1.0, 2.0))
    for call in (len, iter, list):
        with pytest.raises(TypeError, match=r"len: a Tensor of shape \(\) has no axis to iterate over"):
            call(t)
    assert [row.shape for row in Tensor(X)] == [(3, 1), (3, 1)]
    with pytest.raises(TypeError, match="has a shape but no values"):
        Tensor(np.ones(1), device="meta").item()


def test_lists_that_are_no_array():
    with pytest.raises(ValueError, match="nested lists must hold numbers, the same count in every row"):
        Tensor([[1.0, 2.0], [3.0]])
    for wrong in (None, "abc", {"a": 1}, [1j]):
        with pytest.raises(TypeError, match="a Tensor holds float32, float64, integers or booleans, not"):
            Tensor(wrong)


# ---------------------------------------------------------------------------------------------------- changed in place


@pytest.mark.parametrize(("change", "name"), [(lambda x, w, y: x.data.__imul__(2), "x"),
                                              (lambda x, w, y: w.data.__setitem__((0, 0), 9), "w"),
                                              (lambda x, w, y: y.data.__iadd__(1), "the output")])  # fmt: skip
def test_a_change_in_place_is_found_under_debug(change, name):
    def run(mutate):
        x, w = Tensor(np.arange(6.0).reshape(2, 3), True), Tensor(np.ones((4, 3)), True)
        y = ops.linear(x, w)
        z = y.sum()
        if mutate:
            change(x, w, y)
        z.backward()
        return x.grad

    with minicnn.debug():
        np.testing.assert_array_equal(run(False), np.full((2, 3), 4.0))
        with pytest.raises(RuntimeError, match=rf"^backward: ({name}|x) of '(linear|sum)' was changed in place"):
            run(True)
    run(True)                                                      # outside the block nothing is looked at


def test_debug_sees_a_changed_constant_and_an_integer_array():
    logits, labels = Tensor(np.eye(3), True), np.array([0, 1, 2])
    with minicnn.debug():
        loss = ops.cross_entropy(logits, labels)
        labels[0] = 2
        with pytest.raises(RuntimeError, match="labels of 'cross_entropy' was changed in place"):
            loss.backward()


def test_arrays_of_numpy_and_of_cupy_leave_operators_to_the_tensor():
    t = Tensor(np.array([1.0, 2.0]), True)
    assert isinstance(np.array([3.0, 4.0]) + t, Tensor)  # NumPy asks type(t)
    # CuPy's arrays defer to the right operand if the attribute of the instance is None (cupy/_core/core.pyx)
    assert t.__array_ufunc__ is None
