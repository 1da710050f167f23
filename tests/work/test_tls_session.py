"""tls_session: records are found wherever chunks end, and output is taken in time."""

import itertools
import ssl
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.testing.strategies import chunkings
from asyncrev.work.tls_session import OUTPUT_BYTES, TlsSession
from tests.tls_pair import (
    HEADER_BYTES,
    MOST_DATA_BYTES,
    SCRATCH,
    VERSIONS,
    Peer,
    client_context,
    record,
    records,
    server_context,
)

MOST_RECORD_BYTES = HEADER_BYTES + MOST_DATA_BYTES + 2048  # RFC 5246, 6.2.3
MOST_OVERHEAD_BYTES = 64  # of a record, whatever the cipher


def new_session() -> TlsSession:
    """Return a server's side that nothing was sent to."""
    return TlsSession(server_context(), server_side=True)


def established(version: str = "1.3", *, client: bool = False) -> tuple[TlsSession, Peer]:
    """Return a session after its handshake, and its peer."""
    own, other = server_context(version), client_context(version)
    if client:
        own, other = other, own
    session = TlsSession(
        own, server_side=not client, server_hostname="localhost" if client else None
    )
    peer = Peer(other)
    wire = b""
    if client:
        assert session.handshake() is False
        wire = taken(session)
    wire = peer.take(wire)
    while wire:
        for one in records(wire):
            assert session.feed(memoryview(one), 0) == len(one)
            if session.is_established:
                assert session.read(SCRATCH.view) == 0
            else:
                session.handshake()
        wire = peer.take(taken(session))
    assert session.is_established
    assert peer.is_established
    return session, peer


def taken(session: TlsSession) -> bytes:
    """Return the output of a session."""
    output: list[bytes] = []
    session.take_output(output)
    return b"".join(output)


def record_ends(session: TlsSession, chunks: Iterable[bytes]) -> list[int]:
    """Feed `chunks`; return after how many bytes the session had a record."""
    ends, before = [], 0
    for chunk in chunks:
        off = 0
        while off < len(chunk):
            next_off = session.feed(memoryview(chunk), off)
            assert off < next_off <= len(chunk)
            off = next_off
            if session.has_record:
                ends.append(before + off)
        before += len(chunk)
    return ends


some_records = st.lists(
    st.builds(
        record,
        st.integers(20, 24),
        st.one_of(
            st.integers(0, 40), st.sampled_from([255, 256, 257, MOST_RECORD_BYTES - HEADER_BYTES])
        ).map(bytes),
    ),
    max_size=8,
)


@given(some_records, st.data())
def test_feed_knows_a_records_end_wherever_chunks_end(
    wire: list[bytes], data: st.DataObject
) -> None:
    """Empty records, too; `feed` never goes beyond a record."""
    ends = list(itertools.accumulate(map(len, wire)))
    stream = b"".join(wire)
    near = [min(len(stream), end + off) for end in [0, *ends] for off in range(HEADER_BYTES + 1)]
    chunks = data.draw(chunkings(stream, borders=sorted(set(near))))
    assert record_ends(new_session(), chunks) == ends


def test_feed_knows_a_records_end_at_every_split_of_two_records() -> None:
    """Also within the two headers, and byte by byte."""
    stream = record(22, b"abc") + record(23, b"")
    for split in range(len(stream) + 1):
        assert record_ends(new_session(), [stream[:split], stream[split:]]) == [8, 13]
    assert record_ends(new_session(), [bytes([byte]) for byte in stream]) == [8, 13]


@pytest.mark.parametrize(
    "head",
    [
        record(19, b""),
        record(25, b""),
        b"\x17\x03\x03" + (MOST_RECORD_BYTES - HEADER_BYTES + 1).to_bytes(2, "big"),
        b"GET /",
        b"\x80\x2e\x01\x03\x01",  # an SSLv2 hello
    ],
)
@pytest.mark.parametrize("split", range(HEADER_BYTES))
def test_feed_lets_openssl_judge_what_is_no_record(head: bytes, split: int) -> None:
    """With what it needs for that and no more, whatever comes behind."""
    session = new_session()
    stream = head + bytes(100_000)
    assert record_ends(session, [part for part in (head[:split], stream[split:]) if part]) == [
        len(stream)
    ]
    with pytest.raises(ssl.SSLError):
        session.handshake()


lengths = st.one_of(
    st.integers(0, 300), st.integers(OUTPUT_BYTES - 300, OUTPUT_BYTES + 300), st.integers(0, 70_000)
)


@given(st.sampled_from(sorted(VERSIONS)), st.booleans(), st.lists(lengths, max_size=12))
def test_output_is_taken_before_it_is_longer_than_a_record(
    version: str, client: bool, replies: list[int]
) -> None:
    """I22: a memory BIO keeps the capacity that it had once; all arrives in order."""
    session, peer = established(version, client=client)
    output: list[bytes] = []
    data = [bytes([number]) * nbytes for number, nbytes in enumerate(replies)]
    for reply in data:
        session.write(reply, output)
    session.take_output(output)
    assert max(map(len, output), default=0) <= OUTPUT_BYTES + MOST_OVERHEAD_BYTES
    peer.take(b"".join(output))
    assert peer.received == b"".join(data)


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_empty_reply_is_no_record(version: str) -> None:
    """A peer would pass it over, and OpenSSL counts those that come running."""
    session, _ = established(version)
    output: list[bytes] = []
    session.write(b"", output)
    session.take_output(output)
    assert output == []


def test_write_of_a_view_keeps_nothing_of_it() -> None:
    """It may be the worker's scratch, which the next lane uses."""
    session, peer = established()
    storage = bytearray(b"ab" * 20_000)
    output: list[bytes] = []
    session.write(memoryview(storage), output)
    storage[:] = bytes(len(storage))
    session.take_output(output)
    peer.take(b"".join(output))
    assert peer.received == b"ab" * 20_000


@pytest.mark.parametrize("version", sorted(VERSIONS))
@pytest.mark.parametrize("client", [False, True])
def test_session_reads_data_then_the_end_and_may_still_write(version: str, client: bool) -> None:
    """Half-close: the peer has ended its own direction only."""
    session, peer = established(version, client=client)
    for one in [*records(peer.write(b"abc")), *records(peer.close())]:
        session.feed(memoryview(one), 0)
        nbytes = session.read(SCRATCH.view)
        assert (nbytes, session.input_ended) in ((3, False), (0, True))
    output: list[bytes] = []
    session.write(b"reply", output)
    session.shut_down()
    session.take_output(output)
    assert not peer.ended
    peer.take(b"".join(output))
    assert peer.received == b"reply"
    assert peer.ended
    assert peer.error is None


def test_shut_down_before_the_end_of_the_handshake_sends_nothing() -> None:
    """There is no key for it; the peer sees the end of the stream."""
    session = new_session()
    session.shut_down()
    assert taken(session) == b""


def test_shut_down_after_a_fatal_error_leaves_the_alert() -> None:
    """OpenSSL cannot encrypt a close_notify any more."""
    session, peer = established()
    session.feed(memoryview(record(23, bytes(40))), 0)
    with pytest.raises(ssl.SSLError):
        session.read(SCRATCH.view)
    session.shut_down()
    peer.take(taken(session))
    assert peer.error is not None
    assert "bad record mac" in str(peer.error)


def test_context_that_cannot_be_used_so_is_refused() -> None:
    """A client's for the server's side, say."""
    with pytest.raises(ssl.SSLError):
        TlsSession(client_context(), server_side=True)
