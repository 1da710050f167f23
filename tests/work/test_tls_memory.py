"""tls_work: what a connection keeps of TLS, and that nothing of it is left."""

import ctypes
import gc
import platform
import ssl
import weakref
from collections.abc import Callable, Iterator

import pytest

from asyncrev.ring.ring import CLOSE, DATA, RESUME, Entry
from asyncrev.work.lane_work import InputEnd, Share
from asyncrev.work.tls_session import TlsSession
from tests.lane_bench import Recorder
from tests.tls_pair import APPLICATION_DATA, MOST_DATA_BYTES, SCRATCH, VERSIONS, Bench, record

versions = pytest.mark.parametrize("version", sorted(VERSIONS))
sides = pytest.mark.parametrize("client", [False, True], ids=["server", "client"])

MOST_IDLE_BYTES = 64 * 1024
CONNECTIONS = 100


# -- how much --------------------------------------------------------------------------------------


class MallInfo(ctypes.Structure):
    """What glibc's mallinfo2 returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def allocated_bytes() -> int:
    """Return what malloc has given out: OpenSSL's memory, which tracemalloc does not see."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        pytest.skip(f"{platform.libc_ver()} has no mallinfo2 (glibc 2.33)")
    mallinfo.restype = MallInfo
    gc.collect()
    found = mallinfo()
    return int(found.uordblks + found.hblkhd)


def use_nothing(bench: Bench) -> None:
    """Leave it as the handshake does."""


def use_small(bench: Bench) -> None:
    """Have some messages go both ways."""
    for _ in range(20):
        bench.exchange(b"x" * 100)


def use_bulk(bench: Bench) -> None:
    """Have long and short records go both ways, together and in pieces."""
    bench.exchange(bytes(200_000))
    bench.exchange(bytes(16_000))
    bench.exchange(bytes(3 * 15_999), 15_999)
    bench.exchange(b"x" + bytes(16_384), 16_384)
    wire = bench.peer.write(bytes(MOST_DATA_BYTES))
    bench.feed([wire[:7], wire[7:9000], wire[9000:]])
    bench.tell()


def use_until_within_a_record(bench: Bench) -> None:
    """Have a record come but for its last byte."""
    use_bulk(bench)
    bench.do(DATA, bench.peer.write(bytes(MOST_DATA_BYTES))[:-1])


@versions
@sides
@pytest.mark.parametrize(
    "use",
    [use_nothing, use_small, use_bulk, use_until_within_a_record],
    ids=lambda use: use.__name__,
)
def test_idle_session_that_was_used_keeps_at_most_64_kib(
    version: str, client: bool, use: Callable[[Bench], None]
) -> None:
    """I22: memory BIOs keep their capacity, so they are never given much at once."""
    kept = []
    before_bytes = 0
    for number in range(2 * CONNECTIONS):
        if number == CONNECTIONS:  # from here on nothing is there for the first time
            before_bytes = allocated_bytes()
        bench = Bench(Recorder, version=version, client=client).shake_hands()
        use(bench)
        bench.work._inner.close_processor()
        kept.append(bench.work)
    del bench
    each_bytes = (allocated_bytes() - before_bytes) / CONNECTIONS
    assert 4096 < each_bytes <= MOST_IDLE_BYTES
    assert len(kept) == 2 * CONNECTIONS


def test_record_that_never_ends_takes_no_more_than_one() -> None:
    """A peer may send it byte by byte; it is copied once."""
    bench = Bench(Recorder).shake_hands()
    head = bytes([APPLICATION_DATA]) + b"\x03\x03\x41\x00"
    bench.do(DATA, head)
    before_bytes = allocated_bytes()
    for _ in range(0x4100 - 1):
        bench.do(DATA, b"x")
    assert allocated_bytes() - before_bytes <= 2 * MOST_DATA_BYTES
    assert bench.error is None
    assert type(bench.do(DATA, b"x").error).__name__ == "TlsError"


# -- that it goes ----------------------------------------------------------------------------------


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Have memory go by reference counts only."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def close(bench: Bench) -> Entry:
    return bench.do(CLOSE)


def close_notify(bench: Bench) -> Entry:
    return bench.do(DATA, bench.peer.close())


def end(bench: Bench) -> Entry:
    return bench.end()


def drain(bench: Bench) -> Entry:
    return bench.end(InputEnd.DRAIN)


def miss_a_deadline(bench: Bench) -> Entry:
    return bench.end(InputEnd.DEADLINE)


def send_a_bad_record(bench: Bench) -> Entry:
    return bench.do(DATA, record(APPLICATION_DATA, bytes(40)))


def send_what_its_processor_fails_at(bench: Bench) -> Entry:
    return bench.do(DATA, bench.peer.write(b"bad"))


WAYS = [
    close,
    close_notify,
    end,
    drain,
    miss_a_deadline,
    send_a_bad_record,
    send_what_its_processor_fails_at,
]


class Failing(Recorder):
    """Fails at one chunk."""

    def process(self, chunk: memoryview) -> memoryview:
        """Raise, or answer with the chunk."""
        if bytes(chunk) == b"bad":
            raise ValueError("bad")
        return super().process(chunk)


@versions
@sides
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.usefixtures("no_collector")
def test_openssl_is_let_go_at_the_end(
    version: str, client: bool, way: Callable[[Bench], Entry]
) -> None:
    """With the error, if there is one, whose traceback leads to it; the lane is still there."""
    bench = Bench(Failing, version=version, client=client).shake_hands()
    bench.exchange(b"abc")
    session = bench.work._session
    assert session is not None
    gone = weakref.ref(session._ssl)
    del session
    assert gone() is not None
    way(bench).error = bench.error = None  # as its release does
    assert bench.work._session is None
    assert gone() is None


@sides
@pytest.mark.parametrize("way", [close, end, drain, miss_a_deadline], ids=lambda way: way.__name__)
@pytest.mark.usefixtures("no_collector")
def test_openssl_is_let_go_within_the_handshake(client: bool, way: Callable[[Bench], None]) -> None:
    """Most storms are of those that never end theirs."""
    bench = Bench(Recorder, client=client)
    bench.do(DATA, bench.start()[:40])
    assert bench.work._session is not None
    gone = weakref.ref(bench.work._session._ssl)
    way(bench)
    assert gone() is None


def test_close_drops_what_is_deferred() -> None:
    """Ciphertext, and what the inner work was given of it."""
    bench = Bench(Recorder, framing="line").shake_hands()
    bench.do(DATA, bench.peer.write(bytes(10) + b"a\n" * 10, 10), Share(SCRATCH, 1, 2))
    bench.do(DATA, bench.peer.write(b"a\n" * 10), Share(SCRATCH, 1, 2))
    assert bench.work.deferred is not None
    bench.work.do(closing(), None, bench.pool)
    assert bench.work.deferred is None
    assert bench.work._inner.deferred is None
    bench.pool._cursors.released_seq = 1 << 30  # type: ignore[misc]
    bench.pool.reclaim()  # what was lent for replies that have gone
    assert bench.pool.in_use_bytes == 0


def closing() -> Entry:
    """Return the entry of a lane that is given up."""
    entry = Entry(memoryview(bytearray(16)))
    entry.kind = CLOSE
    return entry


def test_lane_that_nothing_came_for_has_no_session() -> None:
    """Until its first entry; a client's first is its start."""
    for client in (False, True):
        bench = Bench(Recorder, client=client)
        assert bench.work._session is None
        bench.do(CLOSE)
        assert bench.work._session is None
        bench = Bench(Recorder, client=client)
        bench.do(RESUME)
        assert type(bench.work._session) is TlsSession


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_connections_leave_nothing() -> None:
    """No object of ssl's, and no memory of OpenSSL's."""
    before_bytes = 0
    for number in range(10_000):
        if number == 1000:
            before_bytes = allocated_bytes()
        version = sorted(VERSIONS)[number % 2]
        bench = Bench(Failing, version=version, client=number % 3 == 0).shake_hands()
        bench.exchange(b"abc")
        WAYS[number % len(WAYS)](bench)
        bench.do(CLOSE)
    del bench
    assert allocated_bytes() - before_bytes < 1 << 20  # of 9,000, so one in 100 would be more
    assert [one for one in gc.get_objects() if isinstance(one, (ssl.SSLObject, TlsSession))] == []
