"""PyTorch's checkpoints, read without PyTorch: the kept files always, and fresh ones where PyTorch is installed."""

import itertools

import numpy as np
import pytest

from minicnn.io.weights import load_weights
from tests.io import make_checkpoints
from tests.io.make_checkpoints import CASES, FOLDER, WAYS
from tests.io.weight_files import number, numbers, state, storage, zip_checkpoint

KEPT = sorted(path.name for path in FOLDER.glob("*.pt"))


def check(state, expected):
    assert state.keys() == expected.keys()
    for name, array in expected.items():
        assert state[name].dtype == array.dtype, name
        assert np.array_equal(state[name], array), name
        assert state[name].flags.writeable, name


def test_the_kept_files_are_those_of_the_cases():
    assert len(KEPT) == 2 * len(CASES) + 2
    assert max(path.stat().st_size for path in FOLDER.glob("*.pt")) < 10_000


@pytest.mark.parametrize("name", KEPT)
def test_kept_files(name):
    check(load_weights(FOLDER / name), CASES[name.split("-")[0]])


PLACE = b"(" + storage() + number(0) + numbers((2, 3)) + numbers((3, 1)) + b"\x89)t"


@pytest.mark.parametrize(("function", "arguments", "refused"), [
    (b"ctorch._utils\n_rebuild_tensor_v2\n", PLACE, ""),
    (b"ctorch._utils\n_rebuild_tensor_v2\n", b"]", "'a' is a 'a tensor of a class of its own'"),
    (b"ctorch._utils\n_rebuild_sparse_tensor\n", PLACE, "'a' is made by 'torch._utils._rebuild_sparse_tensor'"),
    (b"ctorch\nFloatStorage\n", PLACE, "'a' is a 'a tensor of a class of its own'"),
    (number(3), PLACE, "'a' is a 'a tensor of a class of its own'")])
def test_a_tensor_with_attributes_is_saved_as_a_call_that_makes_it(tmp_path, function, arguments, refused):
    """As `t.note = 1; torch.save({"a": t}, …)` writes it, by pickletools."""
    call = b"ctorch._tensor\n_rebuild_from_type_v2\n(" + function + b"ctorch\nTensor\n" + arguments + b"}tR"
    values = np.arange(6, dtype="<f4")
    (tmp_path / "a.pt").write_bytes(zip_checkpoint(state(("a", call)), (("0", values.tobytes()),)))
    if refused:
        with pytest.raises(ValueError, match=refused):
            load_weights(tmp_path / "a.pt")
    else:
        check(load_weights(tmp_path / "a.pt"), {"a": values.reshape(2, 3)})


@pytest.mark.parametrize("way", ["zip", "legacy"])
def test_what_shared_memory_shares_it_again(way):
    state = load_weights(FOLDER / f"views-{way}.pt")
    state["again"][2, 3] = 99
    assert state["whole"][2, 3] == state["transposed"][3, 2] == state["element"] == 99
    assert not np.shares_memory(state["whole"], state["own"])


def test_fresh_files(tmp_path):
    pytest.importorskip("torch")
    make_checkpoints.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == KEPT
    for name in KEPT:
        check(load_weights(tmp_path / name), CASES[name.split("-")[0]])


@pytest.mark.parametrize("way", WAYS)
def test_random_views_of_every_type(tmp_path, way):
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    state = {}
    for kind, axes in itertools.product(("float32", "float64", "float16", "bfloat16", "int64"), range(4)):
        whole = (torch.randn((5, 4, 6, 3), generator=generator) * 100).to(getattr(torch, kind))
        part = whole.permute(*torch.randperm(4, generator=generator).tolist())[axes // 2 :, ::2].select(axes % 4, 1)
        state |= {f"{kind}.{axes}.whole": whole, f"{kind}.{axes}.part": part}
    state["nan.half"] = torch.tensor([float("nan"), float("inf"), -0.0, 6e-8], dtype=torch.float16)
    state["nan.brain"] = torch.tensor([float("nan"), float("inf"), -0.0, 1e-40], dtype=torch.bfloat16)
    path = tmp_path / "random.bin"
    torch.save(state, path, **WAYS[way])
    loaded = load_weights(path)
    assert loaded.keys() == state.keys()
    for name, tensor in state.items():
        wide = tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
        assert loaded[name].dtype == wide.numpy().dtype, name
        np.testing.assert_array_equal(loaded[name], wide.numpy(), err_msg=name)
        assert np.array_equal(np.signbit(loaded[name]), np.signbit(wide.numpy())) or "nan" in name


@pytest.mark.parametrize(("wrap", "names"), [
    (lambda t: {"state_dict": {"a": t}}, ["a"]),
    (lambda t: {"model": {"a": t}, "ema": {"a": t}, "optimizer": {"state": {0: {"m": t}}}}, ["a"]),
    (lambda t: {"model": {"state_dict": {"a": t}}}, ["a"]),
    (lambda t: {"best": t, "net": {"a": t}}, ["a"]),
    (lambda t: {"generator": {"a": t}, "epoch": 5}, ["a"]),
    (lambda t: {"module.a": t, "module.b": t}, ["a", "b"]),
    (lambda t: {"module.a": t, "b": t}, ["module.a", "b"]),
    (lambda t: {"_orig_mod.module.a": t}, ["a"]),
    (lambda t: {"module._orig_mod.a": t}, ["a"]),
    (lambda t: {"a": t, "epoch": 5}, ["a"]),
    (lambda t: {}, []),
])  # fmt: skip
@pytest.mark.parametrize("way", ["zip", "legacy"])
def test_whatever_is_around_the_tensors(tmp_path, wrap, names, way):
    torch = pytest.importorskip("torch")
    torch.save(wrap(torch.tensor([1.0, 2.0])), tmp_path / "x.pt", **WAYS[way])
    state = load_weights(tmp_path / "x.pt")
    assert list(state) == names
    assert all(array.tolist() == [1, 2] for array in state.values())


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda torch: torch.nn.Linear(2, 2), "it holds a whole torch.nn.modules.linear.Linear, not a state dict"),
    (lambda torch: torch.zeros(2), "it holds a single tensor, not a state dict"),
    (lambda torch: [torch.zeros(2)], "it holds a list, not a state dict"),
    (lambda torch: {"a": 1, "b": "c"}, "it holds no tensors by name, but ['a', 'b']"),
    (lambda torch: {"a": {"x": torch.zeros(1)}, "b": {"x": torch.zeros(1)}}, "['a', 'b'] all hold tensors"),
    (lambda torch: {0: torch.zeros(1)}, "it names an array 0, which can't be the name of a parameter"),
    (lambda torch: {"a": torch.zeros(1, dtype=torch.complex64)}, "it refers to 'torch.ComplexFloatStorage'"),
    (lambda torch: {"a": torch.zeros(1).expand(1000)}, "or expanded: in PyTorch, save its .contiguous() copy"),
    (lambda torch: {"a": torch.zeros(2).to_sparse()}, "is made by 'torch._utils._rebuild_sparse_tensor', and only"),
    (lambda torch: {"a": torch.zeros(2, dtype=torch.uint16)}, "is made by 'torch._utils._rebuild_tensor_v3'"),
])  # fmt: skip
def test_what_torch_can_save_and_is_no_state_dict(tmp_path, make, sentence):
    torch = pytest.importorskip("torch")
    path = tmp_path / "x.pt"
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        torch.save(make(torch), path, **options)
        with pytest.raises(ValueError) as error:
            load_weights(path)
        assert sentence in str(error.value)
        assert str(path) in str(error.value)
