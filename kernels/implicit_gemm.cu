// implicit_gemm.cu: conv_gemm.cuh on the ordinary floating-point units, float and double; and the sum of parts.
//
// Tiles: 128 × 128, 8 × 8 values per thread, for large layers; 64 rows for 64 filters or fewer; 64 × 64 if there are too
// few larger tiles to keep the GPU busy.
#include "conv_gemm.cuh"

// instances: conv_gather<float,FmaTile<float,128,128,8,8,8>> conv_gather<float,FmaTile<float,64,128,8,4,8>>
// instances: conv_gather<float,FmaTile<float,64,64,16,4,4>> conv_gather<double,FmaTile<double,64,64,8,4,4>>
// instances: conv_dw<float,FmaTile<float,128,128,8,8,8>> conv_dw<float,FmaTile<float,64,128,8,4,8>>
// instances: conv_dw<float,FmaTile<float,64,64,16,4,4>> conv_dw<double,FmaTile<double,64,64,8,4,4>>

// total[i] = Σ_p parts[p][i], in the order of p: one thread per value, always the same order.
// instances: sum_parts<float> sum_parts<double>
template <typename T>
__global__ void sum_parts(const T *parts, T *total, int count, int size) {
    GRID_STRIDE(i, size) {
        T sum = T(0);
        for (int p = 0; p < count; p++) sum += parts[p * size + i];
        total[i] = sum;
    }
}
