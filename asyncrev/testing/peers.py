"""Blocking clients that follow a script on a real socket, well-behaved or misbehaving."""

import dataclasses
import math
import select
import socket
import ssl as ssl_module
import struct
import time
from typing import Any, TypeAlias

__all__ = [
    "Close",
    "HalfClose",
    "Outcome",
    "PeerStep",
    "Receive",
    "Reset",
    "Script",
    "Send",
    "Stall",
    "play",
]

_READ_BYTES = 64 * 1024


@dataclasses.dataclass(frozen=True)
class Send:
    """Send all of `data`; while the kernel takes nothing, receive what has arrived.

    So a peer and a server that both send a lot do not deadlock.
    """

    data: bytes


@dataclasses.dataclass(frozen=True)
class Receive:
    """Receive until `nbytes` more bytes have arrived, or the stream ends.

    Bytes that a `Send` received count: the peer waits until it has received the sum of all
    `Receive` steps so far.
    """

    nbytes: int


@dataclasses.dataclass(frozen=True)
class Stall:
    """Neither send nor receive for `pause_s` seconds."""

    pause_s: float


@dataclasses.dataclass(frozen=True)
class HalfClose:
    """Shut down the sending side (FIN), as `nc -N` does."""


@dataclasses.dataclass(frozen=True)
class Reset:
    """Close with a reset (RST), dropping unsent and unread bytes. The script ends."""


@dataclasses.dataclass(frozen=True)
class Close:
    """Close without reading what has arrived. The script ends."""


PeerStep: TypeAlias = Send | Receive | Stall | HalfClose | Reset | Close
Script: TypeAlias = list[PeerStep]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a peer sent, received and observed.

    Attributes:
        received: all bytes, in order.
        end: "FIN" or "RST" if the server ended the connection, else "own close" or "own reset".
        sent_bytes: how many bytes of its `Send` steps its kernel took.
    """

    received: bytes
    end: str
    sent_bytes: int


class _Ended(Exception):
    """The server has ended the connection; the argument is "FIN" or "RST"."""


def play(
    script: Script,
    address: Any,
    *,
    deadline_s: float = 10.0,
    receive_buffer_bytes: int | None = None,
    send_buffer_bytes: int | None = None,
    ssl: ssl_module.SSLContext | None = None,
    server_hostname: str = "localhost",
) -> Outcome:
    """Connect to `address`, follow `script`, and then receive to the end of the stream.

    Thread: any that may block. When the server ends the connection, the rest of the script is
    skipped. After a script that does not end the connection, the peer waits for the server to do
    so.

    Args:
        script: the steps, written by hand or drawn from `strategies.peer_scripts`.
        address: a host and a port, or a UNIX path.
        deadline_s: for each step, for connecting, and for the end of the stream.
        receive_buffer_bytes: SO_RCVBUF; a small one makes the server's sends partial.
        send_buffer_bytes: SO_SNDBUF.
        ssl: a context to use TLS with. Then `HalfClose` is not allowed (asyncio has none over TLS).
        server_hostname: the name that the certificate must be valid for.

    Raises:
        TimeoutError: a step took longer than `deadline_s`; the message has the step and what had
            been received.
        OSError: connecting failed.
        ValueError: `HalfClose` over TLS.
    """
    if ssl is not None and HalfClose() in script:
        raise ValueError("HalfClose does not exist over TLS; end the script with Close or Reset")
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    with sock:
        # Before connecting, because the window is fixed then (tcp(7)).
        for option, nbytes in (
            (socket.SO_RCVBUF, receive_buffer_bytes),
            (socket.SO_SNDBUF, send_buffer_bytes),
        ):
            if nbytes is not None:
                sock.setsockopt(socket.SOL_SOCKET, option, nbytes)
        sock.settimeout(deadline_s)
        sock.connect(address)
        if ssl is None:
            return _Peer(sock, deadline_s).play(script)
        with ssl.wrap_socket(sock, server_hostname=server_hostname) as secure:
            return _Peer(secure, deadline_s).play(script)


class _Peer:
    """One connection that follows a script."""

    def __init__(self, sock: socket.socket, deadline_s: float) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._deadline_s = deadline_s
        self._end_s = 0.0
        self._step: object = None
        self._received = bytearray()
        self._wanted_bytes = 0
        self._sent_bytes = 0

    def play(self, script: Script) -> Outcome:
        """Follow `script`; return the outcome."""
        try:
            for step in script:
                self._begin(step)
                if isinstance(step, (Reset, Close)):
                    return self._leave(step)
                self._do(step)
            self._begin("the end of the stream")
            while True:
                self._receive_some()
        except _Ended as ended:
            return self._outcome(str(ended))

    def _outcome(self, end: str) -> Outcome:
        return Outcome(bytes(self._received), end, self._sent_bytes)

    def _begin(self, step: object) -> None:
        self._step = step
        self._end_s = time.monotonic() + self._deadline_s

    def _do(self, step: PeerStep) -> None:
        if isinstance(step, Send):
            self._send(step.data)
        elif isinstance(step, Receive):
            self._wanted_bytes += step.nbytes
            while len(self._received) < self._wanted_bytes:
                self._receive_some()
        elif isinstance(step, Stall):
            time.sleep(step.pause_s)
        else:
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                raise _Ended("RST") from None

    def _leave(self, step: PeerStep) -> Outcome:
        if isinstance(step, Close):
            self._sock.close()
            return self._outcome("own close")
        # A socket that is closed without lingering drops its data and sends a reset (socket(7)).
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()
        return self._outcome("own reset")

    def _send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                nbytes = self._sock.send(left)
            except (BlockingIOError, ssl_module.SSLWantReadError, ssl_module.SSLWantWriteError):
                if self._wait(select.POLLIN | select.POLLOUT) & ~select.POLLOUT:
                    self._take()
                continue
            except OSError:
                try:  # what arrived before the reset, unless the kernel has dropped it
                    while self._take():
                        pass
                except _Ended:
                    pass
                raise _Ended("RST") from None
            left = left[nbytes:]
            self._sent_bytes += nbytes

    def _receive_some(self) -> None:
        """Receive at least one byte. Raises _Ended, TimeoutError."""
        while not self._take():
            self._wait(select.POLLIN)

    def _take(self) -> int:
        """Receive what has arrived, if anything; return its length."""
        try:
            part = self._sock.recv(_READ_BYTES)
        except (BlockingIOError, ssl_module.SSLWantReadError):
            return 0
        except OSError:  # SSLError, too: the end of TLS without a close_notify
            raise _Ended("RST") from None
        if not part:
            raise _Ended("FIN")
        self._received += part
        return len(part)

    def _wait(self, events: int) -> int:
        """Wait for one of `events`; return those that occurred."""
        poll = select.poll()
        poll.register(self._sock, events)
        left_s = self._end_s - time.monotonic()
        ready = poll.poll(max(0, math.ceil(left_s * 1000)))
        if not ready:
            shown = str(self._step)
            raise TimeoutError(
                f"a peer waited {self._deadline_s:g} s at {shown[:80]}; it has sent "
                f"{self._sent_bytes} bytes and received {len(self._received)}"
            )
        return ready[0][1]
