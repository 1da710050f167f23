"""The executors of an engine: starts, restarts after a loss, and ends. Thread: loop."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial

from asyncrev.errors import ExecutorLost
from asyncrev.executors.hung_threads import HungThreads
from asyncrev.executors.interpreter_executor import InterpreterExecutor
from asyncrev.executors.pools import Source
from asyncrev.executors.socket_executor import SocketExecutor
from asyncrev.executors.starting import Starter, in_thread
from asyncrev.executors.thread_executor import ThreadExecutor
from asyncrev.executors.unit import ExecutorUnit, UnitState
from asyncrev.restarts import DeathCount

__all__ = ["Units"]

logger = logging.getLogger("asyncrev")

RESTART_LIMIT = 10  # losses within 60 s, of all executors of an engine
END_TIMEOUT_S = 5.0  # for workers that were asked to end, or killed


class Units:
    """All executors of an engine. Thread: loop.

    Attributes:
        restarts: how many were started again so far.
    """

    def __init__(
        self,
        source: Source,
        starter: Starter,
        on_open: Callable[[], object],
        on_failed: Callable[[BaseException], object],
        on_idle_loss: Callable[[ExecutorUnit], object],
    ) -> None:
        """Prepare as many as `source` says.

        Args:
            source: of the executors.
            starter: starts and ends them.
            on_open: called when one may take calls again.
            on_failed: called once, when there are too many losses, or one cannot be replaced.
            on_idle_loss: called when the worker of one has ended that has no calls. With calls,
                these fail.
        """
        self._source = source
        self._starter = starter
        self._on_open = on_open
        self._on_failed = on_failed
        self._on_idle_loss = on_idle_loss
        self._units = [ExecutorUnit(in_order=source.in_order) for _ in range(source.units)]
        self._deaths = DeathCount(RESTART_LIMIT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.Future[None]] = set()
        self._is_closing = False
        self._hung_threads = HungThreads()
        self.restarts = 0

    def __iter__(self) -> Iterator[ExecutorUnit]:
        return iter(self._units)

    @property
    def are_busy(self) -> bool:
        """Whether one has a call."""
        return any(unit.batches for unit in self._units)

    @property
    def are_open(self) -> bool:
        """Whether one takes calls."""
        return any(unit.state is UnitState.OPEN for unit in self._units)

    @property
    def hung_threads(self) -> int:
        """How many threads were given up and have not returned."""
        return self._hung_threads.count

    @property
    def idle_workers(self) -> int:
        """How many workers have nothing to do."""
        return sum(unit.workers - len(unit.batches) for unit in self._units if unit.is_idle)

    def least_loaded(self) -> ExecutorUnit | None:
        """Return the one with the fewest batches per worker that takes another, or None."""
        places = [unit for unit in self._units if unit.has_place]
        return min(places, key=lambda unit: unit.load, default=None)

    async def open(self) -> None:
        """Start all, at the same time. If one fails, all are ended, and its error is raised."""
        results = await asyncio.gather(*map(self._open, self._units), return_exceptions=True)
        failed = [result for result in results if isinstance(result, BaseException)]
        if failed:
            await self.close()
            raise failed[0]

    async def _open(self, unit: ExecutorUnit) -> None:
        executor = await in_thread(self._starter.start, "asyncrev-executor-start")
        if self._is_closing or unit.state is UnitState.ENDED:
            self.end(executor, kill=True)
            return
        loop = asyncio.get_running_loop()
        if isinstance(executor, SocketExecutor):
            executor.attach(loop, partial(self._note_end_of_worker, unit, executor))
        unit.open(executor, self._source.workers(executor), loop.time())

    def _note_end_of_worker(self, unit: ExecutorUnit, executor: Executor) -> None:
        if unit.executor is executor and not unit.batches:
            self._on_idle_loss(unit)

    def restart(self, unit: ExecutorUnit, executor: Executor | None, cause: str) -> None:
        """End what is left of a lost executor, and start another one in its place, later."""
        if executor is not None:
            if cause == "hung" and isinstance(executor, (InterpreterExecutor, ThreadExecutor)):
                self._hung_threads.add(executor)
            self.end(executor, kill=True)
        if self._is_closing or unit.state is UnitState.ENDED:
            return
        now_s = asyncio.get_running_loop().time()
        served_s = now_s - unit.opened_s if unit.opened_s else 0.0
        unit.opened_s = 0.0
        if not self._source.can_replace:
            self._give_up(
                f"a worker of the executor {cause}, and the executor cannot be replaced: give a "
                "function that makes executors"
            )
            return
        if self._deaths.note(now_s, cause):
            self._give_up(f"workers of the executor were lost {RESTART_LIMIT} times within 60 s")
            return
        if self._hung_threads.are_too_many:
            self._give_up(f"{self.hung_threads} threads of the executor hang, the most that may")
            return
        delay_s = unit.backoff.delay_s(served_s)
        logger.error(
            "a worker of the executor %s; another one starts in %g s",
            cause,
            delay_s,
            extra={"reason": f"executor: {cause}"},
        )
        task = asyncio.get_running_loop().create_task(self._replace(unit, delay_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _replace(self, unit: ExecutorUnit, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        try:
            await self._open(unit)
        except Exception as error:
            logger.error(
                "a worker of the executor could not be started: %s",
                error,
                extra={"reason": "executor: start"},
            )
            self.restart(unit, None, "failed at its start")
        else:
            if unit.state is UnitState.OPEN:
                self.restarts += 1
                self._on_open()

    def _give_up(self, why: str) -> None:
        self._on_failed(ExecutorLost(why))

    def end(self, executor: Executor, *, kill: bool) -> None:
        """End an executor, on a thread."""
        end = in_thread(partial(self._starter.end, executor, kill=kill), "asyncrev-executor-end")
        self._ends.add(end)
        end.add_done_callback(self._note_end)

    def _note_end(self, end: "asyncio.Future[None]") -> None:
        self._ends.discard(end)
        if not end.cancelled() and (error := end.exception()) is not None:
            logger.error("an executor did not end: %r", error, extra={"reason": "executor: end"})

    async def close(self) -> None:
        """End all, those that are about to start, too."""
        self._is_closing = True
        self._starter.stop()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for unit in self._units:
            executor, unit.executor = unit.executor, None
            unit.state = UnitState.ENDED
            if executor is not None:
                self.end(executor, kill=False)
        if self._ends:
            await asyncio.wait(self._ends, timeout=END_TIMEOUT_S)
        self._hung_threads.log_end()
