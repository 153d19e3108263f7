import numpy as np

EXERCISE = 4


def im2col(x, kernel, stride, padding):
    N, C, H, W = x.shape
    KH, KW = kernel
    OH = (H + 2 * padding - KH) // stride + 1
    OW = (W + 2 * padding - KW) // stride + 1
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    cols = np.zeros((N, C, KH, KW, OH, OW))
    for p in range(KH):
        for q in range(KW):
            cols[:, :, p, q] = x[:, :, p:p + stride * OH:stride, q:q + stride * OW:stride][:, :, :OH, :OW]
    return cols.reshape(N, C * KH * KW, OH * OW)


def col2im(cols, shape, kernel, stride, padding):
    N, C, H, W = shape
    KH, KW = kernel
    OH = (H + 2 * padding - KH) // stride + 1
    OW = (W + 2 * padding - KW) // stride + 1
    cols = cols.reshape(N, C, KH, KW, OH, OW)
    x = np.zeros((N, C, H + 2 * padding, W + 2 * padding))
    for p in range(KH):
        for q in range(KW):
            for i in range(OH):
                for j in range(OW):
                    x[:, :, i * stride + p, j * stride + q] += cols[:, :, p, q, i, j]
    return x[:, :, padding:padding + H, padding:padding + W]
