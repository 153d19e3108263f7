"""Are the gradients right? Compare them with finite differences.

For a random direction dy in the outputs, L(a) = Σ dy · f(a) is a plain number, and for each coordinate of each argument

    numeric = (L(a + h·e) − L(a − h·e)) / 2h      is to equal the analytic gradient that backward gives,

in float64 to about eight digits: h = 1e-5 is near the cube root of float64's 1e-16, where truncation (∝ h²) and
round-off (∝ 1/h) are both least; `sweep` shows the V that they make. Two traps are watched for:

- a constant dy. Σ_k softmax ≡ 1 and Σ x̂ ≡ 0, so with dy = 1 even an all-zero backward of softmax or batch norm passes.
- kinks. Across relu's corner the difference quotient belongs to neither side. Where the two disagree, the slopes to the
  left and to the right are looked at: if these differ by enough to explain it, and halving h does not halve that
  difference as it would on a smooth curve, the coordinate is left out and named.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from minicnn import devices
from minicnn.tensor import Tensor, no_grad

LARGEST = 20_000
STEPS = tuple(10 ** (-e / 2) for e in range(2, 25))


class GradientError(AssertionError):
    """A gradient that finite differences contradict; carries argument, index, analytic and numeric."""

    def __init__(self, function, argument, index, analytic, numeric, error, tolerance):
        self.argument, self.index, self.analytic, self.numeric = argument, index, analytic, numeric
        where = f" at {list(index)}" if index is not None else " along a random direction"
        super().__init__(
            f"{function}: the gradient of {argument}{where} is {analytic:.9g}, but finite differences give "
            f"{numeric:.9g}: relative error {error:.1e}, allowed {tolerance:.0e}"
        )


@dataclass
class Report:
    """What was compared and how well it agreed."""

    function: str
    worst: float = 0.0  # the largest relative error
    coordinates: int = 0  # how many were compared
    kinks: list[str] = field(default_factory=list)  # those left out, by name: "x[0, 3]"


def gradcheck(
    fn: Callable,
    *arrays,
    dy=None,
    step: float = 1e-5,
    tolerance: float = 1e-6,
    seed: int = 0,
    directions: int = 0,
    device: str = "cpu",
    **hyper,
) -> Report:
    """Compare every element of every gradient of `fn(*arrays, **hyper)` with finite differences, in float64.

    fn: an op, or any function of Tensors that returns a Tensor.   arrays: its arguments; floating-point ones are
    checked, others (labels, masks, None) passed on.   dy: the direction in the outputs, random by default.
    directions: instead of every element, this many random directions in all arguments at once (for large inputs).
    Relative error: |analytic − numeric| / max(|analytic|, |numeric|, the root mean square of the numeric gradient,
    round-off). Raises GradientError with the worst disagreement above `tolerance`; returns a Report.
    """
    name = getattr(fn, "__name__", type(fn).__name__)
    checked = [i for i, a in enumerate(arrays) if _is_float(a) and i not in _constant_positions(fn)]
    if not checked:
        raise ValueError(f"gradcheck: {name} got no floating-point array to differentiate")
    leaves = [
        Tensor(np.array(a, np.float64), True, device=device) if i in checked else _placed(a, device)
        for i, a in enumerate(arrays)
    ]
    names = _argument_names(fn, len(arrays))
    wanted = {names[i]: leaves[i] for i in checked}
    size = sum(t.size for t in wanted.values())
    if directions:
        return check_directions(
            lambda: fn(*leaves, **hyper),
            wanted,
            name=name,
            dy=dy,
            directions=directions,
            step=step,
            tolerance=tolerance,
            seed=seed,
        )
    if size > LARGEST:
        raise ValueError(
            f"gradcheck: {size:,} elements would need {2 * size:,} evaluations (at most {LARGEST:,} elements): "
            "use a smaller input, or directions=10 for a check along random directions"
        )
    return _check_elements(lambda: fn(*leaves, **hyper), wanted, name, dy, step, tolerance, seed)


def check_directions(
    f: Callable[[], Tensor],
    leaves: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]],
    *,
    name: str = "",
    dy=None,
    directions: int = 10,
    step: float = 1e-5,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> Report:
    """Compare ⟨gradient, v⟩ with (L(θ + h·v) − L(θ − h·v)) / 2h along random unit directions v through all leaves.

    For whole nets: `f` computes the output from the leaves, say `lambda: model(x)` with `model.named_parameters()` for
    leaves, all float64. A check costs two evaluations, however many parameters there are.
    """
    rng, leaves = _generator(seed), dict(leaves)
    report = Report(name or getattr(f, "__name__", "f"))
    dy, terms, S = _projection(f, dy, rng)
    analytic = _analytic(f, leaves, dy)
    for _ in range(directions):
        v = {k: rng.standard_normal(t.shape) for k, t in leaves.items()}
        norm = np.sqrt(sum((d * d).sum() for d in v.values()))
        v = {k: d / norm for k, d in v.items()}
        slope = sum(float((analytic[k] * d).sum()) for k, d in v.items())
        size = np.sqrt(sum(float((analytic[k] ** 2).sum()) for k in v) / sum(d.size for d in v.values()))

        def along(h, v=v):
            return _moved(leaves, v, h, terms)

        numeric = float((along(step) - along(-step)).sum()) / (2 * step)
        error = abs(slope - numeric) / max(abs(slope), abs(numeric), size, _noise(S))
        if error > tolerance and _is_kink(along, step, abs(slope - numeric)):
            report.kinks.append(f"direction {report.coordinates + len(report.kinks)}")
            continue
        report.coordinates += 1
        report.worst = max(report.worst, float(error))
        if not error <= tolerance:
            raise GradientError(report.function, "all arguments together", None, slope, numeric, error, tolerance)
    return report


def sweep(
    fn: Callable,
    *arrays,
    steps: Sequence[float] = STEPS,
    seed: int = 0,
    **hyper,
) -> list[tuple[float, float]]:
    """(h, worst relative error) for each step size h: truncation falls as h², round-off rises as 1/h; a V."""
    return [(float(h), gradcheck(fn, *arrays, step=h, seed=seed, tolerance=np.inf, **hyper).worst) for h in steps]


def _check_elements(f, leaves, name, dy, step, tolerance, seed):
    report, failures = Report(name), []
    dy, terms, S = _projection(f, dy, _generator(seed))
    gradients = _analytic(f, leaves, dy)
    for argument, leaf in leaves.items():
        analytic, numeric = gradients[argument], np.zeros(leaf.shape)
        for index in np.ndindex(leaf.shape):
            up, down = _nudged(leaf, index, step, terms), _nudged(leaf, index, -step, terms)
            numeric[index] = (up - down).sum() / (2 * step)
        typical = np.sqrt((numeric**2).mean()) if leaf.size else 0.0
        scale = np.maximum(np.maximum(abs(analytic), abs(numeric)), max(typical, _noise(S)))
        error = abs(analytic - numeric) / scale
        error[np.isnan(error)] = np.inf
        for index in map(tuple, np.argwhere(error > tolerance)):

            def along(h, leaf=leaf, index=index):
                return _nudged(leaf, index, h, terms)

            if _is_kink(along, step, abs(analytic[index] - numeric[index])):
                report.kinks.append(f"{argument}{[int(i) for i in index]}")
                error[index] = -1.0
            else:
                failures.append((argument, tuple(int(i) for i in index), analytic[index], numeric[index], error[index]))
        report.coordinates += int((error >= 0).sum())
        report.worst = max(report.worst, float(error.max(initial=0.0)))
    if failures:
        raise GradientError(name, *max(failures, key=lambda failure: failure[-1]), tolerance)
    return report


def _generator(seed):
    """Not default_rng(seed): a caller's inputs may come from that, and dy = x makes batch norm's gradient vanish."""
    return np.random.default_rng([seed, 0x6D696E69])


def _projection(f, dy, rng):
    """(dy, terms, S): a direction in the outputs, the terms dy·f() of L, and their scale S = Σ |dy·f()|."""
    with no_grad():
        y = f().numpy()
    if dy is None:
        dy = rng.standard_normal(y.shape)
    dy = np.asarray(dy, np.float64)
    if dy.shape != y.shape:
        raise ValueError(
            f"gradcheck: dy has shape {dy.shape}, but the output has shape {y.shape}: they must be the same"
        )
    if dy.size > 1 and (dy == dy.flat[0]).all():
        raise ValueError(
            f"gradcheck: dy is constant (={dy.flat[0]:g}), which hides wrong gradients: softmax and batch norm "
            "pass it with a backward of zeros; leave dy out for a random one"
        )

    def terms():
        with no_grad():
            return f().numpy() * dy

    return dy, terms, float(abs(y * dy).sum())


def _analytic(f, leaves, dy):
    for leaf in leaves.values():
        leaf.grad = None
    f().backward(dy)
    grads = {k: np.zeros(t.shape) if t.grad is None else devices.of(t.grad).to_numpy(t.grad) for k, t in leaves.items()}
    for leaf in leaves.values():
        leaf.grad = None
    return grads


def _is_kink(along, h, disagreement):
    """Does a corner within ±h explain the disagreement?   along(t): the terms of L a distance t away.

    A central difference across a corner is off by at most half the jump between the slopes on its two sides. On a
    smooth curve that jump is h·f'' and halves with h; at a corner it stays, or vanishes once the corner lies outside.
    (It has to halve twice: that of a corner h/3 away halves once by chance.) Each output is looked at by itself and the
    jumps add up, whatever their signs: where several windows tie in one pixel, each picks a side of its own.
    """

    def jump(t):
        return abs(along(t) - 2 * along(0.0) + along(-t)) / t

    far, middle, near = jump(h), jump(h / 2), jump(h / 4)
    smooth = (abs(middle - far / 2) < 0.05 * far) & (abs(near - middle / 2) < 0.05 * middle)
    return bool(disagreement <= 0.51 * np.where(smooth, 0.0, far).sum())


def _nudged(leaf, index, h, terms):
    old = leaf.data[index].copy()
    leaf.data[index] = old + h
    value = terms()
    leaf.data[index] = old
    return value


def _moved(leaves, v, h, terms):
    old = {k: t.data for k, t in leaves.items()}
    for k, t in leaves.items():
        t.data = old[k] + devices.of(old[k]).asarray(h * v[k])
    value = terms()
    for k, t in leaves.items():
        t.data = old[k]
    return value


def _noise(S):
    """Gradients below this are judged by it: L is exact to 1e-16·S, so slopes at h = 1e-5 to 1e-11·S, 1e-6 of this."""
    return 1e-5 * max(S, 1.0)


def _is_float(a):
    return getattr(getattr(a, "dtype", None), "kind", "") == "f"


def _placed(a, device):
    return devices.get(device).asarray(a) if isinstance(a, np.ndarray) else a


def _constant_positions(fn):
    arguments = getattr(fn, "arguments", ())
    return {arguments.index(name) for name in getattr(fn, "constants", ())}


def _argument_names(fn, count) -> list[str]:
    known = list(getattr(fn, "arguments", None) or _signature_names(fn))[:count]
    if len(known) < count and known:
        last = known.pop()
        return known + [f"{last}[{i}]" for i in range(count - len(known))]
    return known or [f"argument {i}" for i in range(count)]


def _signature_names(fn):
    parameters = inspect.signature(fn).parameters.values()
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
