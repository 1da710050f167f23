"""What stands between a transport and a connection for a while, and hands all events on."""

import asyncio
from typing import Any, Generic, TypeVar

__all__ = ["Forwarding"]

Connection = TypeVar("Connection", bound=asyncio.BufferedProtocol)


class Forwarding(asyncio.BufferedProtocol, Generic[Connection]):
    """Hands a transport's calls on to a connection; what else it does is its subclasses' business.

    Thread: the loop's, all methods.
    """

    def __init__(self, connection: Connection) -> None:
        """Prepare to hand on to `connection`."""
        self._connection = connection
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand on."""
        self._transport = transport
        self._connection.connection_made(transport)

    def get_buffer(self, sizehint: int) -> Any:
        """Hand on."""
        return self._connection.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on."""
        self._connection.buffer_updated(nbytes)

    def eof_received(self) -> bool | None:
        """Hand on."""
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        """Hand on."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Hand on."""
        self._connection.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Hand on."""
        self._connection.connection_lost(error)
