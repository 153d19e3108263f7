"""The error function and its complement, for arrays of any device: `xp` is its array module.

    erf(x) = 2/√π · ∫₀ˣ e^(−t²) dt          erfc(x) = 1 − erf(x)          (Abramowitz & Stegun 1964, §7.1)

NumPy has neither. For x ≥ 0, e^(x²)·erfc(x) is smooth and falls slowly. So a Chebyshev series of 26 terms in
u = (x − 3)/(x + 3), stretched to −1 … 1, is exact to 1e-13 (Schonfelder 1978). Its coefficients are computed here, from
math.erfc.
"""

import math
from fractions import Fraction

MIDDLE, FAR, TERMS = 3.0, 26.0, 26  # beyond 26, erfc is below float64's smallest number of full precision


def _place(x):
    """Where x ≥ 0 lies between −1 and 1, for x up to FAR."""
    return ((x - MIDDLE) / (x + MIDDLE) + 1) * ((FAR + MIDDLE) / FAR) - 1


def _coefficients():
    """The series' coefficients: a cosine transform of its values at the Chebyshev nodes."""
    angles = [math.pi * (j + 0.5) / TERMS for j in range(TERMS)]
    values = []
    for angle in angles:
        u = (math.cos(angle) + 1) * FAR / (FAR + MIDDLE) - 1
        x = MIDDLE * (1 + u) / (1 - u)
        square = x * x
        rest = float(Fraction(x) ** 2 - Fraction(square))          # which e^(x²) would magnify
        values.append(math.erfc(x) * math.exp(square) * (1 + rest))
    sums = (math.fsum(v * math.cos(k * a) for v, a in zip(values, angles)) for k in range(TERMS))
    return [2 / TERMS * s for s in sums]


_SERIES = _coefficients()
_TAYLOR = [2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(19)]


def erfc(xp, x):
    """1 − erf(x), with a small relative error also where it is nearly 0."""
    single = x.dtype.itemsize == 4
    size = xp.minimum(xp.abs(x), 30)                               # e^(−900) is 0
    u = 2 * _place(xp.minimum(size, FAR))
    before = now = 0 * u
    for c in reversed(_SERIES[1 : 14 if single else TERMS]):       # Clenshaw's recurrence
        before, now = now, u * now - before + c
    tail = xp.exp(-size * size) * (u / 2 * now - before + _SERIES[0] / 2)
    return xp.where(x < 0, 2 - tail, tail)


def erf(xp, x):
    """erf(x): its Taylor series where |x| < 1, else ±(1 − erfc(|x|))."""
    near = xp.clip(x, -1, 1)
    square, series = near * near, 0 * near
    for c in reversed(_TAYLOR[: 11 if x.dtype.itemsize == 4 else None]):
        series = series * square + c
    return xp.where(xp.abs(x) < 1, near * series, xp.sign(x) * (1 - erfc(xp, xp.abs(x))))
