"""tls_work: what a lane may cost in one batch of the worker, and what becomes of the rest."""

import collections
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from asyncrev.errors import TlsHandshakeFailed, TlsTruncated
from asyncrev.ring.ring import DATA, EOF, RESUME, Entry, Kind
from asyncrev.work.lane_work import (
    SHARE_HANDSHAKES,
    SHARE_RECORDS,
    UNBOUNDED_CALLS,
    InputEnd,
    Share,
)
from asyncrev.work.tls_session import TlsSession
from tests.framed import framed
from tests.lane_bench import Recorder
from tests.tls_forger import forging
from tests.tls_pair import SCRATCH, VERSIONS, Bench, inner_alone

versions = pytest.mark.parametrize("version", sorted(VERSIONS))


class Doubling(Recorder):
    """Answers each byte with two of it, whatever chunk it comes in."""

    def process(self, chunk: memoryview) -> bytes:  # type: ignore[override]
        """Return the chunk, each byte twice."""
        self.calls.append(bytes(chunk))
        return b"".join(bytes([byte, byte]) for byte in chunk)


def share_of(
    *,
    calls: int = UNBOUNDED_CALLS,
    records: int = UNBOUNDED_CALLS,
    handshakes: int = UNBOUNDED_CALLS,
) -> Share:
    """Return what a batch may use."""
    return Share(SCRATCH, calls, records, handshakes)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> "collections.Counter[str]":
    """How often sessions were asked to "read" and to "handshake"."""
    counts: collections.Counter[str] = collections.Counter()

    def counting(name: str) -> None:
        method = getattr(TlsSession, name)

        def wrapper(*args: Any) -> Any:
            counts[name] += 1
            return method(*args)

        monkeypatch.setattr(TlsSession, name, wrapper)

    counting("read")
    counting("handshake")
    return counts


# -- records ---------------------------------------------------------------------------------------


@versions
def test_lane_decrypts_its_share_of_records_in_a_batch(
    version: str, counted: "collections.Counter[str]"
) -> None:
    """I23: in all its entries of the batch together; other lanes have theirs."""
    bench, other = (Bench(Recorder, version=version).shake_hands() for _ in range(2))
    counted.clear()
    share = share_of(records=4)
    wire = [bench.peer.write(bytes([number] * 10), 1) for number in range(2)]
    for kind, data, read in ((DATA, wire[0], 4), (DATA, wire[1], 4), (RESUME, b"", 4)):
        bench.do(kind, data, share)
        assert counted["read"] == read
    other.do(DATA, other.peer.write(b"abc", 1), share)
    assert counted["read"] == 7
    for read in (11, 15, 19, 23):
        entry = bench.do(RESUME, share=share_of(records=4))
        assert entry.calls == 4
        assert counted["read"] == read
    assert not bench.has_deferred
    bench.tell()
    assert bench.peer.received == bytes(10) + b"\1" * 10


@versions
def test_records_without_data_use_the_share_up_too(
    version: str, counted: "collections.Counter[str]"
) -> None:
    """Decrypting them costs as much."""
    forger = forging(Recorder, version)
    counted.clear()
    wire = b"".join(forger.record(23, b"") for _ in range(10))
    forger.bench.do(DATA, wire, share_of(records=4))
    assert counted["read"] == 4
    assert forger.bench.has_deferred
    assert forger.bench.resume(lambda: share_of(records=4)) == 2


def test_slot_of_one_byte_records_takes_many_batches(
    counted: "collections.Counter[str]",
) -> None:
    """They would keep the worker for 40 ms; with the shares that it has."""
    bench = Bench(Recorder).shake_hands()
    wire = bench.peer.write(bytes(11_000), 1)[: 256 * 1024]
    counted.clear()
    for times in range(1, 6):
        bench.do(RESUME if times > 1 else DATA, wire if times == 1 else b"", Share(SCRATCH))
        assert counted["read"] == times * SHARE_RECORDS
    bench.resume(lambda: Share(SCRATCH))
    bench.tell()
    assert len(bench.peer.received) == bench.work.data_bytes == counted["read"] > 10_000


# -- handshakes ------------------------------------------------------------------------------------


@versions
def test_lanes_share_the_handshakes_of_a_batch(
    version: str, counted: "collections.Counter[str]"
) -> None:
    """I23: lanes beyond it wait for a RESUME, and nothing of theirs is lost."""
    benches = [Bench(Recorder, version=version) for _ in range(5)]
    share = Share(SCRATCH)
    for bench in benches:
        bench.do(DATA, bench.start(), share)
    done = SHARE_HANDSHAKES
    assert counted["handshake"] == done
    while True:
        assert [bench.has_deferred for bench in benches] == [n >= done for n in range(5)]
        assert [bool(bench.wire) for bench in benches] == [n < done for n in range(5)]
        if done >= len(benches):
            break
        share = Share(SCRATCH)
        for bench in benches[done:]:
            bench.do(RESUME, share=share)
        done += SHARE_HANDSHAKES
    for bench in benches:
        wire = bench.tell()
        while wire:
            bench.do(DATA, wire)
            wire = bench.tell()
        assert bench.exchange(b"abc") == b"abc"


@versions
def test_part_of_a_record_takes_nothing_of_the_share_of_handshakes(version: str) -> None:
    """It costs nothing; who sends a handshake byte by byte would make others wait for theirs."""
    slow, honest = Bench(Recorder, version=version), Bench(Recorder, version=version)
    wire = slow.start()
    share = share_of(handshakes=2)
    for byte in wire[:100]:
        slow.do(DATA, bytes([byte]), share)
    honest.do(DATA, honest.start(), share)
    assert not honest.has_deferred
    assert honest.wire
    slow.do(DATA, wire[100:], share)
    assert slow.wire
    assert share.handshakes_left == 0


def test_lane_that_is_established_needs_no_share_of_handshakes() -> None:
    """A storm of handshakes is no reason to let it wait."""
    bench = Bench(Recorder).shake_hands()
    bench.do(DATA, bench.peer.write(b"abc"), share_of(handshakes=0))
    bench.tell()
    assert bench.peer.received == b"abc"


def test_client_begins_whatever_the_share() -> None:
    """Its hello costs little."""
    bench = Bench(Recorder, client=True)
    bench.do(RESUME, share=share_of(handshakes=0))
    assert bench.wire
    assert not bench.has_deferred


@pytest.mark.parametrize("reason", [InputEnd.PEER, InputEnd.DRAIN])
def test_end_behind_a_deferred_handshake_waits_for_it(reason: InputEnd) -> None:
    """What is behind it may be all that the peer had to say."""
    bench = Bench(Recorder)
    wire = bench.start()
    while not bench.peer.is_established:
        bench.do(DATA, wire)
        wire = bench.tell()
    wire += bench.peer.write(b"abc")
    bench.do(DATA, wire, share_of(handshakes=0))
    entry = bench.end(reason, share_of(handshakes=0))
    assert (entry.kind, entry.ended, entry.error) == (EOF, False, None)
    assert bench.resume() == 1
    bench.tell()
    is_cut = reason is InputEnd.PEER
    assert bench.peer.received == b"abc" + (b"" if is_cut else b"bye")
    assert bench.ends == (not is_cut)
    assert type(bench.error) is (TlsTruncated if is_cut else type(None))


# -- what the inner work defers --------------------------------------------------------------------


@versions
def test_inner_work_that_defers_stops_the_decrypting(
    version: str, counted: "collections.Counter[str]"
) -> None:
    """I22: or a lane would hold the plaintext of all that it was sent."""
    bench = Bench(Recorder, framing="line", version=version).shake_hands()
    wire = b"".join(bench.peer.write(b"a\n" * 10) for _ in range(4))
    counted.clear()
    bench.do(DATA, wire, share_of(calls=3))
    assert counted["read"] == 1
    before = counted["read"]
    while bench.has_deferred:
        inner = bench.work._inner.deferred
        assert inner is None or inner.nbytes <= 20
        bench.do(RESUME, share=share_of(calls=3))
        assert counted["read"] <= before + 1
        before = counted["read"]
    bench.tell()
    assert bench.peer.received == b"a\n" * 40


@pytest.mark.parametrize("name", ["raw", "line"])
def test_full_window_stops_the_decrypting(name: str, counted: "collections.Counter[str]") -> None:
    """Replies that the peer does not take are bounded by it."""
    bench = Bench(Doubling, framing=name, window_bytes=1).shake_hands()
    counted.clear()
    wire = b"".join(bench.peer.write(text) for text in (b"ab\n", b"cd\n", b"ef\n"))
    entry = bench.do(DATA, wire)
    assert counted["read"] == 1
    assert entry.surplus_bytes == (3 if name == "raw" else 2)
    assert bench.do(RESUME).result is None
    assert bench.do(DATA, bench.peer.write(b"gh\n")).result is None
    assert counted["read"] == 1
    for read in (2, 3, 4):
        bench.work.window.deliver(
            bench.work.window.produced_bytes - bench.work.window.delivered_bytes
        )
        bench.do(RESUME)
        assert counted["read"] == read
    bench.tell()
    end = b"\n\n" if name == "raw" else b"\n"
    assert bench.peer.received == end.join((b"aabb", b"ccdd", b"eeff", b"gghh")) + end


def test_rest_of_a_record_whose_beginning_is_credited_stays_in_flight() -> None:
    """What is deferred may be more than what came with this entry; else nobody resumed the lane."""
    bench = Bench(Recorder, framing="line").shake_hands()
    wire = bench.peer.write(b"a\n" * 5000)
    assert bench.do(DATA, wire[:-1]).nbytes == len(wire) - 1
    assert bench.do(DATA, wire[-1:], share_of(calls=100)).nbytes == 0
    assert bench.in_flight_bytes == 1
    assert bench.resume(lambda: share_of(calls=100)) == 49
    bench.tell()
    assert bench.peer.received == b"a\n" * 5000


@pytest.mark.parametrize("ending", ["close_notify", InputEnd.PEER, InputEnd.DRAIN])
def test_end_behind_deferred_input_comes_after_all_replies(ending: Any) -> None:
    """The entry that tells of the end is an EOF at once, `ended` is the last one's."""
    bench = Bench(Recorder, framing="line").shake_hands()
    wire = bench.peer.write(b"a\n" * 10) + bench.peer.write(b"b\n" * 10)

    def few() -> Share:
        return share_of(calls=3)

    if ending == "close_notify":
        entry = bench.do(DATA, wire + bench.peer.close(), few())
        assert entry.kind is DATA  # it has not been seen yet
    else:
        bench.do(DATA, wire, few())
        entry = bench.end(ending, few())
        assert (entry.kind, entry.ended, entry.error) == (EOF, False, None)
    bench.resume(few)
    bench.tell()
    is_cut = ending is InputEnd.PEER
    assert bench.peer.received == b"a\n" * 10 + b"b\n" * 10 + (b"" if is_cut else b"bye\n")
    assert bench.ends == (not is_cut)
    assert type(bench.error) is (TlsTruncated if is_cut else type(None))
    assert bench.peer.ended


def test_deadline_drops_what_is_deferred() -> None:
    """A peer that was too slow gets close_notify behind the replies that it has."""
    bench = Bench(Recorder, framing="line").shake_hands()
    bench.do(DATA, bench.peer.write(b"a\n" * 10, 4), share_of(calls=3))
    entry = bench.end(InputEnd.DEADLINE)
    assert (entry.ended, entry.error, bench.in_flight_bytes) == (True, None, 0)
    bench.tell()
    assert bench.peer.received in (b"a\n" * 3, b"a\n" * 4)
    assert bench.peer.ended


# -- any schedule ----------------------------------------------------------------------------------


class Sent(NamedTuple):
    """An entry on its way to the worker."""

    lane: "LoopsLane"
    kind: Kind
    data: bytes


class LoopsLane:
    """A lane as the loop sees it; see `bridge.lane`, `bridge.admission` and `bridge.delivery`."""

    def __init__(self, name: str, version: str, client: bool, window_bytes: int) -> None:
        self.name = name
        self.bench = Bench(
            Doubling, framing=name, version=version, client=client, window_bytes=window_bytes
        )
        self.in_flight_entries = self.in_flight_bytes = 0
        self.to_come = b""  # on the wire, not read yet
        self.said = b""
        self.closed = self.eof_sent = self.ending = self.over = False
        self.ends = 0
        self.error: BaseException | None = None

    @property
    def window(self) -> Any:
        return self.bench.work.window


class TlsLanes(RuleBasedStateMachine):
    """I22, I23: lanes over TLS on one ring, with shares and windows of any size."""

    @initialize(
        settings=st.lists(
            st.tuples(
                st.sampled_from(["raw", "line"]),
                st.sampled_from(sorted(VERSIONS)),
                st.booleans(),
                st.sampled_from([1, 10, 1000, 1 << 62]),
            ),
            min_size=1,
            max_size=3,
        ),
        shaken=st.booleans(),
    )
    def start(self, settings: list[tuple[str, str, bool, int]], shaken: bool) -> None:
        """Make the lanes; `shaken`: with the handshakes behind them."""
        self.ring: collections.deque[Sent] = collections.deque()
        self.returned: collections.deque[tuple[LoopsLane, Entry, bytes]] = collections.deque()
        self.lanes = [LoopsLane(*one) for one in settings]
        for lane in self.lanes:
            if shaken:
                lane.bench.shake_hands()
            elif lane.bench.is_client:
                self.publish_entry(lane, RESUME)
            else:
                lane.to_come = lane.bench.peer.take()

    numbers = st.integers(0, 2)

    def lane(self, number: int) -> LoopsLane:
        return self.lanes[number % len(self.lanes)]

    def publish_entry(self, lane: LoopsLane, kind: Kind, data: bytes = b"") -> None:
        self.ring.append(Sent(lane, kind, data))
        lane.in_flight_entries += 1
        lane.in_flight_bytes += len(data)

    def resume(self, lane: LoopsLane) -> None:
        if lane.over or lane.in_flight_entries or lane.window.is_stalled:
            return
        if lane.in_flight_bytes or lane.ending:
            lane.window.go_on()
            self.publish_entry(lane, RESUME)

    @rule(
        number=numbers,
        texts=st.lists(st.integers(0, 60), max_size=6),
        record_bytes=st.sampled_from([1, 3, 50, 16384]),
    )
    def say(self, number: int, texts: list[int], record_bytes: int) -> None:
        """Have the peer write lines."""
        lane = self.lane(number)
        peer = lane.bench.peer
        if peer.is_established and not lane.closed and peer.error is None:
            data = b"".join(b"x" * nbytes + b"\n" for nbytes in texts)
            lane.said += data
            lane.to_come += peer.write(data, record_bytes)

    @rule(number=numbers)
    def close_peer(self, number: int) -> None:
        """Have the peer send close_notify."""
        lane = self.lane(number)
        if lane.bench.peer.is_established and not lane.closed:
            lane.closed = True
            lane.to_come += lane.bench.peer.close()

    @rule(number=numbers, nbytes=st.one_of(st.integers(1, 40), st.integers(1, 10_000)))
    def publish(self, number: int, nbytes: int) -> None:
        """Read so much of a socket."""
        lane = self.lane(number)
        chunk, lane.to_come = lane.to_come[:nbytes], lane.to_come[nbytes:]
        if chunk and not (lane.over or lane.eof_sent):
            self.publish_entry(lane, DATA, chunk)

    @rule(number=numbers, reason=st.sampled_from(InputEnd))
    def end(self, number: int, reason: InputEnd) -> None:
        """End a lane's input; what is on the wire is not read any more."""
        lane = self.lane(number)
        if not (lane.eof_sent or lane.over):
            lane.eof_sent = True
            lane.bench.work.input_end = reason
            self.publish_entry(lane, EOF)

    @precondition(lambda self: self.ring)
    @rule(
        entries=st.integers(1, 8),
        calls=st.sampled_from([1, 2, 5, 1000]),
        records=st.sampled_from([1, 2, 5, 1000]),
        handshakes=st.sampled_from([0, 1, 2]),
    )
    def work(self, entries: int, calls: int, records: int, handshakes: int) -> None:
        """Have the worker do a batch."""
        share = Share(SCRATCH, calls, records, handshakes)
        for _ in range(min(entries, len(self.ring))):
            lane, kind, data = self.ring.popleft()
            entry = lane.bench.do(kind, data, share)
            self.returned.append((lane, entry, lane.bench.sent()))
        assert share.handshakes_left >= 0

    @precondition(lambda self: self.returned)
    @rule(entries=st.integers(1, 8))
    def deliver(self, entries: int) -> None:
        """Have the loop deliver what came back."""
        for _ in range(min(entries, len(self.returned))):
            lane, entry, wire = self.returned.popleft()
            lane.in_flight_entries -= 1
            lane.in_flight_bytes -= entry.nbytes
            assert lane.in_flight_bytes >= 0
            if lane.over:
                continue
            lane.to_come += lane.bench.peer.take(wire)
            lane.window.deliver(entry.surplus_bytes)
            if entry.error is not None:
                lane.error, lane.over = entry.error, True
                lane.bench.work.abandoned = True
            elif entry.kind is not DATA and entry.ended:
                lane.ends += 1
                lane.over = True
            elif entry.kind is not DATA:
                lane.ending = lane.ending or entry.kind is EOF
                self.resume(lane)
            elif lane.in_flight_bytes and not lane.in_flight_entries:
                self.resume(lane)

    @rule(number=numbers)
    def stall(self, number: int) -> None:
        """Have the peer take no more."""
        self.lane(number).window.stall()

    @rule(number=numbers)
    def go_on(self, number: int) -> None:
        """Have the peer take all again."""
        lane = self.lane(number)
        if lane.window.is_stalled:
            lane.window.go_on()
            self.resume(lane)

    def teardown(self) -> None:
        """Have everything come to its end, and look what came of it."""
        for number in range(len(getattr(self, "lanes", ()))):
            self.go_on(number)
        times = 0
        while self.busy():
            times += 1
            assert times < 20_000, "it does not come to an end"
            for number in range(len(self.lanes)):
                self.publish(number, 5000)
            if self.ring:
                self.work(8, 5, 5, 2)
            if self.returned:
                self.deliver(8)
        for lane in getattr(self, "lanes", ()):
            self.check(lane)

    def busy(self) -> bool:
        lanes = getattr(self, "lanes", ())
        return bool(
            any(lane.to_come and not lane.eof_sent and not lane.over for lane in lanes)
            or (lanes and (self.ring or self.returned))
        )

    def check(self, lane: LoopsLane) -> None:
        bench, work = lane.bench, lane.bench.work
        assert lane.in_flight_bytes == lane.in_flight_entries == 0
        assert not bench.has_deferred
        assert bench.peer.error is None
        ended = lane.ends == 1
        if lane.error is not None:
            assert lane.eof_sent
            assert work.input_end is InputEnd.PEER
            kind = TlsTruncated if work.is_established else TlsHandshakeFailed
            assert type(lane.error) is kind
        else:
            assert ended is (lane.eof_sent or lane.closed)
        data = lane.said[: work.data_bytes]
        if not lane.eof_sent:
            assert data == lane.said
        has_eof = ended and work.is_established
        wanted = inner_alone(Doubling, lane.name, [data], ends=has_eof)
        received = bench.peer.received
        if has_eof and lane.eof_sent and work.input_end is InputEnd.DEADLINE:
            # What was decrypted and deferred is dropped, and the processor has no end of input; but
            # close_notify may have come before.
            assert wanted.startswith(received)
        else:
            assert received == wanted
        assert bench.peer.ended is (work.is_established and (ended or lane.error is not None))


class TestTlsLanesAgainstAnOracle(TlsLanes.TestCase):
    """Each example has a few handshakes."""

    settings = settings(max_examples=60, stateful_step_count=40)


def test_end_that_a_drain_brings_behind_a_full_window_is_no_input_in_flight() -> None:
    """All bytes are credited then; the loop comes back because the lane is ending."""
    bench = Bench(Doubling, window_bytes=1).shake_hands()
    bench.do(DATA, bench.peer.write(b"a"))
    entry = bench.end(InputEnd.DRAIN)
    assert (entry.kind, entry.ended, bench.in_flight_bytes) == (EOF, False, 0)
    bench.work.window.deliver(1)
    assert bench.resume() == 1
    bench.tell()
    assert (bench.ends, bench.peer.received, bench.peer.ended) == (1, b"aabye", True)


@pytest.mark.parametrize("name", ["raw", "len32"])
def test_end_behind_a_full_window_waits_for_it(name: str) -> None:
    """I21: what `eof` returns would be one reply too many; `eof` is called once."""
    bench = Bench(Doubling, framing=name, window_bytes=1).shake_hands()
    data, replies, last = b"abc", b"aabbcc", b"bye"
    if name != "raw":
        data, replies, last = (framed(name, one) for one in (data, replies, last))
    bench.do(DATA, bench.peer.write(data) + bench.peer.close())
    assert bench.ends == 0
    bench.tell()
    assert (bench.peer.received, bench.peer.ended) == (replies, False)
    bench.do(RESUME)
    assert (bench.ends, bench.wire) == (0, b"")
    bench.work.window.deliver(100)
    bench.do(RESUME)
    bench.tell()
    assert bench.ends == 1
    assert (bench.peer.received, bench.peer.ended) == (replies + last, True)
    assert bench.error is None
