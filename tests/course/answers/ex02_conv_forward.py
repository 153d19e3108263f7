import numpy as np

EXERCISE = 2


def conv2d(x, w, b, stride, padding):
    N, C, H, W = x.shape
    O, C, KH, KW = w.shape
    OH = (H + 2 * padding - KH) // stride + 1
    OW = (W + 2 * padding - KW) // stride + 1
    y = np.zeros((N, O, OH, OW))
    for n in range(N):
        for o in range(O):
            for i in range(OH):
                for j in range(OW):
                    y[n, o, i, j] = b[o]
                    for c in range(C):
                        for p in range(KH):
                            for q in range(KW):
                                h, v = i * stride + p - padding, j * stride + q - padding
                                if 0 <= h < H and 0 <= v < W:
                                    y[n, o, i, j] += w[o, c, p, q] * x[n, c, h, v]
    return y
