// tensor_core.cu: conv_gemm.cuh on tensor cores. TERMS = 3: float accuracy (3xTF32); TERMS = 1: TF32, three digits.
#include "conv_gemm.cuh"
#include "mma.cuh"

// instances: conv_gather<float,TensorTile<3,128,128>> conv_gather<float,TensorTile<3,64,128>>
// instances: conv_gather<float,TensorTile<3,64,64>> conv_gather<float,TensorTile<1,128,128>>
// instances: conv_gather<float,TensorTile<1,64,128>> conv_gather<float,TensorTile<1,64,64>>
template <typename T, class Tile>
__global__ void __launch_bounds__(256, 2)
conv_gather(const T *x, const T *w, const int2 *taps, const T *bias, T *y, int K, int M, int pixels, int PH, int PW,
            int SV, int SH, int H, int W, int x_image, int x_group, int y_image, int y_group, int y_plane, int y_start,
            int y_row, int y_column) {
    gather<T, Tile>(x, w, taps, bias, y, K, M, pixels, PH, PW, SV, SH, H, W, x_image, x_group, y_image, y_group, y_plane,
                    y_start, y_row, y_column);
}

// instances: conv_dw<float,TensorTile<3,128,128>> conv_dw<float,TensorTile<3,64,128>> conv_dw<float,TensorTile<3,64,64>>
// instances: conv_dw<float,TensorTile<1,128,128>> conv_dw<float,TensorTile<1,64,128>> conv_dw<float,TensorTile<1,64,64>>
template <typename T, class Tile>
__global__ void __launch_bounds__(256, Tile::BM * Tile::BN > 8192 ? 1 : 2)
conv_dw(const T *dy, const T *x, const int2 *taps, T *parts, int K, int M, int windows, int each, int G, int OH, int OW,
        int SV, int SH, int H, int W, int x_image, int x_group, int dy_image, int dy_group) {
    gather_dw<T, Tile>(dy, x, taps, parts, K, M, windows, each, G, OH, OW, SV, SH, H, W, x_image, x_group, dy_image,
                       dy_group);
}
