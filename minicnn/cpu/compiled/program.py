"""Many kernels, one after the other, in a single call: for work whose arrays are known beforehand.

    program = Program([Call(kernel, items, size, args), …])
    program.run()                                the same as team.run(kernel, items, size, *args) for each, in order

Between two kernels no Python runs and no thread is woken: all threads go through the list together, share each kernel's
items, and wait in a loop until the last one is done. The arguments are packed beforehand, as 8 bytes each, into one
array; a kernel is called at its machine code's address.

    array     its address, then its sizes: it must be contiguous, or a Place
    tuple     its items
    number    int64, or the bits of a float64
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model
from numba.np.arrayobj import make_array, populate_array

from minicnn.cpu import threads
from minicnn.cpu.compiled import team
from minicnn.cpu.compiled import work as counters
from minicnn.cpu.compiled.atomic import read
from minicnn.cpu.compiled.kernel import OPTIONS, keep, kernel
from minicnn.cpu.compiled.work import DONE, FAILED, NEXT, TOTAL, first, following, rest

MIN_SIZE = 1 << 17
"""The size of all calls together below which the calling thread runs them alone: about 50 µs."""


class Place(NamedTuple):
    """An array argument of this shape at an address, in memory that the caller keeps."""

    address: int
    shape: tuple[int, ...]


class Call(NamedTuple):
    """kernel(*args, work), where work gives out the items 0 … items − 1. size: as for team.run."""

    kernel: Any
    items: int
    size: float
    args: tuple[Any, ...]


class Program:
    """A list of calls, ready to run. Arrays among the arguments must stay where they are; their contents may change."""

    def __init__(self, calls: list[Call]):
        self._keep = calls
        self._size = sum(call.size for call in calls)
        self._most = max((call.items for call in calls), default=0)
        tables, self._places = [], []
        for call in calls:
            values, places = _pack(_types(call.kernel)[:-1], call.args)
            tables.append(values)
            self._places.append(places)
        starts = np.cumsum([0, *map(len, tables)])
        self._table = np.array([value for table in tables for value in table], np.int64)
        self._starts = starts
        at = self._table.ctypes.data
        self._steps = np.array([[*_code(call.kernel), at + 8 * starts[i]] for i, call in enumerate(calls)],
                               np.int64).reshape(-1, 3)  # fmt: skip
        self._fresh = np.zeros((len(calls), counters.SIZE), np.int64)
        self._fresh[:, TOTAL] = [call.items for call in calls]
        self._work = self._fresh.copy()

    def replace(self, call: int, argument: int, address: int) -> None:
        """Let an array argument of a call be another array of the same sizes, at this address."""
        self._table[self._starts[call] + self._places[call][argument]] = address

    def set_numbers(self, call: int, argument: int, numbers: tuple[int, ...]) -> None:
        """Replace a tuple of integers among the arguments of a call."""
        at = self._starts[call] + self._places[call][argument]
        self._table[at : at + len(numbers)] = numbers

    def run(self) -> None:
        """Run all calls. Only one thread of the program may do so at a time."""
        self._work[:] = self._fresh
        helpers = threads.num_threads() if self._most > 1 and self._size >= MIN_SIZE else 1
        team.run(_run, helpers, self._size, self._steps, self._work)
        if len(self._work) and self._work[0, FAILED]:
            raise MemoryError("a kernel found no memory: use a smaller batch or fewer threads")


# ----------------------------------------------------------------------------------------------- arguments as 64 bits


def _types(dispatcher) -> tuple[types.Type, ...]:
    (signature,) = dispatcher.signatures
    return signature


def _pack(kinds, args):
    """(the 64-bit values, the place of each argument among them)"""
    if len(kinds) != len(args):
        raise TypeError(f"the kernel takes {len(kinds)} arguments, not {len(args)}")
    values: list[int] = []
    places = []
    for kind, value in zip(kinds, args):
        places.append(len(values))
        if isinstance(value, Place):
            values += [value.address, *value.shape]
        elif isinstance(kind, types.Array):
            if value.ndim != kind.ndim or value.dtype.name != kind.dtype.name or not value.flags.carray:
                raise TypeError(f"a kernel's argument must be a contiguous {kind}, not {value.dtype} {value.shape}")
            values += [value.ctypes.data, *value.shape]
        elif isinstance(kind, types.UniTuple):
            if len(value) != kind.count:
                raise TypeError(f"a kernel's argument must be {kind.count} integers, not {value}")
            values += [int(v) for v in value]
        elif isinstance(kind, types.Float):
            values.append(np.array(value, np.float64).view(np.int64).item())
        else:
            values.append(int(value))
    return values, places


# -------------------------------------------------------------------------------------------------------- machine code


class Code(types.Type):
    """The address of a kernel with these types of arguments."""

    def __init__(self, arguments):
        self.arguments = arguments
        super().__init__(f"Code({', '.join(map(str, arguments))})")


@register_model(Code)
class _CodeModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.IntType(64))


@intrinsic
def _unpack_and_call(typing, code, table, work):
    """Call the kernel with the arguments that are packed at the address `table`, and counters at the address `work`."""
    def generate(context, builder, signature, args):
        address, at, counters_at = args
        place, values = 0, []

        def word():
            nonlocal place
            word_at = builder.add(at, ir.Constant(ir.IntType(64), 8 * place))
            place += 1
            return builder.load(builder.inttoptr(word_at, ir.IntType(64).as_pointer()))

        def value_of(kind):
            if isinstance(kind, types.Array):
                return _array(context, builder, kind, word(), [word() for _ in range(kind.ndim)])
            if isinstance(kind, types.UniTuple):
                return context.make_tuple(builder, kind, [word() for _ in range(kind.count)])
            if isinstance(kind, types.Float):
                real = builder.bitcast(word(), ir.DoubleType())
                return builder.fptrunc(real, ir.FloatType()) if kind.bitwidth == 32 else real
            if isinstance(kind, types.Boolean):
                return builder.icmp_signed("!=", word(), ir.Constant(ir.IntType(64), 0))
            return word()

        *kinds, last = code.arguments
        values = [value_of(kind) for kind in kinds]
        values.append(_array(context, builder, last, counters_at, [ir.Constant(ir.IntType(64), counters.SIZE)]))
        return _call(context, builder, types.none, code.arguments, address, values)

    return types.boolean(code, types.int64, types.int64), generate


@intrinsic
def _call_code(typing, wrapper, code, table, work):
    """Call `_with_packed` at the address `wrapper`. → whether the kernel failed"""
    kinds = (types.int64, types.int64, types.int64)

    def generate(context, builder, signature, args):
        return _call(context, builder, types.boolean, kinds, args[0], args[1:])

    return types.boolean(types.int64, *kinds), generate


@intrinsic
def _address(typing, array):
    def generate(context, builder, signature, args):
        data = make_array(signature.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), generate


def _array(context, builder, kind, address, sizes):
    """A contiguous array at an address."""
    item = ir.Constant(ir.IntType(64), kind.dtype.bitwidth // 8)
    strides = [item]
    for size in sizes[:0:-1]:
        strides.insert(0, builder.mul(strides[0], size))
    array = make_array(kind)(context, builder)
    data = builder.inttoptr(address, array.data.type)
    populate_array(array, data, cgutils.pack_array(builder, sizes), cgutils.pack_array(builder, strides), item, None)
    return array._getvalue()


def _call(context, builder, result, kinds, address, values):
    """Call machine code by numba's convention. → true if it failed, or returned true"""
    function_type = context.call_conv.get_function_type(result, kinds)
    pointer = builder.inttoptr(address, function_type.as_pointer())
    status, value = context.call_conv.call_function(builder, pointer, result, kinds, values)
    return builder.or_(status.is_error, value) if result is types.boolean else status.is_error


@keep
@numba.njit(**OPTIONS)
def _with_packed(code, table, work):
    return _unpack_and_call(code, table, work)


def _code(dispatcher) -> tuple[int, int]:
    """(address of `_with_packed` for this kernel's types, address of the kernel)"""
    signature = _types(dispatcher)
    kinds = (Code(signature), types.int64, types.int64)
    _with_packed.compile(kinds)
    return _entry(_with_packed, kinds), _entry(dispatcher, signature)


def _entry(dispatcher, signature) -> int:
    compiled = dispatcher.overloads[signature]
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


@kernel("void(i8[:,::1], i8[:,::1], i8[::1])")
def _run(steps, works, work):
    """An item is a thread: all go through the steps together. steps: two addresses and the arguments' address each."""
    item = first(work)
    while item >= 0:
        for s in range(len(steps)):
            here = works[s]
            if read(here, NEXT) < here[TOTAL] and _call_code(steps[s, 0], steps[s, 1], steps[s, 2], _address(here)):
                works[0, FAILED] = 1
            turns = 0
            while read(here, DONE) < here[TOTAL] and read(works[0], FAILED) == 0:
                turns = rest(turns)
            if read(works[0], FAILED):
                break
        item = following(work)
