"""A server on an event loop in its own thread, for tests that block."""

import asyncio
import functools
import socket
import ssl as ssl_module
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from asyncrev.frames.grammar import Grammar
from asyncrev.limits import Limits
from asyncrev.loop.eventloop import EpollEventLoop
from asyncrev.server.server import Server
from asyncrev.statistics import ServerStatistics
from asyncrev.testing.loop_thread import LoopThread
from asyncrev.work.reverse import Reverse

__all__ = ["ServerThread"]

Result = TypeVar("Result")


class ServerThread:
    """A server beside the test: `with ServerThread(Upper, framing="line") as server: ...`.

    It listens on a free port of 127.0.0.1, or on a UNIX path, when the block begins. At the end of
    the block the server drains; then its failures are raised: a worker that died, a drain that did
    not end in time, and exceptions that the loop's exception handler received, such as those of a
    processor. If the block raises, its error propagates, with the failures as notes.

    Attributes:
        server: the server, within the block; its methods belong to the loop's thread, see `call`.
        errors: the contexts that the loop's exception handler has received. A test that expects
            some checks them within the block and clears the list. Writer: the loop's thread;
            readers: any.
    """

    server: Server

    def __init__(
        self,
        processor: Any = Reverse,
        *,
        framing: str | Grammar = "raw",
        limits: Limits | None = None,
        threads: int = 1,
        ssl: ssl_module.SSLContext | None = None,
        uds: str | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] = EpollEventLoop,
        deadline_s: float = 10.0,
    ) -> None:
        """Prepare a server, which opens nothing yet.

        Args:
            processor: a class or factory of processors, or a function; see `Server`.
            framing: "raw", "line", "len32", "len64" or a `Grammar`.
            limits: see `Limits`.
            threads: how many workers.
            ssl: serve TLS with this context.
            uds: listen on this UNIX path instead of a port.
            loop_factory: makes the loop, for instance `uvloop.new_event_loop`.
            deadline_s: for the start, the end and each call, and the timeout of connected sockets.
        """
        self._make = functools.partial(
            Server, processor, framing=framing, limits=limits, threads=threads, ssl=ssl
        )
        self._uds = uds
        self._loop_factory = loop_factory
        self._deadline_s = deadline_s
        self._thread = LoopThread(self._serve, "asyncrev-server-thread", loop_factory)
        self._address: Any = None
        self.errors: list[dict[str, Any]] = []

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start, and wait until the server listens.

        Raises:
            TimeoutError: the server does not listen within `deadline_s`.
            OSError, SettingsError, LocalError: as `Server` and `Server.start`.
        """
        if not self._thread.start(self._deadline_s):
            raise TimeoutError(f"the server did not listen within {self._deadline_s:g} s")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Drain, end the thread, and raise the failures."""
        ended = self._thread.stop(self._deadline_s)
        failures = self._failures(ended)
        if error is not None:
            for failure in failures:
                error.add_note(f"in the server's thread: {failure!r}")
        elif len(failures) == 1:
            raise failures[0]
        elif failures:
            raise BaseExceptionGroup("several failures in the server's thread", failures)

    def _failures(self, ended: bool) -> list[BaseException]:
        found: list[BaseException] = []
        if not ended:
            found.append(TimeoutError(f"the server did not end within {self._deadline_s:g} s"))
        if self._thread.failure is not None:
            found.append(self._thread.failure)
        for context in self.errors:
            error = context.get("exception") or AssertionError(context.get("message"))
            if not any(error is known for known in found):  # a worker's death is reported twice
                found.append(error)
        # A bridge has descriptors until it is collected, and each of these references it.
        self._thread.failure = None
        self.errors.clear()
        self.__dict__.pop("server", None)
        return found

    async def _serve(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        asyncio.get_running_loop().set_exception_handler(self._note)
        self.server = self._make()
        async with self.server as server:
            await server.start("127.0.0.1", 0, uds=self._uds)
            self._address = server.addresses[0]
            ready()
            ended = asyncio.create_task(server.serve_forever())
            asked = asyncio.create_task(stop.wait())
            await asyncio.wait((ended, asked), return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            in_time = ended.done() or await server.drain(self._deadline_s / 2)
            await ended  # a worker that died is raised here
            if not in_time:
                raise TimeoutError(
                    f"the drain did not end within {self._deadline_s / 2:g} s; aborted: "
                    f"{server.statistics().aborted}"
                )

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(context)

    # -- called by the test ----------------------------------------------------------------------

    @property
    def address(self) -> Any:
        """The host and port, or the UNIX path."""
        return self._address

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self._address[1])

    def connect(self, *, receive_buffer_bytes: int | None = None) -> socket.socket:
        """Return a connected blocking socket with a timeout of `deadline_s`; the caller closes it.

        `receive_buffer_bytes` is SO_RCVBUF, which is set before connecting, as the window requires.
        """
        sock = socket.socket(socket.AF_UNIX if self._uds is not None else socket.AF_INET)
        try:
            sock.settimeout(self._deadline_s)
            if receive_buffer_bytes is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            sock.connect(self._address)
        except BaseException:
            sock.close()
            raise
        return sock

    def call(
        self, function: Callable[..., Coroutine[Any, Any, Result]], *args: Any, **settings: Any
    ) -> Result:
        """Run `function(*args, **settings)` on the server's loop; return its result.

        Thread: any but the loop's.

        Raises:
            TimeoutError: it took longer than `deadline_s`, and was cancelled.
            BaseException: what `function` raises.
        """
        loop = self._thread.loop
        assert loop is not None
        future = asyncio.run_coroutine_threadsafe(function(*args, **settings), loop)
        try:
            return future.result(self._deadline_s)
        finally:
            future.cancel()

    def statistics(self) -> ServerStatistics:
        """Return the server's statistics. Thread: any but the loop's."""
        return self.call(self._statistics)

    async def _statistics(self) -> ServerStatistics:
        return self.server.statistics()
