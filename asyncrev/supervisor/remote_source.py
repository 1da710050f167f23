"""Asks a worker process over its pair for questions; see `questions` for what goes over it."""

import asyncio
import contextlib
import json
import logging
import socket
import threading
from typing import Any

from asyncrev.admin.sources import ASK_TIMEOUT_S, NoAnswer, NoWorker
from asyncrev.supervisor.questions import LONGEST_ANSWER_BYTES, Lines

__all__ = ["RemoteSource"]

logger = logging.getLogger("asyncrev")

READ_BYTES = 1 << 18

_GONE = "the worker process has ended"


class RemoteSource:
    """A `Source` that asks a worker process, for one thing at a time.

    While the worker does not answer, one question waits there, however often it is asked. So its
    answer, when it comes, is told from that to a later question by its number.

    Made on any thread; `ask` belongs to the endpoint's, `close` to any.

    Attributes:
        worker: the value of the label; written by the supervisor's loop, read by the endpoint's.
    """

    def __init__(self, sock: socket.socket, worker: str) -> None:
        """Ask over `sock`, the source's from now on, over which the setup was written."""
        self.worker = worker
        sock.setblocking(False)
        self._socket = sock
        self._close_lock = threading.Lock()  # for the next two
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None  # once it reads
        # The rest is the endpoint's thread's.
        self._one_at_a_time = asyncio.Lock()
        self._lines = Lines(LONGEST_ANSWER_BYTES)
        self._number = 0
        self._asked_s = 0.0
        self._waiting: asyncio.Event | None = None  # for the answer to `_number`
        self._answer: dict[str, Any] = {}
        self._is_gone = False

    async def ask(
        self, what: str, timeout_s: float = ASK_TIMEOUT_S, **arguments: Any
    ) -> dict[str, Any]:
        """See `Source.ask`. The time in which it waits for earlier questions does not count."""
        loop = asyncio.get_running_loop()
        async with self._one_at_a_time:
            self._begin_reading(loop)
            if self._waiting is not None:
                # An earlier question came to nothing so far; it is given its time, too.
                await self._wait(self._waiting, self._asked_s + timeout_s - loop.time())
            self._asked_s = loop.time()
            self._waiting = self._send(what, arguments)
            return _said(await self._wait(self._waiting, timeout_s))

    def close(self) -> None:
        """See `Source.close`; the socket is closed. Idempotent. Thread: any."""
        with self._close_lock:
            if self._is_closed:
                return
            self._is_closed = True
            loop = self._loop
        if loop is None:
            self._socket.close()
        elif _is_running(loop):
            self._end()
        else:
            try:
                loop.call_soon_threadsafe(self._end)
            except RuntimeError:  # it is closed: nobody reads any more
                self._socket.close()

    # -- the endpoint's thread ---------------------------------------------------------------

    def _begin_reading(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._close_lock:
            if self._is_closed or self._is_gone:
                raise NoWorker(_GONE)
            if self._loop is None:
                self._loop = loop
                loop.add_reader(self._socket, self._read)

    def _send(self, what: str, arguments: dict[str, Any]) -> asyncio.Event:
        self._number += 1
        question = {"id": self._number, "ask": what, "arguments": arguments}
        data = json.dumps(question, separators=(",", ":")).encode() + b"\n"
        if self._is_gone:
            raise NoWorker(_GONE)
        try:
            sent = self._socket.send(data, socket.MSG_NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            raise NoAnswer("the worker process reads no questions") from None
        except OSError:
            self._end()
            raise NoWorker(_GONE) from None
        if sent < len(data):  # its beginning cannot be taken back
            logger.error("worker %s reads no questions", self.worker)
            self._end()
            raise NoWorker("the worker process reads no questions")
        return asyncio.Event()

    async def _wait(self, waiting: asyncio.Event, timeout_s: float) -> dict[str, Any]:
        """Return the answer to the last question.

        Raises:
            NoAnswer: it has not come after the timeout, or will not.
        """
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                await waiting.wait()
        except TimeoutError:
            raise NoAnswer("the event loop does not answer") from None
        if self._is_gone:
            raise NoWorker(_GONE)
        return self._answer

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        try:
            for line in self._lines.feed(data):
                self._take(line)
        except ValueError as error:
            logger.error("worker %s is not asked any more: %s", self.worker, error)
            self._end()

    def _take(self, line: bytes) -> None:
        if self._waiting is None:
            return  # nobody has asked
        answer = _object_in(line)
        if answer is None:
            logger.error("worker %s: an answer that cannot be read: %r", self.worker, line[:100])
        elif answer.get("id") == self._number:
            self._answer = answer
            self._waiting.set()
            self._waiting = None

    def _end(self) -> None:
        """Ask and read no more; idempotent."""
        if self._is_gone:
            return
        self._is_gone = True
        assert self._loop is not None
        self._loop.remove_reader(self._socket)
        with self._close_lock:
            self._is_closed = True
        self._socket.close()
        if self._waiting is not None:
            self._waiting.set()


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether this thread runs `loop`."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _object_in(line: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    return None


def _said(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what an answer says.

    Raises:
        ValueError: that it cannot be answered.
        NoAnswer: that it failed.
    """
    if "refused" in answer:
        raise ValueError(answer["refused"])
    said = answer.get("answer")
    if not isinstance(said, dict):
        raise NoAnswer("it failed; the log of the worker says how")
    return said
