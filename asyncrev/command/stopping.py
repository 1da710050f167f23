"""How what a process serves comes to its end: who asks for it, the drain, the exit code."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from asyncrev.command.exit_codes import EXIT_CLEAN, EXIT_DRAIN_ABORTED, EXIT_RUNTIME_ERROR
from asyncrev.command.signals import EXIT_SIGNAL_BASE, STOPS, name_of
from asyncrev.errors import AsyncrevError, WorkerHung
from asyncrev.server.server import Server
from asyncrev.statistics import ServerStatistics

__all__ = ["Stops", "run_until_stopped", "start_unless_stopped"]

logger = logging.getLogger("asyncrev")


class Stops:
    """Requests to end. Thread: the loop's, but for `request_soon`.

    Attributes:
        requested: set by the first one.
        forced: set by one to close at once, without an answer to what has arrived.
        numbers: the signals among them, in order.
    """

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.forced = asyncio.Event()
        self.numbers: list[int] = []
        self._why_forced = ""
        self._loop = asyncio.get_running_loop()

    def request_soon(self) -> None:
        """Ask for a drain. Thread: any; it does not wait."""
        self._loop.call_soon_threadsafe(self.requested.set)

    def heed(self, number: int, again: bool, on_hangup: Callable[[], object]) -> None:
        """Do what a signal asks for: a stop, or what `on_hangup` does, or nothing."""
        if number == signal.SIGHUP:
            on_hangup()
        elif number in STOPS:
            self.note_signal(number, again)
        else:
            logger.warning("%s is ignored", name_of(number))

    def note_signal(self, number: int, again: bool) -> None:
        """Ask for a drain, by a signal; or for an end at once if it is not the first."""
        self.numbers.append(number)
        if again:
            self.force("second signal")
        else:
            self.requested.set()

    def force(self, why: str) -> None:
        """Ask for an end at once."""
        self._why_forced = why
        self.requested.set()
        self.forced.set()

    @property
    def why_forced(self) -> str:
        """The reason for an end at once, for the log."""
        return self._why_forced

    @property
    def forced_code(self) -> int:
        """The exit code of an end at once."""
        return EXIT_SIGNAL_BASE + self.numbers[-1] if self.numbers else EXIT_DRAIN_ABORTED


async def start_unless_stopped(start: Coroutine[Any, Any, None], stops: Stops) -> bool:
    """Run `start`; return True, or False if a stop came first, and it was cancelled.

    Raises:
        Exception: what `start` raises.
    """
    starting = asyncio.create_task(start)
    stopping = asyncio.create_task(stops.requested.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait((starting,))
    if starting.cancelled():
        logger.info("stopped before it listened")
        return False
    starting.result()
    return True


async def run_until_stopped(
    server: Server,
    stops: Stops,
    *,
    spread_s: float,
    report_left_out: Callable[[], None],
    before_drain: "Callable[[asyncio.Task[None]], Awaitable[None]]",
) -> int:
    """Serve until a stop, drain, and return the exit code.

    Args:
        server: it serves.
        stops: who asks for an end.
        spread_s: of the drain; see `Server.drain`.
        report_left_out: is called before the last line is logged.
        before_drain: waits for what comes between a stop and the drain; it is given the task that
            ends when the server does.
    """
    serving = asyncio.create_task(server.serve_forever())
    stopping = asyncio.create_task(stops.requested.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    try:
        if serving.done() and not stops.requested.is_set():
            await serving  # raises the error that ended it
            return EXIT_RUNTIME_ERROR
        await before_drain(serving)
        if serving.done():
            await serving
        draining = asyncio.create_task(server.drain(spread_s=spread_s))
        forcing = asyncio.create_task(stops.forced.wait())
        await asyncio.wait((draining, forcing), return_when=asyncio.FIRST_COMPLETED)
        forcing.cancel()
        if stops.forced.is_set() and not draining.done():
            logger.warning("%s: closing now", stops.why_forced)
            closing = asyncio.create_task(server.close())
            await asyncio.wait((closing, draining), timeout=0.1)
            for task in (closing, draining, serving):
                task.cancel()
            await asyncio.wait((closing, draining, serving), timeout=0.1)
            return stops.forced_code
        clean = await draining
    except WorkerHung as error:
        logger.error("%s", error)
        return EXIT_DRAIN_ABORTED
    except AsyncrevError as error:
        logger.critical("%s", error)
        return EXIT_RUNTIME_ERROR
    report_left_out()  # before the totals, so that they are the last line
    statistics = server.statistics()
    logger.info(
        "stopped: %d connections, %d bytes received, %d replied, aborted %s",
        statistics.accepted,
        statistics.received_bytes,
        statistics.replied_bytes,
        statistics.aborted or "none",
        extra={"fields": _totals(statistics)},
    )
    return EXIT_CLEAN if clean else EXIT_DRAIN_ABORTED


def _totals(statistics: ServerStatistics) -> dict[str, object]:
    names = ("accepted", "received_bytes", "replied_bytes", "aborted")
    return {name: getattr(statistics, name) for name in names}
