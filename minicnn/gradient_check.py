"""Are the gradients right? Compare them with finite differences.

For a random direction dy in the outputs, L(a) = Σ dy · f(a) is a scalar. For each coordinate of each argument

    numeric = (L(a + h·e) − L(a − h·e)) / 2h      must equal the analytic gradient that `backward` computes,

in float64 to about eight digits: h = 1e-5 is near the cube root of float64's 1e-16, where the sum of truncation (∝ h²)
and round-off (∝ 1/h) is least; `sweep` measures this V-shaped curve. If the gradients disagree at h, other steps decide
(differences.py). Pitfalls:

- a constant dy. Σ_k softmax ≡ 1 and Σ x̂ ≡ 0, so with dy = 1 even an all-zero backward of softmax or batch norm passes.
- kinks. Across relu's corner the difference quotient is neither side's slope: such coordinates are left out and listed.
- round-off. It grows with the depth of a net: a gradient smaller than the round-off is not reported as wrong.
- a function that is random, or changes its arguments: it has no gradient to compare with, which is an error.
- no coordinate left to compare: that is an error as well.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from minicnn import devices
from minicnn.differences import Verdict, judge, noise
from minicnn.op_checks import checksum
from minicnn.tensor import Tensor, no_grad

LARGEST = 20_000
STEPS = tuple(10 ** (-e / 2) for e in range(2, 25))


class GradientError(AssertionError):
    """A gradient that finite differences contradict; carries argument, index, analytic and numeric."""

    def __init__(self, function, argument, index, analytic, numeric, error, tolerance):
        self.argument, self.index, self.analytic, self.numeric = argument, index, analytic, numeric
        where = f" at {list(index)}" if index is not None else " along a random direction"
        super().__init__(f"{function}: the gradient of {argument}{where} is {analytic:.9g}, but finite differences "
                         f"give {numeric:.9g}: relative error {error:.1e}, allowed {tolerance:.0e}")


class UnrepeatableError(ValueError):
    """The function returns different values for the same arguments, or changes them: it has no gradient to check."""


class NothingCheckedError(AssertionError):
    """No coordinate could be compared; carries the report."""

    def __init__(self, report):
        self.report = report
        left_out = [*report.kinks, *report.unclear]
        which = f"all {len(left_out)} were left out ({', '.join(left_out[:3])}{', …' * (len(left_out) > 3)})"
        super().__init__(f"{report.function}: nothing was checked: {which if left_out else 'the arrays are empty'}. "
                         "Give inputs away from kinks and ties: distinct values, none at a corner such as relu's 0")


@dataclass
class Report:
    """How many coordinates were compared, the worst error, and what was left out."""

    function: str
    worst: float = 0.0  # the largest relative error
    coordinates: int = 0  # how many were compared
    kinks: list[str] = field(default_factory=list)  # left out because the function has a kink there: "x[0, 3]"
    unclear: list[str] = field(default_factory=list)  # left out because finite differences can't tell
    faint: int = 0  # compared, but round-off hides more than 1 % of their gradient

    def add(self, verdict, name):
        """Add the verdict on one coordinate."""
        if verdict.kind == "right":
            self.coordinates += 1
            self.worst = max(self.worst, float(verdict.error))
            self.faint += verdict.faint
        else:
            (self.kinks if verdict.kind == "kink" else self.unclear).append(name)

    def checked(self):
        """The report; NothingCheckedError if no coordinate was compared."""
        if not self.coordinates:
            raise NothingCheckedError(self)
        return self


def gradcheck(fn: Callable, *arrays, dy=None, step: float = 1e-5, tolerance: float = 1e-6, seed: int = 0,
              directions: int = 0, device: str = "cpu", **hyper) -> Report:
    """Compare every element of every gradient of `fn(*arrays, **hyper)` with finite differences, in float64.

    fn: an op, or any function of Tensors that returns a Tensor.   arrays: its arguments; floating-point ones are
    checked, others (labels, masks, None) passed on.   dy: the direction in the outputs, random by default.
    directions: instead of every element, this many random directions in all arguments at once (for large inputs).
    Relative error: |analytic − numeric| / max(|analytic|, |numeric|, the root mean square of the numeric gradient),
    less what round-off explains. Raises GradientError with the worst disagreement above `tolerance`,
    UnrepeatableError for a function that is random or changes its arguments, NothingCheckedError if every coordinate
    was left out; returns a Report.
    """
    name = getattr(fn, "__name__", type(fn).__name__)
    checked = [i for i, a in enumerate(arrays) if _is_float(a) and i not in _constant_positions(fn)]
    if not checked:
        raise ValueError(f"gradcheck: {name} got no floating-point array to differentiate")
    leaves = [Tensor(np.array(a, np.float64), True, device=device) if i in checked else _placed(a, device)
              for i, a in enumerate(arrays)]
    names = _argument_names(fn, len(arrays))
    checked_leaves = {names[i]: leaves[i] for i in checked}
    size = sum(t.size for t in checked_leaves.values())
    if directions:
        return check_directions(lambda: fn(*leaves, **hyper), checked_leaves, name=name, dy=dy, directions=directions,
                                step=step, tolerance=tolerance, seed=seed)
    if size > LARGEST:
        raise ValueError(f"gradcheck: {size:,} elements would need {2 * size:,} evaluations (at most {LARGEST:,} "
                         "elements): use a smaller input, or directions=10 for a check along random directions")
    watched = {names[i]: a for i, a in enumerate(leaves) if a is not None}
    return _check_elements(lambda: fn(*leaves, **hyper), checked_leaves, watched, name, dy, step, tolerance, seed)


def check_directions(f: Callable[[], Tensor], leaves: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]], *,
                     name: str = "", dy=None, directions: int = 10, step: float = 1e-5, tolerance: float = 1e-6,
                     seed: int = 0) -> Report:
    """Compare ⟨gradient, v⟩ with (L(θ + h·v) − L(θ − h·v)) / 2h along random unit directions v through all leaves.

    For whole nets: `f` computes the output from the leaves, say `lambda: model(x)` with `model.named_parameters()` for
    leaves, all float64. A check needs two evaluations, for any number of parameters.
    """
    rng, leaves = _generator(seed), dict(leaves)
    report = Report(name or getattr(f, "__name__", "f"))
    dy, terms = _projection(report.function, f, leaves, dy, rng)
    analytic = _analytic(f, leaves, dy)
    round_off = None
    for i in range(directions):
        v = _direction(leaves, rng)
        claimed = sum(float((analytic[k] * d).sum()) for k, d in v.items())
        size = np.sqrt(sum(float((analytic[k] ** 2).sum()) for k in v) / sum(d.size for d in v.values()))

        def along(h, v=v):
            return _moved(leaves, v, h, terms)

        numeric = float((along(step) - along(-step)).sum()) / (2 * step)
        error = abs(claimed - numeric) / max(abs(claimed), abs(numeric), size, 1e-300)
        verdict = Verdict("right", numeric, error)
        if not error <= tolerance:
            round_off = round_off or noise(along)
            verdict = judge(along, claimed, step, size, tolerance, round_off)
            if verdict.kind == "wrong":
                raise GradientError(report.function, "all arguments together", None, claimed, verdict.numeric,
                                    verdict.error, tolerance)
        report.add(verdict, f"direction {i}")
    return report.checked()


def sweep(fn: Callable, *arrays, steps: Sequence[float] = STEPS, seed: int = 0, **hyper) -> list[tuple[float, float]]:
    """(h, worst relative error) for each step size h, a V-shaped curve: round-off ∝ 1/h plus truncation ∝ h²."""
    return [(float(h), gradcheck(fn, *arrays, step=h, seed=seed, tolerance=np.inf, **hyper).worst) for h in steps]


def _check_elements(f, leaves, watched, name, dy, step, tolerance, seed):
    report, doubtful = Report(name), []
    rng = _generator(seed)
    dy, terms = _projection(name, f, watched, dy, rng)
    gradients = _analytic(f, leaves, dy)
    for argument, leaf in leaves.items():
        analytic, numeric = gradients[argument], np.zeros(leaf.shape)
        for index in np.ndindex(leaf.shape):
            up, down = _nudged(leaf, index, step, terms), _nudged(leaf, index, -step, terms)
            numeric[index] = (up - down).sum() / (2 * step)
        typical = np.sqrt((numeric**2).mean()) if leaf.size else 0.0
        error = abs(analytic - numeric) / np.maximum(np.maximum(abs(analytic), abs(numeric)), typical + 1e-300)
        error[np.isnan(error)] = np.inf
        agree = error <= tolerance
        report.coordinates += int(agree.sum())
        report.worst = max(report.worst, float(error[agree].max(initial=0.0)))
        places = [tuple(map(int, place)) for place in np.argwhere(~agree)]
        doubtful += [(error[i], argument, i, analytic[i], typical) for i in places]
    v = _direction(leaves, rng)
    round_off = noise(lambda h: _moved(leaves, v, h, terms)) if doubtful else None
    for _, argument, index, claimed, typical in sorted(doubtful, key=lambda d: -d[0]):      # the worst first

        def along(h, leaf=leaves[argument], index=index):
            return _nudged(leaf, index, h, terms)

        verdict = judge(along, claimed, step, typical, tolerance, round_off)
        if verdict.kind == "wrong":
            raise GradientError(name, argument, index, claimed, verdict.numeric, verdict.error, tolerance)
        report.add(verdict, f"{argument}{list(index)}")
    for names in (report.kinks, report.unclear):
        names.sort(key=_reading_order)
    return report.checked()


def _reading_order(name):
    """A key for sorting: "x[2, 10]" after "x[2, 9]"."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _generator(seed):
    """Not default_rng(seed): a caller's inputs may come from that, and dy = x makes batch norm's gradient vanish."""
    return np.random.default_rng([seed, 0x6D696E69])


def _projection(name, f, watched, dy, rng):
    """(dy, terms): a direction in the outputs, and a function for the terms dy·f() of L, if f is repeatable."""
    before = {k: checksum(_plain(a)) for k, a in watched.items() if devices.find(_plain(a))}
    with no_grad():
        y = np.array(f().numpy())
        changed = [k for k, sum_before in before.items() if checksum(_plain(watched[k])) != sum_before]
        again = f().numpy()
    if changed:
        raise UnrepeatableError(f"{name} changes its argument {changed[0]} in place, so every call returns another "
                                "value and there is no gradient to check: work on a copy (x = x + 1 instead of x += 1)")
    if y.shape != again.shape or (abs(y - again) > 1e-12 * abs(y).max(initial=1.0)).any():
        raise UnrepeatableError(f"{name} returns different values for the same arguments: it is random, or it stores "
                                "state between calls. Draw the random numbers once, outside, and pass them in "
                                "(a mask, a seed); call eval() on a net with dropout")
    dy = rng.standard_normal(y.shape) if dy is None else np.asarray(dy, np.float64)
    if dy.shape != y.shape:
        raise ValueError(f"gradcheck: dy has shape {dy.shape}, but the output has shape {y.shape}: "
                         "they must be the same")
    if dy.size > 1 and (dy == dy.flat[0]).all():
        raise ValueError(f"gradcheck: dy is constant (={dy.flat[0]:g}), which hides wrong gradients: softmax and batch "
                         "norm pass it with a backward of zeros; leave dy out for a random one")

    def terms():
        with no_grad():
            return f().numpy() * dy

    return dy, terms


def _plain(a):
    return a.data if isinstance(a, Tensor) else a


def _analytic(f, leaves, dy):
    for leaf in leaves.values():
        leaf.grad = None
    f().backward(dy)
    grads = {k: np.zeros(t.shape) if t.grad is None else devices.of(t.grad).to_numpy(t.grad) for k, t in leaves.items()}
    for leaf in leaves.values():
        leaf.grad = None
    return grads


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


def _direction(leaves, rng):
    """A random direction through all leaves, of length 1."""
    v = {k: rng.standard_normal(t.shape) for k, t in leaves.items()}
    length = np.sqrt(sum((d * d).sum() for d in v.values()))
    return {k: d / length for k, d in v.items()}


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
