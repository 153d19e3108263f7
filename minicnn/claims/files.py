"""The files of the claims: ours by name, and a user's own FILE.py, which defines CLAIM as ours do."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from pathlib import Path

from minicnn.claims.claim import Claim
from minicnn.names import quoted, unknown

FOLDER = Path(__file__).with_name("catalogue")
RULES = 3
"""The number of the rules that all claims share (pilot.py, training.py, verdict.py). 1 had no distance from rates that
fail, no limit of the gradients, chose rates by the validation loss, and took a net that guesses for a trained one; 1
and 2 chose them by one training each."""

NAMES = (
    "relu-tanh", "degradation", "overlap-pool", "dropout", "lrn", "batch-norm", "three-3x3", "augmentation",
    "weight-sharing", "pooling-kinds", "robustness", "transfer", "vanishing", "two-towers", "padding-overfit", "init",
)  # fmt: skip
"""All claims, in the order of the report."""


def path(name: str) -> Path:
    """The file of a claim: of one of NAMES, or of FILE.py itself. ValueError for anything else."""
    if name in NAMES:
        return FOLDER / f"{name.replace('-', '_')}.py"
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise ValueError(f"there is no file {quoted(name)}: name a claim, or a Python file that defines CLAIM")
        return Path(name)
    raise ValueError(unknown("claim", name, NAMES))


def load(name: str) -> Claim:
    """The claim of that name, or the CLAIM of FILE.py. ValueError where there is none, or the file can't be run."""
    file = path(name)
    if name in NAMES:
        return importlib.import_module(f"minicnn.claims.catalogue.{file.stem}").CLAIM
    spec = importlib.util.spec_from_file_location(f"_claim_{file.stem}", file)
    assert spec is not None, "a name that ends in .py has a loader"
    assert spec.loader is not None, "a name that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        raise ValueError(f"{quoted(name)} can't be run: {type(problem).__name__}: {problem}") from problem
    claim = getattr(module, "CLAIM", None)
    if not isinstance(claim, Claim):
        raise ValueError(f"{quoted(name)} defines no CLAIM: it must set CLAIM = Claim(…), of minicnn.claims.claim")
    return claim


def digest(name: str) -> str:
    """The SHA-256 of a claim's file and of RULES, in hexadecimal; the line ends of the system do not matter."""
    return hashlib.sha256(path(name).read_bytes().replace(b"\r\n", b"\n") + b"rules %d" % RULES).hexdigest()
