"""The parts of the pages that show results: tables, ratios, and the blocks of a page that are generated."""

import re

END = "<!-- end -->\n"


def begin(name: str) -> str:
    """The comment before a generated block; END is the one after it."""
    return f"<!-- {name} -->\n"


def fill(page: str, name: str, text: str) -> str:
    """The page with another text in the block of this name."""
    block = re.compile(f"(?<={re.escape(begin(name))}).*?(?={END})", re.DOTALL)
    if not block.search(page):
        raise ValueError(f"the page has no block {begin(name).strip()} … {END.strip()}")
    return block.sub(lambda _: text, page, count=1)


def circumstances(document: dict) -> str:
    """The command, the date, the machine, the versions."""
    machine = document["machine"]
    ram = f", {machine['ram_bytes'] / 2**30:.0f} GiB" if machine.get("ram_bytes") else ""
    versions = "; ".join(f"{c['name']}: " + ", ".join(f"{k} {v}" for k, v in c.items() if k != "name")
                         for c in document["competitors"])  # fmt: skip
    rounds = document["settings"]["rounds"]
    return (f"`{document['command']}`, {rounds} round{'s' * (rounds != 1)}, {document['date']}, "
            f"{machine['cpu']}{', ' * ('instructions' in machine)}{machine.get('instructions', '')}, "
            f"{machine['cores']} cores{ram}, {machine['system']}. {versions}.\n")


def ms(spread: dict, unit: float = 1e-3, digits: int = 2) -> str:
    """"12.30 ± 2 %": the median and half the distance between the quartiles."""
    half = 50 * (spread["q3"] - spread["q1"]) / spread["median"]
    return f"{spread['median'] / unit:.{digits}f} ± {half:.0f} %"


def call(what: str, batch: int) -> tuple[str, int]:
    """("inference, 32 images", 32) for the call "infer 32" of a net; "step" is a training step of a batch."""
    count = batch if what == "step" else int(what.split()[1])
    return f"{'training step' if what == 'step' else 'inference'}, {count} image{'s' * (count != 1)}", count


def table(head: list[str], body: list[list[str]]) -> str:
    """A table in Markdown; columns whose first cell begins with a digit are aligned to the right."""
    right = [bool(body) and body[0][i][:1].isdigit() for i in range(len(head))]
    lines = [head, ["---:" if r else "---" for r in right], *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def verdict(ratios: dict[str, dict]) -> list[str]:
    """One line for each comparison. ratios: {what was compared: its mean ratio, as harness.summary makes it}"""
    lines = [f"- {what}: **×{of['geometric_mean']:.2f}** (geometric mean of {of['cases']}; from ×{of['worst']:.2f} "
             f"to ×{of['best']:.2f}; minicnn faster in {of['faster']})" for what, of in ratios.items()]
    return ["\n".join(lines) + "\n"] if lines else []


def every_algorithm(rows: list[dict], without: str, unit: str, digits: int) -> str:
    """A table of all algorithms but one; an asterisk marks the policy's choice."""
    scale, what_ = {"ms": 1e3, "µs": 1e6}[unit], ("forward", "dx", "dw")
    body = []
    for row in rows:
        for name, of in row["algorithms"].items():
            if name != without:
                times = [f"{scale * of[w]['median']:.{digits}f}{' *' * (row['policy'] == name)}" for w in what_]
                space = ["?" if (s := of[w]["workspace_bytes"]) is None else f"{s / 1e6:.1f}" for w in what_]
                body.append([row["name"], name, *times, " ".join(space), f"{max(of[w]['error'] for w in what_):.0e}"])
    head = ["layer", "algorithm", *(f"{w} {unit}" for w in what_), "workspace MB", "error"]
    if all(cells[5] == "? ? ?" for cells in body):                 # nobody counted it
        head, body = [*head[:5], *head[6:]], [[*cells[:5], *cells[6:]] for cells in body]
    return table(head, body)


def worst_errors(own: list[float], torch: list[float], where: str = "") -> str:
    """The largest errors of minicnn and of PyTorch."""
    return (f"Largest error of all cases{where}, as a share of the result's largest value: minicnn {max(own):.0e}, "
            f"PyTorch {max(torch):.0e}.\n")
