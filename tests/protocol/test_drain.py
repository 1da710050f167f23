"""protocol: a drained connection answers what has arrived, and ends without a reset."""

import asyncio
import socket

import pytest

from asyncrev.states import ConnectionState
from tests.protocol.served import (
    KIND,
    SMALL,
    both_families,
    gated_swapcase,
    half_closes,
    in_thread,
    kernel_tells,
    letters,
    plain_only,
    served,
)
from tests.support import is_paused, receive_all, receive_exactly, until

on_all = pytest.mark.asyncio


@on_all
@both_families
async def test_drain_of_an_idle_connection_ends_it(kind: str) -> None:
    """The peer sees an end of stream; draining is idempotent."""
    async with served(kind=kind) as server:
        client = server.connect()
        await until(
            lambda: server.connections and server.connections[0].state is ConnectionState.OPEN,
            "open",
        )
        connection = server.connections[0]
        connection.drain()
        connection.drain()
        assert await in_thread(receive_all, client) == b""
        client.close()
        await until(lambda: connection.state is ConnectionState.LOST, "it is lost")
        assert connection.abort_reason is None


@on_all
@kernel_tells
@both_families
async def test_drain_answers_what_the_kernel_holds(kind: str) -> None:
    """Reading is paused by a slow worker, and most of the input was not read yet."""
    gate, gated = gated_swapcase()
    async with served(gated, kind=kind) as server:
        client = server.connect()
        await in_thread(client.sendall, letters(30_000))
        await until(
            lambda: server.connections and is_paused(server.connections[0]), "reading has paused"
        )
        connection = server.connections[0]
        connection.drain()
        assert connection.received_bytes < 30_000
        gate.set()
        assert await in_thread(receive_all, client) == letters(30_000).swapcase()
        client.close()
        await until(lambda: connection.state is ConnectionState.LOST, "it is lost")


@on_all
@half_closes
async def test_late_input_after_a_drain_does_not_reset_the_replies() -> None:
    """It is dropped until the peer closes."""
    async with served() as server:
        client = server.connect()
        client.sendall(b"early")
        assert await in_thread(receive_exactly, client, 5) == b"EARLY"
        connection = server.connections[0]
        connection.drain()
        await until(lambda: connection.state is ConnectionState.FINISHED, "it has ended its stream")
        for _ in range(20):
            client.sendall(b"late" * 100)
            await asyncio.sleep(0)
        assert await in_thread(receive_all, client) == b""
        assert connection.state is ConnectionState.FINISHED
        client.close()
        await until(lambda: connection.state is ConnectionState.LOST, "it is lost")
        assert KIND == "tls" or connection.received_bytes == 5


@on_all
@plain_only
async def test_peer_that_stays_after_a_drain_is_closed_after_the_linger_time() -> None:
    """But not before it has taken its replies."""
    limits = SMALL.replace(linger_timeout_s=0.01, high_water_bytes=1 << 20)
    limits = limits.replace(in_flight_bytes=1 << 20, in_flight_entries=1000)
    async with served(limits=limits, buffer_bytes=32 * 1024) as server:
        client = server.connect(32 * 1024)
        await in_thread(client.sendall, letters(400_000))
        await until(lambda: server.connections, "it is accepted")
        connection = server.connections[0]
        await until(lambda: connection.received_bytes == 400_000, "all came")
        connection.drain()
        await until(lambda: connection.state is ConnectionState.FINISHED, "it is answered")
        assert connection._transport.get_write_buffer_size()
        connection._transport.get_protocol()._expire()  # the linger time is over
        await asyncio.sleep(0)
        assert connection.state is ConnectionState.FINISHED
        assert not connection._transport.is_closing()
        answer = await in_thread(receive_all, client)
        assert answer == letters(400_000).swapcase()
        await until(lambda: connection.state is ConnectionState.LOST, "it is lost")
        client.close()


@on_all
@half_closes
async def test_drain_whose_input_the_sweep_finds_gone_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was counted may have been read by another way; the sweep looks again."""
    async with served() as server:
        client = server.connect()
        await until(
            lambda: server.connections and server.connections[0].state is ConnectionState.OPEN,
            "open",
        )
        connection = server.connections[0]
        with monkeypatch.context() as patch:
            patch.setattr("asyncrev.connection.input_drain.unread_bytes", lambda transport: 10)
            connection.drain()
        assert connection.state is ConnectionState.OPEN
        connection.on_sweep(0.0)
        client.shutdown(socket.SHUT_WR)
        assert await in_thread(receive_all, client) == b""
        client.close()
        await until(lambda: connection.state is ConnectionState.LOST, "it is lost")
