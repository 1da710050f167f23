"""A connected socket that the loop watches: its state, what it is watched for, and its end.

This is the lowest of the three classes that make up the stream transport. `WriteSide` adds sending
and `EpollTransport` adds receiving; each calls its own methods and those of the classes below it.

Theory of operation. The descriptor stays watched while reading is paused, because epoll reports
hang-ups and errors whatever events it was asked for: a reset by the peer is noticed at once.
While nothing is read or sent, the watch refers to the transport weakly, so that a transport that
its program has dropped is reclaimed, as on asyncio's own loop.

  I13  after `connection_lost` was scheduled, the protocol gets no other call
"""

import asyncio
import contextvars
import errno
import functools
import logging
import socket
import warnings
import weakref
from asyncio import transports, trsock
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from asyncrev.loop.direct import DirectHandler, Gate
from asyncrev.loop.selector import WRITABLE
from asyncrev.states import TRANSPORT_TRANSITIONS, TransportEvent, TransportState, advance

__all__ = ["CLOSED", "CLOSING", "LOST", "OPEN", "WatchedSocket", "attach", "closed"]

logger = logging.getLogger("asyncio")

# Globals, because one lookup in an enumeration costs as much as several lookups of globals.
OPEN, CLOSING = TransportState.OPEN, TransportState.CLOSING
LOST, CLOSED = TransportState.LOST, TransportState.CLOSED

_NO_EXTRA: Mapping[str, Any] = MappingProxyType({})


class WatchedSocket(transports._FlowControlMixin, asyncio.Transport):
    """The lowest part of `EpollTransport`. All methods: the loop's thread.

    The base class provides asyncio's water marks; `loop.sendfile` requires it by name. None of the
    classes has a `__dict__`: ten thousand idle streams consist of these fields.

    Fields that the classes above share:
        _state: written here only, along `TRANSPORT_TRANSITIONS`; `_protocol`: by `set_protocol`.
        _watched_events: what epoll was asked for, None if it does not watch; written here only.
        _write_buffer: what was written and not yet sent, a bytearray if that is anything; written
            by `WriteSide`, dropped here.
        _paused, _eof_received: written by `EpollTransport`.
        _eof_written: whether the sending direction is, or will be, shut down; by `WriteSide`.
        _empty_waiter: set while a sendfile waits or runs; written by `EpollTransport`, failed here.
        _batches: while somebody receives and sends past the protocol (`loop.direct`), who gets the
            events; _gate: who is told then what may be done. Written by `EpollTransport`.
    """

    __slots__ = (
        "__weakref__",
        "_batches",
        "_context",
        "_dispatch",
        "_empty_waiter",
        "_eof_received",
        "_eof_written",
        "_events_context",
        "_gate",
        "_paused",
        "_peername",
        "_protocol",
        "_server",
        "_shown_socket",
        "_sock",
        "_sock_fd",
        "_sockname",
        "_state",
        "_watched_events",
        "_weak_dispatch",
        "_write_buffer",
    )

    _extra: Mapping[str, Any]  # of BaseTransport
    _loop: Any
    _protocol: Any

    def __init__(
        self,
        loop: Any,
        sock: socket.socket,
        extra: dict[str, Any] | None,
        server: Any,
        context: contextvars.Context | None,
    ) -> None:
        self._sock: socket.socket | None = None  # for __del__, should this method raise
        super().__init__(_NO_EXTRA if extra is None else extra, loop)
        self._sock = sock
        self._sock_fd = sock.fileno()
        self._state = OPEN
        self._watched_events: int | None = None
        self._write_buffer: bytearray | bytes = b""
        self._paused = False  # by pause_reading
        self._eof_received = False
        self._eof_written = False
        self._batches: DirectHandler | None = None
        self._gate: Gate | None = None
        self._empty_waiter: asyncio.Future[None] | None = None
        self._server = server
        self._shown_socket: trsock.TransportSocket | None = None  # made when it is asked for
        self._sockname = loop.shared_sockname(self._ask_name("sockname", sock.getsockname))
        self._peername = self._ask_name("peername", sock.getpeername)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                pass  # reset already; the first read will report it
        # Callbacks see the context of the code that made the connection, as with a Handle of
        # asyncio's, or the one given: from 3.15 on asyncio gives each connection its own.
        self._context = context
        self._events_context = contextvars.copy_context() if context is None else context
        # Made when they are needed: a stream that is served directly needs neither.
        self._dispatch: Callable[[int], None] | None = None
        self._weak_dispatch: Callable[[int], None] | None = None

    def _ask_name(self, name: str, ask: Callable[[], Any]) -> Any:
        known = self._extra.get(name)
        if known is not None:
            return known
        try:
            return ask()
        except OSError:
            return None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what asyncio's transports tell: "socket", "sockname", "peername" and others."""
        if name == "peername":
            return self._peername
        if name == "sockname":
            return self._sockname
        if name == "socket":
            if self._shown_socket is None and self._sock is not None:
                self._shown_socket = trsock.TransportSocket(self._sock)
            return self._shown_socket
        return self._extra.get(name, default)

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if self._sock is not None:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self._unwatch()
            self._sock.close()

    # -- ends ------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Return whether the transport is closing or closed."""
        return self._state is not OPEN

    def close(self) -> None:
        """Stop reading, send the write buffer, then close."""
        if self._state is not OPEN:
            return
        self._state = advance(TRANSPORT_TRANSITIONS, OPEN, TransportEvent.CLOSE)
        if not self._write_buffer:
            self._lose(None)
        else:
            self._set_gate()
            if self._watched_events is not None:
                self._watch(WRITABLE)

    def abort(self) -> None:
        """Close now and drop the write buffer."""
        self._force_close(None)

    def _fatal_error(self, error: BaseException, message: str) -> None:
        if isinstance(error, OSError):
            if self._loop.get_debug():
                logger.debug("%r: %s", self, message, exc_info=error)
        else:
            self._report(error, message)
        self._force_close(error)

    def _end_interrupted(self) -> None:
        """End the stream, because KeyboardInterrupt or SystemExit came while bytes were moved.

        If a signal handler has raised it, maybe behind a call of the socket or before one of the
        protocol, nobody knows how many they were; others must not follow them.
        """
        reason = "interrupted while it sent or received"
        self._force_close(ConnectionAbortedError(errno.ECONNABORTED, reason))

    def _force_close(self, error: BaseException | None) -> None:
        if self._state is OPEN or self._state is CLOSING:
            self._lose(error)

    def _lose(self, error: BaseException | None) -> None:
        self._state = advance(TRANSPORT_TRANSITIONS, self._state, TransportEvent.LOSE)
        self._write_buffer = b""  # so that no water mark calls the protocol (I13)
        self._unwatch()
        self._leave_batches()
        self._loop.call_soon(self._call_connection_lost, error, context=self._context)

    def _call_connection_lost(self, error: BaseException | None) -> None:
        waiter, self._empty_waiter = self._empty_waiter, None
        try:
            self._protocol.connection_lost(error)
        finally:
            assert self._sock is not None
            self.get_extra_info("socket")  # who asks for it from now on gets the closed socket
            self._sock.close()
            self._sock = None
            self._state = advance(TRANSPORT_TRANSITIONS, self._state, TransportEvent.REPORT)
            # Both make reference cycles.
            self._dispatch = closed
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

    # -- the watch -------------------------------------------------------------------------

    def _on_events(self, events: int) -> None:
        """Do what `events` of epoll call for; the one method of a class above that is used here."""
        raise NotImplementedError  # by `EpollTransport`

    def _dispatcher(self) -> Callable[[int], None]:
        """Return what calls `_on_events` in the context of the stream."""
        if self._dispatch is None:
            self._dispatch = functools.partial(
                self._events_context.run,
                self._on_events,  # type: ignore[call-arg]  # a partial
            )
        return self._dispatch

    def _watch(self, events: int) -> None:
        if self._watched_events is None and self._batches is not None:
            self._loop.watch_in_batches(self._sock_fd, events, self._batches)
        elif self._watched_events is None:
            self._loop.watch(self._sock_fd, events, self._dispatcher())
        elif self._watched_events != events:
            self._loop.rewatch(self._sock_fd, events)
        self._watched_events = events
        self._redirect()

    def _redirect(self) -> None:
        if self._batches is not None:
            return  # who serves a stream directly keeps it alive
        # The loop keeps a transport alive that reads or sends, as asyncio's loop does with its
        # Handles.
        reads = self._state is OPEN and not self._paused and not self._eof_received
        if reads or self._write_buffer:
            dispatch = self._dispatcher()
        elif self._weak_dispatch is None:
            dispatch = self._weak_dispatch = functools.partial(_dispatch_to, weakref.ref(self))
        else:
            dispatch = self._weak_dispatch
        self._loop.redirect(self._sock_fd, dispatch)

    def _set_gate(self) -> None:
        """Say what may be done past the protocol now; to be called at each change of that."""
        if self._batches is not None and self._gate is not None:
            is_open = self._state is OPEN
            self._gate.reads = is_open and not (self._paused or self._eof_received)
            self._gate.sends = is_open and not (
                self._write_buffer or self._eof_written or self._empty_waiter is not None
            )

    def _leave_batches(self) -> None:
        """Have the transport itself receive and send again; idempotent."""
        batches, gate = self._batches, self._gate
        if batches is None or gate is None:
            return
        self._batches = None
        gate.reads = gate.sends = False
        batches.detach(self._sock_fd)
        if self._watched_events is not None:
            self._redirect()

    def _unwatch(self) -> None:
        if self._watched_events is not None:
            self._watched_events = None
            self._loop.unwatch(self._sock_fd)


def _dispatch_to(transport_ref: "weakref.ref[WatchedSocket]", events: int) -> None:
    transport = transport_ref()
    if transport is not None:
        transport._dispatcher()(events)


def closed(*_: object) -> None:
    """Replace the callbacks after the end; does nothing."""


def attach(server: Any, transport: WatchedSocket) -> None:
    """Make an `asyncio.Server` count `transport` until its end."""
    _call_server(server._attach, transport)


def _detach(server: Any, transport: WatchedSocket) -> None:
    _call_server(server._detach, transport)


def _call_server(method: Any, transport: WatchedSocket) -> None:
    # From 3.13 on asyncio.Server keeps its transports, before that it only counts them.
    if method.__func__.__code__.co_argcount > 1:
        method(transport)
    else:
        method()
