"""Executors that are one thread, or one interpreter, which may hang without keeping the process.

Theory of operation. A thread that hangs cannot be ended. A `ThreadPoolExecutor` joins its threads
when the process exits, so one that hangs would keep the process for ever. The thread here is a
daemon: it is left behind, its stack can be logged, and it ends after its call if that ever returns.
"""

import importlib
import importlib.util
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from asyncrev.errors import SettingsError

__all__ = ["InterpreterExecutor", "ThreadExecutor", "check_interpreters"]

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
        """Return where the thread is now, as a traceback has it; empty if it has ended."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        return "".join(traceback.format_stack(frame)) if frame is not None else ""

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function, args, kwargs = call
            if future.set_running_or_notify_cancel():
                try:
                    result = self._call(function, args, kwargs)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            del call, future, args  # nothing of it is kept while the thread waits

    def _call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Make a call. Thread: the executor's, as all below."""
        return function(*args, **kwargs)


def check_interpreters() -> None:
    """Look whether this Python has interpreters.

    Raises:
        SettingsError: it has none.
    """
    if importlib.util.find_spec("concurrent.interpreters") is None:
        raise SettingsError(
            f"executor is 'interpreters', but Python {sys.version.split()[0]} has no "
            "concurrent.interpreters, which is new in 3.14; use processes"
        )


class InterpreterExecutor(ThreadExecutor):
    """Makes calls in an interpreter of its own, with a GIL of its own."""

    def __init__(self) -> None:
        """Start the thread, which makes the interpreter. `check_interpreters` says if it can."""
        self._interpreter: Any = None
        super().__init__()

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            if self._interpreter is not None:
                self._interpreter.close()

    def _call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self._interpreter is None:
            self._interpreter = importlib.import_module("concurrent.interpreters").create()
        return self._interpreter.call(function, *args, **kwargs)
