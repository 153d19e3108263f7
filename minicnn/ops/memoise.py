"""For ops whose gradients have work in common."""


def memoise_by_dy(function):
    """A function of dy that several gradients of an op need: computed once, then remembered for that dy."""
    dy_before = value = None

    def call(dy):
        nonlocal dy_before, value
        if dy is not dy_before:
            dy_before, value = dy, function(dy)
        return value

    return call
