"""The proxy with faults, between real sockets. Times are lower bounds only: never too early."""

import asyncio
import contextlib
import random
import socket
from pathlib import Path
from typing import Any

import pytest

from asyncrev.errors import SettingsError
from asyncrev.testing.faults import FaultProxy, Toxics, fault_proxy_thread
from asyncrev.testing.history import History
from asyncrev.testing.toxics import CHUNK_BYTES
from tests.linked import DIRECTIONS, end, linked, receive, send
from tests.support import DEADLINE_S, end_of, pattern, reset, until
from tests.unit.test_docs import promised, run, snippets

both_ways = pytest.mark.parametrize("direction", DIRECTIONS)


# -- a plain proxy -----------------------------------------------------------------------------


@both_ways
@pytest.mark.asyncio
async def test_bytes_and_half_close_pass_through(direction: str) -> None:
    """The other direction goes on after one has ended."""
    data = pattern(300_000)
    async with linked() as connection:
        sender, receiver = connection.ends(direction)
        sending = asyncio.create_task(send(sender, data))
        assert await receive(receiver, len(data)) == data
        await sending
        sender.shutdown(socket.SHUT_WR)
        assert await end(receiver) == (b"", "FIN")
        await send(receiver, b"still here")
        assert await receive(sender, 10) == b"still here"
        receiver.shutdown(socket.SHUT_WR)
        assert await end(sender) == (b"", "FIN")
        assert connection.proxy.passed_bytes[direction] == len(data)
        assert connection.proxy.connections == 1
        assert not connection.proxy.faults


@both_ways
@pytest.mark.parametrize("half_closed", [False, True])
@pytest.mark.asyncio
async def test_reset_passes_through_as_one(direction: str, half_closed: bool) -> None:
    """Also after that side has ended its input, when nobody reads from it."""
    async with linked() as connection:
        sender, receiver = connection.ends(direction)
        await send(sender, b"abc")
        assert await receive(receiver, 3) == b"abc"
        if half_closed:
            sender.shutdown(socket.SHUT_WR)
            assert await end(receiver) == (b"", "FIN")
            reset(sender)
            # A reset behind the end of stream is told to who writes.
            await until(lambda: writing_fails(receiver), "the reset has come")
        else:
            reset(sender)
            assert await end(receiver) == (b"", "RST")


def writing_fails(sock: socket.socket) -> bool:
    """Return whether the peer of `sock` has reset it; sends nothing."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


@both_ways
@pytest.mark.asyncio
async def test_side_that_does_not_take_stops_the_other(direction: str) -> None:
    """The proxy holds two chunks and no more; a reset of the side not read is seen all the same."""
    async with linked(socket_buffer_bytes=4096) as connection:
        sender, receiver = connection.ends(direction)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sent = 0
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(0.15):  # nothing depends on it being stuck for good
                        await asyncio.get_running_loop().sock_sendall(sender, bytes(16_384))
                        sent += 16_384
        assert sent - connection.proxy.passed_bytes[direction] <= 4 * CHUNK_BYTES
        reset(sender)
        await until(lambda: len(connection.proxy._tasks) == 0, "the connection has ended")
        await end(receiver)


@pytest.mark.asyncio
async def test_server_that_refuses_is_a_reset() -> None:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    async with FaultProxy(address) as proxy:
        with socket.socket() as client:
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, proxy.address)
            assert await end(client) == (b"", "RST")


@pytest.mark.asyncio
async def test_unix_socket_in_front_of_tcp(tmp_path: Path) -> None:
    """Its path is gone afterwards."""
    path = str(tmp_path / "proxy.sock")
    async with linked(path) as connection:
        sender, receiver = connection.ends("upstream")
        await send(sender, b"abc")
        assert await receive(receiver, 3) == b"abc"
        sender.close()
        assert await end(receiver) == (b"", "FIN")
    assert names_in(tmp_path) == []


def names_in(folder: Path) -> list[str]:
    """Return what is in `folder`."""
    return [path.name for path in folder.iterdir()]


# -- more --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_all_that_delay_at_once_changing_lose_nothing() -> None:
    """Both directions, an echo between them, toxics drawn anew all the time."""
    draw = random.Random(1)
    async with linked(socket_buffer_bytes=4096) as connection:
        client, server = connection.ends("upstream")
        loop = asyncio.get_running_loop()
        history = History(3)

        async def echo() -> None:
            while data := await loop.sock_recv(server, 4096):
                await loop.sock_sendall(server, data)
            server.shutdown(socket.SHUT_WR)

        async def change() -> None:
            while True:
                for direction in DIRECTIONS:
                    connection.set(direction, some_toxics(draw))
                await asyncio.sleep(0.01)

        async def upload() -> None:
            for _ in range(60):
                await send(client, history.take(draw.randint(1, 3000)))
            client.shutdown(socket.SHUT_WR)

        tasks = [asyncio.create_task(part()) for part in (echo, change, upload)]
        async with asyncio.timeout(DEADLINE_S):
            while part := await loop.sock_recv(client, 4096):
                history.received(part)
        history.finish(complete=True)
        tasks[1].cancel()
        await asyncio.gather(tasks[0], tasks[2])
        assert {"latency", "slicer", "bandwidth"} <= set(connection.proxy.faults)


def some_toxics(draw: random.Random) -> Toxics:
    """Return what delays, of random strength."""
    return Toxics(
        latency_s=draw.choice([0, 0.001, 0.004]),
        bandwidth_bytes_per_s=draw.choice([1e6, 1e7, float("inf")]),
        slow_close_s=draw.choice([0, 0.01]),
        slicer_bytes=draw.choice([None, 7, 500]),
    )


@pytest.mark.asyncio
async def test_stop_resets_who_is_there() -> None:
    """Nobody waits for ever for a proxy that has gone."""
    async with linked() as connection:
        sender, receiver = connection.ends("upstream")
        await connection.proxy.stop()
        assert await end(sender) == (b"", "RST")
        assert await end(receiver) == (b"", "RST")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"latency_s": -1}, "latency_s is -1; it must be at least 0"),
        ({"jitter_s": 2, "latency_s": 1}, "jitter_s is 2; it must be at most latency_s, 1"),
        ({"bandwidth_bytes_per_s": 0}, "bandwidth_bytes_per_s is 0; it must be above"),
        ({"slicer_bytes": 5, "slicer_variation_bytes": 5}, "must be less than slicer_bytes"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
    ],
)
@pytest.mark.asyncio
async def test_bad_settings_are_refused(settings: dict[str, Any], told: str) -> None:
    """With the value and what is allowed."""
    with pytest.raises(SettingsError, match=told):
        Toxics(**settings)


@pytest.mark.asyncio
async def test_address_in_use_is_told() -> None:
    """And leaves nothing."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        proxy = FaultProxy(("127.0.0.1", 1), taken.getsockname())
        with pytest.raises(OSError, match="in use"):
            await proxy.start()


# -- in a thread -------------------------------------------------------------------------------


def test_thread_serves_blocking_clients_and_takes_changes() -> None:
    """`set` has taken effect when it returns."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        fault_proxy_thread(listener.getsockname()) as proxy,
        socket.create_connection(proxy.address, DEADLINE_S) as client,
    ):
        server, _ = listener.accept()
        with server:
            server.settimeout(DEADLINE_S)
            client.sendall(b"abc")
            assert server.recv(3) == b"abc"
            proxy.set(upstream=Toxics(limit_bytes=5))
            client.sendall(b"defg")
            assert server.recv(9) == b"de"
            assert end_of(server) == "FIN"


def test_thread_tells_that_it_could_not_listen() -> None:
    """To who started it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
        fault_proxy_thread(("127.0.0.1", 1), listen=taken.getsockname()),
    ):
        raise AssertionError("it was entered")


# -- the page ----------------------------------------------------------------------------------


def test_snippets_of_the_page_do_what_they_say() -> None:
    """In its order, each with the names of those before."""
    page = "docs/howto/soak-and-faults.md"
    names: dict[str, Any] = {}
    ran = [(run(code, names, page), promised(code)) for code in snippets(page)]
    assert [printed for printed, _ in ran] == [said for _, said in ran]
    assert [bool(printed) for printed, _ in ran] == [True, True]
