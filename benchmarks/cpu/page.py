"""The results in docs/benchmarks.md; `python -m benchmarks.render` writes them."""

from benchmarks import pictures
from benchmarks.markdown import call, every_algorithm, ms, table, verdict, worst_errors
from minicnn.bench.conv import BOTH, POLICY, WHAT

ORDER = ("forward", "dx", "dw", "backward", BOTH, "step", "infer 1", "infer 32")


def conv(document: dict, picture) -> list[str]:
    """The ratios, the roofline, the suite, every algorithm."""
    rows, gemm, copy = document["cases"], document["rates"]["gemm_flops"], document["rates"]["copy_bytes"]
    torch, book = any("torch" in r for r in rows), any("textbook" in r for r in rows)
    head = ["layer", "N×C×H×W → O, window", "forward ms", "dx ms", "dw ms", "GFLOP/s", "% of GEMM"]
    head += ["textbook: forward, dx, dw"] * book + ["PyTorch: forward", "with all gradients"] * torch
    body = []
    for row in rows:
        own = row["algorithms"][POLICY]
        cells = [row["name"], row["label"], *(ms(own[what]) for what in WHAT), f"{own['forward']['flops'] / 1e9:.0f}",
                 f"{100 * own['forward']['of_gemm']:.0f}"]  # fmt: skip
        if book:
            cells.append(" ".join(f"{row['vs_textbook'][what]:.1f}" for what in WHAT) if "textbook" in row else "")
        if torch:
            cells += [f"{row['vs_torch'][what]:.2f}" for what in ("forward", BOTH)] if "torch" in row else ["", ""]
        body.append(cells)
    link = picture("roofline.svg", pictures.roofline, rows, gemm, copy)
    parts = [f"A large matrix product reaches {gemm / 1e9:.0f} GFLOP/s here, a copy {copy / 1e9:.0f} GB/s.\n",
             *against(document, "vs_torch", "PyTorch"), *against(document, "vs_default", "PyTorch's default layout"),
             *against(document, "vs_textbook", "the textbook's im2col"),
             f"![Roofline: FLOPs per byte against GFLOP/s, for each convolution]({link})\n", table(head, body),
             "### Every algorithm\n\nAn asterisk marks the algorithm that minicnn chooses.\n",
             every_algorithm(rows, POLICY, "ms", 2)]
    if torch:
        parts.append(worst_errors(
            [row["algorithms"][POLICY][what]["error"] for row in rows for what in WHAT],
            [e for r in rows if "torch" in r for of in r["torch"]["error"].values() for e in of.values()]))
    return parts


def layers(document: dict, picture) -> list[str]:
    """One table."""
    body = [[row["name"], "×".join(map(str, row["shape"])), what if "backward" in row["times"] else "update",
             ms(spread), f"{row['bytes_per_second'][what] / 1e9:.1f}", *compared(row, what)]
            for row in document["cases"] for what, spread in row["times"].items()]  # fmt: skip
    return [*against(document, "vs_torch", "PyTorch"),
            table(["layer", "shape", "", "ms", "GB/s", *compared_head(document)], body)]


def models(document: dict, picture) -> list[str]:
    """Times and memory."""
    rows = document["cases"]
    body = [[row["name"], "×".join(map(str, row["shape"])), call(what, row["batch"])[0], ms(spread),
             f"{row['images_per_second'][what]:.0f}", *compared(row, what)]
            for row in rows for what, spread in row["times"].items()]  # fmt: skip
    memory = [[row["name"], str(row["batch"]), f"{row['parameters']:,}", mb(row["memory"]),
               *map(mb, row.get("torch_memory", {}).values())] for row in rows]  # fmt: skip
    torch = bool(compared_head(document))
    drawn = "PyTorch's time divided by minicnn's, net by net" if torch else "Images a second, net by net"
    heads = ["PyTorch contiguous MB", "PyTorch channels last MB"] * torch
    return [*against(document, "vs_torch", "PyTorch"),
            table(["net", "image", "", "ms", "images/s", *compared_head(document)], body),
            f"![{drawn}]({picture('nets.svg', pictures.nets, rows)})\n",
            table(["net", "images", "parameters", "minicnn MB", *heads], memory)]  # fmt: skip


def steps(document: dict, picture) -> list[str]:
    """Op by op, forward and backward: the ops that take at least 10 µs."""
    parts = []
    for row in document["cases"]:
        most = sorted(row["ops"].items(), key=lambda op: -sum(op[1].values()))
        body = [[name, *(f"{1000 * of[way]:.2f}" for way in ("forward", "backward"))]
                for name, of in most if sum(of.values()) >= 1e-5]  # fmt: skip
        body.append(["**the whole step**", f"**{1000 * row['step']:.1f}**", ""])
        parts += [f"{row['name']}, {row['batch']} images:\n", table(["op", "forward ms", "backward ms"], body)]
    return parts


def scaling(document: dict, picture) -> list[str]:
    """Exponents, threads, a picture."""
    names = {"batch": "images N", "side": "side of the image H = W", "channels": "channels C = O"}
    body = [[names[axis], f"{of['rows'][0]['size']} to {of['rows'][-1]['size']}", str(of["work"]),
             *(f"{of['exponents'][what]:.2f}" for what in WHAT)] for axis, of in document["axes"].items()]  # fmt: skip
    per, threads = document["axes"]["batch"]["per_image"], document["threads"]
    ratios = ", ".join(f"{what} {per['ratio'][what]:.2f}" for what in WHAT)
    link = picture("scaling.svg", pictures.scaling, document["axes"])
    parts = [table(["what grows", "range", "exponent of the work", *WHAT], body),
             f"Time per image with {per['to']} images, divided by the time per image with {per['from']}: {ratios}.\n",
             f"![Time against images, side and channels, log-log]({link})\n"]  # fmt: skip
    if counts := [str(n) for n in threads["counts"] if n != 1]:
        gains = {row["name"]: row["speed_up"] for row in threads["cases"]}
        gains["**geometric mean**"] = threads["geometric_mean"]
        body = [[name, *(" ".join(f"{of[n][what]:.2f}" for what in WHAT) for n in counts)]
                for name, of in gains.items()]
        parts += ["Speed-up over one thread: forward, dx, dw.\n",
                  table(["layer", *(f"{n} threads" for n in counts)], body)]
    return parts


def against(document: dict, key: str, whom: str) -> list[str]:
    """The mean ratios of one comparison."""
    found = document["summary"].get(key, {})
    return verdict({f"{what}, against {whom}": found[what] for what in sorted(found, key=ORDER.index)})


def compared(row: dict, what: str) -> list[str]:
    """The cells of a comparison with PyTorch."""
    return [f"{1000 * row['better'][what][1]:.2f}", f"{row['vs_torch'][what]:.2f}"] if "vs_torch" in row else []


def compared_head(document: dict) -> list[str]:
    """The heads of these columns."""
    return ["PyTorch ms", "PyTorch / minicnn"] * any("vs_torch" in row for row in document["cases"])


def mb(memory: dict) -> str:
    """"212 (31)": the peak, and the memory of an empty process."""
    if memory["peak_bytes"] is None:
        return "unknown"
    return f"{memory['peak_bytes'] / 1e6:,.0f} ({memory['empty_bytes'] / 1e6:,.0f})"


BLOCKS = (conv, layers, models, steps, scaling)
"""Each fills the page's block of its name. picture(name, draw, *data) → a link"""
