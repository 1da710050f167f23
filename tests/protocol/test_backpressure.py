"""protocol: a slow peer stops the reading, a lost one is found, and nobody gets foreign bytes."""

import asyncio
import logging
import socket
import threading
from typing import Any

import pytest

from asyncrev import Limits
from asyncrev.states import ConnectionState
from tests.protocol.served import (
    SMALL,
    both_families,
    gated_swapcase,
    in_thread,
    kernel_tells,
    letters,
    plain_only,
    reset,
    resets,
    served,
)
from tests.support import is_paused, receive_all, receive_exactly, until

on_all = pytest.mark.asyncio
BUFFER_BYTES = 32 * 1024


@on_all
@plain_only
@both_families
async def test_slow_reader_stops_the_reading_and_loses_no_byte(kind: str) -> None:
    """I8: what is received stays under a bound while the client goes on sending."""
    data = letters(1_000_000)
    read_on = threading.Event()

    def send(client: socket.socket) -> None:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)

    def receive(client: socket.socket) -> bytes:
        assert read_on.wait(10)
        return receive_all(client)

    async with served(kind=kind, buffer_bytes=BUFFER_BYTES) as server:
        client = server.connect(BUFFER_BYTES)
        sending = asyncio.create_task(in_thread(send, client))
        receiving = asyncio.create_task(in_thread(receive, client))
        await until(
            lambda: server.connections and is_paused(server.connections[0]), "reading has paused"
        )
        connection = server.connections[0]
        seen = -1

        def settled() -> bool:
            nonlocal seen
            before, seen = seen, connection.received_bytes
            stats = server.bridge.statistics()
            return before == seen and stats.published == stats.released and is_paused(connection)

        await until(settled, "nothing moves any more")
        kernel_bytes = 4 * BUFFER_BYTES  # doubled by the kernel: the replies' way, both ends
        bound_bytes = SMALL.in_flight_bytes + SMALL.high_water_bytes + SMALL.slot_bytes
        assert connection.received_bytes <= bound_bytes + kernel_bytes
        assert connection._transport.get_write_buffer_size() <= bound_bytes
        still_sending = not sending.done()
        read_on.set()
        assert await receiving == data.swapcase()
        await sending
        assert still_sending
        client.close()


@on_all
@plain_only
async def test_quota_of_a_connection_holds_while_the_worker_is_slow() -> None:
    """I8: no more entries and bytes in flight than the quota and the chunk that reached it."""
    gate, gated = gated_swapcase()
    async with served(gated) as server:
        client = server.connect()
        sending = asyncio.create_task(in_thread(client.sendall, letters(50_000)))
        await until(
            lambda: server.connections and is_paused(server.connections[0]), "reading has paused"
        )
        connection = server.connections[0]
        assert connection.received_bytes <= SMALL.in_flight_bytes + SMALL.slot_bytes
        gate.set()
        answer = await in_thread(receive_exactly, client, 50_000)
        assert answer == letters(50_000).swapcase()
        await sending
        client.close()


@on_all
@kernel_tells
async def test_sweep_aborts_a_peer_that_takes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The write stall, in virtual time."""
    limits = SMALL.replace(write_stall_timeout_s=5)
    async with served(limits=limits, buffer_bytes=BUFFER_BYTES) as server:
        client = server.connect(BUFFER_BYTES)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        sending = asyncio.create_task(loop.sock_sendall(client, letters(1_000_000)))
        await until(
            lambda: server.connections and server.connections[0]._transport.get_write_buffer_size(),
            "replies wait",
        )
        connection = server.connections[0]
        sizes: list[int] = []

        def settled() -> bool:
            stats = server.bridge.statistics()
            sizes.append(connection.replied_bytes)
            return sizes[-2:-1] == sizes[-1:] and stats.published == stats.released

        await until(settled, "nothing moves any more")
        connection.on_sweep(100.0)
        connection.on_sweep(104.9)
        assert connection.abort_reason is None
        with caplog.at_level(logging.WARNING, "asyncrev"):
            connection.on_sweep(105.1)
        assert connection.abort_reason == "write stall"
        assert "took none of" in caplog.text
        connection.abort("again", None)
        await until(lambda: connection.state is ConnectionState.LOST, "it is lost")
        connection.abort("once more", None)
        assert connection.abort_reason == "write stall"
        sending.cancel()
        await asyncio.wait([sending])
        client.close()


@on_all
@resets
async def test_sweep_finds_a_peer_that_was_reset_while_reading_is_paused() -> None:
    """Only our own transport notices by itself."""
    gate, gated = gated_swapcase()
    async with served(gated) as server:
        client = server.connect()
        await in_thread(client.sendall, letters(20_000))
        await until(
            lambda: server.connections and is_paused(server.connections[0]), "reading has paused"
        )
        reset(client)
        connection = server.connections[0]

        def swept() -> bool:
            if connection.state is ConnectionState.OPEN:
                connection.on_sweep(0.0)
            return connection.state is ConnectionState.LOST

        await until(swept, "it was found")
        gate.set()


@on_all
@resets
@pytest.mark.parametrize("state", ["before any byte", "mid-data", "paused", "half-closed"])
async def test_reset_in_every_state_is_nobodys_traceback(state: str) -> None:
    """The connection is lost, its entries are settled, and the next one is served."""
    gate, gated = gated_swapcase()
    async with served(gated) as server:
        client = server.connect()
        await until(
            lambda: server.connections and server.connections[0].state is ConnectionState.OPEN,
            "open",
        )
        connection = server.connections[0]
        if state == "mid-data":
            client.sendall(b"abc")
            await until(lambda: connection.received_bytes, "it came")
        elif state == "paused":
            await in_thread(client.sendall, letters(20_000))
            await until(lambda: is_paused(connection), "reading has paused")
        elif state == "half-closed":
            client.sendall(b"abc")
            client.shutdown(socket.SHUT_WR)
            await until(lambda: connection.state is ConnectionState.ANSWERING, "the end came")
        reset(client)
        gate.set()
        await until(lambda: connection.state is ConnectionState.LOST, "it is lost")

        def settled() -> bool:
            stats = server.bridge.statistics()
            return stats.published == stats.released and not stats.lanes

        await until(settled, "nothing is in flight")

        def ask() -> bytes:
            with server.connect() as other:
                other.sendall(b"next")
                return receive_exactly(other, 4)

        assert await in_thread(ask) == b"NEXT"


@on_all
@resets
async def test_storm_of_reused_descriptors_gives_nobody_foreign_bytes() -> None:
    """Every client has a tag of its own; half of them leave without their replies."""
    foreign: list[Any] = []

    def storm(server: Any, number: int) -> None:
        for turn in range(25):
            tag = bytes([97 + (number * 25 + turn) % 26])
            with server.connect() as client:
                client.sendall(tag * 3000)
                if turn % 2:
                    reset(client)
                else:
                    answer = receive_exactly(client, 3000)
                    if answer != tag.upper() * 3000:
                        foreign.append((tag, answer))

    limits = Limits(slots=4, entries=4, slot_bytes=512, in_flight_bytes=1024)
    async with served(limits=limits) as server:
        await asyncio.gather(*(in_thread(storm, server, number) for number in range(4)))
        assert not foreign
        assert len(server.connections) == 100
