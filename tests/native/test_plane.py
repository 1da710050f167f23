"""plane: the native plane does what the one in Python does, and keeps nothing alive.

Which classes run under which tests is in tests/planes.py; here is what compares the two, and what
only C can do wrong. Not compared, because the planes may differ: how a control entry without an
`Entry` is delivered (`answer` gives each one), and the bytes in a slot after its processing.
"""

import functools
import itertools
import random
import socket
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrev.errors import LocalError, SettingsError
from asyncrev.native.plane import INTERFACE, as_plane
from asyncrev.ring.entry import DATA
from asyncrev.ring.plane import END
from asyncrev.ring.row import Kernel
from tests.native.twins import DESCRIPTORS, FUNCTION, MASKS, Twins
from tests.planes import NATIVE_PLANE, PYTHON_PLANE, PythonReverse, needs_plane, plain_work_class
from tests.support import publish


def test_extension_of_other_sources_is_refused() -> None:
    """With both numbers, and what to do."""
    module = types.ModuleType("_plane")
    with pytest.raises(ImportError, match=f"its interface is None, not {INTERFACE}"):
        as_plane(module)
    module.INTERFACE = INTERFACE
    assert as_plane(module) is module


# -- differences that were found -------------------------------------------------------------------


class Bench:
    """A native ring with its plane, and one row whose work has a kernel."""

    def __init__(self, kernel: Kernel = Kernel.REVERSE) -> None:
        assert NATIVE_PLANE is not None
        self.ring = NATIVE_PLANE.Ring(4, 64, 8, 16)
        self.plane = NATIVE_PLANE.Plane(self.ring, 100, 1 << 20)
        self.parker = NATIVE_PLANE.Parker()
        posts: list[int] = []
        self.posts = posts
        self.signal = NATIVE_PLANE.DeliverySignal(lambda: posts.append(1))
        self.work = plain_work_class(NATIVE_PLANE.Work)(PythonReverse())
        self.work.use_kernel(kernel, 100)
        self.row = NATIVE_PLANE.Row(self.work)
        self.socks: tuple[socket.socket, ...] = ()

    def open(self) -> socket.socket:
        """Serve a socket for the row; return the peer's."""
        near, far = self.socks = socket.socketpair()
        near.setblocking(False)
        self.plane.open(near.fileno(), self.row, near.recv_into, near.send)
        self.row.reads = self.row.sends = True
        return far

    def publish(self, data: bytes = b"abc", owner: Any = None) -> None:
        """Publish a chunk of the row, or of another owner."""
        publish(self.ring, self.row if owner is None else owner, data)

    def answer(self) -> None:
        """Have all answered."""
        self.plane.answer(self.ring.published_seq, self.signal, None, None)


@pytest.fixture
def native() -> Iterator[Bench]:
    """A bench whose sockets are closed."""
    if NATIVE_PLANE is None:
        pytest.skip("the native plane is not built")
    bench = Bench()
    yield bench
    for sock in bench.socks:
        sock.close()
    vars(bench).clear()  # pytest keeps it for longer


def test_empty_chunk_that_a_kernel_answers_is_announced(native: Bench) -> None:
    """The loop may sleep; it has a slot to release."""
    native.publish(b"")
    native.answer()
    assert native.ring.processed_seq == 1
    assert (native.signal.awaited, native.posts) == (True, [1])


@pytest.mark.parametrize("views", [False, True])
def test_entry_of_what_a_kernel_has_answered_has_the_reply(native: Bench, views: bool) -> None:
    """Though there was no object for it."""
    native.work.views_allowed = views
    native.publish(b"abc")
    native.answer()
    entry = native.ring.entry(0)
    assert entry.result == native.ring.result(0) == b"cba"
    assert type(entry.result) is (memoryview if views else bytes)
    assert native.ring.returned(0)[3] is entry


def test_reply_is_kept_while_the_core_has_its_memory(native: Bench) -> None:
    """Even if its entry says something else by then; it goes with the release."""

    far = native.open()
    far.send(bytes(16))
    assert native.plane.receive([(native.socks[0].fileno(), 1)], 0) == (1, END)
    entry = native.ring.entry(0)
    reply = bytearray(b"a reply of its own".ljust(1000)).replace(b" ", b".")
    entry.result = bytes(reply)
    native.ring.mark_processed()
    entry.result = None
    others = [bytes([number]) * 1000 for number in range(100)]  # they would get its memory
    assert native.plane.deliver(1) == END
    assert far.recv(2000) == reply
    assert len(others) == 100


@pytest.mark.parametrize("stays", [False, True])
def test_request_before_a_sleep_does_not_end_the_wait(native: Bench, stays: bool) -> None:
    """It goes on to its timeout; a delivery was requested once."""
    native.publish()
    native.answer()
    native.signal.clear()
    began_s = time.monotonic()
    assert native.plane.wait(1, native.parker, native.signal, 0.05, stays) == (1, False)
    assert time.monotonic() - began_s >= 0.05
    assert native.posts == [1, 1]


# -- misuse ----------------------------------------------------------------------------------------


def wrong_calls(bench: Bench) -> Iterator[tuple[type[Exception], str, Callable[[], object]]]:
    """Yield what a call raises, what it says, and the call."""
    ring, plane, signal, parker = bench.ring, bench.plane, bench.signal, bench.parker
    row, work = bench.row, bench.work
    module: Any = NATIVE_PLANE
    for seq in (-1, 5, 2**64, 2**70):
        for method in (ring.view, ring.owner, ring.entry, ring.result, ring.returned):
            yield IndexError, "there is no entry", functools.partial(method, seq)
    for end_seq in (-1, 5, 2**64 - 1):
        yield ValueError, "answer up to", lambda e=end_seq: plane.answer(e, signal, None, None)
        yield ValueError, "deliver up to", lambda e=end_seq: plane.deliver(e)
    yield ValueError, "deliver up to", lambda: plane.deliver(2**70)
    yield LocalError, "release of 2 entries", lambda: ring.release(2)
    slot = ring.try_claim()
    yield TypeError, "not a kind", lambda: ring.publish(row, "data", slot, 1)
    yield LocalError, "the slot has", lambda: ring.publish(row, DATA, slot, -1)
    yield LocalError, "not the slot", lambda: ring.publish(row, DATA, bytearray(9), 1)
    yield TypeError, "no len", lambda: ring.publish(row, DATA, 9, 1)
    for fd in (-2, 2**31, 2**80):
        expected = OverflowError if fd == 2**80 else ValueError
        yield expected, "", lambda f=fd: plane.close(f)
        yield expected, "", lambda f=fd: plane.row(f)
    yield ValueError, "must be at least 0", lambda: plane.open(-1, row, None, None)
    yield TypeError, "Row", lambda: plane.open(1, PYTHON_PLANE.Row(work), None, None)
    yield ValueError, "a descriptor is -2", lambda: plane.receive([(-2, 1)], 0)
    yield ValueError, "a mask of events is -1", lambda: plane.receive([(1, -1)], 0)
    yield ValueError, "at most 128", lambda: plane.receive([(1, 1)] * 129, 0)
    yield ValueError, "start is -1", lambda: plane.receive([], -1)
    yield TypeError, "must be list", lambda: plane.receive(((1, 1),), 0)
    for event in (None, [1, 1], (1,), (1, 1, 1)):
        yield TypeError, "a tuple of two numbers", lambda e=event: plane.receive([e], 0)
    yield TypeError, "integer", lambda: plane.receive([("1", 1)], 0)
    other = PYTHON_PLANE.DeliverySignal(lambda: None)
    yield TypeError, "DeliverySignal", lambda: plane.answer(0, other, None, None)
    yield TypeError, "DeliverySignal", lambda: plane.wait(0, parker, other, 0.0, True)
    yield TypeError, "Parker", lambda: plane.wait(0, PYTHON_PLANE.Parker(), signal, 0.0, True)
    yield TypeError, "Ring", lambda: module.Plane(PYTHON_PLANE.Ring(1, 1), 1, 1)
    yield SettingsError, "a ring of 0 slots", lambda: module.Ring(0, 1)
    yield TypeError, "", lambda: module.Ring()
    yield OSError, "", lambda: signal.wake_by(2**31 - 1)
    yield ValueError, "a descriptor is -2", lambda: signal.wake_by(-2)
    yield AttributeError, "cannot be deleted", lambda: delattr(work, "plain")
    yield AttributeError, "cannot be deleted", lambda: delattr(work, "abandoned")
    yield AttributeError, "cannot be deleted", lambda: delattr(row, "work")
    yield AttributeError, "", lambda: setattr(ring, "published_seq", 3)


def test_misuse_is_an_exception_and_changes_nothing(native: Bench) -> None:
    """Of the type that the module's docstring names, and no crash."""
    native.publish()
    native.publish()
    native.plane.answer(1, native.signal, None, None)
    calls = 0
    for kind, said, wrong in wrong_calls(native):
        with pytest.raises(kind, match=said or None):
            wrong()
        calls += 1
        ring = native.ring
        assert (ring.published_seq, ring.processed_seq, ring.released_seq) == (2, 1, 0)
        assert len(ring.free_small_slots) == 6
        assert (native.plane.served, native.posts) == (0, [1])
    assert calls > 50


def test_row_without_a_work_is_an_error_of_the_worker(native: Bench) -> None:
    """It was not initialized; nor has it a descriptor."""
    module: Any = NATIVE_PLANE
    row = module.Row.__new__(module.Row)
    assert row.work is None
    native.publish(owner=row)
    with pytest.raises(AttributeError, match="the row has no work"):
        native.answer()
    native.ring.mark_processed(b"abc")
    row.sends = True
    assert native.plane.deliver(1) == 0  # not sent, to nobody


# -- equal by test ---------------------------------------------------------------------------------

COUNTS = (
    "in_flight_bytes",
    "in_flight_entries",
    "partial_frame_bytes",
    "read_bytes",
    "reserved_bytes",
    "small_reads",
    "look_at_s",
)
FLAGS = ("abandoned", "waits_for_credit", "waits_for_slot", "reads", "sends")
FRAMES = (
    (b"ab\n", b"\n", b"abc\r\n", b"abcde\n", b"toolong\n"),
    (b"\0\0\0\2ab", bytes(4), b"\0\0\0\5abcde", b"\0\0\0\6"),
    (bytes(7) + b"\1x", bytes(8), bytes(7) + b"\3abc", bytes(7) + b"\6abcdef"),
)


class Calls:
    """Makes up calls, most of them on the way of a chunk, so that much of it goes all the way.

    From a seed: the calls of a longer list begin with those of a shorter one.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        draw = self.random
        self.sizes = {
            "slots": draw.randint(1, 4),
            "slot_bytes": draw.choice([8, 32, 4096, 9000]),
            "entries": draw.randint(4, 12),
            "small_slot_bytes": draw.choice([4, 8, 32]),
            "most_entries": draw.choice([1, 2, 4, 20, 20]),
            "most_bytes": draw.choice([1, 20, 100, 50_000, 50_000]),
        }
        # A kernel for each number, and a function for the last.
        self.first = [self.connect(number, number) for number in range(DESCRIPTORS)]
        if draw.random() < 0.7:
            self.first.append(("signal", "framed"))

    def connect(self, number: int, kernel: int) -> tuple[Any, ...]:
        """Return a connection."""
        draw = self.random
        return (
            "connect",
            number,
            draw.random() < 0.2,  # over TCP
            draw.random() < 0.3,  # framed
            kernel,
            draw.random() < 0.7,  # views are allowed
        )

    def data(self) -> bytes:
        """Return input: whole frames and not, bytes that choose what `ByContent` does, much."""
        draw = self.random
        way = draw.random()
        if way < 0.5:
            return draw.randbytes(draw.choice([1, 1, 2, 3, 5, 8, 20, 40]))
        if way < 0.9:
            frames = b"".join(draw.choices(draw.choice(FRAMES), k=draw.randint(1, 5)))
            return frames[: draw.choice([1000, 1000, 1000, len(frames) - 1])]
        return bytes([draw.randint(0, 255)]) * draw.randint(50, 9000)

    def numbers(self) -> list[int]:
        """Return some numbers of connections."""
        return [self.random.randrange(DESCRIPTORS) for _ in range(self.random.randint(1, 6))]

    def way(self) -> Iterator[tuple[Any, ...]]:
        """Return the calls of a chunk's way, or a part of it."""
        draw = self.random
        for number in self.numbers():
            yield "peer", number, "send", 0, self.data()
        if draw.random() < 0.7:
            events = [(number, 1) for number in range(DESCRIPTORS)]
        else:
            events = [(number, draw.choice(MASKS)) for number in self.numbers()]
        yield "receive", events, draw.choice([0] * 9 + [1, 7]), draw.random() < 0.2
        for _ in range(draw.choice([0, 1, 1, 2])):
            yield self.answer()
        if draw.random() < 0.8:
            yield "signal", "clear"
            yield "deliver", draw.choice([1, 2, 3, 3, 3]), draw.random() < 0.9
        if draw.random() < 0.8:
            yield "release", draw.randint(-1, 9), draw.random() < 0.8

    def answer(self) -> tuple[Any, ...]:
        """Return a call of the worker."""
        draw = self.random
        way = draw.random()
        if way < 0.4:
            return "answer", draw.choice([1, 2, 3, 4, 4, 4])
        if way < 0.8:
            return "wait", draw.random() < 0.5
        fields = tuple(draw.randint(0, most) for most in (30, 9, 9, 50, 5))
        return "finish", draw.random() < 0.7, draw.randint(0, 6), fields

    def other(self) -> tuple[Any, ...]:
        """Return any other call."""
        draw = self.random
        number, which = draw.randrange(DESCRIPTORS), draw.randint(0, 99)
        made: list[tuple[Any, ...]] = [
            self.connect(number, draw.randint(0, FUNCTION)),
            ("close", number),
            ("peer", number, "read", draw.randint(0, 9999), b""),
            ("peer", number, draw.choice(["shutdown", "close", "reset"]), 0, b""),
            ("publish", draw.randint(0, 49), draw.randint(0, 3), draw.random() < 0.5, self.data()),
            ("publish", draw.randint(0, 49), 0, draw.random() < 0.5, b""),
            ("row", which, draw.choice(FLAGS), draw.choice([0, 1])),
            ("resume",),
            ("resume",),
            ("row", which, draw.choice(COUNTS), draw.choice([0, 0, 3, 40])),
            ("work", which, draw.choice(["plain", "not plain", "abandoned"])),
            ("signal", draw.choice(["request", "clear", "hold", "framed"])),
            ("entry", draw.randint(0, 9)),
        ]
        if draw.random() < 0.1:
            return "signal", draw.choice(["closed", "closed", "closed", "input"])
        return draw.choice(made)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        yield from self.first
        while True:
            yield from self.way() if self.random.random() < 0.6 else [self.other()]


def drive(seed: int, ncalls: int) -> None:
    """Make the same calls on both, and find no difference."""
    assert NATIVE_PLANE is not None
    calls = Calls(seed)
    twins = Twins(NATIVE_PLANE, calls.sizes)
    try:
        for one in itertools.islice(calls, ncalls):
            twins.do(*one)
        # Everything goes its way in the end, and nothing is left.
        for _ in range(2):
            twins.do("answer", 4)
            twins.do("deliver", 3, True)
            twins.do("release", 0, True)
            for number in range(DESCRIPTORS):
                twins.do("peer", number, "read", 1 << 16, b"")
    finally:
        twins.close()


SEEDS = st.integers(0, 2**64 - 1)


@needs_plane
@settings(max_examples=400)
@given(seed=SEEDS, ncalls=st.integers(0, 150))
def test_no_calls_tell_both_planes_apart(seed: int, ncalls: int) -> None:
    """Bytes, order, outcomes, counters, free slots, reports, requests and errors."""
    drive(seed, ncalls)


@needs_plane
@pytest.mark.stress
@pytest.mark.timeout(900)
@settings(max_examples=5_000)
@given(seed=SEEDS, ncalls=st.integers(0, 400))
def test_no_calls_tell_both_planes_apart_for_long(seed: int, ncalls: int) -> None:
    """The same, some thousand times."""
    drive(seed, ncalls)
