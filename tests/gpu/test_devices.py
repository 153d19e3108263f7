"""Which devices there are, and one sentence for why one is not; CuPy is loaded when a GPU is asked for, no sooner."""

import importlib.util
import json
import subprocess
import sys
import types

import pytest

import minicnn
from minicnn import devices
from minicnn.cli.app import app
from minicnn.device import Device
from minicnn.gpu import Gpu, detect

PRIMITIVES = sorted(n for n, f in vars(Device).items() if callable(f) and not n.startswith("_"))


def cupy(status=None, driver=13020, count=1, nvrtc=None, version="14.2.0"):
    """A CuPy whose runtime answers as CuPy 14 was seen to."""

    class CUDARuntimeError(RuntimeError):
        def __init__(self, status):
            super().__init__(f"cudaError{status}: something long\nof two lines")
            self.status = status

    def devices():
        if status:
            raise CUDARuntimeError(status)
        return count

    def nvrtc_version():
        if nvrtc:
            raise nvrtc
        return 13, 0

    runtime = types.SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError, getDeviceCount=devices, driverGetVersion=lambda: driver,
        runtimeGetVersion=lambda: 13020,
        getDeviceProperties=lambda i: {"name": b"NVIDIA Imaginary", "totalGlobalMem": 80 << 30, "major": 9, "minor": 0,
                                       "multiProcessorCount": 132},
    )  # fmt: skip
    module = types.ModuleType("cupy")
    module.__version__ = version
    module.ndarray = type("ndarray", (), {})
    module.cuda = types.SimpleNamespace(runtime=runtime, nvrtc=types.SimpleNamespace(getVersion=nvrtc_version),
                                        get_cublas_handle=lambda: 1)  # fmt: skip
    return module


@pytest.fixture
def pretend(monkeypatch):
    """pretend(module): `import cupy` gives it; None: it is not installed."""
    def do(module):
        monkeypatch.setitem(sys.modules, "cupy", module)
        monkeypatch.setattr(devices, "_backends", {k: v for k, v in devices._backends.items() if k != "cuda:0"})
        devices._gpu.cache_clear()

    yield do
    devices._gpu.cache_clear()


MISSING = [
    (cupy(35, driver=0), "CuPy 14.2.0 is installed, but this machine has no NVIDIA driver: install one"),
    (cupy(35, driver=12040), "the NVIDIA driver is made for CUDA 12.4, but CuPy for CUDA 13.2: update the driver, or "
                             "install the CuPy for its CUDA"),
    (cupy(100), "the NVIDIA driver finds no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES"),
    (cupy(count=0), "the NVIDIA driver finds no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES"),
    (cupy(999), "CUDA cannot be started: cudaError999: something long"),
    (cupy(nvrtc=RuntimeError("Failure finding libnvrtc.so.13\nmore")),
     "a CUDA library is missing (Failure finding libnvrtc.so.13): pip install 'cupy-cuda13x[ctk]'"),
    (cupy(nvrtc=ImportError("libnvrtc")), "a CUDA library is missing (libnvrtc): pip install 'cupy-cuda13x[ctk]'"),
    (None, "CuPy"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "sentence"), MISSING)
def test_one_sentence_for_what_is_missing(pretend, module, sentence):
    pretend(module)
    reason = devices.why_no_gpu()
    assert reason.startswith(sentence)
    assert "\n" not in reason
    assert devices.available() == ["cpu"]
    assert devices.get("auto").name == "cpu"
    with pytest.raises(ValueError, match=r"^device 'cuda:0' is not usable: ") as caught:
        devices.get("cuda:0")
    assert reason in str(caught.value)
    assert str(caught.value).endswith("Use 'cpu' or 'auto'")


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed here")
def test_cupy_is_not_installed():
    assert detect.load() == (None, "CuPy is not installed; with an NVIDIA GPU, pip install 'minicnn-numpy[gpu]' "
                                   "(CUDA 13) or 'minicnn-numpy[gpu12]' (CUDA 12)")


def test_a_gpu_that_is_there(pretend):
    pretend(cupy())
    assert devices.why_no_gpu() == ""
    assert devices.available() == minicnn.available_devices() == ["cpu", "cuda:0"]
    gpu = devices.get("auto")
    assert isinstance(gpu, Gpu)
    assert gpu is devices.get("cuda:0") is devices.get("cuda")
    assert gpu.name == "cuda:0"
    assert devices.find(gpu.xp.ndarray()) is gpu
    assert devices.gpu_facts() == {
        "name": "NVIDIA Imaginary", "memory": 80 << 30, "compute_capability": "9.0", "multiprocessors": 132,
        "cupy": "14.2.0", "cuda": "13.2", "driver": "13.2"}  # fmt: skip


@pytest.mark.parametrize(("module", "text", "usable"), [
    (cupy(100), "gpu    none: the NVIDIA driver finds no GPU: check nvidia-smi", False),
    (cupy(), "cuda:0 NVIDIA Imaginary, 80 GiB, compute capability 9.0, CuPy 14.2.0, CUDA 13.2", True),
])  # fmt: skip
def test_the_command_says_it(pretend, module, text, usable):
    from typer.testing import CliRunner

    pretend(module)
    said = CliRunner().invoke(app, ["devices"])
    assert said.exit_code == 0
    assert text in " ".join(said.output.split("\n"))
    report = json.loads(CliRunner().invoke(app, ["devices", "--json"]).output)
    assert report["gpu"]["usable"] is usable
    assert report["available"] == (["cpu", "cuda:0"] if usable else ["cpu"])


def test_a_second_gpu(pretend):
    pretend(cupy())
    with pytest.raises(ValueError, match=r"'cuda:1' is not usable: minicnn computes on one GPU.*VISIBLE_DEVICES"):
        devices.get("cuda:1")


def test_other_names(pretend):
    pretend(None)
    with pytest.raises(ValueError, match=r"'cuda:1' is not usable: CuPy .*\. Use 'cpu' or 'auto'"):
        devices.get("cuda:1")
    with pytest.raises(ValueError, match=r"unknown device 'cuda0': did you mean 'cuda:0'\? Known: auto, cpu, cuda:0"):
        devices.get("cuda0")


def test_the_emulated_device_needs_a_checkout_and_a_compiler(monkeypatch, tmp_path, emulated):
    emulated()
    monkeypatch.delitem(devices._backends, "emulated")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"device 'emulated' is not usable: it compiles the kernels with g\+\+"):
        devices.get("emulated")
    monkeypatch.setattr(devices, "__file__", str(tmp_path / "minicnn" / "devices.py"))
    with pytest.raises(ValueError, match=r"device 'emulated' is for minicnn's own tests and needs its source tree"):
        devices.get("emulated")


@pytest.mark.parametrize("name", PRIMITIVES)
def test_the_gpu_keeps_the_contract_to_the_letter(name):
    import inspect

    promised = list(inspect.signature(getattr(Device, name)).parameters.values())[1:]
    kept = list(inspect.signature(getattr(Gpu, name)).parameters.values())[1:]
    assert [p.kind for p in kept] == [p.kind for p in promised]
    assert [p.default for p in kept] == [p.default for p in promised]
    assert [p.name for p in kept if p.kind == p.KEYWORD_ONLY] == [p.name for p in promised if p.kind == p.KEYWORD_ONLY]


def test_nothing_of_the_gpu_is_loaded_before_it_is_asked_for():
    code = ("import sys, minicnn; from minicnn import nn, models, optim, train; models.build('lenet5'); "
            "print([m for m in sys.modules if m.startswith(('minicnn.gpu', 'cupy', 'minicnn_emulator'))])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed")
def test_the_emulated_cupy_offers_nothing_that_cupy_does_not(emulated):
    real = importlib.import_module("cupy")
    emulated()
    emulator = sys.modules["minicnn_emulator"]
    assert [name for name in emulator.FUNCTIONS if not callable(getattr(real, name, None))] == []
    missing = [n for n in vars(emulator.ndarray) if not n.startswith("_") and not hasattr(real.ndarray, n)]
    assert missing == ["hidden"]


@pytest.mark.gpu
def test_a_real_gpu_computes():
    """The first of the tests on a GPU, and where there is none the one that says so."""
    if reason := devices.why_no_gpu():
        pytest.skip(f"no test runs on a real GPU: {reason}")
    t = minicnn.Tensor([1.0, 2.0], True, device="cuda:0")
    (t * t).sum().backward()
    assert devices.get("cuda:0").to_numpy(t.grad).tolist() == [2, 4]
