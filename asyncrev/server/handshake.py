"""The deadline of a TLS handshake, kept by us: the loops' own judge right after a stall."""

import asyncio
import socket

from asyncrev.bridge.running_time import RunningTimer
from asyncrev.connection.socket_probe import has_input

__all__ = ["NO_LOOP_TIMEOUT_S", "HandshakeDeadline"]

# For `ssl_handshake_timeout`: so long that the loop's own timer never ends a handshake, for that
# counts time in which the loop did not run. None would be its default of 60 s.
NO_LOOP_TIMEOUT_S = 10 * 365 * 24 * 3600.0

# How often input in the kernel puts the deadline off, by a quarter of it each time. It may be of
# any length and mean nothing, so it is no excuse for ever.
_MOST_LOOKS = 4


class HandshakeDeadline:
    """Cancels the task that made it, a handshake on `sock`, unless `cancel` is called in time.

    All methods: the loop's thread.

    Attributes:
        has_passed: whether it was this that cancelled the task.
    """

    __slots__ = ("_looks", "_loop", "_sock", "_task", "_timeout_s", "_timer", "has_passed")

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._sock = sock
        self._timeout_s = timeout_s
        self._looks = 0
        self.has_passed = False
        self._timer = RunningTimer(self._loop, timeout_s, self._expire)

    def __str__(self) -> str:
        return f"it was not complete in time; tls_handshake_timeout_s is {self._timeout_s:g}"

    def cancel(self) -> None:
        """Let the handshake be: it has ended. Idempotent."""
        self._timer.cancel()
        self._task = None

    def _expire(self) -> None:
        if self._task is None:
            return
        if self._looks < _MOST_LOOKS and has_input(self._sock):
            self._looks += 1
            self._timer = RunningTimer(self._loop, self._timeout_s / 4, self._expire)
        else:
            self.has_passed = True
            self._task.cancel()
