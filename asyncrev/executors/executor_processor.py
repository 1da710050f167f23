"""A function that an executor calls, as the processor of connections, or of several servers."""

import logging
from collections.abc import Callable
from typing import Any, Self

from asyncrev.errors import LocalError, SettingsError
from asyncrev.executors.making import make_engine
from asyncrev.executors.settings import ExecutorSettings
from asyncrev.later_processors import LaterFactory
from asyncrev.processors import declares
from asyncrev.statistics import EngineStatistics

__all__ = ["ExecutorProcessor"]

logger = logging.getLogger("asyncrev")

CLOSE_S = 1.0  # for batches that are with workers at the end


class ExecutorProcessor(LaterFactory):
    """One executor for any number of connections (`BridgeProtocol`) and servers of one loop.

    `async with ExecutorProcessor(work, executor="processes") as processor:` starts the workers, and
    ends them; within it `processor` is given to each `BridgeProtocol` or `Server`. A server that
    shares its executor with nobody has a parameter `executor` instead, and ends when its workers
    cannot be kept running. All methods: the loop's thread, if not said otherwise.

    Attributes:
        error: why workers could not be kept running, once that is so; from then on every frame ends
            its connection.
    """

    __slots__ = ("_is_open", "_on_failed", "_was_entered", "error")

    def __init__(
        self,
        function: Callable[[bytes], Any],
        *,
        executor: Any,
        executor_settings: ExecutorSettings | None = None,
        on_failed: Callable[[], object] | None = None,
    ) -> None:
        """Check what is given. Thread: any.

        Args:
            function: of a module; it takes a frame's bytes, and returns those of the reply or None.
            executor: "processes", "threads", "interpreters", "dask", a
                `concurrent.futures.Executor`, or a function that makes such.
            executor_settings: of that.
            on_failed: called once, when `error` is set.

        Raises:
            SettingsError: they cannot be used, or not together.
        """
        if isinstance(function, LaterFactory):
            raise SettingsError(
                f"processor {function.named!r} is answered by an executor already; give a function"
            )
        settings = executor_settings or ExecutorSettings()
        super().__init__(function, replies_fit=declares(function, "replies_fit"))
        self.engine = make_engine(executor, function, settings, self._fail)
        self.error: BaseException | None = None
        self._on_failed = on_failed
        self._is_open = self._was_entered = False

    async def __aenter__(self) -> Self:
        """Start the workers, and have them import the function.

        Raises:
            SettingsError: they cannot.
            ExecutorLost: one died at its start, or was not ready in time.
            LocalError: it was entered before; its workers cannot be started again.
        """
        if self._was_entered:
            raise LocalError(f"{self!r} was entered before; make another one for each `async with`")
        self._was_entered = True
        await self.engine.open()
        self._is_open = True
        return self

    async def __aexit__(self, *unused: object) -> None:
        """End the workers; close bridges before, because what is not answered by now fails."""
        self._is_open = False
        await self.engine.close(CLOSE_S)

    def check_usable(self) -> None:
        """Check that connections may be made with it.

        Raises:
            SettingsError: its workers do not run.
        """
        if not self._is_open:
            when = "after the end of its" if self._was_entered else "outside of an"
            raise SettingsError(
                f"processor {self!r} was given to a connection or server {when} `async with`; use "
                "it within: async with ExecutorProcessor(...) as processor: ..."
            )

    def statistics(self) -> EngineStatistics:
        """Return the counters of the executor."""
        statistics: EngineStatistics = self.engine.statistics()
        return statistics

    def _fail(self, error: BaseException) -> None:
        self.error = error
        logger.error("the executor cannot be kept running, so its connections end: %s", error)
        if self._on_failed is not None:
            self._on_failed()
