"""minicnn data get | doctor | pack"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from minicnn import foreign
from minicnn.cli import console
from minicnn.cli.language import translated

if TYPE_CHECKING:
    from minicnn.data import doctor

app = typer.Typer(no_args_is_help=True, add_completion=False,
                  help="Download datasets; check and pack your own pictures.")

EXAMPLES = 3


@app.command("get")
def get(
    name: Annotated[str, typer.Argument(help="The dataset; `minicnn datasets` lists them.")],
    as_json: console.Json = False,
):
    """Download a dataset's official files, with their checksums; an interrupted download continues."""
    from minicnn.data import registry

    console.choose("dataset", name, registry.DATASETS)
    with _bar(DownloadColumn()) as bar:
        tasks: dict[str, int] = {}

        def progress(file: str, here: int, total: int):
            if file not in tasks:
                tasks[file] = bar.add_task(file, total=total)
            bar.update(tasks[file], completed=here)  # type: ignore[arg-type]

        new = registry.get(name, progress)
    where = registry.info(name).folder
    if as_json:
        return console.print_json({"dataset": name, "folder": str(where), "new": [str(path) for path in new]})
    what = console.count(len(new), "new file") if new else "all files are here already"
    console.say(f"{name}: {what}, in {where}", markup=False)


@app.command("doctor")
def examine(
    folder: Annotated[Path, typer.Argument(help="Your pictures: a folder for each class.")],
    picture: Annotated[
        Path | None, typer.Option("--sheet", help="Write a contact sheet: the problems, and some of each class.")
    ] = None,
    as_json: console.Json = False,
):
    """Check every picture of a folder: damaged, unusual, huge and duplicate ones; balance and sizes of the classes.

    The exit code is 1 if training would fail.
    """
    from minicnn.data import contact_sheet, doctor

    started = time.perf_counter()
    with _bar(MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task("checking pictures", total=None)
        tell = console.ticker("pictures checked") if bar.disable else lambda done, of: None

        def progress(done: int, of: int):
            bar.update(task, completed=done, total=of)
            tell(done, of)

        report = doctor.examine(folder, progress)
    seconds = time.perf_counter() - started
    if picture:
        contact_sheet.draw(contact_sheet.report_rows(report), picture)
    if as_json:
        console.print_json({**report.as_dict(), "sheet": str(picture) if picture else None, "seconds": seconds})
    else:
        _show(report, seconds)
        if picture:
            console.say(f"contact sheet: {foreign.terminal(picture)}", markup=False)
    if report.fatal:
        raise typer.Exit(1)


def _show(report: doctor.Report, seconds: float) -> None:
    from minicnn.data import doctor

    counts, sizes = report.counts(), report.sizes()
    console.say(f"{foreign.terminal(report.root)}: {console.count(len(report.pictures), 'picture')} in "
                f"{console.count(len(counts), 'class', 'classes')}, {seconds:.1f} s", markup=False)
    splits = sorted({split for row in counts.values() for split in row}, key=("train", "validation", "test", "").index)
    table = console.table("class", *(f">{split or 'pictures'}" for split in splits), ">share")
    for label, row in counts.items():
        share = f"{100 * sum(row.values()) / len(report.pictures):.1f} %"
        table.add_row(console.escape(label or "(in no class)"), *(f"{row.get(split, 0):,}" for split in splits), share)
    console.show(table)
    if sizes:
        table = console.table("size", ">least", ">median", ">most")
        for what, unit, scale in (("width", "pixels", 1), ("height", "pixels", 1), ("size", "kB", 1000)):
            table.add_row(f"{'file' if what == 'size' else what}, {unit}", *(f"{v / scale:,.0f}" for v in sizes[what]))
        console.show(table)
        seen = [f"{meaning} ({n:,})" for meaning, n in report.samples().items()]
        console.say(f"depth and colours: {', '.join(seen)}", markup=False)
    if report.problems:
        table = console.table("problem", ">files", "what it means", "such as")
        for kind, names in report.problems.items():
            stops, meaning = doctor.KINDS[kind]
            more = f" and {len(names) - EXAMPLES} more" if len(names) > EXAMPLES else ""
            table.add_row(f"[red]{kind}[/]" if stops else kind, str(len(names)), translated(meaning),
                          console.escape(", ".join(names[:EXAMPLES]) + more))
        console.show(table)
    for groups, word in ((report.exact, "the same file"), (report.near, "nearly the same")):
        for group in groups[:EXAMPLES]:
            console.say(foreign.terminal(f"{word}: {', '.join(group)}"), markup=False)
        if len(groups) > EXAMPLES:
            console.say(f"… and {len(groups) - EXAMPLES} more groups of {word}; --json lists all", markup=False)
    for note in report.notes():
        console.say(foreign.terminal(note), markup=False)
    totals = [sum(row.values()) for row in counts.values()]
    if totals and max(totals) > 10 * min(totals):
        console.say(f"The largest class has {max(totals) / min(totals):.0f} times as many pictures as the smallest: "
                    "accuracy says little about the small ones; class weights or more pictures help.", markup=False)
    if report.structure:
        console.say(foreign.terminal(f"not ready to train: {report.structure}"), markup=False)
    elif report.fatal:
        console.say("not ready to train: remove the files that are marked as empty, corrupt, truncated, too large, "
                    "not read or with an outside link, or save them again", markup=False)
    else:
        from minicnn.train.usual import advice

        console.say(f"ready to train; {advice(str(report.root), len(report.pictures), len(counts))}", markup=False)


@app.command("pack")
def pack(
    folder: Annotated[Path, typer.Argument(help="Your pictures: a folder for each class.")],
    out: Annotated[Path, typer.Argument(help="A new folder for the tars.")],
    size: Annotated[int, typer.Option(help="Megabytes per tar file.", min=1)] = 256,
    validation: Annotated[float, typer.Option(help="Share for validation, if the folder has no split of it.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share for testing, if the folder has no splits.")] = 0.15,
    seed: Annotated[int, typer.Option(help="Seed of the splits and of the order.")] = 0,
    as_json: console.Json = False,
):
    """Pack a folder of pictures into tar shards (webdataset's layout), for data that is too large for a folder."""
    from minicnn.data import shards
    from minicnn.data.folder import ImageFolder

    pictures = ImageFolder(folder, validation=validation, test=test, seed=seed)
    made = []
    with _bar(MofNCompleteColumn()) as bar:
        task = bar.add_task("packing", total=None)
        for path in shards.pack(pictures, out, size=size * 10**6, seed=seed):
            made.append(path)
            bar.update(task, completed=len(made))
    if as_json:
        count = len(pictures.samples)
        return console.print_json({"folder": str(out), "pictures": count, "tars": [path.name for path in made]})
    counts = (console.count(len(pictures.samples), "picture"), console.count(len(pictures.classes), "class", "classes"),
              console.count(len(made), "tar file"))  # fmt: skip
    console.say(foreign.terminal(f"{out}: {counts[0]} of {counts[1]} in {counts[2]}; `minicnn train {out}` reads them"),
                markup=False)


def _bar(*columns) -> Progress:
    """A progress bar on stderr, because stdout is for the result; none on a pipe."""
    return Progress(TextColumn("{task.description}"), BarColumn(), *columns, transient=True,
                    console=Console(stderr=True), disable=not sys.stderr.isatty())
