"""plane: the native plane does what the one in Python does, and keeps nothing alive.

Which classes run under which tests is in tests/planes.py; here is what compares the two, and what
only C can do wrong. Not compared, because the planes may differ: how a control entry without an
`Entry` is delivered (`answer` gives each one), and the bytes in a slot after its processing.
"""

import itertools
import random
import socket
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrev.native.plane import INTERFACE, as_plane
from asyncrev.ring.plane import END
from asyncrev.ring.row import Kernel
from tests.native.twins import DESCRIPTORS, MASKS, Twins
from tests.planes import NATIVE_PLANE, PythonReverse, needs_plane, plain_work_class
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


# -- equal by test ---------------------------------------------------------------------------------

COUNTS = ("partial_frame_bytes", "read_bytes", "reserved_bytes", "small_reads", "look_at_s")
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
        # All at the first of their numbers: a kernel for each, then some with frames.
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
            self.connect(number, draw.randint(0, 4)),
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
@settings(max_examples=150)
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
