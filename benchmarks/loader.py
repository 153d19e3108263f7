"""How long a training step waits for its images, and how fast images are read, by threads and by processes.

    python -m benchmarks.loader PHOTOS

PHOTOS is a folder of photographs. The benchmark makes 640 JPEG files of 500 × 375 pixels from them (ImageNet's most
common size), in two classes. First it only reads and transforms them: images a second. Then MobileNet V1 at 128 × 128
trains on batches of 16, and the time in `next(loader)` is compared with the whole time. Target: at most 5 %. The result
goes to benchmarks/results/loader.json, and its table into docs/data.md.
"""

import itertools
import json
import tempfile
import time
from collections import deque
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmarks import harness
from benchmarks.markdown import fill, table
from minicnn import data, models, optim, seed
from minicnn.bench import machine
from minicnn.bench.timing import Spread, time_calls
from minicnn.data.decode import SUFFIXES
from minicnn.ops.softmax import cross_entropy
from minicnn.tensor import Tensor

COUNT, SIZE, QUALITY, SIDE, BATCH = 640, (500, 375), 95, 128, 16
AUGMENT = "random-resized flip"
TARGET = 0.05
PAGE, BLOCK = harness.ROOT / "docs" / "data.md", "benchmarks.loader"
WORKERS = {"none": (0, False), "1 thread": (1, False), "2 threads": (2, False), "1 process": (1, True),
           "2 processes": (2, True)}  # fmt: skip
"""name: (how many, whether they are processes)"""


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
            crop = ImageOps.fit(photo.convert("RGB"), SIZE, Image.Resampling.BICUBIC, bleed=rng.uniform(0, 0.15),
                                centering=tuple(rng.random(2)))  # fmt: skip
        path = folder / f"class{i % 2}" / f"{i:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        crop.save(path, quality=QUALITY)
        total += path.stat().st_size
    return total


def open_loader(files: data.Files, kind: str, draft: bool = True) -> data.Loader:
    """The images of training, transformed. kind: a name in WORKERS"""
    workers, processes = WORKERS[kind]
    prepare = data.Preprocessing((SIDE, SIDE), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return data.Loader(files, BATCH, transform=data.Transform(prepare, AUGMENT, draft), shuffle=True, workers=workers,
                       processes=processes)  # fmt: skip


def read(files: data.Files, kind: str, draft: bool, rounds: int) -> dict:
    """Images a second when only reading, over some epochs."""
    with open_loader(files, kind, draft) as loader:
        taken = time_calls(lambda: deque(loader, maxlen=0), 0, least=rounds + 1)
    spread = Spread.of(taken[1:])                          # the first one starts the workers and fills the disk's cache
    return {"seconds": spread.as_dict(), "per_second": len(files) / spread.median}


def train(files: data.Files, kind: str, steps: int) -> dict:
    """Some steps of MobileNet V1, and how long they waited for the next batch."""
    seed(0)
    model = models.build("mobilenet_v1", num_classes=2).train()
    optimizer = optim.SGD(model.parameters(), 0.01, 0.9)
    waited = []

    def wait():
        began = time.perf_counter()
        batch = next(batches)
        waited.append(time.perf_counter() - began)
        return batch

    def step(batch):
        optimizer.zero_grad()
        cross_entropy(model(Tensor(batch.images)), batch.labels).backward()
        optimizer.step()

    with open_loader(files, kind) as loader:
        batches = itertools.chain.from_iterable(itertools.repeat(loader))
        stepped = time_calls(step, 0, least=steps + 3, setup=wait)
    waited, stepped = waited[3:], stepped[3:]              # the first steps start threads and allocate memory
    whole = sum(waited) + sum(stepped)
    return {"steps": steps, "seconds": whole, "step": Spread.of(stepped).as_dict(), "wait": Spread.of(waited).as_dict(),
            "waiting": sum(waited) / whole, "images_per_second": BATCH * steps / whole}


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    args = harness.options("loader", __doc__, argv, {
        "photos": {"help": "a folder of photographs"},
        "--steps": {"type": int, "default": 60, "help": "training steps for each kind of workers"},
        "--count": {"type": int, "default": COUNT, "help": "how many images to make"}})  # fmt: skip
    reading, training = [], []
    with tempfile.TemporaryDirectory() as folder:
        size = make_pictures(Path(args.photos), Path(folder), args.count)
        files = data.ImageFolder(folder, validation=0, test=0).train
        print(f"{len(files)} JPEG files of {SIZE[0]} × {SIZE[1]}, {size / len(files) / 1000:.0f} kB each", flush=True)
        for draft, kind in itertools.product((False, True), WORKERS):
            reading.append({"workers": kind, "draft": draft, **read(files, kind, draft, args.rounds)})
            print(f"read, {kind:11} {'draft' if draft else 'full ':5}  "
                  f"{reading[-1]['per_second']:6.0f} images/s", flush=True)
        for kind in WORKERS:
            row = {"workers": kind, **train(files, kind, args.steps)}
            training.append(row)
            print(f"train, {kind:11} step {1000 * row['step']['median']:4.0f} ms   waiting "
                  f"{100 * row['waiting']:5.1f} %   {row['images_per_second']:5.1f} images/s", flush=True)
    least = min(training, key=lambda row: row["waiting"])
    print(f"the least: {100 * least['waiting']:.1f} % with {least['workers']} "
          f"(target: at most {100 * TARGET:.0f} %)")
    path = harness.write(args, [{"name": "minicnn", **machine.describe()}], reading=reading, training=training,
                         pictures={"count": len(files), "size": SIZE, "bytes": size}, target=TARGET)
    if not args.out:
        text = tables(json.loads(path.read_text(encoding="utf-8")))
        PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), BLOCK, text), encoding="utf-8")


def tables(document: dict) -> str:
    """The part of docs/data.md that shows a result."""
    made, machine_ = document["pictures"], document["machine"]
    reads = {(row["workers"], row["draft"]): row["per_second"] for row in document["reading"]}
    head = ["workers", "read, images/s", "the same with draft", "step of MobileNet V1, ms", "waiting for images"]
    body = [[kind := row["workers"], f"{reads[kind, False]:.0f}", f"{reads[kind, True]:.0f}",
             f"{1000 * row['step']['median']:.0f}", f"{100 * row['waiting']:.1f} %"] for row in document["training"]]
    return (f"\n{made['count']} JPEG files of {made['size'][0]} × {made['size'][1]}, "
            f"{made['bytes'] / made['count'] / 1000:.0f} kB each, on {machine_['cores']} cores ({machine_['cpu']}), "
            f"{document['date']}: `{document['command']}`\n\n{table(head, body)}")  # fmt: skip


if __name__ == "__main__":
    main()
