"""Eight float32 in one register of the processor (AVX: ymm), as a type that numba can compile.

    a = load(x, i)            a = x[i : i + 8]          x: a float32 array of any shape; i counts its values in memory
    a = load_first(x, i, n)   a[:n] = x[i : i + n], 0 in the other lanes; memory after it is not read
    store(y, i, a)            y[i : i + 8] = a
    store_first(y, i, a, n)   y[i : i + n] = a[:n]      n from 0 to 8; memory after it is not touched
    a = spread(s)             the number s in all eight lanes
    a = spread_at(x, i)       x[i] in all eight lanes
    a = fma(b, c, a)          a + b·c in one instruction, rounded once
    a + b, a - b, a * b       lane by lane
    maximum(a, b)             lane by lane, NaN if a or b is
    where_positive(a, b)      a in the lanes where b > 0, else 0
    where_equal(a, b, c)      a in the lanes where b = c, else 0
    where_wins(a, b, u, v)    u in the lanes where a > b or a is NaN, else v
    total(a)                  the sum of the eight lanes
    copy(y, i, x, j, n)       y[i : i + n] = x[j : j + n]
    zero(y, i, n)             y[i : i + n] = 0

LLVM, numba's compiler, finds such registers by itself where the innermost loop runs over neighbouring values. It does
not find a sum that stays in registers while another loop runs inside, as in a product of matrices: hence this file.
Each function below emits the LLVM instruction of its name. On a processor without AVX, LLVM splits a register in two.
"""

import operator
from typing import ClassVar

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 8
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_INTS = ir.VectorType(ir.IntType(32), LANES)


class Register(types.Type):
    """The type of eight float32."""

    def __init__(self):
        super().__init__("eight float32")


register = Register()


@register_model(Register)
class _RegisterModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _FLOATS)


def _pointer(context, builder, array_type, array, index):
    """The address of value `index` of an array, in memory order."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def _eight(builder, pointer):
    return builder.bitcast(pointer, _FLOATS.as_pointer())


def _in_all_lanes(builder, value):
    lane = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(lane, lane, ir.Constant(_INTS, [0] * LANES))


def _first_lanes(builder, n):
    """The mask of the first n lanes."""
    count = builder.trunc(n, ir.IntType(32))
    counts = builder.insert_element(ir.Constant(_INTS, ir.Undefined), count, ir.Constant(ir.IntType(32), 0))
    counts = builder.shuffle_vector(counts, counts, ir.Constant(_INTS, [0] * LANES))
    return builder.icmp_signed("<", ir.Constant(_INTS, list(range(LANES))), counts)


@intrinsic
def load(typing, x, i):
    def code(context, builder, signature, args):
        return builder.load(_eight(builder, _pointer(context, builder, signature.args[0], *args)), align=4)

    return register(x, types.intp), code


@intrinsic
def load_first(typing, x, i, n):
    def code(context, builder, signature, args):
        pointer = _eight(builder, _pointer(context, builder, signature.args[0], *args[:2]))
        kinds = [_FLOATS.as_pointer(), ir.IntType(32), ir.VectorType(ir.IntType(1), LANES), _FLOATS]
        masked = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_FLOATS, kinds),
                                                "llvm.masked.load.v8f32.p0v8f32")
        return builder.call(masked, [pointer, ir.Constant(ir.IntType(32), 4), _first_lanes(builder, args[2]),
                                     ir.Constant(_FLOATS, [0.0] * LANES)])

    return register(x, types.intp, types.intp), code


@intrinsic
def store(typing, y, i, a):
    def code(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        builder.store(args[2], _eight(builder, pointer), align=4)
        return context.get_dummy_value()

    return types.void(y, types.intp, register), code


@intrinsic
def store_first(typing, y, i, a, n):
    def code(context, builder, signature, args):
        pointer = _eight(builder, _pointer(context, builder, signature.args[0], args[0], args[1]))
        kinds = [_FLOATS, _FLOATS.as_pointer(), ir.IntType(32), ir.VectorType(ir.IntType(1), LANES)]
        masked = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), kinds),
                                                "llvm.masked.store.v8f32.p0v8f32")
        builder.call(masked, [args[2], pointer, ir.Constant(ir.IntType(32), 4), _first_lanes(builder, args[3])])
        return context.get_dummy_value()

    return types.void(y, types.intp, register, types.intp), code


@intrinsic
def spread(typing, s):
    def code(context, builder, signature, args):
        return _in_all_lanes(builder, args[0])

    return register(types.float32), code


@intrinsic
def spread_at(typing, x, i):
    def code(context, builder, signature, args):
        return _in_all_lanes(builder, builder.load(_pointer(context, builder, signature.args[0], *args)))

    return register(x, types.intp), code


@intrinsic
def fma(typing, b, c, a):
    def code(context, builder, signature, args):
        kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.fma.v8f32"), args)

    return register(register, register, register), code


@intrinsic
def maximum(typing, a, b):
    def code(context, builder, signature, args):
        a, b = args
        larger = builder.select(builder.fcmp_unordered(">", a, b), a, b)      # a if it is NaN
        return builder.select(builder.fcmp_unordered("uno", b, b), b, larger)

    return register(register, register), code


@intrinsic
def where_positive(typing, a, b):
    def code(context, builder, signature, args):
        none = ir.Constant(_FLOATS, [0.0] * LANES)
        return builder.select(builder.fcmp_ordered(">", args[1], none), args[0], none)

    return register(register, register), code


@intrinsic
def where_equal(typing, a, b, c):
    def code(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered("==", args[1], args[2]), args[0],
                              ir.Constant(_FLOATS, [0.0] * LANES))

    return register(register, register, register), code


@intrinsic
def where_wins(typing, a, b, u, v):
    def code(context, builder, signature, args):
        a, b, u, v = args
        return builder.select(builder.or_(builder.fcmp_ordered(">", a, b), builder.fcmp_unordered("uno", a, a)), u, v)

    return register(register, register, register, register), code


@intrinsic
def total(typing, a):
    def code(context, builder, signature, args):
        parts = [builder.extract_element(args[0], ir.Constant(ir.IntType(32), i)) for i in range(LANES)]
        while len(parts) > 1:
            parts = [builder.fadd(x, y) for x, y in zip(parts[::2], parts[1::2])]
        return parts[0]

    return types.float32(register), code


@intrinsic
def copy(typing, y, i, x, j, n):
    def code(context, builder, signature, args):
        target = _pointer(context, builder, signature.args[0], args[0], args[1])
        source = _pointer(context, builder, signature.args[2], args[2], args[3])
        cgutils.raw_memcpy(builder, target, source, args[4], context.get_constant(types.intp, 4))
        return context.get_dummy_value()

    return types.void(y, types.intp, x, types.intp, types.intp), code


@intrinsic
def zero(typing, y, i, n):
    def code(context, builder, signature, args):
        target = _pointer(context, builder, signature.args[0], args[0], args[1])
        cgutils.memset(builder, target, builder.mul(args[2], context.get_constant(types.intp, 4)), 0)
        return context.get_dummy_value()

    return types.void(y, types.intp, types.intp), code


def _lane_by_lane(python_operator, instruction):
    """Give Python's operator a meaning for two registers. (An `overload` would be compiled anew at each use.)"""
    @infer_global(python_operator)
    class Template(ConcreteTemplate):
        cases: ClassVar = [signature(register, register, register)]

    @lower_builtin(python_operator, register, register)
    def _(context, builder, signature, args):
        return getattr(builder, instruction)(*args)


_lane_by_lane(operator.add, "fadd")
_lane_by_lane(operator.sub, "fsub")
_lane_by_lane(operator.mul, "fmul")
