"""Compare the logits of an ONNX file in onnxruntime, where it is installed, with those of the net."""

from __future__ import annotations

import numpy as np

from minicnn import data
from minicnn.io.model_file import Description
from minicnn.nn import Module
from minicnn.tensor import Tensor, no_grad

TOLERANCE = 1e-3
"""Relative to the largest logit. Rounding gives about 1e-6; a larger difference is a bug here or in onnxruntime."""


def compare(written: bytes, model: Module, description: Description, preprocess: bool) -> tuple[str, float] | None:
    """(onnxruntime's version, the largest difference of a logit divided by the largest logit).

    Tried with one image of noise and with three. None where onnxruntime is not installed; ValueError above TOLERANCE.
    """
    try:
        import onnxruntime
    except ImportError:
        return None
    images = np.random.default_rng(0).integers(0, 256, (3, *description.input), np.uint8)
    x = data.normalise(images, description.mean, description.std)
    device = next(iter(model.parameters())).device
    with no_grad(), model.evaluating():
        expected = model(Tensor(x, device=device)).numpy()
    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    found = np.concatenate([session.run(None, {feed: (images if preprocess else x)[part]})[0]
                            for part in (slice(1), slice(3))])  # fmt: skip
    difference = np.abs(found - np.concatenate([expected[:1], expected])).max()
    difference = float(difference / max(1e-30, np.abs(expected).max()))
    if not difference < TOLERANCE:
        raise ValueError(f"onnxruntime {onnxruntime.__version__} computes other logits than the net: they differ by "
                         f"{difference:.1e} of the largest; nothing was written: please report this as a bug")
    return onnxruntime.__version__, difference
