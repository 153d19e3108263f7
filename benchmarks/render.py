"""Writes docs/benchmarks.md, benchmarks-gpu.md and pictures from benchmarks/results/*.json: no number is typed by hand.

    python -m benchmarks.render
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from benchmarks import pictures, render_gpu
from benchmarks.harness import RESULTS, ROOT
from benchmarks.markdown import circumstances, ms, table
from minicnn.bench.conv import POLICY, WHAT

PAGE, PICTURES = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "pictures"
BOTH = "forward+backward"
ORDER = ("forward", "dx", "dw", "backward", BOTH, "step", "infer 1", "infer 32")

INTRO = """\
# Benchmarks

How fast minicnn is on a CPU, and beside what. This page is written by `python -m benchmarks.render` from the JSON files
in [benchmarks/results](../benchmarks/results/README.md); no number on it was typed. `make bench` measures everything
again and writes the page; `make bench TORCH_PYTHON=PATH/TO/python` compares with PyTorch, which that interpreter can
import. Your own machine, layer by layer: `minicnn bench conv` and `minicnn bench model resnet20`.

Everything is float32. Each result is first compared with float64, and what is wrong is not timed. Competitors have
processes of their own and take turns, round after round. Times are medians; "± x %" is half the distance between the
quartiles. PyTorch is run eagerly in both of its memory layouts, and the faster one counts. Ratios are PyTorch's time
divided by ours: **above 1 minicnn is faster**.
"""


def main(argv: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON files are")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="the folder for its pictures")
    args = parser.parse_args(argv)
    args.page.parent.mkdir(parents=True, exist_ok=True)
    args.page.write_text(page(args.results, args.page, args.pictures), encoding="utf-8")
    print(f"written: {args.page}")
    render_gpu.write(args.results, args.page.with_name(render_gpu.PAGE.name), args.pictures)


def page(results: Path, where: Path, folder: Path) -> str:
    """The whole page, as far as there are results."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [INTRO]
    for name, title, render in SECTIONS:
        parts.append(f"## {title}\n")
        path = results / f"{name}.json"
        if not path.exists():
            alone = name in ("steps", "scaling")                   # nobody to compare with
            parts.append(f"Not measured yet: `python -m benchmarks.{name}{'' if alone else ' --vs torch'}`.\n")
            continue
        document = json.loads(path.read_text(encoding="utf-8"))
        parts += [*render(document, lambda file: _picture(folder / file, where)), circumstances(document)]
    return "\n".join(parts)


def _picture(path: Path, where: Path) -> tuple[Path, str]:
    """Where to draw, and what the page calls it."""
    return path, os.path.relpath(path, where.parent).replace(os.sep, "/")


# -------------------------------------------------------------------------------------------------------- the sections


def convolutions(document: dict, picture) -> list[str]:
    """Two tables, the roofline, what the columns are."""
    rates, rows = document["rates"], document["cases"]
    gemm, copy = rates["gemm_flops"], rates["copy_bytes"]
    parts = [f"A large matrix product reaches {gemm / 1e9:.0f} GFLOP/s here, a copy {copy / 1e9:.0f} GB/s.\n"]
    for key, whom in (("vs_torch", "PyTorch"), ("vs_default", "PyTorch's default layout"),
                      ("vs_textbook", "the textbook's im2col")):  # fmt: skip
        parts += verdict(document, key, whom)
    path, link = picture("roofline.svg")
    pictures.roofline(rows, gemm, copy, path)
    parts.append(f"![Roofline: FLOPs per byte against GFLOP/s, for each convolution]({link})\n")
    torch, book = any("torch" in r for r in rows), any("textbook" in r for r in rows)
    head = ["layer", "N×C×H×W → O, window", "forward ms", "dx ms", "dw ms", "GFLOP/s", "% of GEMM"]
    head += ["textbook: forward, dx, dw"] * book + ["PyTorch: forward", "with all gradients"] * torch
    body = []
    for row in rows:
        mine = row["algorithms"][POLICY]
        cells = [row["name"], row["label"], *(ms(mine[what]) for what in WHAT),
                 f"{mine['forward']['flops'] / 1e9:.0f}", f"{100 * mine['forward']['of_gemm']:.0f}"]  # fmt: skip
        if book:
            cells.append(" ".join(f"{row['vs_textbook'][what]:.1f}" for what in WHAT) if "textbook" in row else "")
        if torch:
            cells += [f"{row['vs_torch'][what]:.2f}" for what in ("forward", BOTH)] if "torch" in row else ["", ""]
        body.append(cells)
    parts.append(table(head, body))
    parts.append(COLUMNS_CONV)
    parts.append("### Every algorithm\n")
    body = []
    for row in rows:
        for name, of in row["algorithms"].items():
            if name == POLICY:
                continue
            star = [" *" * (row["policy"][what] == name) for what in WHAT]
            body.append([row["name"], name, *(f"{1000 * of[what]['median']:.2f}{s}" for what, s in zip(WHAT, star)),
                         " ".join(f"{of[what]['workspace_bytes'] / 1e6:.1f}" for what in WHAT),
                         f"{max(of[what]['error'] for what in WHAT):.0e}"])  # fmt: skip
    parts.append(table(["layer", "algorithm", "forward ms", "dx ms", "dw ms", "workspace MB", "error"], body))
    parts.append("Times, memory and the largest error of each algorithm that is able to compute the layer; * is what "
                 "minicnn takes. Workspace is the most memory held at once beside the arguments and the result, for "
                 "forward, dx and dw.\n")
    if torch:
        worst = max(e for r in rows if "torch" in r for of in r["torch"]["error"].values() for e in of.values())
        ours = max(of[what]["error"] for r in rows for of in [r["algorithms"][POLICY]] for what in WHAT)
        parts.append(f"Largest error of all cases, as a share of the result's largest value: {ours:.0e} ours, "
                     f"{worst:.0e} PyTorch's.\n")
    return parts


COLUMNS_CONV = """\
*forward, dx, dw*: the output and its gradients with respect to the images and the filters, each a call of its own.
*GFLOP/s*: 2·N·O·(C/G)·KH·KW·OH·OW operations, those on padding among them, in the forward time. *% of GEMM*: the same
as a share of the matrix product's rate above, on as many threads; Winograd's algorithm multiplies less than the formula
says, and can pass 100. *textbook*: the time of im2col and NumPy's own matrix product on all cores, divided by ours.
*PyTorch*: its time divided by ours, forward alone, and forward with dx, dw and db through autograd on both sides.
"""


def layers(document: dict, picture) -> list[str]:
    """One table."""
    body = []
    for row in document["cases"]:
        for what, spread in row["times"].items():
            alone = "backward" not in row["times"]
            cells = [row["name"], "×".join(map(str, row["shape"])), "update" if alone else what, ms(spread),
                     f"{row['bytes_per_second'][what] / 1e9:.1f}"]  # fmt: skip
            if "vs_torch" in row:
                cells += [f"{1000 * row['better'][what][1]:.2f}", f"{row['vs_torch'][what]:.2f}"]
            body.append(cells)
    torch = any("vs_torch" in row for row in document["cases"])
    head = ["layer", "shape", "", "ms", "GB/s", *["PyTorch ms", "PyTorch / ours"] * torch]
    return [*verdict(document, "vs_torch", "PyTorch"), table(head, body),
            "*GB/s*: the bytes that the layer must move at least, each array that it needs read or written once, in "
            "that time. *backward*: the gradients of the input and the parameters, the forward pass not counted.\n"]


def nets(document: dict, picture) -> list[str]:
    """Times and memory."""
    parts, body = verdict(document, "vs_torch", "PyTorch"), []
    for row in document["cases"]:
        for what, spread in row["times"].items():
            name = f"training step, {row['batch']} images" if what == "step" else (
                f"answer to {what.split()[1]} image{'s' * (what != 'infer 1')}")
            cells = [row["name"], "×".join(map(str, row["shape"])), name, ms(spread),
                     f"{row['images_per_second'][what]:.0f}"]  # fmt: skip
            if "vs_torch" in row:
                cells += [f"{1000 * row['better'][what][1]:.2f}", f"{row['vs_torch'][what]:.2f}"]
            body.append(cells)
    torch = any("vs_torch" in row for row in document["cases"])
    parts.append(table(["net", "image", "", "ms", "images/s", *["PyTorch ms", "PyTorch / ours"] * torch], body))
    agreed = "Both sides have the same weights, and their logits agree. " if torch else ""
    parts.append("*training step*: forward, backward and SGD with momentum. *answer*: eval mode, nothing recorded. "
                 f"{agreed}vgg11_cifar is VGG-11's convolutions with one linear layer; alexnet is the paper's, two "
                 "towers and response norm.\n")
    path, link = picture("nets.svg")
    pictures.nets(document["cases"], path)
    drawn = "PyTorch's time divided by minicnn's, net by net" if torch else "Images a second, net by net"
    parts.append(f"![{drawn}]({link})\n")
    body = []
    for row in document["cases"]:
        cells = [row["name"], str(row["batch"]), f"{row['parameters']:,}", mb(row["memory"])]
        cells += [mb(row["torch_memory"][layout]) for layout in row["torch_memory"]] if "torch_memory" in row else []
        body.append(cells)
    heads = ["PyTorch contiguous MB", "PyTorch channels last MB"] * torch
    parts.append(table(["net", "images", "parameters", "minicnn MB", *heads], body))
    parts.append("The most memory that a process of its own held in two training steps; in brackets, what it held "
                 "before the net was made: the interpreter and the libraries.\n")
    return parts


def steps(document: dict, picture) -> list[str]:
    """Op by op, forward and backward, before and now."""
    parts, when = [], ["before", "now"] if document["before"] else ["now"]
    for row in document["cases"]:
        spent = {w: row[w]["ops"] for w in when}
        most = {name: max(taken({name: spent[w].get(name, {})}) for w in when) for w in when for name in spent[w]}
        body = []
        for name in sorted((name for name in most if most[name] >= 1e-5), key=lambda name: -most[name]):
            both = [spent[w].get(name, {}).get(way, 0) for w in when for way in ("forward", "backward")]
            body.append([name, *(f"{1000 * seconds:.2f}" for seconds in both)])
        body.append(["**the whole step**", *(cell for w in when for cell in (f"**{1000 * row[w]['step']:.1f}**", ""))])
        heads = [f"{w}: {way} ms" for w in when for way in ("forward", "backward")]
        parts += [f"{row['name']}, {row['batch']} images:\n", table(["op", *heads], body)]
    if document["before"]:
        parts.append(f"*before*: the minicnn of commit {document['before']}, the last with the textbook's convolution, "
                     "NumPy's expressions as they stand and BLAS on all cores.")
    parts.append("The ops were timed in steps that were watched, the whole in steps that were not.\n")
    return parts


def taken(ops: dict) -> float:
    """Seconds of all of them together."""
    return sum(sum(ways.values()) for ways in ops.values())


def scaling(document: dict, picture) -> list[str]:
    """Exponents, threads, a picture."""
    names = {"batch": "images N", "side": "side of the image H = W", "channels": "channels C = O"}
    body = [[names[axis], f"{of['rows'][0]['size']} to {of['rows'][-1]['size']}", str(of["work"]),
             *(f"{of['exponents'][what]:.2f}" for what in WHAT)] for axis, of in document["axes"].items()]  # fmt: skip
    parts = [table(["what grows", "range", "exponent of the work", *WHAT], body)]
    per = document["axes"]["batch"]["per_image"]
    told = ", ".join(f"{what} {per['ratio'][what]:.2f}" for what in WHAT)
    parts.append("A 3×3 convolution's time grows as size^exponent (least squares, log against log). Time per image "
                 f"with {per['to']} images, as a multiple of the time per image with {per['from']}: {told}.\n")
    path, link = picture("scaling.svg")
    pictures.scaling(document["axes"], path)
    parts.append(f"![Time against images, side and channels, log-log]({link})\n")
    counts = [str(n) for n in document["threads"]["counts"] if n != 1]
    body = [[row["name"], *(" ".join(f"{row['speed_up'][n][what]:.2f}" for what in WHAT) for n in counts)]
            for row in document["threads"]["cases"]]  # fmt: skip
    means = document["threads"]["geometric_mean"]
    body.append(["**geometric mean**", *(" ".join(f"{means[n][what]:.2f}" for what in WHAT) for n in counts)])
    if counts:
        parts += [table(["layer", *(f"{n} threads" for n in counts)], body),
                  "How many times faster than one thread: forward, dx, dw.\n"]  # fmt: skip
    return parts


# ------------------------------------------------------------------------------------------------------------- pieces


def verdict(document: dict, key: str, whom: str) -> list[str]:
    """One sentence for each direction that was compared."""
    lines = []
    found = document.get("summary", {}).get(key, {})
    for what in sorted(found, key=ORDER.index):
        of = found[what]
        lines.append(f"- {what}, against {whom}: **×{of['geometric_mean']:.2f}** (geometric mean of {of['cases']}; "
                     f"from ×{of['worst']:.2f} to ×{of['best']:.2f}; minicnn faster in {of['faster']})")
    return ["\n".join(lines) + "\n"] if lines else []



def mb(memory: dict) -> str:
    """"212 (31)": the peak and what an empty process holds."""
    if memory["peak_bytes"] is None:
        return "unknown"
    return f"{memory['peak_bytes'] / 1e6:,.0f} ({memory['empty_bytes'] / 1e6:,.0f})"



SECTIONS = (
    ("conv", "Convolutions", convolutions), ("layers", "Other layers", layers), ("models", "Whole nets", nets),
    ("steps", "Where a step's time goes", steps), ("scaling", "How the cost grows", scaling),
)  # fmt: skip


if __name__ == "__main__":
    main()
