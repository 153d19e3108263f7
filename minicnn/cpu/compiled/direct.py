"""Convolution by its definition: windows × filters, tile by tile, without columns (microkernel.py).

A tile is some rows of outputs of an image, or several small images. Its pixels are padded into a buffer that stays in
the cache, unless they can be read where they lie. dx is the same product, with filters turned by 180° and their axes
swapped; at a stride of S it is one such product for each of the S×S phases (conv/dx.py). dw multiplies windows
with gradients, and sums over the tiles.

`geometry` is an int64 array, in the order of GEOMETRY.
"""

import functools
from dataclasses import replace

import numpy as np

from minicnn.cpu.compiled import team
from minicnn.cpu.compiled.arrays import usable
from minicnn.cpu.compiled.kernel import inlined, kernel
from minicnn.cpu.compiled.layout import pack_filters, pad
from minicnn.cpu.compiled.microkernel import pack_gradients, windows_times_filters, windows_times_gradients
from minicnn.cpu.compiled.work import first, following
from minicnn.cpu.conv.dx import dx_as_conv2d, phase_convs, transposed
from minicnn.cpu.layout import as_nchw, to_nhwc

TILE_VALUES = 1 << 15
"""Values of a padded tile: 128 kB, so that it stays in a core's cache together with the filters and the results."""
LARGE_FILTERS = 1 << 17
"""Values of filters that do not all stay in a core's cache."""
TILE_WINDOWS = 128
"""Windows for which such filters are read once, if whole images have so few."""
SUMMED_PIXELS = 256
"""Pixels whose products are added up in a float32 register: more would lose digits."""
SUMS_VALUES = 1 << 20
"""Values of all partial sums of dw together, 4 MB. Large filters are divided among the threads by filters instead."""
PARTS = 8
"""Partial sums of dw. A number that does not depend on the threads, so that the result does not either."""

GEOMETRY = ("O", "G", "OH", "OW", "SH", "SW", "DH", "DW", "top", "left", "copies", "images", "rows", "parts")


@inlined
def _unpack(geometry):
    return (geometry[0], geometry[1], geometry[2], geometry[3], geometry[4], geometry[5], geometry[6], geometry[7],
            geometry[8], geometry[9], geometry[10], geometry[11], geometry[12], geometry[13])


@inlined
def _windows(x, n0, n1, i0, i1, OW, SH, SW, rows, columns, top, left, copies, region, at):
    """Where the windows of output rows i0 … i1 of images n0 … n1 begin, in `region` or in x. → their number"""
    _, H, W, C = x.shape
    if copies:
        pad(x, n0, n1 - n0, i0 * SH - top, rows, -left, columns, region)
    m = 0
    for n in range(n0, n1):
        for i in range(i0, i1):
            k = ((n - n0) * rows + (i - i0) * SH) * columns * C if copies else (n * H + i * SH) * W * C
            for j in range(OW):
                at[m] = k + j * SW * C
                m += 1
    return m


@kernel("void(f4[:,:,:,::1], f4[:,:,:,:,::1], f4[::1], f4[::1], i8[::1], b1, i8[::1], i8[::1])")
def forward(x, w, b, y, places, relu, geometry, work):
    """y at the places start + n·a + i·b + j·c, with (start, a, b, c) = places. w as pack_filters gives it.

    An item is a tile and a part of the filters.
    """
    (N, _, W, C), (_, KH, KW, CG, _) = x.shape, w.shape
    O, G, OH, OW, SH, SW, DH, DW, top, left, copies, images, tile_rows, parts = _unpack(geometry)
    OG = O // G
    blocks, tiles = (OG + 15) // 16, (OH + tile_rows - 1) // tile_rows
    columns = (OW - 1) * SW + (KW - 1) * DW + 1 if copies else W
    most_rows = (tile_rows - 1) * SH + (KH - 1) * DH + 1
    region = np.empty(images * most_rows * columns * C if copies else 1, np.float32)
    at, to = np.empty(images * tile_rows * OW + 7, np.int64), np.empty(images * tile_rows * OW + 7, np.int64)
    Q, T = (1, KW * C) if G == DW == 1 else (KW, CG)
    source, flat = (region if copies else x.reshape(-1)), y
    item = first(work)
    while item >= 0:
        part, tile = item % parts, item // parts
        i0, n0 = tile % tiles * tile_rows, tile // tiles * images
        i1, n1 = min(i0 + tile_rows, OH), min(n0 + images, N)
        count = _windows(x, n0, n1, i0, i1, OW, SH, SW, (i1 - i0 - 1) * SH + (KH - 1) * DH + 1, columns, top, left,
                         copies, region, at)
        m = 0
        for n in range(n0, n1):
            for i in range(i0, i1):
                for j in range(OW):
                    to[m] = places[0] + n * places[1] + i * places[2] + j * places[3]
                    m += 1
        f0, f1 = blocks * part // parts * 16, min(blocks * (part + 1) // parts * 16, OG)
        for g in range(G):
            windows_times_filters(source, g * CG, at, count, KH, DH * columns * C, Q, DW * C, T, w,
                                  g * blocks + f0 // 16, b, g * OG + f0, f1 - f0, flat, to, g * OG + f0, relu)
        item = following(work)


@kernel("void(f4[::1], f4[:,:,:,::1], f4[:,::1], i8, i8, i8[::1], i8[::1])")
def backward_w(dy, x, sums, KH, KW, geometry, work):
    """sums[part] = Σ dy·x over the part's tiles, laid out like packed filters. An item is a part and some filters."""
    N, _, W, C = x.shape
    O, G, OH, OW, SH, SW, DH, DW, top, left, copies, images, tile_rows, filter_parts = _unpack(geometry)
    OG, CG, parts = O // G, C // G, len(sums)
    blocks, tiles = (OG + 15) // 16, (OH + tile_rows - 1) // tile_rows
    all_tiles = tiles * ((N + images - 1) // images)
    columns = (OW - 1) * SW + (KW - 1) * DW + 1 if copies else W
    most_rows = (tile_rows - 1) * SH + (KH - 1) * DH + 1
    region = np.empty(images * most_rows * columns * C + 8 if copies else 1, np.float32)
    at, source = np.empty(images * tile_rows * OW, np.int64), np.empty(images * tile_rows * OW, np.int64)
    panels = np.empty(len(at) * 16 * ((blocks + filter_parts - 1) // filter_parts + 1), np.float32)
    panel, places = np.empty(6 * len(at) + 8, np.float32), 6 * np.arange(len(at))
    Q, T = (1, KW * C) if G == DW == 1 else (KW, CG)
    values, size = (region if copies else x.reshape(-1)), KH * Q * T * 16
    item = first(work)
    while item >= 0:
        part, filter_part = item // filter_parts, item % filter_parts
        f0, f1 = blocks * filter_part // filter_parts, blocks * (filter_part + 1) // filter_parts
        total = sums[part]
        for g in range(G):
            total[(g * blocks + f0) * size : (g * blocks + f1) * size] = 0
        for tile in range(all_tiles * part // parts, all_tiles * (part + 1) // parts):
            i0, n0 = tile % tiles * tile_rows, tile // tiles * images
            i1, n1 = min(i0 + tile_rows, OH), min(n0 + images, N)
            count = _windows(x, n0, n1, i0, i1, OW, SH, SW, (i1 - i0 - 1) * SH + (KH - 1) * DH + 1, columns, top, left,
                             copies, region, at)
            for m in range(count):
                pixels = (i1 - i0) * OW
                source[m] = (((n0 + m // pixels) * OH + i0) * OW + m % pixels) * O
            for g in range(G):
                pack_gradients(dy, source, count, g * OG + f0 * 16, min(f1 * 16, OG) - f0 * 16, panels)
                windows_times_gradients(values, g * CG, at, count, KH, DH * columns * C, Q, DW * C, T, panels, f1 - f0,
                                        total, (g * blocks + f0) * size, panel, places)
        item = following(work)


@kernel("void(f4[:,::1], i8, f4[:,:,:,::1], i8[::1])")
def unpack_sums(sums, G, dw, work):
    """dw (O, C/G, KH, KW) = Σ of the parts of backward_w, in their order. An item is a block of 16 filters."""
    O, C, KH, KW = dw.shape
    filters = O // G
    blocks, panel = (filters + 15) // 16, KH * KW * C * 16
    item = first(work)
    while item >= 0:
        g, start = item // blocks, item % blocks * 16
        for c in range(C):
            for p in range(KH):
                for q in range(KW):
                    k = item * panel + ((p * KW + q) * C + c) * 16
                    for lane in range(min(16, filters - start)):
                        value = sums[0, k + lane]
                        for part in range(1, len(sums)):
                            value += sums[part, k + lane]
                        dw[g * filters + start + lane, c, p, q] = value
        item = following(work)


# ------------------------------------------------------------------------------------------- the primitives' functions


def supports(g, dtype):
    """float32, and at least one output."""
    return dtype == np.float32 and g.N * g.OH * g.OW > 0


def conv2d(x, w, b, g, relu=False):
    y = np.empty((g.N, g.OH, g.OW, g.O), np.float32)
    _product(to_nhwc(x), w, b, g, y, (0, g.OH * g.OW * g.O, g.OW * g.O, g.O), relu)
    return as_nchw(y)


def conv2d_dx(dy, w, g):
    if g.vertical.stride == g.horizontal.stride == 1:
        dy, back = dx_as_conv2d(dy, g)
        return conv2d(dy, transposed(w, g.G), None, back)
    phases = _phases(g)
    covered = sum(p.horizontal.out * p.vertical.out for p, _, _ in phases)
    dx = (np.empty if covered == g.H * g.W else np.zeros)((g.N, g.H, g.W, g.C), np.float32)
    for phase, part, places in phases:
        _product(to_nhwc(dy[:, :, *phase.dy]), transposed(w[:, :, *phase.taps], g.G), None, part, dx, places, False)
    return as_nchw(dx)


def conv2d_dw(dy, x, g):
    dy, x, dw = to_nhwc(dy), to_nhwc(x), np.empty((g.O, g.C // g.G, g.KH, g.KW), np.float32)
    geometry, items, parts = _dw_tiling(g)
    blocks = g.G * -(-(g.O // g.G) // 16)
    sums = np.empty((parts, blocks * g.KH * g.KW * (g.C // g.G) * 16), np.float32)
    team.run(backward_w, items, _size(g), usable(dy).reshape(-1), usable(x), sums, g.KH, g.KW, geometry)
    team.run(unpack_sums, blocks, sums.size, sums, g.G, dw)
    return dw


def _product(x, w, b, g, y, places, relu):
    """The convolution of x (N,H,W,C) into y, at these places."""
    filters = g.O // g.G
    packed = np.empty((g.G * -(-filters // 16), g.KH, g.KW, g.C // g.G, 16), np.float32)
    team.run(pack_filters, len(packed), packed.size, w if w.flags.writeable else w.copy(), g.G, packed)
    bias = np.zeros(g.O + 16, np.float32)                          # a register at the end reads further
    if b is not None:
        bias[: g.O] = b
    geometry, items = _tiling(g)
    team.run(forward, items, _size(g), usable(x), packed, bias, y.reshape(-1), np.array(places), relu, geometry)


def _size(g):
    return g.N * g.OH * g.OW * g.O * (g.C // g.G) * g.KH * g.KW / 16


@functools.lru_cache(1024)
def _phases(g):
    """(phase, the geometry of its product, its places in dx) for each phase of dx."""
    SH, SW = g.vertical.stride, g.horizontal.stride
    phases = []
    for phase in phase_convs(g):
        part = replace(g, C=g.O, O=g.C, vertical=phase.vertical, horizontal=phase.horizontal)
        start = (phase.pixels[0].start * g.W + phase.pixels[1].start) * g.C
        phases.append((phase, part, (start, g.H * g.W * g.C, SH * g.W * g.C, SW * g.C)))
    return phases


@functools.lru_cache(1024)
def _tiling(g):
    """(the geometry for the kernel, the number of items) of `forward`."""
    v, h = g.vertical, g.horizontal
    padded_columns = (g.OW - 1) * h.stride + h.extent
    copies = bool(v.before or h.before or v.after or h.after
                  or (g.OH - 1) * v.stride + v.extent > g.H or padded_columns > g.W)
    row_values = padded_columns * g.C
    rows = max(1, min(g.OH, (TILE_VALUES // row_values - v.extent) // v.stride + 1))
    image_values = ((g.OH - 1) * v.stride + v.extent) * row_values
    images = max(1, min(g.N, TILE_VALUES // image_values)) if rows == g.OH else 1
    if g.OH * g.OW > 24:
        images = 1
    if rows == g.OH and g.O * g.KH * g.KW * (g.C // g.G) > LARGE_FILTERS:
        images = max(images, min(g.N, TILE_WINDOWS // (g.OH * g.OW)))
    parts, tiles = 1, -(-g.OH // rows) * -(-g.N // images)
    if g.G == 1 and tiles < 8:
        parts = min(-(-g.O // 16), -(-8 // tiles))
    return _geometry(g, copies, images, rows, parts), tiles * parts


@functools.lru_cache(1024)
def _dw_tiling(g):
    """(the geometry for the kernel, the number of items, the number of partial sums) of `backward_w`."""
    geometry, _ = _tiling(g)
    copies = bool(geometry[GEOMETRY.index("copies")])
    if (g.KW * g.C if g.G == g.horizontal.dilation == 1 else g.C // g.G) < 6:
        copies = True                                              # room behind the last window
    rows = max(1, min(int(geometry[GEOMETRY.index("rows")]), SUMMED_PIXELS // g.OW))
    images = max(1, min(g.N, SUMMED_PIXELS // (g.OH * g.OW))) if rows == g.OH else 1
    tiles = -(-g.OH // rows) * -(-g.N // images)
    blocks = -(-(g.O // g.G) // 16)
    size = g.O * (g.C // g.G) * g.KH * g.KW
    parts = max(1, min(PARTS, tiles, SUMS_VALUES // size))
    filter_parts = min(blocks, -(-PARTS // parts))
    return _geometry(g, copies, images, rows, filter_parts), parts * filter_parts, parts


def _geometry(g, copies, images, rows, parts):
    v, h = g.vertical, g.horizontal
    return np.array([g.O, g.G, g.OH, g.OW, v.stride, h.stride, v.dilation, h.dilation, v.before, h.before, copies,
                     images, rows, parts])
