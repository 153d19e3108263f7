// lrn.cu: local response normalisation of x (N,C,P) over `size` neighbouring channels, both ways.
//
//   One thread for each pixel and chunk of channels: threadIdx.x and blockIdx.y along the pixels (coalesced in every
//   channel), the rest image and chunk, as in maps.cuh: its "map" is a chunk of an image.
//
//        channels of the chunk   first ............. last
//        the window              [ behind | c | ahead ]  ->  slides by one: + the channel that comes in,
//                                                            - the one that leaves, which is still in the cache
//
//   The sum is kept in double precision: in single precision, the rounding error of a large value would stay in the sum
//   after the value has left the window.
#include "maps.cuh"

template <typename T>
__device__ inline T damping(T s, T beta) {  // s^-beta, for the paper's 3/4 with square roots
    if (beta != T(0.75)) return pow(s, -beta);
    T root = sqrt(s);
    return 1 / (root * sqrt(root));
}

// s = k + alpha * the sum of x^2 over channels c - behind ... c + ahead, y = x * s^-beta
// instances: lrn<float> lrn<double>
template <typename T>
__global__ void lrn(const T *x, T *y, T *s, int64 chunks, int chunk, int C, int P, int behind, int ahead,
                    T alpha, T beta, T k) {
    int each = (C + chunk - 1) / chunk;  // chunks of an image
    EACH_MAP(which, chunks) {
        int64 image = which / each * C * P;
        int first = which % each * chunk, last = min(first + chunk, C) - 1;
        EACH_PIXEL(i, P) {
            const T *column = x + image + i;  // channel c is column[c * P]
            auto square = [=](int c) {
                double v = c < 0 || c >= C ? T(0) : column[(int64)c * P];
                return v * v;
            };
            double sum = 0;
            for (int c = max(first - behind, 0); c < first + ahead && c < C; c++) sum += square(c);
            for (int c = first; c <= last; c++) {
                sum += square(c + ahead);
                T here = k + alpha * (T)sum;
                int64 at = image + (int64)c * P + i;
                s[at] = here;
                y[at] = x[at] * damping(here, beta);
                sum -= square(c - behind);
            }
        }
    }
}

// dx = dy * s^-beta - 2 alpha beta * x * the sum of dy*y/s over the channels whose window contains c: the mirrored window
// instances: lrn_dx<float> lrn_dx<double>
template <typename T>
__global__ void lrn_dx(const T *dy, const T *x, const T *y, const T *s, T *dx, int64 chunks, int chunk, int C, int P,
                       int behind, int ahead, T alpha, T beta) {
    int each = (C + chunk - 1) / chunk;  // chunks of an image
    EACH_MAP(which, chunks) {
        int64 image = which / each * C * P;
        int first = which % each * chunk, last = min(first + chunk, C) - 1;
        EACH_PIXEL(i, P) {
            auto ratio = [=](int c) {
                int64 at = image + (int64)c * P + i;
                return c < 0 || c >= C ? 0.0 : (double)(dy[at] * y[at] / s[at]);
            };
            double sum = 0;
            for (int c = max(first - ahead, 0); c < first + behind && c < C; c++) sum += ratio(c);
            for (int c = first; c <= last; c++) {
                sum += ratio(c + behind);
                int64 at = image + (int64)c * P + i;
                dx[at] = dy[at] * damping(s[at], beta) - 2 * alpha * beta * x[at] * (T)sum;
                sum -= ratio(c - ahead);
            }
        }
    }
}
