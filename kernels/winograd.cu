// winograd.cu: the transforms of Winograd's convolution F(4×4, 3×3) (Lavin & Gray 2016).
//
// 4 × 4 neighbouring outputs of a 3 × 3 filter from 36 products instead of 144:
//
//     y = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ d B) ] A          w 3 × 3   d 6 × 6 pixels   y 4 × 4
//
// Summed over channels, the ⊙ is 36 matrix products, one for each position in the tile, in one call of cuBLAS:
//
//     U (36, O, C) = G w Gᵀ     V (36, C, P) = Bᵀ d B     M (36, O, P) = U · V     y = Aᵀ M A        P tiles
//
// and the gradient of the filters is  dw = Gᵀ [ Σ_P (A dy Aᵀ) · Vᵀ ] G.  The polynomials are evaluated at 0, 1, −1, ½, −2
// and ∞, where float32 loses about one digit (with 2 and −2 instead of ½ and −2 it loses more: Barabasz et al. 2020).
//
// One thread for each tile and channel, everything in registers.   threads  0 1 2 3 …  →  tiles  0 1 2 3 …  of one channel
// Position k of neighbouring tiles is contiguous, so the 36 accesses to U, V, M are 4 sectors per warp each. Images are
// read 4 pixels apart, which touches 4 times the sectors; the other 35 reads of the warp find them in the L1 cache.
//
// Filters are 9 values apart. A block copies its 256 filters to or from shared memory in order, so that neighbouring
// threads access neighbouring values; in shared memory, 9 values apart is 9 banks apart: no conflict.
#include "prelude.cuh"

// ------------------------------------------------------------------------- one line of 6, 4 or 3 values through a matrix

template <typename T>
__device__ void BT(const T *d, int step, T *out, int out_step) {  // Bᵀ (6 × 6)
    const T d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    out[0] = d0 + T(1.5) * (d3 - d1) - 2 * d2 + d4;
    out[out_step] = d4 + T(2.5) * d3 + T(0.5) * d2 - d1;
    out[2 * out_step] = d4 + T(0.5) * d3 - T(2.5) * d2 + d1;
    out[3 * out_step] = d4 + 2 * (d3 - d1) - d2;
    out[4 * out_step] = d4 + T(0.5) * (d1 - d3) - d2;
    out[5 * out_step] = d1 + T(1.5) * (d4 - d2) - 2 * d3 + d5;
}
template <typename T>
__device__ void AT(const T *m, int step, T *out, int out_step) {  // Aᵀ (4 × 6)
    const T m0 = m[0], m1 = m[step], m2 = m[2 * step], m3 = m[3 * step], m4 = m[4 * step], m5 = m[5 * step];
    out[0] = m0 + m1 + m2 + m3 + m4;
    out[out_step] = m1 - m2 + T(0.5) * m3 - 2 * m4;
    out[2 * out_step] = m1 + m2 + T(0.25) * m3 + 4 * m4;
    out[3 * out_step] = m1 - m2 + T(0.125) * m3 - 8 * m4 + m5;
}
template <typename T>
__device__ void A(const T *y, int step, T *out, int out_step) {  // A (6 × 4)
    const T y0 = y[0], y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
    out[0] = y0;
    out[out_step] = y0 + y1 + y2 + y3;
    out[2 * out_step] = y0 - y1 + y2 - y3;
    out[3 * out_step] = y0 + T(0.5) * y1 + T(0.25) * y2 + T(0.125) * y3;
    out[4 * out_step] = y0 - 2 * y1 + 4 * y2 - 8 * y3;
    out[5 * out_step] = y3;
}
template <typename T>
__device__ void G(const T *w, int step, T *out, int out_step) {  // G (6 × 3)
    const T w0 = w[0], w1 = w[step], w2 = w[2 * step];
    out[0] = w0;
    out[out_step] = (w0 + w1 + w2) / 3;
    out[2 * out_step] = (w1 - w0 - w2) / 3;
    out[3 * out_step] = -(16 * w0 + 8 * w1 + 4 * w2) / 15;
    out[4 * out_step] = (w0 - 2 * w1 + 4 * w2) / 15;
    out[5 * out_step] = w2;
}
template <typename T>
__device__ void GT(const T *u, int step, T *out, int out_step) {  // Gᵀ (3 × 6)
    const T u0 = u[0], u1 = u[step] / 3, u2 = u[2 * step] / 3, u3 = u[3 * step] / 15, u4 = u[4 * step] / 15;
    out[0] = u0 + u1 - u2 - 16 * u3 + u4;
    out[out_step] = u1 + u2 - 8 * u3 - 2 * u4;
    out[2 * out_step] = u1 - u2 - 4 * u3 + 4 * u4 + u[5 * step];
}

// ----------------------------------------------------------------------------------------------------------- the kernels

// V = Bᵀ d B.   x (N,C,H,W) → V (36, C, P), P = N·TH·TW tiles; padding is read as 0.
// instances: winograd_images<float> winograd_images<double>
template <typename T>
__global__ void winograd_images(const T *x, T *V, int N, int C, int H, int W, int PV, int PH, int TH, int TW) {
    const int P = N * TH * TW;
    GRID_STRIDE(e, C * P) {
        const int tile = e % P, c = e / P, n = tile / (TH * TW);
        const int top = tile / TW % TH * 4 - PV, left = tile % TW * 4 - PH;
        const T *map = x + (n * C + c) * H * W;
        T d[36], t[36];
#pragma unroll
        for (int i = 0; i < 6; i++)
#pragma unroll
            for (int j = 0; j < 6; j++) {
                const int h = top + i, w = left + j;
                d[i * 6 + j] = h >= 0 && h < H && w >= 0 && w < W ? map[h * W + w] : T(0);
            }
#pragma unroll
        for (int i = 0; i < 6; i++) BT(d + i * 6, 1, t + i * 6, 1);  // each row, then each column
#pragma unroll
        for (int j = 0; j < 6; j++) BT(t + j, 6, d + j, 6);
#pragma unroll
        for (int k = 0; k < 36; k++) V[k * C * P + e] = d[k];
    }
}

// U = G w Gᵀ.   w (O,C,3,3) → U (36, O, C); OC = O·C filters, 256 a block
// instances: winograd_filters<float> winograd_filters<double>
template <typename T>
__global__ void winograd_filters(const T *w, T *U, int OC) {
    __shared__ T taps[256 * 9];
    const int first = blockIdx.x * 256, e = first + threadIdx.x;
#pragma unroll
    for (int k = threadIdx.x; k < 256 * 9; k += 256)
        if (first * 9 + k < OC * 9) taps[k] = w[first * 9 + k];
    __syncthreads();
    if (e >= OC) return;
    T t[18], u[36];
#pragma unroll
    for (int i = 0; i < 3; i++) G(taps + threadIdx.x * 9 + i * 3, 1, t + i * 6, 1);
#pragma unroll
    for (int j = 0; j < 6; j++) G(t + j, 6, u + j, 6);
#pragma unroll
    for (int k = 0; k < 36; k++) U[k * OC + e] = u[k];
}

// y = Aᵀ M A + bias, and max(y, 0) if relu.   M (36, O, P) → y (N,O,OH,OW), without the parts of tiles beyond the edge; bias may be null. If rows
// start at multiples of 16 bytes (`wide`), a row of a tile is stored as a whole.
// instances: winograd_outputs<float> winograd_outputs<double>
template <typename T>
__global__ void winograd_outputs(const T *M, const T *bias, T *y, int N, int O, int OH, int OW, int TH, int TW,
                                 bool wide, bool relu) {
    const int P = N * TH * TW;
    GRID_STRIDE(e, O * P) {
        const int tile = e % P, o = e / P, n = tile / (TH * TW), top = tile / TW % TH * 4, left = tile % TW * 4;
        T m[36], t[24], out[16];
#pragma unroll
        for (int k = 0; k < 36; k++) m[k] = M[k * O * P + e];
#pragma unroll
        for (int i = 0; i < 6; i++) AT(m + i * 6, 1, t + i * 4, 1);
#pragma unroll
        for (int j = 0; j < 4; j++) AT(t + j, 4, out + j, 4);
        const T b = bias ? bias[o] : T(0);
#pragma unroll
        for (int k = 0; k < 16; k++) out[k] = rectified(out[k] + b, relu);
        T *map = y + (n * O + o) * OH * OW;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (top + i >= OH) continue;
            T *row = map + (top + i) * OW + left;
            if (wide) {
                *(Pack<T, 4> *)row = {{out[i * 4], out[i * 4 + 1], out[i * 4 + 2], out[i * 4 + 3]}};
                continue;
            }
#pragma unroll
            for (int j = 0; j < 4; j++)
                if (left + j < OW) row[j] = out[i * 4 + j];
        }
    }
}

// D = A dy Aᵀ.   dy (N,O,OH,OW) → D (36, O, P)
// instances: winograd_gradients<float> winograd_gradients<double>
template <typename T>
__global__ void winograd_gradients(const T *dy, T *D, int N, int O, int OH, int OW, int TH, int TW) {
    const int P = N * TH * TW;
    GRID_STRIDE(e, O * P) {
        const int tile = e % P, o = e / P, n = tile / (TH * TW), top = tile / TW % TH * 4, left = tile % TW * 4;
        const T *map = dy + (n * O + o) * OH * OW;
        T d[16], t[24], out[36];
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                d[i * 4 + j] = top + i < OH && left + j < OW ? map[(top + i) * OW + left + j] : T(0);
#pragma unroll
        for (int i = 0; i < 4; i++) A(d + i * 4, 1, t + i * 6, 1);
#pragma unroll
        for (int j = 0; j < 6; j++) A(t + j, 6, out + j, 6);
#pragma unroll
        for (int k = 0; k < 36; k++) D[k * O * P + e] = out[k];
    }
}

// dw = Gᵀ dU G.   dU (36, O, C) → dw (O,C,3,3); OC = O·C filters, 256 a block
// instances: winograd_filter_gradients<float> winograd_filter_gradients<double>
template <typename T>
__global__ void winograd_filter_gradients(const T *dU, T *dw, int OC) {
    __shared__ T taps[256 * 9];
    const int first = blockIdx.x * 256, e = first + threadIdx.x;
    if (e < OC) {
        T u[36], t[18];
#pragma unroll
        for (int k = 0; k < 36; k++) u[k] = dU[k * OC + e];
#pragma unroll
        for (int i = 0; i < 6; i++) GT(u + i * 6, 1, t + i * 3, 1);
#pragma unroll
        for (int j = 0; j < 3; j++) GT(t + j, 3, taps + threadIdx.x * 9 + j, 3);
    }
    __syncthreads();
#pragma unroll
    for (int k = threadIdx.x; k < 256 * 9; k += 256)
        if (first * 9 + k < OC * 9) dw[first * 9 + k] = taps[k];
}
