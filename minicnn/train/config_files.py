"""Settings in files: TOML written by users, and a run's config.json."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from minicnn import data
from minicnn.names import unknown
from minicnn.train.config import AUTO, RESUME_MAY_CHANGE, Config
from minicnn.train.usual import usual_model


def read(values: Any, where: str = "") -> Config:
    """The Config of names and values; ValueError names the file `where`, the setting and the rule."""
    where = where and f"{where}: "
    if not isinstance(values, dict):
        raise ValueError(f"{where}settings must be names and values, not of type {type(values).__name__}")
    known = {f.name: f for f in fields(Config)}
    given = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{where}{unknown('setting', str(name), known)}")
        kind = str(known[name].type)
        if kind == "float" and type(value) is int and abs(value) < 2**53:
            value = float(value)
        if type(value).__name__ != kind:
            raise ValueError(f"{where}{name} must be a value of type {kind}, not {value!r:.60}")
        given[name] = value
    try:
        return Config(**given).check()
    except (ValueError, TypeError) as problem:
        raise ValueError(f"{where}{problem}") from None


def from_toml(path: Path) -> dict:
    """The settings in a TOML file: `lr = 0.01`, one on each line; `read` makes a Config of them."""
    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no settings file {path}: check the name and the folder") from None
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{path} is not valid TOML ({problem}): use one line per setting, such as lr = 0.01") from None
    read(values, str(path))
    return values


def from_json(path: Path, content: bytes | None = None) -> Config:
    """The Config in a run's config.json.   content: its bytes, if they were read already"""
    try:
        values = json.loads(path.read_bytes() if content is None else content)
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"{path} can't be read ({problem}): restore it from a copy, or train again") from None
    return read(values, str(path))


def complete(config: Config) -> Config:
    """The same with the model's name and absolute paths, independent of the current folder."""
    def whole(path):
        return str(Path(path).resolve()) if path and path not in data.names() else path

    model = usual_model(config.dataset) if config.model == AUTO else config.model
    return replace(config, model=model, dataset=whole(config.dataset), weights=whole(config.weights))


def differences(a: Config, b: dict) -> str:
    """The differences of the settings `b` from `a` that change the result: "model is 'x', not 'y'", or ""."""
    mine = asdict(a)
    names = [name for name in {**mine, **b} if name not in RESUME_MAY_CHANGE and mine.get(name) != b.get(name)]
    return ", ".join(f"{name} is {b.get(name)!r}, not {mine.get(name)!r}" for name in names)
