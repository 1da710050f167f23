"""server: connections that somebody else has accepted, and a drain over time."""

import asyncio
import select
import socket

import pytest

import asyncrev
from asyncrev import Server
from asyncrev.errors import LocalError, SettingsError
from asyncrev.states import ServerState
from tests.protocol.served import SMALL, Swapcase, connect, in_thread
from tests.support import DEADLINE_S, receive_exactly, until

on_all = pytest.mark.asyncio
on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])


def hand_to(server: Server) -> socket.socket:
    """Return a client, the other end of whose connection was handed to `server`."""
    client, other = socket.socketpair()
    client.settimeout(DEADLINE_S)
    server.accept_socket(other, "")
    assert other.gettimeout() == 0
    return client


@on_all
async def test_connections_that_somebody_else_has_accepted_are_served() -> None:
    """Also beyond the limit, at which the server says that it accepts no more."""
    server = Server(limits=SMALL.replace(max_connections=1))
    await server.start(sock=())
    assert server.accepting
    assert repr(server) == "<Server serving nothing connections=0>"
    clients = [hand_to(server) for _ in range(3)]
    assert not server.accepting
    for client in clients:
        client.sendall(b"abc")
        assert await in_thread(receive_exactly, client, 3) == b"cba"
    statistics = server.statistics()
    assert (statistics.accepted, statistics.connections) == (3, 3)
    for client in clients:
        client.close()
    await until(lambda: server.accepting, "it has room again")
    assert await server.drain()
    assert not server.accepting
    assert server.statistics().aborted == {}


@on_epoll
@pytest.mark.parametrize("state", ["new", "draining", "closed"])
async def test_handed_connection_that_cannot_be_served_is_closed(state: str) -> None:
    """Nobody else has the socket."""
    server = Server(Swapcase, limits=SMALL)
    draining = client = None
    if state != "new":
        await server.start(sock=())
        client = hand_to(server)
        await until(lambda: len(server.connections) == 1, "it is served")
    if state == "draining":
        draining = asyncio.create_task(server.drain(3600.0, spread_s=900.0))
        await until(lambda: server.state is ServerState.DRAINING, "it drains")
    elif state == "closed":
        await server.close()
    late, other = socket.socketpair()
    with late:
        with pytest.raises(LocalError, match=f"the server is {state}; it takes no connections"):
            server.accept_socket(other, "")
        assert other.fileno() == -1
    if client is not None:
        client.close()
    if draining is not None:
        assert await draining
    await server.close()


@on_all
async def test_drain_over_time_serves_those_that_are_not_told_yet() -> None:
    """The first of three ends at once; the others are answered until their turn comes."""
    async with await asyncrev.serve("127.0.0.1", 0, limits=SMALL) as server:
        clients = [connect(server) for _ in range(3)]
        await until(lambda: len(server.connections) == 3, "all are there")
        draining = asyncio.create_task(server.drain(3600.0, spread_s=900.0))
        readable = await until(lambda: select.select(clients, [], [], 0)[0], "one is told")
        assert len(readable) == 1
        assert readable[0].recv(1) == b""
        for client in clients:
            if client not in readable:
                client.sendall(b"abc")
                assert await in_thread(receive_exactly, client, 3) == b"cba"
        assert not draining.done()
        for client in clients:
            client.close()
        async with asyncio.timeout(DEADLINE_S):  # not the rest of its time
            assert await draining


@on_epoll
async def test_close_during_a_drain_over_time_ends_it() -> None:
    """It says that not all were answered."""
    async with await asyncrev.serve("127.0.0.1", 0, limits=SMALL) as server:
        with connect(server), connect(server):
            await until(lambda: len(server.connections) == 2, "both are there")
            draining = asyncio.create_task(server.drain(3600.0, spread_s=900.0))
            await until(lambda: server.state is ServerState.DRAINING, "it drains")
            await server.close()
            async with asyncio.timeout(DEADLINE_S):
                assert not await draining


@on_epoll
@pytest.mark.parametrize("spread_s", [-1.0, 10.5, float("inf"), float("nan")])
async def test_spread_that_is_no_part_of_the_drain_is_refused(spread_s: float) -> None:
    """And the server serves on."""
    async with await asyncrev.serve("127.0.0.1", 0, limits=SMALL) as server:
        with pytest.raises(SettingsError, match=r"must lie between 0 and the timeout, 10"):
            await server.drain(10.0, spread_s=spread_s)
        with connect(server) as client:
            client.sendall(b"abc")
            assert await in_thread(receive_exactly, client, 3) == b"cba"
