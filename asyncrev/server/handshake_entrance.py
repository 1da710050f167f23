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
from asyncrev.connection.socket_probe import input_has_ended, unread_bytes
from asyncrev.errors import TlsHandshakeLate
from asyncrev.server.handshake_gate import HandshakeGate
from asyncrev.states import ConnectionEvent, ConnectionState, InputState

__all__ = ["STEPS_AT_ONCE", "HandshakeEntrance", "HandshakeGates", "HandshakeLimited"]

# Of each worker, as many as it takes per batch (I23). Of others it defers what it has, and each
# comes back as an entry in each batch: with 8, most entries were such, and a connection with its
# handshake took 1.1 ms of CPU time instead of 0.8 (docs/decisions/0015-tls-on-the-worker.md).
STEPS_AT_ONCE = 1

# What is kept of a connection that waits for a step: a ClientHello has 300 to 2,000 bytes.
FLIGHT_BYTES = 4096

# What of the timeout of a handshake its peer may use while others wait for its place: with the
# default of 10 s, two round trips and the repetition of a lost packet (1 s, RFC 6298).
WANTED_PLACE_SHARE = 0.2


class HandshakeGates:
    """The gates of one server. All methods: the loop's thread.

    Attributes:
        within: for connections that are within their handshake.
        steps: for those of them whose input is with the worker.
        flight: where input is received that has to wait; each keeps a copy of what it has received.
    """

    def __init__(self, most: int, on_wait: Callable[[bool], None], *, workers: int = 1) -> None:
        """Prepare for `most` connections within their handshake; `on_wait`: see `HandshakeGate`.

        `workers`: how many threads have their steps.
        """
        self.within = HandshakeGate(most, on_wait)
        self.steps = HandshakeGate(STEPS_AT_ONCE * workers)
        self.flight = memoryview(bytearray(FLIGHT_BYTES))


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
    def is_draining(self) -> bool:
        """Whether what is still to be read is counted."""
        return self._input.state is InputState.DRAINING

    def claimed(self, nbytes: int) -> memoryview:
        """Return what was received into `get_buffer`'s view, until `buffer_updated`."""
        return self._bridge.claimed(nbytes)

    def wait(self) -> None:
        """Read no more until `go_on`."""
        self._reading.pause(NO_HANDSHAKE_PLACE)

    def go_on(self) -> None:
        """Read again."""
        self._reading.resume(NO_HANDSHAKE_PLACE)

    def expect_step(self) -> None:
        """Note that input is about to be published which the worker has to come back from."""
        assert self._lane is not None
        self._bridge.ask_credit(self._lane)

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
        entrance = self._entrance
        if entrance is not None and entrance.held_bytes and not self.received_bytes:
            self._leave_entrance()
            self._end_input()
            return
        if entrance is not None:
            entrance.hand_on_held()  # it is not among what the kernel still has
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

    def _held_input(self) -> tuple[int, bool]:
        nbytes, has_ended = super()._held_input()
        entrance = self._entrance
        return nbytes + (0 if entrance is None else entrance.held_bytes), has_ended

    def _end_slow_handshake(self, entrance: "HandshakeEntrance", now_s: float) -> None:
        """End a handshake for which the peer takes long while others wait for its place."""
        lane = self._lane
        if lane is None or not entrance.has_begun or self.abort_reason is not None:
            return
        is_owed = lane.is_owed or entrance.held_bytes > 0  # then it is we who are late
        passed_s = entrance.is_owed.for_s(now_s, is_owed)
        timeout_s = self._settings.limits.tls_handshake_timeout_s
        if is_owed or not entrance.is_wanted or passed_s < timeout_s * WANTED_PLACE_SHARE:
            return
        if not any(self._held_input()):
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

    It asks for a place within the handshake when the first byte comes. While there is none, that
    byte is all that is received, and what the peer has sent besides stays in the kernel. Within the
    handshake it asks for a step whenever input comes that the worker may have to work on. While
    there is none, up to FLIGHT_BYTES are kept here, and the worker hears nothing of them. A peer
    that sends nothing asks for nothing. When the handshake is complete, the transport gets the
    connection itself, so later input makes no detour.

    Attributes:
        is_owed: for how long the connection has been owed something, or has not; it asks itself.
    """

    def __init__(self, gates: HandshakeGates, connection: HandshakeLimited) -> None:
        """Prepare to hand on to `connection`."""
        super().__init__(connection)
        self._place = gates.within.place(self._let_in)
        self._step = gates.steps.place(self._let_step)
        self._buffer = gates.flight
        self._target: memoryview | None = None  # what `get_buffer` returned, if not connection's
        self._held = b""  # received, and waits for place or step
        self.is_owed = Unchanged()
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

    @property
    def held_bytes(self) -> int:
        """How much input waits here."""
        return len(self._held)

    def end_step(self) -> None:
        """Note that the worker has nothing of this handshake any more. Idempotent."""
        if not self._held:
            self._step.leave()

    def open(self) -> None:
        """Get out of the way: the handshake is complete."""
        self.hand_on_held()
        if not self._transport.is_closing():
            self._transport.set_protocol(self._connection)

    def leave(self) -> None:
        """Ask for nothing any more, and keep nothing. Idempotent."""
        self._held = b""
        self._step.leave()
        self._place.leave()

    def hand_on_held(self) -> None:
        """Hand on what waits, with or without a step, and read on. Idempotent."""
        held, self._held = memoryview(self._held), b""
        connection = self._connection
        if connection.state is not ConnectionState.OPEN:
            return
        while held:
            view = connection.get_buffer(len(held))[: len(held)]
            view[:] = held[: len(view)]
            held = held[len(view) :]
            self._hand_on(len(view))
        connection.go_on()

    # -- what the transport calls ------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> Any:
        """Return the connection's buffer, or one for what has to wait."""
        if not self._place.is_open:
            self._target = self._buffer[:1]
        elif self._held or not (self._step.is_open or self._connection.is_draining):
            self._target = self._buffer[: FLIGHT_BYTES - len(self._held)]
        else:
            self._target = None
            return self._connection.get_buffer(sizehint)
        return self._target

    def claimed(self, nbytes: int) -> memoryview:
        """Return what was received into `get_buffer`'s view, until `buffer_updated`."""
        if self._target is not None:
            return self._target[:nbytes]
        return self._connection.claimed(nbytes)

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on, or have the connection wait."""
        if self._target is not None:
            self._held += self._target[:nbytes]
        has_place = self._place.take()
        has_step = has_place and self._step.take()
        if self._target is None:
            self._hand_on(nbytes)
        elif has_step:
            self.hand_on_held()
        elif not has_place or len(self._held) == FLIGHT_BYTES:
            self._connection.wait()

    def eof_received(self) -> bool | None:
        """Hand on, behind what waits; a handshake that has not begun is not begun."""
        self._hand_last_on()
        return self._connection.eof_received()

    # -- waiting -----------------------------------------------------------------------------

    def _let_in(self) -> None:
        # Not from here: the caller may be in the middle of a delivery to another connection.
        asyncio.get_running_loop().call_soon(self._begin)

    def _let_step(self) -> None:
        asyncio.get_running_loop().call_soon(self._go_on)

    def _begin(self) -> None:
        """Read on, now that there is a place; what comes may have to wait for a step."""
        if not self._may_go_on():
            return
        if input_has_ended(self._transport):
            self._hand_last_on()
            self._connection.eof_received()
            return
        self._connection.go_on()
        # What is held goes with what comes next, unless nothing does for now.
        if not unread_bytes(self._transport) and self._step.take():
            self.hand_on_held()

    def _go_on(self) -> None:
        if self._may_go_on() and self._held:
            self.hand_on_held()

    def _may_go_on(self) -> bool:
        # Else it has left, or will.
        is_open = self._connection.state is ConnectionState.OPEN
        return is_open and not self._transport.is_closing()

    def _hand_last_on(self) -> None:
        if self._held and not self._connection.received_bytes:
            self._held = self._held[:1]  # no handshake can be completed
        self.hand_on_held()

    def _hand_on(self, nbytes: int) -> None:
        self._connection.expect_step()
        self._connection.buffer_updated(nbytes)
