"""docs/reproduce.md: its table is the result that docs/claims.md was written from."""

import json
from pathlib import Path

from minicnn.claims.report import number

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_is_the_saved_result():
    text = (DOCS / "reproduce.md").read_text("utf-8")
    result, *_ = json.loads((DOCS / "claims" / "vanishing-small.json").read_text("utf-8"))
    assert f"\n{result['verdict']} ({len(result['seeds'])} seeds, rule {result['sha256'][:12]})\n" in text
    for outcome in result["outcomes"]:
        line = next(line for line in text.splitlines() if line.startswith(outcome["says"]))
        numbers = [number(outcome[key]) for key in ("estimate", "low", "high")]
        assert line.removeprefix(outcome["says"]).split() == [*numbers, "≥", "100", *outcome["verdict"].split()]
