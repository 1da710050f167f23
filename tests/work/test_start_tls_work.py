"""A lane that changes to TLS: exact, however its input is split and however little may be done."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.connection_info import ConnectionInfo
from asyncrev.errors import ProcessorError, TlsHandshakeFailed, TlsTruncated
from asyncrev.frames.registry import as_framing
from asyncrev.ring.ring import CLOSE, DATA, EOF, RESUME, Entry, Kind, Ring
from asyncrev.work.block_pool import Pool
from asyncrev.work.lane_work import Share
from asyncrev.work.make_work import make_work
from asyncrev.work.reply_window import UNBOUNDED_BYTES
from asyncrev.work.scratch import Scratch
from asyncrev.work.start_tls_work import StartTlsWork
from asyncrev.work.tls_parameters import StartTls
from tests.framed import framed
from tests.lane_bench import joined
from tests.tls_pair import Peer, client_context, server_context

SCRATCH = Scratch()
INFO = ConnectionInfo(peer_address=("127.0.0.1", 1))


class Upgrading:
    """Answers with its input; to "tls" with "go", and TLS."""

    def __init__(self) -> None:
        self.calls: list[bytes | str] = []

    def connected(self, info: ConnectionInfo) -> None:
        """Note whether it is TLS."""
        self.calls.append("plain" if info.tls is None else "tls")

    def process(self, chunk: memoryview) -> Any:
        """Answer, or upgrade."""
        self.calls.append(bytes(chunk))
        if bytes(chunk) == b"tls":
            return StartTls(server_context(), b"go")
        return bytes(chunk)

    def eof(self) -> bytes:
        """Say a last word."""
        self.calls.append("eof")
        return b"bye"

    def close(self) -> None:
        """Note it."""
        self.calls.append("close")


class PlainBench:
    """A lane that is plain at first, given entries as the loop gives them."""

    def __init__(
        self, framing: str = "len32", window_bytes: int = UNBOUNDED_BYTES, factory: Any = Upgrading
    ) -> None:
        self.processor: Any = None

        def make() -> Any:
            self.processor = factory()
            return self.processor

        self.pool = Pool(Ring(1, 1), 1 << 21)
        work = make_work(
            make,
            views_allowed=True,
            framing=as_framing(framing),
            max_frame_bytes=1 << 16,
            window_bytes=window_bytes,
            info=INFO,
            may_start_tls=True,
        )
        assert isinstance(work, StartTlsWork)
        self.work = work
        self.published_bytes = self.credited_bytes = 0
        self.wire = b""
        self.ends = 0
        self.error: BaseException | None = None

    def do(self, kind: Kind, data: bytes = b"", share: Share | None = None) -> Entry:
        """Have the lane work on one entry."""
        entry = Entry(memoryview(bytearray(max(16, len(data)))))
        entry.view[: len(data)] = data
        entry.owner, entry.kind, entry.nbytes = self, kind, len(data)
        entry.partial_frame_bytes = entry.frame_seq = 77
        self.published_bytes += len(data)
        self.work.do(entry, None, self.pool, share or Share.unbounded(SCRATCH))
        entry.view[:] = b"~" * len(entry.view)
        self.credited_bytes += entry.nbytes
        self.wire += joined(entry)
        self.work.window.deliver(entry.surplus_bytes)
        self.error = self.error or entry.error
        self.ends += entry.kind is not DATA and kind is not CLOSE and entry.ended
        assert 0 <= self.credited_bytes <= self.published_bytes
        return entry

    @property
    def in_flight_bytes(self) -> int:
        """Input that was published and is not credited."""
        return self.published_bytes - self.credited_bytes

    def resume(self, share: Share | None = None, *, ending: bool = False) -> None:
        """Send RESUME while the loop would: while input is in flight, or the end is."""
        for _ in range(10_000):
            ends = self.ends
            if self.error or not (self.in_flight_bytes or (ending and not ends)):
                return
            self.do(RESUME, share=share)
        raise AssertionError("it does not come to an end")

    def sent(self) -> bytes:
        """Take what came out."""
        wire, self.wire = self.wire, b""
        return wire


small = st.builds(
    lambda calls, records: Share(SCRATCH, calls, records, 1), st.integers(1, 3), st.integers(1, 3)
)
payloads = st.lists(st.binary(max_size=40), max_size=6)


@given(
    before=payloads,
    after=payloads,
    cuts=st.lists(st.integers(0, 3000), max_size=30),
    share=st.one_of(st.none(), small),
    window_bytes=st.sampled_from([1, 7, UNBOUNDED_BYTES]),
    version=st.sampled_from(["1.2", "1.3"]),
    hello_at_once=st.booleans(),
)
def test_every_message_is_answered_once_and_in_order(
    before: list[bytes],
    after: list[bytes],
    cuts: list[int],
    share: Share | None,
    window_bytes: int,
    version: str,
    hello_at_once: bool,
) -> None:
    """Before the upgrade in the clear, after it over TLS, in whatever pieces it came."""

    class Own(Upgrading):
        def process(self, chunk: memoryview) -> Any:
            reply = super().process(chunk)
            return StartTls(server_context(version), b"go") if type(reply) is StartTls else reply

    before = [payload for payload in before if payload != b"tls"]
    after = [payload for payload in after if payload != b"tls"]
    bench, peer = PlainBench(window_bytes=window_bytes, factory=Own), Peer(client_context(version))

    def feed(wire: bytes) -> None:
        offs = [0, *sorted({cut for cut in cuts if 0 < cut < len(wire)}), len(wire)]
        for begin, end in itertools.pairwise(offs):
            if share is not None:
                share.handshakes_left = 1
            bench.do(DATA, wire[begin:end], share)
            bench.resume()

    plain = b"".join(framed("len32", payload) for payload in [*before, b"tls"])
    hello = peer.take()
    feed(plain + hello if hello_at_once else plain)
    replies = b"".join(framed("len32", payload) for payload in [*before, b"go"])
    wire = bench.sent()
    assert wire[: len(replies)] == replies
    wire = wire[len(replies) :]
    if not hello_at_once:
        assert wire == b""
        feed(hello)
        wire = bench.sent()
    while answer := peer.take(wire):
        feed(answer)
        wire = bench.sent()
    assert peer.is_established
    assert not bench.work.is_handshaking
    assert bench.work.info is not None
    assert bench.work.info.tls is not None
    data = b"".join(framed("len32", payload) for payload in after)
    feed(peer.write(data, 13))
    feed(peer.close())
    bench.resume(ending=True)
    peer.take(bench.sent())
    assert bench.error is None
    assert peer.received == data + framed("len32", b"bye")
    assert peer.ended
    assert bench.ends == 1
    bench.do(CLOSE)
    calls = ["plain", *before, b"tls", "tls", *after, "eof", "close"]
    assert bench.processor.calls == calls
    assert bench.work.data_bytes == len(data)
    assert bench.in_flight_bytes == 0


@given(injected=st.binary(min_size=1, max_size=60), share=st.one_of(st.none(), small))
def test_text_behind_the_upgrade_is_never_processed(injected: bytes, share: Share | None) -> None:
    """I24: it is a broken handshake, or the beginning of one."""
    bench = PlainBench()
    wire = framed("len32", b"tls") + framed("len32", injected)
    bench.do(DATA, wire, share)
    bench.resume()
    bench.do(EOF)
    bench.resume(ending=True)
    assert bench.processor.calls == ["plain", b"tls"]
    assert bench.wire.startswith(framed("len32", b"go"))
    assert isinstance(bench.error, TlsHandshakeFailed)


def test_raw_upgrade_takes_its_chunk_along() -> None:
    """A processor of raw chunks has got all of it; what comes next is TLS."""
    bench, peer = PlainBench("raw"), Peer(client_context())
    bench.do(DATA, b"abc")
    bench.do(DATA, b"tls")
    assert bench.sent() == b"abcgo"
    wire = peer.take()
    while wire:
        bench.do(DATA, wire)
        wire = peer.take(bench.sent())
    bench.do(DATA, peer.write(b"xyz"))
    peer.take(bench.sent())
    assert peer.received == b"xyz"
    assert bench.processor.calls == ["plain", b"abc", b"tls", "tls", b"xyz"]


def test_end_of_input_within_the_deferred_goes_to_tls() -> None:
    """It was truncated there, if it was established, and ended within its handshake, if not."""
    bench, peer = PlainBench(), Peer(client_context())
    share = Share(SCRATCH, 1, 1, 1)
    bench.do(DATA, framed("len32", b"abc") + framed("len32", b"tls") + peer.take(), share)
    assert bench.in_flight_bytes > 0
    bench.do(EOF, share=share)
    bench.resume(ending=True)
    assert isinstance(bench.error, TlsHandshakeFailed)
    bench, peer = PlainBench("raw"), Peer(client_context())
    bench.do(DATA, b"tls")
    bench.sent()
    wire = peer.take()
    while wire:
        bench.do(DATA, wire)
        wire = peer.take(bench.sent())
    bench.do(EOF)
    assert isinstance(bench.error, TlsTruncated)


def test_upgrade_that_fails_ends_the_lane_behind_its_reply() -> None:
    """Here OpenSSL does not take the name."""

    class Own(Upgrading):
        def process(self, chunk: memoryview) -> Any:
            start = StartTls(client_context(), b"go", server_hostname="localhost")
            object.__setattr__(start.parameters, "server_hostname", "")
            return start

    bench = PlainBench("raw", factory=Own)
    bench.do(DATA, b"tls")
    assert bench.wire == b"go"
    assert isinstance(bench.error, ValueError)
    bench.do(DATA, b"abc")
    assert bench.wire == b"go"
    bench.do(CLOSE)
    assert bench.work.is_handshaking is False


@pytest.mark.parametrize("framing", ["raw", "len32"])
def test_reply_of_the_upgrade_must_be_bytes(framing: str) -> None:
    """As any reply."""

    class Own(Upgrading):
        def process(self, chunk: memoryview) -> Any:
            return StartTls(server_context(), "go")  # type: ignore[arg-type]

    bench = PlainBench(framing, factory=Own)
    bench.do(DATA, b"abc" if framing == "raw" else framed(framing, b"abc"))
    assert isinstance(bench.error, ProcessorError)
    assert bench.wire == b""
    assert bench.work.uses_tls is False


def test_lane_that_is_abandoned_works_no_more() -> None:
    """Before the upgrade as after it."""
    for upgraded in (False, True):
        bench = PlainBench("raw")
        if upgraded:
            bench.do(DATA, b"tls")
        bench.work.abandoned = True
        bench.do(DATA, b"abc")
        bench.do(CLOSE)
        calls = ["plain", b"tls"] if upgraded else []
        assert bench.processor is None or bench.processor.calls == [*calls, "close"]


def test_client_begins_with_its_hello_behind_the_reply() -> None:
    """In the same entry, so nothing has to wake it."""

    class Own(Upgrading):
        def process(self, chunk: memoryview) -> Any:
            if bytes(chunk) == b"go":
                return StartTls(client_context(), b"!", server_hostname="localhost")
            return super().process(chunk)

    bench, peer = PlainBench("raw", factory=Own), Peer(server_context())
    bench.do(DATA, b"go")
    assert bench.wire[:1] == b"!"
    assert bench.wire[1] == 22  # a handshake's record
    wire = peer.take(bench.sent()[1:])
    while wire:
        bench.do(DATA, wire)
        wire = peer.take(bench.sent())
    assert peer.is_established
    assert peer.ssl.version() == "TLSv1.3"
