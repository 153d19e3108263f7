// maps.cuh: the thread mapping of kernels that loop over maps of pixels.
//
//   M maps of P pixels each, consecutive in memory (of images: M = N*C, P = H*W):
//
//        pixels ------------->
//     m  [tx threads][tx threads] ...      threadIdx.x  along a map: neighbouring pixels: one request for each warp
//     a  [tx threads][tx threads] ...      threadIdx.y  ty maps at once, tx * ty = 256: small maps share a block
//     p  --------------------------        blockIdx.x   the next ty maps
//     s  [tx threads][tx threads] ...      blockIdx.y   the next tx pixels, if maps are few but large
//
// So a thread computes its map, and its channel with one division, without a division for every pixel. Maps are counted
// in 64 bits; one map has fewer than 2^30 pixels, which maps.py checks.
#pragma once
#include "prelude.cuh"

#define EACH_MAP(map, M)                                                          \
    for (int64 map = (int64)blockIdx.x * blockDim.y + threadIdx.y; map < (M); \
         map += (int64)gridDim.x * blockDim.y)

#define EACH_PIXEL(i, P) \
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < (P); i += gridDim.y * blockDim.x)

#define AT_ONCE 4

// take(i, load(i)) for places i = first, first + step, ... below end, AT_ONCE of them at a time: all their loads are issued
// before the first is waited for. A thread that waits for each load uses only half of the memory's speed.
template <typename Load, typename Take>
__device__ inline void stream(int first, int step, int end, Load load, Take take) {
    for (int i = first; i < end; i += AT_ONCE * step) {
        decltype(load(0)) value[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++)
            if (i + k * step < end) value[k] = load(i + k * step);
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++)
            if (i + k * step < end) take(i + k * step, value[k]);
    }
}

// The same for this thread's pixels of a map.
template <typename Load, typename Take>
__device__ inline void stream_pixels(int P, Load load, Take take) {
    stream(blockIdx.y * blockDim.x + threadIdx.x, gridDim.y * blockDim.x, P, load, take);
}
