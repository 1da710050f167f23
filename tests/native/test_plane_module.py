"""What the native plane's extension adds to its core: references, buffers, wake-ups, refusals.

Its methods do what those of the reference do, whose tests run with it as well; here is what only C
can do wrong.
"""

import gc
import os
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asyncrev.errors import LocalError, SettingsError
from asyncrev.native.choice import choose
from asyncrev.ring.entry import DATA, RESUME
from asyncrev.ring.plane import CREDIT, END, OTHER
from asyncrev.ring.row import Kernel
from tests.support import wait_until

NATIVE: Any
try:
    native, _ = choose("native")
    NATIVE = native.plane if native is not None else None
except SettingsError as error:
    pytest.skip(str(error), allow_module_level=True)

READABLE = 1  # EPOLLIN


class Owner(NATIVE.Row):  # type: ignore[misc]
    """A row that can be referred to weakly."""

    __slots__ = ("__weakref__",)


class Bench:
    """A ring with a plane, and what both sides need."""

    def __init__(self) -> None:
        self.posted: list[None] = []
        self.ring = NATIVE.Ring(2, 64, 4, 16)
        self.plane = NATIVE.Plane(self.ring, 8, 1000)
        self.parker = NATIVE.Parker()
        self.signal = NATIVE.DeliverySignal(lambda posted=self.posted: posted.append(None))
        self.pairs: list[tuple[socket.socket, socket.socket]] = []

    @property
    def posts(self) -> int:
        """How many requests were made by the function."""
        return len(self.posted)

    def publish(self, owner: Any, data: bytes = b"abc", kind: Any = DATA) -> None:
        """Publish a small chunk."""
        slot = self.ring.try_claim(small=True)
        slot[: len(data)] = data
        self.ring.publish(owner, kind, slot, len(data))

    def open(self, row: Any) -> tuple[int, socket.socket]:
        """Serve one end of a new pair for `row`; return its number and the other end."""
        near, far = socket.socketpair()
        self.pairs.append((near, far))
        near.setblocking(False)
        self.plane.open(near.fileno(), row, None, None)
        row.reads = row.sends = True
        return near.fileno(), far

    def answer(self) -> None:
        """Have everything that is published answered."""
        self.plane.answer(self.ring.published_seq, self.signal, None, None)

    def wait(self, timeout_s: float = 0.0, *, stays: bool = False) -> Any:
        """Wait from the first entry that is not processed."""
        return self.plane.wait(self.ring.processed_seq, self.parker, self.signal, timeout_s, stays)


@pytest.fixture
def bench() -> Iterator[Bench]:
    one = Bench()
    yield one
    for pair in one.pairs:
        one.plane.close(pair[0].fileno())
        for sock in pair:
            sock.close()
    vars(one).clear()  # pytest keeps the object for longer, but no descriptors


def reversing() -> Any:
    """Return a row whose chunks are reversed without Python."""
    work = NATIVE.Work()
    work.plain = object()
    work.use_kernel(Kernel.REVERSE, 0)
    return Owner(work)


class Echo:
    """Answers a chunk with what a function makes of it."""

    def __init__(self, made: Callable[[memoryview], Any]) -> None:
        self.process = made


def by_python(made: Callable[[memoryview], Any]) -> Any:
    """Return a row whose chunks are answered by `made`."""
    work = NATIVE.Work()
    work.plain = Echo(made)
    return Owner(work)


# -- references --------------------------------------------------------------------------------


def test_owner_is_referred_to_while_its_entry_is_in_the_ring(bench: Bench) -> None:
    """Whether it was published by a call or received; and not longer."""
    row = reversing()
    fd, far = bench.open(row)
    before = sys.getrefcount(row)
    bench.publish(row)
    far.send(b"abc")
    assert bench.plane.receive([(fd, READABLE)], 0) == (1, END)
    assert sys.getrefcount(row) == before + 2
    bench.publish(row)
    assert sys.getrefcount(row) == before + 3
    bench.answer()
    assert bench.plane.deliver(3) == END
    bench.ring.release(2)
    assert sys.getrefcount(row) == before + 1
    bench.ring.release(1)
    assert sys.getrefcount(row) == before


def test_plane_refers_to_a_row_while_it_serves_it(bench: Bench) -> None:
    """Also when another takes the same descriptor."""
    first, second = reversing(), reversing()
    before = sys.getrefcount(first), sys.getrefcount(second)
    fd, _ = bench.open(first)
    bench.plane.open(fd, first, None, None)
    assert sys.getrefcount(first) == before[0] + 1
    bench.plane.open(fd, second, None, None)
    assert (sys.getrefcount(first), sys.getrefcount(second)) == (before[0], before[1] + 1)
    assert bench.plane.close(fd) is second
    assert sys.getrefcount(second) == before[1]


def test_released_entry_keeps_nothing_alive(bench: Bench) -> None:
    """Neither its owner nor its result, though the ring keeps its `Entry`."""
    row = by_python(lambda chunk: None)
    entry_of = weakref.ref(row)
    bench.publish(row)
    result = bytes(bytearray(b"a reply of its own"))
    before = sys.getrefcount(result)
    entry = bench.ring.entry(0)
    entry.result = result
    bench.ring.mark_processed()
    bench.ring.release(1)
    assert sys.getrefcount(result) == before
    assert (entry.owner, entry.result) == (None, None)
    del row
    gc.collect()
    assert entry_of() is None


def test_cycle_through_a_ring_is_collected() -> None:
    """Of an owner in the ring that refers to the ring."""
    ring = NATIVE.Ring(1, 64)

    class Cyclic(Owner):
        ring: Any

    row = Cyclic(None)
    row.ring = ring
    slot = ring.try_claim()
    ring.publish(row, DATA, slot, 1)
    gone = weakref.ref(row)
    del ring, row, slot
    gc.collect()
    assert gone() is None


# -- replies -------------------------------------------------------------------------------------


def test_memory_of_a_reply_stays_until_it_is_released(bench: Bench) -> None:
    """Its view cannot be released before, nor what it is a view of resized."""
    memory = bytearray(b"reply")
    view = memoryview(memory)
    row = by_python(lambda chunk: None)
    bench.publish(row)
    bench.ring.mark_processed(view)
    with pytest.raises(BufferError):
        view.release()
    with pytest.raises(BufferError):
        memory += b"more"
    bench.ring.release(1)
    view.release()
    memory += b"more"


def test_reply_in_the_slot_is_a_view_only_where_views_are_allowed(bench: Bench) -> None:
    """Others get bytes, which no later chunk changes."""
    allowed, other = reversing(), reversing()
    allowed.work.views_allowed = True
    bench.publish(allowed)
    bench.publish(other)
    bench.answer()
    view, data = bench.ring.result(0), bench.ring.result(1)
    assert isinstance(view, memoryview)
    assert (bytes(view), data) == (b"cba", b"cba")
    assert type(data) is bytes


def test_longer_reply_is_told_to_the_work(bench: Bench) -> None:
    """Which counts what is more than the chunk; replies that are not longer go at once."""
    told = []

    class Counting(NATIVE.Work):  # type: ignore[misc]
        def answer(self, entry: Any, result: Any, storage: Any) -> None:
            told.append((result, entry.nbytes))
            entry.surplus_bytes = len(result) - entry.nbytes

    for reply in (b"abc", b"abcd"):
        work = Counting()
        work.plain = Echo(lambda chunk, reply=reply: reply)
        bench.publish(Owner(work))
    bench.answer()
    assert told == [(b"abcd", 3)]
    assert [bench.ring.returned(seq)[3] is None for seq in range(2)] == [True, False]


def test_entry_has_nothing_of_the_one_before(bench: Bench) -> None:
    """Four rows later the same object stands for another owner's chunk."""
    row = by_python(lambda chunk: None)
    for _ in range(4):
        bench.publish(row)
    entry = bench.ring.entry(0)
    entry.calls, entry.surplus_bytes, entry.ended = 7, 8, True
    for _ in range(4):
        bench.ring.mark_processed()
    bench.ring.release(4)
    bench.publish(row, b"xy", RESUME)
    again = bench.ring.entry(4)
    assert again is entry
    assert (again.calls, again.surplus_bytes, again.ended) == (0, 0, False)
    assert (again.nbytes, again.kind) == (2, RESUME)


def test_kernel_ends_with_another_processor(bench: Bench) -> None:
    """Whoever sets `plain` must name the kernel again."""
    row = reversing()
    row.work.plain = Echo(lambda chunk: b"py")
    assert row.work.kernel == Kernel.NONE
    bench.publish(row)
    bench.answer()
    assert bench.ring.result(0) == b"py"


# -- wake-ups ------------------------------------------------------------------------------------


def test_answers_without_python_request_one_delivery(bench: Bench) -> None:
    """By the function, where the loop polls no eventfd; at the end of few bytes, too."""
    row = reversing()
    bench.publish(row)
    bench.publish(row)
    bench.answer()
    assert (bench.posts, bench.signal.awaited, bench.signal.requests) == (1, True, 1)
    bench.signal.clear()
    bench.publish(row)
    assert bench.wait(stays=True) == (3, False)
    assert (bench.posts, bench.signal.requests) == (2, 2)


def test_delivery_that_could_not_be_posted_counts_as_not_requested() -> None:
    """So the next result requests it again."""
    calls = []

    def post() -> None:
        calls.append(None)
        if len(calls) == 1:
            raise ZeroDivisionError

    signal = NATIVE.DeliverySignal(post)
    with pytest.raises(ZeroDivisionError):
        signal.request()
    assert not signal.awaited
    assert signal.request()
    assert len(calls) == 2


def test_request_never_writes_to_a_descriptor_that_was_used_again(bench: Bench) -> None:
    """The loop's number may be another file's by then; the worker's is its own."""
    wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    bench.signal.wake_by(wake_fd)
    os.close(wake_fd)
    other_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        assert other_fd == wake_fd  # the lowest number that is free
        assert bench.signal.request()
        with pytest.raises(BlockingIOError):
            os.eventfd_read(other_fd)
        assert bench.posts == 0
    finally:
        os.close(other_fd)


def test_worker_says_that_it_sleeps_before_it_looks(bench: Bench) -> None:
    """An `unpark` during the look finds it parked, and ends the sleep at once."""
    woken = []

    def look() -> bool:
        woken.append(bench.parker.unpark())
        return False

    assert not bench.parker.park(look, 3.0)
    assert woken[0] is True
    assert bench.parker.backstop_wakes == 0


def test_sleep_that_times_out_beside_work_is_counted(bench: Bench) -> None:
    """In `Parker.park` and in `Plane.wait`: work came, and nobody has woken the worker."""
    answers = [False, True]
    assert bench.parker.park(lambda: answers.pop(0), 0.01)
    assert bench.parker.backstop_wakes == 1
    row = by_python(lambda chunk: None)
    delays = iter(range(1_000_000))

    def came_during_a_sleep() -> bool:
        seq = bench.ring.published_seq
        thread = threading.Thread(target=bench.wait, args=(0.05,))
        thread.start()
        thread.join(0.001 * (next(delays) % 30))  # it is about to sleep, or sleeps already
        bench.publish(row)
        thread.join()
        bench.ring.mark_processed()
        bench.ring.release(bench.ring.processed_seq - seq)
        return bool(bench.parker.backstop_wakes == 2)

    wait_until(came_during_a_sleep, "a sleep that timed out beside work")


# -- refusals ------------------------------------------------------------------------------------


def test_sequence_numbers_out_of_the_ring_are_refused(bench: Bench) -> None:
    """By name; nothing is read there."""
    row = reversing()
    bench.publish(row)
    for seq in (1, 2, 5, 2**63):
        with pytest.raises(IndexError, match=f"there is no entry {seq}; those from 0 to 1"):
            bench.ring.owner(seq)
    with pytest.raises(ValueError, match="deliver up to 1; 0 are processed"):
        bench.plane.deliver(1)
    with pytest.raises(ValueError, match="answer up to 2; that is not published"):
        bench.plane.answer(2, bench.signal, None, None)
    with pytest.raises(LocalError, match="release of 1 entries; 0 are processed"):
        bench.ring.release(1)


def test_events_are_read_again_at_each_first_call(bench: Bench) -> None:
    """The same list may have other events; only a call that goes on takes those from before."""
    row = reversing()
    fd, far = bench.open(row)
    far.send(b"abc")
    row.reads = False
    events = [(fd, READABLE)]
    assert bench.plane.receive(events, 0) == (0, OTHER)
    row.reads = True
    events[0] = (-1, READABLE)
    assert bench.plane.receive(events, 0) == (1, END)
    assert bench.ring.published_seq == 0


def test_quota_and_credit_are_those_of_the_plane() -> None:
    """Half of the entries must be back."""
    one = Bench()
    one.plane = NATIVE.Plane(one.ring, 1, 1000)
    row = reversing()
    fd, far = one.open(row)
    far.send(b"abc")
    assert one.plane.receive([(fd, READABLE)], 0) == (0, -2)
    one.answer()
    assert one.plane.deliver(1) == CREDIT
    assert far.recv(10) == b"cba"
    one.plane.close(fd)
    for sock in one.pairs[0]:
        sock.close()
