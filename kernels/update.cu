// update.cu: a step of SGD and of Adam, in place: each array is read once and written once, in one kernel.
//
//   thread t  ->  weights t, t + (threads in the grid), ...: neighbouring threads access neighbouring weights
//
// The formulas are in minicnn/optim. Factors that are the same for all weights are computed on the host.
#include "prelude.cuh"

#define EACH_WEIGHT(i, n)                                                                    \
    for (int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x; i < (n); \
         i += (int64)gridDim.x * blockDim.x)

// g += decay * w;   v = momentum * v + g;   w -= lr * v, with nesterov w -= lr * (g + momentum * v)
// instances: sgd<float> sgd<double>
template <typename T>
__global__ void sgd(T *param, const T *grad, T *velocity, int64 n, T lr, T momentum, bool nesterov, T decay) {
    EACH_WEIGHT(i, n) {
        T w = param[i], g = grad[i] + decay * w;
        if (velocity) {
            T v = momentum * velocity[i] + g;
            velocity[i] = v;
            g = nesterov ? g + momentum * v : v;
        }
        param[i] = w - lr * g;
    }
}

// w *= keep;   g += decay * w;   m = b1 * m + (1 - b1) * g;   v = b2 * v + (1 - b2) * g^2
// w -= rate * m / (sqrt(v * inv_correction) + eps)
// instances: adam<float> adam<double>
template <typename T>
__global__ void adam(T *param, const T *grad, T *m, T *v, int64 n, T keep, T decay, T beta1, T one_less_beta1,
                     T beta2, T one_less_beta2, T rate, T inv_correction, T eps) {
    EACH_WEIGHT(i, n) {
        T w = param[i] * keep, g = grad[i] + decay * w;
        T first = beta1 * m[i] + one_less_beta1 * g, second = beta2 * v[i] + one_less_beta2 * g * g;
        m[i] = first, v[i] = second;
        param[i] = w - rate * first / (sqrt(second * inv_correction) + eps);
    }
}
