"""Pieces that the pages of results are made of."""

from __future__ import annotations


def circumstances(document: dict) -> str:
    """With what, where, when, and the command."""
    machine = document["machine"]
    ram = f", {machine['ram_bytes'] / 2**30:.0f} GiB" if machine.get("ram_bytes") else ""
    versions = "; ".join(f"{c['name']}: " + ", ".join(f"{k} {v}" for k, v in c.items() if k != "name")
                         for c in document["competitors"])  # fmt: skip
    return (f"`{document['command']}`, {document['settings']['rounds']} rounds, {document['date']}, {machine['cpu']}, "
            f"{machine['cores']} cores{ram}, {machine['system']}. {versions}.\n")


def ms(spread: dict) -> str:
    """"12.3 ± 2 %": the median and half the distance of the quartiles."""
    half = 50 * (spread["q3"] - spread["q1"]) / spread["median"]
    return f"{1000 * spread['median']:.2f} ± {half:.0f} %"


def table(head: list[str], body: list[list[str]]) -> str:
    """A table in Markdown; columns whose first cell begins with a digit are aligned to the right."""
    right = [bool(body) and body[0][i][:1].isdigit() for i in range(len(head))]
    lines = [head, ["---:" if r else "---" for r in right], *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"
