"""Whole nets: a training step (forward, backward, SGD with momentum), inference on 1 and 32 images, peak memory.

    python -m benchmarks.cpu.models --vs torch
    python -m benchmarks.cpu.models --memory            VGG-16 at 224×224, 4 images, too: it needs gigabytes
"""


from benchmarks import harness
from benchmarks.markdown import call
from minicnn.bench.model import NETS

LARGE = "vgg16"


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = harness.options("cpu.models", __doc__, argv, {
        "--memory": {"action": "store_true", "help": f"{LARGE}, too"},
        "--batch": {"type": int, "default": 0, "help": "images in a step; by default the net's own"}})  # fmt: skip
    names = [name for name in NETS if name != LARGE or args.memory]
    rows, about = [], []
    for name in harness.selected(names, args.cases):
        with harness.Workers.on_cpu(args) as workers:
            about = about or workers.about()
            rows.append(measure(name, args, workers))
    harness.write(args, about, cases=rows, summary=harness.summary(rows, "vs_torch"))


def measure(name: str, args, workers: harness.Workers) -> dict:
    """One net: times in turn, then the memory of new processes."""
    batch = args.batch or NETS[name][3]
    spec = {"kind": "net", "name": name, "batch": batch, **({"infer": [1], "images": batch} if name == LARGE else {})}
    answers, times = workers.measure(name, {"minicnn": spec, "torch": spec}, args)
    workers.close()
    known, own = answers["minicnn"], times["minicnn"]
    row = {**{k: known[k] for k in ("parameters", "batch", "shape")}, "name": name, "times": own,
           "images_per_second": {what: call(what, batch)[1] / t["median"] for what, t in own.items()}}  # fmt: skip
    spec = {**spec, "infer": [], "images": batch, "shape": known["shape"]}
    row["memory"] = memory(workers["minicnn"], spec)
    if "torch" in times:
        row |= {"torch": times["torch"], "logits_off": answers["torch"]["logits"], "torch_memory": {}}
        harness.versus(row, own, times["torch"])
        for layout in row["logits_off"]:
            workers.close()
            row["torch_memory"][layout] = memory(workers["torch"], {**spec, "layouts": [layout]})
    harness.show(name, own, row.get("vs_torch"), f"  {(row['memory']['peak_bytes'] or 0) / 1e6:.0f} MB")
    return row


def memory(worker: harness.Worker, spec: dict) -> dict:
    """The peak memory of a new process in two training steps, and its memory before it has the net."""
    base = worker.ask("memory")["bytes"]
    worker.ask("prepare", spec=spec)                               # warms up with two steps
    return {"peak_bytes": worker.ask("memory")["bytes"], "empty_bytes": base}


if __name__ == "__main__":
    main()
