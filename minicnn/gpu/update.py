"""The optimisers' steps, in place, one kernel for each parameter (kernels/update.cu). The formulas: minicnn/optim."""


def sgd_update(gpu, param, grad, velocity, *, lr, momentum, nesterov, weight_decay):
    _in_place(gpu, "sgd", param, grad, (velocity,), (lr, momentum, nesterov, weight_decay))


def adam_update(gpu, param, grad, m, v, *, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    keep, decay = (1 - lr * weight_decay, 0) if decoupled else (1, weight_decay)
    # in double precision: in the kernel's float32, 1 − 0.999 would lose most of its digits
    rate, correction = lr / (1 - beta1**step), 1 / (1 - beta2**step)
    _in_place(gpu, "adam", param, grad, (m, v),
              (keep, decay, beta1, 1 - beta1, beta2, 1 - beta2, rate, correction, eps))  # fmt: skip


def _in_place(gpu, name, param, grad, state, numbers):
    """Launch the kernel on the arrays themselves; one with gaps in memory is copied, and copied back at the end."""
    xp, changed = gpu.xp, (param, *state)
    dense = [a if a is None else xp.ascontiguousarray(a) for a in changed]
    kernel = gpu.kernel("update.cu", name, param.dtype)
    kernel.over(param.size, dense[0], xp.ascontiguousarray(grad, param.dtype), *dense[1:], param.size, *numbers)
    for array, copy in zip(changed, dense):
        if array is not None and not array.flags.c_contiguous:
            array[...] = copy
