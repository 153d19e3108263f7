"""The engine: what it records, what it plays back, what it refuses and in which words."""

import gc
import weakref

import numpy as np
import pytest

from minicnn import Tensor, no_grad
from minicnn.ops.activation import leaky_relu, relu
from minicnn.ops.arithmetic import exp
from minicnn.ops.batch_norm import batch_norm
from minicnn.ops.conv import conv2d
from minicnn.ops.linear import linear
from minicnn.ops.memoise import memoise_by_dy
from minicnn.ops.pool import max_pool2d
from minicnn.ops.shape import concat
from minicnn.recording import on_gradient, watch_ops
from minicnn.tensor import op


def leaf(*values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


# --------------------------------------------------------------------------------------------------------- derivatives


def test_a_chain_of_rules_by_hand():
    a, b = leaf(2.0, 3.0), leaf(4.0, 5.0)
    y = (a * b + a) / b - a**2  # dy/da = 1 + 1/b − 2a    dy/db = −a/b²
    y.backward(np.array([1.0, 10.0]))
    np.testing.assert_allclose(a.grad, [(1 + 1 / 4 - 4), 10 * (1 + 1 / 5 - 6)], rtol=1e-15)
    np.testing.assert_allclose(b.grad, [-2 / 16, -10 * 3 / 25], rtol=1e-15)


def test_a_leaf_may_lie_in_memory_that_is_no_array():
    x = Tensor(np.frombuffer(np.arange(3.0).tobytes()), requires_grad=True)
    (x * 2).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2, 2])


def test_a_gradient_is_reported_when_it_is_complete_and_the_last_layers_comes_first():
    first, second, third, unused = leaf(1.0), leaf(2.0), leaf(3.0), leaf(4.0)
    seen = []
    names = {id(first): "first", id(second): "second", id(third): "third"}
    with on_gradient(lambda p: seen.append((names[id(p)], float(p.grad[0])))):
        # `second` is used early and late: it is complete only after its early use
        (((first * second) * second) * third).sum().backward()
    assert seen == [("third", 4.0), ("first", 12.0), ("second", 12.0)]
    assert unused.grad is None
    with on_gradient(lambda p: seen.append(p.grad.tolist())):
        first.backward(np.array([5.0]))                            # the root itself is a leaf
    assert seen[-1] == [17.0]
    (first * 1).sum().backward()
    assert len(seen) == 4, "outside the block nobody is told"


def test_while_a_gradient_is_reported_those_before_it_are_not_computed():
    done = []

    @op
    def slow(x):
        return x * 1, lambda dy: done.append("slow") or dy

    early, late = leaf(1.0), leaf(2.0)
    with on_gradient(lambda p: done.append("late" if p is late else "early")):
        (slow(early) * late).sum().backward()
    assert done == ["late", "slow", "early"]


def test_gradients_accumulate_over_calls():
    a = leaf(1.0, 2.0)
    for expected in ([3.0, 3.0], [6.0, 6.0], [9.0, 9.0]):
        (a * 3).sum().backward()
        np.testing.assert_array_equal(a.grad, expected)


def test_a_node_used_twice_gets_both_gradients():
    a = leaf(2.0)
    d = a * a  # the diamond: both arms meet in a
    (d * 3 + d * d).sum().backward()  # 3a² + a⁴ → 6a + 4a³
    np.testing.assert_array_equal(a.grad, [6 * 2 + 4 * 8])


def test_a_node_waits_for_all_its_uses():
    """Depth-first order would go back through `a * a` before the long arm has arrived."""
    a = leaf(1.5)
    short = a * a
    long = short
    for _ in range(10):
        long = long + 1
    (short * long).sum().backward()  # a²(a² + 10) → 4a³ + 20a
    np.testing.assert_allclose(a.grad, [4 * 1.5**3 + 20 * 1.5], rtol=1e-15)


def test_one_tensor_as_both_arguments():
    a = leaf(3.0, -1.0)
    (a / a + (a - a)).sum().backward()
    np.testing.assert_allclose(a.grad, [0, 0], atol=1e-16)


def test_5000_nodes_in_a_row():
    a = leaf(1.0)
    y = a
    for _ in range(5000):
        y = y * 1.0001 + 0.0
    y.sum().backward()
    np.testing.assert_allclose(a.grad, [1.0001**5000], rtol=1e-12)


def test_a_long_graph_can_be_dropped_without_backward():
    y = leaf(1.0)
    for _ in range(50_000):
        y = -y
    del y
    gc.collect()


def test_exponentially_many_paths_take_linear_time():
    a = leaf(1.0)
    y = a
    for _ in range(200):  # 2²⁰⁰ paths
        y = y * 0.5 + y * 0.5
    y.sum().backward()
    np.testing.assert_array_equal(a.grad, [1.0])


def test_backward_of_a_leaf_itself():
    a, dy = leaf(1.0, 2.0), np.array([5.0, 7.0])
    a.backward(dy)
    np.testing.assert_array_equal(a.grad, dy)
    assert a.grad is not dy
    a.backward(Tensor(dy))
    np.testing.assert_array_equal(a.grad, [10, 14])


# ------------------------------------------------------------------------------------------------------------- refusals


def test_a_second_backward_says_what_to_do():
    y = leaf(1.0) * 2
    y.backward()
    with pytest.raises(
        RuntimeError,
        match=r"graph behind this 'multiply' was freed by an earlier backward: run the forward "
        r"pass again, or add the losses up",
    ):
        y.backward()


def test_a_freed_subgraph_shared_by_two_losses():
    a = leaf(1.0)
    middle = exp(a)
    first, second = middle.sum(), (middle * 2).sum()
    first.backward()
    before = a.grad.copy()
    with pytest.raises(
        RuntimeError, match=r"graph behind this 'exp' was freed.*add the losses up and call backward once"
    ):
        second.backward()
    np.testing.assert_array_equal(a.grad, before)  # refused before anything was added


@pytest.mark.parametrize(("shape", "dy_shape"), [((3,), (4,)), ((2, 3), (3,)), ((2, 3), ()), ((1,), ()), ((), (1,))])
def test_dy_of_another_shape(shape, dy_shape):
    y = Tensor(np.ones(shape), True) * 2
    with pytest.raises(ValueError) as caught:
        y.backward(np.ones(dy_shape))
    assert (
        str(caught.value)
        == f"backward: dy has shape {dy_shape}, but the Tensor has shape {shape}: the two must be the same"
    )


def test_dy_may_be_left_out_for_one_element_only():
    a = leaf(1.0, 2.0)
    with pytest.raises(
        ValueError, match=r"may be left out only for a scalar, but this Tensor has shape \(2,\): pass an array"
    ):
        (a * 2).backward()
    (a * 2)[0].backward()
    (a * 2)[1:].backward()
    np.testing.assert_array_equal(a.grad, [2, 2])


def test_nothing_to_differentiate():
    sentence = (
        r"depends on nothing that requires a gradient, or was computed under no_grad: start from a leaf made with "
        r"Tensor\(array, requires_grad=True\)"
    )
    with pytest.raises(RuntimeError, match=sentence):
        (Tensor([1.0]) * 2).backward()
    with no_grad():
        y = leaf(1.0) * 2
    with pytest.raises(RuntimeError, match=sentence):
        y.backward()
    with pytest.raises(RuntimeError, match=sentence):
        (leaf(1.0) * 2).detach().backward()


def test_a_gradient_of_the_wrong_shape_or_dtype_names_the_op():
    @op
    def misshapen(x):
        return x, lambda dy: dy[:1]

    @op
    def widened(x):
        return x, lambda dy: dy.astype(np.float64)

    with pytest.raises(
        AssertionError, match=r"misshapen: gradient of shape \(1,\) and float64 for an argument of shape \(2,\)"
    ):
        misshapen(leaf(1.0, 2.0)).sum().backward()
    with pytest.raises(
        AssertionError, match=r"widened: gradient of shape \(1,\) and float64 for .* shape \(1,\) and float32"
    ):
        widened(leaf(1.0, dtype=np.float32)).sum().backward()


# ----------------------------------------------------------------------------------------------------- recording or not


def test_no_grad_as_a_context():
    a = leaf(1.0)
    with no_grad():
        y = a * 2
        with no_grad():
            pass
        assert not (a * 2).requires_grad  # the inner one gives back what it found
    assert not y.requires_grad
    assert y._parents == ()
    assert (a * 2).requires_grad


def test_no_grad_as_a_decorator_and_after_an_exception():
    @no_grad()
    def double(a):
        if a.shape == (0,):
            raise ZeroDivisionError
        return a * 2

    for _ in range(2):
        assert not double(leaf(1.0)).requires_grad
    with pytest.raises(ZeroDivisionError):
        double(leaf())
    assert (leaf(1.0) * 2).requires_grad


def test_only_leaves_that_ask_get_a_gradient():
    a, b = leaf(1.0), Tensor(np.array([2.0]))
    middle = a * b
    y = middle * 3
    y.backward()
    np.testing.assert_array_equal(a.grad, [6.0])
    assert b.grad is None
    assert middle.grad is None
    assert y.grad is None


def test_a_gradient_nobody_wants_is_not_computed():
    def never(dy):
        raise AssertionError("computed in vain")

    @op(numbers=("w",))
    def second_is_dear(x, w):
        return x * w, (lambda dy: dy * w, never)

    @op
    def first_is_dear(x, w):
        return x * w, (never, lambda dy: dy * x)

    a, image, number = leaf(2.0), Tensor(np.array([3.0])), 3.0
    second_is_dear(a, image).backward()
    second_is_dear(a, number).backward()
    first_is_dear(image.data, a).backward()
    np.testing.assert_array_equal(a.grad, [9.0])
    with pytest.raises(AssertionError, match="in vain"):
        first_is_dear(a, image).backward()


def test_the_image_of_a_convolution_has_no_dx(monkeypatch):
    from minicnn import cpu

    monkeypatch.setattr(cpu, "conv2d_dx", lambda *_: pytest.fail("dx of the image was computed"))
    x, w = Tensor(np.ones((1, 1, 3, 3))), Tensor(np.ones((1, 1, 2, 2)), True)
    conv2d(x, w).sum().backward()
    np.testing.assert_array_equal(w.grad, np.full((1, 1, 2, 2), 4.0))


# --------------------------------------------------------------------------------------------------------- whose array


def test_gradients_of_leaves_are_their_own_arrays():
    @op
    def passes_dy(a, b, c):
        half = memoise_by_dy(lambda dy: dy * 0.5)  # one array for two arguments
        return a + b + c, (lambda dy: dy, half, half)

    for function in (lambda a, b, c: a + b + c, passes_dy, lambda a, b, c: a.reshape(2) + b.transpose(0) - (-c)):
        a, b, c, dy = leaf(1.0, 2.0), leaf(3.0, 4.0), leaf(5.0, 6.0), np.array([1.0, 1.0])
        function(a, b, c).backward(dy)
        arrays = [a.grad, b.grad, c.grad, dy, a.data, b.data, c.data]
        for i, one in enumerate(arrays):
            for other in arrays[i + 1 :]:
                assert not np.shares_memory(one, other)
        assert all(g.flags.writeable for g in arrays[:3])


@pytest.mark.parametrize("swapped", [False, True])
def test_a_gradient_on_its_way_to_two_nodes_is_changed_for_neither(swapped):
    """`both` hands one array to p and q; what else arrives at p must not arrive at q, nor in the caller's dy."""

    @op
    def both(a, b):
        return a + b, (lambda dy: dy, lambda dy: dy)

    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    p, q = a * 1, b * 1
    arms = (both(p, q), p * 5)
    (arms[1] + arms[0] if swapped else arms[0] + arms[1]).sum().backward()
    np.testing.assert_array_equal(a.grad, [6, 6])
    np.testing.assert_array_equal(b.grad, [1, 1])

    c, dy = leaf(1.0, 2.0), np.array([1.0, 10.0])
    r = c * 1
    both(r, r).backward(dy)
    np.testing.assert_array_equal(dy, [1, 10])
    np.testing.assert_array_equal(c.grad, [2, 20])


def test_a_kept_gradient_does_not_change_later():
    a = leaf(1.0)
    (a * 2).backward()
    kept = a.grad
    (a * 5).backward()
    np.testing.assert_array_equal(kept, [2.0])
    np.testing.assert_array_equal(a.grad, [7.0])


def test_broadcast_gradients_are_real_arrays():
    a = leaf(1.0, 2.0, 3.0)
    a.sum().backward()
    a.grad += 1  # a broadcast view would refuse, or change thrice
    np.testing.assert_array_equal(a.grad, [2, 2, 2])


def test_data_is_shared_with_the_caller():
    array = np.array([1.0, 2.0])
    t = Tensor(array)
    array[0] = 5
    assert t.numpy()[0] == 5
    assert Tensor(t).data is array
    assert t.detach().data is array


# ------------------------------------------------------------------------------------------------------------- memory


def test_backward_frees_the_graph_while_it_goes():
    a = Tensor(np.ones(1000), True)
    middle = exp(a)
    watched = weakref.ref(middle.data)
    y = (middle * 2).sum()
    del middle
    assert watched() is not None  # kept for exp's gradient
    y.backward()
    assert watched() is None  # although y, the loss, lives on
    assert y.item() == pytest.approx(2000 * np.e)


def test_no_grad_keeps_nothing():
    a = Tensor(np.ones(1000), True)
    with no_grad():
        middle = exp(a)
        watched = weakref.ref(middle.data)
        y = (middle * 2).sum()
        del middle
    assert watched() is None
    assert y.shape == ()


def test_there_are_no_cycles_to_wait_for():
    """Without backward the graph goes with its last name, not when the collector comes by."""
    gc.disable()
    try:
        a = Tensor(np.ones(1000), True)
        y = (exp(a) * 2).sum()
        watched = weakref.ref(y._parents[0])
        del y
        assert watched() is None
    finally:
        gc.enable()


# --------------------------------------------------------------------------------------------------- @op and its extras


def test_arrays_may_be_given_by_keyword(rng):
    x, w, b = rng.standard_normal((2, 3, 5, 4)), rng.standard_normal((2, 3, 3, 2)), rng.standard_normal(2)
    tensors = [Tensor(a, True) for a in (x, w, b)]
    by_position = conv2d(*tensors, padding=1)
    for y in (
        conv2d(tensors[0], tensors[1], b=tensors[2], padding=1),
        conv2d(tensors[0], w=tensors[1], b=tensors[2], padding=1),
        conv2d(padding=1, b=tensors[2], x=tensors[0], w=tensors[1]),
    ):
        np.testing.assert_array_equal(y.numpy(), by_position.numpy())
        tensors[2].grad = None
        y.sum().backward()
        np.testing.assert_array_equal(tensors[2].grad, [2.0 * 5 * 5] * 2)
    shifted = batch_norm(x, beta=np.array([1.0, 2.0, 3.0]))  # gamma in between is left out
    np.testing.assert_allclose(shifted.numpy().mean((0, 2, 3)), [1, 2, 3], rtol=1e-12)


def test_aux_holds_plain_arrays_outside_the_graph(rng):
    x = Tensor(rng.standard_normal((4, 3, 5)), True)
    y = batch_norm(x)
    mean, var = y.aux
    np.testing.assert_allclose(mean, x.data.mean((0, 2)), atol=1e-15)
    np.testing.assert_allclose(var, x.data.var((0, 2)), rtol=1e-13)
    assert isinstance(mean, np.ndarray)
    (winner,) = max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), kernel_size=2).aux
    np.testing.assert_array_equal(winner, np.full((1, 1, 2, 2), 3))
    assert relu(x).aux == ()


def test_constants_need_no_gradient_and_any_dtype():
    @op(constants=("where",))
    def pick(x, where):
        return x[where], (lambda dy: np.bincount(where, dy, len(x)), None)

    a = leaf(1.0, 2.0, 3.0)
    pick(a, np.array([2, 0, 2])).sum().backward()
    np.testing.assert_array_equal(a.grad, [1, 0, 2])
    assert pick.arguments == ("x", "where")
    assert pick.constants == ("where",)


def test_the_bare_function_stays_reachable():
    y, dx = relu.__wrapped__(np.array([-1.0, 2.0]))
    np.testing.assert_array_equal(y, [0, 2])
    np.testing.assert_array_equal(dx(np.array([3.0, 4.0])), [0, 4])
    assert "Nair" in relu.__doc__
    assert relu.__name__ == "relu"


def test_shared_computes_once_for_each_dy():
    calls = []

    def count(dy):
        calls.append(dy)
        return dy * 2

    remembered = memoise_by_dy(count)
    one, two = np.ones(2), np.ones(2)
    assert remembered(one) is remembered(one)
    remembered(two)
    assert len(calls) == 2


def test_batch_norm_makes_its_sums_once(monkeypatch, rng):
    from minicnn import devices

    device = devices.get("cpu")
    calls, right = [], device.batch_norm_sums
    monkeypatch.setattr(device, "batch_norm_sums", lambda *a, **relu: calls.append(1) or right(*a, **relu))
    arrays = [Tensor(a, True) for a in (rng.standard_normal((4, 3)), np.ones(3), np.ones(3))]
    batch_norm(*arrays).backward(rng.standard_normal((4, 3)))
    assert len(calls) == 1


def test_concat_of_one_tensor_twice():
    a = leaf(1.0, 2.0)
    concat(a, a * 2, a, axis=0).backward(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    np.testing.assert_array_equal(a.grad, [1 + 6 + 5, 2 + 8 + 6])


def test_repr_says_what_it_is():
    assert repr(leaf(1.0, 2.0)) == "Tensor([1., 2.], dtype=float64, requires_grad=True)"
    assert repr(Tensor([1.0])) == "Tensor([1.], dtype=float32)"
    t = Tensor(np.ones((2, 3)))
    assert (t.shape, t.ndim, t.size, t.device) == ((2, 3), 2, 6, "cpu")


def test_a_tensor_is_true_as_its_value_is_and_an_array_when_asked():
    assert not Tensor([0.0])
    assert Tensor(2.0)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(Tensor([1.0, 2.0]))
    x = np.arange(6.0).reshape(2, 3)
    assert np.asarray(Tensor(x)) is x
    assert np.asarray(Tensor(x), np.float32).dtype == np.float32


def test_axes_may_be_given_one_by_one_or_together_and_must_name_each_axis_once():
    x = np.arange(24.0).reshape(2, 3, 4)
    for y in (Tensor(x).transpose(1, 2, 0), Tensor(x).transpose((1, 2, 0)), Tensor(x).transpose(1, -1, 0)):
        np.testing.assert_array_equal(y.numpy(), x.transpose(1, 2, 0))
    with pytest.raises(ValueError, match=r"^transpose: axes \(0, 0, 1\) must name each of the 3 axes .* once$"):
        Tensor(x).transpose(0, 0, 1)


@pytest.mark.parametrize(("arguments", "value"), [((3,), "3"), ((None,), "None")])
def test_a_number_where_an_array_must_stand(arguments, value):
    with pytest.raises(TypeError, match=rf"^conv2d: w must be a Tensor or an array, not {value}$"):
        conv2d(Tensor(np.zeros((1, 1, 4, 4))), *arguments)


# ----------------------------------------------------------------------------------------------- watching and changing


def test_who_watches_ops_is_told_of_each():
    a, seen = leaf(1.0, 2.0), []
    with watch_ops(lambda op, args, hyper, y: seen.append((op.__name__, args, hyper, y))), no_grad():
        y = leaky_relu(a * 3, negative_slope=0.5)
    exp(a)
    assert [name for name, *_ in seen] == ["multiply", "leaky_relu"]
    (_, args, _, product), (_, (given,), hyper, last) = seen
    assert args[0] is a
    assert args[1] == 3
    assert given is product
    assert hyper == {"negative_slope": 0.5}
    assert last is y


def test_an_array_given_by_keyword_is_told_in_its_place():
    x, w, b, seen = leaf([1.0, 2.0]), leaf([3.0, 4.0]), leaf(5.0), []
    with watch_ops(lambda op, args, hyper, y: seen.append((args, hyper))):
        linear(x, w, b=b)
    (args, hyper), = seen
    assert args[2] is b
    assert hyper == {}


def test_a_tensor_that_is_cut_off_is_where_backward_ends():
    a = leaf(2.0)
    b = a * 3
    c = b * b
    assert b.detach_(requires_grad=True) is b
    c.backward()
    np.testing.assert_array_equal(b.grad, [12])
    assert a.grad is None


def test_a_rule_stands_in_for_an_ops_gradient():
    x = leaf(-1.0, 2.0, 3.0)
    y = relu(x * 2) * Tensor(np.array([1.0, -1.0, 1.0]))
    y.backward(np.array([5.0, 7.0, 9.0]), rules={"relu": lambda dy, dx: dx(dy.clip(0)) * 10})
    np.testing.assert_array_equal(x.grad, [0, 0, 180])


def test_a_rule_is_for_the_first_argument_alone():
    a, b = leaf(2.0), leaf(5.0)
    (a * b).backward(rules={"multiply": lambda dy, dx: 100 * dy})
    assert (a.grad, b.grad) == ([100], [2])
