"""One connection: puts a transport of any loop and any kind on a bridge."""

import asyncio
import logging

from asyncrev.connection.ends import abort_reason_of, report_error
from asyncrev.connection.life import ConnectionLife
from asyncrev.connection.peer_info import info_of
from asyncrev.connection.reading import NO_CREDIT, WRITE_BUFFER_FULL
from asyncrev.connection.socket_probe import held_input, peer_has_gone, unsent_bytes
from asyncrev.errors import LocalError
from asyncrev.processors import Reply
from asyncrev.states import ConnectionEvent, ConnectionState, InputState
from asyncrev.work.lane_work import InputEnd

__all__ = ["ConnectionProtocol"]

logger = logging.getLogger("asyncrev")

# Globals, because in CPython 3.11 a member of an enum is looked up by a Python call.
_MADE = ConnectionEvent.MADE
_DRAINING = InputState.DRAINING


class ConnectionProtocol(ConnectionLife):
    """One connection on a bridge: its input is processed in order, the replies go back.

    Servers make it with settings that they have checked; users make a `BridgeProtocol`, which
    checks its own. All methods: loop's thread. Its attributes are those of `ConnectionLife`.
    """

    __slots__ = ()

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
        info = info_of(transport, self._accepted_from, self._proxy)
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
                engine=settings.engine,
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
        if self._age is not None:
            self._age.end()
            if self._age.is_draining and self.abort_reason is None:
                self.abort_reason = "connection age"
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
            if not self._transport.get_write_buffer_size():
                self._give_lane_up()  # else the sweep looks for a write stall
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
            frame_seq=lane.frame_seq if lane.is_within_frame else None,
            on_way_bytes=lane.in_flight_bytes + len(lane.overflow),
            paused=bool(self._reading.pauses),
            held_input=self._held_input,
            opaque=self._reading.is_tls or work.uses_tls,
            # Not while it lingers: a handshake that has failed is not late, too.
            handshaking=work.is_handshaking and self._state is not ConnectionState.FINISHED,
            data_bytes=work.data_bytes,
        )
        is_old = self._age is not None and self._age.has_come(now_s)
        if error is not None:
            self._end_late(error)
        elif is_old and self._state in (ConnectionState.OPEN, ConnectionState.ANSWERING):
            self._end_old()
        elif self._reading.pauses and peer_has_gone(self._transport):
            self.abort("peer gone while paused", None)
        elif self._reading.pauses or self._input.state is _DRAINING:
            self._input.look(self._end_input)
        else:
            until_s = self._deadlines.quiet_until_s
            lane.look_at_s = until_s if self._age is None else self._age.bound(until_s)

    def _held_input(self) -> tuple[int, bool]:
        """Return how much input has come that was not published, and whether its end has come."""
        return held_input(self._transport)
