"""The life of a connection: its parts, its state, what is known of it, and all of its ends.

What a transport and a bridge call is in `protocol`, whose class has this one as its base.
"""

import asyncio
import logging
import math
from typing import Any

from asyncrev.bridge.bridge import Bridge
from asyncrev.bridge.lane import Lane
from asyncrev.connection.age import Age
from asyncrev.connection.deadlines import Deadlines
from asyncrev.connection.ends import end_stream, log_abort, log_fault, log_old
from asyncrev.connection.input_drain import InputDrain
from asyncrev.connection.reading import INPUT_ENDED, NO_CREDIT, Reading, names_of
from asyncrev.connection.settings import ConnectionSettings
from asyncrev.connection.socket_probe import reset_on_close, unsent_bytes
from asyncrev.connection_info import ConnectionInfo, ProxyInfo
from asyncrev.errors import (
    AsyncrevError,
    DeadlinePassed,
    RepliesTooSlow,
    TlsHandshakeLate,
    WriteStalled,
)
from asyncrev.log_text import name_of_peer
from asyncrev.states import (
    CONNECTION_TRANSITIONS,
    ConnectionEvent,
    ConnectionState,
    InputState,
    advance,
)
from asyncrev.statistics import ConnectionStatistics
from asyncrev.work.lane_work import InputEnd

__all__ = ["ConnectionLife"]

logger = logging.getLogger("asyncrev")

# Globals, because in CPython 3.11 a member of an enum is looked up by a Python call.
_NEW, _OPEN = ConnectionState.NEW, ConnectionState.OPEN


class ConnectionLife(asyncio.BufferedProtocol):
    """What there is of a connection, and how it ends: `ConnectionProtocol` without its traffic.

    All methods: loop's thread.

    Attributes:
        abort_reason: why this side ended the connection, as in `ServerStatistics.aborted`; or None.
    """

    # No `__dict__`, nor in a server's connections: ten thousand idle ones consist of such fields.
    __slots__ = (
        "__weakref__",
        "_accepted_from",
        "_age",
        "_bridge",
        "_deadlines",
        "_input",
        "_lane",
        "_made_s",
        "_proxy",
        "_reading",
        "_received_bytes",
        "_replied_bytes",
        "_settings",
        "_state",
        "_transport",
        "abort_reason",
    )

    def __init__(self, bridge: Bridge, settings: ConnectionSettings) -> None:
        """Prepare a connection on `bridge`; `settings` were checked for that bridge's limits."""
        self._bridge = bridge
        self._settings = settings
        self._state = _NEW
        self._transport: Any = None
        self._accepted_from: Any = None  # the peer's address, if a server of ours has accepted it
        self._proxy: ProxyInfo | None = None  # what a PROXY header has said
        self._made_s = 0.0
        self._lane: Lane | None = None
        self._reading = Reading()
        self._input = InputDrain(self._reading)
        self._deadlines = Deadlines(settings.limits)
        most_s = settings.limits.max_connection_age_s
        self._age = Age(most_s) if most_s < math.inf else None
        # Without what the plane has received and sent for the lane, while there is one.
        self._received_bytes = 0
        self._replied_bytes = 0
        self.abort_reason: str | None = None

    @property
    def received_bytes(self) -> int:
        """What was received so far."""
        lane = self._lane
        return self._received_bytes + (0 if lane is None else lane.received_bytes)

    @property
    def replied_bytes(self) -> int:
        """What was given to the transport so far, or sent past it."""
        lane = self._lane
        return self._replied_bytes + (0 if lane is None else lane.replied_bytes)

    @property
    def state(self) -> ConnectionState:
        """Where this connection is in its life."""
        return self._state

    @property
    def info(self) -> ConnectionInfo | None:
        """Who the peer is, while the connection is open; with TLS once that is established."""
        return None if self._lane is None else self._lane.work.info

    @property
    def made_s(self) -> float:
        """When it was made, in its loop's time."""
        return self._made_s

    @property
    def in_flight_bytes(self) -> int:
        """Input whose reply was not yet given to the transport."""
        lane = self._lane
        return 0 if lane is None else lane.in_flight_bytes + len(lane.overflow)

    @property
    def pauses(self) -> int:
        """The reasons for which it is not read now, as a sum of the flags of `Reading`."""
        return self._reading.pauses

    @property
    def waits_for(self) -> str | None:
        """What it has no credit for: "ring", "pool", or its own "quota"; None if it has credit."""
        lane = self._lane
        if lane is None or not self._reading.pauses & NO_CREDIT:
            return None
        if lane.waits_for_slot:
            return "ring"
        return "pool" if lane.waits_for_budget else "quota"

    def statistics(self) -> ConnectionStatistics:
        """Return what is known of the connection."""
        return ConnectionStatistics(
            info=self.info,
            state=self._state,
            open_s=asyncio.get_running_loop().time() - self._made_s if self._transport else 0.0,
            received_bytes=self.received_bytes,
            replied_bytes=self.replied_bytes,
            frames=None if self._lane is None else self._lane.work.frames,
            in_flight_bytes=self.in_flight_bytes,
            unsent_bytes=0 if self._transport is None else unsent_bytes(self._transport),
            paused=names_of(self._reading.pauses),
        )

    def _move(self, event: ConnectionEvent) -> None:
        before, self._state = self._state, advance(CONNECTION_TRANSITIONS, self._state, event)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s: %s, %s -> %s", self._peer(), event.value, before, self._state)
        if self._state is not _OPEN:
            self._input.end()

    def _peer(self) -> str:
        # Not the socket's own first: that is a proxy's behind one.
        address = self._accepted_from
        if not address and self._transport:
            address = self._transport.get_extra_info("peername")
        return name_of_peer(address)

    # -- ends ----------------------------------------------------------------------------------

    def abort(self, reason: str, error: AsyncrevError | None) -> None:
        """End the connection at once; what the peer has not taken is lost to it.

        It is reset if it was owed something, so that it cannot take what it has for
        everything. The first reason stands.
        """
        if self._state is ConnectionState.LOST:
            return
        if self._transport.get_write_buffer_size() or (self._lane and self._lane.is_owed):
            reset_on_close(self._transport)
        if self.abort_reason is None:
            self.abort_reason = reason
            log_abort(self._peer(), reason, error)
        self._transport.abort()

    def _end_late(self, error: DeadlinePassed) -> None:
        """End the connection for a deadline; what it is owed goes out, if it takes it."""
        if isinstance(error, (WriteStalled, RepliesTooSlow)):
            self.abort(error.reason, error)
        elif isinstance(error, TlsHandshakeLate):
            self.abort_reason = error.reason
            log_fault(self._peer(), error)
            self._transport.abort()
        elif self._state is ConnectionState.OPEN:
            self._move(ConnectionEvent.FAILED)
            self.abort_reason = error.reason
            log_fault(self._peer(), error)
            if self._lane is not None and self._lane.work.uses_tls:
                self._bridge.publish_eof(self._lane, InputEnd.DEADLINE)  # for its close_notify
                return
            if not self._transport.get_write_buffer_size() and self._transport.can_write_eof():
                self._give_lane_up()  # now, because others may wait for what it holds
            elif self._lane is not None:
                self._lane.abandon()  # a reply that is on its way would follow our end
            self._finish()

    def _end_old(self) -> None:
        """Answer what has arrived, then end, for the connection's age."""
        assert self._age is not None
        limits = self._settings.limits
        log_old(self._peer(), limits.max_connection_age_s)
        self._age.begin_drain(
            limits.drain_timeout_s, lambda: self.abort("connection age, drain deadline", None)
        )
        self.drain()

    def _give_lane_up(self) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            self._received_bytes += lane.received_bytes
            self._replied_bytes += lane.replied_bytes
            self._bridge.close_lane(lane)

    def drain(self) -> None:
        """Answer what has arrived by now, then end: the peer sees an orderly end of stream.

        What the kernel holds at this moment is read and answered; what comes later is not.
        """
        if self._lane is not None:
            self._lane.look_at_s = 0.0
        stop_serving_directly = getattr(self._transport, "stop_serving_directly", None)
        if stop_serving_directly is not None:
            stop_serving_directly()  # because what is left to be read is counted
        self._input.start(self._end_input)

    def _end_input(self, end: InputEnd = InputEnd.DRAIN) -> None:
        if self._state is ConnectionState.OPEN:
            self._move(ConnectionEvent.INPUT_ENDED)
            self._reading.pause(INPUT_ENDED)
            assert self._lane is not None
            self._bridge.publish_eof(self._lane, end)

    def _finish(self) -> None:
        """Send what is written, then an end of stream."""
        end_stream(
            self,
            self._reading,
            peer_ended=self._input.state is InputState.PEER_ENDED,
            linger_timeout_s=self._settings.limits.linger_timeout_s,
        )
