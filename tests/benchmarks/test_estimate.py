"""The estimate for many machines: its formulas in closed form, and what it measures of a step."""

import json

import pytest

from benchmarks.cpu import estimate


def test_messages_in_closed_form():
    """Thakur, Rabenseifner, Gropp 2005, table 1, at its ends: latency alone, bandwidth alone."""
    for k, rounds in ((2, 1), (4, 2), (5, 3), (64, 6)):
        assert estimate.allreduce(0, k, 1e-6, 1e9) == pytest.approx(2 * rounds * 1e-6 if k > 2 else 2e-6)
        assert estimate.allreduce(1e6, k, 0, 1e9) == pytest.approx(2 * (k - 1) / k * 1e-3)
        assert estimate.gather(0, k, 1e-6, 1e9) == pytest.approx(rounds * 1e-6)
        assert estimate.gather(1e6, k, 0, 1e9) == pytest.approx((k - 1) * 1e-3)


def test_a_step_waits_for_what_backward_does_not_hide():
    """Of two machines: a bucket of n bytes takes n/β seconds. Backward ends after 10 s, the optimiser takes 2 s."""
    def seconds(*buckets, norm=()):
        return estimate.step({"seconds": 12, "buckets": buckets, "norm": norm}, 2, 0, 1)

    assert seconds([4, 3], [10, 0]) == 12, "sent while the rest is computed"
    assert seconds([4, 3], [10, 1]) == 13, "the last one is waited for"
    assert seconds([4, 3], [6, 5], [10, 1]) == 15, "sent at 4, 7 and 12: the link is busy until 13, and 2 s follow"
    assert seconds([10, 0], norm=[["gather", 5], ["sum", 3]]) == 12 + 5 + 3
    free = estimate.step({"seconds": 12, "buckets": [[10, 1e9]], "norm": [["sum", 1]]}, 64, 0, 1e30)
    assert free == pytest.approx(12), "a network that takes no time"


@pytest.mark.slow
def test_what_is_measured_of_a_step():
    """ResNet-20's gradients, 269,722 numbers, and its 19 batch norms: 7, 6 and 6 layers (He 2015, §4.2)."""
    rank = estimate.measured("resnet20", 2, 1)
    assert sum(n for _, n in rank["buckets"]) == 4 * (269_722 + 4)
    assert 0 < rank["buckets"][0][0] < rank["buckets"][-1][0] < rank["seconds"]
    channels = [16] * 7 + [32] * 6 + [64] * 6
    assert rank["norm"] == [["gather", 8 * (2 * C + 1)] for C in channels] + [["sum", 16 * C] for C in channels[::-1]]


def test_the_page_shows_the_results():
    document = json.loads((estimate.harness.RESULTS / "estimate.json").read_text())
    text = estimate.tables(document)
    assert text in estimate.PAGE.read_text(encoding="utf-8")
    assert "**Estimated, not measured**" in text
