"""Packets between the supervisor and a worker, with descriptors: one JSON object each, in order.

One end of a pair of AF_UNIX SOCK_SEQPACKET sockets, which keep the boundaries of packets, and tell
each end when the other is gone (unix(7)).
"""

import array
import asyncio
import collections
import contextlib
import errno
import json
import logging
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

__all__ = ["LONGEST_PACKET_BYTES", "MOST_DESCRIPTORS", "Channel", "plain_address"]

logger = logging.getLogger("asyncrev")

LONGEST_PACKET_BYTES = 8192
MOST_DESCRIPTORS = 4  # of one packet
PACKETS_PER_ITERATION = 64
RETRY_S = 0.01

_INT_BYTES = array.array("i").itemsize
_BLOCKED = frozenset({errno.EAGAIN, errno.EINTR})
# Out of memory, or of the descriptors that may be on their way: nothing tells when it is over.
_FOR_A_WHILE = frozenset({errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS})


class _Waiting(NamedTuple):
    data: bytes
    descriptors: Sequence[int]
    then: Callable[[], object] | None


class Channel:
    """One end. All methods: the loop's thread.

    Attributes:
        is_open: whether packets can be sent; False once the other end is gone.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_packet: Callable[[dict[str, Any], list[int]], object],
        on_end: Callable[[], object],
    ) -> None:
        """Read from now on.

        Args:
            sock: a non-blocking SOCK_SEQPACKET socket, the channel's from now on.
            on_packet: is called with each packet and the descriptors in it, which are the callee's;
                fewer than were sent if this process has no room for them.
            on_end: is called once, when the other end is gone; not after `close`.
        """
        self.is_open = True
        self._socket = sock
        self._fd = sock.fileno()
        self._on_packet = on_packet
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._queue: collections.deque[_Waiting] = collections.deque()
        self._retry: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._loop.add_reader(self._fd, self._read)

    @property
    def queued(self) -> int:
        """How many packets wait until the other end reads."""
        return len(self._queue)

    def send(
        self,
        packet: dict[str, Any],
        descriptors: Sequence[int] = (),
        then: Callable[[], object] | None = None,
    ) -> None:
        """Send a packet, or have it wait behind others; without an effect if the other end is gone.

        Args:
            packet: plain JSON types, `LONGEST_PACKET_BYTES` at most.
            descriptors: they must stay open until the other end has them.
            then: is called when the kernel has the packet, perhaps at once.

        Raises:
            ValueError: the packet is too long, or has too many descriptors.
        """
        data = json.dumps(packet, separators=(",", ":")).encode()
        if len(data) > LONGEST_PACKET_BYTES:
            raise ValueError(f"a packet of {len(data)} bytes; at most {LONGEST_PACKET_BYTES}")
        if len(descriptors) > MOST_DESCRIPTORS:
            raise ValueError(f"{len(descriptors)} descriptors; at most {MOST_DESCRIPTORS}")
        if self.is_open and not self._is_closed:
            self._queue.append(_Waiting(data, descriptors, then))
            if len(self._queue) == 1:
                self._write()

    def close(self) -> None:
        """Forget what waits, and close the socket. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._stop()
            self._loop.remove_reader(self._fd)
            self._socket.close()

    # -- sending -----------------------------------------------------------------------------

    def _write(self) -> None:
        self._retry = None
        while self._queue:
            waiting = self._queue[0]
            rights = []
            if waiting.descriptors:
                numbers = array.array("i", waiting.descriptors)
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)]
            try:
                self._socket.sendmsg([waiting.data], rights, socket.MSG_NOSIGNAL)
            except OSError as error:
                self._wait(error.errno or 0)
                return
            self._queue.popleft()
            if waiting.then is not None:
                waiting.then()
        self._loop.remove_writer(self._fd)

    def _wait(self, number: int) -> None:
        if number in _BLOCKED:
            self._loop.add_writer(self._fd, self._write)
            return
        self._loop.remove_writer(self._fd)
        if number in _FOR_A_WHILE:
            self._retry = self._loop.call_later(RETRY_S, self._write)
        else:  # the other end is gone: what it sent is still to be read, and then its end
            self._stop()

    def _stop(self) -> None:
        self.is_open = False
        self._queue.clear()
        self._loop.remove_writer(self._fd)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    # -- receiving ---------------------------------------------------------------------------

    def _read(self) -> None:
        for _ in range(PACKETS_PER_ITERATION):
            if self._is_closed or not self._read_one():
                return

    def _read_one(self) -> bool:
        """Read one packet; return whether there may be another."""
        room = socket.CMSG_SPACE(MOST_DESCRIPTORS * _INT_BYTES)
        asked = socket.MSG_CMSG_CLOEXEC
        try:
            data, rights, flags, _ = self._socket.recvmsg(LONGEST_PACKET_BYTES, room, asked)
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionResetError:
            # Told once: the other end has closed and left something unread. What it has sent is
            # still here, and then the end.
            return True
        except OSError:
            data, rights, flags = b"", [], 0
        descriptors = _descriptors_in(rights)
        if not data:
            _close_all(descriptors)
            self._stop()
            self._loop.remove_reader(self._fd)
            self._on_end()
            return False
        if flags & socket.MSG_CTRUNC:
            logger.error("no room for descriptors that were sent; see ulimit -n")
        packet = None if flags & socket.MSG_TRUNC else _object_in(data)
        if packet is None:
            logger.error("a packet that cannot be read: %r", data[:100])
            _close_all(descriptors)
        else:
            self._on_packet(packet, descriptors)
        return True


def _descriptors_in(rights: Sequence[tuple[int, int, bytes]]) -> list[int]:
    numbers = array.array("i")
    for level, kind, data in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(data[: len(data) - len(data) % _INT_BYTES])
    return list(numbers)


def _object_in(data: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        found = json.loads(data)
        if isinstance(found, dict):
            return found
    return None


def _close_all(descriptors: Sequence[int]) -> None:
    for fd in descriptors:
        os.close(fd)


def plain_address(address: Any) -> Any:
    """Return an address in JSON types; a name in the abstract namespace begins with a null."""
    if isinstance(address, bytes):
        return os.fsdecode(address)
    return list(address) if isinstance(address, tuple) else address
