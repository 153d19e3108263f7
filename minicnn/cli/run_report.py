"""The output of `minicnn train` and `minicnn transfer`: progress during training, and the results."""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import asdict
from pathlib import Path

from minicnn import foreign
from minicnn.cli import console
from minicnn.cli.evaluate import show
from minicnn.inspect import plots as net_plots
from minicnn.names import quoted
from minicnn.plan import classify
from minicnn.train import Run, on_signals, plots
from minicnn.train.fit import line
from minicnn.train.folder import BEST
from minicnn.train.usual import advice, too_few, transfer_command, usual_model


def go(run: Run, as_json: bool, more: dict | None = None, keep: bool = True, usual: bool = False) -> None:
    """Train, test, draw and report; `Stopped` passes through where a stop was requested.

    keep=False: the folder is deleted afterwards, so no file in it is named and no command suggested.
    usual: no net was named, so say which one this is.
    """
    if usual and not as_json and (said := advice(run.config.dataset, *_size(run))):
        console.say(said, markup=False)
    with run.lock:  # until the last picture: another process could begin a run there, and its model would be tested
        _go(run, as_json, more, keep)


def _go(run: Run, as_json: bool, more: dict | None, keep: bool) -> None:
    splits = run.splits
    part, tested = run.tested
    if not as_json:
        counts = [f"{len(split):,} to {what}" for split, what in
                  ((run.training, "train"), (run.validation, "validate")) if split is not None]
        counts += [f"{len(tested):,} to test"] if part == "test" else []
        size = sum(p.size for p in run.model.parameters())
        model, name = console.escape(run.config.model), console.escape(splits.name)
        console.out.print(f"[bold]{model}[/] ({size:,} parameters) on [bold]{name}[/]: "
                          f"{_images(counts[0])}, {', '.join(counts[1:])}, {len(splits.classes)} classes")
        for note in splits.notes:
            console.say(foreign.terminal(note), markup=False)
        if run.metrics or run.state.progress.batches:
            console.say(f"continues after step {run.state.schedule.t:,}", markup=False)
    started = time.perf_counter()
    with on_signals() as asked:
        _train(run, as_json, asked)
    seconds = time.perf_counter() - started
    result = run.test()
    if not run.writes:
        return None
    files = _draw(run, result)
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
    show(result, list(splits.classes), f"{splits.name}, {part}")
    if splits.in_memory:
        _show_one(run)
    if not keep:
        return None
    named = ", ".join((f"{BEST} (the model)", *(["metrics.jsonl"] if run.metrics else []), *files))
    console.say(f"\nIn {foreign.terminal(run.folder)}: {named}", markup=False)
    _what_next(run)
    return None


def _size(run: Run) -> tuple[int, int]:
    """(pictures, classes) of the dataset."""
    parts = (run.splits.train, run.splits.validation, run.splits.test)
    return sum(len(part) for part in parts if part is not None), len(run.splits.classes)


def _images(count):
    number, _, what = count.partition(" ")
    return f"{number} images {what}"


def _train(run: Run, quiet: bool, asked) -> None:
    """Train with a bar that counts the steps of an epoch, and one line per epoch."""
    if quiet:
        run.train(asked=asked)
        return
    with console.progress() as progress:
        bar = progress.add_task("", total=run.state.steps_per_epoch, loss="", visible=not run.finished)

        tell = console.ticker("step") if not console.out.is_terminal else lambda done, total: None

        def on_step(step, loss):
            epoch, done = divmod(step, run.state.steps_per_epoch)
            tell(step + 1, run.config.epochs * run.state.steps_per_epoch)
            progress.update(bar, description=f"epoch {epoch + 1}", completed=done + 1, loss=f"loss {loss:.4f}")

        def on_epoch(r):
            console.say(_fitted(line(r, run.config.epochs)), markup=False)

        run.train(on_step, on_epoch, asked)


def _fitted(text: str) -> str:
    """The line of an epoch, shortened for a narrow terminal."""
    room = console.out.width if console.out.is_terminal else math.inf
    for pattern, shorter in (("   ", "  "), ("training ", "train"), ("validation ", "val"), (r"  +[\d.]+ s", "")):
        if len(text) > room:
            text = re.sub(pattern, shorter, text)
    return text


def _flow(metrics: list[dict]) -> None:
    """The gradients of the first and the last epoch, layer by layer, if they were recorded."""
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
    """Draw the run's figures. → their file names; without matplotlib print one sentence, and return none."""
    test = run.splits.test if run.splits.test is not None else run.validation
    image = run.splits.preprocessing.read(test.picture(0))
    try:
        made = []
        if run.metrics:
            plots.curves(run.metrics).savefig(run.folder / "curves.png")
            made.append("curves.png")
        plots.confusion(result.confusion, list(run.splits.classes), run.folder / "confusion.png")
        x = run.prepare(run.splits.preprocessing.normalise(image[None]))
        net_plots.first_layer(run.model, x, image, run.folder / "filters.png")
        return [*made, "confusion.png", "filters.png"]
    except ModuleNotFoundError as missing:
        console.note(f"no pictures: {missing}")
        return []


def _show_one(run: Run) -> None:
    """Predict one test image, and save it as a file for further commands."""
    from PIL import Image

    preprocessing, classes = run.splits.preprocessing, list(run.splits.classes)
    image, label = run.splits.test[0]
    where = run.folder / "sample.png"
    Image.fromarray(image.transpose(1, 2, 0).squeeze()).save(where)
    shown, name = foreign.terminal(where), foreign.terminal(classes[label])
    console.out.print(f"\nOne test image ({shown}), true class {name}:", markup=False, soft_wrap=True)
    p = classify(run.model.eval(), run.prepare(preprocessing.normalise(preprocessing.read(image)[None])))
    for bar in console.bars(classes, p):
        console.out.print(bar, markup=False)


def _what_next(run: Run) -> None:
    folder = quoted(str(run.folder))
    sample = run.folder / "sample.png" if run.splits.in_memory else run.splits.train.picture(0)
    sample = sample if isinstance(sample, Path) else "PICTURE"  # in a tar
    own = run.config.model == "graph"                      # its description is too long for a command
    options = {} if own else run.config.options
    chosen = "".join(f" --set {quoted(f'{key}={value if isinstance(value, str) else json.dumps(value)}')}"
                     for key, value in options.items())  # fmt: skip
    hints = {
        f"minicnn predict {folder} {quoted(str(sample))}":
            "your own pictures too; --invert for ink on paper" if run.splits.in_memory else "your own pictures too",
        f"minicnn eval {folder} --split train": "does it know its training images better?",
        f"minicnn summary {folder if own else run.config.model}{chosen}": "the net, layer by layer",
    }
    if run.config.weights:
        hints[f"minicnn eval {folder}"] = "results by class, and a picture of the worst mistakes"
    elif too_few(run.config.dataset, *_size(run)):
        hints[transfer_command(run.config.dataset)] = "a trained net, adapted to these few pictures"
    else:
        hints["minicnn gradcheck conv2d --sweep"] = "is the gradient of a convolution right?"
        data = run.config.dataset if run.splits.in_memory else quoted(run.config.dataset)
        model = "" if run.config.model == usual_model(run.config.dataset) else f" --model {run.config.model}"
        smoothing = "" if getattr(run.model, "loss", None) else " --label-smoothing 0.1"
        hints[f"minicnn train {data}{model}{chosen} --epochs {3 * run.config.epochs}{smoothing}"] = (
            "longer, with label smoothing" if smoothing else "longer")  # fmt: skip
    console.suggest("\nWhat to try next:", hints)


