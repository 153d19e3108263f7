"""Whole nets: a training step (forward, backward, SGD with momentum), inference on 1 and 32 images, peak memory.

    python -m benchmarks.cpu.models --peers torch,onnxruntime
    python -m benchmarks.cpu.models --memory            VGG-16 at 224×224, 4 images, too: it needs gigabytes
"""

from benchmarks import harness, ratios
from benchmarks.markdown import call
from minicnn.bench.model import NETS

LARGE = "vgg16"


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = harness.options("cpu.models", __doc__, argv, {
        "--memory": {"action": "store_true", "help": f"{LARGE}, too"},
        "--batch": {"type": int, "default": 0, "help": "images in a step; by default the net's own"}})  # fmt: skip
    rows, about, left_out = [], {}, {}
    for name in harness.selected([name for name in NETS if name != LARGE or args.memory], args.cases):
        able = [peer for peer in (*ratios.OWN, *harness.PEERS[1:]) if name == "lenet5" or peer != "tinygrad"]
        with harness.Workers.on_cpu(args, *able) as workers:
            about |= {known["name"]: known for known in workers.about() if known["name"] not in about}
            rows.append(measure(name, args, workers))
            left_out |= workers.problems
    harness.write(args, list(about.values()), cases=rows, summary=ratios.summary_of(rows), left_out=left_out)


def measure(name: str, args, workers: harness.Workers) -> dict:
    """One net: times in turn, then the memory of new processes."""
    batch = args.batch or NETS[name][3]
    spec = {"kind": "net", "name": name, "batch": batch, "onnx": "onnxruntime" in workers.start,
            **({"infer": [1], "images": batch} if name == LARGE else {})}  # fmt: skip
    specs = {process: {**spec, "kind": "plan" if process == "plan" else "net"} for process in workers.start}
    answers, times = workers.measure(name, specs, args)
    workers.close()
    own = {process: times[process] for process in args.path if process in times}
    known = answers[next(iter(own))]
    row = {**{k: known[k] for k in ("parameters", "batch", "shape")}, "name": name}
    ratios.compare(row, own, {process: calls for process, calls in times.items() if process not in own})
    row["images_per_second"] = {process: {what: call(what, batch)[1] / t["median"] for what, t in calls.items()}
                                for process, calls in own.items()}  # fmt: skip
    spec = {**spec, "infer": [], "images": batch, "shape": known["shape"], "onnx": False}
    lanes = {process: (process, {}) for process in own if process != "plan"}
    if "torch" in times:
        row["logits_off"] = answers["torch"]["logits"]
        lanes |= {f"torch, {layout}": ("torch", {"layouts": [layout]}) for layout in row["logits_off"]}
    row["memory"] = {lane: memory(workers, process, spec | more) for lane, (process, more) in lanes.items()}
    ratios.show_paths(row)
    return row


def memory(workers: harness.Workers, process: str, spec: dict) -> dict:
    """The peak memory of a new process in two training steps, and its memory before it has the net."""
    worker = workers[process]
    base = worker.ask("memory")["bytes"]
    worker.ask("prepare", spec=spec)                               # warms up with two steps
    found = {"peak_bytes": worker.ask("memory")["bytes"], "empty_bytes": base}
    workers.close()
    return found


if __name__ == "__main__":
    main()
