"""Fuzz target of TLS: a real peer's ciphertext, damaged on its way, harms nobody.

    python -m tests.fuzz.tls_fuzz --inputs 100000 --seed 1

The invariants it defends: nothing is raised, the processor gets a beginning of what the peer wrote
and nothing else, what comes out is whole records and no plaintext, an error is one that the
documentation names, and what is not deferred is credited.

Ciphertext differs each time, so an input says what to do with it:

    0   version (bit 0), client (bit 1), framing (bits 2 and 3), end (bits 4 and 5): none,
        close_notify, end of stream, drain; whether a client comes back with its ticket (bit 6)
    1   length of records (low 3 bits), calls and records of a share (bits 3 to 5)
    2   n (low 3 bits): n changes follow, 5 bytes each: flight, kind, offset (2 bytes), value
    3   m (low 4 bits): behind them m lengths of chunks, used over and over; 0 is 256

and the rest is what the peer writes.
"""

import functools
import random
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

from asyncrev.errors import FrameTooLarge, IncompleteFrame, TlsError, TlsTruncated
from asyncrev.ring.ring import CLOSE, DATA
from asyncrev.work.lane_work import InputEnd, Share
from tests.fuzz import running
from tests.lane_bench import Recorder
from tests.tls_pair import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    SCRATCH,
    VERSIONS,
    Bench,
    Peer,
    client_context,
    record,
    records,
)

NAME = "tls"
CORPUS = Path(__file__).parent / "tls_corpus"
HEADER_BYTES = 4
CHANGE_BYTES = 5
MOST_BYTES = 2048  # of one input

RECORD_BYTES = (1, 2, 7, 16, 64, 255, 4096, 16_384)
SHARES = (1, 2, 3, 5, 10, 100, 1000, 1 << 62)
FRAMINGS = ("raw", "line", "len32", "raw")
MOST_FRAME_BYTES = 300
ERRORS = (type(None), TlsError, TlsTruncated, FrameTooLarge, IncompleteFrame)
LEAST_MARK_BYTES = 8  # shorter plaintext may be in ciphertext by chance


class Noting(Recorder):
    """Notes what it gets, and answers with it."""


def check(data: bytes) -> None:
    """Run one input; every input is valid.

    Raises:
        AssertionError: an invariant does not hold.
    """
    options, lengths, nchanges, nchunks = data[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0")
    changes_end = HEADER_BYTES + (nchanges & 7) * CHANGE_BYTES
    written_off = changes_end + (nchunks & 15)
    changes = [
        data[off : off + CHANGE_BYTES].ljust(CHANGE_BYTES, b"\0")
        for off in range(HEADER_BYTES, changes_end, CHANGE_BYTES)
    ]
    chunk_bytes = data[changes_end:written_off] or b"\0"
    written = data[written_off:]
    most = SHARES[lengths >> 3 & 7]
    recorder = Noting()
    bench = Bench(
        lambda: recorder,
        framing=FRAMINGS[options >> 2 & 3],
        version=sorted(VERSIONS)[options & 1],
        client=bool(options & 2),
        max_frame_bytes=MOST_FRAME_BYTES,
    )
    if options & 64 and not bench.is_client:
        bench.peer = come_back(sorted(VERSIONS)[options & 1])
    flight, number, said = bench.start(), 0, False
    while bench.error is None:
        if not flight:
            if said or not bench.peer.is_established or bench.peer.error is not None:
                break
            said = True
            flight = bench.peer.write(written, RECORD_BYTES[lengths & 7])
            if options >> 4 & 3 == 1:
                flight += bench.peer.close()
        _give(bench, _changed(flight, number, changes), chunk_bytes, most)
        out = bench.sent()
        _check_output(out, written)
        flight = bench.peer.take(out)
        number += 1
    if options >> 4 & 3 > 1 and bench.error is None:
        bench.end(InputEnd.PEER if options >> 4 & 3 == 2 else InputEnd.DRAIN)
        bench.resume()
        out = bench.sent()
        _check_output(out, written)
        bench.peer.take(out)
    _check_end(bench, recorder, written)


def come_back(version: str) -> Peer:
    """Return a peer with the ticket of an earlier connection; its handshake is cheaper, too."""
    return Peer(client_context(version), session=_ticket(version))


@functools.cache
def _ticket(version: str) -> ssl.SSLSession:
    bench = Bench(Recorder, version=version).shake_hands()
    bench.exchange(b"tickets come with the first data, in TLS 1.3")
    session = bench.peer.ssl.session
    assert session is not None
    return session


def _give(bench: Bench, flight: bytes, chunk_bytes: bytes, most: int) -> None:
    """Have the lane work on `flight`, in chunks, with shares of `most`."""
    off = turn = 0
    while off < len(flight) and bench.error is None:
        end_off = off + (chunk_bytes[turn % len(chunk_bytes)] or 256)
        bench.do(DATA, flight[off:end_off], Share(SCRATCH, most, most, most))
        off, turn = end_off, turn + 1
    bench.resume(lambda: Share(SCRATCH, most, most, most))


def _check_output(wire: bytes, written: bytes) -> None:
    for one in records(wire):
        assert one[0] in (CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA), one[0]
    for off in range(0, len(written) - LEAST_MARK_BYTES, LEAST_MARK_BYTES):
        mark = written[off : off + LEAST_MARK_BYTES]
        assert len(set(mark)) < LEAST_MARK_BYTES - 1 or mark not in wire, "plaintext came out"


def _check_end(bench: Bench, recorder: Noting, written: bytes) -> None:
    assert isinstance(bench.error, ERRORS), repr(bench.error)
    assert bench.ends <= 1
    assert not (bench.ends and bench.error is not None)
    assert bench.in_flight_bytes == 0
    assert bench.work.data_bytes <= len(written)
    chunks = [call for call in recorder.calls if isinstance(call, bytes)]
    got = b"".join(chunks)
    if type(bench.work._inner).__name__ == "RawWork":
        assert written.startswith(got), "the processor got what nobody wrote"
        assert len(got) == bench.work.data_bytes
        last = b"bye" if bench.ends and bench.work.is_established else b""
        assert bench.peer.error is not None or bench.peer.received == got + last
    else:
        off = 0
        for chunk in chunks:  # frames, in order, and nothing that was not written
            off = written.find(chunk, off)
            assert off >= 0, "the processor got what nobody wrote"
            off += len(chunk)
    bench.do(CLOSE)
    assert bench.work._session is None


# -- what happens on the way -----------------------------------------------------------------------

Change = Callable[[bytearray, int, int], None]


def _flip(flight: bytearray, off: int, value: int) -> None:
    flight[off] ^= 1 << (value & 7)


def _set(flight: bytearray, off: int, value: int) -> None:
    flight[off] = value


def _drop(flight: bytearray, off: int, value: int) -> None:
    del flight[off : off + 1 + value]


def _truncate(flight: bytearray, off: int, value: int) -> None:
    del flight[off:]


def _insert(flight: bytearray, off: int, value: int) -> None:
    flight[off:off] = bytes([value]) * (1 + value % 20)


def _insert_plain_text(flight: bytearray, off: int, value: int) -> None:
    flight[off:off] = b"GET / HTTP/1.1\r\n\r\n"


def _at_record(flight: bytearray, off: int) -> tuple[int, int]:
    """Return where the record begins and ends that `off` is in, as far as headers are true."""
    start = 0
    while True:
        end = start + 5 + int.from_bytes(flight[start + 3 : start + 5], "big")
        if end > off or end >= len(flight):
            return start, min(end, len(flight))
        start = end


def _repeat_a_record(flight: bytearray, off: int, value: int) -> None:
    start, end = _at_record(flight, off)
    flight[end:end] = flight[start:end]


def _drop_a_record(flight: bytearray, off: int, value: int) -> None:
    start, end = _at_record(flight, off)
    del flight[start:end]


def _swap_records(flight: bytearray, off: int, value: int) -> None:
    start, end = _at_record(flight, off)
    one = flight[start:end]
    del flight[start:end]
    flight += one


def _insert_a_record(flight: bytearray, off: int, value: int) -> None:
    """Not encrypted, of a type that exists or nearly; empty or not."""
    start, _ = _at_record(flight, off)
    payload = (b"", b"\x01", b"\x01\x00", b"\x02\x28", bytes(40))[value % 5]
    flight[start:start] = record(19 + value % 7, payload)


def _change_a_header(flight: bytearray, off: int, value: int) -> None:
    start, _ = _at_record(flight, off)
    flight[start + off % 5 : start + off % 5 + 1] = bytes([value])


_CHANGES: tuple[Change, ...] = (
    _flip,
    _set,
    _drop,
    _truncate,
    _insert,
    _insert_plain_text,
    _repeat_a_record,
    _drop_a_record,
    _swap_records,
    _insert_a_record,
    _change_a_header,
)


def _changed(flight: bytes, number: int, changes: list[bytes]) -> bytes:
    """Return the peer's flight of this number, as it arrives."""
    changed = bytearray(flight)
    for which, kind, high, low, value in changes:
        if which % 4 == min(number, 3) and changed:
            off = (high << 8 | low) % len(changed)
            _CHANGES[kind % len(_CHANGES)](changed, off, value)
    return bytes(changed)


# -- inputs ----------------------------------------------------------------------------------------


def corpus() -> list[bytes]:
    """Return the inputs that are kept."""
    return [path.read_bytes() for path in sorted(CORPUS.iterdir())]


def mutated(source: random.Random, seeds: list[bytes]) -> bytes:
    """Return one of `seeds`, changed in one to five places."""
    data = bytearray(source.choice(seeds))
    for _ in range(source.randint(1, 5)):
        source.choice(_MUTATIONS)(source, data)
    return bytes(data[:MOST_BYTES])


def _mutate_a_setting(source: random.Random, data: bytearray) -> None:
    data[source.randrange(min(len(data), HEADER_BYTES))] = source.randrange(256)


def _mutate_a_change(source: random.Random, data: bytearray) -> None:
    """Add one, so that each flight and kind is met; the number of them follows."""
    change = bytes([source.randrange(4), source.randrange(len(_CHANGES))]) + source.randbytes(3)
    data[HEADER_BYTES:HEADER_BYTES] = change
    if data[2] & 7 < 7:
        data[2] += 1


def _mutate_a_byte(source: random.Random, data: bytearray) -> None:
    data[source.randrange(len(data))] = source.randrange(256)


def _mutate_what_is_written(source: random.Random, data: bytearray) -> None:
    data += source.choice((b"\n", b"a\nbc\n", b"\0\0\0\3abc", source.randbytes(300)))


_MUTATIONS = (_mutate_a_setting, _mutate_a_change, _mutate_a_byte, _mutate_what_is_written)


if __name__ == "__main__":
    sys.exit(running.main(sys.modules[__name__]))
