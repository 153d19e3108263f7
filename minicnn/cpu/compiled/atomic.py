"""Memory that several threads read and write: instructions that numba does not offer."""

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

WINDOWS = platform.system() == "Windows"
ARM = platform.machine().lower() in ("arm64", "aarch64")


@intrinsic
def add(typing, array, i, value):
    """array[i] += value as one step that no other thread can interrupt. → the value before"""
    def code(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", builder.gep(data, [args[1]]), args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), code


@intrinsic
def read(typing, array, i):
    """array[i], as other threads wrote it last."""
    def code(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.load_atomic(builder.gep(data, [args[1]]), "acquire", 8)

    return types.int64(array, types.intp), code


@intrinsic
def write(typing, address, value):
    """Write a number to an address, where other threads read it."""
    def code(context, builder, signature, args):
        builder.store_atomic(args[1], builder.inttoptr(args[0], ir.IntType(64).as_pointer()), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), code


@intrinsic
def pause(typing):
    """Tell the processor that this thread only waits."""
    def code(context, builder, signature, args):
        if ARM:
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(32)])
            hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.hint")
            builder.call(hint, [ir.Constant(ir.IntType(32), 1)])   # 1: yield
        else:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), code


@intrinsic
def give_way(typing):
    """Let another thread run on this core, if one waits for it: the one that this thread waits for, perhaps."""
    def code(context, builder, signature, args):
        if not WINDOWS:
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), code
