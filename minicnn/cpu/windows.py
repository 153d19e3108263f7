"""Pooling windows, arranged so that the values that a tap reads in all windows of a tile are one contiguous run.

Phase image (a, b) is every S-th pixel of every S-th row of the padded image, starting at row a and column b. Tap (p, q)
of window (i, j) reads pixel (i + ⌊p·D/S⌋, j + ⌊q·D/S⌋) of the phase image with a = p·D mod S and b = q·D mod S. So for
all windows of a tile, the tap reads one contiguous run of a phase image, which NumPy processes at full speed. A phase
image has a few more rows and columns than there are windows; the run includes them, and the values computed there are
discarded.

Pooling reads these runs, and its gradient adds to them. The image is copied once, not once per tap.
"""

import math

from minicnn.cpu.layout import pixel_records
from minicnn.cpu.threads import CHUNK_VALUES, num_threads, scratch


class WindowTile:
    """The windows of rows `i` of images `n`, two slices; x is (N,H,W,C).

    A run is a flat array with the C values of every window, row after row. Buffers are this thread's scratch.
    """

    def __init__(self, g, n, i):
        v, h = g.vertical, g.horizontal
        self.g, self.n, self.i = g, n, i
        # additional rows and columns of a phase image, which belong to no window
        self.extra_rows, self.extra_columns = ((axis.extent - 1) // axis.stride for axis in (v, h))
        self.rows = i.stop - i.start
        self.shape = (n.stop - n.start, self.rows + self.extra_rows, g.OW + self.extra_columns, g.C)
        self.row_values = self.shape[2] * g.C
        self.length = math.prod(self.shape) - self.extra_rows * self.row_values - self.extra_columns * g.C    # of a run
        self.phases = [(a, b) for a in range(min(v.stride, v.extent)) for b in range(min(h.stride, h.extent))]

    def locate(self, p, q):
        """((a, b) of the phase image that tap (p, q) reads, start of the run in it)"""
        v, h = self.g.vertical, self.g.horizontal
        (down, a), (across, b) = divmod(p * v.dilation, v.stride), divmod(q * h.dilation, h.stride)
        return (a, b), down * self.row_values + across * self.g.C

    def phase_images(self, x, fill):
        """{(a, b): the phase image, flat}, with `fill` outside the image."""
        return {phase: self._phase_image(x, phase, fill) for phase in self.phases}

    def _phase_image(self, x, phase, fill):
        image = scratch(f"phase image {phase}", self.shape, x.dtype)
        (top, bottom), down, (left, right), across = self._overlap(phase, 0, self.shape[1])
        image[:, :top] = image[:, bottom:] = fill
        image[:, top:bottom, :left] = image[:, top:bottom, right:] = fill
        pixel_records(image)[:, top:bottom, left:right] = pixel_records(x)[self.n, down, across]
        return image.reshape(-1)

    def _overlap(self, phase, first, stop):
        """Which of a phase image's rows `first` to `stop`, and of its columns, are inside the image.

        → (range of rows, slice of the image's rows, range of columns, slice of the image's columns)
        """
        v, h = self.g.vertical, self.g.horizontal
        row = (self.i.start + first) * v.stride + phase[0] - v.before
        rows, down = strided_overlap(v.stride, row, stop - first, v.size)
        columns, across = strided_overlap(h.stride, phase[1] - h.before, self.shape[2], h.size)
        return rows, down, columns, across

    def tap(self, phase_images, p, q):
        """The run of values that tap (p, q) of every window reads: a view."""
        phase, start = self.locate(p, q)
        return phase_images[phase][start : start + self.length]

    def buffer(self, name, dtype):
        """An uninitialised array of a phase image's shape; `run` of it holds a value for every window."""
        return scratch(name, self.shape, dtype)

    def run(self, buffer):
        """The run in a buffer: a flat view."""
        return buffer.reshape(-1)[: self.length]

    def load(self, source, name, fill=0):
        """The values of source (N,OH,OW,C) as a run; `fill` between the windows, and for rows that have none."""
        buffer = self.buffer(name, source.dtype)
        low, high = (min(max(edge - self.i.start, 0), self.rows) for edge in (0, self.g.OH))
        buffer[:, :low] = buffer[:, high:] = fill
        buffer[:, low:high, self.g.OW :] = fill
        buffer[:, low:high, : self.g.OW] = source[self.n, self.i.start + low : self.i.start + high]
        return self.run(buffer)

    def store(self, buffer, target):
        """Copy the windows' values to their positions in target (N,OH,OW,C)."""
        target[self.n, self.i] = buffer[:, : self.rows, : self.g.OW]

    def scatter(self, contribution, dx):
        """Add to each pixel the contributions of all windows and taps that read it, and store the complete rows in dx.

        contribution(p, q, out) writes a run: the value that tap (p, q) of each window adds to the pixel that it reads.
        """
        sums = {phase: self.buffer(f"sums {phase}", dx.dtype) for phase in self.phases}
        added, written = self.run(self.buffer("contribution", dx.dtype)), set()
        for p in range(self.g.KH):
            for q in range(self.g.KW):
                phase, start = self.locate(p, q)
                flat, run = sums[phase].reshape(-1), slice(start, start + self.length)
                if phase in written:
                    contribution(p, q, added)
                    flat[run] += added
                else:
                    contribution(p, q, flat[run])
                    flat[:start] = flat[run.stop :] = 0
                    written.add(phase)
        for phase, phase_sums in sums.items():
            if phase not in written:
                phase_sums[...] = 0
            (top, bottom), down, (left, right), across = self._overlap(phase, self.extra_rows, self.rows)
            complete = phase_sums[:, self.extra_rows : self.rows]
            pixel_records(dx)[self.n, down, across] = pixel_records(complete)[:, top:bottom, left:right]


def strided_overlap(stride, first, count, size):
    """Which of `count` positions first, first + stride, … are in 0 … size: (their range, the slice of 0 … size)."""
    low = min(max(-(first // stride), 0), count)
    high = min(max((size - 1 - first) // stride + 1, low), count)
    start = first + low * stride
    return (low, high), slice(start, start + (high - low - 1) * stride + 1 if high > low else start, stride)


def output_tiles(g):
    """All windows, in tiles: some rows of one image, or some whole images."""
    return [WindowTile(g, n, i) for n, i in _tiles(g, g.OH)]


def pixel_tiles(g):
    """Tiles for `scatter`: each pixel is in the complete rows of one tile, which contains all windows that read it."""
    extra = (g.vertical.extent - 1) // g.vertical.stride
    return [WindowTile(g, n, slice(rows.start - extra, rows.stop)) for n, rows in _tiles(g, g.OH + extra)]


def _tiles(g, rows):
    """N × rows in tiles of about CHUNK_VALUES values: [(slice of images, slice of rows)]"""
    row_values = g.OW * max(1, g.C)
    tile_rows = min(rows, max(1, CHUNK_VALUES // row_values))                 # of one image
    tile_images = max(1, min(CHUNK_VALUES // (tile_rows * row_values), -(-g.N // num_threads())))
    return [(slice(n, min(n + tile_images, g.N)), slice(r, min(r + tile_rows, rows)))
            for n in range(0, g.N, tile_images) for r in range(0, rows, tile_rows)]  # fmt: skip


def every_pixel_read(g):
    """Whether every pixel is in some phase image, so that `scatter` writes all of dx."""
    return all(axis.stride <= axis.extent and (axis.out - 1) * axis.stride + axis.extent - axis.before >= axis.size
               for axis in (g.vertical, g.horizontal))  # fmt: skip
