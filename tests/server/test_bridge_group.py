"""bridge_group: several bridges as one, and servers on them."""

import asyncio
import hashlib
import socket
import threading
from typing import Any

import pytest

import asyncrev
from asyncrev import Bridge, Limits, Server
from asyncrev.errors import SettingsError, WorkerDied, WorkerHung
from asyncrev.server.bridge_group import BridgeGroup, most_threads
from asyncrev.statistics import total
from tests.protocol.served import SMALL, connect, in_thread, letters
from tests.sinks import Held, RecordingSink
from tests.support import DEADLINE_S, receive_exactly, until

on_all = pytest.mark.asyncio
on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])


@pytest.mark.parametrize("threads", [0, -1, 1.5])
def test_number_of_threads_must_be_one_or_more(threads: Any) -> None:
    """The message has what was given."""
    with pytest.raises(SettingsError) as caught:
        Server(threads=threads)
    assert str(caught.value) == f"threads is {threads!r}; it must be a whole number >= 1"


@pytest.mark.parametrize(("cores", "most"), [(1, 64), (16, 64), (32, 128), (None, 64)])
def test_number_of_threads_is_bounded_by_the_machine(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, most: int
) -> None:
    """Before any ring is made: a port given by mistake would take all memory."""
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert most_threads() == most
    with pytest.raises(SettingsError) as caught:
        Server(threads=9090)
    assert str(caught.value) == (
        f"threads is 9090; it must be at most {most} on this machine, which is 64, or four times "
        "its cores where that is more"
    )


def test_threads_and_a_bridge_together_are_refused() -> None:
    """Which of them should do the work?"""
    with pytest.raises(SettingsError, match="threads is 2; a server on a bridge that it was given"):
        Server(bridge=Bridge(), threads=2)


@on_all
async def test_connections_are_spread_over_named_threads_and_stay_there() -> None:
    """Each connection's chunks are all worked on by one thread, in order."""
    names: dict[bytes, set[str]] = {}

    def note(data: bytes) -> bytes:
        names.setdefault(data[:1], set()).add(threading.current_thread().name)
        return data

    def talk(client: socket.socket, letter: bytes) -> None:
        for _ in range(20):
            client.sendall(letter)
            assert receive_exactly(client, 1) == letter

    async with await asyncrev.serve("127.0.0.1", 0, processor=note, threads=3) as server:
        assert len(server.bridges) == 3
        clients = [connect(server) for _ in range(6)]
        await until(lambda: server.statistics().connections == 6, "they are connected")
        assert [bridge.open_lanes for bridge in server.bridges] == [2, 2, 2]
        talks = (in_thread(talk, c, b"%c" % (97 + n)) for n, c in enumerate(clients))
        await asyncio.gather(*talks)
        for client in clients:
            client.close()
        statistics = server.statistics()
        assert len(statistics.bridges) == 3
        assert statistics.bridge.published == sum(b.published for b in statistics.bridges) >= 120
    assert len(names) == 6
    assert all(len(threads) == 1 for threads in names.values())
    assert set.union(*names.values()) == {f"asyncrev-worker-{number}" for number in range(3)}


@on_epoll
async def test_two_threads_release_the_gil_at_the_same_time() -> None:
    """Neither hash waits for the other to end: both are begun before either goes on."""
    both = threading.Barrier(2, timeout=DEADLINE_S)

    def digest(data: bytes) -> bytes:
        both.wait()
        return hashlib.sha256(data).digest()

    def talk(client: socket.socket, data: bytes) -> bytes:
        with client:
            client.sendall(data)
            return receive_exactly(client, 32)

    async with await asyncrev.serve("127.0.0.1", 0, processor=digest, threads=2) as server:
        clients = [connect(server) for _ in range(2)]
        await until(lambda: server.statistics().connections == 2, "they are connected")
        data = [letters(100, seed) for seed in range(2)]
        replies = await asyncio.gather(
            *(in_thread(talk, *pair) for pair in zip(clients, data, strict=True))
        )
    assert replies == [hashlib.sha256(part).digest() for part in data]


@on_epoll
async def test_start_that_fails_at_the_second_thread_leaves_none() -> None:
    """`nothing_is_left` would find the first."""
    group = BridgeGroup(SMALL, threads=2)

    def fail() -> None:
        raise RuntimeError("can't start new thread")

    group.bridges[1].start = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="new thread"):
        group.start()
    await group.bridges[0].wait_ended()
    assert not group.bridges[0].is_running


@on_epoll
async def test_shared_bridge_is_neither_started_nor_closed() -> None:
    """That is its owner's business."""
    bridge = Bridge(SMALL)
    group = BridgeGroup(SMALL, shared=bridge)
    group.start()
    assert not bridge.is_running
    async with bridge:
        await group.close(1.0)
        assert bridge.is_running
        assert group.choose() is bridge


@on_epoll
@pytest.mark.usefixtures("broken_lane")
async def test_death_of_one_worker_closes_the_server(loop_errors: list[dict[str, Any]]) -> None:
    """The other bridge is closed in good order; who serves is told."""
    server = await asyncrev.serve("127.0.0.1", 0, limits=SMALL, threads=2)
    with connect(server) as client:
        serving = asyncio.ensure_future(server.serve_forever())
        await in_thread(client.sendall, b"die")
        with pytest.raises(WorkerDied):
            await serving
    assert not any(bridge.is_running for bridge in server.bridges)
    loop_errors.clear()


@on_epoll
async def test_worker_that_hangs_is_told_when_the_others_are_closed() -> None:
    """One processor that does not return keeps one thread, not all."""
    held = Held()
    group = BridgeGroup(SMALL, threads=2)
    group.start()
    RecordingSink(group.bridges[0], lambda: held).send(b"x")
    await until(held.entered.is_set, "the worker has begun")
    with pytest.raises(WorkerHung, match="asyncrev-worker-0"):
        await group.close(0.01)
    assert not group.bridges[1].is_running
    held.go.set()
    await group.close(DEADLINE_S)


@pytest.mark.parametrize("framing", ["raw", "line"])
def test_memory_bound_grows_by_a_bridge_for_each_thread(framing: str) -> None:
    """Ring, pool and overflow buffer; connections are as many as before."""
    limits = Limits()
    one, three = (Server(framing=framing, threads=threads) for threads in (1, 3))
    more = limits.bridge_bytes if framing == "raw" else limits.framed_bridge_bytes
    assert three.memory_bound_bytes - one.memory_bound_bytes == 2 * more
    assert more >= limits.ring_bytes


@on_epoll
async def test_total_adds_counters_and_takes_the_largest_of_the_most() -> None:
    """And so are the pools."""
    async with Bridge(SMALL) as first, Bridge(SMALL) as second:
        for bridge, count in ((first, 2), (second, 3)):
            for number in range(count):
                await bridge.submit(b"%d" % number)
        await until(lambda: not (first.open_lanes or second.open_lanes), "all is over")
        parts = [first.statistics(), second.statistics()]
    whole = total(parts)
    assert whole.published == parts[0].published + parts[1].published == 3 * 5
    assert whole.worker_largest_batch == max(part.worker_largest_batch for part in parts)
    assert whole.entries_in_use_high == max(part.entries_in_use_high for part in parts)
    assert whole.pool.kept_bytes == sum(part.pool.kept_bytes for part in parts)
    assert total(parts[:1]) is parts[0]
