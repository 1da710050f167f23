"""What the transport's tests share: protocols that take notes, sockets that sip, pairs."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest

from tests.support import until

on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])


class Notes:
    """What both recording protocols note; the names of the calls are in `calls`, in order."""

    def __init__(self, keep_open: bool = False) -> None:
        self.calls: list[str] = []
        self.data = bytearray()
        self.keep_open = keep_open
        self.transport: Any = None
        self.error: BaseException | None = None
        self.on_made: Callable[[Any], None] = lambda transport: None

    def connection_made(self, transport: Any) -> None:
        self.calls.append("made")
        self.transport = transport
        self.on_made(transport)

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, error: BaseException | None) -> None:
        self.calls.append("lost")
        self.error = error


class Plain(Notes, asyncio.Protocol):
    """A plain protocol."""

    def data_received(self, data: bytes) -> None:
        self.data += data


class Buffered(Notes, asyncio.BufferedProtocol):
    """A buffered protocol whose buffer has `nbytes`."""

    def __init__(self, nbytes: int = 64, keep_open: bool = False) -> None:
        super().__init__(keep_open)
        self.buffer = memoryview(bytearray(nbytes))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]


class Sipping(socket.socket):
    """A socket that takes of each send what its schedule says; see `strategies.write_schedules`.

    The last step of the schedule is repeated.
    """

    steps: Iterable[int | None] = ()

    def send(self, data: Any, *flags: int) -> int:  # type: ignore[override]
        step = self._next_step()
        if step == 0:
            raise BlockingIOError
        return super().send(bytes(memoryview(data)[:step]))

    def sendmsg(self, buffers: Iterable[Any], *more: Any) -> int:  # type: ignore[override]
        return self.send(b"".join(buffers))

    def _next_step(self) -> int | None:
        if not hasattr(self, "_iterator"):
            self._iterator = iter(self.steps)
            self._step: int | None = 1
        self._step = next(self._iterator, self._step)
        return self._step


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = socket.create_connection(listening.getsockname())
        other, _ = listening.accept()
    return one, other


def small_pair() -> tuple[socket.socket, socket.socket]:
    """Return a UNIX pair whose first end has the least send buffer there is."""
    mine, peer = socket.socketpair()
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return mine, peer


@contextlib.asynccontextmanager
async def wire(
    protocol: Any,
    pair: Callable[[], tuple[socket.socket, socket.socket]] = socket.socketpair,
    steps: Iterable[int | None] | None = None,
) -> AsyncIterator[tuple[Any, socket.socket]]:
    """Give a transport for `protocol` and the non-blocking socket at its other end.

    With `steps` the transport's socket is a `Sipping`. At the end the transport must get lost.
    """
    mine, peer = pair()
    if steps is not None:
        mine = Sipping(fileno=mine.detach())
        mine.steps = steps
    mine.setblocking(False)
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: protocol, sock=mine)
    try:
        yield transport, peer
    finally:
        transport.abort()
        await until(lambda: transport._sock is None, "the transport has closed its socket")
        peer.close()


async def receive(peer: socket.socket, nbytes: int | None = None) -> bytes:
    """Return `nbytes` of what arrives, or all up to the end of the stream."""
    loop, received = asyncio.get_running_loop(), bytearray()
    while nbytes is None or len(received) < nbytes:
        part = await loop.sock_recv(peer, 65536 if nbytes is None else nbytes - len(received))
        if not part:
            break
        received += part
    return bytes(received)


async def iterations(count: int = 4) -> None:
    """Let the loop iterate `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)


class PollCounter:
    """An iteration hook that counts the polls of the loop."""

    def __init__(self) -> None:
        self.polls = 0

    def before_poll(self) -> bool:
        return False

    def after_poll(self) -> None:
        self.polls += 1


async def polls_while_idle(loop: Any) -> int:
    """Return how often the loop polled during a short time in which nothing is to do.

    A loop that spins polls thousands of times; one that waits, a handful.
    """
    counter = PollCounter()
    loop.add_iteration_hook(counter)
    await asyncio.sleep(0.05)
    loop.remove_iteration_hook(counter)
    return counter.polls


FEW_POLLS = 12
