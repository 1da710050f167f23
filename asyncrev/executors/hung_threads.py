"""Threads of executors that hang. None can be ended; each is logged and counted. Thread: loop."""

import logging

from asyncrev.executors.interpreter_executor import InterpreterExecutor
from asyncrev.executors.thread_executor import ThreadExecutor

__all__ = ["MOST_HUNG_THREADS", "HungThreads"]

logger = logging.getLogger("asyncrev")

# At once. Each is replaced, keeps its stack and what its call holds, and may keep a core busy.
MOST_HUNG_THREADS = 10


class HungThreads:
    """The threads that were given up and have not returned since."""

    def __init__(self) -> None:
        self._executors: list[ThreadExecutor | InterpreterExecutor] = []

    @property
    def count(self) -> int:
        """How many hang now."""
        self._executors = [executor for executor in self._executors if executor.is_alive]
        return len(self._executors)

    @property
    def are_too_many(self) -> bool:
        """Whether there may be no further one."""
        return self.count >= MOST_HUNG_THREADS

    def add(self, executor: ThreadExecutor | InterpreterExecutor) -> None:
        """Take one that was given up, and log where it hangs."""
        self._executors.append(executor)
        logger.error(
            "a thread of the executor hangs, and cannot be ended: its frames are lost, and it is "
            "left behind; %d of at most %d hang now. It is at\n%s",
            self.count,
            MOST_HUNG_THREADS,
            executor.stack().rstrip() or "(its end)",
            extra={"reason": "executor: hung"},
        )

    def log_end(self) -> None:
        """Say what is left behind at the end."""
        if self.count:
            logger.error(
                "threads of the executor that still hang: %d; they end with the process",
                self.count,
                extra={"reason": "executor: hung"},
            )
