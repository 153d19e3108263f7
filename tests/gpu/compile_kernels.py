"""What every CUDA kernel needs of a GPU: registers, shared memory, spills. No GPU is needed to find out.

    python -m tests.gpu.compile_kernels            compiles each kernel for each target with nvcc and prints the table
    python -m tests.gpu.compile_kernels --write    and writes it into kernels/README.md
"""

from __future__ import annotations

import argparse
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

from benchmarks.markdown import fill, table
from minicnn.gpu.kernel_file import FOLDER, OPTIONS, expand, instances

TARGETS = ("sm_75", "sm_80", "sm_90", "sm_100")
"""Turing, Ampere, Hopper, Blackwell. CUDA 13 supports nothing older than the first."""
README = FOLDER / "README.md"
BLOCK = "tests.gpu.compile_kernels"
MOST_SHARED = 48 << 10


@dataclass(frozen=True)
class Needs:
    """Of one kernel on one target: registers per thread, bytes of static shared memory, of spills, of stack."""

    file: str
    kernel: str
    target: str
    registers: int
    shared: int
    spilled: int
    stack: int


def missing() -> str:
    """Why nothing can be compiled here; "" if it can."""
    return "" if shutil.which("nvcc") else "no CUDA compiler: nvcc is not on the PATH"


@functools.cache
def nvcc_version() -> str:
    """The output of nvcc --version."""
    return subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout


def needs(path: Path, target: str) -> list[Needs]:
    """Compile every instance of a kernel file for a target; RuntimeError with the compiler's words if it refuses.

    Results are cached in the folder for temporary files, by source, target and compiler.
    """
    source = expand(path)
    key = hashlib.sha256("\0".join([source, target, nvcc_version()]).encode()).hexdigest()[:24]
    known = Path(tempfile.gettempdir(), f"minicnn-kernels-{os.getuid()}", f"{key}.json")
    if not known.exists():
        found = _compiled(path.name, source, target)
        known.parent.mkdir(exist_ok=True)
        draft = known.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps([asdict(n) for n in found]))
        draft.replace(known)
    return [Needs(**n) for n in json.loads(known.read_text())]


def _compiled(name, source, target):
    kernels = instances(source)
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
    # "void f<A<1> >(float*)" → "f<A<1>>"
    names = {m: wanted[re.sub(r"^void(?=\s)|\s", "", p).removeprefix("void").partition("(")[0]]
             for m, p in zip(mangled, plain)}  # fmt: skip
    found = []
    for part in done.stderr.split("Compiling entry function '")[1:]:
        match = re.search(r"^(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
                          r".*?Used (\d+) registers([^\n]*)", part, re.S)
        assert match, part
        entry, stack, stores, loads, registers, rest = match.groups()
        shared = re.search(r"(\d+) bytes smem", rest)
        found.append(Needs(name, names[entry], target, int(registers), int(shared[1]) if shared else 0,
                           int(stores) + int(loads), int(stack)))
    if sorted(n.kernel for n in found) != sorted(kernels):
        raise RuntimeError(f"{name}: the compiler made {[n.kernel for n in found]}, not {kernels}")
    return found


def everything() -> list[Needs]:
    """The needs of every instance of every kernel file on every target."""
    return [n for path in sorted(FOLDER.glob("*.cu")) for target in TARGETS for n in needs(path, target)]


def rows(found: list[Needs]) -> str:
    """As Markdown: one row for each kernel, with the maximum over the targets."""
    body = []
    for file, kernel in dict.fromkeys((n.file, n.kernel) for n in found):
        group = [n for n in found if (n.file, n.kernel) == (file, kernel)]
        most = [str(max(getattr(n, what) for n in group)) for what in ("registers", "shared", "spilled")]
        body.append([file, f"`{kernel}`", *most])
    return table(["file", "kernel", "registers", "shared bytes", "spilled bytes"], body)


def main(arguments=None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.compile_kernels", description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the table into kernels/README.md")
    args = parser.parse_args(arguments)
    if reason := missing():
        print(reason, file=sys.stderr)
        return 1
    text = rows(everything())
    if args.write:
        README.write_text(fill(README.read_text(encoding="utf-8"), BLOCK, text), encoding="utf-8")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
