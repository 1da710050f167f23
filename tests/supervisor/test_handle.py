"""A worker as the supervisor knows it: what it was given stays here until it has taken it."""

import asyncio
import os
import signal

import pytest

from asyncrev.supervisor import handle, ledger
from tests.supervisor.service import plan, serving
from tests.support import until

pytestmark = pytest.mark.usefixtures("soon")
on_asyncio = pytest.mark.asyncio(loop_factories=["asyncio"])


# -- what a worker has not taken ----------------------------------------------------------------


@on_asyncio
async def test_a_connection_that_was_not_taken_goes_to_another_worker() -> None:
    """The worker dies with it on its way; the client sees nothing of that."""
    async with serving(first=plan(behaviour=["dies-untaken:0"])) as service:
        clients = await service.clients(2)
        assert [client.worker for client in clients] == [1, 1]
        assert service.supervisor.restarts["exit 9"] >= 1


@on_asyncio
async def test_who_takes_nothing_gets_no_more_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST_UNTAKEN", 4)
    async with serving(first=plan(behaviour=["never-takes:0"])) as service:
        clients = [await service.connect() for _ in range(20)]
        served = set()
        for client in clients:
            served.add(asyncio.create_task(client.greeting()))
        await until(lambda: sum(task.done() for task in served) == 16, "the others are served")
        # Its death gives the four back.
        os.kill(service.pids[0], signal.SIGKILL)
        await until(lambda: all(task.done() for task in served), "all are served")
        assert {client.worker for client in clients} == {1}


@on_asyncio
async def test_who_takes_nothing_for_a_while_gets_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loop is blocked, perhaps; its clients would wait until it is found to be hung."""
    monkeypatch.setattr(ledger, "SLOW_TAKE_S", 0.1)
    async with serving(first=plan(behaviour=["never-takes:0"])) as service:
        waiting = await service.connect()
        (served,) = await service.clients(1)
        assert served.worker == 1
        await asyncio.sleep(0.1)
        assert {client.worker for client in await service.clients(9)} == {1}
        os.kill(service.pids[0], signal.SIGKILL)
        await waiting.greeting()


@on_asyncio
async def test_who_has_no_descriptors_loses_no_connection() -> None:
    """Others serve what it cannot receive, though it has the fewest connections."""
    async with serving(first=plan(behaviour=["no-descriptors:0"])) as service:
        assert {client.worker for client in await service.clients(9)} == {1}
        assert service.supervisor.open_connections == 9


@on_asyncio
async def test_while_nobody_has_descriptors_connections_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As they do in the accept queue of a single process."""
    monkeypatch.setattr(ledger, "NO_DESCRIPTORS_S", 60.0)
    behaviour = ["no-descriptors:0", "no-descriptors:1"]
    async with serving(first=plan(behaviour=behaviour)) as service:
        client = await service.connect()
        await until(lambda: not service.supervisor.accepting, "nothing more is accepted")
        greeting = asyncio.create_task(client.greeting())
        assert await service.supervisor.reload(plan(2))
        await greeting
        assert client.generation == 2


@on_asyncio
async def test_a_mute_worker_is_replaced_though_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handle, "MUTE_S", 0.05)
    async with serving() as service:
        (client,) = await service.clients(1)
        client.tell(b"mute")
        await until(lambda: service.supervisor.ready.count(True) == 1, "it is no place any more")
        await until(lambda: service.supervisor.ready == [True, True], "it is replaced")
        assert client.pid in service.pids
        assert client.pid not in {other.pid for other in await service.clients(4)}
        assert service.supervisor.restarts == {}
