"""figures: sums, the JSON document, and the verdict on the client."""

import json

import pytest

pytest.importorskip("hdrh")

from asyncrev.bench.measurement import Outcome
from tests.bench.made import figures


def test_figures_are_sums_of_the_intervals() -> None:
    """Late replies count as latencies, and not in the rate."""
    made = figures([1000, 3000], Outcome(late={90_000: 1}, cores=[0.5]))
    assert (made.messages, made.duration_s, made.rate_per_s) == (4000, 2.0, 2000.0)
    assert made.latencies.count == 4001
    assert made.percentiles_us["p50"] == pytest.approx(100, rel=1e-3)
    assert made.percentiles_us["max"] == pytest.approx(9000, rel=1e-3)
    assert made.interval_values("rate") == [1000, 3000]


def test_document_has_the_documented_fields() -> None:
    """And is JSON."""
    document = json.loads(json.dumps(figures([100] * 4).as_dict()))
    assert document["format"] == 1
    assert document["messages_per_s"] == 100
    assert document["messages_per_s_stdev"] == 0
    assert sorted(document["latency_us"]) == sorted(
        ["count", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"]
    )
    assert len(document["intervals"]) == 4
    assert document["intervals"][3]["client_cores"] == 0.25
    assert document["bottleneck"] is None
    assert document["send_lag_p99_us"] is None


@pytest.mark.parametrize(
    ("cores", "lags", "words"),
    [
        ([0.89], {}, None),
        ([0.1, 0.95], {}, "used 95 % of a core, more than 90 %"),
        ([0.1], {9_000: 100}, None),
        ([0.1], {10: 98, 20_000: 2}, "1 of 100 messages was sent 2.0 ms late"),
    ],
)
def test_verdict_on_the_client(cores: list[float], lags: dict[int, int], words: str | None) -> None:
    """Above 90 % of a core, or 1 ms of lag at the 99th percentile."""
    why = figures(outcome=Outcome(cores=cores), lags=lags).bottleneck
    assert (why is None) if words is None else (words in str(why))


def test_curve_of_percentiles_rises_as_far_as_messages_can_tell() -> None:
    """With 1000 messages there is no 99.99th percentile."""
    curve = figures([1000]).percentile_curve()
    assert [us for _, us in curve] == sorted(us for _, us in curve)
    assert 99 < curve[-1][0] <= 99.9
    assert figures([0]).percentile_curve() == []
