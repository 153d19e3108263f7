"""minicnn diff A B"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated

import typer

from minicnn.cli import console
from minicnn.cli.model_name import InputSize, ModelSettings, find
from minicnn.cli.summary import measured

if TYPE_CHECKING:
    from minicnn.inspect.summary import Layer


def diff(
    a: Annotated[str, typer.Argument(help="A net: NAME, NAME:VARIANT such as alexnet:paper, FILE.py::NET, a run.")],
    b: Annotated[str, typer.Argument(help="The other net.")],
    input_size: InputSize = "",
    settings: ModelSettings = None,
    all_layers: Annotated[bool, typer.Option("--all", help="Show the layers that agree, too.")] = False,
    as_json: console.Json = False,
):
    """Compare two nets, or two variants of one, layer by layer: what differs, and what the difference costs."""
    sides = [measured(find(model, settings, input_size)) for model in (a, b)]
    pairs = _aligned(sides[0].layers, sides[1].layers)
    totals = [side.totals for side in sides]
    if as_json:
        return console.print_json({
            "a": a, "b": b, "totals": totals,
            "layers": [{"same": same, "a": _row(x), "b": _row(y)} for same, x, y in pairs]})  # fmt: skip
    rows = [_changes(same, x, y) for same, x, y in pairs if all_layers or not same]
    sizes = [f"{t['parameters']:,} parameters" for t in totals]
    last = ("", *sizes, *(_signed(totals[1][key] - totals[0][key]) for key in ("parameters", "macs")))
    table = console.table("", a, "", b, ">Δ parameters", ">Δ MACs")
    for mark, left, right, *changes in rows:
        table.add_row(mark, left, "", right, *changes)
    table.add_section()
    table.add_row(*last[:2], "", *last[2:])
    if console.out.is_terminal and console.width(table) > console.out.width:
        table = _stacked(a, b, rows, last)
    console.show(table)
    agree = sum(same for same, _, _ in pairs)
    hint = " (--all shows them)" * (agree > 0 and not all_layers)
    console.say(f"\n{agree} layer{'s agree' if agree != 1 else ' agrees'} in kind, window and output{hint}.")


def _changes(same: bool, x: Layer | None, y: Layer | None) -> tuple[str, ...]:
    """A row: mark, description of a's layer and of b's, change of parameters and of MACs."""
    parameters, macs = ((getattr(y, key) if y else 0) - (getattr(x, key) if x else 0) for key in ("parameters", "macs"))
    mark = " " if same else "-" if y is None else "+" if x is None else "~"
    return mark, _words(x), _words(y), _signed(parameters), _signed(macs)


def _stacked(a: str, b: str, rows, last):
    """The same table for a narrow terminal: b's layer below a's."""
    table = console.table("-\n+", f"{a}\n{b}", ">Δ parameters", ">Δ MACs")
    for mark, left, right, *changes in rows:
        both = "\n".join(filter(None, (left, right))) if mark != " " else right
        table.add_row("-\n+" if mark == "~" else mark, both, *changes)
    table.add_section()
    table.add_row("", "\n".join(last[1:3]), *last[3:])
    return table


def _signature(layer: Layer) -> tuple:
    return layer.kind, layer.kernel, layer.stride, layer.groups, layer.output, layer.parameters


def _aligned(a, b) -> list[tuple[bool, Layer | None, Layer | None]]:
    """Pairs (same?, a's layer, b's layer) in order; None where one has no counterpart."""
    pairs: list[tuple[bool, Layer | None, Layer | None]] = []
    matcher = difflib.SequenceMatcher(None, [_signature(x) for x in a], [_signature(y) for y in b], autojunk=False)
    for tag, a0, a1, b0, b1 in matcher.get_opcodes():
        if tag == "equal":
            pairs += [(True, x, y) for x, y in zip(a[a0:a1], b[b0:b1])]
            continue
        left, right = list(a[a0:a1]), list(b[b0:b1])
        while left or right:                               # within a changed section, pair layers of the same kind
            if left and right and left[0].kind == right[0].kind:
                pairs.append((False, left.pop(0), right.pop(0)))
            elif right and (not left or left[0].kind in {y.kind for y in right}):
                pairs.append((False, None, right.pop(0)))
            else:
                pairs.append((False, left.pop(0), None))
    return pairs


def _row(layer: Layer | None) -> dict | None:
    keys = ("name", "kind", "kernel", "stride", "groups", "output", "parameters", "macs")
    return {key: getattr(layer, key) for key in keys} if layer else None


def _words(layer: Layer | None) -> str:
    from minicnn.inspect.summary_table import times, window

    if layer is None:
        return ""
    return " ".join(filter(None, (f"{layer.name}: {layer.kind}", window(layer), "→", times(layer.output))))


def _signed(n: int) -> str:
    return f"{n:+,}" if n else "·"
