"""The executor of a server: its start, its end, and what comes of it if its workers do not stay."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asyncrev.errors import ExecutorLost
from asyncrev.later_processors import LaterFactory
from asyncrev.processors import declares

if TYPE_CHECKING:
    from asyncrev.executors.engine import ExecutorEngine
    from asyncrev.executors.settings import ExecutorSettings

__all__ = ["ServerExecutor"]

logger = logging.getLogger("asyncrev")

CLOSE_S = 1.0  # for batches that are with workers when the last connection has gone


class ServerExecutor:
    """One executor of one server. All methods: the loop's thread.

    Attributes:
        factory: what its processor is.
        engine: answers the frames.
        error: why workers could not be kept running, once that is so.
    """

    def __init__(
        self,
        executor: Any,
        processor: Any,
        settings: "ExecutorSettings | None",
        on_failed: Callable[[], object],
    ) -> None:
        """Prepare; `on_failed` is called once, when `error` is set.

        Raises:
            SettingsError: executor, processor and settings do not fit together.
        """
        from asyncrev.executors.making import make_engine  # few servers need it
        from asyncrev.executors.settings import ExecutorSettings

        function = processor.named if isinstance(processor, LaterFactory) else processor
        self.engine: ExecutorEngine = make_engine(
            executor, function, settings or ExecutorSettings(), self._fail
        )
        self.factory = (
            processor
            if isinstance(processor, LaterFactory)
            else LaterFactory(processor, replies_fit=declares(processor, "replies_fit"))
        )
        self.error: ExecutorLost | None = None
        self._on_failed = on_failed

    async def open(self) -> None:
        """Start the workers.

        Raises:
            SettingsError: they cannot import the processor.
            ExecutorLost: one died at its start, or was not ready in time.
        """
        await self.engine.open()

    async def close(self) -> None:
        """End the workers; what they have is not waited for much longer."""
        await self.engine.close(CLOSE_S)

    def _fail(self, error: BaseException) -> None:
        logger.error("the executor cannot be kept running; the server drains and ends: %s", error)
        self.error = ExecutorLost(f"the executor could not be kept running: {error}")
        self.error.__cause__ = error
        self._on_failed()
