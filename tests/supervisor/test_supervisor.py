"""The supervisor: balance, hand-over, restarts, reloads and ends, with workers that do nothing."""

import asyncio
import collections
import os
import signal

import pytest

from asyncrev.supervisor.plan import Plan
from asyncrev.supervisor.supervisor import LOOK_S
from tests.supervisor.service import plan, serving
from tests.support import until

pytestmark = pytest.mark.usefixtures("soon")
on_asyncio = pytest.mark.asyncio(loop_factories=["asyncio"])


# -- balance -----------------------------------------------------------------------------------


@on_asyncio
async def test_connections_are_spread_evenly() -> None:
    async with serving(workers=3) as service:
        clients = await service.clients(60)
        counts = collections.Counter(client.worker for client in clients)
        assert counts == {0: 20, 1: 20, 2: 20}


@on_asyncio
async def test_the_next_go_to_who_has_fewest() -> None:
    """After one worker's connections have ended."""
    async with serving(workers=2) as service:
        clients = await service.clients(20)
        for client in clients:
            if client.worker == 0:
                client.close()
        await until(lambda: service.supervisor.open_connections == 10, "the ends are known")
        assert {client.worker for client in await service.clients(10)} == {0}


@on_asyncio
async def test_nothing_is_accepted_beyond_the_limits() -> None:
    """It waits in the kernel until there is a place."""
    async with serving(workers=2, first=plan(most_connections=3)) as service:
        clients = await service.clients(6)
        assert not service.supervisor.accepting
        late = await service.connect()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(late.reader.readline(), 0.1)
        clients[0].close()
        await late.greeting()
        assert late.worker == clients[0].worker


# -- ends --------------------------------------------------------------------------------------


@on_asyncio
async def test_drain_takes_who_is_queued_and_ends_cleanly() -> None:
    """Beyond the limits of workers, too: nobody would take them later."""
    async with serving(first=plan(most_connections=1)) as service:
        await service.clients(2)
        late = [await service.connect() for _ in range(5)]
        (address,) = service.supervisor.addresses
        assert await service.supervisor.drain()
        for client in late:
            assert await client.end() != b""
        assert service.pids == []
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)


@on_asyncio
async def test_who_does_not_end_its_drain_is_ended() -> None:
    first = Plan(1, {"behaviour": ["never-ends:0"]}, 10, drain_s=0.5)
    async with serving(first=first) as service:
        assert not await service.supervisor.drain()


@on_asyncio
async def test_who_is_lost_in_a_drain_makes_it_unclean() -> None:
    """A worker dies with a connection on its way, and nobody is left to serve that."""
    async with serving(workers=1, first=plan(behaviour=["never-takes"])) as service:
        client = await service.connect()
        await until(lambda: service.supervisor.workers[0].load() == 1, "it is on its way")
        assert not await service.supervisor.drain()
        assert await client.end() == b""


@on_asyncio
async def test_close_ends_a_drain() -> None:
    async with serving("never-ends") as service:
        draining = asyncio.create_task(service.supervisor.drain())
        await asyncio.sleep(0)
        await service.supervisor.close()
        assert service.pids == []
        await draining


@on_asyncio
async def test_a_stop_word_is_passed_on() -> None:
    async with serving() as service:
        (client,) = await service.clients(1)
        client.tell(b"stop")
        await until(lambda: service.stops == 1, "the stop is known")


@on_asyncio
async def test_a_worker_that_somebody_else_stops_is_replaced_at_once() -> None:
    """Without being counted among the deaths."""
    async with serving() as service:
        (client,) = await service.clients(1)
        os.kill(client.pid, signal.SIGTERM)
        assert await client.end() == b""
        await until(
            lambda: service.supervisor.ready == [True, True] and client.pid not in service.pids,
            "it is replaced",
        )
        assert service.supervisor.restarts == {}


# -- reloads -----------------------------------------------------------------------------------


@on_asyncio
async def test_reload_replaces_one_after_the_other() -> None:
    """At no time less than all slots serve, and never are two replaced at once."""
    async with serving(workers=3) as service:
        before = service.pids
        clients = await service.clients(3)
        most = 0

        async def watch() -> None:
            nonlocal most
            while True:
                assert service.supervisor.ready == [True] * 3
                most = max(most, len(service.pids))
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        assert await service.supervisor.reload(plan(2))
        assert not watching.done()
        watching.cancel()
        assert most == 4
        assert not {*before} & {*service.pids}
        assert [await client.end() for client in clients] == [b""] * 3
        assert {client.generation for client in await service.clients(3)} == {2}


@on_asyncio
async def test_who_dies_after_a_reload_is_started_with_its_plan() -> None:
    async with serving() as service:
        assert await service.supervisor.reload(plan(2))
        os.kill(service.pids[0], signal.SIGKILL)
        await until(lambda: service.supervisor.restarts, "it has died")
        await until(lambda: service.supervisor.ready == [True, True], "it is started again")
        assert {client.generation for client in await service.clients(4)} == {2}


@on_asyncio
async def test_a_reload_whose_worker_cannot_start_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as service:
        before = service.pids
        assert not await service.supervisor.reload(plan(2, behaviour=["fails"]))
        assert "reload ended: --processor 'none': no such thing" in caplog.text
        assert service.pids == before
        assert service.supervisor.restarts == {}
        assert service.supervisor.plan.generation == 1
        # Who dies later is started as before.
        os.kill(before[0], signal.SIGKILL)
        await until(lambda: service.supervisor.restarts, "it has died")
        await until(lambda: service.supervisor.ready == [True, True], "it is started again")
        assert {client.generation for client in await service.clients(2)} == {1}


@on_asyncio
async def test_a_worker_that_dies_while_its_successor_fails_is_started_again() -> None:
    async with serving() as service:
        reloading = asyncio.create_task(
            service.supervisor.reload(plan(2, behaviour=["sleeps-early"]))
        )
        await until(lambda: len(service.pids) == 3, "the successor has started")
        first, successor = service.supervisor.workers[:2]
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: first.ended.is_set(), "it has died")
        assert service.supervisor.ready == [False, True]
        os.kill(successor.pid, signal.SIGKILL)
        assert not await reloading
        await until(lambda: service.supervisor.ready == [True, True], "it is started again")
        assert {client.generation for client in await service.clients(2)} == {1}


@on_asyncio
async def test_a_reload_that_comes_to_nothing_makes_room_for_the_next() -> None:
    """But not one that has just begun."""
    async with serving(hung_after_s=0.2) as service:
        reloading = asyncio.create_task(
            service.supervisor.reload(plan(2, behaviour=["sleeps-early"]))
        )
        await until(lambda: len(service.pids) == 3, "the successor has started")
        service.supervisor.hurry_reload()
        await asyncio.sleep(0.2)
        assert not reloading.done()
        service.supervisor.hurry_reload()
        assert not await reloading
        assert await service.supervisor.reload(plan(3))
        assert {client.generation for client in await service.clients(2)} == {3}


@on_asyncio
async def test_a_worker_that_beats_right_before_and_after_looks_is_not_hung() -> None:
    """Its beat counts as of the look before, so two looks may see the same one."""
    async with serving(hung_after_s=2.0) as service:
        found: list[float] = []
        fleet = service.supervisor._fleet
        fleet.look = lambda now_s, hung_after_s: found.append(hung_after_s)  # type: ignore[method-assign]
        await until(lambda: len(found) > 0, "the supervisor looks")
        assert found[0] >= 2.0 + LOOK_S


@on_asyncio
async def test_a_drain_ends_a_reload() -> None:
    async with serving() as service:
        reloading = asyncio.create_task(
            service.supervisor.reload(plan(2, behaviour=["sleeps-early"]))
        )
        await until(lambda: len(service.pids) == 3, "the successor has started")
        assert await service.supervisor.drain()
        assert not await reloading
        assert service.pids == []


@on_asyncio
async def test_no_descriptor_is_left() -> None:
    before = len(os.listdir("/proc/self/fd"))
    async with serving() as service:
        for client in await service.clients(20):
            client.close()
        await service.supervisor.reload(plan(2))
        os.kill(service.pids[0], signal.SIGKILL)
        await until(lambda: service.supervisor.restarts, "it has died")
    assert len(os.listdir("/proc/self/fd")) == before
