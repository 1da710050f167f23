"""handshake_entrance: a flood of handshakes, and who gets a place when."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

import asyncrev
from asyncrev import Limits, Server
from asyncrev.connection.reading import NO_HANDSHAKE_PLACE
from asyncrev.server import handshake_entrance as entrance_module
from asyncrev.statistics import HandshakeStatistics
from asyncrev.work.tls_session import TlsSession
from tests.protocol.served import SMALL, Swapcase, in_thread, letters
from tests.support import DEADLINE_S, receive_all, receive_exactly, reset, until

pytestmark = pytest.mark.asyncio

ONE = SMALL.replace(tls_handshakes_in_flight=1)
TLS_1_3_BYTES = 5 + 1 + 16  # header, type and tag of a record (RFC 8446, 5.2)


def connect(server: Server) -> socket.socket:
    """Return a client that has not begun TLS, whatever the transport of a matrix run."""
    return socket.create_connection(("127.0.0.1", server.port), DEADLINE_S)


def hello(context: ssl.SSLContext) -> bytes:
    """Return a client's first flight."""
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def exchange(client: ssl.SSLSocket, message: bytes = b"abc") -> None:
    client.sendall(message)
    assert receive_exactly(client, len(message)) == message.swapcase()


def handshakes(server: Server) -> HandshakeStatistics:
    found = server.statistics().handshakes
    assert found is not None
    return found


def counts(server: Server) -> tuple[int, int]:
    """Return how many are within their handshake, and how many wait."""
    found = handshakes(server)
    return found.within, found.waiting


class Flood:
    """A server with some places, and peers of all kinds; closes them at the end."""

    def __init__(self, contexts: Any) -> None:
        self.contexts = contexts
        self.hello = hello(contexts[1])
        self.stack = contextlib.AsyncExitStack()
        self.server: Server = None  # type: ignore[assignment]

    async def serve(self, limits: Limits = ONE, **settings: Any) -> Server:
        self.server = await asyncrev.serve(
            "127.0.0.1", 0, processor=Swapcase, ssl=self.contexts[0], limits=limits, **settings
        )
        return await self.stack.enter_async_context(self.server)

    def begin(self, nbytes: int = 100) -> socket.socket:
        """Return a peer that has sent `nbytes` of its first flight."""
        peer = self.stack.enter_context(connect(self.server))
        peer.sendall(self.hello[:nbytes])
        return peer

    def half(self, count: int) -> list[socket.socket]:
        return [self.begin() for _ in range(count)]

    def established(self) -> ssl.SSLSocket:
        """Return an honest client after a message. Thread: not the loop's."""
        plain = connect(self.server)
        try:
            client = self.contexts[1].wrap_socket(plain, server_hostname="localhost")
        except BaseException:
            plain.close()
            raise
        exchange(client)
        return client

    async def honest(self) -> ssl.SSLSocket:
        return self.stack.enter_context(await in_thread(self.established))

    async def see(self, within: int, waiting: int) -> None:
        await until(
            lambda: counts(self.server) == (within, waiting),
            f"{within} are within their handshake and {waiting} wait",
        )


@pytest_asyncio.fixture
async def flood(contexts: Any) -> AsyncIterator[Flood]:
    """Return a flood; no server listens yet."""
    made = Flood(contexts)
    async with made.stack:
        yield made
    del made.server  # pytest keeps `made` for longer


# -- the flood -------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 3])
async def test_half_handshakes_take_the_places_and_nothing_else(flood: Flood, most: int) -> None:
    """I25: an established peer has its replies; others are not read; silent ones ask nothing."""
    server = await flood.serve(SMALL.replace(tls_handshakes_in_flight=most))
    before = await flood.honest()
    assert counts(server) == (0, 0)
    silent = [flood.begin(0) for _ in range(5)]
    peers = flood.half(most + 7)
    await flood.see(most, 7)
    for _ in range(10):
        await in_thread(exchange, before)
    assert server.statistics().connections == 1 + len(silent) + len(peers)
    assert sorted(c.received_bytes for c in server.connections)[:-1] == [0] * 12 + [100] * most
    found = handshakes(server)
    assert (found.within_high, found.waiting_high, found.waited) == (most, 7, 7)


@pytest.mark.asyncio(loop_factories=["epoll"])  # it takes some seconds
@pytest.mark.parametrize("nbytes", [1, 100])
async def test_honest_newcomer_is_served_once_half_handshakes_give_way(
    flood: Flood, nbytes: int
) -> None:
    """They have a fifth of the timeout while others wait, those that had to wait themselves too."""
    limits = SMALL.replace(tls_handshakes_in_flight=2, tls_handshake_timeout_s=4.0)
    server = await flood.serve(limits)
    for _ in range(4):
        flood.begin(nbytes)
    await flood.see(2, 2)
    await flood.honest()
    assert server.statistics().aborted["TLS handshake deadline"] >= 3


async def test_handshake_that_takes_long_is_let_be_while_nobody_waits(flood: Flood) -> None:
    """Beyond a fifth of its timeout; it ends as soon as another asks for its place."""
    limits = ONE.replace(tls_handshake_timeout_s=10.0)
    server = await flood.serve(limits)
    (peer,) = flood.half(1)
    await flood.see(1, 0)
    (connection,) = server.connections
    now_s = 1000.0
    for passed_s in (0.0, 1.9, 5.0):
        connection.on_sweep(now_s + passed_s)
    assert server.statistics().aborted == {}
    flood.half(1)
    await flood.see(1, 1)
    connection.on_sweep(now_s + 5.0)
    await flood.see(1, 0)
    assert server.statistics().aborted == {"TLS handshake deadline": 1}
    assert await in_thread(receive_all, peer) == b""


async def test_who_waits_is_let_in_in_order(flood: Flood) -> None:
    """The first to send a byte is the first to get a place."""
    server = await flood.serve()
    peers = []
    for number in range(4):
        peers.append(flood.begin(100 + number))
        await flood.see(1, number)

    def begun() -> list[int]:
        return sorted(c.received_bytes for c in server.connections if c.received_bytes)

    for number in range(4):
        await until(lambda n=number: begun() == [100 + n], f"number {number} is within")
        peers[number].close()
    await flood.see(0, 0)
    assert handshakes(server).waited == 3


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("most", [1, 20])
async def test_many_honest_clients_at_once_are_all_served(
    flood: Flood, monkeypatch: pytest.MonkeyPatch, most: int, steps: int
) -> None:
    """A storm after a restart, say; places and steps go from one to the next without a pause."""
    monkeypatch.setattr(entrance_module, "STEPS_AT_ONCE", steps)
    server = await flood.serve(SMALL.replace(tls_handshakes_in_flight=most))
    clients = await asyncio.gather(*(flood.honest() for _ in range(20)))
    await in_thread(lambda: [exchange(client) for client in clients])
    await flood.see(0, 0)
    assert 1 <= handshakes(server).within_high <= most
    gates = server._tls.gates
    assert gates is not None
    assert 1 <= gates.steps.within_high <= steps
    assert (gates.steps.within, gates.steps.waiting) == (0, 0)


class Stepping:
    """Stops the worker in a step of a handshake while `stops` is set, until `goes_on` is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
        self.stops, self.goes_on = threading.Event(), threading.Event()
        handshake = TlsSession.handshake

        def wait_and_shake(session: TlsSession) -> bool:
            if self.stops.is_set():
                assert self.goes_on.wait(DEADLINE_S)
            return handshake(session)

        monkeypatch.setattr(TlsSession, "handshake", wait_and_shake)
        monkeypatch.setattr(entrance_module, "STEPS_AT_ONCE", steps)


class Shaking:
    """A client that has the server's flight, and its own second one in `out`."""

    def __init__(self, flood: Flood, nbytes: int | None = None) -> None:
        """Begin; with `nbytes`, only that much of the first flight is sent."""
        self.incoming, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = flood.contexts[1].wrap_bio(self.incoming, self.out, server_hostname="localhost")
        self.peer = flood.begin(0)
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.send(nbytes)

    async def shake(self) -> "Shaking":
        while True:
            self.incoming.write(await in_thread(self.peer.recv, 65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
                return self

    def send(self, nbytes: int | None = None) -> None:
        self.peer.sendall(self.out.read(-1 if nbytes is None else nbytes))


@pytest.mark.parametrize("nbytes", [1, 2, 100])
@pytest.mark.parametrize("slot_bytes", [1, 1024])
async def test_beginning_of_any_length_gives_its_step_back_after_it_has_waited(
    flood: Flood, monkeypatch: pytest.MonkeyPatch, nbytes: int, slot_bytes: int
) -> None:
    """Also the byte alone, and in slots of a byte; with the rest it makes a handshake."""
    monkeypatch.setattr(entrance_module, "STEPS_AT_ONCE", 1)
    server = await flood.serve(ONE.replace(slot_bytes=slot_bytes, slots=64))
    (first,) = flood.half(1)
    await flood.see(1, 0)
    client = Shaking(flood, nbytes)
    await flood.see(1, 1)
    first.close()
    await flood.see(1, 0)
    gates = server._tls.gates
    assert gates is not None
    await until(lambda: gates.steps.within == 0, "the step is free")
    client.send()
    await client.shake()
    client.send()
    await in_thread(client.peer.recv, 1)  # tickets
    await flood.see(0, 0)


@pytest.mark.parametrize("drains", [False, True])
async def test_second_flight_waits_for_a_step_and_loses_nothing(
    flood: Flood, monkeypatch: pytest.MonkeyPatch, drains: bool
) -> None:
    """Neither the end of stream behind it, nor, in a drain, the last byte that had arrived."""
    stepping = Stepping(monkeypatch, 1)
    server = await flood.serve(SMALL.replace(tls_handshakes_in_flight=2))
    client = await Shaking(flood).shake()
    stepping.stops.set()
    flood.begin(len(flood.hello))
    gates = server._tls.gates
    assert gates is not None
    await until(lambda: gates.steps.within == 1, "the worker is in another step")
    flood.begin()
    await flood.see(2, 1)
    # A byte waits and fills a slot with what comes then, and a byte is left.
    message = letters(SMALL.slot_bytes + 1 - client.out.pending - TLS_1_3_BYTES)
    client.tls.write(message)
    assert client.out.pending == SMALL.slot_bytes + 1
    client.send()
    if not drains:
        client.peer.shutdown(socket.SHUT_WR)
    await until(lambda: gates.steps.waiting == 1, "the flight waits")
    for connection in server.connections:
        for now_s in (1e6, 1e6 + 9.0):
            connection.on_sweep(now_s)  # no peer is late that is within its handshake
    draining = asyncio.create_task(server.drain()) if drains else None
    await asyncio.sleep(0)
    stepping.goes_on.set()
    client.incoming.write(await in_thread(receive_all, client.peer))
    assert client.tls.read(2 * SMALL.slot_bytes) == message.swapcase()
    assert "TLS handshake deadline" not in server.statistics().aborted
    if draining is not None:
        assert await draining


async def test_last_flight_that_was_deferred_gives_its_place_back_without_an_answer(
    flood: Flood, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tickets, no message, no sweep: the loop hears of it by the entry that comes back."""
    stepping = Stepping(monkeypatch, 3)
    monkeypatch.setattr(entrance_module.HandshakeLimited, "on_sweep", lambda *_: None)
    flood.contexts = tls_without_tickets(flood.contexts, ssl.TLSVersion.TLSv1_3)
    server = await flood.serve(SMALL.replace(tls_handshakes_in_flight=3))
    clients = [await Shaking(flood).shake() for _ in range(2)]
    stepping.stops.set()
    flood.begin(len(flood.hello))
    await flood.see(3, 0)
    for client in clients:
        client.send()
    gates = server._tls.gates
    assert gates is not None
    await until(lambda: gates.steps.within == 3, "both wait for the worker, in one batch")
    stepping.goes_on.set()
    await flood.see(1, 0)
    assert gates.steps.within == 0


async def test_what_waits_for_a_step_is_bounded_and_the_rest_stays_with_the_kernel(
    flood: Flood, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that sends much behind its last flight; all of it is answered then."""
    stepping = Stepping(monkeypatch, 1)
    server = await flood.serve(SMALL.replace(tls_handshakes_in_flight=2))
    client = await Shaking(flood).shake()
    (connection,) = server.connections
    stepping.stops.set()
    flood.begin(len(flood.hello))
    gates = server._tls.gates
    assert gates is not None
    await until(lambda: gates.steps.within == 1, "the worker is in another step")
    message = letters(3 * entrance_module.FLIGHT_BYTES)
    client.tls.write(message)
    before_bytes = connection.received_bytes
    client.send()
    await until(lambda: connection.pauses == NO_HANDSHAKE_PLACE, "it is not read")
    entrance = connection._entrance
    assert entrance is not None
    assert entrance.held_bytes == entrance_module.FLIGHT_BYTES
    assert connection.received_bytes == before_bytes
    stepping.goes_on.set()
    client.peer.shutdown(socket.SHUT_WR)
    client.incoming.write(await in_thread(receive_all, client.peer))
    found = b""
    while len(found) < len(message):
        found += client.tls.read(len(message))
    assert found == message.swapcase()


async def test_each_worker_has_a_step(flood: Flood, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with two of them is in two handshakes at once, and the third waits."""
    stepping = Stepping(monkeypatch, 1)
    server = await flood.serve(SMALL, threads=2)
    stepping.stops.set()
    for _ in range(3):
        flood.begin(len(flood.hello))
    gates = server._tls.gates
    assert gates is not None
    await until(
        lambda: (gates.steps.within, gates.steps.waiting) == (2, 1), "two are with the workers"
    )
    stepping.goes_on.set()
    await until(lambda: gates.steps.within == 0, "all steps were taken")


@pytest.mark.parametrize("resets", [False, True])
async def test_peer_that_went_while_it_waited_for_a_step_costs_none(
    flood: Flood, monkeypatch: pytest.MonkeyPatch, resets: bool
) -> None:
    """Its flight has been received; of an orderly end the worker hears with a byte of it."""
    stepping = Stepping(monkeypatch, 1)
    server = await flood.serve(SMALL.replace(tls_handshakes_in_flight=2))
    stepping.stops.set()
    flood.begin(len(flood.hello))
    gates = server._tls.gates
    assert gates is not None
    await until(lambda: gates.steps.within == 1, "the worker is in another step")
    second = flood.begin(len(flood.hello))
    await until(lambda: gates.steps.waiting == 1, "the flight waits")
    (waiting,) = (c for c in server.connections if not c.received_bytes)
    (reset if resets else close)(second)
    await until(lambda: gates.steps.waiting == 0 or waiting.received_bytes == 1, "it has gone")
    stepping.goes_on.set()
    await flood.see(1, 0)
    assert waiting.received_bytes == (0 if resets else 1)
    assert waiting.replied_bytes == 0
    assert waiting.abort_reason == (None if resets else "TLS handshake failed")


# -- places come back ------------------------------------------------------------------------------


def close(peer: socket.socket) -> None:
    peer.close()


def half_close(peer: socket.socket) -> None:
    peer.shutdown(socket.SHUT_WR)


def send_garbage(peer: socket.socket) -> None:
    peer.sendall(b"\0" * 4096)


ENDS: dict[str, Callable[[socket.socket], None]] = {
    "closed": close,
    "half-closed": half_close,
    "reset": reset,
    "failed": send_garbage,
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("waits", [False, True])
async def test_place_comes_back_whatever_ends_the_peer(flood: Flood, end: str, waits: bool) -> None:
    """One that is within its handshake, and one that waits and is let in later; at once, too."""
    await flood.serve(ONE.replace(linger_timeout_s=60.0))
    first = flood.begin(len(flood.hello) - 1)
    await flood.see(1, 0)
    second = flood.begin(len(flood.hello) - 1)
    await flood.see(1, 1)
    if waits:
        ENDS[end](second)
        first.close()
    else:
        ENDS[end](first)
        await flood.see(1, 0)
        second.close()
    await flood.see(0, 0)
    await flood.honest()


async def test_peer_that_went_while_it_waited_costs_no_handshake(flood: Flood) -> None:
    """Of its whole first flight only the first byte is read."""
    server = await flood.serve()
    first = flood.begin()
    await flood.see(1, 0)
    second = flood.begin(len(flood.hello))
    await flood.see(1, 1)
    second.shutdown(socket.SHUT_WR)
    (waiting,) = (c for c in server.connections if not c.received_bytes)
    first.close()
    await flood.see(0, 0)
    assert waiting.received_bytes == 1
    assert waiting.replied_bytes == 0
    assert waiting.abort_reason == "TLS handshake failed"


async def test_peer_that_ends_without_a_byte_asks_for_nothing(flood: Flood) -> None:
    """A health check beside a flood; it is no failure."""
    server = await flood.serve()
    flood.half(2)
    await flood.see(1, 1)
    check = flood.begin(0)
    check.shutdown(socket.SHUT_WR)
    assert await in_thread(receive_all, check) == b""
    assert counts(server) == (1, 1)
    assert server.statistics().aborted == {}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_place_comes_back_when_the_last_flight_has_no_answer(
    flood: Flood, version: ssl.TLSVersion
) -> None:
    """TLS 1.3 without tickets: the server's part ends in silence, and so may the client."""
    server_context, client_context = tls_without_tickets(flood.contexts, version)
    flood.contexts = (server_context, client_context)
    server = await flood.serve()

    def connected() -> ssl.SSLSocket:
        return client_context.wrap_socket(connect(server), server_hostname="localhost")

    clients = [flood.stack.enter_context(await in_thread(connected)) for _ in range(3)]
    await flood.see(0, 0)
    assert handshakes(server).within_high == 1
    await in_thread(lambda: [exchange(client) for client in clients])


def tls_without_tickets(
    contexts: Any, version: ssl.TLSVersion
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    server.num_tickets = 0
    client = ssl.create_default_context()
    authority.configure_trust(client)
    client.minimum_version = client.maximum_version = version
    return server, client


async def test_deadline_ends_who_waits_for_too_long(flood: Flood) -> None:
    """It counts from the connection, and is put off for what the kernel holds, but not for ever."""
    limits = ONE.replace(tls_handshake_timeout_s=0.2)
    server = await flood.serve(limits)
    peers = flood.half(10)
    gone = {"TLS handshake deadline": len(peers)}
    await until(lambda: server.statistics().aborted == gone, "all have gone")
    assert counts(server) == (0, 0)


# -- drain, close ----------------------------------------------------------------------------------


async def test_drain_ends_who_waits_without_a_handshake(flood: Flood) -> None:
    """In order and in time; who is established is answered first."""
    server = await flood.serve(ONE.replace(linger_timeout_s=0.05))
    before = await flood.honest()
    peers = [flood.begin(len(flood.hello) if number else 100) for number in range(6)]
    await flood.see(1, 5)
    before.sendall(b"last")
    assert await server.drain()
    assert server.statistics().aborted == {}
    assert counts(server) == (0, 0)
    assert await in_thread(receive_exactly, before, 4) == b"LAST"
    for peer in peers:
        assert await in_thread(receive_all, peer) == b""


async def test_close_ends_all_at_once(flood: Flood) -> None:
    """Those that wait, too, and nobody is let in by it."""
    server = await flood.serve()
    flood.half(6)
    await flood.see(1, 5)
    waiting = [c for c in server.connections if not c.received_bytes]
    await server.close()
    assert counts(server) == (0, 0)
    assert server.statistics().aborted == {"server closed": 6}
    assert [c.received_bytes for c in waiting] == [0] * 5


async def test_first_input_is_seen_of_who_waited(flood: Flood) -> None:
    """As much of it as was received first, which is a byte then."""
    seen: list[bytes] = []

    def look(first: memoryview) -> bool:
        seen.append(bytes(first))
        return True

    server = Server(Swapcase, ssl=flood.contexts[0], limits=ONE)
    server.watch_first_input(look)
    await server.start("127.0.0.1", 0)
    flood.server = await flood.stack.enter_async_context(server)
    (first,) = flood.half(1)
    await flood.see(1, 0)
    honest = asyncio.create_task(flood.honest())
    await flood.see(1, 1)
    first.close()
    await honest
    assert seen == [flood.hello[:100], b"\x16"]


async def test_limit_that_is_reached_is_a_warning(
    flood: Flood, caplog: pytest.LogCaptureFixture
) -> None:
    """One, however many wait; nothing of it is left when the server is closed."""
    server = await flood.serve()
    peers = flood.half(4)
    await flood.see(1, 3)
    for peer in peers:
        peer.close()
    await flood.see(0, 0)
    await server.close()
    (said,) = (r.getMessage() for r in caplog.records if "tls_handshakes" in r.getMessage())
    limit = "tls_handshakes_in_flight, which is 1, is reached"
    assert said == f"{limit}; further handshakes wait until one is over"


async def test_server_without_tls_has_no_places() -> None:
    """Nor numbers of them."""
    async with await asyncrev.serve("127.0.0.1", 0, limits=ONE) as server:
        assert server.statistics().handshakes is None
