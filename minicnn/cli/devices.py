"""minicnn devices"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from minicnn import devices as backends
from minicnn import settings
from minicnn.cli import console
from minicnn.train.environment import environment


def devices(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False):
    """Say what can compute here, and if there is no GPU, why."""
    facts = environment()
    missing = backends.why_no_gpu()
    gpu: dict[str, Any] = {"usable": not missing}
    gpu.update({"why_not": missing} if missing else backends.gpu_facts())
    chosen = {"threads": facts["threads"], "conv_algorithm": settings.asked_algorithm(),
              "tf32": settings.tf32_allowed()}  # fmt: skip
    report = {"available": backends.available(), "auto": backends.get("auto").name, "cpu": facts, "gpu": gpu,
              "settings": chosen}  # fmt: skip
    if as_json:
        return console.print_json(report)
    blas = "; ".join(facts["blas"]) or "unknown BLAS"
    console.out.print(f"cpu    {facts['cpus']} cores ({facts['machine']}), NumPy {facts['numpy']}, {blas}")
    if missing:
        console.out.print(f"gpu    none: {missing}", markup=False)       # [gpu] is an extra, not a colour
    else:
        console.out.print(f"cuda:0 {gpu['name']}, {gpu['memory'] / 2**30:.0f} GiB, compute capability "
                          f"{gpu['compute_capability']}, CuPy {gpu['cupy']}, CUDA {gpu['cuda']}")
    console.out.print(f"auto   means {report['auto']}")
    console.out.print(f"using  {chosen['threads']} thread{'s' * (chosen['threads'] > 1)}, convolution algorithm "
                      f"{chosen['conv_algorithm']}, TF32 {'allowed' if chosen['tf32'] else 'off'}")
