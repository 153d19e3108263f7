// softmax.cu: softmax and cross entropy of logits (N,K) in one kernel, and their gradient in another.
//
//   forward    one warp for each row: lane l takes classes l, l + 32, ...; blockDim = (32, rows), threadIdx.y the row
//                max  -> shuffles ->  sum of e^(z - max)  -> shuffles ->  p and the loss
//              the row is read three times, the second and third time from the cache. It avoids overflow and log 0
//   backward   one thread for each logit, as in maps.cuh: a row is a map, a class a pixel
#include "maps.cuh"

template <typename T>
__device__ inline T warp_max(T v) {  // every lane gets it
    for (int d = 16; d > 0; d /= 2) {
        T other = __shfl_xor_sync(0xffffffffu, v, d);
        v = other > v ? other : v;
    }
    return v;
}

template <typename T>
__device__ inline T warp_sum(T v) {
    for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
    return v;
}

// loss[n] = -(1 - e) * log p[n,label] - e * the mean over k of log p[n,k], e = smoothing
// instances: cross_entropy<float> cross_entropy<double>
template <typename T>
__global__ void cross_entropy(const T *logits, const int64 *labels, T *loss, T *p, int64 N, int K,
                              T smoothing) {
    int64 n = (int64)blockIdx.x * blockDim.y + threadIdx.y;
    if (n >= N) return;  // the whole warp
    const T *row = logits + n * K;
    T largest = -INFINITY;
    for (int k = threadIdx.x; k < K; k += 32) largest = row[k] > largest ? row[k] : largest;
    largest = warp_max(largest);
    T total = 0, z_sum = 0;
    for (int k = threadIdx.x; k < K; k += 32) {
        total += exp(row[k] - largest);
        z_sum += row[k] - largest;
    }
    total = warp_sum(total), z_sum = warp_sum(z_sum);
    for (int k = threadIdx.x; k < K; k += 32) p[n * K + k] = exp(row[k] - largest) / total;
    if (threadIdx.x == 0) {
        T log_total = log(total), of_label = -(1 - smoothing) * (row[labels[n]] - largest - log_total);
        loss[n] = smoothing > 0 ? of_label - smoothing * (z_sum / K - log_total) : of_label;
    }
}

// dlogits[n,k] = dy[n] * (p[n,k] - q[n,k]), q = (1 - e) * one-hot + e/K
// instances: cross_entropy_dx<float> cross_entropy_dx<double>
template <typename T>
__global__ void cross_entropy_dx(const T *dy, const T *p, const int64 *labels, T *dlogits, int64 N, int K,
                                 T smoothing) {
    EACH_MAP(n, N) {
        T slope = dy[n];
        int64 label = labels[n];
        EACH_PIXEL(k, K) {
            T q = smoothing / K + (k == label ? 1 - smoothing : T(0));
            dlogits[n * K + k] = slope * (p[n * K + k] - q);
        }
    }
}
