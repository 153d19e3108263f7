"""Windows over images, sorted so that each tap of all windows is one run of values, which NumPy passes at full speed.

Take every S-th pixel of every S-th row, from row a and column b of the padded image on, and call it strip (a, b).
Window (i, j) reads through tap (p, q) the strip's pixel (i + ⌊p·D/S⌋, j + ⌊q·D/S⌋), where a = p·D mod S and
b = q·D mod S. So what a tap reads is a strip from some pixel on. A strip has some more rows and columns than there are
windows, over which a run goes on from row to row and from image to image; what it makes of them belongs to no window.

Pooling reads the runs; its gradient adds to the same runs. No padded copy of the image is made, and nothing is copied
once a tap.
"""

import math

from minicnn.cpu.layout import whole
from minicnn.cpu.threads import num_threads, scratch

BLOCK = 1 << 17
"""Windows' values in a block: enough for a step to take longer than the threads' change of Python's lock."""


class Block:
    """Windows of the rows `i` of images `n`, two slices; x lies as (N,H,W,C). All arrays are this thread's scratch."""

    def __init__(self, g, n, i):
        v, h = g.vertical, g.horizontal
        self.g, self.n, self.i = g, n, i
        self.below, self.beyond = ((axis.extent - 1) // axis.stride for axis in (v, h))        # rows and columns more
        self.count = i.stop - i.start
        self.shape = (n.stop - n.start, self.count + self.below, g.OW + self.beyond, g.C)
        self.row = self.shape[2] * g.C
        self.length = math.prod(self.shape) - self.below * self.row - self.beyond * g.C        # of a run
        self.phases = [(a, b) for a in range(min(v.stride, v.extent)) for b in range(min(h.stride, h.extent))]

    def at(self, p, q):
        """(the strip that tap (p, q) reads, where in it the run begins)"""
        v, h = self.g.vertical, self.g.horizontal
        (down, a), (across, b) = divmod(p * v.dilation, v.stride), divmod(q * h.dilation, h.stride)
        return (a, b), down * self.row + across * self.g.C

    def strips(self, x, fill):
        """{(a, b): strip}, `fill` where it hangs over the image's edge."""
        return {phase: self._strip(x, *phase, fill) for phase in self.phases}

    def _strip(self, x, a, b, fill):
        strip = scratch(f"strip {a} {b}", self.shape, x.dtype)
        (top, bottom), down, (left, right), across = self._pixels(a, b, 0, self.shape[1])
        strip[:, :top] = strip[:, bottom:] = fill
        strip[:, top:bottom, :left] = strip[:, top:bottom, right:] = fill
        whole(strip)[:, top:bottom, left:right] = whole(x)[self.n, down, across]
        return strip.reshape(-1)

    def _pixels(self, a, b, first, stop):
        """Which of a strip's rows `first` to `stop` and of its columns are pixels: (range, slice of the image) each."""
        v, h = self.g.vertical, self.g.horizontal
        rows, down = every(v.stride, (self.i.start + first) * v.stride + a - v.before, stop - first, v.size)
        columns, across = every(h.stride, b - h.before, self.shape[2], h.size)
        return rows, down, columns, across

    def tap(self, strips, p, q):
        """What tap (p, q) of every window reads."""
        phase, start = self.at(p, q)
        return strips[phase][start : start + self.length]

    def results(self, name, dtype):
        """Room for a value a window, as long as a run."""
        return scratch(name, (math.prod(self.shape),), dtype)[: self.length]

    def put(self, target, name):
        """The results of that name to where they belong in target (N,OH,OW,C)."""
        target[self.n, self.i] = scratch(name, self.shape, target.dtype)[:, : self.count, : self.g.OW]

    def take(self, source, name, fill=0):
        """A value a window out of source (N,OH,OW,C), as a run; `fill` in between, and for windows that are none."""
        room = scratch(name, self.shape, source.dtype)
        low, high = (min(max(edge - self.i.start, 0), self.count) for edge in (0, self.g.OH))
        room[:, :low] = room[:, high:] = fill
        room[:, low:high, self.g.OW :] = fill
        room[:, low:high, : self.g.OW] = source[self.n, self.i.start + low : self.i.start + high]
        return room.reshape(-1)[: self.length]

    def give(self, share, dx):
        """Add what share(p, q, out) writes, a run, to what tap (p, q) reads; the rows that are complete go to dx."""
        sums = {phase: scratch(f"sums {phase}", (math.prod(self.shape),), dx.dtype) for phase in self.phases}
        room, begun = self.results("share", dx.dtype), set()
        for p in range(self.g.KH):
            for q in range(self.g.KW):
                phase, start = self.at(p, q)
                strip, here = sums[phase], slice(start, start + self.length)
                if phase in begun:
                    share(p, q, room)
                    strip[here] += room
                else:
                    share(p, q, strip[here])
                    strip[:start] = strip[here.stop :] = 0
                    begun.add(phase)
        for phase, strip in sums.items():
            if phase not in begun:
                strip[...] = 0
            (top, bottom), down, (left, right), across = self._pixels(*phase, self.below, self.count)
            complete = strip.reshape(self.shape)[:, self.below : self.count]
            whole(dx)[self.n, down, across] = whole(complete)[:, top:bottom, left:right]


def every(stride, first, count, size):
    """Which of the places first, first + stride, …, `count` of them, lie in 0 … size: (their range, the slice)."""
    low = min(max(-(first // stride), 0), count)
    high = min(max((size - 1 - first) // stride + 1, low), count)
    start = first + low * stride
    return (low, high), slice(start, start + (high - low - 1) * stride + 1 if high > low else start, stride)


def blocks(g):
    """All windows, in blocks: some rows of one image, or some whole images."""
    return [Block(g, n, i) for n, i in _cut(g, g.OH)]


def blocks_of_pixels(g):
    """The same for `give`: each pixel is in the complete rows of one block, which has all the windows that read it."""
    below = (g.vertical.extent - 1) // g.vertical.stride
    return [Block(g, n, slice(rows.start - below, rows.stop)) for n, rows in _cut(g, g.OH + below)]


def _cut(g, rows):
    """(images, rows) of the parts of N × rows, two slices each."""
    C = max(1, g.C)
    few = min(rows, max(1, BLOCK // (g.OW * C)))                              # of one image
    together = max(1, min(BLOCK // (few * g.OW * C), -(-g.N // num_threads())))                # images
    return [(slice(n, min(n + together, g.N)), slice(r, min(r + few, rows)))
            for n in range(0, g.N, together) for r in range(0, rows, few)]  # fmt: skip


def all_read(g):
    """Whether every pixel is in some strip, so that `give` writes all of dx."""
    return all(axis.stride <= axis.extent and (axis.out - 1) * axis.stride + axis.extent - axis.before >= axis.size
               for axis in (g.vertical, g.horizontal))  # fmt: skip
