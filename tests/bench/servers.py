"""Small servers that misbehave in one way, each on a thread of its own."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

from tests.support import DEADLINE_S

Handler = Callable[[socket.socket], None]


@contextlib.contextmanager
def served(handle: Handler) -> Iterator[int]:
    """Serve each connection by `handle` on a thread; yield the port. All end with the block."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    threads: list[threading.Thread] = []
    socks: list[socket.socket] = []

    def one(sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            handle(sock)

    def accept() -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            socks.append(sock)
            threads.append(threading.Thread(target=one, args=(sock,), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join(DEADLINE_S)
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(DEADLINE_S)
        assert not any(thread.is_alive() for thread in [accepting, *threads])


def echo(sock: socket.socket) -> None:
    """Send back what comes."""
    while data := sock.recv(65536):
        sock.sendall(data)


def reversing(sock: socket.socket) -> None:
    """Reverse what comes, a chunk at a time."""
    while data := sock.recv(65536):
        sock.sendall(data[::-1])


def wrong_after(messages: int, size: int) -> Handler:
    """Echo, with one wrong byte in the middle of the message after so many."""

    def handle(sock: socket.socket) -> None:
        at = messages * size + size // 2
        done = 0
        while data := bytearray(sock.recv(65536)):
            if done <= at < done + len(data):
                data[at - done] ^= 1
            done += len(data)
            sock.sendall(data)

    return handle


def closing_after(messages: int, *, resets: bool) -> Handler:
    """Echo so many messages, then end the connection."""

    def handle(sock: socket.socket) -> None:
        for _ in range(messages):
            sock.sendall(sock.recv(65536))
        sock.recv(65536)
        if resets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return handle


def silent(sock: socket.socket) -> None:
    """Read, and never answer."""
    while sock.recv(65536):
        pass


def trickling(sock: socket.socket) -> None:
    """Echo in parts of a few bytes."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := sock.recv(65536):
        for off in range(0, len(data), 7):
            sock.sendall(data[off : off + 7])
