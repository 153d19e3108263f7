// conv_gemm.cuh: convolution as a matrix product whose columns are never stored (implicit GEMM).
//
//     y[m][p]  =  Σ_k  w[k][m] · source(k, p)      m: a filter   p = (n, a, b): a pixel of the result   k: a tap
//
// Tap k reads for pixel (n, a, b) the source's pixel
//
//     row  a·SV + tap[k].row        column  b·SH + tap[k].column        offset  tap[k].offset beyond row a·SV, column b·SH
//
// or 0 if it is outside the image. The table of taps is computed once for a geometry (gpu/conv/implicit_gemm.py). Depending
// on the table, the same kernel computes the convolution or its gradient dx:
//
//     y    source x, taps (c, p, q), row p·D − P, and SV, SH the stride
//     dx   source dy, taps (o, p, q). Pixel h is read by window i through tap p if i·S = h + P − p·D. For the pixels of
//          one phase h ≡ h0 (mod S) these are the same taps, with i = a + (h0 + P − p·D)/S: one launch for each phase,
//          with the table of its taps, and no multiplication by zero.
//
// Blocks: x: BN pixels, y: BM filters, z: the group. Threads: tile.cuh; each copies one column of A (a filter) and one
// column of B (a pixel) to shared memory, neighbouring threads neighbouring columns.
#pragma once
#include "tile.cuh"

struct alignas(8) Tap {
    int offset;
    short row, column;
};

template <typename T, class Tile>
__global__ void __launch_bounds__(256, 2)
conv_gather(const T *__restrict__ x, const T *__restrict__ w, const int2 *__restrict__ table, const T *__restrict__ bias,
            T *__restrict__ y, int K, int M, int pixels, int PH, int PW, int SV, int SH, int H, int W, int x_image,
            int x_group, int y_image, int y_group, int y_plane, int y_start, int y_row, int y_column, bool relu) {
    constexpr int BM = Tile::BM, BN = Tile::BN, A_ROWS = Tile::THREADS / BM, B_ROWS = Tile::THREADS / BN;
    __shared__ __align__(16) Shared<T, Tile> shared;
    const Tap *taps = (const Tap *)table;
    const int t = threadIdx.x, group = blockIdx.z;

    const int filter = blockIdx.y * BM + t % BM, filters = group * K * M + filter;
    const int pixel = blockIdx.x * BN + t % BN, p = min(pixel, pixels - 1);
    const int n = p / (PH * PW), a = p / PW % PH, b = p % PW, h = a * SV, v = b * SH;
    const int from = n * x_image + group * x_group + h * W + v;

    T a_next[Tile::BK / A_ROWS], b_next[Tile::BK / B_ROWS];
    auto fetch = [&](int k0) {
#pragma unroll
        for (int i = 0; i < Tile::BK / A_ROWS; i++) {
            const int k = k0 + t / BM + i * A_ROWS;
            a_next[i] = k < K && filter < M ? w[filters + k * M] : T(0);
        }
#pragma unroll
        for (int i = 0; i < Tile::BK / B_ROWS; i++) {
            const int k = k0 + t / BN + i * B_ROWS;
            b_next[i] = T(0);
            if (k < K && pixel < pixels) {
                const Tap tap = taps[k];
                if (unsigned(h + tap.row) < unsigned(H) && unsigned(v + tap.column) < unsigned(W))
                    b_next[i] = x[from + tap.offset];
            }
        }
    };
    auto put = [&](int buffer) {
#pragma unroll
        for (int i = 0; i < Tile::BK / A_ROWS; i++) shared.a[buffer][t / BM + i * A_ROWS][t % BM] = a_next[i];
#pragma unroll
        for (int i = 0; i < Tile::BK / B_ROWS; i++) shared.b[buffer][t / BN + i * B_ROWS][t % BN] = b_next[i];
    };

    Tile tile;
    multiply<T>(tile, shared, 0, K, fetch, put);

    T *out = y + n * y_image + group * y_group + y_start + a * y_row + b * y_column;
    store_tile<T>(tile, shared, [&](int row, T value) {
        const int m = blockIdx.y * BM + row;
        if (m < M && pixel < pixels) out[m * y_plane] = rectified(value + (bias ? bias[group * M + m] : T(0)), relu);
    });
}

// dw[m][k] = Σ_s dy[m][s] · source(k, s) over all windows s = (n, i, j): as many products as for y, but few results. So the
// sum is split: block z computes part z / G of group z % G, over `each` windows, and sum_parts adds the parts in order.
//
// Both factors are read along s. 8 neighbouring threads read 8 neighbouring windows (a 32-byte sector) of one filter or
// tap, the next 8 those of the next one; stored k-first, they have no bank conflicts (FmaTile) or two-way conflicts (TensorTile).
template <typename T, class Tile>
__global__ void __launch_bounds__(256, Tile::BM * Tile::BN > 8192 ? 1 : 2)
conv_dw(const T *__restrict__ dy, const T *__restrict__ x, const int2 *__restrict__ table, T *__restrict__ parts, int K,
        int M, int windows, int each, int G, int OH, int OW, int SV, int SH, int H, int W, int x_image, int x_group,
        int dy_image, int dy_group) {
    constexpr int BM = Tile::BM, BN = Tile::BN, BK = Tile::BK, LINES = Tile::THREADS / 8;
    __shared__ __align__(16) Shared<T, Tile> shared;
    const Tap *taps = (const Tap *)table;
    const int line = threadIdx.x / 8, lane = threadIdx.x % 8, group = blockIdx.z % G, part = blockIdx.z / G;
    const int begin = part * each, end = min(begin + each, windows);

    // the window that this thread reads next
    int s = begin + lane, n = s / (OH * OW), i = s / OW % OH, j = s % OW;
    T a_next[BK / 8][BM / LINES], b_next[BK / 8][BN / LINES];
    auto fetch = [&](int) {
#pragma unroll
        for (int half = 0; half < BK / 8; half++) {
            const int h = i * SV, v = j * SH;
            const T *maps = dy + n * dy_image + group * dy_group + i * OW + j;
            const int from = n * x_image + group * x_group + h * W + v;
#pragma unroll
            for (int l = 0; l < BM / LINES; l++) {
                const int m = blockIdx.y * BM + line + l * LINES;
                a_next[half][l] = s < end && m < M ? maps[m * OH * OW] : T(0);
            }
#pragma unroll
            for (int l = 0; l < BN / LINES; l++) {
                const int k = blockIdx.x * BN + line + l * LINES;
                b_next[half][l] = T(0);
                if (s < end && k < K) {
                    const Tap tap = taps[k];
                    if (unsigned(h + tap.row) < unsigned(H) && unsigned(v + tap.column) < unsigned(W))
                        b_next[half][l] = x[from + tap.offset];
                }
            }
            s += 8, j += 8;
            while (j >= OW) {
                j -= OW;
                if (++i == OH) i = 0, n++;
            }
        }
    };
    auto put = [&](int buffer) {
#pragma unroll
        for (int half = 0; half < BK / 8; half++) {
#pragma unroll
            for (int l = 0; l < BM / LINES; l++) shared.a[buffer][half * 8 + lane][line + l * LINES] = a_next[half][l];
#pragma unroll
            for (int l = 0; l < BN / LINES; l++) shared.b[buffer][half * 8 + lane][line + l * LINES] = b_next[half][l];
        }
    };

    Tile tile;
    multiply<T>(tile, shared, begin, end, fetch, put);

    const int k = blockIdx.x * BN + threadIdx.x % BN;
    T *out = parts + (part * G + group) * M * K + k;
    store_tile<T>(tile, shared, [&](int row, T value) {
        const int m = blockIdx.y * BM + row;
        if (m < M && k < K) out[m * K] = value;
    });
}
