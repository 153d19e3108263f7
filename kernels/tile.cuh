// tile.cuh: a tile of a matrix product, C = A · B, on the ordinary floating-point units.
//
// A block of 256 threads computes a BM × BN tile of C. Step by step, BK rows of A (stored k-first, [BK][BM]) and BK rows
// of B ([BK][BN]) are copied to shared memory, and every thread adds their products to its own TM × TN values in registers.
//
//                     across →   0 1 2 … BN/TN−1, four columns each, and four more BN·4/TN further
//     down ↓   0    ┌──────────────────────────┐
//              1    │ thread (down, across)    │      A thread reads its values of a row of A and of B as packs of four.
//              …    │ owns rows 4·down … +3,   │      Its packs lie BM·4/TM and BN·4/TN apart, so that the packs that a
//              BM/TM−1, and so on, of the tile │      warp reads at once are contiguous: no bank conflict.
//
// The finished tile is stored through shared memory, a slice of rows at a time, so that a warp stores 32 neighbouring
// columns (`store_tile`). Directly from the registers, its stores would be 16 bytes apart, in four times the sectors.
#pragma once
#include "prelude.cuh"

template <typename T, int BM_, int BN_, int BK_, int TM, int TN>
struct FmaTile {
    static constexpr int BM = BM_, BN = BN_, BK = BK_, PAD = 4, THREADS = (BM / TM) * (BN / TN);
    static constexpr int SLICES = TM, SLICE_ROWS = BM / TM;  // slice s: row s of every thread
    using Quad = Pack<T, 4>;

    T sum[TM][TN] = {};
    const int down = threadIdx.x / (BN / TN), across = threadIdx.x % (BN / TN);

    __device__ void step(const T (*A)[BM + PAD], const T (*B)[BN + PAD]) {
#pragma unroll
        for (int k = 0; k < BK; k++) {
            Quad a[TM / 4], b[TN / 4];
#pragma unroll
            for (int i = 0; i < TM / 4; i++) a[i] = *(const Quad *)&A[k][i * (BM * 4 / TM) + down * 4];
#pragma unroll
            for (int j = 0; j < TN / 4; j++) b[j] = *(const Quad *)&B[k][j * (BN * 4 / TN) + across * 4];
#pragma unroll
            for (int i = 0; i < TM; i++)
#pragma unroll
                for (int j = 0; j < TN; j++) sum[i][j] += a[i / 4].v[i % 4] * b[j / 4].v[j % 4];
        }
    }

    __device__ void put(int slice, T (*rows)[BN + PAD]) const {
#pragma unroll
        for (int j = 0; j < TN; j += 4) {
            Quad q = {{sum[slice][j], sum[slice][j + 1], sum[slice][j + 2], sum[slice][j + 3]}};
            *(Quad *)&rows[down][j / 4 * (BN * 4 / TN) + across * 4] = q;
        }
    }
    static __device__ int row(int slice, int r) { return slice / 4 * (BM * 4 / TM) + r * 4 + slice % 4; }
};

// Shared memory of a tile: two buffers each of A and B; at the end, the same memory holds a slice of the result.
template <typename T, class Tile>
struct Shared {
    static constexpr int A_ROW = Tile::BM + Tile::PAD, B_ROW = Tile::BN + Tile::PAD;
    T a[2][Tile::BK][A_ROW];
    T b[2][Tile::BK][B_ROW];
    static_assert(sizeof(T) * Tile::SLICE_ROWS * B_ROW <= sizeof(T) * 2 * Tile::BK * (A_ROW + B_ROW), "a slice fits");
    __device__ T (*slice())[B_ROW] { return (T (*)[B_ROW])this; }
};

// sum += A · B over k_begin ≤ k < k_end. fetch(k) gets this thread's part of the BK rows from k on, zeros beyond the
// end, into registers; put(buffer) stores it. While one buffer is multiplied, the next rows are copied to the other.
template <typename T, class Tile, class Fetch, class Put>
__device__ void multiply(Tile &tile, Shared<T, Tile> &shared, int k_begin, int k_end, Fetch fetch, Put put) {
    fetch(k_begin);
    put(0);
    __syncthreads();
    for (int k = k_begin, buffer = 0; k < k_end; k += Tile::BK, buffer ^= 1) {
        const bool more = k + Tile::BK < k_end;
        if (more) fetch(k + Tile::BK);
        tile.step(shared.a[buffer], shared.b[buffer]);
        if (more) {
            put(buffer ^ 1);
            __syncthreads();
        }
    }
}

// store(row of the tile, value) for every row of the column threadIdx.x % BN: neighbouring threads, neighbouring columns.
template <typename T, class Tile, class Store>
__device__ void store_tile(const Tile &tile, Shared<T, Tile> &shared, Store store) {
    auto rows = shared.slice();
#pragma unroll
    for (int s = 0; s < Tile::SLICES; s++) {
        __syncthreads();  // wait until all threads have read the last step or slice
        tile.put(s, rows);
        __syncthreads();
#pragma unroll
        for (int r = threadIdx.x / Tile::BN; r < Tile::SLICE_ROWS; r += Tile::THREADS / Tile::BN)
            store(Tile::row(s, r), rows[r][threadIdx.x % Tile::BN]);
    }
}
