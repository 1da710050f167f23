"""One connection: puts a transport of any loop and any kind on a bridge."""

import asyncio
import logging
from typing import Any

from asyncrev.bridge.bridge import Bridge
from asyncrev.bridge.lane import Lane
from asyncrev.connection.deadlines import Deadlines
from asyncrev.connection.ends import abort_reason_of, end_stream, log_abort, log_fault, report_error
from asyncrev.connection.input_drain import InputDrain
from asyncrev.connection.peer_info import info_of
from asyncrev.connection.reading import (
    INPUT_ENDED,
    NO_CREDIT,
    WRITE_BUFFER_FULL,
    Reading,
    names_of,
)
from asyncrev.connection.settings import ConnectionSettings
from asyncrev.connection.socket_probe import (
    held_input,
    peer_has_gone,
    reset_on_close,
    unsent_bytes,
)
from asyncrev.connection_info import ConnectionInfo
from asyncrev.errors import (
    AsyncrevError,
    DeadlinePassed,
    LocalError,
    TlsHandshakeLate,
    WriteStalled,
)
from asyncrev.log_text import name_of_peer
from asyncrev.processors import Reply
from asyncrev.states import (
    CONNECTION_TRANSITIONS,
    ConnectionEvent,
    ConnectionState,
    InputState,
    advance,
)
from asyncrev.statistics import ConnectionStatistics
from asyncrev.work.lane_work import InputEnd

__all__ = ["ConnectionProtocol"]

logger = logging.getLogger("asyncrev")

# Globals, because in CPython 3.11 a member of an enum is looked up by a Python call.
_NEW, _OPEN = ConnectionState.NEW, ConnectionState.OPEN
_MADE = ConnectionEvent.MADE
_DRAINING = InputState.DRAINING


class ConnectionProtocol(asyncio.BufferedProtocol):
    """One connection on a bridge: its input is processed in order, the replies go back.

    Servers make it with settings that they have checked; users make a `BridgeProtocol`, which
    checks its own. All methods: loop's thread.

    Attributes:
        abort_reason: why this side ended the connection, as in `ServerStatistics.aborted`; or None.
    """

    # No `__dict__`, nor in a server's connections: ten thousand idle ones consist of such fields.
    __slots__ = (
        "__weakref__",
        "_accepted_from",
        "_bridge",
        "_deadlines",
        "_input",
        "_lane",
        "_made_s",
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
        self._made_s = 0.0
        self._lane: Lane | None = None
        self._reading = Reading()
        self._input = InputDrain(self._reading)
        self._deadlines = Deadlines(settings.limits)
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

    def statistics(self) -> ConnectionStatistics:
        """Return what is known of the connection."""
        lane = self._lane
        return ConnectionStatistics(
            info=self.info,
            state=self._state,
            open_s=asyncio.get_running_loop().time() - self._made_s if self._transport else 0.0,
            received_bytes=self.received_bytes,
            replied_bytes=self.replied_bytes,
            in_flight_bytes=0 if lane is None else lane.in_flight_bytes + len(lane.overflow),
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
        address = self._transport.get_extra_info("peername") if self._transport else None
        return name_of_peer(address or self._accepted_from)

    # -- what the transport calls ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open a lane; a bridge that does not run closes the connection, with a log line."""
        self._transport = transport
        self._made_s = asyncio.get_running_loop().time()
        self._reading.attach(transport)
        self._move(_MADE)
        settings, limits = self._settings, self._settings.limits
        self._transport.set_write_buffer_limits(
            high=limits.high_water_bytes, low=limits.low_water_bytes
        )
        info = info_of(transport, self._accepted_from)
        self._accepted_from = info.peer_address  # one object: accept(2) has made another
        try:
            self._lane = self._bridge.open(
                self,
                settings.factory,
                views_allowed=getattr(transport, "keeps_no_views", False),
                framing=settings.framing,
                max_frame_bytes=limits.max_frame_bytes,
                max_reply_bytes=limits.max_reply_bytes,
                tls=settings.tls,
                info=info,
            )
        except LocalError as error:
            logger.error("%s: connection refused: %s", self._peer(), error)
            self._transport.abort()
            return
        if settings.begins:
            self._bridge.publish_start(self._lane)
        if self._may_be_direct():
            serve_directly = getattr(transport, "serve_directly", None)
            if serve_directly is not None:
                serve_directly(self, self._bridge.streams, self._lane)

    def _may_be_direct(self) -> bool:
        """Return whether the plane may receive and send past this object, if the loop is ours.

        Not for a class that changes what this one does with each chunk or reply.
        """
        mine, base = type(self), ConnectionProtocol
        return (
            mine.get_buffer is base.get_buffer
            and mine.buffer_updated is base.buffer_updated
            and mine.on_reply is base.on_reply
        )

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the transport may receive into. Valid until `buffer_updated`.

        Raises:
            LocalError: `connection_made` was not called.
        """
        if self._lane is None:
            raise LocalError(
                "input before connection_made; after loop.start_tls call it with the new transport"
            )
        return self._bridge.claim(self._lane)

    def buffer_updated(self, nbytes: int) -> None:
        """Hand what was received to the worker; pause when that was enough for now."""
        lane = self._lane
        assert lane is not None
        self._received_bytes += nbytes
        if not self._bridge.publish(lane, nbytes):
            self._reading.pause(NO_CREDIT)
        if self._input.state is _DRAINING:
            self._input.left_bytes -= nbytes
            self._input.look(self._end_input)

    def eof_received(self) -> bool:
        """Have what came before answered, then close: half-close works.

        It does not over a TLS transport of the loop (github.com/python/cpython/issues/82918).
        """
        self._input.end_by_peer()
        self._end_input(InputEnd.PEER)
        return not self._reading.is_tls

    def pause_writing(self) -> None:
        """Read no more, and make few more replies, while the peer does not take its replies."""
        self._reading.pause(WRITE_BUFFER_FULL)
        if self._lane is not None:
            self._bridge.set_stalled(self._lane, True)

    def resume_writing(self) -> None:
        """Read again, now that the peer has taken enough."""
        self._reading.resume(WRITE_BUFFER_FULL)
        if self._lane is not None:
            self._bridge.set_stalled(self._lane, False)
            if self._settings.framing is not None:
                self._bridge.set_excess(self._lane, 0)
        self._input.look(self._end_input)

    def connection_lost(self, error: Exception | None) -> None:
        """Give the lane up."""
        self._move(ConnectionEvent.LOST)
        self._give_lane_up()

    # -- what the bridge calls (bridge.sink.Sink) ------------------------------------------------

    def on_reply(self, reply: Reply) -> int | None:
        """Write a reply; views come only to our own transport, which does not keep them."""
        transport = self._transport
        if transport.is_closing():
            return None  # the peer has gone, and connection_lost is on its way
        if type(reply) is tuple:
            self._replied_bytes += sum(map(len, reply))
            transport.writelines(reply)
        else:
            self._replied_bytes += len(reply)
            transport.write(reply)
        if self._reading.pauses & WRITE_BUFFER_FULL:
            buffered_bytes: int = transport.get_write_buffer_size()
            return max(0, buffered_bytes - self._settings.limits.high_water_bytes)
        return None

    def on_end(self) -> None:
        """Close, now that everything is answered."""
        if self._lane is not None and self._lane.work.uses_tls:
            if self._state is ConnectionState.OPEN:  # the peer's close_notify ended its input
                self._move(ConnectionEvent.INPUT_ENDED)
            self._give_lane_up()
        if self._state is ConnectionState.ANSWERING:
            self._move(ConnectionEvent.ANSWERED)
        self._finish()

    def on_error(self, error: BaseException) -> None:
        """Close this connection after the replies before `error`, and report what a processor did.

        A peer's fault is a line in the log. The bridge itself reports its worker's death, once for
        all connections.
        """
        if self._state not in (ConnectionState.OPEN, ConnectionState.ANSWERING):
            return
        self._move(ConnectionEvent.FAILED)
        peer_ended = self._input.state is InputState.PEER_ENDED
        reason = abort_reason_of(error, peer_ended=peer_ended)
        if reason is not None:
            self.abort_reason = reason
            report_error(error, self._peer(), self._transport, self)
        self._finish()

    def on_no_credit(self) -> None:
        """Read no more: the lane has used up its quota."""
        self._reading.pause(NO_CREDIT)

    def on_credit(self) -> None:
        """Read again: the bridge has a slot or budget for this connection."""
        self._reading.resume(NO_CREDIT)
        self._input.look(self._end_input)

    def on_sweep(self, now_s: float) -> None:
        """End a connection whose peer is too slow, or has gone unnoticed."""
        lane = self._lane
        if lane is None:
            return
        work = lane.work
        error = self._deadlines.passed(
            now_s,
            received_bytes=self.received_bytes,
            written_bytes=self.replied_bytes,
            unsent_bytes=unsent_bytes(self._transport),
            busy=lane.is_owed or self._state is not ConnectionState.OPEN,
            frame_seq=lane.frame_seq if lane.partial_frame_bytes else None,
            on_way_bytes=lane.in_flight_bytes + len(lane.overflow),
            paused=bool(self._reading.pauses),
            held_input=lambda: held_input(self._transport),
            opaque=self._reading.is_tls or work.uses_tls,
            # Not while it lingers: a handshake that has failed is not late, too.
            handshaking=work.is_handshaking and self._state is not ConnectionState.FINISHED,
            data_bytes=work.data_bytes,
        )
        if error is not None:
            self._end_late(error)
        elif self._reading.pauses and peer_has_gone(self._transport):
            self.abort("peer gone while paused", None)
        elif self._reading.pauses or self._input.state is _DRAINING:
            self._input.look(self._end_input)
        else:
            lane.look_at_s = self._deadlines.quiet_until_s

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
        if isinstance(error, WriteStalled):
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
