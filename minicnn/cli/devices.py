"""minicnn devices"""

from __future__ import annotations

from typing import Annotated

import typer

from minicnn import devices as keepers
from minicnn.cli import console
from minicnn.train.environment import environment


def devices(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False):
    """Say what can compute here, and if there is no GPU, why."""
    facts = environment()
    report = {
        "available": keepers.available(),
        "auto": keepers.get("auto").name,
        "cpu": facts,
        "gpu": keepers.why_no_gpu(),
    }
    if as_json:
        return console.print_json(report)
    blas = "; ".join(facts["blas"]) or "unknown BLAS"
    console.out.print(f"cpu    {facts['cpus']} cores ({facts['machine']}), NumPy {facts['numpy']}, {blas}")
    console.out.print(f"gpu    none: {report['gpu']}")
    console.out.print(f"auto   means {report['auto']}")
