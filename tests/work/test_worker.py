"""worker: its thread's life, and what may and may not end it."""

import threading
from typing import Any

import pytest

from asyncrev.bridge.lane import Lane
from asyncrev.errors import LocalError
from asyncrev.limits import LEAST_BLOCK_BYTES
from asyncrev.ring.plane import Plane
from asyncrev.ring.ring import CLOSE, DATA, Kind, Ring
from asyncrev.ring.thread_side import ThreadSide
from asyncrev.ring.wakeups import DeliverySignal, Parker
from asyncrev.states import WorkerState
from asyncrev.work import worker as worker_module
from asyncrev.work.block_pool import Pool
from asyncrev.work.make_work import make_work
from asyncrev.work.worker import Worker
from tests.support import DEADLINE_S, entries_between, publish, wait_until


class Bench:
    """A worker with the loop's part played by the test."""

    def __init__(self, slots: int = 8) -> None:
        self.ring = Ring(slots, 8)
        self.parker = Parker()
        self.ended = threading.Event()
        self.ends: list[tuple[BaseException | None, bool]] = []
        self.plane = Plane(self.ring, slots, 1 << 20)
        side = ThreadSide(self.ring, self.parker, DeliverySignal(lambda: None), self.plane)
        self.pool = Pool(self.ring, 4096)
        self.worker = Worker(side, self.pool, self.on_end, name="the-worker")

    def on_end(self, error: BaseException | None) -> None:
        """Note the end, and whether it is told on the worker's thread."""
        self.ends.append((error, self.worker.is_this_thread()))
        self.ended.set()

    def publish(self, lane: Any, data: bytes = b"x", kind: Kind = DATA) -> None:
        """Do what the loop does for one entry."""
        publish(self.ring, lane, data, kind)
        self.parker.unpark()

    def close(self) -> None:
        """Do what the loop does at its end."""
        self.ring.input_closed = True
        self.parker.unpark()


class Upper:
    """Answers in capitals."""

    def process(self, chunk: memoryview) -> bytes:
        """Answer in capitals."""
        return bytes(chunk).upper()

    def eof(self) -> None:
        """Answer nothing."""


def a_lane(factory: Any = Upper) -> Lane:
    """Return a lane of nobody."""
    work = make_work(factory, views_allowed=True)
    return Lane(None, work, is_framed=False)  # type: ignore[arg-type]


def test_worker_runs_named_works_in_order_and_ends() -> None:
    """NEW, RUNNING, ENDED; the end is told once, on its thread, without an error."""
    bench = Bench()
    worker = bench.worker
    assert worker.state is WorkerState.NEW
    assert worker.name == "the-worker"
    assert not worker.is_alive()
    worker.start()
    assert worker.is_alive()
    assert worker.state is WorkerState.RUNNING
    assert "the-worker" in [thread.name for thread in threading.enumerate()]
    lane = a_lane()
    for data in (b"a", b"b", b"c"):
        bench.publish(lane, data)
    bench.close()
    assert worker.join(DEADLINE_S)
    assert worker.state is WorkerState.ENDED
    assert bench.ends == [(None, True)]
    assert not worker.is_this_thread()
    results = [entry.result for entry in entries_between(bench.ring, 0, 3)]
    assert results == [b"A", b"B", b"C"]
    assert 1 <= bench.plane.batches <= 3
    assert 1 <= bench.plane.largest_batch <= 3


def test_worker_counts_the_largest_batch() -> None:
    """What was published before it started comes in one piece."""
    bench = Bench()
    for _ in range(5):
        bench.publish(a_lane())
    bench.worker.start()
    bench.close()
    assert bench.worker.join(DEADLINE_S)
    assert (bench.plane.batches, bench.plane.largest_batch) == (1, 5)


def test_start_twice_is_refused() -> None:
    """While it runs, and after it has ended."""
    bench = Bench()
    bench.worker.start()
    with pytest.raises(LocalError, match="RUNNING does not allow START"):
        bench.worker.start()
    bench.close()
    assert bench.worker.join(DEADLINE_S)
    with pytest.raises(LocalError, match="ENDED does not allow START"):
        bench.worker.start()


def test_join_before_start_is_refused() -> None:
    """It would wait for what never comes."""
    with pytest.raises(LocalError, match="never started"):
        Bench().worker.join(0)


def test_join_of_a_worker_that_does_not_end_returns_false() -> None:
    """The caller decides what a hung processor means."""
    bench, go = Bench(), threading.Event()

    class Hangs(Upper):
        def process(self, chunk: memoryview) -> bytes:
            go.wait(DEADLINE_S)
            return b""

    bench.worker.start()
    bench.publish(a_lane(Hangs))
    bench.close()
    assert not bench.worker.join(0.01)
    go.set()
    assert bench.worker.join(DEADLINE_S)


@pytest.mark.parametrize("raised", [ValueError, SystemExit, KeyboardInterrupt, MemoryError])
def test_processor_that_raises_does_not_end_the_worker(raised: type[BaseException]) -> None:
    """Other lanes are worked for as before."""

    class Raises(Upper):
        def process(self, chunk: memoryview) -> bytes:
            raise raised("of the processor")

    bench = Bench()
    bench.worker.start()
    bench.publish(a_lane(Raises))
    bench.publish(a_lane())
    bench.close()
    assert bench.worker.join(DEADLINE_S)
    first, second = entries_between(bench.ring, 0, 2)
    assert type(first.error) is raised
    assert second.result == b"X"
    assert bench.ends == [(None, True)]


@pytest.mark.parametrize("raised", [RuntimeError, SystemExit])
def test_error_outside_any_processor_is_the_workers_death(raised: type[BaseException]) -> None:
    """DEAD, told once with the error; nothing after it is taken."""

    class BrokenLane:
        plain = None

        def __init__(self) -> None:
            self.work = self

        def do(self, *args: Any) -> None:
            raise raised("a defect")

    bench = Bench()
    bench.worker.start()
    bench.publish(BrokenLane())
    assert bench.worker.join(DEADLINE_S)
    assert bench.worker.state is WorkerState.DEAD
    ((error, on_its_thread),) = bench.ends
    assert type(error) is raised
    assert on_its_thread
    assert bench.ring.processed_seq == 0


def test_idle_worker_keeps_nothing_of_its_last_batch_alive() -> None:
    """A connection that has gone is not held by a worker that has nothing to do."""
    import gc
    import weakref

    class Sink:
        pass

    bench = Bench()
    bench.worker.start()
    sink = Sink()
    gone = weakref.ref(sink)
    lane = Lane(sink, make_work(Upper, views_allowed=True), is_framed=False)  # type: ignore[arg-type]
    bench.publish(lane)
    bench.publish(lane, b"", CLOSE)
    wait_until(lambda: bench.ring.processed_seq == 2, "it has worked")
    bench.ring.release(2)
    del lane, sink
    wait_until(lambda: bench.parker._parked, "it is parked")
    gc.collect()
    assert gone() is None
    bench.close()
    assert bench.worker.join(DEADLINE_S)


def test_idle_worker_claims_lent_blocks_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It wakes now and then for nothing, and that is when; such a batch is not counted."""
    monkeypatch.setattr(worker_module, "BACKSTOP_S", 0.001)
    bench = Bench()

    class Lends:
        plain = None

        def __init__(self) -> None:
            self.work = self

        def do(self, entry: Any, storage: Any, pool: Pool, share: Any) -> None:
            pool.lend(pool.lease(1))

    bench.publish(Lends())
    bench.worker.start()
    wait_until(lambda: bench.ring.processed_seq == 1, "it has worked")
    assert bench.pool.lent_bytes == LEAST_BLOCK_BYTES
    bench.ring.release(1)
    wait_until(lambda: bench.pool.lent_bytes == 0, "the block is back")
    assert bench.pool.in_use_bytes == 0
    bench.close()
    assert bench.worker.join(DEADLINE_S)
    assert (bench.plane.batches, bench.plane.largest_batch) == (1, 1)


def test_worker_claims_lent_blocks_back_before_a_batch() -> None:
    """So what was released before an entry was published can be used for that entry."""
    bench = Bench()
    in_use: list[int] = []

    class Lends:
        plain = None

        def __init__(self) -> None:
            self.work = self

        def do(self, entry: Any, storage: Any, pool: Pool, share: Any) -> None:
            pool.lend(pool.lease(1))
            in_use.append(pool.in_use_bytes)

    bench.worker.start()
    for number in range(5):
        bench.publish(Lends())
        wait_until(lambda number=number: bench.ring.processed_seq == number + 1, "it has worked")
        bench.ring.release(1)
    bench.close()
    assert bench.worker.join(DEADLINE_S)
    assert in_use == [LEAST_BLOCK_BYTES] * 5
    assert bench.pool.allocations == 1


def test_start_without_a_thread_to_be_had_can_be_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is NEW again."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("no thread")

    bench = Bench()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="no thread"):
            bench.worker.start()
    assert bench.worker.state is WorkerState.NEW
    bench.worker.start()
    bench.close()
    assert bench.worker.join(DEADLINE_S)
