"""An executor that is one thread, which may hang without keeping the process.

Theory of operation. A thread that hangs cannot be ended. A `ThreadPoolExecutor` joins its threads
when the process exits, so one that hangs would keep the process for ever. The thread here is a
daemon: it is left behind, its stack can be logged, and it ends after its call if that ever returns.
"""

import queue
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

__all__ = ["ThreadExecutor", "stack_of"]


def stack_of(thread: threading.Thread) -> str:
    """Return where a thread is now, as a traceback has it; empty if it has ended. Thread: any."""
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else ""


_Call = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class ThreadExecutor(Executor):
    """Makes calls on a thread of its own, one after the other. Thread: any."""

    def __init__(self) -> None:
        """Start the thread."""
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_over = False  # guarded by _lock; set before None is put, behind all calls
        self._thread = threading.Thread(target=self._run, name="asyncrev-executor", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Put a call behind the others. Raises RuntimeError after `shutdown`."""
        future: Future[Any] = Future()
        with self._lock:
            if self._is_over:
                raise RuntimeError("the executor was shut down")
            self._calls.put((future, function, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Have the thread end after the calls that it has, or the one that runs. Idempotent."""
        with self._lock:
            if not self._is_over:
                self._is_over = True
                if cancel_futures:
                    self._cancel_all()
                self._calls.put(None)
        if wait:
            self._thread.join()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread, after `shutdown`. Blocks."""
        self._thread.join(timeout_s)

    def _cancel_all(self) -> None:
        while True:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return
            if call is not None:
                call[0].cancel()
                call[0].set_running_or_notify_cancel()

    @property
    def is_alive(self) -> bool:
        """Whether the thread has not ended."""
        return self._thread.is_alive()

    def stack(self) -> str:
        """Return where the thread is now; see `stack_of`."""
        return stack_of(self._thread)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function, args, kwargs = call
            if future.set_running_or_notify_cancel():
                try:
                    result = function(*args, **kwargs)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            del call, future, args  # nothing of it is kept while the thread waits
