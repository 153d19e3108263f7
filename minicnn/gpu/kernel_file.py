"""Calls a .cu file from Python: load, compile once, check every argument, launch.

A kernel file is CUDA C++ that nvcc can compile. Three things are read from its text:

    __global__ void im2col(const T *x, ...)        the kernels and the types of their parameters
    template <typename T>                          the names of the template parameters
    // instances: im2col<float> im2col<double>     what to compile; not needed without a template

CuPy compiles a kernel at its first launch, for the machine's GPU, and stores the result in ~/.cupy/kernel_cache.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

_HERE = Path(__file__).resolve().parent
FOLDER = next((k for k in (_HERE.parent.parent / "kernels", _HERE.parent / "kernels") if (k / "prelude.cuh").exists()),
              _HERE.parent / "kernels")  # fmt: skip
"""The folder of the kernels: next to the package in a checkout, inside the installed package."""

OPTIONS = ("-std=c++17", "-lineinfo")
LARGEST = 2**31 - 2**22
"""The most elements in an array: 2³¹ minus the threads of a grid, so that kernels can count beyond the end in `int`."""

_NULL = np.uint64(0)
_INCLUDE = re.compile(r'^[ \t]*#include "([^"]+)"[^\n]*$', re.M)
_HOST_ONLY = "cuda_host.h"
_KERNEL = re.compile(
    r"(?:template\s*<([^{};]*?)>\s*)?(?:extern\s+\"C\"\s+)?__global__\s+void\s+"
    r"(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\s*\(([^)]*)\)"
)
_INSTANCES = re.compile(r"^// instances:[ \t]*(.*)$", re.M)
_TYPES = {
    "int": np.int32, "unsigned": np.uint32, "long long": np.int64, "unsigned long long": np.uint64, "float": np.float32,
    "double": np.float64, "bool": np.bool_, "uint8": np.uint8, "int64": np.int64,
    "int2": np.int32, "int4": np.int32,
}  # fmt: skip
_NAMES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double", np.dtype(np.int32): "int",
          np.dtype(np.int64): "int64", np.dtype(np.uint8): "uint8", np.dtype(np.bool_): "bool"}  # fmt: skip


def expand(path: Path, seen: set[str] | None = None) -> str:
    """The text of a file with its quoted includes inserted, each once, and #line marks for the compiler's messages.

    The key of CuPy's cache is this text, without the files that it includes: if the compiler included them, an edited
    header would not be noticed.
    """
    seen = set() if seen is None else seen
    text = path.read_text(encoding="utf-8").replace("#pragma once", "", 1)

    def paste(match):
        name = match[1]
        if name == _HOST_ONLY:
            return match[0]
        line = text.count("\n", 0, match.start()) + 2
        if name in seen:
            return ""
        seen.add(name)
        return f'#line 1 "{name}"\n{expand(path.parent / name, seen)}\n#line {line} "{path.name}"'

    return _INCLUDE.sub(paste, text)


def signatures(source: str) -> dict[str, tuple[list[str], list[tuple[str, str]]]]:
    """{kernel: (names of its template parameters, [(type, name), …])}, types as "const float *", "int"."""
    source = re.sub(r"//[^\n]*|/\*.*?\*/", "", source, flags=re.S)
    found = {}
    for template, name, parameters in _KERNEL.findall(source):
        typed = []
        for parameter in filter(None, (p.strip() for p in parameters.split(","))):
            match = re.fullmatch(r"(.*?[\s*])(\w+)", parameter.replace("__restrict__", ""), re.S)
            assert match, f"{name}: parameter {parameter!r}"
            typed.append((" ".join(match[1].split()), match[2]))
        found[name] = ([p.split()[-1] for p in template.split(",") if p.strip()], typed)
    return found


def instances(source: str) -> list[str]:
    """The kernels to compile: "im2col<float>", …, and kernels that are not templates."""
    named = [name for line in _INSTANCES.findall(source) for name in line.split()]
    return named + [name for name, (template, _) in signatures(source).items() if not template]


class KernelFile:
    """One .cu file. Each of its kernels is compiled separately, at its first use."""

    def __init__(self, xp: Any, path: Path):
        if not path.exists():
            raise FileNotFoundError(f"there is no kernel file {path}: the installation of minicnn is incomplete")
        self.xp, self.name = xp, path.name
        self.source = expand(path)
        self.signatures, self.instances = signatures(self.source), instances(self.source)
        self._kernels: dict[tuple[str, tuple[Any, ...]], Kernel] = {}

    def kernel(self, name: str, *arguments: Any) -> Kernel:
        """The kernel with this name and these template arguments: dtypes, integers, booleans, names."""
        key = name, arguments
        if key not in self._kernels:
            expression = f"{name}<{','.join(map(_spelled, arguments))}>" if arguments else name
            if expression not in self.instances:
                raise ValueError(f"{self.name} has no {expression}: its instances are {', '.join(self.instances)}")
            module = self.xp.RawModule(code=self.source, options=OPTIONS, name_expressions=(expression,))
            template, parameters = self.signatures[name]
            types = dict(zip(template, map(_spelled, arguments)))
            resolved = [(*_resolved(kind, types), parameter) for kind, parameter in parameters]
            self._kernels[key] = Kernel(self, expression, module.get_function(expression), resolved)
        return self._kernels[key]


class Kernel:
    """A compiled kernel: call it with (grid, block, arguments), or `over` a number of items."""

    def __init__(self, file: KernelFile, expression: str, function: Any, parameters: list[tuple[np.dtype, bool, str]]):
        self.xp, self.expression, self.function, self.parameters = file.xp, expression, function, parameters
        self.where = f"{file.name}: {expression}"
        self._names = tuple(name for *_, name in parameters)

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any, shared: int = 0,
                 **named: Any) -> None:
        """Launch `grid` blocks of `block` threads, each with `shared` bytes of dynamic shared memory.

        The arguments are in the order of the kernel's parameters, or passed by name. An empty grid launches nothing.
        CuPy's RawKernel checks no types and passes a Python number as a double; here every argument is converted to its
        parameter's type, or refused.
        """
        if named:
            names = self._names[len(arguments) :]
            if tuple(named) != names:
                if wrong := set(names) ^ set(named):
                    raise TypeError(f"{self.where} takes the arguments {', '.join(names)} by name: "
                                    f"{', '.join(sorted(wrong))} missing or unknown")
                named = {name: named[name] for name in names}
            arguments = (*arguments, *named.values())
        if len(arguments) != len(self.parameters):
            raise TypeError(f"{self.where} takes {len(self.parameters)} arguments, not {len(arguments)}")
        ready, array = [], self.xp.ndarray                         # a small net waits for these lines, not for the GPU
        for argument, (dtype, is_array, name) in zip(arguments, self.parameters):
            if not is_array:
                try:
                    ready.append(dtype.type(argument))
                except OverflowError:
                    raise ValueError(f"{self.where}: {name} (={argument}) does not fit into {dtype}: "
                                     "use a smaller batch") from None
            elif (isinstance(argument, array) and argument.dtype == dtype and argument.size <= LARGEST
                  and argument.flags.c_contiguous):  # fmt: skip
                ready.append(argument)
            elif argument is None:                                 # a pointer that may be null: no bias
                ready.append(_NULL)
            else:
                raise self._refusal(argument, dtype, name)
        if 0 not in grid:
            self.function(tuple(map(int, grid)), tuple(map(int, block)), tuple(ready), shared_mem=shared)

    def over(self, items: int, *arguments: Any, block: int = 256) -> None:
        """Launch a kernel whose threads loop over `items` items (GRID_STRIDE)."""
        if items > LARGEST:
            raise ValueError(f"{self.where}: {items:,} items are too many for one launch, {LARGEST:,} at most: "
                             "use a smaller batch")
        self((min(-(-items // block), 2048),), (block,), *arguments)

    def _refusal(self, argument, dtype, name):
        """The error of an argument that is no contiguous array of this dtype."""
        if not isinstance(argument, self.xp.ndarray):
            return TypeError(f"{self.where}: {name} must be an array of the device, not a {type(argument).__name__}")
        if argument.dtype != dtype:
            return TypeError(f"{self.where}: {name} must be {dtype}, not {argument.dtype}")
        if not argument.flags.c_contiguous:
            return ValueError(f"{self.where}: {name} must be C-contiguous: use ascontiguousarray")
        return ValueError(f"{self.where}: {name} has {argument.size:,} elements, and a kernel can count "
                          f"{LARGEST:,}: use a smaller batch")


def _spelled(argument) -> str:
    """A template argument in C++."""
    if isinstance(argument, bool):
        return str(argument).lower()
    return str(argument) if isinstance(argument, (int, str)) else _NAMES[np.dtype(argument)]


def _resolved(kind: str, types: dict[str, str]) -> tuple[np.dtype, bool]:
    """("const T *", {"T": "float"}) → (float32, it is an array)"""
    bare = kind.replace("const ", "").replace("*", "").strip()
    return np.dtype(_TYPES[types.get(bare, bare)]), "*" in kind
