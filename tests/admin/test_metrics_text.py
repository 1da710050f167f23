"""metrics_text: the same bytes as those of prometheus-client, whatever labels and numbers are."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("prometheus_client")
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from asyncrev.admin.metrics_text import HistogramText, open_metrics, prometheus_text

OPEN = "application/openmetrics-text; version=1.0.0"

KINDS: tuple[Any, ...] = (CounterMetricFamily, GaugeMetricFamily, UnknownMetricFamily)
TEXTS = st.text(st.sampled_from('a1é \\\n"{},=#'), max_size=6)
VALUES = st.one_of(st.floats(), st.integers(0, 1 << 70), st.booleans())


class Made(Collector):
    """A collector of what a test has made."""

    def __init__(self, families: list[Metric]) -> None:
        self.families = families

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self.families


def theirs(families: list[Metric], accept: str) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Made(families))
    encoded: bytes = choose_encoder(accept)[0](registry)
    return encoded


def check(families: list[Metric]) -> None:
    assert prometheus_text(families) == theirs(families, "")
    assert open_metrics(families) == theirs(families, OPEN)


@given(
    kind=st.sampled_from(KINDS),
    documentation=TEXTS,
    samples=st.lists(st.tuples(TEXTS, TEXTS, VALUES), max_size=4),
)
def test_any_labels_and_values(kind: Any, documentation: str, samples: list[Any]) -> None:
    """Escaped as they have to be."""
    family = kind("asyncrev_x", documentation, labels=["worker", "by"])
    for worker, by, value in samples:
        family.add_metric([worker, by], value)
    check([family])


@given(
    worker=TEXTS,
    counts=st.lists(st.integers(0, 1 << 60), min_size=3, max_size=3),
    sum_s=st.floats(0, 1e9),
)
def test_histograms_made_of_counts(worker: str, counts: list[int], sum_s: float) -> None:
    """Cumulative, and with the labels in their order."""
    made = HistogramText("asyncrev_s", "How \\ long.", [])
    made.add(worker, {"bounds_s": [2e-06, 0.5], "counts": counts, "sum_s": sum_s})
    family = HistogramMetricFamily("asyncrev_s", "How \\ long.", labels=["worker"])
    first, second, last = itertools.accumulate(counts)
    buckets = [("2e-06", float(first)), ("0.5", float(second)), ("+Inf", float(last))]
    family.add_metric([worker], buckets, sum_value=sum_s)
    assert prometheus_text([made]) == theirs([family], "")
    assert open_metrics([made]) == theirs([family], OPEN)


def test_all_kinds_at_once() -> None:
    """One without a label or without a sample, too."""
    info = InfoMetricFamily("asyncrev_build", "What.", labels=["worker"])
    info.add_metric(["0"], {"version": "1", "plane": "native"})
    histogram = HistogramMetricFamily("asyncrev_s", "How long.", labels=["worker"])
    histogram.add_metric(["0"], [("0.001", 1), ("+Inf", 3)], sum_value=0.5)
    check(
        [
            GaugeMetricFamily("asyncrev_workers", "How many.", 3),
            GaugeMetricFamily("asyncrev_far", "Far.", math.inf),
            CounterMetricFamily("asyncrev_none_total", "None yet.", labels=["cause"]),
            info,
            histogram,
        ]
    )
