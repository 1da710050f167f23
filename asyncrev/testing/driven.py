"""Asynchronous processors, called to their end, so that they can be checked like others."""

import asyncio
import contextvars
import inspect
from types import TracebackType
from typing import Any, Self

from asyncrev.connection_info import CURRENT, ConnectionInfo
from asyncrev.errors import LocalError
from asyncrev.later_processors import CoroutineFactory
from asyncrev.testing.lanes import Violation, shown

__all__ = ["Driver"]


class Driver:
    """Has an event loop of its own, on which it runs each call to its end. Thread: the caller's.

    Attributes:
        last: the processor that was made last.
    """

    def __init__(self, factory: CoroutineFactory) -> None:
        """Prepare to drive processors of `factory`.

        Raises:
            LocalError: an event loop runs in this thread, so no other can.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise LocalError(
                "an asynchronous processor is checked on an event loop of its own, and one runs in "
                "this thread: call check_processor by asyncio.to_thread"
            )
        self.factory = factory
        self._runner = asyncio.Runner()
        self._context = contextvars.copy_context()  # of all calls
        self.last: _Driven | None = None

    def __enter__(self) -> Self:
        self._runner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.__exit__(kind, error, trace)

    def make(self) -> "_Driven":
        """Make a processor whose calls are synchronous."""
        self.last = _Driven(self)
        return self.last

    def run(self, result: Any) -> Any:
        """Return `result`, or what it comes to if it is to be awaited."""
        if not inspect.isawaitable(result):
            return result

        async def wait() -> Any:
            return await result

        return self._runner.run(wait(), context=self._context)

    def note_peer(self, info: ConnectionInfo | None) -> None:
        """Have `current_connection_info` return this in the next calls."""
        self._context.run(CURRENT.set, info)

    def check_overlapping(self) -> None:
        """Have a new processor answer at once what the last one was asked, and compare.

        Raises:
            Violation: calls that overlap get other replies.
        """
        last = self.last
        assert last is not None
        if len(last.calls) < 2:
            return
        other = _Driven(self)
        if last.info is not None:
            other.connected(last.info)
        self.note_peer(last.info)

        async def ask_all() -> list[Any]:
            calls = (other.call(payload) for payload, _ in last.calls)
            return await asyncio.gather(*calls, return_exceptions=True)

        got = self._runner.run(ask_all(), context=self._context)
        for (payload, wanted), reply in zip(last.calls, got, strict=True):
            if isinstance(reply, BaseException) or bytes(reply or b"") != wanted:
                raise Violation(
                    "calls that overlap, as they do for one connection, get other replies\n"
                    f"  payload: {shown(payload)}\n  got: {reply!r}\n  expected: {shown(wanted)} "
                    "(as of calls one after another)"
                )
        other.close()


class _Driven:
    """One processor; see `Processor`. What it has not is not called.

    Attributes:
        calls: payloads and replies, as long as nothing was raised.
        info: who it was told of.
    """

    def __init__(self, driver: Driver) -> None:
        factory = driver.factory
        self._driver = driver
        self._function = factory.function
        self._object: Any = None if factory.make is None else factory.make()
        self.calls: list[tuple[bytes, bytes]] = []
        self.info: ConnectionInfo | None = None

    def call(self, payload: bytes) -> Any:
        """Return what is to be awaited."""
        function = self._function or self._object.process
        return function(payload)

    def connected(self, info: ConnectionInfo) -> Any:
        self.info = info
        connected = getattr(self._object, "connected", None)
        return None if connected is None else self._driver.run(connected(info))

    def process(self, chunk: memoryview) -> Any:
        payload = bytes(chunk)
        self._driver.note_peer(self.info)
        reply = self._driver.run(self.call(payload))
        try:
            self.calls.append((payload, bytes(reply or b"")))
        except TypeError:
            pass  # it is refused with its name
        return reply

    def eof(self) -> Any:
        eof = getattr(self._object, "eof", None)
        return None if eof is None else self._driver.run(eof())

    def close(self) -> None:
        close = getattr(self._object, "close", None)
        if close is not None:
            self._driver.run(close())
