"""durations: buckets, marks, and the same counts by both planes."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.ring.durations import BOUNDS_S, BUCKETS, NAMES, Durations, bucket_of
from asyncrev.ring.ring import DATA, Ring
from asyncrev.ring.row import Row, Work
from asyncrev.work.kernel_choice import Kernel
from tests.planes import EACH_PLANE, NATIVE_PLANE, NativeReverse, needs_plane, plain_work_class
from tests.support import publish


class Clock:
    """Moves when it is told."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000

    def __call__(self) -> int:
        return self.now_ns


class Bench:
    """A ring of 8 entries, and durations by a clock that moves when it is told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.ring = Ring(8, 8)
        self.row = Row(plain_work_class(Work)(None))
        self.durations = Durations(self.ring, self.clock)

    def publish(self, times: int) -> None:
        for _ in range(times):
            publish(self.ring, self.row, b"abc", DATA)
        self.durations.note_published()

    def release(self, times: int) -> None:
        for _ in range(times):
            self.ring.processed_seq += 1
        self.ring.release(times)
        self.durations.note_released()

    def replies(self) -> dict[int, int]:
        """Return the counts by bucket, without those that are 0."""
        counts, _ = self.durations.counts()[2]
        return {bucket: count for bucket, count in enumerate(counts) if count}


def test_bounds_are_powers_of_two_microseconds() -> None:
    """One more bucket than bounds, and one histogram per name."""
    assert len(BOUNDS_S) == BUCKETS - 1
    assert (BOUNDS_S[0], BOUNDS_S[1], BOUNDS_S[-1]) == (2e-6, 4e-6, 8.388608)
    assert len(Durations(Ring(1, 1)).counts()) == len(NAMES)


@given(st.integers(0, 1 << 45))
def test_duration_is_within_its_bucket(duration_ns: int) -> None:
    """Its bound belongs to a bucket, as `le` of Prometheus has it."""
    bucket = bucket_of(duration_ns)
    bounds_ns = [round(bound_s * 1e9) for bound_s in BOUNDS_S]
    if bucket < BUCKETS - 1:
        assert duration_ns <= bounds_ns[bucket]
    if bucket:
        assert duration_ns > bounds_ns[bucket - 1]


def test_reply_counts_from_the_poll_that_reported_it() -> None:
    """Each entry, though they come and go together."""
    bench = Bench()
    bench.durations.note_awake()
    bench.clock.now_ns += 1_000_000
    bench.publish(3)
    bench.clock.now_ns += 1_000_000
    bench.release(2)
    assert bench.replies() == {bucket_of(2_000_000): 2}
    bench.durations.note_poll()
    bench.durations.note_awake()  # another iteration
    bench.publish(2)
    bench.clock.now_ns += 30_000_000
    bench.release(3)
    assert bench.replies() == {
        bucket_of(2_000_000): 2,
        bucket_of(32_000_000): 1,
        bucket_of(30_000_000): 2 + (bucket_of(32_000_000) == bucket_of(30_000_000)),
    }
    _, sum_ns = bench.durations.counts()[2]
    assert sum_ns == 2 * 2_000_000 + 32_000_000 + 2 * 30_000_000


def test_without_polls_it_counts_from_the_flush() -> None:
    """As on a loop without iteration hooks."""
    bench = Bench()
    bench.clock.now_ns += 1_000_000
    bench.publish(1)
    bench.clock.now_ns += 5_000_000
    bench.release(1)
    assert bench.replies() == {bucket_of(5_000_000): 1}


def test_what_was_published_before_is_not_counted() -> None:
    """Nobody knows since when it waits."""
    bench = Bench()
    publish(bench.ring, bench.row, b"abc", DATA)
    bench.durations = Durations(bench.ring, bench.clock)
    bench.publish(1)
    bench.release(1)
    assert bench.replies() == {}
    bench.release(1)
    assert bench.replies() == {0: 1}


def test_turns_are_between_polls() -> None:
    """A poll that was noted twice counts from the first; one that was not noted does not count."""
    bench = Bench()
    durations = bench.durations
    durations.note_poll()
    assert sum(durations.counts()[0][0]) == 0
    durations.note_awake()
    bench.clock.now_ns += 3000
    durations.note_awake()
    bench.clock.now_ns += 4000
    durations.note_poll()
    durations.note_poll()
    counts, sum_ns = durations.counts()[0]
    assert (sum(counts), sum_ns) == (1, 7000)


def test_worker_counts_each_entry_from_the_one_before() -> None:
    """The first from when it was taken."""
    bench = Bench()
    bench.durations.note_taken()
    for took_ns in (1000, 5_000_000):
        bench.clock.now_ns += took_ns
        bench.durations.note_processed()
    counts, sum_ns = bench.durations.counts()[1]
    assert sum_ns == 5_001_000
    assert counts[0] == counts[bucket_of(5_000_000)] == 1


# -- both planes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", EACH_PLANE)
def test_plane_measures_nothing_before_it_is_told(classes: Any) -> None:
    """And once only."""
    plane = classes.Plane(classes.Ring(8, 8), 8, 1024)
    for note in (plane.note_awake, plane.note_poll, plane.note_published, plane.note_released):
        assert note() is None
    assert plane.durations() is None
    plane.measure()
    first = plane.durations()
    assert [(len(counts), sum(counts), sum_ns) for counts, sum_ns in first] == [(BUCKETS, 0, 0)] * 3
    plane.note_awake()
    plane.note_poll()
    plane.measure()
    assert sum(plane.durations()[0][0]) == 1


@pytest.mark.parametrize("classes", EACH_PLANE)
@given(steps=st.lists(st.tuples(st.sampled_from("pPrRan"), st.integers(1, 9)), max_size=60))
def test_each_entry_and_each_turn_is_counted_once(
    classes: Any, steps: list[tuple[str, int]]
) -> None:
    """Whatever is noted when; what is not noted at once (in capitals) is counted later."""
    ring = classes.Ring(8, 8)
    plane = classes.Plane(ring, 100, 1024)
    row = classes.Row(plain_work_class(classes.Work)(None))
    plane.measure()
    turns, is_awake = 0, False
    for step, times in steps:
        if step in "pP":
            for _ in range(min(times, 8 - (ring.published_seq - ring.released_seq))):
                publish(ring, row, b"abc", DATA)
            if step == "p":
                plane.note_published()
        elif step in "rR":
            count = min(times, ring.published_seq - ring.released_seq)
            for _ in range(count):
                ring.mark_processed()
            ring.release(count)
            if step == "r":
                plane.note_published()  # as a flush precedes each delivery
                plane.note_released()
        elif step == "a":
            is_awake = True
            plane.note_awake()
        else:
            turns += is_awake
            is_awake = False
            plane.note_poll()
    plane.note_published()
    plane.note_released()
    loop_turn, processing, reply = plane.durations()
    assert sum(loop_turn[0]) == turns
    assert sum(reply[0]) == ring.released_seq
    assert sum(processing[0]) == 0


@pytest.mark.parametrize("classes", EACH_PLANE)
def test_worker_counts_what_python_answers_one_by_one(classes: Any) -> None:
    """A slow entry has a bucket of its own."""

    class Slow:
        def process(self, chunk: memoryview) -> bytes:
            if chunk[:1] == b"s":
                time.sleep(0.02)
            return bytes(chunk)

    ring = classes.Ring(8, 8)
    plane, signal = classes.Plane(ring, 100, 1024), classes.DeliverySignal(lambda: None)
    row = classes.Row(plain_work_class(classes.Work)(Slow()))
    plane.measure()
    for data in (b"a", b"slow", b"b"):
        publish(ring, row, data, DATA)
    plane.answer(3, signal, None, None)
    counts, sum_ns = plane.durations()[1]
    assert sum(counts) == 3
    assert sum(counts[bucket_of(20_000_000) :]) == 1
    assert sum_ns >= 20_000_000


@needs_plane
def test_kernels_count_with_the_mean_of_their_batch() -> None:
    """Of which the clock is read twice, however long it is."""
    assert NATIVE_PLANE is not None
    ring = NATIVE_PLANE.Ring(8, 8)
    plane, parker = NATIVE_PLANE.Plane(ring, 100, 1024), NATIVE_PLANE.Parker()
    signal = NATIVE_PLANE.DeliverySignal(lambda: None)
    work = plain_work_class(NATIVE_PLANE.Work)(NativeReverse())
    work.use_kernel(Kernel.REVERSE, 0)
    row = NATIVE_PLANE.Row(work)
    plane.measure()
    for _ in range(5):
        publish(ring, row, b"abc", DATA)
    assert plane.wait(0, parker, signal, 0.0, False) == (5, False)
    counts, sum_ns = plane.durations()[1]
    assert sum(counts) == max(counts) == 5
    assert sum_ns > 0
