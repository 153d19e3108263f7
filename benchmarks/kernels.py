"""What every CUDA kernel needs of a GPU: registers, shared memory, spills. No GPU is needed to find out.

    python -m benchmarks.kernels            compile each kernel for each target and print the table
    python -m benchmarks.kernels --write    and put it into kernels/README.md

It takes nvcc from the PATH, or NVRTC from the wheels nvidia-cuda-nvrtc and nvidia-cuda-runtime (version 13).
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from minicnn.gpu.kernel_file import FOLDER, OPTIONS, expand, instances

TARGETS = ("sm_75", "sm_80", "sm_90", "sm_100")
"""Turing, Ampere, Hopper, Blackwell. CUDA 13 compiles for nothing older than the first."""
README = FOLDER / "README.md"
BEGIN, END = "<!-- table: python -m benchmarks.kernels --write -->\n", "<!-- end of table -->\n"
MOST_SHARED = 48 << 10


@dataclass(frozen=True)
class Needs:
    """Of one kernel on one target: registers a thread, bytes of static shared memory, bytes spilled, and of stack."""

    file: str
    kernel: str
    target: str
    registers: int
    shared: int
    spilled: int
    stack: int


def missing() -> str:
    """Why nothing can be compiled here; "" if it can."""
    if shutil.which("nvcc") or _nvrtc():
        return ""
    return ("no CUDA compiler: nvcc is not on the PATH, and the wheels nvidia-cuda-nvrtc and nvidia-cuda-runtime are "
            "not installed")


@functools.cache
def nvcc_version() -> str:
    """What nvcc says of itself."""
    return subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout


def needs(path: Path, target: str) -> list[Needs]:
    """Compile every instance of a kernel file for a target; RuntimeError with the compiler's words if it refuses.

    What was compiled once is remembered in the folder for temporary files, as long as source and compiler are the same.
    """
    source, compiler = expand(path), nvcc_version() if shutil.which("nvcc") else "nvrtc"
    key = hashlib.sha256("\0".join([source, target, compiler]).encode()).hexdigest()[:24]
    known = Path(tempfile.gettempdir(), f"minicnn-kernels-{os.getuid()}", f"{key}.json")
    if not known.exists():
        found = _compiled(path.name, source, target, _with_nvrtc if compiler == "nvrtc" else _with_nvcc)
        known.parent.mkdir(exist_ok=True)
        draft = known.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps([asdict(n) for n in found]))
        draft.replace(known)
    return [Needs(**n) for n in json.loads(known.read_text())]


def _compiled(name, source, target, compiler):
    log, names = compiler(source, name, target, instances(source))
    found = []
    for part in log.split("Compiling entry function '")[1:]:
        match = re.search(r"^(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
                          r".*?Used (\d+) registers([^\n]*)", part, re.S)
        assert match, part
        mangled, stack, stores, loads, registers, rest = match.groups()
        shared = re.search(r"(\d+) bytes smem", rest)
        found.append(Needs(name, names[mangled], target, int(registers), int(shared[1]) if shared else 0,
                           int(stores) + int(loads), int(stack)))
    if sorted(n.kernel for n in found) != sorted(instances(source)):
        raise RuntimeError(f"{name}: the compiler made {[n.kernel for n in found]}, not {instances(source)}")
    return found


def everything(targets=TARGETS) -> list[Needs]:
    """What every instance of every kernel file needs on every target."""
    return [n for path in sorted(FOLDER.glob("*.cu")) for target in targets for n in needs(path, target)]


def table(found: list[Needs]) -> str:
    """As Markdown: a row a kernel; where the targets differ, the most."""
    lines = ["| file | kernel | registers | shared bytes | spilled bytes |", "|---|---|---:|---:|---:|"]
    rows: dict[tuple[str, str], list[Needs]] = {}
    for n in found:
        rows.setdefault((n.file, n.kernel), []).append(n)
    for (file, kernel), group in rows.items():
        most = [max(getattr(n, what) for n in group) for what in ("registers", "shared", "spilled")]
        lines.append(f"| {file} | `{kernel}` | {most[0]} | {most[1]} | {most[2]} |")
    return "\n".join(lines) + "\n"


def _with_nvcc(source, name, target, kernels):
    """(ptxas's log, {mangled: instance})"""
    # a host function that names them: nvcc then compiles these instances
    use = "\nvoid *used[] = {" + ", ".join(f"(void *)&{k}" for k in kernels) + "};\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_text(source + use)
        done = subprocess.run(
            ["nvcc", f"-arch={target}", *OPTIONS, "-ftz=true", "-cubin", "-Xptxas=-v", "-Werror=all-warnings",
             "-o", f"{path}bin", path], capture_output=True, text=True)  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"nvcc refused {name} for {target}:\n{done.stderr}")
    mangled = re.findall(r"Compiling entry function '(\w+)'", done.stderr)
    plain = subprocess.run(["c++filt", *mangled], capture_output=True, text=True, check=True).stdout.splitlines()
    wanted = {k.replace("uint8", "unsignedchar").replace("int64", "longlong"): k for k in kernels}
    names = [re.sub(r"^void(?=\s)|\s", "", p).removeprefix("void") for p in plain]
    return done.stderr, {m: wanted[_without_parameters(n)] for m, n in zip(mangled, names)}


def _without_parameters(name):
    """`f<A<1>>(float*)` → `f<A<1>>`"""
    return name[: name.index("(")] if "(" in name else name


def _nvrtc():
    """(NVRTC's library, the folder of CUDA's headers), from the wheels; None if they are not here."""
    try:
        import nvidia.cu13 as cuda
    except ImportError:
        return None
    for root in map(Path, cuda.__path__):
        builtins, library = sorted((root / "lib").glob("libnvrtc-builtins.so.13*")), root / "lib" / "libnvrtc.so.13"
        if builtins and library.exists():
            ctypes.CDLL(str(builtins[0]), ctypes.RTLD_GLOBAL)      # or NVRTC does not find it
            return ctypes.CDLL(str(library)), root / "include"
    return None


def _with_nvrtc(source, name, target, kernels):
    """(ptxas's log, {mangled: instance}), compiled as CuPy compiles it."""
    library, include = _nvrtc()
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None)
    for kernel in kernels:
        library.nvrtcAddNameExpression(program, kernel.encode())
    options = [f"-arch={target}", *OPTIONS, "-ftz=true", "--device-as-default-execution-space", f"-I{include}",
               "-Xptxas=-v"]  # fmt: skip
    given = (ctypes.c_char_p * len(options))(*map(str.encode, options))
    failed = library.nvrtcCompileProgram(program, len(options), given)
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    if failed:
        raise RuntimeError(f"NVRTC refused {name} for {target}:\n{log.value.decode()}")
    names = {}
    for kernel in kernels:
        lowered = ctypes.c_char_p()
        library.nvrtcGetLoweredName(program, kernel.encode(), ctypes.byref(lowered))
        names[lowered.value.decode()] = kernel
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return log.value.decode(), names


def main(arguments=None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the table into kernels/README.md")
    parser.add_argument("targets", nargs="*", default=TARGETS, help=f"by default {' '.join(TARGETS)}")
    asked = parser.parse_args(arguments)
    if reason := missing():
        print(reason, file=sys.stderr)
        return 1
    text = table(everything(asked.targets))
    if not asked.write:
        print(text, end="")
        return 0
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    README.write_text(before + BEGIN + text + END + rest.partition(END)[2], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
