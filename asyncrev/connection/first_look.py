"""Lets somebody see what a connection begins with, at no cost for what comes later."""

import asyncio
from collections.abc import Callable

from asyncrev.connection.forwarding import Forwarding

__all__ = ["FirstLook"]


class FirstLook(Forwarding[asyncio.BufferedProtocol]):
    """Stands before a connection until its first input. All methods: loop's thread.

    Then the transport gets the connection itself, so later input makes no detour. (A class of
    connections that changed its objects' `__class__` after the look made each message of 64 bytes
    5 to 15 % dearer: CPython then gives up the inline values of the object.)
    """

    def __init__(
        self,
        connection: asyncio.BufferedProtocol,
        claimed: Callable[[int], memoryview],
        look: Callable[[memoryview], None],
    ) -> None:
        """Prepare to call `look` with what is received first; the view is valid in that call.

        Args:
            connection: gets all events, and is the transport's protocol from its first input on.
            claimed: returns the first `n` bytes of what `connection.get_buffer` returned last.
            look: must not raise.
        """
        super().__init__(connection)
        self._claimed = claimed
        self._look = look

    def buffer_updated(self, nbytes: int) -> None:
        """Have the input looked at, and leave."""
        self._transport.set_protocol(self._connection)
        self._look(self._claimed(nbytes))
        self._connection.buffer_updated(nbytes)
