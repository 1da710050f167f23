"""thread_side: the worker's side alone, then two real threads on rings of 1, 2 and 3 slots."""

import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from asyncrev.errors import ChannelClosed, LocalError
from asyncrev.ring import plane
from asyncrev.ring.ring import Ring
from asyncrev.ring.thread_side import ThreadSide
from asyncrev.ring.wakeups import DeliverySignal, Parker
from tests.support import DEADLINE_S, entries_between, publish, wait_until

pytestmark = pytest.mark.usefixtures("each_plane")


class Bench:
    """A thread side with the loop's part played by the test."""

    def __init__(self, slots: int = 4, slot_bytes: int = 8) -> None:
        self.ring = Ring(slots, slot_bytes)
        self.parker = Parker()
        self.asked = threading.Event()
        self.signal = DeliverySignal(self.asked.set)
        self.side = ThreadSide(self.ring, self.parker, self.signal)

    def publish(self, data: bytes, *, unpark: bool = True) -> None:
        """Do what the loop does for one buffer."""
        publish(self.ring, self, data)
        if unpark:
            self.parker.unpark()

    def close(self) -> None:
        """Do what the loop does at its end."""
        self.ring.close_input()
        self.parker.unpark()

    def answers(self) -> list[Any]:
        """Take all that is processed, and free the slots."""
        ring = self.ring
        entries = entries_between(ring, ring.released_seq, ring.processed_seq)
        found = [None if e.result is None else bytes(e.result) for e in entries]
        ring.release(len(entries))
        return found


def test_get_returns_buffers_in_order_and_put_answers_them() -> None:
    """Buffers may be got ahead; answers belong to them in order."""
    bench = Bench()
    for data in (b"one", b"two", b"three"):
        bench.publish(data)
    views = [bench.side.get() for _ in range(3)]
    assert views == [b"one", b"two", b"three"]
    assert not views[0].readonly
    bench.side.put(b"1")
    bench.side.put(bytearray(b"2"))
    bench.side.put(None)
    assert bench.answers() == [b"1", b"2", None]


def test_put_copies_what_its_caller_may_change() -> None:
    """A bytearray and a view are not kept."""
    bench, memory = Bench(), bytearray(b"abcd")
    for result in (memory, memoryview(memory)[::-1], memoryview(memory).cast("I")):
        bench.publish(b"x")
        bench.side.get()
        bench.side.put(result)
    memory[:] = b"????"
    assert bench.answers() == [b"abcd", b"dcba", b"abcd"]


@pytest.mark.parametrize("result", [3, "text", [1, 2]])
def test_put_of_what_is_not_bytes_raises(result: Any) -> None:
    """`bytes(3)` would have been three zeros."""
    bench = Bench()
    bench.publish(b"x")
    bench.side.get()
    with pytest.raises(TypeError):
        bench.side.put(result)
    bench.side.put(b"right")
    assert bench.answers() == [b"right"]


def test_put_without_a_buffer_raises() -> None:
    """Published is not enough: it must have been got."""
    bench = Bench()
    with pytest.raises(LocalError, match="call get first"):
        bench.side.put(b"")
    bench.publish(b"x")
    with pytest.raises(LocalError, match="call get first"):
        bench.side.put(b"")


def test_put_after_close_raises() -> None:
    """The loop may have seen the end already, so the answer would be lost."""
    bench = Bench()
    bench.publish(b"x")
    bench.side.get()
    bench.side.close()
    with pytest.raises(ChannelClosed, match="after close"):
        bench.side.put(b"late")
    assert bench.ring.output_closed


def test_get_with_a_timeout_raises_timeout_error() -> None:
    """A timeout of 0 looks once and does not sleep."""
    bench = Bench()
    for timeout_s in (0, 0.001):
        with pytest.raises(TimeoutError, match=f"no buffer in {timeout_s} s"):
            bench.side.get(timeout_s)
    bench.publish(b"x")
    assert bench.side.get(0) == b"x"


def test_take_with_a_timeout_returns_an_empty_range() -> None:
    """A timeout of 0 looks once and does not sleep."""
    bench = Bench()
    assert not bench.side.take(0)
    assert not bench.side.take(0.001)
    bench.publish(b"x")
    assert len(bench.side.take(0)) == 1
    assert not bench.side.take(0)


def test_take_asks_for_a_delivery_only_while_something_is_not_released() -> None:
    """I6: the loop that has taken all results is not woken to find none."""
    bench = Bench()
    bench.publish(b"x")
    bench.side.take(0)
    bench.signal.hold()  # the loop is awake, so `finish` asks for nothing
    bench.side.finish()
    bench.signal.clear()
    bench.side.take(0)
    assert bench.signal.requests == 1
    bench.signal.clear()
    bench.answers()
    bench.side.take(0)
    assert bench.signal.requests == 1


@pytest.mark.parametrize("method", ["get", "take"])
def test_end_of_input_comes_after_the_last_buffer(method: str) -> None:
    """I4: closed with entries waiting, they are taken first; then it is closed for good."""
    bench = Bench()
    bench.publish(b"last")
    bench.close()
    assert getattr(bench.side, method)()
    for _ in range(2):
        with pytest.raises(ChannelClosed, match="everything has been taken"):
            getattr(bench.side, method)()


class LateRing(Ring):
    """Publishes its last entry and closes while `published_seq` is being read the nth time."""

    __slots__ = ("_real_published_seq", "reads_left")

    @property
    def published_seq(self) -> int:
        """The cursor; the loop's last publish and its close come right after the nth read."""
        seen = self._real_published_seq
        self.reads_left -= 1
        if self.reads_left == 0:
            publish(self, self, b"x")
            self.input_closed = True
        return seen

    @published_seq.setter
    def published_seq(self, value: int) -> None:
        self._real_published_seq = value
        if value == 0:
            self.reads_left = -1


@pytest.mark.parametrize("method", ["get", "take"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_publish_and_close_at_every_look_loses_nothing(
    each_plane: SimpleNamespace, method: str, nth: int
) -> None:
    """I4: however the close falls between two looks, the entry before it is taken.

    In Python: the native cursor cannot be looked at by a test.
    """
    if each_plane.name != "python":
        pytest.skip("the ring is derived from the one in Python")
    ring = LateRing(2, 4)
    side = ThreadSide(ring, Parker(), DeliverySignal(lambda: None))
    ring.reads_left = nth
    got: list[Any] = []
    with pytest.raises(ChannelClosed):  # noqa: PT012
        while True:
            try:
                got += [1 for _ in [side.get(0)]] if method == "get" else side.take(0)
            except TimeoutError:
                pass
    assert len(got) == 1


@pytest.mark.parametrize("method", ["get", "take"])
def test_sleeper_is_woken_by_close(method: str) -> None:
    """It does not wait for the backstop."""
    bench = Bench()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(getattr(bench.side, method))
        wait_until(lambda: bench.parker.parked, "it is parked")
        bench.close()
        with pytest.raises(ChannelClosed):
            waiting.result(DEADLINE_S)
    assert bench.parker.backstop_wakes == 0


def test_backstop_finds_what_was_published_without_a_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    """I7: a wake-up lost on purpose is made up for, and the counter shows it."""
    monkeypatch.setattr(plane, "BACKSTOP_S", 0.05)
    bench = Bench()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bench.side.get)
        wait_until(lambda: bench.parker.parked, "it is parked")
        bench.publish(b"lost", unpark=False)
        assert waiting.result(DEADLINE_S) == b"lost"
    wait_until(lambda: bench.parker.backstop_wakes == 1, "the backstop has counted it")


def test_backstop_is_at_least_a_second() -> None:
    """Anything shorter is polling."""
    assert plane.BACKSTOP_S >= 1


def test_finish_asks_a_sleeping_loop_at_once_and_an_awake_one_not() -> None:
    """I6: first results do not wait for the last; a delivery that will come is not requested."""
    bench = Bench()
    bench.publish(b"a")
    bench.publish(b"b")
    assert len(bench.side.take()) == 2
    bench.signal.clear()
    bench.asked.clear()
    bench.side.finish()
    assert bench.asked.is_set()
    bench.asked.clear()
    bench.side.finish()
    assert not bench.asked.is_set()
    assert bench.ring.processed_seq == 2


@pytest.fixture
def tiny_switch_interval() -> Iterator[None]:
    """Let the interpreter change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def pump(slots: int, nitems: int, work: Callable[[ThreadSide], None]) -> Bench:
    """Send numbered items through `work` on another thread; check order and checksum."""
    bench = Bench(slots, 8)
    ring, sent, got = bench.ring, 0, 0
    sent_crc = got_crc = 0
    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(work, bench.side)
        while got < nitems:
            while sent < nitems and ring.free_entries:
                item = sent.to_bytes(8, "big")
                publish(ring, bench, item, small=bool(sent % 3))
                sent_crc = zlib.crc32(item, sent_crc)
                sent += 1
            bench.parker.unpark()
            if ring.processed_seq == ring.released_seq:
                assert bench.asked.wait(DEADLINE_S), "a delivery was never requested"
            bench.asked.clear()
            bench.signal.clear()
            for answer in bench.answers():
                assert answer[::-1] == got.to_bytes(8, "big")
                got_crc = zlib.crc32(answer[::-1], got_crc)
                got += 1
        bench.close()
        worker.result(DEADLINE_S)
    assert got_crc == sent_crc
    return bench


def test_answer_without_a_plane_says_what_to_do() -> None:
    """A channel's side has none."""
    with pytest.raises(LocalError, match="has no plane; take entries, and finish each"):
        Bench().side.answer(0, None, None)


def work_in_batches(side: ThreadSide) -> None:
    """Reverse in place, batch by batch, until the end."""
    try:
        while True:
            for _ in side.take():
                entry = side.oldest()
                entry.view[: entry.nbytes] = bytes(entry.view[: entry.nbytes])[::-1]
                entry.result = entry.view[: entry.nbytes]
                side.finish()
    except ChannelClosed:
        pass


def work_one_by_one(side: ThreadSide) -> None:
    """Reverse, a buffer at a time, until the end."""
    try:
        while True:
            side.put(bytes(side.get())[::-1])
    except ChannelClosed:
        pass


@pytest.mark.usefixtures("tiny_switch_interval")
@pytest.mark.parametrize("work", [work_in_batches, work_one_by_one])
@pytest.mark.parametrize("slots", [1, 2, 3])
def test_two_threads_on_a_tiny_ring_keep_order_and_bytes(
    slots: int, work: Callable[[ThreadSide], None]
) -> None:
    """I1-I3, I5-I7: every item once, in order, and no wake-up was lost."""
    bench = pump(slots, 20_000, work)
    assert bench.parker.backstop_wakes == 0


@pytest.mark.stress
@pytest.mark.usefixtures("tiny_switch_interval")
@pytest.mark.parametrize("work", [work_in_batches, work_one_by_one])
@pytest.mark.parametrize("slots", [1, 2, 3, 64])
def test_two_threads_for_long(slots: int, work: Callable[[ThreadSide], None]) -> None:
    """I1-I3, I5-I7: the same with half a million items."""
    bench = pump(slots, 500_000, work)
    assert bench.parker.backstop_wakes == 0
