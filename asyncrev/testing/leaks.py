"""Detection of what a test leaves behind: descriptors, threads, tasks, unhandled exceptions."""

import asyncio
import asyncio.runners
import gc
import os
import sysconfig
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

__all__ = ["LeakCheck"]

_LOOK_EVERY_S = 0.005
_FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
Found = TypeVar("Found")


class LeakCheck:
    """Context manager that fails if something is left when its block ends: `with LeakCheck(): ...`.

    It looks for descriptors that were opened or replaced, threads that still run, tasks that
    `asyncio.run` or a `Runner` had to cancel, and exceptions that reached a loop's own handler
    (`loop.default_exception_handler`). If the block raises, nothing is checked, and its error
    propagates.

    It is reusable but not reentrant. Enter it where no loop runs, because at the end the caller
    waits up to `deadline_s` for threads to end. Linux only (/proc).

    Attributes:
        unhandled: the contexts that loops' handlers received. A block that expects some clears the
            list.
        left_tasks: the tasks that were cancelled, as text.
    """

    def __init__(self, *, deadline_s: float = 10.0, freeze: bool = False) -> None:
        """Prepare a check.

        Args:
            deadline_s: how long to wait for threads that are about to end.
            freeze: exclude the objects that exist at the end from all later collections
                (`gc.freeze`). A suite of many tests runs much faster, since each of them collects
                twice, but frozen objects are never collected, even if they become garbage.
        """
        self._deadline_s = deadline_s
        self._freeze = freeze
        self._threads: set[threading.Thread] = set()
        self._descriptors: dict[int, str] = {}
        self._undo: list[Callable[[], None]] = []
        self.unhandled: list[dict[str, Any]] = []
        self.left_tasks: list[str] = []

    def recording(self, factory: LoopFactory) -> LoopFactory:
        """Return a factory of `factory`'s loops that records their unhandled exceptions here.

        For loops with an exception handler in C, such as uvloop's; asyncio's are recorded anyway.
        """

        def make() -> asyncio.AbstractEventLoop:
            loop = factory()
            loop.set_exception_handler(lambda _, context: self.unhandled.append(context))
            return loop

        return make

    def __enter__(self) -> Self:
        self.unhandled.clear()
        self.left_tasks.clear()
        self._watch_loops()
        gc.collect()
        self._threads = set(threading.enumerate())
        self._descriptors = _descriptors()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._check()
        finally:
            while self._undo:
                self._undo.pop()()

    def _watch_loops(self) -> None:
        cancel_all = asyncio.runners._cancel_all_tasks  # type: ignore[attr-defined]
        handler = asyncio.BaseEventLoop.default_exception_handler

        def note_and_cancel_all(loop: asyncio.AbstractEventLoop) -> None:
            self.left_tasks.extend(repr(task) for task in asyncio.all_tasks(loop))
            cancel_all(loop)

        def note_and_handle(loop: asyncio.BaseEventLoop, context: dict[str, Any]) -> None:
            self.unhandled.append(context)
            handler(loop, context)

        self._set(asyncio.runners, "_cancel_all_tasks", note_and_cancel_all)
        self._set(asyncio.BaseEventLoop, "default_exception_handler", note_and_handle)

    def _set(self, owner: Any, name: str, value: Any) -> None:
        before = getattr(owner, name)
        self._undo.append(lambda: setattr(owner, name, before))
        setattr(owner, name, value)

    def _check(self) -> None:
        """Raise AssertionError with everything that is left."""
        problems = []
        if self.unhandled:
            problems.append(f"unhandled loop exceptions: {self.unhandled}")
        if self.left_tasks:
            problems.append(f"tasks left: {self.left_tasks}")
        threads = _left(self._new_threads, self._deadline_s)
        if threads:
            problems.append(f"threads left after {self._deadline_s:g} s: {threads}")
        # On a free-threaded build, objects that another thread released last are freed later.
        left = _left(self._new_descriptors, self._deadline_s if _FREE_THREADED else 0.0)
        if self._freeze:
            gc.freeze()
        if self.unhandled and not problems:  # from tasks collected since the first check
            problems.append(f"unhandled loop exceptions: {self.unhandled}")
        if left:
            problems.append(f"descriptors left: {left}")
        if problems:
            raise AssertionError("; ".join(problems))

    def _new_threads(self) -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread not in self._threads]

    def _new_descriptors(self) -> dict[int, str]:
        gc.collect()  # after the threads, whose last frames keep objects alive
        return {
            fd: what for fd, what in _descriptors().items() if self._descriptors.get(fd) != what
        }


def _left(look: Callable[[], Found], deadline_s: float) -> Found:
    """Return what `look` finds, as soon as that is nothing, or after `deadline_s`."""
    end_s = time.monotonic() + deadline_s
    while (found := look()) and time.monotonic() < end_s:
        time.sleep(_LOOK_EVERY_S)
    return found


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass  # the listing's own descriptor
    return found
