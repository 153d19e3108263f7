// implicit_gemm.cu: conv_gemm.cuh on the ordinary floating-point units, float and double; and the sum of parts.
//
// Tiles: 128 × 128, 8 × 8 values a thread, for large layers; 64 rows where there are 64 filters or fewer; 64 × 64 where
// larger tiles would be too few to keep the GPU busy.
#include "conv_gemm.cuh"

// instances: conv_gather<float,FmaTile<float,128,128,8,8,8>> conv_gather<float,FmaTile<float,64,128,8,4,8>>
// instances: conv_gather<float,FmaTile<float,64,64,16,4,4>> conv_gather<double,FmaTile<double,64,64,8,4,4>>
template <typename T, class Tile>
__global__ void __launch_bounds__(256, 2)
conv_gather(const T *x, const T *w, const int2 *taps, const T *bias, T *y, int K, int M, int pixels, int PH, int PW,
            int SV, int SH, int H, int W, int x_image, int x_group, int y_image, int y_group, int y_plane, int y_start,
            int y_row, int y_column) {
    gather<T, Tile>(x, w, taps, bias, y, K, M, pixels, PH, PW, SV, SH, H, W, x_image, x_group, y_image, y_group, y_plane,
                    y_start, y_row, y_column);
}

// instances: conv_dw<float,FmaTile<float,128,128,8,8,8>> conv_dw<float,FmaTile<float,64,128,8,4,8>>
// instances: conv_dw<float,FmaTile<float,64,64,16,4,4>> conv_dw<double,FmaTile<double,64,64,8,4,4>>
template <typename T, class Tile>
__global__ void __launch_bounds__(256, Tile::BM * Tile::BN > 8192 ? 1 : 2)
conv_dw(const T *dy, const T *x, const int2 *taps, T *parts, int K, int M, int windows, int each, int G, int OH, int OW,
        int SV, int SH, int H, int W, int x_image, int x_group, int dy_image, int dy_group) {
    gather_dw<T, Tile>(dy, x, taps, parts, K, M, windows, each, G, OH, OW, SV, SH, H, W, x_image, x_group, dy_image,
                       dy_group);
}

// total[i] = Σ_p parts[p][i], in the order of p: one thread a value, the same sum each time.
// instances: sum_parts<float> sum_parts<double>
template <typename T>
__global__ void sum_parts(const T *parts, T *total, int count, int size) {
    GRID_STRIDE(i, size) {
        T sum = T(0);
        for (int p = 0; p < count; p++) sum += parts[p * size + i];
        total[i] = sum;
    }
}
