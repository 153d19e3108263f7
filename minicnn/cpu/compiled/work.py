"""How the threads share the items of a layer: images, rows of images, chunks of an array.

    item = first(work)
    while item >= 0:
        ...                                          compute this item
        item = following(work)

`work` counts the items that were given out and those that are done. A thread takes the next item with one atomic
addition, so a faster thread takes more of them. Which thread computes an item never changes a result: items write to
different places, and sums are kept per item.
"""

import numpy as np

from minicnn.cpu.compiled.atomic import add, give_way, pause, read, write
from minicnn.cpu.compiled.kernel import inlined, kernel

NEXT, DONE, TOTAL, BELL, NUMBER, FAILED = 0, 8, 16, 17, 18, 19    # counters that threads write: a cache line each
SIZE = 24
PATIENCE = 1000
"""Turns that a thread waits, some 20 µs, before it lets others run on its core."""


def new(items: int, bell: int = 0, number: int = 0) -> np.ndarray:
    """The counters for so many items. Whoever takes the first one writes `number` to the address `bell`."""
    work = np.zeros(SIZE, np.int64)
    work[TOTAL], work[BELL], work[NUMBER] = items, bell, number
    return work


@inlined
def first(work):
    """The first item for this thread, or −1 if none is left."""
    item = add(work, NEXT, 1)
    if item == 0 and work[BELL]:
        write(work[BELL], work[NUMBER])
    return item if item < work[TOTAL] else -1


@inlined
def following(work):
    """Note that this thread's item is done. → the next one, or −1"""
    add(work, DONE, 1)
    item = add(work, NEXT, 1)
    return item if item < work[TOTAL] else -1


@inlined
def rest(turns):
    """A turn of a loop that waits. After some, on a core that others need too, the thread that it waits for may run."""
    if turns >= PATIENCE:
        give_way()
    else:
        pause()
    return turns + 1


@kernel("void(i8[::1])")
def wait(work):
    """Wait until every item is done, or a thread has failed."""
    turns = 0
    while read(work, DONE) < work[TOTAL] and read(work, FAILED) == 0:
        turns = rest(turns)


@kernel("void(i8[::1])")
def close(work):
    """Let no thread take another item."""
    add(work, NEXT, work[TOTAL])


@kernel("i8(i8[::1], i8, i8)")
def listen(bell, heard, turns):
    """Wait until the bell's number differs from `heard`, for so many turns. → the number"""
    for turn in range(turns):
        number = read(bell, 0)
        if number != heard:
            return number
        if turn % PATIENCE == PATIENCE - 1:
            give_way()
        pause()
    return heard
