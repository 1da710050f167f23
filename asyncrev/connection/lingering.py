"""What becomes of a connection after its last reply: it is emptied until its peer closes it."""

import asyncio
from typing import Any

from asyncrev.bridge.running_time import RunningTimer

__all__ = ["Lingering"]


class Lingering(asyncio.BufferedProtocol):
    """Takes a connection over after its end of stream: drops late input until the peer closes.

    `link`, its protocol before, is told the end. All methods: the loop's thread.
    """

    def __init__(self, link: asyncio.BaseProtocol, transport: Any, timeout_s: float) -> None:
        self._link = link
        self._transport = transport
        self._scratch = memoryview(bytearray(4096))
        self._timer = RunningTimer(asyncio.get_running_loop(), timeout_s, self._expire)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        pass

    def eof_received(self) -> bool:
        self._transport.close()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        self._link.connection_lost(error)

    def _expire(self) -> None:
        # Replies that the peer still has to take are the business of the write stall.
        if self._transport.get_write_buffer_size():
            self._timer = RunningTimer(asyncio.get_running_loop(), 0.25, self._expire)
        else:
            self._transport.close()
