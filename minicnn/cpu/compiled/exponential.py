"""e^x in a form that LLVM computes for eight values at a time (Moshier 1992, Cephes: expf)."""

import numpy as np

from minicnn.cpu.compiled.kernel import inlined_in_order

LEAST = np.float32(-104)                                           # e^−104 rounds to 0
LOG2_E = np.float32(1.44269504)
HALF, ONE, BIAS, MANTISSA = np.float32(0.5), np.float32(1), np.int32(127), np.int32(23)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(2.12194440e-4)        # ln 2 = high − low
P0, P1, P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
P3, P4, P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)


@inlined_in_order
def exponential(x):
    """e^x for x ≤ 0 as 2^k · e^r, |r| ≤ ½·ln 2, e^r by a polynomial; NaN for NaN."""
    x = LEAST if x < LEAST else x
    k = np.floor(x * LOG2_E + HALF)
    r = x - k * LN2_HIGH + k * LN2_LOW
    p = ((((P0 * r + P1) * r + P2) * r + P3) * r + P4) * r + P5
    whole = np.int32(k)
    half = whole >> np.int32(1)                                    # 2^k in two factors: it may be below 2^−126
    a = np.int32((half + BIAS) << MANTISSA).view(np.float32)
    b = np.int32((whole - half + BIAS) << MANTISSA).view(np.float32)
    return (p * r * r + r + ONE) * a * b
