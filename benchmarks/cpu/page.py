"""The results in docs/benchmarks.md; `python -m benchmarks.render` writes them."""

from benchmarks import pictures
from benchmarks.markdown import call, every_algorithm, ms, table, worst_errors
from benchmarks.ratios import OWN
from minicnn.bench.conv import BOTH, POLICY, WHAT

ORDER = ("forward", "dx", "dw", "backward", BOTH, "step", "infer 1", "infer 32")
NAMES = {"torch": "PyTorch", "textbook": "im2col", "onnxruntime": "ONNX Runtime"}


def conv(document: dict, picture) -> list[str]:
    """The ratios, the roofline, the suite, every algorithm."""
    rows, gemm, copy = document["cases"], document["rates"]["gemm_flops"], document["rates"]["copy_bytes"]
    first = next(iter(rows[0]["paths"]))

    def speed(row, what):
        own = row["paths"][first]["algorithms"][POLICY]["forward"]
        return [f"{own['flops'] / 1e9:.0f}", f"{100 * own['of_gemm']:.0f}"] if what == "forward" else ["", ""]

    link = picture("roofline.svg", pictures.roofline, rows, gemm, copy)
    each = [{"name": row["name"], "policy": f"{of['policy']}, {path}",
             "algorithms": {f"{name}, {path}": found for name, found in of["algorithms"].items() if name != POLICY}}
            for row in rows for path, of in row["paths"].items()]  # fmt: skip
    parts = [f"A large matrix product reaches {gemm / 1e9:.0f} GFLOP/s here, a copy {copy / 1e9:.0f} GB/s.\n",
             *ratios(document), f"![Roofline: FLOPs per byte against GFLOP/s, for each convolution]({link})\n",
             times(document, ["layer", "N×C×H×W → O, window", ""], lambda row, what: [row["name"], row["label"], what],
                   [f"{first} GFLOP/s", "% of GEMM"], speed, ("forward", BOTH)),
             "### Every algorithm\n\nAn asterisk marks the algorithm that the path chooses.\n",
             every_algorithm(each, POLICY, "ms", 2)]  # fmt: skip
    if any("torch" in row for row in rows):
        parts.append(worst_errors(
            [of["algorithms"][POLICY][what]["error"] for row in rows for of in row["paths"].values() for what in WHAT],
            [e for r in rows if "torch" in r for of in r["torch"]["error"].values() for e in of.values()]))
    return parts


def layers(document: dict, picture) -> list[str]:
    """The ratios and one table."""
    def lead(row, what):
        return [row["name"], "×".join(map(str, row["shape"])), "update" if "options" in row else what]

    def rate(row, what): return [f"{next(iter(row['bytes_per_second'].values()))[what] / 1e9:.1f}"]

    first = next(iter(document["cases"][0]["bytes_per_second"]))
    return [*ratios(document), times(document, ["layer", "shape", ""], lead, [f"{first} GB/s"], rate)]


def models(document: dict, picture) -> list[str]:
    """The ratios, times and memory."""
    def lead(row, what): return [row["name"], "×".join(map(str, row["shape"])), call(what, row["batch"])[0]]

    rows = document["cases"]
    torch = any("torch" in row["vs"] for row in rows)
    lanes = list(dict.fromkeys(lane for row in rows for lane in row["memory"]))
    memory = [[row["name"], str(row["batch"]), f"{row['parameters']:,}", *(mb(row["memory"][lane]) for lane in lanes)]
              for row in rows]  # fmt: skip
    drawn = "PyTorch's time divided by minicnn's, net by net" if torch else "Images a second, net by net"
    return [*ratios(document), times(document, ["net", "image", ""], lead, [], lambda row, what: []),
            f"![{drawn}]({picture('nets.svg', pictures.nets, rows)})\n",
            table(["net", "images", "parameters", *(f"{lane} MB" for lane in lanes)], memory)]


def steps(document: dict, picture) -> list[str]:
    """Primitive by primitive: those that take at least 10 µs."""
    parts = []
    for row in document["cases"]:
        found = sorted(row["primitives"].items(), key=lambda item: -item[1])
        rest = row["step"] - sum(row["primitives"].values())
        body = [[name, f"{1000 * s:.2f}", f"{100 * s / row['step']:.0f}"]
                for name, s in (*found, ("Python and the rest", rest)) if abs(s) >= 1e-5]  # fmt: skip
        body.append(["**the whole step**", f"**{1000 * row['step']:.2f}**", ""])
        parts += [f"{row['name']}, {row['batch']} images, {row['path']}:\n", table(["primitive", "ms", "%"], body)]
    return parts


def scaling(document: dict, picture) -> list[str]:
    """Exponents, threads, a picture."""
    names = {"batch": "images N", "side": "side of the image H = W", "channels": "channels C = O"}
    body = [[names[axis], f"{of['rows'][0]['size']} to {of['rows'][-1]['size']}", str(of["work"]), path,
             *(f"{fitted[what]:.2f}" for what in WHAT)]
            for axis, of in document["axes"].items() for path, fitted in of["exponents"].items()]  # fmt: skip
    threads, axes = document["threads"], document["axes"]
    per = [f"{path}, time per image with {of['to']} images divided by that with {of['from']}: "
           + ", ".join(f"{what} {of['ratio'][what]:.2f}" for what in WHAT) + ".\n"
           for path, of in axes["batch"]["per_image"].items()]  # fmt: skip
    parts = [table(["what grows", "range", "exponent of the work", "path", *WHAT], body), *per,
             f"![Time against images, side and channels, log-log]({picture('scaling.svg', pictures.scaling, axes)})\n"]
    if counts := [str(n) for n in threads["counts"] if n != 1]:
        gains = {row["name"]: row["speed_up"] for row in threads["cases"]}
        gains["**geometric mean**"] = threads["geometric_mean"]
        body = [[name, *(" ".join(f"{by[n][what]:.2f}" for what in WHAT) for by in of.values() for n in counts)]
                for name, of in gains.items()]
        head = ["layer", *(f"{path}, {n} threads" for path in threads["geometric_mean"] for n in counts)]
        parts += ["Speed-up over one thread: forward, dx, dw.\n", table(head, body)]
    return parts


def overhead(document: dict, picture) -> list[str]:
    """Microseconds of each part on each path."""
    rows = document["cases"]
    paths, names = (list(dict.fromkeys(row[key] for row in rows)) for key in ("path", "name"))
    found = {(row["name"], row["path"]): row for row in rows}
    body = [[name, *(ms(found[name, p], 1e-6, 1) if (name, p) in found else "—" for p in paths),
             " ".join({f"{1e6 * row['target']:.0f}" for row in rows if row["name"] == name and row["target"]})]
            for name in names]  # fmt: skip
    return [table(["part", *(f"{path} µs" for path in paths), "target µs"], body)]


def tuning(document: dict, picture) -> list[str]:
    """Every layer by every kernel, and the cost of a wake."""
    rows, wakes, lost = document["cases"], document["wakes"], document["summary"]
    names = list(dict.fromkeys(name for row in rows for name in row["seconds"]))
    body = [[row["label"], *(" ".join(f"{1000 * t:.3f}" for t in row["seconds"].get(name, {}).values()) +
                             " *" * (name == row["chosen"]) for name in names),
             " ".join(f"{x:.2f}" for x in row["loss"].values())] for row in rows]  # fmt: skip
    total = [f"The choice's time divided by the best one's, {what}: **×{of['geometric_mean']:.2f}** (geometric mean of "
             f"{len(rows)}; at most ×{of['worst']:.2f}).\n" for what, of in lost.items()]  # fmt: skip
    parts = [*total, table(["layer", *(f"{name} ms" for name in names), "loss"], body)] if rows else []
    heads = [key for key in (wakes[0] if wakes else {}) if key != "size"]
    body = [[f"{row['size']:,}", *(f"{1e6 * row[key]:.1f}" for key in heads)] for row in wakes]
    return parts + [table(["values", *(f"{key} µs" for key in heads)], body)] * bool(wakes)


def ratios(document: dict) -> list[str]:
    """The mean ratios to each peer, and the peers that were left out."""
    found = document["summary"]
    paths = [own for own in OWN if any(own in of for of in found.values())]
    body = []
    for what in ORDER:
        for peer, of in found.items():
            cells = [of.get(own, {}).get(what) for own in paths]
            if any(cells):
                body.append([what, NAMES.get(peer, peer), *(
                    f"×{c['geometric_mean']:.2f} ({c['worst']:.2f} to {c['best']:.2f}; {c['faster']} of {c['cases']})"
                    if c else "—" for c in cells)])  # fmt: skip
    missing = [f"- {what}: {why}\n" for what, why in document.get("left_out", {}).items()]
    return ([table(["", "peer", *(f"peer / {own}" for own in paths)], body)] * bool(body)
            + ["Left out:\n\n" + "".join(missing)] * bool(missing))


def times(document: dict, head: list[str], lead, more: list[str], extra, calls: tuple[str, ...] = ORDER) -> str:
    """A line for each call of each case: lead(row, call), all times, PyTorch's / minicnn's, extra(row, call)."""
    rows, body = document["cases"], []
    known = dict.fromkeys(name for row in rows for name in row["times"] if name in OWN or name in row["better"])
    own = [name for name in known if name in OWN]
    peers = [name for name in known if name not in OWN]
    torch = [path for path in own if any(path in row["vs"].get("torch", {}) for row in rows)]
    for row in rows:
        for what in (what for what in calls if any(what in row["times"].get(path, {}) for path in own)):
            spreads = [row["times"].get(path, {}).get(what) for path in own]
            for peer in peers:
                layout = row["better"].get(peer, {}).get(what, [None])[0]
                spreads.append(row["times"][peer][f"{layout}/{what}"] if layout else None)
            ratios = [row["vs"].get("torch", {}).get(path, {}).get(what) for path in torch]
            body.append([*lead(row, what), *(ms(spread) if spread else "—" for spread in spreads),
                         *(f"{ratio:.2f}" if ratio else "—" for ratio in ratios), *extra(row, what)])
    return table([*head, *(f"{NAMES.get(name, name)} ms" for name in own + peers),
                  *(f"PyTorch / {path}" for path in torch), *more], body)  # fmt: skip


def mb(memory: dict) -> str:
    """"212 (31)": the peak, and the memory of an empty process."""
    if memory["peak_bytes"] is None:
        return "unknown"
    return f"{memory['peak_bytes'] / 1e6:,.0f} ({memory['empty_bytes'] / 1e6:,.0f})"


BLOCKS = (conv, layers, models, steps, scaling, overhead, tuning)
"""Each fills the page's block of its name. picture(name, draw, *data) → a link"""
