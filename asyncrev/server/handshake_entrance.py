"""What a connection over TLS goes through at a gate that limits the handshakes of its server."""

import asyncio
from typing import Any

from asyncrev.connection.deadlines import Unchanged
from asyncrev.connection.protocol import BridgeProtocol
from asyncrev.connection.reading import NO_HANDSHAKE_PLACE
from asyncrev.connection.socket_probe import held_input, input_has_ended
from asyncrev.errors import TlsHandshakeLate
from asyncrev.server.handshake_gate import HandshakeGate, Place
from asyncrev.states import ConnectionEvent, ConnectionState
from asyncrev.work.tls_work import TlsWork

__all__ = ["HandshakeEntrance", "HandshakeLimited"]

# What of the timeout of a handshake its peer may use while others wait for its place: with the
# default of 10 s, two round trips and the repetition of a lost packet (1 s, RFC 6298).
WANTED_PLACE_SHARE = 0.2


class HandshakeLimited(BridgeProtocol):
    """A connection whose handshake may have to wait for a place. All methods: loop's thread.

    It takes its place by `HandshakeEntrance`, and gives it back when the handshake is complete, or
    when the connection has ended.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        """See `BridgeProtocol`."""
        super().__init__(*args, **settings)
        self._place: Place | None = None  # until the handshake is over
        self._is_owed = Unchanged()  # while it has a place

    def limit_handshake(self, place: Place) -> None:
        """Give `place` back when the handshake is over. Call it before `connection_made`."""
        self._place = place

    def wait_for_place(self) -> None:
        """Read no more until `go_on_with_place`."""
        self._reading.pause(NO_HANDSHAKE_PLACE)

    def begin_handshake(self) -> None:
        """Note that the place is taken, and that the first input is about to be published."""
        assert self._lane is not None
        self._bridge.ask_credit(self._lane)

    def go_on_with_place(self) -> None:
        """Read, now that the place is taken, unless the peer has gone while it was waited for."""
        if input_has_ended(self._transport):
            self.eof_received()  # no handshake can be completed, so none is begun
        self._reading.resume(NO_HANDSHAKE_PLACE)

    def on_credit(self) -> None:
        """Read again; and see whether the handshake is complete."""
        super().on_credit()
        if self._place is not None:
            self._look_at_handshake(self._place)

    def on_sweep(self, now_s: float) -> None:
        """Look at deadlines; within the handshake at that, for unread replies hold up credit."""
        super().on_sweep(now_s)
        if self._place is not None:
            self._look_at_handshake(self._place)
            self._end_slow_handshake(now_s)

    def drain(self) -> None:
        """End, after the answers that are due; a handshake that has not begun is not begun."""
        if self._reading.pauses & NO_HANDSHAKE_PLACE:
            self._leave_place()
            self._end_input()
        else:
            super().drain()

    def _look_at_handshake(self, place: Place) -> None:
        lane = self._lane
        if lane is None or not place.is_taken:
            return
        if isinstance(lane.work, TlsWork) and lane.work.is_established:
            self._leave_place()
        else:
            self._bridge.ask_credit(lane)

    def _end_slow_handshake(self, now_s: float) -> None:
        """End a handshake for which the peer takes long while others wait for its place."""
        place, lane = self._place, self._lane
        if place is None or lane is None or not place.is_taken or self.abort_reason is not None:
            return
        is_owed = lane.is_owed  # then it is we who are late
        passed_s = self._is_owed.for_s(now_s, is_owed)
        timeout_s = self._limits.tls_handshake_timeout_s
        if is_owed or not place.is_wanted or passed_s < timeout_s * WANTED_PLACE_SHARE:
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
            self._leave_place()

    def _leave_place(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.leave()


class HandshakeEntrance(asyncio.BufferedProtocol):
    """Asks for a place when a connection's first byte comes. All methods: loop's thread.

    If none is free, that byte alone is received, and the socket is not read until there is one:
    what the peer has sent besides stays in the kernel, and OpenSSL is not asked for a session. A
    peer that sends nothing asks for no place. Then the transport gets the connection itself, so
    later input makes no detour.
    """

    def __init__(
        self, gate: HandshakeGate, connection: HandshakeLimited, inner: asyncio.BufferedProtocol
    ) -> None:
        """Prepare to hand on to `inner`, which is `connection`, or stands before it."""
        self._connection = connection
        self._inner = inner
        self._gate = gate
        self._place = gate.place(self._let_in)
        self._first: bytearray | None = None  # where the first byte goes while there is no place
        self._transport: Any = None
        connection.limit_handshake(self._place)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand on."""
        self._transport = transport
        self._inner.connection_made(transport)

    def get_buffer(self, sizehint: int) -> Any:
        """Return the connection's buffer, or, without a place for it, one for a byte."""
        if self._gate.is_full:
            self._first = bytearray(1)
            return self._first
        self._first = None
        return self._inner.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on and leave, or have the connection wait."""
        if not self._place.take():
            self._connection.wait_for_place()
        elif self._first is None:
            self._go()
            self._inner.buffer_updated(nbytes)
        else:
            self._go_with_first()

    def eof_received(self) -> bool | None:
        """Hand on."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Hand on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand on."""
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Hand on."""
        self._inner.connection_lost(error)

    def _let_in(self) -> None:
        # Not from here: the caller may be in the middle of a delivery to another connection.
        asyncio.get_running_loop().call_soon(self._go_after_waiting)

    def _go_after_waiting(self) -> None:
        connection = self._connection
        if connection.state is ConnectionState.OPEN and not self._transport.is_closing():
            self._go_with_first()
            connection.go_on_with_place()

    def _go_with_first(self) -> None:
        assert self._first is not None
        self._go()
        self._inner.get_buffer(1)[:1] = self._first  # type: ignore[index]
        self._inner.buffer_updated(1)

    def _go(self) -> None:
        self._transport.set_protocol(self._inner)
        self._connection.begin_handshake()
