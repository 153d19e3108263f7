"""How long a training step waits for its images, and how fast images are read, by threads and by processes.

    python -m benchmarks.loader PHOTOS

PHOTOS is a folder of photographs. The benchmark makes 640 JPEG files of 500 × 375 pixels from them (ImageNet's most
common size), in two classes. First it only reads and transforms them: images a second. Then MobileNet V1 at 128 × 128
trains on batches of 16, and the time in `next(loader)` is compared with the whole time. Target: at most 5 %. The result
goes to benchmarks/results/loader.json, and its table into docs/data.md.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import harness
from benchmarks.markdown import fill, table
from minicnn import data, models, optim, seed
from minicnn.bench import machine
from minicnn.bench.timing import Spread
from minicnn.data.decode import SUFFIXES
from minicnn.ops.softmax import cross_entropy
from minicnn.tensor import Tensor

COUNT, SIZE, QUALITY, SIDE, BATCH = 640, (500, 375), 95, 128, 16
AUGMENT = "random-resized flip"
TARGET = 0.05
PAGE, BLOCK = harness.ROOT / "docs" / "data.md", "benchmarks.loader"
WORKERS = ((0, False), (1, False), (2, False), (1, True), (2, True))
"""(how many, whether they are processes)"""


def make_pictures(photos: Path, folder: Path, count: int) -> int:
    """Write `count` JPEG files into two folders: different crops of the photographs. → their bytes"""
    sources = []
    for path in sorted(path for path in photos.rglob("*") if path.suffix.lower() in SUFFIXES):
        with Image.open(path) as photo:
            # smaller ones would be blurred, and compress better than photographs do
            sources += [path] * (min(photo.size) >= SIZE[1] // 2)
    if not sources:
        raise SystemExit(f"error: {photos} has no photographs of at least {SIZE[1] // 2} pixels on each side")
    rng, total = np.random.default_rng(0), 0
    for i in range(count):
        with Image.open(sources[i % len(sources)]) as photo:
            scale = rng.uniform(0.7, 1) * min(photo.width / SIZE[0], photo.height / SIZE[1])
            w, h = SIZE[0] * scale, SIZE[1] * scale
            left, top = rng.uniform(0, photo.width - w), rng.uniform(0, photo.height - h)
            crop = photo.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC, (left, top, left + w, top + h))
        path = folder / f"class{i % 2}" / f"{i:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        crop.save(path, quality=QUALITY)
        total += path.stat().st_size
    return total


def name(workers: int, processes: bool) -> str:
    """"2 threads"."""
    kind = "process" if processes else "thread"
    return "none" if not workers else f"{workers} {kind}{('es' if processes else 's') if workers > 1 else ''}"


def open_loader(files: data.Files, workers: int, processes: bool, draft: bool = True) -> data.Loader:
    """The images of training, transformed."""
    prepare = data.Preprocessing((SIDE, SIDE), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return data.Loader(files, BATCH, transform=data.Transform(prepare, AUGMENT, draft), shuffle=True, workers=workers,
                       processes=processes)  # fmt: skip


def read(files: data.Files, workers: int, processes: bool, draft: bool, rounds: int) -> dict:
    """Images a second when only reading, over some epochs."""
    taken = []
    with open_loader(files, workers, processes, draft) as loader:
        for epoch in range(rounds + 1):
            began = time.perf_counter()
            for _ in loader:
                pass
            if epoch:                                      # the first one starts the workers and fills the disk's cache
                taken.append(time.perf_counter() - began)
    spread = Spread.of(taken)
    return {"seconds": spread.as_dict(), "per_second": len(files) / spread.median}


def train(files: data.Files, workers: int, processes: bool, steps: int) -> dict:
    """Some steps of MobileNet V1, and how long they waited for the next batch."""
    seed(0)
    model = models.build("mobilenet_v1", num_classes=2).train()
    optimizer = optim.SGD(model.parameters(), 0.01, 0.9)
    waited, stepped = [], []
    with open_loader(files, workers, processes) as loader:
        batches = (batch for _ in iter(int, 1) for batch in loader)
        for i in range(-3, steps):                         # the first steps start threads and allocate memory
            asked = time.perf_counter()
            if i == 0:
                began = asked
            batch = next(batches)
            here = time.perf_counter()
            optimizer.zero_grad()
            cross_entropy(model(Tensor(batch.images)), batch.labels).backward()
            optimizer.step()
            waited.append(here - asked)
            stepped.append(time.perf_counter() - here)
        whole = time.perf_counter() - began
    waited, stepped = waited[3:], stepped[3:]
    return {"steps": steps, "seconds": whole, "step": Spread.of(stepped).as_dict(), "wait": Spread.of(waited).as_dict(),
            "waiting": sum(waited) / whole, "images_per_second": BATCH * steps / whole}


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    argv = sys.argv[1:] if argv is None else argv
    parser = harness.options(__doc__)
    parser.add_argument("photos", type=Path, help="a folder of photographs")
    parser.add_argument("--steps", type=int, default=60, help="training steps for each kind of workers")
    parser.add_argument("--count", type=int, default=COUNT, help="how many images to make")
    args = parser.parse_args(argv)
    reading, training = [], []
    with tempfile.TemporaryDirectory() as folder:
        size = make_pictures(args.photos, Path(folder), args.count)
        files = data.ImageFolder(folder, validation=0, test=0).train
        print(f"{len(files)} JPEG files of {SIZE[0]} × {SIZE[1]}, {size / len(files) / 1000:.0f} kB each", flush=True)
        for draft, (workers, processes) in ((draft, kind) for draft in (False, True) for kind in WORKERS):
            reading.append({"workers": workers, "processes": processes, "draft": draft,
                            **read(files, workers, processes, draft, args.rounds)})
            print(f"read, {name(workers, processes):11} {'draft' if draft else 'full ':5}  "
                  f"{reading[-1]['per_second']:6.0f} images/s", flush=True)
        for workers, processes in WORKERS:
            row = {"workers": workers, "processes": processes, **train(files, workers, processes, args.steps)}
            training.append(row)
            print(f"train, {name(workers, processes):11} step {1000 * row['step']['median']:4.0f} ms   waiting "
                  f"{100 * row['waiting']:5.1f} %   {row['images_per_second']:5.1f} images/s", flush=True)
    least = min(training, key=lambda row: row["waiting"])
    print(f"the least: {100 * least['waiting']:.1f} % with {name(least['workers'], least['processes'])} "
          f"(target: at most {100 * TARGET:.0f} %)")
    about = [{"name": "minicnn", **machine.describe()}]
    path = harness.write("loader", args, ["PHOTOS" if word == str(args.photos) else word for word in argv], about,
                         pictures={"count": len(files), "size": SIZE, "bytes": size}, reading=reading,
                         training=training, target=TARGET)
    if not args.out:
        text = tables(json.loads(path.read_text(encoding="utf-8")))
        PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), BLOCK, text), encoding="utf-8")


def tables(document: dict) -> str:
    """The part of docs/data.md that shows a result."""
    made, machine_ = document["pictures"], document["machine"]
    reads = {(row["workers"], row["processes"], row["draft"]): row["per_second"] for row in document["reading"]}
    head = ["workers", "read, images/s", "the same with draft", "step of MobileNet V1, ms", "waiting for images"]
    body = [[name(*key), f"{reads[*key, False]:.0f}", f"{reads[*key, True]:.0f}", f"{1000 * row['step']['median']:.0f}",
             f"{100 * row['waiting']:.1f} %"] for row in document["training"]
            for key in [(row["workers"], row["processes"])]]  # fmt: skip
    return (f"\n{made['count']} JPEG files of {made['size'][0]} × {made['size'][1]}, "
            f"{made['bytes'] / made['count'] / 1000:.0f} kB each, on {machine_['cores']} cores ({machine_['cpu']}), "
            f"{document['date']}: `{document['command']}`\n\n{table(head, body)}")  # fmt: skip


if __name__ == "__main__":
    main()
