"""Coroutines: an engine that answers requests by tasks on the loop."""

import asyncio
import contextvars
import inspect
from typing import Any

from asyncrev.bridge.engine import Job
from asyncrev.connection_info import CURRENT
from asyncrev.errors import ProcessorError
from asyncrev.later_processors import CoroutineFactory
from asyncrev.loop_errors import report_to_loop
from asyncrev.processors import as_reply
from asyncrev.work.requests import RequestKind

__all__ = ["Coroutines"]


class _Connection:
    """What is kept of one connection. Thread: loop."""

    __slots__ = ("context", "is_closed", "processor", "running")

    def __init__(self) -> None:
        self.context = contextvars.copy_context()
        self.processor: Any = None
        self.running = 0
        self.is_closed = False


class Coroutines:
    """Runs the coroutines of one processor, for any number of connections; see `engine.Engine`."""

    __slots__ = ("_factory", "_tasks", "calls_connected", "calls_eof", "timeout_s")

    def __init__(self, factory: CoroutineFactory, timeout_s: float) -> None:
        self._factory = factory
        # A loop has weak references to its tasks only.
        self._tasks: set[asyncio.Task[None]] = set()
        self.calls_connected = factory.speaks_first
        self.calls_eof = factory.calls_eof
        self.timeout_s: float | None = timeout_s

    def open_lane(self) -> _Connection:
        """See `Engine.open_lane`. The connection's context is that of the caller."""
        return _Connection()

    def start(self, job: Job) -> None:
        """See `Engine.start`. Each request has a copy of its connection's context."""
        state: _Connection = job.state
        context = state.context.copy()
        context.run(CURRENT.set, job.info)
        state.running += 1
        self._begin(job, self._answer(job, state), context)

    def cancel(self, job: Job) -> None:
        """See `Engine.cancel`."""
        task: asyncio.Task[None] | None = job.engine_data
        if task is not None:
            task.cancel()

    def close_lane(self, state: _Connection) -> None:
        """See `Engine.close_lane`; the processor is closed when none of its coroutines runs."""
        state.is_closed = True
        if not state.running:
            self._close(state)

    def _begin(self, job: Job | None, coroutine: Any, context: contextvars.Context) -> None:
        loop = asyncio.get_running_loop()
        try:
            task = loop.create_task(coroutine, context=context)
        except BaseException:
            coroutine.close()
            raise
        if job is not None:
            job.engine_data = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, job: Job, state: _Connection) -> None:
        reply: bytes | None = None
        error: BaseException | None = None
        try:
            result = await self._call(job, state)
            reply = as_reply(result, None, views_allowed=False)  # type: ignore[assignment]
        except asyncio.CancelledError as raised:
            error = ProcessorError("a coroutine that is a processor was cancelled")
            error.__cause__ = raised
            raise
        except BaseException as raised:
            error = raised
            if isinstance(raised, KeyboardInterrupt):
                raise  # it may be the user's Ctrl-C
        finally:
            state.running -= 1
            job.finish(reply, error)
            if state.is_closed and not state.running:
                self._close(state)

    async def _call(self, job: Job, state: _Connection) -> Any:
        request, factory = job.request, self._factory
        if factory.function is not None:
            return await factory.function(request.payload)
        if state.processor is None:
            assert factory.make is not None
            state.processor = factory.make()
        processor = state.processor
        if request.kind is RequestKind.FRAME:
            return await processor.process(request.payload)
        if request.kind is RequestKind.CONNECTED:
            said = processor.connected(job.info)
        else:
            said = processor.eof()
        return await said if inspect.isawaitable(said) else said

    def _close(self, state: _Connection) -> None:
        processor, state.processor = state.processor, None
        if getattr(processor, "close", None) is not None:
            self._begin(None, _close(processor), state.context)


async def _close(processor: Any) -> None:
    try:
        done = processor.close()
        if inspect.isawaitable(done):
            await done
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        report_to_loop(
            asyncio.get_running_loop(), "a processor's close() failed after its connection", error
        )
