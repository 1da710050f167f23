"""core_follower: threads get more cores while chunks are long, and one while they are short."""

import asyncio
import itertools
import logging
import os
import types
from collections.abc import Collection, Set
from typing import Any

import pytest

from asyncrev.command import core_follower
from asyncrev.command.core_follower import (
    LEAST_IDLE_S,
    LEAST_LONG_BYTES,
    LEAST_SHORT_ENTRIES,
    LONG_FROM_BYTES,
    SHORT_TO_BYTES,
    CoreFollower,
    following,
)
from tests.support import until

on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])

ALL = frozenset({0, 1, 2})
ONE = frozenset({1})
MANY = 10_000  # entries in a second
OTHERS = frozenset({4321})  # threads that are not the command's

LONG, BETWEEN, SHORT = LONG_FROM_BYTES, LONG_FROM_BYTES - 1, SHORT_TO_BYTES


class Load:
    """Seconds of load, one after the other."""

    def __init__(self) -> None:
        self.follower = CoreFollower(1, ALL)
        self.entries = self.received_bytes = 0
        self.idle_s = dict.fromkeys(range(4), 100.0)
        self.follower.look(0, 0, self.idle_s)

    def second(
        self, mean_bytes: int, entries: int = MANY, idle_s: tuple[float, ...] = (0, 0, 0.5, 0)
    ) -> frozenset[int]:
        """Return the cores after a second with chunks of `mean_bytes`; `idle_s` of cores 0 to 3."""
        before = self.follower.cpus
        self.entries += entries
        self.received_bytes += mean_bytes * entries
        self.idle_s = {cpu: idle_s[cpu] + self.idle_s[cpu] for cpu in self.idle_s}
        changed = self.follower.look(self.entries, self.received_bytes, self.idle_s)
        assert changed == (self.follower.cpus != before)
        return self.follower.cpus


def test_begins_on_one_core_and_stays_there_for_short_chunks() -> None:
    """However many."""
    load = Load()
    assert load.follower.cpus == ONE
    assert [load.second(SHORT, entries) for entries in (0, 1, MANY, 10 * MANY)] == [ONE] * 4


def test_long_chunks_get_all_cores_and_short_ones_lose_them() -> None:
    """The second second in succession decides."""
    load = Load()
    does = [LONG, LONG, LONG, SHORT, SHORT, SHORT, LONG, LONG]
    assert [load.second(mean) for mean in does] == [ONE, ALL, ALL, ALL, ONE, ONE, ONE, ALL]


def test_load_that_changes_each_second_changes_nothing() -> None:
    """Nor does one between the two lengths, on either side."""
    load = Load()
    assert {load.second(mean) for mean in [LONG, SHORT, LONG, BETWEEN, LONG, SHORT]} == {ONE}
    load.second(LONG)
    assert load.second(LONG) == ALL
    assert {load.second(mean) for mean in [SHORT, LONG, SHORT, BETWEEN, SHORT + 1] * 2} == {ALL}


def test_second_with_few_chunks_says_nothing() -> None:
    """A little needs no core of its own; and a pause is no change of load."""
    load = Load()
    few = LEAST_LONG_BYTES // (1 << 20) - 1
    assert {load.second(1 << 20, few) for _ in range(5)} == {ONE}
    load.second(1 << 20, few + 1)
    assert load.second(1 << 20, few + 1) == ALL
    assert {load.second(SHORT, some) for some in (0, 10, LEAST_SHORT_ENTRIES - 1)} == {ALL}
    load.second(SHORT, LEAST_SHORT_ENTRIES)
    assert load.second(SHORT, LEAST_SHORT_ENTRIES) == ONE


def test_pauses_in_a_load_do_not_hide_it() -> None:
    """A second that says nothing does not count, either way."""
    load = Load()
    assert [load.second(mean) for mean in (LONG, 0, 0, LONG)] == [ONE, ONE, ONE, ALL]
    assert [load.second(SHORT, some) for some in (MANY, 0, 3, MANY)] == [ALL, ALL, ALL, ONE]


def test_cores_that_others_keep_busy_are_not_taken() -> None:
    """Nor is one that is not allowed, or the one that is used now."""
    load = Load()
    busy = (LEAST_IDLE_S - 0.01, 0.9, 0.0, 0.9)
    assert {load.second(LONG, idle_s=busy) for _ in range(5)} == {ONE}
    free = (LEAST_IDLE_S, 0.0, 0.0, 0.0)
    assert [load.second(LONG, idle_s=free) for _ in range(2)] == [ONE, ALL]


def test_where_idle_time_cannot_be_seen_nothing_changes() -> None:
    """As before there was a choice."""
    follower = CoreFollower(1, ALL)
    for second in range(1, 6):
        assert not follower.look(second * MANY, second * MANY * LONG, {})


class Server:
    """Says of itself what the test wants; each second has MANY chunks."""

    def __init__(self, mean_bytes: int) -> None:
        self.mean_bytes = mean_bytes
        self.entries = self.received_bytes = self.asked = 0

    def statistics(self) -> Any:
        """Go a second on."""
        self.asked += 1
        self.entries += MANY
        self.received_bytes += MANY * self.mean_bytes
        bridge = types.SimpleNamespace(published=self.entries)
        return types.SimpleNamespace(bridge=bridge, received_bytes=self.received_bytes)


async def until_asked(server: Server, times: int) -> None:
    """Wait for so many more looks."""
    wanted = server.asked + times
    await until(lambda: server.asked >= wanted, "it has looked")


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Collection[int], ...]]:
    """Where the threads were moved; a second takes no time, and leaves all cores idle."""
    found: list[tuple[Collection[int], ...]] = []
    seconds = itertools.count()
    monkeypatch.setattr(
        core_follower, "idle_of_cpus", lambda: dict.fromkeys(ALL, float(next(seconds)))
    )

    def move(before: Set[int], cpus: Set[int], others: Set[int]) -> frozenset[int]:
        found.append((before, cpus))
        assert others == (frozenset() if len(found) == 1 else OTHERS)
        return OTHERS

    monkeypatch.setattr(core_follower, "move_threads", move)
    monkeypatch.setattr(core_follower, "_LOOK_S", 0)
    return found


@on_epoll
async def test_threads_are_moved_once_per_change(moves: list[tuple[Collection[int], ...]]) -> None:
    """And no more after the block."""
    server = Server(LONG)
    with following(server, 1, ALL):
        await until_asked(server, 5)
        assert moves == [(ONE, ALL)]
        server.mean_bytes = SHORT
        await until_asked(server, 5)
        assert moves == [(ONE, ALL), (ALL, ONE)]
    asked = server.asked
    for _ in range(5):
        await asyncio.sleep(0)
    assert server.asked <= asked + 1


@on_epoll
@pytest.mark.parametrize(("cpu", "more"), [(None, ALL), (1, frozenset()), (1, ONE)])
async def test_nothing_is_followed_where_there_is_no_choice(
    moves: list[tuple[Collection[int], ...]], cpu: int | None, more: frozenset[int]
) -> None:
    """--cpu N, --cpu any, or a machine with one core."""
    server = Server(LONG)
    with following(server, cpu, more):
        for _ in range(5):
            await asyncio.sleep(0)
    assert not server.asked


@on_epoll
async def test_system_that_refuses_is_asked_once(
    moves: list[tuple[Collection[int], ...]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Serving goes on, on the core it is on."""

    def refuse(*_: Collection[int]) -> None:
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(core_follower, "move_threads", refuse)
    server = Server(LONG)
    with caplog.at_level(logging.WARNING), following(server, 1, ALL):
        await until_asked(server, 3)
        for _ in range(5):
            await asyncio.sleep(0)
    assert server.asked == 3  # the first has no idle time to compare
    (record,) = caplog.records
    assert record.getMessage().startswith("--cpu auto: the threads stay where they are: Operation")
