"""Several registers at once: what a block of sums, or the rows and columns of a tile, needs in one expression.

A block is a tuple of registers. n and count of lanes are written as plain numbers, so that the compiler knows them.

    load_each(x, i, step, n)         (x[i…], x[i + step…], …)            n registers
    store_each(y, i, step, a)        y[i…] = a[0], y[i + step…] = a[1], …
    read_each(at, m, n)              (at[m], …, at[m + n − 1])           n integers
    spread_at_each(x, places, j)     x[place + j] in all lanes, for each place
    zeros(n)                         n registers of 0
    repeat(w, n)                     (w[0], w[1], …, w[0], w[1], …)      n times
    outer(v, w, sums)                sums + v ⊗ w: v[r]·w[s] is added to sums[r·len(w) + s]
    relu_each(a)                     max(a, 0), NaN stays NaN
    store_rows(y, places, j, a, n)   row r of a, len(a)/len(places) registers, to y[places[r] + j…]: its first n values
    add_rows(y, i, a, first, last)   y[i + 16·r…] += row r of a, two registers, for r = first … last − 1
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minicnn.cpu.compiled.registers import _FLOATS, LANES, _eight, _first_lanes, _in_all_lanes, _pointer, register

_NONE = ir.Constant(_FLOATS, [0.0] * LANES)


def _items(builder, block, count):
    return [builder.extract_value(block, i) for i in range(count)]


@intrinsic(prefer_literal=True)
def load_each(typing, x, i, step, n):
    if not isinstance(n, types.IntegerLiteral):
        return None
    count = n.literal_value

    def code(context, builder, signature, args):
        at = _pointer(context, builder, signature.args[0], args[0], args[1])
        values = []
        for _ in range(count):
            values.append(builder.load(_eight(builder, at), align=4))
            at = builder.gep(at, [args[2]])
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(register, count)(x, types.intp, types.intp, n), code


@intrinsic
def store_each(typing, y, i, step, a):
    def code(context, builder, signature, args):
        at = _pointer(context, builder, signature.args[0], args[0], args[1])
        for value in _items(builder, args[3], signature.args[3].count):
            builder.store(value, _eight(builder, at), align=4)
            at = builder.gep(at, [args[2]])
        return context.get_dummy_value()

    return types.void(y, types.intp, types.intp, a), code


@intrinsic(prefer_literal=True)
def read_each(typing, at, m, n):
    if not isinstance(n, types.IntegerLiteral):
        return None
    count = n.literal_value

    def code(context, builder, signature, args):
        here = _pointer(context, builder, signature.args[0], args[0], args[1])
        values = [builder.load(builder.gep(here, [context.get_constant(types.intp, i)])) for i in range(count)]
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(types.int64, count)(at, types.intp, n), code


@intrinsic
def spread_at_each(typing, x, places, j):
    def code(context, builder, signature, args):
        x, places, j = args
        values = [_in_all_lanes(builder, builder.load(_pointer(context, builder, signature.args[0], x,
                                                               builder.add(place, j))))
                  for place in _items(builder, places, signature.args[1].count)]
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(register, places.count)(x, places, types.intp), code


@intrinsic(prefer_literal=True)
def zeros(typing, n):
    if not isinstance(n, types.IntegerLiteral):
        return None
    count = n.literal_value

    def code(context, builder, signature, args):
        return context.make_tuple(builder, signature.return_type, [_NONE] * count)

    return types.UniTuple(register, count)(n), code


@intrinsic(prefer_literal=True)
def repeat(typing, w, n):
    if not isinstance(n, types.IntegerLiteral):
        return None
    count = n.literal_value

    def code(context, builder, signature, args):
        values = _items(builder, args[0], signature.args[0].count)
        return context.make_tuple(builder, signature.return_type, values * count)

    return types.UniTuple(register, w.count * count)(w, n), code


@intrinsic
def outer(typing, v, w, sums):
    def code(context, builder, signature, args):
        kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
        fma = cgutils.get_or_insert_function(builder.module, kind, "llvm.fma.v8f32")
        v, w, sums = (_items(builder, block, kind.count) for block, kind in zip(args, signature.args))
        values = [builder.call(fma, [a, b, sums[r * len(w) + s]]) for r, a in enumerate(v) for s, b in enumerate(w)]
        return context.make_tuple(builder, signature.return_type, values)

    return sums(v, w, sums), code


@intrinsic
def relu_each(typing, a):
    def code(context, builder, signature, args):
        values = [builder.select(builder.fcmp_ordered("<", value, _NONE), _NONE, value)
                  for value in _items(builder, args[0], signature.args[0].count)]
        return context.make_tuple(builder, signature.return_type, values)

    return a(a), code


@intrinsic
def store_rows(typing, y, places, j, a, n):
    def code(context, builder, signature, args):
        rows, count = signature.args[1].count, signature.args[3].count
        wide = count // rows
        values = _items(builder, args[3], count)
        kinds = [_FLOATS, _FLOATS.as_pointer(), ir.IntType(32), ir.VectorType(ir.IntType(1), LANES)]
        masked = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), kinds),
                                                "llvm.masked.store.v8f32.p0v8f32")
        four, lanes = ir.Constant(ir.IntType(32), 4), context.get_constant(types.intp, LANES)
        targets = [_eight(builder, _pointer(context, builder, signature.args[0], args[0],
                                            builder.add(builder.add(place, args[2]),
                                                        context.get_constant(types.intp, s * LANES))))
                   for place in _items(builder, args[1], rows) for s in range(wide)]
        complete = builder.icmp_signed(">=", args[4], context.get_constant(types.intp, wide * LANES))
        with builder.if_else(complete) as (all_lanes, some_lanes):
            with all_lanes:
                for value, target in zip(values, targets):
                    builder.store(value, target, align=4)
            with some_lanes:
                left, masks = args[4], []
                for _ in range(wide):
                    masks.append(_first_lanes(builder, left))
                    left = builder.sub(left, lanes)
                for i, (value, target) in enumerate(zip(values, targets)):
                    builder.call(masked, [value, target, four, masks[i % wide]])
        return context.get_dummy_value()

    return types.void(y, places, types.intp, a, types.intp), code


@intrinsic
def add_rows(typing, y, i, a, first, last):
    def code(context, builder, signature, args):
        values = _items(builder, args[2], signature.args[2].count)
        for r in range(len(values) // 2):
            row = context.get_constant(types.intp, r)
            wanted = builder.and_(builder.icmp_signed("<=", args[3], row), builder.icmp_signed("<", row, args[4]))
            with builder.if_then(wanted):
                for s in range(2):
                    at = builder.add(args[1], context.get_constant(types.intp, 16 * r + LANES * s))
                    target = _eight(builder, _pointer(context, builder, signature.args[0], args[0], at))
                    builder.store(builder.fadd(builder.load(target, align=4), values[2 * r + s]), target, align=4)
        return context.get_dummy_value()

    return types.void(y, types.intp, a, types.intp, types.intp), code
