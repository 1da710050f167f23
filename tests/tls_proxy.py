"""A TLS client for tests that are written for plain sockets: a thread puts TLS between the two.

Unlike the streams of asyncio it half-closes: the end of what the test sends becomes close_notify
and FIN, and the server's close_notify the end of what the test receives, each by itself.
"""

import select
import socket
import ssl
import threading

__all__ = ["through_tls"]

_MOST_BYTES = 64 * 1024  # kept of what the other side does not take


def through_tls(
    far: socket.socket,
    context: ssl.SSLContext,
    server_hostname: str,
    deadline_s: float,
    *,
    errors: list[ssl.SSLError] | None = None,
) -> socket.socket:
    """Return a plain socket whose bytes go through TLS to `far`, a connected socket, and back.

    The thread ends when both directions have, or when either side is reset. What OpenSSL finds
    wrong ends it, too, and is appended to `errors`; that the stream ends early is none of it.
    """
    near, its_end = socket.socketpair()
    near.settimeout(deadline_s)
    for sock in (far, its_end):
        sock.setblocking(False)
    proxy = _Proxy(its_end, far, context, server_hostname, [] if errors is None else errors)
    threading.Thread(target=proxy.run).start()
    return near


class _Proxy:
    """One connection. Thread: its own."""

    def __init__(
        self,
        near: socket.socket,
        far: socket.socket,
        context: ssl.SSLContext,
        name: str,
        errors: list[ssl.SSLError],
    ) -> None:
        self._near, self._far = near, far
        self._errors = errors
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name)
        self._established = False
        self._to_far = bytearray()
        self._to_near = bytearray()
        self._near_ended = self._far_ended = False
        self._near_told = self._far_told = False  # of the other's end

    def run(self) -> None:
        with self._near, self._far:
            try:
                self._handshake()
                while not (self._near_told and self._far_told):
                    self._step()
            except ssl.SSLError as error:
                self._errors.append(error)
            except OSError:  # the server has gone, or the test
                pass

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
            self._established = True
        except ssl.SSLWantReadError:
            pass
        self._to_far += self._out.read()

    def _step(self) -> None:
        poll = select.poll()
        near = select.POLLIN if self._established and self._may_read_near() else 0
        far = select.POLLIN if not self._far_ended and len(self._to_near) < _MOST_BYTES else 0
        poll.register(self._near, near | (select.POLLOUT if self._to_near else 0))
        poll.register(self._far, far | (select.POLLOUT if self._to_far else 0))
        ready = dict(poll.poll())
        if ready.get(self._near.fileno(), 0) & (select.POLLIN | select.POLLHUP) and near:
            self._read_near()
        if ready.get(self._far.fileno(), 0) & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self._read_far()
        self._flush()

    def _may_read_near(self) -> bool:
        return not self._near_ended and len(self._to_far) < _MOST_BYTES

    def _read_near(self) -> None:
        data = self._near.recv(16384)
        if data:
            self._tls.write(data)
        else:
            self._near_ended = True
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass  # the server's close_notify comes later
        self._to_far += self._out.read()

    def _read_far(self) -> None:
        data = self._far.recv(65536)
        if not data and not self._far_ended:
            raise ConnectionResetError("no close_notify")
        self._in.write(data)
        if not self._established:
            self._handshake()
        while self._established and not self._far_ended:
            try:
                plain = self._tls.read(65536)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                plain = b""
            self._to_near += plain
            self._far_ended = not plain
        self._to_far += self._out.read()

    def _flush(self) -> None:
        self._to_far = _send(self._far, self._to_far)
        self._to_near = _send(self._near, self._to_near)
        if self._near_ended and not self._to_far and not self._far_told:
            self._far.shutdown(socket.SHUT_WR)
            self._far_told = True
        if self._far_ended and not self._to_near and not self._near_told:
            self._near.shutdown(socket.SHUT_WR)
            self._near_told = True


def _send(sock: socket.socket, data: bytearray) -> bytearray:
    try:
        return data[sock.send(data) :] if data else data
    except BlockingIOError:
        return data
