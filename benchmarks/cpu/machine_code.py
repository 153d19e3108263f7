"""The machine code of a kernel's innermost loop: the loop with the most multiply-adds.

    python -m benchmarks.cpu.machine_code                         of minicnn/cpu/compiled/direct.py's forward
    python -m benchmarks.cpu.machine_code winograd.forward        of another kernel

numba's `inspect_asm` shows it, but not for a kernel from the cache: so the kernel is compiled again.
"""

from __future__ import annotations

import argparse
import importlib
import re

import llvmlite.binding
import numba

from minicnn.bench import machine
from minicnn.cpu.compiled.kernel import OPTIONS

LABEL = re.compile(r"^(\.?\w+):")
JUMP = re.compile(r"^\tj\w+\t(\.?\w+)$")
FMA = ("vfmadd", "fmla")


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernel", nargs="?", default="direct.forward", help="FILE.FUNCTION in minicnn/cpu/compiled")
    file, _, name = parser.parse_args(argv).kernel.rpartition(".")
    loop = innermost(assembly(getattr(importlib.import_module(f"minicnn.cpu.compiled.{file}"), name)))
    print("\n".join(loop))
    print(f"# {tally(loop)}: {processor()}")


def processor() -> str:
    """This machine's processor, as the operating system and as LLVM call it, and its vector instructions."""
    features = llvmlite.binding.get_host_cpu_features()
    vectors = [name for name in ("avx", "avx2", "fma", "avx512f", "neon", "sve") if features.get(name)]
    return f"{machine.describe()['cpu']} ({llvmlite.binding.get_host_cpu_name()}; {', '.join(vectors)})"


def assembly(kernel) -> str:
    """The machine code of a kernel, as text."""
    compiled = numba.njit(**OPTIONS)(kernel.py_func)
    signature, = kernel.signatures
    compiled.compile(signature)
    return next(iter(compiled.inspect_asm().values()))


def loops(text: str) -> list[list[str]]:
    """The innermost loops: a label, and what follows it to a jump back to it, without a label between them."""
    found: list[list[str]] = []
    here = [""]
    for line in text.splitlines():
        if label := LABEL.match(line):
            here = [label[0]]
        elif line.startswith("\t") and not line.startswith("\t."):
            here.append(line)
            if (jump := JUMP.match(line)) and here[0] == f"{jump[1]}:":
                found.append(here)
                here = [""]
    return found


def innermost(text: str) -> list[str]:
    """The innermost loop with the most multiply-adds."""
    return columns(max(loops(text), key=lambda lines: sum(line.lstrip().startswith(FMA) for line in lines)))


def columns(loop: list[str]) -> list[str]:
    """A loop's instructions and their registers in two columns."""
    return [line if line.endswith(":") else "    {:<14}{}".format(*f"{line.strip()}\t".split("\t")[:2]).rstrip()
            for line in loop]  # fmt: skip


def work(loop: list[str]) -> tuple[int, int]:
    """(FLOPs, bytes loaded and stored) of a turn of a loop of x86 code, eight or four float32 in a register or one."""
    flops = moved = 0
    for line in loop:
        name, _, operands = line.strip().partition(" ")
        if not re.match(r"v\w+[sp]s$", name):
            continue
        lanes = 1 if name.endswith("ss") else 8 if "ymm" in operands else 4
        flops += lanes * (2 if name.startswith(FMA) else name.startswith(("vadd", "vmul", "vsub")))
        moved += 4 * lanes * ("(" in operands)
    return flops, moved


def tally(loop: list[str]) -> str:
    """"12 multiply-adds, 8 loads, no register spilled", counted in a loop of x86 code."""
    code = [line.strip() for line in loop if not line.endswith(":")]
    fused = sum(line.startswith(FMA) for line in code)
    vector = [line for line in code if line.startswith("v")]
    loads = sum("(" in line for line in vector if not line.rpartition(",")[2].strip().endswith(")"))
    stores = sum(line.rpartition(",")[2].strip().endswith(")") for line in vector)
    spilled = sum("(%rsp" in line or "(%rbp" in line for line in vector)
    return (f"{fused} multiply-adds, {loads} loads, {stores or 'no'} store{'s' * (stores != 1)}, "
            f"{spilled or 'no'} register{'s' * (spilled > 1)} spilled")


if __name__ == "__main__":
    main()
