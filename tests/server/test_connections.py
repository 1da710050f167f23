"""connections: who is registered, what is counted, the limit, and the end of all of them."""

import asyncio
from typing import Any

import pytest

from asyncrev.server.connections import Connections
from tests.support import DEADLINE_S, until

on_all = pytest.mark.asyncio
on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])


class Stub:
    """As much of a connection as the registry asks for."""

    def __init__(self, received_bytes: int = 0, replied_bytes: int = 0) -> None:
        self.received_bytes = received_bytes
        self.replied_bytes = replied_bytes
        self.abort_reason: str | None = None
        self.drains = 0
        self.left = 0

    def leave_place(self) -> None:
        self.left += 1

    def abort(self, reason: str, error: BaseException | None) -> None:
        assert error is None
        self.abort_reason = reason

    def drain(self) -> None:
        self.drains += 1


class Stuck(Stub):
    """A connection whose transport fails."""

    def abort(self, reason: str, error: BaseException | None) -> None:
        self.abort_reason = reason
        raise OSError(9, "Bad file descriptor")

    def drain(self) -> None:
        raise OSError(9, "Bad file descriptor")


def registry(*stubs: Any, max_connections: int = 8) -> Any:
    """Return a registry with `stubs` in it; its changes are not reported."""
    made: Any = Connections(max_connections, lambda: None)
    for stub in stubs:
        made.add(stub)
    return made


def test_bytes_of_open_and_removed_connections_add_up() -> None:
    """A connection that was removed counts with what it had then."""
    one, two = Stub(3, 5), Stub(40, 60)
    connections = registry(one, two)
    one.received_bytes = 4
    assert (connections.received_bytes, connections.replied_bytes) == (44, 65)
    connections.remove(one)
    assert (connections.received_bytes, connections.replied_bytes) == (44, 65)
    one.received_bytes = 1000
    connections.remove(one)
    assert (connections.received_bytes, connections.replied_bytes) == (44, 65)
    assert list(connections) == [two]
    assert (one.left > 0, two.left) == (True, 0)  # its place of its address


def test_high_is_the_most_that_were_open_at_once() -> None:
    """Sockets that still arrive are not in it."""
    connections = registry(Stub(), Stub())
    connections.begin_arrival()
    for connection in connections:
        connections.remove(connection)
    connections.add(Stub())
    assert (len(connections), connections.high) == (1, 2)


def test_connections_may_be_removed_while_they_are_visited() -> None:
    """Each is visited once."""
    connections = registry(Stub(), Stub(), Stub())
    visited = []
    for connection in connections:
        connections.remove(connection)
        visited.append(connection)
    assert len(set(visited)) == 3
    assert connections.is_idle


def test_connections_aborted_by_this_side_are_counted_by_reason() -> None:
    """One that the peer ended is not; sockets without a connection are counted apart."""
    late, other, ended = Stub(), Stub(), Stub()
    connections = registry(late, other, ended)
    late.abort("idle deadline", None)
    for connection in (late, late, ended):
        connections.remove(connection)
    connections.count_aborted("TLS handshake deadline", 2)
    connections.count_aborted("drain deadline", 0)
    assert connections.aborted == {"idle deadline": 1, "TLS handshake deadline": 2}
    connections.aborted.clear()
    assert len(connections.aborted) == 2


def test_every_change_of_the_number_is_reported_after_it() -> None:
    """An arrival that ends becomes a connection, or not: both are changes."""
    seen: list[tuple[int, int]] = []
    connections: Any = Connections(8, lambda: seen.append((connections.arriving, len(connections))))
    stub = Stub()
    connections.begin_arrival()
    connections.begin_arrival()
    connections.add(stub)
    connections.end_arrival()
    connections.remove(stub)
    connections.end_arrival()
    assert seen == [(1, 0), (2, 0), (1, 1), (1, 0), (0, 0)]
    assert connections.accepted == 2
    assert connections.is_idle


@on_all
async def test_limit_counts_open_and_arriving() -> None:
    """And is reached by the last one that it allows."""
    connections = registry(Stub(), max_connections=2)
    assert not connections.check_limit()
    connections.begin_arrival()
    assert connections.check_limit()
    connections.end_arrival()
    assert not connections.check_limit()
    connections.close()  # the timer of its notice


@on_all
async def test_wait_empty_returns_when_the_last_one_is_removed() -> None:
    """At once when there is none; an arrival is not waited for."""
    one, two = Stub(), Stub()
    connections = registry(one, two)
    connections.begin_arrival()
    waiting = asyncio.create_task(connections.wait_empty())
    await asyncio.sleep(0)
    connections.remove(one)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    connections.remove(two)
    await waiting
    await connections.wait_empty()


def test_abort_all_forgets_a_connection_that_cannot_be_aborted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody waits for it; the others are removed when their transports say that they are lost."""
    stuck, good = Stuck(7, 9), Stub()
    connections = registry(stuck, good)
    connections.abort_all("drain deadline")
    assert list(connections) == [good]
    assert good.abort_reason == "drain deadline"
    assert connections.aborted == {"drain deadline": 1}
    assert connections.received_bytes == 7
    assert "abort a connection" in caplog.text


@on_epoll
async def test_drain_all_aborts_a_connection_that_cannot_be_drained() -> None:
    """The others are drained."""
    stuck, good = Stuck(), Stub()
    connections = registry(stuck, good)
    await connections.drain_all()
    assert (stuck.abort_reason, good.abort_reason, good.drains) == ("drain failed", None, 1)
    assert list(connections) == [good]


def test_who_watches_is_told_of_arrivals_and_ends_after_the_server() -> None:
    """Which pauses accepting by the same news."""
    told: list[str] = []
    connections = Connections(8, lambda: told.append("server"))
    connections.watch(lambda: told.append(f"watcher {connections.arriving}"))
    connections.begin_arrival()
    stub: Any = Stub()
    connections.add(stub)
    connections.end_arrival()
    connections.remove(stub)
    assert told == ["server", "watcher 1", "server", "watcher 0", "server", "watcher 0"]


@on_epoll
async def test_drain_over_time_tells_one_after_the_other() -> None:
    """At even distances, from the beginning on."""
    stubs = [Stub() for _ in range(8)]
    connections = registry(*stubs)
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    told_s: list[float] = []
    for stub in stubs:
        stub.drain = lambda: told_s.append(loop.time() - begin_s)  # type: ignore[method-assign]
    await connections.drain_all(0.4)
    assert len(told_s) == 8
    # Never early: the one of number n is not told before n eighths of the time.
    assert all(at_s >= n * 0.05 - 0.002 for n, at_s in enumerate(told_s)), told_s
    assert told_s == sorted(told_s)


@on_epoll
async def test_drain_over_time_leaves_out_who_has_gone_meanwhile() -> None:
    """The others are told."""
    stubs = [Stub() for _ in range(4)]
    connections = registry(*stubs)
    draining = asyncio.create_task(connections.drain_all(0.2))
    await until(lambda: any(one.drains for one in stubs), "the first is told")
    gone = next(one for one in stubs if not one.drains)
    connections.remove(gone)
    await draining
    assert [one.drains for one in stubs] == [0 if one is gone else 1 for one in stubs]


@on_epoll
async def test_drain_over_time_tells_nobody_who_has_gone_and_ends_with_the_last() -> None:
    """It does not wait until the end of its time then."""
    stubs = [Stub() for _ in range(4)]
    connections = registry(*stubs)
    draining = asyncio.create_task(connections.drain_all(3600.0))
    await until(lambda: sum(one.drains for one in stubs) == 1, "the first is told")
    for stub in stubs:
        connections.remove(stub)
    async with asyncio.timeout(DEADLINE_S):
        await draining
    assert sum(one.drains for one in stubs) == 1


def test_connection_made_after_the_close_is_aborted_and_registered() -> None:
    """So that its end is waited for."""
    before, after = Stub(), Stub()
    connections = registry(before)
    connections.close()
    connections.close()
    connections.add(after)
    assert (before.abort_reason, after.abort_reason) == (None, "server closed")
    assert len(connections) == 2
