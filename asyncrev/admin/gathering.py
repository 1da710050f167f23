"""Asks the sources: all of them at once, one question at a time, and looks whether they move."""

import asyncio
import dataclasses
import functools
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any

from asyncrev.admin.shared import Shared
from asyncrev.admin.sources import ASK_TIMEOUT_S, NoAnswer, NoWorker, Source
from asyncrev.bridge.running_time import RunningClock
from asyncrev.server.liveness import STUCK_AFTER_S, Liveness

__all__ = ["Answer", "Gathering", "Sources"]

logger = logging.getLogger("asyncrev")

PULSE_S = 1.0

# All of them, or a function that returns those that there are now.
Sources = Sequence[Source] | Callable[[], Sequence[Source]]


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

    def __init__(
        self,
        sources: Sources,
        *,
        stuck_after_s: float = STUCK_AFTER_S,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Ask `sources`.

        Args:
            sources: a function is called for each question, on this thread.
            stuck_after_s: see `Liveness`.
            is_stopping: returns whether all of them are about to drain, though none may know it.
        """
        self._sources = sources if callable(sources) else lambda: sources
        self._stuck_after_s = stuck_after_s
        self._is_stopping = is_stopping
        self._shared = Shared()
        now_s = asyncio.get_running_loop().time()
        # Time in which this thread runs, so that a process that was stopped is not stuck by it.
        self._clock = RunningClock(now_s)
        self._liveness: dict[Source, Liveness] = {}  # of those that there are

    async def ask(self, what: str, **arguments: Any) -> list[Answer]:
        """Return the answers of all present sources, in their order; at most `KEPT_S` old.

        Raises:
            ValueError: it cannot be answered; the message says why.
        """
        present = self._present()
        # Whoever came or went, or has another name, makes it another question.
        key = (present, what, *sorted(arguments.items()))
        make = functools.partial(self._ask, present, what, arguments)
        answers: list[Answer] = await self._shared.get(key, make)
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
        """Return for each present worker what has not moved for too long, as of the last pulse."""
        now_s = self._clock.now_s
        return {name: self._liveness[source].stuck(now_s) for name, source in self._present()}

    async def close(self) -> None:
        """Ask nothing any more."""
        for source in self._sources():
            source.close()
        await self._shared.close()

    def _present(self) -> tuple[tuple[str, Source], ...]:
        """Return the sources that there are now, each with a name that no other has."""
        names: set[str] = set()
        named = []
        for source in self._sources():
            name = worker = source.worker
            for number in itertools.count(2):
                if name not in names:
                    break
                name = f"{worker}-{number}"
            names.add(name)
            named.append((name, source))
        self._liveness = {
            source: self._liveness.get(source) or self._begin_to_look() for _, source in named
        }
        return tuple(named)

    def _begin_to_look(self) -> Liveness:
        return Liveness(self._clock.now_s, self._stuck_after_s)

    async def _ask(
        self, present: Sequence[tuple[str, Source]], what: str, arguments: dict[str, Any]
    ) -> list[Answer]:
        asking = (self._ask_one(name, source, what, arguments) for name, source in present)
        return list(await asyncio.gather(*asking))

    async def _ask_one(
        self, name: str, source: Source, what: str, arguments: dict[str, Any]
    ) -> Answer:
        try:
            said = await source.ask(what, ASK_TIMEOUT_S, **arguments)
        except NoAnswer as error:
            if isinstance(error, NoWorker) and source in self._liveness:
                self._liveness[source] = self._begin_to_look()
            return Answer(name, None, str(error))
        except (ValueError, asyncio.CancelledError):
            raise
        except Exception as error:  # a defect, which must not hide the other workers
            logger.error("worker %s cannot say its %s: %r", name, what, error)
            return Answer(name, None, "it failed; the log says how")
        if what == "health" and source in self._liveness:
            self._liveness[source].note(self._clock.now_s, said)
        if "stopping" in said and self._is_stopping():
            said["stopping"] = True
        return Answer(name, said)
