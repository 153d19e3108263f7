"""Writes docs/benchmarks-gpu.md and its pictures from benchmarks/results/gpu.json alone; `benchmarks.render` calls it.

    python -m benchmarks.render_gpu --results FOLDER --page FILE --pictures FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from benchmarks import pictures
from benchmarks.gpu import BOTH, PRECISIONS, TF32, crossing
from benchmarks.harness import RESULTS, ROOT
from benchmarks.markdown import circumstances, ms, table
from minicnn.bench.conv import POLICY, WHAT

PAGE, PICTURES = ROOT / "docs" / "benchmarks-gpu.md", ROOT / "docs" / "pictures"

INTRO = """\
# Benchmarks on a GPU

How fast minicnn's own CUDA kernels are, beside the CPU and beside PyTorch, whose convolutions are cuDNN's. This page is
written by `python -m benchmarks.render` from [gpu.json](../benchmarks/results/README.md); no number on it was typed.
`make gpu-report` measures all of it on a machine with a GPU, in under eight minutes and without a network: the tests on
the GPU, compute-sanitizer, and these benchmarks, their results in one folder. [How the kernels work](gpu.md).
"""

NOTHING = """\
**Not measured yet**: no GPU has been had. Every kernel has been run on the emulated device and compiled for its
targets, which says what it computes and what it needs, and nothing about its speed.
"""

REHEARSAL = """\
**A rehearsal on a GPU that is emulated: no time and no ratio on this page means anything.**
"""

EXPLAINED = """\
Times are taken by the GPU's own events, around as many calls as fill two milliseconds, in turns; medians; "± x %" is
half the distance between the quartiles. Each result is first compared with float64, and what is wrong is not timed.
*fp32*: no product is rounded; PyTorch with TF32 off. *tf32*: `minicnn.allow_tf32()`, and PyTorch with TF32 on, which
for convolutions is its default. PyTorch runs eagerly with `cudnn.benchmark`, contiguous and channels last, and the
faster layout counts. Ratios are the other's time divided by ours: **above 1 minicnn's GPU path is faster**.
"""


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of gpu.json")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="the folder for its pictures")
    args = parser.parse_args(argv)
    write(args.results, args.page, args.pictures)


def write(results: Path, page: Path, folder: Path) -> None:
    """The page, as far as there are results."""
    for needed in (page.parent, folder):
        needed.mkdir(parents=True, exist_ok=True)
    path, parts = results / "gpu.json", [INTRO]
    if path.exists():
        document = json.loads(path.read_text(encoding="utf-8"))
        parts += [REHEARSAL] * rehearsed(document) + [EXPLAINED]
        for section in (verdicts, roofs, convolutions, nets, growth, transfers, problems):
            parts += section(document, lambda name: _picture(folder / name, page))
        parts.append(circumstances(document))
    else:
        parts.append(NOTHING)
    page.write_text("\n".join(parts), encoding="utf-8")
    print(f"written: {page}")


def _picture(path: Path, page: Path) -> tuple[Path, str]:
    """Where to draw, and what the page calls it."""
    return path, os.path.relpath(path, page.parent).replace(os.sep, "/")


def verdicts(document: dict, picture) -> list[str]:
    """One line for each comparison."""
    lines = [f"- {what}: **×{of['geometric_mean']:.2f}** (geometric mean of {of['cases']}; from ×{of['worst']:.2f} "
             f"to ×{of['best']:.2f}; ours faster in {of['faster']})" for what, of in document["summary"].items()]
    return ["\n".join(lines) + "\n"] if lines else []


def roofs(document: dict, picture) -> list[str]:
    """What the GPU reaches at best."""
    rates = document.get("rates")
    if not rates:
        return []
    gpu = _gpu(document)
    peak = f" of {gpu['peak_fp32'] / 1e12:.0f} at its highest clock" if gpu.get("peak_fp32") else ""
    return [f"## Roofs\n\n{gpu.get('gpu', 'The GPU')}: a copy within its memory moves "
            f"{rates['copy_bytes'] / 1e9:,.0f} GB/s, counting bytes read and written. A product of two large matrices "
            f"by cuBLAS runs at {rates['product_flops'] / 1e12:.1f} TFLOP/s in float32{peak}, and at "
            f"{rates['product_tf32_flops'] / 1e12:.1f} with TF32. Small kernels follow each other every "
            f"{1e6 * rates['launch']:.1f} µs.\n"]  # fmt: skip


def convolutions(document: dict, picture) -> list[str]:
    """The suite, and every algorithm."""
    rows, rates, peak = document.get("conv"), document.get("rates") or {}, _gpu(document).get("peak_fp32")
    if not rows:
        return []
    torch = any("vs_torch" in row for row in rows)
    head = ["layer", "N×C×H×W → O, window", "algorithm", "forward µs", "dx µs", "dw µs", "TFLOP/s"]
    head += ["% of peak"] * bool(peak) + ["% of copy"] * bool(rates) + ["CPU / GPU"]
    head += [f"PyTorch {p}: forward, all" for p in PRECISIONS] * torch
    body = []
    for row in rows:
        mine = row["algorithms"][POLICY]
        seconds = mine["forward"]["median"]
        cells = [row["name"], row["label"], row["policy"], *(us(mine[what]) for what in WHAT),
                 f"{2e-12 * row['macs'] / seconds:.1f}"]  # fmt: skip
        cells += [f"{200 * row['macs'] / seconds / peak:.0f}"] if peak else []
        cells += [f"{100 * row['bytes'] / seconds / rates['copy_bytes']:.0f}"] if rates else []
        cells.append(f"{row['vs_cpu']:.0f}")
        if torch:
            cells += [f"{of['forward']:.2f} {of[BOTH]:.2f}" for of in row.get("vs_torch", {}).values()] or ["", ""]
        body.append(cells)
    parts = ["## Convolutions\n", table(head, body), COLUMNS]
    body = []
    for row in rows:
        for name, of in row["algorithms"].items():
            if name != POLICY:
                space = [of[what]["workspace_bytes"] for what in WHAT]
                body.append([row["name"], name, *(f"{1e6 * of[what]['median']:.1f}" for what in WHAT),
                             " ".join("?" if s is None else f"{s / 1e6:.1f}" for s in space),
                             f"{max(of[what]['error'] for what in WHAT):.0e}"])  # fmt: skip
    parts += ["### Every algorithm\n",
              table(["layer", "algorithm", "forward µs", "dx µs", "dw µs", "workspace MB", "error"], body),
              f"*{TF32}*: the policy's choice with products rounded to TF32. *workspace*: what a call takes of the "
              "GPU's memory beside arguments and result, for forward, dx and dw. *error*: the largest, as a share of "
              "the result's largest value.\n"]  # fmt: skip
    if torch:
        for precision in PRECISIONS:
            errors = [e for row in rows if "torch" in row for key, of in row["torch"]["error"].items()
                      if key.startswith(precision) for e in of.values()]  # fmt: skip
            mine = [row["algorithms"][POLICY if precision == "fp32" else TF32][what]["error"]
                    for row in rows for what in WHAT]  # fmt: skip
            parts.append(f"Largest error of all cases in {precision}: {max(mine):.0e} ours, {max(errors):.0e} "
                         "PyTorch's.\n")  # fmt: skip
    return parts


COLUMNS = """\
*TFLOP/s*: 2·N·O·(C/G)·KH·KW·OH·OW operations in the forward time; *% of peak*: of the float32 units at the highest
clock, which tensor cores and Winograd's algorithm can pass; *% of copy*: the bytes of images, filters and output, once
each, in the forward time, as a share of the copy above. *CPU / GPU*: forward with all gradients. *PyTorch*: forward
alone, and forward with dx, dw and db.
"""


def nets(document: dict, picture) -> list[str]:
    """Times of whole nets, and their picture."""
    rows = document.get("nets")
    if not rows:
        return []
    torch, body = any("vs_torch" in row for row in rows), []
    for row in rows:
        for what, of in row["times"].items():
            images = row["batch"] if what == "step" else int(what.split()[1])
            name = f"training step, {images} images" if what == "step" else f"answer to {images}"
            cells = [row["name"], name, ms(of["fp32"]), f"{1000 * of['tf32']['median']:.2f}",
                     f"{images / of['fp32']['median']:,.0f}", f"{1000 * row['cpu'][what]['median']:.1f}",
                     f"{row['vs_cpu'][what]:.1f}"]  # fmt: skip
            cells += [f"{row['vs_torch'][p][what]:.2f}" if "vs_torch" in row else "" for p in PRECISIONS] * torch
            body.append(cells)
    head = ["net", "", "GPU fp32 ms", "tf32 ms", "images/s", "CPU ms", "CPU / GPU"]
    parts = ["## Whole nets\n", table(head + [f"PyTorch {p}" for p in PRECISIONS] * torch, body),
             "The images lie on the GPU already. *training step*: forward, backward and SGD with momentum.\n"]
    body = [[row["name"], "×".join(map(str, (row["batch"], *row["shape"]))), f"{1000 * row['to_gpu']['median']:.3f}",
             f"{100 * row['to_gpu']['median'] / row['times']['step']['fp32']['median']:.1f}",
             "?" if row["gpu_bytes"] is None else f"{row['gpu_bytes'] / 1e6:,.0f}"] for row in rows]  # fmt: skip
    parts.append(table(["net", "batch", "to the GPU ms", "% of a step", "memory MB"], body))
    path, link = picture("gpu-nets.svg")
    pictures.gpu_nets(rows, path)
    return [*parts, f"![Training steps a second on CPU, GPU and in PyTorch]({link})\n"]


def growth(document: dict, picture) -> list[str]:
    """From which size on the GPU is the faster one."""
    rows = document.get("growth")
    if not rows:
        return []
    body = [[str(row["side"]), f"{1e6 * row['cpu']['median']:.0f}",
             *(f"{1e6 * row['gpu'][way]['median']:.0f}" for way in ("there", "there and back"))] for row in rows]
    told = []
    for way, words in (("there", "with its arrays on the GPU"), ("there and back", "with the transfers")):
        side = crossing(rows, way)
        told.append(f"{words}, " + (f"from {side}×{side} pixels on" if side else "at no size measured"))
    path, link = picture("gpu-growth.svg")
    pictures.gpu_growth(rows, path)
    return ["## From which size on\n",
            "A 3×3 convolution of one image with 16 channels, as somebody waits for it. The GPU is the faster one "
            f"{'; '.join(told)}.\n", table(["side", "CPU µs", "GPU µs", "there and back µs"], body),
            f"![Time against multiplications on CPU and GPU, with and without transfers]({link})\n"]  # fmt: skip


def transfers(document: dict, picture) -> list[str]:
    """What it costs to bring data there and back."""
    ways = document.get("transfer")
    if not ways:
        return []
    body = [[f"{rows[0]['bytes']:,}", *(cell for row in rows for cell in (
        f"{1e6 * row['median']:.1f}", f"{row['bytes'] / row['median'] / 1e9:.1f}"))] for rows in zip(*ways.values())]
    head = ["bytes", *(cell for way in ways for cell in (f"{way} µs", "GB/s"))]
    return ["## Transfers\n", table(head, body), "From NumPy's memory and to it, as `Tensor.to` and `numpy()` do.\n"]


def problems(document: dict, picture) -> list[str]:
    """What could not be measured."""
    found = document.get("problems")
    return ["## What failed\n", *[f"- {p['what']}: {p['problem']}" for p in found], ""] if found else []


def us(spread: dict) -> str:
    """"12.3 ± 2 %" in microseconds."""
    half = 50 * (spread["q3"] - spread["q1"]) / spread["median"]
    return f"{1e6 * spread['median']:.1f} ± {half:.0f} %"


def rehearsed(document: dict) -> bool:
    """Whether it was no GPU that was measured."""
    return "emulated" in _gpu(document).get("gpu", "")


def _gpu(document: dict) -> dict:
    return next((c for c in document["competitors"] if c["name"] == "gpu"), {})


if __name__ == "__main__":
    main()
