"""Arrivals: what an accepted socket goes through until it is a connection."""

import asyncio
import logging
import socket
import ssl as ssl_module
from collections.abc import Callable
from typing import Any

from asyncrev.connection.first_look import FirstLook
from asyncrev.log_text import name_of_peer
from asyncrev.server.connections import Connections, ServerConnection
from asyncrev.server.handshake import NO_LOOP_TIMEOUT_S, HandshakeDeadline

__all__ = ["Arrivals"]

logger = logging.getLogger("asyncrev")

# Makes a connection; calls its argument when the connection is made.
MakeConnection = Callable[[Callable[[], None] | None], ServerConnection]


class Arrivals:
    """Accepted sockets that are not connections yet. All methods: the loop's thread.

    Each is a task, `_arrive`, that takes the steps in order under one deadline: the TLS handshake,
    if there is one, then the protocol. What has to be read before the handshake belongs there.

    Attributes:
        timeout_s: the deadline of sockets that are accepted from now on.
    """

    def __init__(
        self,
        registry: Connections,
        make_connection: MakeConnection,
        *,
        ssl: ssl_module.SSLContext | None,
        timeout_s: float,
    ) -> None:
        """Prepare to lead sockets to connections, and to report their number to `registry`."""
        self._registry = registry
        self._make_connection = make_connection
        self._ssl = ssl
        self._look: Callable[[memoryview], bool] | None = None  # at connections' first input
        self._tasks: set[asyncio.Task[None]] = set()
        self.timeout_s = timeout_s

    def accept(self, sock: socket.socket, address: Any) -> None:
        """Take a non-blocking socket that was accepted from the peer at `address`."""
        task = asyncio.create_task(self._arrive(sock, address))
        self._tasks.add(task)
        task.add_done_callback(self._end)
        self._registry.begin_arrival()

    async def wait(self) -> None:
        """Wait until none is left."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def cancel(self) -> None:
        """Close all of them; `wait` returns when that is done."""
        for task in self._tasks:
            task.cancel()

    def watch_first_input(self, look: Callable[[memoryview], bool]) -> None:
        """See `Server.watch_first_input`."""
        self._look = look

    async def _arrive(self, sock: socket.socket, address: Any) -> None:
        deadline: HandshakeDeadline | None = None
        if self._ssl is not None:
            deadline = HandshakeDeadline(sock, self.timeout_s)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._make_protocol(deadline),
                sock,
                ssl=self._ssl,
                ssl_handshake_timeout=NO_LOOP_TIMEOUT_S if deadline is not None else None,
            )
        except (OSError, asyncio.CancelledError) as error:
            # The peer has gone, or failed its handshake (ssl.SSLError is an OSError).
            late = deadline is not None and deadline.has_passed
            if late:
                self._registry.count_aborted("TLS handshake deadline")
            self._log_failure(address, error, deadline if late else None)
            sock.close()
            if isinstance(error, asyncio.CancelledError) and not late:
                raise
        finally:
            if deadline is not None:
                deadline.cancel()

    def _log_failure(
        self, address: Any, error: BaseException, passed: HandshakeDeadline | None
    ) -> None:
        # As text: an error in a log record that somebody keeps would keep the whole bridge.
        why = str(error) or "the peer closed the connection"
        if isinstance(error, asyncio.CancelledError):
            why = str(passed) if passed is not None else "the server was closed"
        what = "closed on its arrival" if self._ssl is None else "TLS handshake failed"
        logger.info("%s: %s: %s", name_of_peer(address), what, why)

    def _make_protocol(self, deadline: HandshakeDeadline | None) -> asyncio.BaseProtocol:
        # The deadline ends when the connection is made: `_arrive` resumes an iteration later.
        connection = self._make_connection(deadline.cancel if deadline is not None else None)
        if self._look is None:
            return connection
        return FirstLook(connection, connection.claimed, self._see_first_input)

    def _see_first_input(self, first: memoryview) -> None:
        if self._look is not None and not self._look(first):
            self._look = None

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._registry.end_arrival()
