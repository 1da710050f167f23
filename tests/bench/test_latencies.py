"""latencies: percentiles with three digits."""

import math
import random

import pytest

pytest.importorskip("hdrh")

from hdrh.histogram import HdrHistogram

from asyncrev.bench.latencies import Latencies


def test_percentiles_are_right_to_three_digits() -> None:
    """Against sorted values."""
    source = random.Random(1)
    values = sorted(int(source.lognormvariate(7, 1.5)) for _ in range(20_000))
    latencies = Latencies()
    for units in values:
        latencies.add_counts({units: 1})
    assert latencies.count == len(values)
    assert latencies.max_us == pytest.approx(values[-1] / 10, rel=2e-3)
    assert latencies.mean_us == pytest.approx(sum(values) / len(values) / 10, rel=2e-3)
    for percent in (50, 90, 99, 99.9):
        exact = values[math.ceil(len(values) * percent / 100) - 1] / 10
        assert latencies.percentile_us(percent) == pytest.approx(exact, rel=5e-3)


def test_nothing_has_no_percentiles() -> None:
    """They are 0."""
    latencies = Latencies()
    latencies.add(Latencies())
    assert (latencies.count, latencies.max_us, latencies.mean_us) == (0, 0.0, 0.0)
    assert latencies.percentile_us(99) == 0.0


def test_sums_and_text_keep_everything() -> None:
    """The text is what HdrHistogram of other languages reads, too."""
    one, other = Latencies(), Latencies()
    one.add_counts({1000: 2, -5: 1})
    other.add_counts({2000: 1, 10**15: 1})
    one.add(other)
    assert one.count == 5
    read = HdrHistogram.decode(one.encoded().encode())
    assert read.get_total_count() == 5
    assert read.values_are_equivalent(read.get_value_at_percentile(50), 1000)
