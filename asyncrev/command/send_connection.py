"""A connection of `asyncrev send`, non-blocking, over TCP or a UNIX socket.

Thread: one. No method waits but `poll_once`.
"""

import select
import socket

from asyncrev.errors import LocalError

__all__ = ["CannotConnect", "Connection", "NoAnswer", "poll_once"]


class CannotConnect(LocalError):
    """Nobody accepts the connection, or the name has no address."""


class NoAnswer(LocalError):
    """The peer did nothing for the time allowed."""


class Connection:
    """A connected, non-blocking socket.

    Attributes:
        ends_input: whether `half_close` leaves the other direction open, whoever the peer is.
        has_unsent: whether it holds bytes that the socket has not taken; call `flush` when it can.
    """

    ends_input = True
    has_unsent = False

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._sock.fileno()

    def receive(self, most_bytes: int) -> bytes | None:
        """Return what has arrived, b"" at the end of the stream, or None if nothing is there.

        Raises:
            OSError: the connection is reset.
            RemoteError: the stream may be truncated, or violates TLS.
        """
        try:
            return self._sock.recv(most_bytes)
        except BlockingIOError:
            return None

    def send(self, data: memoryview) -> int:
        """Return how many bytes of `data` were taken, 0 if none can be now.

        Raises:
            OSError: the connection is reset.
            RemoteError: TLS failed.
        """
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def flush(self) -> bool:
        """Send what is held; return whether the socket took anything.

        Raises:
            OSError: the connection is reset.
        """
        return False

    def half_close(self) -> bool:
        """End the stream to the peer; return False if `receive` must return None before."""
        self._sock.shutdown(socket.SHUT_WR)
        return True

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


def poll_once(wanted: dict[int, int], timeout_s: float | None) -> dict[int, int]:
    """Wait until a descriptor of `wanted` has one of its events; return the events of each."""
    poll = select.poll()
    for fd, events in wanted.items():
        poll.register(fd, events)
    return dict(poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000))
