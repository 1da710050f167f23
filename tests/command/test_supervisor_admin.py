"""supervisor_admin: one endpoint for all workers, those that come and those that are not there."""

import asyncio
import contextlib
import importlib.util
import json
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

if not all(map(importlib.util.find_spec, ("h11", "prometheus_client"))):
    pytest.skip("the packages of asyncrev[ops] are not installed", allow_module_level=True)

import asyncrev
from asyncrev import Limits, Server
from asyncrev.admin import gathering, pages
from asyncrev.admin.answers import Answers
from asyncrev.admin.shared import Shared
from asyncrev.command.admin_address import AdminAddress
from asyncrev.command.supervisor_admin import SupervisorAdmin
from asyncrev.supervisor.questions import answer_questions
from asyncrev.supervisor.remote_source import RemoteSource
from tests.admin.talking import Http, get

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that each question has the answer of now."""
    for module in (gathering, pages):
        monkeypatch.setattr(module, "Shared", lambda: Shared(-1.0))


class Service:
    """A supervisor, as its endpoint sees it, with workers that are servers of this process."""

    def __init__(self, path: Path, slots: int) -> None:
        self.path = path
        self.present: tuple[RemoteSource, ...] = ()
        self.facts = {"pid": 1, "workers": slots, "generation": 1, "restarts": {"SIGKILL": 2}}
        self.asked: list[tuple[str, str]] = []
        self.admin = SupervisorAdmin(
            AdminAddress(path=str(path)),
            {"options": 1},
            lambda: self.present,
            lambda: self.facts,
            lambda: self.asked.append(("drain", threading.current_thread().name)),
            lambda: self.asked.append(("reload", threading.current_thread().name)),
        )
        self._answering: dict[RemoteSource, asyncio.Task[None]] = {}

    async def begin(self, server: Server, worker: str) -> RemoteSource:
        """Have a worker that answers for `server`."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        source = RemoteSource(ours, worker)
        task = asyncio.create_task(answer_questions(theirs, Answers(server).answer))
        self._answering[source] = task
        self.present = (*self.present, source)
        return source

    async def end(self, source: RemoteSource) -> None:
        """End a worker, as its process would, which is noticed some time later."""
        task = self._answering.pop(source)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def note_end(self, source: RemoteSource) -> None:
        self.present = tuple(one for one in self.present if one is not source)
        source.close()

    async def get(self, path: str) -> tuple[int, Any]:
        status, body = await asyncio.to_thread(get, self.path, path)
        return status, json.loads(body) if body[:1] == b"{" else body.decode()

    async def post(self, path: str) -> int:
        client = Http(self.path)
        with contextlib.closing(client):
            status, _ = await asyncio.to_thread(client.ask, "POST", path)
        return status

    async def close(self) -> None:
        await self.admin.close()
        for source in self.present:
            source.close()
        async with asyncio.timeout(10):
            await asyncio.gather(*self._answering.values())  # they see the end


@contextlib.asynccontextmanager
async def service(tmp_path: Path, slots: int) -> AsyncIterator[tuple[Service, Server]]:
    async with await asyncrev.serve("127.0.0.1", 0, limits=Limits(slots=4)) as server:
        made = Service(tmp_path / "a", slots)
        await made.admin.open()
        try:
            made.admin.start()
            yield made, server
        finally:
            await made.close()
        assert not made.path.exists()


def up_of(text: str) -> dict[str, bool]:
    """Return which workers a scrape has as up."""
    rows = [line for line in text.splitlines() if line.startswith("asyncrev_worker_up{")]
    return {row.split('"')[1]: row.endswith(" 1.0") for row in rows}


async def test_nothing_is_done_without_an_address() -> None:
    """No thread, and no socket."""
    threads = threading.active_count()
    nothing: Any = None
    admin = SupervisorAdmin(None, {}, nothing, nothing, nothing, nothing)
    await admin.open()
    admin.start()
    admin.note_stop()
    await admin.close()
    assert threading.active_count() == threads


async def test_each_worker_from_its_start_to_its_end(tmp_path: Path) -> None:
    """One that is not there is not up; an old one beside its successor has a name of its own."""
    async with service(tmp_path, 2) as (made, server):
        first = await made.begin(server, "0")
        status, text = await made.get("/metrics")
        assert (status, up_of(text)) == (200, {"0": True, "1": False})
        assert "\nasyncrev_workers 2.0\n" in text
        assert '\nasyncrev_worker_restarts_total{cause="SIGKILL"} 2.0\n' in text

        await made.begin(server, "1")
        first.worker = "0-old"
        await made.begin(server, "0")
        assert up_of((await made.get("/metrics"))[1]) == {"0": True, "1": True, "0-old": True}

        await made.end(first)  # its process has ended, and the supervisor has not seen it yet
        assert up_of((await made.get("/metrics"))[1]) == {"0": True, "1": True, "0-old": False}
        made.note_end(first)
        status, told = await made.get("/stats.json")
        assert [one["worker"] for one in told["workers"]] == ["0", "1"]
        assert all(one["up"] and one["version"] for one in told["workers"])
        assert told["supervisor"] == made.facts


async def test_one_worker_is_enough(tmp_path: Path) -> None:
    """To be ready, and to be live; with none it is neither."""
    async with service(tmp_path, 2) as (made, server):
        for path in ("/readyz", "/livez"):
            assert (await made.get(path))[0] == 503
        source = await made.begin(server, "1")
        status, told = await made.get("/readyz")
        absent = {"worker": "0", "reasons": ["the worker process is being started"]}
        assert (status, told["workers"]) == (200, [absent, {"worker": "1", "reasons": []}])
        assert (await made.get("/livez"))[0] == 200
        await made.end(source)
        made.note_end(source)
        assert (await made.get("/livez"))[0] == 503


async def test_stop_is_said_at_once(tmp_path: Path) -> None:
    """Although no worker has been told."""
    async with service(tmp_path, 1) as (made, server):
        await made.begin(server, "0")
        assert (await made.get("/readyz"))[0] == 200
        made.admin.note_stop()
        status, told = await made.get("/readyz")
        assert (status, told["workers"]) == (503, [{"worker": "0", "reasons": ["draining"]}])
        assert '\nasyncrev_draining{worker="0"} 1.0\n' in (await made.get("/metrics"))[1]
        assert (await made.get("/livez"))[0] == 200


async def test_drain_reload_and_config(tmp_path: Path) -> None:
    """What is asked of the supervisor is asked on the endpoint's thread."""
    async with service(tmp_path, 1) as (made, _):
        assert await made.post("/reload") == 202
        assert await made.post("/drain") == 202
        assert made.asked == [("reload", "asyncrev-admin"), ("drain", "asyncrev-admin")]
        assert (await made.get("/config"))[1] == {"options": 1}
        made.admin.config = {"options": 2}
        assert (await made.get("/config"))[1] == {"options": 2}


async def test_worker_that_does_not_move_delays_no_other(tmp_path: Path) -> None:
    """It is not up, and the others are told of."""
    async with service(tmp_path, 2) as (made, server):
        await made.begin(server, "0")
        ours, theirs = socket.socketpair()
        with theirs:
            made.present = (*made.present, RemoteSource(ours, "1"))
            assert up_of((await made.get("/metrics"))[1]) == {"0": True, "1": False}
            status, told = await made.get("/readyz")
            assert (status, told["workers"][0]["reasons"]) == (200, [])
            assert told["workers"][1]["reasons"] == ["the event loop does not answer"]
