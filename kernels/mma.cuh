// mma.cuh: the tile of tile.cuh on tensor cores, for compute capability 8.0 and later.
//
// A tensor core multiplies TF32 numbers, which have the range of a float and 10 bits of mantissa instead of 23, and adds
// in float. TERMS = 1 rounds every factor: three correct digits. TERMS = 3 writes every float as a sum of two TF32
// numbers, x = hi + lo, and adds lo·hi + hi·lo + hi·hi: a float's accuracy (lo·lo, 2⁻²² of the product, is left out) with
// three times the work. A tensor core cuts its sums off towards zero. Over 4608 products that costs one digit and a half
// (measured: 4·10⁻⁵), so each part of 8 products starts at 0, and ordinary units, which round to nearest, add the parts
// (Ootomo & Yokota 2022).
//
// One instruction computes a 16 × 8 part of D = A·B + D, 8 products deep, with the 32 lanes of a warp together. With
// g = lane / 4 and t = lane % 4 a lane holds
//
//     A[g][t] A[g+8][t] A[g][t+4] A[g+8][t+4]     B[t][g] B[t+4][g]     D[g][2t] D[g][2t+1] D[g+8][2t] D[g+8][2t+1]
#pragma once
#include "tile.cuh"

__device__ __forceinline__ unsigned to_tf32(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    unsigned rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
    return rounded;
#else
    return (unsigned(__float_as_int(x)) + 0x1000u) & ~0x1fffu;
#endif
}

__device__ __forceinline__ void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif defined(__CUDA_ARCH__)
    __trap();  // older GPUs lack the instruction: tensor_core.supports checks this
#elif !defined(__CUDACC__)
    struct Lane { float a[4], b[2]; } mine;
    memcpy(mine.a, a, sizeof mine.a), memcpy(mine.b, b, sizeof mine.b);
    const auto all = emulator::from_all_lanes(mine, __LINE__);
    const int g = emulator::lane() / 4, t = emulator::lane() % 4;
    for (int i = 0; i < 4; i++) {
        const int row = g + i / 2 * 8, column = 2 * t + i % 2;
        double exact = d[i];
        for (int k = 0; k < 8; k++)
            exact += double(all[row % 8 * 4 + k % 4].a[row / 8 + k / 4 * 2]) * all[column * 4 + k % 4].b[k / 4];
        d[i] = emulator::toward_zero(exact);
    }
#endif
}

// 8 warps, 2 down and 4 across; each computes BM/2 × BN/4 of the tile. With PAD, rows are 8 banks apart: a warp reads
// 4 rows of 8 neighbours at once, and each word is in a different bank.
template <int TERMS, int BM_, int BN_>
struct TensorTile {
    static constexpr int BM = BM_, BN = BN_, BK = 16, PAD = 8, THREADS = 256;
    static constexpr int WM = BM / 2, WN = BN / 4;                // a warp's part
    static constexpr int SLICES = WM / 16, SLICE_ROWS = 32;       // slice s: 16 rows of each of the 2 rows of warps

    float sum[WM / 16][WN / 8][4] = {};
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const int top = warp / 4 * WM, left = warp % 4 * WN;

    __device__ void step(const float (*A)[BM + PAD], const float (*B)[BN + PAD]) {
#pragma unroll 1  // unrolled, it would need too many registers
        for (int k = 0; k < BK; k += 8) {
            unsigned b[WN / 8][2], b_low[WN / 8][2];
#pragma unroll
            for (int j = 0; j < WN / 8; j++)
#pragma unroll
                for (int i = 0; i < 2; i++) split(B[k + t + i * 4][left + j * 8 + g], b[j][i], b_low[j][i]);
#pragma unroll
            for (int m = 0; m < WM / 16; m++) {
                unsigned a[4], a_low[4];
#pragma unroll
                for (int i = 0; i < 4; i++) split(A[k + t + i / 2 * 4][top + m * 16 + g + i % 2 * 8], a[i], a_low[i]);
#pragma unroll
                for (int j = 0; j < WN / 8; j++) {
                    if (TERMS == 1) {
                        mma_tf32(sum[m][j], a, b[j]);
                        continue;
                    }
                    float part[4] = {};
                    mma_tf32(part, a_low, b[j]);
                    mma_tf32(part, a, b_low[j]);
                    mma_tf32(part, a, b[j]);
#pragma unroll
                    for (int i = 0; i < 4; i++) sum[m][j][i] += part[i];
                }
            }
        }
    }

    __device__ void put(int slice, float (*rows)[BN + PAD]) const {
#pragma unroll
        for (int j = 0; j < WN / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i += 2) {
                Pack<float, 2> two = {{sum[slice][j][i], sum[slice][j][i + 1]}};
                *(Pack<float, 2> *)&rows[warp / 4 * 16 + g + i / 2 * 8][left + j * 8 + 2 * t] = two;
            }
    }
    static __device__ int row(int slice, int r) { return r / 16 * WM + slice * 16 + r % 16; }

    static __device__ void split(float x, unsigned &high, unsigned &low) {
        high = to_tf32(x);
        if (TERMS == 3) low = to_tf32(x - __int_as_float(high));
    }
};
