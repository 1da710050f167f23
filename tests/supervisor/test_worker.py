"""worker: connections are told as taken before they are read; orders, heartbeats and ends."""

import array
import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asyncrev import Server
from asyncrev.supervisor import worker as worker_module
from asyncrev.supervisor.worker import Control
from tests.protocol.served import SMALL, gated_swapcase, in_thread
from tests.support import DEADLINE_S, receive_exactly, until

on_all = pytest.mark.asyncio
on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])


class Bench:
    """A control with a server, and the supervisor's end, which the test plays."""

    def __init__(self, *processors: Any, is_full: bool = False) -> None:
        self.orders: list[str] = []
        ours, self.end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self.end.setblocking(False)
        if is_full:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            with contextlib.suppress(BlockingIOError):
                while True:
                    ours.send(b'{"kind":"junk"}')
        self.server = Server(*processors, limits=SMALL)
        self.control = Control(ours, self)
        self.clients: list[socket.socket] = []

    def drain(self) -> None:
        self.orders.append("drain")

    def close(self) -> None:
        self.orders.append("close")

    def reopen(self) -> None:
        self.orders.append("reopen")

    async def start(self) -> None:
        await self.server.start(sock=())
        self.control.start(self.server, {"a": 1})

    def send(self, kind: str, *descriptors: int, **more: Any) -> None:
        data = json.dumps({"kind": kind, **more}).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self.end.sendmsg([data], rights if descriptors else [])

    def hand(self, address: Any = "") -> socket.socket:
        client, other = socket.socketpair()
        client.settimeout(DEADLINE_S)
        self.clients.append(client)
        with other:
            self.send("connection", other.fileno(), address=address)
        return client

    def received(self) -> list[dict[str, Any]]:
        packets = []
        with contextlib.suppress(BlockingIOError):
            while data := self.end.recv(8192):
                packets.append(json.loads(data))
        return packets


@contextlib.asynccontextmanager
async def bench(*processors: Any, is_full: bool = False) -> AsyncIterator[Bench]:
    made = Bench(*processors, is_full=is_full)
    await made.start()
    try:
        yield made
    finally:
        made.control.close()
        await made.server.close()
        for sock in (made.end, *made.clients):
            sock.close()


async def answer(client: socket.socket) -> None:
    client.sendall(b"abc")
    assert await in_thread(receive_exactly, client, 3) == b"cba"


@on_all
async def test_nothing_is_read_before_the_supervisor_can_know_that_it_was_taken() -> None:
    """Else it would give the connection to another worker when this one dies."""
    async with bench(is_full=True) as made:
        client = made.hand()
        client.sendall(b"abc")
        await until(lambda: not made.control._begun.is_set(), "it was received")
        await until(lambda: made.control._telling is None, "it is to be told")
        assert made.server.statistics().accepted == 0
        leaving = asyncio.create_task(made.control.leave())
        made.send("drain")
        await until(lambda: made.orders == ["drain"], "the order came")
        assert not leaving.done()
        packets: list[Any] = []
        await until(
            lambda: packets.extend(made.received()) or made.server.statistics().accepted,
            "it is taken",
        )
        kinds = [packet["kind"] for packet in packets if packet["kind"] != "junk"]
        assert kinds[:2] == ["ready", "taken"]
        await leaving
        assert await in_thread(receive_exactly, client, 3) == b"cba"


@on_all
async def test_several_that_come_together_are_told_once() -> None:
    async with bench() as made:
        for _ in range(30):
            await answer(made.hand())
        clients = [made.hand() for _ in range(30)]
        for client in clients:
            await answer(client)
        taken = [packet["total"] for packet in made.received() if packet["kind"] == "taken"]
        assert taken[-1] == 60
        assert len(taken) <= 31


@on_epoll
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (["127.0.0.1", 7], ("127.0.0.1", 7)),
        (["::1", 7, 0, 2], ("::1", 7, 0, 2)),
        ("", None),
        ("\0name", b"\0name"),
        ("\0\udcff", b"\0\xff"),
        ("/a/path", "/a/path"),
    ],
)
async def test_addresses_are_what_accept_would_have_given(told: Any, expected: Any) -> None:
    async with bench() as made:
        addresses: list[Any] = []
        made.server.on_connection_closed(lambda one: addresses.append(one.info.peer_address))
        client = made.hand(told)
        await answer(client)
        client.close()
        await until(lambda: addresses, "it has ended")
        assert addresses == [expected]


@on_epoll
async def test_counts_are_current_soon_after_an_end_and_not_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ends within 10 ms are told in one packet, before the beat of the next second."""
    monkeypatch.setattr(worker_module, "BEAT_S", 3600.0)
    monkeypatch.setattr(worker_module, "SOON_S", 0.2)
    async with bench() as made:
        clients = [made.hand() for _ in range(10)]
        for client in clients:
            await answer(client)
        made.received()
        for client in clients:
            client.close()
        await until(lambda: made.server.connections.is_idle, "all have ended")
        packets: list[Any] = []
        await until(
            lambda: packets.extend(made.received()) or any(p["ended"] == 10 for p in packets),
            "it is told",
        )
        assert packets == [{"kind": "beat", "connections": 0, "ended": 10, "thread_idle_s": 0.0}]


@on_epoll
async def test_heartbeats_do_not_pile_up_in_front_of_a_supervisor_that_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory is bounded, and what it reads first when it goes on is not an hour old."""
    monkeypatch.setattr(worker_module, "BEAT_S", 0.001)
    async with bench(is_full=True) as made:
        channel = made.control._channel
        assert channel.queued == 1  # ready
        for _ in range(20):
            made.control._beat()
        assert channel.queued == 1
        packets: list[Any] = []
        await until(
            lambda: packets.extend(made.received()) or packets[-1]["kind"] == "beat", "it beats"
        )


@on_epoll
async def test_orders_are_carried_out_and_unknown_ones_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bench() as made:
        for kind in ("reopen", "dance", "drain", "close"):
            made.send(kind)
        await until(lambda: len(made.orders) == 3, "all came")
        assert made.orders == ["reopen", "drain", "close"]
        assert "an order that is not known: 'dance'" in caplog.text


@on_epoll
async def test_descriptors_of_other_orders_are_closed() -> None:
    async with bench() as made:
        client, other = socket.socketpair()
        made.send("reopen", other.fileno())
        other.close()
        client.settimeout(DEADLINE_S)
        assert await in_thread(client.recv, 1) == b""
        client.close()


@on_all
async def test_death_of_the_supervisor_begins_what_was_handed_and_drains(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also what could not be told as taken: nobody else has it."""
    async with bench(is_full=True) as made:
        client = made.hand()
        made.end.close()
        await until(lambda: made.orders == ["drain"], "it is seen")
        await answer(client)
        await made.control.leave()
        made.control.note_stop_word()  # nobody hears it, so this one drains
        assert made.orders == ["drain", "drain"]
        assert "the supervisor is gone" in caplog.text


@on_epoll
async def test_leaving_without_an_order_is_told_and_waits_for_the_answer() -> None:
    """What was handed until then is served, and what comes later is not."""
    async with bench() as made:
        leaving = asyncio.create_task(made.control.leave())
        await until(lambda: {"kind": "draining"} in made.received(), "it is told")
        client = made.hand()
        await answer(client)
        assert not leaving.done()
        made.send("drain")
        await leaving
        client.close()
        assert await made.server.drain()
        late = made.hand()
        assert await in_thread(late.recv, 1) == b""
        totals = [packet["total"] for packet in made.received() if packet["kind"] == "taken"]
        assert totals == [1]


@on_epoll
async def test_leaving_does_not_wait_for_a_supervisor_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections that it does not know to be taken stay its own: nothing of them is read."""
    monkeypatch.setattr(worker_module, "LEAVE_S", 0.05)
    async with bench(is_full=True) as made:
        client = made.hand()
        client.sendall(b"abc")
        await until(lambda: not made.control._begun.is_set(), "it was received")
        await made.control.leave()
        assert made.server.statistics().accepted == 0
        with pytest.raises(ConnectionResetError):  # the copy is closed, with something unread
            await in_thread(client.recv, 1)
        kinds = {packet["kind"] for packet in made.received()}
        assert kinds == {"junk"}
        assert "does not answer; draining without it" in caplog.text


@on_epoll
async def test_connection_without_a_descriptor_is_not_taken() -> None:
    """What came before it in the same iteration is told first: the order says which one it is."""
    async with bench() as made:
        client = made.hand()
        made.send("connection", address="")
        packets: list[Any] = []

        def untaken_is_told() -> bool:
            packets.extend(made.received())
            return {"kind": "untaken", "total": 2} in packets

        await until(untaken_is_told, "it is told")
        told = [packet for packet in packets if packet["kind"] in ("taken", "untaken")]
        assert told == [{"kind": "taken", "total": 1}, {"kind": "untaken", "total": 2}]
        await answer(client)
        client.close()
        await until(lambda: made.control._told_ended == 1, "only the other one has ended")


@on_epoll
async def test_count_of_the_ended_never_falls() -> None:
    """While a connection arrives it counts as open, too."""
    async with bench() as made:
        client = made.hand()
        await answer(client)
        client.close()
        await until(lambda: made.control._told_ended == 1, "it is told")
        made.received()
        made.server.connections.arriving += 1
        made.control._tell_counts()
        made.server.connections.arriving -= 1
        (beat,) = made.received()
        assert beat == {"kind": "beat", "connections": 1, "ended": 1, "thread_idle_s": 0.0}


@on_epoll
async def test_beat_says_for_how_long_a_thread_has_not_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the loop beats; none when it has moved again, or has nothing to do."""
    monkeypatch.setattr(worker_module, "BEAT_S", 0.02)
    gate, gated = gated_swapcase()
    async with bench(gated) as made:
        client = made.hand()
        client.sendall(b"abc")
        idle: list[float] = []

        def last() -> float:
            idle.extend(p["thread_idle_s"] for p in made.received() if p["kind"] == "beat")
            return idle[-1]

        await until(lambda: last() >= 0.2, "it has not moved for long")
        assert idle[0] == 0.0
        assert idle == sorted(idle)
        gate.set()
        assert await in_thread(receive_exactly, client, 3) == b"ABC"
        await until(lambda: last() == 0.0, "it has nothing to do")
