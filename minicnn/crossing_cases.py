"""Larger cases, which cross the borders of tiles, vectors and threads, and hyper-parameters combined in pairs.

More than 8 channels, more than 32 rows, |x| > 3, a batch of one, matrices that are not square. Since there are many
cases, they run on the CPU only: gradients along random directions, and float32 against float64.
"""

from __future__ import annotations

import itertools

from minicnn.cases import Case, case, labels, mask, normal, positive, shares, spaced, wide


def pairwise(**options) -> list[dict]:
    """Combinations of the options such that every pair of values of two options occurs (greedy all-pairs testing)."""
    def pairs_of(choice): return {frozenset(pair) for pair in itertools.combinations(choice.items(), 2)}
    choices = [dict(zip(options, values)) for values in itertools.product(*options.values())]
    pairs = {pair for choice in choices for pair in pairs_of(choice)}
    taken = []
    while pairs:
        best = max(choices, key=lambda choice: len(pairs_of(choice) & pairs))
        taken.append(best)
        pairs -= pairs_of(best)
    return taken


_wide_kinks = spaced(1, 9, 37, low=-8, high=8, kinks=(-3, 0, 3, 6))
_curve_cases = (case(_wide_kinks), case(spaced(33, 10, low=-8, high=8, kinks=(-3, 0, 3, 6))))
_two = (case(wide(1, 9, 37), positive(1, 9, 37)), case(wide(33, 10), positive(10)),
        case(wide(9, 1), positive(1, 9, 37)))  # fmt: skip
_convolutions = (
    *(case(normal(2, 4, 9, 8), normal(8, 4 // h["groups"], 3, 2), normal(8), **h)
      for h in pairwise(stride=(1, 2, (3, 2)), dilation=(1, 2, (2, 3)), groups=(1, 2, 4),
                        padding=(0, (1, 2), "same", ((0, 3), (2, 1))), flip=(False, True))),
    case(normal(1, 9, 35, 6), normal(10, 9, 3, 3), normal(10), padding=1),
    case(normal(1, 33, 9, 7), normal(33, 1, 3, 3), normal(33), groups=33, padding=1),
    case(normal(1, 33, 9, 7), normal(33, 1, 3, 3), None, groups=33, stride=2),
    case(normal(1, 20, 5, 9), normal(17, 20, 1, 1), None),
    case(normal(3, 1, 12, 12), normal(9, 1, 5, 5), None),
    case(normal(1, 9, 2, 3), normal(40, 9, 2, 3), normal(40)),
)
_windows = (
    *(case(spaced(2, 2, 12, 11, low=-8, high=8), **h)
      for h in pairwise(kernel_size=(2, 3, (3, 2)), stride=(1, 2, (3, 2)), padding=(0, 1, ((0, 1), (1, 0))),
                        ceil_mode=(False, True))),
    case(spaced(1, 9, 35, 6, low=-8, high=8), kernel_size=2),
    case(spaced(1, 1, 9, 37, low=-8, high=8), kernel_size=3, stride=2),
)  # fmt: skip
_dilated = tuple(Case(c.draws, {**c.hyper, "dilation": d}) for c, d in zip(_windows, (2, (1, 2), 2, (2, 3), (3, 1), 2)))
_counted = tuple(Case(c.draws, {**c.hyper, "count_include_pad": False}) for c in (*_windows, *_dilated))
_reduced = tuple(case(spaced(1, 9, 37, low=-8, high=8), **h)
                 for h in pairwise(axis=(None, 0, (1, 2), (0, -1)), keepdims=(False, True)))  # fmt: skip
_channels = (normal(9), normal(9))

CROSSING: dict[str, tuple[Case, ...]] = {
    **dict.fromkeys(("add", "subtract", "multiply", "divide"), _two),
    "add_relu": (case(wide(1, 9, 37), wide(1, 9, 37)), case(wide(33, 10), wide(33, 10))),
    **dict.fromkeys(("maximum", "minimum"), (case(_wide_kinks, spaced(9, 37, low=-7, high=7.5, kinks=())),
                                             case(spaced(33, 10), spaced(10, low=-1, high=1.3, kinks=())))),
    "where": (case(mask(1, 9, 37), wide(1, 9, 37), wide(1, 9, 37)), case(mask(33, 1), wide(10), wide(33, 10))),
    **dict.fromkeys(("negative", "exp", "tanh", "sigmoid", "silu", "erf", "mish"), (case(wide(1, 9, 37)),
                                                                                    case(wide(33, 10)))),
    **dict.fromkeys(("log", "sqrt"), (case(positive(1, 9, 37)), case(positive(33, 10)))),
    **dict.fromkeys(("abs", "relu", "relu6", "leaky_relu", "hardsigmoid", "hardswish", "elu", "selu"), _curve_cases),
    "gelu": tuple(case(wide(*shape), approximate=a) for shape in ((1, 9, 37), (33, 10)) for a in ("none", "tanh")),
    "softplus": tuple(case(wide(*shape), beta=beta) for shape in ((1, 9, 37), (33, 10)) for beta in (1, 0.7)),
    "prelu": (case(_wide_kinks, normal(9)), case(spaced(33, 10, 2, 3), normal(10))),
    **dict.fromkeys(("sum", "mean", "max", "min", "logsumexp"), _reduced),
    "prod": tuple(Case((positive(1, 9, 37),), c.hyper) for c in _reduced if c.hyper["axis"] is not None),
    "clip": (case(_wide_kinks, low=-3, high=6),),
    "power": (case(positive(1, 9, 37), wide(1, 9, 37)), case(positive(33, 10), normal(10))),
    "matmul": (case(normal(1, 37), normal(37, 9)), case(normal(33, 10), normal(10, 34)),
               case(normal(9, 1, 33), normal(1, 33, 5))),
    "linear": (case(normal(1, 37), normal(9, 37), normal(9)), case(normal(33, 10), normal(34, 10), normal(34)),
               case(normal(9, 300), normal(3, 300), None)),
    "conv2d": _convolutions,
    "conv1d": (
        *(case(normal(2, 4, 19), normal(8, 4 // h["groups"], 3), normal(8), **h)
          for h in pairwise(stride=(1, 2, 3), dilation=(1, 2), groups=(1, 2, 4), padding=(0, "same", (1, 2)),
                            flip=(False, True))),
        case(normal(1, 9, 35), normal(10, 9, 3), normal(10), padding=1),
        case(normal(1, 33, 37), normal(33, 1, 3), None, groups=33)),
    "conv_transpose2d": (
        *(case(normal(2, 4, 5, 4), normal(4, 8 // h["groups"], 3, 2), normal(8), **h)
          for h in pairwise(stride=(2, 3, (4, 2)), dilation=(1, 2, (2, 3)), groups=(1, 2, 4), output_padding=(0, 1),
                            padding=(0, (1, 2), ((0, 3), (2, 1))))),
        case(normal(1, 9, 35, 6), normal(9, 10, 3, 3), normal(10), padding=1),
        case(normal(1, 33, 9, 7), normal(33, 1, 4, 4), None, stride=2, padding=1, groups=33)),
    "conv2d_relu": _convolutions[-6:],
    "max_pool2d": (*_windows, *_dilated),
    "avg_pool2d": (*_windows, *_dilated, *_counted),
    "lp_pool2d": (*_windows, *_dilated, *(Case(c.draws, {**c.hyper, "norm_type": 3}) for c in _windows)),
    "trainable_avg_pool2d": (case(normal(1, 9, 35, 6), *_channels, kernel_size=(3, 2), stride=2),),
    "adaptive_avg_pool2d": tuple(case(normal(1, 9, 35, 6), output_size=o) for o in (1, (5, 3), (4, 5), (36, 7))),
    "adaptive_max_pool2d": tuple(case(spaced(1, 9, 35, 6), output_size=o) for o in (1, (5, 3), (4, 5))),
    "global_avg_pool2d": (case(normal(1, 9, 35, 6)),),
    "global_max_pool2d": (case(spaced(1, 9, 35, 6)),),
    "resize": (
        *(case(normal(2, 2, 7, 5), mode="nearest", **h)
          for h in pairwise(scale=(2, (0.6, 1.7), (3, 0.5)), coordinates=("half_pixel", "asymmetric", "align_corners"),
                            rounding=("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"))),
        *(case(normal(2, 2, 7, 5), mode="linear", **h)
          for h in pairwise(scale=(2, (0.6, 1.7), (3, 0.5)), coordinates=(
              "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "asymmetric", "align_corners"))),
        case(normal(1, 9, 35, 6), size=(70, 12), mode="linear"), case(normal(1, 9, 35, 6), size=(40, 3))),
    "broadcast_to": (case(wide(9, 1, 1), shape=(33, 9, 2, 5)), case(wide(1, 9, 37), shape=(3, 9, 37))),
    "softmax": tuple(case(wide(*shape), axis=axis) for shape in ((1, 37), (33, 10)) for axis in (0, 1)),
    "log_softmax": tuple(case(wide(*shape), axis=axis) for shape in ((1, 37), (33, 10)) for axis in (0, 1)),
    "cross_entropy": tuple(
        case(wide(n, k), labels(n, k), label_smoothing=smoothing, weight=weight and tuple(0.5 + i for i in range(k)))
        for n, k in ((1, 37), (33, 9)) for smoothing in (0.0, 0.1) for weight in (None, True)) + tuple(
        case(wide(n, k), shares(n, k), label_smoothing=0.1, weight=tuple(0.5 + i for i in range(k)))
        for n, k in ((1, 37), (33, 9))) + (case(wide(33, 9), labels(33, 9), ignore_index=4, label_smoothing=0.1),),
    "mse_loss": (case(wide(1, 37), wide(1, 37)), case(wide(33, 10), wide(33, 10))),
    "binary_cross_entropy_with_logits": (
        case(wide(1, 37), lambda rng: rng.uniform(0, 1, (1, 37))),
        case(wide(33, 10), lambda rng: rng.uniform(0, 1, (33, 10)))),
    **dict.fromkeys(("batch_norm", "batch_norm_relu"), (
        case(normal(1, 9, 35, 2), *_channels), case(wide(33, 9), *_channels),
        case(normal(2, 9, 3), None, normal(9), eps=0.1))),
    **dict.fromkeys(("batch_norm_add", "batch_norm_add_relu"), (
        case(normal(1, 9, 35, 2), *_channels, normal(1, 9, 35, 2)),
        case(wide(33, 9), None, normal(9), wide(33, 9), eps=0.1))),
    **dict.fromkeys(("batch_norm_inference", "batch_norm_inference_relu"), (
        case(wide(1, 9, 35, 2), *_channels, normal(9), positive(9)),
        case(wide(33, 9), None, normal(9), normal(9), positive(9), eps=0.1))),
    **dict.fromkeys(("batch_norm_inference_add", "batch_norm_inference_add_relu"), (
        case(wide(1, 9, 35, 2), *_channels, normal(9), positive(9), normal(1, 9, 35, 2)),
        case(wide(33, 9), None, normal(9), normal(9), positive(9), wide(33, 9), eps=0.1))),
    "layer_norm": (case(wide(1, 9, 37), normal(37), normal(37), normalized_shape=37),
                   case(wide(33, 10), normal(10), None, normalized_shape=10, eps=0.1),
                   case(wide(2, 9, 35, 6), normal(9, 35, 6), normal(9, 35, 6), normalized_shape=(9, 35, 6))),
    "group_norm": (*(case(wide(1, 12, 35, 6), normal(12), normal(12), num_groups=g) for g in (1, 3, 12)),
                   case(wide(33, 20), None, normal(20), num_groups=2, eps=0.1)),
    "instance_norm": (case(wide(1, 9, 35, 6), *_channels), case(wide(2, 10, 33), normal(10), None, eps=0.1)),
    "local_response_norm": tuple(
        case(wide(1, 37, 9) if h["size"] == 5 else normal(3, 10, 5), alpha=0.8, **h)
        for h in pairwise(size=(5, 4, 1), beta=(0.75, 0.5), k=(1.0, 2.0), variant=("torch", "paper"))),
    "dropout": (case(wide(33, 10), mask(33, 10), p=0.3),),
    "dropout2d": (case(wide(1, 9, 35, 2), mask(1, 9), p=0.3),),
    "stochastic_depth": (case(wide(33, 2, 5), mask(33), p=0.3),),
    "concat": (case(wide(1, 9, 35), wide(1, 10, 35)), case(wide(33, 1), wide(2, 1), axis=0)),
    "pad": (case(wide(1, 9, 35, 6), padding=(3, 0, 1, 2)),
            *(case(wide(1, 9, 35, 6), padding=((33, 2), (0, 5)), mode=mode) for mode in ("reflect", "edge"))),
    "transpose": (case(wide(1, 9, 37), axes=(2, 0, 1)),),
    "getitem": (case(wide(33, 10), index=(slice(None, None, -3), slice(8, 10))),),
}  # fmt: skip
