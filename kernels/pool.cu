// pool.cu: pooling with the largest, the mean or the p-norm of a window, forward and backward.
//
//   forward    one thread for each output (map, oh, ow), as in maps.cuh; it reads the pixels of its window
//   backward   one thread for each pixel (map, h, w); it adds the contributions of the windows that contain it. No other
//              thread writes there: no atomics, and always the same order of the sum
//
//   Tap p of window oh reads row oh*SH + p*DH - PH, so pixel h is tap p = (h + PH - oh*SH)/DH of window oh, if that
//   is an integer from 0 to KH - 1.
#include "maps.cuh"

// The taps first <= p < end that are inside the image, of a window that starts at pixel `start`. So the loops over them
// need no checks, and all their loads can be issued at once.
struct Taps { int first, end; };

__device__ inline Taps taps_inside(int start, int K, int D, int size) {
    return {start < 0 ? (D - 1 - start) / D : 0, min(K, (size - start + D - 1) / D)};
}

// The windows that can contain pixel h: first <= oh <= last.
struct Windows { int first, last; };

__device__ inline Windows windows_over(int h, int K, int S, int P, int D, int out) {
    int before = h + P - (K - 1) * D;  // the start of the window whose last tap reads h
    return {before > 0 ? (before + S - 1) / S : 0, min(out - 1, (h + P) / S)};
}

// ---- the largest -----------------------------------------------------------------------------------------------

// winner = p*KW + q, on a tie the first; a NaN wins over every number, and the last NaN over the others. Only taps inside
// the image are tried: padding never wins, not even over -infinity.
// instances: max_pool<float,uint8> max_pool<float,int> max_pool<double,uint8> max_pool<double,int>
template <typename T, typename I>
__global__ void max_pool(const T *x, T *y, I *winner, int64 maps, int H, int W, int OH, int OW, int KH, int KW,
                         int SH, int SW, int PH, int PW, int DH, int DW) {
    EACH_MAP(map, maps) {
        const T *pixels = x + map * H * W;
        EACH_PIXEL(i, OH * OW) {
            int top = i / OW * SH - PH, left = i % OW * SW - PW, won = -1;
            Taps down = taps_inside(top, KH, DH, H), across = taps_inside(left, KW, DW, W);
            T best = -INFINITY;
            for (int p = down.first; p < down.end; p++) {
                const T *row = pixels + (top + p * DH) * W + left;
#pragma unroll 4
                for (int q = across.first; q < across.end; q++) {
                    T v = row[q * DW];
                    if (won < 0 || v > best || v != v) best = v, won = p * KW + q;
                }
            }
            y[map * OH * OW + i] = best;
            winner[map * OH * OW + i] = max(won, 0);
        }
    }
}

// instances: max_pool_dx<float,uint8> max_pool_dx<float,int> max_pool_dx<double,uint8> max_pool_dx<double,int>
template <typename T, typename I>
__global__ void max_pool_dx(const T *dy, const I *winner, T *dx, int64 maps, int H, int W, int OH, int OW, int KH,
                            int KW, int SH, int SW, int PH, int PW, int DH, int DW) {
    EACH_MAP(map, maps) {
        const T *dy_map = dy + map * OH * OW;
        const I *winner_map = winner + map * OH * OW;
        EACH_PIXEL(i, H * W) {
            int h = i / W, w = i % W;
            Windows down = windows_over(h, KH, SH, PH, DH, OH), across = windows_over(w, KW, SW, PW, DW, OW);
            T sum = 0;
            for (int oh = down.first; oh <= down.last; oh++) {
                int p = h + PH - oh * SH;
                if (DH > 1 && p % DH) continue;
                for (int ow = across.first; ow <= across.last; ow++) {
                    int q = w + PW - ow * SW;
                    if (DW > 1 && q % DW) continue;
                    int tap = p / DH * KW + q / DW, o = oh * OW + ow;
                    if (winner_map[o] == tap) sum += dy_map[o];
                }
            }
            dx[map * H * W + i] = sum;
        }
    }
}

// ---- the mean --------------------------------------------------------------------------------------------------

// The taps of window o that the mean counts, on one axis: those that read from `low` up to, not including, `high`.
__device__ inline int places(int o, int K, int S, int P, int D, int low, int high) {
    Taps taps = taps_inside(o * S - P - low, K, D, high - low);
    return taps.end - taps.first;
}

// The mean counts rows from `top` to `bottom` and columns from `left` to `right`: the image, or also its padding, zeros.
// instances: avg_pool<float> avg_pool<double>
template <typename T>
__global__ void avg_pool(const T *x, T *y, int64 maps, int H, int W, int OH, int OW, int KH, int KW, int SH, int SW,
                         int PH, int PW, int DH, int DW, int top, int bottom, int left, int right) {
    EACH_MAP(map, maps) {
        const T *pixels = x + map * H * W;
        EACH_PIXEL(i, OH * OW) {
            int oh = i / OW, ow = i % OW, first = oh * SH - PH, start = ow * SW - PW;
            Taps down = taps_inside(first, KH, DH, H), across = taps_inside(start, KW, DW, W);
            T sum = 0;
            for (int p = down.first; p < down.end; p++) {
                const T *row = pixels + (first + p * DH) * W + start;
#pragma unroll 4
                for (int q = across.first; q < across.end; q++) sum += row[q * DW];
            }
            int count = places(oh, KH, SH, PH, DH, top, bottom) * places(ow, KW, SW, PW, DW, left, right);
            y[map * OH * OW + i] = sum / count;
        }
    }
}

// instances: avg_pool_dx<float> avg_pool_dx<double>
template <typename T>
__global__ void avg_pool_dx(const T *dy, T *dx, int64 maps, int H, int W, int OH, int OW, int KH, int KW, int SH,
                            int SW, int PH, int PW, int DH, int DW, int top, int bottom, int left, int right) {
    EACH_MAP(map, maps) {
        const T *dy_map = dy + map * OH * OW;
        EACH_PIXEL(i, H * W) {
            int h = i / W, w = i % W;
            Windows down = windows_over(h, KH, SH, PH, DH, OH), across = windows_over(w, KW, SW, PW, DW, OW);
            T sum = 0;
            for (int oh = down.first; oh <= down.last; oh++) {
                if (DH > 1 && (h + PH - oh * SH) % DH) continue;
                int rows = places(oh, KH, SH, PH, DH, top, bottom);
                for (int ow = across.first; ow <= across.last; ow++) {
                    if (DW > 1 && (w + PW - ow * SW) % DW) continue;
                    sum += dy_map[oh * OW + ow] / (rows * places(ow, KW, SW, PW, DW, left, right));
                }
            }
            dx[map * H * W + i] = sum;
        }
    }
}

// ---- the p-norm ------------------------------------------------------------------------------------------------

template <typename T>
__device__ inline T power(T v, T exponent) {  // v >= 0; the square, the usual case, as a product
    return exponent == 2 ? v * v : exponent == 1 ? v : pow(v, exponent);
}

// y = (sum of |x|^norm)^(1/norm)
// instances: lp_pool<float> lp_pool<double>
template <typename T>
__global__ void lp_pool(const T *x, T *y, int64 maps, int H, int W, int OH, int OW, int KH, int KW, int SH, int SW,
                        int PH, int PW, int DH, int DW, T norm) {
    EACH_MAP(map, maps) {
        const T *pixels = x + map * H * W;
        EACH_PIXEL(i, OH * OW) {
            int top = i / OW * SH - PH, left = i % OW * SW - PW;
            Taps down = taps_inside(top, KH, DH, H), across = taps_inside(left, KW, DW, W);
            T sum = 0;
            for (int p = down.first; p < down.end; p++) {
                const T *row = pixels + (top + p * DH) * W + left;
                for (int q = across.first; q < across.end; q++) sum += power<T>(fabs(row[q * DW]), norm);
            }
            y[map * OH * OW + i] = norm == 2 ? sqrt(sum) : pow(sum, 1 / norm);
        }
    }
}

// dx = sign(x) * the sum of dy * (|x| / y)^(norm - 1) over the windows that contain x; a window of zeros adds 0
// instances: lp_pool_dx<float> lp_pool_dx<double>
template <typename T>
__global__ void lp_pool_dx(const T *dy, const T *x, const T *y, T *dx, int64 maps, int H, int W, int OH, int OW,
                           int KH, int KW, int SH, int SW, int PH, int PW, int DH, int DW, T norm) {
    EACH_MAP(map, maps) {
        EACH_PIXEL(i, H * W) {
            int h = i / W, w = i % W;
            Windows down = windows_over(h, KH, SH, PH, DH, OH), across = windows_over(w, KW, SW, PW, DW, OW);
            T v = x[map * H * W + i], sum = 0;
            for (int oh = down.first; oh <= down.last; oh++) {
                if (DH > 1 && (h + PH - oh * SH) % DH) continue;
                for (int ow = across.first; ow <= across.last; ow++) {
                    if (DW > 1 && (w + PW - ow * SW) % DW) continue;
                    int64 o = map * OH * OW + oh * OW + ow;
                    if (y[o] != 0) sum += dy[o] * power<T>(fabs(v) / y[o], norm - 1);
                }
            }
            dx[map * H * W + i] = v > 0 ? sum : v < 0 ? -sum : v * sum;  // 0, or NaN
        }
    }
}
