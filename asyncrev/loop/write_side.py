"""The sending side of the stream transport: it sends at once, copies the rest, and keeps the order.

Memory that a caller passes in is not kept: the kernel takes the bytes, or they are copied. So the
caller may reuse it as soon as `write` returns, which asyncio does not allow since 3.12.

  I12  bytes leave in the order of the `write` calls: nothing is sent before the write buffer
"""

import asyncio
import contextvars
import logging
import socket
from asyncio import constants
from collections.abc import Callable, Iterable
from typing import Any

from asyncrev.buffers import byte_view
from asyncrev.loop.selector import WRITABLE
from asyncrev.loop.watched_socket import CLOSED, CLOSING, LOST, OPEN, WatchedSocket

__all__ = ["Bytes", "WriteSide", "wake"]

logger = logging.getLogger("asyncio")

Bytes = bytes | bytearray | memoryview

_MOST_PIECES = 1024  # IOV_MAX of Linux; with more, sendmsg fails


class WriteSide(WatchedSocket):
    """The part of `EpollTransport` that sends. All methods: the loop's thread."""

    __slots__ = ("_lost_writes",)

    # Read by ConnectionProtocol: a view passed to `write` is not kept.
    keeps_no_views = True

    _maybe_pause_protocol: Callable[[], None]  # of asyncio's base, as the next
    _maybe_resume_protocol: Callable[[], None]

    def __init__(
        self,
        loop: Any,
        sock: socket.socket,
        extra: dict[str, Any] | None,
        server: Any,
        context: contextvars.Context | None,
    ) -> None:
        super().__init__(loop, sock, extra, server, context)
        self._lost_writes = 0

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
        if self._state is LOST or self._state is CLOSED:
            self._count_lost_write()
            return
        if type(data) is memoryview and (
            data.itemsize != 1 or data.ndim != 1 or not data.c_contiguous
        ):
            data = byte_view(data)
        if not self._write_buffer:
            assert self._sock is not None
            try:
                sent_bytes = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent_bytes = 0
            except (SystemExit, KeyboardInterrupt):
                self._end_interrupted()
                raise
            except BaseException as error:
                self._fatal_error(error, "Fatal write error on socket transport")
                return
            if sent_bytes == len(data):
                return
            self._write_buffer = bytearray(memoryview(data)[sent_bytes:])
            self._set_gate()
            self._watch((self._watched_events or 0) | WRITABLE)
        else:
            self._write_buffer += data  # I12
        self._maybe_pause_protocol()

    def writelines(self, list_of_data: Iterable[Bytes]) -> None:
        """Send all buffers in order, with one system call if possible; see `write`.

        The buffers are not joined first, so bytes that the kernel takes at once are not copied
        here.
        """
        pieces = list(list_of_data)
        if self._write_buffer or self._state is not OPEN or not 1 < len(pieces) <= _MOST_PIECES:
            self.write(b"".join(pieces))
            return
        if self._eof_written or self._empty_waiter is not None:
            self._refuse_write()
        assert self._sock is not None
        try:
            sent_bytes = self._sock.sendmsg(pieces)
        except (BlockingIOError, InterruptedError):
            sent_bytes = 0
        except (SystemExit, KeyboardInterrupt):
            self._end_interrupted()
            raise
        except OSError as error:
            self._fatal_error(error, "Fatal write error on socket transport")
            return
        left = bytearray()
        for piece in pieces:
            view = memoryview(piece)
            if sent_bytes < view.nbytes:
                left += view.cast("B")[sent_bytes:]
            sent_bytes = max(0, sent_bytes - view.nbytes)
        if left:
            self._write_buffer = left
            self._set_gate()
            self._watch((self._watched_events or 0) | WRITABLE)
            self._maybe_pause_protocol()

    def write_eof(self) -> None:
        """Shut down the sending direction once the write buffer has been sent."""
        if self._state is not OPEN or self._eof_written:
            return
        self._eof_written = True
        self._set_gate()
        if not self._write_buffer:
            self._shut_writing()

    def can_write_eof(self) -> bool:
        """Return True: a stream socket can be half-closed."""
        return True

    def get_write_buffer_size(self) -> int:
        """Return the length of the write buffer in bytes."""
        return len(self._write_buffer)

    def _refuse_write(self) -> None:
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        raise RuntimeError("unable to write; sendfile is in progress")

    def _count_lost_write(self) -> None:
        self._lost_writes += 1
        if self._lost_writes >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            logger.warning("socket.send() raised exception.")

    def _send_write_buffer(self) -> None:
        write_buffer = self._write_buffer
        assert self._sock is not None
        assert type(write_buffer) is bytearray
        try:
            sent_bytes = self._sock.send(write_buffer)
        except (BlockingIOError, InterruptedError):
            return
        except (SystemExit, KeyboardInterrupt):
            self._end_interrupted()
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal write error on socket transport")
            return
        del write_buffer[:sent_bytes]
        if not write_buffer:
            # An emptied bytearray may keep the memory of its largest size.
            self._write_buffer = b""
            self._set_gate()
            self._watch((self._watched_events or 0) & ~WRITABLE)
        self._maybe_resume_protocol()  # the protocol may write in it
        if self._write_buffer or self._state is LOST:
            return
        if self._empty_waiter is not None:
            self._unwatch()
            wake(self._empty_waiter)
        if self._state is CLOSING:
            self._lose(None)
        elif self._eof_written:
            self._shut_writing()

    def _shut_writing(self) -> None:
        assert self._sock is not None
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._fatal_error(error, "Fatal error: shutdown() failed.")


def wake(waiter: "asyncio.Future[None]") -> None:
    """Set the result of `waiter`, unless it is done or cancelled."""
    if not waiter.done():
        waiter.set_result(None)
