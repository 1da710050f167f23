"""door: a bounded number of places, and who has one."""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

pytest.importorskip("h11")

from asyncrev.admin import door as module
from asyncrev.admin.door import Door
from asyncrev.admin.message import Request, Response, plain
from tests.admin.talking import Http, get
from tests.support import DEADLINE_S, until

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])


class Site:
    """A door on a port of its own, within the test's loop.

    Attributes:
        held: requests for /hold that have begun; they are answered when `release` is set.
    """

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listening.setblocking(False)
        self.address: tuple[str, int] = self.listening.getsockname()
        self.held = 0
        self.release = asyncio.Event()
        self.door = Door([self.listening], self.respond)

    async def respond(self, request: Request) -> Response:
        if request.target == "/hold":
            self.held += 1
            await self.release.wait()
        return plain(200, "well")

    async def get(self, path: str = "/") -> int:
        return (await asyncio.to_thread(get, self.address, path))[0]


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[Site]:
    made = Site()
    made.door.open()
    made.door.open()  # idempotent
    try:
        yield made
    finally:
        await made.door.close()
        made.listening.close()


@pytest.fixture
def few_places(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 3)
    return 3


async def ended(sock: socket.socket) -> bytes:
    """Return what comes on `sock` until its end."""
    sock.setblocking(False)
    parts = []
    async with asyncio.timeout(DEADLINE_S):
        while part := await asyncio.get_running_loop().sock_recv(sock, 4096):
            parts.append(part)
    return b"".join(parts)


async def test_silent_peer_makes_room_the_longest_silent_first(few_places: int) -> None:
    """One for each that comes; the others keep their places."""
    async with site() as made:
        socks = []
        for _ in range(few_places):
            socks.append(socket.create_connection(made.address))
            await asyncio.sleep(0.01)  # so that it is known who came first
        for number in range(2):
            assert await made.get() == 200
            assert await ended(socks[number]) == b""
            socks.append(socket.create_connection(made.address))  # in the place of that request
            await asyncio.sleep(0.01)
        for sock in socks[2:]:
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(1)
        for sock in socks:
            sock.close()


async def test_request_that_has_begun_does_not_keep_its_place(few_places: int) -> None:
    """Further bytes of it do not make it younger; it hears why it is ended."""
    async with site() as made:
        socks = [socket.create_connection(made.address) for _ in range(few_places)]
        for sock in socks:
            sock.sendall(b"GET / HTTP/1.1\r\n")
        await asyncio.sleep(0.05)  # they are read
        for sock in socks:
            sock.sendall(b"A: b\r\n")
        assert await made.get() == 200
        answers = [await ended(sock) for sock in socks[:1]]
        assert answers[0].startswith(b"HTTP/1.1 503 ")
        for sock in socks:
            sock.close()


async def test_idle_client_makes_room_and_is_served_again(few_places: int) -> None:
    """A scraper between two scrapes has waited longest at some time; it connects again."""
    async with site() as made:
        client = Http(made.address)
        assert (await asyncio.to_thread(client.ask, "GET", "/"))[0] == 200
        socks = [socket.create_connection(made.address) for _ in range(few_places + 1)]
        assert client.sock is not None
        assert await ended(client.sock) == b""
        client.close()
        assert (await asyncio.to_thread(client.ask, "GET", "/"))[0] == 200
        client.close()
        for sock in socks:
            sock.close()


async def test_requests_that_are_answered_keep_their_places(few_places: int) -> None:
    """Whoever comes waits in the accept queue, and is answered when one of them is."""
    async with site() as made:
        holding = [asyncio.create_task(made.get("/hold")) for _ in range(few_places)]
        await until(lambda: made.held == few_places, "all places are in use")
        asking = asyncio.create_task(made.get())
        await asyncio.sleep(0.1)  # nothing to wait for: that nothing comes is the point
        assert not asking.done()
        made.release.set()
        assert await asking == 200
        assert await asyncio.gather(*holding) == few_places * [200]


async def test_answered_client_that_stays_makes_room(few_places: int) -> None:
    """The door, shut while all were answered, opens for those that wait for a place."""
    async with site() as made:
        clients = [Http(made.address) for _ in range(few_places)]
        holding = [
            asyncio.create_task(asyncio.to_thread(client.ask, "GET", "/hold")) for client in clients
        ]
        await until(lambda: made.held == few_places, "all places are in use")
        asking = [asyncio.create_task(made.get()) for _ in range(2)]
        await asyncio.sleep(0.05)  # they are in the accept queue
        made.release.set()
        assert await asyncio.gather(*asking) == [200, 200]
        assert [status for status, _ in await asyncio.gather(*holding)] == few_places * [200]
        for client in clients:
            client.close()


async def test_peer_has_some_time_for_its_request(
    few_places: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many come at once."""
    monkeypatch.setattr(module, "LEAST_WAIT_S", 0.2)
    async with site() as made:
        begun_s = time.monotonic()
        socks = [socket.create_connection(made.address) for _ in range(2 * few_places)]
        assert await ended(socks[0]) == b""
        assert time.monotonic() - begun_s >= 0.2
        for sock in socks:
            sock.close()


async def test_number_of_accepts_per_second_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a burst, so that those that connect again and again take little CPU time."""
    monkeypatch.setattr(module, "ACCEPTS_AT_ONCE", 5)
    monkeypatch.setattr(module, "ACCEPTS_PER_S", 20.0)
    async with site() as made:
        begun_s = time.monotonic()
        assert await asyncio.gather(*(made.get() for _ in range(15))) == 15 * [200]
        assert time.monotonic() - begun_s >= 0.9 * (15 - 5 - 1) / 20.0


def silent(_: socket.socket, number: int) -> None:
    """Send nothing."""


def slow(sock: socket.socket, number: int) -> None:
    """Send some bytes of a request that does not end."""
    with contextlib.suppress(OSError):
        sock.send(b"GET / HTTP/1.1\r\nA"[number % 4 : number % 4 + 12] if number < 9 else b"a")


def garbage(sock: socket.socket, number: int) -> None:
    """Send no HTTP."""
    with contextlib.suppress(OSError):
        sock.send(b"\x16\x03\x01\x02\x00\x01\x00")


@pytest.mark.parametrize("send", [silent, slow, garbage])
async def test_probes_are_answered_beside_a_thousand_such_peers(
    send: Callable[[socket.socket, int], None],
) -> None:
    """Each within a second, from the burst of connections on."""
    async with site() as made:
        socks = [socket.socket() for _ in range(1000)]
        slowest_s = 0.0
        for number, sock in enumerate(socks):
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(made.address)
            send(sock, 0)
            if number % 100 == 99:
                begun_s = time.monotonic()
                assert await made.get() == 200
                slowest_s = max(slowest_s, time.monotonic() - begun_s)
        for number in range(20):
            for sock in socks:
                send(sock, number)
            begun_s = time.monotonic()
            assert await made.get() == 200
            slowest_s = max(slowest_s, time.monotonic() - begun_s)
        for sock in socks:
            sock.close()
    assert slowest_s < 1.0


async def test_lack_of_descriptors_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue keeps who has come."""
    monkeypatch.setattr(module, "_ACCEPT_AGAIN_S", 0.01)
    async with site() as made:
        fails = 3
        accept = socket.socket.accept

        def failing(sock: socket.socket) -> Any:
            nonlocal fails
            if fails:
                fails -= 1
                raise OSError(24, os.strerror(24))
            return accept(sock)

        monkeypatch.setattr(socket.socket, "accept", failing)
        assert await made.get() == 200
        assert fails == 0


async def test_failure_of_a_connection_is_a_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the next one is served."""
    converse = module.converse
    has_failed = False

    async def failing(sock: socket.socket, *args: Any) -> None:
        nonlocal has_failed
        if has_failed:
            await converse(sock, *args)
        else:
            has_failed = True
            sock.close()
            raise RuntimeError("a defect")

    monkeypatch.setattr(module, "converse", failing)
    with caplog.at_level(logging.ERROR, "asyncrev"):
        async with site() as made:
            with socket.create_connection(made.address):
                await until(lambda: "a defect" in caplog.text, "it is logged")
            assert await made.get() == 200


async def test_close_ends_all_and_opens_no_more(few_places: int) -> None:
    """Those that are being answered, too, and those that begin to wait at that moment."""
    async with site() as made:
        holding = socket.create_connection(made.address)
        holding.sendall(b"GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: made.held, "it is being answered")
        silent = socket.create_connection(made.address)
        made.release.set()
        await made.door.close()
        made.door.open()
        holding.close()
        silent.close()
        with socket.create_connection(made.address) as late:
            late.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            late.setblocking(False)
            await asyncio.sleep(0.05)  # nothing to wait for: that nothing comes is the point
            with pytest.raises(BlockingIOError):
                late.recv(1)
