// reduce.cuh: reductions, always in the same order: within a warp by shuffles, within a block through shared memory,
// between blocks by a second kernel. No atomics: the same bits in every run.
//
//   lane  0  1  2  3  4  5  6  7
//         +-----------+                 d = 4: lane 0 adds lane 4's value, lane 1 lane 5's, ...
//         +-----+                       d = 2
//         +--+                          d = 1: lane 0 has all. (The values of the other lanes are not used.)
//
// V is the type that is merged: v.down(d) is the V of the lane d further on, v.merge(w) adds w to v.
#pragma once
#include "prelude.cuh"

template <typename V>
__device__ inline V merge_warp(V v) {
    for (int d = 16; d > 0; d /= 2) v.merge(v.down(d));
    return v;
}

// Thread 0 gets the sum over the block. All threads of the block must call this, a multiple of 32 and at most 1024.
template <typename V>
__device__ inline V merge_block(V v, V nothing) {
    __shared__ V of_warp[32];
    int thread = threadIdx.y * blockDim.x + threadIdx.x, warps = blockDim.x * blockDim.y / 32;
    v = merge_warp(v);
    if (thread % 32 == 0) of_warp[thread / 32] = v;
    __syncthreads();
    if (thread < 32) v = merge_warp(thread < warps ? of_warp[thread] : nothing);
    return v;
}

// K sums at once.
template <typename T, int K>
struct Sums {
    T of[K];
    __device__ Sums down(int d) const {
        Sums other;
        for (int k = 0; k < K; k++) other.of[k] = __shfl_down_sync(0xffffffffu, of[k], d);
        return other;
    }
    __device__ void merge(const Sums &other) {
        for (int k = 0; k < K; k++) of[k] += other.of[k];
    }
};

// a / b, in float32 to the last two bits and in a third of the instructions.
__device__ inline float nearly(float a, float b) { return __fdividef(a, b); }
__device__ inline double nearly(double a, double b) { return a / b; }

// The number of values, their mean, and the sum of their squared distances from it. E[x^2] - E[x]^2 would lose all
// digits if the mean is large; this does not (Welford 1962; merging: Chan, Golub & LeVeque 1979).
template <typename T>
struct Moments {
    T n, mean, m2;
    __device__ void take(T v) {
        n += 1;
        T d = v - mean;
        mean += nearly(d, n);
        m2 += d * (v - mean);
    }
    __device__ Moments down(int d) const {
        return {__shfl_down_sync(0xffffffffu, n, d), __shfl_down_sync(0xffffffffu, mean, d),
                __shfl_down_sync(0xffffffffu, m2, d)};
    }
    __device__ void merge(const Moments &other) {
        if (other.n == 0) return;
        T d = other.mean - mean, share = other.n / (n + other.n);
        m2 += other.m2 + d * d * n * share;
        mean += d * share;
        n += other.n;
    }
};
