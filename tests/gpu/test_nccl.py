"""Gradients that NCCL adds up: on the emulated device with a strict stand-in for it, and on GPUs (`pytest -m gpu`)."""

import importlib
import json
import os
import signal
import subprocess
import sys
import types

import numpy as np
import pytest

from minicnn import Tensor, devices, launcher, nn, rng, train
from minicnn.gpu import detect, nccl
from minicnn.ranks import Alone
from tests.gpu.conftest import emulate
from tests.ranks.launch import environment, launch

START = ["record compute", "wait_event side", "allReduce", "record side"]


class Team(Alone):
    """Ranks that all say the same."""

    def __init__(self, size=1):
        super().__init__()
        self.size = size

    def gather(self, array):
        return np.stack([array] * self.size)


@pytest.fixture
def standin():
    """(a backend, what stands in for NCCL), for one rank."""
    gpu = emulate()
    return gpu, importlib.import_module("minicnn_emulator.nccl").install(gpu.xp)


def named(calls):
    return [" ".join(word for word in call if isinstance(word, str)) for call in calls]


# ----------------------------------------------------------------------------------------------------- the emulated GPU


def test_a_sum_starts_after_what_was_written_and_is_waited_for(standin):
    gpu, real = standin
    sums = nccl.Nccl(gpu, Team())
    array = gpu.xp.zeros(1000, np.float32)
    array[:10] = 1
    sum_ = sums.start_sum(array)
    assert named(real.calls) == ["NcclCommunicator", *START]
    assert real.calls[3] == ("allReduce", 1000, 7, 0), "1000 float32, added up"
    sum_.poke()
    sum_.wait()
    assert named(real.calls)[-1] == "added up"
    assert array.get().sum() == 10


def test_the_stand_in_refuses_a_sum_that_is_too_early(standin):
    gpu, _ = standin
    sums, array = nccl.Nccl(gpu, Team()), gpu.xp.zeros(10)
    call = (array.data.ptr, array.data.ptr, 10, 8, 0, sums.stream.ptr)
    with pytest.raises(AssertionError, match="waits for nothing"):
        sums.comm.allReduce(*call)
    ready = gpu.xp.cuda.Event()
    ready.record()
    array[0] = 1
    sums.stream.wait_event(ready)
    with pytest.raises(AssertionError, match="written after the event"):
        sums.comm.allReduce(*call)


TOUCHED = """
import importlib, sys
import numpy as np
from minicnn import devices
from minicnn.gpu import nccl
from minicnn.ranks import Alone
gpu = devices.get("emulated")
importlib.import_module("minicnn_emulator.nccl").install(gpu.xp)
array = gpu.xp.zeros(1000, np.float32)
sum_ = nccl.Nccl(gpu, Alone()).start_sum(array)
{}
sum_.wait()
print(array.get().sum())
"""


@pytest.mark.parametrize(("line", "code"), [("pass", 0), ("array[3] = 1", -signal.SIGSEGV),
                                            ("array.get()", -signal.SIGSEGV)])  # fmt: skip
def test_the_stand_in_sees_who_touches_an_array_on_its_way(line, code):
    emulate()
    ended = subprocess.run([sys.executable, "-c", TOUCHED.format(line)], capture_output=True, text=True,
                           env=environment(MINICNN_CPU="numpy"))  # fmt: skip
    assert ended.returncode == code, ended.stderr
    assert ended.stdout == ("" if code else "0.0\n")


def checked(device):
    """What two ranks found, whose gradients are those of one process."""
    ended = launch(2, "-m", "tests.gpu.nccl_member", device, MINICNN_CPU="numpy")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["gradients"] < 1e-12
    assert found["loss"] < 1e-12
    return found


def test_two_ranks_have_the_gradients_of_one_process_and_send_them_during_backward():
    """Float64. The stand-in compares the calls of the ranks, and forbids to touch what is on its way."""
    emulate()
    found = checked("emulated")
    whole = named(found["calls"])
    assert whole[0] == "NcclCommunicator"
    half = 1 + (len(whole) - 1) // 2
    assert whole[1:half] == whole[half:], "the second step"
    one = whole[1:half]
    assert one == START * 6 + ["added up"] * 6
    sent = found["sent"][-1] - half
    assert one[:sent].count("allReduce") == 5, "all but the last, whose numbers are known after backward"


def test_an_error_of_nccl_ends_the_wait_and_all_ranks(standin):
    gpu, real = standin
    team = Team()
    sums = nccl.Nccl(gpu, team)
    sum_ = sums.start_sum(gpu.xp.zeros(4))
    sums.comm.error = real.NcclError("NCCL_ERROR_REMOTE_ERROR: another rank is gone")
    with pytest.raises(RuntimeError, match="another rank is gone"):
        sum_.wait()
    for free in team.at_abort:
        free()
    assert real.calls[-1] == ("abort",), "or the GPU would go on waiting"


def test_an_error_of_the_gpu_ends_the_wait(standin):
    gpu, real = standin
    sum_ = nccl.Nccl(gpu, Team()).start_sum(gpu.xp.zeros(4))
    real.fault = True
    with pytest.raises(RuntimeError, match="cudaErrorIllegalAddress"):
        sum_.wait()


def test_gpus_that_cannot_be_connected(standin):
    gpu, real = standin

    def refuse(*_):
        raise real.NcclError("NCCL_ERROR_SYSTEM_ERROR: unhandled system error")

    real.NcclCommunicator = refuse
    with pytest.raises(RuntimeError, match=r"NCCL can't connect the GPUs of the ranks .*SYSTEM_ERROR.*MINICNN_NCCL=0"):
        nccl.Nccl(gpu, Team())


# ----------------------------------------------------------------------------------------------- who adds up, and where


def test_nccl_adds_up_only_between_gpus_that_have_it(standin, monkeypatch):
    gpu, _ = standin
    cpu = devices.get("cpu")
    assert nccl.sums(cpu, Team(2)) == (None, "through the hosts' memory, by MPI")
    found, way = nccl.sums(gpu, Team())
    assert (type(found), way) == (nccl.Nccl, "by NCCL")
    assert nccl.sums(gpu, Team(2))[1].endswith("because 2 ranks share 1 GPU(s)")
    monkeypatch.setenv("MINICNN_NCCL", "0")
    found, way = nccl.sums(gpu, Team())
    assert found is None
    assert "because rank 0 has no NCCL (pip install nvidia-nccl-cu13" in way
    assert nccl.sums(emulate(), Team())[0] is None, "the emulated device has none"


def test_gpus_and_processors_are_not_mixed():
    class Mixed(Team):
        def gather(self, array):
            return np.stack([array, np.array([1, 1, 7]), array])

    with pytest.raises(RuntimeError, match=r"some ranks compute on a GPU, and these on the CPU: 0, 2\. Start as many"):
        nccl.sums(devices.get("cpu"), Mixed(3))


@pytest.mark.parametrize(("told", "there", "local", "left"), [
    (None, 0, 1, None), (None, 1, 1, None), (None, 4, 1, "1"), (None, 4, 6, "2"), ("2, 5", 8, 1, "5"), ("3", 8, 1, "3"),
    ("", 8, 1, ""), ("GPU-a,MIG-b", 8, 1, "MIG-b"),
])  # fmt: skip
def test_each_rank_of_a_machine_sees_one_gpu(told, there, local, left, monkeypatch):
    monkeypatch.setenv(launcher.VISIBLE, told or "")       # first, so that it is put back
    if told is None:
        monkeypatch.delenv(launcher.VISIBLE)
    monkeypatch.setattr(launcher.glob, "glob", lambda pattern: [f"/dev/nvidia{n}" for n in range(there)])
    launcher.own_gpu(local)
    assert os.environ.get(launcher.VISIBLE) == left


def test_cupys_binding_is_imported_in_silence(monkeypatch):
    """CuPy imports it only when asked for, and then warns that the library is missing."""
    package = types.ModuleType("cupy")
    package.cuda = types.ModuleType("cupy.cuda")
    binding = types.ModuleType("cupy.cuda.nccl")
    binding.available = False
    monkeypatch.setitem(sys.modules, "cupy", package)
    monkeypatch.setitem(sys.modules, "cupy.cuda", package.cuda)

    class Finder:
        @staticmethod
        def find_spec(name, *_):
            if name == "cupy.cuda.nccl":
                return importlib.machinery.ModuleSpec(name, Loader)

    class Loader:
        @staticmethod
        def create_module(spec):
            import warnings

            warnings.warn("nccl library could not be loaded", stacklevel=2)
            return binding

        @staticmethod
        def exec_module(module):
            pass

    package.__path__ = package.cuda.__path__ = []
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    assert detect.nccl(package) is binding
    monkeypatch.delitem(sys.modules, "cupy.cuda.nccl")


# ------------------------------------------------------------------------------------------------------------ real GPUs


def real():
    """The GPU; the test is skipped where it has no NCCL."""
    if reason := devices.why_no_gpu():
        (pytest.fail if os.environ.get("MINICNN_GPU_TESTS") == "required" else pytest.skip)(reason)
    gpu = devices.get("cuda:0")
    if not detect.nccl(gpu.xp).available:
        pytest.skip("NCCL is not installed: pip install nvidia-nccl-cu13")
    return gpu


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_rank_of_nccl_on_a_gpu(dtype, monkeypatch):
    """The sum over one rank is the array. As in a step of two: buckets, streams, events, and the numbers at the end."""
    gpu = real()
    rng.seed(0)
    net = nn.Sequential(nn.Linear(300, 200), nn.ReLU(), nn.Linear(200, 1)).astype(dtype).to(gpu.name)
    x = Tensor(np.random.default_rng(1).standard_normal((64, 300)).astype(dtype), device=gpu.name)
    net(x).sum().backward()
    alone = [gpu.to_numpy(p.grad) for p in net.parameters()]

    class Two(Team):
        """Says that there are two, so that gradients are sent."""

    monkeypatch.setattr(nccl, "sums", lambda device, team: (nccl.Nccl(device, Alone()), "by NCCL"))
    monkeypatch.setattr(train.shared, "GPU_BUCKET", 1000)
    shared = train.Shared(net, Two(2))
    assert len(shared.buckets) > 1
    for _ in range(3):
        net.zero_grad()
        with shared.sending():
            net(x).sum().backward()
        assert shared.finish(1.5, 3) == [1.5, 3]
        for p, grad in zip(net.parameters(), alone, strict=True):
            assert isinstance(p.grad, gpu.xp.ndarray)
            np.testing.assert_array_equal(gpu.to_numpy(p.grad), grad)


@pytest.mark.gpu
def test_two_gpus_have_the_gradients_of_one():
    """`make gpu-report` runs it alone, where there are two."""
    gpu = real()
    if gpu.xp.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("unmeasured: needs two GPUs")
    assert checked("cuda:0")["gradients"] < 1e-12
