// prelude.cuh: the one header that every kernel file includes.
//
// nvcc and NVRTC use the real CUDA. Any other C++ compiler includes cuda_host.h (tests/emulator), which runs the same
// source on a CPU, one fiber for each CUDA thread.
#pragma once
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define DYN_SHARED(T, name) extern __shared__ T name[]
#ifndef INFINITY  // NVRTC has no <math.h>
#define INFINITY __int_as_float(0x7f800000)
#endif
#else
#include "cuda_host.h"
#endif

using uint8 = unsigned char;
using int64 = long long;

// Each thread of the grid takes items i, i + (threads in the grid), … below n. The sum stays below 2^32: see
// kernel_file.LARGEST.
#define GRID_STRIDE(i, n)                                                                                       \
    for (unsigned i##_ = blockIdx.x * blockDim.x + threadIdx.x; i##_ < unsigned(n); i##_ += gridDim.x * blockDim.x) \
        if (const int i = int(i##_); true)

// max(v, 0) if relu, else v; NaN stays NaN.
template <typename T>
__device__ inline T rectified(T v, bool relu) {
    return relu && v < 0 ? T(0) : v;
}

// T[N], aligned so that it is read and written as a whole, or 16 bytes at a time.
template <typename T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
    T v[N];
};
