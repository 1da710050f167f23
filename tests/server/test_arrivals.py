"""arrivals: what becomes of an accepted socket, and when that is over."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from asyncrev.loop.eventloop import EpollEventLoop
from asyncrev.server.arrivals import Arrivals
from asyncrev.server.connections import Connections
from asyncrev.server.peer_limits import PeerLimits, PeerPlace
from tests.support import until

pytestmark = pytest.mark.asyncio


class Made(asyncio.BufferedProtocol):
    """As much of a connection as arrivals ask for; notes what happens to it."""

    def __init__(self) -> None:
        self.buffer = bytearray(64)
        self.received = b""
        self.accepted_from: Any = None
        self.transport: Any = None
        self.place: PeerPlace | None = None
        self.lost = asyncio.Event()

    def claimed(self, nbytes: int) -> memoryview:
        return memoryview(self.buffer)[:nbytes]

    def note_accepted(self, address: Any, place: PeerPlace) -> None:
        self.accepted_from = address
        self.place = place

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self.buffer[:nbytes]

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()
        if self.place is not None:
            self.place.leave()


class Bench:
    """Arrivals with a registry, one accepted socket, and its peer."""

    def __init__(self) -> None:
        self.sock, self.peer = socket.socketpair()
        self.sock.setblocking(False)
        self.registry = Connections(8, lambda: None)
        self.made: list[Made] = []

    def arrivals(self, peers: PeerLimits | None = None) -> Arrivals:
        make: Any = self.make
        return Arrivals(self.registry, make, peers=peers)

    def make(self) -> Made:
        self.made.append(Made())
        return self.made[-1]

    async def close(self) -> None:
        for one in self.made:
            # A cancelled arrival has closed it; uvloop's transport does not tell its end then.
            if one.transport is not None and self.sock.fileno() >= 0:
                one.transport.abort()
                await one.lost.wait()
        self.sock.close()
        self.peer.close()


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    """Return a bench that is closed afterwards."""
    made = Bench()
    yield made
    await made.close()


async def test_accepted_socket_becomes_a_connection_and_has_arrived(bench: Bench) -> None:
    """It is counted while it arrives."""
    arrivals = bench.arrivals()
    arrivals.accept(bench.sock, ("192.0.2.1", 7))
    assert (bench.registry.accepted, bench.registry.arriving) == (1, 1)
    await arrivals.wait()
    assert (bench.registry.accepted, bench.registry.arriving) == (1, 0)
    (made,) = bench.made
    assert made.accepted_from == ("192.0.2.1", 7)
    assert made.transport is not None
    bench.peer.send(b"hello")
    await until(lambda: made.received == b"hello", "the protocol has the input")


async def test_wait_with_nothing_on_its_way_returns(bench: Bench) -> None:
    """At once."""
    await bench.arrivals().wait()
    assert bench.registry.accepted == 0


async def test_socket_that_fails_on_its_arrival_is_closed_and_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """With the peer's name; it is nobody's error, and not one that this side has aborted."""
    caplog.set_level(logging.INFO, "asyncrev")

    def fail() -> Any:
        raise OSError(107, "Transport endpoint is not connected")

    arrivals = Arrivals(bench.registry, fail)
    arrivals.accept(bench.sock, ("192.0.2.1", 7))
    await arrivals.wait()
    assert bench.sock.fileno() == -1
    assert bench.registry.is_idle
    assert bench.registry.aborted == {}
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("192.0.2.1:7: closed on its arrival: ")


async def test_cancel_closes_what_is_on_its_way(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its task has run; it is not counted here, because the caller knows why."""
    caplog.set_level(logging.INFO, "asyncrev")
    monkeypatch.delattr(EpollEventLoop, "attach_socket")
    arrivals = bench.arrivals()
    arrivals.accept(bench.sock, None)
    arrivals.cancel()
    await arrivals.wait()
    assert bench.sock.fileno() == -1
    assert bench.registry.is_idle
    assert bench.registry.aborted == {}
    assert not bench.made
    assert caplog.messages == ["unnamed peer: closed on its arrival: the server was closed"]


async def test_cancel_leaves_what_becomes_a_connection_at_once(bench: Bench) -> None:
    """On our loop no task is needed; it has arrived in the next iteration, and `wait` waits."""
    if not isinstance(asyncio.get_running_loop(), EpollEventLoop):
        pytest.skip("other loops make connections in tasks")
    arrivals = bench.arrivals()
    arrivals.accept(bench.sock, None)
    (made,) = bench.made
    assert made.transport is None
    arrivals.cancel()
    assert bench.registry.arriving == 1
    await arrivals.wait()
    assert bench.registry.arriving == 0
    assert made.transport is not None


@pytest.mark.parametrize("in_task", [False, True])
async def test_arrival_that_fails_by_a_defect_is_an_error_for_the_loop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, in_task: bool
) -> None:
    """It is closed here, and has not arrived."""
    loop = asyncio.get_running_loop()
    if in_task:
        monkeypatch.delattr(EpollEventLoop, "attach_socket")
    reported: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    defect = ZeroDivisionError("a defect")

    def fail() -> Any:
        raise defect

    arrivals = Arrivals(bench.registry, fail)
    arrivals.accept(bench.sock, None)
    await arrivals.wait()
    assert [context["exception"] for context in reported] == [defect]
    assert bench.sock.fileno() == -1
    assert bench.registry.is_idle


async def test_socket_over_the_limit_of_its_address_is_refused_counted_and_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """With a reason, by which the lines are limited; the loop is told of no error."""
    peers = PeerLimits(1)
    peers.place().take(("192.0.2.1", 1))
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    arrivals = bench.arrivals(peers)
    arrivals.accept(bench.sock, ("192.0.2.1", 7))
    await arrivals.wait()
    await until(lambda: bench.registry.is_idle, "it is counted off")
    assert bench.sock.fileno() == -1
    assert bench.registry.aborted == {"too many of an address": 1}
    assert not bench.made
    (record,) = caplog.records
    assert record.getMessage() == (
        "192.0.2.1:7: closed: 192.0.2.1 has 1 connections; max_connections_per_ip is 1"
    )
    assert record.reason == "closed: too many of an address"  # type: ignore[attr-defined]
    assert told == []


async def test_connection_has_the_place_that_its_arrival_took(bench: Bench) -> None:
    """The arrival gives it back no more: that is the connection's business."""
    peers = PeerLimits(1)
    arrivals = bench.arrivals(peers)
    arrivals.accept(bench.sock, ("192.0.2.1", 7))
    await arrivals.wait()
    assert len(peers) == 1
    (made,) = bench.made
    made.transport.abort()
    await made.lost.wait()
    assert len(peers) == 0


@pytest.mark.parametrize("turns", range(6))
async def test_arrival_that_is_cancelled_gives_its_place_back(bench: Bench, turns: int) -> None:
    """At whichever iteration of the loop that is, as long as there is no connection."""
    peers = PeerLimits(1)
    arrivals = bench.arrivals(peers)
    arrivals.accept(bench.sock, ("192.0.2.1", 7))
    for _ in range(turns):
        await asyncio.sleep(0)
    arrivals.cancel()
    await arrivals.wait()
    for made in bench.made:
        made.transport.abort()  # as the server does with what became a connection
    await until(lambda: not len(peers), "the arrival or the connection has given it back")


async def test_arrival_that_fails_gives_its_place_back(bench: Bench) -> None:
    """Whatever it failed with."""
    peers = PeerLimits(1)

    def fail() -> Any:
        raise OSError(107, "Transport endpoint is not connected")

    arrivals = Arrivals(bench.registry, fail, peers=peers)
    arrivals.accept(bench.sock, ("192.0.2.1", 7))
    await arrivals.wait()
    await until(lambda: bench.registry.is_idle, "it is counted off")
    assert len(peers) == 0


async def test_first_input_is_seen_and_comes_to_the_connection(bench: Bench) -> None:
    """Of connections that are made after the watch has begun."""
    seen: list[bytes] = []

    def look(first: memoryview) -> bool:
        seen.append(bytes(first))
        return True

    arrivals = bench.arrivals()
    arrivals.watch_first_input(look)
    arrivals.accept(bench.sock, None)
    await arrivals.wait()
    (made,) = bench.made
    bench.peer.send(b"one")
    await until(lambda: made.received == b"one", "the protocol has the input")
    bench.peer.send(b"two")
    await until(lambda: made.received == b"onetwo", "and the next")
    assert seen == [b"one"]
