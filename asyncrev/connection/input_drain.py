"""InputDrain: whether a connection's input is open, and what a graceful shutdown still reads of it.

What the operating system holds when the shutdown begins is read and answered; what comes later is
not. A TLS layer holds input, too, and does not say how much.
"""

import asyncio
from collections.abc import Callable

from asyncrev.connection.reading import Reading
from asyncrev.connection.socket_probe import unread_bytes
from asyncrev.states import INPUT_TRANSITIONS, InputEvent, InputState, advance

__all__ = ["TLS_HELD_BYTES", "TLS_QUIET_ITERATIONS", "InputDrain"]

# What a TLS layer may hold of input: asyncio and uvloop stop reading at 256 KiB, after a read of
# 256 KiB at most (asyncio.constants.FLOW_CONTROL_HIGH_WATER_SSL_READ, SSLProtocol.max_size).
TLS_HELD_BYTES = 512 * 1024

# A TLS layer hands the next part on one loop iteration after a resume or a full buffer.
TLS_QUIET_ITERATIONS = 3


class InputDrain:
    """The state of one connection's input. All methods: the loop's thread.

    Attributes:
        state: written here only, along `states.INPUT_TRANSITIONS`; the protocol reads it.
        left_bytes: while DRAINING, how much input is still to be read, at most; less than 0 when
            more was received. The protocol subtracts what it receives, and then calls `look`.
    """

    __slots__ = ("_reading", "left_bytes", "state")

    def __init__(self, reading: Reading) -> None:
        """Prepare for the connection that `reading` reads; it has the transport and the pauses."""
        self._reading = reading
        self.state = InputState.OPEN
        self.left_bytes = 0

    def start(self, end_input: Callable[[], None]) -> None:
        """Begin to drain: input that has arrived by now is the last. Idempotent.

        `end_input`: as for `look`.
        """
        if self.state is InputState.OPEN:
            left_bytes = unread_bytes(self._reading.transport)
            self.left_bytes = left_bytes + TLS_HELD_BYTES if self._reading.is_tls else left_bytes
            self._move(InputEvent.DRAIN)
            self.look(end_input)

    def look(self, end_input: Callable[[], None]) -> None:
        """End the input if it is being drained and everything has been read.

        Call it when that may have become so: after input, after a resume, and with each sweep.

        Args:
            end_input: called once the state is ENDED, in this call or a few loop iterations later.
                An argument, because a reference that is kept would make a cycle with the protocol,
                and only the garbage collector would free closed connections.
        """
        if self.state is not InputState.DRAINING:
            return
        if self.left_bytes <= 0:
            self._end_drained(end_input)
        elif self._reading.is_tls:
            self._end_if_quiet(end_input, self.left_bytes, TLS_QUIET_ITERATIONS)
        elif unread_bytes(self._reading.transport) == 0:
            self._end_drained(end_input)

    def end(self) -> None:
        """Note that this side processes no more input. Idempotent; calls nothing."""
        if self.state is InputState.OPEN or self.state is InputState.DRAINING:
            self._move(InputEvent.END)

    def end_by_peer(self) -> None:
        """Note that the peer's end of stream was received. Idempotent; calls nothing."""
        if self.state is not InputState.PEER_ENDED:
            self._move(InputEvent.PEER_END)

    def _move(self, event: InputEvent) -> None:
        self.state = advance(INPUT_TRANSITIONS, self.state, event)

    def _end_if_quiet(
        self, end_input: Callable[[], None], left_bytes: int, iterations: int
    ) -> None:
        # What TLS holds is unknown, but while reading is not paused it hands on all of it.
        if (
            self.state is not InputState.DRAINING
            or self._reading.pauses
            or self.left_bytes != left_bytes
            or unread_bytes(self._reading.transport)
        ):
            return  # what comes next, a credit or the sweep looks again
        if iterations:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._end_if_quiet, end_input, left_bytes, iterations - 1)
        else:
            self._end_drained(end_input)

    def _end_drained(self, end_input: Callable[[], None]) -> None:
        self.end()
        end_input()
