"""An engine that has frames answered by executors; see `bridge.engine`.

Theory of operation. A frame that may start is *ready*. One callback per loop iteration sends what
is ready to workers: an idle worker gets at once what there is, shared among idle ones, and a busy
one gets a full batch ahead. So nothing waits for a batch to fill, and batches grow with the load.
`finished` tells of batches that are done, `lost_frames` decides what becomes of lost ones.

Each frame is in one place: ready, or in a batch of a unit, or finished. A batch is over once, by
its result or with its unit; what comes later of it is ignored.

All methods: the loop's thread, if not said otherwise.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

from asyncrev.errors import ExecutorLost, LocalError
from asyncrev.executors.batching import Batch, Frame, ReadyFrames, share_of
from asyncrev.executors.counts import Counts
from asyncrev.executors.finished import FinishedBatches
from asyncrev.executors.functions import ExecutorFunction
from asyncrev.executors.lost_frames import LostFrames
from asyncrev.executors.pools import Source
from asyncrev.executors.remote import run_batch
from asyncrev.executors.settings import ExecutorSettings
from asyncrev.executors.shipping import answers_of, give_back, payloads_of
from asyncrev.executors.starting import Starter
from asyncrev.executors.unit import ExecutorUnit, UnitState
from asyncrev.executors.units import Units
from asyncrev.statistics import EngineStatistics

__all__ = ["ExecutorEngine"]

LOOK_EVERY_S = 1.0  # for batches that hang; at most a quarter of the timeout


class ExecutorEngine:
    """Answers requests by calls in executors; see the module and `bridge.engine.Engine`."""

    calls_connected = False
    calls_eof = False
    timeout_s: float | None = None  # this engine ends what hangs

    def __init__(
        self,
        source: Source,
        function: ExecutorFunction,
        settings: ExecutorSettings,
        on_failed: Callable[[BaseException], object],
    ) -> None:
        """Prepare; `open` starts the workers.

        `on_failed`: called once, on the loop's thread, if workers cannot be kept running; from then
        on every request fails.
        """
        self._source = source
        self._function = function
        self._settings = settings
        self._on_failed = on_failed
        self._starter = Starter(source, function)
        self._units = Units(
            source,
            self._starter,
            on_open=self._plan,
            on_failed=self._fail,
            on_idle_loss=lambda unit: self._lose(unit, "died", None),
        )
        self._ready = ReadyFrames()
        self._counts = Counts()
        self._finished = FinishedBatches(self._collect)
        self._lost = LostFrames(self._ready, self._counts, may_retry=function.idempotent)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_planned = False
        self._timer: asyncio.TimerHandle | None = None
        self._failure: BaseException | None = None
        self._idle = asyncio.Event()
        self._has_cancelled = False
        self._unserved_s: float | None = None  # since when a look found no open executor

    # -- what the bridge calls ---------------------------------------------------------------------

    def open_lane(self) -> None:
        """See `Engine.open_lane`: nothing is kept of a connection."""

    def close_lane(self, state: object) -> None:
        """See `Engine.close_lane`."""

    def start(self, job: Any) -> None:
        """See `Engine.start`; `job.finish` is called in a later callback of the loop."""
        if self._loop is None:
            raise LocalError("the executor was not started; use it within its `async with`")
        frame = Frame(job, job.request.payload, self._loop.time())
        job.engine_data = frame
        self._ready.add(frame)
        if not self._is_planned:
            self._plan()

    def cancel(self, job: Any) -> None:
        """See `Engine.cancel`: a frame that no worker has yet is dropped."""
        job.engine_data.is_cancelled = self._has_cancelled = True
        self._plan()

    def memory_bytes(self, most_frame_bytes: int) -> int:
        """Return the most that batches hold of this process beside their frames. Thread: any.

        Each worker that is no thread has a batch and the next one, as memory that is shared with it
        (a power of two that is at least twice as long), or pickled.
        """
        if not self._source.travels:
            return 0
        workers = max(self._source.units, self._settings.workers or 1)
        return workers * 2 * 4 * max(self._settings.batch_bytes, most_frame_bytes)

    def statistics(self) -> EngineStatistics:
        """Return the counters."""
        counts, units = self._counts, self._units
        return EngineStatistics(
            workers=sum(unit.workers for unit in units if unit.state is UnitState.OPEN),
            ready=len(self._ready),
            running=sum(len(batch.frames) for unit in units for batch in unit.batches),
            batches=counts.batches,
            frames=counts.frames,
            retries=counts.retries,
            restarts=units.restarts,
            hung_threads=units.hung_threads,
            lost=dict(counts.lost),
        )

    async def open(self) -> None:
        """Start all workers, and have them import the function.

        Raises:
            SettingsError: the function cannot be imported there, or failed with an empty frame.
            ExecutorLost: a worker died at its start, or was not ready in time.
        """
        self._loop = asyncio.get_running_loop()
        self._finished.open()
        await self._units.open()

    async def close(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` for what is ready or with workers; then end the workers.

        What is not answered by then fails.
        """
        self._idle.clear()
        self._plan()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            pass
        self._fail(ExecutorLost("the executor is being closed"), report=False)
        if self._timer is not None:
            self._timer.cancel()
        await self._units.close()

    # -- to workers --------------------------------------------------------------------------------

    def _plan(self) -> None:
        if not self._is_planned:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        """Send what is ready."""
        self._is_planned = False
        if self._has_cancelled:
            self._has_cancelled = False
            for frame in self._ready.take_cancelled():
                frame.job.finish(None)
        if self._failure is not None:
            for frame in self._ready.take_all():
                frame.job.finish(None, self._failure)
        while self._ready and self._send_batch():
            pass
        busy = bool(self._ready) or self._units.are_busy
        if not busy:
            self._idle.set()
        elif self._timer is None:
            self._plan_look()

    def _send_batch(self) -> bool:
        """Send one batch; return whether there was a worker for it."""
        ready, most = self._ready, self._settings.batch_frames
        unit = self._units.least_loaded()
        if unit is None:
            return False
        if unit.batches and not unit.knows_culprit and (ready.again or unit.is_trying_again):
            return False  # if it broke, nobody would know which call did it
        idle = self._units.idle_workers
        if idle:
            most = share_of(len(ready), idle, most)
        elif not ready.fills(most, self._settings.batch_bytes):
            return False
        self._submit(Batch(ready.take(most, self._settings.batch_bytes), unit))
        return True

    def _submit(self, batch: Batch) -> None:
        unit: ExecutorUnit = batch.unit
        assert unit.executor is not None
        payloads, use = payloads_of(batch, shares_memory=self._source.shares_memory)
        try:
            future = unit.executor.submit(run_batch, self._function.call, payloads, use)
        except Exception as error:  # broken while it was idle, or shut down by somebody else
            self._ready.put_back(batch.frames)
            self._lose(unit, "died", error)
            return
        batch.future = future
        unit.add(batch, asyncio.get_running_loop().time())
        self._counts.batches += 1
        self._counts.frames += len(batch.frames)
        self._finished.watch(batch)

    # -- from workers ------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Settle all batches that are done."""
        for batch in self._finished.take_all():
            self._settle(batch)
        self._plan()

    def _settle(self, batch: Batch) -> None:
        """Finish a batch whose future is done, or find that its executor is lost."""
        assert batch.future is not None
        unit: ExecutorUnit = batch.unit
        future = batch.future
        error = CancelledError() if future.cancelled() else future.exception()
        loss = None if error is None else self._source.loss_of(error)
        if loss is not None and loss.is_executor:
            self._lose(unit, loss.cause, error)
            return
        batch.is_over = True
        if unit.executor is not None:  # a cluster grows and shrinks
            unit.workers = max(1, self._source.workers(unit.executor))
        unit.remove(batch, asyncio.get_running_loop().time())
        if loss is not None:
            give_back(batch)
            self._lost.add_batch(batch, loss.cause, error)
            return
        answers = answers_of(batch)
        give_back(batch)
        for frame, answer in zip(batch.frames, answers, strict=True):
            if isinstance(answer, BaseException):
                frame.job.finish(None, answer)
            else:
                frame.job.finish(answer)

    # -- losses ------------------------------------------------------------------------------------

    def _lose(self, unit: ExecutorUnit, cause: str, error: BaseException | None) -> None:
        """Take a lost executor out: its frames are tried again, or fail; others are untouched."""
        for batch in tuple(unit.batches):  # results may have come while we looked
            future = batch.future
            is_done = future is not None and future.done() and not future.cancelled()
            if is_done and future is not None and future.exception() is None:
                self._settle(batch)
        executor = unit.executor
        begun, untouched = unit.lose()
        if unit.arenas is not None:
            unit.arenas.close()
            unit.arenas = None
        for batch in (*begun, *untouched):
            batch.is_over = True
        for batch in reversed(untouched):
            self._ready.put_back(batch.frames)
        for batch in begun:
            self._lost.add_batch(batch, cause, error)
        self._units.restart(unit, executor, cause)
        self._plan()

    def _plan_look(self) -> None:
        step_s = min(LOOK_EVERY_S, self._settings.timeout_s / 4)
        self._timer = asyncio.get_running_loop().call_later(step_s, self._look)

    def _look(self) -> None:
        """Look for workers that hang, and frames for which there is no worker."""
        self._timer = None
        now_s, timeout_s = asyncio.get_running_loop().time(), self._settings.timeout_s
        for unit in self._units:
            if unit.hangs(now_s, timeout_s):
                self._lose(unit, "hung", None)
        self._fail_unserved(now_s, timeout_s)
        if self._ready or self._units.are_busy:
            self._plan_look()
        else:
            self._idle.set()

    def _fail_unserved(self, now_s: float, timeout_s: float) -> None:
        """Fail what has waited for so long without an executor that could be started."""
        if self._units.are_open:
            self._unserved_s = None
            return
        if self._unserved_s is None:
            self._unserved_s = now_s
        oldest_s = self._ready.oldest_s
        if oldest_s is None or now_s - max(oldest_s, self._unserved_s) < timeout_s:
            return
        lost = ExecutorLost(f"no worker of the executor could be started for {timeout_s:g} s")
        for frame in self._ready.take_all():
            self._lost.fail(frame, "no worker", lost)

    def _fail(self, error: BaseException, *, report: bool = True) -> None:
        """Give up: everything fails that is not answered."""
        if self._failure is not None:
            return
        self._failure = error
        self._lost.may_retry = False
        for unit in self._units:
            executor, batches = unit.executor, tuple(unit.batches)
            unit.lose()
            unit.state = UnitState.ENDED
            for batch in batches:
                batch.is_over = True
                for frame in batch.frames:
                    frame.job.finish(None, error)
            if unit.arenas is not None:
                unit.arenas.close()
                unit.arenas = None
            if executor is not None:
                self._units.end(executor, kill=bool(batches))
        self._plan()
        if report:
            self._on_failed(error)
