"""Metrics in the formats of Prometheus, made from what workers have said. Thread: any.

The names are public: docs/metrics.md has them, and a test holds the two together. No label has a
value that a peer chooses.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from asyncrev.admin.metrics_text import HistogramText, open_metrics, prometheus_text

__all__ = ["HISTOGRAMS", "METRICS", "encoder_for", "exposition"]

Said = Mapping[str, Any]
Value = float | Mapping[str, float] | None


@dataclasses.dataclass(frozen=True, slots=True)
class _Row:
    """One metric.

    Attributes:
        name: as samples have it.
        help: one sentence.
        read: from an answer to "statistics" the value; with a label, the values by its values.
        label: beside `worker`, or "".
    """

    name: str
    help: str
    read: Callable[[Said], Value]
    label: str = ""


def _at(*keys: str) -> Callable[[Said], Value]:
    """Return a function that follows `keys`, to None if there is nothing."""

    def read(said: Said) -> Value:
        found: Any = said
        for key in keys:
            if found is None:
                return None
            found = found[key]
        value: Value = found
        return value

    return read


def _ring(said: Said) -> Value:
    bridge = said["statistics"]["bridge"]
    in_use = bridge["published"] - bridge["released"]
    return {
        "waiting": bridge["published"] - bridge["processed"],
        "processed": bridge["processed"] - bridge["released"],
        "free": said["limits"]["ring_entries"] - in_use,
    }


def _pool(said: Said) -> Value:
    pool = said["statistics"]["bridge"]["pool"]
    return {state: pool[f"{state}_bytes"] for state in ("in_use", "kept", "reserved")}


def _handshakes(said: Said) -> Value:
    found = said["statistics"]["handshakes"]
    return None if found is None else {state: found[state] for state in ("within", "waiting")}


def _pending(said: Said) -> Value:
    found = said["statistics"]["pending"]
    if found is None:
        return None
    running = found["running"]
    return {"running": running, "waiting": max(0, found["requests"] - running)}


def _of_tls(*keys: str) -> Callable[[Said], Value]:
    read = _at(*keys)
    return lambda said: None if said["statistics"]["handshakes"] is None else read(said)


_BRIDGE = ("statistics", "bridge")

# Names that end in _total are counters, the others gauges.
METRICS = (
    _Row("asyncrev_connections", "Open connections.", _at("statistics", "connections")),
    _Row(
        "asyncrev_connections_limit",
        "Open connections at which accepting stops.",
        _at("limits", "max_connections"),
    ),
    _Row(
        "asyncrev_connections_accepted_total",
        "Connections accepted.",
        _at("statistics", "accepted"),
    ),
    _Row("asyncrev_accept_errors_total", "Failed accepts.", _at("accept_errors"), "errno"),
    _Row("asyncrev_accepting", "Whether new connections are accepted.", _at("accepting")),
    _Row(
        "asyncrev_connections_cut_total",
        "Connections that this side has ended.",
        _at("statistics", "aborted"),
        "reason",
    ),
    _Row("asyncrev_received_bytes_total", "Bytes received.", _at("statistics", "received_bytes")),
    _Row("asyncrev_replied_bytes_total", "Bytes replied.", _at("statistics", "replied_bytes")),
    _Row(
        "asyncrev_reading_paused_connections",
        "Connections that are not read now, by what they wait for.",
        _at("paused"),
        "by",
    ),
    _Row("asyncrev_ring_entries", "Entries of the ring.", _ring, "state"),
    _Row("asyncrev_ring_entries_limit", "Entries of the ring.", _at("limits", "ring_entries")),
    _Row(
        "asyncrev_ring_published_entries_total",
        "Entries given to the workers.",
        _at(*_BRIDGE, "published"),
    ),
    _Row(
        "asyncrev_ring_processed_entries_total",
        "Entries that the workers have processed.",
        _at(*_BRIDGE, "processed"),
    ),
    _Row("asyncrev_pool_bytes", "Bytes of the buffer pool.", _pool, "state"),
    _Row(
        "asyncrev_pool_limit_bytes",
        "Bytes that the buffer pool may have.",
        _at("limits", "pool_bytes"),
    ),
    _Row(
        "asyncrev_pool_refused_total",
        "How often a connection had to wait for the buffer pool.",
        _at(*_BRIDGE, "pool", "refused"),
    ),
    _Row(
        "asyncrev_processor_errors_total",
        "Connections that an exception of the processor has closed.",
        _at(*_BRIDGE, "processor_errors"),
    ),
    _Row(
        "asyncrev_backstop_wakes_total",
        "Lost wake-ups that a timeout has made good; each is a defect of asyncrev.",
        _at(*_BRIDGE, "backstop_wakes"),
    ),
    _Row(
        "asyncrev_memory_bound_bytes",
        "The most memory that connections make the process hold.",
        _at("statistics", "memory_bound_bytes"),
    ),
    _Row("asyncrev_draining", "Whether the process drains, or is about to.", _at("stopping")),
    _Row(
        "asyncrev_pending_requests",
        "Requests to a processor whose replies come later.",
        _pending,
        "state",
    ),
    _Row(
        "asyncrev_pending_bytes",
        "Their input and replies, until the replies are given out.",
        _at("statistics", "pending", "held_bytes"),
    ),
    _Row(
        "asyncrev_pending_oldest_seconds",
        "For how long the oldest of them has had no reply.",
        _at("statistics", "pending", "oldest_s"),
    ),
    _Row(
        "asyncrev_pending_timeouts_total",
        "Of these, those that had no reply in time.",
        _at("statistics", "pending", "timeouts"),
    ),
    _Row(
        "asyncrev_tls_handshakes",
        "Connections before the end of their handshake.",
        _handshakes,
        "state",
    ),
    _Row(
        "asyncrev_tls_handshakes_limit",
        "Connections that may be within their handshake.",
        _of_tls("limits", "tls_handshakes_in_flight"),
    ),
    _Row(
        "asyncrev_tls_handshakes_delayed_total",
        "Connections whose handshake had to wait for that of others.",
        _at("statistics", "handshakes", "waited"),
    ),
    _Row(
        "asyncrev_tls_certificate_expiry_timestamp_seconds",
        "When the certificate expires, of clients that name no host.",
        _at("certificate_expires_s"),
    ),
    _Row(
        "process_cpu_seconds_total",
        "CPU time, user and system.",
        _at("process", "cpu_seconds"),
    ),
    _Row(
        "process_resident_memory_bytes",
        "Resident memory.",
        _at("process", "resident_memory_bytes"),
    ),
    _Row(
        "process_start_time_seconds",
        "When the process started, since the epoch.",
        _at("process", "start_time_seconds"),
    ),
    _Row("process_open_fds", "Open descriptors.", _at("process", "open_fds")),
    _Row("process_max_fds", "Descriptors that may be open.", _at("process", "max_fds")),
)


# Names, those of an answer's histograms, and helps.
HISTOGRAMS = (
    (
        "asyncrev_loop_turn_seconds",
        "loop_turn_s",
        "Iterations of the event loop, without their wait.",
    ),
    (
        "asyncrev_processing_seconds",
        "processing_s",
        "How long the workers take for an entry of the ring.",
    ),
    (
        "asyncrev_reply_latency_seconds",
        "reply_latency_s",
        "From the poll that reported input until the reply was given to the transport.",
    ),
)


class _Answers:
    """The answers of one scrape."""

    def __init__(self, answers: Mapping[str, Said | None], facts: Said | None) -> None:
        self._answers = answers
        self._facts = facts

    def collect(self) -> Iterator[Metric | HistogramText]:
        """Yield each metric that a worker has a value of."""
        if self._facts is not None:
            yield from _of_supervisor(self._facts)
        yield self._up()
        yield self._build_info()
        for row in METRICS:
            metric = self._metric(row)
            if metric.samples:
                yield metric
        for name, key, text in HISTOGRAMS:
            family = self._histogram(name, key, text)
            if family.lines:
                yield family

    def _up(self) -> Metric:
        up = GaugeMetricFamily(
            "asyncrev_worker_up", "Whether the worker process answers.", labels=["worker"]
        )
        for worker, said in self._answers.items():
            up.add_metric([worker], said is not None)
        return up

    def _build_info(self) -> Metric:
        info = InfoMetricFamily("asyncrev_build", "What the process runs.", labels=["worker"])
        for worker, said in self._answers.items():
            if said is not None:
                told = {"version": said["version"], "python": said["python"]}
                info.add_metric([worker], {**told, "plane": said["statistics"]["plane"]})
        return info

    def _metric(self, row: _Row) -> Metric:
        labels = ["worker", row.label] if row.label else ["worker"]
        kind = CounterMetricFamily if row.name.endswith("_total") else GaugeMetricFamily
        metric = kind(row.name, row.help, labels=labels)
        for worker, said in self._answers.items():
            value = None if said is None else row.read(said)
            if isinstance(value, Mapping):
                for name, number in value.items():
                    metric.add_metric([worker, name], number)
            elif value is not None:
                metric.add_metric([worker], value)
        return metric

    def _histogram(self, name: str, key: str, text: str) -> HistogramText:
        family = HistogramText(name, text, [])
        for worker, said in self._answers.items():
            histogram = None if said is None else said.get("histograms", {}).get(key)
            if histogram is not None:
                family.add(worker, histogram)
        return family


def _of_supervisor(facts: Said) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "asyncrev_workers", "Worker processes that there should be.", facts["workers"]
    )
    restarts = CounterMetricFamily(
        "asyncrev_worker_restarts_total",
        "Worker processes that ended before they were told to.",
        labels=["cause"],
    )
    # One of them is there from the start, so that the first restart is an increase of the sum.
    for cause, number in {"hung": 0, **facts["restarts"]}.items():
        restarts.add_metric([cause], number)
    yield restarts


Encoder = Callable[[Iterable[Metric | HistogramText]], bytes]


def encoder_for(accept: str) -> tuple[Encoder, str]:
    """Return who makes the format that a header Accept prefers, and its content type.

    That is OpenMetrics if it is asked for, else the text format of Prometheus.
    """
    _, content_type = choose_encoder(accept)
    is_open = content_type.startswith("application/openmetrics-text")
    return open_metrics if is_open else prometheus_text, content_type


def exposition(
    answers: Mapping[str, Said | None], encode: Encoder, facts: Said | None = None
) -> bytes:
    """Return all metrics in one format.

    Args:
        answers: to "statistics", by worker; None for a worker that has not answered.
        encode: see `encoder_for`.
        facts: what a supervisor says of itself, see `Supervision`.
    """
    return encode(_Answers(answers, facts).collect())
