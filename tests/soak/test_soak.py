"""The soak itself: it passes when all is well, and fails when it should."""

import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.process.processors import HERE
from tests.soak.samples import Sample, rss_slope, rss_slope_bound, slope_per_min, table, verdict

RUN_S = 60.0  # for a short run to end; nothing depends on it

REST = Sample(
    at_s=0.0,
    rss_kib=50_000.0,
    descriptors=9,
    threads=3,
    cpu_s=0.0,
    connections=0,
    accepted=1,
    entries=3,
    received_bytes=5,
    backstop_wakes=0,
    aborted={},
)


def minutes_of(minutes: int, kib_per_min: float) -> list[Sample]:
    """Return a sample a second of a server whose memory grows so much."""
    return [
        dataclasses.replace(REST, at_s=float(at_s), rss_kib=50_000 + kib_per_min * at_s / 60)
        for at_s in range(60 * minutes + 1)
    ]


@given(st.floats(-1e4, 1e4), st.floats(0, 1e6), st.integers(2, 100))
def test_slope_of_a_line_is_its_own(per_min: float, start: float, count: int) -> None:
    """Whatever its height; a single point has none."""
    points = [(float(at_s), start + per_min * at_s / 60) for at_s in range(count)]
    assert slope_per_min(points) == pytest.approx(per_min, abs=1e-3)
    assert slope_per_min(points[:1]) == 0.0


def test_slope_is_that_of_the_second_half() -> None:
    """What a server takes at its beginning does not count."""
    samples = [
        dataclasses.replace(sample, rss_kib=50_000 + 1000 * min(sample.at_s, 300))
        for sample in minutes_of(10, 0)
    ]
    assert rss_slope(samples) == pytest.approx(0, abs=10)
    assert verdict(REST, samples, REST) == []


def test_bound_is_wider_in_short_runs() -> None:
    """In the second half of a long one, it is what an hour would show."""
    assert rss_slope_bound(minutes_of(60, 0)) == 256
    assert rss_slope_bound(minutes_of(4, 0)) == 1024


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({"descriptors": 10}, "10 descriptors after the load; 9 before it"),
        ({"threads": 4}, "4 threads after the load; 3 before it"),
        ({"connections": 1}, "1 connections after the load; 0 before it"),
        ({"backstop_wakes": 1}, "1 sleeps ended by the backstop; none may"),
    ],
)
def test_what_is_left_after_the_load_is_told(after: dict[str, int], told: str) -> None:
    """Each by itself."""
    assert verdict(REST, minutes_of(1, 0), dataclasses.replace(REST, **after)) == [told]


def test_growing_memory_is_told_and_shown() -> None:
    """With the slope and its bound."""
    assert verdict(REST, minutes_of(60, 250), REST) == []
    samples = minutes_of(60, 300)
    assert verdict(REST, samples, REST) == [
        "resident memory grew by 300 KiB/min; at most 256 are allowed"
    ]
    assert "second half: +300 KiB/min; at most 256 are allowed" in table("raw", samples)[-1]
    assert [len(line) for line in table("raw", samples)[:10]] == [66] * 10
    last = dataclasses.replace(samples[-1], aborted={"write stall": 7, "frame too large": 1})
    assert "aborted by the server: frame too large 1, write stall 7" in table("raw", [last])


def short_run(minutes: float, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    command = [sys.executable, "-m", "tests.soak", "--minutes", str(minutes), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=3 * RUN_S, check=False, **HERE
    )


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(200)
@pytest.mark.parametrize("loop", ["epoll", "uvloop"])
def test_short_soak_passes(loop: str) -> None:
    """Everything is verified, all kinds of clients and faults took part."""
    done = short_run(0.2, "--loop", loop)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert done.stdout.endswith("\nerrors: 0\n")
    for name in ("limit_data", "reset_peer", "slow_close", "never_reading", "resetting"):
        assert done.stdout.count(f"{name} ") == 2, name  # of the raw server and the framed one


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(200)
def test_soak_of_a_server_that_corrupts_fails_at_once() -> None:
    """It does not go on for the minutes that it was given."""
    done = short_run(10, "--processor", "tests.soak.processors:Corrupting")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "HistoryError" in done.stdout
    assert "changed: bytes of no stream" in done.stdout


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(200)
def test_soak_of_a_server_that_leaks_fails() -> None:
    """By the slope of its memory alone."""
    done = short_run(0.2, "--processor", "tests.soak.processors:Leaking")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "error: raw: resident memory grew by " in done.stdout
    assert done.stdout.endswith("\nerrors: 1\n")
