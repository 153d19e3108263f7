"""The results in docs/benchmarks-gpu.md; `python -m benchmarks.render` writes them from gpu.json."""

from benchmarks import pictures
from benchmarks.gpu.measure import PRECISIONS, crossing
from benchmarks.markdown import call, every_algorithm, ms, table, verdict, worst_errors
from minicnn.bench.conv import BOTH, POLICY, TF32, WHAT


def gpu(document: dict, picture) -> list[str]:
    """The ratios, then all sections that were measured. picture(name, draw, *data) → a link"""
    gpu = next((c for c in document["competitors"] if c["name"] == "gpu"), {})
    parts = verdict(document["summary"])
    if "emulated" in gpu.get("gpu", ""):
        parts.insert(0, "**A trial run on the emulated GPU: no time and no ratio here means anything.**\n")
    for name, section in SECTIONS.items():
        if document.get(name):
            parts += section(document[name], document.get("rates") or {}, gpu, picture)
    return parts


def roofs(rates: dict, _, gpu: dict, picture) -> list[str]:
    """The highest rates that the GPU reaches."""
    peak = f" of {gpu['peak_fp32'] / 1e12:.0f} at its highest clock" if gpu.get("peak_fp32") else ""
    return [f"## Roofs\n\n{gpu.get('gpu', 'The GPU')}: a copy within its memory moves "
            f"{rates['copy_bytes'] / 1e9:,.0f} GB/s, counting bytes read and written. A product of two large matrices "
            f"by cuBLAS runs at {rates['product_flops'] / 1e12:.1f} TFLOP/s in float32{peak}, and at "
            f"{rates['product_tf32_flops'] / 1e12:.1f} with TF32. Small kernels can start every "
            f"{1e6 * rates['launch']:.1f} µs.\n"]  # fmt: skip


def convolutions(rows: list[dict], rates: dict, gpu: dict, picture) -> list[str]:
    """The suite, and every algorithm."""
    torch, peak, copy = any("vs_torch" in row for row in rows), gpu.get("peak_fp32"), rates.get("copy_bytes")
    head = ["layer", "N×C×H×W → O, window", "algorithm", "forward µs", "dx µs", "dw µs", "TFLOP/s"]
    head += ["% of peak"] * bool(peak) + ["% of copy"] * bool(copy) + ["CPU / GPU"]
    head += [f"PyTorch {p}: forward, all" for p in PRECISIONS] * torch
    body = []
    for row in rows:
        own = row["algorithms"][POLICY]
        seconds = own["forward"]["median"]
        cells = [row["name"], row["label"], row["policy"], *(ms(own[what], 1e-6, 1) for what in WHAT),
                 f"{2e-12 * row['macs'] / seconds:.1f}"]  # fmt: skip
        cells += [f"{200 * row['macs'] / seconds / peak:.0f}"] if peak else []
        cells += [f"{100 * row['bytes'] / seconds / copy:.0f}"] if copy else []
        cells.append(f"{row['vs_cpu'][BOTH]:.0f}")
        if torch:
            cells += [f"{row['vs_torch'][f'forward, {p}']:.2f} {row['vs_torch'][f'{BOTH}, {p}']:.2f}"
                      if "vs_torch" in row else "" for p in PRECISIONS]  # fmt: skip
        body.append(cells)
    parts = ["## Convolutions\n", table(head, body),
             "### Every algorithm\n",
             f"An asterisk marks the policy's choice; *{TF32}* is the same with products rounded to TF32.\n",
             every_algorithm(rows, POLICY, "µs", 1)]
    for precision, name in PRECISIONS.items() if torch else ():
        parts.append(worst_errors(
            [row["algorithms"][name][what]["error"] for row in rows for what in WHAT],
            [e for row in rows if "torch" in row for key, of in row["torch"]["error"].items()
             if key.endswith(precision) for e in of.values()], f" in {precision}"))  # fmt: skip
    return parts


def nets(rows: list[dict], rates: dict, gpu: dict, picture) -> list[str]:
    """Times of whole nets, and their picture."""
    torch, body, moved = any("vs_torch" in row for row in rows), [], []
    for row in rows:
        for what, of in row["times"].items():
            title, count = call(what, row["batch"])
            body.append([row["name"], title, ms(of["fp32"]), f"{1000 * of['tf32']['median']:.2f}",
                         f"{count / of['fp32']['median']:,.0f}", f"{1000 * row['cpu'][what]['median']:.1f}",
                         f"{row['vs_cpu'][what]:.1f}"])  # fmt: skip
            body[-1] += [f"{row['vs_torch'][f'{what}, {p}']:.2f}" if "vs_torch" in row else ""
                         for p in PRECISIONS if torch]
        to_gpu = row["to_gpu"]["median"]
        moved.append([row["name"], "×".join(map(str, (row["batch"], *row["shape"]))), f"{1000 * to_gpu:.3f}",
                      f"{100 * to_gpu / row['times']['step']['fp32']['median']:.1f}",
                      "?" if row["gpu_bytes"] is None else f"{row['gpu_bytes'] / 1e6:,.0f}"])
    head = ["net", "", "GPU fp32 ms", "tf32 ms", "images/s", "CPU ms", "CPU / GPU"]
    link = picture("gpu-nets.svg", pictures.gpu_nets, rows)
    return ["## Whole nets\n", table(head + [f"PyTorch {p}" for p in PRECISIONS] * torch, body),
            table(["net", "batch", "to the GPU ms", "% of a step", "memory MB"], moved),
            f"![Training steps a second on CPU, GPU and in PyTorch]({link})\n"]  # fmt: skip


def growth(rows: list[dict], rates: dict, gpu: dict, picture) -> list[str]:
    """From which size on the GPU is faster."""
    ways = {"there": "with its arrays on the GPU", "there and back": "with the transfers"}
    body = [[str(row["side"]), f"{1e6 * row['cpu']['median']:.0f}",
             *(f"{1e6 * row['gpu'][way]['median']:.0f}" for way in ways)] for row in rows]
    found = [f"{words}, " + (f"from {side}×{side} pixels on" if side else "at no size measured")
             for words, side in ((words, crossing(rows, way)) for way, words in ways.items())]
    link = picture("gpu-growth.svg", pictures.gpu_growth, rows)
    return ["## From which size on\n",
            "A 3×3 convolution of one image with 16 channels, including the wait for the result. The GPU is faster "
            f"{'; '.join(found)}.\n", table(["side", "CPU µs", "GPU µs", "there and back µs"], body),
            f"![Time against multiplications on CPU and GPU, with and without transfers]({link})\n"]  # fmt: skip


def transfers(ways: dict, rates: dict, gpu: dict, picture) -> list[str]:
    """The time of a transfer, by its size."""
    body = [[f"{rows[0]['bytes']:,}", *(cell for row in rows for cell in (
        f"{1e6 * row['median']:.1f}", f"{row['bytes'] / row['median'] / 1e9:.1f}"))] for rows in zip(*ways.values())]
    head = ["bytes", *(cell for way in ways for cell in (f"{way} µs", "GB/s"))]
    return ["## Transfers\n", table(head, body)]


def problems(found: list[dict], rates: dict, gpu: dict, picture) -> list[str]:
    """The measurements that failed."""
    return ["## Failures\n", *[f"- {p['what']}: {p['problem']}" for p in found], ""]


SECTIONS = {"rates": roofs, "conv": convolutions, "nets": nets, "growth": growth, "transfer": transfers,
            "problems": problems}  # fmt: skip
