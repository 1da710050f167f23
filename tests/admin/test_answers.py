"""answers: what a server says of itself, in slices, while it serves."""

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asyncrev import Limits, Server
from asyncrev.admin import answers as module
from asyncrev.admin.answers import PAUSED_BY, Answers
from tests.protocol.served import gated_swapcase
from tests.support import DEADLINE_S, until

pytestmark = pytest.mark.asyncio

SMALL = Limits(
    slots=4,
    entries=4,
    slot_bytes=1024,
    in_flight_bytes=2048,
    in_flight_entries=2,
    high_water_bytes=1024,
    max_connections=50,
)


@contextlib.asynccontextmanager
async def answering(*args: Any, **more: Any) -> AsyncIterator[tuple[Server, Answers]]:
    async with Server(*args, **{"limits": SMALL, **more}) as server:
        await server.start("127.0.0.1", 0)
        yield server, Answers(server)


@contextlib.asynccontextmanager
async def clients(server: Server, number: int) -> AsyncIterator[list[socket.socket]]:
    """Connect `number` clients, and wait until the server has them."""
    before = len(server.connections)
    with contextlib.ExitStack() as stack:
        socks = []
        for _ in range(number):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
            socks.append(sock)
        await until(lambda: len(server.connections) == before + number, "all are open")
        yield socks


async def ask(sock: socket.socket, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, data)
    parts = b""
    while len(parts) < len(data):
        parts += await loop.sock_recv(sock, 65536)
    return parts


async def test_health_has_state_limits_and_threads() -> None:
    """What readiness and liveness need, before the start and after a stop, too."""
    async with Server(limits=SMALL, threads=2) as server:
        answers = Answers(server)
        assert answers.health()["state"] == "new"
        assert answers.health()["accepting"] is False
        await server.start("127.0.0.1", 0)
        assert await answers.answer("health", {}) == {
            "state": "serving",
            "stopping": False,
            "accepting": True,
            "connections": 0,
            "max_connections": 50,
            "threads": [{"published": 0, "processed": 0, "steps": 0}] * 2,
        }
        answers.is_stopping = True
        assert answers.health()["stopping"] is True
    assert answers.health()["accepting"] is False


async def test_hung_worker_shows_in_its_cursors() -> None:
    """Published, and not processed."""
    gate, gated = gated_swapcase()
    async with answering(gated) as (server, answers), clients(server, 1) as (sock,):
        asking = asyncio.create_task(ask(sock, b"abc"))
        await until(lambda: answers.health()["threads"][0]["published"], "it is published")
        assert answers.health()["threads"] == [{"published": 1, "processed": 0, "steps": 0}]
        gate.set()
        assert await asking == b"ABC"


async def test_statistics_are_plain_json_with_limits() -> None:
    """As they travel between processes."""
    async with answering() as (server, answers), clients(server, 2) as socks:
        for sock in socks:
            assert await ask(sock, b"abc") == b"cba"
        said = await answers.answer("statistics", {})
        assert json.loads(json.dumps(said, allow_nan=False)) == said
        assert said["statistics"]["received_bytes"] == 6
        assert said["statistics"]["connections"] == 2
        assert said["limits"] == {
            "max_connections": 50,
            "ring_entries": 4,
            "pool_bytes": SMALL.pool_bytes,
            "tls_handshakes_in_flight": SMALL.tls_handshakes_in_flight,
        }
        assert said["paused"] == dict.fromkeys(PAUSED_BY, 0)


async def test_totals_lose_and_double_nothing_while_connections_come_and_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection that ends between two slices is counted once."""
    monkeypatch.setattr(module, "SLICE", 1)
    async with answering() as (server, answers), clients(server, 8) as socks:
        for sock in socks:
            await ask(sock, b"abcd")
        before = (await answers.statistics())["statistics"]
        counting = asyncio.create_task(answers.statistics())
        await asyncio.sleep(0)
        for one in list(server.connections)[:4]:
            one.abort("refused", None)
        said = (await counting)["statistics"]
        await until(lambda: len(server.connections) == 4, "some have ended")
        after = (await answers.statistics())["statistics"]
    totals = [(found["received_bytes"], found["replied_bytes"]) for found in (before, said, after)]
    assert totals == [(32, 32)] * 3


async def test_slices_let_the_loop_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between all of them; for many connections there are no more than so many."""
    monkeypatch.setattr(module, "SLICE", 2)
    monkeypatch.setattr(module, "MOST_SLICES", 5)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with answering() as (server, answers), clients(server, 30):
        counting = asyncio.create_task(count())
        await answers.statistics()
        slices = turns
        counting.cancel()
    assert 4 <= slices <= 7


@pytest.mark.asyncio(loop_factories=["epoll", "asyncio"])
async def test_pauses_are_counted_by_what_they_wait_for() -> None:
    """The quota of a connection, the ring of all, and a peer that reads nothing."""
    gate, gated = gated_swapcase()
    async with answering(gated) as (server, answers), clients(server, 3) as socks:
        sending: list[asyncio.Task[None]] = []
        paused: dict[str, int] = {}

        def send(sock: socket.socket) -> None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            everything = asyncio.get_running_loop().sock_sendall(sock, b"a" * 8_000_000)
            sending.append(asyncio.create_task(everything))

        async def wait_paused(by: str, number: int) -> None:
            nonlocal paused
            async with asyncio.timeout(DEADLINE_S):
                while paused.get(by) != number:
                    await asyncio.sleep(0.01)  # the worker needs the GIL, too
                    paused = (await answers.statistics())["paused"]

        try:
            send(socks[0])
            await wait_paused("quota", 1)
            send(socks[1])
            await wait_paused("quota", 2)
            send(socks[2])
            await wait_paused("ring", 1)
            assert sum(paused.values()) == 3
            listed = (await answers.connections())["connections"]
            assert sorted(one["paused_by"] for one in listed) == [["quota"], ["quota"], ["ring"]]
            gate.set()
            await wait_paused("write", 3)
        finally:
            gate.set()
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)


async def test_connections_are_those_with_the_most() -> None:
    """The largest first, as many as asked for."""
    async with answering() as (server, answers), clients(server, 5) as socks:
        for number, sock in enumerate(socks):
            await ask(sock, b"x" * (number + 1))
        names = ["{}:{}".format(*sock.getsockname()) for sock in socks]
        said = await answers.answer("connections", {"sort": "received", "limit": 2})
        assert [one["peer"] for one in said["connections"]] == [names[4], names[3]]
        assert said["open"] == 5
        first = said["connections"][0]
        assert (first["received_bytes"], first["replied_bytes"]) == (5, 5)
        assert (first["state"], first["paused_by"], first["tls"]) == ("open", [], None)
        oldest = await answers.connections("age")
        ages_s = [one["open_s"] for one in oldest["connections"]]
        # They are read one after the other, and those of uvloop are whole milliseconds.
        assert all(older > younger - 0.1 for older, younger in itertools.pairwise(ages_s))
        oldest_first = [
            one.made_s for one in await module._most(list(server.connections), "age", 5)
        ]
        assert oldest_first == sorted(oldest_first)
        assert len(ages_s) == 5
        assert json.loads(json.dumps(oldest)) == oldest
        assert (await answers.connections(limit=0))["connections"] == []


async def test_bad_questions_are_refused() -> None:
    """With what is allowed."""
    async with answering() as (_, answers):
        with pytest.raises(ValueError, match="bytes, received"):
            await answers.connections("name")
        with pytest.raises(ValueError, match="limit is 1001"):
            await answers.connections("bytes", 1001)
        with pytest.raises(ValueError, match="nobody answers"):
            await answers.answer("secrets", {})
