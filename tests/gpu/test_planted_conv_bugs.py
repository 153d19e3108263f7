"""Bugs planted in the convolution kernels: each is caught, by values, by memory, or as a race."""

import re

import pytest

from minicnn.gpu import conv
from minicnn.gpu.kernel_file import FOLDER
from tests.gpu.test_conv import drawn, in_float64
from tests.thinned import thinned

LAYERS = {
    "im2col": [((2, 3, 7, 5), (4, 3, 3, 2), (2, 1), (1, 2), (1, 2), 1), ((1, 2, 5, 6), (3, 2, 1, 3), 1, 0, 1, 1)],
    "implicit_gemm": [((2, 3, 9, 7), (66, 3, 3, 2), (2, 1), (1, 2), 1, 1), ((1, 4, 9, 8), (6, 2, 3, 3), 1, 1, 1, 2),
                      ((2, 4, 20, 17), (6, 4, 3, 3), 1, 1, 1, 1)],
    "tensor_core": [((2, 3, 9, 7), (66, 3, 3, 2), (2, 1), (1, 2), 1, 1), ((1, 4, 9, 8), (6, 2, 3, 3), 1, 1, 1, 2)],
    "winograd": [((2, 3, 6, 7), (4, 3, 3, 3), 1, (1, 2), 1, 1), ((1, 2, 5, 8), (3, 2, 3, 3), 1, 1, 1, 1)],
    "depthwise": [((2, 3, 9, 7), (6, 1, 3, 5), (2, 1), (1, 2), (1, 2), 3),
                  ((2, 3, 9, 7), (3, 1, 3, 3), 1, (1, 2), 1, 3), ((3, 2, 40, 37), (2, 1, 3, 3), 1, 1, 1, 2)],
}  # fmt: skip


def check(gpu, name):
    """AssertionError or RuntimeError unless y, dx and dw are right."""
    algorithm = conv.ALGORITHMS[name]
    for layer in LAYERS[name]:
        x, w, b, dy, g = drawn(layer, "float32")
        exact = in_float64(x, w, b, dy, *layer[2:])
        x, w, b, dy = map(gpu.asarray, (x, w, b, dy))
        made = (algorithm.conv2d(gpu, x, w, b, g), algorithm.conv2d_dx(gpu, dy, w, g),
                algorithm.conv2d_dw(gpu, dy, x, g))  # fmt: skip
        made = (*made, algorithm.conv2d(gpu, x, w, b, g, relu=True))
        for a, e in zip(made, (*exact, exact[0].clip(0))):
            assert abs(gpu.to_numpy(a) - e).max() <= 2e-5 * abs(e).max()


RACE = "race"
VALUES = "values"

BUGS = {  # in which file, for which algorithm: what it is, what stood there, what stands there now, how it shows
    ("im2col.cu", "im2col"): [
        ("no bound check below", "bool inside = h >= 0 && ", "bool inside = ", VALUES),
        ("no bound check to the right", "&& w < W;", ";", VALUES),
        ("strides exchanged", "int h = i * SV", "int h = i * SH", VALUES),
        ("dilation forgotten", "w = j * SH + q * DH", "w = j * SH + q", VALUES),
        ("outputs skipped", "        cols[e] = inside ?", "        if (inside) cols[e] = inside ?", VALUES),
        ("every window, not every S-th", "if (i < 0 || i % SV || i / SV >= OH)", "if (i < 0 || i / SV >= OH)", VALUES),
        ("a window too many", "j / SH >= OW) continue;", "j / SH > OW) continue;", VALUES),
        ("threads step on each other's items", "cols[e] =", "cols[e & ~1] =", RACE),
    ],
    ("tile.cuh", "implicit_gemm"): [
        ("no barrier in the loop", "            put(buffer ^ 1);\n            __syncthreads();",
         "            put(buffer ^ 1);", RACE),
        ("no barrier before the loop", "    put(0);\n    __syncthreads();", "    put(0);", RACE),
        ("no barrier before a slice is written",
         "        __syncthreads();  // wait until all threads have read the last step or slice\n",
         "", RACE),
        ("no barrier before a slice is read", "        tile.put(s, rows);\n        __syncthreads();",
         "        tile.put(s, rows);", RACE),
        ("one buffer instead of two", "put(buffer ^ 1);", "put(buffer);", RACE),
        ("buffers never exchanged", "k += Tile::BK, buffer ^= 1)", "k += Tile::BK)", VALUES),
        ("the last rows left out", "const bool more = k + Tile::BK < k_end;",
         "const bool more = k + 2 * Tile::BK <= k_end;", VALUES),
        ("a thread's columns misplaced", "sum[slice][j + 2], sum[slice][j + 3]",
         "sum[slice][j + 3], sum[slice][j + 2]", VALUES),
        ("rows of a slice misplaced", "slice / 4 * (BM * 4 / TM) + r * 4 + slice % 4", "slice * (BM / TM) + r", VALUES),
        ("an unaligned pack", "*(const Quad *)&B[k][j", "*(const Quad *)&B[k][1 + j", VALUES),
    ],
    ("conv_gemm.cuh", "implicit_gemm"): [
        ("no bound check on rows of pixels",
         "if (unsigned(h + tap.row) < unsigned(H) && unsigned(v + tap.column) < unsigned(W))\n"
         "                    b_next[i]",
         "if (unsigned(v + tap.column) < unsigned(W))\n                    b_next[i]", VALUES),
        ("a signed bound check", "if (unsigned(h + tap.row) < unsigned(H) && unsigned(v + tap.column) < unsigned(W))\n"
         "                    b_next[i]",
         "if (h + tap.row < H && v + tap.column < W)\n                    b_next[i]", VALUES),
        ("no bound check on filters", "if (m < M && pixel < pixels) out", "if (pixel < pixels) out", VALUES),
        ("no bound check on pixels", "if (m < M && pixel < pixels) out", "if (m < M) out", VALUES),
        ("taps beyond the last", "a_next[i] = k < K && filter < M ?", "a_next[i] = filter < M ?", VALUES),
        ("no zeros beyond the last tap", "            b_next[i] = T(0);\n", "", VALUES),
        ("no relu", "T(0)), relu);", "T(0)), false);", VALUES),
        ("the bias of another group", "bias[group * M + m]", "bias[m]", VALUES),
        ("the stride of the other axis", "h = a * SV, v = b * SH;\n    const int from",
         "h = a * SH, v = b * SV;\n    const int from", VALUES),
        ("the group forgotten", "n * x_image + group * x_group + h * W + v;\n\n",
         "n * x_image + h * W + v;\n\n", VALUES),
        ("windows beyond the last", "s < end &&", "", VALUES),
        ("the next row forgotten", "if (++i == OH) i = 0, n++;", "if (i == OH) i = 0, n++;", VALUES),
        ("parts on top of each other", "T *out = parts + (part * G + group) * M * K + k;",
         "T *out = parts + group * M * K + k;", RACE),
    ],
    ("implicit_gemm.cu", "implicit_gemm"): [
        ("the first part only", "for (int p = 0; p < count; p++)", "for (int p = 0; p < 1; p++)", VALUES),
        ("the wrong stride between parts", "parts[p * size + i]", "parts[p + count * i]", VALUES),
    ],
    ("mma.cuh", "tensor_core"): [
        ("a term of three left out", "                    mma_tf32(part, a_low, b[j]);\n", "", VALUES),
        ("all sums in the tensor core", "float part[4] = {};", "float(&part)[4] = sum[m][j];", VALUES),
        ("the rest not taken off", "low = to_tf32(x - __int_as_float(high));", "low = to_tf32(x);", VALUES),
        ("rows of A exchanged", "A[k + t + i / 2 * 4][top + m * 16 + g + i % 2 * 8]",
         "A[k + t + i % 2 * 4][top + m * 16 + g + i / 2 * 8]", VALUES),
        ("rows of the result exchanged", "rows[warp / 4 * 16 + g + i / 2 * 8]",
         "rows[warp / 4 * 16 + 8 + g - i / 2 * 8]", VALUES),
        ("half of the depth", "for (int k = 0; k < BK; k += 8) {", "for (int k = 0; k < BK; k += 16) {", VALUES),
    ],
    ("winograd.cu", "winograd"): [
        ("no barrier", "    __syncthreads();\n    if (e >= OC) return;", "    if (e >= OC) return;", RACE),
        ("no barrier on the way back",
         "    __syncthreads();\n#pragma unroll\n    for (int k = threadIdx.x; k < 256 * 9; k += 256)\n"
         "        if (first * 9 + k < OC * 9) dw",
         "#pragma unroll\n    for (int k = threadIdx.x; k < 256 * 9; k += 256)\n"
         "        if (first * 9 + k < OC * 9) dw", RACE),
        ("no relu", "out[k] + b, relu)", "out[k] + b, false)", VALUES),
        ("a sign", "out[out_step] = m1 - m2 + T(0.5)", "out[out_step] = m1 + m2 + T(0.5)", VALUES),
        ("tiles over the edge are stored", "if (left + j < OW) row[j]", "row[j]", VALUES),
        ("rows over the edge are stored", "if (top + i >= OH) continue;", "", VALUES),
        ("packs where rows are not aligned", "if (wide) {", "{", VALUES),
        ("the image's edge is read over", "h >= 0 && h < H && w >= 0 && w < W ? map",
         "h >= 0 && h < H && w < W ? map", VALUES),
        ("filters beyond the last", "if (first * 9 + k < OC * 9) taps[k]", "taps[k]", VALUES),
        ("padding exchanged", "top = tile / TW % TH * 4 - PV", "top = tile / TW % TH * 4 - PH", VALUES),
    ],
    ("depthwise.cu", "depthwise"): [
        ("the filters of one channel for all", "*filter = w + o * KH * KW;",
         "*filter = w + o / times * KH * KW;", VALUES),
        ("the channel's number", "map = x + (n * C + o / times) * H * W;\n        T filter",
         "map = x + (n * C + o % C) * H * W + 1;\n        T filter", VALUES),
        ("no relu", "rectified(sum, relu)", "rectified(sum, false)", VALUES),
        ("no relu on rows", "rectified(sum[r], relu)", "rectified(sum[r], false)", VALUES),
        ("rows beyond the last are stored", "if (first + r < OH) out", "out", VALUES),
        ("a row of taps too few", "row - r >= 0 && row - r < K", "row - r > 0 && row - r < K", VALUES),
        ("stride ignored on the way back", "if (i < 0 || i % SV || i / SV >= OH) continue;",
         "if (i < 0 || i / SV >= OH) continue;", VALUES),
        ("one filter a channel on the way back", "for (int u = 0; u < times; u++)",
         "for (int u = 0; u < 1; u++)", VALUES),
        ("windows of the next part", "s < end; s += blockDim.x", "s < windows; s += blockDim.x", VALUES),
        ("every thread stores the sum", "if (threadIdx.x == 0)\n#pragma", "#pragma", RACE),
    ],
}  # fmt: skip

CASES = [pytest.param(file, name, *bug, id=f"{file}: {bug[0]}") for (file, name), bugs in BUGS.items() for bug in bugs]
NEEDLESS = re.compile(r"(?:\w+<double[^ \n]*)|(?:\w+<float,FmaTile<float,(?:128|64,128)[^ \n]*)"
                      r"|(?:\w+<float,TensorTile<(?:1|3,128|3,64,128)[^ \n]*)|(?:\w+<float,5,4>)")  # fmt: skip
"""Instances that these layers do not need: what is not compiled does not take time."""



KEPT = {bugs[i][0] for bugs in BUGS.values() for i in (0, -1)} | {"buffers never exchanged", "rows of A exchanged"}
"""Of each file, in the order of the source: a bug of its beginning (bounds, barriers) and one of its end (what is
stored), and two of those that show in values alone. Each bug compiles the algorithm anew, which takes seconds."""


def planted(folder, file, old, new):
    for path in FOLDER.glob("*.cu*"):
        text = path.read_text(encoding="utf-8")
        if path.name == file:
            assert text.count(old) >= 1, f"{file} no longer says {old!r}"
            text = text.replace(old, new)
        lines = [NEEDLESS.sub("", line) if line.startswith("// instances:") else line for line in text.split("\n")]
        (folder / path.name).write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def small_tiles(monkeypatch):
    """Only the 64 × 64 tiles."""
    from minicnn.gpu.conv import implicit_gemm

    monkeypatch.setattr(implicit_gemm, "choose_tile", lambda *args, **more: (64, 64))


@pytest.mark.parametrize(("file", "name", "what", "old", "new", "shows"), thinned(CASES, lambda *bug: bug[2] in KEPT))
def test_it_is_caught(file, name, what, old, new, shows, tmp_path, emulated, small_tiles):
    folder = planted(tmp_path, file, old, new)
    if shows == RACE:
        with pytest.raises(RuntimeError, match="race"):
            check(emulated(trace=True, folder=folder), name)
    else:
        with pytest.raises((AssertionError, RuntimeError)):
            check(emulated(folder=folder), name)


@pytest.mark.parametrize("name", LAYERS)
def test_without_it_all_is_well(name, gpu):
    check(gpu, name)


@pytest.mark.parametrize("name", ["im2col", "winograd", "depthwise"])
def test_without_it_nothing_races(name, traced):
    check(traced, name)


@pytest.mark.parametrize("name", ["implicit_gemm", "tensor_core"])
def test_without_it_no_tile_races(name, tmp_path, emulated, small_tiles, monkeypatch):
    monkeypatch.setitem(LAYERS, name, LAYERS[name][:1])
    check(emulated(trace=True, folder=planted(tmp_path, "", "", "")), name)
