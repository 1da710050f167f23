"""Doors are open while there is a place; those of a slot only while its worker does not serve."""

import asyncio
import socket
from typing import Any

import pytest

from asyncrev.server.listen_sockets import open_tcp_groups
from asyncrev.server.listeners import Listeners
from asyncrev.supervisor.doors import SharedDoors, SlotDoors
from tests.support import until

on_asyncio = pytest.mark.asyncio(loop_factories=["asyncio"])


class Accepting:
    """What was accepted."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def __call__(self, sock: socket.socket, _: Any) -> None:
        self.sockets.append(sock)
        sock.close()


@on_asyncio
async def test_shared_doors_open_and_close() -> None:
    accepting = Accepting()
    listeners = Listeners(accepting, backlog=5, retry_s=0.1)
    await listeners.open("127.0.0.1", 0, uds=None, uds_mode=0o600, sock=None)
    doors = SharedDoors(listeners, 3)
    assert doors.listening == [(), (), ()]
    doors.start()
    before = doors.accepting
    doors.set_open(False, [])
    assert (before, doors.accepting) == (True, False)
    with socket.create_connection(doors.addresses[0]):
        await asyncio.sleep(0.01)
        assert accepting.sockets == []
        doors.set_open(True, [])
        await until(lambda: accepting.sockets, "it is accepted")
    with socket.create_connection(doors.addresses[0]):
        await doors.close(accept_queued=True)
    assert len(accepting.sockets) == 2
    assert doors.addresses == []


@on_asyncio
async def test_slot_doors_serve_for_a_slot_without_a_worker() -> None:
    """Nobody accepts but the supervisor here, so it gets its slots' share."""
    accepted = [Accepting(), Accepting()]
    groups = await open_tcp_groups("127.0.0.1", 0, 50, 2)
    slots = []
    for group, accepting in zip(groups, accepted, strict=True):
        slots.append(Listeners(accepting, backlog=50, retry_s=0.1))
        await slots[-1].open(None, 0, uds=None, uds_mode=0o600, sock=group)
    doors = SlotDoors(slots, [[sock.fileno() for sock in group] for group in groups])
    doors.start()
    doors.set_open(True, [True, True])
    before = doors.accepting
    clients = [socket.create_connection(doors.addresses[0]) for _ in range(40)]
    await asyncio.sleep(0.01)
    assert [len(one.sockets) for one in accepted] == [0, 0]
    doors.set_open(True, [True, False])
    await until(lambda: accepted[1].sockets, "those of its slot are accepted")
    await asyncio.sleep(0.05)
    assert accepted[0].sockets == []
    assert 0 < len(accepted[1].sockets) < 40
    doors.set_open(False, [False, False])
    assert (before, doors.accepting) == (True, False)
    await doors.close(accept_queued=True)
    assert len(accepted[0].sockets) + len(accepted[1].sockets) == 40
    for client in clients:
        client.close()


@on_asyncio
async def test_a_port_that_somebody_else_shares_is_in_use() -> None:
    """Else a second service would take half of the first one's connections."""
    groups = await open_tcp_groups("127.0.0.1", 0, 5, 2)
    port = groups[0][0].getsockname()[1]
    with pytest.raises(OSError, match="in use"):
        await open_tcp_groups("127.0.0.1", port, 5, 2)
    for group in groups:
        for sock in group:
            sock.close()
