"""Answers as JSON: an array becomes {"shape", "type", "data"}, its bytes in base64, little-endian.

Numbers that JSON does not have, NaN and ±∞, become the words "NaN", "∞" and "−∞".
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np

TYPES = {"u1": "<u1", "f4": "<f4"}


def encode(answer: Any) -> bytes:
    """The answer as JSON in UTF-8."""
    return json.dumps(_plain(answer), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        kind = "u1" if value.dtype == np.uint8 else "f4"
        data = base64.b64encode(np.ascontiguousarray(value, TYPES[kind]).tobytes()).decode()
        return {"shape": list(value.shape), "type": kind, "data": data}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    return value


def decode(content: bytes) -> dict[str, Any]:
    """The names and values in a question. ValueError, one sentence, where it is no JSON object."""
    try:
        value = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ValueError("the question is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("the question must be a JSON object")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(name)
