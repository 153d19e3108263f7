// depthwise.cu: every channel has its own filters, O = C·times in all; filter o reads channel c = o / times.
//
// There are few multiplications per pixel that is read, so memory limits the speed. Each thread computes a pixel of
// the result, neighbouring threads neighbouring pixels of a row, so that every access of a warp is 4 or 5 sectors.
//
// At stride 1 (depthwise_rows) a thread computes ROWS outputs, one below the other. Each row of pixels that it reads is
// used for up to K of them:
//
//        │ thread 0 1 2 3 … → columns
//   row 0│  ┐                    y row 0 ┐
//   row 1│  │ K = 3 rows for     y row 1 │ ROWS = 4 outputs of one thread
//   row 2│  ┘ the first output   y row 2 │
//   row 3│                       y row 3 ┘      6 rows of pixels instead of 12
//   …    │
#include "reduce.cuh"

// instances: depthwise<float> depthwise<double>
template <typename T>
__global__ void depthwise(const T *x, const T *w, const T *bias, T *y, int N, int O, int times, int H, int W, int KH,
                          int KW, int SV, int SH, int PV, int PH, int DV, int DH, int OH, int OW, bool relu) {
    const int C = O / times;
    GRID_STRIDE(e, N * O * OH * OW) {
        const int j = e % OW, i = e / OW % OH, o = e / (OW * OH) % O, n = e / (OW * OH) / O;
        const T *map = x + (n * C + o / times) * H * W, *filter = w + o * KH * KW;
        T sum = bias ? bias[o] : T(0);
        for (int p = 0; p < KH; p++) {
            const int h = i * SV + p * DV - PV;
            if (h < 0 || h >= H) continue;
            for (int q = 0; q < KW; q++) {
                const int v = j * SH + q * DH - PH;
                if (v >= 0 && v < W) sum += filter[p * KW + q] * map[h * W + v];
            }
        }
        y[e] = rectified(sum, relu);
    }
}

// The same for K × K filters at stride 1 without dilation, ROWS outputs for each thread, a strip; strips = ⌈OH / ROWS⌉.
// instances: depthwise_rows<float,3,4> depthwise_rows<float,5,4> depthwise_rows<double,3,4> depthwise_rows<double,5,4>
template <typename T, int K, int ROWS>
__global__ void depthwise_rows(const T *x, const T *w, const T *bias, T *y, int N, int O, int times, int H, int W,
                               int PV, int PH, int OH, int OW, int strips, bool relu) {
    const int C = O / times;
    GRID_STRIDE(e, N * O * strips * OW) {
        const int j = e % OW, first = e / OW % strips * ROWS, o = e / (OW * strips) % O, n = e / (OW * strips) / O;
        const T *map = x + (n * C + o / times) * H * W;
        T filter[K * K], sum[ROWS];
#pragma unroll
        for (int k = 0; k < K * K; k++) filter[k] = w[o * K * K + k];
#pragma unroll
        for (int r = 0; r < ROWS; r++) sum[r] = bias ? bias[o] : T(0);
#pragma unroll
        for (int row = 0; row < ROWS + K - 1; row++) {
            const int h = first + row - PV;
#pragma unroll
            for (int q = 0; q < K; q++) {
                const int v = j + q - PH;
                const T pixel = h >= 0 && h < H && v >= 0 && v < W ? map[h * W + v] : T(0);
#pragma unroll
                for (int r = 0; r < ROWS; r++)
                    if (row - r >= 0 && row - r < K) sum[r] += filter[(row - r) * K + q] * pixel;
            }
        }
        T *out = y + ((n * O + o) * OH + first) * OW + j;
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            if (first + r < OH) out[r * OW] = rectified(sum[r], relu);
    }
}

// dx[n,c,h,v]: the sum over the channel's filters and taps, and the windows whose tap reads the pixel.
// instances: depthwise_dx<float> depthwise_dx<double>
template <typename T>
__global__ void depthwise_dx(const T *dy, const T *w, T *dx, int N, int C, int times, int H, int W, int KH, int KW,
                             int SV, int SH, int PV, int PH, int DV, int DH, int OH, int OW) {
    GRID_STRIDE(e, N * C * H * W) {
        const int v = e % W, h = e / W % H, c = e / (W * H) % C, n = e / (W * H) / C;
        T sum = T(0);
        for (int p = 0; p < KH; p++) {
            const int i = h + PV - p * DV;  // i·S: the window whose tap p reads row h
            if (i < 0 || i % SV || i / SV >= OH) continue;
            for (int q = 0; q < KW; q++) {
                const int j = v + PH - q * DH;
                if (j < 0 || j % SH || j / SH >= OW) continue;
                for (int u = 0; u < times; u++) {
                    const int o = c * times + u;
                    sum += w[(o * KH + p) * KW + q] * dy[((n * C * times + o) * OH + i / SV) * OW + j / SH];
                }
            }
        }
        dx[e] = sum;
    }
}

// parts[z][o][p][q] = Σ dy·x over windows z·each … of the batch. A block sums TAPS taps (a row of the filter) of one
// filter; blocks: x: rows of taps of all filters, y: the part. Neighbouring threads read neighbouring windows.
// instances: depthwise_dw<float,1> depthwise_dw<float,3> depthwise_dw<float,5>
// instances: depthwise_dw<double,1> depthwise_dw<double,3> depthwise_dw<double,5>
template <typename T, int TAPS>
__global__ void depthwise_dw(const T *dy, const T *x, T *parts, int O, int times, int windows, int each, int H, int W,
                             int KH, int KW, int SV, int SH, int PV, int PH, int DV, int DH, int OH, int OW) {
    const int C = O / times, groups = KW / TAPS, o = blockIdx.x / (KH * groups);
    const int p = blockIdx.x / groups % KH, q0 = blockIdx.x % groups * TAPS;
    const int end = min(int(blockIdx.y + 1) * each, windows);
    Sums<T, TAPS> sum = {};
    for (int s = blockIdx.y * each + threadIdx.x; s < end; s += blockDim.x) {
        const int j = s % OW, i = s / OW % OH, n = s / (OW * OH), h = i * SV + p * DV - PV;
        if (h < 0 || h >= H) continue;
        const T d = dy[((n * O + o) * OH + i) * OW + j];
        const T *row = x + ((n * C + o / times) * H + h) * W;
#pragma unroll
        for (int q = 0; q < TAPS; q++) {
            const int v = j * SH + (q0 + q) * DH - PH;
            if (v >= 0 && v < W) sum.of[q] += d * row[v];
        }
    }
    sum = merge_block(sum, Sums<T, TAPS>{});
    if (threadIdx.x == 0)
#pragma unroll
        for (int q = 0; q < TAPS; q++) parts[((blockIdx.y * O + o) * KH + p) * KW + q0 + q] = sum.of[q];
}
