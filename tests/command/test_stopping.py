"""stopping: how what is served ends, and the exit code, with events in place of signals."""

import asyncio
import logging
import signal
from typing import Any

import pytest

from asyncrev import Limits, Server
from asyncrev.command.stopping import Stops, run_until_stopped
from asyncrev.errors import WorkerDied, WorkerHung

SMALL = Limits(slots=8, slot_bytes=4096, max_connections=4, drain_timeout_s=5.0)


async def no_delay(_: object) -> None:
    """Drain at once."""


class FakeServer:
    """Serves until it fails or is closed; drains as it was told."""

    def __init__(self, drain: Any = True, serve: BaseException | None = None) -> None:
        self.closed = 0
        self.spread_s = 0.0
        self.drain_result = drain
        self.serve_error = serve
        self.drained = asyncio.Event()

    async def serve_forever(self) -> None:
        if self.serve_error is not None:
            raise self.serve_error
        await asyncio.Event().wait()

    async def drain(self, *, spread_s: float) -> bool:
        self.spread_s = spread_s
        if self.drain_result == "never":
            self.drained.set()
            await asyncio.Event().wait()
        if isinstance(self.drain_result, BaseException):
            raise self.drain_result
        return bool(self.drain_result)

    async def close(self) -> None:
        self.closed += 1

    def statistics(self) -> Any:
        return Server(limits=SMALL).statistics()


async def run(
    server: Any,
    *,
    stop: bool = True,
    second: int | None = None,
    stops: Stops | None = None,
    spread_s: float = 0.0,
) -> int:
    """Return the exit code; `second`: a signal while it drains. `stops`: with requests in it."""
    if stops is None:
        stops = Stops()
        if stop:
            stops.note_signal(signal.SIGTERM, again=False)
    task = asyncio.create_task(
        run_until_stopped(
            server, stops, spread_s=spread_s, report_left_out=left_out, before_drain=no_delay
        )
    )
    if second is not None:
        await server.drained.wait()
        stops.note_signal(second, again=True)
    try:
        return await task
    finally:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for other in left:
            other.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def left_out() -> None:
    """Report lines that were left out."""
    logging.getLogger("asyncrev").info("left out")


@pytest.mark.asyncio(loop_factories=["epoll"])
@pytest.mark.parametrize(("clean", "code"), [(True, 0), (False, 3)])
async def test_drain_in_time_is_0_and_aborted_is_3(clean: bool, code: int) -> None:
    """What `Server.drain` returns decides."""
    assert await run(FakeServer(drain=clean)) == code


@pytest.mark.asyncio(loop_factories=["epoll"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_second_signal_closes_and_is_128_more(number: int) -> None:
    """It does not wait for the drain; the last signal counts."""
    server = FakeServer(drain="never")
    assert await run(server, second=number) == 128 + number
    assert server.closed == 1


@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_hung_worker_is_3(caplog: pytest.LogCaptureFixture) -> None:
    """The deadline aborted what its processor had not answered."""
    error = WorkerHung("a processor does not return")
    assert await run(FakeServer(drain=error)) == 3
    assert "a processor does not return" in caplog.text


@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_dead_worker_is_1(caplog: pytest.LogCaptureFixture) -> None:
    """Serving ends by itself, and says of what."""
    assert await run(FakeServer(serve=WorkerDied("the worker died")), stop=False) == 1
    assert "the worker died" in caplog.text


@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_server_closed_by_somebody_else_is_1() -> None:
    """Nobody asked for an end, so it is not a clean one."""

    class Closed(FakeServer):
        async def serve_forever(self) -> None:
            return

    assert await run(Closed(), stop=False) == 1


@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_end_is_logged_with_counts(caplog: pytest.LogCaptureFixture) -> None:
    """One line that says what was done."""
    caplog.set_level(logging.INFO, "asyncrev")
    assert await run(FakeServer()) == 0
    assert "stopped: 0 connections, 0 bytes received, 0 replied, aborted none" in caplog.text


@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_end_at_once_that_no_signal_has_asked_for_is_3(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Such as that of a supervisor, also before anybody has asked for a drain."""
    server, stops = FakeServer(drain="never"), Stops()
    stops.force("somebody says so")
    assert await run(server, stops=stops) == 3
    assert server.closed == 1
    assert "somebody says so: closing now" in caplog.text


@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_drain_has_its_spread_and_lines_left_out_come_before_the_last(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "asyncrev")
    server, stops = FakeServer(), Stops()
    stops.request_soon()
    assert await run(server, stops=stops, spread_s=2.5) == 0
    assert server.spread_s == 2.5
    assert caplog.messages[-2] == "left out"
    assert caplog.messages[-1].startswith("stopped: ")
