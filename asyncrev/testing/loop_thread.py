"""A coroutine on an event loop in its own thread, from its start to its stop."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

__all__ = ["LoopThread", "Main"]

# Called with a function to call when it is ready, and an event that is set when it is to end.
Main: TypeAlias = Callable[[Callable[[], None], asyncio.Event], Coroutine[Any, Any, object]]


class LoopThread:
    """Runs `main` on its own thread. Thread: any but that one, one at a time, unless stated.

    Attributes:
        loop: the running loop, once it is started. Writer: the loop's thread; readers: any.
        failure: what `main` raised, or None. Writer: the loop's thread, before it ends; readers:
            any, after `start` or `stop`.
    """

    def __init__(
        self,
        main: Main,
        name: str,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        """Prepare a thread of that name; `loop_factory` makes its loop, by default asyncio's."""
        self.loop: asyncio.AbstractEventLoop | None = None
        self.failure: BaseException | None = None
        self._main = main
        self._loop_factory = loop_factory
        self._stop: asyncio.Event | None = None
        self._is_ready = False  # writer: the loop's thread
        self._ready_or_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, deadline_s: float | None = None) -> bool:
        """Start the thread, and wait until `main` is ready; return False after `deadline_s`.

        Raises:
            BaseException: what `main` raised before it was ready.
        """
        self._thread.start()
        if not self._ready_or_ended.wait(deadline_s):
            return False
        if self.failure is not None and not self._is_ready:
            self._thread.join(deadline_s)
            failure, self.failure = self.failure, None
            raise failure
        return True

    def stop(self, deadline_s: float | None = None) -> bool:
        """Make `main` end, and wait for the thread; return whether it ended in `deadline_s`."""
        loop, stop = self.loop, self._stop
        assert loop is not None
        assert stop is not None
        try:
            loop.call_soon_threadsafe(stop.set)
        except RuntimeError:
            pass  # the loop has ended by itself
        self._thread.join(deadline_s)
        return not self._thread.is_alive()

    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        # Thread: the loop's.
        try:
            with asyncio.Runner(loop_factory=self._loop_factory) as runner:
                runner.run(self._run_main())
        except BaseException as failure:
            self.failure = failure
        finally:
            self._ready_or_ended.set()

    def _note_ready(self) -> None:
        self._is_ready = True
        self._ready_or_ended.set()

    async def _run_main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await self._main(self._note_ready, self._stop)
