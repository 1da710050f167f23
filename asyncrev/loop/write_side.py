"""The sending half of our transport: try at once, copy the rest, never pass a backlog.

What a caller passes in is not kept: the kernel takes it, or it is copied. So it may be reused as
soon as `write` returns, which stock asyncio does not allow since 3.12.

  I12  bytes leave in the order of the `write` calls: nothing is sent past a backlog
"""

import asyncio
import enum
import logging
import socket
from asyncio import constants, transports
from collections.abc import Callable, Iterable
from typing import Any

from asyncrev.buffers import byte_view
from asyncrev.loop.selector import WRITABLE

__all__ = ["LOST", "OPEN", "Bytes", "Life", "WriteSide", "wake"]

logger = logging.getLogger("asyncio")

Bytes = bytes | bytearray | memoryview


class Life(enum.Enum):
    """Where a transport is in its life."""

    OPEN = "open"
    CLOSING = "closing"  # close() was called; the backlog still goes out
    LOST = "lost"  # connection_lost is scheduled
    CLOSED = "closed"


OPEN, LOST = Life.OPEN, Life.LOST

_MOST_PIECES = 1024  # IOV_MAX of Linux; with more, sendmsg fails


class WriteSide(transports._FlowControlMixin, asyncio.Transport):
    """What of `EpollTransport` sends. The base brings asyncio's water marks.

    `loop.sendfile` demands that base by name. All methods: the loop's thread.
    """

    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.TRY_NATIVE

    # What BridgeProtocol asks for: a view passed to `write` is not kept.
    keeps_no_views = True

    _loop: Any
    _maybe_pause_protocol: Callable[[], None]  # of the base; likewise the next
    _maybe_resume_protocol: Callable[[], None]
    _sock: socket.socket | None = None  # for __del__, should __init__ raise

    def __init__(self, loop: Any, sock: socket.socket, extra: dict[str, Any] | None) -> None:
        super().__init__(extra, loop)
        self._sock = sock
        self._send = sock.send
        self._sendmsg = sock.sendmsg
        self._life = OPEN
        self._backlog = bytearray()
        self._eof_written = False
        self._watched_events: int | None = None  # None: not watched at all
        self._empty_waiter: asyncio.Future[None] | None = None
        self._lost_writes = 0

    # -- writing ---------------------------------------------------------------------------

    def write(self, data: Bytes) -> None:
        """Send `data` now, and copy what the kernel does not take; `data` is not kept.

        Raises:
            TypeError: `data` is not bytes-like.
            RuntimeError: after `write_eof`, or while a sendfile runs.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        if self._eof_written or self._empty_waiter is not None:
            self._refuse_write()
        if not data:
            return
        if self._life is LOST or self._life is Life.CLOSED:
            self._lost_write()
            return
        if type(data) is memoryview and (
            data.itemsize != 1 or data.ndim != 1 or not data.c_contiguous
        ):
            data = byte_view(data)
        if not self._backlog:
            try:
                sent_bytes = self._send(data)
            except (BlockingIOError, InterruptedError):
                sent_bytes = 0
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self._fatal_error(error, "Fatal write error on socket transport")
                return
            if sent_bytes == len(data):
                return
            self._backlog += memoryview(data)[sent_bytes:]
            self._watch((self._watched_events or 0) | WRITABLE)
        else:
            self._backlog += data  # I12
        self._maybe_pause_protocol()

    def writelines(self, list_of_data: Iterable[Bytes]) -> None:
        """Send all the buffers, in order, with one system call if they fit; as with `write`.

        The buffers are not joined first: what the kernel takes at once is never copied here.
        """
        pieces = list(list_of_data)
        if self._backlog or self._life is not OPEN or not 1 < len(pieces) <= _MOST_PIECES:
            self.write(b"".join(pieces))
            return
        if self._eof_written or self._empty_waiter is not None:
            self._refuse_write()
        try:
            sent_bytes = self._sendmsg(pieces)
        except (BlockingIOError, InterruptedError):
            sent_bytes = 0
        except (SystemExit, KeyboardInterrupt):
            raise
        except OSError as error:
            self._fatal_error(error, "Fatal write error on socket transport")
            return
        for piece in pieces:
            view = memoryview(piece)
            if sent_bytes < view.nbytes:
                self._backlog += view.cast("B")[sent_bytes:]
            sent_bytes = max(0, sent_bytes - view.nbytes)
        if self._backlog:
            self._watch((self._watched_events or 0) | WRITABLE)
            self._maybe_pause_protocol()

    def write_eof(self) -> None:
        """Shut the sending side once the backlog has gone out."""
        if self._life is not OPEN or self._eof_written:
            return
        self._eof_written = True
        if not self._backlog:
            self._shut_writing()

    def can_write_eof(self) -> bool:
        """Return True: a stream socket can be half-closed."""
        return True

    def get_write_buffer_size(self) -> int:
        """Return the bytes of the backlog."""
        return len(self._backlog)

    def _refuse_write(self) -> None:
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        raise RuntimeError("unable to write; sendfile is in progress")

    def _lost_write(self) -> None:
        self._lost_writes += 1
        if self._lost_writes >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            logger.warning("socket.send() raised exception.")

    def _write_backlog(self) -> None:
        backlog = self._backlog
        try:
            sent_bytes = self._send(backlog)
        except (BlockingIOError, InterruptedError):
            return
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal write error on socket transport")
            return
        del backlog[:sent_bytes]
        if not backlog:
            # A new one, because an emptied bytearray may keep the memory of its worst day.
            self._backlog = bytearray()
            self._watch((self._watched_events or 0) & ~WRITABLE)
        self._maybe_resume_protocol()  # it may write
        if self._backlog or self._life is LOST:
            return
        if self._empty_waiter is not None:
            self._unwatch()
            wake(self._empty_waiter)
        if self._life is Life.CLOSING:
            self._lose(None)
        elif self._eof_written:
            self._shut_writing()

    def _shut_writing(self) -> None:
        assert self._sock is not None
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._fatal_error(error, "Fatal error: shutdown() failed.")

    # -- what the other half brings ----------------------------------------------------------

    def _watch(self, events: int) -> None:
        raise NotImplementedError

    def _unwatch(self) -> None:
        raise NotImplementedError

    def _start_reading(self) -> None:
        raise NotImplementedError

    def _lose(self, error: BaseException | None) -> None:
        raise NotImplementedError

    def _fatal_error(self, error: BaseException, message: str) -> None:
        raise NotImplementedError

    # -- what loop.sendfile asks of a transport ---------------------------------------------

    def _make_empty_waiter(self) -> asyncio.Future[None]:
        if self._empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._empty_waiter = waiter
        if not self._backlog:
            # The loop registers the descriptor itself while it sends the file.
            self._unwatch()
            wake(waiter)
        return waiter

    def _reset_empty_waiter(self) -> None:
        self._empty_waiter = None
        self._start_reading()


def wake(waiter: "asyncio.Future[None]") -> None:
    """Wake whoever waits for `waiter`, unless it was cancelled."""
    if not waiter.done():
        waiter.set_result(None)
