"""minicnn devices"""

from __future__ import annotations

from typing import Any

from minicnn import settings
from minicnn.cli import console


def devices(as_json: console.Json = False):
    """List the devices of this machine, and why a GPU is not usable."""
    from minicnn import devices as backends
    from minicnn.cpu import path
    from minicnn.environment import environment

    facts = environment()
    missing = backends.why_no_gpu()
    gpu: dict[str, Any] = {"usable": not missing}
    gpu.update({"why_not": missing} if missing else backends.gpu_facts())
    chosen = {"threads": facts["threads"], "conv_algorithm": settings.requested_algorithm(),
              "tf32": settings.tf32_allowed(), "cpu_path": path.chosen(), "cpu_path_why": path.why()}  # fmt: skip
    report = {"available": backends.available(), "auto": backends.get("auto").name, "cpu": facts, "gpu": gpu,
              "settings": chosen}  # fmt: skip
    if as_json:
        return console.print_json(report)
    blas = "; ".join(facts["blas"]) or "unknown BLAS"
    console.say(f"cpu    {console.count(facts['cpus'], 'core')} ({facts['machine']}), NumPy {facts['numpy']}, {blas}")
    if missing:
        console.say(f"gpu    none: {missing}", markup=False)       # [gpu] is an extra, not a colour
    else:
        console.say(f"cuda:0 {gpu['name']}, {gpu['memory'] / 2**30:.0f} GiB, compute capability "
                          f"{gpu['compute_capability']}, CuPy {gpu['cupy']}, CUDA {gpu['cuda']}")
    console.say(f"auto   means {report['auto']}")
    console.say(f"using  {console.count(chosen['threads'], 'thread')}, convolution algorithm "
                f"{chosen['conv_algorithm']}, TF32 {'allowed' if chosen['tf32'] else 'off'}; CPU: "
                f"{chosen['cpu_path']}, because {chosen['cpu_path_why']}", markup=False)
