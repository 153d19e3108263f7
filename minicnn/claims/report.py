"""The results of all claims: collected from the folders of their experiments, as a page in Markdown with pictures."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minicnn import atomic
from minicnn.claims import figures, files
from minicnn.claims.claim import Claim, Comparison
from minicnn.claims.engine import ROOT, cpu_seconds
from minicnn.claims.statistics import t_interval
from minicnn.inspect.plots import write as write_figure

Results = dict[int, dict[str, Any]]
"""{series: its result}, of one claim at one size."""

COSTS = Path(__file__).with_name("costs.json")


def costs() -> dict[str, float]:
    """{claim: CPU seconds of its small size, measured with one training of each arm}, of benchmarks/claims.py."""
    return json.loads(COSTS.read_bytes())["core_seconds"]


def collect(name: str, size: str = "small", root: Path = ROOT, saved: Path | None = None) -> Results:
    """The results of a claim whose file has not changed since: those in `root`, and those saved beside a page."""
    sha256, found = files.digest(name), {}
    places = [saved / f"{name}-{size}.json"] if saved else []
    for place in [*places, *sorted(root.glob(f"{name}-{sha256[:8]}-{size}*/result.json"))]:
        for result in _read(place):
            if result.get("sha256") == sha256 and result.get("size") == size:
                seconds = cpu_seconds(place.parent)
                found[result["series"]] = result | ({"cpu_seconds": round(seconds)} if seconds else {})
    return dict(sorted(found.items()))


def _read(path: Path) -> list[dict[str, Any]]:
    """The results in a file: one, or a list of them; none where it is missing or damaged."""
    try:
        held = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return []
    return [result for result in (held if isinstance(held, list) else [held]) if isinstance(result, dict)]


def write(page: Path, size: str = "small", root: Path = ROOT) -> list[Path]:
    """Write the page, and beside it, in a folder of the page's name, each claim's results and picture. → the files

    Results that are already there, and whose claim files have not changed, stay.
    """
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    made, results = [page], {}
    for name in files.NAMES:
        results[name] = collect(name, size, root, folder)
        if results[name]:
            lines = ",\n".join(json.dumps(result, ensure_ascii=False) for result in results[name].values())
            atomic.write(folder / f"{name}-{size}.json", f"[\n{lines}\n]\n".encode())
            first = next(iter(results[name].values()))
            write_figure(figures.draw(files.load(name), first), folder / f"{name}.png")
            made += [folder / f"{name}-{size}.json", folder / f"{name}.png"]
        else:
            for old in (folder / f"{name}-{size}.json", folder / f"{name}.png"):   # of an older claim file
                old.unlink(missing_ok=True)
    atomic.write(page, text_of(results, size, folder.name).encode())
    return made


# ----------------------------------------------------------------------------------------------------------------- text

TOP = """# The claims lab

What lecture notes and papers say, measured on two cores, with an interval and a verdict. `minicnn claim report --write
docs/claims.md` writes this page from the results; nothing on it is written by hand.

- `minicnn claim list` shows the claims, `minicnn claim dropout` runs one, `minicnn claim all` all of them. A stopped or
  killed one continues with the same command. `minicnn claim mine.py` runs a claim of your own, written as ours are.
- A claim is [one small file](../minicnn/claims/catalogue/dropout.py): the sentence and its source, the experiment, and
  the threshold of the verdict, all written before the first run. Its SHA-256 is in every result; whoever changes the
  rule after the run gets another number, and the results of the old file are no longer shown.
- Each seed draws training images, weights and order; all arms of a seed share them. Each arm has its own best learning
  rate, chosen by a pilot on other seeds and on validation images. Test images are opened after each training.
- The interval is for the mean of the paired differences, or of their logarithms for a ratio: Student's t, or the
  studentised bootstrap. With k comparisons it has the level 1 − 0.05/k. It covers the draw of the seeds; the test
  images are the same for all seeds. [How often it contains the truth](results.md#the-intervals-of-the-claims-lab).
- **Holds**: the whole interval lies on the claimed side of the threshold. **Does not hold**: it lies on the other side.
  Otherwise **this size cannot tell**. [The whole rule](../minicnn/claims/verdict.py), also for trainings that diverge
  or do not reach their goal.
- "Again" is the same experiment with other seeds, `--series 2`, pilot included.
- `--seeds 3` is a quick look with wider intervals. Its result replaces that of all seeds, until the same command
  without `--seeds` restores it from the trainings that it kept.
- `--size paper` is the source's own setting, or the nearest that minicnn's datasets allow, for who has a GPU and a
  night. It has not been run for this page.
"""


def text_of(results: Mapping[str, Results], size: str, folder: str) -> str:
    """The page: how it works, a table of all claims, and a section for each."""
    lines = [TOP, "| claim | verdict | again | measured | the source says | CPU minutes |", "|---|---|---|---|---|---|"]
    for name in files.NAMES:
        claim, own = files.load(name), results[name]
        first, second = (own.get(series) for series in (1, 2))
        minutes = f"{first['cpu_seconds'] / 60:.1f}" if first and "cpu_seconds" in first else _about(name)
        told = [_measured(c, o) for c, o in zip(claim.comparisons, first["outcomes"])] if first else ["–"]
        published = [f"{c.published:g} {c.unit}" if c.published is not None else "–" for c in claim.comparisons]
        lines.append(f"| [{name}](#{name}) | {_verdict(first)} | {_verdict(second)} | {'; '.join(told)} | "
                     f"{'; '.join(dict.fromkeys(published))} | {minutes} |")  # fmt: skip
    done = sum(1 for own in results.values() if own)
    lines += ["", f"{done} of {len(results)} claims were run at the size {size}."]
    if agree := [name for name, own in results.items() if {1, 2} <= own.keys()]:
        same = [name for name in agree if len({own["verdict"] for own in results[name].values()}) == 1]
        differ = [name for name in agree if name not in same]
        lines[-1] += (f" {len(agree)} were repeated with other seeds: {len(same)} gave the same verdict"
                      + (f", {', '.join(differ)} another one." if differ else "."))  # fmt: skip
    lines.append(_environment(results))
    for name in files.NAMES:
        lines += section(files.load(name), results[name], size, folder)
    return "\n".join(map(_wrapped, lines)).rstrip() + "\n"


def _wrapped(line: str) -> str:
    """A paragraph with lines of at most 120 columns; tables, titles and pictures stay as they are."""
    if "\n" in line or line.startswith(("|", "#", "!")):
        return line
    return textwrap.fill(line, 120, break_long_words=False, break_on_hyphens=False)


def _environment(results: Mapping[str, Results]) -> str:
    found = [own[s]["environment"] for own in results.values() for s in own if own[s].get("environment")]
    if not found:
        return ""
    each = dict.fromkeys(f"minicnn {e['minicnn']}, NumPy {e['numpy']}, {e['cpu_path']} kernels, {e['system']} "
                         f"{e['machine']}" for e in found)  # fmt: skip
    return f"Measured with {'; '.join(each)}; one thread for each training."


def section(claim: Claim, results: Results, size: str, folder: str) -> list[str]:
    """The page's section about a claim."""
    file = files.path(claim.name)
    plan, sha256 = claim.plan(size), files.digest(claim.name)
    lines = ["", f"## {claim.name}", "", "**What is said.** " + claim.sentence, "", f"Source: {claim.source}.", ""]
    where = [c for c in claim.comparisons if c.published is not None]
    lines += [f"The source's number: {c.published:g} {c.unit} ({c.published_where})." for c in where]
    lines += [""] * bool(where)
    experiment = (f"[{file.name}](../minicnn/claims/catalogue/{file.name}), SHA-256 `{sha256[:16]}…`: "
                  f"{_plan(plan)}.")  # fmt: skip
    if not results:
        return [*lines, f"**Not run yet** at this size: `minicnn claim {claim.name}` takes {_about(claim.name)} CPU "
                f"minutes. {experiment}",
                "", f"**What would change our mind.** {claim.doubt}"]  # fmt: skip
    first = next(iter(results.values()))
    lines += [f"**What we measured: {first['verdict']}.** {experiment}", ""]
    lines += ["| comparison | threshold | " + " | ".join(f"series {s}" for s in results) + " |",
              "|---|---|" + "---|" * len(results)]  # fmt: skip
    for i, comparison in enumerate(claim.comparisons):
        sign = "at least" if comparison.at_least is not None else "at most"
        cells = [f"{_measured(comparison, r['outcomes'][i])}: {r['outcomes'][i]['verdict']}" for r in results.values()]
        lines.append(f"| {comparison.says} | {sign} {comparison.threshold:g} {comparison.unit} | "
                     f"{' | '.join(cells)} |")  # fmt: skip
    for result in results.values():
        if said := notes(result):
            lines += ["", f"Series {result['series']}: {'; '.join(said)}."]
    picture = f"![Every seed of {claim.name}, and the intervals]({folder}/{claim.name}.png)"
    lines += ["", *_arms(claim, first), "", picture]
    if len(results) > 1:
        verdicts = [result["verdict"] for result in results.values()]
        agree = "gave the same verdict" if len(set(verdicts)) == 1 else f"disagreed: {'; '.join(verdicts)}"
        lines += ["", f"The {len(verdicts)} series of seeds {agree}."]
    lines += ["", f"**What it means.** {claim.meaning[first['verdict']]}", "",
              f"**What would change our mind.** {claim.doubt}"]  # fmt: skip
    return lines


def _about(name: str) -> str:
    return f"about {costs()[name] / 60:.1f}" if name in costs() else "some"


def _plan(plan: Any) -> str:
    images = f"{plan.train:,} training images of {plan.data}" if plan.train else f"the training images of {plan.data}"
    what = f"{plan.epochs} epochs of {images}" if plan.epochs else f"{images}, no training"
    return f"{what}, {plan.seeds} seeds"


def notes(result: Mapping[str, Any]) -> list[str]:
    """What a reader must know about a result: other seeds than planned, trainings that failed, a rate at the edge."""
    found, count = [], len(result["seeds"])
    if count != result["planned_seeds"]:
        found.append(f"{count} seeds were run instead of the {result['planned_seeds']} that the file says")
    for arm, told in result["arms"].items():
        if told["diverged"]:
            found.append(f"{told['diverged']} of {count} trainings of {arm} diverged")
        if told["reached"] < count:
            found.append(f"{count - told['reached']} of {count} trainings of {arm} did not reach the goal")
        if told["at_edge"]:
            found.append(f"the best rate of {arm}, {told['rate']:g}, is at the end of the rates that were tried")
    return found + [f"{o['says']}: {o['reason']}" for o in result["outcomes"] if o["reason"]]


def _arms(claim: Claim, result: Mapping[str, Any]) -> list[str]:
    """A table of the arms: learning rate, and mean with interval of what the picture shows."""
    layered = isinstance(claim.shown, str) and claim.shown.startswith("layers:")
    if layered:
        quantity = claim.comparisons[0].first[1]
        rows = {arm: told["values"][quantity] for arm, told in result["arms"].items()}
        lines = [f"| arm | {quantity.replace('_', ' ')}, geometric mean |", "|---|---|"]
        return [*lines, *(f"| {arm} | {number(float(np.exp(np.log(x).mean())))} |" for arm, x in rows.items())]
    lines = [f"| | learning rate | {claim.shown_label}, mean and 95 % interval |", "|---|---|---|"]
    for name, numbers in figures.shown(claim, result).items():
        rate = result["arms"].get(name, next(iter(result["arms"].values())))["rate"]
        if np.isfinite(numbers).all():
            mean, low, high = t_interval(numbers)
            lines.append(f"| {name} | {rate:g} | {mean:.2f} ({low:.2f} to {high:.2f}) |")
        else:
            lines.append(f"| {name} | {rate:g} | – |")
    return lines


def _verdict(result: Mapping[str, Any] | None) -> str:
    return f"**{result['verdict']}**" if result else "not run yet"


def _measured(comparison: Comparison, outcome: Mapping[str, Any]) -> str:
    """"0.42 points (0.10 to 0.74)"""
    if outcome["estimate"] is None:
        return "no interval"
    numbers = [number(outcome[key]) for key in ("estimate", "low", "high")]
    return f"{numbers[0]} {comparison.unit} ({numbers[1]} to {numbers[2]})"


def number(x: float) -> str:
    """A measured number with three significant digits; powers of ten beyond 10⁵."""
    if x == 0 or 1e-3 <= abs(x) < 1e5:
        return f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}" if abs(x) < 1 else f"{x:.2f}"
    mantissa, exponent = f"{x:.1e}".split("e")
    return f"{mantissa}·10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
