"""The stream transport of `EpollEventLoop`: the receiving half, and its life.

Theory of operation. The descriptor stays watched while reading is paused, because epoll reports
hang-up and error whatever it was asked for: a peer that is reset then is noticed at once.
Pausing itself costs no system call unless input comes meanwhile: only then is EPOLLIN taken off.
While nothing is read or sent the watch refers to the transport weakly, so that one that its program
has dropped is reclaimed, as on the stock loop.
The sending half is in `write_side`.

  I13  after `connection_lost` was scheduled, the protocol gets no other call
"""

import asyncio
import contextvars
import functools
import logging
import os
import socket
import warnings
import weakref
from asyncio import trsock
from collections.abc import Callable
from typing import Any

from asyncrev.loop.selector import HUNG_UP, READABLE, WRITABLE
from asyncrev.loop.write_side import LOST, OPEN, Life, WriteSide, wake

__all__ = ["EpollTransport"]

logger = logging.getLogger("asyncio")

_READ_EVENTS = READABLE | HUNG_UP
_WRITE_EVENTS = WRITABLE | HUNG_UP


class EpollTransport(WriteSide):
    """A connected stream socket on an `EpollEventLoop`. All methods: the loop's thread."""

    max_read_bytes = 256 * 1024  # of one recv for a plain Protocol, as in asyncio

    _extra: dict[str, Any]  # made by BaseTransport

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
        super().__init__(loop, sock, extra)
        self._sock_fd = sock.fileno()
        self._describe(sock)
        self._recv_into = sock.recv_into
        self._server = server
        self._paused = False  # by pause_reading
        self._eof_received = False
        # Callbacks see the context of whoever made the connection, as with a stock Handle, or the
        # one given: from 3.15 on asyncio gives each connection one of its own.
        self._context = context
        self._dispatch: Callable[[int], None] = functools.partial(
            (contextvars.copy_context() if context is None else context).run,
            self._on_events,  # type: ignore[call-arg]  # a partial
        )
        self._weak_dispatch: Callable[[int], None] | None = None
        self.set_protocol(protocol)
        if server is not None:
            _attach(server, self)
        loop._transports[self._sock_fd] = self
        loop.call_soon(protocol.connection_made, self, context=context)
        loop.call_soon(self._start_reading)
        if waiter is not None:
            loop.call_soon(wake, waiter)

    def _describe(self, sock: socket.socket) -> None:
        self._extra["socket"] = trsock.TransportSocket(sock)
        for name, ask in (("sockname", sock.getsockname), ("peername", sock.getpeername)):
            if self._extra.get(name) is None:
                try:
                    self._extra[name] = ask()
                except OSError:
                    self._extra[name] = None
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                pass  # reset already; the first read will say so

    def __repr__(self) -> str:
        backlog_bytes = len(self._backlog)
        reading = "reading" if self.is_reading() else "not reading"
        return (
            f"<EpollTransport {self._life.value} fd={self._sock_fd} {reading} "
            f"backlog={backlog_bytes} bytes>"
        )

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if self._sock is not None:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self._unwatch()
            self._sock.close()

    # -- protocol --------------------------------------------------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Give events to `protocol` from now on."""
        self._protocol: Any = protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            self._read_ready: Callable[..., None] = self._read_into_buffer
            self._get_buffer: Callable[[int], Any] = protocol.get_buffer
            self._buffer_updated: Callable[..., None] = protocol.buffer_updated
        else:
            self._read_ready = self._read_data

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that gets the events."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    # -- reading ---------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether input is given to the protocol."""
        return self._life is OPEN and not self._paused

    def pause_reading(self) -> None:
        """Give the protocol no input until `resume_reading`; idempotent."""
        if self._life is OPEN and not self._paused:
            self._paused = True
            if self._watched_events is not None and not self._backlog:
                self._redirect()

    def resume_reading(self) -> None:
        """Give the protocol input again; without a pause it does nothing."""
        if self._paused and self._life is OPEN:
            self._paused = False
            self._start_reading()

    def _start_reading(self) -> None:
        if self._life is OPEN and self._empty_waiter is None:
            reads = not self._paused and not self._eof_received
            self._watch((READABLE if reads else 0) | (WRITABLE if self._backlog else 0))

    def _on_events(self, events: int) -> None:
        if events == READABLE and not self._paused and self._life is OPEN:
            self._read_ready()  # nearly always
            return
        if events & _READ_EVENTS:
            if self._life is not OPEN or self._paused or self._eof_received:
                self._not_reading(events)
            else:
                self._read_ready()
        if events & _WRITE_EVENTS and self._backlog:
            self._write_backlog()

    def _not_reading(self, events: int) -> None:
        if events & READABLE and self._watched_events:
            self._watch(self._watched_events & ~READABLE)
        if events & HUNG_UP and self._life is not LOST and not self._backlog:
            assert self._sock is not None
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                error = OSError(code, os.strerror(code))
                self._fatal_error(error, "the peer has gone while reading was paused")
            else:
                # Shut in both directions, in good order: epoll would report that for ever. What
                # input is left is read after resume_reading.
                self._unwatch()

    def _read_into_buffer(self) -> None:
        try:
            buffer = self._get_buffer(-1)
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal error: protocol.get_buffer() call failed.")
            return
        try:
            nbytes = self._recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal read error on socket transport")
            return
        if not nbytes:
            self._read_eof()
            return
        try:
            self._buffer_updated(nbytes)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal error: protocol.buffer_updated() call failed.")

    def _read_data(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(self.max_read_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal read error on socket transport")
            return
        if not data:
            self._read_eof()
            return
        try:
            self._protocol.data_received(data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal error: protocol.data_received() call failed.")

    def _read_eof(self) -> None:
        if self._loop.get_debug():
            logger.debug("%r received EOF", self)
        self._eof_received = True
        try:
            keep_open = self._protocol.eof_received()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal error: protocol.eof_received() call failed.")
            return
        if keep_open:
            if self._life is not LOST and self._watched_events is not None:
                self._watch(self._watched_events & ~READABLE)
        else:
            self.close()

    # -- ends ------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Return whether the transport is closing or closed."""
        return self._life is not OPEN

    def close(self) -> None:
        """Read no more, send the backlog, then close."""
        if self._life is not OPEN:
            return
        self._life = Life.CLOSING
        if not self._backlog:
            self._lose(None)
        elif self._watched_events is not None:
            self._watch(WRITABLE)

    def abort(self) -> None:
        """Close now; the backlog is dropped."""
        self._force_close(None)

    def _fatal_error(self, error: BaseException, message: str) -> None:
        if isinstance(error, OSError):
            if self._loop.get_debug():
                logger.debug("%r: %s", self, message, exc_info=error)
        else:
            self._report(error, message)
        self._force_close(error)

    def _force_close(self, error: BaseException | None) -> None:
        if self._life is OPEN or self._life is Life.CLOSING:
            self._lose(error)

    def _lose(self, error: BaseException | None) -> None:
        self._life = LOST
        self._backlog = bytearray()  # dropped, so the water marks call nobody any more (I13)
        self._unwatch()
        self._loop.call_soon(self._call_connection_lost, error, context=self._context)

    def _call_connection_lost(self, error: BaseException | None) -> None:
        waiter, self._empty_waiter = self._empty_waiter, None
        try:
            self._protocol.connection_lost(error)
        finally:
            assert self._sock is not None
            self._sock.close()
            self._sock = None
            self._life = Life.CLOSED
            # These bound methods of the protocol and of this transport make cycles.
            self._get_buffer = self._buffer_updated = self._read_ready = self._dispatch = _closed
            self._protocol = None
            server, self._server = self._server, None
            if server is not None:
                _detach(server, self)
            if waiter is not None and not waiter.done():
                waiter.set_exception(ConnectionError("Connection is closed by peer"))

    def _report(self, error: BaseException, message: str) -> None:
        self._loop.call_exception_handler(
            {
                "message": message,
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )

    # -- epoll -----------------------------------------------------------------------------

    def _watch(self, events: int) -> None:
        if self._watched_events is None:
            self._loop.watch(self._sock_fd, events, self._dispatch)
        elif self._watched_events != events:
            self._loop.rewatch(self._sock_fd, events)
        self._watched_events = events
        self._redirect()

    def _redirect(self) -> None:
        # The loop keeps a transport that reads or sends, as stock does by its Handles.
        if self._backlog or (self._life is OPEN and not self._paused and not self._eof_received):
            dispatch = self._dispatch
        elif self._weak_dispatch is None:
            dispatch = self._weak_dispatch = functools.partial(_dispatch_to, weakref.ref(self))
        else:
            dispatch = self._weak_dispatch
        self._loop.redirect(self._sock_fd, dispatch)

    def _unwatch(self) -> None:
        if self._watched_events is not None:
            self._watched_events = None
            self._loop.unwatch(self._sock_fd)


def _dispatch_to(transport_ref: "weakref.ref[EpollTransport]", events: int) -> None:
    transport = transport_ref()
    if transport is not None:
        transport._dispatch(events)


# asyncio.Server counts its transports; from 3.13 on it wants to know which they are.
def _attach(server: Any, transport: EpollTransport) -> None:
    _tell(server._attach, transport)


def _detach(server: Any, transport: EpollTransport) -> None:
    _tell(server._detach, transport)


def _tell(method: Any, transport: EpollTransport) -> None:
    if method.__func__.__code__.co_argcount > 1:
        method(transport)
    else:
        method()


def _closed(*_: object) -> None:
    """Stand in for a protocol's methods after the end."""
