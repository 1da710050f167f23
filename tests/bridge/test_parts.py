"""parts: a bridge's objects, and counters that agree with what happened."""

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev import Bridge, EpollEventLoop, Limits
from asyncrev.bridge.parts import counters_of, make_parts, progress_of
from tests import strategies
from tests.sinks import FRAMES, TINY, Held, Raises, RecordingSink, Upper
from tests.support import until

EPOLL = pytest.mark.asyncio(loop_factories=["epoll"])


@EPOLL
async def test_statistics_count_what_happened() -> None:
    """Entries, lanes, waiters, overflows, the most slots in use."""
    async with Bridge(Limits(slots=2, entries=2, slot_bytes=8)) as bridge:
        held = Held()
        sink, waiter = RecordingSink(bridge, lambda: held), RecordingSink(bridge)
        sink.send(b"a")
        sink.send(b"b")
        waiter.send(b"c")
        seen = bridge.statistics()
        assert (seen.published, seen.released, seen.lanes) == (2, 0, 2)
        assert (seen.waiting_lanes, seen.overflows) == (1, 1)
        held.go.set()
        await until(lambda: waiter.received, "all is answered")
        await until(lambda: bridge.statistics().released == 3, "all is released")
        seen = bridge.statistics()
        assert (seen.published, seen.processed, seen.waiting_lanes) == (3, 3, 0)
        assert seen.entries_in_use_high == 2
        assert 1 <= seen.worker_batches <= 3
        assert 1 <= seen.worker_largest_batch <= 2
        assert seen.loop_deliveries >= 1
        assert seen.backstop_wakes == seen.processor_errors == 0


@EPOLL
async def test_statistics_of_the_pool_follow_a_frame_through() -> None:
    """Leased while it is unfinished, lent with its reply, claimed back, and then kept."""
    async with Bridge(FRAMES) as bridge:
        sink = RecordingSink(bridge, Upper, framing="line", views_allowed=True)
        assert bridge.statistics().pool.allocations == 0
        sink.send(bytes(1100))
        await until(lambda: bridge.statistics().released == 1, "it is processed")
        pool = bridge.statistics().pool
        assert (pool.in_use_bytes, pool.kept_bytes, pool.leases) == (2048, 0, 1)
        assert pool.reserved_bytes == 2048
        assert pool.reserved_high_bytes >= 2048
        sink.send(b"\n")
        await until(lambda: bridge.statistics().released == 2, "it is answered")
        sink.send(b"a\n")
        await until(lambda: bridge.statistics().released == 3, "so is the next")
        pool = bridge.statistics().pool
        assert (pool.in_use_bytes, pool.in_use_high_bytes, pool.kept_bytes) == (0, 2048, 2048)
        assert (pool.allocations, pool.leases, pool.reserved_bytes) == (1, 1, 0)
        assert (pool.refused, pool.waiting_lanes) == (0, 0)


@pytest.mark.parametrize(
    ("shortest_s", "sweep_s"), [(0.2, 0.05), (2.0, 0.5), (4.0, 1.0), (100.0, 1.0)]
)
def test_sweep_comes_four_times_in_the_shortest_deadline_but_at_least_each_second(
    shortest_s: float, sweep_s: float
) -> None:
    """So no deadline passes late by more than a quarter of it, and none by more than a second."""
    limits = TINY.replace(
        first_byte_timeout_s=1000.0, frame_timeout_s=shortest_s, write_stall_timeout_s=1000.0
    )
    assert Bridge(limits).parts.sweep.interval_s == sweep_s


@EPOLL
async def test_lent_blocks_of_a_bridge_are_claimed_back() -> None:
    """I18: a reply in a block of the pool keeps it until its entry is released, and no longer."""

    class Keeps(Upper):
        def process(self, chunk: memoryview) -> memoryview:  # type: ignore[override]
            return chunk

    async with Bridge(FRAMES) as bridge:
        sink = RecordingSink(bridge, Keeps, framing="line", views_allowed=True)
        for line in (b"first", b"second", b"third"):
            for cut in (line[:2], line[2:] + b"\n"):
                released = bridge.statistics().released
                sink.send(cut)
                await until(
                    lambda before=released: bridge.statistics().released > before, "it is released"
                )
        assert sink.received == b"first\nsecond\nthird\n"
        pool = bridge.statistics().pool
        assert pool.reclaimed >= 2
        assert pool.allocations <= 2


def test_new_bridge_has_counted_nothing_and_its_worker_has_its_name() -> None:
    """`ps -L` shows the name."""
    bridge = Bridge(TINY)
    statistics = bridge.statistics()
    assert (statistics.published, statistics.lanes) == (0, 0)
    assert bridge.parts.worker.name == "asyncrev-worker"
    assert Bridge(TINY, name="mine").parts.worker.name == "mine"


@strategies.QUICK
@given(
    st.lists(st.lists(st.sampled_from([b"a", b"bc", b"fail"]), max_size=6), max_size=4),
)
def test_counters_agree_with_what_any_lanes_did(lanes: list[list[bytes]]) -> None:
    """A ring with entries for all: each chunk, each end and each close is an entry."""

    async def main() -> None:
        limits = Limits(slots=64, entries=64, slot_bytes=8, in_flight_entries=32)
        async with Bridge(limits) as bridge:
            sinks = [RecordingSink(bridge, Raises) for _ in lanes]
            assert counters_of(bridge.parts).lanes == len(lanes)
            for sink, chunks in zip(sinks, lanes, strict=True):
                for chunk in chunks:
                    sink.send(chunk)
                sink.end()
            for sink in sinks:
                await until(lambda sink=sink: sink.is_over, "its end was told")
                sink.close()
            await until(lambda: not len(bridge.parts.lanes), "the lanes are gone")
            seen = counters_of(bridge.parts)
            entries = sum(len(chunks) + 2 for chunks in lanes)
            assert (seen.published, seen.processed, seen.released) == (entries,) * 3
            assert seen.processor_errors == sum(b"fail" in chunks for chunks in lanes)
            assert (seen.lanes, seen.waiting_lanes, seen.overflows) == (0, 0, 0)
            assert seen.entries_in_use_high <= entries
            assert (seen.worker_batches > 0) is (entries > 0)
            assert seen.pool.leases == seen.pool.in_use_bytes == seen.pool.reserved_bytes == 0

    with asyncio.Runner(loop_factory=EpollEventLoop) as runner:
        runner.run(main())


def test_parts_share_one_ring_and_one_set_of_lanes() -> None:
    """None has begun: no thread runs yet, and the loop is nobody's."""
    parts = make_parts(TINY, "mine", lambda error: None)
    assert parts.worker.name == "mine"
    assert not parts.worker.is_alive()
    assert parts.ring.published_seq == 0
    assert len(parts.lanes) == 0
    assert parts.delivery.loop is None
    assert not parts.sweep.is_running
    assert parts.sweep.interval_s > 0


class OneByOne:
    """Waits in each call until the test lets it go on."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)

    def process(self, frame: memoryview) -> bytes:
        self.go.acquire()
        return bytes(frame)

    def eof(self) -> bytes:
        return b""


class Together(OneByOne):
    """Takes all lines that there are; they are given to it in several portions."""

    def process_lines(self, lines: memoryview) -> bytes:
        self.go.acquire()
        return bytes(lines)


@EPOLL
@pytest.mark.parametrize("kind", [OneByOne, Together])
async def test_progress_shows_within_an_entry(kind: type[OneByOne]) -> None:
    """A worker that needs long for a chunk of many frames is not taken for one that is stuck."""
    processor = kind()
    async with Bridge(FRAMES) as bridge:
        sink = RecordingSink(bridge, lambda: processor, framing="line")
        sink.send(600 * b"a\n")
        seen = []
        for _ in range(3):
            before = seen[-1] if seen else None
            await until(
                lambda b=before: (
                    progress_of(bridge.parts) != b  # type: ignore[misc]
                    and progress_of(bridge.parts)["steps"]
                ),
                "it has begun another step",
            )
            seen.append(progress_of(bridge.parts))
            processor.go.release()
        assert [(one["published"], one["processed"]) for one in seen] == 3 * [(1, 0)]
        assert len({one["steps"] for one in seen}) == 3
        processor.go.release(1000)
        await until(lambda: bridge.statistics().processed == 1, "it is processed")
