"""plane: the steady state, and each exception, over real sockets and scripted ones."""

import errno
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.errors import ProcessorError
from asyncrev.ring.plane import CREDIT, END, OTHER, OVER_QUOTA, RESERVE, SENT, Plane
from asyncrev.ring.ring import DATA, EOF, Ring
from asyncrev.ring.row import SHARE_CALLS, Row, Work
from asyncrev.ring.wakeups import DeliverySignal
from tests.interrupting import everywhere, interrupted
from tests.planes import plain_work_class
from tests.support import publish

pytestmark = pytest.mark.usefixtures("each_plane")
READABLE = select.EPOLLIN
RESET = struct.pack("ii", 1, 0)  # a linger of 0 s: the close of a socket resets its connection


class Upper:
    """A processor that answers in capitals."""

    def process(self, chunk: memoryview) -> Any:
        """Answer in capitals."""
        return bytes(chunk).upper()

    def eof(self) -> None:
        """Answer nothing."""


def plain_work(processor: Any = None) -> Any:
    """Return the work of a lane that has answered before."""
    return plain_work_class(Work)(processor or Upper())


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        return listener.accept()[0], far


class Wire:
    """A connection of the plane and its peer."""

    def __init__(self, bench: "Bench", work: Any, *, tcp: bool) -> None:
        self.near, self.far = tcp_pair() if tcp else socket.socketpair()
        for sock in (self.near, self.far):
            sock.setblocking(False)
        self.row = Row(work)
        self.fd = self.near.fileno()
        bench.plane.open(self.fd, self.row, self.near.recv_into, self.near.send)
        self.row.reads = self.row.sends = True

    def received(self) -> bytes:
        """Return what has come to the peer."""
        try:
            return self.far.recv(1 << 20)
        except BlockingIOError:
            return b""


class Bench:
    """A plane with the loop's and the worker's parts played by the test."""

    def __init__(self, *, most_entries: int = 32, most_bytes: int = 1 << 20, **ring: int) -> None:
        sizes = {"slots": 4, "slot_bytes": 32, "entries": 8, "small_slot_bytes": 8} | ring
        self.ring = Ring(**sizes)
        self.plane = Plane(self.ring, most_entries, most_bytes)
        self.requests: list[int] = []
        self.signal = DeliverySignal(lambda: self.requests.append(self.ring.processed_seq))
        self.wires: list[Wire] = []

    def wire(self, work: Any = None, *, tcp: bool = False) -> Wire:
        """Connect."""
        self.wires.append(Wire(self, work or plain_work(), tcp=tcp))
        return self.wires[-1]

    def receive(self, *wires: Wire, mask: int = READABLE) -> list[tuple[Wire, Any]]:
        """Receive from all that are ready; return the exceptions."""
        events = [(wire.fd, mask) for wire in wires]
        found, index = [], 0
        while True:
            index, outcome = self.plane.receive(events, index)
            if outcome == END:
                assert index == len(events)
                return found
            found.append((wires[index], outcome))
            index += 1

    def answer(self) -> None:
        """Have the worker answer all that is published."""
        self.plane.answer(self.ring.published_seq, self.signal, None, None)

    def deliver(self) -> list[tuple[int, Any]]:
        """Deliver all that is processed, and release it; return the exceptions."""
        found = []
        while (outcome := self.plane.deliver(self.ring.processed_seq)) != END:
            found.append((self.ring.delivered_seq - 1, outcome))
        self.ring.release(self.ring.delivered_seq - self.ring.released_seq)
        return found


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    """Makes benches, and closes their sockets."""
    benches = []

    def make(**settings: int) -> Bench:
        benches.append(Bench(**settings))
        return benches[-1]

    yield make
    for one in benches:
        for wire in one.wires:
            wire.near.close()
            wire.far.close()


def test_chunks_of_many_are_received_answered_and_sent(bench: Callable[..., Bench]) -> None:
    """In one call each; everything is counted, and the rows are empty again."""
    one = bench()
    wires = [one.wire() for _ in range(3)]
    for number, wire in enumerate(wires):
        wire.row.look_at_s = 9.0
        wire.far.send(b"abc%d" % number)
    assert one.receive(*wires) == []
    assert one.ring.published_seq == 3
    assert [wire.row.in_flight_bytes for wire in wires] == [4, 4, 4]
    assert [wire.row.look_at_s for wire in wires] == [0.0, 0.0, 0.0]
    one.answer()
    assert one.requests == [1]  # the others are found by the same delivery
    assert one.deliver() == []
    assert [wire.received() for wire in wires] == [b"ABC0", b"ABC1", b"ABC2"]
    for wire in wires:
        row = wire.row
        assert (row.in_flight_entries, row.in_flight_bytes) == (0, 0)
        assert (row.received_bytes, row.replied_bytes) == (4, 4)
    assert one.ring.released_seq == 3
    assert (len(one.ring.free_small_slots), len(one.ring.free_slots)) == (8, 4)


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.binary(min_size=1, max_size=40), st.booleans()),
        max_size=40,
    )
)
def test_any_traffic_comes_back_in_order_and_counted(
    steps: list[tuple[int, bytes, bool]],
) -> None:
    """Whatever fits which slot; a full ring, an exhausted quota and a full slot are exceptions."""
    one = Bench(most_entries=4, most_bytes=64)
    try:
        wires = [one.wire() for _ in range(3)]
        sent, got = [b""] * 3, [b""] * 3

        def serve() -> None:
            for wire, outcome in one.receive(*wires):
                assert outcome in (OTHER, OVER_QUOTA)
                wire.row.reads = False
            one.answer()
            for seq, outcome in one.deliver():
                assert outcome == CREDIT, seq
            for number, wire in enumerate(wires):
                got[number] += wire.received()
                wire.row.waits_for_credit = False
                wire.row.reads = True

        for number, data, goes_on in steps:
            wires[number].far.send(data)
            sent[number] += data
            if not goes_on:
                serve()
        serve()
        while got != [data.upper() for data in sent]:
            before = one.ring.published_seq
            serve()
            assert one.ring.published_seq != before  # else it would never end
        assert got == [data.upper() for data in sent]
        for number, wire in enumerate(wires):
            row = wire.row
            assert row.received_bytes == row.replied_bytes == len(sent[number])
            assert (row.in_flight_entries, row.in_flight_bytes) == (0, 0)
    finally:
        for wire in one.wires:
            wire.near.close()
            wire.far.close()


# -- receive ---------------------------------------------------------------------------------------


def test_row_that_fills_a_small_slot_gets_a_slot_next(bench: Callable[..., Bench]) -> None:
    """And a small one again after two short reads."""
    one = bench()
    wire = one.wire()
    numbers = []
    for data in (b"12345678", b"x" * 32, b"short", b"short", b"short"):
        wire.far.send(data)
        assert one.receive(wire) == []
        numbers.append(one.ring.slot_of[one.ring.published_seq - 1])
    assert [number < one.ring.nentries for number in numbers] == [True, False, False, False, True]


@pytest.mark.parametrize(
    "why", ["hang-up", "paused", "waits for a slot", "closed plane", "closed input"]
)
def test_what_is_not_plain_input_is_left_to_others(bench: Callable[..., Bench], why: str) -> None:
    """Nothing is received, and the events after it are looked at when it goes on."""
    one = bench()
    wire, other = one.wire(), one.wire()
    wire.far.send(b"abc")
    other.far.send(b"abc")
    wire.row.reads = why != "paused"
    wire.row.waits_for_slot = why == "waits for a slot"
    one.plane.is_closed = why == "closed plane"
    if why == "closed input":
        one.ring.close_input()
    if why == "hang-up":
        assert one.receive(wire, mask=READABLE | select.EPOLLHUP) == [(wire, OTHER)]
        assert one.ring.published_seq == 0
        return
    exceptions = one.receive(wire, other)
    assert exceptions[0] == (wire, OTHER)
    assert one.ring.published_seq == ("closed" not in why)
    assert len(exceptions) == 1 + ("closed" in why)


def test_end_of_input_and_error_are_told(bench: Callable[..., Bench]) -> None:
    """0, and the error itself; a socket that has nothing is passed over."""
    one = bench()
    ended, reset, quiet = one.wire(), one.wire(tcp=True), one.wire()
    ended.far.close()
    reset.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    reset.far.close()
    (first, nothing), (second, error) = one.receive(ended, quiet, reset)
    assert (first, nothing, second) == (ended, 0, reset)
    assert type(error) is ConnectionResetError
    assert error.errno == errno.ECONNRESET
    assert error.strerror == os.strerror(errno.ECONNRESET)
    assert one.ring.published_seq == 0
    assert len(one.ring.free_small_slots) == 8


def test_full_ring_and_lack_of_slots_are_exceptions(bench: Callable[..., Bench]) -> None:
    """Nothing is read that has no place."""
    one = bench(slots=1, entries=3)
    wires = [one.wire() for _ in range(5)]
    for wire in wires:
        wire.far.send(b"abc")
        wire.row.small_reads = 0
    assert one.receive(*wires[:2]) == [(wires[1], OTHER)]
    for wire in wires[1:]:
        wire.row.small_reads = 2
    assert one.receive(*wires[1:]) == [(wires[3], OTHER), (wires[4], OTHER)]
    assert one.ring.published_seq == 3


@pytest.mark.parametrize("quota", [{"most_entries": 2}, {"most_bytes": 6}])
def test_row_over_its_quota_is_told_and_gets_it_back_at_half(
    bench: Callable[..., Bench], quota: dict[str, int]
) -> None:
    """I8: what exceeded it was published; the caller gives the credit."""
    one = bench(**quota)
    wire = one.wire()
    for _ in range(2):
        wire.far.send(b"abc")
        exceptions = one.receive(wire)
    assert exceptions == [(wire, OVER_QUOTA)]
    assert wire.row.waits_for_credit
    one.answer()
    assert one.deliver() == [(0, CREDIT), (1, CREDIT)]
    assert wire.received() == b"ABCABC"


def test_framed_row_is_received_for_while_it_holds_little(bench: Callable[..., Bench]) -> None:
    """Not more than it may read, and not while budget is short, or it has reserved some."""
    one = bench()
    one.plane = Plane(one.ring, 32, 1 << 20, little_bytes=20)
    one.plane.framed_reads = True
    wire = one.wire()
    row = wire.row
    row.is_framed, row.read_bytes, row.small_reads = True, 16, 0
    wire.far.send(b"x" * 44)
    assert one.receive(wire) == []
    assert row.in_flight_bytes == 16
    assert one.receive(wire) == [(wire, RESERVE)]
    assert row.in_flight_bytes == 32
    assert one.receive(wire) == [(wire, OTHER)]
    one.answer()
    one.deliver()
    row.partial_frame_bytes = 21
    assert one.receive(wire) == [(wire, OTHER)]
    row.partial_frame_bytes, row.reserved_bytes = 0, 1
    assert one.receive(wire) == [(wire, OTHER)]
    row.reserved_bytes, one.plane.framed_reads = 0, False
    assert one.receive(wire) == [(wire, OTHER)]
    one.plane.framed_reads = True
    assert one.receive(wire) == []
    assert row.in_flight_bytes == 12


@pytest.mark.parametrize(("little_bytes", "outcome"), [(5, RESERVE), (6, END)])
def test_framed_row_may_hold_exactly_what_is_little(
    bench: Callable[..., Bench], little_bytes: int, outcome: int
) -> None:
    """Its partial frame and what is in flight."""
    one = bench()
    wire = framed(one, little_bytes=little_bytes)
    wire.row.partial_frame_bytes = 3
    wire.far.send(b"abc")
    assert one.receive(wire) == ([] if outcome == END else [(wire, RESERVE)])
    assert wire.row.in_flight_bytes == 3


def test_closed_descriptor_is_passed_over(bench: Callable[..., Bench]) -> None:
    """Its number may be another's by now."""
    one = bench()
    wire = one.wire()
    wire.far.send(b"abc")
    one.plane.close(wire.fd)
    one.plane.close(wire.fd)
    assert one.plane.row(wire.fd) is None
    assert not (wire.row.reads)
    assert not (wire.row.sends)
    assert one.receive(wire) == []
    assert one.ring.published_seq == 0


def test_descriptor_that_is_opened_again_is_the_new_rows_alone(bench: Callable[..., Bench]) -> None:
    """A reply of the row before must not go to a stranger who has the number now."""
    one = bench()
    wire = one.wire()
    answered(one, wire)
    row = Row(plain_work())
    one.plane.open(wire.fd, row, wire.near.recv_into, wire.near.send)
    row.reads = row.sends = True
    assert (wire.row.reads, wire.row.sends, one.plane.served) == (False, False, 1)
    assert one.deliver() == [(0, OTHER)]
    assert wire.received() == b""
    answered(one, wire)
    assert one.deliver() == []
    assert (wire.received(), row.replied_bytes) == (b"ABC", 3)


# -- answer ----------------------------------------------------------------------------------------


def test_what_is_not_plain_is_done_as_an_entry(bench: Callable[..., Bench]) -> None:
    """Control, a lane without `plain`, one that was given up; each in its turn."""
    one = bench()
    done = []

    class Noting(plain_work_class(Work)):
        __slots__ = ()

        def do(self, entry: Any, storage: Any, pool: Any, share: Any) -> None:
            done.append((one.ring.processed_seq, entry.kind, storage is one.ring.storage))
            entry.result = b"!"

    plain, framed, gone = (Row(Noting(Upper())) for _ in range(3))
    framed.work.plain = None
    gone.work.abandoned = True
    for row, kind in ((plain, DATA), (plain, EOF), (plain, DATA), (framed, DATA), (gone, DATA)):
        publish(one.ring, row, b"abc", kind)
    one.answer()
    assert done == [(1, EOF, True), (3, DATA, True), (4, DATA, True)]
    assert [one.ring.result(seq) for seq in range(5)] == [b"ABC", b"!", b"ABC", b"!", b"!"]
    assert [one.ring.returned(seq)[3] is None for seq in range(5)] == [
        True,
        False,
        True,
        False,
        False,
    ]


def test_chunk_that_is_declined_is_done_as_an_entry(bench: Callable[..., Bench]) -> None:
    """If its processor may decline; the next one is given to it again."""
    one = bench()
    done = []

    class Noting(plain_work_class(Work)):
        __slots__ = ()

        def do(self, entry: Any, storage: Any, pool: Any, share: Any) -> None:
            done.append((one.ring.processed_seq, bytes(entry.view[: entry.nbytes]), pool, share))
            entry.result = b"!"

    def answer(chunk: memoryview) -> Any:
        return NotImplemented if chunk[0] == ord("n") else bytes(chunk).upper()

    class Declining(Scripted):
        may_decline = True

    row = Row(Noting(Declining(answer)))
    for data in (b"abc", b"nbc", b"abc"):
        publish(one.ring, row, data, DATA)
    one.answer()
    assert [seq_data[:2] for seq_data in done] == [(1, b"nbc")]
    assert [one.ring.result(seq) for seq in range(3)] == [b"ABC", b"!", b"ABC"]
    assert [one.ring.returned(seq)[3] is None for seq in range(3)] == [True, False, True]


def test_not_implemented_of_a_users_processor_is_a_reply_as_any_other(
    bench: Callable[..., Bench],
) -> None:
    """Of a wrong type: the chunk is given to nobody a second time."""
    one = bench()
    answered = []

    class Noting(plain_work_class(Work)):
        __slots__ = ()

        def answer(self, entry: Any, result: Any, storage: Any) -> None:
            answered.append(result)

    row = Row(Noting(Scripted(lambda _: NotImplemented)))
    publish(one.ring, row, b"abc", DATA)
    one.answer()
    assert answered == [NotImplemented]


class Scripted:
    """Answers with what it is made with."""

    def __init__(self, answer: Callable[[memoryview], Any]) -> None:
        self.process = answer

    def eof(self) -> None:
        """Answer nothing."""


def test_answers_of_every_kind_are_kept(bench: Callable[..., Bench]) -> None:
    """Views of the slot as they are, others as bytes; None and an empty reply are not sent.

    What is neither bytes nor a view goes by an `Entry`.
    """
    one = bench()
    answers: list[Callable[[memoryview], Any]] = [
        lambda chunk: chunk[:2],
        lambda chunk: bytearray(chunk),
        lambda chunk: None,
        lambda chunk: b"",
    ]
    wires = [one.wire(plain_work(Scripted(answer))) for answer in answers]
    for wire in wires:
        wire.far.send(b"abc")
    assert one.receive(*wires) == []
    one.answer()
    view = one.ring.result(0)
    assert isinstance(view, memoryview)
    assert view.obj is one.ring.storage
    assert type(one.ring.result(1)) is bytes
    assert one.deliver() == []
    assert [wire.received() for wire in wires] == [b"ab", b"abc", b"", b""]
    assert [wire.row.in_flight_entries for wire in wires] == [0, 0, 0, 0]


def test_longer_reply_and_failure_are_reports(bench: Callable[..., Bench]) -> None:
    """Surplus is counted by the lane's work, an error ends it; others go on."""
    one = bench()
    longer = one.wire(plain_work(Scripted(lambda chunk: bytes(chunk) * 2)))
    fails = one.wire(plain_work(Scripted(lambda chunk: 1 / 0)))
    wrong = one.wire(plain_work(Scripted(lambda chunk: "text")))
    fine = one.wire()
    for wire in one.wires:
        wire.far.send(b"abc")
    assert one.receive(*one.wires) == []
    one.answer()
    reports = [one.ring.returned(seq)[3] for seq in range(4)]
    assert reports[0] is not None
    assert (reports[0].result, reports[0].surplus_bytes) == (b"abcabc", 3)
    assert longer.row.work.plain is None
    assert [type(report.error) for report in reports[1:3] if report is not None] == [
        ZeroDivisionError,
        ProcessorError,
    ]
    assert fails.row.work.broken
    assert wrong.row.work.broken
    assert reports[3] is None
    assert one.deliver() == [(0, OTHER), (1, OTHER), (2, OTHER)]
    assert fine.received() == b"ABC"


# -- deliver ---------------------------------------------------------------------------------------


def answered(one: Bench, *wires: Wire) -> None:
    """Have each wire's `abc` answered."""
    for wire in wires:
        wire.far.send(b"abc")
    assert one.receive(*wires) == []
    one.answer()


def reported(one: Bench, wire: Wire, **fields: Any) -> Any:
    """Have the worker's entry of one more `abc` say what `fields` say."""
    wire.far.send(b"abc")
    assert one.receive(wire) == []
    entry = one.ring.entry(one.ring.processed_seq)
    entry.partial_frame_bytes = entry.frame_seq = 0
    for name, value in fields.items():
        setattr(entry, name, value)
    one.ring.mark_processed()
    return entry


@pytest.mark.parametrize(
    "why", ["may not send", "abandoned", "control", "error", "surplus", "pieces"]
)
def test_what_is_not_a_plain_reply_is_left_to_others(bench: Callable[..., Bench], why: str) -> None:
    """Nothing is sent or counted."""
    one = bench()
    wire, other = one.wire(), one.wire()
    reported(
        one,
        wire,
        kind=EOF if why == "control" else DATA,
        error=KeyError() if why == "error" else None,
        surplus_bytes=int(why == "surplus"),
        result=(b"A", b"BC") if why == "pieces" else b"ABC",
    )
    answered(one, other)
    wire.row.sends = why != "may not send"
    wire.row.abandoned = why == "abandoned"
    assert one.deliver() == [(0, OTHER)]
    assert (wire.received(), other.received()) == (b"", b"ABC")
    assert (wire.row.in_flight_entries, wire.row.in_flight_bytes) == (1, 3)


def test_entry_with_a_report_is_counted_as_it_says(bench: Callable[..., Bench]) -> None:
    """Of a lane that has deferred a part of its input: that stays in flight while more comes."""
    one = bench()
    wires = [one.wire(), one.wire()]
    reported(one, wires[0], result=b"a", nbytes=1)
    reported(one, wires[0], result=None)
    reported(one, wires[1], result=b"xyz")
    assert one.deliver() == [(1, SENT)]  # nothing is left in the ring, and 2 bytes are deferred
    assert [wire.received() for wire in wires] == [b"a", b"xyz"]
    assert [wire.row.in_flight_entries for wire in wires] == [1, 0]
    assert [wire.row.in_flight_bytes for wire in wires] == [5, 0]
    assert [wire.row.replied_bytes for wire in wires] == [1, 3]


def test_deferred_input_gets_its_turn_when_nothing_is_in_the_ring(
    bench: Callable[..., Bench],
) -> None:
    """The reply is sent; the caller counts the entry, and resumes."""
    one = bench()
    wire = one.wire()
    reported(one, wire, result=b"a", nbytes=2)
    assert one.deliver() == [(0, SENT)]
    assert (wire.received(), wire.row.replied_bytes) == (b"a", 1)
    assert (wire.row.in_flight_entries, wire.row.in_flight_bytes) == (1, 3)


def framed(one: Bench, *, little_bytes: int) -> Wire:
    """Return a connection with frames that may receive at once."""
    one.plane = Plane(one.ring, 32, 1 << 20, little_bytes)
    one.plane.framed_reads = True
    wire = one.wire()
    wire.row.is_framed = True
    return wire


def test_report_of_a_framed_row_changes_what_it_holds(bench: Callable[..., Bench]) -> None:
    """While that is little: its partial frame, the frame's number, and how much it may read."""
    one = bench()
    wire = framed(one, little_bytes=20)
    row = wire.row
    row.read_bytes = 3
    reported(one, wire, result=b"f", partial_frame_bytes=20, frame_seq=7, calls=1)
    assert one.deliver() == []
    assert (row.partial_frame_bytes, row.frame_seq, row.read_bytes) == (20, 7, 6)
    assert (row.in_flight_entries, row.in_flight_bytes) == (0, 0)
    row.partial_frame_bytes = 0
    answered(one, wire)  # without a report nothing of this is new, and 3 bytes are not a full read
    assert one.deliver() == []
    assert (row.partial_frame_bytes, row.frame_seq, row.read_bytes) == (0, 7, 6)
    assert wire.received() == b"fABC"


@pytest.mark.parametrize(
    ("read_bytes", "calls", "then"),
    [
        (3, SHARE_CALLS // 2, 6),
        (3, SHARE_CALLS // 2 + 1, 512),  # it had fewer than the least
        (4096, SHARE_CALLS // 2 + 1, 512),
        (32, 0, 32),
        (4, 0, 4),
    ],
)
def test_read_of_a_framed_row_follows_what_its_input_costs(
    bench: Callable[..., Bench], read_bytes: int, calls: int, then: int
) -> None:
    """See `adapted_read_bytes`."""
    one = bench()
    wire = framed(one, little_bytes=20)
    wire.row.read_bytes = read_bytes
    reported(one, wire, result=b"f", calls=calls)
    assert one.deliver() == []
    assert wire.row.read_bytes == then


@pytest.mark.parametrize("why", ["has reserved", "waits for a slot", "holds much", "in flight"])
def test_reservation_that_changes_is_left_to_be_decided(
    bench: Callable[..., Bench], why: str
) -> None:
    """The reply is sent, and nothing else is done."""
    one = bench()
    wire = framed(one, little_bytes=20)
    row = wire.row
    reported(one, wire, result=b"f", partial_frame_bytes=21 if why == "holds much" else 1)
    row.reserved_bytes = int(why == "has reserved")
    row.waits_for_slot = why == "waits for a slot"
    row.in_flight_bytes += 20 if why == "in flight" else 0
    row.in_flight_entries += 1
    before = row.in_flight_bytes
    assert one.deliver() == [(0, SENT)]
    assert (wire.received(), row.replied_bytes) == (b"f", 1)
    assert (row.in_flight_entries, row.in_flight_bytes) == (2, before)
    assert row.partial_frame_bytes == 0


def only_in_python(plane: SimpleNamespace) -> None:
    """Skip a test of what a signal handler may interrupt."""
    if plane.name == "native":
        pytest.skip("no Python code runs within a call of the native plane")


def needs_functions(classes: SimpleNamespace) -> None:
    """Skip where the functions of a socket are not used."""
    if classes.name != "python":
        pytest.skip("the native plane sends by the descriptor itself")


def test_short_write_of_a_full_socket_is_told(bench: Callable[..., Bench]) -> None:
    """And an error of a send is a write of nothing: whoever tries again sees it."""
    one = bench(slot_bytes=1 << 16)
    full, gone, fine = one.wire(plain_work(Scripted(bytes))), one.wire(), one.wire()
    full.row.small_reads = 0
    full.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    full.far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    answered(one, gone, fine)
    gone.far.close()
    sent_bytes = 0
    while True:
        full.far.send(bytes(4000))
        assert one.receive(full) == []
        one.answer()
        exceptions = dict(one.deliver())
        if sent_bytes == 0:
            assert exceptions.pop(0) == 0
            assert fine.received() == b"ABC"
        if exceptions:
            break
        sent_bytes += 4000
    ((_, outcome),) = exceptions.items()
    assert 0 <= outcome < 4000
    assert full.row.replied_bytes == sent_bytes + outcome
    assert full.row.in_flight_entries == 1
    assert gone.row.in_flight_entries == 1


@pytest.mark.parametrize("sent_bytes", [0, 1, 2])
def test_short_write_is_told(
    each_plane: SimpleNamespace, bench: Callable[..., Bench], sent_bytes: int
) -> None:
    """With what was sent; the entry is not counted as delivered yet."""
    needs_functions(each_plane)
    one = bench()
    wire = one.wire()
    answered(one, wire)
    wire.row.send = lambda data: sent_bytes
    assert one.deliver() == [(0, sent_bytes)]
    assert wire.row.replied_bytes == sent_bytes
    assert wire.row.in_flight_entries == 1


@pytest.mark.parametrize("error", [BlockingIOError, BrokenPipeError, InterruptedError])
def test_error_of_a_send_is_a_write_of_nothing(
    each_plane: SimpleNamespace, bench: Callable[..., Bench], error: type[OSError]
) -> None:
    """Whoever tries again sees it."""
    needs_functions(each_plane)
    one = bench()
    wire = one.wire()
    answered(one, wire)

    def fail(_: Any) -> int:
        raise error

    wire.row.send = fail
    assert one.deliver() == [(0, 0)]


def test_interrupt_of_a_send_is_handed_over_and_no_reply_goes_twice(
    each_plane: SimpleNamespace, bench: Callable[..., Bench]
) -> None:
    """The entry counts as delivered."""
    needs_functions(each_plane)
    one = bench()
    wires = [one.wire(), one.wire()]
    answered(one, *wires)

    def interrupt(_: Any) -> int:
        raise KeyboardInterrupt

    wires[0].row.send = interrupt
    ((seq, raised),) = one.deliver()
    assert (seq, type(raised)) == (0, KeyboardInterrupt)
    assert wires[1].received() == b"ABC"


@pytest.mark.parametrize("small_reads", [0, 2])
def test_interrupt_anywhere_in_a_receive_takes_no_slot_and_leaves_no_gap(
    bench: Callable[..., Bench], small_reads: int, each_plane: SimpleNamespace
) -> None:
    """What was received is published, or said to be lost; the next call goes on."""
    only_in_python(each_plane)

    def scenario(place: int) -> bool:
        one = bench()
        wires = [one.wire() for _ in range(3)]
        for wire in wires:
            wire.row.small_reads = small_reads
            wire.far.send(b"abc")
        found: list[Any] = []
        was = interrupted(lambda: found.extend(one.receive(*wires)), place, Plane.receive)
        lost = [wire for wire, outcome in found if isinstance(outcome, KeyboardInterrupt)]
        assert one.receive(*(wire for wire in wires if wire not in lost)) == []
        ring = one.ring
        assert {ring.owner(seq) for seq in range(ring.published_seq)} == {
            wire.row for wire in wires if wire not in lost
        }
        assert free_and_used(ring) == list(range(12))
        return was

    everywhere(scenario, least=8)


def test_interrupt_anywhere_in_a_release_frees_each_slot_once(
    bench: Callable[..., Bench], each_plane: SimpleNamespace
) -> None:
    """Two lanes would share what is freed twice."""
    only_in_python(each_plane)

    def scenario(place: int) -> bool:
        ring = Ring(4, 32, 8, small_slot_bytes=8)
        for _ in range(2):  # the second time around the end of the columns
            for is_small in (True, False, False, True, False):
                slot = ring.try_claim(small=is_small)
                assert slot is not None
                ring.publish(None, DATA, slot, 1)
                ring.entry(ring.published_seq - 1)
                ring.mark_processed()
            until_seq = ring.processed_seq
            was = interrupted(lambda: ring.release(5), place, Ring.release, Ring._clear)
            ring.release(until_seq - ring.released_seq)
            assert free_and_used(ring) == list(range(12))
        return was

    everywhere(scenario, least=8)


def test_interrupt_anywhere_in_a_publish_takes_no_slot(
    bench: Callable[..., Bench], each_plane: SimpleNamespace
) -> None:
    """It was published, or it was not."""
    only_in_python(each_plane)

    def scenario(place: int) -> bool:
        ring = Ring(4, 32, 8, small_slot_bytes=8)
        slot = ring.try_claim()
        assert slot is not None
        was = interrupted(lambda: ring.publish(None, DATA, slot, 1), place, Ring.publish)
        assert free_and_used(ring) == list(range(12))
        return was

    everywhere(scenario, least=3)


def free_and_used(ring: Ring) -> list[int]:
    """Return the numbers of all slots, free and in entries, sorted."""
    used = [
        ring.slot_of[seq % ring.nentries] for seq in range(ring.released_seq, ring.published_seq)
    ]
    return sorted(ring.free_slots + ring.free_small_slots + used)
