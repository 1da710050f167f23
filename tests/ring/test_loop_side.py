"""loop_side: flushing and delivering, with iteration hooks and without."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from asyncrev import EpollEventLoop
from asyncrev.errors import LocalError
from asyncrev.ring.loop_side import LoopSide
from asyncrev.ring.ring import Ring
from asyncrev.ring.wakeups import Parker
from tests.support import publish, results, until, wait_until

pytestmark = pytest.mark.usefixtures("each_plane")
PLAIN = pytest.mark.asyncio(loop_factories=["asyncio"])
HOOKED = pytest.mark.asyncio(loop_factories=["epoll"])


class Bench:
    """A loop side with the worker's part played by the test."""

    def __init__(self, slots: int = 8, most: int = 100) -> None:
        self.ring = Ring(slots, 4)
        self.parker = Parker()
        self.side = LoopSide(self.ring, self.parker)
        self.most = most
        self.calls: list[int] = []
        self.wakes = 0
        self.parker_unpark = self.parker.unpark

    def bind(self) -> None:
        """Bind to the running loop, and take `most` results per delivery."""
        self.side.bind(asyncio.get_running_loop(), self.deliver)

    def deliver(self) -> bool:
        """Release what is processed; say whether something was left."""
        found = results(self.ring, self.most)
        self.calls.append(len(found))
        self.ring.release(len(found))
        return self.ring.processed_seq != self.ring.released_seq

    def publish(self) -> None:
        """Publish an empty entry and have it flushed."""
        publish(self.ring, self)
        self.side.flush_soon()

    def process(self, nentries: int = 1) -> None:
        """Do the worker's part, on the worker's thread or here."""
        for _ in range(nentries):
            self.ring.mark_processed()
            self.side.signal.request()


class QuickParker:
    """Its worker is done before the system call that wakes it returns."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def unpark(self) -> bool:
        """Do the worker's part, then wake it."""
        self.bench.process()
        return self.bench.parker.unpark()


@pytest.mark.asyncio
async def test_delivery_comes_when_the_worker_asks() -> None:
    """I6: results of another thread wake a loop that sleeps."""
    bench = Bench()
    bench.bind()
    for _ in range(3):
        bench.publish()
    with ThreadPoolExecutor(1) as pool:
        await asyncio.wrap_future(pool.submit(bench.process, 3))
        await until(lambda: bench.ring.released_seq == 3, "the results were taken")
    assert sum(bench.calls) == 3


@pytest.mark.asyncio
async def test_flush_wakes_a_parked_worker_once_per_iteration() -> None:
    """I5: however many entries an iteration publishes, its sleeper is woken once."""
    bench = Bench()
    bench.bind()
    await asyncio.sleep(0)
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(bench.parker.park, lambda: bench.ring.published_seq > 0, 10)
        await until(lambda: bench.parker.parked, "it is parked")
        for _ in range(5):
            bench.publish()
        assert bench.parker.unparks == 0  # not before the iteration ends
        assert await asyncio.wrap_future(parked)
    assert bench.parker.unparks == 1
    assert bench.parker.backstop_wakes == 0


@HOOKED
async def test_worker_that_finishes_within_the_flush_need_not_wake_the_loop() -> None:
    """A delivery still counts as due while the worker is woken, and finds its results."""
    bench = Bench()
    bench.side = LoopSide(bench.ring, QuickParker(bench))  # type: ignore[arg-type]
    bench.bind()
    bench.side.after_poll()
    bench.publish()
    assert bench.side.before_poll() is False
    assert bench.ring.released_seq == 1
    assert bench.side.signal.requests == 0


@HOOKED
async def test_what_a_delivery_publishes_is_flushed_in_the_same_iteration() -> None:
    """Input that had waited for a slot must not wait for the next event, too."""
    bench = Bench(slots=1)

    def deliver() -> bool:
        bench.deliver()
        bench.publish()
        return False

    bench.side.bind(asyncio.get_running_loop(), deliver)
    with ThreadPoolExecutor(1) as pool:
        bench.publish()
        bench.side.flush()
        bench.process()
        parked = pool.submit(bench.parker.park, lambda: bench.ring.published_seq > 1, 10)
        wait_until(lambda: bench.parker.parked, "it is parked")
        bench.side.before_poll()
        assert parked.result(10)
    bench.side.unbind()
    assert bench.parker.backstop_wakes == 0


@pytest.mark.asyncio
async def test_bounded_delivery_goes_on_in_the_next_iteration() -> None:
    """I11: what a delivery leaves comes without another request."""
    bench = Bench(slots=8, most=3)
    bench.bind()
    for _ in range(8):
        bench.publish()
    bench.process(8)
    await until(lambda: bench.ring.released_seq == 8, "the results were taken")
    assert [n for n in bench.calls if n] == [3, 3, 2]


@pytest.mark.asyncio
async def test_results_that_nobody_wants_yet_do_not_spin() -> None:
    """A consumer that says False is not called in every iteration, and the loop may sleep."""
    bench = Bench()
    calls: list[int] = []
    bench.side.bind(asyncio.get_running_loop(), lambda: bool(calls.append(1)))
    bench.publish()
    bench.process()
    await until(lambda: calls, "it was told")
    if bench.side.flush_is_due:  # iteration hooks, which run in every iteration that comes
        assert bench.side.before_poll() is False
    else:
        await asyncio.sleep(0)
        before = len(calls)
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(calls) == before
    assert bench.ring.processed_seq == 1
    assert bench.ring.released_seq == 0


@pytest.mark.asyncio
async def test_close_of_the_other_side_is_told_without_any_result() -> None:
    """I4: who waits for the end of the results must hear of it."""
    bench = Bench()
    bench.bind()
    await until(lambda: len(bench.calls) or bench.side.flush_is_due, "the first iteration is over")
    bench.calls.clear()

    def close() -> None:
        bench.ring.close_output()
        bench.side.signal.request()

    with ThreadPoolExecutor(1) as pool:
        await asyncio.wrap_future(pool.submit(close))
        await until(lambda: bench.calls, "it was told")
    assert set(bench.calls) == {0}
    bench.side.unbind()


@pytest.mark.asyncio
async def test_what_came_before_bind_is_flushed_and_delivered_by_it() -> None:
    """Made and used outside a loop; the binding makes up for what was asked in vain."""
    bench = Bench()
    for _ in range(2):
        bench.publish()
    bench.process(1)
    assert bench.side.signal.awaited
    bench.bind()
    await until(lambda: bench.ring.released_seq == 1, "the result was taken")
    assert bench.side._flushed_seq == 2


@pytest.mark.asyncio
async def test_bind_twice_is_refused() -> None:
    """One side, one loop."""
    bench = Bench()
    bench.bind()
    with pytest.raises(LocalError, match="bound to a loop already"):
        bench.bind()


@pytest.mark.asyncio
async def test_unbind_ends_all_calls() -> None:
    """A pending delivery finds no consumer, and the worker's requests have no effect."""
    bench = Bench()
    bench.bind()
    bench.publish()
    bench.process()
    bench.side.unbind()
    bench.side.unbind()
    bench.side.signal.clear()
    assert bench.side.signal.request()
    for _ in range(5):
        await asyncio.sleep(0)
    assert bench.calls == []
    assert bench.ring.processed_seq == 1


@pytest.mark.asyncio
async def test_close_wakes_the_worker_and_says_so() -> None:
    """I4, I5: the flag first, then the wake-up."""
    bench = Bench()
    bench.bind()
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(bench.parker.park, lambda: bench.ring.input_closed, 10)
        await until(lambda: bench.parker.parked, "it is parked")
        bench.side.close()
        assert await asyncio.wrap_future(parked)
    assert bench.parker.backstop_wakes == 0


@HOOKED
async def test_hooked_loop_that_is_awake_is_not_asked() -> None:
    """The worker's results of this iteration are delivered at its end, without a wake-up."""
    bench = Bench()
    bench.bind()
    for _ in range(2):  # the first iteration after `bind` delivers early
        await asyncio.sleep(0)
    bench.publish()
    before = bench.side.signal.requests
    bench.process()
    assert bench.side.signal.requests == before
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert bench.ring.released_seq == 1


@PLAIN
async def test_plain_loop_flushes_once_for_many_publishes() -> None:
    """`flush_is_due` keeps it at one callback per iteration."""
    bench = Bench()
    bench.bind()
    await asyncio.sleep(0)
    assert not bench.side.flush_is_due
    for _ in range(3):
        bench.publish()
        assert bench.side.flush_is_due
    await asyncio.sleep(0)
    assert not bench.side.flush_is_due
    assert bench.side._flushed_seq == 3


@pytest.mark.parametrize("factory", [EpollEventLoop, asyncio.SelectorEventLoop])
def test_request_after_the_loop_was_closed_says_so(factory: type) -> None:
    """I6: the worker gets an error instead of waiting for a delivery that never comes."""
    bench = Bench()
    with asyncio.Runner(loop_factory=factory) as runner:

        async def bind() -> None:
            bench.bind()
            for _ in range(3):
                await asyncio.sleep(0)

        runner.run(bind())
    bench.side.signal.clear()
    with pytest.raises(LocalError, match="closed before the ring's other side"):
        bench.side.signal.request()
    assert not bench.side.signal.awaited
    bench.side.unbind()


@PLAIN
async def test_request_that_fails_on_an_open_loop_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only a closed loop is translated; anything else is a defect to be seen."""
    bench = Bench()
    bench.bind()
    await asyncio.sleep(0)

    def fail(*_: object) -> None:
        raise RuntimeError("of its own")

    monkeypatch.setattr(asyncio.get_running_loop(), "call_soon_threadsafe", fail)
    with pytest.raises(RuntimeError, match="of its own"):
        bench.side.signal.request()


def test_interrupted_flush_is_due_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else would wake the worker for what was published."""
    ring, parker, calls = Ring(2, 8), Parker(), []

    def unpark(_: Parker) -> bool:
        calls.append(ring.published_seq)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(Parker, "unpark", unpark)
    side = LoopSide(ring, parker)
    publish(ring, None, b"x")
    with pytest.raises(KeyboardInterrupt):
        side.flush()
    side.flush()
    side.flush()
    assert calls == [1, 1]
