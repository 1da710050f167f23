"""endpoint: a thread that listens, within bounds, beside a loop that may not move."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h11")
pytest.importorskip("prometheus_client")

from asyncrev import Server
from asyncrev.admin import door, gathering
from asyncrev.admin.answers import Answers
from asyncrev.admin.endpoint import Endpoint
from asyncrev.admin.sources import LocalSource
from tests.admin.talking import FakeSource, Http, get
from tests.support import DEADLINE_S, until, wait_until

pytestmark = pytest.mark.asyncio


class Site:
    def __init__(self, endpoint: Endpoint, address: tuple[str, int]) -> None:
        self.endpoint = endpoint
        self.address = address
        self.drains: list[str] = []


@contextlib.asynccontextmanager
async def site(*sources: Any, **more: Any) -> AsyncIterator[Site]:
    """Run an endpoint on a port of its own."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    listening.setblocking(False)
    address = listening.getsockname()
    drains: list[str] = []
    endpoint = Endpoint(
        sources or [FakeSource()],
        [listening],
        config={},
        drain=lambda: drains.append(threading.current_thread().name),
        **more,
    )
    endpoint.start()
    made = Site(endpoint, address)
    made.drains = drains
    try:
        yield made
    finally:
        await endpoint.close()
        await endpoint.close()  # idempotent
    assert listening.fileno() == -1


async def in_thread(work: Callable[..., Any], *args: Any) -> Any:
    """Return what `work` returns on another thread."""
    return await asyncio.to_thread(work, *args)


async def test_endpoint_answers_from_its_own_thread_and_ends() -> None:
    """With the answers of its sources."""
    source = FakeSource()
    async with site(source) as made:
        status, body = await in_thread(get, made.address, "/readyz")
        assert (status, json.loads(body)["ready"]) == (200, True)
        assert [t.name for t in threading.enumerate()].count("asyncrev-admin") == 1
    assert source.is_closed
    assert "asyncrev-admin" not in [thread.name for thread in threading.enumerate()]


async def test_endpoint_that_was_never_started_closes_what_it_has() -> None:
    """As after a server that could not start."""
    listening = socket.create_server(("127.0.0.1", 0))
    endpoint = Endpoint([FakeSource()], [listening], config={}, drain=list)
    await endpoint.close()
    await endpoint.close()
    assert listening.fileno() == -1


async def test_close_before_the_thread_has_begun_ends_it() -> None:
    """Whatever comes first."""
    for _ in range(20):
        async with site():
            pass


async def test_refused_thread_closes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a limit of processes."""

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError):
        async with site():
            raise AssertionError("it has no thread")


async def test_stuck_loop_shows_while_it_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Down at once, not live after its time, and well again when it moves."""
    monkeypatch.setattr(gathering, "PULSE_S", 0.05)
    async with Server() as server:
        await server.start("127.0.0.1", 0)
        source = LocalSource(Answers(server), asyncio.get_running_loop())
        async with site(source, stuck_after_s=1.0) as made:
            seen: list[Any] = []
            done = threading.Event()

            def look() -> None:
                def is_down() -> bool:
                    return b'worker_up{worker="0"} 0.0' in get(made.address, "/metrics")[1]

                try:
                    wait_until(is_down, "it is down")  # once no answer of before is kept any more
                    seen.append(get(made.address, "/livez"))
                    wait_until(lambda: get(made.address, "/livez")[0] == 503, "it is not live")
                    seen.append(get(made.address, "/livez"))
                    seen.append(get(made.address, "/readyz"))
                finally:
                    done.set()

            assert (await in_thread(get, made.address, "/livez"))[0] == 200
            looking = threading.Thread(target=look)
            looking.start()
            done.wait(DEADLINE_S)  # this is the loop, and it is stuck
            looking.join()
            assert seen[0][0] == 200
            assert "event loop" in json.loads(seen[1][1])["workers"][0]["stuck"][0]
            assert seen[2][0] == 503

            def is_live() -> bool:
                return get(made.address, "/livez")[0] == 200

            await in_thread(wait_until, is_live, "it is live again")
            metrics = await in_thread(get, made.address, "/metrics")
            assert b'asyncrev_worker_up{worker="0"} 1.0' in metrics[1]


async def test_drain_is_asked_for_on_the_endpoints_thread(tmp_path: Path) -> None:
    """Over a UNIX socket; a web page's request is none."""
    path = tmp_path / "a"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    listening.setblocking(False)
    asked: list[str] = []
    endpoint = Endpoint(
        [FakeSource()],
        [listening],
        config={},
        drain=lambda: asked.append(threading.current_thread().name),
    )
    endpoint.start()

    def post() -> list[int]:
        client = Http(path)
        statuses = [
            client.ask("POST", "/drain", Origin="http://x")[0],
            client.ask("POST", "/drain")[0],
        ]
        client.close()
        return statuses

    assert await in_thread(post) == [403, 202]
    await until(lambda: asked, "it is asked")
    await endpoint.close()
    assert asked == ["asyncrev-admin"]


async def test_storm_of_scrapes_asks_the_server_a_few_times() -> None:
    """64 at once, each several times, within 0.2 s at a time."""
    source = FakeSource()
    async with site(source) as made:

        def scrape() -> None:
            client = Http(made.address)
            for _ in range(5):
                assert client.ask("GET", "/metrics")[0] == 200
            client.close()

        begun_s = time.monotonic()
        await asyncio.gather(*(in_thread(scrape) for _ in range(30)))
        passed_s = time.monotonic() - begun_s
        asked = [what for what, _ in source.asked].count("statistics")
        assert 1 <= asked <= passed_s / 0.2 + 2
        # 150 requests, of which 50 are answered at once
        assert passed_s >= 0.9 * (150 - door.ANSWERS_AT_ONCE) / door.ANSWERS_PER_S
