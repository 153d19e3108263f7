import numpy as np

EXERCISE = 3


def conv2d_backward(dy, x, w, stride, padding):
    N, _, H, W = x.shape
    O, _, KH, KW = w.shape
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    dpadded = np.zeros(padded.shape)
    dw = np.zeros(w.shape)
    for n in range(N):
        for i in range(dy.shape[2]):
            for j in range(dy.shape[3]):
                window = np.s_[n, :, i * stride:i * stride + KH, j * stride:j * stride + KW]
                for o in range(O):
                    dw[o] += dy[n, o, i, j] * padded[window]
                dpadded[window] += np.tensordot(dy[n, :, i, j], w, axes=1)
    dx = dpadded[:, :, padding:padding + H, padding:padding + W]
    db = dy.sum((0, 2, 3))
    return dx, dw, db
