"""How long a training step waits for its pictures, and how fast pictures are read, by threads and by processes.

    python -m benchmarks.loader PHOTOS

PHOTOS is a folder of photographs. From them 640 JPEG files of 500 × 375 pixels (ImageNet's commonest size) are made in
two classes. First they are read and transformed alone: pictures a second. Then MobileNet V1 at 128 × 128 trains on them
in batches of 16, and how long `next(loader)` took is compared with the whole time. Target: at most 5 %. The result
goes to benchmarks/results/loader.json, and its tables into docs/data.md.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import harness
from minicnn import data, models, optim, seed
from minicnn.bench import machine
from minicnn.bench.timing import Spread
from minicnn.data.decode import SUFFIXES
from minicnn.ops.softmax import cross_entropy
from minicnn.tensor import Tensor

COUNT, SIZE, QUALITY, SIDE, BATCH = 640, (500, 375), 95, 128, 16
AUGMENT = "random-resized flip"
TARGET = 0.05
PAGE, BEGIN, END = harness.ROOT / "docs" / "data.md", "<!-- benchmarks.loader -->\n", "<!-- end -->\n"
WORKERS = ((0, False), (1, False), (2, False), (1, True), (2, True))
"""(how many, whether they are processes)"""


def make_pictures(photos: Path, folder: Path, count: int) -> int:
    """Write `count` JPEG files into two folders: different cuttings of the photographs. → their bytes"""
    from PIL import Image

    sources = sorted(path for path in photos.rglob("*") if path.suffix.lower() in SUFFIXES)
    # what is smaller than half the size would be more blur than picture, and compress as no photograph does
    sources = [path for path in sources if min(size_of(path)) >= SIZE[1] // 2]
    if not sources:
        raise SystemExit(f"error: {photos} holds no photographs of at least {SIZE[1] // 2} pixels a side")
    rng, total = np.random.default_rng(0), 0
    for i in range(count):
        with Image.open(sources[i % len(sources)]) as photo:
            scale = rng.uniform(0.7, 1) * min(photo.width / SIZE[0], photo.height / SIZE[1])
            w, h = SIZE[0] * scale, SIZE[1] * scale
            left, top = rng.uniform(0, photo.width - w), rng.uniform(0, photo.height - h)
            cutting = photo.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC, (left, top, left + w, top + h))
        path = folder / f"class{i % 2}" / f"{i:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cutting.save(path, quality=QUALITY)
        total += path.stat().st_size
    return total


def size_of(path: Path) -> tuple[int, int]:
    """Width and height, from the header."""
    from PIL import Image

    with Image.open(path) as photo:
        return photo.size


def transform(draft: bool = True) -> data.Transform:
    """What training does to a picture."""
    prepare = data.Preprocessing((SIDE, SIDE), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return data.Transform(prepare, AUGMENT, draft)


def name(workers: int, processes: bool) -> str:
    """"2 threads"."""
    kind = "process" if processes else "thread"
    return "none" if not workers else f"{workers} {kind}{('es' if processes else 's') if workers > 1 else ''}"


def read(files: data.Files, workers: int, processes: bool, draft: bool, rounds: int) -> dict:
    """Pictures a second where nothing else is done, over some epochs; starting the workers is not counted."""
    taken = []
    with data.Loader(files, BATCH, transform=transform(draft), shuffle=True, workers=workers,
                     processes=processes) as loader:
        for epoch in range(rounds + 1):
            began = time.perf_counter()
            for _ in loader:
                pass
            if epoch:                                      # the first one starts the workers and fills the disk's cache
                taken.append(time.perf_counter() - began)
    spread = Spread.of(taken)
    return {"seconds": spread.as_dict(), "per_second": len(files) / spread.median}


def train(files: data.Files, workers: int, processes: bool, steps: int) -> dict:
    """Some steps of MobileNet V1: how much of the time went by in waiting for the next batch."""
    seed(0)
    model = models.build("mobilenet_v1", num_classes=2).train()
    optimizer = optim.SGD(model.parameters(), 0.01, 0.9)
    waited, stepped = [], []
    with data.Loader(files, BATCH, transform=transform(), shuffle=True, workers=workers, processes=processes) as loader:
        batches = (batch for _ in iter(int, 1) for batch in loader)
        for _ in range(3):                                 # the first steps start threads and take memory
            step(model, optimizer, next(batches))
        began = time.perf_counter()
        for _ in range(steps):
            asked = time.perf_counter()
            batch = next(batches)
            here = time.perf_counter()
            step(model, optimizer, batch)
            waited.append(here - asked)
            stepped.append(time.perf_counter() - here)
        whole = time.perf_counter() - began
    return {"steps": steps, "seconds": whole, "step": Spread.of(stepped).as_dict(), "wait": Spread.of(waited).as_dict(),
            "waiting": sum(waited) / whole, "images_per_second": BATCH * steps / whole}


def step(model, optimizer, batch) -> None:
    """One step of training."""
    optimizer.zero_grad()
    cross_entropy(model(Tensor(batch.images)), batch.labels).backward()
    optimizer.step()


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    argv = sys.argv[1:] if argv is None else argv
    parser = harness.options(__doc__)
    parser.add_argument("photos", type=Path, help="a folder of photographs")
    parser.add_argument("--steps", type=int, default=60, help="steps of training for each kind of workers")
    parser.add_argument("--count", type=int, default=COUNT, help="pictures to make")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        size = make_pictures(args.photos, Path(folder), args.count)
        files = data.ImageFolder(folder, validation=0, test=0).train
        print(f"{len(files)} JPEG files of {SIZE[0]} × {SIZE[1]}, {size / len(files) / 1000:.0f} kB each", flush=True)
        reading, training = [], []
        for draft in (False, True):
            for workers, processes in WORKERS:
                row = {"workers": workers, "processes": processes, "draft": draft,
                       **read(files, workers, processes, draft, args.rounds)}
                reading.append(row)
                print(f"read, {name(workers, processes):11} {'draft' if draft else 'full ':5}  "
                      f"{row['per_second']:6.0f} pictures/s", flush=True)
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
        page = PAGE.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        made = tables(json.loads(path.read_text(encoding="utf-8")))
        PAGE.write_text(before + BEGIN + made + END + rest.split(END)[1], encoding="utf-8")


def tables(document: dict) -> str:
    """What docs/data.md says of a result."""
    made, size = document["pictures"], document["pictures"]["bytes"] / document["pictures"]["count"]
    machine_ = document["machine"]
    reads = {(row["workers"], row["processes"], row["draft"]): row["per_second"] for row in document["reading"]}
    lines = [f"{made['count']} JPEG files of {made['size'][0]} × {made['size'][1]}, {size / 1000:.0f} kB each, on "
             f"{machine_['cores']} cores ({machine_['cpu']}), {document['date']}: `{document['command']}`\n",
             "| workers | read, pictures/s | the same with draft | step of MobileNet V1, ms | waiting for pictures |",
             "| --- | ---: | ---: | ---: | ---: |"]
    for row in document["training"]:
        key = row["workers"], row["processes"]
        lines.append(f"| {name(*key)} | {reads[*key, False]:.0f} | {reads[*key, True]:.0f} | "
                     f"{1000 * row['step']['median']:.0f} | {100 * row['waiting']:.1f} % |")
    return "\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
