"""What asyncio's transports do not tell of their sockets, asked of the descriptor itself.

Works with any transport that names a socket, uvloop's included; one that has none, or none any
more, answers as an open socket without input would.
"""

import fcntl
import os
import select
import socket
import struct
import termios
from typing import Any

__all__ = [
    "held_input",
    "input_has_ended",
    "peer_has_gone",
    "reset_on_close",
    "reset_socket_on_close",
    "unacknowledged_bytes",
    "unread_bytes",
    "unsent_bytes",
]

_RDHUP: int = getattr(select, "POLLRDHUP", 0)  # Linux only


def unread_bytes(transport: Any) -> int:
    """Return how much input the kernel holds (FIONREAD, tcp(7)). Thread: loop."""
    return _held_bytes(transport, termios.FIONREAD)


def unacknowledged_bytes(transport: Any) -> int:
    """Return how much output the kernel holds that the peer's has not taken (SIOCOUTQ, tcp(7)).

    Thread: loop. Of a UNIX socket: what the peer has not read, and what the kernel needs for it.
    """
    return _held_bytes(transport, termios.TIOCOUTQ)


def unsent_bytes(transport: Any) -> int:
    """Return how many written bytes the peer's side has not taken. Thread: loop.

    The operating system is asked only if it has not taken everything itself: it takes replies in
    large pieces, while a slow reader takes them all the time.
    """
    buffered_bytes: int = transport.get_write_buffer_size()
    return buffered_bytes + unacknowledged_bytes(transport) if buffered_bytes else 0


def input_has_ended(transport: Any) -> bool:
    """Return whether the kernel has the end of the peer's input (POLLRDHUP, poll(2)), or a reset.

    Whether or not it was read. Thread: loop.
    """
    return bool(_events(transport, _RDHUP) & (_RDHUP | select.POLLHUP | select.POLLERR))


def held_input(transport: Any) -> tuple[int, bool]:
    """Return `unread_bytes` and `input_has_ended`. Thread: loop."""
    return unread_bytes(transport), input_has_ended(transport)


def peer_has_gone(transport: Any) -> bool:
    """Return whether the connection was reset, which only reading would tell. Thread: loop."""
    return bool(_events(transport, 0) & select.POLLERR)


def reset_on_close(transport: Any) -> None:
    """Have the close of the socket reset the connection (SO_LINGER, socket(7)). Thread: loop.

    The peer gets an error instead of an end, and the kernel drops what it holds for it.
    """
    descriptor = _descriptor(transport)
    if descriptor >= 0:
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            reset_socket_on_close(sock)


def reset_socket_on_close(sock: socket.socket) -> None:
    """Do as `reset_on_close` does, for a socket that has no transport. Thread: any.

    Raises:
        OSError: it is closed.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _events(transport: Any, wanted: int) -> int:
    descriptor = _descriptor(transport)
    if descriptor < 0:
        return 0
    poll = select.poll()
    poll.register(descriptor, wanted)
    return sum(events for _, events in poll.poll(0))


def _held_bytes(transport: Any, request: int) -> int:
    descriptor = _descriptor(transport)
    if descriptor < 0:
        return 0
    held: bytes = fcntl.ioctl(descriptor, request, b"\0\0\0\0")
    return int(struct.unpack("i", held)[0])


def _descriptor(transport: Any) -> int:
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())
