"""Dropout masks: the random words of NumPy's Philox generator, compared as they are made.

Philox 4×64-10 (Salmon et al. 2011) turns a counter of four words into four random words in ten rounds. NumPy adds 1 to
the counter before each use.

Left to NumPy: seeds and draws of over 128 bits, which it refuses.
"""

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minicnn.cpu import dropout as plain
from minicnn.cpu.compiled import team
from minicnn.cpu.compiled.kernel import kernel
from minicnn.cpu.compiled.work import first, following

GROUPS = 1 << 11
"""Groups of four words in an item."""
U = np.uint64
WORD = 2**64
FACTOR_0, FACTOR_1 = U(0xD2E7470EE14C6C93), U(0xCA5A826395121157)
STEP_0, STEP_1 = U(0x9E3779B97F4A7C15), U(0xBB67AE8584CAA73B)
ELEVEN = U(11)


@intrinsic
def high(typing, a, b):
    """The upper 64 of the 128 bits of a·b."""
    def code(context, builder, signature, args):
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(a, wide) for a in args))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), code


@kernel("void(u8, u8, u8, u8, u8, i8, b1[::1], i8[::1])")
def _mask(key_0, key_1, draw_0, draw_1, threshold, first_group, mask, work):
    """mask[i]: whether the top 53 bits of word 4·first_group + i are at least the threshold."""
    item = first(work)
    while item >= 0:
        out = mask[item * GROUPS * 4 : (item + 1) * GROUPS * 4]
        for group in range((out.size + 3) // 4):
            a, b, c, d = U(first_group + item * GROUPS + group + 1), U(0), draw_0, draw_1
            k0, k1 = key_0, key_1
            for _ in range(10):
                a, b, c, d = high(FACTOR_1, c) ^ b ^ k0, FACTOR_1 * c, high(FACTOR_0, a) ^ d ^ k1, FACTOR_0 * a
                k0, k1 = k0 + STEP_0, k1 + STEP_1
            i = 4 * group
            if i + 4 <= out.size:
                out[i], out[i + 1] = a >> ELEVEN >= threshold, b >> ELEVEN >= threshold
                out[i + 2], out[i + 3] = c >> ELEVEN >= threshold, d >> ELEVEN >= threshold
            else:
                for word in (a, b, c, d):
                    if i < out.size:
                        out[i] = word >> ELEVEN >= threshold
                    i += 1
        item = following(work)


# ------------------------------------------------------------------------------------------------------- the primitive


def dropout_mask(shape, p, seed, draw, start=0):
    if not (0 <= seed < WORD**2 and 0 <= draw < WORD**2):
        return plain.dropout_mask(shape, p, seed, draw, start)
    group, lead = divmod(start, 4)
    mask = np.empty(lead + math.prod(shape), np.bool_)
    team.run(_mask, -(-mask.size // (4 * GROUPS)), mask.size * 4, U(seed % WORD), U(seed // WORD), U(draw % WORD),
             U(draw // WORD), U(round(p * 2**53)), group, mask)
    return mask[lead:].reshape(shape)
