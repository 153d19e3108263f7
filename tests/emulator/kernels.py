"""RawModule and RawKernel for a CPU: CUDA C++ compiled by g++, with cuda_host.h for a GPU."""

import ctypes
import dataclasses
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from minicnn.gpu.kernel_file import instances

from .arrays import ndarray

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("MINICNN_EMULATOR_CACHE", Path(tempfile.gettempdir()) / f"minicnn-emulator-{os.getuid()}"))
FLAGS = (
    "-std=c++17", "-O2", "-fPIC", "-x", "c++", "-ffp-contract=off", "-fno-gnu-unique",
    "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error", "-fno-sanitize=vptr",
    "-Wall", "-Wextra", "-Wno-unused-function", "-Wno-unused-variable", "-Wno-unused-but-set-variable",
    "-Wno-unknown-pragmas", "-Wno-unused-parameter",
)  # fmt: skip
ORDERS = ("ascending", "descending", "shuffled")


def problem() -> str:
    """Why nothing can be emulated here; "" if it can."""
    return "" if shutil.which("g++") else "it compiles the kernels with g++, which is not installed"


@dataclasses.dataclass
class Settings:
    """How kernels run: in which order threads come, and whether every memory access is watched."""

    order: str = "ascending"
    seed: int = 1
    trace: bool = False
    flags: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Access:
    """What one line of a kernel did to memory in the last launch, a request being what a warp does at once.

    cost, ideal: 32-byte sectors a request (global) or passes a request (shared), as it was and as it could be at best.
    """

    line: str
    space: str
    kind: str
    bytes: int
    requests: int
    cost: float
    ideal: float


class RawModule:
    """CuPy's, but that all kernels of the file are compiled when the first is asked for: g++ takes long to begin."""

    def __init__(self, settings, *, code, options=(), name_expressions=()):
        self.settings, self.code, self.asked = settings, code, tuple(name_expressions)

    def get_function(self, name):
        """The kernel of that name, one of the name_expressions."""
        if name not in self.asked:
            raise RuntimeError(f"CUDA_ERROR_NOT_FOUND: {name} is not among the name_expressions")
        names = tuple(instances(self.code))
        self.path = compiled(self.code, names, self.settings)
        self.lib = ctypes.CDLL(str(self.path))
        return RawKernel(self, name, f"emulator_run_{names.index(name)}")


class RawKernel:
    """CuPy's: called with (grid, block, arguments)."""

    def __init__(self, module, name, symbol):
        self.module, self.name = module, name
        self.run = getattr(module.lib, symbol)
        self.run.restype = ctypes.c_char_p

    def __call__(self, grid, block, args, *, shared_mem=0):
        for a in args:
            if not isinstance(a, (ndarray, np.generic)):
                raise TypeError(f"{self.name}: pass NumPy scalars of the parameter's type, not {type(a).__name__}")
        values = [np.array(a.data.ptr if isinstance(a, ndarray) else a) for a in args]
        pointers = (ctypes.c_void_p * max(len(values), 1))(*[v.ctypes.data for v in values])
        dims = [(ctypes.c_uint * 3)(*(*d, 1, 1)[:3]) for d in (grid, block)]
        settings = self.module.settings
        self.module.lib.emulator_set_order(ORDERS.index(settings.order), settings.seed)
        error = self.run(*dims, shared_mem, pointers)
        if error:
            raise RuntimeError(f"{self.name}: {error.decode()}")
        settings.last = self

    def accesses(self) -> list[Access]:
        """Of the last launch of this kernel's module, line by line; needs Settings.trace."""
        sites = self.module.lib.emulator_trace_sites
        sites.restype, sites.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
        with open("/proc/self/maps") as maps:
            base = int(next(line for line in maps if str(self.module.path) in line).split("-")[0], 16)
        rows = [line.split() for line in sites(base).decode().splitlines()]
        if not rows:
            return []
        where = [hex(int(row[0], 16) - 1) for row in rows]
        places = subprocess.run(["addr2line", "-e", str(self.module.path), *where], capture_output=True, text=True,
                                check=True).stdout.split("\n")  # fmt: skip
        sums: dict[tuple, list[int]] = {}
        for (_, space, kind, size, *counts), place in zip(rows, places):
            line = re.sub(r" \(.*", "", place.rsplit("/", 1)[-1])
            total = sums.setdefault((line, space, kind, int(size)), [0, 0, 0])
            for i, count in enumerate(counts):
                total[i] += int(count)
        return [Access(*key, n, cost / n, ideal / n) for key, (n, cost, ideal) in sorted(sums.items())]


def compiled(code: str, names: tuple[str, ...], settings: Settings) -> Path:
    """The shared library of a kernel file, from the cache or from g++."""
    runs = "".join(
        f'extern "C" const char *emulator_run_{i}(unsigned *g, unsigned *b, unsigned s, void **a) '
        f"{{ return emulator::Kernel<&{name}>::launch(g, b, s, a); }}\n"
        for i, name in enumerate(names)
    )
    flags = [*FLAGS, *settings.flags, *os.environ.get("MINICNN_EMULATOR_FLAGS", "").split(), f"-I{HERE}"]
    tracer = []
    if settings.trace:
        # no splitting of structs: what a GPU reads or writes in one piece is then watched as one piece
        flags += ["-O1", "-g1", "-DEMULATOR_TRACE", "-fsanitize=thread", "-fno-tree-sra"]
        text = (HERE / "cuda_trace.cpp").read_text()
        options = ["-fPIC", "-O2", "-std=c++17", "-c", "-x", "c++", "-"]
        tracer = [str(_made(".o", text, lambda out: _gxx([*options, "-o", out], text)))]

    def build(out):
        _gxx([*flags, "-c", "-", "-o", f"{out}.o"], code + runs)
        _gxx(["-shared", f"{out}.o", *tracer, "-o", out])
        os.unlink(f"{out}.o")

    return _made(".so", "\0".join([code, runs, (HERE / "cuda_host.h").read_text(), *flags, *tracer]), build)


def _made(suffix: str, key: str, build) -> Path:
    """The cached file for `key`; build(path) creates it if it is missing."""
    path = CACHE / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}{suffix}"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = f"{path}.{os.getpid()}"
        build(draft)
        os.replace(draft, path)                                    # other processes may build it too
    return path


def _gxx(flags, source=None):
    done = subprocess.run(["g++", *flags], input=source, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"g++ refused a kernel:\n{done.stderr}")
