"""What `minicnn train` and `minicnn transfer` show of a run: while it trains, and what came of it."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import asdict

from minicnn.cli import console
from minicnn.cli.evaluate import show
from minicnn.cli.predict import classify
from minicnn.inspect import plots
from minicnn.train import Run, on_signals, picture
from minicnn.train.folder import BEST


def go(run: Run, as_json: bool, more: dict | None = None) -> None:
    """Train, test, draw and report; `Stopped` comes through where somebody asked to stop."""
    pictures = run.pictures
    if not as_json:
        counts = (f"{len(part):,} to {what}" for part, what in
                  ((run.training, "train"), (run.validation, "validate"), (pictures.test, "test")) if part is not None)
        size = sum(p.size for p in run.model.parameters())
        console.out.print(f"[bold]{run.config.model}[/] ({size:,} parameters) on [bold]{pictures.name}[/]: "
                          f"{_images(next(counts))}, {', '.join(counts)}, {len(pictures.classes)} classes")
        if run.metrics or run.progress.batches:
            console.say(f"goes on after step {run.schedule.t:,}", markup=False)
    started = time.perf_counter()
    with on_signals() as asked:
        _train(run, as_json, asked)
    seconds = time.perf_counter() - started
    result = run.test()
    files = _draw(run, result)
    part = "test" if pictures.test is not None else "validation"
    if as_json:
        return console.print_json({
            "folder": str(run.folder), "config": asdict(run.config), "epochs": run.metrics, "seconds": seconds,
            **(more or {}),
            part: {"accuracy": result.accuracy, "loss": result.loss, "confusion": result.confusion.tolist()},
        })  # fmt: skip
    if run.metrics:
        best = max((r["epoch"] for r in run.metrics if r["best"]), default=0)
        which = f"the best on validation was epoch {best}" if best else "no epoch was better than the start"
        console.out.print(f"\ntrained in {seconds:.1f} s; {which}\n")
        _flow(run.metrics)
    show(result, list(pictures.classes), f"{pictures.name}, {part}")
    if pictures.in_memory:
        _show_one(run)
    named = ", ".join((f"{BEST} (the model)", *(["metrics.jsonl"] if run.metrics else []), *files))
    console.out.print(f"\nIn {run.folder}: {named}", markup=False, soft_wrap=True)
    _what_next(run)
    return None


def _images(count):
    number, _, what = count.partition(" ")
    return f"{number} images {what}"


def _train(run: Run, quiet: bool, asked) -> None:
    """Train with a bar that counts the steps of an epoch, and a line an epoch."""
    if quiet:
        run.train(asked=asked)
        return
    with console.progress() as progress:
        bar = progress.add_task("", total=run.steps_per_epoch, loss="", visible=not run.finished)

        def on_step(step, loss):
            epoch, done = divmod(step, run.steps_per_epoch)
            progress.update(bar, description=f"epoch {epoch + 1}", completed=done + 1, loss=f"loss {loss:.4f}")

        def on_epoch(r):
            mark = "  best" if r["best"] else ""
            console.out.print(
                f"epoch {r['epoch']:>2}/{run.config.epochs}   loss {r['loss']:.4f}   "
                f"training {100 * r['accuracy']:6.2f} %   "
                f"validation {100 * r['val_accuracy']:6.2f} %   {r['seconds']:5.1f} s{mark}"
            )

        run.train(on_step, on_epoch, asked)


def _flow(metrics: list[dict]) -> None:
    """The first and the last epoch's gradients, layer by layer, where they were written down."""
    rows = [r["layers"] for r in (metrics[0], metrics[-1]) if "layers" in r]
    if not rows:
        return
    first, last = metrics[0]["epoch"], metrics[-1]["epoch"]
    table = console.table("layer", "kind", f">‖gradient‖, epoch {first}", f">epoch {last}", ">‖weights‖", ">of them, %",
                          ">dead ReLUs")  # fmt: skip
    for before, now in zip(rows[0], rows[-1]):
        share = 100 * now["gradient"] / now["weights"] if now["weights"] else 0.0
        dead = "" if now["dead"] is None else f"{100 * now['dead']:.0f} %"
        table.add_row(now["layer"], now["kind"], f"{before['gradient']:.2e}", f"{now['gradient']:.2e}",
                      f"{now['weights']:.3g}", f"{share:.2g}", dead)
    console.show(table)
    console.out.print()


def _draw(run: Run, result) -> list[str]:
    """Draw what can be drawn. → the file names; without matplotlib, one sentence and none."""
    test = run.pictures.test if run.pictures.test is not None else run.validation
    image = run.pictures.preprocessing.read(test.picture(0))
    try:
        made = []
        if run.metrics:
            picture.curves(run.metrics, run.folder / "curves.png")
            made.append("curves.png")
        picture.confusion(result.confusion, list(run.pictures.classes), run.folder / "confusion.png")
        x = run.prepare(run.pictures.preprocessing.normalise(image[None]))
        plots.first_layer(run.model, x, image, run.folder / "filters.png")
        return [*made, "confusion.png", "filters.png"]
    except ModuleNotFoundError as missing:
        print(f"no pictures: {missing}", file=sys.stderr)
        return []


def _show_one(run: Run) -> None:
    """Predict one test image, and leave it as a file to try things on."""
    from PIL import Image

    preprocessing, classes = run.pictures.preprocessing, list(run.pictures.classes)
    image, label = run.pictures.test.picture(0), run.pictures.test.labels[0]
    where = run.folder / "sample.png"
    Image.fromarray(image.transpose(1, 2, 0).squeeze()).save(where)
    console.out.print(f"\nOne test image ({where}), in truth {classes[label]}:", markup=False, soft_wrap=True)
    p = classify(run.model, run.prepare(preprocessing.normalise(image[None])))
    for line in console.bars(classes, p):
        console.out.print(line, markup=False)


def _what_next(run: Run) -> None:
    folder = shlex.quote(str(run.folder))
    sample = run.folder / "sample.png" if run.pictures.in_memory else run.pictures.train.picture(0)
    hints = {
        f"minicnn predict {folder} {shlex.quote(str(sample))}":
            "your own pictures too; --invert for ink on paper" if run.pictures.in_memory else "your own pictures too",
        f"minicnn eval {folder} --split train": "does it know its training images better?",
        f"minicnn summary {run.config.model}": "the net, layer by layer",
    }
    if run.config.weights:
        hints[f"minicnn eval {folder}"] = "class by class, and the worst mistakes in a picture"
    else:
        hints["minicnn gradcheck conv2d --sweep"] = "is the gradient of a convolution right?"
        data = run.config.dataset if run.pictures.in_memory else shlex.quote(run.config.dataset)
        hints[f"minicnn train {data} --epochs {3 * run.config.epochs} --label-smoothing 0.1"] = (
            "longer, and less sure of itself")  # fmt: skip
    console.out.print("\nWhat to try next:")
    for command, why in hints.items():
        console.out.print(f"  {command:<{max(map(len, hints))}}   {why}", soft_wrap=True, markup=False)


