"""The table of ops, and training steps of whole nets, on the GPU backend: emulated in three thread orders, or real."""

import numpy as np
import pytest

import minicnn
from minicnn import Tensor, devices, gradcheck, models, nn, no_grad, optim
from minicnn.ops.softmax import cross_entropy
from minicnn.ops_table import MASKS, TABLE

CASES = [pytest.param(r, c, id=f"{r.name}-{i}") for r in TABLE for i, c in enumerate(r.cases)]
every_case = pytest.mark.parametrize(("row", "case"), CASES)
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}


def run(row, case, device, dtype, layout=lambda a: a):
    """(y, gradients) as NumPy arrays, all arguments on `device`."""
    tensors = []
    for i, a in enumerate(case.inputs(1)):
        constant = row.op.arguments[min(i, len(row.op.arguments) - 1)] in row.op.constants
        real = a is not None and a.dtype.kind == "f"
        there = a if a is None else layout(devices.get(device).asarray(a.astype(dtype) if real else a))
        tensors.append(there if a is None else Tensor(there, real and not constant))
    y = row.op(*tensors, **case.hyper)
    dy = np.random.default_rng(2).standard_normal(y.shape).astype(dtype)
    y.backward(layout(devices.get(device).asarray(dy)))
    for t in tensors:
        if t is not None and t.requires_grad:
            assert isinstance(t.grad, devices.get(device).xp.ndarray)
    return y.numpy(), [devices.get(device).to_numpy(t.grad) for t in tensors if t is not None and t.requires_grad]


def in_turn(kinds):
    """Every case with each of the kinds; they take turns from case to case, the others are slow."""
    return [pytest.param(*p.values, kind, id=f"{p.id}-{getattr(kind, '__name__', kind)}",
                         marks=() if (i + j) % len(kinds) == 0 else pytest.mark.slow)
            for i, p in enumerate(CASES) for j, kind in enumerate(kinds)]


def assert_near(got, expected, tolerance):
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    assert abs(got.astype(np.float64) - expected).max(initial=0) <= tolerance * (abs(expected).max(initial=0) + 1e-12)


@pytest.mark.parametrize(("row", "case", "dtype"), in_turn(TOLERANCE))
def test_values_and_gradients_are_the_cpus(row, case, device, dtype):
    """Against float64 on the CPU, which others compare with the definitions: float64 to 1e-10, float32 to 1e-4."""
    y, grads = run(row, case, device, dtype)
    exact_y, exact_grads = run(row, case, "cpu", "float64")
    assert y.dtype == dtype
    assert all(g.dtype == dtype for g in grads)
    assert_near(y, exact_y, TOLERANCE[dtype])
    assert len(grads) == len(exact_grads) > 0
    for g, e in zip(grads, exact_grads):
        assert_near(g, e, TOLERANCE[dtype])


@pytest.mark.parametrize(("row", "case"), [
    pytest.param(*p.values, id=p.id, marks=() if i % 5 == 0 else pytest.mark.slow) for i, p in enumerate(CASES)])
def test_values_are_the_definition(row, case, device):
    """Of every fifth case: the test above compares all of them with the CPU, which computes the definition."""
    arrays = case.inputs(0)
    backend = devices.get(device)
    y = row.op(*[a if a is None else backend.asarray(a) for a in arrays], **case.hyper)
    assert_near(y.numpy(), row.definition(*arrays, **case.hyper), 1e-10)


@pytest.mark.parametrize("row", MASKS, ids=lambda row: row.name)
def test_masks_are_the_definition(row, device):
    for case in row.cases:
        y = row.op(*(Tensor(a, device=device) for a in case.inputs(0)))
        assert (y.device, y.dtype) == (device, bool)
        np.testing.assert_array_equal(y.numpy(), row.definition(*case.inputs(0)))


@pytest.mark.parametrize(("row", "case"), [p for p in CASES if p.id.endswith("-0")])
def test_gradients_are_finite_differences(row, case, emulated, monkeypatch):
    monkeypatch.setitem(devices._backends, "emulated", emulated("shuffled"))
    report = gradcheck(row.op, *case.inputs(0), device="emulated", **case.hyper)
    assert report.worst <= 1e-6
    assert report.coordinates > 0


def gaps(a):
    """The same values, every second place of a wider array, backwards in memory."""
    if a.ndim == 0:
        return a
    xp = next(d for d in devices._backends.values() if isinstance(a, d.xp.ndarray)).xp
    wide = xp.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a[..., ::-1]
    return wide[..., ::2][..., ::-1]


def turned(a):
    """The same values, first axis fastest."""
    return a if a.ndim < 2 else devices.of(a).xp.ascontiguousarray(a.T).T


@pytest.mark.parametrize(("row", "case", "layout"), in_turn((gaps, turned)))
def test_strides_do_not_matter(row, case, emulated, monkeypatch, layout):
    monkeypatch.setitem(devices._backends, "emulated", emulated())
    y, grads = run(row, case, "emulated", "float64")
    y2, grads2 = run(row, case, "emulated", "float64", layout)
    for a, b in zip((y2, *grads2), (y, *grads)):
        assert_near(a, b, 1e-12)


@every_case
def test_twice_the_same_bits_and_nothing_given_is_changed(row, case, device):
    backend = devices.get(device)
    arrays = [a if a is None else backend.asarray(a.astype("float32") if a.dtype.kind == "f" else a)
              for a in case.inputs(3)]  # fmt: skip
    before = [None if a is None else backend.to_numpy(a) for a in arrays]

    def once():
        y, vjps = row.op.__wrapped__(*arrays, **case.hyper)[:2]
        y = backend.asarray(y)
        dy = backend.asarray(np.random.default_rng(9).standard_normal(y.shape).astype("float32"))
        kept = backend.to_numpy(dy)
        grads = [backend.to_numpy(backend.asarray(f(dy))) for f in (vjps if isinstance(vjps, tuple) else (vjps,)) if f]
        np.testing.assert_array_equal(backend.to_numpy(dy), kept)
        return [backend.to_numpy(y), *grads]

    for a, b in zip(once(), once()):
        assert a.tobytes() == b.tobytes()
    for a, was in zip(arrays, before):
        if a is not None:
            np.testing.assert_array_equal(backend.to_numpy(a), was)


# ------------------------------------------------------------------------------------------------------- whole nets


NETS = {"lenet5": ({}, (3, 1, 28, 28)), "resnet20": ({"width": 0.5}, (4, 3, 8, 8))}
SETTINGS = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}


def net(name, dtype, device, seed=0):
    """(the net, with parameters from a seed of their own, images, labels)"""
    options, shape = NETS[name]
    minicnn.seed(seed)
    rng, model = np.random.default_rng(seed), models.build(name, **options)
    state = {k: v + 0.05 * rng.standard_normal(v.shape).astype(v.dtype) for k, v in model.state_dict().items()
             if "running" not in k}  # fmt: skip
    model.load_state_dict(state, strict=False)
    model.astype(dtype).to(device)
    x, labels = rng.standard_normal(shape).astype(dtype), rng.integers(0, 10, shape[0])
    return model, Tensor(x, device=device), Tensor(labels, device=device)


def step(name, dtype, device, optimizer):
    """(loss, {parameter: gradient}, {name: array} after two steps)"""
    model, x, labels = net(name, dtype, device)
    update = optimizer(model.parameters())
    for i in range(2):
        update.zero_grad()
        loss = cross_entropy(model(x), labels)
        loss.backward()
        if i == 0:
            first = loss.item(), {k: devices.of(p.grad).to_numpy(p.grad).copy() for k, p in model.named_parameters()
                                  if p.grad is not None}  # fmt: skip
        update.step()
    return *first, model.state_dict()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", NETS)
def test_a_training_step_is_the_cpus(name, dtype, device):
    """Loss, every gradient, every parameter and running statistic after two steps; against float64 on the CPU."""
    def sgd(parameters):
        return optim.SGD(parameters, **SETTINGS)

    loss, grads, state = step(name, dtype, device, sgd)
    exact_loss, exact_grads, exact_state = step(name, "float64", "cpu", sgd)
    tolerance = TOLERANCE[dtype]
    assert abs(loss - exact_loss) <= tolerance * exact_loss
    assert grads.keys() == exact_grads.keys()
    largest = max(abs(g).max() for g in exact_grads.values())
    for k, g in grads.items():
        # a gradient that is 0 but for rounding (a bias before batch norm) is judged by the net's largest
        assert abs(g - exact_grads[k]).max() <= tolerance * max(abs(exact_grads[k]).max(), 0.1 * largest), k
    for k, a in state.items():
        assert a.dtype == dtype
        assert_near(a, exact_state[k], tolerance)


def test_adam_and_dropout_train_as_on_the_cpu(device):
    """The same masks on every device: two steps of a small net with dropout agree."""
    results = []
    for where in (device, "cpu"):
        rng = np.random.default_rng(0)
        layers = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                               nn.Dropout(0.4), nn.Flatten(), nn.Linear(4 * 3 * 3, 5))  # fmt: skip
        layers.load_state_dict({k: rng.standard_normal(v.shape) * 0.3 for k, v in layers.state_dict().items()
                                if "running" not in k}, strict=False)  # fmt: skip
        layers.astype("float64").to(where)
        minicnn.seed(7)
        update = optim.Adam(layers.parameters(), lr=0.01)
        x = Tensor(rng.standard_normal((6, 2, 6, 6)), device=where)
        labels = Tensor(rng.integers(0, 5, 6), device=where)
        for _ in range(2):
            update.zero_grad()
            cross_entropy(layers(x), labels).backward()
            update.step()
        results.append(layers.state_dict())
    for k, a in results[0].items():
        assert_near(a, results[1][k], 1e-10)


@pytest.mark.parametrize("steps", [6])                             # a parameter, so that one thread order is enough
def test_a_net_learns_there(device, steps):
    """LeNet-5's loss on one batch falls, in float32."""
    model, x, labels = net("lenet5", "float32", device)
    update, losses = optim.SGD(model.parameters(), lr=0.02, momentum=0.9), []
    for _ in range(steps):
        update.zero_grad()
        loss = cross_entropy(model(x), labels)
        loss.backward()
        update.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_nothing_races_in_a_training_step(emulated, monkeypatch):
    """One traced step of a net with every kind of layer: a race anywhere is an error."""
    monkeypatch.setitem(devices._backends, "emulated", emulated(trace=True))
    layers = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.Conv2d(4, 6, 1), nn.LocalResponseNorm(3), nn.MaxPool2d(2), nn.Dropout(0.4), nn.Conv2d(6, 5, 3, stride=2),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(5, 3),
    )  # fmt: skip
    layers.to("emulated")
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((2, 2, 10, 10)).astype(np.float32), True, device="emulated")
    loss = cross_entropy(layers(x), Tensor(rng.integers(0, 3, 2), device="emulated"))
    loss.backward()
    optim.SGD(layers.parameters(), lr=0.1, momentum=0.9).step()
    assert np.isfinite(loss.item())
    assert all(np.isfinite(p.numpy()).all() for p in layers.parameters())


# ----------------------------------------------------------------------------------------------- there, back, and mixed


def test_tensors_and_modules_move_there_and_back(device):
    leaf = Tensor(np.arange(3.0), requires_grad=True)
    t = leaf.to(device)
    assert t.device == device
    assert t.requires_grad
    assert f"device={device!r}" in repr(t)
    (t * t).sum().backward()
    np.testing.assert_array_equal(leaf.grad, [0, 2, 4])              # on the cpu, as the leaf is
    np.testing.assert_array_equal(t.to("cpu").numpy(), [0, 1, 2])
    model = models.build("lenet5")
    before = model.state_dict()
    assert {p.device for p in model.to(device).parameters()} == {device}
    with no_grad():
        model(Tensor(np.zeros((1, 1, 28, 28), np.float32), device=device))
    for k, a in model.to("cpu").state_dict().items():
        np.testing.assert_array_equal(a, before[k])


def test_mixed_devices_get_a_sentence(device):
    here, there = Tensor([1.0]), Tensor([1.0], device=device)
    sentence = rf"add: a is on cpu but b is on {device}: move one of them with \.to\('cpu'\)"
    with pytest.raises(ValueError, match=sentence):
        here + there
    model = models.build("lenet5")
    with pytest.raises(ValueError, match=rf"is on {device} but \w+ is on cpu: move one of them with \.to"):
        model(Tensor(np.zeros((1, 1, 28, 28), np.float32), device=device))


def test_a_leafs_gradient_is_its_own(device):
    """Two leaves that add up get equal gradients, in two arrays."""
    a, b = (Tensor(np.ones(3), True, device=device) for _ in range(2))
    (a + b).sum().backward()
    a.grad += 1
    np.testing.assert_array_equal(devices.of(b.grad).to_numpy(b.grad), np.ones(3))


def test_numpy_and_the_device_do_not_mix(emulated):
    """What would be silently slow, or wrong, on a GPU is an error."""
    x = emulated().asarray(np.ones(3))
    for careless in (np.asarray, np.exp, lambda x: x + np.ones(3), lambda x: np.ones(3) * x,
                     lambda x: emulated().xp.add(x, np.ones(3))):  # fmt: skip
        with pytest.raises(TypeError):
            careless(x)
