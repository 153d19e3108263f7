"""The page of all claims: what it says of a result, that an outdated one disappears, and its pictures."""

import json
import re
from pathlib import Path

import pytest

from minicnn.claims import NAMES, digest, figures, load, report
from minicnn.claims.claim import UNKNOWN
from minicnn.claims.verdict import judge

ROOT = Path(__file__).parents[2]


def result(name, series=1, shift=0.0):
    """A result of a claim, made up: the quantities of each arm are its number in the file, and the seed's."""
    claim = load(name)
    plan = claim.small
    seeds = [1000 * series + i for i in range(plan.seeds)]
    terms = [term for c in claim.comparisons for term in (c.first, c.second) if term]
    shown = claim.shown if isinstance(claim.shown, tuple) else (claim.shown.removeprefix("layers:"),)
    records, arms = {}, {}
    for number, arm in enumerate(plan.arms, 1):
        names = {quantity for other, quantity in terms if other == arm.name} | set(shown)
        for i, seed in enumerate(seeds):
            values = {q: 5.0 * number + j + 0.1 * (i % 3) * number + shift for j, q in enumerate(sorted(names))}
            if "gradient" in values:
                values["gradient"] = [1.0 * number] * 12
            records[arm.name, seed] = {"values": values, "reached": True, "diverged": i == 0 and number == 1}
        arms[arm.name] = {"rate": 0.03, "at_edge": number == 2, "tried": {}, "diverged": int(number == 1),
                          "reached": len(seeds),
                          "values": {q: [records[arm.name, s]["values"][q] for s in seeds] for q in names}}  # fmt: skip
    verdict, outcomes = judge(claim, records, seeds)
    environment = {"minicnn": "0.1.0", "numpy": "2.0", "cpu_path": "numpy", "system": "Linux", "machine": "x86_64"}
    return {"claim": name, "sha256": digest(name), "size": "small", "series": series, "seeds": seeds,
            "planned_seeds": plan.seeds, "verdict": verdict, "outcomes": [vars(o) for o in outcomes], "arms": arms,
            "environment": environment}  # fmt: skip


def put(root, name, series=1, **more):
    folder = root / f"{name}-{digest(name)[:8]}-small{f'-series{series}' if series > 1 else ''}"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result(name, series) | more))
    (folder / "times.jsonl").write_text('{"job": "a", "cpu_seconds": 90}\n{"job": "a", "cpu_seconds": 30}\n'
                                        '{"job": "b", "cpu_seconds": 60}\n')  # fmt: skip


def test_the_page_has_a_row_and_a_section_for_each_claim(tmp_path):
    put(tmp_path / "runs", "dropout")
    put(tmp_path / "runs", "dropout", 2, verdict=UNKNOWN)
    page = tmp_path / "page.md"
    made = report.write(page, root=tmp_path / "runs")
    text = page.read_text("utf-8")
    assert all(len(line) <= 120 for line in text.splitlines() if not line.startswith("|"))
    assert {path.name for path in made} == {"page.md", "dropout-small.json", "dropout.png"}
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == list(NAMES)
    assert text.count("**Not run yet**") == len(NAMES) - 1
    row = next(line for line in text.splitlines() if line.startswith("| [dropout]"))
    first = result("dropout")
    assert row.split(" | ")[1:3] == [f"**{first['verdict']}**", f"**{UNKNOWN}**"]
    assert row.endswith("| 0.35 points | 1.5 |"), "90 CPU seconds: the repeated job counts once"
    text = " ".join(text.split())
    assert f"disagreed: {first['verdict']}; {UNKNOWN}" in text
    assert "1 of 16 claims were run at the size small. 1 were repeated with other seeds: 0 gave the same" in text
    assert "1 of 10 trainings of without diverged; the best rate of dropout, 0.03, is at the end" in text
    claim = load("dropout")
    for words in (claim.sentence, claim.source, claim.doubt, claim.meaning[first["verdict"]], digest("dropout")[:16]):
        assert words in text
    outcome = first["outcomes"][0]
    assert f"{outcome['estimate']:.2f} points ({outcome['low']:.2f} to {outcome['high']:.2f})" in text


def test_results_that_were_written_stay_until_the_claim_changes(tmp_path, monkeypatch):
    put(tmp_path / "runs", "init")
    page = tmp_path / "page.md"
    report.write(page, root=tmp_path / "runs")
    before = page.read_text("utf-8")
    report.write(page, root=tmp_path / "elsewhere")
    assert page.read_text("utf-8") == before, "the results beside the page are enough"
    monkeypatch.setattr(report.files, "digest", lambda name: "0" * 64)
    report.write(page, root=tmp_path / "runs")
    assert "0 of 16 claims were run" in page.read_text("utf-8")
    assert not list((tmp_path / "page").iterdir())


@pytest.mark.parametrize("name", ["dropout", "robustness", "vanishing", "relu-tanh"])
def test_the_picture_shows_every_seed_interval_and_threshold(name):
    claim, told = load(name), result(name)
    fig = figures.draw(claim, told)
    left, right = fig.axes
    lines = [line.get_xydata().tolist() for line in right.lines]
    for row, (comparison, outcome) in enumerate(zip(claim.comparisons, told["outcomes"])):
        y = len(claim.comparisons) - 1 - row
        assert [[outcome["threshold"], y - 0.3], [outcome["threshold"], y + 0.3]] in lines
        assert [[x, y + 0.16] for x in outcome["values"]] in lines
        assert ([[comparison.published, y]] in lines) == (comparison.published is not None)
    if name != "vanishing":
        drawn = {tuple(line.get_ydata()) for line in left.lines}
        columns = figures.shown(claim, told)
        assert list(columns) == ([*claim.shown] if name == "robustness" else [arm.name for arm in claim.small.arms])
        assert {tuple(values) for values in zip(*columns.values())} <= drawn, "a line for each seed"


def test_numbers_have_three_digits():
    assert [report.number(x) for x in (0.0, 0.12345, 1.2345, 45.678, 1234.5, 3.6e7, -2.5e-6)] == [
        "0", "0.123", "1.23", "45.68", "1234", "3.6·10⁷", "-2.5·10⁻⁶"]  # fmt: skip


def test_the_costs_are_of_claims_that_there_are_and_fit_an_hour_on_two_cores():
    assert list(report.costs()) == list(NAMES)
    assert sum(report.costs().values()) <= 2 * 60 * 60


def test_the_page_of_the_docs_is_what_the_command_writes(tmp_path):
    """docs/claims.md shows no result of an old claim file, and nothing that is not in the results beside it."""
    page = ROOT / "docs" / "claims.md"
    results = {name: report.collect(name, "small", tmp_path, page.with_suffix("")) for name in NAMES}
    assert page.read_text("utf-8") == report.text_of(results, "small", "claims")
    held = {path.name for path in page.with_suffix("").iterdir()}
    done = {name for name, own in results.items() if own}
    assert held == {f"{name}-small.json" for name in done} | {f"{name}.png" for name in done}
