"""Ratios of the times of several libraries, their means, and a line on the terminal for each case."""

from statistics import geometric_mean

OWN = ("compiled", "numpy", "plan")
"""minicnn's processes: each implementation of the CPU backend, and inference by `minicnn.compile`."""


def better(layouts: dict, what: str) -> tuple[str, float]:
    """(the layout with the smaller median, that median) of {"layout/what": spread}."""
    medians = {call.split("/")[0]: spread["median"] for call, spread in layouts.items() if call.endswith(f"/{what}")}
    return min(medians.items(), key=lambda pair: pair[1])


def versus(row: dict, times: dict, torch: dict) -> None:
    """Add PyTorch's better layout and the ratio of the times to a row. times: {call: spread} of minicnn."""
    row["better"] = {what: better(torch, what) for what in times}
    row["vs_torch"] = {what: row["better"][what][1] / spread["median"] for what, spread in times.items()}


def compare(row: dict, own: dict, peers: dict) -> None:
    """Add the times of all processes to a row, each peer's better layouts, and its times divided by minicnn's.

    own: {path: {what: spread}}   peers: {name: {"layout/what": spread}}
    """
    row["times"] = {**own, **peers}
    row["better"] = {peer: {what: better(calls, what) for what in dict.fromkeys(c.partition("/")[2] for c in calls)}
                     for peer, calls in peers.items()}  # fmt: skip
    row["vs"] = {peer: {path: {what: found[what][1] / of["median"] for what, of in times.items() if what in found}
                        for path, times in own.items()} for peer, found in row["better"].items()}  # fmt: skip


def mean_ratio(ratios: list[float]) -> dict:
    """The geometric mean of some ratios, their extremes, and how many are at least 1."""
    return {"geometric_mean": geometric_mean(ratios), "worst": min(ratios), "best": max(ratios), "cases": len(ratios),
            "faster": sum(r >= 1 for r in ratios)}  # fmt: skip


def summary(rows: list[dict], *keys: str) -> dict:
    """{key: {what: mean ratio}} of the ratios {what: ratio} that rows have under these keys."""
    found: dict = {}
    for key in keys:
        for what in sorted({what for row in rows for what in row.get(key, {})}):
            found.setdefault(key, {})[what] = mean_ratio([r[key][what] for r in rows if what in r.get(key, {})])
    return found


def summary_of(rows: list[dict]) -> dict:
    """{peer: {path: {what: mean ratio}}} of the ratios that `compare` added to rows."""
    ratios: dict = {}
    for row in rows:
        for peer, paths in row["vs"].items():
            for own, calls in paths.items():
                for what, ratio in calls.items():
                    ratios.setdefault(peer, {}).setdefault(own, {}).setdefault(what, []).append(ratio)
    return {peer: {own: {what: mean_ratio(found) for what, found in calls.items()} for own, calls in paths.items()}
            for peer, paths in ratios.items()}  # fmt: skip


def show(name: str, times: dict, extra: str = "") -> None:
    """Print one measured case: medians."""
    cells = [f"  {what} {1000 * of['median']:.3f} ms" for what, of in times.items()]
    print(f"{name:34}{''.join(cells)}{extra}", flush=True)


def show_paths(row: dict, extra: str = "") -> None:
    """Print a row that `compare` filled, a line for each path: medians, and the peers' ratios for the first call."""
    for own in (name for name in row["times"] if name in OWN):
        ratios = [f"  {peer}: " + " ".join(f"×{ratio:.2f}" for ratio in of[own].values())
                  for peer, of in row["vs"].items() if of.get(own)]  # fmt: skip
        show(f"{row['name']}, {own}", row["times"][own], "".join(ratios) + extra)
