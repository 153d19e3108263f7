"""What a processor can do at most: multiply-adds in registers, and loads from each cache. Copies: bench/machine.py."""

import numba
import numpy as np

from minicnn.bench.machine import copy_rate
from minicnn.cpu import threads
from minicnn.cpu.compiled import team
from minicnn.cpu.compiled.blocks import load_each, outer, store_each
from minicnn.cpu.compiled.registers import load, spread, store
from minicnn.cpu.compiled.work import first, following

IN_ORDER = numba.njit(nogil=True)                                  # or the compiler would leave sums out
TURNS = 1 << 16
CACHES = {"L1": 1 << 12, "L2": 1 << 16}
"""A number of float32 that is half of the cache, or less."""


@IN_ORDER
def multiply_adds(y, turns, work):
    """Each turn adds 6 × 16 products to 12 registers, as the microkernel does: 192 FLOPs, but no value from memory."""
    item = first(work)
    while item >= 0:
        pixel, filters, sums = spread(y[0]), load_each(y, 0, 8, 2), load_each(y, 0, 8, 12)
        pixels = pixel, pixel, pixel, pixel, pixel, pixel
        for _ in range(turns):
            sums = outer(pixels, filters, sums)
        store_each(y, 96 * (item + 1), 8, sums)
        item = following(work)


@IN_ORDER
def loads(x, turns, y):
    """Each turn loads all of x and adds it up in eight registers."""
    a = b = c = d = e = f = g = h = spread(np.float32(0))
    for _ in range(turns):
        for i in range(0, x.size, 64):
            a, b, c, d = a + load(x, i), b + load(x, i + 8), c + load(x, i + 16), d + load(x, i + 24)
            e, f, g, h = e + load(x, i + 32), f + load(x, i + 40), g + load(x, i + 48), h + load(x, i + 56)
    store(y, 0, (a + b) + (c + d) + ((e + f) + (g + h)))


def calls(all_threads):
    """{name: (work of a call, its number of threads, the call)}, FLOPs or bytes."""
    found, y = {}, np.full(96 * (all_threads + 1), 1e-3, np.float32)
    for count in sorted({1, all_threads}):
        found[f"multiply-adds, {count}"] = (count * 192 * TURNS, count, lambda count=count: team.run(
            multiply_adds, count, TURNS * count, y, TURNS))  # fmt: skip
    for name, size in CACHES.items():
        x, turns = np.ones(size, np.float32), (1 << 22) // size
        found[name] = (4 * size * turns, 1, lambda x=x, turns=turns: loads(x, turns, y))
    return found


def copies(all_threads, seconds):
    """{name: bytes/s} of a copy in memory."""
    found = {}
    for count in sorted({1, all_threads}):
        threads.set_num_threads(count)
        found[f"copy, {count}"] = copy_rate(128, seconds)
    return found
