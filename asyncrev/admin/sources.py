"""Sources: whom an admin endpoint asks, one for each worker process.

A supervisor has sources that ask over socket pairs, so answers are plain JSON types.
"""

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from asyncrev.admin.answers import Answers
from asyncrev.errors import AsyncrevError

__all__ = ["ASK_TIMEOUT_S", "LocalSource", "NoAnswer", "NoWorker", "Source"]

ASK_TIMEOUT_S = 0.5


class NoAnswer(AsyncrevError):
    """A source has not answered in time, or cannot any more; the message says which."""


class NoWorker(NoAnswer):
    """There is no process to answer, so that nothing in it can be stuck."""


class Source(Protocol):
    """One worker process. Thread: the endpoint's, with its loop.

    Attributes:
        worker: the value of the label `worker`.
    """

    worker: str

    async def ask(
        self, what: str, timeout_s: float = ASK_TIMEOUT_S, **arguments: Any
    ) -> dict[str, Any]:
        """Return the answer to `what`, see `Answers`.

        Raises:
            NoAnswer: there is none within `timeout_s`.
            ValueError: `what`, or an argument, is not one that can be answered.
        """
        ...

    def close(self) -> None:
        """Ask nothing any more; what was asked is forgotten. Thread: the endpoint's."""
        ...


class LocalSource:
    """Asks the server of this process, on its loop, for one thing at a time.

    While the loop is stuck, one callback waits there, however often it is asked.
    """

    def __init__(
        self, answers: Answers, loop: asyncio.AbstractEventLoop, worker: str = "0"
    ) -> None:
        """Ask `answers` on `loop`, that of the server."""
        self.worker = worker
        self._answers = answers
        self._loop = loop
        self._lock = asyncio.Lock()
        self._asked_s = 0.0
        self._asked: concurrent.futures.Future[dict[str, Any]] | None = None

    async def ask(
        self, what: str, timeout_s: float = ASK_TIMEOUT_S, **arguments: Any
    ) -> dict[str, Any]:
        """See `Source.ask`. The time in which it waits for earlier questions does not count."""
        now_s = asyncio.get_running_loop().time
        async with self._lock:
            if self._asked is not None and not self._asked.done():
                # An earlier question came to nothing so far; it is given its time, too.
                await self._wait(self._asked, self._asked_s + timeout_s - now_s())
            self._asked_s = now_s()
            self._asked = self._post(what, arguments)
            await self._wait(self._asked, timeout_s)
            try:
                return self._asked.result()
            except concurrent.futures.CancelledError:
                raise NoAnswer("the event loop is closed") from None

    def close(self) -> None:
        """See `Source.close`."""
        if self._asked is not None:
            self._asked.cancel()

    def _post(
        self, what: str, arguments: dict[str, Any]
    ) -> "concurrent.futures.Future[dict[str, Any]]":
        answer = self._answers.answer(what, arguments)
        try:
            return asyncio.run_coroutine_threadsafe(answer, self._loop)
        except RuntimeError:
            answer.close()
            raise NoAnswer("the event loop is closed") from None

    async def _wait(
        self, asked: "concurrent.futures.Future[dict[str, Any]]", timeout_s: float
    ) -> None:
        """Wait until `asked` is done. It is not cancelled, for that would be one callback more.

        Raises:
            NoAnswer: it is not done after the timeout.
        """
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        asked.add_done_callback(lambda _: _call_soon(loop, done.set))
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                await done.wait()
        except TimeoutError:
            raise NoAnswer("the event loop does not answer") from None


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call `callback` in `loop`, unless that is closed. Thread: any."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)
