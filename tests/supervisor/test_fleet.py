"""Workers are started, and started again: deaths, hangs, and starts that fail."""

import asyncio
import os
import signal
import time

import pytest

from asyncrev.supervisor import process as process_module
from asyncrev.supervisor import supervisor as supervisor_module
from asyncrev.supervisor.causes import WorkerFailed
from tests.supervisor.service import Service, fake, plan, serving
from tests.support import DEADLINE_S, until

pytestmark = pytest.mark.usefixtures("soon")
on_asyncio = pytest.mark.asyncio(loop_factories=["asyncio"])


# -- deaths ------------------------------------------------------------------------------------


@on_asyncio
async def test_a_killed_worker_is_replaced_and_the_other_serves_on() -> None:
    async with serving() as service:
        clients = await service.clients(4)
        killed = service.pids[0]
        os.kill(killed, signal.SIGKILL)
        lost = [client for client in clients if client.pid == killed]
        assert [await client.end() for client in lost] == [b"", b""]
        await until(lambda: killed not in service.pids, "it is gone")
        await until(lambda: service.supervisor.ready == [True, True], "it is replaced")
        assert {client.worker for client in await service.clients(4)} == {0, 1}
        assert service.supervisor.restarts == {"SIGKILL": 1}
        assert service.stops == 0


@on_asyncio
async def test_too_many_deaths_are_the_end() -> None:
    async with serving("dies-untaken:0", restart_limit=3) as service:
        async with asyncio.timeout(DEADLINE_S):
            while not service.stops:
                await service.connect()
                await asyncio.sleep(0.01)
        assert service.supervisor.gave_up
        assert service.supervisor.restarts == {"exit 9": 3}


@on_asyncio
async def test_a_hung_worker_is_ended_with_its_stacks_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "LOOK_S", 0.1)
    async with serving(hung_after_s=1.0) as service:
        (client, _) = await service.clients(2)
        client.tell(b"hang")
        assert await client.end() == b""
        await until(lambda: service.supervisor.restarts, "it is counted")
        assert service.supervisor.restarts == {"hung": 1}
        assert "has not moved for" in caplog.text
        assert f"worker {client.worker} (pid {client.pid}): Thread 0x1: in hang" in caplog.text
        await until(lambda: service.supervisor.ready == [True, True], "it is replaced")


@on_asyncio
async def test_a_worker_with_a_thread_that_does_not_move_is_ended_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loop beats, and says so."""
    monkeypatch.setattr(supervisor_module, "LOOK_S", 0.1)
    async with serving(hung_after_s=1.0) as service:
        (client, other) = await service.clients(2)
        client.tell(b"thread")
        assert await client.end() == b""
        await until(lambda: service.supervisor.restarts, "it is counted")
        assert service.supervisor.restarts == {"hung": 1}
        assert f"a thread of worker {client.worker} (pid {client.pid}) has not moved" in caplog.text
        assert f"worker {client.worker} (pid {client.pid}): Thread 0x1: in process" in caplog.text
        await until(lambda: service.supervisor.ready == [True, True], "it is replaced")
        assert other.pid in service.pids


@on_asyncio
async def test_a_stopped_worker_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "LOOK_S", 0.1)
    async with serving(hung_after_s=1.0) as service:
        stopped = service.pids[0]
        os.kill(stopped, signal.SIGSTOP)
        await until(lambda: stopped not in service.pids, "it is gone")
        assert service.supervisor.restarts == {"hung": 1}


@on_asyncio
async def test_who_does_not_die_of_an_abort_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGABRT may be ignored."""
    monkeypatch.setattr(process_module, "ABORT_S", 0.2)
    monkeypatch.setattr(signal, "SIGABRT", signal.SIGURG)  # which is ignored by default
    async with serving() as service:
        worker = service.supervisor.workers[0]
        worker.end_hung()
        await until(lambda: worker.ended.is_set(), "it is gone")
        assert service.supervisor.restarts == {"hung": 1}


# -- starts ------------------------------------------------------------------------------------


@on_asyncio
@pytest.mark.parametrize(
    ("behaviour", "code", "text"),
    [
        ("fails:1", 2, "--processor 'none': no such thing"),
        ("dies-early:1", 7, r"worker 1 \(pid \d+\) ended with code 7 before it was ready"),
    ],
)
async def test_a_first_worker_that_fails_ends_the_start(
    behaviour: str, code: int, text: str
) -> None:
    service = Service()
    await service.open(fake(behaviour), plan(), 2)
    with pytest.raises(WorkerFailed, match=text) as caught:
        await service.supervisor.start()
    assert caught.value.code == code
    await service.supervisor.close()
    assert service.pids == []


@on_asyncio
async def test_a_command_that_cannot_be_run_is_an_error() -> None:
    service = Service()
    command = process_module.Command(["/nonexistent/python"], {})
    await service.open(command, plan(), 2)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        await service.supervisor.start()
    assert len(os.listdir("/proc/self/fd")) == before
    await service.supervisor.close()


@on_asyncio
async def test_close_ends_workers_that_are_not_ready() -> None:
    service = Service()
    await service.open(fake("sleeps-early"), plan(), 2)
    starting = asyncio.create_task(service.supervisor.start())
    await until(lambda: len(service.pids) == 2, "they have started")
    starting.cancel()
    began_s = time.monotonic()
    await service.supervisor.close()
    assert service.pids == []
    assert time.monotonic() - began_s < 10
