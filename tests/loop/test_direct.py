"""direct: what a transport says at its gate, and what it does itself when served directly."""

import asyncio
import select
import socket
from typing import Any

import pytest

from asyncrev import EpollEventLoop
from asyncrev.loop.selector import READABLE
from tests.support import until
from tests.wires import Buffered, on_epoll


class Gate:
    """A gate."""

    reads = sends = False

    @property
    def state(self) -> tuple[bool, bool]:
        """Both."""
        return self.reads, self.sends


class Handler:
    """Receives a line of events for one stream, and hands back what it does not know."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.recv_into: Any = None
        self.send: Any = None
        self.fd = -1
        self.detached: list[bool] = []  # whether the descriptor was open then
        self.received = bytearray()
        self.memory = memoryview(bytearray(64))
        self.handed_back: list[int] = []
        self.error: BaseException | None = None

    def attach(self, fd: int, transport: Any, gate: Any, recv_into: Any, send: Any) -> None:
        """Note it."""
        self.fd, self.transport = fd, transport
        self.gate, self.recv_into, self.send = gate, recv_into, send

    def detach(self, fd: int) -> None:
        """Note it."""
        assert fd == self.fd
        self.detached.append(self.transport._sock.fileno() == fd)

    def on_ready_batch(self, events: list[tuple[int, int]]) -> None:
        """Receive what may be received."""
        for fd, reported in events:
            assert fd == self.fd
            if self.error is not None:
                error, self.error = self.error, None
                self.transport.on_direct_event(reported, error)
            elif reported == READABLE and self.gate.reads:
                nbytes = self.recv_into(self.memory)
                self.received += self.memory[:nbytes]
                if not nbytes:
                    self.transport.on_direct_event(reported)
            else:
                self.handed_back.append(reported)
                self.transport.on_direct_event(reported)


class Served:
    """A stream that is served directly, and its peer."""

    def __init__(self, keep_open: bool = True) -> None:
        self.protocol, self.handler, self.gate = Buffered(64, keep_open), Handler(), Gate()

    async def connect(self) -> "Served":
        """Connect, and serve."""
        mine, self.peer = socket.socketpair()
        mine.setblocking(False)
        self.peer.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self.protocol, sock=mine)
        self.transport = self.protocol.transport
        self.transport.serve_directly(self.protocol, self.handler, self.gate)
        return self

    async def close(self) -> None:
        """Close both ends."""
        self.transport.abort()
        self.peer.close()
        await until(lambda: "lost" in self.protocol.calls, "the stream has ended")


@on_epoll
async def test_ready_input_goes_to_the_handler_and_none_to_the_protocol() -> None:
    """Until the protocol is another; from then on to that one."""
    served = await Served().connect()
    assert served.gate.state == (True, True)
    served.peer.send(b"abc")
    await until(lambda: served.handler.received == b"abc", "it came")
    other = Buffered(64)
    served.transport.set_protocol(other)
    assert served.gate.state == (False, False)
    assert served.handler.detached == [True]
    served.peer.send(b"def")
    await until(lambda: other.data == b"def", "it came to the other")
    served.transport.set_protocol(served.protocol)
    assert served.gate.state == (True, True)
    served.peer.send(b"ghi")
    await until(lambda: served.handler.received == b"abcghi", "it came")
    assert not served.protocol.data
    await served.close()


@on_epoll
async def test_stream_is_served_once_its_protocol_is_the_one_named() -> None:
    """As after a first look at its input."""
    served = Served()
    mine, served.peer = socket.socketpair()
    mine.setblocking(False)
    first = Buffered(64)
    await asyncio.get_running_loop().create_connection(lambda: first, sock=mine)
    served.transport = served.protocol.transport = first.transport
    served.transport.serve_directly(served.protocol, served.handler, served.gate)
    assert served.gate.state == (False, False)
    served.peer.send(b"abc")
    await until(lambda: first.data == b"abc", "it came")
    served.transport.set_protocol(served.protocol)
    assert served.gate.state == (True, True)
    await served.close()


@on_epoll
async def test_gate_follows_the_pauses_and_the_write_buffer() -> None:
    """Each change of either; what was paused is received after the resume."""
    served = await Served().connect()
    gate, transport = served.gate, served.transport
    transport.pause_reading()
    assert gate.state == (False, True)
    served.peer.send(b"abc")
    await until(lambda: served.handler.handed_back == [READABLE], "it was polled once")
    assert transport._watched_events == 0
    transport.resume_reading()
    assert gate.state == (True, True)
    await until(lambda: served.handler.received == b"abc", "it came")
    data = bytes(1 << 20)
    transport.write(data)
    assert gate.state == (True, False)
    transport.write(b"more")
    got = 0
    while got < len(data) + 4:
        try:
            got += len(served.peer.recv(1 << 20))
        except BlockingIOError:
            await asyncio.sleep(0)
    await until(lambda: gate.state == (True, True), "the write buffer is empty")
    transport.writelines([data, b"more"])
    assert gate.state == (True, False)
    await served.close()


@on_epoll
@pytest.mark.parametrize("keep_open", [True, False])
async def test_end_of_input_is_the_transports(keep_open: bool) -> None:
    """The protocol hears of it; the other direction is open, if it says so."""
    served = await Served(keep_open).connect()
    served.peer.shutdown(socket.SHUT_WR)
    await until(lambda: "eof" in served.protocol.calls, "the end came")
    assert served.gate.state == (False, keep_open)
    if keep_open:
        served.transport.write_eof()
        assert served.gate.state == (False, False)
    await served.close()
    assert served.handler.detached == [True]


@on_epoll
async def test_close_with_a_write_buffer_sends_it_and_then_detaches() -> None:
    """Its events come back to the transport."""
    served = await Served().connect()
    data = bytes(1 << 20)
    served.transport.write(data)
    served.transport.close()
    assert served.gate.state == (False, False)
    got = 0
    while got < len(data):
        try:
            got += len(served.peer.recv(1 << 20))
        except BlockingIOError:
            await asyncio.sleep(0)
    await until(lambda: "lost" in served.protocol.calls, "it has ended")
    assert served.handler.detached == [True]
    assert select.EPOLLOUT in served.handler.handed_back
    served.peer.close()


@on_epoll
async def test_error_of_a_receive_ends_the_stream() -> None:
    """With that error."""
    served = await Served().connect()
    served.handler.error = ConnectionResetError("by the test")
    served.peer.send(b"abc")
    await until(lambda: "lost" in served.protocol.calls, "it has ended")
    assert isinstance(served.protocol.error, ConnectionResetError)
    assert served.gate.state == (False, False)
    await served.close()


@on_epoll
async def test_stopping_gives_the_input_back_to_the_protocol() -> None:
    """It is idempotent, and another set_protocol does not begin it again."""
    served = await Served().connect()
    for _ in range(2):
        served.transport.stop_serving_directly()
    assert served.gate.state == (False, False)
    assert served.handler.detached == [True]
    served.transport.set_protocol(served.protocol)
    served.peer.send(b"abc")
    await until(lambda: served.protocol.data == b"abc", "it came")
    await served.close()
    assert served.handler.detached == [True]


@on_epoll
async def test_sendfile_shuts_the_gate() -> None:
    """Nothing may be sent between the pieces of the file."""
    served = await Served().connect()
    waiter = served.transport._make_empty_waiter()
    assert served.gate.state == (True, False)
    await waiter
    served.transport._reset_empty_waiter()
    assert served.gate.state == (True, True)
    served.peer.send(b"abc")
    await until(lambda: served.handler.received == b"abc", "it came")
    await served.close()


@on_epoll
async def test_stream_that_has_ended_is_not_served() -> None:
    """There is nothing to serve."""
    served = await Served().connect()
    served.transport.stop_serving_directly()
    served.transport.abort()
    served.handler.fd = -2
    served.transport.serve_directly(served.protocol, served.handler, served.gate)
    assert served.handler.fd == -2
    assert served.gate.state == (False, False)
    await served.close()


def test_interrupt_of_a_receive_ends_the_stream_and_is_raised_again() -> None:
    """Nobody knows whether bytes were received."""
    served = Served()
    with asyncio.Runner(loop_factory=EpollEventLoop) as runner:
        loop = runner.get_loop()
        loop.run_until_complete(served.connect())
        served.handler.error = KeyboardInterrupt()
        served.peer.send(b"abc")
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert served.gate.state == (False, False)
        loop.run_until_complete(served.close())
    assert isinstance(served.protocol.error, ConnectionAbortedError)
