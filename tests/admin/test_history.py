"""history: what is done per second, sums of workers, and the samples of ten minutes."""

import copy
import json
from typing import Any

import pytest

from asyncrev.admin.history import (
    HISTORY_S,
    LIMITS,
    MOST_SAMPLES,
    PAUSED_BY,
    QUANTILES,
    SERIES,
    History,
    Rates,
    quantile_s,
    sums,
)
from tests.admin.talking import STATISTICS


def answer(worker: str = "0", **changes: float) -> dict[str, Any]:
    """Return what /stats.json has of one worker, with other counters."""
    said = copy.deepcopy(STATISTICS)
    said["statistics"]["received_bytes"] += changes.get("received", 0)
    said["statistics"]["replied_bytes"] += changes.get("replied", 0)
    said["statistics"]["bridge"]["processed"] += changes.get("processed", 0)
    said["process"]["cpu_seconds"] += changes.get("cpu", 0)
    said["process"]["start_time_seconds"] = changes.get("started", 7.0)
    return {"worker": worker, "up": True, **said}


DOWN = {"worker": "0", "up": False, "why": "gone"}
RATES = ("received_bytes_per_s", "replied_bytes_per_s", "chunks_per_s", "cpu_cores")


def rates_of(row: dict[str, Any]) -> list[Any]:
    return [row[name] for name in RATES]


def test_first_row_has_levels_and_no_rates() -> None:
    """There is no time that they could be of."""
    (row,) = Rates().rows(100.0, [answer()])
    assert rates_of(row) == [None] * 4
    assert (row["worker"], row["up"], row["version"]) == ("0", True, "1.2.3")
    assert (row["connections"], row["max_connections"]) == (3, 5)
    assert (row["ring_entries"], row["ring_entries_limit"]) == (20, 100)
    assert (row["pool_in_use_bytes"], row["pool_reserved_bytes"]) == (11, 22)
    assert row["pool_limit_bytes"] == 44
    assert [row[f"paused_{by}"] for by in PAUSED_BY] == [1, 0, 0, 2, 0]
    assert row["ends"] == {"write stall": 2}


def test_rates_are_of_the_time_since_the_answer_before() -> None:
    """Also where one is missing in between."""
    rates = Rates()
    rates.rows(100.0, [answer()])
    changed = answer(received=4000, replied=2000, processed=6, cpu=1.0)
    (row,) = rates.rows(102.0, [changed])
    assert rates_of(row) == [2000, 1000, 3, 0.5]
    assert rates.rows(103.0, [DOWN]) == [DOWN]
    (row,) = rates.rows(106.0, [answer(received=8000, replied=2000, processed=6, cpu=1.0)])
    assert rates_of(row) == [1000, 0, 0, 0.0]


def test_other_process_in_its_place_begins_again() -> None:
    """Its counters say nothing of the one before, higher or lower."""
    rates = Rates()
    rates.rows(100.0, [answer(received=10**9)])
    (row,) = rates.rows(101.0, [answer(started=8.0, received=2 * 10**9)])
    assert rates_of(row) == [None] * 4
    (row,) = rates.rows(102.0, [answer(started=8.0, received=2 * 10**9 + 5)])
    assert row["received_bytes_per_s"] == 5


def test_rates_are_never_negative_and_need_time_to_pass() -> None:
    """Whatever a source says."""
    rates = Rates()
    rates.rows(100.0, [answer(received=50)])
    (row,) = rates.rows(101.0, [answer()])
    assert row["received_bytes_per_s"] == 0
    (row,) = rates.rows(101.0, [answer(received=10)])
    assert rates_of(row) == [None] * 4


def test_workers_that_are_gone_are_forgotten() -> None:
    """Their names may be given again."""
    rates = Rates()
    rates.rows(100.0, [answer("0"), answer("1")])
    rates.rows(101.0, [answer("1")])
    (row, other) = rates.rows(102.0, [answer("0", received=9), answer("1", received=9)])
    assert (row["received_bytes_per_s"], other["received_bytes_per_s"]) == (None, 9)


def test_process_that_tells_no_start_is_taken_for_the_same() -> None:
    """Without /proc nothing is known of it."""
    rates = Rates()
    without = answer()
    without["process"]["start_time_seconds"] = None
    rates.rows(100.0, [without])
    (row,) = rates.rows(101.0, [without])
    assert row["received_bytes_per_s"] == 0


def test_draining_shows_before_the_state_does() -> None:
    """From the stop on."""
    (row,) = Rates().rows(1.0, [answer() | {"stopping": True}])
    assert row["state"] == "draining"


def test_sums_are_of_those_that_answer() -> None:
    """Without any they are unknown, not 0."""
    rows = Rates().rows(1.0, [answer("0"), answer("1"), DOWN])
    found = sums(rows)
    assert set(found) == {*SERIES, *LIMITS} - {*QUANTILES}
    assert (found["connections"], found["paused_quota"], found["max_connections"]) == (6, 4, 10)
    assert found["received_bytes_per_s"] is None
    assert set(sums([DOWN]).values()) == {None}
    assert set(sums([]).values()) == {None}


BOUNDS_S = [0.001, 0.002, 0.004]


def measured(worker: str, *counts: int, started: float = 7.0) -> dict[str, Any]:
    """Return an answer with a histogram of replies, and no other."""
    histogram = {"bounds_s": BOUNDS_S, "counts": list(counts), "sum_s": 1.0}
    return answer(worker, started=started) | {"histograms": {"reply_latency_s": histogram}}


def test_quantiles_are_of_the_interval_and_of_all_workers() -> None:
    """What was counted before does not show; a worker that measures nothing has none."""
    rates = Rates()
    first = rates.rows(1.0, [measured("0", 50, 0, 0, 0), measured("1", 0, 0, 7, 0), answer("2")])
    assert {row["reply_p50_s"] for row in first} == {None}
    assert rates.quantiles == dict.fromkeys(QUANTILES)
    rows = rates.rows(2.0, [measured("0", 50, 10, 0, 0), measured("1", 0, 0, 27, 0), answer("2")])
    assert [row["reply_p50_s"] for row in rows] == [0.0015, 0.003, None]
    assert rates.quantiles["reply_p50_s"] == pytest.approx(0.0025)
    assert rates.quantiles["loop_turn_p99_s"] is None
    rates.rows(3.0, [measured("0", 50, 10, 0, 0), measured("1", 0, 0, 27, 0)])
    assert rates.quantiles["reply_p99_s"] is None  # nothing has happened


def test_quantiles_of_another_process_begin_again() -> None:
    """Or of one with other buckets."""
    rates = Rates()
    rates.rows(1.0, [measured("0", 5, 0, 0, 0)])
    (row,) = rates.rows(2.0, [measured("0", 9, 0, 0, 0, started=8.0)])
    assert row["reply_p50_s"] is None
    other = measured("0", 99, 0, 0, 0, started=8.0)
    other["histograms"]["reply_latency_s"]["bounds_s"] = [1, 2, 3]
    (row,) = rates.rows(3.0, [other])
    assert row["reply_p50_s"] is None
    fewer = measured("0", 99, 0, started=8.0)
    fewer["histograms"]["reply_latency_s"]["bounds_s"] = [1, 2, 3]
    (row,) = rates.rows(4.0, [fewer])
    assert row["reply_p50_s"] is None
    (row,) = rates.rows(5.0, [fewer | {"histograms": None}])
    assert row["reply_p50_s"] is None


@pytest.mark.parametrize(
    ("counts", "share", "expected_s"),
    [
        ((0, 0, 0, 0), 0.5, None),
        ((10, 0, 0, 0), 0.5, 0.0005),
        ((10, 10, 0, 0), 0.5, 0.001),
        ((0, 100, 0, 0), 0.99, 0.00199),
        ((50, 0, 50, 0), 0.75, 0.003),
        ((1, 0, 0, 99), 0.5, 0.004),  # beyond the last bound nothing is known
        ((0, 0, 0, 1), 1.0, 0.004),
        ((1, 0, 1, 0), 1.0, 0.004),
    ],
)
def test_quantile_lies_within_its_bucket(
    counts: tuple[int, ...], share: float, expected_s: float | None
) -> None:
    """Times are taken to be spread evenly there."""
    assert quantile_s(BOUNDS_S, counts, share) == pytest.approx(expected_s)


def samples_of(history: History, after_ms: int = 0) -> list[list[Any]]:
    return [json.loads(sample) for sample in history.after(after_ms)]


def test_history_is_newest_last_and_can_be_asked_for_what_is_newer() -> None:
    """A sample has one number for each series after its time."""
    history = History()
    assert (history.newest_ms, history.after(0)) == (0, [])
    rows = Rates().rows(1.0, [answer()])
    for at_ms in (1000, 2000, 3000):
        history.note(at_ms, rows, {"reply_p50_s": 0.5})
    assert [sample[0] for sample in samples_of(history)] == [1000, 2000, 3000]
    assert [sample[0] for sample in samples_of(history, 1000)] == [2000, 3000]
    assert [sample[0] for sample in samples_of(history, 1500)] == [2000, 3000]
    assert samples_of(history, 3000) == []
    newest = dict(zip(("at_ms", *SERIES), samples_of(history, 2000)[0], strict=True))
    assert newest["connections"] == 3
    assert newest["replied_bytes_per_s"] is None
    assert (newest["reply_p50_s"], newest["reply_p99_s"]) == (0.5, None)


def test_time_of_another_process_gets_everything() -> None:
    """Its clock may have been ahead."""
    history = History()
    history.note(1000, [])
    assert len(history.after(5000)) == 1


def test_times_grow_although_the_clock_is_set_back() -> None:
    """Else a page would take it for another process."""
    history = History()
    for at_ms in (5000, 4000, 4001, 9000):
        history.note(at_ms, [])
    assert [sample[0] for sample in samples_of(history)] == [5000, 5001, 5002, 9000]


@pytest.mark.parametrize("step_ms", [1000, 10_000, 1])
def test_history_is_bounded_in_time_and_number(step_ms: int) -> None:
    """Ten minutes, and no more than one sample per second of them, of a bounded size."""
    history = History()
    (row,) = Rates().rows(1.0, [answer()])
    row |= dict.fromkeys(SERIES, 2**53)
    for number in range(1, 2000):
        history.note(number * step_ms, [row], dict.fromkeys(QUANTILES, 0.000123))
    times = [sample[0] for sample in samples_of(history)]
    assert len(times) == min(MOST_SAMPLES, HISTORY_S * 1000 // step_ms + 1)
    assert times[-1] - times[0] <= HISTORY_S * 1000
    assert sum(len(sample) for sample in history.after(0)) < 200_000
