"""Which layers the norms within an image and PReLU become, with their weights: a part of describe.py's table."""

from __future__ import annotations

from typing import Any

import numpy as np

from minicnn.io.onnx.read.build import Call, Value

Made = tuple[str, dict[str, Any], dict[str, np.ndarray]]


def prelu(call: Call, x: Value, w: np.ndarray) -> Made:
    """A slope for each channel, or one for all."""
    return "PReLU", {"num_parameters": len(w)}, {"weight": w}


def layer_norm(call: Call, x: Value, gamma: np.ndarray | None = None, beta: np.ndarray | None = None) -> Made | None:
    """LayerNorm; a shift without a scale stays an op."""
    if gamma is None and beta is not None:
        return None
    settings = _settings(call, normalized_shape=list(call.settings["normalized_shape"]))
    if gamma is None:
        return "LayerNorm", settings | {"elementwise_affine": False}, {}
    return ("LayerNorm", settings, {"weight": gamma, "bias": beta}) if beta is not None else (
        "LayerNorm", settings | {"bias": False}, {"weight": gamma})  # fmt: skip


def group_norm(call: Call, x: Value, gamma: np.ndarray | None = None, beta: np.ndarray | None = None) -> Made | None:
    """GroupNorm; a scale or a shift alone stays an op."""
    settings = _settings(call, num_groups=call.settings["num_groups"], num_channels=x.shape[1])
    return _affine("GroupNorm", settings, gamma, beta, True)


def instance_norm(call: Call, x: Value, gamma: np.ndarray | None = None, beta: np.ndarray | None = None) -> Made | None:
    """InstanceNorm2d, of images; of other arrays, and with a scale or a shift alone, it stays an op."""
    return _affine("InstanceNorm2d", _settings(call, num_features=x.shape[1]), gamma, beta, False) if x.ndim == 4 else (
        None)  # fmt: skip


def _settings(call: Call, **first: Any) -> dict[str, Any]:
    return first | ({"eps": call.settings["eps"]} if call.settings.get("eps", 1e-5) != 1e-5 else {})


def _affine(kind: str, settings: dict[str, Any], gamma: Any, beta: Any, usual: bool) -> Made | None:
    if (gamma is None) != (beta is None):
        return None
    affine = gamma is not None
    return (kind, settings | ({"affine": affine} if affine != usual else {}),
            {"weight": gamma, "bias": beta} if affine else {})  # fmt: skip
