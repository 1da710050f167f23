"""TLS without sockets: contexts, an OpenSSL peer over memory BIOs, and a `TlsWork` on a bench."""

import datetime
import functools
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from asyncrev.frames.registry import as_framing
from asyncrev.ring.ring import CLOSE, DATA, EOF, RESUME, Entry, Kind, Ring
from asyncrev.work.block_pool import Pool
from asyncrev.work.deferred import DeferredInput
from asyncrev.work.lane_work import InputEnd, Share
from asyncrev.work.make_work import make_work
from asyncrev.work.reply_window import UNBOUNDED_BYTES
from asyncrev.work.scratch import Scratch
from asyncrev.work.tls_parameters import TlsParameters
from asyncrev.work.tls_single_records import SingleRecordTlsWork
from tests.lane_bench import joined

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, HEARTBEAT = range(20, 25)
HEADER_BYTES = 5
MOST_DATA_BYTES = 16 * 1024  # of a record

SCRATCH = Scratch()


# -- contexts --------------------------------------------------------------------------------------


@functools.cache
def authority(name: str) -> Any:
    """Return a certificate authority; each name is one that knows nothing of the others."""
    return pytest.importorskip("trustme").CA(organization_name=name)


@functools.cache
def server_context(version: str = "1.3", *, asks_for: str = "") -> ssl.SSLContext:
    """Return a server's context; with `asks_for` clients need a certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    authority("own").issue_cert("localhost").configure_cert(context)
    if asks_for:
        authority(asks_for).configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@functools.cache
def client_context(
    version: str = "1.3",
    *,
    trusts: str = "own",
    has_of: str = "",
    ciphers: str = "",
    expired: bool = False,
) -> ssl.SSLContext:
    """Return a client's context that trusts an authority; `has_of`: whose certificate it has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    authority(trusts).configure_trust(context)
    if ciphers:
        context.set_ciphers(ciphers)
    if has_of:
        since, until = (datetime.datetime(year, 1, 1) for year in (1999, 2000))
        dates = {"not_before": since, "not_after": until} if expired else {}
        issued = authority(has_of).issue_cert("client", **dates)
        issued.configure_cert(context)
    return context


# -- records ---------------------------------------------------------------------------------------


def record(record_type: int, payload: bytes, version: bytes = b"\x03\x03") -> bytes:
    """Return a record as it stands on the wire."""
    return bytes([record_type]) + version + len(payload).to_bytes(2, "big") + payload


def records(wire: bytes) -> list[bytes]:
    """Return the records that `wire`, whole ones, consists of."""
    found, off = [], 0
    while off < len(wire):
        end = off + HEADER_BYTES + int.from_bytes(wire[off + 3 : off + 5], "big")
        assert end <= len(wire), "a record is not whole"
        found.append(wire[off:end])
        off = end
    return found


# -- the peer --------------------------------------------------------------------------------------


class Peer:
    """The other side: OpenSSL, fed and read by hand.

    Attributes:
        received: data that came.
        ended: whether close_notify came.
        error: what TLS ended with, alerts included.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        hostname: str = "localhost",
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.server_side = context.protocol is ssl.PROTOCOL_TLS_SERVER
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(
            self._in,
            self._out,
            server_side=self.server_side,
            server_hostname=None if self.server_side else hostname,
            session=session,
        )
        self.is_established = False
        self.received = b""
        self.ended = False
        self.error: ssl.SSLError | None = None

    def take(self, wire: bytes = b"") -> bytes:
        """Take what the other side sent; return what this one has to say to it."""
        self._in.write(wire)
        try:
            if not self.is_established:
                self.ssl.do_handshake()
                self.is_established = True
            while not self.ended:
                data = self.ssl.read(1 << 16)
                self.received += data
                self.ended = not data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # both have sent close_notify
            self.ended = True
        except ssl.SSLError as error:
            self.error = error
        return self._out.read()

    def write(self, data: bytes, record_bytes: int = MOST_DATA_BYTES) -> bytes:
        """Return the records that carry `data`."""
        for off in range(0, len(data), record_bytes):
            self.ssl.write(data[off : off + record_bytes])
        return self._out.read()

    def close(self) -> bytes:
        """Return what carries close_notify; more may be received."""
        try:
            self.ssl.unwrap()
        except ssl.SSLError:
            pass
        return self._out.read()


# -- the bench -------------------------------------------------------------------------------------


class Bench:
    """A `TlsWork` with a peer, given entries as the loop gives them.

    Attributes:
        published_bytes, credited_bytes: of input, as the loop counts them.
        wire: ciphertext that came out and was not given to the peer.
        error: what an entry ended with.
        ends: how many entries had `ended`.
    """

    def __init__(
        self,
        factory: Callable[[], Any],
        *,
        framing: str = "raw",
        version: str = "1.3",
        client: bool = False,
        context: ssl.SSLContext | None = None,
        peer_context: ssl.SSLContext | None = None,
        window_bytes: int = UNBOUNDED_BYTES,
        max_frame_bytes: int = 1 << 20,
    ) -> None:
        own, other = client_context(version), server_context(version)
        if not client:
            own, other = other, own
        own, other = context or own, peer_context or other
        self.is_client = client
        self.peer = Peer(other)
        self.pool = Pool(Ring(1, 1), 1 << 21)
        work = make_work(
            factory,
            views_allowed=True,
            framing=as_framing(framing),
            max_frame_bytes=max_frame_bytes,
            window_bytes=window_bytes,
            tls=TlsParameters(own, "localhost" if client else None),
        )
        assert isinstance(work, SingleRecordTlsWork)
        self.work = work
        self.published_bytes = self.credited_bytes = 0
        self.wire = b""
        self.error: BaseException | None = None
        self.ends = 0
        self.is_broken = False

    @property
    def in_flight_bytes(self) -> int:
        """Input that was published and is not credited."""
        return self.published_bytes - self.credited_bytes

    @property
    def has_deferred(self) -> bool:
        """Whether there is input that waits for a RESUME."""
        return any(deferred.nbytes for deferred in self._deferred())

    @property
    def may_resume(self) -> bool:
        """Whether a RESUME has something to do: the end may have to wait for the window."""
        waits_for_window = not self.has_deferred and self.work.window.is_full()
        return any(self._deferred()) and not waits_for_window

    def _deferred(self) -> list[DeferredInput]:
        work = self.work
        both = () if work.broken else (work.deferred, work._inner.deferred)
        return [deferred for deferred in both if deferred is not None]

    def do(self, kind: Kind, data: bytes = b"", share: Share | None = None) -> Entry:
        """Have the lane work on one entry, and note what came of it."""
        entry = Entry(memoryview(bytearray(max(16, len(data)))))
        entry.view[: len(data)] = data
        entry.owner, entry.kind, entry.nbytes = self, kind, len(data)
        # Of the lane that used this entry before.
        entry.partial_frame_bytes = entry.frame_seq = entry.calls = 77
        entry.ended = True
        self.published_bytes += len(data)
        self.work.do(entry, None, self.pool, share or Share.unbounded(SCRATCH))
        entry.view[:] = b"~" * len(entry.view)  # nothing of it is used any more
        self.credited_bytes += entry.nbytes
        self.wire += joined(entry)
        assert self.error is None or entry.error is None
        self.error = self.error or entry.error
        if kind is not CLOSE and not self.is_broken:
            self.ends += entry.ended and entry.error is None
        self.is_broken = self.work.broken
        # Else the loop would send no RESUME, or would wait for ever for what was answered.
        assert self.in_flight_bytes > 0 if self.has_deferred else self.in_flight_bytes == 0
        return entry

    def resume(self, share: Callable[[], Share] = lambda: Share.unbounded(SCRATCH)) -> int:
        """Send RESUME while something is deferred; return how many it took."""
        times = 0
        while self.may_resume:
            self.do(RESUME, share=share())
            times += 1
            assert times < 100_000, "it does not come to an end"
        return times

    def end(self, reason: InputEnd = InputEnd.PEER, share: Share | None = None) -> Entry:
        """Have the input end for `reason`."""
        self.work.input_end = reason
        return self.do(EOF, share=share)

    def sent(self) -> bytes:
        """Take the ciphertext that came out."""
        wire, self.wire = self.wire, b""
        return wire

    def tell(self) -> bytes:
        """Give the peer what came out; return its answer."""
        return self.peer.take(self.sent())

    def start(self) -> bytes:
        """Have the side speak first that does; return what the peer sends."""
        if self.is_client:
            self.do(RESUME)
        return self.tell()

    def shake_hands(self) -> "Bench":
        """Do the handshake, to its end on both sides."""
        wire = self.start()
        while wire:
            self.do(DATA, wire)
            wire = self.tell()
        assert self.error is None, self.error
        assert self.peer.error is None, self.peer.error
        assert self.work.is_established
        assert self.peer.is_established
        return self

    def exchange(self, data: bytes, record_bytes: int = MOST_DATA_BYTES) -> bytes:
        """Return the peer's data so far, once it has sent `data` and got what came of it."""
        self.do(DATA, self.peer.write(data, record_bytes))
        self.resume()
        self.tell()
        return self.peer.received

    def feed(self, chunks: Iterable[bytes]) -> None:
        """Have the lane work on `chunks`, each an entry, and on what is deferred."""
        for chunk in chunks:
            self.do(DATA, chunk)
        self.resume()


def inner_alone(
    factory: Callable[[], Any], name: str, chunks: Iterable[bytes], *, ends: bool = True
) -> bytes:
    """Return the replies to `chunks`, and to the end of input if it `ends`, without TLS."""
    work = make_work(factory, views_allowed=True, framing=as_framing(name), max_frame_bytes=1 << 20)
    pool, replies = Pool(Ring(1, 1), 1 << 21), b""
    for kind, data in [*((DATA, chunk) for chunk in chunks), *([(EOF, b"")] if ends else [])]:
        entry = Entry(memoryview(bytearray(data)))
        entry.kind, entry.nbytes = kind, len(data)
        work.do(entry, entry.view.obj, pool)
        assert entry.error is None
        replies += joined(entry)
    return replies
