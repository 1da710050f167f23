"""The stream transport of `EpollEventLoop`: its receiving side, on top of the sending side.

It consists of three classes, each derived from the one before: `WatchedSocket` (state, watch, end),
`WriteSide` (sending), `EpollTransport` (receiving).

Theory of operation. Pausing costs no system call unless input arrives meanwhile; only then is
EPOLLIN removed. Each event causes one receive, so that no peer can monopolize the loop.
"""

import asyncio
import contextvars
import logging
import os
import socket
from asyncio import constants
from typing import Any

from asyncrev.loop.direct import DirectHandler, Gate
from asyncrev.loop.selector import HUNG_UP, READABLE, WRITABLE
from asyncrev.loop.watched_socket import LOST, OPEN, attach
from asyncrev.loop.write_side import WriteSide, wake

__all__ = ["EpollTransport"]

logger = logging.getLogger("asyncio")

_READ_EVENTS = READABLE | HUNG_UP
_WRITE_EVENTS = WRITABLE | HUNG_UP

# Messages for the loop's exception handler.
_GET_BUFFER = "Fatal error: protocol.get_buffer() call failed."
_RECEIVE = "Fatal read error on socket transport"
_BUFFER_UPDATED = "Fatal error: protocol.buffer_updated() call failed."
_DATA_RECEIVED = "Fatal error: protocol.data_received() call failed."
_EOF_RECEIVED = "Fatal error: protocol.eof_received() call failed."


class EpollTransport(WriteSide):
    """A connected stream socket on an `EpollEventLoop`. All methods: the loop's thread."""

    __slots__ = ("_direct_handler", "_direct_protocol", "_is_buffered")

    max_read_bytes = 256 * 1024  # of one recv for a plain Protocol, as in asyncio

    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.TRY_NATIVE

    def __init__(
        self,
        loop: Any,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        context: contextvars.Context | None = None,
    ) -> None:
        super().__init__(loop, sock, extra, server, context)
        self._direct_protocol: asyncio.BaseProtocol | None = None
        self._direct_handler: DirectHandler | None = None
        self.set_protocol(protocol)
        if server is not None:
            attach(server, self)
        loop._transports[self._sock_fd] = self
        loop.call_soon(protocol.connection_made, self, context=context)
        loop.call_soon(self._start_reading)
        if waiter is not None:
            loop.call_soon(wake, waiter)

    def __repr__(self) -> str:
        reading = "reading" if self.is_reading() else "not reading"
        return (
            f"<EpollTransport {self._state.value} fd={self._sock_fd} {reading} "
            f"write_buffer={len(self._write_buffer)} bytes>"
        )

    # -- protocol --------------------------------------------------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Use `protocol` from now on."""
        self._protocol = protocol
        self._is_buffered = isinstance(protocol, asyncio.BufferedProtocol)
        if self._direct_protocol is not None:
            self._enter_or_leave_batches()

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def _call_connection_lost(self, error: BaseException | None) -> None:
        try:
            super()._call_connection_lost(error)
        finally:
            self._direct_protocol = self._direct_handler = self._gate = None

    # -- served directly -------------------------------------------------------------------

    def serve_directly(
        self, protocol: asyncio.BaseProtocol, handler: DirectHandler, gate: Gate
    ) -> None:
        """Let `handler` receive and send for `protocol` while that is the transport's.

        See `loop.direct`. `gate` is this stream's, and passed to `handler.attach`.
        """
        self._leave_batches()
        self._direct_protocol, self._direct_handler, self._gate = protocol, handler, gate
        self._enter_or_leave_batches()

    def stop_serving_directly(self) -> None:
        """Receive and send for the protocol as for any; idempotent."""
        self._leave_batches()
        self._direct_protocol = self._direct_handler = self._gate = None

    def on_direct_event(self, events: int, error: BaseException | None = None) -> None:
        """Do what the handler of a stream does not do itself.

        Args:
            events: what epoll has reported.
            error: what its receive has raised; not an error that says to try again. One of an
                interrupt is raised again.
        """
        if error is None:
            self._dispatcher()(events)
        else:
            self._on_read_error(error, _RECEIVE)

    def _enter_or_leave_batches(self) -> None:
        handler, gate = self._direct_handler, self._gate
        assert handler is not None
        assert gate is not None
        if self._protocol is not self._direct_protocol:
            self._leave_batches()
        elif self._batches is None and self._state is OPEN:
            self._batches = handler
            assert self._sock is not None
            handler.attach(self._sock_fd, self, gate, self._sock.recv_into, self._sock.send)
            self._set_gate()
            if self._watched_events is not None:
                self._loop.redirect_to_batches(self._sock_fd, handler)
            self._dispatch = None  # made again if it is needed again

    # -- reading ---------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether input is passed to the protocol."""
        return self._state is OPEN and not self._paused

    def pause_reading(self) -> None:
        """Stop passing input to the protocol until `resume_reading`; idempotent."""
        if self._state is OPEN and not self._paused:
            self._paused = True
            self._set_gate()
            if self._watched_events is not None and not self._write_buffer:
                self._redirect()

    def resume_reading(self) -> None:
        """Pass input to the protocol again; idempotent."""
        if self._paused and self._state is OPEN:
            self._paused = False
            self._set_gate()
            self._start_reading()

    def _start_reading(self) -> None:
        if self._state is OPEN and self._empty_waiter is None:
            reads = not self._paused and not self._eof_received
            self._watch((READABLE if reads else 0) | (WRITABLE if self._write_buffer else 0))

    def _on_events(self, events: int) -> None:
        if events == READABLE and not self._paused and self._state is OPEN:
            self._read_ready()  # the most frequent case
            return
        if events & _READ_EVENTS:
            if self._state is not OPEN or self._paused or self._eof_received:
                self._on_events_unread(events)
            else:
                self._read_ready()
        if events & _WRITE_EVENTS and self._write_buffer:
            self._send_write_buffer()

    def _on_events_unread(self, events: int) -> None:
        if events & READABLE and self._watched_events:
            self._watch(self._watched_events & ~READABLE)
        if events & HUNG_UP and self._state is not LOST and not self._write_buffer:
            assert self._sock is not None
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                error = OSError(code, os.strerror(code))
                self._fatal_error(error, "the peer has gone while reading was paused")
            else:
                # Both directions were shut down in order, which epoll would report again and again.
                # Remaining input is read after resume_reading.
                self._unwatch()

    def _read_ready(self) -> None:
        if self._is_buffered:
            self._read_into_buffer()
        else:
            self._read_data()

    def _read_into_buffer(self) -> None:
        assert self._sock is not None
        step = _GET_BUFFER
        try:
            buffer = self._protocol.get_buffer(-1)
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            step = _RECEIVE
            nbytes = self._sock.recv_into(buffer)
            if nbytes:
                step = _BUFFER_UPDATED
                self._protocol.buffer_updated(nbytes)
                return
        except BaseException as error:
            self._on_read_error(error, step)
            return
        self._read_eof()

    def _read_data(self) -> None:
        assert self._sock is not None
        step = _RECEIVE
        try:
            data = self._sock.recv(self.max_read_bytes)
            if data:
                step = _DATA_RECEIVED
                self._protocol.data_received(data)
                return
        except BaseException as error:
            self._on_read_error(error, step)
            return
        self._read_eof()

    def _read_eof(self) -> None:
        if self._loop.get_debug():
            logger.debug("%r received EOF", self)
        self._eof_received = True
        self._set_gate()
        try:
            keep_open = self._protocol.eof_received()
        except BaseException as error:
            self._on_read_error(error, _EOF_RECEIVED)
            return
        if keep_open:
            if self._state is not LOST and self._watched_events is not None:
                self._watch(self._watched_events & ~READABLE)
        else:
            self.close()

    def _on_read_error(self, error: BaseException, step: str) -> None:
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            self._end_interrupted()
            raise error
        if step is not _RECEIVE or not isinstance(error, (BlockingIOError, InterruptedError)):
            self._fatal_error(error, step)

    # -- required by loop.sendfile ------------ ---------------------------------------------

    def _make_empty_waiter(self) -> asyncio.Future[None]:
        if self._empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._empty_waiter = waiter
        self._set_gate()
        if not self._write_buffer:
            # The loop registers the descriptor itself while it sends the file.
            self._unwatch()
            wake(waiter)
        return waiter

    def _reset_empty_waiter(self) -> None:
        self._empty_waiter = None
        self._set_gate()
        self._start_reading()
