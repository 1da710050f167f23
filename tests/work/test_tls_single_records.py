"""tls_single_records: a chunk that is one record takes a way of its own, and is done like any."""

import ssl
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from asyncrev.errors import TlsError
from asyncrev.ring.ring import DATA, EOF, RESUME, Entry, Kind
from asyncrev.ring.row import SHARE_CALLS
from asyncrev.work.lane_work import Share
from asyncrev.work.reverse import Reverse
from asyncrev.work.tls_single_records import SingleRecordTlsWork
from tests.lane_bench import Recorder
from tests.tls_pair import MOST_DATA_BYTES, SCRATCH, VERSIONS, Bench

versions = pytest.mark.parametrize("version", sorted(VERSIONS))


class Twice(Recorder):
    """Answers with twice what it was given, in new bytes."""

    def process(self, chunk: memoryview) -> bytes:  # type: ignore[override]
        """Return the chunk, and again."""
        return bytes(chunk) * 2


class Quiet(Recorder):
    """Answers nothing, or b"", which is nothing too."""

    def process(self, chunk: memoryview) -> bytes | None:  # type: ignore[override]
        """Return nothing."""
        return b"" if len(chunk) % 2 else None


class Picky(Recorder):
    """Fails when it sees an "x"."""

    def process(self, chunk: memoryview) -> bytes:  # type: ignore[override]
        """Return the chunk."""
        if b"x" in bytes(chunk):
            raise ValueError("an x")
        return bytes(chunk)


FACTORIES: tuple[Callable[[], Any], ...] = (Recorder, Reverse, Twice, Quiet, Picky)


class Both:
    """Two lanes that are given the same; one of them never takes the way for single records."""

    def __init__(self, version: str, factory: Callable[[], Any], framing: str, window: int) -> None:
        self.benches = [
            Bench(factory, version=version, framing=framing, window_bytes=window).shake_hands()
            for _ in range(2)
        ]
        self.is_framed = framing != "raw"
        self.shares = [self.new_share() for _ in self.benches]

    @staticmethod
    def new_share(records: int = 3, calls: int = SHARE_CALLS) -> Share:
        """Return what a batch may use."""
        return Share(SCRATCH, calls, records, 1)

    def next_batch(self, records: int, calls: int) -> None:
        """Have both begin with a new share."""
        self.shares = [self.new_share(records, calls) for _ in self.benches]

    def do(self, kind: Kind, wires: list[bytes]) -> None:
        """Give each its entry; see that both make the same of it."""
        seen = []
        for number, (bench, wire, share) in enumerate(
            zip(self.benches, wires, self.shares, strict=True)
        ):
            if number:
                bench.work.is_plain = False
            seen.append(self.said(bench, bench.do(kind, wire, share)))
        assert seen[0] == seen[1]

    def said(self, bench: Bench, entry: Entry) -> tuple[object, ...]:
        """Return all that the loop can learn from an entry, and the peer from its reply."""
        bench.tell()
        return (
            entry.kind,
            entry.nbytes,
            entry.calls,
            entry.surplus_bytes,
            entry.ended and entry.kind is not DATA,
            type(entry.error),
            (entry.partial_frame_bytes, entry.frame_seq) if self.is_framed else None,
            bench.has_deferred,
            bench.work.broken,
            bench.work.data_bytes,
            bench.peer.received,
            bench.peer.ended,
            type(bench.peer.error),
        )

    def finish(self) -> None:
        """Open the windows until nothing is deferred."""
        while any(bench.has_deferred for bench in self.benches):
            self.open_windows()
            self.next_batch(2, SHARE_CALLS)
            self.do(RESUME, [b""] * 2)

    def open_windows(self) -> None:
        """Have the peers take all replies."""
        for bench in self.benches:
            window = bench.work.window
            window.deliver(window.produced_bytes - window.delivered_bytes)


pieces = st.lists(
    st.text("ab\nx", max_size=20).map(str.encode)
    | st.sampled_from([b"ab\n" * 100, b"\0\0\0\x03abc", b"\0\0\0\x09ab", b"a" * MOST_DATA_BYTES]),
    min_size=1,
    max_size=3,
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), pieces),
        st.tuples(st.just("write"), pieces.map(lambda some: some[:1])),
        st.tuples(st.just("split"), pieces),
        st.tuples(st.just("batch"), st.tuples(st.integers(1, 4), st.integers(1, 40))),
        st.tuples(st.sampled_from(["resume", "open", "bad", "close"]), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(VERSIONS)),
    st.sampled_from(FACTORIES),
    st.sampled_from(["raw", "line", "len32"]),
    st.sampled_from([1 << 62, 1, 30]),
    steps,
)
def test_lane_that_never_takes_it_makes_the_same_of_all_entries(
    version: str, factory: Callable[[], Any], framing: str, window: int, does: list[tuple[str, Any]]
) -> None:
    """Credit, calls, surplus, deferral, errors and ends, entry by entry; and what the peer gets."""
    both = Both(version, factory, framing, window)
    for what, value in does:
        if what == "batch":
            both.next_batch(*value)
        elif what == "open":
            both.open_windows()
        elif what == "resume":
            both.do(RESUME, [b""] * 2)
        else:
            wires = [wire_of(bench, what, value) for bench in both.benches]
            if not all(wires):
                continue  # the peer has nothing more to say
            half = len(wires[0]) // 2 if what == "split" else 0
            if half:
                both.do(DATA, [wire[:half] for wire in wires])
            both.do(DATA, [wire[half:] for wire in wires])
    both.finish()
    event(f"broken: {both.benches[0].work.broken}")
    both.do(EOF, [b""] * 2)
    both.finish()


def wire_of(bench: Bench, what: str, value: Any) -> bytes:
    """Return what the peer sends; nothing once it has ended."""
    if what == "close":
        return bench.peer.close()
    data = [b"bad"] if what == "bad" else value
    try:
        wire = b"".join(bench.peer.write(piece) for piece in data if piece)
    except ssl.SSLError:  # it has sent close_notify
        return b""
    return wire[:-1] + bytes([wire[-1] ^ 1]) if wire and what == "bad" else wire


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of chunks that took the way for single records."""
    lengths: list[int] = []
    do_record = SingleRecordTlsWork._do_record

    def counting(self: SingleRecordTlsWork, entry: Entry, *rest: Any) -> None:
        lengths.append(entry.nbytes)
        do_record(self, entry, *rest)

    monkeypatch.setattr(SingleRecordTlsWork, "_do_record", counting)
    return lengths


@versions
def test_single_record_takes_the_way_and_nothing_else_does(
    version: str, counted: list[int]
) -> None:
    """Half a record, the rest of one, one and a half, and two do not."""
    bench = Bench(Reverse, version=version).shake_hands()
    bench.do(DATA, bench.peer.write(b"abc"))
    one, two, three = (bench.peer.write(text) for text in (b"def", b"ghi", b"jkl"))
    counted.clear()
    for chunk in (one[:7], one[7:], two + three[:4], three[4:]):
        bench.do(DATA, chunk)
    bench.do(DATA, bench.peer.write(b"mno") + bench.peer.write(b"pqr"))
    assert not counted
    last = bench.peer.write(b"stu")
    bench.do(DATA, last)
    assert counted == [len(last)]
    bench.tell()
    assert bench.peer.received == b"cbafedihglkjonmrqputs"


def test_single_records_of_a_batch_use_the_share_up() -> None:
    """I23, whatever the chunks are."""
    bench = Bench(Reverse).shake_hands()
    bench.do(DATA, bench.peer.write(b"a"))
    bench.tell()
    share = Share(SCRATCH, most_records=3)
    for text in (b"b", b"c", b"d", b"e", b"f"):
        bench.do(DATA, bench.peer.write(text), share)
    bench.tell()
    assert bench.peer.received == b"abcd"
    assert bench.has_deferred
    bench.resume()
    bench.tell()
    assert bench.peer.received == b"abcdef"


def test_single_record_behind_one_that_fills_the_window_waits() -> None:
    """I22: its ciphertext is kept, not its data."""
    bench = Bench(Twice, window_bytes=2).shake_hands()
    for text in (b"a", b"b", b"c"):
        bench.do(DATA, bench.peer.write(text))
    bench.tell()
    assert bench.work.data_bytes == 2
    assert bench.peer.received == b"aabb"
    bench.work.window.deliver(2)
    bench.resume()
    bench.tell()
    assert bench.peer.received == b"aabbcc"


def test_single_record_that_the_inner_work_defers_stays_in_flight() -> None:
    """Until all of it is answered; the bench looks at each entry's credit."""
    bench = Bench(Recorder, framing="line").shake_hands()
    wire = bench.peer.write(b"a\n" * 10)
    entry = bench.do(DATA, wire, Share(SCRATCH, most_calls=3))
    assert entry.nbytes == len(wire) - len(b"a\n" * 7)
    assert bench.resume(lambda: Share(SCRATCH, most_calls=3)) == 3
    bench.tell()
    assert bench.peer.received == b"a\n" * 10


@versions
def test_bad_record_alone_ends_the_lane_with_an_alert(version: str) -> None:
    """The replies before it have gone out with their own entries."""
    bench = Bench(Reverse, version=version).shake_hands()
    for text in (b"ab", b"cd"):
        assert bench.do(DATA, bench.peer.write(text)).error is None
    wire = bytearray(bench.peer.write(b"ef"))
    wire[-1] ^= 1
    entry = bench.do(DATA, bytes(wire))
    assert type(entry.error) is TlsError
    assert entry.nbytes == len(wire)
    bench.tell()
    assert bench.peer.received == b"badc"
    assert "alert bad record mac" in str(bench.peer.error)


def test_abandoned_lane_does_no_single_record(counted: list[int]) -> None:
    """Nobody wants its reply."""
    bench = Bench(Reverse).shake_hands()
    bench.do(DATA, bench.peer.write(b"ab"))
    bench.work.abandoned = True
    counted.clear()
    assert bench.do(DATA, bench.peer.write(b"cd")).result is None
    assert not counted
