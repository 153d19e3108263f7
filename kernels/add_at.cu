// add_at.cu: target[place] += values; for repeated places the values add up.
//
// place (sorted)   0 0 3 3 3 7
// threads          ^   ^     ^      the first of each run adds the whole run, from left to right: always in the same order
#include "prelude.cuh"

// instances: add_at<float> add_at<double>
template <typename T>
__global__ void add_at(const int64 *place, const T *values, T *target, int n) {
    GRID_STRIDE(i, n) {
        if (i > 0 && place[i] == place[i - 1]) continue;
        T sum = target[place[i]];
        for (int j = i; j < n && place[j] == place[i]; j++) sum += values[j];
        target[place[i]] = sum;
    }
}
