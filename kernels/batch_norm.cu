// batch_norm.cu: batch norm of x (N,C,P): moments or sums of each channel, and the passes that use them.
//
// Reductions, in two kernels. 64 channels are too few blocks for a GPU, so each channel is divided into up to 32 parts:
//
//   part 0..Y*Z-1   blockIdx.x the channel, blockIdx.y images, blockIdx.z pixels; in a block threadIdx.y images and
//                   threadIdx.x neighbouring pixels: coalesced                                -> parts [C][Y*Z]
//   all parts       one warp per channel, one lane per part, merged by shuffles               -> (C,)
//
// Passes over x (apply, dx): thread mapping as in maps.cuh; a thread holds its channel's numbers in registers.
#include "maps.cuh"
#include "reduce.cuh"

template <typename T>
struct Two { T dy, x; };

template <typename T>
struct Sum { T x, add; };

// take(load(at)) for each place in (N,C,P) that belongs to this block's part of its channel, on this thread.
template <typename Load, typename Take>
__device__ inline void stream_part(int N, int C, int P, Load load, Take take) {
    for (int n = blockIdx.y * blockDim.y + threadIdx.y; n < N; n += gridDim.y * blockDim.y) {
        int64 map = ((int64)n * C + blockIdx.x) * P;
        stream(blockIdx.z * blockDim.x + threadIdx.x, gridDim.z * blockDim.x, P,
               [=](int i) { return load(map + i); }, [&](int, auto value) { take(value); });
    }
}

// The index of the block's result in an array of parts [C][gridDim.y * gridDim.z].
__device__ inline int place_of_part() { return (blockIdx.x * gridDim.y + blockIdx.y) * gridDim.z + blockIdx.z; }

// ---- moments ---------------------------------------------------------------------------------------------------

// Moments of x - shift, where shift is the channel's first value: if the mean is large, a mean in T is not accurate.
// instances: moments_of_parts<float> moments_of_parts<double>
template <typename T>
__global__ void moments_of_parts(const T *x, T *n, T *mean, T *m2, int N, int C, int P) {
    Moments<T> mine = {0, 0, 0};
    T shift = x[(int64)blockIdx.x * P];
    stream_part(N, C, P, [=](int64 at) { return x[at]; }, [&](T v) { mine.take(v - shift); });
    mine = merge_block(mine, Moments<T>{0, 0, 0});
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        int part = place_of_part();
        n[part] = mine.n, mean[part] = mine.mean, m2[part] = mine.m2;
    }
}

// threadIdx.x the part, threadIdx.y and blockIdx.x the channel; mean and variance of x itself
// instances: merge_moments<float> merge_moments<double>
template <typename T>
__global__ void merge_moments(const T *n, const T *means, const T *m2, const T *x, T *mean, T *var, int C, int P,
                              int parts) {
    int c = blockIdx.x * blockDim.y + threadIdx.y, part = c * parts + threadIdx.x;
    if (c >= C) return;  // the whole warp
    Moments<T> mine = {0, 0, 0};
    if ((int)threadIdx.x < parts) mine = {n[part], means[part], m2[part]};
    mine = merge_warp(mine);
    if (threadIdx.x == 0) mean[c] = x[(int64)c * P] + mine.mean, var[c] = mine.m2 / mine.n;
}

// ---- sums ------------------------------------------------------------------------------------------------------

// instances: channel_sums_of_parts<float> channel_sums_of_parts<double>
template <typename T>
__global__ void channel_sums_of_parts(const T *dy, T *sum, int N, int C, int P) {
    Sums<T, 1> mine = {{0}};
    stream_part(N, C, P, [=](int64 at) { return dy[at]; }, [&](T v) { mine.of[0] += v; });
    mine = merge_block(mine, Sums<T, 1>{{0}});
    if (threadIdx.x == 0 && threadIdx.y == 0) sum[place_of_part()] = mine.of[0];
}

// The sums of dy and of dy * (x - mean) * inv_std
// instances: batch_norm_sums_of_parts<float> batch_norm_sums_of_parts<double>
template <typename T>
__global__ void batch_norm_sums_of_parts(const T *dy, const T *x, const T *mean, const T *inv_std, T *sum_dy,
                                         T *sum_dy_xhat, int N, int C, int P) {
    Sums<T, 2> mine = {{0, 0}};
    T mu = mean[blockIdx.x];
    stream_part(N, C, P, [=](int64 at) { return Two<T>{dy[at], x[at]}; }, [&](Two<T> v) {
        mine.of[0] += v.dy;
        mine.of[1] += v.dy * (v.x - mu);
    });
    mine = merge_block(mine, Sums<T, 2>{{0, 0}});
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        int part = place_of_part();
        sum_dy[part] = mine.of[0], sum_dy_xhat[part] = mine.of[1] * inv_std[blockIdx.x];
    }
}

// totals[row] = the sum of parts[row][...]; threadIdx.x the part, threadIdx.y and blockIdx.x the row
// instances: add_parts<float> add_parts<double>
template <typename T>
__global__ void add_parts(const T *parts, T *totals, int rows, int count) {
    int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;  // the whole warp
    Sums<T, 1> mine = {{(int)threadIdx.x < count ? parts[row * count + threadIdx.x] : T(0)}};
    mine = merge_warp(mine);
    if (threadIdx.x == 0) totals[row] = mine.of[0];
}

// ---- passes ----------------------------------------------------------------------------------------------------

// y = (x - mean) * scale + shift, then y += add if there is one, and y = max(y, 0) if relu
// instances: batch_norm_apply<float> batch_norm_apply<double>
template <typename T>
__global__ void batch_norm_apply(const T *__restrict__ x, const T *mean, const T *scale, const T *shift,
                                 const T *__restrict__ add, T *__restrict__ y, int64 maps, int C, int P, bool relu) {
    EACH_MAP(map, maps) {
        int c = map % C;
        T mu = mean[c], a = scale[c], b = shift ? shift[c] : T(0);
        stream_pixels(P, [=](int i) { return Sum<T>{x[map * P + i], add ? add[map * P + i] : T(0)}; },
                      [=](int i, Sum<T> v) {
            y[map * P + i] = rectified((v.x - mu) * a + b + v.add, relu);
        });
    }
}

// dx = scale * (dy - sum_dy/m - xhat * sum_dy_xhat/m), xhat = (x - mean) * inv_std, m the values of a channel
// instances: batch_norm_dx<float> batch_norm_dx<double>
template <typename T>
__global__ void batch_norm_dx(const T *__restrict__ dy, const T *__restrict__ x, const T *mean, const T *inv_std,
                              const T *scale, const T *sum_dy, const T *sum_dy_xhat, T *__restrict__ dx, int64 maps,
                              int C, int P, T inv_m) {
    EACH_MAP(map, maps) {
        int c = map % C;
        T mu = mean[c], a = scale[c], b = sum_dy[c] * inv_m, slope = inv_std[c] * sum_dy_xhat[c] * inv_m;
        stream_pixels(P, [=](int i) { return Two<T>{dy[map * P + i], x[map * P + i]}; },
                      [=](int i, Two<T> v) { dx[map * P + i] = a * (v.dy - b - (v.x - mu) * slope); });
    }
}
