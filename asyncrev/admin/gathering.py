"""Asks the sources: all of them at once, one question at a time, and looks whether they move."""

import asyncio
import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

from asyncrev.admin.shared import Shared
from asyncrev.admin.sources import ASK_TIMEOUT_S, NoAnswer, Source
from asyncrev.bridge.running_time import RunningClock
from asyncrev.server.liveness import STUCK_AFTER_S, Liveness

__all__ = ["Answer", "Gathering"]

logger = logging.getLogger("asyncrev")

PULSE_S = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What one source has said.

    Attributes:
        worker: which.
        said: its answer, or None.
        why: why there is none, or "".
    """

    worker: str
    said: dict[str, Any] | None
    why: str = ""


class Gathering:
    """The sources of one endpoint. All methods: the endpoint's thread, with its loop."""

    def __init__(self, sources: Sequence[Source], *, stuck_after_s: float = STUCK_AFTER_S) -> None:
        """Ask `sources`; see `Liveness` for `stuck_after_s`."""
        self._sources = sources
        self._shared = Shared()
        now_s = asyncio.get_running_loop().time()
        # Time in which this thread runs, so that a process that was stopped is not stuck by it.
        self._clock = RunningClock(now_s)
        self._liveness = {
            source.worker: Liveness(self._clock.now_s, stuck_after_s) for source in sources
        }

    async def ask(self, what: str, **arguments: Any) -> list[Answer]:
        """Return the answers of all sources, in their order; at most `KEPT_S` old.

        Raises:
            ValueError: it cannot be answered; the message says why.
        """
        key = (what, *sorted(arguments.items()))
        answers: list[Answer] = await self._shared.get(key, lambda: self._ask(what, arguments))
        return answers

    async def watch(self) -> None:
        """Look once per `PULSE_S` whether the sources move; does not return."""
        loop = asyncio.get_running_loop()
        planned_s = 0.0
        while True:
            read_s = loop.time()
            self._clock.read(read_s, planned_s)
            await self.ask("health")
            planned_s = PULSE_S + (loop.time() - read_s)
            await asyncio.sleep(PULSE_S)

    def stuck(self) -> dict[str, list[str]]:
        """Return for each worker what has not moved for too long, as of the last pulse."""
        now_s = self._clock.now_s
        return {worker: liveness.stuck(now_s) for worker, liveness in self._liveness.items()}

    async def close(self) -> None:
        """Ask nothing any more."""
        for source in self._sources:
            source.close()
        await self._shared.close()

    async def _ask(self, what: str, arguments: dict[str, Any]) -> list[Answer]:
        asking = (self._ask_one(source, what, arguments) for source in self._sources)
        return list(await asyncio.gather(*asking))

    async def _ask_one(self, source: Source, what: str, arguments: dict[str, Any]) -> Answer:
        try:
            said = await source.ask(what, ASK_TIMEOUT_S, **arguments)
        except NoAnswer as error:
            return Answer(source.worker, None, str(error))
        except (ValueError, asyncio.CancelledError):
            raise
        except Exception as error:  # a defect, which must not hide the other workers
            logger.error("worker %s cannot say its %s: %r", source.worker, what, error)
            return Answer(source.worker, None, "it failed; the log says how")
        if what == "health":
            self._liveness[source.worker].note(self._clock.now_s, said)
        return Answer(source.worker, said)
