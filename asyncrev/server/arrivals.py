"""Arrivals: what an accepted socket goes through until it is a connection."""

import asyncio
import functools
import logging
import socket
from collections.abc import Callable
from typing import Any

from asyncrev.connection.first_look import FirstLook
from asyncrev.log_text import name_of_peer
from asyncrev.loop_errors import report_to_loop
from asyncrev.server.connections import Connections, ServerConnection
from asyncrev.server.handshake_entrance import HandshakeEntrance, HandshakeGates

__all__ = ["Arrivals"]

logger = logging.getLogger("asyncrev")

MakeConnection = Callable[[], ServerConnection]


class Arrivals:
    """Accepted sockets that are not connections yet. All methods: the loop's thread.

    Each is a task, `_arrive`. What has to be read before the connection is made belongs there.
    """

    def __init__(
        self,
        registry: Connections,
        make_connection: MakeConnection,
        gates: HandshakeGates | None = None,
    ) -> None:
        """Prepare to lead sockets to connections, and to report their number to `registry`.

        `gates`: limit the handshakes of connections over TLS.
        """
        self._gates = gates
        self._registry = registry
        self._make_connection = make_connection
        self._look: Callable[[memoryview], bool] | None = None  # at connections' first input
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, sock: socket.socket, address: Any) -> None:
        """Take a non-blocking socket that was accepted from the peer at `address`."""
        task = asyncio.create_task(self._arrive(sock, address))
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._end, sock, address))
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
        make = functools.partial(self._make_protocol, address)
        await asyncio.get_running_loop().connect_accepted_socket(make, sock)

    def _make_protocol(self, address: Any) -> asyncio.BaseProtocol:
        connection = self._make_connection()
        connection.note_accepted(address)
        first: ServerConnection | HandshakeEntrance = connection
        if self._gates is not None:
            first = HandshakeEntrance(self._gates, connection)
        if self._look is None:
            return first
        return FirstLook(first, first.claimed, self._see_first_input)

    def _see_first_input(self, first: memoryview) -> None:
        if self._look is not None and not self._look(first):
            self._look = None

    def _end(self, sock: socket.socket, address: Any, task: "asyncio.Task[None]") -> None:
        # Here and not in the task, which does not run at all if it is cancelled early.
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            sock.close()
            # As text: an error in a log record that somebody keeps would keep the whole bridge.
            why = "the server was closed" if error is None else str(error)
            logger.info(
                "%s: closed on its arrival: %s",
                name_of_peer(address),
                why or "the peer closed the connection",
            )
        if error is not None and not isinstance(error, OSError):
            report_to_loop(asyncio.get_running_loop(), "an arrival failed", error)
        self._registry.end_arrival()
