EXERCISE = 9


def sgd_step(w, g, v, lr, momentum, decay):
    v = momentum * v + (g + decay * w)
    return w - lr * v, v


def nesterov_step(w, g, v, lr, momentum, decay):
    g = g + decay * w
    v = momentum * v + g
    return w - lr * (g + momentum * v), v


def decoupled_step(w, g, v, lr, momentum, decay):
    v = momentum * v + g
    return w - lr * v - lr * decay * w, v
