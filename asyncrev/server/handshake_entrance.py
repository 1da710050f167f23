"""What a connection over TLS goes through at a gate that limits the handshakes of its server."""

import asyncio
from collections.abc import Callable
from typing import Any

from asyncrev.bridge.bridge import Bridge
from asyncrev.connection.deadlines import Unchanged
from asyncrev.connection.forwarding import Forwarding
from asyncrev.connection.protocol import ConnectionProtocol
from asyncrev.connection.reading import NO_HANDSHAKE_PLACE
from asyncrev.connection.settings import ConnectionSettings
from asyncrev.connection.socket_probe import held_input, input_has_ended, unread_bytes
from asyncrev.errors import TlsHandshakeLate
from asyncrev.server.handshake_gate import HandshakeGate
from asyncrev.states import ConnectionEvent, ConnectionState, InputState

__all__ = ["STEPS_AT_ONCE", "HandshakeEntrance", "HandshakeGates", "HandshakeLimited"]

# The worker takes one step of a handshake per batch (I23), and each batch passes by all other lanes
# that wait for theirs. With 300 of them a handshake takes 3.6 ms of CPU time, with 8 1.4 ms; with
# fewer, more of them wait here, which costs, too (docs/decisions/0015-tls-on-the-worker.md).
STEPS_AT_ONCE = 8

# What of the timeout of a handshake its peer may use while others wait for its place: with the
# default of 10 s, two round trips and the repetition of a lost packet (1 s, RFC 6298).
WANTED_PLACE_SHARE = 0.2


class HandshakeGates:
    """The gates of one server. All methods: the loop's thread.

    Attributes:
        within: for connections that are within their handshake.
        steps: for those of them whose input is with the worker.
    """

    def __init__(self, most: int, on_wait: Callable[[bool], None]) -> None:
        """Prepare for `most` connections within their handshake; `on_wait`: see `HandshakeGate`."""
        self.within = HandshakeGate(most, on_wait)
        self.steps = HandshakeGate(STEPS_AT_ONCE)


class HandshakeLimited(ConnectionProtocol):
    """A connection whose handshake may have to wait. All methods: loop's thread.

    It says to its `HandshakeEntrance` when the worker is done with a step of the handshake, when
    the handshake is complete, and when the connection has ended.
    """

    __slots__ = ("_entrance",)

    def __init__(self, bridge: Bridge, settings: ConnectionSettings) -> None:
        """See `ConnectionProtocol`."""
        super().__init__(bridge, settings)
        self._entrance: HandshakeEntrance | None = None  # until the handshake is over

    def limit_handshake(self, entrance: "HandshakeEntrance") -> None:
        """Begin with a handshake that `entrance` limits. Call it before `connection_made`."""
        self._entrance = entrance

    @property
    def waits_for_handshake(self) -> bool:
        """Whether it is not read because it has to wait."""
        return bool(self._reading.pauses & NO_HANDSHAKE_PLACE)

    def claimed(self, nbytes: int) -> memoryview:
        """Return what was received into `get_buffer`'s view, until `buffer_updated`."""
        return self._bridge.claimed(nbytes)

    def wait(self) -> None:
        """Read no more until `go_on`."""
        self._reading.pause(NO_HANDSHAKE_PLACE)

    def expect_step(self) -> None:
        """Note that input is about to be published which the worker has to come back from."""
        assert self._lane is not None
        self._bridge.ask_credit(self._lane)

    def add_drained(self, nbytes: int) -> None:
        """Count `nbytes` that were received before a drain and are published now."""
        if self._input.state is InputState.DRAINING:
            self._input.left_bytes += nbytes

    def go_on(self, *, begins: bool) -> None:
        """Read again; if the handshake only `begins`, not if the peer has gone meanwhile."""
        if begins and input_has_ended(self._transport):
            self.eof_received()  # no handshake can be completed, so none is begun
        self._reading.resume(NO_HANDSHAKE_PLACE)

    def on_credit(self) -> None:
        """Read again; and see how far the handshake is."""
        super().on_credit()
        self._look_at_handshake()

    def on_sweep(self, now_s: float) -> None:
        """Look at deadlines; within the handshake at that, for unread replies hold up credit."""
        super().on_sweep(now_s)
        self._look_at_handshake()
        if self._entrance is not None:
            self._end_slow_handshake(self._entrance, now_s)

    def drain(self) -> None:
        """End, after the answers that are due; a handshake that has not begun is not begun."""
        if self.waits_for_handshake and not self.received_bytes:
            self._leave_entrance()
            self._end_input()
        else:
            super().drain()

    def _look_at_handshake(self) -> None:
        entrance, lane = self._entrance, self._lane
        if entrance is None or lane is None or not entrance.has_begun:
            return
        if not lane.work.is_handshaking:
            entrance.open()
            self._leave_entrance()
            return
        if not lane.in_flight_bytes:
            entrance.end_step()
        self._bridge.ask_credit(lane)

    def _end_slow_handshake(self, entrance: "HandshakeEntrance", now_s: float) -> None:
        """End a handshake for which the peer takes long while others wait for its place."""
        lane = self._lane
        if lane is None or not entrance.has_begun or self.abort_reason is not None:
            return
        is_owed = lane.is_owed  # then it is we who are late
        passed_s = entrance.is_owed.for_s(now_s, is_owed)
        timeout_s = self._settings.limits.tls_handshake_timeout_s
        if is_owed or not entrance.is_wanted or passed_s < timeout_s * WANTED_PLACE_SHARE:
            return
        if not any(held_input(self._transport)):
            self._end_late(
                TlsHandshakeLate(
                    f"the TLS handshake waited {passed_s:.1f} s for the peer while others waited "
                    f"for its place; tls_handshake_timeout_s is {timeout_s:g}, of which a fifth is "
                    "allowed then"
                )
            )

    def _move(self, event: ConnectionEvent) -> None:
        super()._move(event)
        if self.state in (ConnectionState.FINISHED, ConnectionState.LOST):
            self._leave_entrance()

    def _leave_entrance(self) -> None:
        entrance, self._entrance = self._entrance, None
        if entrance is not None:
            entrance.leave()


class HandshakeEntrance(Forwarding[HandshakeLimited]):
    """Stands before a connection until its handshake is complete. All methods: loop's thread.

    It asks for a place within the handshake when the first byte comes, and for a step whenever
    input comes that the worker may have to work on. While there is none, one byte is received, and
    the socket is not read: what the peer has sent besides stays in the kernel, and the worker hears
    nothing of it. A peer that sends nothing asks for nothing. Then the transport gets the
    connection itself, so later input makes no detour.

    Attributes:
        is_owed: for how long the connection has been owed something, or has not; it asks itself.
    """

    def __init__(self, gates: HandshakeGates, connection: HandshakeLimited) -> None:
        """Prepare to hand on to `connection`."""
        super().__init__(connection)
        self._place = gates.within.place(self._let_in)
        self._step = gates.steps.place(self._let_in)
        self._byte: bytearray | None = None  # where a byte goes that has to wait
        self.is_owed = Unchanged()
        self._byte_goes_first = False  # whether it has waited, and the next input goes behind it
        connection.limit_handshake(self)

    # -- what the connection asks and says ---------------------------------------------------

    @property
    def has_begun(self) -> bool:
        """Whether the connection is within its handshake."""
        return self._place.is_taken

    @property
    def is_wanted(self) -> bool:
        """Whether it is, and another connection waits to begin."""
        return self._place.is_wanted

    def end_step(self) -> None:
        """Note that the worker has nothing of this handshake any more. Idempotent."""
        if not (self._connection.waits_for_handshake or self._byte_goes_first):
            self._step.leave()

    def open(self) -> None:
        """Get out of the way: the handshake is complete."""
        if not self._transport.is_closing():
            self._transport.set_protocol(self._connection)

    def leave(self) -> None:
        """Ask for nothing any more, and keep nothing. Idempotent."""
        self._step.leave()
        self._place.leave()

    # -- what the transport calls ------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> Any:
        """Return the connection's buffer, or one for a byte that has to wait."""
        if self._byte_goes_first:
            view = self._connection.get_buffer(sizehint)
            if len(view) > 1:
                assert self._byte is not None
                view[:1] = self._byte
                return view[1:]
            self._hand_byte_on()
        if self._place.is_open and self._step.is_open:
            self._byte = None
            return self._connection.get_buffer(sizehint)
        self._byte = bytearray(1)
        return self._byte

    def claimed(self, nbytes: int) -> memoryview:
        """Return what was received into `get_buffer`'s view, until `buffer_updated`."""
        if self._byte is not None:
            return memoryview(self._byte)
        return self._connection.claimed(nbytes)

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on, or have the connection wait."""
        if self._byte_goes_first:
            self._byte_goes_first = False
            self._connection.add_drained(1)
            self._hand_on(1 + nbytes)
        elif not self._take():
            self._connection.wait()
        elif self._byte is None:
            self._hand_on(nbytes)
        else:
            self._hand_byte_on()

    def eof_received(self) -> bool | None:
        """Hand on."""
        if self._byte_goes_first:
            self._hand_byte_on()
        return self._connection.eof_received()

    # -- waiting -----------------------------------------------------------------------------

    def _take(self) -> bool:
        return self._place.take() and self._step.take()

    def _let_in(self) -> None:
        # Not from here: the caller may be in the middle of a delivery to another connection.
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        connection = self._connection
        if connection.state is not ConnectionState.OPEN or self._transport.is_closing():
            return  # it has left, or will
        if not self._take():
            return
        begins = not connection.received_bytes
        # Alone if nothing is to come for now: whoever has a step must have input with the worker.
        if (begins and input_has_ended(self._transport)) or not unread_bytes(self._transport):
            self._hand_byte_on()
        else:
            self._byte_goes_first = True
        connection.go_on(begins=begins)

    def _hand_byte_on(self) -> None:
        assert self._byte is not None
        self._byte_goes_first = False
        self._connection.add_drained(1)
        self._connection.get_buffer(1)[:1] = self._byte
        self._hand_on(1)

    def _hand_on(self, nbytes: int) -> None:
        self._connection.expect_step()
        self._connection.buffer_updated(nbytes)
