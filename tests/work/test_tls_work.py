"""tls_work: the inner work gets what the peer wrote, and the peer gets the replies, to the end."""

import ssl
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrev.errors import SettingsError, TlsHandshakeFailed, TlsTruncated
from asyncrev.ring.ring import CLOSE, DATA, EOF, RESUME
from asyncrev.testing.strategies import chunkings
from asyncrev.work.lane_work import UNBOUNDED_SHARE, InputEnd
from asyncrev.work.reverse import Reverse
from asyncrev.work.tls_parameters import TlsParameters
from tests.framed import PROCESSORS, framed
from tests.lane_bench import Recorder
from tests.strategies import split
from tests.tls_forger import forging
from tests.tls_pair import (
    ALERT,
    APPLICATION_DATA,
    HANDSHAKE,
    HEADER_BYTES,
    MOST_DATA_BYTES,
    VERSIONS,
    Bench,
    Peer,
    client_context,
    inner_alone,
    record,
    records,
    server_context,
)

versions = pytest.mark.parametrize("version", sorted(VERSIONS))
sides = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])

SOME = settings(max_examples=40)  # each has a handshake of a few milliseconds


# -- bytes -----------------------------------------------------------------------------------------


@SOME
@given(
    st.sampled_from(sorted(VERSIONS)),
    st.booleans(),
    st.sampled_from(["raw", "line", "len32"]),
    st.sampled_from(sorted(PROCESSORS.keys() - {"raising"})),
    st.lists(st.one_of(st.binary(max_size=50), st.integers(0, 40_000).map(bytes)), max_size=8),
    st.sampled_from([1, 2, 7, 100, 5000, MOST_DATA_BYTES]),
    st.data(),
)
def test_bytes_through_tls_are_those_of_the_inner_work(
    version: str,
    client: bool,
    name: str,
    kind: str,
    payloads: list[bytes],
    record_bytes: int,
    data: st.DataObject,
) -> None:
    """However they are in records, and however ciphertext is split."""
    payloads = [payload[: 300 * record_bytes].replace(b"\n", b"-") for payload in payloads]
    stream = b"".join(payloads if name == "raw" else [framed(name, one) for one in payloads])
    wanted = inner_alone(PROCESSORS[kind], name, split(stream, [record_bytes] * len(stream)))
    bench = Bench(PROCESSORS[kind], framing=name, version=version, client=client).shake_hands()
    wire = bench.peer.write(stream, record_bytes) + bench.peer.close()
    bench.feed(data.draw(chunkings(wire, most_bytes=256 * 1024)))
    bench.tell()
    assert bench.error is None
    assert bench.peer.received == wanted
    assert bench.peer.ended
    assert bench.ends == 1
    assert bench.work.data_bytes == len(stream)


def test_each_record_of_an_entry_is_a_step() -> None:
    """So a worker that needs long for a chunk of many records is seen to move."""
    seen: list[int] = []

    class Watching:
        def process(self, chunk: memoryview) -> None:
            seen.append(bench.pool.steps[0])

        def eof(self) -> bytes:
            return b""

    bench = Bench(Watching).shake_hands()
    bench.feed([bench.peer.write(bytes(500), 100)])
    assert bench.error is None
    assert len(seen) == len({*seen}) == 5


def short_exchange(version: str, client: bool, splits: Callable[[int, bytes], list[bytes]]) -> int:
    """Do all of one, its wire split by `splits(offset, flight)`; return how long that was."""
    bench = Bench(Recorder, framing="line", version=version, client=client)
    wire, off, spoken = bench.start(), 0, False
    while wire:
        bench.feed(splits(off, wire))
        off += len(wire)
        wire = bench.tell()
        if not wire and not spoken:
            spoken = True
            wire = bench.peer.write(b"ab\ncd\n", 4) + bench.peer.close()
    assert bench.error is None
    assert bench.peer.received == b"ab\ncd\nbye\n"
    assert bench.peer.ended
    assert bench.ends == 1
    return off


def split_at(at: int) -> Callable[[int, bytes], list[bytes]]:
    """Return what splits a stream after `at` bytes."""

    def splits(off: int, flight: bytes) -> list[bytes]:
        here = min(max(at - off, 0), len(flight))
        return [part for part in (flight[:here], flight[here:]) if part]

    return splits


@versions
@sides
def test_exchange_byte_by_byte_is_the_same(version: str, client: bool) -> None:
    """Handshake included."""
    short_exchange(version, client, lambda off, flight: [bytes([byte]) for byte in flight])


@versions
@sides
def test_exchange_split_near_every_header_is_the_same(version: str, client: bool) -> None:
    """Before it, in it, and right behind it."""
    ends: set[int] = set()

    def noting(off: int, flight: bytes) -> list[bytes]:
        for one in records(flight):
            ends.add(off)
            off += len(one)
        return [flight]

    short_exchange(version, client, noting)
    for at in sorted({end + more for end in ends for more in range(-1, HEADER_BYTES + 2)}):
        short_exchange(version, client, split_at(at))


@pytest.mark.slow
@versions
@sides
def test_exchange_split_anywhere_is_the_same(version: str, client: bool) -> None:
    """At each of its bytes; the length of signatures differs by a few."""
    nbytes = short_exchange(version, client, split_at(0))
    for at in range(nbytes + 8):
        short_exchange(version, client, split_at(at))


@versions
@sides
@pytest.mark.parametrize("nbytes", [1, 2, 255, 256, 1023, 4096, 16_383, MOST_DATA_BYTES])
def test_record_of_any_length_is_one_chunk_of_a_raw_lane(
    version: str, client: bool, nbytes: int
) -> None:
    """As a TCP segment is without TLS."""
    bench = Bench(Reverse, version=version, client=client).shake_hands()
    data = bytes(number % 251 for number in range(nbytes))
    assert bench.exchange(data) == data[::-1]
    assert bench.exchange(data + data, nbytes) == 3 * data[::-1]


@versions
@sides
def test_empty_and_padded_records_are_no_data(version: str, client: bool) -> None:
    """OpenSSL lets 32 empty ones by, running."""
    forger = forging(Recorder, version, client=client)
    bench = forger.bench
    wire = [forger.record(APPLICATION_DATA, b"", number) for number in range(20)]
    wire += [forger.record(APPLICATION_DATA, b"a", 100 if forger.is_13 else 0)]
    wire += [forger.record(APPLICATION_DATA, b"") for _ in range(20)]
    bench.feed([b"".join(wire), forger.record(APPLICATION_DATA, b"b")])
    bench.tell()
    assert bench.error is None
    assert bench.peer.received == b"ab"
    assert bench.work.data_bytes == 2


@versions
@sides
@pytest.mark.parametrize("name", ["raw", "line"])
@pytest.mark.parametrize("times", [MOST_DATA_BYTES, MOST_DATA_BYTES + 1, 500_000])
def test_reply_longer_than_a_record_comes_whole(
    version: str, client: bool, name: str, times: int
) -> None:
    """In as many as it needs."""

    class Long(Recorder):
        def process(self, chunk: memoryview) -> bytes:  # type: ignore[override]
            return bytes(chunk) * times

    bench = Bench(Long, framing=name, version=version, client=client).shake_hands()
    end = b"" if name == "raw" else b"\n"
    assert bench.exchange(b"ab" + end) == b"ab" * times + end


def test_share_for_one_thread_is_without_bounds() -> None:
    """It is what `do` has by default; a lane that had no other decrypted nothing."""
    bench = Bench(Recorder)
    wire = bench.start()
    for text in (b"abc", b""):
        while wire:
            bench.do(DATA, wire, UNBOUNDED_SHARE)
            wire = bench.tell()
        wire = bench.peer.write(text)
    assert bench.peer.received == b"abc"


@versions
@sides
def test_data_behind_the_handshake_in_one_chunk_is_answered(version: str, client: bool) -> None:
    """A peer need not wait for anything once it is through itself."""
    bench = Bench(Recorder, version=version, client=client)
    wire = bench.start()
    while not bench.peer.is_established:
        bench.do(DATA, wire)
        wire = bench.tell()
    bench.do(DATA, wire + bench.peer.write(b"abc"))
    bench.tell()
    assert bench.peer.received == b"abc"


@versions
def test_client_speaks_first_at_its_start_entry(version: str) -> None:
    """Nothing is sent before, and nothing of the processor's."""
    bench = Bench(Recorder, version=version, client=True)
    entry = bench.do(RESUME)
    assert [one[0] for one in records(bench.wire)] == [HANDSHAKE]
    assert (entry.ended, entry.nbytes, entry.error) == (False, 0, None)
    assert bench.do(RESUME).result is None


@versions
def test_peer_that_comes_back_with_its_ticket_is_resumed(version: str) -> None:
    """The shorter handshake; tickets left with the end of the first."""
    first = Bench(Recorder, version=version).shake_hands()
    assert first.exchange(b"abc") == b"abc"
    ticket = first.peer.ssl.session
    assert ticket is not None
    bench = Bench(Recorder, version=version)
    bench.peer = Peer(client_context(version), session=ticket)
    bench.shake_hands()
    assert bench.peer.ssl.session_reused
    assert bench.exchange(b"def") == b"def"


# -- ends ------------------------------------------------------------------------------------------


@versions
@sides
@pytest.mark.parametrize("name", ["raw", "line"])
def test_close_notify_ends_the_input_and_replies_go_before_ours(
    version: str, client: bool, name: str
) -> None:
    """The entry that brought it says so, once; what comes behind it is dropped."""
    recorder = Recorder()
    bench = Bench(lambda: recorder, framing=name, version=version, client=client).shake_hands()
    end = b"" if name == "raw" else b"\n"
    wire = bench.peer.write(b"ab" + end) + bench.peer.close()
    entry = bench.do(DATA, wire + b"plain text, which nobody reads")
    assert (entry.kind, entry.ended, entry.error) == (EOF, True, None)
    assert bench.in_flight_bytes == 0
    bench.tell()
    assert bench.peer.received == b"ab" + end + b"bye" + end
    assert bench.peer.ended
    for kind, data in ((DATA, b"more"), (EOF, b"")):
        later = bench.do(kind, data)
        assert (later.result, later.error, later.kind) == (None, None, kind)
    assert bench.ends == 1
    assert recorder.calls == [b"ab", "eof"]
    bench.do(CLOSE)
    assert recorder.calls == [b"ab", "eof", "close"]


@versions
@sides
@pytest.mark.parametrize("reason", InputEnd)
def test_end_that_comes_with_the_stream_only(version: str, client: bool, reason: InputEnd) -> None:
    """FIN without close_notify may be an attack; a drain is nobody's fault, a deadline no end."""
    recorder = Recorder()
    bench = Bench(lambda: recorder, framing="line", version=version, client=client).shake_hands()
    bench.do(DATA, bench.peer.write(b"ab\ncd"))
    entry = bench.end(reason)
    bench.tell()
    assert bench.peer.ended
    ended, error, replies = {
        InputEnd.PEER: (False, TlsTruncated, b"ab\n"),
        InputEnd.DRAIN: (True, type(None), b"ab\ncd\nbye\n"),
        InputEnd.DEADLINE: (True, type(None), b"ab\n"),
    }[reason]
    assert (entry.kind, entry.ended, type(entry.error)) == (EOF, ended, error)
    assert bench.peer.received == replies
    assert ("eof" in recorder.calls) is (reason is InputEnd.DRAIN)
    assert bench.work.broken


@versions
@sides
@pytest.mark.parametrize("reason", [InputEnd.DRAIN, InputEnd.DEADLINE])
def test_end_of_ours_within_the_handshake_is_silent(
    version: str, client: bool, reason: InputEnd
) -> None:
    """There is no key for a close_notify, and no processor."""
    made: list[Recorder] = []
    bench = Bench(lambda: made.append(Recorder()) or made[-1], version=version, client=client)
    bench.do(DATA, bench.start()[:40])
    bench.sent()
    entry = bench.end(reason)
    assert (entry.ended, entry.error, entry.result) == (True, None, None)
    assert not made


@versions
@sides
@pytest.mark.parametrize("nbytes", [1, 4, 5, 40, 200])
def test_half_a_handshake_is_a_failed_one(version: str, client: bool, nbytes: int) -> None:
    """However much of it came."""
    bench = Bench(Recorder, version=version, client=client)
    bench.do(DATA, bench.start()[:nbytes])
    entry = bench.end()
    assert type(entry.error) is TlsHandshakeFailed
    assert str(entry.error) == "TLS handshake failed: the peer ended its stream within it"
    assert not entry.ended


def test_peer_that_sends_nothing_and_leaves_is_no_failure() -> None:
    """Port scans and health checks do that; a client, though, has asked for an answer."""
    bench = Bench(Recorder)
    entry = bench.end()
    assert (entry.ended, entry.error, entry.result) == (True, None, None)
    bench = Bench(Recorder, client=True)
    bench.start()
    assert type(bench.end().error) is TlsHandshakeFailed


@versions
@sides
def test_stream_that_ends_within_a_record_is_truncated(version: str, client: bool) -> None:
    """Also within its header; whole messages before it were answered."""
    for cut in (1, 4, 5, 6, -1):
        bench = Bench(Recorder, version=version, client=client).shake_hands()
        bench.do(DATA, bench.peer.write(b"ab"))
        bench.do(DATA, bench.peer.write(b"cd")[:cut])
        entry = bench.end()
        assert type(entry.error) is TlsTruncated
        bench.tell()
        assert bench.peer.received == b"ab"
        assert bench.peer.ended


@versions
def test_close_notify_and_stream_end_in_one_batch_end_once(version: str) -> None:
    """As nearly every peer sends them."""
    bench = Bench(Recorder, version=version).shake_hands()
    bench.do(DATA, bench.peer.write(b"ab") + bench.peer.close())
    entry = bench.end()
    assert entry.error is None
    assert bench.ends == 1


# -- parameters ------------------------------------------------------------------------------------


def test_parameters_know_their_side() -> None:
    """By the context."""
    assert TlsParameters(server_context()).server_side
    assert not TlsParameters(client_context(), "localhost").server_side


def lenient() -> ssl.SSLContext:
    """Return a client's context that checks no name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    return context


@pytest.mark.parametrize(
    ("context", "hostname", "said"),
    [
        (server_context, "localhost", "server_hostname is 'localhost', but tls is a server's"),
        (client_context, None, "give server_hostname"),
        (client_context, "", "give server_hostname"),
        (lenient, "", "server_hostname is ''; it must be a name"),
        (client_context, ".local", "server_hostname is '.local'; it must be a name"),
        (lambda: True, None, "tls is True; it must be an ssl.SSLContext"),
        (lambda: None, None, "tls is None; it must be an ssl.SSLContext"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(
    context: Callable[[], Any], hostname: str | None, said: str
) -> None:
    """At once, not at the first connection."""
    with pytest.raises(SettingsError, match=said):
        TlsParameters(context(), hostname)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_context_of_both_sides_is_refused() -> None:
    """It does not say who begins."""
    with pytest.raises(SettingsError, match="PROTOCOL_TLS_SERVER or PROTOCOL_TLS_CLIENT"):
        TlsParameters(ssl.SSLContext(ssl.PROTOCOL_TLS))


def test_server_that_checks_its_clients_names_needs_none() -> None:
    """OpenSSL has no name to compare on that side."""
    context = server_context.__wrapped__(asks_for="clients")
    context.check_hostname = True
    assert TlsParameters(context).server_side
    peer_context = client_context(has_of="clients")
    bench = Bench(Recorder, context=context, peer_context=peer_context).shake_hands()
    assert bench.exchange(b"abc") == b"abc"


def test_client_that_checks_no_name_needs_none() -> None:
    """It is the user's decision."""
    assert TlsParameters(lenient()).server_hostname is None


def test_peer_of_these_tests_is_told_of_alerts() -> None:
    """Else they would not see one that is missing."""
    peer = Peer(client_context())
    peer.take()
    peer.take(record(ALERT, b"\x02\x28"))
    assert "handshake failure" in str(peer.error)
