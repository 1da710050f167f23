"""Starts of executors, with a trial of the function on their workers, and their ends.

These block, so they run on threads of their own; `in_thread` is how the loop waits for one.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from concurrent.futures import wait as wait_for
from typing import TypeVar

from asyncrev.errors import ExecutorLost, SettingsError
from asyncrev.executors.functions import ExecutorFunction
from asyncrev.executors.pools import START_TIMEOUT_S, Source
from asyncrev.executors.remote import try_function
from asyncrev.executors.results import FrameFailure

__all__ = ["Starter", "in_thread"]

_HINT = (
    " (if the main module is a script, what serves must be under if __name__ == '__main__', as "
    "worker processes import it)"
)

Result = TypeVar("Result")


class Starter:
    """Starts and ends executors. Thread: any, but for the constructor."""

    def __init__(self, source: Source, function: ExecutorFunction) -> None:
        self._source = source
        self._function = function
        self._lock = threading.Lock()
        self._starting: set[Executor] = set()  # guarded by _lock, as is the next one
        self._is_stopped = False

    def start(self) -> Executor:
        """Return a new executor whose workers have imported the function. Blocks.

        Raises:
            SettingsError: the function cannot be imported there, or failed with an empty frame.
            ExecutorLost: workers died, or were not ready in time, or `stop` was called.
        """
        executor = self._source.make()
        with self._lock:
            self._starting.add(executor)
            is_stopped = self._is_stopped
        try:
            if is_stopped:
                raise ExecutorLost("the executor is being closed")
            self._try(executor)
        except BaseException:
            self._source.end(executor, kill=True)
            raise
        finally:
            with self._lock:
                self._starting.discard(executor)
        return executor

    def _try(self, executor: Executor) -> None:
        function = self._function
        trials = [
            executor.submit(try_function, function.call, call=function.may_be_tried)
            for _ in range(max(1, self._source.workers(executor)))
        ]
        _, late = wait_for(trials, START_TIMEOUT_S)
        not_ready = ExecutorLost(f"a worker was not ready {START_TIMEOUT_S:g} s after its start")
        if late:
            raise not_ready
        for trial in trials:
            try:
                failure = trial.result()
            except TimeoutError as error:  # of an executor that has waited itself
                raise not_ready from error
            except Exception as error:
                loss = self._source.loss_of(error)
                what = loss.cause if loss else "failed"
                raise ExecutorLost(
                    f"a worker of the executor {what} at its start: {error}{_HINT}"
                ) from error
            if isinstance(failure, FrameFailure):
                what = "tried with an empty frame, as its may_be_tried allows, and"
                raise SettingsError(
                    f"processor {function.call!r} was imported by a worker of the executor, "
                    f"{what if function.may_be_tried else 'which'} raised {failure.type_name}: "
                    f"{failure.text}"
                )

    def end(self, executor: Executor, *, kill: bool) -> None:
        """End an executor. Blocks."""
        self._source.end(executor, kill=kill)

    def stop(self) -> None:
        """Have no executor start any more; those that are about to are ended by their `start`."""
        with self._lock:
            self._is_stopped = True


def in_thread(function: Callable[[], Result], name: str) -> "asyncio.Future[Result]":
    """Call `function` on a thread of its own; return a future of its result. Thread: loop.

    The thread is a daemon, so that one that hangs does not keep the process.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # without an error there is one

    def run() -> None:
        result, failed = None, None
        try:
            result = function()
        except BaseException as error:
            failed = error
        try:
            loop.call_soon_threadsafe(settle, result, failed)
        except RuntimeError:  # the loop is closed: nobody waits
            pass

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
