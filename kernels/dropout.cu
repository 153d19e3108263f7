// dropout.cu: masks from a counter: element i depends only on (seed, draw, i), so the mask is the same on every machine.
//
//   thread b  ->  block b of four 64-bit words: Philox 4x64-10 of the counter (group + b + 1, 0, draw, 0) under the key
//                 (seed, 0)  ->  mask[4b] ... mask[4b + 3]; a warp writes 128 contiguous bytes
//
// Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". NumPy's generator increments the counter
// before its first block, hence b + 1. group: the first group of four
// words, 0 unless other processes compute the rows before.
#include "prelude.cuh"

struct Words { unsigned long long of[4]; };

__device__ inline Words philox4x64(unsigned long long c0, unsigned long long c2, unsigned long long key) {
    unsigned long long c1 = 0, c3 = 0, k0 = key, k1 = 0;
    for (int round = 0; round < 10; round++) {
        unsigned long long high0 = __umul64hi(0xD2E7470EE14C6C93ull, c0), low0 = 0xD2E7470EE14C6C93ull * c0;
        unsigned long long high1 = __umul64hi(0xCA5A826395121157ull, c2), low1 = 0xCA5A826395121157ull * c2;
        c0 = high1 ^ c1 ^ k0, c1 = low1, c2 = high0 ^ c3 ^ k1, c3 = low0;
        k0 += 0x9E3779B97F4A7C15ull, k1 += 0xBB67AE8584CAA73Bull;  // 2^64 · (golden ratio − 1), 2^64 · (√3 − 1)
    }
    return {{c0, c1, c2, c3}};
}

// mask[i] = the top 53 bits of word 4*group + i >= threshold, which is p * 2^53
__global__ void dropout_mask(bool *mask, int64 size, int64 group, unsigned long long seed,
                                        unsigned long long draw, unsigned long long threshold) {
    int64 step = (int64)gridDim.x * blockDim.x;
    for (int64 b = (int64)blockIdx.x * blockDim.x + threadIdx.x; 4 * b < size; b += step) {
        Words words = philox4x64(group + b + 1, draw, seed);
        unsigned four = 0;
        for (int j = 0; j < 4; j++) four |= (words.of[j] >> 11 >= threshold ? 1u : 0u) << 8 * j;
        if (4 * b + 4 <= size) ((unsigned *)mask)[b] = four;
        else for (int64 i = 4 * b; i < size; i++, four >>= 8) mask[i] = four & 1;
    }
}
